//! Events of a task, numbered 1, 2, 3 … in the order in which they are stored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Named as _, TaskId, Timestamp};

/// Kind of an event.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum EventKind {
    /// The task moved.
    Status,
    /// The CLI's `system/init`.
    Init,
    /// Text of the model.
    Assistant,
    /// The model calls a tool.
    ToolUse,
    /// A tool answered.
    ToolResult,
    /// Text while it is written; never stored, has no number.
    Partial,
    /// The task asked for a permission, or was answered.
    Permission,
    /// A message, an interrupt or an answer has come for the task.
    Message,
    /// The CLI asks the API again.
    Retry,
    /// The CLI's `result`.
    Result,
    /// Anything else worth knowing.
    Log,
}

/// An event before it has a number.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Kind.
    pub kind: EventKind,
    /// A JSON object, as text: frames of the CLI are stored as they came.
    pub data: String,
}

impl NewEvent {
    /// An event of that kind and content.
    #[must_use]
    pub fn new(kind: EventKind, data: &Value) -> Self {
        Self { kind, data: data.to_string() }
    }

    /// A line for people.
    #[must_use]
    pub fn log(message: &str) -> Self {
        Self::new(EventKind::Log, &serde_json::json!({ "message": message }))
    }
}

/// A stored event.
#[derive(Clone, Debug)]
pub struct Event {
    /// The task that it is of.
    pub task: TaskId,
    /// Number: 1, 2, 3 … without gap.
    pub seq: i64,
    /// Time at which it was stored.
    pub at: Timestamp,
    /// Kind.
    pub kind: EventKind,
    /// A JSON object, as text.
    pub data: String,
}

impl Event {
    /// The event as a line for people: time, kind, and what matters most in it.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{} [{}] {}", self.at, self.kind.name(), line_of(self.kind, &self.data))
    }
}

/// Returns the most important part of an event with this data, on one line.
#[must_use]
pub fn line_of(kind: EventKind, data: &str) -> String {
    let data: &Value = &serde_json::from_str(data).unwrap_or_default();
    let of = |pointer: &str| data.pointer(pointer).map(plain).unwrap_or_default();
    let line = match kind {
        EventKind::Status => match data.get("reason").and_then(Value::as_str) {
            Some(reason) => format!("{}: {reason}", of("/status")),
            None => of("/status"),
        },
        EventKind::Init => format!("session {} model {}", of("/frame/session_id"), of("/frame/model")),
        EventKind::Assistant => of("/frame/message/content/0/text"),
        EventKind::ToolUse => {
            let call = tool_call(data);
            format!("{} {}", call.0, call.1)
        }
        EventKind::ToolResult => of("/frame/message/content/0/content"),
        EventKind::Retry => format!(
            "attempt {} of {} status {}",
            of("/frame/attempt"),
            of("/frame/max_retries"),
            of("/frame/error_status")
        ),
        EventKind::Permission => format!("{} {} {}", of("/state"), of("/toolName"), of("/behavior")),
        EventKind::Message => format!("{} {}", of("/state"), of("/text")),
        EventKind::Result => format!("{} {}", of("/frame/subtype"), of("/frame/result")),
        EventKind::Partial => of("/text"),
        EventKind::Log => match data.get("message") {
            Some(message) => plain(message),
            None => of("/frame"),
        },
    };
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect();
    line.trim().to_owned()
}

fn tool_call(data: &Value) -> (String, String) {
    let blocks = data.pointer("/frame/message/content").and_then(Value::as_array);
    let call = blocks.and_then(|blocks| blocks.iter().find(|block| block["type"] == "tool_use"));
    call.map(|call| (plain(&call["name"]), main_argument(&call["input"]))).unwrap_or_default()
}

/// What matters most of a tool's input: the command, the file, the pattern; else all of it, as JSON.
#[must_use]
pub fn main_argument(input: &Value) -> String {
    let names = ["command", "file_path", "notebook_path", "pattern", "query", "url", "description"];
    let found = names.iter().find_map(|name| input[name].as_str().filter(|text| !text.trim().is_empty()));
    found.map_or_else(|| input.to_string(), str::to_owned)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
