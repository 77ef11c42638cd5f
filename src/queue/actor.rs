//! The one owner of the store in its process.
//!
//! Commands gather while a commit is on its way to the disk, and the next commit takes all of
//! them: with one sender each has its own, with a hundred they share. There is no timer: the
//! disk sets the pace.

mod handlers;

use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task;
use std::time::{Duration, Instant};

use actix::prelude::*;
use fail::fail_point;
use tokio::sync::oneshot;

use super::change_notifier::ChangeNotifier;
use super::commands::{Change, Command, PendingAnswer, asked};
use super::commit::{Committed, commit};
use super::last_page::LastPage;
use super::messages::{Claim, QueueError, Settle};
use super::poll::{PollQueue, PollReply};
use super::rest::LONGEST_REST;
use crate::process::{BackOff, boot_now};
use crate::store::{Reader, Store, StoreError};
use crate::telemetry::{Duty, Vitals, chain, meters};

/// Maximum number of messages that wait before their senders do: more than all connections of the server
/// have under way at once, so that a burst becomes one commit.
pub const MAILBOX: usize = 1_024;

/// Commands of one commit. More would keep the first of them waiting for the last.
const BATCH: usize = 1_000;

/// Turns of the loop, of a fraction of a microsecond each, that are waited for as many as came last time. To wait longer keeps
/// those waiting who are there, while the others are on their way: then two batches take turns, one on its way to the disk.
const TURNS: u32 = 60;
/// Larger batches are worth their commit as they are.
const FEW: usize = 32;
/// Time between two looks for commits of other processes: the delay of an event that comes from one. A look takes a few
/// microseconds.
const ELSEWHERE: Duration = Duration::from_millis(20);

/// A [`PollQueue`] whose answer waits.
struct ParkedPoll {
    /// Time at which it may not be true any more, though nothing was committed.
    until: Instant,
    claim: Claim,
    looked: PollReply,
    answer: oneshot::Sender<PollReply>,
}

/// See the [module](self).
pub struct QueueActor {
    /// Store; used by one commit at a time.
    store: Arc<dyn Store>,
    /// The connections that read.
    reader: Reader,
    /// Notified after every commit.
    hub: ChangeNotifier,
    /// Commands that came while a commit was under way, in order.
    waiting: Vec<Box<dyn Command>>,
    /// True if a commit is under way.
    committing: bool,
    /// The look of this process's worker, while it has nothing to do.
    standing: Option<ParkedPoll>,
    /// The page of events that was read last.
    last_page: LastPage,
    /// State of its commits and reads.
    vitals: Vitals,
    /// Number of callers that seem to be asking: those of the last commit, and those that came meanwhile; at most [`FEW`].
    together: usize,
    /// Back-off while the commits of other processes can't be seen.
    back_off: BackOff,
}

