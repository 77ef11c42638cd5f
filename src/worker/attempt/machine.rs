//! Machine of an attempt: decides what it does next. Pure: events come in with their time, effects go out in order.
//!
//! *Promises*, in any order of events (`machine_test.rs` holds it): one end, which only the end of the process tree brings,
//! and no effect after it; nothing is told to a CLI that was asked to end; turns run one at a time, and each message begins
//! once; a question is answered at most once; work that is to be checked counts only behind a check that has passed, one at a
//! time; with no further event, the tree is ended within the limits.

mod carried;
mod check;
mod frames;
mod talk;

pub use carried::MachineState;

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::effect::{Effect, Event, Now, StopReason, ToCli};
use super::questions::Questions;
use crate::claude::{Ending, Observed};
use crate::queue::Step;
use crate::worker::limits::Limits;
use crate::worker::mcp::{self, Gate};
use crate::worker::set_up::WorkerContext;
use domain::{LeaseKey, LoopGuard, NewEvent};
use wire::{Background, PermissionMode, Task, Verify};

/// Time within which the CLI writes its session down after its result, and ends by itself.
const AFTER_RESULT: Duration = Duration::from_secs(2);
/// Time within which an interrupted turn ends; then comes TERM.
const AFTER_INTERRUPT: Duration = Duration::from_millis(1_000);
/// Between TERM and KILL.
const AFTER_TERM: Duration = Duration::from_millis(1_500);
/// Time within which a message may say how to go on after an interrupt.
const FOR_A_MESSAGE: Duration = Duration::from_secs(60);
/// Time within which the CLI tells the model that the last background task has ended.
const AFTER_BACKGROUND: Duration = Duration::from_secs(5);
/// Answers of the API that can't change by waiting: the first may be a login that is being renewed.
const HOPELESS: u32 = 2;

/// Phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum RunPhase<T = Instant> {
    /// MCP servers are connected to; they are asked for again at `ask_at`.
    Connecting { since: T, ask_at: T },
    /// A turn runs; the clocks run, unless a question is open.
    Turn,
    /// The turn is over, and what it started in the background runs on; `empty` since nothing does any more.
    Background { empty: Option<T> },
    /// The turn was interrupted; a message may say how to go on, until then.
    Interrupted { until: T },
    /// The work is done, and is being checked.
    Verifying,
    /// Asked to end; the next, harder step comes at this time.
    Ending { next: KillStep, at: T },
    /// The process tree is gone.
    Over,
}

impl<T> RunPhase<T> {
    /// The same with other times.
    fn map<U>(self, to: impl Fn(T) -> U) -> RunPhase<U> {
        match self {
            Self::Connecting { since, ask_at } => RunPhase::Connecting { since: to(since), ask_at: to(ask_at) },
            Self::Turn => RunPhase::Turn,
            Self::Background { empty } => RunPhase::Background { empty: empty.map(to) },
            Self::Interrupted { until } => RunPhase::Interrupted { until: to(until) },
            Self::Verifying => RunPhase::Verifying,
            Self::Ending { next, at } => RunPhase::Ending { next, at: to(at) },
            Self::Over => RunPhase::Over,
        }
    }
}

/// The next step of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum KillStep {
    Term,
    Kill,
}

/// Limits and rules of an attempt.
pub struct Config {
    /// The lease under which it runs.
    pub key: LeaseKey,
    /// Time limits.
    pub limits: Limits,
    /// True if the CLI asks before it uses a tool: in [`PermissionMode::Default`] only.
    pub asks_for_tools: bool,
    /// Policy for background work that outlives its turn.
    pub background: Background,
    /// The MCP servers that the task named.
    pub gate: Gate,
    /// Failures of the same call that are a sign of a loop; 0: none is.
    pub loop_after: u32,
    /// What it is told then, where its turn is to be interrupted.
    pub loop_message: Option<String>,
    /// Times that a failed check goes back to the model; `None` where its work is not checked.
    pub check_rounds: Option<u32>,
}

impl Config {
    /// The values that the task sets, else the worker's.
    pub fn of(key: LeaseKey, task: &Task, tools: &WorkerContext) -> Self {
        let guard = task.spec.options.loop_guard.clone().unwrap_or_default();
        Self {
            key,
            loop_after: guard.after(tools.loop_guard),
            check_rounds: task.spec.verify.as_ref().map(Verify::rounds),
            loop_message: guard.to_say(),
            limits: Limits::of(task, tools),
            asks_for_tools: tools.mode_of(task) == PermissionMode::Default,
            background: task.spec.options.background.unwrap_or_default(),
            gate: Gate::of(task, tools),
        }
    }
}

