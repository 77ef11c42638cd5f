//! Paths, opened as they were checked.
//!
//! A path that was resolved has no link in it. It is opened without following any, so what is opened stands at that
//! very path; a link that was put there since is an error. What was opened is what is used: by descriptor.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::walls::{Access, Grant, Opened, Unsafe};
use crate::process;

/// What stands in a folder of the system or of the operator, but what is hidden there, for where no mount can cover
/// that: Landlock grants a folder with all that is in it. The folder itself where nothing in it is hidden.
pub(super) fn around(folder: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    let whole = || vec![folder.to_owned()];
    if hidden.is_empty() {
        return whole();
    }
    let Ok(real) = folder.canonicalize() else { return whole() };
    if hidden.iter().any(|hidden| real.starts_with(hidden)) {
        return Vec::new();
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(&real)) {
        return whole();
    }
    let entries = std::fs::read_dir(&real).into_iter().flatten().flatten();
    // A link to a folder above would lead round in circles.
    entries.filter(|entry| !entry.path().is_symlink()).flat_map(|entry| around(&entry.path(), hidden)).collect()
}

/// Returns the grants, those of the operator in parts where something that can't be covered is in them.
pub(super) fn grants_around(grants: &[Grant], hidden: &[PathBuf]) -> Vec<Grant> {
    let parts = |grant: &Grant| match grant.access {
        Access::OperatorRead | Access::OperatorWrite => around(&grant.path, hidden),
        Access::Read | Access::Write => vec![grant.path.clone()],
    };
    let grant = |grant: &Grant| {
        let access = grant.access;
        parts(grant).into_iter().map(move |path| Grant { path, access }).collect::<Vec<_>>()
    };
    grants.iter().flat_map(grant).collect()
}

/// Opens every granted path.
pub(super) fn open_all(grants: &[Grant]) -> Result<Vec<Opened>, Unsafe> {
    let mut all = Vec::with_capacity(grants.len());
    for Grant { path, access } in grants {
        let descriptor = match access {
            Access::OperatorRead | Access::OperatorWrite => {
                match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                    Ok(found) => found,
                    Err(_) => continue,
                }
            }
            Access::Read | Access::Write => process::open_exactly(CWD, path, OFlags::PATH)
                .map_err(|source| Unsafe::Path { path: path.clone(), source })?,
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
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).expect("a link");
        let grant = |access| [Grant { path: root.join("link/b"), access }];
        assert!(open_all(&grant(Access::Write)).is_err() && open_all(&grant(Access::Read)).is_err());
        assert_eq!(open_all(&grant(Access::OperatorRead)).expect("followed").len(), 1);
        assert!(
            open_all(&[Grant { path: root.join("none"), access: Access::OperatorRead }]).expect("left out").is_empty()
        );
    }

    #[test]
    fn what_is_hidden_is_left_out_of_what_is_granted_round_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("a path");
        for folder in ["app/data/homes/k", "app/bin", "app/lib"] {
            std::fs::create_dir_all(root.join(folder)).expect("folders");
        }
        std::fs::write(root.join("app/claude"), "").expect("a file");
        std::os::unix::fs::symlink(&root, root.join("app/up")).expect("a link");
        let hidden = [root.join("app/data")];
        let mut parts = around(&root, &hidden);
        parts.sort_unstable();
        assert_eq!(parts, ["app/bin", "app/claude", "app/lib"].map(|name| root.join(name)));
        assert_eq!(around(&root.join("app/bin"), &hidden), [root.join("app/bin")]);
        assert!(around(&hidden[0], &hidden).is_empty() && around(&root.join("app/data/homes"), &hidden).is_empty());
        // What a task is given below it stays its own.
        let home = Grant { path: root.join("app/data/homes/k"), access: Access::Write };
        let all = grants_around(&[home.clone(), Grant { path: root.clone(), access: Access::OperatorRead }], &hidden);
        assert_eq!((all.len(), &all[0]), (4, &home));
    }
}
