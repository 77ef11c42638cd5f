//! Count of connected clients. Beyond a number they are turned away, but for those that ask for the health: a flood is
//! no reason not to answer that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The open connections. Clones share the count.
#[derive(Clone, Default)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    most: usize,
}

/// A connection; it ends when this is dropped.
pub struct Connection(Arc<AtomicUsize>);

impl Connections {
    /// Starts without connections, and room for this many.
    pub fn new(most: usize) -> Self {
        Self { open: Arc::default(), most }
    }

    /// A client has connected.
    pub fn add(&self) -> Connection {
        self.open.fetch_add(1, Ordering::Relaxed);
        Connection(Arc::clone(&self.open))
    }

    /// True if there are more than there is room for.
    pub fn are_too_many(&self) -> bool {
        self.most > 0 && self.open.load(Ordering::Relaxed) > self.most
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
