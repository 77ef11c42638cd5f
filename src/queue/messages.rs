//! Messages to [`QueueActor`](super::QueueActor). Commands are answered after their commit; reads run beside, on
//! connections of their own.

use std::time::Duration;

use crate::store::StoreError;
use crate::store::views::{HeldTree, Holdings, LimitUse};
use domain::{
    Budgets, Condition, FileId, Group, Labels, LeaseKey, Limit, LimitChange, NewEvent, NoChild, OnFailure,
    ReleaseReason, Report, SessionId, Spent, Status, TaskId, Timestamp, TraceParent, Usd, WorkerInstanceId,
};
use wire::{KeyLimits, Task, TaskSpec};

/// Reason for which there is no answer. None of these means that the command was not carried out, but for a command
/// that was never acknowledged nothing is promised either.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The database refused.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The queue restarted while the command waited.
    #[error("the queue is restarting")]
    Restarting,
}

/// Names the answer of each message, unless the queue can't answer.
macro_rules! answers {
    ($($message:ty => $answer:ty;)*) => {
        $(impl actix::Message for $message {
            type Result = Result<$answer, $crate::queue::QueueError>;
        })*
    };
}
pub(super) use answers;

answers! {
    Submit => Submitted;
    SubmitAll => AllSubmitted;
    Amend => Amended;
    Claim => Vec<Assignment>;
    Renew => Renewed;
    Append => Result<(), Stale>;
    Finish => Result<NextStep, Stale>;
    Release => Result<(), Stale>;
    Cancel => Cancelled;
    HolderDied => usize;
    Expire => bool;
    HandOver => Vec<LeaseKey>;
    Adopt => Result<Assignment, NotAdopted>;
    TakeBackOrphan => bool;
    FindAdopted => Vec<HeldTree>;
    FindHandover => Option<HeldTree>;
    FindHoldings => Holdings;
    Settle => ();
    TidyShares => ();
    Beat => ();
    Draining => ();
    Prune => Vec<TaskId>;
    DrainWorker => bool;
    WorkerGone => ();
    SetPaused => ();
    Unpark => bool;
    SetConcurrency => ();
    SetLimit => Limit;
    ReadLimits => Vec<LimitUse>;
}

/// Stores a task. Answered when it is on disk.
#[derive(Clone, Debug)]
pub struct Submit {
    /// Boxed: it is handed from hand to hand before it is stored.
    pub task: Box<NewTask>,
    /// The client's key for it and the fingerprint of its request.
    pub idempotency: Option<(String, String)>,
    /// Number of pending tasks at which the submit is refused.
    pub max_pending: i64,
    /// Limits of the client's key.
    pub limits: KeyLimits,
}

/// Stores several tasks, all or none. Answered when they are on disk.
#[derive(Clone, Debug)]
pub struct SubmitAll(pub Vec<Submit>);

/// The tasks in order, each with whether it was there already; or the first that can't be stored, and why.
pub type AllSubmitted = Result<Vec<(Box<Task>, bool)>, (usize, Submitted)>;

/// Forgets shares whose tasks have all ended, where many are known.
#[derive(Clone, Copy, Debug)]
pub struct TidyShares;

/// Tells dependents of tasks that have ended: some of them with this commit, the rest with others behind it.
#[derive(Clone, Copy, Debug)]
pub struct Settle;

/// Changes when a pending task starts.
#[derive(Clone, Copy, Debug)]
pub struct Amend {
    /// The task.
    pub task: TaskId,
    /// Higher starts first.
    pub priority: Option<i64>,
    /// Earliest start; `Some(None)`: now.
    pub run_at: Option<Option<Timestamp>>,
    /// True if it is to wait for no other task any more.
    pub waive: bool,
}

/// The answer to an [`Amend`].
#[derive(Clone, Debug)]
pub enum Amended {
    /// The task, as it is now.
    Done(Box<Task>),
    /// The task is not pending any more.
    NotPending(Box<Task>),
    /// The task has been started before: what it waits for now is not a time of the client's.
    Begun(Box<Task>),
    /// There is no such task.
    Unknown,
}

/// A task before it is stored.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its id to be.
    pub id: TaskId,
    /// Request of the client; validated.
    pub spec: TaskSpec,
    /// Folder in which it works.
    pub directory: Directory,
    /// The task that it repeats.
    pub retry_of: Option<TaskId>,
    /// The tasks that it depends on; those of a request are here, and not in `spec`.
    pub dependencies: Vec<NewDependency>,
    /// Name of the client's key.
    pub key: String,
    /// The share whose turns it takes, and the weight of that; an empty one has none.
    pub share: (String, i64),
    /// True if it may depend on tasks of other keys.
    pub sees_all: bool,
    /// True if no other task may work in its folder meanwhile.
    pub exclusive: bool,
    /// The conversation that it goes on with.
    pub resumes: Option<Resumes>,
    /// Its place in a trace.
    pub trace_parent: Option<TraceParent>,
}

