//! Faults that are planted into the rules, to show that the tests would find one; and what each
//! step of a task may do, said a second time and in another way than the rules say it.

use super::*;
use crate::machine::CRASH_LIMIT;

/// A fault in [`Record::apply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub enum Fault {
    /// No fault.
    None,
    NoEpochInRenew,
    NoEpochInAdopt,
    NoEpochInFinish,
    NoEpochInRelease,
    ClaimsWhatRuns,
    ClaimsWhatEnded,
    ClaimsBeforeItsTime,
    KeepsEpochAtClaim,
    KeepsEpochAtCancel,
    FinishesWhatEnded,
    CancelsWhatEnded,
    /// `<=` for `<`.
    ExpiresAtTheEnd,
    /// The reaper doesn't wait for the shim.
    ExpiresWithoutMargin,
    AnyHolderDied,
    CrashIsFree,
    CrashIsAnEnd,
    CrashWithoutLimit,
    ReleaseIsAnEnd,
    LimitIsAnEnd,
    /// `<=` for `<`.
    OneAttemptMore,
}

impl Fault {
    /// Applies the rules as they are with this fault. Returns the transition, or `None` where they refused.
    ///
    /// # Errors
    /// The rule that this step broke.
    pub fn apply(self, record: &mut Record, command: TaskCommand, now: Timestamp) -> Result<Option<()>, String> {
        let before = record.clone();
        let faulty = self.bend(record, command.clone());
        if record.apply(faulty, now, 0.5).is_err() {
            if *record != before && self == Self::None {
                return Err(format!("a refusal of {command:?} changed something"));
            }
            *record = before;
            return Ok(None);
        }
        self.spoil(&before, record, &command);
        check(&before, record, &command, now).map(Some)
    }

    /// Changes the command or the record before the rules see it.
    fn bend(self, record: &mut Record, mut command: TaskCommand) -> TaskCommand {
        let (free, ended) = (State::Pending { due: None }, record.state.status().is_terminal());
        match (self, &mut command, &record.state) {
            (Self::NoEpochInRenew, TaskCommand::Renew { epoch, .. }, _)
            | (Self::NoEpochInAdopt, TaskCommand::Adopt { epoch, .. }, _)
            | (Self::NoEpochInFinish, TaskCommand::Finish { epoch, .. }, _)
            | (Self::NoEpochInRelease, TaskCommand::Release { epoch, .. }, _) => *epoch = record.epoch,
            (Self::ExpiresAtTheEnd, TaskCommand::Expire { now }, _) => now.ms += 1,
            (Self::ExpiresWithoutMargin, TaskCommand::Expire { now }, _) => now.ms += TREE_END_MS,
            (Self::AnyHolderDied, TaskCommand::HolderDied(holder), State::Running(lease)) => *holder = lease.holder,
            (Self::ClaimsWhatRuns, TaskCommand::Claim(_), State::Running(_))
            | (Self::ClaimsBeforeItsTime, TaskCommand::Claim(_), State::Pending { .. }) => record.state = free,
            (Self::ClaimsWhatEnded, TaskCommand::Claim(_), _) | (Self::CancelsWhatEnded, TaskCommand::Cancel, _)
                if ended =>
            {
                record.state = free;
            }
            (Self::FinishesWhatEnded, TaskCommand::Finish { .. }, _) if ended => {
                let boot = BootId::from_u128(0);
                let expires = BootInstant { boot, ms: 0 };
                record.state = State::Running(Lease { holder: WorkerInstanceId::from_u128(0), expires });
            }
            _ => {}
        }
        command
    }

    /// Changes the result of the rules.
    fn spoil(self, before: &Record, after: &mut Record, command: &TaskCommand) {
        let free = State::Pending { due: None };
        let died = matches!(command, TaskCommand::HolderDied(_) | TaskCommand::Expire { .. });
        let failed = match &after.state {
            State::Failed(failure) => Some(failure.class),
            _ => None,
        };
        match (self, command) {
            (Self::KeepsEpochAtClaim, TaskCommand::Claim(_)) | (Self::KeepsEpochAtCancel, TaskCommand::Cancel) => {
                after.epoch = before.epoch;
            }
            (Self::CrashIsFree, _) if died => after.crashes = before.crashes,
            (Self::CrashIsAnEnd, _) if died => after.ended += 1,
            (Self::CrashWithoutLimit, _) if failed == Some(FailureClass::Crashed) => after.state = free,
            (Self::ReleaseIsAnEnd, TaskCommand::Release { .. }) => after.ended += 1,
            (Self::LimitIsAnEnd, TaskCommand::Finish { outcome: Outcome::Failed(failure), .. })
                if failure.class == FailureClass::UsageLimit =>
            {
                after.ended += 1;
            }
            (Self::OneAttemptMore, TaskCommand::Finish { .. })
                if after.ended == after.max_attempts && failed.is_some_and(FailureClass::is_transient) =>
            {
                after.state = free;
            }
            _ => {}
        }
    }
}

