//! The messages of [`WorkerActor`], and what it does at each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use fail::fail_point;

use super::WorkerActor;
use crate::process::{barrier, boot_now};
use crate::queue::{Draining, FlushPoll, HandOver, WorkerGone};
use crate::telemetry::chain;
use crate::worker::agent_run::RunCommand;
use crate::worker::messages::{
    Drain, Hint, LeaveHeld, ReadStatus, RunEnded, RunHeld, SayGoodbye, StopNow, WorkerStatus,
};
use domain::LeaseTimes;

/// Time that attempts have to be handed over: it takes milliseconds, unless the store does not answer.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);

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
        self.held.remove(&ended.0);
        self.tell_if_drained();
        self.want_look(ctx);
        self.tools.refill();
    }
}

impl Handler<Drain> for WorkerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, drain: Drain, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        let Drain { limit, hand_over } = drain;
        tracing::info!(running = self.running.len(), limit_ms = limit.as_millis() as u64, hand_over, "Draining");
        self.draining = true;
        drop(self.queue.0.try_send(FlushPoll::Now));
        self.hands_over |= hand_over;
        self.running.tell(self.at_drain());
        let limit = if hand_over { limit.max(HAND_OVER_LIMIT) } else { limit };
        ctx.run_later(limit, |this, _| this.running.tell(&RunCommand::Shutdown));
        let drained = self.once_idle();
        let (queue, tools, me) = (self.queue.clone(), Arc::clone(&self.tools), ctx.address());
        let holder = tools.holder;
        // For the history only: not to claim is our own doing.
        drop(queue.0.try_send(Draining(holder)));
        Box::pin(async move {
            // An error means that the actor restarted meanwhile; nothing runs that it knows.
            drained.await.unwrap_or_default();
            tools.standby.close().await;
            tools.spare.close().await;
            let leases = me.send(SayGoodbye).await.unwrap_or_default();
            if leases.is_empty() {
                drop(queue.ask(WorkerGone(holder)).await);
                return;
            }
            barrier("hand-over-before");
            let (lease, asked_at) = (tools.handover_limit, boot_now());
            let handed = queue.ask(HandOver { holder, leases, lease }).await;
            barrier("hand-over-after");
            match handed {
                Ok(lost) => {
                    let until = LeaseTimes::new(lease).tree_deadline(asked_at);
                    me.send(LeaveHeld { lost, until }).await.unwrap_or_default();
                }
                Err(error) => {
                    // They end with this process, and are taken back as those of a dead worker.
                    tracing::error!(error = chain(&error), "The running attempts could not be handed over");
                }
            }
        })
    }
}

impl Handler<RunHeld> for WorkerActor {
    type Result = ();

    fn handle(&mut self, held: RunHeld, _: &mut Context<Self>) {
        self.held.insert(held.0);
        self.tell_if_drained();
    }
}

impl Handler<SayGoodbye> for WorkerActor {
    type Result = MessageResult<SayGoodbye>;

    fn handle(&mut self, _: SayGoodbye, _: &mut Context<Self>) -> Self::Result {
        self.has_left = true;
        MessageResult(self.held.iter().copied().collect())
    }
}

impl Handler<LeaveHeld> for WorkerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, leave: LeaveHeld, _: &mut Context<Self>) -> ResponseFuture<()> {
        self.running.lose(&leave.lost);
        self.running.tell(&RunCommand::LetGo(leave.until));
        // Each is told, and ends.
        self.held.clear();
        let left = self.once_idle();
        Box::pin(async move { left.await.unwrap_or_default() })
    }
}

impl Handler<StopNow> for WorkerActor {
    type Result = ();

    fn handle(&mut self, _: StopNow, _: &mut Context<Self>) {
        self.draining = true;
        drop(self.queue.0.try_send(FlushPoll::Now));
        self.running.tell(&RunCommand::Shutdown);
        self.tell_if_drained();
    }
}
