//! One attempt at one task, from its claim to its report.
//!
//! The report goes out only when the process tree is gone, so a task that is pending again
//! has nothing of its earlier attempt alive. What becomes of an attempt whose worker is replaced is in [handover].

mod handover;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Recipient;
use fail::fail_point;

use self::handover::Handed;
use super::News;
use super::artifacts;
use super::attempt::{Attempt, Config, Driven, Ended, Parts, StopReason, ToolSpans};
use super::check::Checker;
use super::commands::Commands;
use super::messages::RunHeld;
use super::outbox::{Outbox, OutboxState};
use super::secrets::Given;
use super::set_up::{NotReady, Ready, WorkerContext, set_up};
use super::warm_pool::{LaunchSpec, Running, WarmProcess};
use super::worktree;
use crate::claude::{Ending, Run, Start};
use crate::process::{self, BackOff, EnvMarks, boot_now};
use crate::proxy::{Counted, Pass};
use crate::queue::{Append, Assignment, Find, Finish, NextStep, Queue, QueueError, Release, Stale};
use crate::telemetry::traces::{Span, variables_of_cli};
use crate::telemetry::{chain, mask, mask_value, masked};
use domain::{
    Artifact, BootInstant, ChangeSet, Failure, FailureClass, LeaseKey, NewEvent, Outcome, ReleaseReason, Report,
    SessionId, Spent, Status, TaskInput, Usd,
};
use wire::{Patterns, Task};

/// Delay of a task where the system has no process to give.
const NO_PROCESS_DELAY: Duration = Duration::from_secs(2);

/// Command to a running attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum RunCommand {
    /// The lease was renewed: live until then.
    Extend(BootInstant),
    /// The task is not ours any more: end, and report nothing.
    Lost,
    /// The worker stops: end, and give the task back.
    Shutdown,
    /// The worker takes no more work: what waits for people gives its slot back.
    Draining,
    /// The worker leaves: leave the process with its shim, for another worker.
    HandOver,
    /// The store knows that it is handed over: another worker has this time to take it.
    LetGo(BootInstant),
    /// A message, an interrupt or an answer has come for the task.
    Hear(Vec<TaskInput>),
    /// What its children have of its budget has changed: it may spend this at most.
    Limit(Usd),
}

/// See the [module](self).
pub struct AgentRun {
    /// Context that all attempts of the worker share.
    pub tools: Arc<WorkerContext>,
    /// Queue to which it reports.
    pub queue: Queue,
    /// Receivers of hints.
    pub news: News,
    /// The task in hand.
    pub assignment: Assignment,
    /// Its span.
    pub trace: Span,
    /// Commands of WorkerActor.
    pub commands: Commands,
    /// Time at which the shim ends the tree, unless the lease is renewed.
    pub deadline: BootInstant,
    /// Told when its process is held for another worker.
    pub held: Recipient<RunHeld>,
}

/// What is known of an attempt beside its process.
struct Following {
    session: SessionId,
    directory: PathBuf,
    began: Instant,
    pass: Option<Pass>,
    secrets: Given,
    /// Recipe for a process of the next task of this kind, which counts as running.
    recipe: Option<(LaunchSpec, Running)>,
    agent: Span,
}

impl AgentRun {
    /// Runs the attempt to its end and reports it.
    pub async fn run(mut self) {
        let task = &self.assignment.task;
        self.news.started(task.id);
        process::barrier("run-set-up");
        let setting_up = Span::of_set_up();
        let ready = Box::pin(set_up(&self.tools, &self.queue, &self.assignment, self.deadline));
        let ready = setting_up.within(ready);
        let ready = self.commands.during(ready, &mut self.deadline).await;
        drop(setting_up);
        match ready {
            Ok(mut ready) => {
                ready.start.deadline = self.deadline;
                Box::pin(self.run_cli(ready)).await;
            }
            Err(NotReady::Fail(failure)) => {
                self.report(Report::of(Outcome::Failed(failure)), Vec::new()).await;
            }
            Err(NotReady::Release(why, delay)) => self.give_up(why, delay).await,
        }
        self.news.ended(self.assignment.key.task);
    }

