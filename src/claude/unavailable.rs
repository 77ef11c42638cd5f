//! Availability of the CLI, and what to do where it is missing.

use std::time::Duration;

use crate::config::Claude;
use crate::process::{self, Launch};

/// A cold start of the CLI takes half a second; on a busy machine some more.
const VERSION_LIMIT: Duration = Duration::from_secs(30);

/// Reason for which no task can succeed here. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The CLI was not found.
    #[error(
        "the Claude Code CLI was not found: install it (npm install -g @anthropic-ai/claude-code), or set CLAUDE_PATH to it"
    )]
    NoCli,
    /// The CLI has no credential.
    #[error("Claude Code has no credential: set ANTHROPIC_API_KEY, or log in once with `claude` as this user")]
    NoCredential,
    /// The CLI doesn't run.
    #[error("the Claude Code CLI does not run ({0}): reinstall it, or set CLAUDE_PATH to one that does")]
    Broken(String),
}

/// Checks what can be seen without starting anything. Cheap: it is asked at every submit.
///
/// # Errors
/// What is missing.
pub fn check(claude: &Claude) -> Result<(), Unavailable> {
    if !claude.path.as_ref().is_some_and(|path| path.is_file()) {
        return Err(Unavailable::NoCli);
    }
    if !claude.has_credential {
        return Err(Unavailable::NoCredential);
    }
    Ok(())
}

/// The version of the CLI, asked of itself.
///
/// # Errors
/// It is missing, or doesn't run.
pub async fn version(claude: &Claude) -> Result<String, Unavailable> {
    let program = claude.path.clone().ok_or(Unavailable::NoCli)?;
    let launch = Launch { program, args: vec!["--version".into()], env: claude.environment.clone(), directory: None };
    let (status, text) =
        process::output(&launch, VERSION_LIMIT).await.map_err(|error| Unavailable::Broken(error.to_string()))?;
    if status.success() { Ok(text.trim().to_owned()) } else { Err(Unavailable::Broken(text.trim().to_owned())) }
}
