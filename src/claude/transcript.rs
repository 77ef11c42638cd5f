//! The files in which the CLI writes its sessions down: `projects/<folder>/<session>.jsonl` below its
//! configuration, a JSON object a line. Only the CLI writes them; we look where they are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use domain::SessionId;

use crate::config::Claude;

/// Length that is read of a file, in bytes. The first message stands near its beginning.
const LOOK_BYTES: u64 = 8 << 20;

/// A session that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    directory: Option<PathBuf>,
}

impl Transcript {
    /// Folder in which the conversation is held and can go on: nowhere else does the CLI find it.
    #[must_use]
    pub const fn directory(&self) -> Option<&PathBuf> {
        self.directory.as_ref()
    }

    /// True if there is anything to go on with. A file of preliminaries alone (the CLI was killed
    /// early) is to the CLI no conversation, and yet its id is in use.
    #[must_use]
    pub const fn has_messages(&self) -> bool {
        self.directory.is_some()
    }
}

/// Returns the file of this session's transcript. Blocks.
fn file_of(claude: &Claude, session: SessionId) -> Option<PathBuf> {
    let projects = std::fs::read_dir(claude.config_dir.as_ref()?.join("projects")).ok()?;
    let mut files = projects.flatten().map(|project| project.path().join(format!("{session}.jsonl")));
    files.find(|path| path.is_file())
}

/// Copies a session to where the CLI looks for it from this folder: its own folder below `projects` has the name of
/// the working directory with `-` for whatever is no letter or digit. Blocks. What is there already stays.
///
/// # Errors
/// There is no such session, or the file can't be copied.
pub fn move_transcript(claude: &Claude, session: SessionId, directory: &Path) -> io::Result<()> {
    let from = file_of(claude, session).ok_or(io::ErrorKind::NotFound)?;
    let projects = from.parent().and_then(Path::parent).ok_or(io::ErrorKind::NotFound)?;
    let name: String =
        directory.to_string_lossy().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let folder = projects.join(name);
    let to = folder.join(format!("{session}.jsonl"));
    if to.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&folder)?;
    let mut fresh = tempfile::NamedTempFile::new_in(&folder)?;
    io::copy(&mut File::open(&from)?, &mut fresh)?;
    fresh.persist(to)?;
    Ok(())
}

/// Reads the transcript of this session. `None` where there is no file on this machine. Blocks.
#[must_use]
pub fn transcript(claude: &Claude, session: SessionId) -> Option<Transcript> {
    let file = File::open(file_of(claude, session)?).ok()?;
    let lines = BufReader::new(file.take(LOOK_BYTES)).lines().map_while(Result::ok);
    let message = lines
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|line| line["type"] == "user" || line["type"] == "assistant");
    Some(Transcript { directory: message.and_then(|line| line["cwd"].as_str().map(PathBuf::from)) })
}
