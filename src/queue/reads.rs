//! Reads of [`QueueActor`](super::QueueActor): answered beside the commits, on connections of their own.

use super::messages::answers;
use crate::store::views::{
    Backlog, ConversationTasks, Dependency, EventPage, Explained, FindCommit, FoundCommit, ListConversations,
    ListTaskIds, ListTasks, Page, ReadDependencies, ReadEventPage, ReadEvents, ReadGraph, ReadUsage, Stats, TaskGraph,
    Usage, WorkerInfo,
};
use crate::store::{Reads, StoreError};
use audit::{Entry, TaskSnapshot};
use domain::{SessionId, TaskId, Timestamp};
use wire::Task;

answers! {
    ReadClock => Timestamp;
    Find => Option<Task>;
    HasEnded => bool;
    ReadPatch => Option<Vec<u8>>;
    Explain => Option<Explained>;
    ListTasks => Page;
    ReadEvents => EventPage;
    ReadEventPage => EventPage;
    ReadHistory => Vec<Entry>;
    FindCommit => FoundCommit;
    ListTaskIds => Vec<TaskId>;
    ListConversations => Vec<ConversationTasks>;
    ReadTranscript => String;
    ReadStats => Stats;
    ReadBacklog => Backlog;
    ReadTaskHistory => (Vec<Entry>, Option<TaskSnapshot>);
    ReadWorkers => Vec<WorkerInfo>;
    ReadUsage => Usage;
    ReadDependencies => Vec<Dependency>;
    ReadGraph => TaskGraph;
}

/// Reads some of what was done in the commits behind this one, in order.
#[derive(Clone, Copy, Debug)]
pub struct ReadHistory(pub i64);

/// Reads the clock of the store: that of its transactions, the same for every process.
#[derive(Clone, Copy, Debug)]
pub struct ReadClock;

/// Reads a task.
#[derive(Clone, Copy, Debug)]
pub struct Find(pub TaskId);

/// True if a task has ended, or is not there.
#[derive(Clone, Copy, Debug)]
pub struct HasEnded(pub TaskId);

/// Reads what a task has changed, as a patch; empty where it was too large.
#[derive(Clone, Copy, Debug)]
pub struct ReadPatch(pub TaskId);

/// Reads a task, and how many start before it.
#[derive(Clone, Copy, Debug)]
pub struct Explain(pub TaskId);

/// Reads the transcript of a session, as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct ReadTranscript(pub SessionId);

/// Reads the counts, of all keys or of one.
#[derive(Clone, Debug)]
pub struct ReadStats(pub Option<String>);

/// Counts what waits.
#[derive(Clone, Copy, Debug)]
pub struct ReadBacklog;

/// Reads what was done with a task that was stored at this time, and what its row says.
#[derive(Clone, Copy, Debug)]
pub struct ReadTaskHistory {
    /// The task.
    pub task: TaskId,
    /// Time of its submit.
    pub since: Timestamp,
}

/// Reads the workers that have a row.
#[derive(Clone, Copy, Debug)]
pub struct ReadWorkers;

/// Clocks of two machines differ by less, in milliseconds.
const CLOCKS: i64 = 10 * 60_000;
/// Tries to read a history and a row that belong together.
const TRIES: usize = 5;

/// Reads what was done with a task: not from the beginning of all, but from before its submit.
pub(super) async fn history_of(
    reader: &dyn Reads,
    read: ReadTaskHistory,
) -> Result<(Vec<Entry>, Option<TaskSnapshot>), StoreError> {
    let find = FindCommit { since: read.since.plus_ms(-CLOCKS), most: i64::MAX };
    let from = reader.find_commit(find).await?.before;
    let mut entries = reader.history_of(read.task, from).await?;
    for _ in 0..TRIES {
        let standing = reader.standing(read.task).await?;
        let again = reader.history_of(read.task, from).await?;
        if again.len() == entries.len() {
            return Ok((entries, standing));
        }
        entries = again;
    }
    // It changes all the time: the history alone says enough.
    Ok((entries, None))
}
