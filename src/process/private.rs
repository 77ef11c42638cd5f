//! Files and folders that are ours alone, whatever the umask: 0600 and 0700.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Mode of a file.
const FILE: u32 = 0o600;
/// Mode of a folder.
const FOLDER: u32 = 0o700;
/// Bits that open something to others.
const OTHERS: u32 = 0o077;
/// Those of them that only let others enter a folder.
const PASS: u32 = 0o011;

/// Makes a folder with its parents, where they aren't there. One that is there keeps its mode.
///
/// # Errors
/// The system's.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)
}

/// Makes a folder with its parents that only we may enter, or sees to it that the one there is such a folder.
///
/// # Errors
/// It is no folder, or another user's; the system's.
pub fn make_own_folder(path: &Path) -> io::Result<()> {
    make_private_folder(path)?;
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() || found.uid() != super::effective_uid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} is not our own folder", path.display()),
        ));
    }
    std::fs::set_permissions(path, Permissions::from_mode(FOLDER))
}

/// Closes a file to others, where it is there and ours; makes an empty one where `make` is true.
///
/// # Errors
/// The system's.
pub fn close_to_others(path: &Path, make: bool) -> io::Result<()> {
    if make {
        // Appended to by nobody here: what is there stays as it is.
        drop(File::options().append(true).create(true).mode(FILE).open(path)?);
    }
    match std::fs::metadata(path) {
        Ok(found) if is_ours(&found) && found.mode() & OTHERS != 0 => {
            std::fs::set_permissions(path, Permissions::from_mode(FILE))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// True if others may list the folder or write to it, or, unless some have to, enter it.
#[must_use]
pub fn is_open_to_others(folder: &Path, some_pass: bool) -> bool {
    let open = if some_pass { OTHERS & !PASS } else { OTHERS };
    std::fs::metadata(folder).is_ok_and(|found| found.mode() & open != 0)
}

/// Checks that a file of a secret is a plain file of ours that others can't read.
///
/// # Errors
/// What is wrong, and the command that mends it.
pub fn check_secret(path: &Path, file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    if !found.is_file() {
        return wrong("it is no plain file; remove it to get a new one".to_owned());
    }
    if !is_ours(&found) {
        let me = rustix::process::geteuid().as_raw();
        return wrong(format!("it belongs to uid {}: chown {me} {}", found.uid(), path.display()));
    }
    if found.mode() & OTHERS != 0 {
        return wrong(format!("others may read it (mode {:04o}): chmod 600 {}", found.mode() & 0o7777, path.display()));
    }
    Ok(())
}

fn is_ours(found: &Metadata) -> bool {
    found.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_folders_are_closed_to_others() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, file) = (dir.path().join("a/b"), dir.path().join("file"));
        make_private_folder(&folder).expect("made");
        assert!(!is_open_to_others(&folder, false) && !is_open_to_others(&dir.path().join("a"), true));
        std::fs::write(&file, "secret").expect("written");
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("opened");
        let refused = check_secret(&file, &File::open(&file).expect("a file")).expect_err("open to others");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
        close_to_others(&file, true).expect("closed");
        check_secret(&file, &File::open(&file).expect("a file")).expect("ours");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "secret");
        close_to_others(&dir.path().join("none"), false).expect("nothing to do");
    }
}
