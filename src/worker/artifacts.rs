//! The files that a task leaves: found below its folder by its patterns, and stored before its end is reported. No link is
//! followed, and no file is taken that has a second name elsewhere: what is kept was in the folder.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, statat};

use super::set_up::{DISK_LIMIT, WorkerContext};
use crate::process;
use crate::store::StoreError;
use crate::store::blobs::{BlobWriter, PIECE};
use crate::telemetry::chain;
use domain::{Artifact, BlobId};
use wire::Patterns;

/// Maximum number of files that a task leaves.
const MOST: usize = 1_000;
/// Maximum number of names that are looked at.
const MAX_SEEN: usize = 200_000;
/// Maximum number of folders above a file.
const MAX_DEPTH: usize = 64;
/// Files that are named which are left out.
const MAX_NAMED: usize = 10;
/// Time within which all of them are stored: the end of the task waits for it.
const TIME: Duration = Duration::from_secs(300);

/// What a task leaves.
#[derive(Default)]
pub struct Found {
    /// Files that are stored.
    pub artifacts: Vec<Artifact>,
    /// What was left out, and why: the first of it.
    left_out: Vec<String>,
    left_out_count: usize,
}

impl Found {
    /// What was found, in words.
    pub fn line(&self) -> String {
        let bytes: i64 = self.artifacts.iter().map(|one| one.bytes).sum();
        let mut line = format!("{} files are kept, {bytes} bytes", self.artifacts.len());
        if self.left_out_count > 0 {
            line.push_str(&format!("; {} left out: {}", self.left_out_count, self.left_out.join(", ")));
        }
        line
    }

    fn leave_out(&mut self, path: &str, why: &str) {
        self.left_out_count += 1;
        if self.left_out.len() < MAX_NAMED {
            self.left_out.push(format!("{path} ({why})"));
        }
    }
}

/// Stores the files below this folder that the patterns include.
///
/// # Errors
/// Why none could be.
pub async fn collect(tools: &WorkerContext, directory: &Path, patterns: Patterns) -> io::Result<Found> {
    let (until, directory) = (Instant::now() + TIME, directory.to_owned());
    let look = move || {
        let root = process::open_folder(CWD, &directory)?;
        let mut found = Found::default();
        let paths = find(&root, &patterns, &mut found)?;
        Ok::<_, io::Error>((Arc::new(root), paths, found))
    };
    let (root, paths, mut found) = process::blocking(DISK_LIMIT, look).await??;
    let mut room = tools.files.artifact_bytes;
    for path in paths {
        if found.artifacts.len() == MOST {
            found.leave_out(&path, "there are too many");
            continue;
        }
        match store(tools, &root, &path, room, until).await {
            Ok(artifact) => {
                room -= artifact.bytes.unsigned_abs();
                found.artifacts.push(artifact);
            }
            Err(why) => found.leave_out(&path, &why),
        }
    }
    Ok(found)
}

