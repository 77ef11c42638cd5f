//! Invariants of the attempt machine under any order of events. Each promise of the machine's page is checked at each
//! step, by a witness that knows the effects alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use domain::{Behavior, Decision, Epoch, LeaseKey, Outcome, Scope, TaskId, TaskInput, Timestamp, VerificationRound};
use proptest::prelude::*;
use serde_json::json;
use wire::Background;

use super::effect::{Effect, Event, Now, StopReason, ToCli};
use super::machine::{Config, Machine};
use crate::claude::{ASK_USER, Ending, Exit, Frame};
use crate::queue::{Asked, Step};
use crate::worker::limits::Limits;
use crate::worker::mcp::Gate;
use crate::worker::outbox::Filed;

/// Time limit of an attempt.
const TOTAL: Duration = Duration::from_secs(600);
/// Time for which a question is waited for in a slot.
const PARK: Duration = Duration::from_secs(50);
/// Time that people have for an answer.
const ANSWER: Duration = Duration::from_secs(300);
/// Time above all the short waits of an end together: for a message, for MCP servers, for the CLI.
const SLACK: Duration = Duration::from_secs(150);

/// An act of the outside world.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Init,
    Text,
    ToolCall,
    ToolResult,
    Result {
        is_error: bool,
    },
    Asks {
        cli_id: u8,
        by_model: bool,
    },
    TakesBack {
        cli_id: u8,
    },
    AsksOther,
    Hopeless,
    McpStatus {
        status: &'static str,
    },
    BackgroundStarted,
    BackgroundEnded,
    Partial,
    TooLong,
    /// The check has come to its end.
    Checked {
        passed: bool,
    },
    /// The oldest question that is on its way is stored; perhaps with an answer from before.
    Store {
        answered: bool,
    },
    Answer {
        request: u8,
    },
    Message {
        id: i64,
    },
    Interrupt {
        id: i64,
    },
    Draining,
    /// Another worker goes on with it.
    HandedOver,
    Shutdown,
    Lost,
    Ended,
}

fn act() -> impl Strategy<Value = Act> {
    let status = prop::sample::select(vec!["connected", "pending", "failed"]);
    prop_oneof![
        6 => (0_u64..100_000).prop_map(Act::Wait),
        3 => Just(Act::Init),
        2 => Just(Act::Text),
        3 => Just(Act::ToolCall),
        3 => Just(Act::ToolResult),
        5 => any::<bool>().prop_map(|is_error| Act::Result { is_error }),
        5 => (0_u8..3, any::<bool>()).prop_map(|(cli_id, by_model)| Act::Asks { cli_id, by_model }),
        2 => (0_u8..3).prop_map(|cli_id| Act::TakesBack { cli_id }),
        1 => Just(Act::AsksOther),
        2 => Just(Act::Hopeless),
        3 => status.prop_map(|status| Act::McpStatus { status }),
        2 => Just(Act::BackgroundStarted),
        2 => Just(Act::BackgroundEnded),
        1 => Just(Act::Partial),
        1 => Just(Act::TooLong),
        4 => any::<bool>().prop_map(|passed| Act::Checked { passed }),
        5 => any::<bool>().prop_map(|answered| Act::Store { answered }),
        4 => (0_u8..3).prop_map(|request| Act::Answer { request }),
        4 => (1_i64..6).prop_map(|id| Act::Message { id }),
        2 => (6_i64..9).prop_map(|id| Act::Interrupt { id }),
        1 => Just(Act::Draining),
        2 => Just(Act::HandedOver),
        1 => Just(Act::Shutdown),
        1 => Just(Act::Lost),
        1 => Just(Act::Ended),
    ]
}

/// The task, and everything that happens to it.
#[derive(Clone, Debug)]
struct Life {
    asks_for_tools: bool,
    waits_for_background: bool,
    has_server: bool,
    idle: bool,
    message: bool,
    check_rounds: Option<u32>,
    acts: Vec<Act>,
}

