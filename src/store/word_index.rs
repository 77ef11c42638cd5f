//! The index of words: which events have which words. It follows from the events, is filled behind them, and may be thrown away
//! at any time: then it is made anew.

use async_trait::async_trait;

use super::error::StoreError;
use domain::TaskId;

/// Place of the newest event that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPlace {
    /// Place among the events of all tasks.
    pub n: i64,
    /// The task.
    pub task: TaskId,
    /// Number in the task.
    pub seq: i64,
}

/// An event with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWords {
    /// Where it stands.
    pub place: IndexPlace,
    /// Name of the key of its task.
    pub key: String,
    /// Words, as [`domain::words_of`] has them.
    pub words: Vec<String>,
}

/// Finds events, newest first.
#[derive(Clone, Debug)]
pub struct FindEvents {
    /// Beginnings of words, each of which the event must have, as [`domain::terms_of`] has them; at least one.
    pub terms: Vec<String>,
    /// Name of the key; with none, of all.
    pub key: Option<String>,
    /// Place before which they stand.
    pub before: i64,
    /// Maximum number of them.
    pub limit: u64,
}

/// See the [module](self).
#[async_trait]
pub trait WordIndex: Send + Sync {
    /// Returns the place of the newest event that was taken in.
    async fn place(&self) -> Result<Option<IndexPlace>, StoreError>;

    /// Takes in all events behind the place, up to `to`, unless another process has done so. Those without words are left
    /// out.
    async fn add(&self, from: i64, to: IndexPlace, events: Vec<EventWords>) -> Result<(), StoreError>;

    /// Finds events, newest first. Some of them may be there no more.
    async fn find(&self, find: FindEvents) -> Result<Vec<IndexPlace>, StoreError>;

    /// Returns the tasks behind this one that events are of, in order.
    async fn tasks(&self, after: TaskId, limit: u64) -> Result<Vec<TaskId>, StoreError>;

    /// Forgets the events of these tasks.
    async fn forget(&self, tasks: Vec<TaskId>) -> Result<(), StoreError>;

    /// Forgets everything.
    async fn clear(&self) -> Result<(), StoreError>;
}

/// The word that the events of a key have: with a character that stands in no other word.
pub fn word_of_key(key: &str) -> String {
    format!("\u{E000}{}", hex::encode(key))
}