    async fn run_cli(&mut self, ready: Ready) {
        if self.deadline.is_past(boot_now()) {
            // We slept through our lease: by now another worker may run the task.
            return self.give_up("the lease could not be renewed".to_owned(), Duration::ZERO).await;
        }
        let mut agent = Span::of_agent(self.assignment.task.spec.options.sdk.model.as_deref());
        let directory = ready.start.directory.clone();
        let recipe = ready.recipe.map(|recipe| {
            let runs = self.tools.standby.began(&recipe);
            (recipe, runs)
        });
        let warm = self.warm(recipe.as_ref().map(|(recipe, _)| recipe)).await;
        let is_warm = warm.is_some();
        let session_id = warm.as_ref().map_or(ready.session.id(), |warm| warm.session);
        let started = match warm {
            Some(warm) => Ok((warm.run, warm.pass)),
            None => self.cold(ready.start, &agent).await,
        };
        let (run, mut pass) = match started {
            Ok(started) => started,
            Err(error) => {
                return self.give_up(format!("can't start a process: {error}"), Duration::from_secs(1)).await;
            }
        };
        if let Some(pass) = &mut pass
            && let Some(budget) = self.assignment.budget_usd
            && let Err(error) = pass.limit(Some(budget)).await
        {
            // Dropped, it is ended by its shim.
            drop(run);
            sweep(self.assignment.key.task, Some(session_id)).await;
            return self.give_up(format!("the credential proxy: {error}"), Duration::from_secs(1)).await;
        }
        process::barrier("run-started");
        agent.began(session_id, is_warm);
        let began = Instant::now();
        let (key, task) = (self.assignment.key, &self.assignment.task);
        let config = Config::of(key, task, &self.tools);
        let stored = OutboxState::new(self.tools.max_event_bytes);
        let outbox = Outbox::open(self.queue.clone(), key, session_id, stored);
        // A process that waited has no place in the trace.
        let tool_spans = ToolSpans::new(is_warm || !self.tools.traces.from_cli);
        let checker = Checker::of(&self.tools, task, ready.check);
        let (news, deadline) = (self.news.clone(), self.deadline);
        let mut attempt = Attempt::new(run, Parts { outbox, config, news, tools: tool_spans, checker, deadline });
        agent.within(attempt.begin(ready.instruction, ready.files, ready.message)).await;
        let secrets = ready.secrets;
        let following = Following { session: session_id, directory, began, pass, secrets, recipe, agent };
        Box::pin(self.follow(attempt, following)).await;
    }

    /// Follows the process to its end and reports it, or leaves it to another worker.
    async fn follow(&mut self, mut attempt: Attempt, mut of: Following) {
        let (key, session) = (self.assignment.key, of.session);
        let mut ended = loop {
            let driven = of.agent.within(attempt.drive(&mut self.commands)).await;
            self.deadline = attempt.deadline();
            match driven {
                Driven::Ended(exit) => {
                    process::barrier("run-ended");
                    if !exit.gone {
                        sweep(key.task, Some(session)).await;
                    }
                    fail_point!("agent-run");
                    break Box::pin(attempt.close(exit)).await;
                }
                Driven::Limit(budget) => self.limit(&mut of.pass, budget).await,
                Driven::HandOver => match Box::pin(self.hand_over(attempt, &of)).await {
                    Handed::Held(held) => return self.leave(held, of).await,
                    Handed::Kept(kept) => attempt = *kept,
                    Handed::Ended(ended) => break *ended,
                },
            }
        };
        let duration_ms = i64::try_from(of.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let Counted { spent, resets_at } = counted(&mut of.pass).await;
        spent.into_iter().for_each(|counted| ended.observed.count(counted));
        ended.observed.note_limit(resets_at);
        of.agent.spent(&ended.observed.spent());
        drop(of.agent);
        // Nothing of it runs any more. A client that sees its end finds them gone.
        of.secrets.remove_files();
        Box::pin(self.conclude(ended, duration_ms, session, &of.directory)).await;
        // What was said of them has been stored by now.
        drop(of.secrets);
        if let Some((recipe, runs)) = of.recipe {
            drop(runs);
            // The next task of this kind may come at any time; this one has nothing to do with it.
            let tools = Arc::clone(&self.tools);
            tokio::spawn(async move { tools.standby.refill(&tools, recipe).await });
        }
    }

    /// Lets the attempt spend this at most from now on.
    async fn limit(&self, pass: &mut Option<Pass>, budget: Usd) {
        // Without a proxy nobody else counts: the CLI was given its budget when it started.
        let Some(pass) = pass else { return };
        match pass.limit(Some(budget)).await {
            Ok(()) => {
                tracing::info!(budgetUsd = %budget, "Budget changed: children have a part, or gave one back");
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "The attempt can't be told its budget");
            }
        }
    }

    async fn cold(&self, mut start: Start, agent: &Span) -> std::io::Result<(Run, Option<Pass>)> {
        let attempt = (self.assignment.key, agent.place());
        start.env.extend(variables_of_cli(&self.tools.traces, Some(attempt)));
        let pass = self.tools.let_in(&mut start.env).await?;
        Ok((Run::start(self.tools.spare.take()?, start)?, pass))
    }

