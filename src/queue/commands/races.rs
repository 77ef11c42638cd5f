//! Races: the end of each contender decides, in the same commit, whether there is a winner; the others are stopped with it.

use super::transitions::Transition;
use super::{Change, Unit};
use crate::queue::Concern;
use crate::queue::messages::{AllSubmitted, SubmitAll};
use crate::queue::races::{PickWinner, Picked, SubmitRace};
use crate::store::StoreError;
use crate::store::convert::{no_class, spec_of, task_of};
use crate::store::rows::TaskRow;
use crate::store::views::Race;
use audit::HistoryEvent;
use domain::{Contender, RaceState, Status, TaskCommand, TaskId, race_state};
use wire::{RaceOptions, Task, TaskError};

/// Code of a task that was stopped since another one has won.
const RACE_LOST: &str = "RACE_LOST";

impl Change for SubmitRace {
    type Answer = AllSubmitted;

    const MAKES_WORK: bool = true;
    const SUBMITS: bool = true;

    fn concern(&self) -> Concern {
        Concern::Idle(self.contenders.len() as u64)
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<AllSubmitted, StoreError> {
        if let Some(tasks) = self.stored_before(unit).await? {
            return Ok(Ok(tasks));
        }
        let all = SubmitAll(self.contenders.iter().chain(&self.judge).cloned().collect());
        let submitted = all.run(unit).await?;
        let Ok(tasks) = &submitted else { return Ok(submitted) };
        let Some((first, _)) = tasks.first() else { return Ok(submitted) };
        let race = first.id;
        for (place, (task, _)) in (1..).zip(tasks) {
            let place = if place > self.contenders.len() { 0 } else { i64::try_from(place).unwrap_or(i64::MAX) };
            unit.tx.insert_race_entry(race, task.id, place).await?;
        }
        let tasks = tasks.iter().take(self.contenders.len()).map(|(task, _)| task.id).collect();
        unit.record(&HistoryEvent::StartRace { race, tasks });
        Ok(submitted)
    }
}

impl SubmitRace {
    /// Returns what is left of the race that the same request has begun before: its first task has the client's key.
    async fn stored_before(&self, unit: &mut Unit<'_>) -> Result<Option<Vec<(Box<Task>, bool)>>, StoreError> {
        let Some((key, fingerprint)) = self.contenders.first().and_then(|first| first.idempotency.as_ref()) else {
            return Ok(None);
        };
        let known = unit.tx.idempotency_key(key).await?.filter(|known| known.fingerprint == *fingerprint);
        let Some(known) = known else { return Ok(None) };
        let Some(mut race) = unit.tx.race(known.task_id).await? else { return Ok(None) };
        // The judge stands behind the contenders.
        race.entries.sort_by_key(|entry| (entry.task.place == 0, entry.task.place));
        let mut tasks = Vec::with_capacity(race.entries.len());
        for entry in &race.entries {
            tasks.extend(unit.find(entry.task.task).await?.map(|row| (Box::new(task_of(row)), true)));
        }
        Ok(Some(tasks))
    }
}

impl Change for PickWinner {
    type Answer = Picked;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Picked, StoreError> {
        let Some(race) = unit.tx.race(self.0).await? else { return Ok(Picked::NoContender) };
        let is_it = |one: &&Contender| one.task == self.0 && one.place > 0;
        let Some(contender) = race.entries.iter().map(|entry| &entry.task).find(is_it) else {
            return Ok(Picked::NoContender);
        };
        if race.is_decided() {
            return Ok(Picked::Decided(race.winner()));
        }
        if contender.status != Some(Status::Completed) {
            return Ok(Picked::NotCompleted);
        }
        decide(unit, &race, Some(self.0)).await?;
        Ok(Picked::Done)
    }
}

/// True if the task is in a race, perhaps: nearly none is, and a look at the text is cheaper than reading it.
pub fn may_be_in_one(row: &TaskRow) -> bool {
    row.spec.contains("\"race\":")
}

/// Decides the race of a task that has ended, where it can be.
pub async fn settle(unit: &mut Unit<'_>, task: TaskId) -> Result<(), StoreError> {
    let Some(race) = unit.tx.race(task).await?.filter(|race| !race.is_decided()) else { return Ok(()) };
    let Some(row) = unit.find(task).await? else { return Ok(()) };
    let Some(options) = spec_of(&row).spec.race else { return Ok(()) };
    let judge = race.entries.iter().find(|entry| entry.task.place == 0).map(|entry| entry.task.task);
    let answer = match judge {
        Some(judge) => unit.find(judge).await?.and_then(|row| row.structured_output),
        None => None,
    };
    let choice = answer.and_then(|answer| RaceOptions::choice(&serde_json::from_str(&answer).ok()?));
    let all: Vec<_> = race.entries.iter().map(|entry| entry.task.clone()).collect();
    match race_state(options.pick, &all, choice) {
        RaceState::Won(winner) => decide(unit, &race, Some(winner)).await,
        RaceState::Lost => decide(unit, &race, None).await,
        RaceState::Open | RaceState::NeedsPick => Ok(()),
    }
}

/// Writes down who has won, and stops the others.
async fn decide(unit: &mut Unit<'_>, race: &Race, winner: Option<TaskId>) -> Result<(), StoreError> {
    unit.tx.decide_race(race.id, winner).await?;
    unit.record(&HistoryEvent::DecideRace { race: race.id, winner });
    let message = match winner {
        Some(winner) => format!("task {winner} has won the race"),
        None => "no contender of the race has completed".to_owned(),
    };
    for entry in &race.entries {
        unit.touch(entry.task.task);
        if entry.task.status.is_some_and(|status| !status.is_terminal()) {
            stop(unit, entry.task.task, &message).await?;
        }
    }
    Ok(())
}

async fn stop(unit: &mut Unit<'_>, task: TaskId, message: &str) -> Result<(), StoreError> {
    let Some(row) = unit.find(task).await? else { return Ok(()) };
    let Ok(moved) = Transition::of(row, TaskCommand::Cancel, unit, 0.0)? else { return Ok(()) };
    let (code, message) = (RACE_LOST.to_owned(), message.to_owned());
    moved.cancel(unit, Some(TaskError { class: no_class(), code, message })).await
}
