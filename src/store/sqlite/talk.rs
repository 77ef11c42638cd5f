//! Statements on questions, messages and transcripts.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::params;

use super::table::Table;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::{QuestionRow, TranscriptRow};
use crate::store::tx::Talk;
use domain::{Epoch, TaskId, Timestamp};

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM questions WHERE task_id = ?1 AND request_id = ?2", QuestionRow::COLUMNS));

static OPEN: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM questions WHERE task_id = ?1 AND NOT closed ORDER BY asked_at", QuestionRow::COLUMNS)
});

const ANSWER: &str = "UPDATE questions SET answer = ?3, answered_at = ?4 WHERE task_id = ?1 AND request_id = ?2";

const CLOSE: &str = "UPDATE questions SET closed = TRUE WHERE task_id = ?1 AND (?2 IS NULL OR request_id = ?2)";

const MESSAGE: &str = "INSERT INTO messages (task_id, kind, text, at, epoch) VALUES (?1, ?2, ?3, ?4, ?5)";

const TRANSCRIPT: &str =
    "INSERT INTO transcripts (session_id, task_id, epoch, part, entries) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO NOTHING";

const COUNT: &str = "UPDATE tasks SET pending_messages = (SELECT COUNT(*) FROM messages
    WHERE task_id = ?1 AND kind = 'message' AND done_at IS NULL) WHERE id = ?1";

#[async_trait(?Send)]
impl Talk for SqliteTx<'_> {
    async fn question(&mut self, task: TaskId, request_id: &str) -> Result<Option<QuestionRow>, StoreError> {
        self.db()?.one(&FIND, params![task.as_bytes(), request_id], QuestionRow::read)
    }

    async fn open_questions(&mut self, task: TaskId) -> Result<Vec<QuestionRow>, StoreError> {
        self.db()?.all(&OPEN, [task.as_bytes()], QuestionRow::read)
    }

    async fn insert_question(&mut self, row: &QuestionRow) -> Result<(), StoreError> {
        self.db()?.insert(row)
    }

    async fn answer_question(
        &mut self,
        task: TaskId,
        request_id: &str,
        answer: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.db()?.execute(ANSWER, params![task.as_bytes(), request_id, answer, at.0])?;
        Ok(())
    }

    async fn close_questions(&mut self, task: TaskId, request_id: Option<&str>) -> Result<(), StoreError> {
        self.db()?.execute(CLOSE, params![task.as_bytes(), request_id])?;
        Ok(())
    }

    async fn insert_message(
        &mut self,
        task: TaskId,
        text: Option<&str>,
        epoch: Epoch,
        at: Timestamp,
    ) -> Result<i64, StoreError> {
        let (kind, epoch) = if text.is_some() { ("message", None) } else { ("interrupt", Some(epoch.number())) };
        self.db()?.execute(MESSAGE, params![task.as_bytes(), kind, text.unwrap_or_default(), at.0, epoch])?;
        self.last_inserted()
    }

    async fn begin_message(&mut self, id: i64, epoch: Epoch) -> Result<Option<String>, StoreError> {
        let text = "UPDATE messages SET epoch = ?2 WHERE id = ?1 AND epoch IS NOT ?2 RETURNING text";
        self.db()?.one(text, [id, epoch.number()], |row| row.get(0))
    }

    async fn end_message(&mut self, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        let text = "UPDATE messages SET done_at = ?1 WHERE id = ?2 AND done_at IS NULL";
        Ok(self.db()?.execute(text, [at.0, id])? == 1)
    }

    async fn insert_transcript(&mut self, row: &TranscriptRow<'_>) -> Result<(), StoreError> {
        let TranscriptRow { session, key, part, entries } = row;
        let values = params![session.as_bytes(), key.task.as_bytes(), key.epoch.number(), part, entries];
        self.db()?.execute(TRANSCRIPT, values)?;
        Ok(())
    }

    async fn count_messages(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.db()?.execute(COUNT, [task.as_bytes()])?;
        Ok(())
    }
}
