//! Statements on races.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::{Db, name};
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::tx::Races;
use crate::store::views::{Race, RaceEntry};
use domain::{Contender, Status, TaskId, Usd};

const RACE: &str = "SELECT e.race_id, e.task_id, e.place, e.won, COALESCE(t.status, ''), t.cost_usd
    FROM race_entries e LEFT JOIN tasks t ON t.id = e.task_id
    WHERE e.race_id = (SELECT race_id FROM race_entries WHERE task_id = ?1) ORDER BY e.place";

const DECIDE: &str =
    "UPDATE race_entries SET won = (?2 IS NOT NULL AND task_id = ?2) WHERE race_id = ?1 AND won IS NULL";

#[async_trait(?Send)]
impl Races for SqliteTx<'_> {
    async fn insert_race_entry(&mut self, race: TaskId, task: TaskId, place: i64) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO race_entries (race_id, task_id, place) VALUES (?1, ?2, ?3)";
        self.db()?.execute(INSERT, params![race.as_bytes(), task.as_bytes(), place])?;
        Ok(())
    }

    async fn race(&mut self, task: TaskId) -> Result<Option<Race>, StoreError> {
        find(self.db()?, task)
    }

    async fn decide_race(&mut self, race: TaskId, winner: Option<TaskId>) -> Result<(), StoreError> {
        let winner = winner.as_ref().map(TaskId::as_bytes);
        self.db()?.execute(DECIDE, params![race.as_bytes(), winner])?;
        Ok(())
    }
}

/// Reads the race that a task is in.
pub fn find(db: Db<'_>, task: TaskId) -> Result<Option<Race>, StoreError> {
    Ok(Race::of(db.all(RACE, [task.as_bytes()], entry)?))
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(TaskId, RaceEntry)> {
    let cost: Option<f64> = row.get(5)?;
    let task = Contender {
        task: TaskId::of(row.get(1)?),
        place: row.get(2)?,
        status: name::<Status>(row, 4)?.known(),
        cost: cost.map(Usd::of),
    };
    Ok((TaskId::of(row.get(0)?), RaceEntry { task, won: row.get(3)? }))
}
