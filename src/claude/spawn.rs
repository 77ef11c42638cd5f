//! Starts shims. One can be started before there is anything to guard: it then waits to be told, and
//! the milliseconds that its own start takes are no task's.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tokio::process::Child;

use crate::process::{self, EnvMarks, Launch, Streams};
use domain::WorkerInstanceId;

/// Everything that a shim is started from.
#[derive(Clone, Debug)]
pub struct ShimLaunch {
    /// Path of our own program, which is the shim too.
    pub program: PathBuf,
    /// The worker's life, for the marks: should the worker die, its shims are found by it.
    pub holder: WorkerInstanceId,
    /// The user's home, which all that is started for this user has in its environment.
    pub home: Option<String>,
    /// True if the tree may get a PID namespace of its own, where the system allows it.
    pub namespaces: bool,
    /// True if what it guards has walls, which it prepares while it waits.
    pub walls: bool,
}

/// A shim that guards nothing yet. Dropping it ends it.
pub struct Shim {
    pub(super) child: Child,
    pub(super) streams: Streams,
    pub(super) control: UnixStream,
}

impl Shim {
    /// Starts one.
    ///
    /// # Errors
    /// The system's, when it can't be started.
    pub fn start(launch: &ShimLaunch) -> io::Result<Self> {
        let (ours, theirs) = process::control_pair()?;
        let mut args = vec!["agent-shim".into(), format!("--control-fd={}", theirs.as_raw_fd()).into()];
        // Its memory, and so its environment, can't be looked into by others of this user.
        args.extend(EnvMarks::holder(launch.holder).variables().map(|(name, value)| format!("{name}={value}").into()));
        if !launch.namespaces {
            args.push("--no-namespace".into());
        }
        if !launch.walls {
            args.push("--no-walls".into());
        }
        let home = launch.home.iter().map(|home| ("HOME".to_owned(), home.clone()));
        let env = EnvMarks::holder(launch.holder).variables().chain(home).collect();
        let launch = Launch { program: launch.program.clone(), args, env, directory: Some("/".into()) };
        let (child, streams) = process::spawn_shim(&launch, theirs)?;
        ours.set_nonblocking(true)?;
        Ok(Self { child, streams, control: ours })
    }

    /// True if it still waits.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it, and waits until it is gone.
    pub async fn end(mut self) {
        drop(self.control);
        if let Err(error) = self.child.wait().await {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not collect a shim");
        }
    }
}
