//! Frames of the CLI: one JSON object a line. Read leniently, kept as they came.
//!
//! Any field may be missing, null, or of another type. What can be understood is taken; a line that can't be read
//! at all is text for the log.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::result::ResultFrame;
use domain::{EventKind, SessionId, ToolCall, json};

/// Longest event that is stored with its whole frame, in bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// Lengths to which the texts of a longer one are cut, in bytes: the first with which it fits.
const SHORTENED: [usize; 3] = [16 << 10, 1 << 10, 100];

/// One line of the CLI.
#[derive(Debug)]
pub struct Frame {
    /// Kind, as far as we act on it.
    pub kind: FrameKind,
    /// The line itself, as [`json::clean`] leaves it.
    pub raw: String,
}

/// The frames that we act on.
#[derive(Debug)]
pub enum FrameKind {
    /// `system/init`: the session has begun.
    Init {
        /// The session's id.
        session_id: Option<SessionId>,
    },
    /// A message of the model, and the tools that it calls.
    Assistant {
        /// True if the text was not written by the CLI itself.
        by_model: bool,
        /// Tools that it calls.
        calls: Vec<ToolCall>,
        /// Counts of the answer that it is a part of.
        answer: Box<AnswerCounts>,
    },
    /// Results of tools.
    User {
        /// The calls that it answers, each with whether that failed.
        results: Vec<(String, bool)>,
    },
    /// A piece of the model's answer while it is written.
    Partial {
        /// Text; empty for what is none.
        text: String,
    },
    /// The CLI asks the API again.
    ApiRetry(ApiRetry),
    /// State of the account.
    RateLimit {
        /// End of the limit, in seconds since the Unix epoch, where it is reached.
        resets_at: Option<i64>,
    },
    /// The CLI asks whether a tool may be used, and waits.
    Asks {
        /// The CLI's name for it.
        request_id: String,
        /// The tool.
        tool: String,
        /// Input of the tool.
        input: Value,
        /// The same to the letter, where `input` had to be mended.
        exact_input: Option<Box<RawValue>>,
        /// Rules that the CLI suggests to allow from now on.
        suggestions: Value,
    },
    /// The CLI needs no answer to this any more.
    TakesBack {
        /// Name for it.
        request_id: String,
    },
    /// The CLI asks for something that we don't know, and waits.
    AsksOther {
        /// Name for it.
        request_id: String,
    },
    /// A command, agent or monitor runs beside the turn.
    BackgroundStarted {
        /// The CLI's name for it.
        id: String,
        /// Description for people.
        what: String,
    },
    /// Background work has ended.
    BackgroundEnded {
        /// The CLI's name for it.
        id: String,
    },
    /// State of the MCP servers.
    McpStatus(Vec<McpServer>),
    /// The end of a turn.
    Result(Box<ResultFrame>),
    /// What the CLI has added to the transcript of a session, which is not printed otherwise.
    Mirror {
        /// The session.
        session: SessionId,
        /// Lines of JSON, each with its end.
        entries: String,
    },
    /// The CLI says what it is doing; nothing to keep.
    Progress,
    /// An answer to one of our control requests.
    ControlResponse,
    /// Any other frame.
    Other,
}

/// Counts of an answer of the model. It comes in several messages, each of which says them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerCounts {
    /// Name of the answer.
    pub id: String,
    /// The model.
    pub model: String,
    /// The counts, as the API says them.
    pub usage: Value,
}

/// Reason and time of the next request to the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRetry {
    /// The HTTP status, where one was answered.
    pub status: Option<i64>,
    /// The CLI's name for the error.
    pub error: String,
}

/// An MCP server, as the CLI sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct McpServer {
    /// Name.
    pub name: String,
    /// `connected`, `pending`, `failed`, or another word of the CLI's.
    pub status: String,
    /// Error, where that is known.
    pub error: Option<String>,
}

impl Frame {
    /// Reads a line. What is no JSON object is `Other`, with the line kept.
    #[must_use]
    pub fn parse(raw: String) -> Self {
        let Some(clean) = json::clean(&raw) else { return Self { kind: FrameKind::Other, raw } };
        let mended = if let std::borrow::Cow::Owned(mended) = clean { Some(mended) } else { None };
        let text = mended.as_deref().unwrap_or(&raw);
        let mut kind = serde_json::from_str::<Value>(text).map_or(FrameKind::Other, kind_of);
        if let (Some(_), FrameKind::Asks { exact_input, .. }) = (&mended, &mut kind) {
            *exact_input = input_of(&raw);
        }
        Self { kind, raw: mended.unwrap_or(raw) }
    }

    /// Reads what can be known of a line that was too long to read, or that was cut, from its beginning and its end:
    /// the end of a turn, where it is one.
    #[must_use]
    pub fn salvage(bytes: usize, head: &str, tail: &str) -> Option<Self> {
        let result = ResultFrame::salvage(head, tail)?;
        let raw = serde_json::json!({
            "type": "result", "subtype": result.subtype, "is_error": result.is_error, "salvaged_from_bytes": bytes,
        });
        Some(Self { kind: FrameKind::Result(Box::new(result)), raw: raw.to_string() })
    }

