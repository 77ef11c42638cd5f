//! The queue: every change of a task's state, and the store that it is kept in.
//!
//! *Owns* the database of this process: nothing else opens it, and SQL stands in `store` only.
//! *Talks to* the database, and to nobody above; what changed is told through the [`Hub`],
//! after the commit. *Promises* that an answer to a command means "on disk", that commands
//! which wait are committed together, and that a command about a running task with an old
//! epoch changes nothing. When [`QueueActor`] dies, its transaction is rolled back, senders
//! whose command was not committed are told so, and it starts again on the same database.
//!
//! Decided against: a lock service or a leader. Between processes the lease in the database
//! decides; hints make it fast.

mod actor;
mod ask;
mod hooks;
mod hub;
mod keeper;
mod messages;
mod notifier;
mod reads;
mod reaper;
mod schedules;
mod store;
mod tail;
mod talk;

pub use actor::{MAILBOX, QueueActor};
pub use ask::Queue;
pub use hooks::{
    AddWebhook, Attempted, ClaimDeliveries, Delivery, Dispatch, EnableWebhook, ReadDeliveries, ReadWebhooks,
    RemoveWebhook, RetryDelivery, Webhook,
};
pub use hub::{Followed, Hub, Live};
pub use keeper::{keep, prune, prune_forever};
pub use messages::{
    Amend, Amended, Append, Assignment, Beat, Cancel, Cancelled, Claim, Directory, Draining, Finish, HolderDied,
    LimitUse, Look, Looked, NewTask, Next, Nudge, QueueError, ReadLimits, Release, Renew, Renewed, Resumes,
    SetConcurrency, SetLimit, SetPaused, Stale, Submit, SubmitAll, Submitted, Unpark, WorkerGone,
};
pub use notifier::watch_other_processes;
pub use reads::{
    EventPage, Explain, Explained, Filter, Find, HasEnded, ListTasks, ReadEvents, ReadPatch, ReadStats, ReadUsage,
    ReadWorkers, Stats, WorkerInfo,
};
pub use reaper::{reap_at_start, reap_forever};
pub use schedules::{
    DueSchedules, FindSchedule, Fire, Fired, Firing, LastTask, NextFiring, PutSchedule, ReadRuns, ReadSchedules,
    RemoveSchedule, Replan, Run, Schedule, ScheduleId,
};
pub use store::{Reader, Store, StoreError};
pub use tail::{Follower, Numbered, Tail};
pub use talk::{Answer, Answered, Ask, Asked, Progress, ReadQuestions, ReadTalk, SaidTo, Say, Step, Talk};
