//! Attempts that other workers have handed over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::WorkerActor;
use crate::claude;
use crate::worker::adoption::{self, Adopted};
use domain::LeaseKey;

/// Time for which a worker without a free slot leaves an attempt that was handed over to others.
const LEFT_TO_OTHERS: Duration = Duration::from_millis(1_500);

impl WorkerActor {
    /// Looks for attempts that other workers have handed over. One without a free slot leaves them to others for a
    /// while: they run in any case.
    pub(super) fn look_for_offers(&mut self, ctx: &mut Context<Self>) {
        if self.draining {
            return;
        }
        let offers = claude::offers(&self.tools.handovers);
        self.offered.retain(|key, _| offers.iter().any(|(offered, _)| offered == key));
        for (key, socket) in offers {
            let since = *self.offered.entry(key).or_insert_with(Instant::now);
            let is_known = self.adopting.contains(&key) || self.running.has(key.task);
            if !is_known && (self.free() > 0 || since.elapsed() > LEFT_TO_OTHERS) {
                self.adopt(key, socket, ctx);
            }
        }
    }

    /// Takes over an attempt. It is one of ours from the store's answer on: a look at the store that began before must
    /// neither lose it nor give it back.
    fn adopt(&mut self, key: LeaseKey, socket: PathBuf, ctx: &mut Context<Self>) {
        self.adopting.insert(key);
        let (tools, queue) = (Arc::clone(&self.tools), self.queue.clone());
        let adopted = async move { adoption::adopt(&tools, &queue, key, socket).await };
        ctx.spawn(adopted.into_actor(self).map(move |adopted, this, ctx| {
            this.adopting.remove(&key);
            if let Some(Adopted { assignment, offer, carried, deadline }) = adopted {
                let commands = this.running.add(key);
                let run = this.run(assignment, commands.into(), deadline, ctx);
                this.follow(key, run, |run| run.run_adopted(offer, carried), ctx);
                if this.draining {
                    this.running.tell(this.at_drain());
                }
            }
            this.tell_if_drained();
        }));
    }
}
