//! What the CLI prints: one JSON object a line. Read leniently, kept as it came.

use serde::Deserialize;
use serde_json::Value;

use crate::task::{EventKind, Spent, Tokens};

/// One line of the CLI.
#[derive(Debug)]
pub struct Frame {
    /// What it is, as far as we act on it.
    pub kind: FrameKind,
    /// The line itself.
    pub raw: String,
}

/// The frames that we act on.
#[derive(Debug, PartialEq)]
pub enum FrameKind {
    /// `system/init`: the session has begun.
    Init {
        /// The session's id.
        session_id: Option<String>,
    },
    /// A message of the model, and the tools that it calls.
    Assistant {
        /// Not worded by the CLI itself.
        by_model: bool,
        /// How many tools it calls.
        tool_calls: usize,
    },
    /// Results of tools.
    User {
        /// How many results it brings.
        tool_results: usize,
    },
    /// Text while it is written.
    Partial {
        /// The text; empty for what is none.
        text: String,
    },
    /// The CLI asks the API again.
    ApiRetry,
    /// How the account stands.
    RateLimit {
        /// When its limit ends, in seconds since the Unix epoch, where it is reached.
        resets_at: Option<i64>,
    },
    /// The CLI asks whether a tool may be used, and waits.
    Asks {
        /// The CLI's name for it.
        request_id: String,
        /// The tool.
        tool: String,
        /// What it is to be called with.
        input: Value,
        /// What the CLI suggests to allow from now on.
        suggestions: Value,
    },
    /// The CLI needs no answer to this any more.
    TakesBack {
        /// Its name for it.
        request_id: String,
    },
    /// The CLI asks for something that we don't know, and waits.
    AsksOther {
        /// Its name for it.
        request_id: String,
    },
    /// The end of a turn.
    Result(Box<ResultFrame>),
    /// The CLI says what it is doing; nothing to keep.
    Progress,
    /// An answer to one of our control requests.
    ControlResponse,
    /// Anything else.
    Other,
}

/// The fields of `result` that we act on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResultFrame {
    pub(super) subtype: String,
    pub(super) is_error: bool,
    pub(super) api_error_status: Option<i64>,
    pub(super) result: Option<String>,
    pub(super) errors: Vec<Value>,
    pub(super) structured_output: Option<Value>,
    pub(super) session_id: Option<String>,
    pub(super) num_turns: Option<i64>,
    pub(super) total_cost_usd: Option<f64>,
    pub(super) usage: Option<Value>,
    #[serde(rename = "modelUsage")]
    pub(super) model_usage: Value,
    pub(super) permission_denials: Option<Value>,
}

impl ResultFrame {
    /// What the process has cost so far, with all of its turns.
    pub(super) fn spent(&self) -> Spent {
        let sum = |key: &str| {
            let models = self.model_usage.as_object().into_iter().flat_map(|models| models.values());
            models.filter_map(|used| used[key].as_i64()).sum()
        };
        let tokens = Tokens {
            input: sum("inputTokens"),
            output: sum("outputTokens"),
            cache_read: sum("cacheReadInputTokens"),
            cache_write: sum("cacheCreationInputTokens"),
        };
        Spent { cost_usd: self.total_cost_usd, tokens }
    }
}

impl Frame {
    /// Reads a line. What is no JSON object is `Other`, with the line kept.
    #[must_use]
    pub fn parse(raw: String) -> Self {
        let kind = serde_json::from_str::<Value>(&raw).map_or(FrameKind::Other, kind_of);
        Self { kind, raw }
    }

    /// The event that it becomes; `None` where it is none.
    #[must_use]
    pub fn event_kind(&self) -> Option<EventKind> {
        Some(match &self.kind {
            FrameKind::Init { .. } => EventKind::Init,
            FrameKind::Assistant { tool_calls: 0, .. } => EventKind::Assistant,
            FrameKind::Assistant { .. } => EventKind::ToolUse,
            FrameKind::User { .. } => EventKind::ToolResult,
            FrameKind::ApiRetry => EventKind::Retry,
            FrameKind::Result(_) => EventKind::Result,
            FrameKind::Other | FrameKind::RateLimit { .. } => EventKind::Log,
            FrameKind::Partial { .. }
            | FrameKind::Progress
            | FrameKind::Asks { .. }
            | FrameKind::TakesBack { .. }
            | FrameKind::AsksOther { .. }
            | FrameKind::ControlResponse => return None,
        })
    }

