//! Beginnings and ends of process trees, as their shims saw them: one line each, in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{OpenTreeFlags, open_tree};

use audit::TreeLine;

/// A file of this size gives way to a new one; one old file is kept. Some 100,000 attempts.
const MAX_BYTES: u64 = 32 << 20;

/// The file of a data folder.
#[must_use]
pub fn tree_log(data_dir: &Path) -> PathBuf {
    data_dir.join("trees.log")
}

fn older(file: &Path) -> PathBuf {
    file.with_extension("log.1")
}

/// The file, open to add lines to it.
#[derive(Debug)]
pub struct TreeLog {
    file: File,
    /// The mount that it was opened in. To close it the kernel waits for all processors, so it stays until the end.
    _apart: Option<OwnedFd>,
}

/// Opens the file, to add lines to it; a large one gives way to a new one.
///
/// # Errors
/// The system's.
pub fn open_tree_log(file: &Path) -> io::Result<TreeLog> {
    if std::fs::metadata(file).is_ok_and(|found| found.len() > MAX_BYTES) {
        std::fs::rename(file, older(file))?;
    }
    open_apart(file).or_else(|_| {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
        Ok(TreeLog { file, _apart: None })
    })
}

/// Opens it in a mount that stands nowhere: the one that it stands in can become read-only while it is open.
fn open_apart(file: &Path) -> io::Result<TreeLog> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let apart = open_tree(CWD, folder, flags)?;
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&apart, name, flags, Mode::RUSR | Mode::WUSR)?.into();
    Ok(TreeLog { file, _apart: Some(apart) })
}

impl TreeLog {
    /// Adds a line. One write, so that lines of several shims don't mix.
    ///
    /// # Errors
    /// The system's.
    pub fn note(&self, line: &TreeLine) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        (&self.file).write_all(text.as_bytes())
    }
}

/// Every line, oldest first; what can't be read (a machine that stopped in the middle of one)
/// is left out.
#[must_use]
pub fn read_trees(file: &Path) -> Vec<TreeLine> {
    let files = [older(file), file.to_owned()];
    let lines = files.iter().filter_map(|file| File::open(file).ok()).flat_map(|file| BufReader::new(file).lines());
    lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect()
}
