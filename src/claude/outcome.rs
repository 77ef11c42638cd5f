//! Outcome of an attempt, from the CLI's frames and its process. Pure.
//!
//! The CLI says `subtype: "success"` and `is_error: true` together when the API refused, and
//! exits with 1 for all kinds of reasons. So: success is `is_error == false` and at least one
//! call of the model; no `result` is a failure whatever the exit code was.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ending;
use super::frame::{Frame, FrameKind};
use super::result::ResultFrame;
use super::run::Exit;
use super::shim::Limit;
use domain::{
    Failure, FailureClass, Outcome, Report, SessionId, Spent, Timestamp, Usd, Verification, VerificationRound,
};

/// Observations of an attempt while it ran.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    frames: usize,
    model_answered: bool,
    open_tools: usize,
    session_id: Option<SessionId>,
    limit_resets_at: Option<Timestamp>,
    result: Option<ResultFrame>,
    /// Cost by the results so far.
    spent: Spent,
    /// Running background work, by the CLI's name for it.
    background: BTreeMap<String, String>,
    /// Background work that had to be ended.
    background_ended: Vec<String>,
    /// Reason for which we ended it, see [`Ending::Judged`].
    verdict: Option<Failure>,
    /// State of the work before its check.
    check: CheckState,
    /// Checks so far.
    rounds: Vec<VerificationRound>,
}

/// State of the work before its check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CheckState {
    /// It needs none.
    #[default]
    NotAsked,
    /// It was not checked, or has not passed.
    Open,
    /// The last check has passed, and nothing was done since.
    Passed,
}

/// Reason for which an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// The process ended by itself.
    ItsOwn,
    /// The attempt took longer than this many milliseconds.
    Timeout(i64),
    /// The CLI was silent for longer than this many milliseconds.
    Idle(i64),
    /// The turn was interrupted, and no message said how to go on.
    Interrupted,
    /// The attempt could not succeed: [`Observed::judge`] was told the reason.
    Judged,
}

impl Observed {
    /// Takes note of a frame.
    pub fn note(&mut self, frame: &Frame) {
        self.frames += 1;
        match &frame.kind {
            FrameKind::Init { session_id: Some(id) } => self.session_id = Some(*id),
            FrameKind::Assistant { by_model, calls, .. } => {
                self.model_answered |= by_model;
                self.open_tools += calls.len();
            }
            FrameKind::User { results } => {
                self.open_tools = self.open_tools.saturating_sub(results.len());
            }
            FrameKind::RateLimit { resets_at } => {
                self.limit_resets_at = resets_at.map(|seconds| Timestamp(seconds.saturating_mul(1_000)));
            }
            FrameKind::BackgroundStarted { id, what } => {
                self.background.insert(id.clone(), what.clone());
            }
            FrameKind::BackgroundEnded { id } => {
                self.background.remove(id);
            }
            FrameKind::Result(result) => {
                // What was spent only grows: a later figure that can't be one takes nothing back.
                let before = self.spent;
                self.spent = result.spent;
                self.spent.cost_usd = result.spent.cost_usd.or(before.cost_usd);
                self.spent.set_aside |= before.set_aside;
                self.result = Some((**result).clone());
            }
            _ => {}
        }
    }

    /// True while a tool call is open; the idle timeout does not apply.
    #[must_use]
    pub const fn has_open_tool_call(&self) -> bool {
        self.open_tools > 0
    }

    /// The work counts only when it was checked.
    pub const fn need_check(&mut self) {
        self.check = CheckState::Open;
    }

    /// Takes a check of the work. Returns how many there were.
    pub fn checked(&mut self, mut round: VerificationRound) -> usize {
        round.cost_usd = self.spent.cost_usd;
        self.check = if round.passed() { CheckState::Passed } else { CheckState::Open };
        self.rounds.push(round);
        self.rounds.len()
    }

    /// Number of checks so far.
    #[must_use]
    pub const fn checks(&self) -> usize {
        self.rounds.len()
    }

    /// The text of the last result, and its structured form.
    #[must_use]
    pub fn result(&self) -> (Option<&str>, Option<&Value>) {
        self.result
            .as_ref()
            .map_or((None, None), |result| (result.result.as_deref(), result.structured_output.as_ref()))
    }

