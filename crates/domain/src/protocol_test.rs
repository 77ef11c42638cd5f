//! The lease protocol in every order of its messages: workers that crash and lose answers, a
//! store that may be asked twice, a reaper, a clock on the wall that jumps, and shims that do
//! nothing but watch the time. Any step may come late, which is what a frozen worker looks like.
//! The search runs [`Record::apply`] and [`LeaseTimes`] themselves, so what it shows is about the
//! program; it holds each step against [the rules](super::planted).
//!
//! No machine is shared here: nobody sweeps what another worker left. Time alone must keep two
//! process trees of one task apart.

use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::planted;

/// Lease times that are short beside the time that a shim needs, so that it matters whether the reaper waits for it.
const LEASE: LeaseTimes = LeaseTimes::new(Duration::from_secs(5));
/// The search goes in steps of this length. The deadline lies at 4 s, the end of the tree at 7 s,
/// the end of the lease at 5 s, the reaper's turn behind 8 s.
const TICK: Seconds = 2;
/// Longest time that a shim needs from its deadline to the end of its tree.
const TREE_END: Seconds = 3;
/// Longest time from the last renewal to the end of the tree.
const TREE: Seconds = 4 + TREE_END;
/// Jump of the wall clock: further than a lease is long.
const JUMP: Seconds = 20;
/// Workers at most.
const MOST: usize = 3;

/// Type that is small, so that millions of worlds fit.
type Seconds = i8;
type Epoch = i8;

/// Fault that the search must find, to show that it can find anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// One of the rules themselves; or none.
    Rules(planted::Fault),
    /// The deadline counts from the answer, not from the question.
    DeadlineFromAnswer,
    /// A tree is started whatever the time is.
    StartsLate,
    /// A task goes back when its worker's death is seen, with the tree still there.
    RequeueBeforeKill,
    /// A report, or a task that is given back, goes out with the tree still there.
    ReportBeforeKill,
    /// The answer to a claim that comes twice starts two trees.
    DoubleAnswer,
    /// A shim that doesn't watch the time.
    NoDeadman,
    /// A worker that came back is taken for the one that died.
    HolderByName,
    /// Leases are counted by the clock on the wall.
    LeaseOnWallClock,
}

/// Bounds of the search.
#[derive(Clone, Copy)]
struct Bounds {
    workers: usize,
    /// Ticks.
    horizon: Seconds,
    /// Claims that a worker asks for; two are enough for two trees.
    claims: Epoch,
    /// True if workers crash.
    crashes: bool,
    /// True if questions are asked and answers come twice.
    repeats: bool,
    /// True if the clock on the wall jumps.
    jumps: bool,
}

/// Each kind of trouble alone, as deep as it takes: together they take hours, and find no more.
const CRASHES: Bounds = Bounds { workers: 2, horizon: 6, claims: 2, crashes: true, repeats: false, jumps: false };
const REPEATS: Bounds = Bounds { crashes: false, repeats: true, ..CRASHES };
const JUMPS: Bounds = Bounds { crashes: false, jumps: true, ..CRASHES };
const THREE: Bounds = Bounds { workers: 3, horizon: 5, crashes: false, ..CRASHES };

/// A question to the store, and how far it has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Call {
    Claim { asked: Seconds, answer: Option<Option<Epoch>> },
    Renew { asked: Seconds, epoch: Epoch, answer: Option<bool> },
    Finish { epoch: Epoch, answer: Option<bool> },
    Release { epoch: Epoch, answer: Option<bool> },
}

/// A worker, and the shim with its tree, which lives until it is told to end or its time has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    life: u8,
    /// Incarnation that the store knows as the holder.
    leased: Option<u8>,
    /// The epoch under which it works.
    holds: Option<Epoch>,
    call: Option<Call>,
    /// Time until which its tree may live.
    tree: Option<Seconds>,
    /// The last answer to a claim, where it may come twice.
    echo: Option<Call>,
}

/// Identity of a world; workers have no names here.
type Key = (Seconds, Seconds, Status, i64, i64, Option<i64>, Option<Seconds>, [Worker; MOST]);

#[derive(Clone)]
struct World {
    fault: Fault,
    bounds: Bounds,
    now: Seconds,
    /// Difference of the wall clock.
    jumped: Seconds,
    record: Record,
    cancelled: Option<Seconds>,
    workers: [Worker; MOST],
    broken: Option<String>,
}

fn at(time: Seconds) -> BootInstant {
    BootInstant { boot: BootId::from_u128(1), ms: i64::from(time) * 1_000 }
}

