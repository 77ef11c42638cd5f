//! The one owner of the store in its process.
//!
//! Commands gather while a commit is on its way to the disk, and the next commit takes all of
//! them: with one sender each has its own, with a hundred they share. There is no timer: the
//! disk sets the pace.

use std::future::ready;

use actix::prelude::*;
use fail::fail_point;
use tokio::sync::oneshot;

use super::hooks::{
    AddWebhook, Attempted, ClaimDeliveries, EnableWebhook, ReadDeliveries, ReadWebhooks, RemoveWebhook, RetryDelivery,
};
use super::hub::Hub;
use super::messages::{
    Amend, Append, Beat, Cancel, Claim, Draining, Expire, FindExpired, FindHolders, Finish, HolderDied, Look, Looked,
    Nudge, Probe, Prune, QueueError, ReadLimits, Release, Renew, SetConcurrency, SetLimit, SetPaused, Submit,
    SubmitAll, Unpark, WorkerGone,
};
use super::reads::{Explain, Find, HasEnded, ListTasks, ReadEvents, ReadPatch, ReadStats, ReadUsage, ReadWorkers};
use super::schedules::{
    DueSchedules, FindSchedule, Fire, LastTask, NextFiring, PutSchedule, ReadRuns, ReadSchedules, RemoveSchedule,
    Replan,
};
use super::store::{Change, Committed, Reader, Store, StoreError, Waiting, Writer, asked};
use super::talk::{Answer, Ask, Progress, ReadQuestions, ReadTalk, Say};
use crate::telemetry::{Duty, Vitals};

/// So many messages wait before their senders do. More than all connections of the server
/// have under way at once, so that a burst becomes one commit.
pub const MAILBOX: usize = 1_024;

/// Commands of one commit. More would keep the first of them waiting for the last.
const BATCH: usize = 1_000;

/// Turns of the loop, of a microsecond or two each, that are waited for as many as came last time.
const TURNS: u32 = 60;
/// Larger batches are worth their commit as they are.
const FEW: usize = 32;

/// A [`Look`] whose answer waits.
struct Standing {
    claim: Claim,
    looked: Looked,
    answer: oneshot::Sender<Looked>,
}

/// See the [module](self).
pub struct QueueActor {
    /// The connection that writes. Used by one commit at a time.
    writer: Writer,
    /// The connections that read.
    reader: Reader,
    /// Told after every commit.
    hub: Hub,
    /// Commands that came while a commit was under way, in order.
    waiting: Vec<Box<dyn Waiting>>,
    /// Whether a commit is under way.
    committing: bool,
    /// The look of this process's worker, while it has nothing to do.
    standing: Option<Standing>,
    /// How its commits and reads go.
    vitals: Vitals,
    /// How many seem to be asking: those of the last commit, and those who came meanwhile; up to a [`FEW`].
    together: usize,
}

impl QueueActor {
    /// The owner of this store.
    #[must_use]
    pub fn new(store: &Store, hub: Hub, vitals: Vitals) -> Self {
        let (writer, reader) = (store.writer.clone(), store.reader.clone());
        Self { writer, reader, hub, waiting: Vec::new(), committing: false, standing: None, vitals, together: 0 }
    }

    /// Adds a command to the next commit, and answers after it.
    fn change<C: Change>(
        &mut self,
        change: C,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Result<C::Answer, QueueError>> {
        fail_point!("queue-command");
        let (waiting, answer) = asked(change);
        self.waiting.push(waiting);
        self.commit_next(ctx);
        Box::pin(async { answer.await.unwrap_or(Err(QueueError::Restarting)) })
    }

    fn commit_next(&mut self, ctx: &mut Context<Self>) {
        if self.committing || self.waiting.is_empty() {
            return;
        }
        self.committing = true;
        self.gather(TURNS, ctx);
    }

    /// What is in the mailbox by now comes along. Those who were answered together are about to ask
    /// again together: a commit that takes half of them makes the other half wait for two.
    fn gather(&self, turns: u32, ctx: &mut Context<Self>) {
        let turn = tokio::task::yield_now().into_actor(self);
        ctx.spawn(turn.map(move |(), this, ctx| {
            if this.waiting.len() < this.together && turns > 0 {
                this.gather(turns - 1, ctx);
            } else {
                this.commit_now(ctx);
            }
        }));
    }

    fn commit_now(&mut self, ctx: &mut Context<Self>) {
        let rest = self.waiting.split_off(self.waiting.len().min(BATCH));
        let mut batch = std::mem::replace(&mut self.waiting, rest);
        let size = batch.len();
        if batch.iter().any(|each| each.makes_work()) {
            batch.extend(self.claim_along(ctx));
        }
        let writer = self.writer.clone();
        let commit = async move {
            fail_point!("queue-commit");
            writer.commit(batch).await
        };
        ctx.spawn(commit.into_actor(self).map(move |committed, this, ctx| {
            this.together = (this.waiting.len() + size).min(FEW);
            this.committed(&committed, ctx);
        }));
    }

    /// The claim of the worker that waits for work: it gets in one commit, with one write to the disk,
    /// what is submitted and claimed.
    fn claim_along(&mut self, ctx: &mut Context<Self>) -> Option<Box<dyn Waiting>> {
        let Standing { claim, looked, answer } =
            self.standing.take().filter(|standing| !standing.answer.is_closed())?;
        let (waiting, claimed) = asked(claim);
        let tell = async move {
            let claimed = claimed.await.unwrap_or(Err(QueueError::Restarting));
            // Nobody there any more: its next look finds what it was given.
            drop(answer.send(Looked { claimed, ..looked }));
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
        if committed.any {
            self.hub.changed(&committed.touched);
        }
    }
}

impl Actor for QueueActor {
    type Context = Context<Self>;
}

impl Supervised for QueueActor {
    /// What waited is dropped, and its senders are told; the store decides what is true.
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.waiting = Vec::new();
        self.standing = None;
        self.committing = false;
    }
}

macro_rules! changes {
    ($($message:ty),* $(,)?) => {
        $(impl Handler<$message> for QueueActor {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) -> Self::Result {
                self.change(message, ctx)
            }
        })*
    };
}