    /// True if the work counts only when it was checked, and it was not, or has not passed.
    const fn is_unchecked(&self) -> bool {
        matches!(self.check, CheckState::Open)
    }

    /// A further turn begins: what the turn before came to decides nothing any more.
    pub fn next_turn(&mut self) {
        self.result = None;
        if self.check == CheckState::Passed {
            self.check = CheckState::Open;
        }
        self.open_tools = 0;
    }

    /// True if the turn that ended came to an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result.is_error)
    }

    /// Returns the cost so far.
    #[must_use]
    pub const fn spent(&self) -> Spent {
        self.spent
    }

    /// Takes what was counted on the way to the API: it counts, whatever the CLI says.
    pub fn count(&mut self, counted: Spent) {
        let said = self.spent;
        if let (Some(said), Some(counted)) = (said.cost_usd, counted.cost_usd)
            && said.distance(counted) > DIFFERENCE.max(counted.distance(Usd::ZERO) / 100)
        {
            tracing::warn!(%said, %counted, "The CLI says another cost than was counted; what was counted holds");
        }
        self.spent = Spent { set_aside: said.set_aside, ..counted };
    }

    /// Takes the end of the account's limit, in seconds of Unix time, as the API has said it: where the CLI didn't.
    pub fn note_limit(&mut self, resets_at: Option<i64>) {
        let said = resets_at.map(|seconds| Timestamp(seconds.saturating_mul(1_000)));
        self.limit_resets_at = self.limit_resets_at.or(said);
    }

    /// Names of the fields of the last result that could not be understood.
    #[must_use]
    pub fn unread(&self) -> &[&'static str] {
        self.result.as_ref().map_or(&[], |result| &result.unread)
    }

    /// True if commands, agents or monitors run in the background.
    #[must_use]
    pub fn has_background(&self) -> bool {
        !self.background.is_empty()
    }

    /// Marks running background work as ended with the attempt. Returns it in words.
    pub fn end_background(&mut self) -> Vec<String> {
        let ended: Vec<_> = std::mem::take(&mut self.background).into_values().collect();
        self.background_ended.extend(ended.iter().cloned());
        ended
    }

    /// Notes that the attempt can't succeed, with the reason.
    pub fn judge(&mut self, code: &'static str, why: impl Into<String>) {
        self.verdict = Some(ending::seen(code, why));
    }

    /// The API answers what can't change by waiting.
    pub fn judge_by_status(&mut self, status: Option<i64>, error: &str) {
        let said = match status {
            Some(status) => format!("the API answered {status} ({error})"),
            None => format!("the API answered {error}"),
        };
        // A name of an error without a status is one of a credential.
        let result = ResultFrame {
            is_error: true,
            subtype: "success".to_owned(),
            api_error_status: Some(status.unwrap_or(401)),
            result: Some(said),
            ..ResultFrame::default()
        };
        self.verdict = ending::of_result(&result);
    }

    /// True if the work is done: an interrupted turn has a result too, but one with an error.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.has_result() && self.background.is_empty() && !self.is_unchecked()
    }

    /// True if there is a result without an error.
    fn has_result(&self) -> bool {
        self.result.as_ref().is_some_and(|result| !result.is_error)
    }

    /// Returns the report of the attempt. `stderr` is the end of the CLI's standard error.
    #[must_use]
    pub fn into_report(self, ending: Ending, exit: &Exit, stderr: &str, duration_ms: i64) -> Report {
        let outcome = self.outcome(ending, exit, stderr);
        let passed = self.check == CheckState::Passed && outcome == Outcome::Completed;
        let was_asked = self.check != CheckState::NotAsked;
        let verification = was_asked.then_some(Verification { passed, rounds: self.rounds });
        let result = self.result.unwrap_or_default();
        Report {
            outcome,
            result: result.result,
            structured_output: result.structured_output,
            session_id: result.session_id.or(self.session_id),
            spent: self.spent,
            usage: result.usage,
            num_turns: result.num_turns,
            duration_ms,
            permission_denials: result.permission_denials,
            changes: None,
            artifacts: None,
            background_ended: self.background_ended,
            verification,
        }
    }

    fn outcome(&self, ending: Ending, exit: &Exit, stderr: &str) -> Outcome {
        let is_unchecked = self.has_result() && self.is_unchecked();
        // A result that came before the limit counts: the work is done.
        match (&self.result, ending) {
            (Some(_), Ending::ItsOwn) if is_unchecked => match without_result(self.frames, exit, stderr) {
                Outcome::Failed(failure) if failure.code != "CLI_CRASHED" => Outcome::Failed(failure),
                _ => failed("CLI_CRASHED", "the CLI ended before its work was checked"),
            },
            (Some(result), Ending::ItsOwn) => self.of_result(result),
            (Some(result), _) if !result.is_error && !is_unchecked => self.of_result(result),
            (_, Ending::Judged) => match &self.verdict {
                Some(verdict) => Outcome::Failed(verdict.clone()),
                None => without_result(self.frames, exit, stderr),
            },
            (_, Ending::Interrupted) => failed("INTERRUPTED", "the turn was interrupted, and no message followed"),
            (_, Ending::Timeout(ms)) => failed("TIMEOUT", format!("ran longer than {ms} ms")),
            (_, Ending::Idle(ms)) => failed("IDLE_TIMEOUT", format!("said nothing for {ms} ms")),
            (None, Ending::ItsOwn) => without_result(self.frames, exit, stderr),
        }
    }

    fn of_result(&self, result: &ResultFrame) -> Outcome {
        if let Some(mut failure) = ending::of_result(result) {
            failure.until = self.limit_resets_at.filter(|_| failure.class == FailureClass::UsageLimit);
            return Outcome::Failed(failure);
        }
        let spent = self.spent;
        let was_asked =
            self.model_answered || spent.tokens.output > 0 || spent.cost_usd.is_some_and(|cost| cost > Usd::ZERO);
        // A command of the CLI's own ends well in no turn at all.
        if !was_asked || (result.num_turns == Some(0) && spent.tokens.output == 0) {
            return failed("NO_MODEL_CALL", "the CLI ended without asking the model");
        }
        Outcome::Completed
    }
}

