//! Races: several tasks that do the same, of which one wins. Pure.

use crate::{Status, TaskId, Usd};

/// Fewest and most contenders of a race.
pub const CONTENDERS: std::ops::RangeInclusive<i64> = 2..=8;

/// Rule by which the winner of a race is chosen.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Pick {
    /// The first that completes, its work checked; the others are stopped.
    #[default]
    FirstVerified,
    /// Of those that complete, the one that has cost least.
    Cheapest,
    /// A model is shown what each has done, and chooses.
    Judge,
    /// A person chooses.
    Me,
}

/// A contender of a race, or its judge, as far as the choice depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The task.
    pub task: TaskId,
    /// 1, 2, 3 … for a contender; 0 for the judge.
    pub place: i64,
    /// Status; `None` where the task is not there any more, or can't be read.
    pub status: Option<Status>,
    /// US dollars.
    pub cost: Option<Usd>,
}

impl Contender {
    fn is_open(&self) -> bool {
        self.status.is_some_and(|status| !status.is_terminal())
    }
}

/// Where a race stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaceState {
    /// It goes on.
    Open,
    /// This task has won.
    Won(TaskId),
    /// A person must choose.
    NeedsPick,
    /// No contender has completed.
    Lost,
}

/// Decides a race by its rule. `choice` is the place that the judge names, once it has completed.
#[must_use]
pub fn race_state(pick: Pick, all: &[Contender], choice: Option<i64>) -> RaceState {
    let contenders = || all.iter().filter(|one| one.place > 0);
    let completed: Vec<_> = contenders().filter(|one| one.status == Some(Status::Completed)).collect();
    if pick == Pick::FirstVerified
        && let Some(first) = completed.first()
    {
        return RaceState::Won(first.task);
    }
    if contenders().any(Contender::is_open) {
        return RaceState::Open;
    }
    match (&completed[..], pick) {
        ([], _) => RaceState::Lost,
        (_, Pick::Me) => RaceState::NeedsPick,
        ([only], _) => RaceState::Won(only.task),
        (_, Pick::FirstVerified) => RaceState::Open,
        (_, Pick::Cheapest) => {
            // One whose cost is not known is no bargain.
            let cheapest = completed.iter().min_by_key(|one| (one.cost.is_none(), one.cost, one.place));
            cheapest.map_or(RaceState::Lost, |one| RaceState::Won(one.task))
        }
        (_, Pick::Judge) if all.iter().any(|one| one.place == 0 && one.is_open()) => RaceState::Open,
        (_, Pick::Judge) => match completed.iter().find(|one| Some(one.place) == choice) {
            Some(chosen) => RaceState::Won(chosen.task),
            None => RaceState::NeedsPick,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strum::VariantArray as _;

    use super::*;

    fn contender(place: i64, status: Status, cost: Option<u32>) -> Contender {
        let task = TaskId::from_u128(place.unsigned_abs().into());
        Contender { task, place, status: Some(status), cost: cost.map(|cost| Usd::of(f64::from(cost))) }
    }

    #[test]
    fn each_rule_chooses_its_own() {
        use Status::{Completed, Failed, Running};
        let id = |place: u128| TaskId::from_u128(place);
        let all = [contender(1, Completed, Some(5)), contender(2, Running, None), contender(3, Completed, Some(2))];
        assert_eq!(race_state(Pick::FirstVerified, &all, None), RaceState::Won(id(1)));
        assert_eq!(race_state(Pick::Cheapest, &all, None), RaceState::Open);
        let mut all = [contender(1, Completed, Some(5)), contender(2, Failed, None), contender(3, Completed, Some(2))];
        assert_eq!(race_state(Pick::Cheapest, &all, None), RaceState::Won(id(3)));
        assert_eq!(race_state(Pick::Me, &all, None), RaceState::NeedsPick);
        let judged = |judge: Status, choice| {
            let all: Vec<_> = all.iter().cloned().chain([contender(0, judge, None)]).collect();
            race_state(Pick::Judge, &all, choice)
        };
        assert_eq!(judged(Running, None), RaceState::Open);
        assert_eq!(judged(Completed, Some(1)), RaceState::Won(id(1)));
        // It chose one that has failed, or has failed itself.
        assert_eq!((judged(Completed, Some(2)), judged(Failed, None)), (RaceState::NeedsPick, RaceState::NeedsPick));
        all[2] = contender(3, Failed, None);
        assert_eq!(race_state(Pick::Judge, &all, None), RaceState::Won(id(1)), "there is nothing to choose");
        all[0] = contender(1, Failed, None);
        assert_eq!(race_state(Pick::Cheapest, &all, None), RaceState::Lost);
    }

    proptest! {
        /// Whatever happens, who wins has completed, and a race whose tasks have all ended is not open.
        #[test]
        fn who_wins_has_completed(
            tasks in prop::collection::vec((prop::sample::select(Status::VARIANTS), prop::option::of(0_u32..5)), 1..6),
            judge in prop::option::of(prop::sample::select(Status::VARIANTS)),
            pick in prop::sample::select(Pick::VARIANTS),
            choice in prop::option::of(0_i64..7),
        ) {
            let mut all: Vec<_> = (1..).zip(&tasks).map(|(place, (status, cost))| contender(place, *status, *cost)).collect();
            all.extend(judge.map(|status| contender(0, status, None)));
            match race_state(pick, &all, choice) {
                RaceState::Won(task) => {
                    prop_assert!(all.iter().any(|one| one.task == task && one.place > 0 && one.status == Some(Status::Completed)));
                }
                RaceState::Open => prop_assert!(all.iter().any(Contender::is_open)),
                RaceState::NeedsPick => prop_assert!(matches!(pick, Pick::Me | Pick::Judge)),
                RaceState::Lost => prop_assert!(!tasks.iter().any(|(status, _)| *status == Status::Completed)),
            }
        }
    }
}
