//! The checker can fail: for each promise a history in which it is broken, and nothing else.

use domain::{AttemptOutcome, BootId, Epoch, Group, GroupKind, LeaseKey, Limit, Status, TaskId, Usd, WorkerInstanceId};

use super::*;
use crate::Source;
use crate::check::Broken;

const LEASE_MS: i64 = 30_000;

/// A history of one task, and what stands beside it; sound unless a test breaks it.
struct Forgery {
    task: TaskId,
    holder: WorkerInstanceId,
    lines: Vec<Entry>,
    beside: AuditContext,
}

fn id(number: u8) -> TaskId {
    // Of version 7, one millisecond apart.
    TaskId::from_u128((1_000_000 + u128::from(number)) << 80 | 7 << 76 | 2 << 62 | u128::from(number))
}

fn lease(task: TaskId, epoch: i64) -> LeaseKey {
    LeaseKey { task, epoch: Epoch::of(epoch) }
}

fn submit(task: TaskId, priority: i64) -> HistoryEvent {
    HistoryEvent::Submit {
        task,
        priority,
        due: None,
        max_attempts: 3,
        concurrency_key: None,
        lane: String::new(),
        key: None,
        source: Source::Api,
        waits: Vec::new(),
        share: String::new(),
        weight: 1,
        files: Vec::new(),
        verify: false,
        parent: None,
        budget: None,
    }
}

fn finish(task: TaskId, epoch: i64, outcome: AttemptOutcome, to: Status) -> HistoryEvent {
    let counts = if outcome == AttemptOutcome::Crashed { Counts::Crash } else { Counts::Ended };
    HistoryEvent::Finish {
        lease: lease(task, epoch),
        outcome,
        counts,
        class: None,
        cost: None,
        to,
        due: None,
        verified: false,
    }
}

fn standing(task: TaskId, status: Status, epoch: i64, ended: i32) -> TaskSnapshot {
    TaskSnapshot {
        task,
        status,
        epoch: Epoch::of(epoch),
        ended,
        crashes: 0,
        max_attempts: 3,
        events: (4, 4),
        cost: None,
        attempt_costs: Vec::new(),
        well_completed: status == Status::Completed,
    }
}

impl Forgery {
    fn new() -> Self {
        let task = id(1);
        let mut forgery =
            Self { task, holder: WorkerInstanceId::from_u128(9), lines: Vec::new(), beside: AuditContext::default() };
        forgery.add(submit(task, 0));
        forgery
    }

    /// A task that was claimed and completed.
    fn sound() -> Self {
        let mut forgery = Self::new();
        forgery.claim(1);
        forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
        forgery.stands(Status::Completed, 1, 1);
        forgery
    }

    fn add(&mut self, did: HistoryEvent) {
        let seq = self.lines.len() as i64 + 1;
        self.lines.push(Entry { commit: seq, at: 1_000_000 + seq * 1_000, boot_ms: seq * 1_000, did });
    }

    fn claim(&mut self, epoch: i64) {
        let expires = (self.lines.len() as i64 + 1) * 1_000 + LEASE_MS;
        let attempt = i32::try_from(epoch).expect("small");
        self.add(HistoryEvent::Claim {
            lease: lease(self.task, epoch),
            holder: self.holder,
            credential: "c".to_owned(),
            labels: String::new(),
            attempt,
            expires,
        });
    }

    fn stands(&mut self, status: Status, epoch: i64, ended: i32) {
        self.beside.accepted = vec![(self.task, None)];
        self.beside.standing.push(standing(self.task, status, epoch, ended));
        self.beside.settled = true;
    }

    fn tree(&mut self, epoch: i64, at: i64, lives: bool) {
        self.beside.trees.push(TreeLine { lease: lease(self.task, epoch), boot: BootId::from_u128(5), at, lives });
    }

