//! Files that are hidden by mounts, in the mount namespace of one task.
//!
//! A hidden folder is covered by an empty one, in which only the granted paths below it stand. Folders between a granted
//! one and what is hidden in it become mounts of themselves: a mount can't be renamed or removed, so nothing can be
//! put in its place. Landlock keeps the processes inside from undoing any of it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, move_mount, open_tree,
};

use super::system;
use super::walls::{Unsafe, Walls};
use crate::process::{self, path_of};

/// Size of a covering folder: room for names.
const COVER: &core::ffi::CStr = c"size=1m,mode=0755";
/// Size of a task's `/dev/shm`.
const SHARED_MEMORY: &core::ffi::CStr = c"size=1g,mode=1777";

/// Of what is open, with the mounts in it, a mount that stands nowhere yet.
const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_RECURSIVE)
    .union(OpenTreeFlags::AT_EMPTY_PATH);

/// Hides what is to be hidden. Returns whether that was possible, and whether there is a `/tmp` of its own.
///
/// # Errors
/// A granted path is not what it was.
pub(super) fn hide(walls: &Walls, directory: &Path) -> Result<(bool, bool), Unsafe> {
    match cover_all(walls, directory) {
        Ok(temp) => Ok((true, temp)),
        Err(Unsafe::System(error)) => {
            tracing::debug!(%error, "files can't be hidden by mounts");
            Ok((false, false))
        }
        Err(other) => Err(other),
    }
}

