//! Responses of the server: one type for the server that writes it, the client that reads it, and the contract.
//!
//! A field is always there, and `null` where there is nothing yet, so that a program can tell "not yet" from "no such
//! field"; a field that may be left out says so. A client of one version may ask a server of another: a field that is
//! added later has a default.

mod bounded;
mod bulk;
mod error;
mod event;
mod file;
mod graph;
mod health;
mod key;
mod proof;
mod queue;
mod race;
mod rule;
mod schedule;
mod search;
mod secret;
mod server;
mod session;
mod submit;
mod talk;
mod task;
mod usage;
mod webhook;
mod worker;
mod worktree;

pub use bounded::{LIST_BYTES, bounded};
pub use bulk::BulkReport;
pub use error::{ErrorBody, Failed};
pub use event::{
    Content, Event, EventPage, EventView, FeedPage, FrameData, LogData, Logs, MessageData, Partial, PermissionData,
    StatusData,
};
pub use file::{ArtifactView, Artifacts, FileRemoved, FileView, Files};
pub use graph::{GraphEdge, GraphTask, TaskGraph};
pub use health::{Alive, Check, Health, HealthStatus, ParkedCredential, QueueCounts, Readiness, WorkerCounts};
pub use key::{AuditEntry, AuditPage, Key, KeySecret, Keys};
pub use proof::{PromiseState, Proof, ProofStep, TaskProof};
pub use queue::{LimitState, LimitUse, Limits, Stats, Unmatched};
pub use race::{ContenderView, RaceProgress, RaceView};
pub use rule::{RuleSuggestion, RuleView, Rules};
pub use schedule::{Preview, Run, Runs, Schedule, Schedules};
pub use search::{SearchHit, SearchPage};
pub use secret::{SecretView, Secrets};
pub use server::{DoctorFinding, DoctorReport, Series, SettingView, Settings};
pub use session::{SessionPage, SessionTask, SessionView};
pub use submit::{BatchReceipt, Receipt};
pub use talk::{
    Answered, Conversation, ConversationMessage, MessageReceipt, OpenQuestion, OpenQuestions, Permission, Permissions,
    Role,
};
pub use task::{
    AttemptView, ContextView, ErrorView, Explanation, Forecast, Range, Reason, StatusCounts, TaskPage, TaskView,
};
pub use usage::{Left, Today, Usage, UsageDay};
pub use webhook::{Deliveries, Delivery, DeliveryReceipt, Webhook, Webhooks};
pub use worker::{Worker, WorkerState, WorkerStopped, Workers};
pub use worktree::{WorktreeRemoved, WorktreeState, WorktreeView, Worktrees};