    fn found(&self) -> Vec<Broken> {
        let mut audit = Audit::default();
        // The first line is older than the first task.
        audit.take(&Entry { commit: 0, at: 1, boot_ms: 0, did: HistoryEvent::Pause { paused: false } });
        self.lines.iter().for_each(|line| audit.take(line));
        audit.finish(&self.beside)
    }

    /// Asserts that exactly this promise is broken.
    #[track_caller]
    fn breaks(&self, promise: u8) {
        let found = self.found();
        assert!(!found.is_empty(), "nothing was found");
        assert!(found.iter().all(|broken| broken.promise == promise), "{found:#?}");
        // A schedule or a line of the history is no task.
        let names = |broken: &Broken| broken.task.is_some() || ["schedule", "commit"].contains(&first_word(broken));
        assert!(found.iter().all(names), "{found:#?}");
    }
}

fn first_word(broken: &Broken) -> &str {
    broken.evidence.split(' ').next().unwrap_or_default()
}

#[test]
fn a_sound_history_is_sound() {
    assert_eq!(Forgery::sound().found(), []);
}

#[test]
fn promise_1_an_accepted_task_that_is_gone() {
    let mut forgery = Forgery::sound();
    forgery.beside.accepted.push((id(2), None));
    forgery.breaks(1);
    let mut forgery = Forgery::sound();
    forgery.add(submit(id(2), 0));
    forgery.breaks(1);
}

#[test]
fn promise_1_a_task_that_is_removed_before_its_end() {
    let mut forgery = Forgery::sound();
    forgery.beside.standing.clear();
    forgery.add(HistoryEvent::Prune { tasks: vec![forgery.task] });
    assert_eq!(forgery.found(), []);
    let mut forgery = Forgery::new();
    forgery.add(HistoryEvent::Prune { tasks: vec![forgery.task] });
    forgery.breaks(1);
}

#[test]
fn promise_2_a_task_that_never_ends() {
    let mut forgery = Forgery::new();
    forgery.stands(Status::Pending, 0, 0);
    forgery.breaks(2);
    let mut forgery = Forgery::sound();
    forgery.beside.standing.push(standing(id(2), Status::Completed, 0, 0));
    forgery.breaks(2);
}

#[test]
fn promise_3_a_terminal_state_that_changes() {
    let mut forgery = Forgery::sound();
    forgery.add(finish(forgery.task, 1, AttemptOutcome::Failed, Status::Failed));
    forgery.breaks(3);
    let mut forgery = Forgery::sound();
    forgery.beside.standing[0] = standing(forgery.task, Status::Cancelled, 1, 1);
    forgery.breaks(3);
}

