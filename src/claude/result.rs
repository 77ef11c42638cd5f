//! The frame `result`: the end of a turn, what it came to and what it cost. Pure.
//!
//! It counts as one whatever its fields look like: a lost end would cost the whole attempt, and be paid again.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient;
use domain::{SessionId, Spent, Tokens, json, sane_cost};

/// Highest number of tokens of a process; a larger figure is set aside.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// The fields of `result` that we act on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResultFrame {
    pub(super) subtype: String,
    pub(super) is_error: bool,
    pub(super) api_error_status: Option<i64>,
    pub(super) stop_reason: String,
    pub(super) result: Option<String>,
    pub(super) errors: Vec<Value>,
    pub(super) structured_output: Option<Value>,
    pub(super) session_id: Option<SessionId>,
    pub(super) num_turns: Option<i64>,
    pub(super) spent: Spent,
    pub(super) usage: Option<Value>,
    pub(super) permission_denials: Option<Value>,
    /// Names of the fields that are there and can't be understood.
    #[serde(skip)]
    pub(super) unread: Vec<&'static str>,
}

impl ResultFrame {
    /// Reads a frame.
    pub(super) fn read(frame: &Value) -> Self {
        let mut unread = Vec::new();
        let mut is_there = |name: &'static str, understood: bool| {
            if !understood && !frame[name].is_null() {
                unread.push(name);
            }
        };
        let (api_error_status, num_turns) =
            (lenient::int(&frame["api_error_status"]), lenient::int(&frame["num_turns"]).filter(|turns| *turns >= 0));
        let (cost, is_error) = (lenient::float(&frame["total_cost_usd"]), lenient::flag(&frame["is_error"]));
        is_there("api_error_status", api_error_status.is_some());
        is_there("num_turns", num_turns.is_some());
        is_there("total_cost_usd", cost.is_some());
        is_there("is_error", is_error.is_some());
        is_there("subtype", frame["subtype"].is_string());
        let session_id = frame["session_id"].as_str().and_then(|id| id.parse().ok());
        is_there("session_id", session_id.is_some());
        is_there("modelUsage", frame["modelUsage"].is_object());
        let subtype = frame["subtype"].as_str().unwrap_or_default().to_owned();
        let something = |name: &str| Some(frame[name].clone()).filter(|value| !value.is_null());
        Self {
            // Without a word about it, a text that comes with success is one.
            is_error: is_error.unwrap_or(subtype != "success" || frame["result"].is_null()),
            api_error_status,
            stop_reason: frame["stop_reason"].as_str().unwrap_or_default().to_owned(),
            result: lenient::text(&frame["result"]),
            errors: lenient::list(&frame["errors"]),
            structured_output: something("structured_output"),
            session_id,
            num_turns,
            spent: spent(cost, &frame["modelUsage"]),
            usage: something("usage"),
            permission_denials: something("permission_denials"),
            subtype,
            unread,
        }
    }

    /// Reads what can be found in the beginning and the end of a line that can't be read as a whole. `None` where
    /// it is no result.
    pub(super) fn salvage(head: &str, tail: &str) -> Option<Self> {
        if !head.trim_start().starts_with("{\"type\":\"result\"") {
            return None;
        }
        // A quote inside of a text has a backslash before it: these are names of fields.
        let find = |name: &str| {
            let name = format!("\"{name}\":");
            let value =
                [tail, head].into_iter().find_map(|part| part.rfind(&name).map(|at| &part[at + name.len()..]))?;
            Some(value.trim_start())
        };
        let word = |name: &str| find(name).map(|text| text.split([',', '}']).next().unwrap_or_default().trim());
        let quoted = |name: &str| find(name)?.strip_prefix('"')?.split('"').next().map(str::to_owned);
        let subtype = quoted("subtype").unwrap_or_default();
        let is_error = word("is_error").map_or(subtype != "success", |word| word != "false");
        let cost = word("total_cost_usd").and_then(|word| word.trim_matches('"').parse().ok());
        let begins = head.find("\"result\":\"").map(|at| &head[at + 10..]);
        let text = begins
            .and_then(|text| serde_json::from_str::<Value>(&json::clean(&format!("\"{}\"", before_end(text)))?).ok());
        let text = text.and_then(|text| text.as_str().map(|text| format!("{text}… (the rest was too long to read)")));
        Some(Self {
            is_error,
            api_error_status: word("api_error_status").and_then(|word| word.parse().ok()),
            stop_reason: quoted("stop_reason").unwrap_or_default(),
            result: text,
            session_id: quoted("session_id").and_then(|id| id.parse().ok()),
            num_turns: word("num_turns").and_then(|word| word.parse().ok()),
            spent: spent(cost, &Value::Null),
            subtype,
            unread: vec!["result"],
            ..Self::default()
        })
    }
}

