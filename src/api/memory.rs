//! A cap on what many requests together keep in memory: of readers the pages that were read and that their clients have not
//! taken, of writers the bodies that have come.
//!
//! Who reads what is new as it comes keeps next to nothing and asks for no room. Who is behind asks for it before
//! it reads a page, and gives it back when that is handed over; a client that takes nothing is cut off after a
//! while (`SLOW_CLIENT_TIMEOUT_MS`), and its room is free again.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory of all readers together, in KiB.
const KIB: u32 = 16 << 10;

/// The room of all readers. Clones share it.
#[derive(Clone)]
pub struct Memory(Arc<Semaphore>);

/// Room that is taken until it is dropped.
pub struct Room {
    _taken: Option<OwnedSemaphorePermit>,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(KIB as usize)))
    }
}

impl Memory {
    /// Takes room for this many bytes; waits until there is some.
    pub async fn room(&self, bytes: u64) -> Room {
        let kib = u32::try_from(bytes >> 10).unwrap_or(KIB).clamp(1, KIB);
        Room { _taken: Arc::clone(&self.0).acquire_many_owned(kib).await.ok() }
    }
}
