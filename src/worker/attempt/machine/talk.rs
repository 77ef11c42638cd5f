//! Turns, and what people say: messages, interrupts, answers to questions.

use std::time::Duration;

use super::super::effect::{Effect, ToCli};
use super::{FOR_A_MESSAGE, Machine, RunPhase};
use crate::queue::Step;
use crate::worker::outbox::Filed;
use domain::{Decision, TaskInput};
use wire::Background;

impl Machine {
    /// Goes on with the next message; without one, the attempt ends.
    pub(super) fn turn_is_over(&mut self) {
        if let Some(message) = self.turn.take() {
            self.note(Step::Done(message));
        }
        if self.observed.has_failed() && !self.interrupted {
            self.finish(self.why);
        } else if let Some((id, text)) = self.next_turns.pop_front() {
            self.next_turn(id, text);
        } else if self.interrupted {
            self.wait_for_a_message();
        } else if self.observed.has_background() && self.config.background == Background::Wait {
            self.phase = RunPhase::Background { empty: None };
        } else {
            self.work_is_done();
        }
    }

    pub(super) fn next_turn(&mut self, id: i64, text: String) {
        self.turn = Some(id);
        self.note(Step::Begun(id));
        self.begin_turn(text);
    }

    pub(super) fn begin_turn(&mut self, text: String) {
        self.interrupted = false;
        self.phase = RunPhase::Turn;
        self.observed.next_turn();
        self.tell(ToCli::Instruct { text, files: Vec::new() });
    }

    /// A question is stored; its answer may have been there before it, from an earlier attempt.
    pub(super) fn stored(&mut self, Filed { cli_id, asked }: Filed) {
        let left = Duration::from_millis(asked.deadline.since_ms(self.now.wall).unsigned_abs());
        if !self.questions.stored(&cli_id, &asked.request_id, self.now.instant + left) {
            // The CLI took it back meanwhile.
            return self.note(Step::Closed(asked.request_id));
        }
        if let Some(decision) = asked.decision {
            self.answer(asked.request_id, &decision);
        }
    }

    /// Passes an answer on. An attempt that was asked to end leaves it to the next, which asks again.
    fn answer(&mut self, request_id: String, decision: &Decision) {
        if self.is_ending() {
            return;
        }
        let answered = self.questions.answered(&request_id);
        if answered.is_empty() {
            return;
        }
        for open in answered {
            let (cli_id, decision) = (open.cli_id, decision.clone());
            let (input, exact_input, rules) = (open.input, open.exact_input, open.rules);
            self.tell(ToCli::Answer { cli_id, decision, input, exact_input, rules });
        }
        self.note(Step::Closed(request_id));
        self.go_on();
    }

    /// After an interrupt, a message may say how to go on.
    fn wait_for_a_message(&mut self) {
        self.phase = RunPhase::Interrupted { until: self.now.instant + FOR_A_MESSAGE };
        self.note(Step::Interrupted(self.now.wall.plus(FOR_A_MESSAGE)));
    }

    pub(super) fn take_back(&mut self, cli_id: &str) {
        if let Some(request_id) = self.questions.taken_back(cli_id) {
            self.note(Step::Closed(request_id));
        }
        self.go_on();
    }

    /// Lets the clocks go on when no question is open: time that people took is not the task's.
    fn go_on(&mut self) {
        if let Some(paused) = self.questions.go_on(self.now.instant) {
            self.began += paused;
            self.heard = self.now.instant;
        }
    }

    /// Takes what was said. An answer comes again with every look until the store knows that it was heard.
    pub(super) fn hear(&mut self, said: TaskInput) {
        match said {
            TaskInput::Answer { request_id, decision } => self.answer(request_id, &decision),
            TaskInput::Message { id, text } => {
                if !self.taken.insert(id) {
                    return;
                }
                match self.phase {
                    RunPhase::Turn | RunPhase::Connecting { .. } | RunPhase::Verifying => {
                        self.next_turns.push_back((id, text));
                    }
                    RunPhase::Interrupted { .. } | RunPhase::Background { .. } => self.next_turn(id, text),
                    // The next attempt hears it.
                    RunPhase::Ending { .. } | RunPhase::Over => {}
                }
            }
            TaskInput::Interrupt { id } => {
                if !self.taken.insert(id) {
                    return;
                }
                self.note(Step::Done(id));
                if self.phase == RunPhase::Turn {
                    self.interrupted = true;
                    self.tell(ToCli::Interrupt);
                } else if self.phase == RunPhase::Verifying {
                    self.interrupted = true;
                    self.emit(Effect::EndCheck);
                    match self.next_turns.pop_front() {
                        Some((id, text)) => self.next_turn(id, text),
                        None => self.wait_for_a_message(),
                    }
                }
            }
        }
    }
}
