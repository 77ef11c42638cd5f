//! Reads of conversations: the tasks of a session.
//!
//! Nearly all sessions have one task. The others that go on with it are found by an index that has nothing else.

use std::sync::LazyLock;

use rusqlite::params;

use super::query::Db;
use super::read_tasks::summary;
use crate::store::StoreError;
use crate::store::convert::{conversation_of, sessions_of};
use crate::store::views::{ConversationTasks, ListConversations, MAX_CONVERSATION};
use domain::{SessionId, TaskId, Usd};

/// The newest task of each session.
const NEWEST: &str = "SELECT id, session_id FROM tasks AS task WHERE session_id IS NOT NULL AND id < ?1
        AND (?2 IS NULL OR key_name = ?2)
        AND NOT EXISTS (SELECT 1 FROM tasks AS later INDEXED BY tasks_conversation
            WHERE later.resume_session_id IS NOT NULL AND later.session_id = task.session_id AND later.id > task.id)
    ORDER BY id DESC LIMIT ?3";

/// The tasks that go on with a session, newest first.
const MEMBERS: &str = "SELECT id FROM tasks INDEXED BY tasks_conversation
    WHERE resume_session_id IS NOT NULL AND session_id = ?1 ORDER BY id DESC LIMIT ?2";

/// The task with which a session began.
const FIRST: &str = "SELECT id FROM tasks WHERE session_id = ?1 AND id = (SELECT continued_from FROM tasks
        INDEXED BY tasks_conversation WHERE resume_session_id IS NOT NULL AND session_id = ?1 ORDER BY id LIMIT 1)";

static SUMS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT COUNT(*), SUM(cost_usd), COALESCE(SUM(num_turns), 0) FROM tasks WHERE id IN
            (SELECT id FROM tasks INDEXED BY tasks_conversation WHERE resume_session_id IS NOT NULL AND session_id = ?1
            UNION SELECT ?2 UNION {FIRST})"
    )
});

/// Conversations, by their newest task, newest first.
pub fn list(db: Db<'_>, list: &ListConversations) -> Result<Vec<ConversationTasks>, StoreError> {
    let before = list.before.unwrap_or(TaskId::from_u128(u128::MAX));
    let limit = i64::try_from(list.limit).unwrap_or(i64::MAX);
    let newest: Vec<(TaskId, String)> = db.all(NEWEST, params![before.as_bytes(), list.key, limit], |row| {
        Ok((row.get(0).map(TaskId::of)?, row.get(1)?))
    })?;
    sessions_of(newest).map(|(newest, session)| conversation(db, newest, session)).collect()
}

fn conversation(db: Db<'_>, newest: TaskId, session: SessionId) -> Result<ConversationTasks, StoreError> {
    let name = session.to_string();
    let id = |row: &rusqlite::Row<'_>| row.get(0).map(TaskId::of);
    let mut ids = db.all(MEMBERS, params![name, MAX_CONVERSATION], id)?;
    ids.extend(db.one(FIRST, [&name], id)?);
    let sums = db.one(&SUMS, params![name, newest.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (count, cost, turns): (i64, Option<f64>, i64) = sums.unwrap_or_default();
    let ids = conversation_of(newest, ids);
    let tasks = ids.into_iter().filter_map(|id| summary(db, id).transpose()).collect::<Result<_, _>>()?;
    Ok(ConversationTasks { session, tasks, count, cost_usd: cost.map(Usd::of), num_turns: turns })
}
