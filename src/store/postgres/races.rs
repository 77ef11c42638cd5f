//! Statements on races.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::PostgresTx;
use super::value::{Unread, get, params};
use crate::store::StoreError;
use crate::store::tx::Races;
use crate::store::views::{Race, RaceEntry};
use domain::{Contender, Named as _, Status, TaskId, Usd};

const RACE: &str = "SELECT e.race_id, e.task_id, e.place, e.won, t.status, t.cost_usd
    FROM race_entries e LEFT JOIN tasks t ON t.id = e.task_id
    WHERE e.race_id = (SELECT race_id FROM race_entries WHERE task_id = $1) ORDER BY e.place";

const DECIDE: &str = "UPDATE race_entries SET won = ($2::uuid IS NOT NULL AND task_id = $2)
    WHERE race_id = $1 AND won IS NULL";

#[async_trait(?Send)]
impl Races for PostgresTx<'_> {
    async fn insert_race_entry(&mut self, race: TaskId, task: TaskId, place: i64) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO race_entries (race_id, task_id, place) VALUES ($1, $2, $3)";
        self.defer(INSERT, params![race, task, place]);
        Ok(())
    }

    async fn race(&mut self, task: TaskId) -> Result<Option<Race>, StoreError> {
        Ok(Race::of(self.all(RACE, params![task], entry).await?))
    }

    async fn decide_race(&mut self, race: TaskId, winner: Option<TaskId>) -> Result<(), StoreError> {
        self.defer(DECIDE, params![race, winner]);
        Ok(())
    }
}

/// Reads the race that a task is in.
pub async fn find(db: &Connection, task: TaskId) -> Result<Option<Race>, StoreError> {
    Ok(Race::of(db.readable(RACE, &params![task], "task", entry).await?))
}

fn entry(row: &Row) -> Result<(TaskId, RaceEntry), Unread> {
    let (status, cost): (Option<String>, Option<f64>) = (get(row, 4)?, get(row, 5)?);
    let task = Contender {
        task: get(row, 1)?,
        place: get(row, 2)?,
        status: status.and_then(|status| Status::from_name(&status)),
        cost: cost.map(Usd::of),
    };
    Ok((get(row, 0)?, RaceEntry { task, won: get(row, 3)? }))
}
