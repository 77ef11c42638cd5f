//! What the walls are to be, and how they are built.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags};
use serde::{Deserialize, Serialize};
use sys::{BeforeExec, User};

use super::landlock::SystemRules;
use super::{landlock, mounts, opened, system};
use crate::config::AgentUser;
use crate::process::{self, Isolation};

/// Description of the walls round the processes of one task, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Walls {
    /// Paths that it may use, beside those of the system.
    pub grants: Vec<Grant>,
    /// Files and folders of the service. Absolute, without links.
    pub hidden: Vec<PathBuf>,
    /// Folder that stands in for `/tmp`, where nothing that is granted lies there.
    pub temp: Option<PathBuf>,
    /// TCP port that it may not connect to.
    pub refused_port: Option<u16>,
    /// User that it becomes, as uid and gid.
    pub user: AgentUser,
    /// Limits of its processes.
    pub limits: Limits,
}

/// A path that may be used, with everything below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// Absolute path.
    pub path: PathBuf,
    /// Extent.
    pub access: Access,
}

/// Extent of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// May be read and executed. Links are followed, and a path that isn't there is left out: the operator named it.
    OperatorRead,
    /// May be read, executed and written, as before.
    OperatorWrite,
    /// May be read and executed. It must be there, without a link on the way.
    Read,
    /// May be read, executed and written. It must be there, without a link on the way.
    Write,
}

impl Access {
    /// True if the operator has named the path.
    #[must_use]
    pub const fn is_of_operator(self) -> bool {
        matches!(self, Self::OperatorRead | Self::OperatorWrite)
    }

    /// True if it may be written.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::OperatorWrite)
    }
}

/// Limits of a task's processes. None where `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Resident memory of all together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Number of processes.
    pub processes: Option<u64>,
    /// Size of a file that one writes, in bytes.
    pub file_bytes: Option<u64>,
}

/// The walls that hold for a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// Version of Landlock in use; 0 where the kernel has none.
    pub landlock: u32,
    /// True if mounts of its own hide the files of the service.
    pub mounts: bool,
    /// True if it has a `/tmp` of its own.
    pub temp: bool,
    /// True if everything that it may not write is on a mount that is read-only: modes, owners and times included.
    pub sealed: bool,
}

/// Reason for which a process is not started.
#[derive(Debug, thiserror::Error)]
pub enum Unsafe {
    /// A path is not what it was when it was checked.
    #[error("{path} can't be opened as it was checked (a link or something else may stand there by now): {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The working folder has files of the service in it, and nothing here can hide them.
    #[error(
        "{folder} contains {hidden}, which is the server's own, and it can't be hidden on this system: work in a folder below it, or move the server's files"
    )]
    Exposed {
        /// The folder.
        folder: PathBuf,
        /// The file of the service.
        hidden: PathBuf,
    },
    /// SANDBOX=required, and the kernel can't.
    #[error("SANDBOX is required, and this kernel has no Landlock (Linux 5.13 or newer, with lsm=landlock)")]
    NoLandlock,
    /// The system refused a wall that it has.
    #[error("the sandbox can't be built")]
    System(#[from] io::Error),
}

impl Unsafe {
    /// True if it is the task's folders that are at fault: another attempt ends the same way.
    #[must_use]
    pub const fn is_of_the_task(&self) -> bool {
        matches!(self, Self::Path { .. } | Self::Exposed { .. })
    }
}

/// Capabilities that root keeps: of files and users, and for low ports (linux/capability.h). None that reaches other
/// processes, the kernel or devices.
const CAPABILITIES: u64 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10;

/// Builds the walls for a process that is to start in `directory`. With `isolation` in its own namespaces, files are
/// hidden by mounts there, for everything that the calling process does from here on too.
///
/// # Errors
/// A path is not what it was, or a wall that the system has can't be built.
fn build(
    walls: &Walls,
    directory: &Path,
    isolation: Isolation,
    prepared: Option<SystemRules>,
) -> Result<(BeforeExec, Held), Unsafe> {
    let abi = sys::landlock_abi();
    let mut held = Held { landlock: abi, ..Held::default() };
    if isolation == Isolation::PidNamespace {
        (held.mounts, held.temp) = mounts::hide(walls, directory)?;
        held.sealed = held.mounts && mounts::seal(walls, held.temp)?;
    }
    if abi > 0 && !held.mounts {
        check_exposed(walls)?;
    }
    let opened = if held.mounts {
        opened::open_all(&walls.grants)?
    } else {
        opened::open_all(&opened::grants_around(&walls.grants, &walls.hidden))?
    };
    let directory = open_directory(directory).map_err(|source| Unsafe::Path { path: directory.to_owned(), source })?;
    let ruleset = landlock::ruleset(walls, &opened, held, prepared)?;
    let steps = BeforeExec {
        directory: Some(directory),
        limits: walls.limits.file_bytes.map(|bytes| (libc::RLIMIT_FSIZE, bytes)).into_iter().collect(),
        capabilities: rustix::process::geteuid().is_root().then_some(CAPABILITIES),
        user: walls.user.map(|(uid, gid)| User { uid, gid }),
        ruleset,
        filter: Some(system::filter()?),
        ..BeforeExec::default()
    };
    Ok((steps, held))
}

/// Builds the walls, or only opens the folder where there are none. What was prepared saves time. Returns the steps of the process before its
/// program runs, and the walls that will hold.
///
/// # Errors
/// A path is not what it was, a wall can't be built, or `must_hold` and the kernel has no Landlock.
pub fn enter(
    walls: Option<&Walls>,
    directory: &Path,
    isolation: Isolation,
    must_hold: bool,
    prepared: Option<SystemRules>,
) -> Result<(BeforeExec, Option<Held>), Unsafe> {
    let Some(walls) = walls else {
        let opened = open_directory(directory);
        let opened = opened.map_err(|source| Unsafe::Path { path: directory.to_owned(), source })?;
        return Ok((BeforeExec { directory: Some(opened), ..BeforeExec::default() }, None));
    };
    check_required(must_hold)?;
    let (steps, held) = build(walls, directory, isolation, prepared)?;
    Ok((steps, Some(held)))
}

/// Opens the folder that a process is to start in, without following a link.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    process::open_exactly(CWD, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Fails where the kernel lacks what the operator requires.
///
/// # Errors
/// It has no Landlock.
pub fn check_required(must_hold: bool) -> Result<(), Unsafe> {
    if must_hold && sys::landlock_abi() == 0 { Err(Unsafe::NoLandlock) } else { Ok(()) }
}

/// Landlock grants a folder with all that is in it. Where nothing is hidden in there, it must not be granted.
fn check_exposed(walls: &Walls) -> Result<(), Unsafe> {
    for Grant { path: folder, .. } in walls.grants.iter().filter(|grant| !grant.access.is_of_operator()) {
        if let Some(hidden) = walls.hidden.iter().find(|hidden| hidden.starts_with(folder) && hidden.exists()) {
            return Err(Unsafe::Exposed { folder: folder.clone(), hidden: hidden.clone() });
        }
    }
    Ok(())
}

/// A granted path, as it was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub descriptor: OwnedFd,
    pub access: Access,
}
