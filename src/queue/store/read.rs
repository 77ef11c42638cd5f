//! Everything that only reads.

use std::collections::HashMap;
use std::path::Path;

use entity::{changes, credential, event, message, question, queue_state, task, worker};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseConnection, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
};

use super::StoreError;
use super::attempts;
use super::row::{event_of, lost_task, sql, task_of};
use super::summary;
use super::talk::question_of;
use crate::process::{boot_now, wall_now};
use crate::queue::reads::{EventPage, Explained, Filter, ListTasks, Page, Parked, ReadEvents, Stats, WorkerInfo};
use crate::queue::tail::Numbered;
use crate::queue::talk::Talk;
use crate::task::{
    AttemptOutcome, Event, EventKind, HolderId, Question, Scope, Status, TREE_END_MS, Task, TaskId, Wall,
};

/// Events of a task in order, at most so many, and no further than so many bytes reach; one in any case.
const PAGE_OF_TASK: &str = "SELECT task_id, seq, at, kind, data FROM events WHERE task_id = ?1 AND seq > ?2 AND seq <=
        (SELECT MAX(seq) FROM (SELECT seq, SUM(size) OVER (ORDER BY seq) - size AS before FROM
            (SELECT seq, octet_length(data) AS size FROM events WHERE task_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3))
        WHERE before < ?4)
    ORDER BY seq";

/// The same of all tasks.
const PAGE_OF_ALL: &str = "SELECT task_id, seq, at, kind, data, n FROM events WHERE n > ?1 AND n <=
        (SELECT MAX(n) FROM (SELECT n, SUM(size) OVER (ORDER BY n) - size AS before FROM
            (SELECT n, octet_length(data) AS size FROM events WHERE n > ?1 ORDER BY n LIMIT ?2))
        WHERE before < ?3)
    ORDER BY n";

/// Some events of all tasks.
pub struct LatestEvents {
    /// In order.
    pub events: Vec<Numbered>,
    /// True if there may be more behind them.
    pub more: bool,
}

/// An event of a page: one whose data can't be read costs nothing but itself.
fn event_of_row(row: &QueryResult) -> Result<Event, StoreError> {
    let data = row.try_get_by_index(4).unwrap_or_else(|error| format!("the event can't be read: {error}"));
    Ok(event_of(event::Model {
        task_id: row.try_get_by_index(0)?,
        seq: row.try_get_by_index(1)?,
        at: row.try_get_by_index(2)?,
        kind: row.try_get_by_index(3).unwrap_or_default(),
        data,
    }))
}

/// The connections that read. Clones share them.
#[derive(Clone)]
pub struct Reader(DatabaseConnection);

impl Reader {
    pub(super) const fn new(db: DatabaseConnection) -> Self {
        Self(db)
    }

    /// The connections themselves.
    pub(super) const fn db(&self) -> &DatabaseConnection {
        &self.0
    }

