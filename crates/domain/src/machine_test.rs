//! Invariants of a task under any sequence of commands.

use crate::Epoch;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::time::Duration;
use strum::VariantArray as _;

use super::*;
use crate::machine::Refusal;
use crate::planted::Fault;

const BOOT: BootId = BootId::from_u128(7);

fn at(ms: i64) -> BootInstant {
    BootInstant { boot: BOOT, ms }
}

fn fresh(max_attempts: i32, retry_timeouts: bool) -> Record {
    Record {
        state: State::Pending { due: None },
        epoch: Epoch::FIRST,
        attempt: 0,
        ended: 0,
        crashes: 0,
        max_attempts,
        retry_timeouts,
        retry: RetryPolicy::default(),
    }
}

fn holder() -> impl Strategy<Value = WorkerInstanceId> {
    (1_u128..4).prop_map(WorkerInstanceId::from_u128)
}

fn class() -> impl Strategy<Value = FailureClass> {
    use FailureClass::*;
    prop::sample::select(vec![Invalid, Auth, UsageLimit, Overloaded, Network, Crashed, Timeout, Refused, Execution])
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Completed),
        class().prop_map(|class| Outcome::Failed(Failure::new(class, "CODE", "message"))),
    ]
}

/// Commands as they may come: late, twice, from anybody.
fn command() -> impl Strategy<Value = TaskCommand> {
    let epoch = (0_i64..8).prop_map(Epoch::of);
    prop_oneof![
        4 => (holder(), 0_i64..200).prop_map(|(holder, ms)| TaskCommand::Claim(Lease { holder, expires: at(ms) })),
        2 => (epoch.clone(), 0_i64..200).prop_map(|(epoch, ms)| TaskCommand::Renew { epoch, expires: at(ms) }),
        1 => (epoch.clone(), holder(), 0_i64..200).prop_map(|(epoch, holder, ms)| {
            TaskCommand::Adopt { epoch, lease: Lease { holder, expires: at(ms) } }
        }),
        3 => (epoch.clone(), outcome()).prop_map(|(epoch, outcome)| TaskCommand::Finish { epoch, outcome }),
        2 => (epoch, 0_u64..100).prop_map(|(epoch, ms)| TaskCommand::Release { epoch, delay: Duration::from_millis(ms) }),
        2 => holder().prop_map(TaskCommand::HolderDied),
        1 => (0_i64..2 * TREE_END_MS).prop_map(|ms| TaskCommand::Expire { now: at(ms) }),
        // About when a lease is surely over.
        1 => (0_i64..200).prop_map(|ms| TaskCommand::Expire { now: at(TREE_END_MS + ms) }),
        1 => Just(TaskCommand::Cancel),
    ]
}

/// Commands, and how much later than the one before each comes.
fn any_life() -> impl Strategy<Value = (Record, Vec<(TaskCommand, i64)>)> {
    let commands = prop::collection::vec((command(), 0_i64..100_000), 1..60);
    ((1..4_i32, any::<bool>()).prop_map(|(most, again)| fresh(most, again)), commands)
}

fn live(fault: Fault, (mut record, commands): (Record, Vec<(TaskCommand, i64)>)) -> Result<(), TestCaseError> {
    let mut now = Timestamp(0);
    for (command, later) in commands {
        now = now.plus_ms(later);
        fault.apply(&mut record, command, now).map_err(TestCaseError::fail)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_sequence_of_commands_reaches_an_illegal_state(life in any_life()) {
        live(Fault::None, life)?;
    }
}

#[test]
fn each_fault_that_is_planted_into_the_rules_is_found() {
    for fault in Fault::VARIANTS.iter().copied().filter(|fault| *fault != Fault::None) {
        let config =
            ProptestConfig { cases: 5_000, failure_persistence: None, max_shrink_iters: 0, ..Default::default() };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let found = TestRunner::new_with_rng(config, rng).run(&any_life(), |life| live(fault, life));
        assert!(found.is_err(), "{fault:?}");
    }
}

fn claim(record: &mut Record) {
    let lease = Lease { holder: WorkerInstanceId::from_u128(1), expires: at(100) };
    record.apply(TaskCommand::Claim(lease), Timestamp(i64::MAX / 2), 0.0).expect("due");
}

fn fail(record: &mut Record, class: FailureClass) {
    let outcome = Outcome::Failed(Failure::new(class, "CODE", "message"));
    let epoch = record.epoch;
    record.apply(TaskCommand::Finish { epoch, outcome }, Timestamp(0), 0.0).expect("the newest epoch");
}

#[test]
fn a_task_is_given_up_when_its_attempts_are_spent() {
    let mut record = fresh(2, false);
    claim(&mut record);
    fail(&mut record, FailureClass::Overloaded);
    assert!(matches!(record.state, State::Pending { due: Some(Timestamp(500)) }));
    claim(&mut record);
    fail(&mut record, FailureClass::Network);
    assert!(matches!(&record.state, State::Failed(failure) if failure.class == FailureClass::Network));
}

#[test]
fn three_crashes_in_a_row_are_poison_and_an_end_between_them_is_not() {
    let mut record = fresh(3, false);
    for _ in 0..2 {
        claim(&mut record);
        fail(&mut record, FailureClass::Crashed);
    }
    claim(&mut record);
    fail(&mut record, FailureClass::Execution);
    assert_eq!((record.crashes, record.ended), (0, 1));
    for _ in 0..3 {
        claim(&mut record);
        record.apply(TaskCommand::HolderDied(WorkerInstanceId::from_u128(1)), Timestamp(0), 0.0).expect("its holder");
    }
    assert!(matches!(&record.state, State::Failed(failure) if failure.code == "POISONED"));
}

#[test]
fn a_usage_limit_counts_as_nothing_and_a_timeout_is_the_tasks_choice() {
    let mut record = fresh(1, false);
    for _ in 0..5 {
        claim(&mut record);
        fail(&mut record, FailureClass::UsageLimit);
        assert!(matches!(record.state, State::Pending { due: Some(_) }));
    }
    claim(&mut record);
    fail(&mut record, FailureClass::Timeout);
    assert!(matches!(record.state, State::Failed(_)));
    let mut record = fresh(2, true);
    claim(&mut record);
    fail(&mut record, FailureClass::Timeout);
    assert!(matches!(record.state, State::Pending { .. }));
}

#[test]
fn a_lease_expires_only_after_its_end_and_nothing_is_claimed_before_it_is_due() {
    let mut record = fresh(3, false);
    record.state = State::Pending { due: Some(Timestamp(10)) };
    let lease = Lease { holder: WorkerInstanceId::from_u128(1), expires: at(100) };
    assert_eq!(record.apply(TaskCommand::Claim(lease), Timestamp(9), 0.0), Err(Refusal::NotDue));
    record.apply(TaskCommand::Claim(lease), Timestamp(10), 0.0).expect("due");
    assert_eq!(
        record.apply(TaskCommand::Expire { now: at(100 + TREE_END_MS) }, Timestamp(0), 0.0),
        Err(Refusal::StillHeld)
    );
    assert_eq!(record.apply(TaskCommand::Claim(lease), Timestamp(10), 0.0), Err(Refusal::StillHeld));
    let stranger = TaskCommand::HolderDied(WorkerInstanceId::from_u128(2));
    assert_eq!(record.apply(stranger, Timestamp(0), 0.0), Err(Refusal::StillHeld));
    record.apply(TaskCommand::Expire { now: at(101 + TREE_END_MS) }, Timestamp(0), 0.0).expect("past");
}
