//! Files and folders that somebody else may change at any time: opened, made and written without following a link, so
//! that none of them leads elsewhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, renameat, unlinkat};

/// Opens a path, relative to a folder or absolute. A link anywhere on the way is an error.
///
/// # Errors
/// The system's.
pub fn open_exactly(from: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let how = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(from, path, flags | OFlags::CLOEXEC, Mode::empty(), how)?)
}

/// Opens a folder, to be read.
///
/// # Errors
/// The system's; it is no folder, or there is a link on the way.
pub fn open_folder(from: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open_exactly(from, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a plain file, to be read. Waits for no writer.
///
/// # Errors
/// The system's; it is no plain file, or there is a link on the way.
pub fn open_file(from: impl AsFd, path: &Path) -> io::Result<File> {
    let file = File::from(open_exactly(from, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

/// Reads a plain file, `most` bytes of it.
///
/// # Errors
/// As [`open_file`].
pub fn read(from: impl AsFd, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(from, path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a folder below another one, and makes it, with those on the way, where they are missing. `fresh` is told of
/// each that was made.
///
/// # Errors
/// The system's; a link or a file stands in the place of a folder.
pub fn make_folders(
    from: impl AsFd,
    below: &Path,
    mode: Mode,
    fresh: impl Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    let mut at = open_folder(from, Path::new("."))?;
    for name in below.components() {
        let Component::Normal(name) = name else { return Err(io::ErrorKind::InvalidInput.into()) };
        let made = match mkdirat(&at, name, mode) {
            Ok(()) => true,
            // Another process may just have made it.
            Err(rustix::io::Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        at = open_folder(&at, Path::new(name))?;
        if made {
            fresh(&at)?;
        }
    }
    Ok(at)
}

/// Writes a file for this user alone in the place of what is there, in one step. `fresh` is told of it before.
///
/// # Errors
/// The system's.
pub fn replace(
    folder: &OwnedFd,
    name: &OsStr,
    from: &mut (impl Read + ?Sized),
    fresh: impl Fn(&OwnedFd) -> io::Result<()>,
) -> io::Result<()> {
    let partial = format!(".{}.new", name.to_string_lossy());
    // Of a write that was broken off.
    unlinkat(folder, &partial, AtFlags::empty()).unwrap_or_default();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, &partial, flags, Mode::RUSR | Mode::WUSR)?;
    fresh(&file)?;
    io::copy(from, &mut File::from(file))?;
    Ok(renameat(folder, &partial, folder, name)?)
}

/// Path of what is open, whatever became of its name.
#[must_use]
pub fn path_of(opened: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn nothing_is_read_made_or_written_through_a_link() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("a path");
        let (top, other) = (root.join("top"), root.join("other"));
        for folder in [&top, &other] {
            std::fs::create_dir(folder).expect("a folder");
        }
        std::fs::write(other.join("file"), "theirs").expect("a file");
        symlink(&other, top.join("link")).expect("a link");
        symlink(other.join("file"), top.join("name")).expect("a link");
        let opened = open_folder(CWD, &top).expect("opened");
        for path in ["link/file", "name"] {
            read(&opened, Path::new(path), 99).expect_err("a link");
        }
        read(&opened, Path::new("."), 99).expect_err("a folder");
        let make = |below: &str| make_folders(&opened, Path::new(below), Mode::RWXU, |_| Ok(()));
        for _ in 0..2 {
            make("a/b").expect("made");
        }
        assert!(top.join("a/b").is_dir());
        make("link/c").expect_err("a link");
        make("../c").expect_err("a way out");
        assert!(!other.join("c").exists() && !root.join("c").exists());
        // The link gives way, and what it led to stays.
        replace(&opened, OsStr::new("name"), &mut &b"ours"[..], |_| Ok(())).expect("written");
        assert_eq!(read(&opened, Path::new("name"), 3).expect("read"), b"our");
        assert_eq!(std::fs::read_to_string(other.join("file")).expect("read"), "theirs");
    }
}
