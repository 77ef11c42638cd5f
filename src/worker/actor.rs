//! The one who claims: keeps its slots filled, its leases fresh, and knows what it runs.

mod adopt;
mod handlers;

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use fail::fail_point;
use futures_util::FutureExt;
use tracing::Instrument as _;

use super::News;
use super::adoption;
use super::agent_run::{self, AgentRun, RunCommand};
use super::commands::Commands;
use super::messages::{Hint, RunEnded};
use super::poll::{Do, Poll};
use super::running::RunningTasks;
use super::set_up::WorkerContext;
use super::{secrets, worktree};
use crate::claude::{self, Unavailable};
use crate::process::boot_now;
use crate::queue::{
    Assignment, Beat, Claim, FlushPoll, PollQueue, PollReply, Queue, ReadStats, Release, Renew, Renewed,
};
use crate::telemetry::{Duty, chain, task_span, traces};
use domain::{BootInstant, LeaseKey, LeaseTimes, ReleaseReason, Spent, Status as TaskStatus};

/// Hints, ends of attempts and questions; all senders wait or may be turned away.
pub const MAILBOX: usize = 256;
/// Longest time between two polls, should every hint be lost.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before a look for what another process has committed, where a supervisor wakes the workers that it concerns: by then
/// a new task is claimed by the one that was woken for it.
const AFTER_LINK: Duration = Duration::from_millis(5);
/// Time between two heartbeats in the store.
const BEAT: Duration = Duration::from_secs(5);
/// Time between two lines about its health in the log.
const HEALTH_LINE: Duration = Duration::from_secs(60);
/// Time between two looks for worktrees that no task needs any more.
const CLEAN_UP: Duration = Duration::from_secs(600);

/// See the [module](self).
pub struct WorkerActor {
    /// Context that all attempts share.
    tools: Arc<WorkerContext>,
    /// The queue of this process.
    queue: Queue,
    /// Receivers of hints.
    news: News,
    /// Tasks at a time, unless the store says otherwise.
    default_concurrency: u32,
    /// Tasks at a time.
    concurrency: u32,
    /// Running tasks.
    running: RunningTasks,
    /// State of its polls.
    poll: Poll,
    /// Time of the last line about a CLI that can't run tasks.
    complained: Option<Instant>,
    /// Attempts of others for which the store is being asked.
    adopting: HashSet<LeaseKey>,
    /// Attempts that are held for another worker.
    held: HashSet<LeaseKey>,
    /// True if what it runs when it drains goes on without it.
    hands_over: bool,
    /// True if it has said goodbye to the store. What it said behind that would bring it back, and shorten the leases of
    /// what it has handed over.
    has_left: bool,
    /// Attempts that others have handed over, and since when they are seen.
    offered: HashMap<LeaseKey, Instant>,
    /// True if it claims no more.
    draining: bool,
    /// Callers to be answered when nothing runs any more.
    drained: Vec<tokio::sync::oneshot::Sender<()>>,
}

impl WorkerActor {
    /// A worker with `concurrency` slots.
    #[must_use]
    pub fn new(tools: WorkerContext, concurrency: u32, queue: Queue, news: News) -> Self {
        Self {
            tools: Arc::new(tools),
            queue,
            news,
            default_concurrency: concurrency,
            concurrency,
            running: RunningTasks::default(),
            poll: Poll::new(Instant::now()),
            complained: None,
            adopting: HashSet::new(),
            held: HashSet::new(),
            hands_over: false,
            has_left: false,
            offered: HashMap::new(),
            draining: false,
            drained: Vec::new(),
        }
    }

    /// A look at the store is wanted.
    fn want_look(&mut self, ctx: &mut Context<Self>) {
        let what = self.poll.wanted(Instant::now());
        self.poll(what, ctx);
    }

