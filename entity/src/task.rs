//! A task, with what decides its transitions and what its newest attempt left.

use sea_orm::entity::prelude::*;

/// One row a task.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tasks")]
pub struct Model {
    /// UUID of version 7: sorts by the time of its making.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`.
    pub status: String,
    /// The request, as JSON.
    pub spec: String,
    /// Higher starts first.
    pub priority: i64,
    /// Time at which it was stored.
    pub created_at: i64,
    /// Pending and not before this time; null when it may start at once.
    pub due_at: Option<i64>,
    /// Time of its first claim.
    pub started_at: Option<i64>,
    /// Time of its end.
    pub completed_at: Option<i64>,
    /// Starts so far.
    pub attempt: i32,
    /// Attempts that ended by themselves.
    pub finished_attempts: i32,
    /// Crashes in a row.
    pub crashes: i32,
    /// Maximum number of attempts that end by themselves.
    pub max_attempts: i32,
    /// Grows by one at every claim and at the cancel of a running task.
    pub epoch: i64,
    /// The life of the worker that holds it; null when none does.
    pub holder: Option<Uuid>,
    /// The end of the lease, on the clock that never jumps.
    pub lease_ms: Option<i64>,
    /// The boot that `lease_ms` belongs to.
    pub lease_boot: Option<Uuid>,
    /// The name of the worker that has it, or had it last.
    pub worker: Option<String>,
    /// Folder in which it works.
    pub working_directory: Option<String>,
    /// The task that this one repeats.
    pub retry_of: Option<Uuid>,
    /// The number of its newest event.
    pub last_event: i64,
    /// Events that its newest attempt has sent and that are stored.
    pub attempt_events: i64,
    /// The Claude session.
    pub session_id: Option<String>,
    /// The session that it goes on with: its own id, or, where it forks, another.
    pub resume_session_id: Option<String>,
    /// The task whose conversation it goes on with.
    pub continued_from: Option<Uuid>,
    /// Name of the client's key.
    pub key_name: String,
    /// Budget of all attempts together, in US dollars.
    pub max_budget_usd: Option<f64>,
    /// True if its folder is its own, with its id in the name.
    pub own_directory: bool,
    /// True if no other task may work in its folder meanwhile.
    pub exclusive: bool,
    /// Tasks with the same one are a group with a limit.
    pub concurrency_key: Option<String>,
    /// Labels that its worker must have, between commas.
    pub lane: String,
    /// Share whose turns it takes.
    pub share: String,
    /// Reason besides its time for which it is kept back, while pending.
    pub held: Option<String>,
    /// The answer or message that it waits for, as JSON.
    pub waiting_for: Option<String>,
    /// Messages that were sent to it and are not done.
    pub pending_messages: i32,
    /// The text of the result.
    pub result: Option<String>,
    /// The result as the schema wants it, as JSON.
    pub structured_output: Option<String>,
    /// The class of the newest failure.
    pub error_class: Option<String>,
    /// The code of the newest failure.
    pub error_code: Option<String>,
    /// The newest failure in words.
    pub error_message: Option<String>,
    /// US dollars.
    pub cost_usd: Option<f64>,
    /// US dollars of the attempt that runs, as far as is known.
    pub cost_so_far: Option<f64>,
    /// How the attempt that runs goes round in circles, in words.
    pub looping: Option<String>,
    /// Its place in a trace, as W3C writes it.
    pub trace_parent: Option<String>,
    /// Number of tasks that it depends on.
    pub dependencies: i64,
    /// Tokens, as JSON.
    pub usage: Option<String>,
    /// Turns of the conversation.
    pub num_turns: Option<i64>,
    /// Milliseconds of the newest attempt.
    pub duration_ms: Option<i64>,
    /// Refused tool calls, as JSON.
    pub permission_denials: Option<String>,
    /// Remarks beside its result, as JSON.
    pub remarks: Option<String>,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
