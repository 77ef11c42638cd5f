//! Every operation, as a table. A test holds it against the routes, and a fuzz run against the answers.

use domain::{Decision, GroupKind};
use wire::request::{
    Batch, Bulk, Concurrency, Members, Message, NewKey, NewLimit, NewRule, NewSchedule, NewSecret, NewWorker, Rotation,
    ScheduleChanges, TaskChanges, ToolMessage, WebhookChanges,
};
use wire::response::{
    Alive, Answered, Artifacts, AuditPage, BatchReceipt, BulkReport, Conversation, Deliveries, DeliveryReceipt,
    DoctorReport, EventPage, Explanation, FeedPage, FileRemoved, FileView, Files, Health, Key, KeySecret, Keys,
    LimitState, Limits, Logs, MessageReceipt, OpenQuestions, Permissions, Preview, Proof, RaceView, Readiness, Receipt,
    RuleView, Rules, Runs, Schedule, Schedules, SearchPage, SecretView, Secrets, Series, SessionPage, Settings, Stats,
    TaskGraph, TaskPage, TaskProof, TaskView, Usage, Webhook, Webhooks, Worker, WorkerStopped, Workers,
    WorktreeRemoved, Worktrees,
};
use wire::{TaskSpec, WebhookOptions};

use super::operation::Parameter::{self, Day, Flag, Number, Of, Text, Uuid};
use super::operation::{
    ADMIN, Answer, Content, DECIDE, OPEN, Operation, READ, SUBMIT, WITHIN, either, empty, json, of, op, other,
};

type Task = TaskView<'static>;

const ONCE: &[(&str, Parameter)] = &[("Idempotency-Key", Text)];
/// Number of an event.
const NUMBER: Parameter = Number(0, i64::MAX);
const STREAM: Answer = other(
    "text/event-stream",
    "Server-sent events: `id` is the number, `event` the kind and `data` an `Event` as JSON. Begins behind `Last-Event-ID` or `after`.",
);

/// A file, or a part of it.
const CONTENT: &[Answer] = &[
    other("application/octet-stream", "The content."),
    Answer { status: 206, content: Content::Other("application/octet-stream", "The part that was asked for.") },
    empty(304),
];
const RANGES: &[(&str, Parameter)] = &[("Range", Text), ("If-Range", Text), ("If-None-Match", Text)];

