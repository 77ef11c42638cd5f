//! The table of settings: one row makes the environment variable, the flag, the key in
//! `cc-anywhere.toml` and the line in `--help`.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// The environment variable. The flag is the same in lower case with dashes, the key in
    /// the file the same in lower case.
    pub name: &'static str,
    /// Value where it is not set.
    pub default: Option<&'static str>,
    /// Meaning, with the range.
    pub help: &'static str,
    /// True if its value is shown to nobody.
    pub is_secret: bool,
}

const fn setting(name: &'static str, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, default, help, is_secret: false }
}

impl Setting {
    const fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

/// Source of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// It is not set.
    Default,
    /// `cc-anywhere.toml`.
    File,
    /// An environment variable.
    Environment,
    /// A flag of the command.
    Flag,
}

/// A setting as it is in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The setting.
    pub setting: &'static Setting,
    /// Value; `None` where it has none, and of a secret.
    pub value: Option<String>,
    /// True if it has a value.
    pub is_set: bool,
    /// Source of the value.
    pub origin: Origin,
}

/// The settings that `--help` tells of.
pub const COMMON: &[&str] = &[
    "WORKER_MODE",
    "QUEUE_CONCURRENCY",
    "WORKER_COUNT",
    "DB_PATH",
    "DATABASE_URL",
    "HOST",
    "PORT",
    "API_KEY",
    "DAILY_BUDGET_USD",
    "CLAUDE_PATH",
    "WORKSPACE_ROOTS",
    "LOG_LEVEL",
];

