//! One attempt at one task, from its claim to its report.
//!
//! The report goes out only when the process tree is gone, so a task that is pending again
//! has nothing of its earlier attempt alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fail::fail_point;
use tokio::sync::mpsc;

use super::News;
use super::event_log::EventLog;
use super::set_up::{NotReady, Ready, Tools, set_up};
use crate::claude::{Ending, Exit, Frame, FrameKind, Item, Observed, Run};
use crate::process::{self, Cookie, boot_now};
use crate::queue::{Assignment, Finish, Next, Queue, QueueError, Release, Stale};
use crate::task::{
    BootInstant, EventKind, Failure, FailureClass, LeaseKey, NewEvent, Outcome, ReleaseReason, Report, Status, Task,
    Timeout,
};

/// After its result the CLI writes its session down and ends by itself within so long.
const AFTER_RESULT: Duration = Duration::from_secs(2);
/// An interrupted turn ends within so long; then comes TERM.
const AFTER_INTERRUPT: Duration = Duration::from_millis(1_000);
/// Between TERM and KILL.
const AFTER_TERM: Duration = Duration::from_millis(1_500);
/// The pause before a report is sent again.
const RETRY: Duration = Duration::from_millis(500);

/// What an attempt is told while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCommand {
    /// The lease was renewed: live until then.
    Extend(BootInstant),
    /// The task is not ours any more: end, and report nothing.
    Lost,
    /// The worker stops: end, and give the task back.
    Shutdown,
}

/// Why the attempt is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    ItsOwn(Ending),
    Lost,
    Shutdown,
}

/// Where the end of the process stands.
enum Phase {
    Running,
    /// Asked to end; the next, harder step comes at this time.
    Ending {
        next: Step,
        at: Instant,
    },
}

#[derive(Clone, Copy)]
enum Step {
    Term,
    Wait,
}

/// See the [module](self).
pub struct AgentRun {
    /// What all attempts of the worker share.
    pub tools: Arc<Tools>,
    /// Where it reports.
    pub queue: Queue,
    /// Where hints go.
    pub news: News,
    /// The task in hand.
    pub assignment: Assignment,
    /// From WorkerActor.
    pub commands: mpsc::Receiver<RunCommand>,
    /// When the shim ends the tree, unless the lease is renewed.
    pub deadline: BootInstant,
}

impl AgentRun {
    /// Runs the attempt to its end and reports it.
    pub async fn run(mut self) {
        let task = &self.assignment.task;
        self.news.started(task.id);
        process::barrier("run-set-up");
        match set_up(&self.tools, &self.assignment, self.deadline).await {
            Ok(ready) => self.run_cli(ready).await,
            Err(NotReady::Fail(failure)) => {
                self.report(Report::of(Outcome::Failed(failure))).await;
            }
            Err(NotReady::Release(why, delay)) => {
                tracing::warn!(taskId = %task.id, why, "Task given back");
                self.release(ReleaseReason::SetUpFailed, Some(why), delay, None).await;
            }
        }
        self.news.ended(self.assignment.key.task);
    }

    async fn run_cli(&mut self, ready: Ready) {
        let session_id = ready.session.id().to_string();
        if self.deadline.is_past(boot_now()) {
            // We slept through our lease: by now somebody else may run the task.
            let why = Some("the lease could not be renewed".to_owned());
            return self.release(ReleaseReason::SetUpFailed, why, Duration::ZERO, None).await;
        }
        let mut run = match Run::start(ready.start) {
            Ok(run) => run,
            Err(error) => {
                let why = Some(format!("can't start a process: {error}"));
                return self.release(ReleaseReason::SetUpFailed, why, Duration::from_secs(1), None).await;
            }
        };
        process::barrier("run-started");
        run.instruct(&ready.instruction);
        let began = Instant::now();
        let events = EventLog::open(self.queue.clone(), self.assignment.key, session_id.clone());
        let mut attempt = Attempt::new(run, events, &self.assignment.task, self.tools.task_timeout);
        let (why, exit) = attempt.drive(&mut self.commands, &mut self.deadline, &self.news).await;
        process::barrier("run-ended");
        let task = self.assignment.key.task;
        if !exit.gone {
            sweep(task).await;
        }
        fail_point!("agent-run");
        let stderr = attempt.run.stderr();
        if !stderr.is_empty() {
            attempt.events.add(NewEvent::log(&format!("standard error: {stderr}"))).await;
        }
        let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        attempt.events.close().await;
        match why {
            Why::Lost => tracing::info!(taskId = %task, "Task is not ours any more"),
            Why::Shutdown if !attempt.observed.is_done() => {
                self.release(ReleaseReason::Shutdown, None, Duration::ZERO, Some(session_id)).await;
            }
            // The shim ended it because the lease could not be renewed: no fault of the task.
            _ if !attempt.observed.is_done() && self.deadline.is_past(boot_now()) => {
                let why = Some("the lease could not be renewed".to_owned());
                self.release(ReleaseReason::Shutdown, why, Duration::ZERO, Some(session_id)).await;
            }
            why => {
                let ending = if let Why::ItsOwn(ending) = why { ending } else { Ending::ItsOwn };
                self.report(attempt.observed.into_report(ending, &exit, &stderr, duration_ms)).await;
            }
        }
    }