fn life() -> impl Strategy<Value = Life> {
    let options = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let check_rounds = prop::option::of(0_u32..3);
    (options, check_rounds, prop::collection::vec(act(), 1..60)).prop_map(|(options, check_rounds, acts)| {
        let (asks_for_tools, waits_for_background, has_server, idle, message) = options;
        Life { asks_for_tools, waits_for_background, has_server, idle, message, check_rounds, acts }
    })
}

/// The witness.
struct Witness {
    life: Life,
    machine: Machine,
    now: Now,
    /// Questions that are on their way to the store.
    asked: VecDeque<String>,
    /// Number of waits of the CLI for an answer under this name.
    waiting: HashMap<String, usize>,
    /// True while a turn that we began runs.
    turn_runs: bool,
    /// True from the first order to end on.
    is_ending: bool,
    is_killed: bool,
    is_over: bool,
    is_lost: bool,
    begun: HashSet<i64>,
    /// The message whose turn was begun and is not done.
    current: Option<i64>,
    /// True while a check runs.
    check_runs: bool,
    /// Checks that have not passed.
    failed_checks: u32,
    /// True if the last check has passed, and no turn was begun since.
    has_passed: bool,
}

type Check = Result<(), TestCaseError>;

impl Life {
    fn config(&self) -> Config {
        let idle = self.idle.then_some(Duration::from_secs(90));
        let background = if self.waits_for_background { Background::Wait } else { Background::End };
        Config {
            key: LeaseKey { task: TaskId::from_u128(1), epoch: Epoch::of(1) },
            limits: Limits { total: TOTAL, idle, answer: ANSWER, park: PARK },
            asks_for_tools: self.asks_for_tools,
            background,
            gate: Gate::needing(if self.has_server { &["docs"] } else { &[] }),
            // The calls of these stories are all the same.
            loop_after: 2,
            loop_message: Some("stop".to_owned()),
            check_rounds: self.check_rounds,
        }
    }
}

impl Witness {
    fn of(life: &Life) -> Self {
        let now = Now { instant: Instant::now(), wall: Timestamp(1_000_000) };
        Self {
            life: life.clone(),
            machine: Machine::new(life.config(), now),
            now,
            asked: VecDeque::new(),
            waiting: HashMap::new(),
            turn_runs: false,
            is_ending: false,
            is_killed: false,
            is_over: false,
            is_lost: false,
            begun: HashSet::new(),
            current: None,
            check_runs: false,
            failed_checks: 0,
            has_passed: false,
        }
    }

    fn step(&mut self, event: Event) -> Check {
        let ends = matches!(event, Event::Ended);
        for effect in self.machine.step(event, self.now) {
            prop_assert!(!self.is_over, "an effect after the end: {effect:?}");
            prop_assert!(!ends || matches!(effect, Effect::Add(_) | Effect::Warn(..)), "at the end: {effect:?}");
            self.see(effect)?;
        }
        self.is_over |= ends;
        prop_assert!(
            !self.is_lost || self.machine.why() == StopReason::Lost,
            "a lost task is {:?}",
            self.machine.why()
        );
        Ok(())
    }

    fn see(&mut self, effect: Effect) -> Check {
        match effect {
            Effect::Tell(what) => {
                prop_assert!(!self.is_ending, "told after it was asked to end: {what:?}");
                self.hear(what)?;
            }
            Effect::Check(_) => {
                prop_assert!(self.life.check_rounds.is_some(), "a check that nobody asked for");
                prop_assert!(!self.check_runs && !self.is_ending, "two checks at a time, or one at the end");
                self.check_runs = true;
            }
            Effect::EndCheck => self.check_runs = false,
            Effect::FinishInput => self.is_ending = true,
            Effect::EndTree(grace) => {
                self.is_ending = true;
                self.is_killed |= grace.is_zero();
            }
            Effect::Ask(ask) => {
                *self.waiting.entry(ask.request_id.clone()).or_default() += 1;
                self.asked.push_back(ask.request_id);
            }
            Effect::Note(Step::Begun(id)) => {
                prop_assert!(self.begun.insert(id), "message {id} begins twice");
                prop_assert_eq!(self.current, None, "two turns at a time");
                self.current = Some(id);
            }
            Effect::Note(Step::Done(id)) if id < 6 => {
                prop_assert_eq!(self.current.take(), Some(id), "another turn is done than was begun");
            }
            Effect::Say(_) => prop_assert!(!self.is_ending, "it speaks to an attempt that was asked to end"),
            Effect::Looping(_) => {}
            Effect::Note(_) | Effect::Add(_) | Effect::Partial(_) | Effect::Transcript { .. } | Effect::Warn(..) => {}
        }
        Ok(())
    }

