//! `cc-anywhere submit`.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use console::style;
use domain::{Condition, Named as _, OnFailure, Pick, Timestamp, Usd};
use wire::response::Receipt;
use wire::{
    ContextFile, DependsOn, PermissionMode, RaceOptions, RemoteRepository, SentFile, TaskSecret, TaskSpec, Verify,
    WorktreeOptions,
};

use super::http::Server;
use super::print::Output;
use super::{files, ids, table, watch, words};
use crate::config::task_of_this_process;

/// A task, as it is told on the command line.
#[derive(Debug, clap::Args)]
pub struct Submit {
    /// Instruction for Claude; `-` reads it from standard input
    #[arg(required_unless_present = "file")]
    instruction: Option<String>,
    /// Read the instruction from this file
    #[arg(long, conflicts_with = "instruction")]
    file: Option<PathBuf>,
    /// The folder to work in
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A file for the model to read
    #[arg(long = "context", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A file to send, for a model on any machine to read
    #[arg(long = "send", value_name = "FILE")]
    sent: Vec<PathBuf>,
    /// Files below its folder to keep when it ends, such as "out/**"
    #[arg(long = "keep", value_name = "PATTERN")]
    artifacts: Vec<String>,
    /// Complete only when this command of a shell succeeds; @FILE has the whole check, as JSON
    #[arg(long, value_name = "COMMAND")]
    verify: Option<String>,
    /// As N tasks side by side, of which one wins, by first_verified, cheapest, judge or me (cheapest without --verify)
    #[arg(long, value_name = "N[:PICK]", value_parser = race_of)]
    race: Option<RaceOptions>,
    /// Files that it may change in its worktree, such as "src/**"
    #[arg(long = "only", value_name = "PATTERN")]
    paths: Vec<String>,
    /// A secret of the key, as a variable; ENV is NAME in capitals where it isn't given
    #[arg(long = "secret", value_name = "NAME[=ENV]")]
    secrets: Vec<String>,
    /// Tools that need no permission, such as Bash or "Bash(git *)"
    #[arg(long = "allow", value_name = "TOOL")]
    allowed_tools: Vec<String>,
    /// Mode for other tools: plan, ask, acceptEdits, …
    #[arg(long, value_name = "MODE", value_parser = super::word::<PermissionMode>)]
    permission_mode: Option<PermissionMode>,
    /// The model
    #[arg(long)]
    model: Option<String>,
    /// Budget of all attempts together, in US dollars
    #[arg(long, value_name = "USD")]
    max_budget_usd: Option<f64>,
    /// 0 to 100, higher starts first
    #[arg(long, value_name = "N")]
    priority: Option<i64>,
    /// Earliest start, such as 2026-01-31T08:15:00Z
    #[arg(long, value_name = "TIME", value_parser = super::word::<Timestamp>)]
    run_at: Option<Timestamp>,
    /// Name, for those that depend on it
    #[arg(long)]
    name: Option<String>,
    /// Start when this task has completed; with NAME the instruction may use what it leaves: {{tasks.NAME.result}}
    #[arg(long = "after", value_name = "[NAME=]ID", add = clap_complete::ArgValueCompleter::new(ids::complete))]
    after: Vec<String>,
    /// Start when this task has ended, whichever way
    #[arg(long, value_name = "[NAME=]ID", add = clap_complete::ArgValueCompleter::new(ids::complete))]
    after_end: Vec<String>,
    /// What happens when a task of --after does not complete: cancel (the default), run or wait
    #[arg(long, value_name = "WHAT", requires = "after", value_parser = super::word::<OnFailure>)]
    on_failure: Option<OnFailure>,
    /// A name to find it by
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Tasks with the same key run one at a time
    #[arg(long, value_name = "KEY")]
    concurrency_key: Option<String>,
    /// A label that its worker must have: NAME=VALUE, or NAME for any value
    #[arg(long = "require", value_name = "LABEL")]
    requires: Vec<String>,
    /// Work in a clone of this repository, on a branch of its own
    #[arg(long, value_name = "URL", conflicts_with_all = ["dir", "worktree"])]
    repo: Option<String>,
    /// Branch, tag or commit of --repo at which it begins
    #[arg(long, requires = "repo")]
    revision: Option<String>,
    /// Push the branch to --repo when the task completes
    #[arg(long, requires = "repo")]
    push: bool,
    /// Work in a git worktree, on a branch of its own
    #[arg(long)]
    worktree: bool,
    /// Go on with the conversation of this task
    #[arg(long = "continue", value_name = "ID", add = clap_complete::ArgValueCompleter::new(ids::complete))]
    continue_from: Option<String>,
    /// The same key gives the same task, however often it is sent
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Follow it to its end; the exit code tells the outcome
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    output: Output,
}

/// A text from a file, or for `-` from standard input, without the newline that ends it.
///
/// # Errors
/// It can't be read.
pub fn read(file: &str) -> anyhow::Result<String> {
    let text = if file == "-" {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file).with_context(|| format!("can't read {file}"))?
    };
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

impl Submit {
    fn instruction(&self) -> anyhow::Result<String> {
        match (&self.instruction, &self.file) {
            (Some(text), _) if text != "-" => Ok(text.clone()),
            (Some(_), _) => read("-"),
            (None, file) => read(&file.clone().unwrap_or_default().display().to_string()),
        }
    }