/// The paths of plain files that the patterns include, in order.
fn find(root: &OwnedFd, patterns: &Patterns, found: &mut Found) -> io::Result<Vec<String>> {
    let (mut paths, mut seen) = (Vec::new(), 0);
    let mut folders = VecDeque::from([PathBuf::new()]);
    while let Some(below) = folders.pop_front() {
        let here = if below.as_os_str().is_empty() { Path::new(".") } else { &below };
        let folder = match process::open_folder(root, here) {
            Ok(folder) => folder,
            Err(error) => {
                found.leave_out(&below.to_string_lossy(), &error.to_string());
                continue;
            }
        };
        for entry in Dir::read_from(&folder)?.flatten() {
            let name = OsStr::new(entry.file_name().to_str().unwrap_or_default()).to_owned();
            if [".", "..", ".git"].map(OsStr::new).contains(&name.as_os_str()) {
                continue;
            }
            seen += 1;
            if seen > MAX_SEEN {
                found.leave_out("the rest", "the folder has too many names");
                paths.sort_unstable();
                return Ok(paths);
            }
            let path = below.join(&name);
            let Some(text) = path.to_str().filter(|_| !name.is_empty()) else {
                found.leave_out(&below.join(OsStr::new("?")).to_string_lossy(), "its name is no UTF-8");
                continue;
            };
            let kind =
                statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).map(|found| FileType::from_raw_mode(found.st_mode));
            match kind {
                Ok(FileType::Directory) if may_have(&path, patterns) => folders.push_back(path),
                Ok(FileType::RegularFile) if patterns.include(text) => paths.push(text.to_owned()),
                Ok(FileType::Symlink) if patterns.include(text) => found.leave_out(text, "it is a link"),
                _ => {}
            }
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// True if a folder may have files that the patterns include.
fn may_have(folder: &Path, patterns: &Patterns) -> bool {
    let leads = |begin: &String| folder.starts_with(begin) || Path::new(begin).starts_with(folder);
    folder.components().count() < MAX_DEPTH && patterns.folders.iter().any(leads)
}

/// Stores one file, or says why it can't be.
async fn store(
    tools: &WorkerContext,
    root: &Arc<OwnedFd>,
    path: &str,
    room: u64,
    until: Instant,
) -> Result<Artifact, String> {
    let (from, named) = (Arc::clone(root), PathBuf::from(path));
    let open = move || {
        let file = process::open_file(&*from, &named)?;
        let found = file.metadata()?;
        Ok::<_, io::Error>((file, found.len(), found.nlink()))
    };
    let opened = process::blocking(DISK_LIMIT, open).await.and_then(|opened| opened);
    let (file, bytes, names) = opened.map_err(|error| error.to_string())?;
    if names > 1 {
        return Err("it has another name (a hard link)".to_owned());
    }
    if bytes > room {
        return Err(format!("it has {bytes} bytes, and {room} are left (TASK_ARTIFACT_BYTES)"));
    }
    let blob = BlobId::new();
    let stored = copy(tools, Arc::new(file), blob, bytes, until).await;
    if stored.is_err()
        && let Err(error) = tools.blobs.remove(blob).await
    {
        tracing::debug!(error = chain(&error), "a part of a file stays for now");
    }
    let (bytes, sha256) = stored?;
    Ok(Artifact { path: path.to_owned(), blob, bytes, sha256 })
}

/// Copies at most `most` bytes: a file that others go on writing ends there.
async fn copy(
    tools: &WorkerContext,
    file: Arc<File>,
    blob: BlobId,
    most: u64,
    until: Instant,
) -> Result<(i64, domain::FileId), String> {
    let failed = |error: StoreError| chain(&error);
    let (mut writer, mut at) = (BlobWriter::new(&*tools.blobs, blob, 0), 0);
    while at < most {
        if Instant::now() > until {
            return Err(format!("it could not be stored within {} s", TIME.as_secs()));
        }
        let (from, len) = (Arc::clone(&file), usize::try_from(most - at).unwrap_or(usize::MAX).min(PIECE));
        let read = move || {
            let mut piece = vec![0; len];
            let read = from.read_at(&mut piece, at)?;
            piece.truncate(read);
            Ok::<_, io::Error>(piece)
        };
        let piece = process::blocking(DISK_LIMIT, read).await.and_then(|read| read);
        let piece = piece.map_err(|error| error.to_string())?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        writer.add(&piece).await.map_err(failed)?;
    }
    let finished = writer.finish().await.map_err(failed)?;
    finished.map(|(bytes, id)| (bytes.cast_signed(), id)).ok_or_else(|| "its place was taken".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_found_is_a_plain_file_below_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().canonicalize().expect("a path");
        let outside = tempfile::tempdir().expect("another folder");
        std::fs::write(outside.path().join("secret"), "x").expect("a file");
        for made in ["out/a/b", "out/.git", "src", "else"] {
            std::fs::create_dir_all(top.join(made)).expect("a folder");
        }
        for made in ["out/a/b/one.txt", "out/two.txt", "out/.git/config", "src/three.txt", "four.log"] {
            std::fs::write(top.join(made), made).expect("a file");
        }
        symlink(outside.path().join("secret"), top.join("out/link")).expect("a link");
        symlink(outside.path(), top.join("out/folder")).expect("a link");
        rustix::fs::mknodat(CWD, top.join("out/pipe"), FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        let root = process::open_folder(CWD, &top).expect("a folder");
        let patterns = Patterns::of("artifacts", &["out/**".to_owned(), "*.log".to_owned()]).expect("patterns");
        let mut found = Found::default();
        let paths = find(&root, &patterns, &mut found).expect("a look");
        assert_eq!(paths, ["four.log", "out/a/b/one.txt", "out/two.txt"]);
        assert_eq!(found.left_out_count, 2, "{:?}", found.left_out);
    }
}
