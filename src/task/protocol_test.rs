//! The lease protocol in every order of its messages: two workers that crash and lose answers, a
//! store, a reaper, and shims that do nothing but watch the time. Any step may come late, which
//! is what a frozen worker looks like. The search runs [`Record::apply`] and [`LeaseTimes`]
//! themselves, so what it shows is about the program.
//!
//! No machine is shared here: nobody sweeps what another worker left. Time alone must keep two
//! process trees of one task apart.

use std::collections::HashSet;
use std::time::Duration;

use super::*;

/// Short beside the time that a shim needs, so that it matters whether the reaper waits for it.
const LEASE: LeaseTimes = LeaseTimes::new(Duration::from_secs(5));
/// The search goes in steps of this length. The deadline lies at 4 s, the end of the tree at 7 s,
/// the end of the lease at 5 s, the reaper's turn at 8 s.
const TICK_MS: i64 = 2_000;
/// Long enough for a lease to be lost, and for its late answers to come after the next claim.
const HORIZON: i64 = 8;

/// What the search is to find, to show that it can find anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The deadline counts from the answer, not from the question.
    DeadlineFromAnswer,
    /// A tree is started whatever the time is.
    StartsLate,
    /// The reaper doesn't wait for the shim.
    NoMargin,
    /// A task goes back when its worker's death is seen, with the tree still there.
    RequeueBeforeKill,
}

/// A question to the store, and how far it has come.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Call {
    Claim { asked: i64, answer: Option<Option<i64>> },
    Renew { asked: i64, epoch: i64, answer: Option<bool> },
    Finish { epoch: i64, answer: Option<bool> },
}

/// A shim with its tree: alive until it is told to end, or its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Tree {
    deadline: i64,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Worker {
    life: u8,
    /// The epoch under which it works.
    holds: Option<i64>,
    call: Option<Call>,
    tree: Option<Tree>,
}

#[derive(Clone)]
struct World {
    now: i64,
    record: Record,
    workers: [Worker; 2],
}

fn at(ms: i64) -> BootInstant {
    BootInstant { boot: Boot::from_u128(1), ms }
}

fn holder(index: usize, life: u8) -> HolderId {
    HolderId::from_u128(index as u128 * 10 + u128::from(life) + 1)
}

impl World {
    fn new() -> Self {
        let record = Record {
            state: State::Pending { due: None },
            epoch: 0,
            attempt: 0,
            ended: 0,
            crashes: 0,
            max_attempts: 3,
            retry_timeouts: false,
            retry: RetryPolicy { initial_delay_ms: 0, max_delay_ms: 0, multiplier: 1.0 },
        };
        Self { now: 0, record, workers: Default::default() }
    }

    fn key(&self) -> (i64, Status, i64, i64, u128, [Worker; 2]) {
        let (expires, holder) = match self.record.state {
            State::Running(lease) => (lease.expires.ms, lease.holder.as_u128()),
            _ => (0, 0),
        };
        (self.now, self.record.state.status(), self.record.epoch, expires, holder, self.workers.clone())
    }

    /// Every world that may come next.
    fn next(&self, fault: Fault) -> Vec<Self> {
        let mut next = Vec::new();
        let mut step = |change: &dyn Fn(&mut Self) -> bool| {
            let mut world = self.clone();
            if change(&mut world) {
                next.push(world);
            }
        };
        step(&Self::tick);
        step(&|world| world.reap(fault));
        step(&|world| world.apply(Command::Cancel));
        for index in 0..2 {
            step(&|world| world.ask_claim(index));
            step(&|world| world.ask_renew(index));
            step(&|world| world.ask_finish(index));
            step(&|world| world.execute(index));
            step(&|world| world.hear(index, fault));
            step(&|world| world.workers[index].call.take().is_some());
            step(&|world| world.crash(index));
            step(&|world| world.see_death(index, fault));
            step(&|world| world.tree_ends(index));
        }
        next
    }

    fn apply(&mut self, command: Command) -> bool {
        self.record.apply(command, Wall(self.now), 0.0).is_ok()
    }

    /// Time passes; a shim whose time has come needs at most `TREE_END_MS` for the end.
    fn tick(&mut self) -> bool {
        self.now += TICK_MS;
        for worker in &mut self.workers {
            worker.tree = worker.tree.filter(|tree| self.now < tree.deadline + TREE_END_MS);
        }
        self.now <= HORIZON * TICK_MS
    }

    /// A tree ends by itself, or because its time has come.
    fn tree_ends(&mut self, index: usize) -> bool {
        self.workers[index].tree.take().is_some()
    }

    fn reap(&mut self, fault: Fault) -> bool {
        let early = if fault == Fault::NoMargin { TREE_END_MS } else { 0 };
        self.apply(Command::Expire { now: at(self.now + early) })
    }

    fn ask_claim(&mut self, index: usize) -> bool {
        let now = self.now;
        let worker = &mut self.workers[index];
        let idle = worker.call.is_none() && worker.holds.is_none() && worker.tree.is_none();
        // Two claims are enough for two trees.
        if !idle || self.record.epoch >= 2 {
            return false;
        }
        worker.call = Some(Call::Claim { asked: now, answer: None });
        true
    }