/// Code of a task that can't start, since one that it depends on has not completed.
pub const DEPENDENCY_FAILED: &str = "DEPENDENCY_FAILED";

/// A task that a new one depends on.
#[derive(Clone, Debug)]
pub struct NewDependency {
    /// Its id.
    pub task: TaskId,
    /// End that is waited for.
    pub condition: Condition,
    /// What happens where it should complete, and does not.
    pub on_failure: OnFailure,
    /// Name by which the new one uses what it leaves.
    pub name: Option<String>,
    /// True if it is stored together with the new one.
    pub is_new: bool,
}

/// A conversation that a task goes on with.
#[derive(Clone, Debug)]
pub struct Resumes {
    pub session: SessionId,
    /// True if it goes on with a copy of the session: then others may use it too.
    pub fork: bool,
    /// The task that it is of, where the client named one.
    pub task: Option<TaskId>,
}

/// Folder of a task.
#[derive(Clone, Debug)]
pub enum Directory {
    /// This folder.
    Named(String),
    /// A folder of its own, below this one.
    OwnBelow(String),
    /// A worktree of its own below this folder, and in it this one.
    WorktreeBelow(String, String),
}

/// Result of a submit.
#[derive(Debug)]
pub enum Submitted {
    /// Stored.
    Created(Box<Task>),
    /// The key was used for the same request before; this is its task.
    Repeated(Box<Task>),
    /// The key was used for another request.
    KeyReused,
    /// Another task uses the session that it was to go on with.
    SessionInUse(TaskId),
    /// Too many are pending.
    Full,
    /// This task, which it depends on, is not there.
    NoDependency(TaskId),
    /// This task, which it depends on, has ended so: it could never start.
    DependencyFailed(TaskId, Status),
    /// The key has no such task, from inside which it is made.
    NoParent(TaskId),
    /// This task, from inside which it is made, does not run.
    ParentNotRunning(TaskId, Status),
    /// This task, from inside which it is made, may have no further child.
    NoChild(TaskId, NoChild),
    /// The key has no such file, or not all of it.
    NoFile(FileId),
    /// Its requirements are new, and pending tasks have too many different ones already.
    TooManyLanes,
    /// The key has reached a limit of its own, by the limit's name.
    KeyLimit { limit: &'static str, most: i64 },
}

/// Takes pending tasks, at most `limit`, by priority, then age.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The life of the worker.
    pub holder: WorkerInstanceId,
    /// Name.
    pub worker: String,
    /// The credential of its CLI, see [`Parked`](crate::store::views::Parked).
    pub credential: String,
    /// Its labels.
    pub labels: Labels,
    /// Maximum number.
    pub limit: u32,
    /// The limits of money.
    pub budgets: Budgets,
    /// Duration of the claim.
    pub lease: Duration,
}

/// A task in hand.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// Key for every write about it.
    pub key: LeaseKey,
    /// The task, as it was claimed.
    pub task: Task,
    /// The most that this attempt may cost, in US dollars; `None` is without a limit.
    pub budget_usd: Option<Usd>,
}

/// Moves the end of these leases; also tells what was lost.
#[derive(Clone, Debug)]
pub struct Renew {
    /// The life of the worker.
    pub holder: WorkerInstanceId,
    /// Leases of its running tasks.
    pub leases: Vec<LeaseKey>,
    /// Duration of the leases from now.
    pub lease: Duration,
}

/// Result of a renewal.
#[derive(Clone, Debug, Default)]
pub struct Renewed {
    /// Leases that are held by another worker, or by none: end the processes, and forget the task.
    pub lost: Vec<LeaseKey>,
}

/// Stores events of a running task.
#[derive(Clone, Debug)]
pub struct Append {
    /// The right to it.
    pub key: LeaseKey,
    /// Number of events of the attempt that went before these.
    pub from: i64,
    /// Events, in order.
    pub events: Vec<NewEvent>,
    /// The session, once it is known.
    pub session_id: Option<SessionId>,
    /// US dollars of the attempt, as far as is known.
    pub cost_so_far: Option<Usd>,
    /// How it goes round in circles, where it has begun to.
    pub looping: Option<String>,
    /// Parts of the transcript of its session, each with its number.
    pub transcript: Vec<(SessionId, i64, String)>,
    /// True if they are stored also when the disk is full: they are short then.
    pub essential: bool,
}

/// Ends an attempt.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The right to it.
    pub key: LeaseKey,
    /// Report of the attempt.
    pub report: Report,
    /// The credential of the CLI.
    pub credential: String,
    /// Last events.
    pub events: Vec<NewEvent>,
    /// Spreads the back-off, `0.0..1.0`.
    pub chance: f64,
}

