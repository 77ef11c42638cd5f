//! The connections that read, beside the one that writes.
//!
//! There are a few, opened as they are needed, which all reads share: statements that are sent while others are under way
//! wait for those of their connection alone. One that breaks is opened again with the next read, no sooner than its back-off says.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::connection::Connection;
use super::shared::{Line, Shared};
use super::{
    dependencies, files, handovers, hooks, keys, limits, money, races, read_conversations, read_events, read_history,
    read_state, read_tasks, rules, schedules, secrets,
};
use crate::store::rows::{AnsweredRow, FileRow, Lenient, RuleRow, SecretRow};
use crate::store::views::{
    AuditRecord, Backlog, ConversationState, ConversationTasks, Delivery, Dependency, EventPage, Explained, FindCommit,
    FindFile, FoundCommit, HeldTree, Holdings, LastTask, LatestEvents, LimitUse, ListConversations, ListFiles,
    ListQuestions, ListTaskIds, ListTasks, Page, QuestionPage, Race, ReadArtifacts, ReadDependencies, ReadEventPage,
    ReadEvents, ReadGraph, ReadRuns, ReadUsage, Schedule, ScheduleRun, Stats, StoredKey, TaskGraph, Usage, Webhook,
    WorkerInfo,
};
use crate::store::{Reads, StoreError};
use audit::{Entry, TaskSnapshot};
use domain::{
    Artifact, BlobId, LeaseKey, Question, ScheduleId, SessionId, Status, TaskId, Timestamp, WorkerInstanceId,
};
use wire::Task;

/// See the [module](self).
pub struct Readers {
    lines: Vec<Mutex<Line>>,
    /// The connection that the next read takes, as far as it is free to choose.
    next: AtomicUsize,
    is_closed: AtomicBool,
}

impl Readers {
    /// Makes a number of connections, at their first use.
    pub fn new(shared: &Arc<Shared>, connections: usize) -> Self {
        let lines = (0..connections).map(|_| Mutex::new(Line::new(shared))).collect();
        Self { lines, next: AtomicUsize::new(0), is_closed: AtomicBool::new(false) }
    }

    /// Reads on this connection alone.
    pub fn of(connection: Arc<Connection>) -> Self {
        let line = Mutex::new(Line::of(connection));
        Self { lines: vec![line], next: AtomicUsize::new(0), is_closed: AtomicBool::new(false) }
    }

    /// A connection.
    ///
    /// # Errors
    /// The server can't be reached, or they are closed.
    pub async fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        // One that is open and idle; one that is not open yet; the next one.
        let idle = self.lines.iter().filter_map(|line| line.try_lock().ok()).find_map(|line| line.idle());
        if let Some(idle) = idle {
            return Ok(idle);
        }
        for line in &self.lines {
            if let Ok(mut line) = line.try_lock()
                && !line.is_open()
            {
                return line.connection().await;
            }
        }
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.lines.len();
        self.lines[at].lock().await.connection().await
    }

    /// True if they are closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Closes them: what comes later is refused.
    pub async fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        for line in &self.lines {
            line.lock().await.hang_up();
        }
    }
}

