//! The request for a task: its JSON and its rules, without anything about how it is run.
//!
//! Every field that a client may send is named here once. Unknown fields are refused, so that a misspelt option is
//! never ignored; [`stored`](super::stored) reads the same shape from a database leniently.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::WebhookOptions;
use crate::artifacts::Patterns;
use crate::dependency::{self, DependsOn};
use crate::files::{self, ContextFile};
use crate::loop_guard::LoopGuardOptions;
use crate::race::RaceOptions;
use crate::repository::RemoteRepository;
use crate::sdk::SdkOptions;
use crate::secret::{self, TaskSecret};
use crate::verify::Verify;
use domain::{Invalid, MAX_LABELS, MAX_NAME, RetryPolicy, TaskId, Timestamp, check_label};

/// The longest instruction, in bytes. The prompt of a model holds less.
pub const MAX_INSTRUCTION_BYTES: usize = 1 << 20;
/// The longest text of an option, in bytes: it becomes one argument of the CLI, and Linux
/// takes 128 KiB for each.
pub(super) const MAX_OPTION_BYTES: usize = 64 << 10;
/// The longest title, in characters.
const MAX_TITLE: usize = 120;
/// Valid priorities.
pub const PRIORITIES: std::ops::RangeInclusive<i64> = 0..=100;
/// The longest time limit: a day, in milliseconds.
pub(super) const MAX_TIMEOUT_MS: i64 = 86_400_000;

/// A task as a client submits it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskSpec {
    /// Instruction for Claude, word for word.
    #[schema(min_length = 1)]
    pub instruction: String,
    /// Name, for those that depend on it in the same batch, and for people.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tasks that must end before it starts.
    #[schema(max_items = 10000)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<DependsOn>,
    /// The running task from inside which it is made. It is of that one's key and within its budget, and is cancelled with it.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// Surroundings of the task.
    #[serde(default)]
    pub context: Context,
    /// 0 to 100; higher starts first.
    #[schema(minimum = 0, maximum = 100)]
    #[serde(default)]
    pub priority: i64,
    /// Earliest start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    /// Names to find it by.
    #[schema(max_items = 20)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Tasks with the same run one at a time, or as many as its limit says.
    #[schema(min_length = 1, max_length = 128)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// Labels that its worker must have: `NAME=VALUE`, or `NAME` for any value.
    #[schema(max_items = 16)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Secrets of its key that it gets.
    #[schema(max_items = 20)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<TaskSecret>,
    /// Files below its folder that are kept when it ends: patterns such as `out/**`.
    #[schema(max_items = 20)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// Check of its work, without which it does not complete.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verify>,
    /// Race of several tasks in place of one.
    #[schema(nullable = false)]
    #[serde(default, alias = "attempts", skip_serializing_if = "Option::is_none")]
    pub race: Option<RaceOptions>,
    /// Options.
    #[serde(default)]
    pub options: Options,
}

/// The surroundings of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Context {
    /// An absolute path; without one the task gets an empty folder of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// A repository in place of a folder: the task works in a worktree of a clone, on whichever machine runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RemoteRepository>,
    /// Files that the model is given with the instruction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ContextFile>,
}

impl Context {
    /// The folder or repository that it works in, or in a copy of; `None` where it gets an empty folder of its own.
    #[must_use]
    pub fn base(&self) -> Option<&str> {
        self.repository.as_ref().map(|repository| &*repository.url).or(self.working_directory.as_deref())
    }
}

/// Options: how a task is run and tried again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Options {
    /// The time limits of one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// `false`: the answer to the submit waits for the end of the task.
    #[serde(default, rename = "async", skip_serializing_if = "Option::is_none")]
    pub run_async: Option<bool>,
    /// Maximum number of attempts that end by themselves, 1 to 20.
    #[schema(minimum = 1, maximum = 20)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<i64>,
    /// The waits between attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryOptions>,
    /// True if it works in a git worktree of its own, on a branch of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_worktree: Option<bool>,
    /// Options of the worktree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<WorktreeOptions>,
    /// True if no other task may work in its folder meanwhile; the server decides where it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive_directory: Option<bool>,
    /// Receiver of messages about the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookOptions>,
    /// Policy for commands and agents in the background that outlive the last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// True if the model may ask people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questions: Option<Questions>,
    /// What is done about a model that goes round in circles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_guard: Option<LoopGuardOptions>,
    /// Options of the CLI.
    #[serde(default)]
    pub sdk: SdkOptions,
}

/// Policy for background work that outlives the last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Background {
    /// The task goes on until it has ended and the model was told, within the task's timeout.
    #[default]
    Wait,
    /// The work is ended with the turn.
    End,
}

/// True if the model may ask people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Questions {
    /// The file is read in every permission mode.
    #[default]
    On,
    /// The file is never read.
    Off,
}

/// A worktree of a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorktreeOptions {
    /// The name of the new branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Revision at which it begins; the repository's HEAD where it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// True if it stays when the task has ended. What is nowhere else stays anyway.
    #[serde(default)]
    pub keep: bool,
    /// True if everything is committed when the task completes.
    #[serde(default)]
    pub auto_commit: bool,
    /// True if its branch is pushed to `context.repository` when the task completes, with everything committed.
    #[serde(default)]
    pub push: bool,
    /// The message of that commit; the beginning of the instruction where it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_message: Option<String>,
}