    /// Time has passed: a look is wanted, unless one waits for work and says what is true still.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if self.poll.is_in_flight() {
            drop(self.queue.0.try_send(FlushPoll::IfOld));
        } else {
            self.want_look(ctx);
        }
    }

    fn poll(&mut self, what: Do, ctx: &mut Context<Self>) {
        match what {
            Do::Nothing => {}
            Do::Look => self.poll_store(ctx),
            // Full: the queue has enough to do, and answers soon.
            Do::Flush => drop(self.queue.0.try_send(FlushPoll::Now)),
            Do::Wait(time) => {
                ctx.run_later(time, |this, ctx| {
                    let what = this.poll.timer(Instant::now());
                    this.poll(what, ctx);
                });
            }
        }
    }

    /// Looks at the store: what was lost, what was said, what there is to do. Claims what fits.
    fn poll_store(&self, ctx: &mut Context<Self>) {
        let able = claude::check(&self.tools.claude);
        let look = PollQueue {
            holder: self.tools.holder,
            credential: self.tools.claude.credential.clone(),
            leases: self.running.leases(),
            heard: self.running.heard(),
            budgets: self.running.budgets(),
            labels: self.tools.labels.clone(),
            claim: able.as_ref().ok().and_then(|()| self.claim()),
        };
        let queue = self.queue.clone();
        let reply = async move { queue.ask(look).await }.into_actor(self);
        ctx.spawn(reply.map(move |reply, this, ctx| {
            let more = match reply {
                Ok(reply) => {
                    let is_old = reply.is_old;
                    this.polled(reply, able.err(), ctx) || is_old
                }
                Err(error) => {
                    this.tools.vitals.failed(Duty::Claims, &error);
                    tracing::warn!(error = chain(&error), "Could not look for work");
                    false
                }
            };
            if this.draining && this.is_idle() {
                // A look that begins now claims nothing.
                this.tell_drained();
            }
            let what = this.poll.answered(Instant::now(), more);
            this.poll(what, ctx);
        }));
    }

    /// Returns the claim for its free slots.
    fn claim(&self) -> Option<Claim> {
        fail_point!("worker-claim", |_| None);
        let limit = self.free();
        (limit > 0 && !self.draining).then(|| Claim {
            holder: self.tools.holder,
            worker: self.tools.name.clone(),
            credential: self.tools.claude.credential.clone(),
            labels: self.tools.labels.clone(),
            limit,
            budgets: self.tools.budgets,
            lease: self.tools.lease,
        })
    }

    fn free(&self) -> u32 {
        let taken = self.running.len() + self.adopting.len();
        self.concurrency.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    /// Carries out the answer to a poll. Returns true if there may be more to claim.
    fn polled(&mut self, reply: PollReply, unable: Option<Unavailable>, ctx: &mut Context<Self>) -> bool {
        self.running.lose(&reply.lost);
        self.running.pass_on(reply.said);
        self.running.limit(&reply.budgets);
        // What was handed over is in its name until another worker takes it; what it has adopted was not known when it
        // asked.
        for key in reply.forgotten.into_iter().filter(|_| !self.has_left) {
            if !self.adopting.contains(&key) && !self.running.has(key.task) {
                self.give_back(key, ctx);
            }
        }
        if reply.drain {
            self.news.asked_to_end.notify_one();
        }
        self.concurrency = reply.concurrency.unwrap_or(self.default_concurrency);
        if let Some(why) = unable.filter(|_| reply.work) {
            self.complain(&why);
        }
        self.tools.vitals.note(Duty::Claims, &reply.claimed);
        match reply.claimed {
            Ok(claimed) => {
                let some = !claimed.is_empty();
                for assignment in claimed {
                    self.start(assignment, reply.claimed_after, ctx);
                }
                some && self.free() > 0
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "Could not claim");
                false
            }
        }
    }

    /// A worker that lacks the CLI or a credential leaves the tasks to others, and says so once a minute.
    fn complain(&mut self, why: &Unavailable) {
        if self.complained.is_none_or(|at| at.elapsed() >= HEALTH_LINE) {
            tracing::error!(%why, "Tasks wait, and this worker can't run them");
            self.complained = Some(Instant::now());
        }
    }

    fn start(&mut self, assignment: Assignment, claimed_after: BootInstant, ctx: &mut Context<Self>) {
        let key = assignment.key;
        let commands = self.running.add(key);
        let deadline = self.times().tree_deadline(claimed_after);
        self.follow(key, self.run(assignment, commands.into(), deadline, ctx), AgentRun::run, ctx);
    }

    fn run(
        &self,
        assignment: Assignment,
        commands: Commands,
        deadline: BootInstant,
        ctx: &mut Context<Self>,
    ) -> AgentRun {
        let (task, worker) = (&assignment.task, &self.tools.name);
        let trace = traces::Span::of_attempt(assignment.key, task.attempt, worker, task.trace_parent);
        let (tools, queue, news) = (Arc::clone(&self.tools), self.queue.clone(), self.news.clone());
        AgentRun { tools, queue, news, assignment, trace, commands, deadline, held: ctx.address().recipient() }
    }

    /// Follows an attempt to its end, also where it panics.
    fn follow<F: Future<Output = ()> + 'static>(
        &self,
        key: LeaseKey,
        run: AgentRun,
        work: impl FnOnce(AgentRun) -> F,
        ctx: &mut Context<Self>,
    ) {
        let (me, queue, credential) = (ctx.address(), self.queue.clone(), self.tools.claude.credential.clone());
        let place = run.trace.place();
        let span = task_span(key.task, Some(run.assignment.task.attempt), place);
        let work = Box::pin(work(run));
        let attempt = async move {
            if AssertUnwindSafe(traces::within(place, work)).catch_unwind().await.is_err() {
                tracing::error!("An attempt panicked");
                let report = agent_run::report_panic(&queue, key, credential);
                if AssertUnwindSafe(report).catch_unwind().await.is_err() {
                    // The next look finds a task that no worker runs, and gives it back.
                    tracing::error!("A panic could not be reported");
                }
            }
            // Closed while the actor restarts: its next look finds the truth.
            me.send(RunEnded(key)).await.unwrap_or_default();
        };
        actix::spawn(attempt.instrument(span));
    }

    fn times(&self) -> LeaseTimes {
        LeaseTimes::new(self.tools.lease)
    }

    /// A task that is ours in the store and that we don't know: the answer to a claim was lost with a panic. Where it was
    /// to be taken over, its process runs, and is ended first.
    fn give_back(&self, key: LeaseKey, ctx: &mut Context<Self>) {
        let release = Release {
            key,
            reason: ReleaseReason::SetUpFailed,
            detail: Some("the claim was not received".to_owned()),
            delay: Duration::ZERO,
            spent: Spent::NONE,
            session_id: None,
            events: Vec::new(),
        };
        let queue = self.queue.clone();
        let given_back = async move {
            if adoption::end_processes(&queue, key).await.is_ok_and(|gone| gone) {
                drop(queue.ask(release).await);
            }
        };
        ctx.spawn(given_back.into_actor(self));
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        if self.running.is_empty() || self.has_left {
            return;
        }
        let asked_at = boot_now();
        let leases = self.running.leases();
        let renew = Renew { holder: self.tools.holder, leases: leases.clone(), lease: self.tools.lease };
        let queue = self.queue.clone();
        let renewed = async move { queue.ask(renew).await }.into_actor(self);
        ctx.spawn(renewed.map(move |renewed, this, _| match renewed {
            Ok(Renewed { lost }) => {
                this.running.lose(&lost);
                let until = this.times().tree_deadline(asked_at);
                this.running.extend(leases.into_iter().filter(|key| !lost.contains(key)), until);
            }
            Err(error) => tracing::warn!(error = chain(&error), "Could not renew the leases"),
        }));
    }

    fn sign_of_life(&self) -> Beat {
        Beat {
            holder: self.tools.holder,
            name: self.tools.name.clone(),
            running: self.running.len(),
            concurrency: self.concurrency,
            labels: self.tools.labels.clone(),
        }
    }

    fn beat(&self, ctx: &mut Context<Self>) {
        if self.has_left {
            return;
        }
        let beat = self.sign_of_life();
        let queue = self.queue.clone();
        let beaten = async move { queue.ask(beat).await }.into_actor(self);
        ctx.spawn(beaten.map(|beaten, _, _| {
            if let Err(error) = beaten {
                tracing::warn!(error = chain(&error), "Could not say that we live");
            }
        }));
    }

    /// Looks after the processes that wait for tasks.
    fn keep_ready(&self, ctx: &mut Context<Self>) {
        self.tools.refill();
        for recipe in self.tools.standby.tick(self.times().tree_deadline(boot_now())) {
            let tools = Arc::clone(&self.tools);
            ctx.spawn(async move { tools.standby.refill(&tools, recipe).await }.into_actor(self));
        }
    }

    fn clean_up(&self, ctx: &mut Context<Self>) {
        let (tools, queue) = (Arc::clone(&self.tools), self.queue.clone());
        ctx.spawn(
            async move {
                worktree::clean_up(&tools, &queue).await;
                secrets::clean_up(&tools, &queue).await;
            }
            .into_actor(self),
        );
    }

    fn health_line(&self, ctx: &mut Context<Self>) {
        let queue = self.queue.clone();
        let running = self.running.len();
        ctx.spawn(
            async move {
                let stats = queue.ask(ReadStats(None)).await;
                let pending = stats.as_ref().map_or(0, |stats| stats.count(TaskStatus::Pending));
                tracing::info!(healthy = stats.is_ok(), pending, running, "Health check");
            }
            .into_actor(self),
        );
    }

    /// What running attempts are told when it drains. To be told twice changes nothing.
    const fn at_drain(&self) -> &'static RunCommand {
        if self.hands_over { &RunCommand::HandOver } else { &RunCommand::Draining }
    }

    /// True if nothing runs but what is held for another worker.
    fn is_idle(&self) -> bool {
        self.adopting.is_empty() && self.running.len() == self.held.len()
    }

    /// Answers the drains that wait, when nothing runs and no claim is under way.
    fn tell_if_drained(&mut self) {
        if self.draining && self.is_idle() && !self.poll.is_in_flight() {
            self.tell_drained();
        }
    }

    /// Completes when nothing runs but what is held for another worker.
    fn once_idle(&mut self) -> tokio::sync::oneshot::Receiver<()> {
        let (sender, idle) = tokio::sync::oneshot::channel();
        self.drained.push(sender);
        self.tell_if_drained();
        idle
    }

    fn tell_drained(&mut self) {
        for waiting in self.drained.drain(..) {
            waiting.send(()).unwrap_or_default();
        }
    }
}