fn deadline(asked: Seconds) -> Seconds {
    Seconds::try_from(LEASE.tree_deadline(at(asked)).ms / 1_000).expect("a short search")
}

impl World {
    fn new(fault: Fault, bounds: Bounds) -> Self {
        let record = Record {
            state: State::Pending { due: None },
            epoch: crate::Epoch::FIRST,
            attempt: 0,
            ended: 0,
            crashes: 0,
            max_attempts: 3,
            retry_timeouts: false,
            retry: RetryPolicy {
                initial_delay: Duration::from_secs(2),
                max_delay: Duration::from_secs(2),
                multiplier: 1.0,
            },
        };
        let workers = Default::default();
        Self { fault, bounds, now: 0, jumped: 0, record, cancelled: None, workers, broken: None }
    }

    fn key(&self) -> Key {
        let (expires, due) = match self.record.state {
            State::Running(lease) => (lease.expires.ms, None),
            State::Pending { due } => (0, due.map(|due| due.0)),
            _ => (0, None),
        };
        let mut workers = self.workers;
        workers.sort_unstable();
        let status = self.record.state.status();
        (self.now, self.jumped, status, self.record.epoch.number(), expires, due, self.cancelled, workers)
    }

    /// Every world that may come next.
    fn next(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut step = |change: &dyn Fn(&mut Self) -> bool| {
            let mut world = self.clone();
            if change(&mut world) {
                next.push(world);
            }
        };
        step(&Self::tick);
        step(&Self::reap);
        step(&Self::cancel);
        if self.bounds.jumps {
            step(&|world| world.jump(JUMP));
            step(&|world| world.jump(-JUMP));
        }
        for index in 0..self.bounds.workers {
            step(&|world| world.ask(index, |world, worker| worker.asks_claim(world)));
            step(&|world| world.ask(index, |world, worker| worker.asks_renew(world)));
            step(&|world| world.ask(index, |world, worker| worker.asks_finish(world)));
            step(&|world| world.ask(index, |world, worker| worker.asks_release(world)));
            step(&|world| world.execute(index));
            step(&|world| world.hear(index));
            step(&|world| world.workers[index].call.take().is_some());
            step(&|world| world.workers[index].tree.take().is_some());
            step(&|world| world.hear_again(index));
            if self.bounds.crashes {
                step(&|world| world.crash(index));
                step(&|world| world.see_death(index));
            }
        }
        next
    }

    /// Sends a command to the store. Returns whether it did anything.
    fn apply(&mut self, command: TaskCommand) -> bool {
        let rules = if let Fault::Rules(fault) = self.fault { fault } else { planted::Fault::None };
        let applied = rules.apply(&mut self.record, command, Timestamp(at(self.now + self.jumped).ms));
        self.broken = self.broken.take().or(applied.clone().err());
        let done = applied.is_err() || applied.is_ok_and(|done| done.is_some());
        if done && !matches!(self.record.state, State::Running(_)) {
            self.workers.iter_mut().for_each(|worker| worker.leased = None);
        }
        done
    }

    /// Time passes; a shim whose time has come needs at most `TREE_END` for the end.
    fn tick(&mut self) -> bool {
        self.now += TICK;
        for worker in self.workers.iter_mut().filter(|_| self.fault != Fault::NoDeadman) {
            worker.tree = worker.tree.filter(|deadline| self.now < deadline + TREE_END);
        }
        self.now <= self.bounds.horizon * TICK
    }

    /// Lets the wall clock jump once, to one side or the other.
    fn jump(&mut self, by: Seconds) -> bool {
        let first = self.jumped == 0;
        self.jumped = by;
        first
    }

    /// The clock that leases are counted by.
    fn lease_clock(&self) -> BootInstant {
        at(self.now + if self.fault == Fault::LeaseOnWallClock { self.jumped } else { 0 })
    }

    fn reap(&mut self) -> bool {
        self.apply(TaskCommand::Expire { now: self.lease_clock() })
    }

    fn cancel(&mut self) -> bool {
        self.cancelled = Some(self.now);
        self.apply(TaskCommand::Cancel)
    }

    fn ask(&mut self, index: usize, call: impl Fn(&Self, &Worker) -> Option<Call>) -> bool {
        let call = self.workers[index].call.is_none().then(|| call(self, &self.workers[index])).flatten();
        self.workers[index].call = call.or(self.workers[index].call);
        call.is_some()
    }