fn cover_all(walls: &Walls, directory: &Path) -> Result<bool, Unsafe> {
    let granted: Vec<&Path> = walls.grants.iter().map(|grant| grant.path.as_path()).chain([directory]).collect();
    let exact = walls.grants.iter().filter(|grant| !grant.access.is_of_operator());
    let exact: Vec<&Path> = exact.map(|grant| grant.path.as_path()).chain([directory]).collect();
    let writable: Vec<&Path> =
        walls.grants.iter().filter(|grant| grant.access.is_write()).map(|grant| grant.path.as_path()).collect();
    // Nothing of it may reach the mounts outside.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(io::Error::from)?;
    for hidden in &walls.hidden {
        pin_ancestors(hidden, &writable)?;
        cover(hidden, &granted, &exact)?;
    }
    for socket in system::SOCKETS {
        cover(Path::new(socket), &granted, &exact)?;
    }
    if Path::new("/dev/shm").is_dir() {
        mount("tmpfs", "/dev/shm", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, SHARED_MEMORY)
            .map_err(io::Error::from)?;
    }
    match &walls.temp {
        Some(temp) if !granted.iter().any(|path| path.starts_with("/tmp")) && !temp.starts_with("/tmp") => {
            let temp = open_path(temp).map_err(|source| Unsafe::Path { path: temp.clone(), source })?;
            bind(&temp, Path::new("/tmp"))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Makes everything read-only but what the task may write: Landlock knows nothing of modes, owners, times and attributes
/// of files. Returns whether that was possible.
///
/// # Errors
/// A granted path is not what it was.
pub(super) fn seal(walls: &Walls, has_temp: bool) -> Result<bool, Unsafe> {
    let mut granted: Vec<(&Path, bool)> = walls
        .grants
        .iter()
        .filter(|grant| grant.access.is_write())
        .map(|grant| (grant.path.as_path(), !grant.access.is_of_operator()))
        .collect();
    // An outer one comes with what is in it.
    granted.sort_by_key(|(path, _)| path.components().count());
    let mut kept: Vec<(&Path, bool, OwnedFd)> = Vec::new();
    for (path, is_exact) in granted {
        if kept.iter().any(|(outer, ..)| path.starts_with(outer)) {
            continue;
        }
        let found = match open_as_granted(path, is_exact) {
            Ok(found) => found,
            Err(source) if is_exact => return Err(Unsafe::Path { path: path.to_owned(), source }),
            // What an operator names need not be there.
            Err(_) => continue,
        };
        match open_tree(&found, "", CLONE) {
            Ok(tree) => kept.push((path, is_exact, tree)),
            Err(error) => return not_sealed(&error.into()),
        }
    }
    let root = open_path(Path::new("/"))?;
    if let Err(error) = sys::set_read_only(&root, true, true) {
        return not_sealed(&error);
    }
    for (path, is_exact, tree) in kept {
        let at = open_as_granted(path, is_exact);
        let at = at.map_err(|source| Unsafe::Path { path: path.to_owned(), source })?;
        let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&tree, "", &at, "", empty).map_err(io::Error::from)?;
    }
    let own = ["/proc", "/dev/shm", "/dev/pts"].into_iter().chain(has_temp.then_some("/tmp"));
    for mount in own.filter_map(|path| open_path(Path::new(path)).ok()) {
        // What is no mount here has nothing to be undone.
        sys::set_read_only(&mount, false, false).unwrap_or_default();
    }
    Ok(true)
}

fn not_sealed(error: &io::Error) -> Result<bool, Unsafe> {
    tracing::debug!(%error, "what a task may not write can't be made read-only");
    Ok(false)
}

fn open_as_granted(path: &Path, is_exact: bool) -> io::Result<OwnedFd> {
    if is_exact {
        return open_path(path);
    }
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Lets the folders between a granted one and what is hidden stay where they are.
fn pin_ancestors(hidden: &Path, writable: &[&Path]) -> io::Result<()> {
    let is_inside = |folder: &Path| writable.iter().any(|granted| folder.starts_with(granted) && folder != *granted);
    let mut between: Vec<&Path> = hidden.ancestors().skip(1).filter(|folder| is_inside(folder)).collect();
    between.reverse();
    for folder in between {
        let found = open_path(folder)?;
        bind(&found, folder)?;
    }
    Ok(())
}

/// Covers a file with nothing, a folder with an empty one in which what is granted shows. What isn't there needs none.
fn cover(hidden: &Path, granted: &[&Path], exact: &[&Path]) -> Result<(), Unsafe> {
    let Ok(found) = open_path(hidden) else { return Ok(()) };
    if !std::fs::metadata(path_of(&found))?.is_dir() {
        let nothing = open_path(Path::new("/dev/null"))?;
        return Ok(bind(&nothing, hidden)?);
    }
    let mut shown: Vec<(&Path, OwnedFd)> = Vec::new();
    for path in granted.iter().filter(|path| path.starts_with(hidden) && **path != hidden) {
        match open_path(path) {
            Ok(opened) => shown.push((path, opened)),
            Err(_) if !exact.contains(path) => {}
            Err(source) => return Err(Unsafe::Path { path: (*path).to_owned(), source }),
        }
    }
    // An outer one before what is in it, which stands there then.
    shown.sort_by_key(|(path, _)| path.components().count());
    mount("tmpfs", path_of(&found), "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, COVER).map_err(io::Error::from)?;
    let mut done: Vec<&Path> = Vec::new();
    for (path, opened) in &shown {
        if done.iter().any(|outer| path.starts_with(outer)) {
            continue;
        }
        if std::fs::metadata(path_of(opened))?.is_dir() {
            std::fs::create_dir_all(path)?;
        } else {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::File::create(path)?;
        }
        bind(opened, path)?;
        done.push(path);
    }
    let read_only = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount_remount(hidden, read_only, "").map_err(io::Error::from)?;
    Ok(())
}

/// Lets what was opened stand at this path.
fn bind(opened: &OwnedFd, at: &Path) -> io::Result<()> {
    Ok(mount_bind_recursive(path_of(opened), at)?)
}

/// Opens a path without following a link, to say where it is.
fn open_path(path: &Path) -> io::Result<OwnedFd> {
    process::open_exactly(CWD, path, OFlags::PATH)
}
