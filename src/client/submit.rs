//! `cc-anywhere submit`.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::http::Server;
use super::print::{self, Output};
use super::watch;

/// A task, as it is told on the command line.
#[derive(Debug, clap::Args)]
pub struct Submit {
    /// What Claude is to do; `-` reads it from standard input
    #[arg(required_unless_present = "file")]
    instruction: Option<String>,
    /// Read the instruction from this file
    #[arg(long, conflicts_with = "instruction")]
    file: Option<PathBuf>,
    /// The folder to work in
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A file for the model to read
    #[arg(long = "context")]
    files: Vec<PathBuf>,
    /// Tools that need no permission, such as Bash or "Bash(git *)"
    #[arg(long = "allow")]
    allowed_tools: Vec<String>,
    /// What happens with other tools: plan, ask, acceptEdits, …
    #[arg(long)]
    permission_mode: Option<String>,
    /// The model
    #[arg(long)]
    model: Option<String>,
    /// What all attempts together may cost, in US dollars
    #[arg(long)]
    max_budget_usd: Option<f64>,
    /// 0 to 100, higher starts first
    #[arg(long)]
    priority: Option<i64>,
    /// Not before this time, such as 2026-01-31T08:15:00Z
    #[arg(long)]
    run_at: Option<String>,
    /// A label to find it by
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Tasks with the same key run one at a time
    #[arg(long)]
    concurrency_key: Option<String>,
    /// Work in a git worktree, on a branch of its own
    #[arg(long)]
    worktree: bool,
    /// Go on with the conversation of this task
    #[arg(long = "continue")]
    continue_from: Option<String>,
    /// The same key gives the same task, however often it is sent
    #[arg(long)]
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

    /// The body of the request; what was not said is not in it.
    fn body(&self) -> anyhow::Result<Value> {
        let resolved =
            |path: &PathBuf| std::fs::canonicalize(path).with_context(|| format!("there is no {}", path.display()));
        let mut sdk = json!({ "allowedTools": self.allowed_tools });
        let mut body = json!({ "instruction": self.instruction()?, "context": {}, "tags": self.tags, "options": {} });
        let set = |into: &mut Value, name: &str, value: Option<Value>| {
            value.into_iter().for_each(|value| into[name] = value);
        };
        set(&mut sdk, "permissionMode", self.permission_mode.clone().map(Value::from));
        set(&mut sdk, "model", self.model.clone().map(Value::from));
        set(&mut sdk, "maxBudgetUsd", self.max_budget_usd.map(Value::from));
        set(&mut sdk, "continueFromTaskId", self.continue_from.clone().map(Value::from));
        set(&mut body, "priority", self.priority.map(Value::from));
        set(&mut body, "runAt", self.run_at.clone().map(Value::from));
        set(&mut body, "concurrencyKey", self.concurrency_key.clone().map(Value::from));
        let dir = self.dir.as_ref().map(resolved).transpose()?;
        set(&mut body["context"], "workingDirectory", dir.map(|dir| json!(dir)));
        let files = self.files.iter().map(resolved).collect::<anyhow::Result<Vec<_>>>()?;
        set(&mut body["context"], "files", (!files.is_empty()).then(|| json!(files)));
        set(&mut body["options"], "useWorktree", self.worktree.then_some(Value::Bool(true)));
        body["options"]["sdk"] = sdk;
        Ok(body)
    }
}

/// Submits it, and with `--wait` follows it. Returns the exit code.
///
/// # Errors
/// The instruction can't be read, or the server not be reached.
pub fn run(server: &Server, submit: &Submit) -> anyhow::Result<u8> {
    let headers: Vec<_> = submit.idempotency_key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
    let answer = server.ask_with("POST", "/api/tasks", Some(&submit.body()?), &headers)?;
    match (answer.0, submit.wait) {
        (true, true) => watch::run(server, print::text(&answer.1["taskId"]), &submit.output),
        _ => Ok(submit.output.answer(&answer, print::id)),
    }
}
