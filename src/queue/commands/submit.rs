//! A new task.

use serde_json::json;

use super::{Change, Unit, children, dependencies, files, hooks, keys};
use crate::queue::Concern;
use crate::queue::messages::{AllSubmitted, Directory, Submit, SubmitAll, Submitted};
use crate::store::StoreError;
use crate::store::convert::{task_of, task_with};
use crate::store::rows::{IdempotencyKeyRow, MAX_LANES, MAX_SHARES, TaskRow};
use audit::{HistoryEvent, Source};
use domain::{EventKind, NewEvent, Status, TaskId, lane_of};
use wire::stored::StoredSpec;

impl Change for Submit {
    type Answer = Submitted;

    const MAKES_WORK: bool = true;
    const SUBMITS: bool = true;

    fn concern(&self) -> Concern {
        Concern::Idle(1)
    }

    fn is_essential(&self) -> bool {
        false
    }

    fn task(&self) -> Option<TaskId> {
        self.task.spec.parent
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Submitted, StoreError> {
        let source = if self.task.retry_of.is_some() { Source::Retry } else { Source::Api };
        self.store(unit, source).await
    }
}

impl Submit {
    /// Stores the task.
    pub(super) async fn store(&self, unit: &mut Unit<'_>, source: Source) -> Result<Submitted, StoreError> {
        if let Some(refused) = self.refusal(unit).await? {
            return Ok(refused);
        }
        let depth = match children::of_new(unit, &self.task).await? {
            Ok(depth) => depth,
            Err(refused) => return Ok(refused),
        };
        let dependencies = match dependencies::of_new(unit, &self.task).await? {
            Ok(dependencies) => dependencies,
            Err(refused) => return Ok(refused),
        };
        let files = match files::of_new(unit, &self.task).await? {
            Ok(files) => files,
            Err(refused) => return Ok(refused),
        };
        let mut row = self.new_row(unit).await?;
        row.share = self.share(unit).await?;
        dependencies::hold_new(&mut row, &dependencies, unit.now);
        if let Some((key, fingerprint)) = &self.idempotency {
            let (key, fingerprint, created_at) = (key.clone(), fingerprint.clone(), unit.now.0);
            let row = IdempotencyKeyRow { key, fingerprint, task_id: row.id, created_at };
            unit.tx.insert_idempotency_key(&row).await?;
        }
        unit.record(&HistoryEvent::Submit {
            task: row.id,
            priority: row.priority,
            due: row.due_at,
            max_attempts: row.max_attempts,
            concurrency_key: row.concurrency_key.clone(),
            lane: row.lane.clone(),
            key: self.idempotency.clone(),
            source,
            waits: dependencies::waits(&dependencies),
            share: row.share.clone(),
            weight: self.task.share.1,
            files: files::names(&files),
            verify: self.task.spec.verify.is_some(),
            parent: self.task.spec.parent,
            budget: self.task.spec.options.sdk.max_budget_usd,
        });
        unit.count_bytes(&row.key_name, row.spec.len() as i64);
        unit.tx.insert_task(&row, &self.task.spec.tags).await?;
        children::store(unit, &self.task, depth).await?;
        dependencies::store(unit, &self.task, &dependencies).await?;
        files::store(unit, row.id, files).await?;
        if let Some(webhook) = &self.task.spec.options.webhook {
            hooks::add(unit, Some(row.id), None, webhook).await?;
        }
        let read = StoredSpec { spec: self.task.spec.clone(), unreadable: None };
        Ok(Submitted::Created(Box::new(task_with(row, read))))
    }
}

impl Change for SubmitAll {
    type Answer = AllSubmitted;

    const MAKES_WORK: bool = true;
    const SUBMITS: bool = true;

