//! Statements on limits of groups.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::{Connection, readable};
use super::tx::{PostgresTx, only};
use super::value::{Unread, get, params};
use crate::store::StoreError;
use crate::store::tx::Limits;
use crate::store::views::LimitUse;
use domain::{Group, GroupKind, Limit, Named as _, Rate, Timestamp};
use wire::stored;

const ALL: &str = "SELECT kind, name, concurrency, rate_starts, rate_ms, paused FROM limits";

const ONE: &str =
    "SELECT kind, name, concurrency, rate_starts, rate_ms, paused FROM limits WHERE kind = $1 AND name = $2";

const SET: &str =
    "INSERT INTO limits (kind, name, concurrency, rate_starts, rate_ms, paused) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (kind, name) DO UPDATE SET concurrency = excluded.concurrency, rate_starts = excluded.rate_starts,
        rate_ms = excluded.rate_ms, paused = excluded.paused";

/// Tasks that run, with what makes them members of a group.
const RUNNING: &str = "SELECT key_name, concurrency_key, CASE WHEN $1 THEN spec END
    FROM tasks WHERE status = 'running'";

const STARTS: &str = "SELECT at FROM (SELECT at FROM starts WHERE kind = $1 AND name = $2 AND at > $3
    ORDER BY at DESC LIMIT $4) newest ORDER BY at";

/// The columns of [`limit_of`], and how many wait.
const IN_USE: &str = "SELECT kind, name, concurrency, rate_starts, rate_ms, paused,
        (SELECT COUNT(*) FROM tasks WHERE status = 'pending' AND held IN
            ('paused:' || kind || ':' || name, 'concurrency:' || kind || ':' || name, 'rate:' || kind || ':' || name))
    FROM limits ORDER BY kind, name";

/// The groups of a task, from the columns of its key, its concurrency key and, where its tags matter, its request.
pub fn groups_of(row: &Row, at: usize) -> Result<Vec<Group>, Unread> {
    let (key, concurrency_key): (String, Option<String>) = (get(row, at)?, get(row, at + 1)?);
    let spec: Option<String> = get(row, at + 2)?;
    let tags = spec.map(|spec| stored::from_text(&spec).spec.tags).unwrap_or_default();
    Ok(Group::of(&key, concurrency_key.as_deref(), &tags))
}

/// `None` for a kind of group that another version of the program knows.
fn limit_of(row: &Row) -> Result<Option<(Group, Limit)>, Unread> {
    let kind: String = get(row, 0)?;
    let Some(kind) = GroupKind::from_name(&kind) else { return Ok(None) };
    let rate = match (get(row, 3)?, get(row, 4)?) {
        (Some(starts), Some(period_ms)) => Some(Rate { starts, period_ms }),
        _ => None,
    };
    let name: String = get(row, 1)?;
    Ok(Some((Group::new(kind, name), Limit { concurrency: get(row, 2)?, rate, paused: get(row, 5)? })))
}

/// The limits that are set, with the number of tasks that wait under each.
pub async fn in_use(db: &Connection) -> Result<Vec<LimitUse>, StoreError> {
    let limits = db.readable(IN_USE, &[], "limit", |row| {
        let Some((group, limit)) = limit_of(row)? else { return Ok(None) };
        Ok(Some(LimitUse { group, limit, waiting: get(row, 6)? }))
    });
    let limits = limits.await?;
    Ok(limits.into_iter().flatten().collect())
}

#[async_trait(?Send)]
impl Limits for PostgresTx<'_> {
    async fn limits(&mut self) -> Result<Vec<(Group, Limit)>, StoreError> {
        Ok(readable(&self.rows(ALL, []).await?, "limit", limit_of).into_iter().flatten().collect())
    }

    async fn limit(&mut self, group: &Group) -> Result<Option<Limit>, StoreError> {
        let found = self.one(ONE, params![group.kind.name(), &group.name], limit_of).await?;
        Ok(found.flatten().map(|(_, limit)| limit))
    }

    async fn put_limit(&mut self, group: &Group, limit: Option<&Limit>) -> Result<(), StoreError> {
        self.tell_workers();
        let (kind, name) = (group.kind.name(), &group.name);
        match limit {
            Some(Limit { concurrency, rate, paused }) => {
                let (starts, period_ms) = rate.map(|rate| (rate.starts, rate.period_ms)).unzip();
                self.defer(SET, params![kind, name, *concurrency, starts, period_ms, *paused]);
            }
            None => self.defer("DELETE FROM limits WHERE kind = $1 AND name = $2", params![kind, name]),
        }
        Ok(())
    }

    async fn running_groups(&mut self, tags: bool) -> Result<Vec<Vec<Group>>, StoreError> {
        self.all(RUNNING, params![tags], |row| groups_of(row, 0)).await
    }

    async fn starts(&mut self, group: &Group, since: Timestamp, limit: u32) -> Result<Vec<Timestamp>, StoreError> {
        let values = params![group.kind.name(), &group.name, since, limit];
        self.all(STARTS, values, only).await
    }

    async fn insert_start(&mut self, group: &Group, at: Timestamp) -> Result<(), StoreError> {
        let text = "INSERT INTO starts (kind, name, at) VALUES ($1, $2, $3)";
        self.defer(text, params![group.kind.name(), &group.name, at]);
        Ok(())
    }

    async fn remove_starts(&mut self, group: &Group, until: Option<Timestamp>) -> Result<(), StoreError> {
        let text = "DELETE FROM starts WHERE kind = $1 AND name = $2 AND at <= $3";
        let until = until.map_or(i64::MAX, |until| until.0);
        self.defer(text, params![group.kind.name(), &group.name, until]);
        Ok(())
    }
}