    fn ask_renew(&mut self, index: usize) -> bool {
        let now = self.now;
        let worker = &mut self.workers[index];
        let (None, Some(epoch)) = (&worker.call, worker.holds) else { return false };
        worker.call = Some(Call::Renew { asked: now, epoch, answer: None });
        true
    }

    /// A report goes out only when the tree is gone.
    fn ask_finish(&mut self, index: usize) -> bool {
        let worker = &mut self.workers[index];
        let (None, None, Some(epoch)) = (&worker.call, worker.tree, worker.holds) else {
            return false;
        };
        worker.call = Some(Call::Finish { epoch, answer: None });
        true
    }

    /// The store answers, however long the question took, whether or not its sender still lives.
    fn execute(&mut self, index: usize) -> bool {
        let lease = Lease { holder: holder(index, self.workers[index].life), expires: LEASE.expiry(at(self.now)) };
        let Some(mut call) = self.workers[index].call.clone() else { return false };
        let (Call::Claim { answer: None, .. } | Call::Renew { answer: None, .. } | Call::Finish { answer: None, .. }) =
            &call
        else {
            return false;
        };
        match &mut call {
            Call::Claim { answer, .. } => {
                *answer = Some(self.apply(Command::Claim(lease)).then_some(self.record.epoch))
            }
            Call::Renew { epoch, answer, .. } => {
                *answer = Some(self.apply(Command::Renew { epoch: *epoch, expires: lease.expires }));
            }
            Call::Finish { epoch, answer } => {
                let outcome = Outcome::Failed(Failure::new(FailureClass::Network, "NETWORK", ""));
                *answer = Some(self.apply(Command::Finish { epoch: *epoch, outcome }));
            }
        }
        self.workers[index].call = Some(call);
        true
    }

    fn hear(&mut self, index: usize, fault: Fault) -> bool {
        let now = self.now;
        let worker = &mut self.workers[index];
        let from = |asked| if fault == Fault::DeadlineFromAnswer { now } else { asked };
        match worker.call.clone() {
            Some(Call::Claim { asked, answer: Some(Some(epoch)) }) => {
                let deadline = LEASE.tree_deadline(at(from(asked)));
                worker.holds = Some(epoch);
                // The check in AgentRun and in the shim, before the CLI is started.
                if now < deadline.ms || fault == Fault::StartsLate {
                    let deadline = if fault == Fault::StartsLate { deadline.ms.max(now) } else { deadline.ms };
                    worker.tree = Some(Tree { deadline });
                }
            }
            Some(Call::Claim { answer: Some(None), .. }) => {}
            Some(Call::Renew { asked, answer: Some(true), .. }) => {
                if let Some(tree) = &mut worker.tree {
                    tree.deadline = tree.deadline.max(LEASE.tree_deadline(at(from(asked))).ms);
                }
            }
            // Lost: it ends the tree first, and then forgets the task.
            Some(Call::Renew { answer: Some(false), .. }) => {
                worker.tree = None;
                worker.holds = None;
            }
            Some(Call::Finish { answer: Some(_), .. }) => worker.holds = None,
            _ => return false,
        }
        worker.call = None;
        true
    }

    /// The worker dies; its shim sees the end of the socket, and its tree ends soon.
    fn crash(&mut self, index: usize) -> bool {
        let now = self.now;
        let worker = &mut self.workers[index];
        let tree = worker.tree.map(|tree| Tree { deadline: tree.deadline.min(now) });
        let life = worker.life + 1;
        *worker = Worker { life, tree, ..Worker::default() };
        life <= 1
    }

    /// Somebody sees that the worker is dead, ends its tree, and only then says so.
    fn see_death(&mut self, index: usize, fault: Fault) -> bool {
        let worker = &self.workers[index];
        if worker.life == 0 || (worker.tree.is_some() && fault != Fault::RequeueBeforeKill) {
            return false;
        }
        self.apply(Command::HolderDied(holder(index, 0)))
    }
}

/// Searches every world that can be reached. Returns how many there are, or one with two trees.
fn search(fault: Fault) -> Result<usize, i64> {
    let mut seen = HashSet::new();
    let mut waiting = vec![World::new()];
    while let Some(world) = waiting.pop() {
        if world.workers.iter().all(|worker| worker.tree.is_some()) {
            return Err(world.now);
        }
        for next in world.next(fault) {
            assert!((0..=1).contains(&(next.record.epoch - world.record.epoch)), "epochs grow by one");
            let status = world.record.state.status();
            assert!(!status.is_terminal() || status == next.record.state.status(), "a terminal state never changes");
            if seen.insert(next.key()) {
                waiting.push(next);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn slow_two_trees_of_one_task_never_live_at_a_time() {
    let worlds = search(Fault::None).unwrap_or_else(|at| panic!("two trees after {at} ms"));
    assert!(worlds > 10_000, "the search went somewhere: {worlds} worlds");
}

#[test]
fn the_search_finds_each_planted_fault() {
    use Fault::*;
    for fault in [DeadlineFromAnswer, StartsLate, NoMargin, RequeueBeforeKill] {
        assert!(search(fault).is_err(), "{fault:?}");
    }
}