    /// The store answers, however long the question took, whether or not its sender still lives;
    /// the same question may come again before the answer is heard.
    fn execute(&mut self, index: usize) -> bool {
        let Some(mut call) = self.workers[index].call else { return false };
        let answered = match call {
            Call::Claim { answer, .. } => answer.is_some(),
            Call::Renew { answer, .. } | Call::Finish { answer, .. } | Call::Release { answer, .. } => answer.is_some(),
        };
        if answered && !self.bounds.repeats {
            return false;
        }
        let life = self.workers[index].life;
        let lease = Lease { holder: self.holder(index, life), expires: LEASE.expiry(self.lease_clock()) };
        match &mut call {
            Call::Claim { answer, .. } => {
                let claimed = self.apply(TaskCommand::Claim(lease));
                self.workers[index].leased = if claimed { Some(life) } else { self.workers[index].leased };
                *answer = Some(claimed.then_some(self.epoch()));
            }
            Call::Renew { epoch, answer, .. } => {
                *answer =
                    Some(self.apply(TaskCommand::Renew {
                        epoch: crate::Epoch::of((*epoch).into()),
                        expires: lease.expires,
                    }));
            }
            Call::Finish { epoch, answer } => {
                let outcome = Outcome::Failed(Failure::new(FailureClass::Network, "NETWORK", ""));
                *answer = Some(self.apply(TaskCommand::Finish { epoch: crate::Epoch::of((*epoch).into()), outcome }));
            }
            Call::Release { epoch, answer } => {
                *answer =
                    Some(self.apply(TaskCommand::Release {
                        epoch: crate::Epoch::of((*epoch).into()),
                        delay: Duration::ZERO,
                    }));
            }
        }
        self.workers[index].call = Some(call);
        true
    }

    fn epoch(&self) -> Epoch {
        Epoch::try_from(self.record.epoch.number()).expect("few claims")
    }

    fn holder(&self, index: usize, life: u8) -> WorkerInstanceId {
        let life = if self.fault == Fault::HolderByName { 0 } else { life };
        WorkerInstanceId::from_u128(index as u128 * 10 + u128::from(life) + 1)
    }

    fn hear(&mut self, index: usize) -> bool {
        let (fault, now) = (self.fault, self.now);
        let worker = &mut self.workers[index];
        let from = |asked| if fault == Fault::DeadlineFromAnswer { now } else { asked };
        match worker.call {
            Some(call @ Call::Claim { asked, answer: Some(Some(epoch)) }) => {
                worker.starts(epoch, deadline(from(asked)), fault, now);
                worker.echo = (fault == Fault::DoubleAnswer).then_some(call);
            }
            Some(Call::Claim { answer: Some(None), .. }) => {}
            Some(Call::Renew { asked, answer: Some(true), .. }) => {
                let deadline = deadline(from(asked));
                worker.tree = worker.tree.map(|before| before.max(deadline));
            }
            // Lost: it ends the tree first, and then forgets the task.
            Some(Call::Renew { answer: Some(false), .. }) => {
                worker.tree = None;
                worker.holds = None;
            }
            Some(Call::Finish { answer: Some(_), .. } | Call::Release { answer: Some(_), .. }) => worker.holds = None,
            _ => return false,
        }
        worker.call = None;
        true
    }

    fn hear_again(&mut self, index: usize) -> bool {
        let (fault, now) = (self.fault, self.now);
        let worker = &mut self.workers[index];
        let Some(Call::Claim { asked, answer: Some(Some(epoch)) }) = worker.echo.take() else { return false };
        worker.starts(epoch, deadline(asked), fault, now);
        true
    }

    /// The worker dies; its shim sees the end of the socket, and its tree ends soon.
    fn crash(&mut self, index: usize) -> bool {
        let now = self.now;
        let Worker { life, leased, tree, .. } = self.workers[index];
        let tree = tree.map(|deadline| deadline.min(now));
        self.workers[index] = Worker { life: life + 1, leased, tree, ..Worker::default() };
        life == 0
    }

    /// Lets the supervisor see that the worker is dead: it ends the tree, and only then says so.
    fn see_death(&mut self, index: usize) -> bool {
        let worker = &self.workers[index];
        let kills_first = self.fault != Fault::RequeueBeforeKill;
        if worker.life == 0 || (kills_first && worker.tree.is_some() && worker.holds.is_none()) {
            return false;
        }
        self.apply(TaskCommand::HolderDied(self.holder(index, 0)))
    }

