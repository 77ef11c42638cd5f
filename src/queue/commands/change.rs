//! A command, and its sender who waits for the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};

use super::Unit;
use crate::queue::{Concern, QueueError};
use crate::store::StoreError;
use crate::telemetry;
use domain::TaskId;

/// A command as the store runs it. It may be run twice, when the transaction that it was in
/// had to be given up for another's fault.
pub trait Change: Send + 'static {
    /// Answer to its sender after the commit.
    type Answer: Send + 'static;

    /// True if there may be something to claim behind it.
    const MAKES_WORK: bool = false;

    /// True if it stores new tasks.
    const SUBMITS: bool = false;

    /// True if it says of a worker that it lives, and changes nothing else: no pause of others ends for it.
    const IS_SIGN_OF_LIFE: bool = false;

    /// Workers that it concerns once it is committed, besides the one that asked.
    fn concern(&self) -> Concern {
        Concern::All
    }

    /// True if it brings a task nearer to its end: it is stored even when the disk is full, as long as the store's
    /// reserve lasts.
    fn is_essential(&self) -> bool {
        true
    }

    /// The task that it is about, for the log, and for an engine that reads the tasks of a batch together.
    fn task(&self) -> Option<TaskId> {
        None
    }

    /// Carries it out inside the transaction.
    ///
    /// # Errors
    /// A statement failed; the transaction is given up.
    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError>;
}

/// A command with its sender: of any kind, so that they can wait in one list.
pub trait Command: Send {
    /// True if it is stored when the disk is full.
    fn is_essential(&self) -> bool;
    /// True if there may be something to claim behind it.
    fn makes_work(&self) -> bool;
    /// True if it stores new tasks.
    fn submits(&self) -> bool;
    /// True if it says of a worker that it lives, and changes nothing else.
    fn is_sign_of_life(&self) -> bool;
    /// Workers that it concerns.
    fn concern(&self) -> Concern;
    /// The task that it is about.
    fn task(&self) -> Option<TaskId>;
    /// Carries it out and keeps the answer.
    fn run<'a>(&'a mut self, unit: &'a mut Unit<'_>) -> LocalBoxFuture<'a, Result<(), StoreError>>;
    /// Answers after the commit, or when it failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Queued<C: Change> {
    change: C,
    answer: Option<C::Answer>,
    pending: PendingAnswer<C>,
}

impl<C: Change> Command for Queued<C> {
    fn is_essential(&self) -> bool {
        self.change.is_essential()
    }

    fn makes_work(&self) -> bool {
        C::MAKES_WORK
    }

    fn submits(&self) -> bool {
        C::SUBMITS
    }

    fn is_sign_of_life(&self) -> bool {
        C::IS_SIGN_OF_LIFE
    }

    fn concern(&self) -> Concern {
        self.change.concern()
    }

    fn task(&self) -> Option<TaskId> {
        self.change.task()
    }

    fn run<'a>(&'a mut self, unit: &'a mut Unit<'_>) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        let span = self.change.task().map_or_else(Span::none, |task| telemetry::task_span(task, None, None));
        async {
            self.answer = Some(self.change.run(unit).await?);
            Ok(())
        }
        .instrument(span)
        .boxed_local()
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Ok(()), None) => Err(QueueError::Restarting),
            (Err(error), _) => Err(error.into()),
        };
        if let Some(sender) = self.pending.sender().take() {
            // Whom it goes to may have given up waiting; what is stored is stored.
            drop(sender.send(answer));
        }
    }
}

/// Sender of an answer.
type Answers<C> = oneshot::Sender<Result<<C as Change>::Answer, QueueError>>;

/// The answer to a command that is not there yet. The actor is told who waits for it when it has taken the command.
pub struct PendingAnswer<C: Change>(Arc<Mutex<Option<Answers<C>>>>);

impl<C: Change> PendingAnswer<C> {
    /// Sends the answer there, once it is there; nowhere where nobody waits.
    pub fn send_to(&self, sender: Option<Answers<C>>) {
        *self.sender() = sender;
    }

    /// Waits for it. One that will never come, since the actor was started anew, is an error.
    pub fn wait(&self) -> impl Future<Output = Result<C::Answer, QueueError>> + use<C> {
        let (sender, answer) = oneshot::channel();
        self.send_to(Some(sender));
        async { answer.await.unwrap_or(Err(QueueError::Restarting)) }
    }

    fn sender(&self) -> MutexGuard<'_, Option<Answers<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command, ready to wait, and its answer.
pub fn asked<C: Change>(change: C) -> (Box<dyn Command>, PendingAnswer<C>) {
    let sender = Arc::default();
    (Box::new(Queued { change, answer: None, pending: PendingAnswer(Arc::clone(&sender)) }), PendingAnswer(sender))
}
