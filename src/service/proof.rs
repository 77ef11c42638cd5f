//! The recorded history, held against the promises: of all tasks, or of one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::{Audit, AuditContext, Broken, Entry, HistoryEvent, OF_ONE_TASK, PROMISES, TaskSnapshot, TreeLine};
use domain::{Named as _, TaskId, Timestamp};
use tokio::sync::Mutex;
use wire::Task;
use wire::response::{PromiseState, Proof, ProofStep, TaskProof};

use super::{Kind, Refusal};
use crate::config;
use crate::process::{boot_now, read_trees, tree_log, wall_now};
use crate::queue::{Queue, QueueError, ReadStats, ReadTaskHistory};
use crate::store::rows::UnreadRow;
use crate::store::{self, Reads, StoreError};

/// Time for which a check of everything is not done again.
const FRESH: Duration = Duration::from_secs(10);
/// Number of tasks above which a server doesn't check everything: each takes some hundred bytes meanwhile.
const MOST_TASKS: i64 = 200_000;
/// Breaks of a promise that are told.
const TOLD: usize = 100;

/// Result of a check.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Changes that were looked at.
    pub changes: i64,
    /// Tasks that stand.
    pub tasks: i64,
    /// Attempts that began.
    pub attempts: i64,
    /// Promises that were not kept.
    pub broken: Vec<Broken>,
}

/// Checks everything that is stored, as of now; `beside` has what others say.
///
/// # Errors
/// The store's.
pub async fn check(settings: &config::Store, beside: AuditContext) -> Result<Checked, StoreError> {
    let trees = read_trees(&tree_log(&settings.data_dir));
    let reader = store::open_snapshot(settings).await?;
    let mut audit = Audit::default();
    let (changes, attempts) = fold(&*reader, &mut audit).await?;
    let (standing, unread) = standings(&*reader).await?;
    let tasks = (standing.len() + unread.len()) as i64;
    let broken = audit.finish(&AuditContext { standing, unread, trees, ..beside });
    Ok(Checked { changes, tasks, attempts, broken })
}

async fn fold(reader: &dyn Reads, audit: &mut Audit) -> Result<(i64, i64), StoreError> {
    let (mut last, mut count, mut attempts) = (0, 0, 0);
    loop {
        let page = reader.history(last).await?;
        let Some(newest) = page.last() else { return Ok((count, attempts)) };
        last = newest.commit;
        for entry in &page {
            count += 1;
            attempts += i64::from(matches!(entry.did, HistoryEvent::Claim { .. }));
            audit.take(entry);
        }
    }
}

/// The tasks as they stand, and those that can't be read.
async fn standings(reader: &dyn Reads) -> Result<(Vec<TaskSnapshot>, Vec<(TaskId, String)>), StoreError> {
    let (mut all, mut unread, mut last) = (Vec::new(), Vec::new(), TaskId::from_u128(0));
    loop {
        let page = reader.standings(last).await?;
        if page.is_empty() {
            return Ok((all, unread));
        }
        for standing in page {
            match standing {
                Ok(standing) => {
                    last = standing.task;
                    all.push(standing);
                }
                Err(UnreadRow { id, why }) => {
                    last = id;
                    unread.push((id, why));
                }
            }
        }
    }
}

/// Checks of this process: one at a time. Clones share it.
#[derive(Clone, Default)]
pub struct Prover(Arc<Mutex<Option<(Instant, Proof)>>>);

impl Prover {
    /// Checks everything, unless that was done just now.
    ///
    /// # Errors
    /// There are too many tasks for a server that has other things to do; or the store's.
    pub async fn prove(&self, queue: &Queue, settings: &config::Store) -> Result<Proof, Refusal> {
        let mut last = self.0.lock().await;
        if let Some((_, proof)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(proof.clone());
        }
        let tasks: i64 = queue.ask(ReadStats(None)).await?.counts.iter().sum();
        if tasks > MOST_TASKS {
            let message = format!(
                "there are {tasks} tasks: a check of all takes too much of a server's memory from {MOST_TASKS} on; run cc-anywhere check-history"
            );
            return Err(Refusal::new(Kind::Conflict, "HISTORY_TOO_LARGE", message));
        }
        let (began, checked_at) = (Instant::now(), wall_now());
        let Checked { changes, tasks, attempts, broken } =
            check(settings, AuditContext::default()).await.map_err(QueueError::from)?;
        let proof = Proof {
            ok: broken.is_empty(),
            checked_at,
            took_ms: began.elapsed().as_millis() as i64,
            changes,
            tasks,
            attempts,
            promises: states(1..=PROMISES.len() as u8, &broken),
        };
        *last = Some((Instant::now(), proof.clone()));
        Ok(proof)
    }
}

