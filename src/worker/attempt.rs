//! A running process and what is seen of it: frames become events, time limits are watched,
//! questions wait for people, messages for the end of the turn before them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::News;
use super::agent_run::RunCommand;
use super::desk::{Desk, Filed};
use super::event_log::EventLog;
use super::limits::Limits;
use super::mcp::{self, Gate};
use super::set_up::Tools;
use crate::claude::{self, ASK_USER, Ending, Exit, Frame, FrameKind, Item, McpServer, Observed, Run};
use crate::process::wall_now;
use crate::queue::{Ask, Queue, Step};
use domain::{BootInstant, Decision, EventKind, LeaseKey, NewEvent, Said, SessionId, session_rules};
use wire::{Background, PermissionMode, Task};

/// After its result the CLI writes its session down and ends by itself within so long.
const AFTER_RESULT: Duration = Duration::from_secs(2);
/// An interrupted turn ends within so long; then comes TERM.
const AFTER_INTERRUPT: Duration = Duration::from_millis(1_000);
/// Between TERM and KILL.
const AFTER_TERM: Duration = Duration::from_millis(1_500);
/// After an interrupt somebody may say how to go on, within so long.
const FOR_A_MESSAGE: Duration = Duration::from_secs(60);
/// When the last background task has ended, the CLI tells the model within so long.
const AFTER_BACKGROUND: Duration = Duration::from_secs(5);
/// Answers of the API that can't change by waiting: the first may be a login that is being renewed.
const HOPELESS: u32 = 2;

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
    /// MCP servers are connected to; they are asked for again at `ask_at`.
    Connecting { since: Instant, ask_at: Instant },
    /// A turn runs; the clocks run, unless a question is open.
    Turn,
    /// The turn is over, and what it started in the background runs on; `empty` since nothing does any more.
    Background { empty: Option<Instant> },
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
    /// The same to the letter, where that had to be mended.
    exact_input: Option<Box<RawValue>>,
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
    /// The permission mode that the CLI runs in as far as tools are concerned: only [`PermissionMode::Default`] asks.
    asks_for_tools: bool,
    /// What becomes of background work that outlives its turn.
    background: Background,
    /// The MCP servers that the task named.
    gate: Gate,
    /// What to say first, when they are connected.
    first: Option<(String, Vec<String>)>,
    /// Answers of the API that can't change by waiting, so far.
    hopeless: u32,
}

