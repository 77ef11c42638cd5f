//! The part of the [checker](super::Audit) that looks at process trees, as the shims saw them.

use std::collections::HashMap;

use crate::TreeLine;
use crate::check::Broken;
use domain::{BootId, Epoch, LeaseKey, TaskId};

/// Milliseconds after a cancel within which no process of the task lives any more.
const CANCEL_LIMIT_MS: i64 = 5_000;

/// One process tree.
struct Life {
    epoch: Epoch,
    boot: BootId,
    began: i64,
    ended: Option<i64>,
}

/// Two trees of a task never lived at a time, and none outlived a cancel for long. `cancelled` knows when a task was
/// called off, and the epoch that ran then. In `excused` times no process could be ended.
pub fn judge(
    lines: &[TreeLine],
    excused: &[(i64, i64)],
    cancelled: impl Fn(TaskId) -> Option<(i64, Epoch)>,
) -> Vec<Broken> {
    let mut found = Vec::new();
    for (task, lives) in lives(lines) {
        let mut broken = |promise, evidence| found.push(Broken { promise, task: Some(task), evidence });
        for pair in lives.windows(2).filter(|pair| pair[0].boot == pair[1].boot) {
            let (one, other) = (&pair[0], &pair[1]);
            // A shim that was killed says nothing; its namespace died with it.
            if let Some(ended) = one.ended.filter(|ended| *ended > other.began) {
                let (epochs, both) = ((one.epoch, other.epoch), ended - other.began);
                broken(7, format!("ran under epochs {epochs:?} at a time, for {both} ms"));
            }
        }
        let Some((at, epoch)) = cancelled(task) else { continue };
        let until = at + CANCEL_LIMIT_MS;
        let ran = lives.iter().find(|life| life.epoch == epoch);
        let late = ran.and_then(|life| life.ended).filter(|ended| *ended > until);
        if let Some(ended) = late.filter(|_| !excused.iter().any(|(from, to)| *from < until && *to > at)) {
            broken(13, format!("had processes until {} ms after its cancel", ended - at));
        }
    }
    found
}

/// The trees of each task, by epoch.
fn lives(lines: &[TreeLine]) -> HashMap<TaskId, Vec<Life>> {
    let mut all: HashMap<TaskId, Vec<Life>> = HashMap::new();
    for line in lines {
        let (LeaseKey { task, epoch }, boot) = (line.lease, line.boot);
        let lives = all.entry(task).or_default();
        match lives.iter_mut().find(|life| life.epoch == epoch && life.boot == boot) {
            Some(life) => life.ended = Some(line.at),
            None => lives.push(Life { epoch, boot, began: line.at, ended: (!line.lives).then_some(line.at) }),
        }
    }
    all.values_mut().for_each(|lives| lives.sort_unstable_by_key(|life| life.epoch));
    all
}