#[test]
fn promise_4_an_epoch_that_is_left_out_or_used_twice() {
    let mut forgery = Forgery::new();
    forgery.claim(2);
    forgery.add(finish(forgery.task, 2, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 2, 1);
    forgery.breaks(4);
    let mut forgery = Forgery::new();
    forgery.claim(1);
    // A cancel of a running task takes the next epoch.
    forgery.add(HistoryEvent::Cancel { lease: lease(forgery.task, 1) });
    forgery.stands(Status::Cancelled, 1, 0);
    forgery.breaks(4);
}

#[test]
fn promise_5_two_leases_at_a_time() {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.claim(2);
    forgery.add(finish(forgery.task, 2, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 2, 1);
    forgery.breaks(5);
}

#[test]
fn promise_5_an_attempt_that_two_workers_have_at_a_time() {
    let (first, second) = (WorkerInstanceId::from_u128(9), WorkerInstanceId::from_u128(8));
    let handed = |holder| HistoryEvent::HandOver { leases: vec![lease(id(1), 1)], holder, expires: 60_000 };
    let adopt = |holder| HistoryEvent::Adopt { lease: lease(id(1), 1), holder, expires: 60_000 };
    let with = |lines: &[HistoryEvent]| {
        let mut forgery = Forgery::new();
        forgery.claim(1);
        lines.iter().for_each(|line| forgery.add(line.clone()));
        forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
        forgery.stands(Status::Completed, 1, 1);
        forgery
    };
    assert_eq!(with(&[handed(first), adopt(second), handed(second), adopt(first)]).found(), []);
    with(&[adopt(second)]).breaks(5);
    with(&[handed(first), adopt(second), adopt(first)]).breaks(5);
    with(&[handed(second)]).breaks(5);
    let mut late = Forgery::sound();
    late.add(handed(first));
    late.breaks(3);
}

#[test]
fn promise_5_a_lease_that_is_taken_back_too_early() {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.add(HistoryEvent::TakeBack { lease: lease(forgery.task, 1), died: false, to: Status::Pending, due: None });
    forgery.claim(2);
    forgery.add(finish(forgery.task, 2, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 2, 1);
    forgery.breaks(5);
}

#[test]
fn promise_6_a_result_of_an_old_epoch() {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.add(HistoryEvent::Release {
        lease: lease(forgery.task, 1),
        reason: "shutdown".to_owned(),
        cost: None,
        due: None,
    });
    forgery.claim(2);
    forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Running, 2, 0);
    forgery.beside.settled = false;
    forgery.breaks(6);
}

#[test]
fn promise_7_two_trees_at_a_time() {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.add(HistoryEvent::TakeBack { lease: lease(forgery.task, 1), died: true, to: Status::Pending, due: None });
    forgery.claim(2);
    forgery.add(finish(forgery.task, 2, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 2, 1);
    for (epoch, at, lives) in [(1, 100, true), (2, 150, true), (1, 200, false), (2, 300, false)] {
        forgery.tree(epoch, at, lives);
    }
    forgery.breaks(7);
}

#[test]
fn promise_8_events_with_a_gap() {
    let mut forgery = Forgery::sound();
    forgery.beside.standing[0].events = (5, 4);
    forgery.breaks(8);
}

#[test]
fn promise_9_two_tasks_of_one_key() {
    let mut forgery = Forgery::sound();
    for number in [2, 3] {
        let key = Some(("key".to_owned(), "fingerprint".to_owned()));
        forgery.add(HistoryEvent::Submit {
            task: id(number),
            priority: 0,
            due: None,
            max_attempts: 3,
            concurrency_key: None,
            lane: String::new(),
            key,
            source: Source::Api,
            waits: Vec::new(),
            share: String::new(),
            weight: 1,
            files: Vec::new(),
            verify: false,
            parent: None,
            budget: None,
        });
        forgery.add(HistoryEvent::Cancel { lease: lease(id(number), 0) });
        forgery.beside.standing.push(standing(id(number), Status::Cancelled, 0, 0));
    }
    forgery.breaks(9);
    let mut forgery = Forgery::sound();
    forgery.add(submit(id(2), 0));
    forgery.add(HistoryEvent::Cancel { lease: lease(id(2), 0) });
    forgery.beside.standing.push(standing(id(2), Status::Cancelled, 0, 0));
    forgery.beside.accepted = [id(1), id(2)].map(|task| (task, Some("key".to_owned()))).to_vec();
    forgery.breaks(9);
}

#[test]
fn promise_10_more_ends_or_crashes_than_are_allowed() {
    let mut forgery = Forgery::new();
    for epoch in 1..=4 {
        forgery.claim(epoch);
        let to = if epoch == 4 { Status::Failed } else { Status::Pending };
        forgery.add(finish(forgery.task, epoch, AttemptOutcome::Failed, to));
    }
    forgery.stands(Status::Failed, 4, 4);
    forgery.breaks(10);
    let mut forgery = Forgery::new();
    for epoch in 1..=4 {
        forgery.claim(epoch);
        let to = if epoch == 4 { Status::Failed } else { Status::Pending };
        forgery.add(HistoryEvent::TakeBack { lease: lease(forgery.task, epoch), died: true, to, due: None });
    }
    forgery.stands(Status::Failed, 4, 0);
    forgery.beside.standing[0].crashes = 4;
    forgery.breaks(10);
}

#[test]
fn promise_10_a_suspect_that_does_not_run_alone() {
    let mut forgery = Forgery::new();
    for epoch in 1..=2 {
        forgery.claim(epoch);
        let lease = lease(forgery.task, epoch);
        forgery.add(HistoryEvent::TakeBack { lease, died: true, to: Status::Pending, due: None });
    }
    forgery.claim(3);
    forgery.add(submit(id(2), 0));
    let (lease, holder) = (lease(id(2), 1), forgery.holder);
    forgery.add(HistoryEvent::Claim {
        lease,
        holder,
        credential: String::new(),
        labels: String::new(),
        attempt: 1,
        expires: 90_000,
    });
    forgery.beside.standing = vec![standing(id(1), Status::Running, 3, 0), standing(id(2), Status::Running, 1, 0)];
    forgery.beside.standing[0].crashes = 2;
    forgery.breaks(10);
}

#[test]
fn promise_10_what_counts_as_nothing_was_counted() {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.add(HistoryEvent::Release {
        lease: lease(forgery.task, 1),
        reason: "shutdown".to_owned(),
        cost: None,
        due: None,
    });
    forgery.claim(2);
    forgery.add(finish(forgery.task, 2, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 2, 2);
    forgery.breaks(10);
}

#[test]
fn promise_11_claims_of_a_queue_that_is_paused_or_a_worker_that_drains_or_is_full() {
    for before in [
        HistoryEvent::Pause { paused: true },
        HistoryEvent::Drain { holder: WorkerInstanceId::from_u128(9) },
        HistoryEvent::Limit { concurrency: 0 },
        HistoryEvent::Park { credential: "c".to_owned(), until: 9_000_000 },
    ] {
        let mut forgery = Forgery::new();
        forgery.add(before);
        forgery.claim(1);
        forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
        forgery.stands(Status::Completed, 1, 1);
        forgery.breaks(11);
    }
}

#[test]
fn promise_11_a_worker_without_the_labels_that_a_task_requires() {
    let claimed = |labels: &str| {
        let mut forgery = Forgery::new();
        let submit = submit(id(2), 5);
        let HistoryEvent::Submit {
            task,
            priority,
            due,
            max_attempts,
            concurrency_key,
            key,
            source,
            waits,
            share,
            weight,
            ..
        } = submit
        else {
            unreachable!("a submit")
        };
        let lane = "gpu,repo=web".to_owned();
        forgery.add(HistoryEvent::Submit {
            task,
            priority,
            due,
            max_attempts,
            concurrency_key,
            lane,
            key,
            source,
            waits,
            share,
            weight,
            files: Vec::new(),
            verify: false,
            parent: None,
            budget: None,
        });
        let (holder, credential, labels) = (forgery.holder, String::new(), labels.to_owned());
        // The other one has a higher priority, and is not for a worker without labels.
        let task = if labels.is_empty() { id(1) } else { id(2) };
        let lease = lease(task, 1);
        forgery.add(HistoryEvent::Claim { lease, holder, credential, labels, attempt: 1, expires: 90_000 });
        for number in [1, 2] {
            let (status, epoch) = if id(number) == task { (Status::Running, 1) } else { (Status::Pending, 0) };
            forgery.beside.standing.push(standing(id(number), status, epoch, 0));
        }
        forgery
    };
    assert_eq!(claimed("").found(), []);
    assert_eq!(claimed("gpu=a100,repo=web").found(), []);
    claimed("gpu").breaks(11);
}

#[test]
fn promise_11_more_of_a_concurrency_key_than_may_run() {
    let two = || {
        let mut forgery = Forgery::new();
        for number in [2, 3] {
            let concurrency_key = Some("repo".to_owned());
            let task = id(number);
            forgery.add(HistoryEvent::Submit {
                task,
                priority: 5,
                due: None,
                max_attempts: 3,
                concurrency_key,
                lane: String::new(),
                key: None,
                source: Source::Api,
                waits: Vec::new(),
                share: String::new(),
                weight: 1,
                files: Vec::new(),
                verify: false,
                parent: None,
                budget: None,
            });
        }
        forgery
    };
    let run = |mut forgery: Forgery| {
        for number in [2, 3] {
            let (lease, holder) = (lease(id(number), 1), WorkerInstanceId::from_u128(number.into()));
            forgery.add(HistoryEvent::Claim {
                lease,
                holder,
                credential: String::new(),
                labels: String::new(),
                attempt: 1,
                expires: 90_000,
            });
            forgery.beside.standing.push(standing(id(number), Status::Running, 1, 0));
        }
        forgery.beside.standing.push(standing(id(1), Status::Pending, 0, 0));
        forgery.beside.settled = false;
        forgery
    };
    let group = Group::new(GroupKind::ConcurrencyKey, "repo");
    let set = |concurrency, paused| {
        let mut forgery = two();
        forgery.add(HistoryEvent::SetLimit { group: group.clone(), limit: Limit { concurrency, paused, rate: None } });
        forgery
    };
    run(two()).breaks(11);
    run(set(Some(3), true)).breaks(11);
    assert_eq!(run(set(Some(2), false)).found(), []);
}

#[test]
fn promise_17_a_task_before_those_that_it_depends_on() {
    let claimed = |any_end: bool, end: Option<Status>, more: &[HistoryEvent]| {
        let mut forgery = Forgery::new();
        let mut dependent = submit(id(2), 0);
        if let HistoryEvent::Submit { waits, .. } = &mut dependent {
            waits.push(Wait { task: id(1), any_end });
        }
        forgery.add(dependent);
        if let Some(end) = end {
            forgery.claim(1);
            let outcome = if end == Status::Completed { AttemptOutcome::Completed } else { AttemptOutcome::Failed };
            forgery.add(finish(id(1), 1, outcome, end));
            forgery.stands(end, 1, 1);
        } else {
            // Out of the way: what is judged is not its place in line.
            forgery.add(HistoryEvent::Hold { tasks: vec![id(1)], why: "time:".to_owned(), due: 9_000_000 });
            forgery.beside.standing.push(standing(id(1), Status::Pending, 0, 0));
        }
        more.iter().for_each(|did| forgery.add(did.clone()));
        let (holder, credential, labels) = (forgery.holder, String::new(), String::new());
        let lease = lease(id(2), 1);
        forgery.add(HistoryEvent::Claim { lease, holder, credential, labels, attempt: 1, expires: 90_000 });
        forgery.beside.standing.push(standing(id(2), Status::Running, 1, 0));
        forgery.beside.settled = false;
        forgery
    };
    claimed(false, None, &[]).breaks(17);
    claimed(true, None, &[]).breaks(17);
    claimed(false, Some(Status::Failed), &[]).breaks(17);
    assert_eq!(claimed(true, Some(Status::Failed), &[]).found(), []);
    assert_eq!(claimed(false, Some(Status::Completed), &[]).found(), []);
    assert_eq!(claimed(false, None, &[HistoryEvent::Waive { task: id(2) }]).found(), []);
    let mut retried = claimed(false, Some(Status::Completed), &[]);
    retried.lines.insert(
        retried.lines.len() - 1,
        Entry {
            commit: 0,
            at: 1_000_001,
            boot_ms: 1,
            did: HistoryEvent::Repoint { task: id(3), from: id(1), tasks: vec![id(2)] },
        },
    );
    retried.breaks(17);
}

#[test]
fn promise_18_a_file_goes_before_the_task_that_names_it_has_ended() {
    let file = |key: &str| NamedFile { key: key.to_owned(), id: "a".repeat(64).parse().expect("an id") };
    let removed = |of: &str, ended: bool| {
        let mut forgery = Forgery::new();
        if let HistoryEvent::Submit { files, .. } = &mut forgery.lines[0].did {
            files.push(file("team"));
        }
        forgery.claim(1);
        let gone = HistoryEvent::RemoveFile { file: file(of) };
        let end = finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed);
        let order = if ended { [end, gone] } else { [gone, end] };
        order.into_iter().for_each(|did| forgery.add(did));
        forgery.stands(Status::Completed, 1, 1);
        forgery
    };
    removed("team", false).breaks(18);
    assert_eq!(removed("team", true).found(), []);
    assert_eq!(removed("other", false).found(), []);
}

/// Tasks of two shares, claimed in this order.
fn of_shares(weights: [i64; 2], order: &[(u8, &str)]) -> Forgery {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 1, 1);
    for (number, of) in order {
        let mut did = submit(id(*number), 0);
        if let HistoryEvent::Submit { share, weight, .. } = &mut did {
            (*share, *weight) = ((*of).to_owned(), weights[usize::from(*of == "b")]);
        }
        forgery.add(did);
    }
    for (number, _) in order {
        let (holder, credential, labels) =
            (WorkerInstanceId::from_u128(u128::from(*number)), String::new(), String::new());
        let lease = lease(id(*number), 1);
        forgery.add(HistoryEvent::Claim { lease, holder, credential, labels, attempt: 1, expires: 90_000 });
        forgery.beside.standing.push(standing(id(*number), Status::Running, 1, 0));
    }
    forgery.beside.settled = false;
    forgery
}

#[test]
fn promise_12_a_share_that_starves() {
    let turns =
        |order: &str| order.bytes().zip(2..).map(|(of, n)| (n, if of == b'a' { "a" } else { "b" })).collect::<Vec<_>>();
    assert_eq!(of_shares([1, 1], &turns("aabbab")).found(), []);
    of_shares([1, 1], &turns("aaab")).breaks(12);
    assert_eq!(of_shares([3, 1], &turns("aaaab")).found(), []);
    of_shares([3, 1], &turns("aaaaab")).breaks(12);
}

#[test]
fn promise_12_tasks_that_start_out_of_turn_or_too_early() {
    let mut forgery = Forgery::new();
    forgery.add(submit(id(2), 5));
    forgery.claim(1);
    forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 1, 1);
    forgery.beside.standing.push(standing(id(2), Status::Pending, 0, 0));
    forgery.beside.settled = false;
    forgery.breaks(12);
    let mut forgery = Forgery::new();
    let due = Some(2_000_000);
    forgery.lines[0].did = HistoryEvent::Submit {
        task: forgery.task,
        priority: 0,
        due,
        max_attempts: 3,
        concurrency_key: None,
        lane: String::new(),
        key: None,
        source: Source::Api,
        waits: Vec::new(),
        share: String::new(),
        weight: 1,
        files: Vec::new(),
        verify: false,
        parent: None,
        budget: None,
    };
    forgery.claim(1);
    forgery.add(finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed));
    forgery.stands(Status::Completed, 1, 1);
    forgery.breaks(12);
    forgery.lines.insert(
        1,
        Entry { commit: 0, at: 1_900_000, boot_ms: 1, did: HistoryEvent::Due { tasks: vec![forgery.task] } },
    );
    forgery.breaks(12);
    forgery.lines[1].at = 2_000_000;
    assert_eq!(forgery.found(), []);
}

