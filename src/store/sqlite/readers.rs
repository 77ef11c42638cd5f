//! The connections that read: each in a thread of its own, beside the one that writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::query::Db;
use super::{
    connection, dependencies, files, handovers, hooks, keys, limits, money, races, read_conversations, read_events,
    read_history, read_state, read_tasks, rules, schedules, secrets,
};
use crate::process::wall_now;
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

/// A read, as a thread runs it.
type Job = Box<dyn FnOnce(&Connection) + Send>;

/// See the [module](self).
pub struct Readers {
    /// `None` when they are closed. Without a bound: each asker waits for its answer, so there are no more than requests
    /// under way.
    jobs: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    /// Opens connections to a database that is there.
    pub fn open(path: &Path, connections: usize, read_only: bool) -> Result<Self, StoreError> {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let readers = Self { jobs: Mutex::new(Some(jobs)), threads: Mutex::default() };
        for _ in 0..connections {
            let db = connection::reading(path, read_only)?;
            let waiting = Arc::clone(&waiting);
            let thread = Builder::new().name("reader".to_owned()).spawn(move || serve(&db, &waiting));
            let thread =
                thread.map_err(|source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) })?;
            locked(&readers.threads).push(thread);
        }
        Ok(readers)
    }

    /// Reads in the first thread that is free.
    pub async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(Db<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            // The asker may have gone.
            sender.send(read(Db(db))).unwrap_or_default();
        });
        let sent = locked(&self.jobs).as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            return Err(StoreError::Closed);
        }
        answer.await.map_err(|_| StoreError::statement(std::io::Error::other("the read panicked")))?
    }

    /// Closes the connections when those reads are done that wait. Waits for it.
    pub fn close(&self) {
        drop(locked(&self.jobs).take());
        for thread in locked(&self.threads).drain(..) {
            // Panics are caught where they happen.
            thread.join().unwrap_or_default();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(db: &Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = locked(jobs).recv();
        match job {
            // The panic hook has told of it, and the asker is told by the answer that doesn't come.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(|| job(db)))),
            Err(_) => return,
        }
    }
}

#[async_trait]
impl Reads for Readers {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(wall_now())
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        self.run(move |db| read_tasks::find(db, id)).await
    }

    async fn patch(&self, id: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        self.run(move |db| read_tasks::patch(db, id)).await
    }

    async fn explain(&self, id: TaskId) -> Result<Option<Explained>, StoreError> {
        self.run(move |db| read_tasks::explain(db, id)).await
    }

    async fn dependencies(&self, read: ReadDependencies) -> Result<Vec<Dependency>, StoreError> {
        self.run(move |db| dependencies::of_task(db, read.task, read.limit, read.results)).await
    }

    async fn race(&self, task: TaskId) -> Result<Option<Race>, StoreError> {
        self.run(move |db| races::find(db, task)).await
    }

    async fn graph(&self, read: ReadGraph) -> Result<TaskGraph, StoreError> {
        self.run(move |db| dependencies::graph(db, read.task, read.limit)).await
    }

    async fn file(&self, find: FindFile) -> Result<Option<FileRow>, StoreError> {
        self.run(move |db| files::find(db, &find.key, &find.id, find.any)).await
    }

    async fn files(&self, list: ListFiles) -> Result<Vec<FileRow>, StoreError> {
        self.run(move |db| files::list(db, &list)).await
    }

    async fn files_of_task(&self, task: TaskId) -> Result<Vec<FileRow>, StoreError> {
        self.run(move |db| files::of_task(db, task)).await
    }

    async fn artifacts(&self, read: ReadArtifacts) -> Result<Vec<Artifact>, StoreError> {
        self.run(move |db| files::artifacts(db, read.task, &read.after, read.limit)).await
    }

    async fn artifact(&self, task: TaskId, path: String) -> Result<Option<Artifact>, StoreError> {
        self.run(move |db| files::artifact_at(db, task, &path)).await
    }

    async fn rules(&self, key: Option<String>) -> Result<Vec<RuleRow>, StoreError> {
        self.run(move |db| rules::list(db, key.as_deref())).await
    }

    async fn answered(&self, key: Option<String>) -> Result<Vec<AnsweredRow>, StoreError> {
        self.run(move |db| rules::answered(db, key.as_deref())).await
    }

    async fn secrets(&self, key: Option<String>) -> Result<Vec<SecretRow>, StoreError> {
        self.run(move |db| secrets::list(db, key.as_deref())).await
    }

    async fn file_bytes(&self) -> Result<i64, StoreError> {
        self.run(files::bytes).await
    }

    async fn unnamed_blobs(&self, blobs: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError> {
        self.run(move |db| files::unnamed(db, &blobs)).await
    }

    async fn tasks(&self, list: ListTasks) -> Result<Page, StoreError> {
        self.run(move |db| read_tasks::list(db, &list)).await
    }

    async fn task_ids(&self, list: ListTaskIds) -> Result<Vec<TaskId>, StoreError> {
        self.run(move |db| read_tasks::ids(db, &list)).await
    }

    async fn conversations(&self, list: ListConversations) -> Result<Vec<ConversationTasks>, StoreError> {
        self.run(move |db| read_conversations::list(db, &list)).await
    }

    async fn events(&self, read: ReadEvents) -> Result<EventPage, StoreError> {
        self.run(move |db| read_events::of_task(db, &read)).await
    }

    async fn event_page(&self, read: ReadEventPage) -> Result<EventPage, StoreError> {
        self.run(move |db| read_events::page(db, &read)).await
    }

    async fn latest_events(&self, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, StoreError> {
        self.run(move |db| read_events::latest(db, after, limit, bytes)).await
    }

    async fn newest_event(&self) -> Result<i64, StoreError> {
        self.run(read_events::newest).await
    }

    async fn stats(&self, key: Option<String>) -> Result<Stats, StoreError> {
        self.run(move |db| read_state::stats(db, key.as_deref())).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.run(read_state::backlog).await
    }

    async fn owner(&self, id: TaskId) -> Result<Option<String>, StoreError> {
        self.run(move |db| keys::owner(db, id)).await
    }

    async fn has_session(&self, key: String, session: SessionId) -> Result<bool, StoreError> {
        self.run(move |db| keys::has_session(db, &key, session)).await
    }

    async fn api_keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        self.run(keys::all).await
    }

    async fn audit_log(&self, before: i64, limit: u64) -> Result<Vec<AuditRecord>, StoreError> {
        self.run(move |db| keys::audit_log(db, before, limit)).await
    }

    async fn usage(&self, read: ReadUsage) -> Result<Usage, StoreError> {
        self.run(move |db| money::usage(db, &read)).await
    }

    async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        self.run(read_state::workers).await
    }

    async fn holdings(&self) -> Result<Holdings, StoreError> {
        self.run(|db| {
            Ok(Holdings {
                workers: read_state::workers(db)?,
                holders: read_state::holders(db)?,
                expired: read_state::expired(db)?,
                any_unsettled: dependencies::any_unsettled(db)?,
            })
        })
        .await
    }

    async fn adopted(&self, holder: WorkerInstanceId) -> Result<Vec<HeldTree>, StoreError> {
        self.run(move |db| handovers::adopted(db, holder)).await
    }

    async fn handed_over(&self, key: LeaseKey) -> Result<Option<HeldTree>, StoreError> {
        self.run(move |db| handovers::handed_over(db, key)).await
    }

    async fn questions(&self, id: TaskId) -> Result<Option<Vec<Question>>, StoreError> {
        self.run(move |db| read_tasks::questions(db, id)).await
    }

    async fn open_questions(&self, list: ListQuestions) -> Result<QuestionPage, StoreError> {
        self.run(move |db| read_tasks::open_questions(db, &list)).await
    }

    async fn talk(&self, id: TaskId) -> Result<ConversationState, StoreError> {
        self.run(move |db| read_tasks::talk(db, id)).await
    }

    async fn transcript(&self, session: SessionId) -> Result<String, StoreError> {
        self.run(move |db| read_tasks::transcript(db, session)).await
    }

    async fn limits(&self) -> Result<Vec<LimitUse>, StoreError> {
        self.run(limits::in_use).await
    }

    async fn webhooks(&self, key: Option<String>) -> Result<Vec<Webhook>, StoreError> {
        self.run(move |db| hooks::registered(db, key.as_deref())).await
    }

    async fn next_delivery(&self) -> Result<(Timestamp, Option<Timestamp>), StoreError> {
        Ok((wall_now(), self.run(hooks::next_delivery).await?))
    }

    async fn deliveries(&self, task: TaskId) -> Result<Vec<Delivery>, StoreError> {
        self.run(move |db| hooks::deliveries(db, task)).await
    }

    async fn schedules(&self, key: Option<String>) -> Result<Vec<Schedule>, StoreError> {
        self.run(move |db| schedules::all(db, key.as_deref())).await
    }

    async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
        self.run(move |db| schedules::find(db, id)).await
    }

    async fn due_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.run(|db| schedules::due(db, wall_now())).await
    }

    async fn next_firing(&self) -> Result<(Timestamp, Option<Timestamp>), StoreError> {
        Ok((wall_now(), self.run(schedules::next_firing).await?))
    }

    async fn runs(&self, read: ReadRuns) -> Result<Vec<ScheduleRun>, StoreError> {
        self.run(move |db| schedules::runs(db, read)).await
    }

    async fn last_task(&self, last: LastTask) -> Result<Option<(TaskId, Status)>, StoreError> {
        self.run(move |db| schedules::last_task(db, last)).await
    }

    async fn history(&self, after: i64) -> Result<Vec<Entry>, StoreError> {
        self.run(move |db| read_history::history(db, after)).await
    }

    async fn history_of(&self, task: TaskId, from: i64) -> Result<Vec<Entry>, StoreError> {
        self.run(move |db| read_history::history_of(db, task, from)).await
    }

    async fn standing(&self, task: TaskId) -> Result<Option<TaskSnapshot>, StoreError> {
        self.run(move |db| read_history::standing(db, task)).await
    }

    async fn find_commit(&self, find: FindCommit) -> Result<FoundCommit, StoreError> {
        self.run(move |db| read_history::find(db, find)).await
    }

    async fn standings(&self, after: TaskId) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError> {
        self.run(move |db| read_history::standings(db, after)).await
    }

    async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let file: PathBuf = file.to_owned();
        self.run(move |db| db.execute("VACUUM INTO ?1", [file.display().to_string()]).map(drop)).await
    }
}
