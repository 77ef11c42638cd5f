//! Events: a union by their kind.

use domain::{Behavior, EventKind, Name, Named as _, Scope, Status, TaskId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use strum::VariantArray as _;
use utoipa::openapi::schema::{Discriminator, KnownFormat, Object, OneOfBuilder, SchemaFormat};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::ErrorView;

/// An event, as the server writes it: its data is passed on as it is stored.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<i64>,
    task_id: TaskId,
    seq: i64,
    at: Timestamp,
    kind: &'static str,
    data: &'a RawValue,
}

impl<'a> EventView<'a> {
    /// The view of an event; `None` where its data is no JSON, which no part of the program writes.
    #[must_use]
    pub fn of(event: &'a domain::Event) -> Option<Self> {
        let data = serde_json::from_str(&event.data).ok()?;
        Some(Self { n: None, task_id: event.task, seq: event.seq, at: event.at, kind: event.kind.name(), data })
    }

    /// The same with its place among the events of all tasks.
    #[must_use]
    pub fn numbered(n: i64, event: &'a domain::Event) -> Option<Self> {
        Some(Self { n: Some(n), ..Self::of(event)? })
    }
}

/// An event, as a client reads it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The task.
    pub task_id: TaskId,
    /// Number of the event in its task: 1, 2, 3 … without gap.
    pub seq: i64,
    /// Time at which it was stored.
    pub at: Timestamp,
    /// Kind of the event.
    pub kind: Name<EventKind>,
    #[serde(default)]
    data: Value,
}

/// Content of an event, by its kind.
#[derive(Clone, Debug)]
pub enum Content {
    /// The task has moved.
    Status(StatusData),
    /// The CLI said something.
    Frame(EventKind, FrameData),
    /// The task asked, or was answered.
    Permission(PermissionData),
    /// A message was sent to the task.
    Message(MessageData),
    /// A line for people, or a frame of the CLI that is nothing else.
    Log(LogData),
    /// A kind that only another version knows, or data that can't be read.
    Unknown,
}

impl Event {
    /// Returns the content of the event.
    #[must_use]
    pub fn content(self) -> Content {
        fn read<T: DeserializeOwned>(data: Value, content: impl FnOnce(T) -> Content) -> Content {
            serde_json::from_value(data).map_or(Content::Unknown, content)
        }
        match self.kind {
            Name::Known(EventKind::Status) => read(self.data, Content::Status),
            Name::Known(EventKind::Permission) => read(self.data, Content::Permission),
            Name::Known(EventKind::Message) => read(self.data, Content::Message),
            Name::Known(EventKind::Log) => read(self.data, Content::Log),
            Name::Known(kind) => read(self.data, |data| Content::Frame(kind, data)),
            Name::Other(_) => Content::Unknown,
        }
    }
}

/// Data of a `status` event.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusData {
    /// Status of the task from here on.
    pub status: Status,
    /// Number of the attempt.
    #[schema(nullable = false)]
    pub attempt: Option<i32>,
    /// Worker that runs it.
    #[schema(nullable = false)]
    pub worker_id: Option<String>,
    /// Time at which a pending task goes on.
    #[schema(nullable = false)]
    pub due_at: Option<Timestamp>,
    /// Failure of the attempt.
    #[schema(nullable = false)]
    pub error: Option<ErrorView<'static>>,
    /// Reason for which the task was given back.
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// Data of an event that is a frame of the CLI.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FrameData {
    /// The frame, as the CLI wrote it.
    #[schema(value_type = Object, nullable = false)]
    #[serde(default)]
    pub frame: Value,
    /// Length of the whole frame in bytes, where its texts were cut.
    #[schema(nullable = false)]
    pub frame_bytes: Option<i64>,
    /// Description in place of a frame that could not be kept.
    #[schema(nullable = false)]
    pub message: Option<String>,
}

/// Data of a `permission` event.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionData {
    /// `asked` or `answered`.
    pub state: String,
    /// The question.
    pub request_id: String,
    /// The tool.
    pub tool_name: String,
    /// Input of the tool.
    #[schema(nullable = false)]
    #[serde(default)]
    pub input: Option<Value>,
    /// Rules that the CLI suggests to allow.
    #[schema(nullable = false)]
    #[serde(default)]
    pub suggestions: Option<Value>,
    /// Time at which it is denied automatically.
    #[schema(nullable = false)]
    pub deadline: Option<Timestamp>,
    /// The answer.
    #[schema(nullable = false)]
    pub behavior: Option<Behavior>,
    /// Scope of a permission.
    #[schema(nullable = false)]
    pub scope: Option<Scope>,
    /// Reason for the model, with a denial.
    pub message: Option<String>,
}

