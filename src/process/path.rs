//! Paths, resolved without a wait where the kernel knows them already.
//!
//! A dead network mount answers nothing, and a thread that asks for a path on it stands still. So the kernel is asked first
//! for what it has at hand (`RESOLVE_CACHED`), which takes a microsecond and never waits; what it hasn't is looked
//! for in a thread of its own, with a limit.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};

use super::{blocking, path_of};

/// Time within which a path on a disk that works is found.
const LIMIT: Duration = Duration::from_secs(3);

/// A path without links in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Absolute path.
    pub path: PathBuf,
    /// True if it is a folder.
    pub is_dir: bool,
}

/// Resolves every link of a path.
///
/// # Errors
/// It is not there, or may not be seen; `TimedOut` where nothing answers.
pub async fn resolve(path: PathBuf) -> io::Result<Resolved> {
    if let Some(known) = cached(&path) {
        return Ok(known);
    }
    blocking(LIMIT, move || {
        fail::fail_point!("path-resolve");
        let path = path.canonicalize()?;
        Ok(Resolved { is_dir: path.is_dir(), path })
    })
    .await?
}

/// Resolves a path from the kernel's cache; `None` where it would have to read the disk.
fn cached(path: &Path) -> Option<Resolved> {
    if fail::has_failpoints() && fail::list().iter().any(|(name, _)| name == "path-resolve") {
        return None;
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    let stat =
        statx(&found, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE | StatxFlags::NLINK).ok()?;
    // Removed meanwhile, it has no path any more.
    if stat.stx_nlink == 0 {
        return None;
    }
    let path = std::fs::read_link(path_of(&found)).ok()?;
    let is_dir = FileType::from_raw_mode(stat.stx_mode.into()).is_dir();
    path.is_absolute().then_some(Resolved { path, is_dir })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn links_are_resolved_and_what_is_not_there_is_an_error() {
        let folder = std::env::temp_dir().join(format!("cca-path-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("real")).expect("a folder");
        std::os::unix::fs::symlink(folder.join("real"), folder.join("link")).expect("a link");
        let real = folder.join("real").canonicalize().expect("a path");
        for _ in 0..2 {
            let found = resolve(folder.join("link")).await.expect("found");
            assert_eq!(found, Resolved { path: real.clone(), is_dir: true });
        }
        assert!(resolve(folder.join("nothing")).await.is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(resolve(real).await.is_err());
    }
}