#[test]
fn promise_13_processes_that_outlive_a_cancel() {
    let mut forgery = Forgery::new();
    forgery.claim(1);
    forgery.add(HistoryEvent::Cancel { lease: lease(forgery.task, 2) });
    forgery.stands(Status::Cancelled, 2, 0);
    forgery.tree(1, 2_500, true);
    forgery.tree(1, 9_000, false);
    forgery.breaks(13);
    // The machine stood still meanwhile.
    forgery.beside.excused.push((4_000, 8_500));
    assert_eq!(forgery.found(), []);
}

#[test]
fn promise_14_costs_that_are_lost_or_counted_twice() {
    let reported = || {
        let mut forgery = Forgery::new();
        forgery.claim(1);
        let mut did = finish(forgery.task, 1, AttemptOutcome::Completed, Status::Completed);
        if let HistoryEvent::Finish { cost, .. } = &mut did {
            *cost = Some(Usd::of(0.5));
        }
        forgery.add(did);
        forgery.stands(Status::Completed, 1, 1);
        forgery
    };
    let mut kept = reported();
    kept.beside.standing[0].attempt_costs = vec![(Epoch::of(1), Usd::of(0.5))];
    kept.beside.standing[0].cost = Some(Usd::of(0.5));
    assert_eq!(kept.found(), []);
    reported().breaks(14);
    let mut twice = reported();
    twice.beside.standing[0].attempt_costs = vec![(Epoch::of(1), Usd::of(0.5))];
    twice.beside.standing[0].cost = Some(Usd::of(1.0));
    twice.breaks(14);
}

