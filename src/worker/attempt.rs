//! A running process and what is seen of it: frames become events, time limits are watched,
//! questions wait for people, messages for the end of the turn before them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;

use super::News;
use super::agent_run::RunCommand;
use super::desk::{Desk, Filed};
use super::event_log::EventLog;
use super::limits::Limits;
use super::set_up::Tools;
use crate::claude::{Ending, Exit, Frame, FrameKind, Item, Observed, Run};
use crate::process::wall_now;
use crate::queue::{Ask, Queue, Step};
use crate::task::{BootInstant, Decision, EventKind, LeaseKey, NewEvent, Said, Task, session_rules};

/// After its result the CLI writes its session down and ends by itself within so long.
const AFTER_RESULT: Duration = Duration::from_secs(2);
/// An interrupted turn ends within so long; then comes TERM.
const AFTER_INTERRUPT: Duration = Duration::from_millis(1_000);
/// Between TERM and KILL.
const AFTER_TERM: Duration = Duration::from_millis(1_500);
/// After an interrupt somebody may say how to go on, within so long.
const FOR_A_MESSAGE: Duration = Duration::from_secs(60);

/// Why the attempt is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It ended by itself, or over a limit of its own.
    ItsOwn(Ending),
    /// The task is somebody else's.
    Lost,
    /// The worker stops.
    Shutdown,
    /// It waits for an answer, and others need the slot.
    Waiting,
}

/// Where the process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A turn runs; the clocks run, unless a question is open.
    Turn,
    /// The turn was interrupted; somebody may say how to go on, until then.
    Interrupted { until: Instant },
    /// Asked to end; the next, harder step comes at this time.
    Ending { next: Harder, at: Instant },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harder {
    Term,
    Kill,
}

/// A question that waits for an answer.
struct Open {
    /// The CLI's name for it.
    cli_id: String,
    /// What it wants to call the tool with.
    input: Value,
    /// Ours, when it is stored.
    request_id: Option<String>,
    /// What a yes for the session allows.
    rules: Vec<String>,
    /// When nobody's answer is a no.
    deadline: Option<Instant>,
}

/// A running process, and what was seen of it.
pub struct Attempt {
    /// The process.
    pub run: Run,
    /// Where its events go.
    pub events: EventLog,
    /// Where what is asked and said goes.
    pub desk: Desk,
    /// What was seen.
    pub observed: Observed,
    key: LeaseKey,
    limits: Limits,
    began: Instant,
    heard: Instant,
    phase: Phase,
    why: Why,
    /// The message whose turn runs.
    turn: Option<i64>,
    /// Messages for later turns. One at a time: the CLI takes frames of one turn together.
    next_turns: VecDeque<(i64, String)>,
    /// Numbers of what was said that we have taken.
    taken: HashSet<i64>,
    /// Whether somebody stopped this turn.
    interrupted: bool,
    open: Vec<Open>,
    /// Since when the clocks stand still.
    paused: Option<Instant>,
    /// Whether the worker takes no more work: then nobody waits for an answer in a slot.
    draining: bool,
}

impl Attempt {
    /// An attempt whose process was just started, and told what to do.
    pub fn new(run: Run, queue: &Queue, key: LeaseKey, session: String, task: &Task, tools: &Tools) -> Self {
        let now = Instant::now();
        Self {
            run,
            events: EventLog::open(queue.clone(), key, session),
            desk: Desk::open(queue.clone(), key),
            observed: Observed::default(),
            key,
            limits: Limits::of(task, tools),
            began: now,
            heard: now,
            phase: Phase::Turn,
            why: Why::ItsOwn(Ending::ItsOwn),
            turn: None,
            next_turns: VecDeque::new(),
            taken: HashSet::new(),
            interrupted: false,
            open: Vec::new(),
            paused: None,
            draining: false,
        }
    }

    /// The first turn is that of a message.
    pub async fn begin_with(&mut self, message: i64) {
        self.taken.insert(message);
        self.turn = Some(message);
        self.desk.note(Step::Begun(message)).await;
    }