/// Every setting, in the order of the documentation.
pub const SETTINGS: &[Setting] = &[
    setting("WORKER_MODE", Some("inline"), "Where tasks run: inline, standalone or managed"),
    setting("QUEUE_CONCURRENCY", Some("2"), "Tasks at a time in each worker, 1 to 1000"),
    setting("WORKER_COUNT", Some("1"), "Worker processes in managed mode, 0 to 200"),
    setting(
        "DB_PATH",
        None,
        "The database file; its folder is the data folder. Where not set, ./data/cc-anywhere.db if it is there, else a \
         folder of its own for each folder of the start, below $XDG_STATE_HOME/cc-anywhere (~/.local/state/cc-anywhere)",
    ),
    setting("SECRETS_KEY_FILE", None, "A file of the keys that seal secrets at rest, 64 hexadecimal digits a line (openssl rand -hex 32), the first for new ones; the same for all servers and workers"),
    setting("MAX_FILE_BYTES", Some("1073741824"), "Size of a file that is sent to POST /api/files, in bytes"),
    setting("TASK_ARTIFACT_BYTES", Some("1073741824"), "Bytes of the files that a task leaves (artifacts); further ones are left out"),
    setting("FILES_DISK_BYTES", Some("0"), "Bytes of all files from which on no further one is taken (429); 0 sets no limit"),
    setting("FILE_RETENTION_DAYS", Some("30"), "Days after its last use until a file that was sent is removed, 0 to 36500; 0 keeps all"),
    setting("RETENTION_DAYS", Some("0"), "Days after its end until a task is removed with its own folder, 0 to 36500; 0 keeps all"),
    setting(
        "SEARCH_INDEX",
        Some("on"),
        "Whether words of conversations are indexed, in a file beside the database (DB_PATH-words) or a table: on or off",
    ),
    setting("ACCEPT_LOSS", Some("off"), "on starts with a database that has lost changes (its mark is ahead of it)"),
    setting(
        "MAX_DATABASE_BYTES",
        Some("0"),
        "Size of the database at which new tasks are refused (503) while running ones end, in bytes; 0 sets none",
    ),
    setting(
        "MAX_TASK_EVENT_BYTES",
        Some("268435456"),
        "Bytes of events that an attempt stores whole; further ones are stored without their texts",
    ),
    setting(
        "DATABASE_URL",
        None,
        "The database on PostgreSQL, for any number of processes and machines: postgres://USER@HOST/NAME?sslmode=verify-full; DB_PATH then names the data folder alone",
    ).secret(),
    setting("DATABASE_PASSWORD", None, "The password of DATABASE_URL, where it is not in there").secret(),
    setting("DATABASE_PASSWORD_FILE", None, "A file with that password, read at each connect"),
    setting(
        "DATABASE_LISTEN_URL",
        None,
        "The server itself, where DATABASE_URL names a pool in transaction mode, which passes no notifications on",
    ).secret(),
    setting("HOST", Some("127.0.0.1"), "The address to listen on; other than loopback needs API_KEY"),
    setting("PORT", Some("5000"), "The port to listen on; 0 takes a free one"),
    setting(
        "API_KEY",
        None,
        "The key that clients show, at least 16 characters; made at the first start (api-key in the data folder)",
    ).secret(),
    setting(
        "API_KEYS",
        None,
        "More keys, which see their own tasks only, each with a name: NAME=KEY, separated by commas; cc-anywhere keys makes keys with scopes and limits",
    ).secret(),
    setting("DAILY_BUDGET_USD", None, "What all tasks together may cost a day (UTC), in US dollars"),
    setting("KEY_DAILY_BUDGET_USD", None, "What the tasks of each key may cost a day (UTC), in US dollars"),
    setting(
        "TASK_BUDGET_USD",
        Some("1"),
        "What a task may cost that sets no maxBudgetUsd, while there is a daily budget, in US dollars",
    ),
    setting("LABEL_ALARM_MS", Some("300000"), "Time for which tasks may wait for labels that no worker has before the log says so, in milliseconds; 0: never"),
    setting(
        "FAIRNESS",
        Some("key"),
        "Whose tasks take turns within a priority: those of each key; tag:BEGINNING (those with the same first tag of that beginning); off (by age alone)",
    ),
    setting("FAIRNESS_WEIGHTS", None, "Turns of keys or tags for each one of another: NAME=WEIGHT from 1 to 100, separated by commas"),
    setting("EXCLUSIVE_DIRECTORY", Some("off"), "on: no two tasks work in one folder at a time"),
    setting("DASHBOARD", Some("on"), "on, or off: pages for people at /"),
    setting("CRASH_BUTTON", Some("off"), "on: POST /api/workers/{id}/crash and a button kill a worker, to show that nothing is lost"),
    setting("METRICS_OPEN", Some("off"), "on: /metrics needs no key"),
    setting("METRICS_PORT", None, "A further port, on HOST, with /metrics alone and without a key; 0 takes a free one"),
    setting("AUTH", Some("on"), "on, or off (on a loopback address only)"),
    setting("ALLOWED_HOSTS", None, "Host names that clients use for this server, separated by commas"),
    setting("PUBLIC_URL", None, "Address under which people reach the dashboard, for links and answers in notifications; its host is allowed"),
    setting("CORS_ORIGIN", None, "Origins of browser pages that may call, separated by commas"),
    setting("MAX_PENDING_TASKS", Some("100000"), "Number of pending tasks at which submits are refused (429)"),
    setting("WAIT_TIMEOUT_MS", Some("300000"), "How long a submit with async:false waits, in milliseconds"),
    setting(
        "SLOW_CLIENT_TIMEOUT_MS",
        Some("30000"),
        "Milliseconds after which a client that takes nothing of what waits for it is cut off",
    ),
    setting(
        "WEBHOOK_SECRET",
        None,
        "What webhooks are signed with that have no secret of their own; made at the first start",
    ).secret(),
    setting("WEBHOOK_ALLOWED_HOSTS", None, "Hosts of webhooks that may have private addresses, separated by commas"),
    setting(
        "WEBHOOK_RETRY_DELAY_MS",
        Some("5000"),
        "The wait after the first failure of a webhook; each further one is three times as long, up to an hour, in milliseconds",
    ),
    setting(
        "WEBHOOK_DISABLE_AFTER_MS",
        Some("259200000"),
        "Milliseconds after which a webhook of all tasks to which each message has failed is disabled",
    ),
    setting(
        "MASK_PATTERNS",
        None,
        "Regular expressions of secrets that are masked in events, results, webhooks and logs, separated by spaces",
    ).secret(),
    setting("LOG_LEVEL", Some("info"), "error, warn, info, debug, trace, or a filter such as info,sqlx=debug"),
    setting("LOG_FORMAT", Some("text"), "text or json"),
    setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "Address of a collector of traces, such as http://127.0.0.1:4318 (OTLP over HTTP); without it there are none",
    ),
    setting("CLI_TELEMETRY", Some("on"), "off: the CLI sends no spans of its own to that collector"),
    setting("TASK_TIMEOUT_MS", Some("1800000"), "Time limit of an attempt whose task sets none, in milliseconds"),
    setting(
        "LOOP_GUARD",
        Some("5"),
        "Failures of the same call of a tool after which a task is marked as going round in circles, 0 to 1000; 0 never marks, by no sign",
    ),
    setting(
        "PERMISSION_TIMEOUT_MS",
        Some("86400000"),
        "Milliseconds after which a question without an answer is answered with a no",
    ),
    setting(
        "PERMISSION_PARK_MS",
        Some("60000"),
        "Milliseconds after which a task that waits for an answer gives its slot back until then",
    ),
    setting(
        "GRACEFUL_SHUTDOWN_TIMEOUT_MS",
        Some("60000"),
        "How long running tasks may go on after SIGTERM, in milliseconds; then they go back to the queue with their sessions",
    ),
    setting(
        "HANDOVER",
        Some("auto"),
        "Whether running attempts go on while their worker is replaced: on, off, or auto (in managed mode; not where the server is all of a container)",
    ),
    setting(
        "HANDOVER_TIMEOUT_MS",
        Some("60000"),
        "How long an attempt waits for another worker, in milliseconds; then it is ended, and its task starts again",
    ),
    setting("LEASE_MS", Some("30000"), "How long a claim holds without renewal, 3000 or more, in milliseconds"),
    setting(
        "WORKER_HEARTBEAT_TIMEOUT_MS",
        Some("10000"),
        "Milliseconds after which a silent managed worker is replaced",
    ),
    setting("WORKER_ID", None, "The name of this worker (cc-anywhere worker)"),
    setting("WORKER_LABELS", None, "What the workers have, separated by commas: NAME or NAME=VALUE"),
    setting("CLAUDE_PATH", None, "The Claude Code CLI; found on PATH where not set"),
    setting("ANTHROPIC_API_KEY", None, "The credential of the CLI; a login of its own works too").secret(),
    setting("CLAUDE_API_KEY", None, "The same, by its older name").secret(),
    setting(
        "WORKSPACE_ROOTS",
        None,
        "Folders that a task may work in, separated by colons; the folder of the start where not set",
    ),
    setting(
        "REPOSITORY_URLS",
        None,
        "Repositories that tasks may name by address: how their addresses begin, separated by commas",
    ),
    setting("GIT_CREDENTIALS", None, "A file of the credentials for these, in the form of git-credential-store"),
    setting("TRUSTED_ROOTS", None, "Folders whose own Claude settings are read, separated by colons"),
    setting("MCP_CONFIG", None, "A file of MCP servers, in the CLI's own shape, that tasks may name"),
    setting(
        "MAX_PERMISSION_MODE",
        Some("bypassPermissions"),
        "The most that a task may ask for: plan, dontAsk, default, acceptEdits, auto or bypassPermissions",
    ),
    setting(
        "ISOLATION",
        Some("auto"),
        "How a task's processes are held together: auto (a PID namespace where the system allows it) or subreaper",
    ),
    setting(
        "SANDBOX",
        Some("auto"),
        "Whether tasks are confined to their folders: auto (as far as the kernel can), required or off",
    ),
    setting("AGENT_READ", None, "Further paths that tasks may read, such as toolchains, separated by colons"),
    setting("AGENT_WRITE", None, "Further paths that tasks may read and write, separated by colons"),
    setting(
        "AGENT_HOME",
        Some("key"),
        "Who shares a home of the CLI: key (the tasks of a key), task, or shared (all, the home of the service's user)",
    ),
    setting("AGENT_HOME_TEMPLATE", None, "A folder that new homes of the CLI are copied from"),
    setting("AGENT_USER", None, "The user that the CLI runs as, where the service runs as root"),
    setting(
        "CREDENTIAL_PROXY",
        Some("on"),
        "on: the CLI gets a token of its attempt, and the worker adds the account's key; off: it gets the key",
    ),
    setting("TASK_MEMORY_BYTES", Some("0"), "Memory of a task's processes together, in bytes; 0 sets no limit"),
    setting("TASK_PROCESSES", Some("0"), "Processes of a task at a time; 0 sets no limit"),
    setting("TASK_FILE_BYTES", Some("0"), "Size of a file that a task writes, in bytes; 0 sets no limit"),
    setting("TASK_OUTPUT_BYTES", Some("0"), "Bytes that the CLI prints in an attempt; 0 sets no limit"),
    setting("WORKTREE_DISK_BYTES", Some("0"), "Bytes of all worktrees of a machine from which on no further one is made: tasks wait; 0 sets no limit"),
    setting("TASK_DISK_BYTES", Some("0"), "Bytes in the folders that a task writes to; 0 sets no limit"),
    setting(
        "WARM_STANDBY",
        Some("0"),
        "CLI processes that each worker keeps ready for tasks to come, 0 to 64; each takes some 200 MB",
    ),
];
