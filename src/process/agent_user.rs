//! Files and folders of ours that another user is to work in: the one that the CLI becomes, where the service is root.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::AgentUser;

/// Mode of a folder that others pass through and can't list.
const PASSED_THROUGH: u32 = 0o711;

/// Gives a file or folder to the user; a link that stands there is given itself.
///
/// # Errors
/// The system's.
pub fn give(path: &Path, user: AgentUser) -> io::Result<()> {
    let Some((uid, gid)) = user else { return Ok(()) };
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
}

/// Lets the user pass through a folder of ours, to what is theirs in it.
///
/// # Errors
/// The system's.
pub fn let_pass(folder: &Path, user: AgentUser) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    let mode = std::fs::metadata(folder)?.mode() & 0o7777;
    std::fs::set_permissions(folder, Permissions::from_mode(mode | PASSED_THROUGH))
}

/// Returns the outermost folder on the way to a path that the user can't pass through.
#[must_use]
pub fn barred(path: &Path, user: AgentUser) -> Option<PathBuf> {
    let (uid, gid) = user.filter(|(uid, _)| *uid != 0)?;
    let can_pass = |folder: &Path| {
        std::fs::metadata(folder).is_ok_and(|found| {
            let bit = match () {
                () if found.uid() == uid => 0o100,
                () if found.gid() == gid => 0o010,
                () => 0o001,
            };
            found.mode() & bit != 0
        })
    };
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    folders.reverse();
    folders.into_iter().find(|folder| !can_pass(folder)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_the_way_is_found_and_can_be_opened() {
        let dir = tempfile::tempdir().expect("a folder");
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/inner"));
        std::fs::create_dir_all(&inner).expect("folders");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
        std::fs::set_permissions(&outer, Permissions::from_mode(0o700)).expect("a mode");
        let nobody = Some((65_534, 65_534));
        assert_eq!(barred(&inner.join("file"), nobody), Some(outer.clone()));
        assert_eq!((barred(&inner, None), barred(&inner, Some((0, 0)))), (None, None));
        let_pass(&outer, nobody).expect("opened");
        assert_eq!(barred(&inner.join("file"), nobody), None);
        assert_eq!(std::fs::metadata(&outer).expect("a folder").mode() & 0o777, 0o711);
    }
}
