//! The part of the [checker](super::Audit) that follows leases: claims, renewals, and what takes them back.

use super::{Audit, Picture, has_all, is_older};
use crate::history::{Counts, Entry, HistoryEvent};
use domain::{AttemptOutcome, CRASH_LIMIT, LeaseKey, SUSPECT, Status, TREE_END_MS, Usd, WorkerInstanceId};

impl Audit {
    /// Checks an entry about a lease.
    pub(super) fn take_lease(&mut self, entry: &Entry, did: &HistoryEvent) {
        match did {
            HistoryEvent::Claim { lease, holder, credential, labels, attempt, expires } => {
                if self.parked.get(credential).is_some_and(|until| *until > entry.at) {
                    self.broken(11, lease.task, format!("was claimed while its credential {credential} was parked"));
                }
                if self.tasks.get(&lease.task).is_some_and(|task| !has_all(labels, &task.lane)) {
                    self.broken(
                        11,
                        lease.task,
                        format!("was claimed by {holder}, which lacks a label that it requires"),
                    );
                }
                if let Some((priority, share)) =
                    self.tasks.get(&lease.task).map(|task| (task.priority, task.share.clone()))
                {
                    self.first_in_line(lease.task, priority, &share, labels);
                }
                self.claim(entry, *lease, *holder, *attempt, *expires);
            }
            HistoryEvent::Renew { leases, expires } => {
                let since = self.since;
                for lease in leases.iter().filter(|lease| !is_older(lease.task, since)) {
                    if self.newest(5, *lease, "was renewed")
                        && let Some(Picture { lease: Some((_, ends)), .. }) = self.tasks.get_mut(&lease.task)
                    {
                        *ends = *expires;
                    }
                }
            }
            HistoryEvent::HandOver { leases, holder, expires } => {
                let since = self.since;
                for lease in leases.iter().filter(|lease| !is_older(lease.task, since)) {
                    self.hand_over(*lease, *holder, *expires);
                }
            }
            HistoryEvent::Adopt { lease, holder, expires } => self.adopt(*lease, *holder, *expires),
            HistoryEvent::Finish { lease, outcome, counts, cost, to, due, verified, .. } => {
                if self.newest(6, *lease, "was reported") {
                    if *to == Status::Completed
                        && !verified
                        && self.tasks.get(&lease.task).is_some_and(|task| task.verify)
                    {
                        self.broken(19, lease.task, "is completed, and its work was not checked");
                    }
                    self.count(*lease, *counts, *outcome, *to);
                    self.cost(*lease, *cost);
                    self.moves(*lease, *to, *due);
                }
            }
            HistoryEvent::LateCost { lease, cost } => self.cost(*lease, Some(*cost)),
            HistoryEvent::Release { lease, due, cost, .. } => {
                if self.newest(6, *lease, "was given back") {
                    self.cost(*lease, *cost);
                    self.moves(*lease, Status::Pending, *due);
                }
            }
            HistoryEvent::TakeBack { lease, died, to, due } => {
                let ends = self.tasks.get(&lease.task).and_then(|task| task.lease).map(|(_, ends)| ends);
                if let Some(ends) = ends.filter(|ends| !died && entry.boot_ms <= ends + TREE_END_MS) {
                    let early = ends + TREE_END_MS - entry.boot_ms;
                    self.broken(5, lease.task, format!("was taken back {early} ms before its lease was surely over"));
                }
                if self.newest(6, *lease, "was taken back") {
                    self.count(*lease, Counts::Crash, AttemptOutcome::Crashed, *to);
                    self.moves(*lease, *to, *due);
                }
            }
            HistoryEvent::Cancel { lease } => self.cancel(entry, *lease),
            did => self.take_queue(did),
        }
    }

    fn claim(&mut self, entry: &Entry, lease: LeaseKey, holder: WorkerInstanceId, attempt: i32, expires: i64) {
        let LeaseKey { task, epoch } = lease;
        let Some(picture) = self.tasks.get(&task) else {
            return self.broken(1, task, "was claimed, but never stored");
        };
        let (was, live, terminal) = (picture.epoch, picture.lease, picture.terminal);
        let (priority, share, due) = (picture.priority, picture.share.clone(), picture.due);
        if epoch != was.next() {
            self.broken(4, task, format!("was claimed with epoch {epoch} after {was}"));
        }
        if let Some((other, ends)) = live {
            self.broken(5, task, format!("was claimed by {holder} under the live lease of {other} (ends {ends})"));
        }
        if let Some(status) = terminal {
            self.broken(3, task, format!("was claimed after it had ended as {status}"));
        }
        if self.paused {
            self.broken(11, task, "was claimed while the queue was paused");
        }
        if self.drained.contains(&holder) {
            self.broken(11, task, format!("was claimed by {holder}, which drains"));
        }
        if let Some(due) = due {
            self.broken(12, task, format!("was claimed {} ms before it was due", due - entry.at));
        }
        let race = self.tasks.get(&task).and_then(|picture| picture.race);
        if race.is_some_and(|race| matches!(self.races.get(&race), Some(Some(_)))) {
            self.broken(20, task, "was claimed after its race was decided");
        }
        self.has_waited(task);
        if let Some(evidence) = self.groups.claim(task) {
            self.broken(11, task, evidence);
        }
        let running = self.running.entry(holder).or_default();
        running.insert(task);
        let (running, others) = (running.len(), running.clone());
        let is_suspect = |task| self.tasks.get(task).is_some_and(|task| task.crashes >= SUSPECT);
        if let Some(suspect) = others.iter().find(|task| is_suspect(task)).filter(|_| running > 1) {
            self.broken(10, *suspect, format!("has crashed often and did not run alone in {holder}"));
        }
        if let Some(limit) = self.limit.filter(|limit| running > *limit as usize) {
            self.broken(11, task, format!("is number {running} of {holder}, above the limit of {limit}"));
        }
        self.line.remove(priority, &share, task);
        if let Some(picture) = self.tasks.get_mut(&task) {
            (picture.epoch, picture.lease) = (epoch, Some((holder, expires)));
        }
        if i64::from(attempt) > epoch.number() {
            self.broken(10, task, format!("has attempt {attempt} under epoch {epoch}"));
        }
    }

