//! The shell of the machine: waits for what happens, and does what the machine wants done.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::carried::{About, Carried, VERSION};
use super::effect::{Effect, Event, Now, StopReason, ToCli};
use super::machine::{Config, Machine, MachineState};
use super::tool_spans::ToolSpans;
use crate::claude::{Exit, Frame, FrameKind, HeldRun, Item, Observed, Run};
use crate::process::wall_now;
use crate::proxy::Estimate;
use crate::telemetry::{Pieces, mask};
use crate::worker::News;
use crate::worker::agent_run::RunCommand;
use crate::worker::check::{Check, Checked, Checker};
use crate::worker::commands::Commands;
use crate::worker::outbox::Outbox;
use domain::{BootInstant, LeaseKey, NewEvent, Usd};

/// A running process, and what was seen of it.
pub struct Attempt {
    key: LeaseKey,
    run: Run,
    outbox: Outbox,
    machine: Machine,
    news: News,
    /// What it has cost so far.
    estimate: Estimate,
    /// Text of the model that is on its way to followers.
    pieces: Pieces,
    /// Calls of tools that are under way.
    tools: ToolSpans,
    /// Where its work is to be checked.
    checker: Option<Arc<Checker>>,
    check: Option<Check>,
    /// Time at which the shims end what runs, unless the lease is renewed.
    deadline: BootInstant,
    /// True if a check has left processes behind, perhaps.
    check_left_some: bool,
}

/// What an attempt is made of, beside its process.
pub struct Parts {
    /// Way to the store.
    pub outbox: Outbox,
    /// Limits and rules.
    pub config: Config,
    /// Receivers of hints.
    pub news: News,
    /// Calls of tools that are under way.
    pub tools: ToolSpans,
    /// Where its work is to be checked.
    pub checker: Option<Arc<Checker>>,
    /// Time at which the shim ends the tree, unless the lease is renewed.
    pub deadline: BootInstant,
}

/// Results of an attempt.
pub struct Ended {
    /// Reason of the end.
    pub why: StopReason,
    /// Exit of its process.
    pub exit: Exit,
    /// Observations.
    pub observed: Observed,
    /// The end of what the CLI said on standard error.
    pub stderr: String,
}

/// What the drive of an attempt has come to.
#[derive(Debug)]
pub enum Driven {
    /// The process has ended.
    Ended(Exit),
    /// The worker leaves, and the attempt is to go on without it.
    HandOver,
    /// It may spend this at most from now on.
    Limit(Usd),
}

impl Attempt {
    /// An attempt of another worker, whose process runs.
    pub fn resumed(run: Run, parts: Parts, (machine, estimate): (MachineState, Estimate)) -> Self {
        let make = |config| Machine::resumed(config, machine, now());
        Self { estimate, ..Self::over(run, parts, make) }
    }

    /// An attempt whose process was just started.
    pub fn new(run: Run, parts: Parts) -> Self {
        Self::over(run, parts, |config| Machine::new(config, now()))
    }

    fn over(run: Run, parts: Parts, machine: impl FnOnce(Config) -> Machine) -> Self {
        let Parts { outbox, config, news, tools, checker, deadline } = parts;
        Self {
            key: config.key,
            run,
            outbox,
            machine: machine(config),
            news,
            estimate: Estimate::default(),
            pieces: Pieces::default(),
            tools,
            checker,
            check: None,
            deadline,
            check_left_some: false,
        }
    }

    /// Hands the instruction over; with a message, the first turn is that of the message.
    pub async fn begin(&mut self, instruction: String, files: Vec<String>, message: Option<i64>) {
        self.step(Event::Began { instruction, files, message }).await;
    }

    /// Returns the time at which the shims end what runs, unless the lease is renewed.
    pub const fn deadline(&self) -> BootInstant {
        self.deadline
    }

    /// Follows the process to its end, and brings that about where it must be.
    pub async fn drive(&mut self, commands: &mut Commands) -> Driven {
        let mut worker_lives = true;
        if self.check.is_none() {
            self.step(Event::Resumed).await;
        }
        loop {
            let alarm = self.machine.alarm();
            tokio::select! {
                item = self.run.next() => {
                    if let Some(exit) = self.take(item).await {
                        return Driven::Ended(exit);
                    }
                }
                command = commands.recv(), if worker_lives => match command {
                    Some(RunCommand::Extend(until)) => {
                        self.deadline = until;
                        self.run.extend(until);
                        self.check.iter().for_each(|check| check.extend(until));
                    }
                    Some(RunCommand::Hear(said)) => {
                        for one in said {
                            self.step(Event::Input(one)).await;
                        }
                    }
                    Some(RunCommand::Lost) => self.step(Event::Lost).await,
                    Some(RunCommand::Shutdown) => self.step(Event::Shutdown).await,
                    Some(RunCommand::Draining) => self.step(Event::Draining).await,
                    Some(RunCommand::HandOver) => return Driven::HandOver,
                    Some(RunCommand::Limit(budget)) => return Driven::Limit(budget),
                    // It was not held.
                    Some(RunCommand::LetGo(_)) => {}
                    None => {
                        worker_lives = false;
                        self.step(Event::Shutdown).await;
                    }
                },
                checked = of_check(&mut self.check), if self.check.is_some() => {
                    self.check = None;
                    self.check_left_some |= !checked.gone;
                    self.step(Event::Checked(checked.round)).await;
                }
                filed = self.outbox.next(), if self.machine.why() != StopReason::Lost => match filed {
                    Some(filed) => self.step(Event::Stored(filed)).await,
                    None => self.step(Event::Lost).await,
                },
                () = tokio::time::sleep_until(alarm.into()) => self.step(Event::Alarm).await,
            }
        }
    }