fn failed(code: &'static str, message: impl Into<String>) -> Outcome {
    Outcome::Failed(ending::seen(code, message))
}

/// Difference of two costs that is worth a word, in micro-dollars.
const DIFFERENCE: u64 = 1_000;

fn without_result(frames: usize, exit: &Exit, stderr: &str) -> Outcome {
    let said = if stderr.is_empty() { String::new() } else { format!(": {stderr}") };
    match exit.limit {
        Some(Limit::Memory) => return failed("MEMORY_LIMIT", "its processes took more memory than they may"),
        Some(Limit::Processes) => return failed("PROCESS_LIMIT", "it had more processes than it may"),
        Some(Limit::Output) => return failed("OUTPUT_BYTES", "the CLI printed more than it may"),
        Some(Limit::Disk) => return failed("DISK_LIMIT", "its folders hold more than they may"),
        None if exit.signal == Some(rustix::process::Signal::XFSZ.as_raw()) => {
            return failed("FILE_LIMIT", "the CLI wrote a file that is larger than it may be");
        }
        None => {}
    }
    match &exit.start_error {
        Some(why) if exit.is_of_the_task => return failed("WORKING_DIRECTORY", why),
        Some(why) => return failed("CLI_NOT_STARTED", format!("could not start the CLI: {why}")),
        None => {}
    }
    match (exit.code, exit.signal) {
        // It refused its options or its surroundings before it did anything.
        (Some(code), _) if code != 0 && frames == 0 => {
            failed("CLI_FAILED", format!("the CLI exited with {code}{said}"))
        }
        (Some(code), _) => failed("CLI_CRASHED", format!("the CLI exited with {code} without a result{said}")),
        (None, Some(signal)) => failed("CLI_CRASHED", format!("the CLI died of signal {signal}{said}")),
        (None, None) => failed("CLI_CRASHED", format!("the CLI was killed{said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(lines: &[&str], code: Option<i32>) -> Result<(), FailureClass> {
        let mut observed = Observed::default();
        for line in lines {
            observed.note(&Frame::parse((*line).to_owned()));
        }
        let exit = Exit { code, signal: code.is_none().then_some(9), gone: true, ..Exit::LOST };
        match observed.into_report(Ending::ItsOwn, &exit, "", 1).outcome {
            Outcome::Completed => Ok(()),
            Outcome::Failed(failure) => Err(failure.class),
        }
    }

    const ANSWER: &str = r#"{"type":"assistant","message":{"model":"claude","content":[{"type":"text","text":"hi"}]}}"#;
    const SUCCESS: &str = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"hi"}"#;

    #[test]
    fn success_needs_a_result_without_error_and_a_call_of_the_model() {
        assert_eq!(class_of(&[ANSWER, SUCCESS], Some(0)), Ok(()));
        assert_eq!(class_of(&[ANSWER, SUCCESS], Some(1)), Ok(()));
        assert_eq!(class_of(&[SUCCESS], Some(0)), Err(FailureClass::Invalid));
        assert_eq!(class_of(&[ANSWER], Some(0)), Err(FailureClass::Crashed));
        let none = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":0}"#;
        assert_eq!(class_of(&[none], Some(0)), Err(FailureClass::Invalid));
    }

    #[test]
    fn an_empty_text_that_was_paid_for_is_a_success() {
        let paid = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"",
            "total_cost_usd":0.00035,"modelUsage":{"m":{"inputTokens":20,"outputTokens":10}}}"#;
        assert_eq!(class_of(&[paid], Some(0)), Ok(()));
    }

    #[test]
    fn an_answer_that_waiting_does_not_change_is_judged_by_its_status() {
        for (status, error, code) in [
            (Some(401), "authentication_failed", "AUTH_FAILED"),
            (None, "authentication_failed", "AUTH_FAILED"),
            (Some(404), "not_found", "MODEL_NOT_FOUND"),
            (Some(402), "billing_error", "BILLING"),
        ] {
            assert!(ending::is_hopeless(status, error));
            let mut observed = Observed::default();
            observed.judge_by_status(status, error);
            let exit = Exit { code: Some(1), gone: true, ..Exit::LOST };
            let Outcome::Failed(failure) = observed.into_report(Ending::Judged, &exit, "", 1).outcome else {
                panic!("a failure")
            };
            assert_eq!(failure.code, code);
        }
        assert!(!ending::is_hopeless(Some(429), "rate_limit") && !ending::is_hopeless(Some(529), "overloaded"));
    }

    #[test]
    fn a_usage_limit_says_when_it_ends() {
        let event = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795469080}}"#;
        let refused =
            r#"{"type":"result","subtype":"success","is_error":true,"api_error_status":429,"result":"limit"}"#;
        let mut observed = Observed::default();
        for line in [event, refused] {
            observed.note(&Frame::parse(line.to_owned()));
        }
        let exit = Exit { code: Some(1), gone: true, ..Exit::LOST };
        let Outcome::Failed(failure) = observed.into_report(Ending::ItsOwn, &exit, "", 1).outcome else {
            panic!("a limit")
        };
        assert_eq!((failure.class, failure.until), (FailureClass::UsageLimit, Some(Timestamp(1_795_469_080_000))));
    }

    #[test]
    fn the_class_comes_from_status_and_subtype() {
        let api = |status: &str| {
            format!(
                r#"{{"type":"result","subtype":"success","is_error":true,"api_error_status":{status},"result":"API Error"}}"#
            )
        };
        for (status, class) in [
            ("400", FailureClass::Invalid),
            ("401", FailureClass::Auth),
            ("429", FailureClass::UsageLimit),
            ("529", FailureClass::Overloaded),
            ("null", FailureClass::Network),
        ] {
            assert_eq!(class_of(&[&api(status)], Some(1)), Err(class), "{status}");
        }
        for (subtype, class) in [
            ("error_max_turns", FailureClass::Invalid),
            ("error_max_budget_usd", FailureClass::Invalid),
            ("error_during_execution", FailureClass::Execution),
        ] {
            let line = format!(r#"{{"type":"result","subtype":"{subtype}","is_error":true}}"#);
            assert_eq!(class_of(&[ANSWER, &line], Some(1)), Err(class), "{subtype}");
        }
        assert_eq!(class_of(&[], Some(1)), Err(FailureClass::Execution));
        assert_eq!(class_of(&[ANSWER], None), Err(FailureClass::Crashed));
    }
}