    fn hand_over(&mut self, lease: LeaseKey, holder: WorkerInstanceId, expires: i64) {
        if !self.newest(5, lease, "was handed over") {
            return;
        }
        let Some(picture) = self.tasks.get_mut(&lease.task) else { return };
        let owner = picture.lease.replace((holder, expires)).map(|(owner, _)| owner);
        picture.is_handed_over = true;
        if let Some(owner) = owner.filter(|owner| *owner != holder) {
            self.broken(5, lease.task, format!("was handed over by {holder} under the live lease of {owner}"));
        }
    }

    fn adopt(&mut self, lease: LeaseKey, holder: WorkerInstanceId, expires: i64) {
        if !self.newest(5, lease, "was taken over") {
            return;
        }
        let Some(picture) = self.tasks.get_mut(&lease.task) else { return };
        let was_free = std::mem::take(&mut picture.is_handed_over);
        let before = picture.lease.replace((holder, expires)).map(|(before, _)| before);
        if let Some(before) = before {
            if !was_free {
                self.broken(5, lease.task, format!("was taken over by {holder} under the live lease of {before}"));
            }
            self.running.entry(before).or_default().remove(&lease.task);
        }
        self.running.entry(holder).or_default().insert(lease.task);
    }

    /// True if this is the newest epoch of a task that runs.
    fn newest(&mut self, promise: u8, lease: LeaseKey, what: &str) -> bool {
        let LeaseKey { task, epoch } = lease;
        let Some(picture) = self.tasks.get(&task) else {
            self.broken(1, task, format!("{what}, but never stored"));
            return false;
        };
        let (newest, runs, terminal) = (picture.epoch, picture.lease.is_some(), picture.terminal);
        if let Some(status) = terminal {
            self.broken(3, task, format!("{what} after it had ended as {status}"));
        } else if epoch != newest {
            self.broken(promise, task, format!("{what} under epoch {epoch}, its newest is {newest}"));
        } else if !runs {
            self.broken(promise, task, format!("{what}, but did not run"));
        }
        terminal.is_none() && epoch == newest && runs
    }

    fn count(&mut self, lease: LeaseKey, counts: Counts, outcome: AttemptOutcome, to: Status) {
        let Some(picture) = self.tasks.get_mut(&lease.task) else { return };
        match counts {
            Counts::Ended => (picture.ended, picture.crashes) = (picture.ended + 1, 0),
            Counts::Crash => picture.crashes += 1,
            Counts::Nothing => {}
        }
        let (ended, most, crashes) = (picture.ended, picture.max_attempts, picture.crashes);
        if ended > most {
            self.broken(10, lease.task, format!("ended {ended} times, and may {most} times"));
        }
        if crashes > CRASH_LIMIT {
            self.broken(10, lease.task, format!("crashed {crashes} times in a row"));
        }
        let fits = match outcome {
            // A message came meanwhile: the task goes on.
            AttemptOutcome::Completed if to == Status::Pending => counts == Counts::Nothing,
            AttemptOutcome::Completed => counts == Counts::Ended,
            AttemptOutcome::Crashed => counts == Counts::Crash,
            AttemptOutcome::Failed => counts != Counts::Crash,
            AttemptOutcome::Released | AttemptOutcome::Cancelled => counts == Counts::Nothing,
        };
        if !fits {
            self.broken(10, lease.task, format!("an attempt that is {outcome:?} counted as {counts:?}"));
        }
    }

    fn cost(&mut self, lease: LeaseKey, cost: Option<Usd>) {
        if let (Some(picture), Some(cost)) = (self.tasks.get_mut(&lease.task), cost) {
            picture.costs.entry(lease.epoch).or_insert(cost);
        }
    }

    fn cancel(&mut self, entry: &Entry, lease: LeaseKey) {
        let LeaseKey { task, epoch } = lease;
        let Some(picture) = self.tasks.get_mut(&task) else {
            return self.broken(1, task, "was cancelled, but never stored");
        };
        let (was, ran, terminal) = (picture.epoch, picture.lease.is_some(), picture.terminal);
        if ran {
            picture.cancelled = Some((entry.boot_ms, was));
        }
        picture.epoch = epoch;
        let (priority, share) = (picture.priority, picture.share.clone());
        self.moves(lease, Status::Cancelled, None);
        self.line.remove(priority, &share, task);
        if let Some(status) = terminal {
            self.broken(3, task, format!("was cancelled after it had ended as {status}"));
        }
        if epoch != if ran { was.next() } else { was } {
            self.broken(4, task, format!("was cancelled with epoch {epoch} after {was}"));
        }
    }
}