changes!(
    Submit,
    SubmitAll,
    Amend,
    Claim,
    Renew,
    Append,
    Finish,
    Release,
    Cancel,
    HolderDied,
    Expire,
    Beat,
    Draining,
    Prune,
    WorkerGone,
    Ask,
    Progress,
    Answer,
    Say,
    SetPaused,
    SetConcurrency,
    SetLimit,
    AddWebhook,
    RemoveWebhook,
    ClaimDeliveries,
    Attempted,
    RetryDelivery,
    PutSchedule,
    RemoveSchedule,
    Fire,
    Replan,
    Unpark,
    EnableWebhook,
);

impl Handler<Look> for QueueActor {
    type Result = ResponseFuture<<Look as Message>::Result>;

    /// What a look finds is claimed at once, in one go with what others want.
    fn handle(&mut self, look: Look, ctx: &mut Context<Self>) -> Self::Result {
        let looked = match self.writer.look(&look) {
            Ok(looked) => looked,
            Err(error) => return Box::pin(ready(Err(error.into()))),
        };
        match look.claim {
            Some(claim) if looked.work => {
                let claimed = self.change(claim, ctx);
                Box::pin(async move { Ok(Looked { claimed: claimed.await, ..looked }) })
            }
            Some(claim) if looked.is_quiet() => {
                let (answer, found) = oneshot::channel();
                self.standing = Some(Standing { claim, looked, answer });
                Box::pin(async { found.await.map_err(|_| QueueError::Restarting) })
            }
            _ => Box::pin(ready(Ok(looked))),
        }
    }
}

impl Handler<Nudge> for QueueActor {
    type Result = ();

    fn handle(&mut self, _: Nudge, _: &mut Context<Self>) {
        if let Some(Standing { looked, answer, .. }) = self.standing.take() {
            drop(answer.send(looked));
        }
    }
}

impl Handler<Probe> for QueueActor {
    type Result = ();

    /// While a commit is under way it tells more than any probe.
    fn handle(&mut self, _: Probe, _: &mut Context<Self>) {
        if !self.committing {
            self.vitals.note(Duty::Commits, &self.writer.probe());
        }
        match self.writer.reserve().is_spent() {
            true => self.vitals.failed(Duty::Disk, &StoreError::Full),
            false => self.vitals.well(Duty::Disk),
        }
    }
}

impl Handler<HasEnded> for QueueActor {
    type Result = <HasEnded as Message>::Result;

    fn handle(&mut self, ended: HasEnded, _: &mut Context<Self>) -> Self::Result {
        Ok(self.writer.has_ended(ended.0)?)
    }
}

impl Handler<ReadEvents> for QueueActor {
    type Result = ResponseFuture<<ReadEvents as Message>::Result>;

    fn handle(&mut self, read: ReadEvents, _: &mut Context<Self>) -> Self::Result {
        let few = match self.writer.few_events(&read) {
            Ok(few) => few,
            Err(error) => {
                self.vitals.failed(Duty::Events, &error);
                return Box::pin(ready(Err(error.into())));
            }
        };
        let (reader, vitals) = (self.reader.clone(), self.vitals.clone());
        Box::pin(async move {
            match few {
                Some(page) => Ok(page),
                None => {
                    let page = reader.events(read).await;
                    vitals.note(Duty::Events, &page);
                    Ok(page?)
                }
            }
        })
    }
}

macro_rules! reads {
    ($($message:ty => |$reader:ident, $asked:ident| $read:expr;)*) => {
        $(impl Handler<$message> for QueueActor {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, $asked: $message, _: &mut Context<Self>) -> Self::Result {
                let $reader = self.reader.clone();
                Box::pin(async move { Ok($read.await?) })
            }
        })*
    };
}

reads! {
    ReadPatch => |reader, read| reader.patch(read.0);
    Find => |reader, find| reader.task(find.0);
    ReadQuestions => |reader, read| reader.questions(read.0);
    ReadTalk => |reader, read| reader.talk(read.0);
    Explain => |reader, explain| reader.explain(explain.0);
    ListTasks => |reader, list| reader.tasks(&list);
    ReadStats => |reader, _read| reader.stats();
    ReadUsage => |reader, read| reader.usage(&read);
    ReadWorkers => |reader, _read| reader.workers();
    ReadLimits => |reader, _read| reader.limits();
    ReadWebhooks => |reader, _read| reader.webhooks();
    ReadDeliveries => |reader, read| reader.deliveries(read.0);
    NextFiring => |reader, _read| reader.next_firing();
    DueSchedules => |reader, _read| reader.due_schedules();
    ReadSchedules => |reader, _read| reader.schedules();
    FindSchedule => |reader, find| reader.schedule(find.0);
    ReadRuns => |reader, read| reader.runs(read);
    LastTask => |reader, last| reader.last_task(last);
    FindExpired => |reader, _find| reader.expired();
    FindHolders => |reader, _find| reader.holders();
}