    fn hear(&mut self, what: ToCli) -> Check {
        match what {
            ToCli::Instruct { .. } => {
                prop_assert!(!self.turn_runs && !self.check_runs, "two turns at a time, or one beside its check");
                (self.turn_runs, self.has_passed) = (true, false);
            }
            ToCli::Answer { cli_id, .. } => {
                let waits = self.waiting.get_mut(&cli_id).filter(|waits| **waits > 0);
                prop_assert!(waits.is_some(), "an answer that nobody waits for: {cli_id}");
                waits.into_iter().for_each(|waits| *waits -= 1);
            }
            ToCli::Initialize | ToCli::McpStatus | ToCli::Refuse(_) | ToCli::Interrupt => {}
        }
        Ok(())
    }

    /// Lets time pass, with each alarm at its time.
    fn wait(&mut self, time: Duration) -> Check {
        let until = self.now.instant + time;
        let mut rung = 0;
        loop {
            let alarm = self.machine.alarm().max(self.now.instant);
            if alarm > until || self.is_over {
                break;
            }
            rung = if alarm == self.now.instant { rung + 1 } else { 0 };
            prop_assert!(rung < 10, "the alarm rings again and again");
            self.pass(alarm - self.now.instant);
            self.step(Event::Alarm)?;
        }
        self.pass(until - self.now.instant);
        Ok(())
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall = self.now.wall.plus(time);
    }

    fn frame(&mut self, frame: serde_json::Value) -> Check {
        self.step(Event::Frame(Frame::parse(frame.to_string())))
    }