#[test]
fn promise_15_completed_without_a_result() {
    let mut forgery = Forgery::sound();
    forgery.beside.standing[0].well_completed = false;
    forgery.breaks(15);
}

#[test]
fn promise_16_a_schedule_fires_each_time_once_and_stays_removed() {
    let schedule = domain::ScheduleId::from_u128(16);
    let fire = |due| HistoryEvent::Fire { schedule, due: Some(due), made: None };
    let made = || {
        let mut forgery = Forgery::sound();
        forgery.add(HistoryEvent::PutSchedule { schedule, new: true });
        forgery.add(fire(1_000));
        forgery
    };
    let mut well = made();
    well.add(HistoryEvent::PutSchedule { schedule, new: false });
    well.add(fire(2_000));
    // After a clock that was set back its times come again.
    well.add(HistoryEvent::Replan { schedule, next: 1_500 });
    well.add(fire(2_000));
    well.add(HistoryEvent::RemoveSchedule { schedule });
    assert_eq!(well.found(), []);
    let mut twice = made();
    twice.add(fire(1_000));
    twice.breaks(16);
    for after in [fire(3_000), HistoryEvent::PutSchedule { schedule, new: false }] {
        let mut removed = made();
        removed.add(HistoryEvent::RemoveSchedule { schedule });
        removed.add(after);
        removed.breaks(16);
    }
}