fn states(numbers: impl IntoIterator<Item = u8>, broken: &[Broken]) -> Vec<PromiseState> {
    let state = |number: u8| PromiseState {
        number,
        text: PROMISES[usize::from(number) - 1].to_owned(),
        broken: broken
            .iter()
            .filter(|one| one.promise == number)
            .take(TOLD)
            .map(|one| {
                let task = one.task.map(|task| format!("task {task}: ")).unwrap_or_default();
                format!("{task}{}", one.evidence)
            })
            .collect(),
    };
    numbers.into_iter().map(state).collect()
}

/// All that was done with a task, held against the promises that this can show.
///
/// # Errors
/// The queue's.
pub async fn prove_task(queue: &Queue, data_dir: &Path, task: &Task) -> Result<TaskProof, QueueError> {
    let (entries, standing) = queue.ask(ReadTaskHistory { task: task.id, since: task.created_at }).await?;
    let trees = read_trees(&tree_log(data_dir)).into_iter().filter(|line| line.lease.task == task.id);
    let trees: Vec<TreeLine> = trees.collect();
    let mut audit = Audit::default();
    entries.iter().for_each(|entry| audit.take(entry));
    let steps = steps(task.id, &entries, &trees);
    let standing = standing.into_iter().collect();
    let broken = audit.finish(&AuditContext { standing, trees, ..AuditContext::default() });
    let broken: Vec<Broken> = broken.into_iter().filter(|one| OF_ONE_TASK.contains(&one.promise)).collect();
    Ok(TaskProof { task_id: task.id, ok: broken.is_empty(), steps, promises: states(OF_ONE_TASK, &broken) })
}

/// What was done, with what the guards of its processes saw on this machine since it booted.
fn steps(task: TaskId, entries: &[Entry], trees: &[TreeLine]) -> Vec<ProofStep> {
    let mut steps: Vec<ProofStep> = Vec::new();
    let mut renewed: HashMap<i64, usize> = HashMap::new();
    for entry in entries {
        let (what, text) = told(task, &entry.did);
        let at = Timestamp(entry.at);
        if what == "renew" {
            // One line for all renewals of an attempt.
            let epoch = lease_of(task, &entry.did).unwrap_or_default();
            if let Some(step) = renewed.get(&epoch).and_then(|at| steps.get_mut(*at)) {
                step.text = format!("{text}; again until {at}");
                continue;
            }
            renewed.insert(epoch, steps.len());
        }
        steps.push(ProofStep { at, commit: Some(entry.commit), what: what.to_owned(), text });
    }
    let now = boot_now();
    let since_boot = wall_now().0 - now.ms;
    for line in trees.iter().filter(|line| line.boot == now.boot) {
        let (what, text) = if line.lives {
            ("born", "its processes begin")
        } else {
            ("dead", "its processes have ended, all of them")
        };
        let text = format!("epoch {}: {text}", line.lease.epoch);
        let at = Timestamp(since_boot + line.at);
        // Commits keep their order, whatever the clocks of their processes say.
        let place = steps.iter().position(|step| step.at > at).unwrap_or(steps.len());
        steps.insert(place, ProofStep { at, commit: None, what: what.to_owned(), text });
    }
    steps
}

/// The epoch of a renewed lease of this task.
fn lease_of(task: TaskId, did: &HistoryEvent) -> Option<i64> {
    let HistoryEvent::Renew { leases, .. } = did else { return None };
    leases.iter().find(|lease| lease.task == task).map(|lease| lease.epoch.number())
}

