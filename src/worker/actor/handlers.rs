//! The messages of [`WorkerActor`], and what it does at each.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use fail::fail_point;

use super::WorkerActor;
use crate::queue::{Draining, FlushPoll, WorkerGone};
use crate::worker::agent_run::RunCommand;
use crate::worker::messages::{Drain, Hint, ReadStatus, RunEnded, StopNow, WorkerStatus};

impl Handler<Hint> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: Hint, ctx: &mut Context<Self>) {
        fail_point!("worker-hint");
        let what = self.poll.hinted(Instant::now(), self.free() > 0);
        self.poll(what, ctx);
    }
}

impl Handler<ReadStatus> for WorkerActor {
    type Result = WorkerStatus;

    fn handle(&mut self, _: ReadStatus, _: &mut Context<Self>) -> WorkerStatus {
        WorkerStatus { running: self.running.len(), concurrency: self.concurrency }
    }
}

impl Handler<RunEnded> for WorkerActor {
    type Result = ();

    fn handle(&mut self, ended: RunEnded, ctx: &mut Context<Self>) {
        self.running.remove(ended.0);
        self.tell_if_drained();
        self.want_look(ctx);
        self.tools.spare.refill();
    }
}

impl Handler<Drain> for WorkerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, drain: Drain, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        tracing::info!(running = self.running.len(), limit_ms = drain.limit.as_millis() as u64, "Draining");
        self.draining = true;
        drop(self.queue.0.try_send(FlushPoll));
        self.running.tell(&RunCommand::Draining);
        ctx.run_later(drain.limit, |this, _| this.running.tell(&RunCommand::Shutdown));
        let (sender, drained) = tokio::sync::oneshot::channel();
        self.drained.push(sender);
        self.tell_if_drained();
        let (queue, tools) = (self.queue.clone(), Arc::clone(&self.tools));
        let holder = tools.holder;
        // For the history only: not to claim is our own doing.
        drop(queue.0.try_send(Draining(holder)));
        Box::pin(async move {
            // An error means that the actor restarted meanwhile; nothing runs that it knows.
            drained.await.unwrap_or_default();
            tools.standby.close().await;
            tools.spare.close().await;
            drop(queue.ask(WorkerGone(holder)).await);
        })
    }
}

impl Handler<StopNow> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: StopNow, _: &mut Context<Self>) {
        self.draining = true;
        drop(self.queue.0.try_send(FlushPoll));
        self.running.tell(&RunCommand::Shutdown);
        self.tell_if_drained();
    }
}
