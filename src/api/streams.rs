//! Open streams by key: their number is limited, and they end when their key is not good any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::ApiError;
use crate::service::{Caller, KeyRing, key_limit};

/// The open streams of this server. Clones share the counts.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<String, u32>>>);

/// The right to a stream of a key; it ends when this is dropped.
pub struct StreamPermit {
    streams: Streams,
    keys: KeyRing,
    key: String,
}

impl Streams {
    /// Lets the caller open a stream.
    ///
    /// # Errors
    /// It has the maximum number already.
    pub fn open(&self, keys: &KeyRing, caller: &Caller) -> Result<StreamPermit, ApiError> {
        let key = caller.name().to_owned();
        let mut open = self.counts();
        let count = open.entry(key.clone()).or_default();
        if let Some(most) = caller.limits().max_streams.filter(|most| *count >= *most) {
            return Err(key_limit("maxStreams", most.into()).into());
        }
        *count += 1;
        drop(open);
        Ok(StreamPermit { streams: self.clone(), keys: keys.clone(), key })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamPermit {
    /// True if the key is still good. While the store does not answer it is.
    pub async fn is_good(&self) -> bool {
        self.keys.named(&self.key).await.map_or(true, |key| key.is_ok())
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.streams.counts();
        if let Some(count) = open.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}
