//! The promises of the service, held against its history. A fold: each line moves a picture of
//! the tasks that knows only the rules, and what does not fit is a broken promise with its
//! evidence. It shares no code with what it judges.

mod family;
mod lease;
mod line;
mod standing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::groups::Groups;
use crate::history::{Entry, HistoryEvent, NamedFile, TaskSnapshot, TreeLine, Wait};
use crate::schedules::Schedules;
use crate::trees;
use domain::{Epoch, LeaseKey, Status, TaskId, Usd, WorkerInstanceId};
use line::Line;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// Number, as in ARCHITECTURE.md.
    pub promise: u8,
    /// The task, where it is one's.
    pub task: Option<TaskId>,
    /// Evidence.
    pub evidence: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task = self.task.map(|task| format!(" task {task}")).unwrap_or_default();
        write!(to, "promise {} is broken:{task} {}", self.promise, self.evidence)
    }
}

/// A task as the history has left it so far.
#[derive(Default)]
struct Picture {
    epoch: Epoch,
    /// The lease that is live: holder, and when it ends.
    lease: Option<(WorkerInstanceId, i64)>,
    /// True if its worker has left, and the attempt runs on for another one.
    is_handed_over: bool,
    terminal: Option<Status>,
    priority: i64,
    due: Option<i64>,
    ended: i32,
    crashes: i32,
    max_attempts: i32,
    /// Labels that its worker must have.
    lane: String,
    /// Share whose turns it takes.
    share: String,
    /// Tasks that must end before it starts.
    waits: Vec<Wait>,
    /// Files that it names.
    files: Vec<NamedFile>,
    /// True if its work counts only when it was checked.
    verify: bool,
    /// The race that it is in.
    race: Option<TaskId>,
    /// The task from inside which it was made.
    parent: Option<TaskId>,
    /// What all of its attempts may cost together.
    budget: Option<Usd>,
    /// Costs by epoch, as they were reported first.
    costs: HashMap<Epoch, Usd>,
    /// Time of the cancel, and the epoch that ran then.
    cancelled: Option<(i64, Epoch)>,
}

/// The fold. Give it every line in order, then [`finish`](Self::finish).
///
/// A history may begin after its tasks (older lines are removed with the tasks that they
/// tell of): what was made before its first line is not judged.
#[derive(Default)]
pub struct Audit {
    tasks: HashMap<TaskId, Picture>,
    /// Pending tasks, in the order in which they start.
    line: Line,
    keys: HashMap<String, (String, TaskId)>,
    running: HashMap<WorkerInstanceId, BTreeSet<TaskId>>,
    paused: bool,
    limit: Option<u32>,
    groups: Groups,
    drained: BTreeSet<WorkerInstanceId>,
    /// Races that were not removed, each with its winner once it was decided.
    races: HashMap<TaskId, Option<Option<TaskId>>>,
    /// Tasks that were made from inside others, by those.
    children: HashMap<TaskId, Vec<TaskId>>,
    schedules: Schedules,
    /// Time until which nothing is started with a credential.
    parked: HashMap<String, i64>,
    /// Removed after their end.
    pruned: HashSet<TaskId>,
    /// Tasks made before this wall time are not judged: the history begins later.
    since: i64,
    broken: Vec<Broken>,
}

/// Facts beside the history.
#[derive(Default)]
pub struct AuditContext {
    /// Every task of the tables.
    pub standing: Vec<TaskSnapshot>,
    /// Tasks whose rows can't be read, and why.
    pub unread: Vec<(TaskId, String)>,
    /// Tasks whose submit was answered with success, and the client's key for each.
    pub accepted: Vec<(TaskId, Option<String>)>,
    /// Observations of the shims.
    pub trees: Vec<TreeLine>,
    /// Times (boot clock, from and to) in which processes were stopped or clocks moved from
    /// outside: no process can be ended on a machine that stands still.
    pub excused: Vec<(i64, i64)>,
    /// True if every task must have ended by now.
    pub settled: bool,
}

/// True if the task was made before this wall time.
fn is_older(task: TaskId, since: i64) -> bool {
    let made = task.uuid().get_timestamp().map(|made| made.to_unix());
    made.is_some_and(|(seconds, nanos)| (seconds as i64) * 1_000 + i64::from(nanos / 1_000_000) < since)
}

/// True if each requirement is among these labels, by itself or as the name of one.
fn has_all(labels: &str, lane: &str) -> bool {
    let has =
        |required: &str| labels.split(',').any(|label| label == required || label.split('=').next() == Some(required));
    lane.is_empty() || lane.split(',').all(has)
}

impl Audit {
    fn broken(&mut self, promise: u8, task: impl Into<Option<TaskId>>, evidence: impl Into<String>) {
        self.broken.push(Broken { promise, task: task.into(), evidence: evidence.into() });
    }