#[test]
fn a_line_that_can_not_be_read_is_named_and_ends_nothing() {
    let mut forgery = Forgery::sound();
    forgery.add(HistoryEvent::Unread { why: "of another version".to_owned() });
    forgery.breaks(2);
    let mut forgery = Forgery::sound();
    forgery.beside.unread.push((id(9), "status unheard".to_owned()));
    forgery.breaks(2);
}

#[test]
fn what_is_older_than_the_history_is_not_judged() {
    let mut forgery = Forgery::sound();
    // Long before the first line.
    let old = TaskId::from_u128(7 << 76 | 2 << 62);
    forgery.add(HistoryEvent::Cancel { lease: lease(old, 4) });
    forgery.beside.standing.push(standing(old, Status::Cancelled, 4, 0));
    assert_eq!(forgery.found(), []);
}

#[test]
fn promise_19_completed_without_the_check_that_was_asked_for() {
    let with = |verified: bool| {
        let mut forgery = Forgery::sound();
        for line in &mut forgery.lines {
            match &mut line.did {
                HistoryEvent::Submit { verify, .. } => *verify = true,
                HistoryEvent::Finish { verified: was, .. } => *was = verified,
                _ => {}
            }
        }
        forgery
    };
    assert_eq!(with(true).found(), []);
    with(false).breaks(19);
}

