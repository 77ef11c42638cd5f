//! The queue: every change of a task's state.
//!
//! *Owns* the [store](crate::store) of this process: nothing else writes to it. *Talks to* the store, and to no other part
//! above; what changed is told through the [`ChangeNotifier`], after the commit. *Promises* that an answer to a command means "on disk", that commands
//! which wait are committed together, and that a command about a running task with an old
//! epoch changes nothing. When [`QueueActor`] dies, its transaction is rolled back, senders
//! whose command was not committed are told so, and it starts again on the same database.
//!
//! Decided against: a lock service or a leader. Between processes the lease in the database
//! decides; hints make it fast.

mod actor;
mod ask;
mod change_notifier;
mod commands;
mod commit;
mod event_feed;
mod files;
mod hooks;
mod keeper;
mod keys;
mod last_page;
mod messages;
mod poll;
mod races;
mod reads;
mod reaper;
mod rest;
mod rules;
mod schedules;
mod secrets;
mod talk;
mod word_indexer;

pub use crate::store::StoreError;
pub use crate::store::rows::{AnsweredRow, ApiKeyRow, AuditRow, DependencyRow, FileRow, MAX_LANES, RuleRow, SecretRow};
pub use crate::store::views::{
    AuditRecord, Backlog, ConversationState, ConversationTasks, Delivery, Dependency, Dispatch, EventPage, Explained,
    Filter, FindCommit, FindFile, LaneBacklog, LastTask, LimitUse, ListConversations, ListFiles, ListOrder,
    ListQuestions, ListTaskIds, ListTasks, OpenQuestion, PagePlace, Parked, Race, RaceEntry, ReadArtifacts,
    ReadDependencies, ReadEventPage, ReadEvents, ReadGraph, ReadRuns, ReadUsage, Schedule, ScheduleRun, SequencedEvent,
    Stats, StoredKey, Usage, UsageDay, WaitCause, Webhook, WorkerInfo,
};
pub use actor::{MAILBOX, QueueActor};
pub use ask::Queue;
pub use change_notifier::{ChangeNotifier, Concern, TaskFollower, TaskSignal};
pub use event_feed::{EventFeed, FeedFollower};
pub use files::{
    CountFileBytes, FilePut, FileRemoved, FindUnnamedBlobs, PutFile, ReadArtifact, ReadTaskFiles, RemoveFile,
    RemoveIdleFiles,
};
pub use hooks::{
    AddWebhook, ClaimDeliveries, EnableWebhook, NextDelivery, ReadDeliveries, ReadWebhooks, RemoveWebhook,
    ReportDelivery, RetryDelivery, Sent,
};
pub use keeper::{keep, prune, prune_forever, tidy_forever};
pub use keys::{
    CreateKey, FindOwner, HasSession, KeyChanged, NoteAudit, ReadAudit, ReadKeys, RevokeKey, RotateKey, TouchKey,
};
pub use messages::{
    Adopt, Amend, Amended, Append, Assignment, Beat, Cancel, Cancelled, Claim, DEPENDENCY_FAILED, Directory,
    DrainWorker, Draining, FindHandover, Finish, HandOver, NewDependency, NewTask, NextStep, NotAdopted, QueueError,
    ReadLimits, Release, Renew, Renewed, Resumes, SetConcurrency, SetLimit, SetPaused, Stale, Submit, SubmitAll,
    Submitted, TakeBackOrphan, Unpark, WorkerGone,
};
pub use poll::{FlushPoll, PollQueue, PollReply};
pub use races::{PickWinner, Picked, ReadRace, SubmitRace};
pub use reads::{
    Explain, Find, HasEnded, ReadBacklog, ReadClock, ReadHistory, ReadPatch, ReadStats, ReadTaskHistory,
    ReadTranscript, ReadWorkers,
};
pub use reaper::{Reaper, reap_at_start, reap_forever, reclaim};
pub use rest::LONGEST_REST;
pub use rules::{AddRule, ReadAnswered, ReadRules, RemoveRule, RuleAdded};
pub use schedules::{
    DueSchedules, FindSchedule, Fire, Fired, Firing, NextFiring, PutSchedule, ReadSchedules, RemoveSchedule, Replan,
    SchedulePut,
};
pub use secrets::{PutSecret, ReadSecrets, RemoveSecret, ResealSecret};
pub use talk::{Answer, AnswerOutcome, Ask, Asked, MarkLooping, Progress, ReadQuestions, ReadTalk, SaidTo, Say, Step};
pub use word_indexer::WordIndexer;