/// Next step after an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum NextStep {
    /// The task has ended.
    Ended(Status),
    /// Another attempt, not before this time.
    Again(Option<Timestamp>),
}

/// Gives a task back; counts as nothing.
#[derive(Clone, Debug)]
pub struct Release {
    /// The right to it.
    pub key: LeaseKey,
    /// Reason of the release.
    pub reason: ReleaseReason,
    /// Detail in words, for the log of the task.
    pub detail: Option<String>,
    /// Due again after this time; where it waits for an answer, the question says when.
    pub delay: Duration,
    /// Cost of the attempt, where that is known.
    pub spent: Spent,
    /// The session, for the next attempt.
    pub session_id: Option<SessionId>,
    /// Last events.
    pub events: Vec<NewEvent>,
}

/// The write came from a lease that is no more; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

/// Calls a task off.
#[derive(Clone, Copy, Debug)]
pub struct Cancel(pub TaskId);

/// Result of a cancel.
#[derive(Debug)]
pub enum Cancelled {
    /// The task is cancelled now.
    Done(Box<Task>),
    /// The task had ended before.
    Ended(Box<Task>),
    /// There is no such task.
    Unknown,
}

/// A worker is known to be dead, with all of its processes: its tasks run again.
#[derive(Clone, Copy, Debug)]
pub struct HolderDied(pub WorkerInstanceId);

/// Takes one task back, if its lease is over and its tree has had the time to end.
#[derive(Clone, Copy, Debug)]
pub struct Expire {
    pub task: TaskId,
    /// Instance that held it when its processes were ended.
    pub holder: WorkerInstanceId,
}

/// Reads what there may be to take back.
#[derive(Clone, Copy, Debug)]
pub struct FindHoldings;

/// A worker leaves, and these attempts run on, held by their shims, for another worker to take over. Answered with those
/// that it has lost before.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// The life of the worker.
    pub holder: WorkerInstanceId,
    /// Leases of the attempts.
    pub leases: Vec<LeaseKey>,
    /// Duration of the leases from now: the time that another worker has.
    pub lease: Duration,
}

/// Takes over an attempt that was handed over.
#[derive(Clone, Debug)]
pub struct Adopt {
    /// The right to it.
    pub key: LeaseKey,
    /// The life of the worker.
    pub holder: WorkerInstanceId,
    /// Name of the worker.
    pub worker: String,
    /// Duration of the lease from now.
    pub lease: Duration,
}

/// Reason for which an attempt was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdopted {
    /// The task does not run under this lease any more: what is left of the attempt is to end.
    Gone,
    /// A worker has it.
    Held,
}

/// Takes back a task whose attempt was handed over and has ended with all of its processes. Answered with whether nobody
/// had taken it over.
#[derive(Clone, Copy, Debug)]
pub struct TakeBackOrphan(pub LeaseKey);

/// Reads an attempt that runs and was handed over.
#[derive(Clone, Copy, Debug)]
pub struct FindHandover(pub LeaseKey);

/// Reads which tasks of a worker run in processes that another worker has started.
#[derive(Clone, Copy, Debug)]
pub struct FindAdopted(pub WorkerInstanceId);

/// A worker lives.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    pub name: String,
    /// Tasks that it runs.
    pub running: usize,
    /// Tasks that it may run at a time.
    pub concurrency: u32,
    /// Its labels.
    pub labels: Labels,
}

/// A worker claims no more.
#[derive(Clone, Copy, Debug)]
pub struct Draining(pub WorkerInstanceId);

/// Removes tasks that ended before this time, with all that belongs to them; not all of them at
/// once. Answered with those that were removed.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// The time.
    pub before: Timestamp,
}

/// Tells a worker to finish what it runs, and to end. Answered with whether it is known.
#[derive(Clone, Copy, Debug)]
pub struct DrainWorker(pub WorkerInstanceId);

/// A worker has left, with nothing in hand.
#[derive(Clone, Copy, Debug)]
pub struct WorkerGone(pub WorkerInstanceId);

/// Holds claims back, or lets them go on.
#[derive(Clone, Copy, Debug)]
pub struct SetPaused(pub bool);

/// Lets a parked credential be used again. Answered with whether it was parked.
#[derive(Clone, Debug)]
pub struct Unpark(pub String);

/// Changes how many tasks each worker runs at a time.
#[derive(Clone, Copy, Debug)]
pub struct SetConcurrency(pub u32);

/// Sets a limit on a group of tasks, or takes it off. Answered with what holds then.
#[derive(Clone, Debug)]
pub struct SetLimit {
    /// The group.
    pub group: Group,
    /// `None`: what holds where none is set.
    pub change: Option<LimitChange>,
}

/// Reads the limits that are set.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits;

/// Asks the queue to find out whether it could store something now, and to say so in its vitals.
#[derive(Clone, Copy, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Probe;
