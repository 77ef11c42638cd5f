//! Reads of conversations: the tasks of a session.
//!
//! Nearly all sessions have one task. The others that go on with it are found by an index that has nothing else.

use std::sync::LazyLock;

use super::connection::Connection;
use super::read_tasks::summaries;
use super::tx::only;
use super::value::{get, params};
use crate::store::StoreError;
use crate::store::convert::{conversation_of, sessions_of};
use crate::store::views::{ConversationTasks, ListConversations, MAX_CONVERSATION};
use domain::{SessionId, TaskId, Usd};

/// The newest task of each session.
const NEWEST: &str = "SELECT id, session_id FROM tasks AS task WHERE session_id IS NOT NULL AND id < $1
        AND ($2::text IS NULL OR key_name = $2)
        AND NOT EXISTS (SELECT 1 FROM tasks AS later
            WHERE later.resume_session_id IS NOT NULL AND later.session_id = task.session_id AND later.id > task.id)
    ORDER BY id DESC LIMIT $3";

/// The tasks that go on with a session, newest first.
const MEMBERS: &str =
    "SELECT id FROM tasks WHERE resume_session_id IS NOT NULL AND session_id = $1 ORDER BY id DESC LIMIT $2";

/// The task with which a session began.
const FIRST: &str = "SELECT id FROM tasks WHERE session_id = $1 AND id = (SELECT continued_from FROM tasks
        WHERE resume_session_id IS NOT NULL AND session_id = $1 ORDER BY id LIMIT 1)";

static SUMS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT COUNT(*), SUM(cost_usd), COALESCE(SUM(num_turns), 0)::bigint FROM tasks WHERE id IN
            (SELECT id FROM tasks WHERE resume_session_id IS NOT NULL AND session_id = $1 UNION SELECT $2 UNION {FIRST})"
    )
});

/// Conversations, by their newest task, newest first.
pub async fn list(db: &Connection, list: &ListConversations) -> Result<Vec<ConversationTasks>, StoreError> {
    let before = list.before.unwrap_or(TaskId::from_u128(u128::MAX));
    let limit = i64::try_from(list.limit).unwrap_or(i64::MAX);
    let newest: Vec<(TaskId, String)> =
        db.all(NEWEST, &params![before, &list.key, limit], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
    let mut conversations = Vec::new();
    for (newest, session) in sessions_of(newest) {
        conversations.push(conversation(db, newest, session).await?);
    }
    Ok(conversations)
}

async fn conversation(db: &Connection, newest: TaskId, session: SessionId) -> Result<ConversationTasks, StoreError> {
    let name = session.to_string();
    let mut ids: Vec<TaskId> = db.all(MEMBERS, &params![&name, MAX_CONVERSATION], only).await?;
    ids.extend(db.one(FIRST, &params![&name], only::<TaskId>).await?);
    let sums = db.one(&SUMS, &params![&name, newest], |row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?))).await?;
    let (count, cost, turns): (i64, Option<f64>, i64) = sums.unwrap_or_default();
    let ids = conversation_of(newest, ids);
    let mut found = summaries(db, ids.iter().copied()).await?;
    let tasks = ids.into_iter().filter_map(|id| found.remove(&id)).collect();
    Ok(ConversationTasks { session, tasks, count, cost_usd: cost.map(Usd::of), num_turns: turns })
}