impl WorktreeOptions {
    /// The name of the branch of this task.
    #[must_use]
    pub fn branch_of(&self, task: TaskId) -> String {
        self.branch.clone().unwrap_or_else(|| format!("cc-anywhere/{task}"))
    }
}

/// Time limits of one attempt, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Timeout {
    /// Milliseconds from the start of the process to its end.
    Total(i64),
    /// Each limit by its name.
    Both {
        /// Milliseconds from the start of the process to its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<i64>,
        /// Milliseconds without output of the CLI while no tool runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idle: Option<i64>,
    },
}

impl Timeout {
    /// The limit of the whole attempt.
    #[must_use]
    pub const fn total(self) -> Option<i64> {
        match self {
            Self::Total(ms) => Some(ms),
            Self::Both { total, .. } => total,
        }
    }

    /// The limit of silence.
    #[must_use]
    pub const fn idle(self) -> Option<i64> {
        match self {
            Self::Total(_) => None,
            Self::Both { idle, .. } => idle,
        }
    }
}

/// The waits between attempts, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryOptions {
    /// Milliseconds before the second attempt.
    #[schema(minimum = 0, maximum = 86400000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<i64>,
    /// Maximum in milliseconds.
    #[schema(minimum = 0, maximum = 86400000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<i64>,
    /// Each wait over the one before.
    #[schema(minimum = 1, maximum = 100)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_multiplier: Option<f64>,
    /// True if a passed time limit is followed by another attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<bool>,
}

pub(super) fn invalid(field: &'static str, message: impl Into<String>) -> Result<(), Invalid> {
    Err(Invalid::new(field, message))
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: Option<T>,
    low: T,
    high: T,
) -> Result<(), Invalid> {
    match value {
        Some(value) if value < low || value > high => {
            invalid(field, format!("must be from {low} to {high}, got {value}"))
        }
        _ => Ok(()),
    }
}

pub(super) fn text(field: &'static str, value: Option<&String>) -> Result<(), Invalid> {
    match value {
        Some(value) if value.is_empty() => invalid(field, "must not be empty"),
        Some(value) if value.len() > MAX_OPTION_BYTES => {
            invalid(field, format!("must be at most {MAX_OPTION_BYTES} bytes, got {}", value.len()))
        }
        Some(value) if value.contains('\0') => invalid(field, "must not contain a NUL character"),
        _ => Ok(()),
    }
}

pub(super) fn texts(field: &'static str, values: &[String], most: usize) -> Result<(), Invalid> {
    if values.len() > most {
        return invalid(field, format!("must have at most {most} entries, got {}", values.len()));
    }
    values.iter().try_for_each(|value| text(field, Some(value)))
}

impl TaskSpec {
    /// Checks every rule that needs nothing but the request itself.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn validate(&self) -> Result<(), Invalid> {
        let size = self.instruction.len();
        if self.instruction.trim().is_empty() {
            invalid("instruction", format!("must have 1 to {MAX_INSTRUCTION_BYTES} bytes, and more than spaces"))?;
        }
        if size > MAX_INSTRUCTION_BYTES {
            invalid("instruction", format!("must have 1 to {MAX_INSTRUCTION_BYTES} bytes, got {size}"))?;
        }
        text("context.workingDirectory", self.context.working_directory.as_ref())?;
        within("priority", Some(self.priority), *PRIORITIES.start(), *PRIORITIES.end())?;
        files::validate(&self.context.files)?;
        Patterns::of("artifacts", &self.artifacts)?;
        secret::validate(&self.secrets)?;
        self.race.as_ref().map_or(Ok(()), |race| race.validate(self))?;
        self.verify.as_ref().map_or(Ok(()), |verify| verify.validate(self))?;
        dependency::validate(self)?;
        if let Some(repository) = &self.context.repository {
            repository.validate()?;
        }
        if self.worktree().is_some() {
            self.validate_worktree()?;
        }
        texts("tags", &self.tags, 20)?;
        if let Some(tag) = self.tags.iter().find(|tag| tag.len() > 64) {
            invalid("tags", format!("each must have 1 to 64 bytes, got {}", tag.len()))?;
        }
        text("concurrencyKey", self.concurrency_key.as_ref())?;
        if let Some(key) = self.concurrency_key.as_ref().filter(|key| key.len() > MAX_NAME) {
            invalid("concurrencyKey", format!("must have 1 to {MAX_NAME} bytes, got {}", key.len()))?;
        }
        texts("requires", &self.requires, MAX_LABELS)?;
        for label in &self.requires {
            check_label(label).map_err(|error| Invalid::new("requires", format!("{error}, got {label:?}")))?;
        }
        self.options.validate()
    }
}