    /// The next line.
    pub fn take(&mut self, entry: &Entry) {
        if self.since == 0 {
            self.since = entry.at;
            self.groups.whole = entry.commit <= 1;
        }
        match &entry.did {
            HistoryEvent::Unread { why } => {
                self.broken(2, None, format!("commit {} can't be read: {why}", entry.commit));
            }
            did if did.task().is_some_and(|task| is_older(task, self.since)) => {}
            HistoryEvent::Submit {
                task,
                priority,
                due,
                max_attempts,
                concurrency_key,
                lane,
                key,
                waits,
                share,
                weight,
                files,
                verify,
                parent,
                budget,
                ..
            } => {
                if let Some(parent) = parent {
                    self.made_inside(*task, *parent, *budget);
                }
                self.groups.submit(*task, concurrency_key.as_ref());
                let picture = Picture {
                    priority: *priority,
                    due: *due,
                    max_attempts: *max_attempts,
                    lane: lane.clone(),
                    waits: waits.clone(),
                    files: files.clone(),
                    share: share.clone(),
                    verify: *verify,
                    parent: *parent,
                    budget: *budget,
                    ..Default::default()
                };
                if self.tasks.insert(*task, picture).is_some() {
                    self.broken(2, *task, "was stored twice");
                }
                self.line.weigh(share, *weight);
                self.line.add(*priority, share, *task);
                if let Some((key, fingerprint)) = key {
                    self.keyed(key, fingerprint, *task);
                }
            }
            HistoryEvent::Amend { task, priority, due } => {
                if let Some(picture) = self.tasks.get_mut(task)
                    && self.line.remove(picture.priority, &picture.share, *task)
                {
                    (picture.priority, picture.due) = (*priority, *due);
                    self.line.add(*priority, &picture.share, *task);
                }
            }
            HistoryEvent::Repoint { task, from, tasks } => {
                for dependent in tasks {
                    let waits = self.tasks.get_mut(dependent).map(|picture| &mut picture.waits);
                    waits.into_iter().flatten().filter(|wait| wait.task == *from).for_each(|wait| wait.task = *task);
                }
            }
            HistoryEvent::StartRace { race, tasks } => {
                for task in tasks {
                    if let Some(picture) = self.tasks.get_mut(task) {
                        picture.race = Some(*race);
                    }
                }
                self.races.insert(*race, None);
            }
            HistoryEvent::DecideRace { race, winner } => self.decide(*race, *winner),
            HistoryEvent::Waive { task } => {
                if let Some(picture) = self.tasks.get_mut(task) {
                    picture.waits = Vec::new();
                }
            }
            HistoryEvent::Due { tasks } => tasks.iter().for_each(|task| self.is_due(entry, *task)),
            HistoryEvent::Hold { tasks, due, .. } => {
                for task in tasks {
                    if let Some(picture) = self.tasks.get_mut(task) {
                        picture.due = Some(*due);
                    }
                }
            }
            HistoryEvent::Wake { tasks } => {
                for task in tasks {
                    if let Some(picture) = self.tasks.get_mut(task) {
                        picture.due = None;
                    }
                }
            }
            HistoryEvent::Prune { tasks } => tasks.iter().for_each(|task| self.prune(*task)),
            did => self.take_lease(entry, did),
        }
    }

    /// Checks an entry about the queue, its credentials or its schedules.
    fn take_queue(&mut self, did: &HistoryEvent) {
        match did {
            HistoryEvent::Unpark { credential } => drop(self.parked.remove(credential)),
            HistoryEvent::PutSchedule { schedule, new } => {
                let problem = self.schedules.put(*schedule, *new);
                self.schedule(problem);
            }
            HistoryEvent::Replan { schedule, next } => self.schedules.replan(*schedule, *next),
            HistoryEvent::RemoveSchedule { schedule } => self.schedules.remove(*schedule),
            HistoryEvent::Fire { schedule, due, .. } => {
                let problem = self.schedules.fire(*schedule, *due);
                self.schedule(problem);
            }
            HistoryEvent::Park { credential, until } => drop(self.parked.insert(credential.clone(), *until)),
            HistoryEvent::Pause { paused } => self.paused = *paused,
            HistoryEvent::Limit { concurrency } => self.limit = Some(*concurrency),
            HistoryEvent::SetLimit { group, limit } => self.groups.set(group, *limit),
            HistoryEvent::Drain { holder } => drop(self.drained.insert(*holder)),
            HistoryEvent::RemoveFile { file } => self.loses(file),
            _ => {}
        }
    }

    /// Checks that a race is decided once, and won by a contender that has completed.
    fn decide(&mut self, race: TaskId, winner: Option<TaskId>) {
        // One that began before the history did is not judged.
        let Some(before) = self.races.insert(race, Some(winner)) else { return };
        if before.is_some() {
            self.broken(20, race, "is a race that was decided twice");
        }
        let Some(winner) = winner else { return };
        let won = self.tasks.get(&winner);
        if won.is_some_and(|task| task.race != Some(race) || task.terminal != Some(Status::Completed)) {
            self.broken(20, winner, format!("has won the race {race}, and is no contender that has completed"));
        }
    }

