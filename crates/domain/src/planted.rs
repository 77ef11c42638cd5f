//! Faults that are planted into the rules, to show that the tests would find one; and what each
//! step of a task may do, said a second time and in another way than the rules say it.

use super::*;
use crate::machine::CRASH_LIMIT;

/// A fault in [`Record::apply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub enum Fault {
    /// There is none.
    None,
    NoEpochInRenew,
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
    /// What the rules do when they have this fault. Returns what they did, and `None` where they
    /// refused.
    ///
    /// # Errors
    /// The rule that this step broke.
    pub fn apply(self, record: &mut Record, command: Command, now: Timestamp) -> Result<Option<()>, String> {
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

    /// Before the rules look: a command, or a record, that they should not see.
    fn bend(self, record: &mut Record, mut command: Command) -> Command {
        let (free, ended) = (State::Pending { due: None }, record.state.status().is_terminal());
        match (self, &mut command, &record.state) {
            (Self::NoEpochInRenew, Command::Renew { epoch, .. }, _)
            | (Self::NoEpochInFinish, Command::Finish { epoch, .. }, _)
            | (Self::NoEpochInRelease, Command::Release { epoch, .. }, _) => *epoch = record.epoch,
            (Self::ExpiresAtTheEnd, Command::Expire { now }, _) => now.ms += 1,
            (Self::ExpiresWithoutMargin, Command::Expire { now }, _) => now.ms += TREE_END_MS,
            (Self::AnyHolderDied, Command::HolderDied(holder), State::Running(lease)) => *holder = lease.holder,
            (Self::ClaimsWhatRuns, Command::Claim(_), State::Running(_))
            | (Self::ClaimsBeforeItsTime, Command::Claim(_), State::Pending { .. }) => record.state = free,
            (Self::ClaimsWhatEnded, Command::Claim(_), _) | (Self::CancelsWhatEnded, Command::Cancel, _) if ended => {
                record.state = free;
            }
            (Self::FinishesWhatEnded, Command::Finish { .. }, _) if ended => {
                let boot = BootId::from_u128(0);
                let expires = BootInstant { boot, ms: 0 };
                record.state = State::Running(Lease { holder: WorkerInstanceId::from_u128(0), expires });
            }
            _ => {}
        }
        command
    }

    /// After the rules: what they should not have done.
    fn spoil(self, before: &Record, after: &mut Record, command: &Command) {
        let free = State::Pending { due: None };
        let died = matches!(command, Command::HolderDied(_) | Command::Expire { .. });
        let failed = match &after.state {
            State::Failed(failure) => Some(failure.class),
            _ => None,
        };
        match (self, command) {
            (Self::KeepsEpochAtClaim, Command::Claim(_)) | (Self::KeepsEpochAtCancel, Command::Cancel) => {
                after.epoch = before.epoch;
            }
            (Self::CrashIsFree, _) if died => after.crashes = before.crashes,
            (Self::CrashIsAnEnd, _) if died => after.ended += 1,
            (Self::CrashWithoutLimit, _) if failed == Some(FailureClass::Crashed) => after.state = free,
            (Self::ReleaseIsAnEnd, Command::Release { .. }) => after.ended += 1,
            (Self::LimitIsAnEnd, Command::Finish { outcome: Outcome::Failed(failure), .. })
                if failure.class == FailureClass::UsageLimit =>
            {
                after.ended += 1;
            }
            (Self::OneAttemptMore, Command::Finish { .. })
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

/// What one step may do, whatever came before it.
fn check(before: &Record, after: &Record, command: &Command, now: Timestamp) -> Result<(), String> {
    let (was, is) = (before.state.status(), after.state.status());
    let renewed = matches!(command, Command::Renew { .. });
    expect(!was.is_terminal(), "a terminal state never changes")?;
    expect(was.may_become(is) || (renewed && was == is), "there are no other transitions")?;

    let claimed = matches!(command, Command::Claim(_));
    let cancelled = matches!(command, Command::Cancel) && was == Status::Running;
    expect(
        after.epoch == if claimed || cancelled { before.epoch.next() } else { before.epoch },
        "epochs grow at a claim and a cancel, by one",
    )?;
    expect(after.attempt - before.attempt == i32::from(claimed), "attempts are numbered by claims")?;
    expect(claimed == (is == Status::Running && was == Status::Pending), "only a claim starts")?;

    check_right(before, command, now)?;
    check_counts(before, after, command)
}

/// Who may do it.
fn check_right(before: &Record, command: &Command, now: Timestamp) -> Result<(), String> {
    match (command, &before.state) {
        (Command::Claim(_), State::Pending { due }) => {
            expect(due.is_none_or(|due| due <= now), "nothing is claimed before its time")
        }
        (Command::Claim(_), _) => Err("at most one lease is live".to_owned()),
        (
            Command::Renew { epoch, .. } | Command::Finish { epoch, .. } | Command::Release { epoch, .. },
            State::Running(_),
        ) => expect(*epoch == before.epoch, "only the newest epoch moves a running task"),
        (Command::HolderDied(dead), State::Running(lease)) => expect(*dead == lease.holder, "it was another who died"),
        (Command::Expire { now }, State::Running(lease)) => {
            let surely_over = lease.expires.boot != now.boot || now.ms > lease.expires.ms + TREE_END_MS;
            expect(surely_over, "nothing is taken back under a lease, or while a tree may end")
        }
        (Command::Cancel, State::Pending { .. } | State::Running(_)) => Ok(()),
        _ => Err("only what runs ends".to_owned()),
    }
}

/// What it counts as.
fn check_counts(before: &Record, after: &Record, command: &Command) -> Result<(), String> {
    let (ended, crashes) = (after.ended - before.ended, after.crashes - before.crashes);
    expect(after.ended <= after.max_attempts, "ended runs never exceed maxAttempts")?;
    expect(after.crashes <= CRASH_LIMIT, "crashes in a row never exceed their limit")?;
    expect(after.crashes < CRASH_LIMIT || after.state.status().is_terminal(), "poison ends")?;
    match command {
        Command::HolderDied(_) | Command::Expire { .. } => {
            expect((ended, crashes) == (0, 1), "a death is a crash, and no end")
        }
        Command::Finish { outcome: Outcome::Failed(failure), .. } if failure.class == FailureClass::UsageLimit => {
            expect((ended, crashes) == (0, 0), "a usage limit counts as nothing")
        }
        Command::Finish { outcome: Outcome::Failed(failure), .. } if failure.class == FailureClass::Crashed => {
            expect((ended, crashes) == (0, 1), "a death of the CLI is a crash, and no end")
        }
        Command::Finish { outcome, .. } => {
            let completed = after.state == State::Completed;
            expect(ended == 1 && after.crashes == 0, "an end by itself counts once, and ends a row of crashes")?;
            expect(completed == (*outcome == Outcome::Completed), "completed means completed")
        }
        _ => expect((ended, crashes) == (0, 0), "this counts as nothing"),
    }
}
