//! The room that folders take.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Files and folders that are looked at; further ones are not counted.
const MAX_FILES: u64 = 2_000_000;

/// Bytes on the disk of everything below some folders. Links are not followed.
#[must_use]
pub fn folder_size(mut folders: Vec<PathBuf>) -> u64 {
    let (mut bytes, mut files) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            bytes += found.blocks() * 512;
            files += 1;
            if files > MAX_FILES {
                return bytes;
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}