/// A name for a change, and what it did with the task.
fn told(task: TaskId, did: &HistoryEvent) -> (&'static str, String) {
    let due = |due: &Option<i64>| due.map(|due| format!(", not before {}", Timestamp(due))).unwrap_or_default();
    let cost = |cost: &Option<domain::Usd>| cost.map(|cost| format!(", ${:.4}", cost.dollars())).unwrap_or_default();
    match did {
        HistoryEvent::Submit { priority, due: at, max_attempts, waits, .. } => {
            let waits = match waits.len() {
                0 => due(at),
                tasks => format!(", behind {tasks} tasks that it depends on"),
            };
            ("submit", format!("stored: priority {priority}, at most {max_attempts} attempts{waits}"))
        }
        HistoryEvent::Repoint { task: retry, from, .. } if *retry == task => {
            ("repoint", format!("stands for task {from} with those that wait for it"))
        }
        HistoryEvent::Repoint { task: retry, from, .. } => {
            ("repoint", format!("waits for task {retry}, a retry of {from}"))
        }
        HistoryEvent::Waive { .. } => ("waive", "waits for no other task any more".to_owned()),
        HistoryEvent::Amend { priority, due: at, .. } => ("amend", format!("changed: priority {priority}{}", due(at))),
        HistoryEvent::Due { .. } => ("due", "its time has come".to_owned()),
        HistoryEvent::Wake { .. } => ("wake", "the cause of its wait is over".to_owned()),
        HistoryEvent::Hold { why, due, .. } => {
            ("hold", format!("held back by {why} until {} at the latest", Timestamp(*due)))
        }
        HistoryEvent::Claim { lease, holder, attempt, .. } => {
            ("claim", format!("epoch {}: attempt {attempt} begins, leased to {holder}", lease.epoch))
        }
        HistoryEvent::HandOver { leases, .. } => {
            let epoch = leases.iter().find(|lease| lease.task == task).map_or(0, |lease| lease.epoch.number());
            ("handOver", format!("epoch {epoch}: its worker has left, and the attempt runs on"))
        }
        HistoryEvent::Adopt { lease, holder, .. } => {
            ("adopt", format!("epoch {}: {holder} took over the attempt as it runs", lease.epoch))
        }
        HistoryEvent::Renew { .. } => {
            ("renew", format!("epoch {}: the lease is renewed", lease_of(task, did).unwrap_or_default()))
        }
        HistoryEvent::Finish { lease, outcome, to, due: at, cost: spent, verified, .. } => {
            let outcome = outcome.name();
            let checked = if *verified { ", its work was checked" } else { "" };
            (
                "finish",
                format!(
                    "epoch {}: the attempt {outcome}{checked}; the task is {to}{}{}",
                    lease.epoch,
                    due(at),
                    cost(spent)
                ),
            )
        }
        HistoryEvent::LateCost { lease, cost } => {
            ("lateCost", format!("epoch {}: a late report; it cost ${:.4}", lease.epoch, cost.dollars()))
        }
        HistoryEvent::Release { lease, reason, due: at, cost: spent } => {
            ("release", format!("epoch {}: given back ({reason}){}{}", lease.epoch, due(at), cost(spent)))
        }
        HistoryEvent::TakeBack { lease, died, to, due: at } => {
            let why = if *died {
                "its worker died, and what was left of its processes was ended"
            } else {
                "its lease ran out"
            };
            ("takeBack", format!("epoch {}: taken back, {why}; the task is {to}{}", lease.epoch, due(at)))
        }
        HistoryEvent::Cancel { lease } => ("cancel", format!("called off; from here on it is epoch {}", lease.epoch)),
        HistoryEvent::StartRace { tasks, .. } => ("startRace", format!("one of {} contenders of a race", tasks.len())),
        HistoryEvent::DecideRace { winner, .. } => match winner {
            Some(winner) if *winner == task => ("decideRace", "has won its race".to_owned()),
            Some(winner) => ("decideRace", format!("its race was won by task {winner}")),
            None => ("decideRace", "its race has ended, and nobody has won it".to_owned()),
        },
        HistoryEvent::Fire { .. } => ("fire", "a schedule has made it".to_owned()),
        HistoryEvent::Prune { .. } => ("prune", "removed".to_owned()),
        HistoryEvent::Unread { why } => ("unread", format!("a line that can't be read: {why}")),
        _ => ("other", "something about it was changed".to_owned()),
    }
}
