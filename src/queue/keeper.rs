//! Looks after the database beside the queue: keeps it up, and removes what is old. Each is a reconciler that may run in
//! any number of processes at once.

use std::sync::Arc;
use std::time::Duration;

use super::ask::Queue;
use super::messages::{Probe, Prune, QueueError, TidyShares};
use super::rest::{LONGEST_REST, Rest};
use crate::config;
use crate::process::wall_now;
use crate::store::{Leadership, Store};
use crate::telemetry::{Duty, Vitals, chain};
use domain::TaskId;

/// Time between two copies, where anything was committed: the changes of this time can be lost with a database file without being
/// noticed.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks whether this process has become the leader.
const LEAD_EVERY: Duration = Duration::from_secs(5);
/// Old tasks may stay so much longer.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// Time after which a queue that answers nothing is taken to wait for a disk that hangs.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// Keeps up what the store has beside its tables, and finds out whether commits would succeed, for as long as the
/// process lives.
pub async fn keep(store: Arc<dyn Store>, queue: Queue, mut rest: Rest, vitals: Vitals) {
    let mut is_well = true;
    loop {
        rest.pause(KEEP_EVERY, if is_well { LONGEST_REST } else { KEEP_EVERY }).await;
        rest.look();
        if queue.0.send(Probe).timeout(PROBE_LIMIT).await.is_err() {
            vitals.fails(Duty::Commits, format!("the queue has not answered for {} s", PROBE_LIMIT.as_secs()));
        }
        let kept_up = store.keep_up().await;
        if let Err(error) = &kept_up {
            tracing::debug!(%error, "the store is not kept up");
        }
        is_well = kept_up.is_ok() && vitals.are_well(&[Duty::Commits, Duty::Disk]);
    }
}

/// Forgets shares whose tasks have all ended, for as long as the process lives.
pub async fn tidy_forever(queue: Queue, leadership: Leadership) {
    loop {
        tokio::time::sleep(PRUNE_EVERY).await;
        if leadership.is_ours()
            && let Err(error) = queue.ask(TidyShares).await
        {
            tracing::warn!(error = chain(&error), "could not forget shares without tasks");
        }
    }
}

/// Removes tasks whose retention is over, for as long as the process lives.
pub async fn prune_forever(queue: Queue, leadership: Leadership, retention: Duration, folders: config::Store) {
    loop {
        if !leadership.is_ours() {
            tokio::time::sleep(LEAD_EVERY).await;
            continue;
        }
        match prune(&queue, retention, &folders).await {
            Ok(0) => {}
            Ok(tasks) => tracing::info!(tasks, "removed tasks that ended long ago"),
            Err(error) => tracing::warn!(error = chain(&error), "could not remove old tasks"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

/// Removes tasks whose retention is over, with the folders that they had to themselves.
/// Returns how many.
///
/// # Errors
/// The queue's. What was removed by then stays removed.
pub async fn prune(queue: &Queue, retention: Duration, folders: &config::Store) -> Result<usize, QueueError> {
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
            remove_folders(folders, task).await;
        }
    }
}

async fn remove_folders(folders: &config::Store, task: TaskId) {
    let work = folders.work_dir();
    let mut own =
        vec![work.join(task.to_string()), work.join(format!("{task}.files")), work.join(format!("{task}.secrets"))];
    // Its home, where it had one to itself, stands with those of its key.
    if let Ok(mut keys) = tokio::fs::read_dir(folders.homes_dir()).await {
        while let Ok(Some(key)) = keys.next_entry().await {
            own.push(key.path().join(task.to_string()));
        }
    }
    for folder in own {
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), error = chain(&error), "could not remove a folder of an old task");
            }
            _ => {}
        }
    }
}
