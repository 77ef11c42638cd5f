//! Imports go down, never sideways or up; some crates and calls have one home.

use std::fs;
use std::path::{Path, PathBuf};

/// From above to below; what stands in one row may not see each other.
const LAYERS: &[&[&str]] = &[
    &["main", "app"],
    &["api", "client", "admin"],
    &["worker", "supervisor", "no_op"],
    &["queue", "claude", "git"],
    &["process", "supervise", "ipc"],
    &["task", "config", "telemetry"],
];

/// What these rows may see of their own row or above, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("main", "app", "the program is its composition root"),
    ("config", "task", "the ceiling of permissions is a mode of the domain"),
    ("telemetry", "config", "what to log is a setting"),
    ("telemetry", "process", "a line has a time, and clocks are read in process"),
    ("ipc", "process", "a peer is known by its uid"),
];

/// Crates and macros, and the only folders that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("sea_orm", &["src/queue/store/", "entity/", "migration/"]),
    ("rusqlite", &["src/queue/store/"]),
    ("use entity", &["src/queue/store/"]),
    ("actix_web", &["src/api/"]),
    ("interprocess", &["src/ipc/"]),
    ("Command::new", &["src/process/"]),
    ("env::var", &["src/config/"]),
    ("anyhow", &["src/main.rs", "src/app.rs", "src/client/", "src/admin/"]),
];

fn sources(folder: &Path) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).expect("inside").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a file")));
            }
        }
    }
    found
}

/// The code of a file, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default())
}

fn layer(part: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&part))
}

#[test]
fn imports_go_down() {
    let mut wrong = Vec::new();
    for (name, text) in sources(Path::new("src")) {
        let part = name.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default().to_owned();
        let Some(own) = layer(&part) else { continue };
        let code: String = code(&text).collect::<Vec<_>>().join("\n");
        for used in code.split("crate::").skip(1).chain(code.split("cc_anywhere::").skip(1)) {
            let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(below) = layer(&used) else { continue };
            let allowed = EXCEPTIONS.iter().any(|(from, to, _)| *from == part && *to == used);
            if used != part && below <= own && !allowed {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_and_calls_stay_in_their_homes() {
    let mut wrong = Vec::new();
    for (name, text) in sources(Path::new("src")) {
        for (what, homes) in HOMES {
            if !homes.iter().any(|home| name.starts_with(home)) && code(&text).any(|line| line.contains(what)) {
                wrong.push(format!("{name} names {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_begins_with_its_page() {
    for folder in ["src", "entity/src", "migration/src", "tests"] {
        for (name, text) in sources(Path::new(folder)) {
            assert!(text.starts_with("//!"), "{name} has no page");
        }
    }
}