    /// One task, with its attempts.
    pub async fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let Some(task) = self.whole_task(id).await? else { return Ok(None) };
        let attempts = attempts::of(&self.0, id).await?;
        let summary: Option<String> = changes::Entity::find_by_id(id)
            .select_only()
            .column(changes::Column::Summary)
            .into_tuple()
            .one(&self.0)
            .await?;
        let changes = summary.and_then(|summary| serde_json::from_str(&summary).ok());
        Ok(Some(Task { attempts: Some(attempts), changes, ..task }))
    }

    async fn whole_task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let row = self.0.query_one_raw(sql("SELECT * FROM tasks WHERE id = ?1", [id.into()])).await?;
        Ok(row.map(|row| match task::Model::from_query_result(&row, "") {
            Ok(row) => task_of(row),
            Err(error) => lost_task(id, &error.to_string()),
        }))
    }

    /// What a task has changed, as a patch; empty where it was too large.
    pub async fn patch(&self, id: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        let row = changes::Entity::find_by_id(id).one(&self.0).await?;
        Ok(row.map(|row| row.patch))
    }

    /// One task, and how many ready ones start before it.
    pub async fn explain(&self, id: TaskId) -> Result<Option<Explained>, StoreError> {
        let Some(task) = self.task(id).await? else { return Ok(None) };
        let (priority, held) = (task.spec.priority, task.held.clone());
        let row = match held {
            Some(held) => {
                let ahead = "SELECT COUNT(*) FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held = ?3
                    AND (priority > ?1 OR (priority = ?1 AND id < ?2))";
                self.0.query_one_raw(sql(ahead, [priority.into(), id.into(), held.into()])).await?
            }
            None => {
                let ahead =
                    "SELECT COUNT(*) FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL
                    AND (priority > ?1 OR (priority = ?1 AND id < ?2))";
                self.0.query_one_raw(sql(ahead, [priority.into(), id.into()])).await?
            }
        };
        let ahead = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
        let retry = if task.status == Status::Running { self.retry(id).await? } else { None };
        Ok(Some(Explained { task, ahead, retry }))
    }

    /// What the CLI last said of the API, unless it has heard from it since.
    async fn retry(&self, id: TaskId) -> Result<Option<(Wall, String)>, StoreError> {
        let text = "SELECT kind, at, CASE WHEN kind = 'retry' THEN data ELSE '' END FROM events
            WHERE task_id = ?1 ORDER BY seq DESC LIMIT 20";
        for row in self.0.query_all_raw(sql(text, [id.into()])).await? {
            let kind: String = row.try_get_by_index(0)?;
            match EventKind::from_name(&kind) {
                Some(EventKind::Retry) => {
                    return Ok(Some((Wall(row.try_get_by_index(1)?), row.try_get_by_index(2)?)));
                }
                Some(EventKind::Assistant | EventKind::ToolUse | EventKind::Status | EventKind::Init) => break,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Tasks, newest first.
    pub async fn tasks(&self, list: &ListTasks) -> Result<Page, StoreError> {
        let total = self.total(&list.filter).await?;
        let mut query = task::Entity::find().filter(condition(&list.filter));
        if let Some(before) = list.before {
            query = query.filter(task::Column::Id.lt(before));
        }
        let query = query.select_only().expr(Expr::cust(summary::COLUMNS));
        let query = query.order_by_desc(task::Column::Id).offset(list.offset).limit(list.limit);
        let (mut tasks, mut bytes) = (Vec::new(), 0);
        let rows = self.0.query_all_raw(query.build(self.0.get_database_backend())).await?;
        for row in &rows {
            if bytes > summary::PAGE_BYTES {
                return Ok(Page { tasks, more: true, total });
            }
            let task = self.summary(row).await?;
            bytes += summary::bytes_of(&task);
            tasks.push(task);
        }
        Ok(Page { tasks, more: false, total })
    }

    /// A row of a list. A request that is too long for the list is read by itself.
    async fn summary(&self, row: &QueryResult) -> Result<Task, StoreError> {
        let id: TaskId = row.try_get("", "id")?;
        let mut task = match task::Model::from_query_result(row, "") {
            Ok(row) => row,
            Err(error) => return Ok(lost_task(id, &error.to_string())),
        };
        let is_long: bool = row.try_get("", "spec_is_long")?;
        if is_long {
            let whole = self.0.query_one_raw(sql("SELECT spec FROM tasks WHERE id = ?1", [id.into()])).await?;
            let whole: Option<String> = whole.map(|row| row.try_get_by_index(0)).transpose()?;
            task.spec = summary::shortened(&whole.unwrap_or_default());
        }
        Ok(summary::of(task_of(task), row.try_get("", "result_bytes")?, is_long))
    }

    /// How many tasks the filter has; without one, or with a status alone, nothing is counted.
    async fn total(&self, filter: &Filter) -> Result<i64, StoreError> {
        if filter.tag.is_none() && filter.working_directory.is_none() {
            let counts = self.counts().await?;
            let which = |status: &Status| filter.status.is_none_or(|wanted| wanted == *status);
            return Ok(Status::ALL.iter().zip(counts).filter(|(status, _)| which(status)).map(|(_, n)| n).sum());
        }
        let total = task::Entity::find().filter(condition(filter)).count(&self.0).await?;
        Ok(i64::try_from(total).unwrap_or(i64::MAX))
    }

    /// Events of a task, in order.
    pub async fn events(&self, read: ReadEvents) -> Result<EventPage, StoreError> {
        let stands: Option<(String, i64)> = task::Entity::find_by_id(read.task)
            .select_only()
            .columns([task::Column::Status, task::Column::LastEvent])
            .into_tuple()
            .one(&self.0)
            .await?;
        let Some((status, last)) = stands else {
            return Ok(EventPage { events: Vec::new(), more: false, status: None });
        };
        let values = [read.task.into(), read.after.into(), read.limit.into(), read.bytes.into()];
        let rows = self.0.query_all_raw(sql(PAGE_OF_TASK, values)).await?;
        let events: Vec<_> = rows.iter().map(event_of_row).collect::<Result<_, _>>()?;
        let more = events.last().is_some_and(|event: &Event| event.seq < last);
        Ok(EventPage { events, more, status: Status::from_name(&status) })
    }

    /// The events of all tasks behind this one, in order.
    pub async fn latest_events(&self, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, StoreError> {
        let rows = self.0.query_all_raw(sql(PAGE_OF_ALL, [after.into(), limit.into(), bytes.into()])).await?;
        let numbered = |row: &QueryResult| -> Result<Numbered, StoreError> {
            Ok(Numbered { n: row.try_get_by_index(5)?, event: event_of_row(row)? })
        };
        let events: Vec<Numbered> = rows.iter().map(numbered).collect::<Result<_, _>>()?;
        let size: u64 = events.iter().map(|event| event.event.data.len() as u64).sum();
        Ok(LatestEvents { more: events.len() as u64 == limit || size >= bytes, events })
    }

    /// The number of the newest event of all.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        let row = self.0.query_one_raw(sql("SELECT COALESCE(MAX(n), 0) FROM events", [])).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0))
    }

    /// The counts, kept by the database's triggers.
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        let state = queue_state::Entity::find().one(&self.0).await?;
        // Ids sort by the time of their making.
        let oldest = "SELECT created_at FROM tasks WHERE status = 'pending' ORDER BY id LIMIT 1";
        let oldest = self.0.query_one_raw(sql(oldest, [])).await?;
        let oldest: Option<i64> = oldest.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
        Ok(Stats {
            counts: self.counts().await?,
            paused: state.as_ref().is_some_and(|state| state.paused),
            concurrency: state.and_then(|state| state.concurrency).and_then(|n| u32::try_from(n).ok()),
            oldest_pending: oldest.map(Wall),
            parked: self.parked().await?,
        })
    }

    async fn parked(&self) -> Result<Vec<Parked>, StoreError> {
        let rows = credential::Entity::find()
            .filter(credential::Column::ParkedUntil.gt(wall_now().0))
            .order_by_asc(credential::Column::Id)
            .all(&self.0)
            .await?;
        let parked = rows.into_iter().map(|row| Parked {
            credential: row.id,
            until: Wall(row.parked_until),
            class: row.class,
            message: row.message,
        });
        Ok(parked.collect())
    }

    async fn counts(&self) -> Result<[i64; 5], StoreError> {
        let rows = self.0.query_all_raw(sql("SELECT status, count FROM task_counts", [])).await?;
        let mut counts = HashMap::new();
        for row in rows {
            counts.insert(row.try_get_by_index::<String>(0)?, row.try_get_by_index::<i64>(1)?);
        }
        Ok(Status::ALL.map(|status| counts.get(status.name()).copied().unwrap_or(0)))
    }

    /// The workers that have a row.
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        let rows = worker::Entity::find().order_by_asc(worker::Column::Name).all(&self.0).await?;
        Ok(rows.into_iter().filter_map(worker_of).collect())
    }

    /// Who holds tasks.
    pub async fn holders(&self) -> Result<Vec<HolderId>, StoreError> {
        let holders: Vec<Option<HolderId>> = task::Entity::find()
            .select_only()
            .column(task::Column::Holder)
            .distinct()
            .filter(task::Column::Status.eq(Status::Running.name()))
            .into_tuple()
            .all(&self.0)
            .await?;
        Ok(holders.into_iter().flatten().collect())
    }

    /// Running tasks that [`LeaseTimes::is_over`](crate::task::LeaseTimes::is_over) lets go, and who holds them.
    pub async fn expired(&self) -> Result<Vec<(TaskId, HolderId, Option<String>)>, StoreError> {
        let now = boot_now();
        let past = Condition::any()
            .add(task::Column::LeaseBoot.ne(now.boot))
            .add(task::Column::LeaseMs.lt(now.ms - TREE_END_MS));
        Ok(task::Entity::find()
            .select_only()
            .column(task::Column::Id)
            .column(task::Column::Holder)
            .column(task::Column::SessionId)
            .filter(task::Column::Status.eq(Status::Running.name()))
            .filter(past)
            .into_tuple()
            .all(&self.0)
            .await?)
    }
}