#[test]
fn promise_20_a_race_with_two_winners_or_one_that_goes_on() {
    let race = |winner: Option<TaskId>| {
        let mut forgery = Forgery::sound();
        let task = forgery.beside.standing[0].task;
        let start = HistoryEvent::StartRace { race: task, tasks: vec![task] };
        let at =
            forgery.lines.iter().position(|line| matches!(line.did, HistoryEvent::Submit { .. })).expect("a submit");
        let entry = Entry { did: start, ..forgery.lines[at].clone() };
        forgery.lines.insert(at + 1, entry);
        forgery.add(HistoryEvent::DecideRace { race: task, winner });
        (forgery, task)
    };
    let (_, task) = race(None);
    assert_eq!(race(Some(task)).0.found(), []);
    let (mut twice, _) = race(Some(task));
    twice.add(HistoryEvent::DecideRace { race: task, winner: None });
    twice.breaks(20);
    let mut early = race(Some(task)).0;
    let decided = early.lines.pop().expect("a line");
    let claim = early.lines.iter().position(|line| matches!(line.did, HistoryEvent::Claim { .. })).expect("a claim");
    early.lines.insert(claim, decided);
    early.breaks(20);
}

/// A task with a budget of 1 that runs, and one that is made from inside it with this budget.
fn with_child(budget: Option<Usd>) -> Forgery {
    let mut forgery = Forgery::new();
    if let HistoryEvent::Submit { budget, .. } = &mut forgery.lines[0].did {
        *budget = Some(Usd::of(1.0));
    }
    forgery.claim(1);
    forgery.add(child(2, forgery.task, budget));
    forgery.stands(Status::Running, 1, 0);
    forgery.beside.settled = false;
    forgery.beside.standing.push(standing(id(2), Status::Pending, 0, 0));
    forgery
}

