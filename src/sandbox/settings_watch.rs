//! A watch over the settings of the system.
//!
//! Rules that were made before a task name files, and hold as long as the same files stand there, for the same readers. To
//! look at each of some hundred files when the task comes would take longer than to start it. So the worker watches the
//! folder, and says whether anything has changed. It is the worker that does, not each shim: for the end of a watch the
//! kernel waits some ten milliseconds.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::system;

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub struct SettingsWatch(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// `None` where there is nothing to be watched.
    events: Option<OwnedFd>,
    /// Held while the events are read: nobody is told the number from before them meanwhile.
    changes: Mutex<u64>,
}

impl SettingsWatch {
    /// Begins to watch, as far as the system allows it: a user may have a number of watches.
    #[must_use]
    pub fn begin() -> Self {
        Self::of(system::settings())
    }

    /// Watches this folder; the state where there is none is always the same.
    pub(crate) fn of(folder: Option<&Path>) -> Self {
        let events = folder.map(watch).transpose();
        let events = events.inspect_err(|error| tracing::debug!(%error, "the settings of the system can't be watched"));
        Self(events.ok().map(|events| Arc::new(Inner { events, changes: Mutex::default() })))
    }

    /// Number of the state in which the settings are: another one after each change of the files in the folder, or of who
    /// may read them. `None` where it is not known.
    #[must_use]
    pub fn state(&self) -> Option<u64> {
        let Inner { events, changes } = self.0.as_deref()?;
        let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        // It is only of interest that there are some.
        let mut buffer = [0; 4096];
        while events.as_ref().is_some_and(|events| rustix::io::read(events, &mut buffer).is_ok()) {
            *changes += 1;
        }
        Some(*changes)
    }
}

fn watch(folder: &Path) -> io::Result<OwnedFd> {
    let changes = WatchFlags::ATTRIB | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
    let of_itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&events, folder, changes | of_itself)?;
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, hard_link, remove_file, rename, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn whatever_changes_the_files_of_a_folder_is_noticed() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("a new file", |folder| write(folder.join("new"), "x").expect("written")),
            ("a new link", |folder| symlink("/", folder.join("link")).expect("a link")),
            ("another name", |folder| hard_link(folder.join("a"), folder.join("c")).expect("a link")),
            ("another file in its place", |folder| rename(folder.join("a"), folder.join("b")).expect("renamed")),
            ("a file that is gone", |folder| remove_file(folder.join("a")).expect("removed")),
            ("a mode", |folder| set_permissions(folder.join("a"), Permissions::from_mode(0o600)).expect("changed")),
            ("the folder itself", |folder| rename(folder, folder.with_extension("old")).expect("renamed")),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().expect("a folder");
            let folder = dir.path().join("etc");
            std::fs::create_dir(&folder).expect("a folder");
            for name in ["a", "b"] {
                write(folder.join(name), "x").expect("written");
            }
            let watch = SettingsWatch::of(Some(&folder));
            let before = watch.state().expect("a watch");
            std::fs::read(folder.join("a")).expect("read");
            write(folder.join("b"), "y").expect("written");
            assert_eq!(watch.state(), Some(before), "who is in the folder, and who may read it, is the same");
            change(&folder);
            let after = watch.state();
            assert_ne!(after, Some(before), "{what}");
            assert_eq!(after, watch.state(), "one change is one");
        }
    }

    #[test]
    fn what_can_not_be_watched_is_not_known_and_what_need_not_be_is() {
        assert_eq!(SettingsWatch::of(Some(Path::new("/no such folder"))).state(), None);
        let watch = SettingsWatch::of(None);
        assert!(watch.state().is_some() && watch.state() == watch.state());
    }
}