/// Data of a `message` event.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageData {
    /// `stored`, `begun`, `interrupt` or `interrupted`.
    pub state: String,
    /// Number of the message.
    #[schema(nullable = false)]
    pub message_id: Option<i64>,
    /// The message, word for word.
    #[schema(nullable = false)]
    pub text: Option<String>,
}

/// Data of a `log` event.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogData {
    /// A line for people.
    #[schema(nullable = false)]
    pub message: Option<String>,
    /// Descriptions of background work that was ended.
    #[serde(default)]
    pub background_ended: Vec<String>,
    /// A frame of the CLI that is nothing else.
    #[schema(nullable = false)]
    #[serde(default)]
    pub frame: Option<Value>,
    /// Length of the whole frame in bytes, where its texts were cut.
    #[schema(nullable = false)]
    pub frame_bytes: Option<i64>,
}

/// Text while the model writes it: in the stream of a task only, without a number, and not stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    /// The task.
    pub task_id: TaskId,
    /// The text.
    pub text: String,
}

/// Kinds that are stored.
fn stored() -> impl Iterator<Item = EventKind> {
    EventKind::VARIANTS.iter().copied().filter(|kind| *kind != EventKind::Partial)
}

/// Name of the schema of a kind: `ToolUseEvent`.
fn schema_name(kind: EventKind) -> String {
    format!("{kind:?}Event")
}

/// Schema of the data of a kind.
fn data(kind: EventKind) -> Ref {
    Ref::from_schema_name(match kind {
        EventKind::Status => StatusData::name(),
        EventKind::Permission => PermissionData::name(),
        EventKind::Message => MessageData::name(),
        EventKind::Log => LogData::name(),
        _ => FrameData::name(),
    })
}

fn schema_of(kind: EventKind) -> Object {
    let number =
        || ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([kind.name()]));
    let n = number().description(Some("Place among the events of all tasks; in answers about all tasks only."));
    let seq = number().description(Some("Number of the event in its task: 1, 2, 3 … without gap."));
    let object = ObjectBuilder::new().property("n", n).property("taskId", TaskId::schema()).property("seq", seq);
    let object = object.property("at", Timestamp::schema()).property("kind", name).property("data", data(kind));
    ["taskId", "seq", "at", "kind", "data"].into_iter().fold(object, ObjectBuilder::required).build()
}

impl PartialSchema for EventView<'_> {
    fn schema() -> RefOr<Schema> {
        let kinds = stored().fold(OneOfBuilder::new(), |all, kind| all.item(Ref::from_schema_name(schema_name(kind))));
        let to = |kind: EventKind| (kind.name(), format!("#/components/schemas/{}", schema_name(kind)));
        let kinds = kinds.discriminator(Some(Discriminator::with_mapping("kind", stored().map(to))));
        kinds.description(Some("An event, by its kind.")).into()
    }
}

impl ToSchema for EventView<'_> {
    fn name() -> std::borrow::Cow<'static, str> {
        "Event".into()
    }

    fn schemas(all: &mut Vec<(String, RefOr<Schema>)>) {
        fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
            all.push((T::name().into_owned(), T::schema()));
            T::schemas(all);
        }
        all.extend(stored().map(|kind| (schema_name(kind), Schema::Object(schema_of(kind)).into())));
        add::<StatusData>(all);
        add::<FrameData>(all);
        add::<PermissionData>(all);
        add::<MessageData>(all);
        add::<LogData>(all);
    }
}

/// A page of a task's events.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventPage<'a> {
    /// The task.
    pub task_id: TaskId,
    /// Status of the task.
    pub status: Status,
    /// The events, in order.
    pub events: Vec<EventView<'a>>,
    /// Number of the first of them; `?before=` goes on before it.
    pub first: i64,
    /// Number of the last of them; `?after=` goes on behind it.
    pub last: i64,
    /// Number of the task's events in all, of whatever kind.
    pub total: i64,
    /// True if there are more behind the last of them or, without `after`, before the first.
    pub has_more: bool,
}

/// A page of the events of all tasks.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedPage<'a> {
    /// The events, in the order of their commits.
    pub events: Vec<EventView<'a>>,
    /// Number of the last event that was looked at; `?after=` goes on behind it.
    pub last: i64,
    /// True if there may be more behind it.
    pub has_more: bool,
}

/// The events of a task as lines.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Logs {
    /// The task.
    pub task_id: TaskId,
    /// A line for each event.
    pub logs: Vec<String>,
}