/// Every operation, in the order of docs/api.md.
pub const OPERATIONS: &[Operation] = &[
    op(SUBMIT, "POST", "/api/tasks", "submitTask", "Submit a task", &[json::<Receipt>(202), json::<Task>(200), json::<Task>(504)])
        .headers(ONCE)
        .body::<TaskSpec>(&[
                r#"{"instruction": "Mend the failing test"}"#,
                r#"{"instruction": "Sum up the week", "priority": 10, "tags": ["report"], "concurrencyKey": "reports",
                    "options": {"timeout": {"total": 600000, "idle": 60000}, "maxAttempts": 2,
                    "retry": {"initialDelay": 1000, "maxDelay": 60000, "backoffMultiplier": 2, "onTimeout": false},
                    "webhook": {"url": "http://localhost:8080/hook", "events": ["completed"]},
                    "sdk": {"model": "sonnet", "permissionMode": "acceptEdits", "maxTurns": 5, "maxBudgetUsd": 0.5}}}"#,
            ],
        )
        .errors(&[404, 409, 429]),
    op(READ, "GET", "/api/tasks", "listTasks", "List tasks, newest first", &[json::<TaskPage<'static>>(200)]).query(&[
        ("status", Text),
        ("errorClass", Text),
        ("session", Uuid),
        ("schedule", Uuid),
        ("parent", Uuid),
        ("since", Text),
        ("until", Text),
        ("tag", Text),
        ("key", Text),
        ("q", Text),
        ("id", Text),
        ("workingDirectory", Text),
        ("order", Text),
        ("limit", Number(1, 100)),
        ("offset", Number(0, 4294967295)),
        ("cursor", Uuid),
    ]),
    op(SUBMIT, "POST", "/api/tasks/batch", "submitTasks", "Submit up to 1,000 tasks, all or none", &[json::<BatchReceipt>(202)])
        .headers(ONCE)
        .body::<Batch>(&[r#"{"tasks": [{"instruction": "Say hello"}, {"instruction": "Say goodbye", "priority": 5}]}"#,
            r#"{"tasks": [{"name": "find", "instruction": "Find what is slow"}, {"instruction": "Mend this: {{tasks.find.result}}",
                "dependsOn": [{"task": "find"}]}]}"#])
        .errors(&[404, 409, 429]),
    op(SUBMIT, "POST", "/api/tasks/bulk", "changeTasks", "Cancel, retry or change many tasks", &[json::<BulkReport>(200)])
        .body::<Bulk>(&[
            r#"{"filter": {"status": ["failed"], "errorClass": ["overloaded"]}, "action": "retry"}"#,
            r#"{"filter": {"tag": "nightly", "q": "report"}, "action": "cancel", "expect": 1000}"#,
            r#"{"filter": {}, "action": "amend", "priority": 5, "expect": 1000}"#,
        ])
        .errors(&[409]),
    op(READ, "GET", "/api/sessions", "listSessions", "List conversations, newest first", &[json::<SessionPage>(200)])
        .query(&[("key", Text), ("limit", Number(1, 100)), ("cursor", Uuid)]),
    op(READ, "GET", "/api/search", "searchConversations", "Find words in conversations", &[json::<SearchPage>(200)])
        .query(&[("q", Text), ("limit", Number(1, 100)), ("cursor", NUMBER)])
        .errors(&[404, 422]),
    op(READ, "GET", "/api/tasks/{id}", "getTask", "Read a task", &[json::<Task>(200)]),
    op(SUBMIT, "PATCH", "/api/tasks/{id}", "changeTask", "Change when a pending task starts", &[json::<Task>(200)])
        .body::<TaskChanges>(&[r#"{"priority": 50}"#, r#"{"runAt": "2125-01-31T08:15:00Z"}"#, r#"{"dependsOn": []}"#])
        .errors(&[409]),
    op(SUBMIT, "DELETE", "/api/tasks/{id}", "cancelTask", "Cancel a task", &[json::<Task>(200)]).errors(&[409]),
    op(SUBMIT, "POST", "/api/tasks/{id}/retry", "retryTask", "Run an ended task again, as a new one", &[json::<Receipt>(202)])
        .errors(&[409, 422, 429]),
    op(READ, "GET", "/api/tasks/{id}/events", "followTask", "Follow a task", &[STREAM])
        .query(&[("after", NUMBER)])
        .headers(&[("Last-Event-ID", NUMBER)]),
    op(READ, "GET", "/api/tasks/{id}/events/page", "listTaskEvents", "Read events of a task", &[json::<EventPage<'static>>(200)])
        .query(&[("after", NUMBER), ("before", NUMBER), ("kind", Text), ("limit", Number(1, 1_000))]),
    op(READ, "GET", "/api/events", "followTasks", "Follow all tasks", &[STREAM])
        .query(&[
            ("taskId", Text),
            ("kind", Text),
            ("tag", Text),
            ("key", Text),
            ("after", NUMBER),
        ])
        .headers(&[("Last-Event-ID", NUMBER)])
        .errors(&[404]),
    op(READ, "GET", "/api/events/page", "listEvents", "Read events of all tasks", &[json::<FeedPage<'static>>(200)])
        .query(&[
            ("taskId", Text),
            ("kind", Text),
            ("tag", Text),
            ("key", Text),
            ("after", NUMBER),
            ("limit", Number(1, 1_000)),
        ])
        .errors(&[404]),
    op(WITHIN, "GET", "/ws", "openWebSocket", "Follow tasks over a WebSocket", &[empty(101)]).errors(&[400]),
    op(READ, "GET", "/api/tasks/{id}/explain", "explainTask", "Say why a task isn't running", &[json::<Explanation>(200)]),
    op(READ, "GET", "/api/tasks/{id}/graph", "getTaskGraph", "Read which tasks it depends on, and which on it", &[json::<TaskGraph>(200)])
        .query(&[("limit", Number(1, 1_000))]),
    op(READ, "GET", "/api/tasks/{id}/race", "getRace", "Read the race that a task is in", &[json::<RaceView>(200)]),
    op(SUBMIT, "POST", "/api/tasks/{id}/race/pick", "pickWinner", "Choose a contender as the winner of its race", &[json::<RaceView>(200)]).errors(&[409]),
    op(READ, "GET", "/api/tasks/{id}/changes.patch", "getTaskPatch", "Read what a task changed in its worktree", &[other("text/x-patch", "A patch, as git applies it.")]),
    op(READ, "GET", "/api/tasks/{id}/artifacts", "listArtifacts", "List the files that a task has left", &[json::<Artifacts>(200)])
        .query(&[("limit", Number(1, 1_000)), ("cursor", Text)]),
    op(READ, "GET", "/api/tasks/{id}/artifacts/content", "getArtifact", "Read a file that a task has left", CONTENT)
        .query(&[("path", Text)])
        .headers(RANGES)
        .errors(&[416, 500]),
    op(READ, "GET", "/api/tasks/{id}/artifacts.zip", "getArtifactArchive", "Read all of them as one archive", &[other("application/zip", "An archive, not compressed.")]),
    op(READ, "GET", "/api/files", "listFiles", "List files, those first that were sent last", &[json::<Files>(200)])
        .query(&[("limit", Number(1, 100)), ("cursor", Uuid)]),
    op(SUBMIT, "POST", "/api/files", "sendFile", "Send a file for tasks to use", &[json::<FileView>(201), json::<FileView>(200)])
        .bytes()
        .errors(&[409, 429]),
    op(READ, "GET", "/api/files/{file}", "getFile", "Read how much of a file is there", &[json::<FileView>(200)]),
    op(SUBMIT, "PUT", "/api/files/{file}", "sendFilePart", "Send a file of a known digest, or go on with it", &[
        json::<FileView>(201), json::<FileView>(202), json::<FileView>(200),
    ])
        .headers(&[("Content-Range", Text)])
        .bytes()
        .errors(&[409, 422, 429]),
    op(SUBMIT, "DELETE", "/api/files/{file}", "removeFile", "Remove a file", &[json::<FileRemoved>(200)]).errors(&[409]),
    op(READ, "GET", "/api/files/{file}/content", "readFile", "Read a file", CONTENT).headers(RANGES).errors(&[409, 416, 500]),
    op(READ, "GET", "/api/rules", "listRules", "List rules, and what people's answers suggest", &[json::<Rules>(200)]),
    op(DECIDE, "POST", "/api/rules", "addRule", "Allow calls of a tool from now on", &[json::<RuleView>(201), json::<RuleView>(200)])
        .body::<NewRule>(&[r#"{"rule": "Bash(cargo test *)", "tag": "ci"}"#])
        .errors(&[422, 429]),
    op(DECIDE, "DELETE", "/api/rules/{id}", "removeRule", "Remove a rule: its calls are asked for again", &[empty(204)]).errors(&[404]),
    op(READ, "GET", "/api/secrets", "listSecrets", "List secrets, without their values", &[json::<Secrets>(200)]),
    op(SUBMIT, "PUT", "/api/secrets/{name}", "putSecret", "Store a secret for tasks, or give it another value", &[
        json::<SecretView>(201), json::<SecretView>(200),
    ])
        .body::<NewSecret>(&[r#"{"value": "a-token-of-another-service"}"#])
        .errors(&[429, 503]),
    op(SUBMIT, "DELETE", "/api/secrets/{name}", "removeSecret", "Remove a secret", &[empty(204)]),
    op(READ, "GET", "/api/tasks/{id}/conversation", "getConversation", "Read what was said", &[json::<Conversation>(200)]),
    op(READ, "GET", "/api/tasks/{id}/logs", "getTaskLogs", "Read the events as lines", &[json::<Logs>(200)]),
    op(READ, "GET", "/api/tasks/{id}/permissions", "listPermissions", "List open questions", &[json::<Permissions>(200)]).query(&[("all", Flag)]),
    op(READ, "GET", "/api/questions", "listQuestions", "List the open questions of all tasks", &[json::<OpenQuestions>(200)])
        .query(&[("state", Text), ("limit", Number(1, 100)), ("cursor", Text)]),
    op(DECIDE, "POST", "/api/tasks/{id}/permissions/{request}", "answerPermission", "Answer a question", &[json::<Answered>(200)])
        .body::<Decision>(&[r#"{"behavior": "allow", "scope": "session"}"#, r#"{"behavior": "deny", "message": "Not that one"}"#])
        .errors(&[409]),
    op(SUBMIT, "POST", "/api/tasks/{id}/messages", "sendMessage", "Say something: a further turn", &[json::<MessageReceipt>(202)])
        .body::<Message>(&[r#"{"text": "And now the tests"}"#])
        .errors(&[409, 429]),
    op(SUBMIT, "POST", "/api/tasks/{id}/interrupt", "interruptTask", "Stop the turn, keep the session", &[json::<MessageReceipt>(202)]).errors(&[409, 429]),
    op(READ, "GET", "/api/tasks/{id}/deliveries", "listDeliveries", "List what webhooks were told", &[json::<Deliveries>(200)]),
    op(SUBMIT, "POST", "/api/tasks/{id}/deliveries/{delivery}/retry", "retryDelivery", "Tell it again", &[json::<DeliveryReceipt>(202)]),
    op(READ, "GET", "/api/queue/stats", "getQueueStats", "Count tasks", &[json::<Stats>(200)]),
    op(ADMIN, "POST", "/api/queue/pause", "pauseQueue", "Hold tasks back", &[either::<Stats, LimitState>(200)]).optional_body::<Members>(&[r#"{"tag": "deploy"}"#]),
    op(ADMIN, "POST", "/api/queue/start", "startQueue", "Let tasks go on", &[either::<Stats, LimitState>(200)]).optional_body::<Members>(&[r#"{"tag": "deploy"}"#]),
    op(ADMIN, "PUT", "/api/queue/concurrency", "setConcurrency", "Set how many tasks each worker runs at a time", &[json::<Stats>(200)])
        .body::<Concurrency>(&[r#"{"concurrency": 4}"#]),
    op(ADMIN, "GET", "/api/queue/limits", "listLimits", "List the limits of groups", &[json::<Limits>(200)]),
    op(ADMIN, "PUT", "/api/queue/limits", "setLimit", "Set the limit of a group", &[json::<LimitState>(200)]).body::<NewLimit>(&[r#"{"group": "concurrencyKey", "name": "repo", "concurrency": 2, "rate": {"starts": 10, "periodMs": 60000}, "paused": false}"#],
    ),
    op(ADMIN, "DELETE", "/api/queue/limits", "removeLimit", "Take the limit of a group off", &[json::<LimitState>(200)])
        .query(&[("group", Of(of::<GroupKind>())), ("name", Text)]),
    op(ADMIN, "GET", "/api/series", "getSeries", "Read figures of the last day, for charts", &[json::<Series>(200)])
        .query(&[("of", Text), ("step", Number(60, 86_400)), ("from", Text)]),
    op(ADMIN, "GET", "/api/proof", "proveAll", "Hold the recorded history against the promises", &[json::<Proof>(200)]).errors(&[409]),
    op(READ, "GET", "/api/proof/{id}", "proveTask", "Read all that was done with a task", &[json::<TaskProof>(200)]),
    op(ADMIN, "GET", "/api/settings", "listSettings", "List the settings and where they come from", &[json::<Settings>(200)]),
    op(ADMIN, "GET", "/api/doctor", "runDoctor", "Look at what is missing, and how to mend it", &[json::<DoctorReport>(200)]),
    op(SUBMIT, "POST", "/api/schedules", "addSchedule", "Add a schedule", &[json::<Schedule<'static>>(201)])
        .body::<NewSchedule>(&[r#"{"name": "Morning report", "cron": "0 9 * * 1-5", "timeZone": "Europe/Berlin", "task": {"instruction": "Report what failed"},
                "missed": "once", "overlap": "skip", "continueSession": true}"#],
        )
        .errors(&[404, 409]),
    op(READ, "GET", "/api/schedules", "listSchedules", "List schedules", &[json::<Schedules<'static>>(200)]),
    op(READ, "GET", "/api/schedules/preview", "previewSchedule", "Read the next firings of a timetable", &[json::<Preview>(200)])
        .query(&[("cron", Text), ("timeZone", Text), ("n", Number(1, 100))]),
    op(READ, "GET", "/api/schedules/{id}", "getSchedule", "Read a schedule", &[json::<Schedule<'static>>(200)]),
    op(SUBMIT, "PATCH", "/api/schedules/{id}", "changeSchedule", "Change a schedule", &[json::<Schedule<'static>>(200)])
        .body::<ScheduleChanges>(&[r#"{"enabled": false}"#, r#"{"cron": "*/5 * * * *", "timeZone": "UTC"}"#])
        .errors(&[409]),
    op(SUBMIT, "DELETE", "/api/schedules/{id}", "removeSchedule", "Remove a schedule", &[empty(204)]),
    op(SUBMIT, "POST", "/api/schedules/{id}/run", "runSchedule", "Fire a schedule now", &[json::<Receipt>(202)]).errors(&[409, 422, 429]),
    op(READ, "GET", "/api/schedules/{id}/runs", "listScheduleRuns", "Read what a schedule has done", &[json::<Runs>(200)]).query(&[("limit", Number(1, 1000))]),
    op(SUBMIT, "POST", "/api/webhooks", "addWebhook", "Tell an address of all tasks", &[json::<Webhook>(201)])
        .body::<WebhookOptions>(&[r#"{"url": "http://localhost:8080/hook", "secret": "at-least-16-characters"}"#]),
    op(READ, "GET", "/api/webhooks", "listWebhooks", "List the webhooks of all tasks", &[json::<Webhooks>(200)]),
    op(SUBMIT, "PATCH", "/api/webhooks/{id}", "changeWebhook", "Let a webhook be told again, or no more", &[json::<Webhook>(200)])
        .body::<WebhookChanges>(&[r#"{"enabled": true}"#]),
    op(SUBMIT, "DELETE", "/api/webhooks/{id}", "removeWebhook", "Tell it no more", &[empty(204)]),
    op(READ, "GET", "/api/usage", "getUsage", "Read what was spent", &[json::<Usage>(200)]).query(&[("from", Day), ("to", Day), ("key", Text)]),
    op(ADMIN, "GET", "/api/workers", "listWorkers", "List workers", &[json::<Workers>(200)]).errors(&[404]),
    op(ADMIN, "POST", "/api/workers", "startWorker", "Start a worker", &[json::<Worker>(201)])
        .optional_body::<NewWorker>(&[r#"{"workerId": "worker-2"}"#])
        .errors(&[404, 409]),
    op(ADMIN, "GET", "/api/workers/{id}", "getWorker", "Read a worker", &[json::<Worker>(200)]),
    op(ADMIN, "DELETE", "/api/workers/{id}", "stopWorker", "Drain a worker, then stop it", &[json::<WorkerStopped>(200), json::<WorkerStopped>(202)]),
    op(ADMIN, "POST", "/api/workers/{id}/crash", "crashWorker", "Kill a worker, to see that nothing is lost", &[json::<Worker>(202)]),
    op(READ, "GET", "/api/worktrees", "listWorktrees", "List the worktrees of tasks on the server's machine", &[json::<Worktrees>(200)])
        .query(&[("limit", Number(1, 100)), ("cursor", Uuid)]),
    op(SUBMIT, "DELETE", "/api/worktrees/{id}", "removeWorktree", "Remove the worktree of a task", &[json::<WorktreeRemoved>(200)])
        .query(&[("discard", Flag)])
        .errors(&[409]),
    op(ADMIN, "GET", "/api/keys", "listKeys", "List the API keys", &[json::<Keys>(200)]),
    op(ADMIN, "POST", "/api/keys", "createKey", "Create an API key; its secret is shown this once", &[json::<KeySecret>(201)])
        .body::<NewKey>(&[r#"{"name": "ci", "scopes": ["read", "submit"], "limits": {"maxPending": 100, "dailyBudgetUsd": 5}}"#])
        .errors(&[409]),
    op(ADMIN, "POST", "/api/keys/{name}/rotate", "rotateKey", "Give an API key another secret", &[json::<KeySecret>(200)])
        .optional_body::<Rotation>(&[r#"{"graceMs": 60000}"#])
        .errors(&[409]),
    op(ADMIN, "DELETE", "/api/keys/{name}", "revokeKey", "Revoke an API key", &[json::<Key>(200)]).errors(&[409]),
    op(ADMIN, "GET", "/api/audit", "listAudit", "Read the audit log, newest first", &[json::<AuditPage>(200)])
        .query(&[("before", Number(1, i64::MAX)), ("limit", Number(1, 1_000))]),
    op(READ, "POST", "/mcp", "callTool", "Use the tasks as tools of a model (Model Context Protocol)",
        &[Answer { status: 200, content: Content::Object }, empty(202)])
        .body::<ToolMessage>(&[r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}"#,
            r#"{"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_tasks", "arguments": {"limit": 5}}}"#]),
    op(ADMIN, "GET", "/metrics", "getMetrics", "Read the metrics", &[other("text/plain", "Prometheus's text format; OpenMetrics 1.0 where `Accept` names it.")]),
    op(OPEN, "GET", "/health", "getHealth", "Say how the server is", &[json::<Health>(200), json::<Health>(503)]),
    op(OPEN, "GET", "/health/live", "checkLive", "Say that the process answers", &[json::<Alive>(200)]),
    op(OPEN, "GET", "/health/ready", "checkReady", "Say whether it takes tasks", &[json::<Readiness>(200), json::<Readiness>(503)]),
    op(OPEN, "GET", "/api/openapi.json", "getContract", "This contract", &[Answer { status: 200, content: Content::Object }]),
    op(OPEN, "GET", "/api/docs", "getContractPage", "This contract, as a page", &[other("text/html", "A page.")]),
];