fn child(number: u8, of: TaskId, of_budget: Option<Usd>) -> HistoryEvent {
    let mut did = submit(id(number), 0);
    if let HistoryEvent::Submit { parent, budget, .. } = &mut did {
        (*parent, *budget) = (Some(of), of_budget);
    }
    did
}

#[test]
fn promise_21_children_that_cost_more_than_their_parent_may() {
    let mut forgery = with_child(Some(Usd::of(0.6)));
    assert_eq!(forgery.found(), []);
    forgery.add(child(3, forgery.task, Some(Usd::of(0.4))));
    forgery.beside.standing.push(standing(id(3), Status::Pending, 0, 0));
    assert_eq!(forgery.found(), []);
    forgery.add(child(4, forgery.task, Some(Usd::of(0.1))));
    forgery.beside.standing.push(standing(id(4), Status::Pending, 0, 0));
    forgery.breaks(21);
    with_child(None).breaks(21);
    with_child(Some(Usd::of(1.1))).breaks(21);
}

#[test]
fn promise_21_children_of_a_task_that_does_not_run_or_was_cancelled() {
    let mut forgery = Forgery::new();
    forgery.add(child(2, forgery.task, None));
    forgery.stands(Status::Pending, 0, 0);
    forgery.beside.settled = false;
    forgery.beside.standing.push(standing(id(2), Status::Pending, 0, 0));
    forgery.breaks(21);
    let mut forgery = with_child(Some(Usd::of(0.5)));
    forgery.beside.standing.remove(0);
    forgery.add(HistoryEvent::Cancel { lease: lease(forgery.task, 2) });
    forgery.stands(Status::Cancelled, 2, 0);
    forgery.beside.settled = false;
    forgery.breaks(21);
    forgery.add(HistoryEvent::Cancel { lease: lease(id(2), 0) });
    forgery.beside.standing[0] = standing(id(2), Status::Cancelled, 0, 0);
    assert_eq!(forgery.found(), []);
}
