//! Command line and environment of the CLI, from a task's options. Pure.
//!
//! Every value that comes from a client is one token with its option (`--model=VALUE`): the
//! CLI reads a separate token that begins with a dash as another option.

use std::path::PathBuf;

use serde_json::json;

use crate::config::Environment;
use domain::{Behavior, Decision, Named as _, Scope, SessionId, Usd};
use wire::{PermissionMode, Questions, SdkOptions};

/// Settings of an attempt that the server decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The CLI.
    pub program: PathBuf,
    /// The environment that it inherits: an allow-list.
    pub environment: Environment,
    /// True if the folder's own settings are read.
    pub trusted: bool,
    /// The folder's CLAUDE.md, where it is not trusted and there is one.
    pub claude_md: Option<String>,
    /// The state of the repository, for the model.
    pub repository: Option<String>,
    /// Permission mode.
    pub mode: PermissionMode,
    /// True if the model may ask people.
    pub questions: Questions,
    /// Further folder that the task may read: of the files that came with it.
    pub add_dir: Option<PathBuf>,
    /// Budget of this attempt, in US dollars.
    pub max_budget_usd: Option<Usd>,
    /// Rules that were allowed while it ran.
    pub allowed: Vec<String>,
    /// The file with the MCP servers that the task named.
    pub mcp_config: Option<PathBuf>,
    /// True if the CLI prints what it adds to the transcript of its session.
    pub mirror: bool,
}

/// The conversation of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// A new one, under an id that we chose.
    New(SessionId),
    /// One that was begun before.
    Resume(SessionId),
    /// A copy of one that was begun before.
    Fork {
        /// That one.
        from: SessionId,
        /// The id of the copy, that we chose.
        id: SessionId,
    },
}

impl Session {
    /// Id.
    #[must_use]
    pub const fn id(self) -> SessionId {
        match self {
            Self::New(id) | Self::Resume(id) | Self::Fork { id, .. } => id,
        }
    }
}

/// The arguments of the CLI and its environment.
#[must_use]
pub fn command(settings: &Settings, sdk: &SdkOptions, session: Session) -> (Vec<String>, Environment) {
    let mut args: Vec<String> =
        ["-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose", "--include-partial-messages"]
            .map(str::to_owned)
            .into();
    match session {
        Session::New(id) => args.push(format!("--session-id={id}")),
        Session::Resume(id) => args.push(format!("--resume={id}")),
        Session::Fork { from, id } => {
            args.extend([format!("--resume={from}"), "--fork-session".to_owned(), format!("--session-id={id}")]);
        }
    }
    args.extend(settings.mirror.then(|| "--session-mirror".to_owned()));
    args.extend(whose_settings(settings));
    args.extend(settings.mcp_config.iter().map(|file| format!("--mcp-config={}", file.display())));
    args.extend(asking(settings));
    args.extend(settings.allowed.iter().map(|rule| format!("--allowedTools={rule}")));
    args.extend(settings.add_dir.iter().map(|folder| format!("--add-dir={}", folder.display())));
    args.extend(settings.max_budget_usd.map(|usd| format!("--max-budget-usd={usd}")));
    args.extend(client_options(sdk));
    let appended = [settings.claude_md.as_deref(), settings.repository.as_deref(), sdk.append_system_prompt.as_deref()];
    let appended: Vec<_> = appended.into_iter().flatten().collect();
    if !appended.is_empty() {
        args.push(format!("--append-system-prompt={}", appended.join("\n\n")));
    }
    (args, environment(settings))
}

/// A repository's own files run code (hooks, MCP servers, `apiKeyHelper`, base URL): none of
/// them is read, unless the folder is trusted.
fn whose_settings(settings: &Settings) -> Vec<String> {
    let mut args = vec!["--strict-mcp-config".to_owned()];
    if settings.trusted {
        args.push("--setting-sources=user,project".to_owned());
        let base_url = settings.environment.iter().find(|(name, _)| name == "ANTHROPIC_BASE_URL");
        let env = base_url.map_or(json!({}), |(name, value)| json!({ name: value }));
        args.push(format!("--settings={}", json!({ "env": env, "disableAllHooks": true })));
    } else {
        args.push("--setting-sources=".to_owned());
    }
    args
}

/// The permission mode, and who is asked. The CLI offers its model [`ASK_USER`] only where it may ask somebody; what
/// else it asks for then is refused by us where the mode does not ask. In `dontAsk` it would ask nothing at all, and
/// `default` with every question refused is the same.
fn asking(settings: &Settings) -> Vec<String> {
    let (on, mode) = (settings.questions == Questions::On, settings.mode);
    let told = if on && mode == PermissionMode::DontAsk { PermissionMode::Default } else { mode };
    let mut args = vec![format!("--permission-mode={}", told.name())];
    if on || mode == PermissionMode::Default {
        args.push("--permission-prompt-tool=stdio".to_owned());
    }
    if !on {
        args.push(format!("--disallowedTools={ASK_USER}"));
    }
    args
}

