//! Secrets of a task, by name: what a client asks for, never what they are.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::invalid;
use domain::Invalid;

/// Maximum number of secrets of a task.
const MAX_SECRETS: usize = 20;
/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 64;
/// Shortest value, in bytes: a shorter one can't be told from honest text, where it is to be masked.
const MIN_VALUE: usize = 8;
/// Longest value, in bytes.
const MAX_VALUE: usize = 64 << 10;
/// Beginnings of variables that decide how programs run, or whom they ask; these are the operator's.
const RESERVED: [&str; 14] = [
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_",
    "BUN_",
    "NODE_",
    "CLAUDE",
    "ANTHROPIC_",
    "CC_",
    "GIT_CONFIG",
    "BASH_",
];

/// A secret that a task gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskSecret {
    /// Name under which the key has stored it.
    pub name: String,
    /// Variable that has its value; with `file`, the path of the file.
    #[schema(pattern = "^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
    pub env: String,
    /// Name of a file with its value, without folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Checks the name of a secret.
///
/// # Errors
/// The name breaks the rule.
pub fn check_secret_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match name.len() {
        1..=MAX_NAME if name.bytes().all(is_fit) && !name.starts_with('.') => Ok(()),
        _ => invalid(
            field,
            format!("must have 1 to {MAX_NAME} letters, digits, dashes, dots or underscores, got {name:?}"),
        ),
    }
}

/// Checks the value of a secret.
///
/// # Errors
/// The value breaks the rule. It is not repeated.
pub fn check_secret_value(value: &str) -> Result<(), Invalid> {
    let bytes = value.len();
    if !(MIN_VALUE..=MAX_VALUE).contains(&bytes) || value.trim().len() < MIN_VALUE || value.contains('\0') {
        return invalid(
            "value",
            format!(
                "must have {MIN_VALUE} to {MAX_VALUE} bytes beside spaces, and no NUL: a shorter one could not be masked"
            ),
        );
    }
    Ok(())
}

/// Checks everything that needs no store.
pub(super) fn validate(secrets: &[TaskSecret]) -> Result<(), Invalid> {
    if secrets.len() > MAX_SECRETS {
        return invalid("secrets", format!("must have at most {MAX_SECRETS} entries, got {}", secrets.len()));
    }
    let (mut variables, mut files) = (HashSet::new(), HashSet::new());
    for TaskSecret { name, env, file } in secrets {
        check_secret_name("secrets", name)?;
        let is_fit =
            |(n, byte): (usize, u8)| byte == b'_' || byte.is_ascii_alphabetic() || (n > 0 && byte.is_ascii_digit());
        if env.is_empty() || env.len() > MAX_NAME || !env.bytes().enumerate().all(is_fit) {
            return invalid(
                "secrets",
                format!(
                    "env must be the name of a variable, of 1 to {MAX_NAME} letters, digits and underscores, got {env:?}"
                ),
            );
        }
        let upper = env.to_ascii_uppercase();
        if let Some(reserved) = RESERVED.iter().find(|reserved| upper.starts_with(**reserved)) {
            return invalid(
                "secrets",
                format!("env {env:?} is not a task's to set: no variable that begins with {reserved} is"),
            );
        }
        if !variables.insert(env) {
            return invalid("secrets", format!("two secrets have the variable {env:?}"));
        }
        if let Some(file) = file {
            check_secret_name("secrets", file)?;
            if !files.insert(file) {
                return invalid("secrets", format!("two secrets have the file {file:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_decide_how_programs_run_are_not_a_tasks() {
        let secret = |env: &str| [TaskSecret { name: "n".to_owned(), env: env.to_owned(), file: None }];
        for good in ["NPM_TOKEN", "_x", "aws_secret_access_key", "GITHUB_TOKEN", "GH_TOKEN"] {
            assert_eq!(validate(&secret(good)), Ok(()), "{good}");
        }
        for bad in [
            "",
            "1A",
            "A-B",
            "A B",
            "A=B",
            "PATH",
            "Path",
            "LD_PRELOAD",
            "NODE_OPTIONS",
            "BUN_OPTIONS",
            "CLAUDE_CONFIG_DIR",
            "ANTHROPIC_BASE_URL",
            "CC_ANYWHERE_TASK",
            "GIT_CONFIG_COUNT",
            "BASH_ENV",
            "HOME",
            "É",
        ] {
            assert!(validate(&secret(bad)).is_err(), "{bad}");
        }
        let [one] = secret("A");
        assert!(validate(&[one.clone(), one.clone()]).is_err());
        let file = |name: &str| [TaskSecret { file: Some(name.to_owned()), ..one.clone() }];
        assert_eq!(validate(&file("gcp.json")), Ok(()));
        for bad in ["", "../x", "a/b", ".", "..", ".ssh", "a\0"] {
            assert!(validate(&file(bad)).is_err(), "{bad:?}");
        }
        assert!(check_secret_value("1234567").is_err() && check_secret_value("       x").is_err());
        assert_eq!(check_secret_value("12345678"), Ok(()));
    }
}
