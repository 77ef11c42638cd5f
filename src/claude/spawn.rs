//! Starts shims. One can be started before there is anything to guard: it then waits to be told, and
//! the milliseconds that its own start takes are no task's.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use tokio::process::Child;

use crate::config::Claude;
use crate::process::{self, EnvMarks, Launch, Streams};
use crate::sandbox::SettingsWatch;
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
    /// Where it prepares walls while it waits, the watch that tells whether they still fit.
    pub settings: Option<SettingsWatch>,
}

impl ShimLaunch {
    /// A launch of our own program.
    ///
    /// # Errors
    /// The system doesn't say where that is.
    pub fn new(claude: &Claude, holder: WorkerInstanceId, settings: Option<SettingsWatch>) -> io::Result<Self> {
        let home = claude.environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.clone());
        let program = std::env::current_exe()?;
        Ok(Self { program, holder, home, namespaces: claude.namespaces, settings })
    }
}

/// A shim that guards nothing yet. Dropping it ends it.
pub struct Shim {
    pub(super) child: Child,
    pub(super) streams: Streams,
    pub(super) control: UnixStream,
    settings: Settings,
}

/// State of the settings of the system before a shim prepared its walls.
struct Settings {
    watch: Option<SettingsWatch>,
    state: Option<u64>,
}

impl Settings {
    fn now(watch: Option<SettingsWatch>) -> Self {
        Self { state: watch.as_ref().and_then(SettingsWatch::state), watch }
    }

    /// True if they are known to be the same now.
    fn still_hold(&self) -> bool {
        self.state.is_some() && self.watch.as_ref().and_then(SettingsWatch::state) == self.state
    }
}

impl Shim {
    /// Starts one.
    ///
    /// # Errors
    /// The system's, when it can't be started.
    pub fn start(launch: &ShimLaunch) -> io::Result<Self> {
        let (ours, theirs) = process::control_pair()?;
        // Before it looks at them.
        let settings = Settings::now(launch.settings.clone());
        let mut args = vec!["agent-shim".into(), format!("--control-fd={}", theirs.as_raw_fd()).into()];
        // Its memory, and so its environment, can't be looked into by others of this user.
        args.extend(EnvMarks::holder(launch.holder).variables().map(|(name, value)| format!("{name}={value}").into()));
        if !launch.namespaces {
            args.push("--no-namespace".into());
        }
        if settings.state.is_none() {
            args.push("--no-walls".into());
        }
        let home = launch.home.iter().map(|home| ("HOME".to_owned(), home.clone()));
        let env = EnvMarks::holder(launch.holder).variables().chain(home).collect();
        let launch = Launch { program: launch.program.clone(), args, env, directory: Some("/".into()) };
        let (child, streams) = process::spawn_shim(&launch, theirs)?;
        ours.set_nonblocking(true)?;
        Ok(Self { child, streams, control: ours, settings })
    }

    /// True if the walls that it has prepared fit still.
    pub(super) fn walls_fit(&self) -> bool {
        self.settings.still_hold()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walls_fit_until_the_settings_change_and_never_where_that_is_not_known() {
        let dir = tempfile::tempdir().expect("a folder");
        let watch = SettingsWatch::of(Some(dir.path()));
        let (first, second) = (Settings::now(Some(watch.clone())), Settings::now(Some(watch.clone())));
        assert!(first.still_hold() && second.still_hold());
        std::fs::write(dir.path().join("new"), "x").expect("written");
        // Each is told, whoever has asked before.
        assert!(!first.still_hold() && !second.still_hold());
        assert!(Settings::now(Some(watch)).still_hold());
        assert!(!Settings::now(Some(SettingsWatch::of(Some("/no such folder".as_ref())))).still_hold());
        assert!(!Settings::now(None).still_hold());
    }
}