/// See the [module](self).
pub struct Machine {
    config: Config,
    now: Now,
    effects: Vec<Effect>,
    observed: Observed,
    began: Instant,
    heard: Instant,
    phase: RunPhase,
    why: StopReason,
    /// The message whose turn runs.
    turn: Option<i64>,
    /// Messages for later turns. One at a time: the CLI takes frames of one turn together.
    next_turns: VecDeque<(i64, String)>,
    /// Numbers of messages and interrupts that were taken.
    taken: HashSet<i64>,
    /// True if this turn was interrupted.
    interrupted: bool,
    questions: Questions,
    /// True if the worker takes no more work: then no question waits for its answer in a slot.
    draining: bool,
    /// First message, sent when the MCP servers are connected.
    first: Option<(String, Vec<String>)>,
    /// Answers of the API that can't change by waiting, so far.
    hopeless: u32,
    guard: LoopGuard,
}

impl Machine {
    /// An attempt whose process was just started.
    pub fn new(config: Config, now: Now) -> Self {
        let mut observed = Observed::default();
        if config.check_rounds.is_some() {
            observed.need_check();
        }
        Self {
            guard: LoopGuard::after(config.loop_after),
            config,
            now,
            effects: Vec::new(),
            observed,
            began: now.instant,
            heard: now.instant,
            phase: RunPhase::Turn,
            why: StopReason::ItsOwn(Ending::ItsOwn),
            turn: None,
            next_turns: VecDeque::new(),
            taken: HashSet::new(),
            interrupted: false,
            questions: Questions::default(),
            draining: false,
            first: None,
            hopeless: 0,
        }
    }

    /// Returns the reason of the end, as far as it is known.
    pub const fn why(&self) -> StopReason {
        self.why
    }

    /// True if the CLI asks before it uses a tool.
    #[cfg(test)]
    pub const fn asks_for_tools(&self) -> bool {
        self.config.asks_for_tools
    }

    /// Returns the reason of the end, and the observations.
    pub fn into_parts(self) -> (StopReason, Observed) {
        (self.why, self.observed)
    }