#[async_trait]
impl Reads for Readers {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        read_state::now(&*self.connection().await?).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        read_tasks::find(&*self.connection().await?, id).await
    }

    async fn patch(&self, id: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        read_tasks::patch(&*self.connection().await?, id).await
    }

    async fn explain(&self, id: TaskId) -> Result<Option<Explained>, StoreError> {
        read_tasks::explain(&*self.connection().await?, id).await
    }

    async fn dependencies(&self, read: ReadDependencies) -> Result<Vec<Dependency>, StoreError> {
        dependencies::of_task(&*self.connection().await?, read.task, read.limit, read.results).await
    }

    async fn race(&self, task: TaskId) -> Result<Option<Race>, StoreError> {
        races::find(&*self.connection().await?, task).await
    }

    async fn graph(&self, read: ReadGraph) -> Result<TaskGraph, StoreError> {
        dependencies::graph(&*self.connection().await?, read.task, read.limit).await
    }

    async fn file(&self, find: FindFile) -> Result<Option<FileRow>, StoreError> {
        files::find(&*self.connection().await?, &find.key, &find.id, find.any).await
    }

    async fn files(&self, list: ListFiles) -> Result<Vec<FileRow>, StoreError> {
        files::list(&*self.connection().await?, &list).await
    }

    async fn files_of_task(&self, task: TaskId) -> Result<Vec<FileRow>, StoreError> {
        files::of_task(&*self.connection().await?, task).await
    }

    async fn artifacts(&self, read: ReadArtifacts) -> Result<Vec<Artifact>, StoreError> {
        files::artifacts(&*self.connection().await?, read.task, &read.after, read.limit).await
    }

    async fn artifact(&self, task: TaskId, path: String) -> Result<Option<Artifact>, StoreError> {
        files::artifact_at(&*self.connection().await?, task, &path).await
    }

    async fn rules(&self, key: Option<String>) -> Result<Vec<RuleRow>, StoreError> {
        rules::list(&*self.connection().await?, key.as_deref()).await
    }

    async fn answered(&self, key: Option<String>) -> Result<Vec<AnsweredRow>, StoreError> {
        rules::answered(&*self.connection().await?, key.as_deref()).await
    }

    async fn secrets(&self, key: Option<String>) -> Result<Vec<SecretRow>, StoreError> {
        secrets::list(&*self.connection().await?, key.as_deref()).await
    }

    async fn file_bytes(&self) -> Result<i64, StoreError> {
        files::bytes(&*self.connection().await?).await
    }

    async fn unnamed_blobs(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError> {
        files::unnamed(&*self.connection().await?, &blobs).await
    }

    async fn tasks(&self, list: ListTasks) -> Result<Page, StoreError> {
        read_tasks::list(&*self.connection().await?, &list).await
    }

    async fn task_ids(&self, list: ListTaskIds) -> Result<Vec<TaskId>, StoreError> {
        read_tasks::ids(&*self.connection().await?, &list).await
    }

    async fn conversations(&self, list: ListConversations) -> Result<Vec<ConversationTasks>, StoreError> {
        read_conversations::list(&*self.connection().await?, &list).await
    }

    async fn events(&self, read: ReadEvents) -> Result<EventPage, StoreError> {
        read_events::of_task(&*self.connection().await?, &read).await
    }

    async fn event_page(&self, read: ReadEventPage) -> Result<EventPage, StoreError> {
        read_events::page(&*self.connection().await?, &read).await
    }

    async fn latest_events(&self, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, StoreError> {
        read_events::latest(&*self.connection().await?, after, limit, bytes).await
    }

    async fn newest_event(&self) -> Result<i64, StoreError> {
        read_events::newest(&*self.connection().await?).await
    }

    async fn stats(&self, key: Option<String>) -> Result<Stats, StoreError> {
        read_state::stats(&*self.connection().await?, key.as_deref()).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        read_state::backlog(&*self.connection().await?).await
    }

    async fn owner(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        keys::owner(&*self.connection().await?, id).await
    }

    async fn has_session(&self, key: String, session: SessionId) -> Result<bool, StoreError> {
        keys::has_session(&*self.connection().await?, &key, session).await
    }

    async fn api_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        keys::all(&*self.connection().await?).await
    }

    async fn audit_log(&self, before: i64, limit: u64) -> Result<Vec<AuditRecord>, StoreError> {
        keys::audit_log(&*self.connection().await?, before, limit).await
    }

    async fn usage(&self, read: ReadUsage) -> Result<Usage, StoreError> {
        money::usage(&*self.connection().await?, &read).await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        read_state::workers(&*self.connection().await?).await
    }

    async fn holdings(&self) -> Result<Holdings, StoreError> {
        let db = &*self.connection().await?;
        Ok(Holdings {
            workers: read_state::workers(db).await?,
            holders: read_state::holders(db).await?,
            expired: read_state::expired(db).await?,
            any_unsettled: dependencies::any_unsettled(db).await?,
        })
    }

    async fn adopted(&self, holder: WorkerInstanceId) -> Result<Vec<HeldTree>, StoreError> {
        handovers::adopted(&*self.connection().await?, holder).await
    }

    async fn handed_over(&self, key: LeaseKey) -> Result<Option<HeldTree>, StoreError> {
        handovers::handed_over(&*self.connection().await?, key).await
    }

    async fn questions(&self, id: TaskId) -> Result<Option<Vec<Question>>, StoreError> {
        read_tasks::questions(&*self.connection().await?, id).await
    }

    async fn open_questions(&self, list: ListQuestions) -> Result<QuestionPage, StoreError> {
        read_tasks::open_questions(&*self.connection().await?, &list).await
    }

    async fn talk(&self, id: TaskId) -> Result<ConversationState, StoreError> {
        read_tasks::talk(&*self.connection().await?, id).await
    }

    async fn transcript(&self, session: SessionId) -> Result<String, StoreError> {
        read_tasks::transcript(&*self.connection().await?, session).await
    }

    async fn limits(&self) -> Result<Vec<LimitUse>, StoreError> {
        limits::in_use(&*self.connection().await?).await
    }

    async fn webhooks(&self, key: Option<String>) -> Result<Vec<Webhook>, StoreError> {
        hooks::registered(&*self.connection().await?, key.as_deref()).await
    }

    async fn next_delivery(&self) -> Result<(Timestamp, Option<Timestamp>), StoreError> {
        let db = &*self.connection().await?;
        Ok((read_state::now(db).await?, hooks::next_delivery(db).await?))
    }

    async fn deliveries(&self, task: TaskId) -> Result<Vec<Delivery>, StoreError> {
        hooks::deliveries(&*self.connection().await?, task).await
    }

    async fn schedules(&self, key: Option<String>) -> Result<Vec<Schedule>, StoreError> {
        schedules::all(&*self.connection().await?, key.as_deref()).await
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
        schedules::find(&*self.connection().await?, id).await
    }

    async fn due_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        schedules::due(&*self.connection().await?).await
    }

    async fn next_firing(&self) -> Result<(Timestamp, Option<Timestamp>), StoreError> {
        let db = &*self.connection().await?;
        Ok((read_state::now(db).await?, schedules::next_firing(db).await?))
    }

    async fn runs(&self, read: ReadRuns) -> Result<Vec<ScheduleRun>, StoreError> {
        schedules::runs(&*self.connection().await?, read).await
    }

    async fn last_task(&self, last: LastTask) -> Result<Option<(TaskId, Status)>, StoreError> {
        schedules::last_task(&*self.connection().await?, last).await
    }

    async fn history(&self, after: i64) -> Result<Vec<Entry>, StoreError> {
        read_history::history(&*self.connection().await?, after).await
    }

    async fn history_of(&self, task: TaskId, from: i64) -> Result<Vec<Entry>, StoreError> {
        read_history::history_of(&*self.connection().await?, task, from).await
    }

    async fn standing(&self, task: TaskId) -> Result<Option<TaskSnapshot>, StoreError> {
        read_history::standing(&*self.connection().await?, task).await
    }

    async fn find_commit(&self, find: FindCommit) -> Result<FoundCommit, StoreError> {
        read_history::find(&*self.connection().await?, find).await
    }

    async fn standings(&self, after: TaskId) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError> {
        read_history::standings(&*self.connection().await?, after).await
    }

    async fn copy_to(&self, _: &Path) -> Result<(), StoreError> {
        Err(StoreError::statement(std::io::Error::other(
            "a database on PostgreSQL is copied with pg_dump, or by a base backup of its server",
        )))
    }
}
