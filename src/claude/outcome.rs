//! How an attempt ended, from what the CLI said and how its process went. Pure.
//!
//! The CLI says `subtype: "success"` and `is_error: true` together when the API refused, and
//! exits with 1 for all kinds of reasons. So: success is `is_error == false` and at least one
//! call of the model; no `result` is a failure whatever the exit code was.

use serde_json::Value;

use super::frame::{Frame, FrameKind, ResultFrame};
use super::run::Exit;
use crate::task::{Failure, FailureClass, Outcome, Report, Spent, Wall};

/// What was seen of an attempt while it ran.
#[derive(Debug, Default)]
pub struct Observed {
    frames: usize,
    model_answered: bool,
    open_tools: usize,
    session_id: Option<String>,
    limit_resets_at: Option<Wall>,
    result: Option<ResultFrame>,
    /// By the results so far.
    spent: Spent,
}

/// Why we ended it, where we did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It ended by itself.
    ItsOwn,
    /// It took longer than this many milliseconds.
    Timeout(i64),
    /// It was silent for longer than this many milliseconds.
    Idle(i64),
    /// Its turn was interrupted, and nobody said how to go on.
    Interrupted,
}

impl Observed {
    /// Takes note of a frame.
    pub fn note(&mut self, frame: &Frame) {
        self.frames += 1;
        match &frame.kind {
            FrameKind::Init { session_id: Some(id) } => self.session_id = Some(id.clone()),
            FrameKind::Assistant { by_model, tool_calls } => {
                self.model_answered |= by_model;
                self.open_tools += tool_calls;
            }
            FrameKind::User { tool_results } => {
                self.open_tools = self.open_tools.saturating_sub(*tool_results);
            }
            FrameKind::RateLimit { resets_at } => {
                self.limit_resets_at = resets_at.map(|seconds| Wall(seconds.saturating_mul(1_000)));
            }
            FrameKind::Result(result) => {
                self.spent = result.spent();
                self.result = Some((**result).clone());
            }
            _ => {}
        }
    }

    /// Whether the model waits for a tool: silence is no sign of trouble then.
    #[must_use]
    pub const fn a_tool_runs(&self) -> bool {
        self.open_tools > 0
    }

    /// A further turn begins: what the turn before came to decides nothing any more.
    pub fn next_turn(&mut self) {
        self.result = None;
        self.open_tools = 0;
    }

    /// Whether the turn that ended came to an error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result.is_error)
    }

    /// What it has cost so far.
    #[must_use]
    pub const fn spent(&self) -> Spent {
        self.spent
    }

    /// Whether the work is done: an interrupted turn has a result too, but one with an error.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.result.as_ref().is_some_and(|result| !result.is_error)
    }

    /// What the attempt leaves behind. `stderr` is the end of what the CLI said there.
    #[must_use]
    pub fn into_report(self, ending: Ending, exit: &Exit, stderr: &str, duration_ms: i64) -> Report {
        let outcome = self.outcome(ending, exit, stderr);
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
        }
    }

    fn outcome(&self, ending: Ending, exit: &Exit, stderr: &str) -> Outcome {
        // A result that came before the limit counts: the work is done.
        match (&self.result, ending) {
            (Some(result), Ending::ItsOwn) => self.of_result(result),
            (Some(result), _) if !result.is_error => self.of_result(result),
            (_, Ending::Interrupted) => {
                failed(FailureClass::Refused, "INTERRUPTED", "the turn was interrupted, and no message followed")
            }
            (_, Ending::Timeout(ms)) => failed(FailureClass::Timeout, "TIMEOUT", format!("ran longer than {ms} ms")),
            (_, Ending::Idle(ms)) => failed(FailureClass::Timeout, "IDLE_TIMEOUT", format!("said nothing for {ms} ms")),
            (None, Ending::ItsOwn) => without_result(self.frames, exit, stderr),
        }
    }

    fn of_result(&self, result: &ResultFrame) -> Outcome {
        if result.is_error {
            let mut failure = refused(result);
            failure.until = self.limit_resets_at.filter(|_| failure.class == FailureClass::UsageLimit);
            return Outcome::Failed(failure);
        }
        if !self.model_answered || result.num_turns == Some(0) {
            return failed(FailureClass::Invalid, "NO_MODEL_CALL", "the CLI ended without asking the model");
        }
        Outcome::Completed
    }
}

