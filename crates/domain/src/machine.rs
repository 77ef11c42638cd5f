//! A task's life: the states, the commands that move it, and nothing else.

use std::time::Duration;

use crate::{
    BootInstant, Epoch, Failure, FailureClass, Lease, LeaseTimes, Outcome, RetryPolicy, Status, Timestamp,
    WorkerInstanceId,
};

/// Maximum number of crashes of the CLI or its worker in a row, without an attempt that ended by itself between them;
/// at this number a task is considered a poison task. Three tells a task that kills its worker from one that was near
/// when something else did.
pub const CRASH_LIMIT: i32 = 3;

/// Crashes in a row after which a task runs alone in its worker: should that die again, it was
/// this task, and the others pay nothing for it.
pub const SUSPECT: i32 = CRASH_LIMIT - 1;

/// State of a task, with the data that exists only there.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Waiting; not before `due`, where that is set.
    Pending {
        /// The earliest start.
        due: Option<Timestamp>,
    },
    /// Held under a lease.
    Running(Lease),
    /// Ended with a result.
    Completed,
    /// Ended with its last failure.
    Failed(Failure),
    /// Ended by a cancel.
    Cancelled,
}

impl State {
    /// The status that the outside sees.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Pending { .. } => Status::Pending,
            Self::Running(_) => Status::Running,
            Self::Completed => Status::Completed,
            Self::Failed(_) => Status::Failed,
            Self::Cancelled => Status::Cancelled,
        }
    }
}

/// Reason for which a lease was given back without an end of its own. None of these counts as an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ReleaseReason {
    /// The worker stops.
    Shutdown,
    /// The attempt could not be set up here.
    SetUpFailed,
    /// The task waits for an answer, and needs no slot for that.
    Waiting,
}

/// Command that changes a stored task.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskCommand {
    /// A worker takes it. An engine claims many tasks with one statement; a test compares it with this.
    Claim(Lease),
    /// The worker asks for more time. An engine renews many leases with one statement; a test compares it with this.
    Renew {
        /// Epoch of the worker's lease.
        epoch: Epoch,
        /// New end of the lease.
        expires: BootInstant,
    },
    /// Another worker takes over the attempt that runs.
    Adopt {
        /// Epoch of the attempt.
        epoch: Epoch,
        /// Lease of the other worker.
        lease: Lease,
    },
    /// The worker reports the end of the attempt.
    Finish {
        /// Epoch of the worker's lease.
        epoch: Epoch,
        /// Outcome of the attempt.
        outcome: Outcome,
    },
    /// The worker gives it back.
    Release {
        /// Epoch of the worker's lease.
        epoch: Epoch,
        /// Milliseconds until it is due again.
        delay: Duration,
    },
    /// The worker is known to be dead, with all of its processes.
    HolderDied(WorkerInstanceId),
    /// The lease ran out long enough ago that the shim has ended the processes.
    Expire {
        /// The lease time.
        now: BootInstant,
    },
    /// A client calls it off.
    Cancel,
}

/// Reason for which a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command is not for the task's newest epoch, or it runs no more: its sender
    /// has lost the task.
    Stale,
    /// The task is pending but not due.
    NotDue,
    /// The lease still holds, or belongs to another worker.
    StillHeld,
    /// The task has ended; this is how.
    Ended(Status),
}

/// The part of a task that decides its transitions.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// State.
    pub state: State,
    /// Grows by one at every claim and at the cancel of a running task; never reused.
    pub epoch: Epoch,
    /// Starts so far.
    pub attempt: i32,
    /// Attempts that ended by themselves; at most `max_attempts`.
    pub ended: i32,
    /// Crashes in a row, see [`CRASH_LIMIT`].
    pub crashes: i32,
    /// Maximum number of attempts that end by themselves.
    pub max_attempts: i32,
    /// True if a passed time limit is followed by another attempt.
    pub retry_timeouts: bool,
    /// The waits between attempts.
    pub retry: RetryPolicy,
}