impl Attempt {
    /// An attempt whose process was just started, and told what to do.
    pub fn new(run: Run, queue: &Queue, key: LeaseKey, session: SessionId, task: &Task, tools: &Tools) -> Self {
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
            asks_for_tools: tools.mode_of(task) == PermissionMode::Default,
            background: task.spec.options.background.unwrap_or_default(),
            gate: Gate::of(task, tools),
            first: None,
            hopeless: 0,
        }
    }

    /// Hands the instruction over: at once, or when the MCP servers that the task named are connected.
    pub fn instruct(&mut self, instruction: String, files: Vec<String>) {
        if self.gate.is_open() {
            return self.run.instruct(&instruction, &files);
        }
        self.first = Some((instruction, files));
        self.run.initialize();
        self.run.ask_mcp_status();
        let now = Instant::now();
        self.phase = Phase::Connecting { since: now, ask_at: now + mcp::ASK_AGAIN };
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
                    Item::Ended(exit) => {
                        self.note_background().await;
                        return (self.why, exit);
                    }
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
        let end = self.began + self.limits.total;
        match (self.phase, self.paused) {
            (Phase::Ending { at, .. }, _) => at,
            (Phase::Connecting { ask_at, .. }, _) => ask_at.min(end),
            (Phase::Background { empty: Some(since) }, None) => (since + AFTER_BACKGROUND).min(end),
            (Phase::Background { empty: None }, None) => end,
            (Phase::Interrupted { until }, _) => {
                if self.draining {
                    Instant::now()
                } else {
                    until
                }
            }
            (Phase::Turn | Phase::Background { .. }, Some(since)) => {
                let park = if self.draining { Duration::ZERO } else { self.limits.park };
                let deadlines = self.open.iter().filter_map(|open| open.deadline);
                deadlines.fold(since + park, Instant::min)
            }
            (Phase::Turn, None) => match self.limits.idle.filter(|_| !self.observed.has_open_tool_call()) {
                Some(idle) => end.min(self.heard + idle),
                None => end,
            },
        }
    }

    async fn ring(&mut self) {
        match self.phase {
            Phase::Turn | Phase::Background { .. } if self.paused.is_some() => self.lose_patience().await,
            Phase::Turn | Phase::Background { .. } | Phase::Connecting { .. }
                if self.began.elapsed() >= self.limits.total =>
            {
                self.end(Why::ItsOwn(Ending::Timeout(millis(self.limits.total))));
            }
            Phase::Connecting { since, .. } => self.ask_again(since),
            Phase::Background { .. } => self.finish(self.why),
            Phase::Turn => {
                self.end(Why::ItsOwn(Ending::Idle(millis(self.limits.idle.unwrap_or_default()))));
            }
            Phase::Interrupted { .. } => self.finish(Why::ItsOwn(Ending::Interrupted)),
            Phase::Ending { next: Harder::Term, .. } => {
                // At a TERM the CLI ends what runs in the background and asks the model what to make of it.
                let grace = if self.observed.has_background() { Duration::ZERO } else { AFTER_TERM };
                self.run.end(grace);
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
        match frame.kind {
            FrameKind::Result(_) => {
                self.note_result().await;
                if matches!(self.phase, Phase::Turn | Phase::Background { .. } | Phase::Connecting { .. }) {
                    self.turn_is_over().await;
                }
            }
            FrameKind::Asks { request_id, tool, .. } if tool != ASK_USER && !self.asks_for_tools => {
                self.run.answer(&request_id, &claude::not_allowed(&tool), &Value::Null, None, &[]);
            }
            FrameKind::Asks { request_id, tool, input, exact_input, suggestions } => {
                let open = Open {
                    cli_id: request_id,
                    input,
                    exact_input,
                    request_id: None,
                    rules: Vec::new(),
                    deadline: None,
                };
                self.ask(open, tool, suggestions).await;
            }
            FrameKind::ApiRetry(retry) if claude::is_hopeless(retry.status, &retry.error) => {
                self.hopeless += 1;
                if self.hopeless == HOPELESS {
                    self.observed.judge_by_status(retry.status, &retry.error);
                    self.end(Why::ItsOwn(Ending::Judged));
                }
            }
            FrameKind::McpStatus(servers) => self.connected(&servers).await,
            // The CLI tells the model what has ended in the background.
            FrameKind::Init { .. } if matches!(self.phase, Phase::Background { .. }) => self.phase = Phase::Turn,
            FrameKind::BackgroundEnded { .. } if !self.observed.has_background() => {
                if let Phase::Background { empty } = &mut self.phase {
                    empty.get_or_insert_with(Instant::now);
                }
            }
            FrameKind::BackgroundStarted { .. } => {
                if let Phase::Background { empty } = &mut self.phase {
                    *empty = None;
                }
            }
            _ => {}
        }
    }

    /// Says what of a result could not be understood.
    async fn note_result(&mut self) {
        let unread = self.observed.unread().join(", ");
        if !unread.is_empty() {
            tracing::warn!(taskId = %self.key.task, fields = unread, "Fields of the result can't be read");
            self.events.add(NewEvent::log(&format!("fields of the result that can't be read: {unread}"))).await;
        }
        if self.observed.spent().set_aside {
            tracing::warn!(taskId = %self.key.task, "The CLI reported a cost that can't be one; it is set aside");
            self.events.add(NewEvent::log("the CLI reported a cost that can't be one; it is set aside")).await;
        }
    }

    /// Says what ran in the background and was ended. Where the task goes on elsewhere, it was not done.
    async fn note_background(&mut self) {
        if !self.observed.has_background() {
            return;
        }
        let goes_on =
            matches!(self.why, Why::Shutdown | Why::Waiting | Why::Lost) && self.background == Background::Wait;
        let ended = if goes_on { Vec::new() } else { self.observed.end_background() };
        let what = if ended.is_empty() { "it goes on with the task".to_owned() } else { ended.join("; ") };
        tracing::warn!(taskId = %self.key.task, what, "What ran in the background was ended");
        let data =
            serde_json::json!({ "message": format!("ended in the background: {what}"), "backgroundEnded": ended });
        self.events.add(NewEvent::new(EventKind::Log, &data)).await;
    }

    /// Asks again how the MCP servers stand, for a while.
    fn ask_again(&mut self, since: Instant) {
        if since.elapsed() >= mcp::LIMIT {
            self.observed.judge("MCP_UNAVAILABLE", self.gate.too_late());
            return self.end(Why::ItsOwn(Ending::Judged));
        }
        self.run.ask_mcp_status();
        self.phase = Phase::Connecting { since, ask_at: Instant::now() + mcp::ASK_AGAIN };
    }

    /// The CLI says how the MCP servers stand.
    async fn connected(&mut self, servers: &[McpServer]) {
        let Phase::Connecting { since, .. } = self.phase else { return };
        match self.gate.judge(servers, since.elapsed()) {
            mcp::Verdict::Wait => {}
            mcp::Verdict::Unavailable(why) => {
                self.observed.judge("MCP_UNAVAILABLE", why);
                self.end(Why::ItsOwn(Ending::Judged));
            }
            mcp::Verdict::Go(missing) => {
                for server in missing {
                    tracing::warn!(taskId = %self.key.task, server, "A task runs without an MCP server");
                    self.events.add(NewEvent::log(&format!("warning: the task runs without {server}"))).await;
                }
                self.phase = Phase::Turn;
                if let Some((instruction, files)) = self.first.take() {
                    self.run.instruct(&instruction, &files);
                }
            }
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
        } else if self.observed.has_background() && self.background == Background::Wait {
            self.phase = Phase::Background { empty: None };
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

    async fn ask(&mut self, mut open: Open, tool: String, suggestions: Value) {
        self.paused.get_or_insert_with(Instant::now);
        open.rules = session_rules(&tool, &suggestions);
        let ask = Ask {
            key: self.key,
            request_id: open.cli_id.clone(),
            tool,
            input: open.input.clone(),
            suggestions,
            limit: self.limits.answer,
        };
        self.open.push(open);
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
            self.run.answer(&open.cli_id, decision, &open.input, open.exact_input.as_deref(), &open.rules);
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
                    Phase::Turn | Phase::Connecting { .. } => self.next_turns.push_back((id, text)),
                    Phase::Interrupted { .. } | Phase::Background { .. } => self.next_turn(id, &text).await,
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
