//! The queue as others hold it.

use std::time::Duration;

use actix::prelude::*;
use fail::fail_point;

use super::actor::QueueActor;
use super::messages::QueueError;
use crate::process::BackOff;
use crate::store::views::{Filter, ListTasks};
use crate::telemetry::chain;
use domain::Status;

/// Asks the queue, and waits for the answer with a limit.
#[derive(Clone)]
pub struct Queue(pub Addr<QueueActor>);

/// Longest wait for a command's answer. Only the disk or another process that holds the database up makes it take
/// longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

impl Queue {
    /// Sends a message and waits for its answer.
    ///
    /// # Errors
    /// The queue's, or [`QueueError::Restarting`] where it didn't answer.
    pub async fn ask<M, T>(&self, message: M) -> Result<T, QueueError>
    where
        M: Message<Result = Result<T, QueueError>> + Send + 'static,
        T: Send + 'static,
        QueueActor: Handler<M>,
    {
        let answer = self.0.send(message).timeout(ANSWER_LIMIT).await.unwrap_or(Err(QueueError::Restarting));
        // As if it had been done, and the answer had come too late.
        fail_point!("queue-answer", |_| {
            tracing::warn!("a failpoint fired");
            Err(QueueError::Restarting)
        });
        answer
    }

    /// True if a task that has not ended works in this folder.
    ///
    /// # Errors
    /// The queue's.
    pub async fn is_folder_in_use(&self, folder: Option<&str>) -> Result<bool, QueueError> {
        let statuses = vec![Status::Pending, Status::Running];
        let filter = Filter { statuses, working_directory: folder.map(str::to_owned), ..Filter::default() };
        Ok(self.ask(ListTasks { filter, limit: 0, ..ListTasks::default() }).await?.total > 0)
    }

    /// Asks until the queue answers, with growing pauses. `what` names in the log what waits meanwhile.
    pub async fn insist<M, T>(&self, message: &M, what: &str) -> T
    where
        M: Message<Result = Result<T, QueueError>> + Clone + Send + 'static,
        T: Send + 'static,
        QueueActor: Handler<M>,
    {
        let mut back_off = BackOff::default();
        loop {
            match self.ask(message.clone()).await {
                Ok(answer) => return answer,
                Err(error) => tracing::warn!(what, error = chain(&error), "Waits for the store"),
            }
            back_off.pause().await;
        }
    }
}