    /// Follows the process to its end, and brings that about where it must be.
    pub async fn drive(
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
                    Some(RunCommand::Hear(said)) => {
                        for one in said {
                            self.hear(one).await;
                        }
                    }
                    Some(RunCommand::Lost) => self.end(Why::Lost),
                    Some(RunCommand::Shutdown) => self.end(Why::Shutdown),
                    Some(RunCommand::Draining) => self.draining = true,
                    None => {
                        worker_lives = false;
                        self.end(Why::Shutdown);
                    }
                },
                filed = self.desk.next(), if self.why != Why::Lost => match filed {
                    Some(filed) => self.filed(filed).await,
                    None => self.end(Why::Lost),
                },
                () = self.events.lost(), if self.why != Why::Lost => self.end(Why::Lost),
                () = tokio::time::sleep_until(alarm.into()) => self.ring().await,
            }
        }
    }

    /// When to act, should nothing happen before.
    fn alarm(&self) -> Instant {
        match (self.phase, self.paused) {
            (Phase::Ending { at, .. }, _) => at,
            (Phase::Interrupted { until }, _) => {
                if self.draining {
                    Instant::now()
                } else {
                    until
                }
            }
            (Phase::Turn, Some(since)) => {
                let park = if self.draining { Duration::ZERO } else { self.limits.park };
                let deadlines = self.open.iter().filter_map(|open| open.deadline);
                deadlines.fold(since + park, Instant::min)
            }
            (Phase::Turn, None) => match self.limits.idle.filter(|_| !self.observed.a_tool_runs()) {
                Some(idle) => (self.began + self.limits.total).min(self.heard + idle),
                None => self.began + self.limits.total,
            },
        }
    }

    async fn ring(&mut self) {
        match self.phase {
            Phase::Turn if self.paused.is_some() => self.lose_patience().await,
            Phase::Turn if self.began.elapsed() >= self.limits.total => {
                self.end(Why::ItsOwn(Ending::Timeout(millis(self.limits.total))));
            }
            Phase::Turn => {
                self.end(Why::ItsOwn(Ending::Idle(millis(self.limits.idle.unwrap_or_default()))));
            }
            Phase::Interrupted { .. } => self.finish(Why::ItsOwn(Ending::Interrupted)),
            Phase::Ending { next: Harder::Term, .. } => {
                self.run.end(AFTER_TERM);
                // The shim does the rest; this alarm only repeats the order.
                self.phase = Phase::Ending { next: Harder::Kill, at: Instant::now() + 2 * AFTER_TERM };
            }
            Phase::Ending { next: Harder::Kill, .. } => {
                self.run.end(Duration::ZERO);
                self.phase = Phase::Ending { next: Harder::Kill, at: Instant::now() + AFTER_TERM };
            }
        }
    }

    /// A question was open for long: the time for its answer has passed, or somebody else needs
    /// the slot.
    async fn lose_patience(&mut self) {
        let now = Instant::now();
        let mut late = None;
        for open in &mut self.open {
            if open.deadline.take_if(|deadline| *deadline <= now).is_some() {
                late.clone_from(&open.request_id);
            }
        }
        match late {
            // The store decides, and tells us with the next look.
            Some(request_id) => self.desk.note(Step::TooLate(request_id)).await,
            None => self.end(Why::Waiting),
        }
    }

    /// Brings the end about; TERM and KILL follow by the alarm. The first reason counts, but a
    /// lost task stays lost.
    fn end(&mut self, why: Why) {
        let ending = matches!(self.phase, Phase::Ending { .. });
        if why == Why::Lost || !ending {
            self.why = why;
        }
        if ending {
            return;
        }
        if matches!(self.phase, Phase::Interrupted { .. }) && why == Why::Shutdown {
            // There is nothing to go on with elsewhere.
            return self.finish(Why::ItsOwn(Ending::Interrupted));
        }
        if self.open.is_empty() {
            self.run.interrupt();
            self.run.finish_input();
            self.phase = Phase::Ending { next: Harder::Term, at: Instant::now() + AFTER_INTERRUPT };
        } else {
            // An interrupt would answer the question with a no, and so would the end of the input.
            if why == Why::Shutdown {
                self.why = Why::Waiting;
            }
            self.run.end(AFTER_TERM);
            self.phase = Phase::Ending { next: Harder::Kill, at: Instant::now() + 2 * AFTER_TERM };
        }
    }

    /// Nothing more is to come: the CLI ends by itself.
    fn finish(&mut self, why: Why) {
        self.why = why;
        self.run.finish_input();
        self.phase = Phase::Ending { next: Harder::Term, at: Instant::now() + AFTER_RESULT };
    }

    async fn take(&mut self, frame: Frame, news: &News) {
        self.heard = Instant::now();
        self.observed.note(&frame);
        match &frame.kind {
            FrameKind::Partial { text } => {
                if !text.is_empty() {
                    news.partial(self.key.task, text);
                }
                return;
            }
            FrameKind::AsksOther { request_id } => self.run.refuse(request_id),
            FrameKind::TakesBack { request_id } => self.take_back(request_id).await,
            _ => {}
        }
        if let Some(kind) = frame.event_kind() {
            self.events.add(NewEvent { kind, data: frame.event_data() }).await;
        }
        if frame.event_kind() == Some(EventKind::Result) && self.phase == Phase::Turn {
            self.turn_is_over().await;
        }
        if let FrameKind::Asks { request_id, tool, input, suggestions } = frame.kind {
            self.ask(request_id, tool, input, suggestions).await;
        }
    }

    /// Goes on with the next message; without one, the attempt ends.
    async fn turn_is_over(&mut self) {
        if let Some(message) = self.turn.take() {
            self.desk.note(Step::Done(message)).await;
        }
        if self.observed.has_failed() && !self.interrupted {
            self.finish(self.why);
        } else if let Some((id, text)) = self.next_turns.pop_front() {
            self.next_turn(id, &text).await;
        } else if self.interrupted {
            self.phase = Phase::Interrupted { until: Instant::now() + FOR_A_MESSAGE };
            self.desk.note(Step::Interrupted(wall_now().plus_ms(millis(FOR_A_MESSAGE)))).await;
        } else {
            self.finish(self.why);
        }
    }

    async fn next_turn(&mut self, id: i64, text: &str) {
        self.interrupted = false;
        self.phase = Phase::Turn;
        self.turn = Some(id);
        self.observed.next_turn();
        self.desk.note(Step::Begun(id)).await;
        self.run.instruct(text, &[]);
    }

    async fn ask(&mut self, cli_id: String, tool: String, input: Value, suggestions: Value) {
        self.paused.get_or_insert_with(Instant::now);
        let ask = Ask {
            key: self.key,
            request_id: cli_id.clone(),
            tool,
            input: input.clone(),
            suggestions,
            limit: self.limits.answer,
        };
        let rules = session_rules(&ask.tool, &ask.suggestions);
        self.open.push(Open { cli_id, input, request_id: None, rules, deadline: None });
        self.desk.ask(ask).await;
    }

    /// A question is stored; its answer may have been there before it, from an earlier attempt.
    async fn filed(&mut self, filed: Filed) {
        let Some(open) = self.open.iter_mut().find(|open| open.cli_id == filed.cli_id) else {
            // The CLI took it back meanwhile.
            return self.desk.note(Step::Closed(filed.asked.request_id)).await;
        };
        let left = filed.asked.deadline.since_ms(wall_now()).max(0).unsigned_abs();
        open.deadline = Some(Instant::now() + Duration::from_millis(left));
        open.request_id = Some(filed.asked.request_id.clone());
        if let Some(decision) = filed.asked.decision {
            self.answer(&filed.asked.request_id, &decision).await;
        }
    }

    async fn answer(&mut self, request_id: &str, decision: &Decision) {
        let is_it = |open: &mut Open| open.request_id.as_deref() == Some(request_id);
        let answered: Vec<Open> = self.open.extract_if(.., is_it).collect();
        if answered.is_empty() {
            return;
        }
        for open in answered {
            self.run.answer(&open.cli_id, decision, &open.input, &open.rules);
        }
        self.desk.note(Step::Closed(request_id.to_owned())).await;
        self.go_on();
    }

    async fn take_back(&mut self, cli_id: &str) {
        let Some(at) = self.open.iter().position(|open| open.cli_id == cli_id) else { return };
        if let Some(request_id) = self.open.swap_remove(at).request_id {
            self.desk.note(Step::Closed(request_id)).await;
        }
        self.go_on();
    }

    /// Lets the clocks go on when no question is open: time that people took is not the task's.
    fn go_on(&mut self) {
        if self.open.is_empty()
            && let Some(since) = self.paused.take()
        {
            self.began += since.elapsed();
            self.heard = Instant::now();
        }
    }

    /// Takes what was said. An answer comes again with every look until the store knows that it was heard.
    async fn hear(&mut self, said: Said) {
        match said {
            Said::Answer { request_id, decision } => self.answer(&request_id, &decision).await,
            Said::Message { id, text } => {
                if !self.taken.insert(id) {
                    return;
                }
                match self.phase {
                    Phase::Turn => self.next_turns.push_back((id, text)),
                    Phase::Interrupted { .. } => self.next_turn(id, &text).await,
                    // The next attempt hears it.
                    Phase::Ending { .. } => {}
                }
            }
            Said::Interrupt { id } => {
                if !self.taken.insert(id) {
                    return;
                }
                self.desk.note(Step::Done(id)).await;
                if self.phase == Phase::Turn {
                    self.interrupted = true;
                    self.run.interrupt();
                }
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
