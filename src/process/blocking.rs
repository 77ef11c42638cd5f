//! Work that may wait for a disk or a network behind it: never in a thread that others wait for, and not for ever.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Such works at a time. Those that hang hold their place; more wait for one, up to their limit.
static PLACES: Semaphore = Semaphore::const_new(64);

/// Runs the work in a thread of its own.
///
/// # Errors
/// It took longer than `limit` (`TimedOut`: it may still go on), there was no thread to be had (`WouldBlock`), or it
/// panicked.
pub async fn blocking<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    fail::fail_point!("no-thread", |_| Err(no_thread()));
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", limit.as_millis()));
    let done = async {
        let place = PLACES.acquire().await.map_err(io::Error::other)?;
        let work = move || {
            let _place = place;
            work()
        };
        // tokio panics where the system has no thread to give.
        let handle = catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(work))).map_err(|_| no_thread())?;
        handle.await.map_err(io::Error::other)
    };
    timeout(limit, done).await.unwrap_or_else(|_| Err(late()))
}

fn no_thread() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "the system has no thread to give")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn what_hangs_is_not_waited_for_and_what_panics_is_an_error() {
        let limit = Duration::from_millis(50);
        assert_eq!(blocking(limit, || 7).await.expect("done"), 7);
        let (sender, hangs) = std::sync::mpsc::channel::<()>();
        let late = blocking(limit, move || hangs.recv()).await.expect_err("late");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        drop(sender);
        assert!(blocking(Duration::from_secs(5), || panic!("planted")).await.is_err());
    }
}