    /// Takes an event, and returns what is to be done, in order.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Effect> {
        if self.phase == RunPhase::Over {
            return Vec::new();
        }
        self.now = now;
        match event {
            Event::Began { instruction, files, message } => self.begin(instruction, files, message),
            Event::Frame(frame) => self.take(frame),
            Event::TooLong(bytes) => self.log(&format!("a line of {bytes} bytes was dropped")),
            Event::Stored(filed) => self.stored(filed),
            Event::Input(said) => self.hear(said),
            Event::Lost => self.end(StopReason::Lost),
            Event::Shutdown => self.end(StopReason::Shutdown),
            Event::Draining => self.draining = true,
            Event::Checked(round) => self.checked(round),
            Event::Resumed if self.phase == RunPhase::Verifying => self.begin_check(),
            Event::Resumed => {}
            Event::Alarm if self.alarm() <= now.instant => self.on_timer(),
            Event::Alarm => {}
            Event::Ended => {
                self.note_background();
                self.phase = RunPhase::Over;
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Returns the time to act, should nothing happen before.
    pub fn alarm(&self) -> Instant {
        let (end, limits) = (self.began + self.config.limits.total, &self.config.limits);
        let park = if self.draining { Duration::ZERO } else { limits.park };
        match (self.phase, self.questions.alarm(park)) {
            (RunPhase::Ending { at, .. }, _) => at,
            (RunPhase::Connecting { ask_at, .. }, _) => ask_at.min(end),
            (RunPhase::Interrupted { .. }, _) if self.draining => self.now.instant,
            (RunPhase::Interrupted { until }, _) => until,
            (RunPhase::Turn | RunPhase::Background { .. }, Some(patience)) => patience,
            (RunPhase::Background { empty: Some(since) }, None) => (since + AFTER_BACKGROUND).min(end),
            (RunPhase::Background { empty: None }, None) | (RunPhase::Verifying | RunPhase::Over, _) => end,
            (RunPhase::Turn, None) => match limits.idle.filter(|_| !self.observed.has_open_tool_call()) {
                Some(idle) => end.min(self.heard + idle),
                None => end,
            },
        }
    }

    /// True if the CLI was asked to end.
    const fn is_ending(&self) -> bool {
        matches!(self.phase, RunPhase::Ending { .. })
    }

    fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells the CLI something, unless it was asked to end.
    fn tell(&mut self, what: ToCli) {
        if !self.is_ending() {
            self.emit(Effect::Tell(what));
        }
    }

    fn note(&mut self, step: Step) {
        self.emit(Effect::Note(step));
    }

    fn log(&mut self, message: &str) {
        self.emit(Effect::Add(NewEvent::log(message)));
    }

    /// Hands the instruction over: at once, or when the MCP servers that the task named are connected.
    fn begin(&mut self, instruction: String, files: Vec<String>, message: Option<i64>) {
        if self.config.gate.is_open() {
            self.tell(ToCli::Instruct { text: instruction, files });
        } else {
            self.first = Some((instruction, files));
            self.tell(ToCli::Initialize);
            self.tell(ToCli::McpStatus);
            let since = self.now.instant;
            self.phase = RunPhase::Connecting { since, ask_at: since + mcp::ASK_AGAIN };
        }
        if let Some(message) = message {
            self.taken.insert(message);
            self.turn = Some(message);
            self.note(Step::Begun(message));
        }
    }

    fn on_timer(&mut self) {
        let (total, idle) = (self.config.limits.total, self.config.limits.idle.unwrap_or_default());
        let is_over = self.now.instant.saturating_duration_since(self.began) >= total;
        match self.phase {
            RunPhase::Turn | RunPhase::Background { .. } if self.questions.are_open() => self.lose_patience(),
            RunPhase::Turn | RunPhase::Background { .. } | RunPhase::Connecting { .. } | RunPhase::Verifying
                if is_over =>
            {
                self.end(StopReason::ItsOwn(Ending::Timeout(millis(total))));
            }
            RunPhase::Connecting { since, .. } => self.ask_again(since),
            RunPhase::Background { .. } => self.work_is_done(),
            RunPhase::Turn => self.end(StopReason::ItsOwn(Ending::Idle(millis(idle)))),
            RunPhase::Interrupted { .. } => self.finish(StopReason::ItsOwn(Ending::Interrupted)),
            RunPhase::Ending { next: KillStep::Term, .. } => {
                // At a TERM the CLI ends what runs in the background and asks the model what to make of it.
                let grace = if self.observed.has_background() { Duration::ZERO } else { AFTER_TERM };
                // The shim does the rest; the next alarm only repeats the order.
                self.end_tree(grace, 2 * AFTER_TERM);
            }
            RunPhase::Ending { next: KillStep::Kill, .. } => self.end_tree(Duration::ZERO, AFTER_TERM),
            RunPhase::Verifying | RunPhase::Over => {}
        }
    }

    fn end_tree(&mut self, grace: Duration, again: Duration) {
        self.emit(Effect::EndTree(grace));
        self.phase = RunPhase::Ending { next: KillStep::Kill, at: self.now.instant + again };
    }

    /// Handles a question that outlived its deadline or its slot.
    fn lose_patience(&mut self) {
        match self.questions.too_late(self.now.instant) {
            // The store decides, and tells us with the next look.
            Some(request_id) => self.note(Step::TooLate(request_id)),
            None => self.end(StopReason::Waiting),
        }
    }

    /// Brings the end about; TERM and KILL follow by the alarm. The first reason counts, but a
    /// lost task stays lost.
    fn end(&mut self, why: StopReason) {
        if why == StopReason::Lost || !self.is_ending() {
            self.why = why;
        }
        if self.is_ending() {
            return;
        }
        if matches!(self.phase, RunPhase::Interrupted { .. }) && why == StopReason::Shutdown {
            // There is nothing to go on with elsewhere.
            return self.finish(StopReason::ItsOwn(Ending::Interrupted));
        }
        if self.phase == RunPhase::Verifying {
            self.emit(Effect::EndCheck);
        }
        if self.questions.are_open() {
            // An interrupt would answer the question with a no, and so would the end of the input.
            if why == StopReason::Shutdown {
                self.why = StopReason::Waiting;
            }
            self.end_tree(AFTER_TERM, 2 * AFTER_TERM);
        } else {
            self.tell(ToCli::Interrupt);
            self.finish_input(AFTER_INTERRUPT);
        }
    }

    /// Lets the CLI end by itself: nothing more is to come.
    fn finish(&mut self, why: StopReason) {
        self.why = why;
        self.finish_input(AFTER_RESULT);
    }

    fn finish_input(&mut self, patience: Duration) {
        self.emit(Effect::FinishInput);
        self.phase = RunPhase::Ending { next: KillStep::Term, at: self.now.instant + patience };
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