    /// The process that waits for a task like this one. Its session is stored before it is used: by it
    /// its processes are found, should we die.
    async fn warm(&self, recipe: Option<&LaunchSpec>) -> Option<WarmProcess> {
        let (key, tools) = (self.assignment.key, &self.tools);
        let warm = tools.standby.take(tools, recipe?).await?;
        let session_id = Some(warm.session);
        let append = Append {
            key,
            from: 0,
            events: Vec::new(),
            session_id,
            cost_so_far: None,
            looping: None,
            transcript: Vec::new(),
            essential: true,
        };
        if !matches!(self.queue.ask(append).await, Ok(Ok(()))) || self.deadline.is_past(boot_now()) {
            return None;
        }
        warm.run.adopt(key);
        warm.run.extend(self.deadline);
        tracing::debug!("Warm start");
        Some(warm)
    }

    /// Reports the attempt, or gives the task back.
    async fn conclude(&mut self, ended: Ended, duration_ms: i64, session_id: SessionId, directory: &Path) {
        let Ended { why, exit, observed, stderr } = ended;
        let (done, late) = (observed.is_done(), self.deadline.is_past(boot_now()));
        let spent = observed.spent();
        let back = |reason, detail: Option<&str>| Release {
            detail: detail.map(str::to_owned),
            session_id: Some(session_id),
            spent,
            ..self.giving_back(reason)
        };
        if why == StopReason::Lost {
            worktree::clean_lost(&self.tools, &self.queue, &self.assignment.task).await;
        }
        match why {
            // Nothing of the task has run: the system had no process to give.
            StopReason::ItsOwn(_) if exit.is_transient && exit.start_error.is_some() => {
                let why = format!("can't start the CLI: {}", exit.start_error.as_deref().unwrap_or_default());
                self.give_up(why, NO_PROCESS_DELAY).await;
            }
            StopReason::Lost if spent.cost_usd.is_none() => {
                tracing::info!("Task is not ours any more");
            }
            StopReason::Shutdown if !done => self.release(back(ReleaseReason::Shutdown, None)).await,
            StopReason::Waiting if !done => self.release(back(ReleaseReason::Waiting, None)).await,
            // The shim ended it because the lease could not be renewed: no fault of the task.
            StopReason::ItsOwn(_) if !done && late => {
                self.release(back(ReleaseReason::Shutdown, Some("the lease could not be renewed"))).await;
            }
            why => {
                let ending = if let StopReason::ItsOwn(ending) = why { ending } else { Ending::ItsOwn };
                let mut report = without_secrets(observed.into_report(ending, &exit, &stderr, duration_ms));
                // Of a lost task the report comes too late, and says what was spent: somebody else may
                // work in its folder by now.
                let mut events = Vec::new();
                if why != StopReason::Lost && !late {
                    report.changes = self.changes(&report.outcome).await;
                    (report.artifacts, events) = self.artifacts(directory).await;
                }
                self.report(report, events).await;
            }
        }
    }

    /// Returns the changes of the task in its worktree, where it has one.
    async fn changes(&self, outcome: &Outcome) -> Option<ChangeSet> {
        let task = &self.assignment.task;
        let options = task.spec.worktree()?;
        let completed = *outcome == Outcome::Completed;
        match worktree::conclude(&self.tools, task, &options, completed).await {
            Ok(changes) => changes,
            Err(error) => {
                tracing::warn!(error = chain(&error), "Can't say what the task has changed");
                None
            }
        }
    }

    /// Returns the files that the task leaves, where it is asked for some, and the event that tells of them.
    async fn artifacts(&self, directory: &Path) -> (Option<Vec<Artifact>>, Vec<NewEvent>) {
        let wanted = &self.assignment.task.spec.artifacts;
        let Some(patterns) = Patterns::of("artifacts", wanted).ok().filter(|_| !wanted.is_empty()) else {
            return Default::default();
        };
        match artifacts::collect(&self.tools, directory, patterns).await {
            Ok(found) => {
                // A task names its files as it likes.
                let line = masked(&found.line()).into_owned();
                (Some(found.artifacts), vec![NewEvent::log(&line)])
            }
            Err(error) => {
                let line = format!("no files are kept: {}", chain(&error));
                tracing::warn!(error = chain(&error), "Can't keep the files that the task leaves");
                (None, vec![NewEvent::log(&line)])
            }
        }
    }

    /// Reports until the store has it, or says that it is not wanted.
    async fn report(&mut self, report: Report, events: Vec<NewEvent>) {
        let key = self.assignment.key;
        self.trace.outcome(&report.outcome);
        let credential = self.tools.claude.credential.clone();
        let finish = Finish { key, report, credential, events, chance: process::chance() };
        let Some(next) = self.insist(&finish, "the end of a task").await else { return };
        log_end(&self.assignment.task, &finish.report, &next);
        if matches!(next, NextStep::Ended(_)) && self.assignment.task.spec.worktree().is_some() {
            worktree::clean(&self.tools, &self.queue, &self.assignment.task).await;
        }
    }

