//! Outcomes of attempts, and their meaning for the task.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Artifact, SessionId, Timestamp, Usd};

/// Class of a failure. The class decides on a retry; exit codes never do.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum FailureClass {
    /// The request can't succeed: bad option, unknown session, budget or turns spent.
    Invalid,
    /// The credential was refused.
    Auth,
    /// The account's limit is reached.
    UsageLimit,
    /// The model's service is overloaded.
    Overloaded,
    /// The model's service could not be reached, or broke off.
    Network,
    /// The CLI or its worker died without a result.
    Crashed,
    /// A time limit passed.
    Timeout,
    /// A permission was refused.
    Refused,
    /// The CLI ended the turn with an error of its own.
    Execution,
}

impl FailureClass {
    /// True if another attempt could end better. Timeouts are the task's own choice and are
    /// asked for elsewhere; crashes are counted apart.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Overloaded | Self::Network | Self::Execution)
    }
}

/// A failure, as the client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Decides on a retry.
    pub class: FailureClass,
    /// A stable name for programs, such as `TIMEOUT`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Of a usage limit: its end, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Failure {
    /// A failure of that class, code and message.
    pub fn new(class: FailureClass, code: &str, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            message.push('…');
        }
        Self { class, code: code.to_owned(), message, until: None }
    }

    /// Returns the time until which nothing should be tried with the credential of this failure; `None` where the
    /// failure says nothing about the credential.
    #[must_use]
    pub fn parks_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self.class {
            FailureClass::UsageLimit => Some(self.until.unwrap_or(now.plus(LIMIT_PAUSE))),
            FailureClass::Auth => Some(now.plus(AUTH_PAUSE)),
            _ => None,
        }
    }
}

/// Longest message: an error of the API may bring its whole request along.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// Time after which a limit whose end is not known is tried again.
const LIMIT_PAUSE: Duration = Duration::from_secs(60);
/// A credential that was refused is not refused by accident; each try costs a task.
const AUTH_PAUSE: Duration = Duration::from_secs(300);

/// The end of an attempt that its worker saw.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A result without error, after at least one call of the model.
    Completed,
    /// Any other failure.
    Failed(Failure),
}

/// Cost of an attempt, as the CLI reports it: the whole process, with all of its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spent {
    /// US dollars; `None` where the CLI didn't come to say it.
    pub cost_usd: Option<Usd>,
    /// True if the CLI reported a cost that can't be one, see [`sane_cost`].
    pub set_aside: bool,
    /// Tokens.
    pub tokens: Tokens,
}

/// Highest cost of a process in US dollars: as much as a task may ask for.
const MAX_COST_USD: f64 = 100_000.0;

/// A reported cost; `None` where it can't be one: one absurd figure would spend every budget for good.
#[must_use]
pub fn sane_cost(dollars: f64) -> Option<Usd> {
    (0.0..=MAX_COST_USD).contains(&dollars).then(|| Usd::of(dollars))
}

impl Spent {
    /// No known cost.
    pub const NONE: Self = Self {
        cost_usd: None,
        set_aside: false,
        tokens: Tokens { input: 0, output: 0, cache_read: 0, cache_write: 0 },
    };
}

/// Tokens of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Read, not from the cache.
    pub input: i64,
    /// Written.
    pub output: i64,
    /// Read from the cache.
    pub cache_read: i64,
    /// Tokens written to the cache.
    pub cache_write: i64,
}

/// Report of an attempt's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Outcome.
    pub outcome: Outcome,
    /// The text of the result, where there is one.
    pub result: Option<String>,
    /// The result as the task's schema wants it.
    pub structured_output: Option<Value>,
    /// The Claude session, for a resume.
    pub session_id: Option<SessionId>,
    /// Cost.
    pub spent: Spent,
    /// Tokens, as the CLI reports them.
    pub usage: Option<Value>,
    /// Turns of the conversation.
    pub num_turns: Option<i64>,
    /// Milliseconds from the start of the process to its end.
    pub duration_ms: i64,
    /// Tool calls that were refused, as the CLI reports them.
    pub permission_denials: Option<Value>,
    /// Changes in its worktree, where it has one.
    pub changes: Option<ChangeSet>,
    /// Files that it leaves, in place of those of an attempt before; `None` where they were not looked for.
    pub artifacts: Option<Vec<Artifact>>,
    /// Descriptions of background work that had to be ended.
    pub background_ended: Vec<String>,
    /// Checks of its work, where the task asks for some.
    pub verification: Option<Verification>,
}

/// Checks of a task's work in one attempt. Stored as JSON, and read leniently.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Verification {
    /// True if the last of them has passed.
    pub passed: bool,
    /// Each of them, in order.
    pub rounds: Vec<VerificationRound>,
}

/// One check of a task's work.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct VerificationRound {
    /// What has not passed, in words; empty where all has.
    pub failures: Vec<String>,
    /// Exit code of the command; `null` where none ran to its end.
    pub exit_code: Option<i32>,
    /// The end of what the command printed.
    pub output: String,
    /// Milliseconds that it took.
    pub duration_ms: i64,
    /// US dollars that the attempt had cost by then.
    pub cost_usd: Option<Usd>,
}

impl VerificationRound {
    /// True if all has passed.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Changes of a task in its worktree.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeSet {
    /// Branch, commits and files, for the client.
    pub summary: Value,
    /// The patch; empty where it would be too large.
    pub patch: Vec<u8>,
}

impl Report {
    /// A report of nothing but its outcome.
    #[must_use]
    pub fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            result: None,
            structured_output: None,
            session_id: None,
            spent: Spent::default(),
            usage: None,
            num_turns: None,
            duration_ms: 0,
            permission_denials: None,
            changes: None,
            artifacts: None,
            background_ended: Vec::new(),
            verification: None,
        }
    }
}