/// First line of an instruction that says anything, at most 120 characters.
#[must_use]
pub fn title_of(instruction: &str) -> String {
    let line = instruction.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(MAX_TITLE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

impl TaskSpec {
    /// A task of nothing but its instruction.
    #[must_use]
    pub fn of(instruction: String) -> Self {
        Self {
            instruction,
            name: None,
            depends_on: Vec::new(),
            parent: None,
            context: Context::default(),
            priority: 0,
            run_at: None,
            tags: Vec::new(),
            concurrency_key: None,
            requires: Vec::new(),
            secrets: Vec::new(),
            artifacts: Vec::new(),
            verify: None,
            race: None,
            options: Options::default(),
        }
    }

    /// First line of the instruction that says anything, at most 120 characters.
    #[must_use]
    pub fn title(&self) -> String {
        title_of(&self.instruction)
    }

    /// The worktree that it works in, if it has one.
    #[must_use]
    pub fn worktree(&self) -> Option<WorktreeOptions> {
        match &self.context.repository {
            Some(_) => Some(self.options.worktree.clone().unwrap_or_default()),
            None => self.options.worktree(),
        }
    }

    fn validate_worktree(&self) -> Result<(), Invalid> {
        let sdk = &self.options.sdk;
        match (&self.context.repository, &self.context.working_directory) {
            (Some(_), Some(_)) => {
                return invalid("context.workingDirectory", "can't be set beside context.repository: name one of them");
            }
            (Some(_), None) if self.options.use_worktree == Some(false) => {
                return invalid("options.useWorktree", "can't be false with context.repository");
            }
            (Some(_), None) if self.options.worktree.as_ref().is_some_and(|one| one.base_branch.is_some()) => {
                return invalid("options.worktree.baseBranch", "is context.repository.revision here");
            }
            (None, _) if self.options.worktree.as_ref().is_some_and(|one| one.push) => {
                return invalid("options.worktree.push", "needs context.repository");
            }
            _ => {}
        }
        if self.context.working_directory.is_none() && self.context.repository.is_none() {
            return invalid("context.workingDirectory", "must name a folder of the repository that gets a worktree");
        }
        if sdk.resume_session.is_some() || sdk.continue_from_task_id.is_some() {
            return invalid(
                "options.useWorktree",
                "can't be set where a session goes on: it does so in its own folder",
            );
        }
        let worktree = self.options.worktree.as_ref();
        let of = |which: fn(&WorktreeOptions) -> Option<&String>| worktree.and_then(which);
        text("options.worktree.branch", of(|one| one.branch.as_ref()))?;
        text("options.worktree.baseBranch", of(|one| one.base_branch.as_ref()))?;
        text("options.worktree.commitMessage", of(|one| one.commit_message.as_ref()))
    }
}

impl Options {
    /// The worktree that is asked for, if one is.
    #[must_use]
    pub fn worktree(&self) -> Option<WorktreeOptions> {
        match (self.use_worktree, &self.worktree) {
            (Some(false), _) | (None, None) => None,
            (_, options) => Some(options.clone().unwrap_or_default()),
        }
    }

    fn validate(&self) -> Result<(), Invalid> {
        within("options.timeout", self.timeout.and_then(Timeout::total), 1, MAX_TIMEOUT_MS)?;
        within("options.timeout.idle", self.timeout.and_then(Timeout::idle), 1, MAX_TIMEOUT_MS)?;
        within("options.maxAttempts", self.max_attempts, 1, 20)?;
        if let Some(retry) = &self.retry {
            within("options.retry.initialDelay", retry.initial_delay, 0, MAX_TIMEOUT_MS)?;
            within("options.retry.maxDelay", retry.max_delay, 0, MAX_TIMEOUT_MS)?;
            within("options.retry.backoffMultiplier", retry.backoff_multiplier, 1.0, 100.0)?;
        }
        if let Some(webhook) = &self.webhook {
            webhook.validate()?;
        }
        if let Some(guard) = &self.loop_guard {
            guard.validate()?;
        }
        self.sdk.validate()
    }

    /// The same without what is never shown.
    #[must_use]
    pub fn shown(&self) -> Cow<'_, Self> {
        let mut shown = Cow::Borrowed(self);
        if self.webhook.as_ref().is_some_and(|webhook| webhook.secret.is_some())
            && let Some(webhook) = &mut shown.to_mut().webhook
        {
            webhook.secret = None;
        }
        shown
    }

    /// Maximum number of attempts that end by themselves; 3 by default.
    #[must_use]
    pub fn attempts(&self) -> i32 {
        self.max_attempts.and_then(|n| i32::try_from(n).ok()).unwrap_or(3)
    }

    /// The waits between its attempts.
    #[must_use]
    pub fn retry_policy(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        let Some(retry) = &self.retry else { return default };
        let ms = |ms: i64| Duration::from_millis(ms.unsigned_abs());
        RetryPolicy {
            initial_delay: retry.initial_delay.map_or(default.initial_delay, ms),
            max_delay: retry.max_delay.map_or(default.max_delay, ms),
            multiplier: retry.backoff_multiplier.unwrap_or(default.multiplier),
        }
    }

    /// True if a passed time limit is followed by another attempt.
    #[must_use]
    pub fn retries_timeouts(&self) -> bool {
        self.retry.as_ref().and_then(|retry| retry.on_timeout).unwrap_or(false)
    }
}
