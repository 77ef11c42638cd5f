//! One transaction: the statements that commands are made of, named by what they mean.
//!
//! An engine implements one trait a file. Every method runs inside the transaction, sees what the transaction wrote
//! before, and is undone with it. Commands read, decide and write without further locks, so an engine promises:
//!
//! - [`Tasks::task`] holds the row until the end of the transaction: no other one changes it meanwhile.
//! - [`Claims::claim`] gives one task to one transaction, whichever processes claim at the same time.
//! - [`Claims::busy_directories`], [`Limits::running_groups`] and [`Money::used_budgets`] are read and acted on by one
//!   transaction at a time.
//! - [`Events::insert_event`] numbers events in the order of the commits: a later commit has the greater numbers.
//! - [`History::append_history`] numbers commits in their order.
//! - [`Tx::clock`] is the clock that leases end by: the same for every process that writes.

mod children;
mod claims;
mod dependencies;
mod files;
mod handovers;
mod hooks;
mod races;
mod rules;
mod schedules;
mod secrets;
mod talk;
mod touches;

use std::collections::HashMap;

use async_trait::async_trait;

pub use self::children::Children;
pub use self::claims::Claims;
pub use self::dependencies::Dependencies;
pub use self::files::Files;
pub use self::handovers::Handovers;
pub use self::hooks::Hooks;
pub use self::races::Races;
pub use self::rules::Rules;
pub use self::schedules::Schedules;
pub use self::secrets::Secrets;
pub use self::talk::Talk;
pub use self::touches::Touches;
use super::error::StoreError;
use super::rows::{
    ApiKeyRow, AttemptEnd, AttemptRow, AuditRow, ChangesRow, Clock, CredentialRow, EventRow, FoundTask,
    IdempotencyKeyRow, KeyUse, ProgressRow, TaskBefore, TaskRow, WorkerRow,
};
use domain::{Group, LeaseKey, Limit, SessionId, Share, Spent, TaskId, Timestamp, Tokens, Usd, WorkerInstanceId};
use wire::TaskError;

/// A transaction that was begun. Dropped, it is rolled back.
#[async_trait(?Send)]
pub trait Tx:
    Tasks
    + Claims
    + Shares
    + Files
    + Secrets
    + Handovers
    + Races
    + Children
    + Touches
    + Rules
    + Dependencies
    + Attempts
    + Events
    + Talk
    + Limits
    + Hooks
    + Schedules
    + Money
    + Keys
    + Workers
    + History
    + Retention
{
    /// The time of the transaction: one for all that it writes.
    fn clock(&self) -> Clock;

    /// Marks a point to go back to.
    async fn savepoint(&mut self) -> Result<(), StoreError>;

    /// Forgets the last mark; where `undo` is true, also what was done since.
    async fn end_savepoint(&mut self, undo: bool) -> Result<(), StoreError>;

    /// Makes it durable. Returns true if it has written anything that others may wait for.
    async fn commit(self: Box<Self>) -> Result<bool, StoreError>;
}

/// Tasks.
#[async_trait(?Send)]
pub trait Tasks {
    /// Inserts a task with its tags.
    async fn insert_task(&mut self, row: &TaskRow, tags: &[String]) -> Result<(), StoreError>;

    /// Returns a task, held until the end of the transaction.
    async fn task(&mut self, id: TaskId) -> Result<Option<FoundTask>, StoreError>;

    /// Writes what a transition may change, if the stored task still has the epoch that it had: all columns but the id, the
    /// request, and what a submit or an amendment sets; no attempt runs then. Returns false where it has another one.
    async fn update_task(&mut self, row: &TaskRow, was: TaskBefore) -> Result<bool, StoreError>;

    /// Writes the request, the priority, the due time and the last event of a pending task.
    async fn reschedule_task(&mut self, row: &TaskRow) -> Result<(), StoreError>;

    /// Writes how far the running attempt has come. What is not known stays as it is.
    async fn set_progress(&mut self, id: TaskId, progress: &ProgressRow) -> Result<(), StoreError>;

