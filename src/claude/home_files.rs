//! The files of a home: what every home has, what stays in it, and what programs obey. Tables.

/// Folder of the CLI's settings and sessions in a home.
pub const CONFIG: &str = ".claude";
/// Folders that every home has.
pub const FOLDERS: &[&str] = &[CONFIG, ".config", ".cache", ".local", ".local/share", ".local/state", "tmp"];
/// What stays in [`CONFIG`]: conversations and what belongs to them. Whatever else a task leaves there may be obeyed by
/// the next, in a form that only a newer CLI knows.
pub const KEPT: &[&str] = &[
    "backups",
    "debug",
    "file-history",
    "history.jsonl",
    "image-cache",
    "mcp-needs-auth-cache.json",
    "paste-cache",
    "plans",
    "projects",
    "session-env",
    "sessions",
    "shell-snapshots",
    "stats-cache.json",
    "statsig",
    "tasks",
    "telemetry",
    "todos",
    "uploads",
    "usage-data",
    ".last-cleanup",
];
/// What the CLI writes there itself, and does without.
pub const FORGOTTEN: &[&str] = &["cache", ".update.lock", ".last-update-result.json"];
/// Files and folders outside of [`CONFIG`] that programs read when they start, and obey: settings of shells, git and
/// package managers. A task may leave one there for the next.
pub const SETTINGS: &[&str] = &[
    ".claude.json",
    ".mcp.json",
    "CLAUDE.md",
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".inputrc",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".config/fish",
    ".gitconfig",
    ".config/git",
    ".npmrc",
    ".yarnrc",
    ".bunfig.toml",
    ".config/pip",
    ".pip",
    ".pydistutils.cfg",
    ".cargo/config",
    ".cargo/config.toml",
    ".ssh/config",
    ".ssh/rc",
    ".curlrc",
    ".wgetrc",
];
/// The CLI's own file below [`CONFIG`], which it writes at each start.
pub const OWN: &str = ".claude.json";
/// What in it makes the CLI run something, ask somebody else, or allow more.
pub const OBEYED: &[&str] = &[
    "mcpServers",
    "enabledMcpjsonServers",
    "enableAllProjectMcpServers",
    "hooks",
    "env",
    "apiKeyHelper",
    "awsAuthRefresh",
    "awsCredentialExport",
    "otelHeadersHelper",
    "statusLine",
    "permissions",
    "allowedTools",
    "customApiKeyResponses",
    "oauthAccount",
    "primaryApiKey",
    "hasTrustDialogAccepted",
    "hasClaudeMdExternalIncludesApproved",
];
