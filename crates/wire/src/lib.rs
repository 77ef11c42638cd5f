//! Requests, responses, and the stored form of both.
//!
//! *Owns* the request of a task, which is read strictly where it is a wish ([`TaskSpec`]) and leniently where it is data
//! ([`stored`]), and the task as it is read. *Talks to* no other part.

mod artifacts;
mod dependency;
mod files;
mod hook_format;
mod key;
mod loop_guard;
mod race;
mod repository;
pub mod request;
pub mod response;
mod sdk;
mod secret;
mod spec;
pub mod stored;
mod task;
mod verify;
mod webhook;

pub use artifacts::Patterns;
pub use dependency::{Dependency, DependsOn, named_in_batch};
pub use files::{ContextFile, SentFile, Upload, can_be_named};
pub use hook_format::HookFormat;
pub use key::{KeyLimits, KeyRights, KeyScope, check_key_name};
pub use loop_guard::LoopGuardOptions;
pub use race::RaceOptions;
pub use repository::{RemoteRepository, check_url};
pub use sdk::{McpConfig, PermissionMode, SdkOptions};
pub use secret::{TaskSecret, check_secret_name, check_secret_value};
pub use spec::{
    Background, Context, MAX_INSTRUCTION_BYTES, Options, PRIORITIES, Questions, TaskSpec, Timeout, WorktreeOptions,
    title_of,
};
pub use task::{Activity, Attempt, Attempted, Conflict, Remarks, Task, TaskError, Truncated};
pub use verify::Verify;
pub use webhook::{DeliveryState, HookEvent, WebhookOptions};