/// A text in JSON up to its closing quote, or to where it was cut.
fn before_end(text: &str) -> &str {
    let mut escaped = false;
    let end = text.bytes().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => byte == b'"',
    });
    let whole = end.map_or(text, |end| &text[..end]);
    // Cut behind a backslash, that would escape the quote that we add.
    if end.is_none() && escaped { &whole[..whole.len() - 1] } else { whole }
}

/// Reads the cost of the process so far, with all of its turns. An absurd figure is set aside.
fn spent(cost: Option<f64>, models: &Value) -> Spent {
    let sum = |key: &str| {
        let used = models.as_object().into_iter().flat_map(|models| models.values());
        let used = used.filter_map(|used| lenient::int(&used[key])).filter(|tokens| (0..=MAX_TOKENS).contains(tokens));
        used.fold(0_i64, i64::saturating_add).min(MAX_TOKENS)
    };
    Spent {
        cost_usd: cost.and_then(sane_cost),
        set_aside: cost.is_some_and(|cost| sane_cost(cost).is_none()),
        tokens: Tokens {
            input: sum("inputTokens"),
            output: sum("outputTokens"),
            cache_read: sum("cacheReadInputTokens"),
            cache_write: sum("cacheCreationInputTokens"),
        },
    }
}

#[cfg(test)]
mod tests {
    use domain::Usd;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_in_other_clothes_are_understood() {
        let frame = json!({
            "type": "result", "subtype": "success", "is_error": "false", "result": "hi", "errors": null,
            "total_cost_usd": "0.5", "num_turns": 1.0, "api_error_status": "429",
            "modelUsage": { "m": { "inputTokens": "7", "outputTokens": -3 }, "n": null },
        });
        let result = ResultFrame::read(&frame);
        assert_eq!((result.result.as_deref(), result.is_error), (Some("hi"), false));
        assert_eq!(
            (result.spent.cost_usd, result.num_turns, result.api_error_status),
            (Some(Usd::of(0.5)), Some(1), Some(429))
        );
        assert_eq!((result.spent.tokens.input, result.spent.tokens.output), (7, 0));
        assert_eq!(result.unread, Vec::<&str>::new());
    }

    #[test]
    fn what_is_not_understood_is_named_and_costs_nothing_else() {
        let frame =
            json!({ "subtype": "success", "is_error": false, "result": "hi", "num_turns": "three", "session_id": 7 });
        let result = ResultFrame::read(&frame);
        assert_eq!((result.result.as_deref(), result.is_error), (Some("hi"), false));
        assert_eq!(result.unread, ["num_turns", "session_id"]);
    }

    #[test]
    fn absurd_money_is_set_aside() {
        for absurd in [json!(1e308), json!(-0.1), json!("1e999"), json!("NaN"), json!(1e9)] {
            let spent = ResultFrame::read(&json!({ "total_cost_usd": absurd })).spent;
            assert_eq!((spent.cost_usd, spent.set_aside), (None, true), "{absurd}");
        }
        let none = ResultFrame::read(&json!({ "total_cost_usd": null })).spent;
        assert_eq!((none.cost_usd, none.set_aside), (None, false));
    }

    #[test]
    fn without_a_word_about_errors_a_text_is_a_success() {
        assert!(!ResultFrame::read(&json!({ "subtype": "success", "result": "" })).is_error);
        assert!(ResultFrame::read(&json!({ "subtype": "success" })).is_error);
        assert!(ResultFrame::read(&json!({ "subtype": "error_during_execution", "result": "x" })).is_error);
    }

    #[test]
    fn a_line_that_is_too_long_still_tells_its_text_and_its_cost() {
        let head = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":2,"result":"he said \"total_cost_usd\":9, \"#;
        let tail = r#"xxx","session_id":"0198c0de-0000-7000-8000-00000000000a","total_cost_usd":0.25,"usage":{}}"#;
        let result = ResultFrame::salvage(head, tail).expect("a result");
        assert!(!result.is_error);
        assert_eq!(
            (result.spent.cost_usd, result.num_turns, result.session_id),
            (Some(Usd::of(0.25)), Some(2), "0198c0de-0000-7000-8000-00000000000a".parse().ok())
        );
        assert!(result.result.is_some_and(|text| text.starts_with("he said \"total_cost_usd\":9, …")));
        assert_eq!(ResultFrame::salvage("{\"type\":\"assistant\"", tail), None);
    }
}