    fn concern(&self) -> Concern {
        Concern::Idle(self.0.len() as u64)
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<AllSubmitted, StoreError> {
        let mark = unit.mark().await?;
        let submitted = self.each(unit).await?;
        unit.forget(mark, submitted.is_err()).await?;
        Ok(submitted)
    }
}

impl SubmitAll {
    async fn each(&self, unit: &mut Unit<'_>) -> Result<AllSubmitted, StoreError> {
        let mut tasks = Vec::with_capacity(self.0.len());
        for (n, submit) in self.0.iter().enumerate() {
            match submit.run(unit).await? {
                Submitted::Created(task) => tasks.push((task, false)),
                Submitted::Repeated(task) => tasks.push((task, true)),
                refused => return Ok(Err((n, refused))),
            }
        }
        Ok(Ok(tasks))
    }
}

impl Submit {
    /// Returns the reason for which no task is stored: it is there already, or it can't be taken now.
    async fn refusal(&self, unit: &mut Unit<'_>) -> Result<Option<Submitted>, StoreError> {
        if let Some((key, fingerprint)) = &self.idempotency
            && let Some(known) = unit.tx.idempotency_key(key).await?
        {
            if known.fingerprint != *fingerprint {
                return Ok(Some(Submitted::KeyReused));
            }
            if let Some(row) = unit.find(known.task_id).await? {
                return Ok(Some(Submitted::Repeated(Box::new(task_of(row)))));
            }
        }
        // Two tasks would write into each other's conversation.
        if let Some(resumes) = self.task.resumes.as_ref().filter(|resumes| !resumes.fork)
            && let Some(other) = unit.tx.session_user(resumes.session).await?
        {
            return Ok(Some(Submitted::SessionInUse(other)));
        }
        if unit.tx.pending().await? >= self.max_pending {
            return Ok(Some(Submitted::Full));
        }
        let lane = lane_of(&self.task.spec.requires);
        if !lane.is_empty() {
            let lanes = unit.tx.lanes().await?;
            if lanes.len() >= MAX_LANES && !lanes.contains(&lane) {
                return Ok(Some(Submitted::TooManyLanes));
            }
        }
        keys::passed(unit, &self.task.key, &self.limits).await
    }

    /// The share whose turns the task takes. It is known from here on.
    async fn share(&self, unit: &mut Unit<'_>) -> Result<String, StoreError> {
        let (share, weight) = &self.task.share;
        if share.is_empty() {
            return Ok(String::new());
        }
        let known = unit.tx.shares().await?;
        match known.get(share) {
            Some(known) if known == weight => {}
            None if known.len() >= MAX_SHARES => return Ok(String::new()),
            _ => unit.tx.put_share(share, *weight).await?,
        }
        Ok(share.clone())
    }

    async fn new_row(&self, unit: &mut Unit<'_>) -> Result<TaskRow, StoreError> {
        let id = self.task.id;
        let spec = &self.task.spec;
        let event = NewEvent::new(EventKind::Status, &json!({ "status": Status::Pending }));
        // A session of its own has the task's own id.
        let session = self
            .task
            .resumes
            .as_ref()
            .filter(|resumes| !resumes.fork)
            .map_or(id.own_session(), |resumes| resumes.session);
        let resumes = self.task.resumes.as_ref();
        Ok(TaskRow {
            working_directory: Some(match &self.task.directory {
                Directory::Named(folder) => folder.clone(),
                Directory::OwnBelow(folder) => format!("{folder}/{id}"),
                Directory::WorktreeBelow(folder, below) if below.is_empty() => format!("{folder}/{id}"),
                Directory::WorktreeBelow(folder, below) => format!("{folder}/{id}/{below}"),
            }),
            retry_of: self.task.retry_of,
            last_event: unit.add_events(id, &self.task.key, 0, &[event]).await?,
            session_id: Some(session.to_string()),
            resume_session_id: resumes.map(|resumes| resumes.session.to_string()),
            continued_from: resumes.and_then(|resumes| resumes.task),
            own_directory: matches!(self.task.directory, Directory::OwnBelow(_)),
            exclusive: self.task.exclusive,
            trace_parent: self.task.trace_parent.map(|place| place.to_string()),
            ..TaskRow::pending(id, spec, self.task.key.clone(), unit.now)?
        })
    }
}
