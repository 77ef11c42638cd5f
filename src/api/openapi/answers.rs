//! The answers that are put together where they are given: as a table of fields.
//!
//! `name:kind` is a field that is always there, `name*:kind` one that may be left out. A kind is `uuid`, `time`, `int`, `number`,
//! `string`, `bool`, `object`, `any`, the name of a schema, or words between `/`; behind it `[]` stands for many of it and
//! `?` for null as well. `int 1..100` has its range, `One|Other` is either.

use serde_json::{Value, json};

const ANSWERS: &[(&str, &str)] = &[
    ("Error", "error:ErrorBody"),
    ("ErrorBody", "code:string message:string details:object"),
    ("Receipt", "taskId:uuid status:Status createdAt:time priority:int workingDirectory:string? retryOf:uuid?"),
    ("BatchReceipt", "tasks:Receipt[]"),
    ("TaskPage", "tasks:TaskView[] total:int limit:int offset:int nextCursor:uuid?"),
    ("EventPage", "taskId:string status:Status events:EventView[] last:int hasMore:bool"),
    ("FeedPage", "events:FeedEvent[] last:int hasMore:bool"),
    ("FeedEvent", "n:int taskId:uuid seq:int at:time kind:string data:object"),
    ("Logs", "taskId:string logs:string[]"),
    ("Explanation", "taskId:uuid status:Status position:int? reasons:Reason[]"),
    ("Reason", "code:string message:string until*:time? requestId*:string? credential*:string rule*:LimitState"),
    ("Conversation", "taskId:uuid sdkSessionId:string? messages:ConversationMessage[]"),
    ("ConversationMessage", "taskId:uuid seq:int? at:time role:user/assistant content:any"),
    ("Permissions", "taskId:string permissions:Permission[]"),
    (
        "Permission",
        "requestId:string toolName:string input:any sessionRules:string[] askedAt:time deadline:time answer:Decision?",
    ),
    ("Answered", "taskId:uuid requestId:string answer:Decision"),
    ("MessageReceipt", "taskId:uuid messageId:int"),
    (
        "Stats",
        "size:int pending:int running:int completed:int failed:int cancelled:int isPaused:bool concurrency:int oldestPendingMs:int?",
    ),
    ("LimitState", "group:GroupKind name:string concurrency:int? rate:Rate? paused:bool"),
    ("LimitUse", "group:GroupKind name:string concurrency:int? rate:Rate? paused:bool waiting:int"),
    ("Limits", "limits:LimitUse[]"),
    ("Usage", "days:UsageDay[] totalUsd:number today:Today"),
    ("UsageDay", "day:string key:string costUsd:number attempts:int tokens:Tokens"),
    ("Today", "day:string server:Left keys:object"),
    ("Left", "limitUsd:number? spentUsd:number reservedUsd:number leftUsd:number?"),
    ("Workers", "healthy:bool workerCount:int workers:Worker[]"),
    (
        "Worker",
        "workerId:string pid:int? startTime:time? uptime:int? restartCount:int connected:bool running:int? concurrency:int?",
    ),
    ("WorkerStopped", "success:bool workerId:string message:string"),
    ("NewWorker", "workerId*:string"),
    (
        "Health",
        "status:string timestamp:time queue:object workerMode:string workers:object? checks:object panics:int reason*:string parked*:object[]",
    ),
    ("State", "status:string checks*:object reason*:string"),
    (
        "Schedule",
        "scheduleId:uuid name:string? cron:string timeZone:string task:object missed:Missed overlap:Overlap continueSession:bool \
        enabled:bool nextRunAt:time? createdAt:time unreadable:string?",
    ),
    ("Schedules", "schedules:Schedule[]"),
    ("Runs", "scheduleId:uuid runs:Run[]"),
    (
        "Run",
        "dueAt:time? firedAt:time outcome:submitted/missed/skipped/refused taskId:uuid? taskStatus:Status? detail:string?",
    ),
    (
        "Webhook",
        "webhookId:string url:string events:string[] createdAt:time enabled:bool failingSince:time? disabledAt:time? disabledReason:string?",
    ),
    ("Webhooks", "webhooks:Webhook[]"),
    ("Deliveries", "taskId:uuid deliveries:Delivery[]"),
    (
        "Delivery",
        "deliveryId:string event:string url:string state:pending/delivered/failed attempts:int nextAttemptAt:time? lastStatus:int? \
        lastError:string? createdAt:time endedAt:time?",
    ),
    ("DeliveryReceipt", "taskId:uuid deliveryId:string"),
];

/// All of them, by name.
pub fn schemas() -> impl Iterator<Item = (String, Value)> {
    ANSWERS.iter().map(|(name, fields)| ((*name).to_owned(), object(fields)))
}

fn object(fields: &str) -> Value {
    let mut schema = json!({ "type": "object", "properties": {}, "required": [] });
    let mut required = Vec::new();
    for (name, kind) in fields.split_whitespace().filter_map(|field| field.split_once(':')) {
        let known = name.trim_end_matches('*');
        if known == name {
            required.push(name);
        }
        schema["properties"][known] = self::schema(kind);
    }
    schema["required"] = json!(required);
    schema
}

/// The schema of a kind.
pub fn schema(kind: &str) -> Value {
    let choices: Vec<Value> = kind.split('|').map(one).collect();
    if choices.len() == 1 { choices.into_iter().next().unwrap_or_default() } else { json!({ "anyOf": choices }) }
}

fn one(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "anyOf": [one(kind), { "type": "null" }] });
    }
    if let Some(kind) = kind.strip_suffix("[]") {
        return json!({ "type": "array", "items": one(kind) });
    }
    if let Some((low, high)) = kind.strip_prefix("int ").and_then(|range| range.split_once("..")) {
        let number = |text: &str| text.parse::<i64>().ok();
        return json!({ "type": "integer", "minimum": number(low), "maximum": number(high) });
    }
    if kind.contains('/') {
        return json!({ "type": "string", "enum": kind.split('/').collect::<Vec<_>>() });
    }
    match kind {
        "uuid" => json!({ "type": "string", "format": "uuid" }),
        "time" => json!({ "type": "string", "format": "date-time" }),
        "day" => json!({ "type": "string", "format": "date" }),
        "int" => json!({ "type": "integer" }),
        "bool" => json!({ "type": "boolean" }),
        "any" => json!({}),
        "number" | "string" | "object" => json!({ "type": kind }),
        name => json!({ "$ref": format!("#/components/schemas/{name}") }),
    }
}