    /// The request.
    fn spec(&self, server: &Server) -> anyhow::Result<TaskSpec> {
        let resolved = |path: &PathBuf| {
            let path = std::fs::canonicalize(path).with_context(|| format!("there is no {}", path.display()))?;
            path.into_os_string().into_string().map_err(|path| anyhow!("{path:?} is not UTF-8, as JSON must be"))
        };
        let mut spec = TaskSpec::of(self.instruction()?);
        spec.context.working_directory = self.dir.as_ref().map(resolved).transpose()?;
        let revision = self.revision.clone();
        spec.context.repository = self.repo.clone().map(|url| RemoteRepository { url, revision });
        spec.options.worktree = self.push.then(|| WorktreeOptions { push: true, ..WorktreeOptions::default() });
        let named = self.files.iter().map(|file| resolved(file).map(ContextFile::Path));
        spec.context.files = named.collect::<anyhow::Result<_>>()?;
        for file in &self.sent {
            let name = file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            spec.context.files.push(ContextFile::Sent(SentFile { file_id: files::send(server, file)?.file_id, name }));
        }
        spec.artifacts.clone_from(&self.artifacts);
        spec.verify = self.verify()?;
        spec.race = self.race.clone().map(|race| match (race.pick, &spec.verify) {
            (Pick::FirstVerified, None) => RaceOptions { pick: Pick::Cheapest, ..race },
            _ => race,
        });
        spec.secrets = self.secrets.iter().map(|named| secret(named)).collect();
        spec.priority = self.priority.unwrap_or_default();
        spec.run_at = self.run_at;
        spec.tags.clone_from(&self.tags);
        spec.concurrency_key.clone_from(&self.concurrency_key);
        spec.requires.clone_from(&self.requires);
        spec.name.clone_from(&self.name);
        spec.depends_on = self.depends_on(server)?;
        spec.parent = task_of_this_process();
        spec.options.use_worktree = self.worktree.then_some(true);
        let sdk = &mut spec.options.sdk;
        sdk.allowed_tools.clone_from(&self.allowed_tools);
        sdk.permission_mode = self.permission_mode;
        sdk.model.clone_from(&self.model);
        sdk.max_budget_usd = self.max_budget_usd.map(Usd::of);
        if let Some(id) = &self.continue_from {
            let id = ids::resolve(server, id)?;
            sdk.continue_from_task_id = Some(id.parse().map_err(|_| anyhow!("there is no task {id}"))?);
        }
        Ok(spec)
    }
}

impl Submit {
    /// The check of its work, where one is asked for.
    fn verify(&self) -> anyhow::Result<Option<Verify>> {
        let mut verify = match self.verify.as_ref().map(|text| (text.strip_prefix('@'), text)) {
            Some((Some(file), _)) => {
                serde_json::from_str(&read(file)?).with_context(|| format!("{file} has no check of docs/api.md"))?
            }
            Some((None, command)) => Verify { command: Some(command.clone()), ..Verify::default() },
            None => Verify::default(),
        };
        verify.paths.extend(self.paths.iter().cloned());
        Ok((verify != Verify::default()).then_some(verify))
    }

    fn depends_on(&self, server: &Server) -> anyhow::Result<Vec<DependsOn>> {
        let completed = self.after.iter().map(|id| (id, Condition::Completed));
        let ended = self.after_end.iter().map(|id| (id, Condition::Ended));
        let one = |(named, on): (&String, Condition)| {
            let (name, id) = named.split_once('=').map_or((None, named.as_str()), |(name, id)| (Some(name), id));
            let (task, on_failure) = (ids::resolve(server, id)?, self.on_failure.unwrap_or_default());
            Ok(DependsOn { task, on, on_failure, name: name.map(str::to_owned) })
        };
        completed.chain(ended).map(one).collect()
    }
}

/// A race as it is told on the command line.
fn race_of(text: &str) -> Result<RaceOptions, String> {
    let (n, pick) = text.split_once(':').map_or((text, None), |(n, pick)| (n, Some(pick)));
    let n = n.parse().map_err(|_| format!("{n} is no number"))?;
    let pick = match pick {
        Some(pick) => {
            Pick::from_name(pick).ok_or_else(|| "must be first_verified, cheapest, judge or me".to_owned())?
        }
        None => Pick::default(),
    };
    Ok(RaceOptions { n: Some(n), pick, ..RaceOptions::default() })
}

/// A secret as it is named on the command line.
fn secret(named: &str) -> TaskSecret {
    let (name, env) = named.split_once('=').map_or_else(
        || (named, named.to_ascii_uppercase().replace(['-', '.'], "_")),
        |(name, env)| (name, env.to_owned()),
    );
    TaskSecret { name: name.to_owned(), env, file: None }
}

/// Submits it, and with `--wait` follows it. Returns the exit code.
///
/// # Errors
/// The instruction can't be read, or the server not be reached.
pub fn run(server: &Server, submit: &Submit) -> anyhow::Result<u8> {
    let headers: Vec<_> = submit.idempotency_key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
    let reply = server.send_with("POST", "/api/tasks", &submit.spec(server)?, &headers)?;
    match (reply.ok, submit.wait) {
        (true, true) => watch::run(server, &reply.content::<Receipt>()?.task_id.to_string(), submit.output),
        _ => submit.output.answer(&reply, print_id),
    }
}

/// Prints the id of a task that was submitted.
pub fn print_id(receipt: &Receipt) {
    println!("{}", receipt.task_id);
    if table::is_for_people() {
        eprintln!("{}", style(format!("follow it: cc-anywhere watch {}", words::short(receipt.task_id))).dim());
    }
}
