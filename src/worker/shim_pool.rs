//! A shim that is started before its task: between a submit and the start of the CLI, most of the time
//! would be the start of the shim.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::claude::{Shim, ShimLaunch};

/// One shim that waits, or none.
pub struct ShimPool {
    launch: ShimLaunch,
    place: Mutex<Place>,
}

enum Place {
    Empty,
    Waits(Box<Shim>),
    /// The pool is closed: no shim is started any more.
    Closed,
}

impl ShimPool {
    /// Starts without a shim.
    #[must_use]
    pub const fn new(launch: ShimLaunch) -> Self {
        Self { launch, place: Mutex::new(Place::Empty) }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that waits; a new one where there is none, or where it has died.
    ///
    /// # Errors
    /// The system's, when none can be started.
    pub fn take(&self) -> io::Result<Shim> {
        let mut place = self.place();
        if matches!(*place, Place::Waits(_))
            && let Place::Waits(mut shim) = std::mem::replace(&mut *place, Place::Empty)
            && shim.lives()
        {
            return Ok(*shim);
        }
        drop(place);
        Shim::start(&self.launch)
    }

    /// Starts one at once, and leaves the one that waits to the next attempt.
    ///
    /// # Errors
    /// The system's, when none can be started.
    pub fn start(&self) -> io::Result<Shim> {
        Shim::start(&self.launch)
    }

    /// Starts one for the next task, where none waits.
    pub fn refill(&self) {
        let mut place = self.place();
        if matches!(*place, Place::Empty) {
            match Shim::start(&self.launch) {
                Ok(shim) => *place = Place::Waits(Box::new(shim)),
                Err(error) => tracing::debug!(%error, "no shim could be started ahead of its task"),
            }
        }
    }

    /// Ends the one that waits, for good.
    pub async fn close(&self) {
        let last = std::mem::replace(&mut *self.place(), Place::Closed);
        if let Place::Waits(shim) = last {
            shim.end().await;
        }
    }
}