    /// The line as the `data` of an event; what is no JSON stays text.
    #[must_use]
    pub fn event_data(&self) -> String {
        if serde_json::from_str::<serde::de::IgnoredAny>(&self.raw).is_ok() {
            format!("{{\"frame\":{}}}", self.raw)
        } else {
            serde_json::json!({ "message": self.raw }).to_string()
        }
    }
}

fn kind_of(frame: Value) -> FrameKind {
    let text = |key: &str| frame[key].as_str().unwrap_or_default();
    match (text("type"), text("subtype")) {
        ("system", "init") => FrameKind::Init { session_id: frame["session_id"].as_str().map(str::to_owned) },
        ("system", "api_retry") => FrameKind::ApiRetry,
        ("rate_limit_event", _) => {
            let info = &frame["rate_limit_info"];
            FrameKind::RateLimit { resets_at: info["resetsAt"].as_i64().filter(|_| info["status"] == "rejected") }
        }
        // Says that a request is on its way, several times a turn.
        ("system", "status") => FrameKind::Progress,
        ("assistant", _) => FrameKind::Assistant {
            // The CLI words its own errors as messages of a model of this name.
            by_model: frame["message"]["model"].as_str() != Some("<synthetic>"),
            tool_calls: blocks(&frame, "tool_use"),
        },
        ("user", _) => FrameKind::User { tool_results: blocks(&frame, "tool_result") },
        ("stream_event", _) => match frame["event"]["delta"]["text"].as_str() {
            Some(text) => FrameKind::Partial { text: text.to_owned() },
            None => FrameKind::Partial { text: String::new() },
        },
        ("result", _) => FrameKind::Result(Box::new(result_of(frame))),
        ("control_request", _) => asks(frame),
        ("control_cancel_request", _) => FrameKind::TakesBack { request_id: text("request_id").to_owned() },
        ("control_response", _) => FrameKind::ControlResponse,
        _ => FrameKind::Other,
    }
}

fn asks(mut frame: Value) -> FrameKind {
    let request_id = frame["request_id"].as_str().unwrap_or_default().to_owned();
    let mut request = frame["request"].take();
    match (request["subtype"].as_str(), request["tool_name"].as_str()) {
        (Some("can_use_tool"), Some(tool)) => FrameKind::Asks {
            request_id,
            tool: tool.to_owned(),
            input: request["input"].take(),
            suggestions: request["permission_suggestions"].take(),
        },
        _ => FrameKind::AsksOther { request_id },
    }
}

/// A `result` counts as one even when a field has an unexpected type: a lost end would cost
/// the whole attempt.
fn result_of(frame: Value) -> ResultFrame {
    let is_error = frame["is_error"] != Value::Bool(false);
    let subtype = frame["subtype"].as_str().unwrap_or_default().to_owned();
    serde_json::from_value(frame).unwrap_or(ResultFrame { is_error, subtype, ..Default::default() })
}

fn blocks(frame: &Value, kind: &str) -> usize {
    let content = frame["message"]["content"].as_array();
    content.map_or(0, |blocks| blocks.iter().filter(|block| block["type"] == kind).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_frames_and_lines_without_json_are_kept() {
        for raw in ["{\"type\":\"brand_new\",\"x\":[1]}", "Segmentation fault", "[]", "null", ""] {
            let frame = Frame::parse(raw.to_owned());
            assert_eq!(frame.kind, FrameKind::Other);
            assert_eq!(frame.event_kind(), Some(EventKind::Log));
            let data: Value = serde_json::from_str(&frame.event_data()).expect("an object");
            assert!(data.is_object());
        }
    }

    #[test]
    fn a_result_with_a_strange_field_is_still_a_result() {
        let raw = r#"{"type":"result","subtype":"success","is_error":false,"num_turns":"three"}"#;
        let FrameKind::Result(result) = Frame::parse(raw.to_owned()).kind else { panic!("a result") };
        assert!(!result.is_error);
        assert_eq!(result.num_turns, None);
    }
}
