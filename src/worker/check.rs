//! The check of a task's work: what its result and its changes must be, and a command that must succeed. The command runs
//! behind a shim of its own, in the walls of the task and under its mark, so that it ends with the attempt, however that ends.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::attempt::Produced;
use super::set_up::{DISK_LIMIT, WorkerContext};
use super::worktree;
use crate::claude::{DiskLimit, Exit, Limit, Line, Run, Start};
use crate::config::{Environment, Sandbox};
use crate::git;
use crate::process::{self, BackOff};
use crate::sandbox::Walls;
use crate::telemetry::chain;
use crate::telemetry::traces::Span;
use domain::{BootInstant, TaskId, VerificationRound};
use wire::{Task, Verify};

/// Bytes of a command's output that are kept: its end.
const OUTPUT_BYTES: usize = 16 << 10;
/// Between TERM and KILL of a command that takes too long.
const GRACE: Duration = Duration::from_millis(1_500);
/// Runs the command with both of its outputs in one stream.
const SHELL: [&str; 3] = ["-c", "exec 2>&1; eval \"$1\"", "verify"];
/// Surroundings of a command: those of the CLI, without its way to the API.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckPlace {
    environment: Environment,
    directory: PathBuf,
    walls: Option<Walls>,
    disk: Option<DiskLimit>,
}

impl CheckPlace {
    /// The surroundings of the CLI in this environment.
    pub fn new(environment: &Environment, directory: PathBuf, walls: Option<Walls>, disk: Option<DiskLimit>) -> Self {
        Self { environment: environment.without_the_api(), directory, walls, disk }
    }

    /// Adds variables.
    pub fn add(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.environment.extend(variables);
    }
}

/// Everything that the checks of a task need.
pub struct Checker {
    tools: Arc<WorkerContext>,
    task: TaskId,
    verify: Verify,
    place: CheckPlace,
}

impl Checker {
    /// The checker of a task that asks for checks.
    pub fn of(tools: &Arc<WorkerContext>, task: &Task, place: Option<CheckPlace>) -> Option<Arc<Self>> {
        let verify = task.spec.verify.clone()?;
        Some(Arc::new(Self { tools: Arc::clone(tools), task: task.id, verify, place: place? }))
    }

    /// Surroundings of its commands.
    pub fn place(&self) -> CheckPlace {
        self.place.clone()
    }
}

/// A check that runs. Dropped, its processes are ended by their shim.
pub struct Check {
    work: JoinHandle<Checked>,
    deadline: watch::Sender<BootInstant>,
    stop: watch::Sender<bool>,
}

/// End of a check.
pub struct Checked {
    /// What it has come to.
    pub round: VerificationRound,
    /// True if nothing of its processes is left.
    pub gone: bool,
}

impl Check {
    /// Begins one.
    pub fn begin(checker: Arc<Checker>, produced: Produced, deadline: BootInstant) -> Self {
        let (deadline, deadlines) = watch::channel(deadline);
        let (stop, stopped) = watch::channel(false);
        let span = Span::of_check();
        let work = async move { span.within(run(&checker, produced, deadlines, stopped)).await };
        Self { work: tokio::spawn(work), deadline, stop }
    }

    /// Moves the time at which its processes are ended by themselves.
    pub fn extend(&self, until: BootInstant) {
        self.deadline.send_replace(until);
    }

    /// Waits for its end. May be dropped and called again.
    pub async fn done(&mut self) -> Checked {
        (&mut self.work).await.unwrap_or_else(|error| {
            tracing::error!(error = chain(&error), "A check of a task's work has failed itself");
            let failures = vec!["the check has failed itself: see the log of the worker".to_owned()];
            Checked { round: VerificationRound { failures, ..VerificationRound::default() }, gone: false }
        })
    }