fn expect(held: bool, rule: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(rule.to_owned()) }
}

/// Checks one step against the invariants that hold whatever came before it.
fn check(before: &Record, after: &Record, command: &TaskCommand, now: Timestamp) -> Result<(), String> {
    let (was, is) = (before.state.status(), after.state.status());
    let renewed = matches!(command, TaskCommand::Renew { .. } | TaskCommand::Adopt { .. });
    expect(!was.is_terminal(), "a terminal state never changes")?;
    expect(was.may_become(is) || (renewed && was == is), "there are no other transitions")?;

    let claimed = matches!(command, TaskCommand::Claim(_));
    let cancelled = matches!(command, TaskCommand::Cancel) && was == Status::Running;
    expect(
        after.epoch == if claimed || cancelled { before.epoch.next() } else { before.epoch },
        "epochs grow at a claim and a cancel, by one",
    )?;
    expect(after.attempt - before.attempt == i32::from(claimed), "attempts are numbered by claims")?;
    expect(claimed == (is == Status::Running && was == Status::Pending), "only a claim starts")?;

    check_right(before, command, now)?;
    check_counts(before, after, command)
}

/// Checks that the sender may change the task.
fn check_right(before: &Record, command: &TaskCommand, now: Timestamp) -> Result<(), String> {
    match (command, &before.state) {
        (TaskCommand::Claim(_), State::Pending { due }) => {
            expect(due.is_none_or(|due| due <= now), "nothing is claimed before its time")
        }
        (TaskCommand::Claim(_), _) => Err("at most one lease is live".to_owned()),
        (
            TaskCommand::Renew { epoch, .. }
            | TaskCommand::Adopt { epoch, .. }
            | TaskCommand::Finish { epoch, .. }
            | TaskCommand::Release { epoch, .. },
            State::Running(_),
        ) => expect(*epoch == before.epoch, "only the newest epoch moves a running task"),
        (TaskCommand::HolderDied(dead), State::Running(lease)) => {
            expect(*dead == lease.holder, "it was another who died")
        }
        (TaskCommand::Expire { now }, State::Running(lease)) => {
            let surely_over = lease.expires.boot != now.boot || now.ms > lease.expires.ms + TREE_END_MS;
            expect(surely_over, "nothing is taken back under a lease, or while a tree may end")
        }
        (TaskCommand::Cancel, State::Pending { .. } | State::Running(_)) => Ok(()),
        _ => Err("only what runs ends".to_owned()),
    }
}

/// Checks the counts.
fn check_counts(before: &Record, after: &Record, command: &TaskCommand) -> Result<(), String> {
    let (ended, crashes) = (after.ended - before.ended, after.crashes - before.crashes);
    expect(after.ended <= after.max_attempts, "ended runs never exceed maxAttempts")?;
    expect(after.crashes <= CRASH_LIMIT, "crashes in a row never exceed their limit")?;
    expect(after.crashes < CRASH_LIMIT || after.state.status().is_terminal(), "poison ends")?;
    match command {
        TaskCommand::HolderDied(_) | TaskCommand::Expire { .. } => {
            expect((ended, crashes) == (0, 1), "a death is a crash, and no end")
        }
        TaskCommand::Finish { outcome: Outcome::Failed(failure), .. } if failure.class == FailureClass::UsageLimit => {
            expect((ended, crashes) == (0, 0), "a usage limit counts as nothing")
        }
        TaskCommand::Finish { outcome: Outcome::Failed(failure), .. } if failure.class == FailureClass::Crashed => {
            expect((ended, crashes) == (0, 1), "a death of the CLI is a crash, and no end")
        }
        TaskCommand::Finish { outcome, .. } => {
            let completed = after.state == State::Completed;
            expect(ended == 1 && after.crashes == 0, "an end by itself counts once, and ends a row of crashes")?;
            expect(completed == (*outcome == Outcome::Completed), "completed means completed")
        }
        _ => expect((ended, crashes) == (0, 0), "this counts as nothing"),
    }
}