    /// Writes the last event, and what the task waits for.
    async fn set_waiting(&mut self, id: TaskId, last_event: i64, waiting_for: Option<&str>) -> Result<(), StoreError>;

    /// Ends a task of which nothing else can be read, as failed.
    async fn fail_unread(&mut self, id: TaskId, error: &TaskError) -> Result<(), StoreError>;

    /// Returns the task that has not ended and uses this session, where there is one.
    async fn session_user(&mut self, session: SessionId) -> Result<Option<TaskId>, StoreError>;

    /// Number of pending tasks.
    async fn pending(&mut self) -> Result<i64, StoreError>;

    /// Returns the task of an idempotency key, where it was used.
    async fn idempotency_key(&mut self, key: &str) -> Result<Option<IdempotencyKeyRow>, StoreError>;

    /// Inserts an idempotency key.
    async fn insert_idempotency_key(&mut self, row: &IdempotencyKeyRow) -> Result<(), StoreError>;

    /// Stores what a task has changed, in place of what was stored before.
    async fn put_changes(&mut self, row: &ChangesRow) -> Result<(), StoreError>;
}

/// Shares that take turns.
#[async_trait(?Send)]
pub trait Shares {
    /// Returns the weights of the shares that are known.
    async fn shares(&mut self) -> Result<HashMap<String, i64>, StoreError>;

    /// Makes a share known, or gives it another weight.
    async fn put_share(&mut self, name: &str, weight: i64) -> Result<(), StoreError>;

    /// Writes where the next turns of shares begin, and the turn that it is now.
    async fn put_turns(&mut self, turn: i64, shares: &[(String, Share)]) -> Result<(), StoreError>;

    /// Forgets shares whose tasks have all ended, where many are known. A share that is not known has weight 1.
    async fn tidy_shares(&mut self) -> Result<(), StoreError>;
}

/// The history of each task's attempts.
#[async_trait(?Send)]
pub trait Attempts {
    /// Inserts an attempt.
    async fn insert_attempt(&mut self, row: &AttemptRow) -> Result<(), StoreError>;

    /// Writes the session of an attempt.
    async fn set_attempt_session(&mut self, task: TaskId, number: i32, session: SessionId) -> Result<(), StoreError>;

    /// Writes how an attempt ended.
    async fn end_attempt(&mut self, task: TaskId, number: i32, end: &AttemptEnd) -> Result<(), StoreError>;

    /// Writes what an attempt has spent. With `once`, only where no cost is stored yet. Returns whether it was
    /// written.
    async fn set_attempt_cost(&mut self, key: LeaseKey, spent: Spent, once: bool) -> Result<bool, StoreError>;

    /// Marks an attempt whose reported cost can't be one.
    async fn mark_cost_set_aside(&mut self, key: LeaseKey) -> Result<(), StoreError>;
}

/// Events.
#[async_trait(?Send)]
pub trait Events {
    /// Inserts an event.
    async fn insert_event(&mut self, row: &EventRow) -> Result<(), StoreError>;
}

/// Limits on groups of tasks.
#[async_trait(?Send)]
pub trait Limits {
    /// Returns the limits that are set. Those on a kind of group that this version doesn't know are left out.
    async fn limits(&mut self) -> Result<Vec<(Group, Limit)>, StoreError>;

    /// Returns the limit of a group.
    async fn limit(&mut self, group: &Group) -> Result<Option<Limit>, StoreError>;

    /// Sets the limit of a group; `None` removes it.
    async fn put_limit(&mut self, group: &Group, limit: Option<&Limit>) -> Result<(), StoreError>;

    /// Returns the groups of each running task; those of its tags where `tags` is true.
    async fn running_groups(&mut self, tags: bool) -> Result<Vec<Vec<Group>>, StoreError>;

    /// Returns the newest starts of a group behind `since`, oldest first; at most `limit`.
    async fn starts(&mut self, group: &Group, since: Timestamp, limit: u32) -> Result<Vec<Timestamp>, StoreError>;

    /// Stores a start of a group.
    async fn insert_start(&mut self, group: &Group, at: Timestamp) -> Result<(), StoreError>;

