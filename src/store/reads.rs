//! Reads, named by what they answer: beside the commits, on connections of their own.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::error::StoreError;
use super::rows::{AnsweredRow, FileRow, Lenient, RuleRow, SecretRow};
use super::views::{
    AuditRecord, Backlog, ConversationState, ConversationTasks, Delivery, Dependency, EventPage, Explained, FindCommit,
    FindFile, FoundCommit, HeldTree, Holdings, LastTask, LatestEvents, LimitUse, ListConversations, ListFiles,
    ListQuestions, ListTaskIds, ListTasks, Page, QuestionPage, Race, ReadArtifacts, ReadDependencies, ReadEventPage,
    ReadEvents, ReadGraph, ReadRuns, ReadUsage, Schedule, ScheduleRun, Stats, StoredKey, TaskGraph, Usage, Webhook,
    WorkerInfo,
};
use audit::{Entry, TaskSnapshot};
use domain::{Artifact, BlobId, LeaseKey, Question, ScheduleId, SessionId, TaskId, Timestamp, WorkerInstanceId};
use wire::Task;

/// The connections that read. One row that can't be read costs no more than itself.
#[async_trait]
pub trait Reads: Send + Sync {
    /// Returns the time by the clock of the store, which is that of its transactions.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Returns a task with its attempts and its changes.
    async fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError>;