    /// The task as it was claimed, to be given back.
    const fn giving_back(&self, reason: ReleaseReason) -> Release {
        Release {
            key: self.assignment.key,
            reason,
            detail: None,
            delay: Duration::ZERO,
            spent: Spent::NONE,
            session_id: None,
            events: Vec::new(),
        }
    }

    /// Gives the task back: its attempt could not be set up.
    async fn give_up(&mut self, why: String, delay: Duration) {
        tracing::warn!(why, "Task given back");
        self.release(Release { detail: Some(why), delay, ..self.giving_back(ReleaseReason::SetUpFailed) }).await;
    }

    async fn release(&mut self, release: Release) {
        self.trace.released(release.reason);
        self.insist(&release, "a task that is given back").await;
    }

    /// Asks until there is an answer. `None` when the task is lost.
    async fn insist<M, T>(&self, message: &M, what: &str) -> Option<T>
    where
        M: actix::Message<Result = Result<Result<T, Stale>, QueueError>> + Clone + Send + 'static,
        T: Send + 'static,
        crate::queue::QueueActor: actix::Handler<M>,
    {
        let answer = self.queue.insist(message, what).await;
        if answer.is_err() {
            tracing::info!("Report came too late: the task is not ours any more");
        }
        answer.ok()
    }
}

/// What was counted on the way to the API; nothing where there is no proxy, or where it is gone.
async fn counted(pass: &mut Option<Pass>) -> Counted {
    let Some(pass) = pass else { return Counted::default() };
    pass.counted().await.unwrap_or_else(|error| {
        tracing::error!(error = chain(&error), "What the attempt has spent is not known");
        Counted::default()
    })
}

/// Reports the task as crashed after a panic in an attempt: its shim has seen it go and ends the tree; what is left is
/// ended here.
pub async fn report_panic(queue: &Queue, key: LeaseKey, credential: String) {
    let found = queue.ask(Find(key.task)).await.ok().flatten();
    sweep(key.task, found.as_ref().and_then(|task| task.attempted.session_id)).await;
    let failure = Failure::new(FailureClass::Crashed, "WORKER_PANICKED", "the worker failed while it ran the task");
    let report = Report::of(Outcome::Failed(failure));
    let finish = Finish { key, report, credential, events: Vec::new(), chance: process::chance() };
    if let Err(error) = queue.ask(finish).await {
        // The next look finds a task that no worker runs, and gives it back.
        tracing::warn!(error = chain(&error), "Could not report a panic");
    }
}

/// The shim could not say that all is gone (it was killed itself, say): look for ourselves. Insists: while anything of
/// the attempt lives, its task must not be free for another.
async fn sweep(task: domain::TaskId, session: Option<SessionId>) {
    let mut back_off = BackOff::default();
    while !process::end_all(EnvMarks::of_task(task, session)).await {
        tracing::error!("Processes of the task are left");
        back_off.pause().await;
    }
}

/// The report without the secrets in it. A patch stays as it is: it must apply.
fn without_secrets(mut report: Report) -> Report {
    if let Outcome::Failed(failure) = &mut report.outcome {
        mask(&mut failure.message);
    }
    report.result.iter_mut().for_each(mask);
    [&mut report.structured_output, &mut report.permission_denials].into_iter().flatten().for_each(mask_value);
    report.background_ended.iter_mut().for_each(mask);
    for round in report.verification.iter_mut().flat_map(|verification| &mut verification.rounds) {
        round.failures.iter_mut().for_each(mask);
        mask(&mut round.output);
    }
    report
}

fn log_end(task: &Task, report: &Report, next: &NextStep) {
    let instruction: String = task.spec.instruction.chars().take(60).collect();
    let error = |failure: &Failure| format!("{}: {}", failure.code, failure.message);
    match (&report.outcome, next) {
        (Outcome::Failed(failure), NextStep::Again(due)) => {
            let due = due.map(|due| due.to_string()).unwrap_or_default();
            tracing::warn!(error = error(failure), due, "Task will be tried again");
        }
        (Outcome::Failed(failure), NextStep::Ended(_)) if failure.class == FailureClass::Auth => {
            let error = error(failure);
            tracing::error!(error, "The credential was refused; no task starts with it for a while");
        }
        (Outcome::Failed(failure), NextStep::Ended(_)) => {
            tracing::warn!(error = error(failure), "Task failed");
        }
        (Outcome::Completed, NextStep::Ended(Status::Completed)) => {
            tracing::info!(instruction, duration = report.duration_ms, "Task completed");
        }
        (Outcome::Completed, next) => tracing::error!(?next, "a completed task went on"),
    }
}
