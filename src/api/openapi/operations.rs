//! Everything that can be asked, as a table.

/// Something that can be asked.
pub struct Operation {
    /// How.
    pub method: &'static str,
    /// Where.
    pub path: &'static str,
    /// What for.
    pub summary: &'static str,
    /// Parameters of the query, with their [kinds](super::answers).
    pub query: &'static [(&'static str, &'static str)],
    /// Headers, likewise.
    pub headers: &'static [(&'static str, &'static str)],
    /// What is sent.
    pub body: Option<Body>,
    /// Statuses of success, each with its schema; a kind with `/` is a type of content.
    pub answers: &'static [(u16, &'static str)],
    /// Statuses of refusals, beside those that follow from the above.
    pub errors: &'static [u16],
    /// Whether it needs no key.
    pub is_open: bool,
}

/// A body.
pub struct Body {
    /// The name of its schema.
    pub schema: &'static str,
    /// Whether there must be one.
    pub required: bool,
    /// What it may look like.
    pub examples: &'static [&'static str],
}

const fn op(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    answers: &'static [(u16, &'static str)],
) -> Operation {
    Operation { method, path, summary, query: &[], headers: &[], body: None, answers, errors: &[], is_open: false }
}

impl Operation {
    const fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    const fn headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    const fn errors(mut self, errors: &'static [u16]) -> Self {
        self.errors = errors;
        self
    }