    /// Takes what the CLI has printed. Returns its exit, where it has ended.
    async fn take(&mut self, item: Item) -> Option<Exit> {
        match item {
            Item::Frame(frame) => {
                self.estimate(&frame).await;
                self.tools.note(&frame);
                self.step(Event::Frame(frame)).await;
            }
            Item::TooLong(bytes) => self.step(Event::TooLong(bytes)).await,
            Item::Ended(exit) => {
                self.end_check().await;
                self.step(Event::Ended).await;
                let gone = exit.gone && !self.check_left_some;
                return Some(Exit { gone, ..exit });
            }
        }
        None
    }

    /// Prepares the attempt for another worker: takes all that was read of the CLI, and waits until it is stored. Returns
    /// false where it can't be left: the task is lost, and its process is being ended, or something of a check may be left.
    pub async fn store_all(&mut self) -> bool {
        self.run.pause();
        while let Some(item) = self.run.rest().await {
            self.take(item).await;
        }
        // It begins anew with the next worker.
        self.end_check().await;
        if self.check_left_some {
            return false;
        }
        loop {
            let is_stored = self.outbox.flush().await.is_some();
            match self.outbox.filed() {
                Some(filed) => self.step(Event::Stored(filed)).await,
                None if is_stored => return true,
                None => {
                    self.step(Event::Lost).await;
                    return false;
                }
            }
        }
    }

    /// Leaves an attempt of which [all is stored](Self::store_all) with its shim for another worker. Returns how it has
    /// ended where that can't be.
    pub async fn hold(self, folder: &Path, about: About, pass: Option<OwnedFd>) -> Result<HeldRun, Ended> {
        let Self { key, run, outbox, mut machine, estimate, checker, .. } = self;
        let check = checker.map(|checker| checker.place());
        let stderr = run.stderr();
        let stored = outbox.flush().await.ok_or_else(|| io::Error::other("the task is lost"));
        let carried = machine.carried(Instant::now());
        let state = |run| {
            let carried = Carried { version: VERSION, about, run, machine: carried, outbox: stored?, estimate, check };
            Ok(serde_json::to_string(&carried)?)
        };
        match run.hold(folder, key, pass, state).await {
            Ok(held) => {
                outbox.close().await;
                Ok(held)
            }
            Err((error, exit)) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "An attempt can't be handed over");
                for event in [Event::Shutdown, Event::Ended] {
                    machine.step(event, now());
                }
                Err(end(machine, outbox, exit, stderr).await)
            }
        }
    }

    /// Waits until all is stored.
    pub async fn close(self, exit: Exit) -> Ended {
        let stderr = self.run.stderr();
        end(self.machine, self.outbox, exit, stderr).await
    }

    async fn end_check(&mut self) {
        if let Some(check) = self.check.take() {
            self.check_left_some |= !check.end().await;
        }
    }

    async fn estimate(&mut self, frame: &Frame) {
        if let FrameKind::Assistant { by_model: true, answer, .. } = &frame.kind {
            let so_far = self.estimate.add(&answer.id, &answer.model, &answer.usage);
            self.outbox.cost(so_far).await;
        }
    }

    async fn step(&mut self, event: Event) {
        for effect in self.machine.step(event, now()) {
            match effect {
                Effect::Tell(what) => self.tell(what),
                Effect::FinishInput => self.run.finish_input(),
                Effect::EndTree(grace) => self.run.end(grace),
                Effect::Check(produced) => {
                    let checker = self.checker.clone();
                    self.check = checker.map(|checker| Check::begin(checker, *produced, self.deadline));
                }
                Effect::EndCheck => self.end_check().await,
                Effect::Add(event) => {
                    // What was held back of a text stands whole in the event that follows it.
                    self.pieces = Pieces::default();
                    self.outbox.add(event).await;
                }
                Effect::Looping(sign) => self.outbox.looping(sign).await,
                Effect::Say(text) => self.outbox.say(text).await,
                Effect::Ask(ask) => self.outbox.ask(*ask).await,
                Effect::Note(step) => self.outbox.note(step).await,
                Effect::Partial(text) => {
                    let shown = self.pieces.take(&text);
                    if !shown.is_empty() {
                        self.news.partial(self.key.task, &shown);
                    }
                }
                Effect::Transcript { session, entries } => self.outbox.mirror(session, entries).await,
                Effect::Warn(what, detail) => tracing::warn!(detail, "{what}"),
            }
        }
    }

    fn tell(&mut self, what: ToCli) {
        match what {
            ToCli::Initialize => self.run.initialize(),
            ToCli::McpStatus => self.run.ask_mcp_status(),
            ToCli::Instruct { text, files } => self.run.instruct(&text, &files),
            ToCli::Answer { cli_id, decision, input, exact_input, rules } => {
                self.run.answer(&cli_id, &decision, &input, exact_input.as_deref(), &rules);
            }
            ToCli::Refuse(request_id) => self.run.refuse(&request_id),
            ToCli::Interrupt => self.run.interrupt(),
        }
    }
}

/// Waits for the end of a check that runs.
async fn of_check(check: &mut Option<Check>) -> Checked {
    match check {
        Some(check) => check.done().await,
        None => std::future::pending().await,
    }
}

/// Stores the last of an attempt whose process has ended.
async fn end(machine: Machine, outbox: Outbox, exit: Exit, mut stderr: String) -> Ended {
    mask(&mut stderr);
    if !stderr.is_empty() {
        outbox.add(NewEvent::log(&format!("standard error: {stderr}"))).await;
    }
    outbox.close().await;
    let (why, observed) = machine.into_parts();
    Ended { why, exit, observed, stderr }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: wall_now() }
}
