//! Notices the commits of other processes.
//!
//! SQLite has no notifications, but a connection can ask cheaply whether another one has
//! written since: `PRAGMA data_version` reads a counter in shared memory. The one that is asked is
//! the one that writes, so that our own commits don't count.

use std::time::Duration;

use super::hub::Hub;
use super::store::Writer;
use crate::process::BackOff;

/// The price of an event that comes from another process; asking takes a few microseconds.
const INTERVAL: Duration = Duration::from_millis(20);

/// Tells the hub whenever another connection has written, for as long as the process lives.
pub async fn watch_other_processes(writer: Writer, hub: Hub) {
    let mut look = tokio::time::interval(INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut seen, mut back_off) = (None, BackOff::default());
    loop {
        look.tick().await;
        match writer.others_version() {
            // A commit of ours is under way.
            Ok(None) => {}
            Ok(Some(version)) => {
                if seen.is_some_and(|seen| seen != version) {
                    hub.changed_elsewhere();
                }
                seen = Some(version);
                back_off.reset();
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "can't see what other processes write");
                back_off.pause().await;
            }
        }
    }
}