    /// The event that it becomes; `None` where it is none.
    #[must_use]
    pub fn event_kind(&self) -> Option<EventKind> {
        Some(match &self.kind {
            FrameKind::Init { .. } => EventKind::Init,
            FrameKind::Assistant { calls, .. } if calls.is_empty() => EventKind::Assistant,
            FrameKind::Assistant { .. } => EventKind::ToolUse,
            FrameKind::User { .. } => EventKind::ToolResult,
            FrameKind::ApiRetry(_) => EventKind::Retry,
            FrameKind::Result(_) => EventKind::Result,
            FrameKind::Other
            | FrameKind::RateLimit { .. }
            | FrameKind::BackgroundStarted { .. }
            | FrameKind::BackgroundEnded { .. } => EventKind::Log,
            FrameKind::Partial { .. }
            | FrameKind::Mirror { .. }
            | FrameKind::Progress
            | FrameKind::Asks { .. }
            | FrameKind::TakesBack { .. }
            | FrameKind::AsksOther { .. }
            | FrameKind::McpStatus(_)
            | FrameKind::ControlResponse => return None,
        })
    }

    /// The line as the `data` of an event; what is no JSON stays text, and long texts of a frame that is too
    /// large are shortened.
    #[must_use]
    pub fn event_data(&self) -> String {
        if self.raw.len() <= MAX_EVENT_BYTES {
            return match json::is_clean(&self.raw) {
                true => format!("{{\"frame\":{}}}", self.raw),
                false => serde_json::json!({ "message": self.raw }).to_string(),
            };
        }
        let bytes = self.raw.len();
        if let Ok(mut frame) = serde_json::from_str::<Value>(&self.raw) {
            for most in SHORTENED {
                json::shorten(&mut frame, most);
                let data = serde_json::json!({ "frame": frame, "frameBytes": bytes }).to_string();
                if data.len() <= MAX_EVENT_BYTES {
                    return data;
                }
            }
        }
        serde_json::json!({ "message": format!("a frame of {bytes} bytes was left out"), "frameBytes": bytes })
            .to_string()
    }
}

fn kind_of(frame: Value) -> FrameKind {
    let text = |key: &str| frame[key].as_str().unwrap_or_default();
    match (text("type"), text("subtype")) {
        ("system", "init") => {
            FrameKind::Init { session_id: frame["session_id"].as_str().and_then(|id| id.parse().ok()) }
        }
        ("system", "api_retry") => FrameKind::ApiRetry(ApiRetry {
            status: super::lenient::int(&frame["error_status"]),
            error: text("error").to_owned(),
        }),
        ("system", "task_started") => match text("task_id") {
            "" => FrameKind::Other,
            id => FrameKind::BackgroundStarted { id: id.to_owned(), what: background_of(&frame) },
        },
        ("system", "task_notification") => FrameKind::BackgroundEnded { id: text("task_id").to_owned() },
        ("system", "task_updated") => match frame["patch"]["status"].as_str() {
            Some("completed" | "failed" | "killed" | "stopped" | "cancelled") => {
                FrameKind::BackgroundEnded { id: text("task_id").to_owned() }
            }
            _ => FrameKind::Other,
        },
        ("rate_limit_event", _) => {
            let info = &frame["rate_limit_info"];
            let resets_at = super::lenient::int(&info["resetsAt"]).filter(|_| info["status"] == "rejected");
            FrameKind::RateLimit { resets_at }
        }
        ("transcript_mirror", _) => mirror_of(&frame),
        // Says that a request is on its way, several times a turn.
        ("system", "status") => FrameKind::Progress,
        ("assistant", _) => FrameKind::Assistant {
            // The CLI words its own errors as messages of a model of this name.
            by_model: frame["message"]["model"].as_str() != Some("<synthetic>"),
            calls: blocks(&frame, "tool_use").map(call_of).collect(),
            answer: Box::new(AnswerCounts {
                id: frame["message"]["id"].as_str().unwrap_or_default().to_owned(),
                model: frame["message"]["model"].as_str().unwrap_or_default().to_owned(),
                usage: frame["message"]["usage"].clone(),
            }),
        },
        ("user", _) => FrameKind::User {
            results: blocks(&frame, "tool_result")
                .map(|block| (block["tool_use_id"].as_str().unwrap_or_default().to_owned(), block["is_error"] == true))
                .collect(),
        },
        ("stream_event", _) => {
            FrameKind::Partial { text: frame["event"]["delta"]["text"].as_str().unwrap_or_default().to_owned() }
        }
        ("result", _) => FrameKind::Result(Box::new(ResultFrame::read(&frame))),
        ("control_request", _) => asks(frame),
        ("control_cancel_request", _) => FrameKind::TakesBack { request_id: text("request_id").to_owned() },
        ("control_response", _) => match frame["response"]["response"]["mcpServers"].as_array() {
            Some(servers) => FrameKind::McpStatus(servers.iter().filter_map(mcp_server).collect()),
            None => FrameKind::ControlResponse,
        },
        _ => FrameKind::Other,
    }
}

