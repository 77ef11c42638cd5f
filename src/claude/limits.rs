//! Limits of a run that the worker sees itself: what the CLI prints, and what its folders hold.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::shim::{Limit, ToShim};
use super::way::Order;
use crate::process;

/// Time between two looks at the folders.
const EVERY: Duration = Duration::from_secs(5);
/// Longest look.
const LOOK_LIMIT: Duration = Duration::from_secs(60);

/// Limit of what folders may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskLimit {
    /// The folders.
    pub folders: Vec<PathBuf>,
    /// Bytes on the disk, all together.
    pub bytes: u64,
}

/// The limits of one run. Clones share them.
#[derive(Clone)]
pub struct RunLimits {
    output_bytes: Option<u64>,
    hit: Arc<OnceLock<Limit>>,
    /// Orders for the shim.
    orders: mpsc::WeakUnboundedSender<Order>,
}

impl RunLimits {
    /// Limits of the run with this shim.
    pub fn new(output_bytes: Option<u64>, orders: &mpsc::UnboundedSender<Order>) -> Self {
        Self { output_bytes, hit: Arc::default(), orders: orders.downgrade() }
    }

    /// The limit for which the run was ended.
    pub fn hit(&self) -> Option<Limit> {
        self.hit.get().copied()
    }

    /// True if that is more than it may print; it is ended then.
    pub fn has_printed(&self, bytes: u64) -> bool {
        let over = self.output_bytes.is_some_and(|most| bytes > most);
        if over {
            self.end(Limit::Output);
        }
        over
    }

    /// Looks at the folders until the run has ended.
    pub async fn watch_disk(self, limit: Option<DiskLimit>) {
        let Some(DiskLimit { folders, bytes }) = limit else { return };
        while self.orders.upgrade().is_some() {
            let now = folders.clone();
            match process::blocking(LOOK_LIMIT, move || process::folder_size(now)).await {
                Ok(size) if size > bytes => return self.end(Limit::Disk),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "The folders of a task can't be looked at"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn end(&self, limit: Limit) {
        // The first one counts.
        self.hit.set(limit).unwrap_or_default();
        // Closed: it is gone already.
        if let (Some(orders), Ok(end)) = (self.orders.upgrade(), Order::of(&ToShim::End { grace_ms: 0 })) {
            orders.send(end).unwrap_or_default();
        }
    }
}
