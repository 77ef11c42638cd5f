//! Conflicts: files that two running tasks change. Pure.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

/// Tools that change a file, each with the name of its argument.
const CHANGES: [(&str, &str); 4] =
    [("Edit", "file_path"), ("Write", "file_path"), ("MultiEdit", "file_path"), ("NotebookEdit", "notebook_path")];
/// Files of one message of the model that are looked at.
const MAX_FILES: usize = 50;
/// The longest place that is kept, in bytes.
const MAX_PLACE_BYTES: usize = 1 << 10;

/// The files that the calls of a message of the model would change, as it names them.
#[must_use]
pub fn changed_files(frame: &Value) -> Vec<&str> {
    let blocks = frame["message"]["content"].as_array().into_iter().flatten();

    blocks.filter(|block| block["type"] == "tool_use").filter_map(path_of).take(MAX_FILES).collect()
}

fn path_of(call: &Value) -> Option<&str> {
    let name = call["name"].as_str()?;
    let (_, argument) = CHANGES.iter().find(|(tool, _)| *tool == name)?;
    call["input"][argument].as_str().filter(|path| !path.is_empty())
}

/// Where a file stands for all tasks of its repository or folder: `directory` is the folder of the task, and `base` what that
/// is a copy of, a folder or an address. `None` where it is outside both.
#[must_use]
pub fn place_of(path: &str, directory: &str, base: &str) -> Option<String> {
    let below = plain(&Path::new(directory).join(path))?.strip_prefix(directory).ok()?.to_str()?.to_owned();
    let place = format!("{}/{below}", base.trim_end_matches('/'));
    (!below.is_empty() && place.len() <= MAX_PLACE_BYTES).then_some(place)
}

/// The path without `.` and `..`; `None` where it leads above the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if !plain.pop() => return None,
            Component::CurDir | Component::ParentDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_of_a_worktree_has_the_place_of_its_repository() {
        let place = |path| place_of(path, "/data/worktrees/1/sub", "/repo/sub");
        assert_eq!(place("/data/worktrees/1/sub/a/b.rs").as_deref(), Some("/repo/sub/a/b.rs"));
        assert_eq!(place("./a/../c.rs").as_deref(), Some("/repo/sub/c.rs"));
        assert_eq!((place("/etc/passwd"), place("../x"), place("../../../../../x")), (None, None, None));
        assert_eq!(place_of("a", "/w/1", "https://x/y.git").as_deref(), Some("https://x/y.git/a"));
        assert_eq!(place_of("", "/w", "/w"), None);
    }

    #[test]
    fn calls_that_change_files_are_found_among_others() {
        let call = |name: &str, input: Value| json!({ "type": "tool_use", "name": name, "input": input });
        let frame = json!({ "message": { "content": [
            { "type": "text", "text": "x" },
            call("Edit", json!({ "file_path": "a" })),
            call("Read", json!({ "file_path": "b" })),
            call("NotebookEdit", json!({ "notebook_path": "c" })),
            call("Write", json!({ "file_path": 5 })),
        ] } });
        assert_eq!(changed_files(&frame), ["a", "c"]);
    }

    proptest! {
        /// Whatever a model names, a place stands below its base.
        #[test]
        fn a_place_stands_below_its_base(path in "[ab./]{0,12}") {
            if let Some(place) = place_of(&path, "/w/1", "/r") {
                let goes_up = place.split('/').any(|part| part == "..");
                prop_assert!(place.starts_with("/r/") && !goes_up, "{path}: {place}");
            }
        }
    }
}
