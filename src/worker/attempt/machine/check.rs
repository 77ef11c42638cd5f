//! The check of the work, where the task asks for one: what fails goes back to the model, as often as it may.

use serde_json::json;

use super::super::effect::{Effect, Produced, StopReason};
use super::{Machine, RunPhase};
use crate::claude::Ending;
use domain::{EventKind, NewEvent, VerificationRound};

/// Bytes of a command's output that the model is told.
const TOLD_BYTES: usize = 12 << 10;
/// Bytes of it that stay with the task, of each round.
const KEPT_BYTES: usize = 4 << 10;

impl Machine {
    /// The model says that it is done: the attempt ends, or its work is checked before.
    pub(super) fn work_is_done(&mut self) {
        match self.config.check_rounds {
            Some(_) => self.begin_check(),
            None => self.finish(self.why),
        }
    }

    pub(super) fn begin_check(&mut self) {
        let (result, structured_output) = self.observed.result();
        let (result, structured_output) = (result.map(str::to_owned), structured_output.cloned());
        let round = self.observed.checks() + 1;
        self.phase = RunPhase::Verifying;
        self.log(&format!("the work is checked ({round}.)"));
        self.emit(Effect::Check(Box::new(Produced { result, structured_output })));
    }

    /// Takes what a check has come to.
    pub(super) fn checked(&mut self, round: VerificationRound) {
        // The one that was ended says nothing; one that had just ended itself may.
        let Some(rounds) = self.config.check_rounds.filter(|_| self.phase == RunPhase::Verifying) else { return };
        let passed = round.passed();
        let kept = VerificationRound { output: end_of(&round.output, KEPT_BYTES).to_owned(), ..round.clone() };
        let (message, number) = (feedback(&round), self.observed.checked(kept));
        let is_last = number > rounds as usize;
        let line = match passed {
            true => format!("the work was checked ({number}.): it has passed"),
            false => format!("the work was checked ({number}.): {}", round.failures.join("; ")),
        };
        self.emit(Effect::Add(NewEvent::new(EventKind::Log, &json!({ "message": line, "verification": round }))));
        if !passed && !is_last {
            return self.begin_turn(message);
        }
        // What was said meanwhile is done first; then the work is checked again.
        if let Some((id, text)) = self.next_turns.pop_front() {
            return self.next_turn(id, text);
        }
        if passed {
            return self.finish(self.why);
        }
        let why = format!("{}. It was checked {number} times", round.failures.join("; "));
        self.observed.judge("NOT_VERIFIED", why);
        self.finish(StopReason::ItsOwn(Ending::Judged));
    }
}

/// The last bytes of a text.
fn end_of(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

/// What a model is told whose work has not passed.
fn feedback(round: &VerificationRound) -> String {
    let mut text = "Your work was checked, and has not passed:\n".to_owned();
    round.failures.iter().for_each(|failure| text.push_str(&format!("- {failure}\n")));
    if !round.output.is_empty() {
        let output = end_of(&round.output, TOLD_BYTES).trim_end();
        text.push_str(&format!("\nThe command printed, at its end:\n\n{output}\n"));
    }
    text.push_str("\nMend what is wrong, and end your turn when the check should pass. It is run again then.");
    text
}