impl Record {
    /// Decides the command. On success the record has moved; on refusal it is unchanged.
    /// `now` is the wall clock, `chance` in `0.0..1.0` spreads back-offs.
    ///
    /// # Errors
    /// The reason why nothing changed.
    pub fn apply(&mut self, command: TaskCommand, now: Timestamp, chance: f64) -> Result<(), Refusal> {
        match (command, &self.state) {
            (TaskCommand::Claim(lease), State::Pending { due }) => {
                if due.is_some_and(|due| due > now) {
                    return Err(Refusal::NotDue);
                }
                self.epoch = self.epoch.next();
                self.attempt += 1;
                self.state = State::Running(lease);
            }
            (TaskCommand::Renew { epoch, expires }, State::Running(lease)) if epoch == self.epoch => {
                self.state = State::Running(Lease { expires, ..*lease });
            }
            (TaskCommand::Adopt { epoch, lease }, State::Running(_)) if epoch == self.epoch => {
                self.state = State::Running(lease);
            }
            (TaskCommand::Finish { epoch, outcome }, State::Running(_)) if epoch == self.epoch => {
                self.state = self.after(outcome, now, chance);
            }
            (TaskCommand::Release { epoch, delay }, State::Running(_)) if epoch == self.epoch => {
                let due = (!delay.is_zero()).then(|| now.plus(delay));
                self.state = State::Pending { due };
            }
            (TaskCommand::HolderDied(holder), State::Running(lease)) if lease.holder == holder => {
                self.state = self.after_crash("the worker died", now, chance);
            }
            (TaskCommand::Expire { now: at }, State::Running(lease)) if LeaseTimes::is_over(lease.expires, at) => {
                self.state = self.after_crash("the worker's lease ran out", now, chance);
            }
            (TaskCommand::Cancel, State::Pending { .. }) => self.state = State::Cancelled,
            (TaskCommand::Cancel, State::Running(_)) => {
                self.epoch = self.epoch.next();
                self.state = State::Cancelled;
            }
            (
                TaskCommand::Renew { .. }
                | TaskCommand::Adopt { .. }
                | TaskCommand::Finish { .. }
                | TaskCommand::Release { .. },
                _,
            ) => return Err(Refusal::Stale),
            (_, state) if state.status().is_terminal() => {
                return Err(Refusal::Ended(state.status()));
            }
            _ => return Err(Refusal::StillHeld),
        }
        Ok(())
    }

    /// The state after an attempt that ended by itself, or whose CLI died.
    fn after(&mut self, outcome: Outcome, now: Timestamp, chance: f64) -> State {
        let failure = match outcome {
            Outcome::Completed => {
                self.ended += 1;
                self.crashes = 0;
                return State::Completed;
            }
            Outcome::Failed(failure) if failure.class == FailureClass::Crashed => {
                return self.after_crash(&failure.message, now, chance);
            }
            Outcome::Failed(failure) if failure.class == FailureClass::UsageLimit => {
                // The account's limit says nothing about the task: it waits, and pays nothing.
                return State::Pending { due: failure.parks_until(now) };
            }
            Outcome::Failed(failure) => failure,
        };
        self.ended += 1;
        self.crashes = 0;
        let again = failure.class.is_transient() || (failure.class == FailureClass::Timeout && self.retry_timeouts);
        if again && self.ended < self.max_attempts {
            State::Pending { due: Some(now.plus(self.retry.delay(self.ended, chance))) }
        } else {
            State::Failed(failure)
        }
    }

    /// The state after a death without a result.
    fn after_crash(&mut self, why: &str, now: Timestamp, chance: f64) -> State {
        self.crashes += 1;
        if self.crashes >= CRASH_LIMIT {
            let message = format!("{} crashes in a row, the last: {why}", self.crashes);
            return State::Failed(Failure::new(FailureClass::Crashed, "POISONED", message));
        }
        // The first crash is most often the machine's fault, not the task's: no wait.
        let wait = self.crashes > 1;
        let due = wait.then(|| now.plus(self.retry.delay(self.crashes - 1, chance)));
        State::Pending { due }
    }
}
