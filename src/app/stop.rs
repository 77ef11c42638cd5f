//! Ends: signals, limits, and the telling of actors.

use std::time::Duration;

use actix::{Actor, Addr, Context};
use tokio::signal::unix::{SignalKind, signal};

/// Longest time for open answers at the end. They need milliseconds, unless another process holds the database.
pub const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Longest time after a drain's limit, in which trees are ended and reports are stored.
pub const AFTER_DRAIN: Duration = Duration::from_secs(15);

/// Waits for the end of something, but not for ever: SIGTERM always leads to an end.
pub async fn within(limit: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::error!(limit_ms = limit.as_millis() as u64, "Did not come to its end in time; ending without it");
    }
}

/// Tells an actor, again where it restarted meanwhile; when it is gone for good there is
/// nothing to wait for.
pub async fn tell<A, M>(actor: &Addr<A>, message: M)
where
    A: Actor<Context = Context<A>> + actix::Handler<M>,
    M: actix::Message<Result = ()> + Send + Copy + 'static,
{
    while actor.send(message).await.is_err() && actor.connected() {}
}

/// SIGTERM and SIGINT.
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    /// True if the last one was SIGTERM: somebody stops the service, as for an upgrade, rather than a person at a terminal.
    pub is_term: bool,
}

impl Signals {
    /// Listens from now on.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())?, is_term: false })
    }

    /// The next of either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => self.is_term = true,
            _ = self.int.recv() => self.is_term = false,
        }
    }

    /// Waits for `work`; at each further signal `hurry` is called.
    pub async fn hurry(&mut self, work: impl Future<Output = ()>, hurry: impl Fn()) {
        tokio::pin!(work);
        loop {
            tokio::select! {
                () = &mut work => return,
                () = self.next() => hurry(),
            }
        }
    }
}
