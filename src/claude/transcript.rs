//! The files in which the CLI writes its sessions down: `projects/<folder>/<session>.jsonl` below its
//! configuration, a JSON object a line. Only the CLI writes them; we look where they are.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use serde_json::Value;
use uuid::Uuid;

use crate::config::Claude;

/// What we read of a file. The first message stands near its beginning.
const LOOK_BYTES: u64 = 8 << 20;

/// A session that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    directory: Option<PathBuf>,
}

impl Transcript {
    /// Where its conversation is held, and can go on: nowhere else does the CLI find it.
    #[must_use]
    pub const fn directory(&self) -> Option<&PathBuf> {
        self.directory.as_ref()
    }

    /// Whether there is anything to go on with. A file of preliminaries alone (the CLI was killed
    /// early) is to the CLI no conversation, and yet its id is in use.
    #[must_use]
    pub const fn has_messages(&self) -> bool {
        self.directory.is_some()
    }
}

/// What was written of this session. `None` where there is no file, on this machine.
#[must_use]
pub fn transcript(claude: &Claude, session: Uuid) -> Option<Transcript> {
    let projects = std::fs::read_dir(claude.config_dir.as_ref()?.join("projects")).ok()?;
    let file = projects
        .flatten()
        .map(|project| project.path().join(format!("{session}.jsonl")))
        .find_map(|path| File::open(path).ok())?;
    let lines = BufReader::new(file.take(LOOK_BYTES)).lines().map_while(Result::ok);
    let message = lines
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|line| line["type"] == "user" || line["type"] == "assistant");
    Some(Transcript { directory: message.and_then(|line| line["cwd"].as_str().map(PathBuf::from)) })
}
