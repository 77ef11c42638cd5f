//! The statements do what the domain says: the same commands on both, compared after each.

use crate::queue::PollReply;
use std::time::Duration;
use strum::VariantArray as _;

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Change, Unit, asked};
use crate::process::boot_now;
use crate::queue::commit::commit;
use crate::queue::messages::{
    Adopt, Append, Beat, Cancel, Claim, Directory, Expire, Finish, HandOver, HolderDied, NewTask, Release, Renew,
    SetLimit, Submit, Submitted, TakeBackOrphan,
};
use crate::queue::schedules::{PutSchedule, SchedulePut};
use crate::store::convert::record_of;
use crate::store::rows::{TaskBefore, TaskRow};
use crate::store::views::{Poll, ReadEvents, Schedule};
use crate::store::{self, About, Store, test_server};
use domain::{
    AttemptOutcome, Epoch, EventKind, Failure, FailureClass, Group, GroupKind, Labels, Lease, LeaseKey, LimitChange,
    Missed, Name, NewEvent, Outcome, Overlap, Record, ReleaseReason, Report, ScheduleId, Spent, State, Status,
    TaskCommand, TaskId, Timestamp, Usd, WorkerInstanceId,
};
use wire::TaskSpec;

/// A store of its own.
pub(super) struct Scratch {
    pub store: Arc<dyn Store>,
    folder: PathBuf,
}

