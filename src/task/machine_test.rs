//! What no sequence of commands may do to a task.

use proptest::prelude::*;

use super::machine::CRASH_LIMIT;
use super::*;

const BOOT: Boot = Boot::from_u128(7);

fn at(ms: i64) -> BootInstant {
    BootInstant { boot: BOOT, ms }
}

fn fresh(max_attempts: i32, retry_timeouts: bool) -> Record {
    Record {
        state: State::Pending { due: None },
        epoch: 0,
        attempt: 0,
        ended: 0,
        crashes: 0,
        max_attempts,
        retry_timeouts,
        retry: RetryPolicy::default(),
    }
}

fn holder() -> impl Strategy<Value = HolderId> {
    (1_u128..4).prop_map(HolderId::from_u128)
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
fn command() -> impl Strategy<Value = Command> {
    let epoch = 0_i64..8;
    prop_oneof![
        4 => (holder(), 0_i64..200).prop_map(|(holder, ms)| Command::Claim(Lease { holder, expires: at(ms) })),
        2 => (epoch.clone(), 0_i64..200).prop_map(|(epoch, ms)| Command::Renew { epoch, expires: at(ms) }),
        3 => (epoch.clone(), outcome()).prop_map(|(epoch, outcome)| Command::Finish { epoch, outcome }),
        2 => (epoch, 0_i64..100).prop_map(|(epoch, delay_ms)| Command::Release { epoch, delay_ms }),
        2 => holder().prop_map(Command::HolderDied),
        2 => (0_i64..2 * TREE_END_MS).prop_map(|ms| Command::Expire { now: at(ms) }),
        1 => Just(Command::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_sequence_of_commands_reaches_an_illegal_state(
        max_attempts in 1..4_i32,
        retry_timeouts: bool,
        commands in prop::collection::vec((command(), 0_i64..100_000), 1..60),
    ) {
        let mut record = fresh(max_attempts, retry_timeouts);
        let mut now = Wall(0);
        for (command, later) in commands {
            now = now.plus_ms(later);
            let before = record.clone();
            let applied = record.apply(command.clone(), now, 0.5);
            if applied.is_err() {
                prop_assert_eq!(&record, &before, "a refusal changes nothing");
                continue;
            }
            check_step(&before, &record, &command)?;
        }
    }
}

fn check_step(before: &Record, after: &Record, command: &Command) -> Result<(), TestCaseError> {
    let (was, is) = (before.state.status(), after.state.status());
    let renewed = matches!(command, Command::Renew { .. });
    prop_assert!(was.may_become(is) || (renewed && was == is), "{was} became {is} by {command:?}");
    prop_assert!(!was.is_terminal(), "a terminal state never changes");

    // Epochs grow by one at a claim and at the cancel of a running task, and at nothing else.
    let claimed = matches!(command, Command::Claim(_));
    let cancelled = matches!(command, Command::Cancel) && was == Status::Running;
    prop_assert_eq!(after.epoch - before.epoch, i64::from(claimed || cancelled));
    prop_assert_eq!(after.attempt - before.attempt, i32::from(claimed));

    // Only the newest epoch moves a running task.
    if let Command::Renew { epoch, .. } | Command::Finish { epoch, .. } | Command::Release { epoch, .. } = command {
        prop_assert_eq!(*epoch, before.epoch);
        prop_assert_eq!(was, Status::Running);
    }

    // What counts, and what does not.
    prop_assert!(after.ended <= after.max_attempts);
    prop_assert!(after.crashes <= CRASH_LIMIT);
    prop_assert!(after.ended - before.ended <= 1 && after.ended >= before.ended);
    if let Command::Release { .. } | Command::Claim(_) | Command::Renew { .. } | Command::Cancel = command {
        prop_assert_eq!((after.ended, after.crashes), (before.ended, before.crashes));
    }
    if let Command::HolderDied(_) | Command::Expire { .. } = command {
        prop_assert_eq!((after.ended, after.crashes), (before.ended, before.crashes + 1));
    }
    if let (Command::Finish { outcome, .. }, State::Completed) = (command, &after.state) {
        prop_assert_eq!(outcome, &Outcome::Completed);
    }
    Ok(())
}

fn claim(record: &mut Record) {
    let lease = Lease { holder: HolderId::from_u128(1), expires: at(100) };
    record.apply(Command::Claim(lease), Wall(i64::MAX / 2), 0.0).expect("due");
}

fn fail(record: &mut Record, class: FailureClass) {
    let outcome = Outcome::Failed(Failure::new(class, "CODE", "message"));
    let epoch = record.epoch;
    record.apply(Command::Finish { epoch, outcome }, Wall(0), 0.0).expect("the newest epoch");
}

#[test]
fn a_task_is_given_up_when_its_attempts_are_spent() {
    let mut record = fresh(2, false);
    claim(&mut record);
    fail(&mut record, FailureClass::Overloaded);
    assert!(matches!(record.state, State::Pending { due: Some(Wall(500)) }));
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
        record.apply(Command::HolderDied(HolderId::from_u128(1)), Wall(0), 0.0).expect("its holder");
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
    record.state = State::Pending { due: Some(Wall(10)) };
    let lease = Lease { holder: HolderId::from_u128(1), expires: at(100) };
    assert_eq!(record.apply(Command::Claim(lease), Wall(9), 0.0), Err(Refusal::NotDue));
    record.apply(Command::Claim(lease), Wall(10), 0.0).expect("due");
    assert_eq!(record.apply(Command::Expire { now: at(100 + TREE_END_MS) }, Wall(0), 0.0), Err(Refusal::StillHeld));
    assert_eq!(record.apply(Command::Claim(lease), Wall(10), 0.0), Err(Refusal::StillHeld));
    let stranger = Command::HolderDied(HolderId::from_u128(2));
    assert_eq!(record.apply(stranger, Wall(0), 0.0), Err(Refusal::StillHeld));
    record.apply(Command::Expire { now: at(101 + TREE_END_MS) }, Wall(0), 0.0).expect("past");
}