    /// Checks that no task that has not ended names a file that goes.
    fn loses(&mut self, file: &NamedFile) {
        let names = |picture: &Picture| picture.terminal.is_none() && picture.files.contains(file);
        let tasks: Vec<TaskId> = self.tasks.iter().filter(|(_, picture)| names(picture)).map(|(id, _)| *id).collect();
        for task in tasks {
            self.broken(
                18,
                task,
                format!("has not ended, and file {} of key {:?}, which it names, was removed", file.id, file.key),
            );
        }
    }

    fn schedule(&mut self, problem: Option<String>) {
        if let Some(evidence) = problem {
            self.broken(16, None, evidence);
        }
    }

    fn keyed(&mut self, key: &str, fingerprint: &str, task: TaskId) {
        let first = self.keys.entry(key.to_owned()).or_insert_with(|| (fingerprint.to_owned(), task)).1;
        if first != task {
            self.broken(9, task, format!("and task {first} were made for one idempotency key"));
        }
    }

    fn is_due(&mut self, entry: &Entry, task: TaskId) {
        let due = self.tasks.get_mut(&task).and_then(|picture| picture.due.take());
        if let Some(due) = due.filter(|due| *due > entry.at) {
            self.broken(12, task, format!("was let go {} ms before it was due", due - entry.at));
        }
    }

    /// Checks that the tasks have ended that this one waits for. Those from before the history are not judged.
    fn has_waited(&mut self, task: TaskId) {
        let waits = self.tasks.get_mut(&task).map(|picture| std::mem::take(&mut picture.waits)).unwrap_or_default();
        let since = self.since;
        for wait in waits.into_iter().filter(|wait| !is_older(wait.task, since)) {
            let end = self.tasks.get(&wait.task).and_then(|picture| picture.terminal);
            let is_met = match end {
                Some(end) => wait.any_end || end == Status::Completed,
                None => self.pruned.contains(&wait.task),
            };
            if !is_met {
                let stands = end.map_or_else(|| "has not ended".to_owned(), |end| format!("is {end}"));
                self.broken(17, task, format!("was claimed while task {}, which it depends on, {stands}", wait.task));
            }
        }
    }

    /// The lease is over, and the task goes on from here.
    fn moves(&mut self, lease: LeaseKey, to: Status, due: Option<i64>) {
        let Some(picture) = self.tasks.get_mut(&lease.task) else { return };
        picture.is_handed_over = false;
        if let Some((holder, _)) = picture.lease.take()
            && let Some(running) = self.running.get_mut(&holder)
        {
            running.remove(&lease.task);
        }
        self.groups.leave(lease.task);
        picture.due = due;
        if to == Status::Pending {
            self.line.add(picture.priority, &picture.share, lease.task);
        } else {
            picture.terminal = Some(to);
        }
    }

    fn prune(&mut self, task: TaskId) {
        self.pruned.insert(task);
        if self.tasks.remove(&task).is_some_and(|picture| picture.terminal.is_none()) {
            self.broken(1, task, "was removed before it had ended");
        }
    }

    /// Holds what is known beside the history against it. Returns everything that was broken.
    #[must_use]
    pub fn finish(mut self, beside: &AuditContext) -> Vec<Broken> {
        let there: HashMap<TaskId, &TaskSnapshot> = beside.standing.iter().map(|task| (task.task, task)).collect();
        for (task, why) in &beside.unread {
            self.broken(2, *task, format!("can't be read: {why}"));
        }
        let unread: HashSet<TaskId> = beside.unread.iter().map(|(task, _)| *task).collect();
        let is_there = |task: &TaskId| there.contains_key(task) || unread.contains(task);
        let mut keys: HashMap<&str, TaskId> = HashMap::new();
        for (task, key) in &beside.accepted {
            if !is_there(task) && !self.pruned.contains(task) {
                self.broken(1, *task, "was accepted, and is not there");
            }
            let first = key.as_deref().map(|key| *keys.entry(key).or_insert(*task));
            if let Some(first) = first.filter(|first| first != task) {
                self.broken(9, *task, format!("and task {first} were answered for one idempotency key"));
            }
        }
        let since = self.since;
        for standing in beside.standing.iter().filter(|standing| !is_older(standing.task, since)) {
            self.stands(standing, beside.settled);
        }
        self.left_alone();
        let gone: Vec<TaskId> = self.tasks.keys().filter(|task| !is_there(task)).copied().collect();
        for task in gone {
            self.broken(1, task, "was stored, and is not there");
        }
        let cancelled = |task| self.tasks.get(&task).and_then(|picture| picture.cancelled);
        self.broken.extend(trees::judge(&beside.trees, &beside.excused, cancelled));
        self.broken
    }
}