impl Actor for WorkerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // The row of this life must be there before the first claim.
        let beat = self.sign_of_life();
        let queue = self.queue.clone();
        let beaten = async move {
            queue.insist(&beat, "the first sign of life").await;
        };
        ctx.wait(beaten.into_actor(self).map(|(), this, ctx| {
            this.look_for_offers(ctx);
            this.want_look(ctx);
        }));
        self.tools.refill();
        let mut commits = self.news.hub.work();
        let me = ctx.address();
        let pause = if self.news.link.is_some() { AFTER_LINK } else { Duration::ZERO };
        let hints = async move {
            while commits.changed().await.is_ok() {
                tokio::time::sleep(pause).await;
                // Full: a look is due anyway.
                drop(me.try_send(Hint));
            }
        };
        ctx.spawn(hints.into_actor(self));
        ctx.run_interval(LOOK, |this, ctx| {
            this.look_for_offers(ctx);
            this.look_again(ctx);
        });
        ctx.run_interval(self.times().renew_every(), Self::renew);
        ctx.run_interval(self.times().renew_every(), |this, ctx| this.keep_ready(ctx));
        ctx.run_interval(BEAT, |this, ctx| this.beat(ctx));
        self.clean_up(ctx);
        ctx.run_interval(CLEAN_UP, |this, ctx| this.clean_up(ctx));
        ctx.run_interval(HEALTH_LINE, |this, ctx| this.health_line(ctx));
    }
}

impl Supervised for WorkerActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.poll = Poll::new(Instant::now());
        self.running.retain_living();
        // Their futures went with the actor: the shims make their offers again.
        self.adopting.clear();
    }
}
