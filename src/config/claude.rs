//! The settings of the CLI, and what of our environment it may see.

use domain::Named as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use strum::VariantArray as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::agent::{Agent, AgentHome};
use super::environment::Environment;
use super::source::Source;
use wire::{McpConfig, PermissionMode};

/// Variables that the CLI inherits. A list of good names: `BUN_OPTIONS` alone would run code inside the CLI, and nobody
/// knows the next such name.
const ALLOWED: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_MAX_RETRIES",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "AWS_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "CLOUD_ML_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "API_TIMEOUT_MS",
    "BASH_DEFAULT_TIMEOUT_MS",
    "BASH_MAX_TIMEOUT_MS",
];

/// Variables of which one is enough for the CLI to have a credential.
pub(super) const CREDENTIALS: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
];

/// The CLI: where it is, what it may see and do.
#[derive(Clone, Debug)]
pub struct Claude {
    /// The program, where there is one.
    pub path: Option<PathBuf>,
    /// The environment that it inherits, credential included.
    pub environment: Environment,
    /// True if a credential was found: in the environment, or from a login of the CLI's own.
    pub has_credential: bool,
    /// A name of the credential that tells it from others and doesn't give it away.
    pub credential: String,
    /// Folders that a task may work in; resolved.
    pub workspace_roots: Vec<PathBuf>,
    /// Addresses of repositories that tasks may name, by how they begin.
    pub repository_urls: Vec<String>,
    /// File of the credentials for these, in the form of git-credential-store(1).
    pub git_credentials: Option<PathBuf>,
    /// Folders whose own settings are read; resolved.
    pub trusted_roots: Vec<PathBuf>,
    /// The most that a task may ask for.
    pub max_permission_mode: PermissionMode,
    /// True if a task's processes may get a PID namespace of their own, where the system allows
    /// it.
    pub namespaces: bool,
    /// The folder of sessions and logins of the user that runs the service.
    pub config_dir: Option<PathBuf>,
    /// The walls round it.
    pub agent: Agent,
    /// Reason for which the home is shared although nobody asked for that.
    pub shared_because: Option<String>,
    /// MCP servers that tasks may name, as the CLI's own configuration has them.
    pub mcp_servers: BTreeMap<String, Value>,
}

impl Claude {
    pub(super) fn read(from: &mut Source) -> Self {
        let mut environment: Environment = from
            .environment()
            .iter()
            .filter(|(name, _)| ALLOWED.contains(&name.as_str()) || name.starts_with("LC_"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        environment.sort();
        if let Some(key) = from.text("ANTHROPIC_API_KEY").or_else(|| from.text("CLAUDE_API_KEY")) {
            environment.push(("ANTHROPIC_API_KEY".to_owned(), key));
        }
        let value = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let config_dir = value("CLAUDE_CONFIG_DIR")
            .map(PathBuf::from)
            .or_else(|| value("HOME").map(|home| Path::new(home).join(".claude")));
        let logged_in = config_dir.as_ref().is_some_and(|dir| dir.join(".credentials.json").exists());
        let mut agent = Agent::read(from);
        let has_key = CREDENTIALS.iter().any(|name| value(name).is_some());
        let mut shared_because = None;
        if logged_in && !has_key && agent.home != AgentHome::Shared {
            // Its login is renewed in place: a copy of it would soon be refused, and the original with it.
            agent.home = AgentHome::Shared;
            shared_because = Some(
                "its login stands in the home of this user: set CLAUDE_CODE_OAUTH_TOKEN (claude setup-token) or \
                 ANTHROPIC_API_KEY, and each key gets a home of its own"
                    .to_owned(),
            );
        }
        let has_credential = logged_in || CREDENTIALS.iter().any(|name| value(name).is_some());
        let credential = fingerprint(&environment, config_dir.as_deref());
        let modes: Vec<_> = PermissionMode::VARIANTS.iter().map(|mode| (mode.name(), *mode)).collect();
        Self {
            path: find_cli(from),
            has_credential,
            credential,
            workspace_roots: roots(from, "WORKSPACE_ROOTS", true),
            repository_urls: repository_urls(from),
            git_credentials: git_credentials(from),
            trusted_roots: roots(from, "TRUSTED_ROOTS", false),
            max_permission_mode: from.choice("MAX_PERMISSION_MODE", &modes),
            namespaces: from.choice("ISOLATION", &[("auto", true), ("subreaper", false)]),
            mcp_servers: mcp_servers(from),
            config_dir,
            agent,
            shared_because,
            environment,
        }
    }
}

/// Returns the fingerprint of the credential that the CLI uses: one credential's parking doesn't hold for another.
fn fingerprint(environment: &[(String, String)], login: Option<&Path>) -> String {
    let is_part = |name: &str| CREDENTIALS.contains(&name) || name == "ANTHROPIC_BASE_URL";
    let mut digest = Sha256::new();
    for (name, value) in environment.iter().filter(|(name, _)| is_part(name)) {
        digest.update(format!("{name}={value}\n"));
    }
    digest.update(login.map(|login| login.as_os_str().as_encoded_bytes().to_vec()).unwrap_or_default());
    hex::encode(&digest.finalize()[..8])
}

fn mcp_servers(from: &mut Source) -> BTreeMap<String, Value> {
    let Some(path) = from.text("MCP_CONFIG") else { return BTreeMap::new() };
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let config = read.and_then(|text| serde_json::from_str::<McpConfig>(&text).map_err(|error| error.to_string()));
    match config {
        Ok(config) => config.mcp_servers,
        Err(error) => {
            from.fault("MCP_CONFIG", &format!("{path}: {error}; expected {{\"mcpServers\": {{NAME: SERVER}}}}"));
            BTreeMap::new()
        }
    }
}

fn find_cli(from: &mut Source) -> Option<PathBuf> {
    if let Some(path) = from.text("CLAUDE_PATH") {
        let path = super::absolute(Path::new(&path));
        if !path.is_file() {
            from.fault(
                "CLAUDE_PATH",
                &format!("is no file: {}; without it, claude is looked for on PATH", path.display()),
            );
        }
        return Some(path);
    }
    let path = from.environment().get("PATH")?;
    std::env::split_paths(path).map(|dir| dir.join("claude")).find(|candidate| candidate.is_file())
}

fn repository_urls(from: &mut Source) -> Vec<String> {
    let urls = from.list("REPOSITORY_URLS", ',');
    for url in &urls {
        if let Err(rule) = wire::check_url(url) {
            from.fault("REPOSITORY_URLS", &format!("{rule}, got \"{url}\""));
        }
    }
    urls
}

fn git_credentials(from: &mut Source) -> Option<PathBuf> {
    let file = super::absolute(Path::new(&from.text("GIT_CREDENTIALS")?));
    if !file.is_file() || file.to_str().is_none_or(|name| name.contains(char::is_whitespace)) {
        from.fault("GIT_CREDENTIALS", &format!("must be a file, without spaces in its path: {}", file.display()));
    }
    Some(file)
}

/// Folders by their resolved names; the folder of the start where `or_here`.
fn roots(from: &mut Source, name: &'static str, or_here: bool) -> Vec<PathBuf> {
    let mut named = from.list(name, ':');
    if named.is_empty() && or_here {
        named.push(".".to_owned());
    }
    let mut roots = Vec::new();
    for root in named {
        match std::fs::canonicalize(&root) {
            Ok(path) if path.is_dir() => roots.push(path),
            Ok(path) => from.fault(name, &format!("is no folder: {}", path.display())),
            Err(error) => from.fault(name, &format!("{root}: {error}")),
        }
    }
    roots
}
