//! Paths, opened as they were checked.
//!
//! A path that was resolved has no link in it. It is opened without following any, so what is opened stands at that
//! very path; a link that was put there since is an error. What was opened is what is used: by descriptor.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::walls::{Access, Grant, Opened, Unsafe};

/// Opens a folder, following no link.
///
/// # Errors
/// It is no folder, or there is a link on the way.
pub fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat2(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), NO_LINKS)?)
}

const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// Opens a path, following no link.
pub(super) fn open_exactly(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), NO_LINKS)?)
}

/// Opens every granted path.
pub(super) fn open_all(grants: &[Grant]) -> Result<Vec<Opened>, Unsafe> {
    let mut all = Vec::with_capacity(grants.len());
    for Grant { path, access } in grants {
        let descriptor = match access {
            Access::OperatorRead | Access::OperatorWrite => {
                match openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::empty()) {
                    Ok(found) => found,
                    Err(_) => continue,
                }
            }
            Access::Read | Access::Write => {
                open_exactly(path).map_err(|source| Unsafe::Path { path: path.clone(), source })?
            }
        };
        all.push(Opened { descriptor, access: *access });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_on_the_way_is_refused_wherever_it_stands() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("a path");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        open_folder(&root.join("a/b")).expect("a folder");
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).expect("a link");
        assert!(open_folder(&root.join("link/b")).is_err() && open_folder(&root.join("link")).is_err());
        let grant = |access| [Grant { path: root.join("link/b"), access }];
        assert!(open_all(&grant(Access::Write)).is_err() && open_all(&grant(Access::Read)).is_err());
        assert_eq!(open_all(&grant(Access::OperatorRead)).expect("followed").len(), 1);
        assert!(
            open_all(&[Grant { path: root.join("none"), access: Access::OperatorRead }]).expect("left out").is_empty()
        );
    }
}
