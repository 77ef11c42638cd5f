//! Questions of a task, and what was said in its conversation.

use domain::{Decision, SessionId, Status, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The questions of a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permissions {
    /// The task.
    pub task_id: TaskId,
    /// The questions, oldest first.
    pub permissions: Vec<Permission>,
}

/// A question: may this tool be used, and in this way?
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Permission {
    /// The question.
    pub request_id: String,
    /// The tool; `AskUserQuestion` where the model itself asks.
    pub tool_name: String,
    /// Input of the tool.
    pub input: Value,
    /// Rules that `"scope": "session"` adds.
    pub session_rules: Vec<String>,
    /// Time at which it was first asked.
    pub asked_at: Timestamp,
    /// Time at which it is denied automatically.
    pub deadline: Timestamp,
    /// The answer, where there is one.
    pub answer: Option<Decision>,
}

/// An open question, with what is to be known of its task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenQuestion {
    /// The task.
    pub task_id: TaskId,
    /// Its title.
    pub title: String,
    /// Its status.
    pub status: Status,
    /// Name of the client's key.
    pub key: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its folder.
    pub working_directory: Option<String>,
    /// The question.
    pub question: Permission,
}

/// Open questions of all tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenQuestions {
    /// The questions, oldest first.
    pub questions: Vec<OpenQuestion>,
    /// Number of open questions in all.
    pub total: i64,
    /// Start of the next page.
    pub next_cursor: Option<String>,
}

/// An answer that counts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The task.
    pub task_id: TaskId,
    /// The question.
    pub request_id: String,
    /// The answer.
    pub answer: Decision,
}

/// A message or an interrupt that was stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageReceipt {
    /// The task.
    pub task_id: TaskId,
    /// Number of the message.
    pub message_id: i64,
}

/// Conversation, from its first task on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// The task.
    pub task_id: TaskId,
    /// The Claude session.
    pub sdk_session_id: Option<SessionId>,
    /// Messages, oldest first.
    pub messages: Vec<ConversationMessage>,
}

/// Author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// People, and tools.
    User,
    /// The model.
    Assistant,
}

/// A message of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConversationMessage {
    /// The task in which it was said.
    pub task_id: TaskId,
    /// Number of the event; `null` for an instruction.
    pub seq: Option<i64>,
    /// Time of the event.
    pub at: Timestamp,
    /// Author.
    pub role: Role,
    /// Blocks of content.
    pub content: Value,
}
