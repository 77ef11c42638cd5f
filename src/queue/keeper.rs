//! Looks after the database beside the queue: moves its high-water mark, keeps its reserve, and
//! removes what is old. Each is a reconciler that may run in any number of processes at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ask::Queue;
use super::messages::{Probe, Prune, QueueError};
use super::store::{Mark, Reader, Reserve};
use crate::process::{self, wall_now};
use crate::task::TaskId;
use crate::telemetry::{Duty, Vitals, chain};

/// What a lost WAL can take without being noticed: the changes of this time.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// Old tasks may stay so much longer.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// A disk that takes longer than this to write some bytes hangs.
const DISK_LIMIT: Duration = Duration::from_secs(30);
/// A queue that answers nothing for so long waits for a disk that hangs.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// Moves the mark ahead, refills the reserve and finds out whether commits would succeed, for as long as the
/// process lives.
pub async fn keep(mut mark: Mark, reserve: Reserve, reader: Reader, queue: Queue, vitals: Vitals) {
    loop {
        tokio::time::sleep(MARK_EVERY).await;
        let refilled = reserve.clone();
        if let Err(error) = process::blocking(DISK_LIMIT, move || refilled.refill()).await {
            tracing::debug!(%error, "the reserve stays as it was");
        }
        if queue.0.send(Probe).timeout(PROBE_LIMIT).await.is_err() {
            vitals.fails(Duty::Commits, format!("the queue has not answered for {} s", PROBE_LIMIT.as_secs()));
        }
        if let Err(error) = mark.advance(&reader).await {
            tracing::debug!(%error, "the mark stays where it was");
        }
    }
}

/// Removes tasks that ended so long ago, for as long as the process lives.
pub async fn prune_forever(queue: Queue, retention: Duration, work_dir: PathBuf) {
    loop {
        match prune(&queue, retention, &work_dir).await {
            Ok(0) => {}
            Ok(tasks) => tracing::info!(tasks, "removed tasks that ended long ago"),
            Err(error) => tracing::warn!(error = chain(&error), "could not remove old tasks"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

/// Removes tasks that ended so long ago, with the folders that they had to themselves. Returns
/// how many.
///
/// # Errors
/// The queue's. What was removed by then stays removed.
pub async fn prune(queue: &Queue, retention: Duration, work_dir: &Path) -> Result<usize, QueueError> {
    let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let before = wall_now().plus_ms(-retention_ms);
    let mut removed = 0;
    loop {
        let tasks = queue.ask(Prune { before }).await?;
        if tasks.is_empty() {
            return Ok(removed);
        }
        removed += tasks.len();
        for task in tasks {
            remove_folders(work_dir, task).await;
        }
    }
}

async fn remove_folders(work_dir: &Path, task: TaskId) {
    // Its own folder, and that of the files that came with it.
    for name in [task.to_string(), format!("{task}.files")] {
        let folder = work_dir.join(name);
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), error = chain(&error), "could not remove a folder of an old task");
            }
            _ => {}
        }
    }
}