/// Transcripts of sub-agents stand in files of other names: no session goes on from them.
fn mirror_of(frame: &Value) -> FrameKind {
    let name = Path::new(frame["filePath"].as_str().unwrap_or_default()).file_stem();
    let Some(session) = name.and_then(|name| name.to_str()?.parse().ok()) else { return FrameKind::Progress };
    let entries = frame["entries"].as_array().into_iter().flatten().filter(|entry| entry.is_object());
    FrameKind::Mirror { session, entries: entries.map(|entry| format!("{entry}\n")).collect() }
}

/// A background task in words: `local_bash: run the tests`.
fn background_of(frame: &Value) -> String {
    let of = |key: &str| frame[key].as_str().filter(|text| !text.is_empty());
    let kind = of("task_type").unwrap_or("task");
    let what = of("description").map(|what| format!("{kind}: {what}")).unwrap_or(kind.to_owned());
    what.chars().take(200).collect()
}

fn mcp_server(server: &Value) -> Option<McpServer> {
    Some(McpServer {
        name: server["name"].as_str()?.to_owned(),
        status: server["status"].as_str().unwrap_or("unknown").to_owned(),
        error: server["error"].as_str().map(|error| error.chars().take(1_000).collect()),
    })
}

fn asks(mut frame: Value) -> FrameKind {
    let request_id = frame["request_id"].as_str().unwrap_or_default().to_owned();
    let mut request = frame["request"].take();
    match (request["subtype"].as_str(), request["tool_name"].as_str()) {
        (Some("can_use_tool"), Some(tool)) => FrameKind::Asks {
            request_id,
            tool: tool.to_owned(),
            input: request["input"].take(),
            exact_input: None,
            suggestions: request["permission_suggestions"].take(),
        },
        _ => FrameKind::AsksOther { request_id },
    }
}

/// The input of a question, to the letter: a tool that is allowed is called with what it asked for.
fn input_of(raw: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Line {
        request: Request,
    }
    #[derive(Deserialize)]
    struct Request {
        input: Box<RawValue>,
    }
    serde_json::from_str::<Line>(raw).ok().map(|line| line.request.input)
}

fn blocks<'a>(frame: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    let content = frame["message"]["content"].as_array().map_or(&[][..], Vec::as_slice);
    content.iter().filter(move |block| block["type"] == kind)
}

fn call_of(block: &Value) -> ToolCall {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    ToolCall::new(text("id"), text("name"), &block["input"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_frames_and_lines_without_json_are_kept() {
        for raw in ["{\"type\":\"brand_new\",\"x\":[1]}", "Segmentation fault", "[]", "null", "", "{\"type\":\"resul"] {
            let frame = Frame::parse(raw.to_owned());
            assert!(matches!(frame.kind, FrameKind::Other));
            assert_eq!(frame.event_kind(), Some(EventKind::Log));
            let data: Value = serde_json::from_str(&frame.event_data()).expect("an object");
            assert!(data.is_object());
        }
    }

    #[test]
    fn a_question_with_half_a_character_is_answered_with_what_it_asked() {
        let raw = r#"{"type":"control_request","request_id":"q","request":{"subtype":"can_use_tool","tool_name":"Write","input":{"content":"\ud83d"}}}"#;
        let FrameKind::Asks { input, exact_input, .. } = Frame::parse(raw.to_owned()).kind else {
            panic!("a question")
        };
        assert_eq!(input["content"], "\u{FFFD}");
        assert_eq!(exact_input.map(|exact| exact.get().to_owned()), Some(r#"{"content":"\ud83d"}"#.to_owned()));
    }

    #[test]
    fn a_frame_that_is_too_large_keeps_its_shape() {
        let long = "x".repeat(2 << 20);
        let raw = serde_json::json!({ "type": "result", "is_error": false, "result": long }).to_string();
        let data: Value = serde_json::from_str(&Frame::parse(raw).event_data()).expect("json");
        assert_eq!(data["frame"]["is_error"], false);
        assert!(
            data["frame"]["result"].as_str().is_some_and(|text| text.len() < 20_000 && text.contains("2097152 bytes"))
        );
    }

    #[test]
    fn background_work_begins_and_ends() {
        let kind = |raw: &str| Frame::parse(raw.to_owned()).kind;
        let began =
            r#"{"type":"system","subtype":"task_started","task_id":"b1","description":"x","task_type":"local_bash"}"#;
        assert!(
            matches!(kind(began), FrameKind::BackgroundStarted { id, what } if id == "b1" && what == "local_bash: x")
        );
        let moved = r#"{"type":"system","subtype":"task_updated","task_id":"b1","patch":{"status":"running"}}"#;
        assert!(matches!(kind(moved), FrameKind::Other));
        let ended = r#"{"type":"system","subtype":"task_notification","task_id":"b1"}"#;
        assert!(matches!(kind(ended), FrameKind::BackgroundEnded { id } if id == "b1"));
    }
}
