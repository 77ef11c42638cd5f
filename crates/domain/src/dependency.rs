//! Dependencies: tasks that a task waits for, and what their ends mean for it. Pure.

use std::collections::VecDeque;

use crate::Status;

/// Maximum number of tasks that one task may wait for.
pub const MAX_DEPENDENCIES: usize = 10_000;

/// End of a dependency that a task waits for.
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
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Condition {
    /// It has completed.
    #[default]
    Completed,
    /// It has ended, whichever way.
    Ended,
}

/// What happens to a task when a dependency that should complete has failed or was cancelled.
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
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum OnFailure {
    /// It is cancelled as well.
    #[default]
    Cancel,
    /// It runs as if the dependency had completed.
    Run,
    /// It waits until a retry of the dependency completes.
    Wait,
}

/// State of a dependency.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum DependencyState {
    /// It has not ended.
    Open,
    /// Its end is the one that was waited for.
    Met,
    /// It has ended in another way.
    Failed,
    /// A client has taken it away.
    Waived,
}

/// State of a dependency whose task has this status.
#[must_use]
pub fn dependency_state(condition: Condition, on_failure: OnFailure, status: Status) -> DependencyState {
    match status {
        Status::Pending | Status::Running => DependencyState::Open,
        Status::Completed => DependencyState::Met,
        Status::Failed | Status::Cancelled if condition == Condition::Ended || on_failure == OnFailure::Run => {
            DependencyState::Met
        }
        Status::Failed | Status::Cancelled => DependencyState::Failed,
    }
}

/// Orders tasks so that each stands behind those that it waits for, and otherwise as they came. `waits_for` has the places
/// of those, for each task.
///
/// # Errors
/// Places of tasks that wait for each other in a circle, in order.
pub fn in_order(waits_for: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut dependents = vec![Vec::new(); waits_for.len()];
    let mut open: Vec<usize> = waits_for.iter().map(Vec::len).collect();
    for (task, on) in waits_for.iter().enumerate() {
        for on in on {
            dependents[*on].push(task);
        }
    }
    let mut ready: VecDeque<usize> = (0..open.len()).filter(|task| open[*task] == 0).collect();
    let mut order = Vec::with_capacity(open.len());
    while let Some(task) = ready.pop_front() {
        order.push(task);
        for dependent in &dependents[task] {
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                ready.push_back(*dependent);
            }
        }
    }
    match open.iter().position(|open| *open > 0) {
        None => Ok(order),
        Some(stuck) => Err(circle(waits_for, &open, stuck)),
    }
}

/// Walks from a task that never gets ready to one that it waits for, until the walk meets itself.
fn circle(waits_for: &[Vec<usize>], open: &[usize], stuck: usize) -> Vec<usize> {
    let mut walk = vec![stuck];
    let mut at = stuck;
    // Each of them waits for one that is stuck as well.
    while let Some(next) = waits_for[at].iter().copied().find(|on| open[*on] > 0) {
        if let Some(begin) = walk.iter().position(|seen| *seen == next) {
            return walk.split_off(begin);
        }
        walk.push(next);
        at = next;
    }
    walk
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_circle_is_named() {
        assert_eq!(in_order(&[vec![], vec![0, 3], vec![1], vec![2]]), Err(vec![1, 3, 2]));
        assert_eq!(in_order(&[vec![0]]), Err(vec![0]));
        assert_eq!(in_order(&[vec![1], vec![2], vec![]]), Ok(vec![2, 1, 0]));
        assert_eq!(in_order(&[]), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn each_stands_behind_what_it_waits_for_or_a_circle_is_one(
            edges in prop::collection::vec((0usize..12, 0usize..12), 0..30)
        ) {
            let mut waits_for = vec![Vec::new(); 12];
            for (task, on) in edges {
                waits_for[task].push(on);
            }
            match in_order(&waits_for) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), 12);
                    let place = |task: usize| order.iter().position(|one| *one == task).expect("a place");
                    for (task, on) in waits_for.iter().enumerate() {
                        prop_assert!(on.iter().all(|on| place(*on) < place(task)));
                    }
                }
                Err(circle) => {
                    for (at, task) in circle.iter().enumerate() {
                        prop_assert!(waits_for[*task].contains(&circle[(at + 1) % circle.len()]), "{circle:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_end_means_what_was_asked_for() {
        use DependencyState::{Failed, Met, Open};
        for status in [Status::Pending, Status::Running] {
            assert_eq!(dependency_state(Condition::Ended, OnFailure::Run, status), Open);
        }
        for status in [Status::Failed, Status::Cancelled] {
            assert_eq!(dependency_state(Condition::Completed, OnFailure::Cancel, status), Failed);
            assert_eq!(dependency_state(Condition::Completed, OnFailure::Wait, status), Failed);
            assert_eq!(dependency_state(Condition::Completed, OnFailure::Run, status), Met);
            assert_eq!(dependency_state(Condition::Ended, OnFailure::Wait, status), Met);
        }
        assert_eq!(dependency_state(Condition::Completed, OnFailure::Cancel, Status::Completed), Met);
    }
}
