//! Keeps an actor alive through its own panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Poller, Poll};
use std::time::Instant;

use actix::dev::ContextFut;
use actix::{Actor, Addr, Context, Supervised};
use futures_util::FutureExt;

use super::{Decision, RestartPolicy, Restarts};

/// How a guarded actor ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorEnd {
    /// It was told to.
    Stopped,
    /// It panicked more often than its policy bears.
    GaveUp,
}

/// A running actor that survives its panics.
pub struct Guarded<A: Actor> {
    /// Stays valid over restarts.
    pub addr: Addr<A>,
    wanted: Arc<AtomicBool>,
}

impl<A: Actor> Guarded<A> {
    /// Makes the next `ctx.stop()` of the actor final. Without it a stop is a restart.
    pub fn let_stop(&self) {
        self.wanted.store(true, Ordering::Release);
    }
}

/// Starts an actor on the current arbiter. Its mailbox holds `mailbox` messages before
/// senders wait. `at_end` is told once, when it is over for good.
///
/// After a panic the message in hand is answered with `MailboxError::Closed`, those behind it
/// are served after the restart: `Supervised::restarting` must put a usable state in place,
/// and is guarded itself.
pub fn start_guarded<A>(
    name: &'static str,
    actor: A,
    mailbox: usize,
    policy: RestartPolicy,
    at_end: impl FnOnce(ActorEnd) + 'static,
) -> Guarded<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (sender, receiver) = actix::dev::channel::channel(mailbox);
    let wanted = Arc::new(AtomicBool::new(false));
    let guard = Guard {
        name,
        running: Context::with_receiver(receiver).into_future(actor),
        wanted: Arc::clone(&wanted),
    };
    actix::spawn(async move { at_end(guard.keep_alive(policy).await) });
    Guarded { addr: Addr::new(sender), wanted }
}

struct Guard<A: Actor<Context = Context<A>>> {
    name: &'static str,
    running: ContextFut<A, Context<A>>,
    wanted: Arc<AtomicBool>,
}

impl<A: Actor<Context = Context<A>> + Supervised> Guard<A> {
    async fn keep_alive(mut self, policy: RestartPolicy) -> ActorEnd {
        let began = Instant::now();
        let mut restarts = Restarts::default();
        let mut alive = true;
        loop {
            let ended = if alive { AssertUnwindSafe(Turn(&mut self.running)).catch_unwind().await } else { Ok(()) };
            if ended.is_ok() && self.wanted.load(Ordering::Acquire) {
                return ActorEnd::Stopped;
            }
            match restarts.after_end(&policy, began.elapsed()) {
                Decision::TooOften(_) => {
                    tracing::error!(actor = self.name, "panics too often, giving it up");
                    return ActorEnd::GaveUp;
                }
                Decision::Restart(wait) => {
                    tracing::error!(actor = self.name, wait_ms = wait.as_millis() as u64, "panicked, restarting");
                    tokio::time::sleep(wait).await;
                }
            }
            let restarted = std::panic::catch_unwind(AssertUnwindSafe(|| self.running.restart()));
            match restarted {
                Ok(true) => alive = true,
                // Nobody can send to it any more.
                Ok(false) => return ActorEnd::Stopped,
                Err(_) => alive = false,
            }
        }
    }
}

/// Runs the actor until it stops, leaving it in place.
struct Turn<'a, A: Actor<Context = Context<A>>>(&'a mut ContextFut<A, Context<A>>);

impl<A: Actor<Context = Context<A>>> Future for Turn<'_, A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<()> {
        Pin::new(&mut *self.0).poll(poller)
    }
}
