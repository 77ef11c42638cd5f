//! Questions, their answers, messages, and transcripts.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::{QuestionRow, TranscriptRow};
use domain::{Epoch, TaskId, Timestamp};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Talk {
    /// Returns a question.
    async fn question(&mut self, task: TaskId, request_id: &str) -> Result<Option<QuestionRow>, StoreError>;

    /// Returns the questions of a task that are not closed, oldest first.
    async fn open_questions(&mut self, task: TaskId) -> Result<Vec<QuestionRow>, StoreError>;

    /// Inserts a question.
    async fn insert_question(&mut self, row: &QuestionRow) -> Result<(), StoreError>;

    /// Writes the answer to a question.
    async fn answer_question(
        &mut self,
        task: TaskId,
        request_id: &str,
        answer: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Closes one question of a task, or all of them.
    async fn close_questions(&mut self, task: TaskId, request_id: Option<&str>) -> Result<(), StoreError>;

    /// Inserts a message for a task, or an interrupt that is meant for the attempt of this epoch. Returns its number.
    async fn insert_message(
        &mut self,
        task: TaskId,
        text: Option<&str>,
        epoch: Epoch,
        at: Timestamp,
    ) -> Result<i64, StoreError>;

    /// Notes that the attempt of this epoch works on a message. Returns the text, unless that was noted before.
    async fn begin_message(&mut self, id: i64, epoch: Epoch) -> Result<Option<String>, StoreError>;

    /// Notes that a message was worked on. Returns false where that was noted before.
    async fn end_message(&mut self, id: i64, at: Timestamp) -> Result<bool, StoreError>;

    /// Stores a part of a transcript, unless it is there.
    async fn insert_transcript(&mut self, row: &TranscriptRow<'_>) -> Result<(), StoreError>;

    /// Writes with the task how many messages wait for it.
    async fn count_messages(&mut self, task: TaskId) -> Result<(), StoreError>;
}