    const fn body(mut self, schema: &'static str, examples: &'static [&'static str]) -> Self {
        self.body = Some(Body { schema, required: true, examples });
        self
    }

    const fn may_have(mut self, schema: &'static str, examples: &'static [&'static str]) -> Self {
        self.body = Some(Body { schema, required: false, examples });
        self
    }

    const fn open(mut self) -> Self {
        self.is_open = true;
        self
    }
}

const ONCE: &[(&str, &str)] = &[("Idempotency-Key", "string")];

/// All of it, in the order of docs/api.md.
pub const OPERATIONS: &[Operation] = &[
    op("POST", "/api/tasks", "Submit a task", &[(202, "Receipt"), (200, "TaskView"), (504, "TaskView")])
        .headers(ONCE)
        .body(
            "TaskSpec",
            &[
                r#"{"instruction": "Mend the failing test"}"#,
                r#"{"instruction": "Sum up the week", "priority": 10, "tags": ["report"], "concurrencyKey": "reports",
                    "options": {"timeout": {"total": 600000, "idle": 60000}, "maxAttempts": 2,
                    "retry": {"initialDelay": 1000, "maxDelay": 60000, "backoffMultiplier": 2, "onTimeout": false},
                    "webhook": {"url": "http://localhost:8080/hook", "events": ["completed"]},
                    "sdk": {"model": "sonnet", "permissionMode": "acceptEdits", "maxTurns": 5, "maxBudgetUsd": 0.5}}}"#,
            ],
        )
        .errors(&[404, 409, 429]),
    op("GET", "/api/tasks", "List tasks, newest first", &[(200, "TaskPage")]).query(&[
        ("status", "pending/running/completed/failed/cancelled"),
        ("tag", "string"),
        ("workingDirectory", "string"),
        ("limit", "int 1..100"),
        ("offset", "int 0..4294967295"),
        ("cursor", "uuid"),
    ]),
    op("POST", "/api/tasks/batch", "Submit up to 1,000 tasks, all or none", &[(202, "BatchReceipt")])
        .headers(ONCE)
        .body("Batch", &[r#"{"tasks": [{"instruction": "Say hello"}, {"instruction": "Say goodbye", "priority": 5}]}"#])
        .errors(&[404, 409, 429]),
    op("GET", "/api/tasks/{id}", "Read a task", &[(200, "TaskView")]),
    op("PATCH", "/api/tasks/{id}", "Change when a pending task starts", &[(200, "TaskView")])
        .body("TaskChanges", &[r#"{"priority": 50}"#, r#"{"runAt": "2125-01-31T08:15:00Z"}"#])
        .errors(&[409]),
    op("DELETE", "/api/tasks/{id}", "Cancel a task", &[(200, "TaskView")]).errors(&[409]),
    op("POST", "/api/tasks/{id}/retry", "Run an ended task again, as a new one", &[(202, "Receipt")])
        .errors(&[409, 422, 429]),
    op("GET", "/api/tasks/{id}/events", "Follow a task", &[(200, "EventPage|text/event-stream")])
        .query(&[("after", "int 0..9223372036854775807"), ("limit", "int 1..1000")])
        .headers(&[("Last-Event-ID", "int 0..9223372036854775807")]),
    op("GET", "/api/events", "Follow all tasks", &[(200, "FeedPage|text/event-stream")])
        .query(&[
            ("taskId", "string"),
            ("kind", "string"),
            ("tag", "string"),
            ("key", "string"),
            ("after", "int 0..9223372036854775807"),
            ("limit", "int 1..1000"),
        ])
        .headers(&[("Last-Event-ID", "int 0..9223372036854775807")])
        .errors(&[404]),
    op("GET", "/ws", "Follow tasks over a WebSocket", &[(101, "")]).errors(&[400]),
    op("GET", "/api/tasks/{id}/explain", "Say why a task isn't running", &[(200, "Explanation")]),
    op("GET", "/api/tasks/{id}/changes.patch", "Read what a task changed in its worktree", &[(200, "text/x-patch")]),
    op("GET", "/api/tasks/{id}/conversation", "Read what was said", &[(200, "Conversation")]),
    op("GET", "/api/tasks/{id}/logs", "Read the events as lines", &[(200, "Logs")]),
    op("GET", "/api/tasks/{id}/permissions", "List open questions", &[(200, "Permissions")]).query(&[("all", "true/false")]),
    op("POST", "/api/tasks/{id}/permissions/{request}", "Answer a question", &[(200, "Answered")])
        .body("Decision", &[r#"{"behavior": "allow", "scope": "session"}"#, r#"{"behavior": "deny", "message": "Not that one"}"#])
        .errors(&[409]),
    op("POST", "/api/tasks/{id}/messages", "Say something: a further turn", &[(202, "MessageReceipt")])
        .body("Message", &[r#"{"text": "And now the tests"}"#])
        .errors(&[409, 429]),
    op("POST", "/api/tasks/{id}/interrupt", "Stop the turn, keep the session", &[(202, "MessageReceipt")]).errors(&[409, 429]),
    op("GET", "/api/tasks/{id}/deliveries", "List what webhooks were told", &[(200, "Deliveries")]),
    op("POST", "/api/tasks/{id}/deliveries/{delivery}/retry", "Tell it again", &[(202, "DeliveryReceipt")]),
    op("GET", "/api/queue/stats", "Count tasks", &[(200, "Stats")]),
    op("POST", "/api/queue/pause", "Hold tasks back", &[(200, "Stats|LimitState")]).may_have("Members", &[r#"{"tag": "deploy"}"#]),
    op("POST", "/api/queue/start", "Let tasks go on", &[(200, "Stats|LimitState")]).may_have("Members", &[r#"{"tag": "deploy"}"#]),
    op("PUT", "/api/queue/concurrency", "Set how many tasks each worker runs at a time", &[(200, "Stats")])
        .body("Concurrency", &[r#"{"concurrency": 4}"#]),
    op("GET", "/api/queue/limits", "List the limits of groups", &[(200, "Limits")]),
    op("PUT", "/api/queue/limits", "Set the limit of a group", &[(200, "LimitState")]).body(
        "NewLimit",
        &[r#"{"group": "concurrencyKey", "name": "repo", "concurrency": 2, "rate": {"starts": 10, "periodMs": 60000}, "paused": false}"#],
    ),
    op("DELETE", "/api/queue/limits", "Take the limit of a group off", &[(200, "LimitState")])
        .query(&[("group", "queue/key/concurrencyKey/tag"), ("name", "string")]),
    op("POST", "/api/schedules", "Add a schedule", &[(201, "Schedule")])
        .body(
            "NewSchedule",
            &[r#"{"name": "Morning report", "cron": "0 9 * * 1-5", "timeZone": "Europe/Berlin", "task": {"instruction": "Report what failed"},
                "missed": "once", "overlap": "skip", "continueSession": true}"#],
        )
        .errors(&[404, 409]),
    op("GET", "/api/schedules", "List schedules", &[(200, "Schedules")]),
    op("GET", "/api/schedules/{id}", "Read a schedule", &[(200, "Schedule")]),
    op("PATCH", "/api/schedules/{id}", "Change a schedule", &[(200, "Schedule")])
        .body("ScheduleChanges", &[r#"{"enabled": false}"#, r#"{"cron": "*/5 * * * *", "timeZone": "UTC"}"#])
        .errors(&[409]),
    op("DELETE", "/api/schedules/{id}", "Remove a schedule", &[(204, "")]),
    op("POST", "/api/schedules/{id}/run", "Fire a schedule now", &[(202, "Receipt")]).errors(&[409, 422, 429]),
    op("GET", "/api/schedules/{id}/runs", "Read what a schedule has done", &[(200, "Runs")]).query(&[("limit", "int 1..1000")]),
    op("POST", "/api/webhooks", "Tell an address of all tasks", &[(201, "Webhook")])
        .body("WebhookOptions", &[r#"{"url": "http://localhost:8080/hook", "secret": "at-least-16-characters"}"#]),
    op("GET", "/api/webhooks", "List the webhooks of all tasks", &[(200, "Webhooks")]),
    op("PATCH", "/api/webhooks/{id}", "Let a webhook be told again, or no more", &[(200, "Webhook")])
        .body("WebhookChanges", &[r#"{"enabled": true}"#]),
    op("DELETE", "/api/webhooks/{id}", "Tell it no more", &[(204, "")]),
    op("GET", "/api/usage", "Read what was spent", &[(200, "Usage")]).query(&[("from", "day"), ("to", "day"), ("key", "string")]),
    op("GET", "/api/workers", "List workers", &[(200, "Workers")]).errors(&[404]),
    op("POST", "/api/workers", "Start a worker", &[(201, "Worker")])
        .may_have("NewWorker", &[r#"{"workerId": "worker-2"}"#])
        .errors(&[404, 409]),
    op("GET", "/api/workers/{id}", "Read a worker", &[(200, "Worker")]),
    op("DELETE", "/api/workers/{id}", "Drain a worker, then stop it", &[(200, "WorkerStopped")]),
    op("GET", "/health", "Say how the server is", &[(200, "Health"), (503, "Health")]).open(),
    op("GET", "/health/live", "Say that the process answers", &[(200, "State")]).open(),
    op("GET", "/health/ready", "Say whether it takes tasks", &[(200, "State"), (503, "State")]).open(),
    op("GET", "/api/openapi.json", "This contract", &[(200, "object")]).open(),
    op("GET", "/api/docs", "This contract, as a page", &[(200, "text/html")]).open(),
];
