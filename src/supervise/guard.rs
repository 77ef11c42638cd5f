//! Keeps an actor alive through its own panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Instant;

use actix::dev::ContextFut;
use actix::{Actor, Addr, Context, Supervised};
use futures_util::FutureExt;

use super::{Decision, RestartPolicy, Restarts};
use crate::telemetry;

/// Starts an actor on the current arbiter, and restarts it when it panics or stops. Its
/// mailbox holds `mailbox` messages before senders wait; its address stays valid.
///
/// After a panic the message in hand is answered with `MailboxError::Closed`, those behind it
/// are served after the restart: `Supervised::restarting` must put a usable state in place,
/// and is guarded itself. `at_give_up` is called when it ends more often than the policy bears.
pub fn start_guarded<A>(
    name: &'static str,
    actor: A,
    mailbox: usize,
    policy: RestartPolicy,
    at_give_up: impl FnOnce() + 'static,
) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let (sender, receiver) = actix::dev::channel::channel(mailbox);
    let running = Context::with_receiver(receiver).into_future(actor);
    actix::spawn(async move {
        if keep_alive(name, running, policy).await == End::TooOften {
            at_give_up();
        }
    });
    Addr::new(sender)
}

#[derive(PartialEq, Eq)]
enum End {
    /// The actor has no senders any more.
    Unreachable,
    TooOften,
}

async fn keep_alive<A>(name: &'static str, mut running: ContextFut<A, Context<A>>, policy: RestartPolicy) -> End
where
    A: Actor<Context = Context<A>> + Supervised,
{
    let began = Instant::now();
    let mut restarts = Restarts::default();
    // An error in either means a panic, which the panic hook has printed.
    let mut turn = AssertUnwindSafe(Turn(&mut running)).catch_unwind().await;
    loop {
        let wait = match restarts.after_end(&policy, began.elapsed()) {
            Decision::TooOften(_) => {
                tracing::error!(actor = name, "panicked too often, giving it up");
                return End::TooOften;
            }
            Decision::Restart(wait) => wait,
        };
        // One that ended without a panic stopped itself, or it has no senders any more.
        if turn.is_err() {
            telemetry::meters().actor_restarted(name);
            tracing::error!(actor = name, wait_ms = wait.as_millis() as u64, "panicked, restarting");
            tokio::time::sleep(wait).await;
        }
        turn = match std::panic::catch_unwind(AssertUnwindSafe(|| running.restart())) {
            Ok(true) => AssertUnwindSafe(Turn(&mut running)).catch_unwind().await,
            Ok(false) => return End::Unreachable,
            Err(panic) => Err(panic),
        };
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