    fn act(&mut self, act: Act) -> Check {
        match act {
            Act::Wait(ms) => self.wait(Duration::from_millis(ms)),
            Act::Init => self.frame(json!({ "type": "system", "subtype": "init" })),
            Act::Text => self.frame(json!({ "type": "assistant", "message": { "content": [{ "type": "text" }] } })),
            Act::ToolCall => {
                self.frame(json!({ "type": "assistant", "message": { "content": [{ "type": "tool_use" }] } }))
            }
            Act::ToolResult => {
                self.frame(json!({ "type": "user", "message": { "content": [{ "type": "tool_result" }] } }))
            }
            Act::Result { is_error } => {
                self.turn_runs = false;
                self.frame(json!({ "type": "result", "subtype": "success", "is_error": is_error, "result": "x" }))
            }
            Act::Asks { cli_id, by_model } => {
                let (cli_id, tool) = (format!("q{cli_id}"), if by_model { ASK_USER } else { "Bash" });
                // What is refused at once is asked and answered in one step.
                let refused = !by_model && !self.machine.asks_for_tools();
                *self.waiting.entry(cli_id.clone()).or_default() += usize::from(refused);
                let request = json!({ "subtype": "can_use_tool", "tool_name": tool, "input": {} });
                let before = self.waiting[&cli_id];
                self.frame(json!({ "type": "control_request", "request_id": cli_id, "request": request }))?;
                if refused && self.waiting[&cli_id] == before {
                    prop_assert!(self.is_ending || self.is_over, "a question without an answer");
                    *self.waiting.entry(cli_id).or_default() -= 1;
                }
                Ok(())
            }
            Act::TakesBack { cli_id } => {
                let cli_id = format!("q{cli_id}");
                self.frame(json!({ "type": "control_cancel_request", "request_id": cli_id }))
            }
            Act::AsksOther => self.frame(json!({ "type": "control_request", "request_id": "o", "request": {} })),
            Act::Hopeless => {
                self.frame(json!({ "type": "system", "subtype": "api_retry", "error_status": 401, "error": "auth" }))
            }
            Act::McpStatus { status } => {
                let servers = json!([{ "name": "docs", "status": status }]);
                self.frame(json!({ "type": "control_response", "response": { "response": { "mcpServers": servers } } }))
            }
            Act::BackgroundStarted => {
                self.frame(json!({ "type": "system", "subtype": "task_started", "task_id": "b" }))
            }
            Act::BackgroundEnded => {
                self.frame(json!({ "type": "system", "subtype": "task_notification", "task_id": "b" }))
            }
            Act::Partial => self.frame(json!({ "type": "stream_event", "event": { "delta": { "text": "x" } } })),
            Act::TooLong => self.step(Event::TooLong(9)),
            // One that just ended may be told behind its order to end.
            Act::Checked { passed } => {
                let counts = std::mem::take(&mut self.check_runs) && !self.is_ending && !self.is_over;
                (self.has_passed, self.failed_checks) = match (counts, passed) {
                    (true, true) => (true, self.failed_checks),
                    (true, false) => (false, self.failed_checks + 1),
                    (false, _) => (self.has_passed, self.failed_checks),
                };
                let failures = if passed { Vec::new() } else { vec!["no".to_owned()] };
                self.step(Event::Checked(VerificationRound { failures, ..VerificationRound::default() }))
            }
            Act::Store { answered } => {
                let Some(cli_id) = self.asked.pop_front() else { return Ok(()) };
                let decision = answered.then(allow);
                let asked = Asked { request_id: cli_id.clone(), deadline: self.now.wall.plus(ANSWER), decision };
                self.step(Event::Stored(Filed { cli_id, asked }))
            }
            Act::Answer { request } => {
                self.step(Event::Input(TaskInput::Answer { request_id: format!("q{request}"), decision: allow() }))
            }
            Act::Message { id } => self.step(Event::Input(TaskInput::Message { id, text: "more".to_owned() })),
            Act::Interrupt { id } => self.step(Event::Input(TaskInput::Interrupt { id })),
            Act::Draining => self.step(Event::Draining),
            // The process is there, and the task is ours.
            Act::HandedOver if self.is_over || self.is_lost => Ok(()),
            Act::HandedOver => {
                // What is on its way to the store is stored first.
                while !self.asked.is_empty() {
                    self.act(Act::Store { answered: false })?;
                }
                let carried = serde_json::to_string(&self.machine.carried(self.now.instant)).expect("JSON");
                let carried = serde_json::from_str(&carried).expect("what was written");
                self.machine = Machine::resumed(self.life.config(), carried, self.now);
                self.check_runs = false;
                self.step(Event::Resumed)
            }
            Act::Shutdown => self.step(Event::Shutdown),
            Act::Lost => {
                self.is_lost |= !self.is_over;
                self.step(Event::Lost)
            }
            Act::Ended => self.step(Event::Ended),
        }
    }
}

fn allow() -> Decision {
    Decision { behavior: Behavior::Allow, message: None, updated_input: None, scope: Scope::Once }
}