    /// True if nothing can happen any more.
    fn is_over(&self) -> bool {
        let idle = |worker: &Worker| worker.call.is_none() && worker.tree.is_none() && worker.echo.is_none();
        self.record.state.status().is_terminal() && self.workers.iter().all(idle)
    }

    /// The promise that this world breaks.
    fn broken(&self) -> Option<String> {
        if let Some(broken) = &self.broken {
            return Some(broken.clone());
        }
        let trees = self.workers.iter().filter(|worker| worker.tree.is_some()).count();
        if trees > 1 {
            return Some("two trees of one task live at a time".to_owned());
        }
        let late = self.cancelled.is_some_and(|at| self.now > at + TREE);
        (late && trees > 0).then(|| "a cancelled task has a tree".to_owned())
    }
}

impl Worker {
    fn asks_claim(&self, world: &World) -> Option<Call> {
        let idle = self.holds.is_none() && self.tree.is_none();
        (idle && world.epoch() < world.bounds.claims).then_some(Call::Claim { asked: world.now, answer: None })
    }

    fn asks_renew(&self, world: &World) -> Option<Call> {
        Some(Call::Renew { asked: world.now, epoch: self.holds?, answer: None })
    }

    fn asks_finish(&self, world: &World) -> Option<Call> {
        let epoch = self.holds?;
        self.may_report(world).then_some(Call::Finish { epoch, answer: None })
    }

    fn asks_release(&self, world: &World) -> Option<Call> {
        let epoch = self.holds?;
        self.may_report(world).then_some(Call::Release { epoch, answer: None })
    }

    /// A report goes out only when the tree is gone.
    fn may_report(&self, world: &World) -> bool {
        self.tree.is_none() || world.fault == Fault::ReportBeforeKill
    }

    /// Holds the task, and starts its tree, if the check in the run and in the shim lets it.
    fn starts(&mut self, epoch: Epoch, deadline: Seconds, fault: Fault, now: Seconds) {
        self.holds = Some(epoch);
        let late = fault == Fault::StartsLate;
        if now < deadline || late {
            self.tree = Some(if late { deadline.max(now) } else { deadline });
        }
    }
}

/// Searches every world that can be reached. Returns how many there are.
fn search(fault: Fault, bounds: Bounds) -> Result<usize, String> {
    let mut seen = HashSet::new();
    let mut waiting = vec![World::new(fault, bounds)];
    while let Some(world) = waiting.pop() {
        for next in world.next() {
            if let Some(broken) = next.broken() {
                return Err(broken);
            }
            if !next.is_over() && seen.insert(next.key()) {
                waiting.push(next);
            }
        }
    }
    Ok(seen.len())
}

fn nothing_breaks(bounds: Bounds) {
    let worlds = search(Fault::Rules(planted::Fault::None), bounds).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(worlds > 100_000, "the search went somewhere: {worlds} worlds");
}

#[test]
fn slow_no_order_of_messages_of_two_workers_breaks_a_promise() {
    [CRASHES, REPEATS, JUMPS].into_iter().for_each(nothing_breaks);
}

#[test]
fn slow_no_order_of_messages_of_three_workers_breaks_a_promise() {
    nothing_breaks(THREE);
}

#[test]
fn the_search_finds_each_planted_fault() {
    use Fault::*;
    use planted::Fault as Rule;
    let protocol = [
        DeadlineFromAnswer,
        StartsLate,
        RequeueBeforeKill,
        ReportBeforeKill,
        DoubleAnswer,
        NoDeadman,
        HolderByName,
        LeaseOnWallClock,
    ];
    // Those that two claims can show; the others take many attempts, and machine_test.rs finds them.
    let rules = [
        Rule::NoEpochInRenew,
        Rule::NoEpochInFinish,
        Rule::NoEpochInRelease,
        Rule::ClaimsWhatRuns,
        Rule::ClaimsWhatEnded,
        Rule::ClaimsBeforeItsTime,
        Rule::KeepsEpochAtClaim,
        Rule::KeepsEpochAtCancel,
        Rule::CancelsWhatEnded,
        Rule::ExpiresAtTheEnd,
        Rule::ExpiresWithoutMargin,
        Rule::AnyHolderDied,
        Rule::CrashIsFree,
        Rule::CrashIsAnEnd,
        Rule::ReleaseIsAnEnd,
    ];
    for fault in protocol.into_iter().chain(rules.map(Rules)) {
        let bounds = if fault == LeaseOnWallClock { JUMPS } else { CRASHES };
        assert!(search(fault, bounds).is_err(), "{fault:?}");
    }
}
