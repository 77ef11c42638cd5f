//! The high-water mark: beside the database, the number of the newest commit in its history. A
//! database that is behind its mark has lost something, whatever it says of itself: a WAL that
//! was cut or left behind in a copy, or an old copy that was put back.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Returns the file in which the mark of a database is kept.
fn file_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-mark");
    name.into()
}

/// Returns the mark of a database. `None` where there is none, or it was torn while it was written.
pub fn read(database: &Path) -> Option<i64> {
    let text = std::fs::read_to_string(file_of(database)).ok()?;
    let (number, sum) = text.trim().split_once(' ')?;
    (checksum(number) == sum).then(|| number.parse().ok()).flatten()
}

/// Writes the mark in place and always of one length: what is torn fails its checksum, and counts as none.
pub fn write(database: &Path, number: i64) -> std::io::Result<()> {
    let text = format!("{number:020}");
    let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(file_of(database))?;
    fail::fail_point!("mark-write");
    file.write_all_at(format!("{text} {}\n", checksum(&text)).as_bytes(), 0)?;
    file.sync_data()
}

fn checksum(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}