fn failed(class: FailureClass, code: &str, message: impl Into<String>) -> Outcome {
    Outcome::Failed(Failure::new(class, code, message))
}

fn refused(result: &ResultFrame) -> Failure {
    let errors: Vec<_> = result.errors.iter().map(plain).collect();
    let prose = result.result.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| errors.join("; "));
    let (class, code) = match (result.subtype.as_str(), result.api_error_status) {
        ("error_max_turns", _) => (FailureClass::Invalid, "MAX_TURNS"),
        ("error_max_budget_usd", _) => (FailureClass::Invalid, "BUDGET_SPENT"),
        (_, Some(401 | 403)) => (FailureClass::Auth, "AUTH_FAILED"),
        (_, Some(429)) => (FailureClass::UsageLimit, "USAGE_LIMIT"),
        (_, Some(500..)) => (FailureClass::Overloaded, "OVERLOADED"),
        (_, Some(_)) => (FailureClass::Invalid, "API_REFUSED"),
        ("error_during_execution", None) if prose.contains("No conversation found") => {
            (FailureClass::Invalid, "UNKNOWN_SESSION")
        }
        ("success", None) if prose.contains("529") || prose.to_lowercase().contains("overloaded") => {
            (FailureClass::Overloaded, "OVERLOADED")
        }
        ("success", None) => (FailureClass::Network, "NETWORK"),
        _ => (FailureClass::Execution, "EXECUTION_FAILED"),
    };
    let message = if prose.is_empty() { format!("the CLI reported {}", result.subtype) } else { prose };
    Failure::new(class, code, message)
}

fn without_result(frames: usize, exit: &Exit, stderr: &str) -> Outcome {
    let said = if stderr.is_empty() { String::new() } else { format!(": {stderr}") };
    if let Some(why) = &exit.start_error {
        return failed(FailureClass::Execution, "CLI_NOT_STARTED", format!("could not start the CLI: {why}"));
    }
    match (exit.code, exit.signal) {
        // It refused its options or its surroundings before it did anything.
        (Some(code), _) if code != 0 && frames == 0 => {
            failed(FailureClass::Execution, "CLI_FAILED", format!("the CLI exited with {code}{said}"))
        }
        (Some(code), _) => {
            failed(FailureClass::Crashed, "CLI_CRASHED", format!("the CLI exited with {code} without a result{said}"))
        }
        (None, Some(signal)) => {
            failed(FailureClass::Crashed, "CLI_CRASHED", format!("the CLI died of signal {signal}{said}"))
        }
        (None, None) => failed(FailureClass::Crashed, "CLI_CRASHED", format!("the CLI was killed{said}")),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(lines: &[&str], code: Option<i32>) -> Result<(), FailureClass> {
        let mut observed = Observed::default();
        for line in lines {
            observed.note(&Frame::parse((*line).to_owned()));
        }
        let exit = Exit { code, signal: code.is_none().then_some(9), gone: true, start_error: None };
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
    fn a_usage_limit_says_when_it_ends() {
        let event = r#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1795469080}}"#;
        let refused =
            r#"{"type":"result","subtype":"success","is_error":true,"api_error_status":429,"result":"limit"}"#;
        let mut observed = Observed::default();
        for line in [event, refused] {
            observed.note(&Frame::parse(line.to_owned()));
        }
        let exit = Exit { code: Some(1), signal: None, gone: true, start_error: None };
        let Outcome::Failed(failure) = observed.into_report(Ending::ItsOwn, &exit, "", 1).outcome else {
            panic!("a limit")
        };
        assert_eq!((failure.class, failure.until), (FailureClass::UsageLimit, Some(Wall(1_795_469_080_000))));
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