    /// Reports until the store has it, or says that it is not wanted.
    async fn report(&self, report: Report) {
        let key = self.assignment.key;
        let credential = self.tools.claude.credential.clone();
        let finish = Finish { key, report, credential, events: Vec::new(), chance: process::chance() };
        let Some(Ok(next)) = self.insist(key, || finish.clone()).await else { return };
        log_end(&self.assignment.task, &finish.report, &next);
    }

    async fn release(
        &self,
        reason: ReleaseReason,
        detail: Option<String>,
        delay: Duration,
        session_id: Option<String>,
    ) {
        let key = self.assignment.key;
        let release = Release { key, reason, detail, delay, session_id, events: Vec::new() };
        self.insist(key, || release.clone()).await;
    }

    /// Asks until there is an answer. `None` when the task is lost.
    async fn insist<M, T>(&self, key: LeaseKey, message: impl Fn() -> M) -> Option<Result<T, Stale>>
    where
        M: actix::Message<Result = Result<Result<T, Stale>, QueueError>> + Send + 'static,
        T: Send + 'static,
        crate::queue::QueueActor: actix::Handler<M>,
    {
        loop {
            match self.queue.ask(message()).await {
                Ok(Err(Stale)) => {
                    tracing::info!(taskId = %key.task, "Report came too late: the task is not ours any more");
                    return None;
                }
                Ok(answer) => return Some(answer),
                Err(error) => {
                    tracing::warn!(taskId = %key.task, %error, "the report waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// After a panic in an attempt: its shim has seen it go and ends the tree; what is left is
/// ended here, then the task is reported as crashed.
pub async fn report_panic(queue: &Queue, key: LeaseKey, credential: String) {
    sweep(key.task).await;
    let failure = Failure::new(FailureClass::Crashed, "WORKER_PANICKED", "the worker failed while it ran the task");
    let report = Report::of(Outcome::Failed(failure));
    let finish = Finish { key, report, credential, events: Vec::new(), chance: process::chance() };
    if let Err(error) = queue.ask(finish).await {
        // The next look finds a task that nobody runs, and gives it back.
        tracing::warn!(taskId = %key.task, %error, "Could not report a panic");
    }
}

/// The running process, and what was seen of it.
struct Attempt {
    run: Run,
    events: EventLog,
    observed: Observed,
    task: crate::task::TaskId,
    total: Duration,
    idle: Option<Duration>,
    began: Instant,
    heard: Instant,
    phase: Phase,
    why: Why,
}

impl Attempt {
    fn new(run: Run, events: EventLog, task: &Task, default_total: Duration) -> Self {
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        let timeout = task.spec.options.timeout;
        let now = Instant::now();
        Self {
            run,
            events,
            observed: Observed::default(),
            task: task.id,
            total: timeout.and_then(Timeout::total).map_or(default_total, ms),
            idle: timeout.and_then(Timeout::idle).map(ms),
            began: now,
            heard: now,
            phase: Phase::Running,
            why: Why::ItsOwn(Ending::ItsOwn),
        }
    }

    /// Follows the process to its end, and brings that about where it must be.
    async fn drive(
        &mut self,
        commands: &mut mpsc::Receiver<RunCommand>,
        deadline: &mut BootInstant,
        news: &News,
    ) -> (Why, Exit) {
        let mut worker_lives = true;
        loop {
            let alarm = self.alarm();
            tokio::select! {
                item = self.run.next() => match item {
                    Item::Frame(frame) => self.take(frame, news).await,
                    Item::TooLong(bytes) => {
                        self.events.add(NewEvent::log(&format!("a line of {bytes} bytes was dropped"))).await;
                    }
                    Item::Ended(exit) => return (self.why, exit),
                },
                command = commands.recv(), if worker_lives => match command {
                    Some(RunCommand::Extend(until)) => {
                        *deadline = until;
                        self.run.extend(until);
                    }
                    Some(RunCommand::Lost) => self.end(Why::Lost),
                    Some(RunCommand::Shutdown) => self.end(Why::Shutdown),
                    None => {
                        worker_lives = false;
                        self.end(Why::Shutdown);
                    }
                },
                () = self.events.lost(), if self.why != Why::Lost => self.end(Why::Lost),
                () = tokio::time::sleep_until(alarm.into()) => self.ring(),
            }
        }
    }

    /// When to act, should nothing happen before.
    fn alarm(&self) -> Instant {
        match self.phase {
            Phase::Ending { at, .. } => at,
            Phase::Running => match self.idle.filter(|_| !self.observed.a_tool_runs()) {
                Some(idle) => (self.began + self.total).min(self.heard + idle),
                None => self.began + self.total,
            },
        }
    }

    fn ring(&mut self) {
        match self.phase {
            Phase::Running if self.began.elapsed() >= self.total => {
                self.end(Why::ItsOwn(Ending::Timeout(millis(self.total))));
            }
            Phase::Running => {
                self.end(Why::ItsOwn(Ending::Idle(millis(self.idle.unwrap_or_default()))));
            }
            Phase::Ending { next: Step::Term, .. } => {
                self.run.end(AFTER_TERM);
                // The shim does the rest; this alarm only repeats the order.
                self.phase = Phase::Ending { next: Step::Wait, at: Instant::now() + 2 * AFTER_TERM };
            }
            Phase::Ending { next: Step::Wait, .. } => {
                self.run.end(Duration::ZERO);
                self.phase = Phase::Ending { next: Step::Wait, at: Instant::now() + AFTER_TERM };
            }
        }
    }

    /// Interrupts the turn; TERM and KILL follow by the alarm. The first reason counts, but a
    /// lost task stays lost.
    fn end(&mut self, why: Why) {
        if why == Why::Lost || matches!(self.phase, Phase::Running) {
            self.why = why;
        }
        if matches!(self.phase, Phase::Running) {
            self.run.interrupt();
            self.run.finish_input();
            self.phase = Phase::Ending { next: Step::Term, at: Instant::now() + AFTER_INTERRUPT };
        }
    }

    async fn take(&mut self, frame: Frame, news: &News) {
        self.heard = Instant::now();
        self.observed.note(&frame);
        if let FrameKind::Partial { text } = &frame.kind {
            if !text.is_empty() {
                news.partial(self.task, text);
            }
            return;
        }
        if let Some(kind) = frame.event_kind() {
            self.events.add(NewEvent { kind, data: frame.event_data() }).await;
        }
        if frame.event_kind() == Some(EventKind::Result) && matches!(self.phase, Phase::Running) {
            self.run.finish_input();
            self.phase = Phase::Ending { next: Step::Term, at: Instant::now() + AFTER_RESULT };
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The shim could not say that all is gone (it was killed itself, say): look for ourselves.
async fn sweep(task: crate::task::TaskId) {
    let cookie = Cookie::task(task);
    match tokio::task::spawn_blocking(move || process::sweep(&cookie)).await {
        Ok((_, true)) => {}
        _ => tracing::error!(taskId = %task, "processes of the task could not be ended"),
    }
}

fn log_end(task: &Task, report: &Report, next: &Next) {
    let instruction: String = task.spec.instruction.chars().take(60).collect();
    let error = |failure: &Failure| format!("{}: {}", failure.code, failure.message);
    match (&report.outcome, next) {
        (Outcome::Failed(failure), Next::Again(due)) => {
            let due = due.map(|due| due.to_string()).unwrap_or_default();
            tracing::warn!(taskId = %task.id, error = error(failure), due, "Task will be tried again");
        }
        (Outcome::Failed(failure), Next::Ended(_)) if failure.class == FailureClass::Auth => {
            let error = error(failure);
            tracing::error!(taskId = %task.id, error, "The credential was refused; no task starts with it for a while");
        }
        (Outcome::Failed(failure), Next::Ended(_)) => {
            tracing::warn!(taskId = %task.id, error = error(failure), "Task failed");
        }
        (Outcome::Completed, Next::Ended(Status::Completed)) => {
            tracing::info!(taskId = %task.id, instruction, duration = report.duration_ms, "Task completed");
        }
        (Outcome::Completed, next) => tracing::error!(taskId = %task.id, ?next, "a completed task went on"),
    }
}