impl Scratch {
    pub async fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(format!("cca-store-{}", uuid::Uuid::new_v4().simple()));
        let store = store::open_file(&folder.join("cc.db"), false).await.expect("a store");
        Self { store, folder }
    }

    pub async fn postgres() -> Self {
        Self { store: test_server::open_fresh().await, folder: PathBuf::from("/nonexistent") }
    }

    pub async fn ask<C: Change>(&self, change: C) -> C::Answer {
        let (waiting, answer) = asked(change);
        let answer = answer.wait();
        commit(&*self.store, vec![waiting]).await;
        answer.await.expect("stored")
    }

    async fn submit(&self) -> TaskId {
        let spec = serde_json::json!({
            "instruction": "x",
            "options": { "retry": { "initialDelay": 0, "maxDelay": 0 } },
        });
        let spec: TaskSpec = serde_json::from_value(spec).expect("a spec");
        let task = NewTask {
            id: TaskId::new(),
            spec,
            directory: Directory::OwnBelow("/w".into()),
            retry_of: None,
            dependencies: Vec::new(),
            key: "default".into(),
            share: ("default".to_owned(), 1),
            sees_all: true,
            exclusive: false,
            resumes: None,
            trace_parent: None,
        };
        match self
            .ask(Submit {
                task: Box::new(task),
                idempotency: None,
                max_pending: 100,
                limits: wire::KeyLimits::default(),
            })
            .await
        {
            Submitted::Created(task) => task.id,
            other => panic!("{other:?}"),
        }
    }

    pub async fn row(&self, id: TaskId) -> TaskRow {
        let mut unit = Unit::begin(&*self.store, About::default()).await.expect("begun");
        unit.find(id).await.expect("a read").expect("a row")
    }

    /// Changes a row beside all rules.
    async fn put(&self, row: &TaskRow) {
        let mut unit = Unit::begin(&*self.store, About::default()).await.expect("begun");
        let status = unit.find(row.id).await.expect("a read").and_then(|row| row.status.known()).expect("a status");
        unit.tx.update_task(row, TaskBefore { status, epoch: row.epoch }).await.expect("written");
        unit.commit().await.expect("committed");
    }

    async fn poll(&self, holder: WorkerInstanceId, leases: &[LeaseKey]) -> PollReply {
        let poll = Poll { holder, credential: "", heard: &[], labels: &Labels::default() };
        PollReply::of(leases, &[], self.store.poll(&poll).await.expect("polled"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

fn any_holder() -> impl Strategy<Value = WorkerInstanceId> {
    (1_u128..3).prop_map(WorkerInstanceId::from_u128)
}

fn any_command() -> impl Strategy<Value = TaskCommand> {
    use FailureClass::*;
    let epoch = (0_i64..6).prop_map(Epoch::of);
    let class = prop::sample::select(vec![Invalid, UsageLimit, Network, Crashed, Timeout, Execution]);
    let outcome = prop_oneof![
        1 => Just(Outcome::Completed),
        4 => class.prop_map(|class| Outcome::Failed(Failure::new(class, "CODE", "message"))),
    ];
    let expires = boot_now().plus_ms(3_600_000);
    prop_oneof![
        5 => any_holder().prop_map(move |holder| TaskCommand::Claim(Lease { holder, expires })),
        2 => epoch.clone().prop_map(move |epoch| TaskCommand::Renew { epoch, expires }),
        1 => (epoch.clone(), any_holder()).prop_map(move |(epoch, holder)| {
            TaskCommand::Adopt { epoch, lease: Lease { holder, expires } }
        }),
        3 => (epoch.clone(), outcome).prop_map(|(epoch, outcome)| TaskCommand::Finish { epoch, outcome }),
        2 => epoch.prop_map(|epoch| TaskCommand::Release { epoch, delay: Duration::ZERO }),
        1 => any_holder().prop_map(TaskCommand::HolderDied),
        1 => prop::bool::ANY.prop_map(move |late| {
            // A day later every lease has ended; now, none has.
            TaskCommand::Expire { now: boot_now().plus_ms(if late { 86_400_000 } else { 0 }) }
        }),
        1 => Just(TaskCommand::Cancel),
    ]
}

/// Sends the command to the store; returns whether anything changed.
async fn send(scratch: &Scratch, task: TaskId, model: &Record, command: &TaskCommand) -> bool {
    let lease = Duration::from_secs(3_600);
    match command.clone() {
        TaskCommand::Claim(Lease { holder, .. }) => {
            let claim = Claim {
                holder,
                worker: "w".into(),
                credential: String::new(),
                labels: Labels::default(),
                limit: 1,
                budgets: domain::Budgets::default(),
                lease,
            };
            scratch.ask(claim).await.iter().any(|claimed| claimed.task.id == task)
        }
        TaskCommand::Renew { epoch, .. } => {
            let key = LeaseKey { task, epoch };
            let holder = match &model.state {
                State::Running(lease) => lease.holder,
                _ => WorkerInstanceId::from_u128(1),
            };
            scratch.ask(Renew { holder, leases: vec![key], lease }).await.lost.is_empty()
        }
        TaskCommand::Adopt { epoch, lease: Lease { holder, .. } } => {
            if let State::Running(Lease { holder, .. }) = model.state {
                let leases = vec![LeaseKey { task, epoch: model.epoch }];
                scratch.ask(HandOver { holder, leases, lease }).await;
            }
            scratch.ask(Adopt { key: LeaseKey { task, epoch }, holder, worker: "w".into(), lease }).await.is_ok()
        }
        TaskCommand::Finish { epoch, outcome } => {
            let finish = Finish {
                key: LeaseKey { task, epoch },
                credential: String::new(),
                report: Report::of(outcome),
                events: vec![],
                chance: 0.5,
            };
            scratch.ask(finish).await.is_ok()
        }
        TaskCommand::Release { epoch, .. } => {
            let release = Release {
                key: LeaseKey { task, epoch },
                reason: ReleaseReason::Shutdown,
                detail: None,
                delay: Duration::ZERO,
                spent: Spent::NONE,
                session_id: None,
                events: vec![],
            };
            scratch.ask(release).await.is_ok()
        }
        TaskCommand::HolderDied(holder) => scratch.ask(HolderDied(holder)).await == 1,
        TaskCommand::Expire { now } => {
            let State::Running(Lease { holder, .. }) = model.state else { return false };
            // The store has a clock of its own: instead of it, the lease is moved.
            let row = scratch.row(task).await;
            let lease_ms = row.lease_ms.map(|ms| ms - (now.ms - boot_now().ms));
            scratch.put(&TaskRow { lease_ms, ..row }).await;
            scratch.ask(Expire { task, holder }).await
        }
        TaskCommand::Cancel => matches!(scratch.ask(Cancel(task)).await, crate::queue::Cancelled::Done(_)),
    }
}

fn essence(record: &Record) -> (Status, Epoch, i32, i32, i32, Option<WorkerInstanceId>) {
    let holder = match &record.state {
        State::Running(lease) => Some(lease.holder),
        _ => None,
    };
    (record.state.status(), record.epoch, record.attempt, record.ended, record.crashes, holder)
}

async fn compare(scratch: &Scratch, commands: Vec<TaskCommand>) -> Result<(), TestCaseError> {
    let task = scratch.submit().await;
    let mut model = record_of(&scratch.row(task).await).expect("a record");
    for command in commands {
        let changed = send(scratch, task, &model, &command).await;
        let applied = model.apply(command.clone(), Timestamp(i64::MAX / 2), 0.5);
        prop_assert_eq!(changed, applied.is_ok(), "{:?}", command);
        let row = scratch.row(task).await;
        let stored = record_of(&row).expect("a record");
        prop_assert_eq!(essence(&stored), essence(&model), "after {:?}", command);
    }
    check_attempts(scratch, task, &model).await?;
    check_events_and_counts(scratch, task).await
}

/// The history has each start once, and an end for all but one that runs.
async fn check_attempts(scratch: &Scratch, task: TaskId, model: &Record) -> Result<(), TestCaseError> {
    let attempts = scratch.store.reader().task(task).await.expect("a read").and_then(|task| task.attempts);
    let attempts = attempts.expect("its attempts");
    let numbers: Vec<i32> = attempts.iter().map(|attempt| attempt.number).collect();
    prop_assert_eq!(numbers, (1..=model.attempt).collect::<Vec<_>>());
    let open = attempts.iter().filter(|attempt| attempt.outcome.is_none()).count();
    prop_assert_eq!(open, usize::from(model.state.status() == Status::Running));
    let ended = attempts
        .iter()
        .filter(|attempt| {
            attempt.outcome == Some(AttemptOutcome::Completed.into())
                || attempt.outcome == Some(AttemptOutcome::Failed.into())
        })
        .count();
    prop_assert!(ended >= usize::try_from(model.ended).unwrap_or_default(), "usage limits end without counting");
    Ok(())
}

/// Events are numbered without gap, and the counts are what counting would give.
async fn check_events_and_counts(scratch: &Scratch, task: TaskId) -> Result<(), TestCaseError> {
    let read = ReadEvents { task, after: 0, limit: 1_000, bytes: u64::MAX >> 1 };
    let page = scratch.store.reader().events(read).await.expect("events");
    let numbers: Vec<i64> = page.events.iter().map(|event| event.seq).collect();
    prop_assert_eq!(&numbers, &(1..=numbers.len() as i64).collect::<Vec<_>>());
    let row = scratch.row(task).await;
    prop_assert_eq!(row.last_event, numbers.len() as i64);
    let stats = scratch.store.reader().stats(None).await.expect("stats");
    for status in Status::VARIANTS.iter().copied() {
        prop_assert_eq!(stats.count(status), i64::from(row.status == status.into()), "{}", status);
    }
    Ok(())
}

async fn one_bad_command_does_not_take_its_neighbours_along(scratch: Scratch) {
    let task = scratch.submit().await;
    let row = scratch.row(task).await;
    scratch.put(&TaskRow { status: Status::Running.into(), holder: Some(WorkerInstanceId::from_u128(1)), ..row }).await;
    let (bad, bad_answer) = asked(Cancel(task));
    let beat = Beat {
        holder: WorkerInstanceId::from_u128(1),
        name: "w".into(),
        running: 0,
        concurrency: 1,
        labels: Labels::default(),
    };
    let (good, good_answer) = asked(beat);
    let (bad_answer, good_answer) = (bad_answer.wait(), good_answer.wait());
    commit(&*scratch.store, vec![bad, good]).await;
    assert!(matches!(bad_answer.await, Err(error) if !matches!(error, crate::queue::QueueError::Restarting)));
    assert!(good_answer.await.is_ok());
}

async fn a_stale_epoch_appends_nothing_and_a_check_names_what_was_lost(scratch: Scratch) {
    let task = scratch.submit().await;
    let holder = WorkerInstanceId::from_u128(1);
    let claim = Claim {
        holder,
        worker: "w".into(),
        credential: String::new(),
        labels: Labels::default(),
        limit: 5,
        budgets: domain::Budgets::default(),
        lease: Duration::from_secs(60),
    };
    let key = scratch.ask(claim).await.first().expect("a task").key;
    let append = |epoch| Append {
        key: LeaseKey { task, epoch },
        from: 0,
        events: vec![NewEvent::log("x")],
        session_id: None,
        cost_so_far: None,
        looping: None,
        transcript: Vec::new(),
        essential: false,
    };
    assert!(scratch.ask(append(key.epoch)).await.is_ok());
    assert!(scratch.ask(append(key.epoch)).await.is_ok(), "the same again: its answer was lost");
    assert!(scratch.ask(append(Epoch::FIRST)).await.is_err());
    assert_eq!(scratch.poll(holder, &[]).await.forgotten, [key]);
    scratch.ask(Cancel(task)).await;
    let looked = scratch.poll(holder, &[key]).await;
    assert_eq!((looked.lost, looked.work), (vec![key], false));
    assert!(scratch.ask(append(key.epoch)).await.is_err());
    let read = ReadEvents { task, after: 0, limit: 10, bytes: u64::MAX >> 1 };
    let kinds: Vec<_> =
        scratch.store.reader().events(read).await.expect("events").events.iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EventKind::Status, EventKind::Status, EventKind::Log, EventKind::Status]);
}

async fn an_attempt_that_is_handed_over_is_taken_over_once(scratch: Scratch) {
    let [first, second, third] = [1, 2, 3].map(WorkerInstanceId::from_u128);
    let lease = Duration::from_secs(60);
    let beat = |holder| Beat { holder, name: "w".into(), running: 0, concurrency: 2, labels: Labels::default() };
    let adopt = |key, holder| Adopt { key, holder, worker: "next".into(), lease };
    let adopted = async |holder| scratch.store.reader().adopted(holder).await.expect("a read");
    for holder in [first, second, third] {
        scratch.ask(beat(holder)).await;
    }
    let tasks = [scratch.submit().await, scratch.submit().await];
    let claim = Claim {
        holder: first,
        worker: "w".into(),
        credential: String::new(),
        labels: Labels::default(),
        limit: 2,
        budgets: domain::Budgets::default(),
        lease,
    };
    let keys: Vec<LeaseKey> = scratch.ask(claim).await.into_iter().map(|claimed| claimed.key).collect();
    let (key, other) = (keys[0], keys[1]);
    assert!(scratch.ask(adopt(key, second)).await.is_err(), "its worker lives");
    assert!(!scratch.ask(TakeBackOrphan(key)).await, "its worker lives");
    let stale = LeaseKey { epoch: Epoch::of(9), ..key };
    let lost = scratch.ask(HandOver { holder: first, leases: vec![key, other, stale], lease }).await;
    assert_eq!(lost, [stale]);
    assert!(scratch.ask(adopt(stale, second)).await.is_err());
    let assignment = scratch.ask(adopt(key, second)).await.expect("it is free");
    assert_eq!((assignment.key, assignment.task.worker.as_deref()), (key, Some("next")));
    assert!(scratch.ask(adopt(key, third)).await.is_err(), "another one has it");
    let row = scratch.row(key.task).await;
    assert_eq!((row.holder, row.worker.as_deref(), row.epoch), (Some(second), Some("next"), key.epoch));
    let held = adopted(second).await;
    assert_eq!(held.iter().map(|held| (held.task, held.tree_holder)).collect::<Vec<_>>(), [(key.task, first)]);
    let found = async |key| scratch.store.reader().handed_over(key).await.expect("a read");
    assert_eq!(found(key).await.map(|found| found.is_held), Some(true), "it lives");
    assert_eq!(found(other).await.map(|found| found.is_held), Some(false), "nobody has it");
    assert_eq!(found(stale).await, None);
    // And on to the third: the mark of its processes stays that of the first.
    scratch.ask(HandOver { holder: second, leases: vec![key], lease }).await;
    scratch.ask(adopt(key, third)).await.expect("it is free");
    assert_eq!(adopted(third).await[0].tree_holder, first);
    scratch.put(&TaskRow { lease_ms: Some(0), ..scratch.row(key.task).await }).await;
    let expired = scratch.store.reader().holdings().await.expect("a read").expired;
    assert_eq!(expired.iter().map(|held| (held.holder, held.tree_holder)).collect::<Vec<_>>(), [(third, first)]);
    assert_eq!(scratch.ask(HolderDied(third)).await, 1);
    assert!(scratch.ask(TakeBackOrphan(other)).await, "nobody has it");
    assert!(!scratch.ask(TakeBackOrphan(other)).await, "it is pending");
    for task in tasks {
        assert_eq!(scratch.row(task).await.status, Status::Pending.into());
    }
}

async fn a_cost_is_in_the_ledger_once_also_when_its_report_comes_late(scratch: Scratch) {
    let task = scratch.submit().await;
    let holder = WorkerInstanceId::from_u128(1);
    let claim = || Claim {
        holder,
        worker: "w".into(),
        credential: String::new(),
        labels: Labels::default(),
        limit: 1,
        budgets: domain::Budgets::default(),
        lease: Duration::from_secs(60),
    };
    let report = |key, usd| {
        let failure = Failure::new(FailureClass::Network, "NETWORK", "x");
        let report = Report {
            spent: Spent { cost_usd: Some(Usd::of(usd)), ..Spent::default() },
            ..Report::of(Outcome::Failed(failure))
        };
        Finish { key, report, credential: String::new(), events: vec![], chance: 0.0 }
    };
    let first = scratch.ask(claim()).await[0].key;
    scratch.ask(HolderDied(holder)).await;
    let second = scratch.ask(claim()).await[0].key;
    assert!(scratch.ask(report(first, 0.5)).await.is_err(), "too late to count as an end");
    assert!(scratch.ask(report(first, 0.5)).await.is_err(), "and once more");
    assert!(scratch.ask(report(second, 0.25)).await.is_ok());
    assert!(scratch.ask(report(second, 0.25)).await.is_err(), "repeated");
    let task = scratch.store.reader().task(task).await.expect("a read").expect("a task");
    assert_eq!(task.attempted.cost_usd, Some(Usd::of(0.75)));
    let attempts = task.attempts.expect("its attempts");
    let seen: Vec<_> =
        attempts.iter().map(|attempt| (attempt.outcome.as_ref().map(Name::name), attempt.spent.cost_usd)).collect();
    assert_eq!(seen, [(Some("crashed"), Some(Usd::of(0.5))), (Some("failed"), Some(Usd::of(0.25)))]);
}

async fn as_many_are_let_go_as_have_left_at_once(scratch: Scratch) {
    let change = LimitChange { concurrency: Some(Some(6)), ..LimitChange::default() };
    scratch.ask(SetLimit { group: Group::new(GroupKind::Key, "default"), change: Some(change) }).await;
    for _ in 0..16 {
        scratch.submit().await;
    }
    let claim = || Claim {
        holder: WorkerInstanceId::from_u128(1),
        worker: "w".into(),
        credential: String::new(),
        labels: Labels::default(),
        limit: 16,
        budgets: domain::Budgets::default(),
        lease: Duration::from_secs(60),
    };
    let first = scratch.ask(claim()).await;
    assert_eq!((first.len(), scratch.ask(claim()).await.len()), (6, 0));
    // All of them end in one commit.
    let ends = first.iter().map(|task| asked(Cancel(task.key.task)).0).collect();
    commit(&*scratch.store, ends).await;
    assert_eq!(scratch.ask(claim()).await.len(), 6);
}

async fn a_schedule_that_is_changed_keeps_its_next_firing_unless_its_timetable_changes(scratch: Scratch) {
    let spec: TaskSpec = serde_json::from_value(serde_json::json!({ "instruction": "x" })).expect("a spec");
    let one = |cron: &str, next: i64| Schedule {
        id: ScheduleId::from_u128(7),
        name: None,
        cron: cron.to_owned(),
        time_zone: "UTC".to_owned(),
        spec: spec.clone(),
        unreadable: None,
        key: "default".to_owned(),
        missed: Missed::Once,
        overlap: Overlap::Allow,
        continue_session: false,
        enabled: true,
        next_at: Some(Timestamp(next)),
        created_at: Timestamp(0),
    };
    let mut next = Vec::new();
    for (cron, at) in [("0 * * * *", 1), ("0 * * * *", 2), ("5 * * * *", 3)] {
        let put = PutSchedule { schedule: Box::new(one(cron, at)), new: true, most: None };
        assert_eq!(scratch.ask(put).await, SchedulePut::Stored);
        let stored = scratch.store.reader().schedule(ScheduleId::from_u128(7)).await.expect("a read").expect("it");
        next.push(stored.next_at);
    }
    // What was read before a firing doesn't bring the firing back.
    assert_eq!(next, [Some(Timestamp(1)), Some(Timestamp(1)), Some(Timestamp(3))]);
}

/// The tests, over one engine.
macro_rules! over {
    ($engine:ident, $cases:literal: $($test:ident),* $(,)?) => {
        mod $engine {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn the_statements_do_what_the_domain_says(commands in prop::collection::vec(any_command(), 1..25)) {
                    actix::System::new().block_on(async { compare(&Scratch::$engine().await, commands).await })?;
                }
            }

            $(#[actix::test]
            async fn $test() {
                super::$test(Scratch::$engine().await).await;
            })*
        }
    };
}

macro_rules! over_each_engine {
    ($($test:ident),* $(,)?) => {
        over!(sqlite, 48: $($test),*);
        over!(postgres, 16: $($test),*);
    };
}

over_each_engine!(
    one_bad_command_does_not_take_its_neighbours_along,
    a_stale_epoch_appends_nothing_and_a_check_names_what_was_lost,
    a_cost_is_in_the_ledger_once_also_when_its_report_comes_late,
    as_many_are_let_go_as_have_left_at_once,
    an_attempt_that_is_handed_over_is_taken_over_once,
    a_schedule_that_is_changed_keeps_its_next_firing_unless_its_timetable_changes,
);