fn condition(filter: &Filter) -> Condition {
    let tagged = |tag: &str| {
        let tags = Query::select().column("task_id").from("task_tags").and_where(Expr::col("tag").eq(tag)).to_owned();
        task::Column::Id.in_subquery(tags)
    };
    Condition::all()
        .add_option(filter.status.map(|status| task::Column::Status.eq(status.name())))
        .add_option(filter.tag.as_deref().map(tagged))
        .add_option(filter.working_directory.as_deref().map(in_folder))
}

/// A folder of a task's own is found by the id in its name.
fn in_folder(folder: &str) -> Condition {
    let owner = Path::new(folder).file_name().and_then(|name| TaskId::parse_str(name.to_str()?).ok());
    let is_it = || task::Column::WorkingDirectory.eq(folder);
    // Written as the index has it.
    Condition::any()
        .add(Condition::all().add(is_it()).add(Expr::cust("NOT own_directory")))
        .add_option(owner.map(|id| Condition::all().add(task::Column::Id.eq(id)).add(is_it())))
}

/// `None` for a row that a newer version wrote in another form: it is not ours to judge.
fn worker_of(row: worker::Model) -> Option<WorkerInfo> {
    Some(WorkerInfo {
        holder: row.holder,
        name: row.name,
        host: row.host,
        process: serde_json::from_str(&row.process).ok()?,
        started_at: Wall(row.started_at),
        beat_at: Wall(row.beat_at),
        running: row.running,
        concurrency: row.concurrency,
    })
}

