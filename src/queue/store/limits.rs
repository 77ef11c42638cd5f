//! Limits on groups of tasks: what is set, and what is left of each.

use std::collections::HashMap;

use rusqlite::{Row, params};
use sea_orm::ConnectionTrait;

use super::row::sql;
use super::{Change, Reader, StoreError, Tx, gate};
use crate::queue::messages::{LimitUse, SetLimit};
use crate::task::{Did, Group, GroupKind, GroupRoom, Limit, Rate, Wall};

const ALL: &str = "SELECT kind, name, concurrency, rate_starts, rate_ms, paused FROM limits";

const SET: &str =
    "INSERT INTO limits (kind, name, concurrency, rate_starts, rate_ms, paused) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (kind, name) DO UPDATE SET concurrency = excluded.concurrency, rate_starts = excluded.rate_starts,
        rate_ms = excluded.rate_ms, paused = excluded.paused";

/// Tasks that run, with what makes them members of a group.
const RUNNING: &str = "SELECT key_name, concurrency_key, CASE WHEN ?1 AND json_valid(spec) THEN spec ->> '$.tags' END
    FROM tasks INDEXED BY tasks_running WHERE status = 'running'";

/// The newest starts of a group, oldest first.
const STARTS: &str = "SELECT at FROM (SELECT at FROM starts WHERE kind = ?1 AND name = ?2 AND at > ?3
    ORDER BY at DESC LIMIT ?4) ORDER BY at";

/// Every limit that is set.
#[derive(Default)]
pub struct Limits(HashMap<Group, Limit>);

impl Limits {
    /// Reads them.
    pub fn read(tx: &Tx<'_>) -> Result<Self, StoreError> {
        Ok(Self(tx.all(ALL, [], limit_of)?.into_iter().flatten().collect()))
    }

    /// Whether a tag has one: then it must be known which tags a task has.
    pub fn are_on_tags(&self) -> bool {
        self.0.keys().any(|group| group.kind == GroupKind::Tag)
    }

    /// What is left of each, and of the concurrency keys that have none of their own.
    pub fn room(&self, tx: &Tx<'_>) -> Result<HashMap<Group, GroupRoom>, StoreError> {
        let mut rooms = HashMap::new();
        for (group, limit) in &self.0 {
            let starts = match limit.rate {
                Some(Rate { starts, period_ms }) => {
                    let since = tx.now.plus_ms(-period_ms);
                    let values = params![group.kind.name(), group.name, since.0, starts];
                    tx.all(STARTS, values, |row| Ok(Wall(row.get(0)?)))?
                }
                None => Vec::new(),
            };
            rooms.insert(group.clone(), GroupRoom { limit: *limit, running: 0, starts });
        }
        let groups = tx.all(RUNNING, [self.are_on_tags()], |row| groups_of(row, 0))?;
        for group in groups.into_iter().flatten() {
            self.member(&mut rooms, group, 1);
        }
        Ok(rooms)
    }

    /// So many more members of a group, should it have a limit.
    pub fn member(&self, rooms: &mut HashMap<Group, GroupRoom>, group: Group, more: u32) {
        if self.0.contains_key(&group) || group.kind == GroupKind::ConcurrencyKey {
            let limit = group.default_limit();
            rooms.entry(group).or_insert_with(|| GroupRoom { limit, ..GroupRoom::default() }).running += more;
        }
    }

    /// Writes down that tasks of these groups have started, for the rates, and forgets what no longer counts.
    pub fn started(&self, tx: &Tx<'_>, groups: &[Group]) -> Result<(), StoreError> {
        for group in groups {
            let Some(rate) = self.0.get(group).and_then(|limit| limit.rate) else { continue };
            let (kind, since) = (group.kind.name(), tx.now.plus_ms(-rate.period_ms));
            tx.execute(
                "DELETE FROM starts WHERE kind = ?1 AND name = ?2 AND at <= ?3",
                params![kind, group.name, since.0],
            )?;
            tx.execute("INSERT INTO starts (kind, name, at) VALUES (?1, ?2, ?3)", params![kind, group.name, tx.now.0])?;
        }
        Ok(())
    }
}

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

impl Change for SetLimit {
    type Answer = Limit;

    const MAKES_WORK: bool = true;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Limit, StoreError> {
        let Group { kind, name } = &self.group;
        let text = format!("{ALL} WHERE kind = ?1 AND name = ?2");
        let known = tx.one(&text, params![kind.name(), name], limit_of)?.flatten();
        let default = self.group.default_limit();
        let limit = self.change.map_or(default, |change| change.applied_to(known.map_or(default, |(_, limit)| limit)));
        if limit == default {
            tx.execute("DELETE FROM limits WHERE kind = ?1 AND name = ?2", params![kind.name(), name])?;
        } else {
            let rate = limit.rate.map(|rate| (rate.starts, rate.period_ms)).unzip();
            tx.execute(SET, params![kind.name(), name, limit.concurrency, rate.0, rate.1, limit.paused])?;
        }
        if limit.rate.is_none() {
            tx.execute("DELETE FROM starts WHERE kind = ?1 AND name = ?2", params![kind.name(), name])?;
        }
        tx.record(&Did::SetLimit { group: self.group.clone(), limit });
        // Whoever waits looks anew what holds now.
        gate::let_all_go(tx, &self.group)?;
        Ok(limit)
    }
}

impl Reader {
    /// The limits that are set, with how many tasks run and wait under each.
    pub async fn limits(&self) -> Result<Vec<LimitUse>, StoreError> {
        let text = format!(
            "SELECT kind, name, concurrency, rate_starts, rate_ms, paused,
                (SELECT COUNT(*) FROM tasks INDEXED BY tasks_held WHERE status = 'pending'
                    AND held IN ('paused:' || kind || ':' || name, 'concurrency:' || kind || ':' || name, 'rate:' || kind || ':' || name))
            FROM ({ALL}) ORDER BY kind, name"
        );
        let rows = self.db().query_all_raw(sql(&text, [])).await?;
        let limit = |row: &sea_orm::QueryResult| -> Result<Option<LimitUse>, StoreError> {
            let kind: String = row.try_get_by_index(0)?;
            let Some(kind) = GroupKind::from_name(&kind) else { return Ok(None) };
            let number = |at| -> Result<Option<u32>, StoreError> {
                let number: Option<i64> = row.try_get_by_index(at)?;
                Ok(number.and_then(|number| u32::try_from(number).ok()))
            };
            let period_ms: Option<i64> = row.try_get_by_index(4)?;
            let rate = number(3)?.zip(period_ms).map(|(starts, period_ms)| Rate { starts, period_ms });
            let group = Group::new(kind, row.try_get_by_index::<String>(1)?);
            let limit = Limit { concurrency: number(2)?, rate, paused: row.try_get_by_index(5)? };
            Ok(Some(LimitUse { group, limit, waiting: row.try_get_by_index(6)? }))
        };
        rows.iter().filter_map(|row| limit(row).transpose()).collect()
    }
}