    /// Removes the starts of a group up to this time, or all of them.
    async fn remove_starts(&mut self, group: &Group, until: Option<Timestamp>) -> Result<(), StoreError>;
}

/// Statements about spending.
#[async_trait(?Send)]
pub trait Money {
    /// Adds what an attempt of this task has spent to the day and the key of the task.
    async fn add_spending(&mut self, day: &str, task: TaskId, cost: Usd, tokens: Tokens) -> Result<(), StoreError>;

    /// Writes with the task what its attempts have cost in all.
    async fn sum_cost(&mut self, task: TaskId) -> Result<(), StoreError>;

    /// Returns by key what was spent on a day, with what is reserved by the attempts that run.
    async fn used_budgets(&mut self, day: &str) -> Result<Vec<(String, Usd)>, StoreError>;
}

/// API keys, what each key has, and the audit log.
#[async_trait(?Send)]
pub trait Keys {
    /// Inserts a key. Returns false where there is one of that name.
    async fn insert_api_key(&mut self, row: &ApiKeyRow) -> Result<bool, StoreError>;

    /// Returns a key.
    async fn api_key(&mut self, name: &str) -> Result<Option<ApiKeyRow>, StoreError>;

    /// Writes the hashes of a key, and the time at which it was revoked.
    async fn update_api_key(&mut self, row: &ApiKeyRow) -> Result<(), StoreError>;

    /// Notes that a key was used.
    async fn touch_api_key(&mut self, name: &str, at: Timestamp) -> Result<(), StoreError>;

    /// Returns the daily budgets of those keys that have one of their own.
    async fn key_budgets(&mut self) -> Result<Vec<(String, Usd)>, StoreError>;

    /// Returns the use of a key; of the tasks submitted since `day`, at most `most` are counted.
    async fn key_use(&mut self, key: &str, day: Timestamp, most: u32) -> Result<KeyUse, StoreError>;

    /// Adds to the stored bytes of a key.
    async fn add_key_bytes(&mut self, key: &str, bytes: i64) -> Result<(), StoreError>;

    /// Appends an entry to the audit log; the oldest beyond some are forgotten.
    async fn append_audit(&mut self, row: &AuditRow) -> Result<(), StoreError>;
}

/// Workers, their credentials, and the state of the queue.
#[async_trait(?Send)]
pub trait Workers {
    /// Stores a worker; of one that is known only its beat and its figures.
    async fn put_worker(&mut self, row: &WorkerRow) -> Result<(), StoreError>;

    /// Tells a worker to finish what it runs, and to end. Returns false if it isn't known.
    async fn drain_worker(&mut self, holder: WorkerInstanceId) -> Result<bool, StoreError>;

    /// Removes a worker.
    async fn remove_worker(&mut self, holder: WorkerInstanceId) -> Result<(), StoreError>;

    /// Parks a credential.
    async fn park(&mut self, row: &CredentialRow) -> Result<(), StoreError>;

    /// Lets a credential be used again. Returns whether it was parked.
    async fn unpark(&mut self, credential: &str, now: Timestamp) -> Result<bool, StoreError>;

    /// Holds claims back, or lets them go on.
    async fn set_paused(&mut self, paused: bool) -> Result<(), StoreError>;

    /// Sets how many tasks each worker runs at a time.
    async fn set_concurrency(&mut self, concurrency: u32) -> Result<(), StoreError>;
}

/// Statements about the history, commit by commit.
#[async_trait(?Send)]
pub trait History {
    /// Appends what this commit did, a JSON array.
    async fn append_history(&mut self, done: &str) -> Result<(), StoreError>;
}

/// The end of what is old.
#[async_trait(?Send)]
pub trait Retention {
    /// Returns some tasks that ended before this time and that no other one needs, oldest first; at most `limit`.
    async fn old_tasks(&mut self, before: Timestamp, limit: i64) -> Result<Vec<TaskId>, StoreError>;

    /// Removes a task with all that belongs to it; its bytes are taken from its key.
    async fn remove_task(&mut self, id: TaskId) -> Result<(), StoreError>;

    /// Removes the history from before the oldest task that is left. The newest entry stays.
    async fn trim_history(&mut self) -> Result<(), StoreError>;
}