/// What is said between tasks and people.
impl Reader {
    /// The questions of a task, oldest first. `None` where there is no such task.
    pub async fn questions(&self, id: TaskId) -> Result<Option<Vec<Question>>, StoreError> {
        if task::Entity::find_by_id(id).count(&self.0).await? == 0 {
            return Ok(None);
        }
        let rows = question::Entity::find()
            .filter(question::Column::TaskId.eq(id))
            .filter(question::Column::Closed.eq(false).or(question::Column::Answer.is_not_null()))
            .order_by_asc(question::Column::AskedAt)
            .all(&self.0)
            .await?;
        Ok(Some(rows.into_iter().map(question_of).collect()))
    }

    /// Where the conversation of a task stands.
    pub async fn talk(&self, id: TaskId) -> Result<Talk, StoreError> {
        let open = message::Entity::find()
            .filter(message::Column::TaskId.eq(id))
            .filter(message::Column::Kind.eq("message"))
            .filter(message::Column::DoneAt.is_null())
            .order_by_asc(message::Column::Id)
            .all(&self.0)
            .await?;
        let in_hand = |row: &&message::Model| row.epoch.is_some();
        let said = |row: &message::Model| (row.id, row.text.clone());
        let last = attempts::of(&self.0, id).await?.into_iter().rfind(|attempt| attempt.ended_at.is_some());
        let questions = self.questions(id).await?.unwrap_or_default();
        let is_allowed =
            |question: &&Question| question.answer.as_ref().is_some_and(|answer| answer.scope == Scope::Session);
        Ok(Talk {
            current: open.iter().find(in_hand).map(said),
            next: open.iter().find(|row| !in_hand(row)).map(said),
            idle: last.is_some_and(|attempt| attempt.outcome.as_deref() == Some(AttemptOutcome::Completed.name())),
            allowed: questions.iter().filter(is_allowed).flat_map(Question::session_rules).collect(),
        })
    }
}
