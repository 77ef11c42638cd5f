//! Paths, resolved without a wait where the kernel knows them already.
//!
//! A dead network mount answers nothing, and a thread that asks for a path on it stands still. So the kernel is asked first
//! for what it has at hand (`RESOLVE_CACHED`), which takes a microsecond and never waits; what it hasn't is looked
//! for in a thread of its own, with a limit.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, mkdirat, openat, openat2, statx};

use super::blocking;

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

/// Makes the folders of a path below one that is there, where they are missing; none of them may be a link.
///
/// # Errors
/// The system's; there is a link or a file in the place of a folder.
pub fn make_below(top: &Path, below: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(top, flags, Mode::empty())?;
    for name in below.components() {
        let std::path::Component::Normal(name) = name else { return Err(io::ErrorKind::InvalidInput.into()) };
        match mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, name, flags, Mode::empty())?;
    }
    Ok(())
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
    let name =
        rustix::fs::readlink(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found)), Vec::new()).ok()?;
    let path = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(name.into_bytes()));
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

    #[test]
    fn folders_are_made_below_one_and_not_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let (top, other) = (dir.path().join("top"), dir.path().join("other"));
        for folder in [&top, &other] {
            std::fs::create_dir(folder).expect("a folder");
        }
        for _ in 0..2 {
            make_below(&top, Path::new("a/b")).expect("made");
        }
        assert!(top.join("a/b").is_dir());
        std::os::unix::fs::symlink(&other, top.join("link")).expect("a link");
        make_below(&top, Path::new("link/c")).expect_err("a link");
        make_below(&top, Path::new("../c")).expect_err("a way out");
        assert!(!other.join("c").exists() && !dir.path().join("c").exists());
    }
}