/// The tool with which the model asks people.
pub const ASK_USER: &str = "AskUserQuestion";

/// The answer to a question for a tool in a mode that asks no questions.
#[must_use]
pub fn not_allowed(tool: &str) -> Decision {
    Decision {
        behavior: Behavior::Deny,
        message: Some(format!(
            "{tool} is not allowed here, and nobody is asked: go on without it, or say what could not be done."
        )),
        updated_input: None,
        scope: Scope::Once,
    }
}

fn client_options(sdk: &SdkOptions) -> Vec<String> {
    let mut args = Vec::new();
    let mut add = |option: &str, value: Option<String>| {
        if let Some(value) = value {
            args.push(format!("--{option}={value}"));
        }
    };
    add("model", sdk.model.clone());
    add("fallback-model", sdk.fallback_model.clone());
    add("max-turns", sdk.max_turns.map(|turns| turns.to_string()));
    add("system-prompt", sdk.system_prompt.clone());
    add("json-schema", sdk.output_schema.as_ref().map(ToString::to_string));
    add("effort", sdk.effort.map(|effort| effort.name().to_owned()));
    for tool in &sdk.allowed_tools {
        add("allowedTools", Some(tool.clone()));
    }
    for tool in &sdk.disallowed_tools {
        add("disallowedTools", Some(tool.clone()));
    }
    for dir in &sdk.add_dirs {
        add("add-dir", Some(dir.clone()));
    }
    args
}

/// Environment of the CLI: the allow-list, and what we set. It asks git nothing at its start, since git runs code of a
/// repository: what the model is to know of it stands in the prompt. And it remembers nothing beside its sessions: a
/// task would have words with the next one.
fn environment(settings: &Settings) -> Environment {
    const OURS: &[(&str, &str)] = &[
        ("DISABLE_AUTOUPDATER", "1"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS", "1"),
        ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),
    ];
    let mut environment = settings.environment.clone();
    environment.extend(OURS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::VariantArray as _;

    fn settings() -> Settings {
        Settings {
            program: "/bin/claude".into(),
            environment: vec![("PATH".into(), "/bin".into())].into(),
            trusted: false,
            claude_md: Some("rules".into()),
            repository: Some("branch".into()),
            mode: PermissionMode::AcceptEdits,
            questions: Questions::On,
            add_dir: None,
            max_budget_usd: None,
            allowed: Vec::new(),
            mcp_config: None,
            mirror: false,
        }
    }

    #[test]
    fn what_a_client_sends_is_never_a_token_of_its_own() {
        let evil = "--dangerously-skip-permissions".to_owned();
        let sdk = SdkOptions {
            model: Some(evil.clone()),
            fallback_model: Some(evil.clone()),
            system_prompt: Some(evil.clone()),
            append_system_prompt: Some(evil.clone()),
            allowed_tools: vec![evil.clone()],
            disallowed_tools: vec![evil.clone()],
            add_dirs: vec![evil.clone()],
            ..SdkOptions::default()
        };
        let (args, _) = command(&settings(), &sdk, Session::New(SessionId::from_u128(0)));
        assert_eq!(args.iter().filter(|arg| arg.contains(&evil)).count(), 7);
        assert!(args.iter().all(|arg| *arg != *evil));
    }

    #[test]
    fn people_can_be_asked_in_every_mode_and_need_not_be() {
        for mode in PermissionMode::VARIANTS.iter().copied() {
            let args = |questions| {
                command(
                    &Settings { mode, questions, ..settings() },
                    &SdkOptions::default(),
                    Session::New(SessionId::from_u128(0)),
                )
                .0
            };
            let (on, off) = (args(Questions::On), args(Questions::Off));
            let has = |args: &[String], wanted: &str| args.iter().any(|arg| arg == wanted);
            assert!(has(&on, "--permission-prompt-tool=stdio") && !has(&on, "--permission-mode=dontAsk"));
            assert!(
                has(&off, "--disallowedTools=AskUserQuestion")
                    && has(&off, &format!("--permission-mode={}", mode.name()))
            );
            assert_eq!(has(&off, "--permission-prompt-tool=stdio"), mode == PermissionMode::Default);
        }
    }

    #[test]
    fn a_folder_that_is_not_trusted_has_no_say() {
        let (args, env) = command(&settings(), &SdkOptions::default(), Session::Resume(SessionId::from_u128(0)));
        let has = |token: &str| args.iter().any(|arg| arg == token);
        assert!(has("--setting-sources=") && has("--strict-mcp-config"));
        assert!(has("--append-system-prompt=rules\n\nbranch") && has("--permission-mode=acceptEdits"));
        assert!(env.contains(&("CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS".to_owned(), "1".to_owned())));
    }
}
