//! Workers without a supervisor: their server has died, and the next one runs in another mode.

use std::path::Path;

use super::record::Records;
use crate::{ipc, process};

/// Ends the workers that an earlier managed server of this data folder left, unless another one manages them. They
/// give back what they run.
pub fn end_left_behind(data_dir: &Path) {
    let workers = Records::below(data_dir).load();
    let workers: Vec<_> = workers.into_iter().filter(|worker| !worker.process.is_known_dead()).collect();
    if workers.is_empty() {
        return;
    }
    // For as long as we could listen, no other server does.
    let Ok(listening) = ipc::listen(&ipc::socket_path(data_dir)) else { return };
    for worker in workers {
        let pid = worker.process.pid;
        tracing::warn!(workerId = worker.name, pid, "Ending a worker of an earlier managed server: nobody manages it");
        process::terminate(pid);
        process::wake_up(pid);
    }
    drop(listening);
}
