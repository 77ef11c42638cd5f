//! Statements on limits of groups.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::Db;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::tx::Limits;
use crate::store::views::LimitUse;
use domain::{Group, GroupKind, Limit, Named as _, Rate, Timestamp};

const ALL: &str = "SELECT kind, name, concurrency, rate_starts, rate_ms, paused FROM limits";

const ONE: &str =
    "SELECT kind, name, concurrency, rate_starts, rate_ms, paused FROM limits WHERE kind = ?1 AND name = ?2";

const SET: &str =
    "INSERT INTO limits (kind, name, concurrency, rate_starts, rate_ms, paused) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (kind, name) DO UPDATE SET concurrency = excluded.concurrency, rate_starts = excluded.rate_starts,
        rate_ms = excluded.rate_ms, paused = excluded.paused";

/// Tasks that run, with what makes them members of a group.
const RUNNING: &str = "SELECT key_name, concurrency_key, CASE WHEN ?1 AND json_valid(spec) THEN spec ->> '$.tags' END
    FROM tasks INDEXED BY tasks_running WHERE status = 'running'";

const STARTS: &str = "SELECT at FROM (SELECT at FROM starts WHERE kind = ?1 AND name = ?2 AND at > ?3
    ORDER BY at DESC LIMIT ?4) ORDER BY at";

/// The columns of [`limit_of`], and how many wait.
const IN_USE: &str = "SELECT kind, name, concurrency, rate_starts, rate_ms, paused,
        (SELECT COUNT(*) FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held IN
            ('paused:' || kind || ':' || name, 'concurrency:' || kind || ':' || name, 'rate:' || kind || ':' || name))
    FROM limits ORDER BY kind, name";

/// The groups of a task, from the columns of its key, its concurrency key and its tags.
pub fn groups_of(row: &Row<'_>, at: usize) -> rusqlite::Result<Vec<Group>> {
    let (key, concurrency_key): (String, Option<String>) = (row.get(at)?, row.get(at + 1)?);
    let tags: Option<String> = row.get(at + 2)?;
    let tags: Vec<String> = tags.and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default();
    Ok(Group::of(&key, concurrency_key.as_deref(), &tags))
}

/// `None` for a kind of group that another version of the program knows.
fn limit_of(row: &Row<'_>) -> rusqlite::Result<Option<(Group, Limit)>> {
    let kind: String = row.get(0)?;
    let Some(kind) = GroupKind::from_name(&kind) else { return Ok(None) };
    let rate = match (row.get(3)?, row.get(4)?) {
        (Some(starts), Some(period_ms)) => Some(Rate { starts, period_ms }),
        _ => None,
    };
    let name: String = row.get(1)?;
    Ok(Some((Group::new(kind, name), Limit { concurrency: row.get(2)?, rate, paused: row.get(5)? })))
}

/// The limits that are set, with the number of tasks that wait under each.
pub fn in_use(db: Db<'_>) -> Result<Vec<LimitUse>, StoreError> {
    let limits = db.readable(IN_USE, [], "limit", |row| {
        let Some((group, limit)) = limit_of(row)? else { return Ok(None) };
        Ok(Some(LimitUse { group, limit, waiting: row.get(6)? }))
    })?;
    Ok(limits.into_iter().flatten().collect())
}

#[async_trait(?Send)]
impl Limits for SqliteTx<'_> {
    async fn limits(&mut self) -> Result<Vec<(Group, Limit)>, StoreError> {
        Ok(self.db()?.readable(ALL, [], "limit", limit_of)?.into_iter().flatten().collect())
    }

    async fn limit(&mut self, group: &Group) -> Result<Option<Limit>, StoreError> {
        let found = self.db()?.one(ONE, params![group.kind.name(), group.name], limit_of)?;
        Ok(found.flatten().map(|(_, limit)| limit))
    }

    async fn put_limit(&mut self, group: &Group, limit: Option<&Limit>) -> Result<(), StoreError> {
        let (db, kind, name) = (self.db()?, group.kind.name(), &group.name);
        match limit {
            Some(Limit { concurrency, rate, paused }) => {
                let (starts, period_ms) = rate.map(|rate| (rate.starts, rate.period_ms)).unzip();
                db.execute(SET, params![kind, name, concurrency, starts, period_ms, paused])?
            }
            None => db.execute("DELETE FROM limits WHERE kind = ?1 AND name = ?2", params![kind, name])?,
        };
        Ok(())
    }

    async fn running_groups(&mut self, tags: bool) -> Result<Vec<Vec<Group>>, StoreError> {
        self.db()?.all(RUNNING, [tags], |row| groups_of(row, 0))
    }

    async fn starts(&mut self, group: &Group, since: Timestamp, limit: u32) -> Result<Vec<Timestamp>, StoreError> {
        let values = params![group.kind.name(), group.name, since.0, limit];
        self.db()?.all(STARTS, values, |row| row.get(0).map(Timestamp))
    }

    async fn insert_start(&mut self, group: &Group, at: Timestamp) -> Result<(), StoreError> {
        let text = "INSERT INTO starts (kind, name, at) VALUES (?1, ?2, ?3)";
        self.db()?.execute(text, params![group.kind.name(), group.name, at.0])?;
        Ok(())
    }

    async fn remove_starts(&mut self, group: &Group, until: Option<Timestamp>) -> Result<(), StoreError> {
        let text = "DELETE FROM starts WHERE kind = ?1 AND name = ?2 AND at <= ?3";
        let until = until.map_or(i64::MAX, |until| until.0);
        self.db()?.execute(text, params![group.kind.name(), group.name, until])?;
        Ok(())
    }
}
