//! Races: what one request becomes, and how they are shown.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Caller, Origin, Refusal, Service, admit};
use crate::queue::{Find, Queue, QueueError, Race, RaceEntry, SubmitRace};
use domain::{Condition, OnFailure, Pick, RaceState, TaskId, race_state};
use wire::response::{ContenderView, RaceProgress, RaceView, TaskView};
use wire::{DependsOn, RaceOptions, TaskSpec};

/// Admits each contender of a race, and its judge where there is one.
///
/// # Errors
/// Why a contender can't be taken.
pub async fn admit_race(
    service: &Service,
    spec: &TaskSpec,
    options: &RaceOptions,
    caller: &Caller,
    idempotency: Option<(String, String)>,
) -> Result<SubmitRace, Refusal> {
    spec.validate()?;
    let ids: Vec<TaskId> = (0..options.contenders()).map(|_| TaskId::new()).collect();
    let batch: HashSet<TaskId> = ids.iter().copied().collect();
    // One key stands for all of them: the first has it.
    let mut idempotency = idempotency.map(|(key, fingerprint)| (format!("{key}/race"), fingerprint));
    let mut contenders = Vec::with_capacity(ids.len());
    for (place, id) in (1..).zip(&ids) {
        let origin = Origin { id: Some(*id), idempotency: idempotency.take(), ..Origin::default() };
        contenders.push(admit(service, options.contender(spec, place), caller, origin).await?);
    }
    let judge = match options.pick {
        Pick::Judge => {
            let mut judge = options.judge(spec);
            judge.depends_on = (1..).zip(&ids).map(|(place, id)| waits_for(place, *id)).collect();
            let origin = Origin { batch: Cow::Owned(batch), ..Origin::default() };
            Some(admit(service, judge, caller, origin).await?)
        }
        Pick::FirstVerified | Pick::Cheapest | Pick::Me => None,
    };
    Ok(SubmitRace { contenders, judge })
}

fn waits_for(place: i64, id: TaskId) -> DependsOn {
    let name = Some(format!("c{place}"));
    DependsOn { task: id.to_string(), on: Condition::Ended, on_failure: OnFailure::Run, name }
}

/// Returns a race as it is shown: its contenders side by side.
///
/// # Errors
/// The store's.
pub async fn race_view(queue: &Queue, race: &Race) -> Result<RaceView, QueueError> {
    let (mut contenders, mut judge, mut pick, mut choice) = (Vec::new(), None, Pick::default(), None);
    for RaceEntry { task: entry, won } in &race.entries {
        let Some(task) = queue.ask(Find(entry.task)).await? else { continue };
        pick = task.spec.race.as_ref().map_or(pick, |race| race.pick);
        if entry.place == 0 {
            choice = task.attempted.structured_output.as_ref().and_then(RaceOptions::choice);
            let why = task.attempted.structured_output.as_ref().and_then(|answer| answer["why"].as_str());
            judge = Some((task.id, why.map(str::to_owned)));
            continue;
        }
        contenders.push(ContenderView::of(&TaskView::of(&task), entry.place, *won));
    }
    let all: Vec<_> = race.entries.iter().map(|entry| entry.task.clone()).collect();
    let state = match (race.is_decided(), race.winner(), race_state(pick, &all, choice)) {
        (true, Some(_), _) => RaceProgress::Won,
        (true, None, _) | (false, _, RaceState::Lost) => RaceProgress::Lost,
        (false, _, RaceState::NeedsPick) => RaceProgress::NeedsPick,
        (false, ..) => RaceProgress::Open,
    };
    let (judge_task, judge_says) = judge.map_or((None, None), |(task, why)| (Some(task), why));
    Ok(RaceView {
        race_id: race.id,
        pick,
        state,
        winner: race.winner(),
        cost_usd: contenders.iter().filter_map(|one| one.cost_usd).sum(),
        contenders,
        judge_task_id: judge_task,
        judge_says,
    })
}