impl QueueActor {
    /// The owner of this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, hub: ChangeNotifier, vitals: Vitals) -> Self {
        Self {
            reader: store.reader(),
            store,
            hub,
            waiting: Vec::new(),
            committing: false,
            standing: None,
            last_page: LastPage::default(),
            vitals,
            together: 0,
            back_off: BackOff::default(),
        }
    }

    /// Adds a command to the next commit, which answers it.
    fn change<C: Change>(&mut self, change: C, ctx: &mut Context<Self>) -> PendingAnswer<C> {
        fail_point!("queue-command");
        let (waiting, answer) = asked(change);
        self.waiting.push(waiting);
        self.commit_next(ctx);
        answer
    }

    fn commit_next(&mut self, ctx: &mut Context<Self>) {
        if self.committing || self.waiting.is_empty() {
            return;
        }
        self.committing = true;
        ctx.spawn(Gather { turns: TURNS }.map(|(), this, ctx| this.commit_now(ctx)));
    }

    fn commit_now(&mut self, ctx: &mut Context<Self>) {
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
        let mut batch = std::mem::replace(&mut self.waiting, rest);
        let size = batch.len();
        if batch.iter().any(|each| each.makes_work()) {
            batch.extend(self.claim_along(ctx));
        }
        let store = Arc::clone(&self.store);
        let work = async move {
            fail_point!("queue-commit");
            let (began, commands) = (Instant::now(), batch.len());
            let committed = commit(&*store, batch).await;
            meters().commit(commands, began.elapsed());
            committed
        };
        ctx.spawn(work.into_actor(self).map(move |committed, this, ctx| {
            this.together = (this.waiting.len() + size).min(FEW);
            this.committed(&committed, ctx);
        }));
    }

    /// The claim of the worker that waits for work: it gets in one commit, with one write to the disk,
    /// what is submitted and claimed.
    fn claim_along(&mut self, ctx: &mut Context<Self>) -> Option<Box<dyn Command>> {
        let ParkedPoll { claim, looked, answer, .. } =
            self.standing.take().filter(|standing| !standing.answer.is_closed())?;
        let (waiting, answer_to_claim) = asked(claim);
        let claimed = answer_to_claim.wait();
        // It may have waited for long.
        let claimed_after = boot_now();
        let tell = async move {
            let claimed = claimed.await;
            // Nobody there any more: its next look finds what it was given.
            drop(answer.send(PollReply { claimed, claimed_after, ..looked }));
        };
        ctx.spawn(tell.into_actor(self));
        Some(waiting)
    }

    /// Hints follow what is stored, and nothing else: a hint of a commit that failed would bring the same
    /// command back at once, to fail again.
    fn committed(&mut self, committed: &Committed, ctx: &mut Context<Self>) {
        self.committing = false;
        self.commit_next(ctx);
        match &committed.failure {
            Some(error) => self.vitals.failed(Duty::Commits, error),
            None => self.vitals.well(Duty::Commits),
        }
        if committed.unsettled {
            // Nobody waits for it.
            drop(self.change(Settle, ctx));
        }
        if committed.any {
            self.last_page.forget();
            match committed.is_news {
                true => self.hub.changed(&committed.touched, committed.concern),
                false => self.hub.sign_of_life(),
            }
        }
    }

    fn answer_look(
        &mut self,
        polled: Result<(PollReply, Option<Claim>), StoreError>,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<<PollQueue as Message>::Result> {
        match polled {
            Err(error) => Box::pin(ready(Err(error.into()))),
            Ok((looked, Some(claim))) if looked.work => {
                let claimed = self.change(claim, ctx).wait();
                Box::pin(async move { Ok(PollReply { claimed: claimed.await, ..looked }) })
            }
            Ok((looked, Some(claim))) if looked.is_quiet() => {
                let (answer, found) = oneshot::channel();
                let until = Instant::now() + looked.stays.unwrap_or_default().min(LONGEST_REST);
                self.standing = Some(ParkedPoll { until, claim, looked, answer });
                Box::pin(async { found.await.map_err(|_| QueueError::Restarting) })
            }
            Ok((looked, _)) => Box::pin(ready(Ok(looked))),
        }
    }

    /// Tells the hub whenever another process has written.
    fn look_elsewhere(&self, ctx: &mut Context<Self>) {
        let store = Arc::clone(&self.store);
        store.note_followers(self.hub.has_followers());
        let look = async move { store.changed_elsewhere().await };
        ctx.spawn(look.into_actor(self).map(|changed, this, ctx| {
            let pause = match changed {
                Ok(changed) => {
                    this.back_off.reset();
                    if changed {
                        this.last_page.forget();
                        this.hub.changed_elsewhere(this.store.has_news_for_workers());
                    }
                    ELSEWHERE
                }
                Err(error) => {
                    // At the end of the process nobody looks any more.
                    if !matches!(error, StoreError::Closed) {
                        tracing::warn!(error = chain(&error), "The commits of other processes can't be seen");
                    }
                    this.back_off.next()
                }
            };
            ctx.run_later(pause, |this, ctx| this.look_elsewhere(ctx));
        }));
    }
}

impl Actor for QueueActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.look_elsewhere(ctx);
    }
}

impl Supervised for QueueActor {
    /// Drops what waited, and tells its senders; the store decides what is true.
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.waiting = Vec::new();
        self.standing = None;
        self.committing = false;
    }
}

/// Waits until the mailbox's messages are in the batch: senders that were answered together ask again together.
struct Gather {
    /// Turns of the loop that are left.
    turns: u32,
}

impl ActorFuture<QueueActor> for Gather {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut QueueActor,
        _: &mut Context<QueueActor>,
        task: &mut task::Context<'_>,
    ) -> task::Poll<()> {
        if self.turns < TURNS && (actor.waiting.len() >= actor.together || self.turns == 0) {
            return task::Poll::Ready(());
        }
        self.turns = self.turns.saturating_sub(1);
        task.waker().wake_by_ref();
        task::Poll::Pending
    }
}