    /// Returns what a task has changed, as a patch; empty where it was too large.
    async fn patch(&self, id: TaskId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns a task, and how many start before it.
    async fn explain(&self, id: TaskId) -> Result<Option<Explained>, StoreError>;

    /// Returns dependencies of a task, in order.
    async fn dependencies(&self, read: ReadDependencies) -> Result<Vec<Dependency>, StoreError>;

    /// Returns the tasks that one is connected with by dependencies.
    async fn graph(&self, read: ReadGraph) -> Result<TaskGraph, StoreError>;

    /// Returns the race that a task is in.
    async fn race(&self, task: TaskId) -> Result<Option<Race>, StoreError>;

    /// Returns the file of this id of a key; where `any` is true and it has none, that of another key.
    async fn file(&self, find: FindFile) -> Result<Option<FileRow>, StoreError>;

    /// Returns files, those first that were sent last.
    async fn files(&self, list: ListFiles) -> Result<Vec<FileRow>, StoreError>;

    /// Returns the files that a task names, as far as they are there.
    async fn files_of_task(&self, task: TaskId) -> Result<Vec<FileRow>, StoreError>;

    /// Returns the rules of a key, or of all.
    async fn rules(&self, key: Option<String>) -> Result<Vec<RuleRow>, StoreError>;

    /// Returns the newest answers of people to calls of tools, of a key or of all.
    async fn answered(&self, key: Option<String>) -> Result<Vec<AnsweredRow>, StoreError>;

    /// Returns the secrets of a key, or of all, sealed.
    async fn secrets(&self, key: Option<String>) -> Result<Vec<SecretRow>, StoreError>;

    /// Returns files that a task has left, by their paths.
    async fn artifacts(&self, read: ReadArtifacts) -> Result<Vec<Artifact>, StoreError>;

    /// Returns a file that a task has left.
    async fn artifact(&self, task: TaskId, path: String) -> Result<Option<Artifact>, StoreError>;

    /// Returns the number of bytes of all files and artifacts.
    async fn file_bytes(&self) -> Result<i64, StoreError>;

    /// Returns those of these contents that neither a file nor an artifact names.
    async fn unnamed_blobs(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError>;

    /// Returns tasks, newest first.
    async fn tasks(&self, list: ListTasks) -> Result<Page, StoreError>;

    /// Returns ids of tasks, newest first.
    async fn task_ids(&self, list: ListTaskIds) -> Result<Vec<TaskId>, StoreError>;

    /// Returns conversations, by their newest task, newest first.
    async fn conversations(&self, list: ListConversations) -> Result<Vec<ConversationTasks>, StoreError>;

    /// Returns events of a task, in order.
    async fn events(&self, read: ReadEvents) -> Result<EventPage, StoreError>;

    /// Returns a page of the events of a task, in order.
    async fn event_page(&self, read: ReadEventPage) -> Result<EventPage, StoreError>;

    /// Returns events of all tasks with a greater number than `after`, in order: at most `limit`, and about as many
    /// `bytes` of data.
    async fn latest_events(&self, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, StoreError>;

    /// Number of the newest event of all; 0 where there is none.
    async fn newest_event(&self) -> Result<i64, StoreError>;

    /// Returns the counts of all tasks, or of those of a key, and the state of the queue.
    async fn stats(&self, key: Option<String>) -> Result<Stats, StoreError>;

    /// Returns what waits, counted now.
    async fn backlog(&self) -> Result<Backlog, StoreError>;

    /// Returns the name of the key that a task was submitted with.
    async fn owner(&self, id: TaskId) -> Result<Option<String>, StoreError>;

    /// True if a task of this key has used the session.
    async fn has_session(&self, key: String, session: SessionId) -> Result<bool, StoreError>;

    /// Returns the stored API keys, by name.
    async fn api_keys(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// Returns entries of the audit log before this one, newest first.
    async fn audit_log(&self, before: i64, limit: u64) -> Result<Vec<AuditRecord>, StoreError>;

    /// Returns what was spent, by key and day.
    async fn usage(&self, read: ReadUsage) -> Result<Usage, StoreError>;

    /// Returns the workers that are known.
    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError>;

    /// Returns what there may be to take back.
    async fn holdings(&self) -> Result<Holdings, StoreError>;

    /// Returns the running tasks of a worker whose processes another one has started.
    async fn adopted(&self, holder: WorkerInstanceId) -> Result<Vec<HeldTree>, StoreError>;

    /// Returns an attempt that runs and was handed over, whether it was taken over or not.
    async fn handed_over(&self, key: LeaseKey) -> Result<Option<HeldTree>, StoreError>;

    /// Returns the questions of a task, oldest first; `None` where there is no such task.
    async fn questions(&self, id: TaskId) -> Result<Option<Vec<Question>>, StoreError>;

    /// Returns open questions of all tasks, oldest first.
    async fn open_questions(&self, list: ListQuestions) -> Result<QuestionPage, StoreError>;

    /// Returns where the conversation of a task stands.
    async fn talk(&self, id: TaskId) -> Result<ConversationState, StoreError>;

    /// Returns the transcript of a session as its CLI has written it down, line by line; empty where nothing is stored.
    async fn transcript(&self, session: SessionId) -> Result<String, StoreError>;

    /// Returns the limits that are set, with the number of tasks that wait under each.
    async fn limits(&self) -> Result<Vec<LimitUse>, StoreError>;

    /// Returns the registered webhooks; with `key`, those of that key.
    async fn webhooks(&self, key: Option<String>) -> Result<Vec<Webhook>, StoreError>;

    /// Returns the time by the clock of the store, and when the next delivery is due.
    async fn next_delivery(&self) -> Result<(Timestamp, Option<Timestamp>), StoreError>;

    /// Returns the deliveries of a task, oldest first.
    async fn deliveries(&self, task: TaskId) -> Result<Vec<Delivery>, StoreError>;

    /// Returns all schedules, or those of a key, oldest first.
    async fn schedules(&self, key: Option<String>) -> Result<Vec<Schedule>, StoreError>;

    /// Returns a schedule.
    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, StoreError>;

    /// Returns the schedules that fire by now.
    async fn due_schedules(&self) -> Result<Vec<Schedule>, StoreError>;

    /// Returns the time by the clock of the store, and when the next schedule fires.
    async fn next_firing(&self) -> Result<(Timestamp, Option<Timestamp>), StoreError>;

    /// Returns what a schedule has done, newest first.
    async fn runs(&self, read: ReadRuns) -> Result<Vec<ScheduleRun>, StoreError>;

    /// Returns the newest task of a schedule, and its status.
    async fn last_task(&self, last: LastTask) -> Result<Option<(TaskId, domain::Status)>, StoreError>;

    /// Returns some of what was done in the commits behind `after`, in order.
    async fn history(&self, after: i64) -> Result<Vec<Entry>, StoreError>;

    /// Returns what was done with a task, in order: in the commits from this one on.
    async fn history_of(&self, task: TaskId, from: i64) -> Result<Vec<Entry>, StoreError>;

    /// Returns what the row of a task says; `None` where there is no such task, or it can't be read.
    async fn standing(&self, task: TaskId) -> Result<Option<TaskSnapshot>, StoreError>;

    /// Returns the first commit of a time, or the first of so many.
    async fn find_commit(&self, find: FindCommit) -> Result<FoundCommit, StoreError>;

    /// Returns what the rows say of some tasks behind this one, in order; of one that can't be read, why.
    async fn standings(&self, after: TaskId) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError>;

    /// Writes a copy of the database as it is now. It has not reached the disk yet.
    async fn copy_to(&self, file: &Path) -> Result<(), StoreError>;
}

/// A handle to the connections that read.
pub type Reader = Arc<dyn Reads>;