    /// Ends it. Returns true if nothing of its processes is left.
    pub async fn end(mut self) -> bool {
        self.stop.send_replace(true);
        self.done().await.gone
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn run(
    checker: &Checker,
    produced: Produced,
    deadline: watch::Receiver<BootInstant>,
    mut stop: watch::Receiver<bool>,
) -> Checked {
    let began = Instant::now();
    let mut round = VerificationRound::default();
    let mut gone = true;
    tokio::select! {
        failures = checker.look(produced) => round.failures = failures,
        _ = stop.wait_for(|stop| *stop) => return Checked { round, gone },
    }
    if let Some(command) = &checker.verify.command {
        let ran = checker.command(command, deadline, stop).await;
        round.exit_code = ran.exit.code;
        round.failures.extend(ran.failure(command, checker.verify.limit()));
        (round.output, gone) = (ran.output.text(), ran.exit.gone);
    }
    round.duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    Checked { round, gone }
}

impl Checker {
    /// Returns what is wrong with the result and the changes, in words. Looked at first: a command may leave files.
    async fn look(&self, produced: Produced) -> Vec<String> {
        let verify = self.verify.clone();
        let faults = move || verify.faults_of(produced.result.as_deref(), produced.structured_output.as_ref());
        let mut failures = match process::blocking(DISK_LIMIT, faults).await {
            Ok(failures) => failures,
            Err(error) => vec![format!("the result can't be held against verify.schema: {error}")],
        };
        if self.verify.looks_at_changes() {
            match git::patiently(|| worktree::changed(&self.tools, self.task)).await {
                Ok(changes) => failures.extend(self.verify.faults_of_changes(&changes)),
                Err(error) => failures.push(format!("what was changed can't be told: {}", chain(&error))),
            }
        }
        failures
    }

    /// Runs the command to its end. Waits while the system has no process to give.
    async fn command(
        &self,
        command: &str,
        mut deadline: watch::Receiver<BootInstant>,
        mut stop: watch::Receiver<bool>,
    ) -> Ran {
        let mut back_off = BackOff::default();
        loop {
            let until = *deadline.borrow_and_update();
            let ran = match self.start(command, until) {
                Ok(run) => self.follow(run, &mut deadline, &mut stop).await,
                Err(error) => Ran::not_started(&error),
            };
            if !ran.exit.is_transient || *stop.borrow() {
                return ran;
            }
            tokio::select! {
                () = back_off.pause() => {}
                _ = stop.wait_for(|stop| *stop) => return ran,
            }
        }
    }

    fn start(&self, command: &str, deadline: BootInstant) -> std::io::Result<Run> {
        let (tools, place) = (&self.tools, self.place());
        let start = Start {
            program: "/bin/sh".into(),
            args: SHELL.into_iter().chain([command]).map(str::to_owned).collect(),
            env: place.environment,
            directory: place.directory,
            mark: self.task.into(),
            // A tree beside that of the attempt.
            lease: None,
            tree_log: tools.tree_log.clone(),
            holder: tools.holder,
            deadline,
            walls: place.walls,
            must_hold: tools.claude.agent.sandbox == Sandbox::Required,
            max_output_bytes: tools.claude.agent.output_bytes,
            disk: place.disk,
        };
        let mut run = Run::start(tools.spare.start()?, start)?;
        run.finish_input();
        Ok(run)
    }

    async fn follow(
        &self,
        mut run: Run,
        deadline: &mut watch::Receiver<BootInstant>,
        stop: &mut watch::Receiver<bool>,
    ) -> Ran {
        let mut output = Output::default();
        let (mut is_late, mut is_stopped) = (false, false);
        let limit = tokio::time::sleep(self.verify.limit());
        tokio::pin!(limit);
        loop {
            tokio::select! {
                line = run.next_line() => match line {
                    Some(line) => output.add(line),
                    None => break,
                },
                () = &mut limit, if !is_late => {
                    is_late = true;
                    run.end(GRACE);
                }
                Ok(()) = deadline.changed() => run.extend(*deadline.borrow_and_update()),
                Ok(_) = stop.wait_for(|stop| *stop), if !is_stopped => {
                    is_stopped = true;
                    run.end(Duration::ZERO);
                }
            }
        }
        Ran { output, is_late, exit: run.exit().await }
    }
}

/// A command that has ended.
struct Ran {
    output: Output,
    exit: Exit,
    is_late: bool,
}

impl Ran {
    /// A command for which the system had no process.
    fn not_started(error: &std::io::Error) -> Self {
        let is_transient = process::is_out_of_resources(error);
        let exit = Exit { start_error: Some(error.to_string()), is_transient, gone: true, ..Exit::LOST };
        Self { output: Output::default(), exit, is_late: false }
    }

    /// Returns what is wrong, in words; `None` where it has succeeded.
    fn failure(&self, command: &str, limit: Duration) -> Option<String> {
        let name = format!("`{}`", command.lines().next().unwrap_or_default());
        let (exit, ms) = (&self.exit, limit.as_millis());
        Some(match (exit.limit, exit.code, exit.signal) {
            _ if self.is_late => format!("{name} took longer than {ms} ms (verify.timeout)"),
            (Some(Limit::Memory), ..) => format!("{name} took more memory than it may"),
            (Some(Limit::Processes), ..) => format!("{name} had more processes than it may"),
            (Some(Limit::Output), ..) => format!("{name} printed more than it may"),
            (Some(Limit::Disk), ..) => format!("{name} left more on the disk than it may"),
            (None, Some(0), _) => return None,
            (None, Some(code), _) => format!("{name} exited with {code}"),
            (None, None, Some(signal)) => format!("{name} died of signal {signal}"),
            (None, None, None) => match &exit.start_error {
                Some(error) => format!("{name} can't be started: {error}"),
                None => format!("{name} was killed"),
            },
        })
    }
}

/// The end of what a command prints.
#[derive(Default)]
struct Output {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Output {
    fn add(&mut self, line: Line) {
        let mut line = match line {
            Line::Whole(line) => line,
            Line::TooLong { tail, .. } => tail,
        };
        if line.len() > OUTPUT_BYTES {
            line = line[line.ceil_char_boundary(line.len() - OUTPUT_BYTES)..].to_owned();
        }
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > OUTPUT_BYTES
            && self.lines.len() > 1
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len() + 1;
        }
    }

    fn text(self) -> String {
        Vec::from(self.lines).join("\n").replace('\0', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_output_the_end_is_kept() {
        let mut output = Output::default();
        for n in 0..10_000 {
            output.add(Line::Whole(format!("line {n}")));
        }
        let text = output.text();
        assert!(text.len() <= OUTPUT_BYTES && text.ends_with("line 9998\nline 9999"), "{}", text.len());
        let mut output = Output::default();
        output.add(Line::Whole(format!("{}end", "ä".repeat(OUTPUT_BYTES))));
        assert!(output.text().ends_with("ääend"));
    }
}