fn live(life: &Life) -> Check {
    let mut witness = Witness::of(life);
    let message = life.message.then_some(1);
    witness.step(Event::Began { instruction: "x".to_owned(), files: Vec::new(), message })?;
    for act in life.acts.clone() {
        witness.act(act)?;
    }
    // Now nobody says anything more.
    witness.wait(TOTAL + PARK + ANSWER + SLACK)?;
    prop_assert!(witness.is_over || witness.is_killed, "the tree lives on: {:?}", witness.machine.why());
    witness.step(Event::Ended)?;
    witness.step(Event::Frame(Frame::parse("{}".to_owned())))?;
    witness.step(Event::Input(TaskInput::Message { id: 99, text: "late".to_owned() }))?;
    witness.step(Event::Alarm)?;
    let (_, observed) = witness.machine.into_parts();
    let is_done = observed.is_done();
    let exit = Exit { code: Some(0), gone: true, ..Exit::LOST };
    let report = observed.into_report(Ending::ItsOwn, &exit, "", 1);
    if let Some(rounds) = life.check_rounds {
        let accepted = is_done || report.outcome == Outcome::Completed;
        prop_assert!(!accepted || witness.has_passed, "accepted without a check that has passed");
        prop_assert!(witness.failed_checks <= rounds + 6, "checked time after time");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_order_of_events_breaks_a_promise(life in life()) {
        live(&life)?;
    }
}

/// Effects of some acts, by their names.
fn effects(life: &Life, acts: impl IntoIterator<Item = Act>) -> Witness {
    let mut witness = Witness::of(life);
    let began = Event::Began { instruction: "x".to_owned(), files: Vec::new(), message: None };
    witness.step(began).expect("a step");
    acts.into_iter().for_each(|act| witness.act(act).expect("a step"));
    witness
}

const PLAIN: Life = Life {
    asks_for_tools: true,
    waits_for_background: true,
    has_server: false,
    idle: false,
    message: false,
    check_rounds: None,
    acts: Vec::new(),
};

#[test]
fn time_that_people_take_is_not_the_task_s() {
    let asks = Act::Asks { cli_id: 0, by_model: false };
    let answered = [asks, Act::Store { answered: false }, Act::Wait(40_000), Act::Answer { request: 0 }];
    let witness = effects(&PLAIN, answered);
    let left = witness.machine.alarm() - witness.now.instant;
    assert_eq!(left, TOTAL, "the clock stood still");
}

#[test]
fn a_question_that_nobody_answers_gives_the_slot_back_and_is_not_answered_by_the_end() {
    let asks = Act::Asks { cli_id: 0, by_model: true };
    let witness =
        effects(&PLAIN, [asks, Act::Store { answered: false }, Act::Wait(51_000), Act::Answer { request: 0 }]);
    assert_eq!((witness.machine.why(), witness.waiting["q0"]), (StopReason::Waiting, 1));
}

#[test]
fn a_message_during_a_turn_is_the_next_turn_and_the_last_result_ends_the_attempt() {
    let done = Act::Result { is_error: false };
    let witness = effects(&PLAIN, [Act::Message { id: 1 }, done.clone()]);
    assert_eq!((witness.current, witness.is_ending), (Some(1), false));
    let witness = effects(&PLAIN, [Act::Message { id: 1 }, done.clone(), done]);
    assert_eq!((witness.current, witness.is_ending), (None, true));
    assert_eq!(witness.machine.why(), StopReason::ItsOwn(Ending::ItsOwn));
}

#[test]
fn what_a_check_has_found_goes_back_as_often_as_it_may() {
    let life = Life { check_rounds: Some(1), ..PLAIN };
    let (done, failed) = (Act::Result { is_error: false }, Act::Checked { passed: false });
    let witness = effects(&life, [done.clone()]);
    assert!(witness.check_runs && !witness.is_ending);
    let witness = effects(&life, [done.clone(), failed.clone()]);
    assert!(witness.turn_runs, "it goes back");
    let witness = effects(&life, [done.clone(), failed.clone(), done.clone(), failed]);
    assert_eq!((witness.is_ending, witness.machine.why()), (true, StopReason::ItsOwn(Ending::Judged)));
    let witness = effects(&life, [done.clone(), Act::Checked { passed: true }]);
    assert_eq!((witness.is_ending, witness.machine.why()), (true, StopReason::ItsOwn(Ending::ItsOwn)));
    // A message is done before the attempt ends, and its work is checked too.
    let said = [done.clone(), Act::Message { id: 1 }, Act::Checked { passed: true }];
    let witness = effects(&life, said.clone());
    assert_eq!((witness.current, witness.is_ending), (Some(1), false));
    let witness = effects(&life, said.into_iter().chain([done]));
    assert!(witness.check_runs);
}
