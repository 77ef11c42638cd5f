//! `cc-anywhere files`, `cc-anywhere artifacts`: files that are sent for tasks, and those that tasks leave.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use domain::FileId;
use sha2::{Digest as _, Sha256};
use wire::response::{ArtifactView, Artifacts as ArtifactPage, FileRemoved, FileView, Files as FilePage};

use super::http::{Server, encode};
use super::ids;
use super::print::{Output, refusal};
use super::table::{self, Cell, Column, number, path, whole};

const COLUMNS: &[Column] = &[whole("FILE"), number("BYTES"), number("RECEIVED"), whole("LAST USED")];
const ARTIFACT_COLUMNS: &[Column] = &[number("BYTES"), path("PATH", 10)];
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Commands for files that are sent for tasks; without one they are listed.
#[derive(Debug, clap::Args)]
pub struct Files {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a file, or go on with one that broke off; prints its id, which context.files names
    Send {
        /// The file
        file: PathBuf,
    },
    /// Write a file that was sent to standard output, or to a file
    Get {
        /// Its id
        id: FileId,
        /// The file to make
        #[arg(long, short)]
        to: Option<PathBuf>,
    },
    /// Remove a file
    Remove {
        /// Its id
        id: FileId,
    },
}

/// The files that a task has left.
#[derive(Debug, clap::Args)]
pub struct Artifacts {
    /// The task
    #[arg(add = clap_complete::ArgValueCompleter::new(ids::complete))]
    id: String,
    /// Write them below this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "zip")]
    to: Option<PathBuf>,
    /// Write them into this archive
    #[arg(long, value_name = "FILE")]
    zip: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached, or a file not be read or written.
pub fn run(server: &Server, args: &Files) -> anyhow::Result<u8> {
    match &args.command {
        None => args.output.answer(&server.ask("GET", "/api/files?limit=100")?, |page: &FilePage| {
            table::print(COLUMNS, &page.files.iter().map(row).collect::<Vec<_>>());
        }),
        Some(Command::Send { file }) => {
            let sent = send(server, file)?;
            println!("{}", sent.file_id);
            Ok(0)
        }
        Some(Command::Get { id, to }) => {
            save(server, &format!("/api/files/{id}/content"), to.as_deref())?;
            Ok(0)
        }
        Some(Command::Remove { id }) => {
            let gone = server.ask("DELETE", &format!("/api/files/{id}"))?;
            args.output.answer(&gone, |gone: &FileRemoved| println!("removed; {} bytes", gone.bytes))
        }
    }
}

fn row(file: &FileView) -> Vec<Cell> {
    vec![
        file.file_id.to_string().into(),
        file.bytes.to_string().into(),
        file.received.to_string().into(),
        file.used_at.to_string().into(),
    ]
}

/// Sends a file, from where it broke off. One that the server has is not sent again.
///
/// # Errors
/// It can't be read, or the server refuses it.
pub fn send(server: &Server, path: &Path) -> anyhow::Result<FileView> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("can't open {shown}"))?;
    let (id, bytes) = digest(&mut file).with_context(|| format!("can't read {shown}"))?;
    let address = format!("/api/files/{id}");
    let known = server.ask("GET", &address)?;
    let known = if known.ok { Some(known.content::<FileView>()?) } else { None };
    if let Some(known) = known.as_ref().filter(|known| known.complete) {
        return Ok(known.clone());
    }
    // At least the last byte: the server may have all of them, and not have noted it.
    let first = known.map_or(0, |known| known.received.unsigned_abs()).min(bytes.saturating_sub(1));
    file.seek(SeekFrom::Start(first))?;
    let range = (bytes > 0).then(|| format!("bytes {first}-{}/{bytes}", bytes.saturating_sub(1)));
    let reply = match range {
        Some(range) => server.send_file("PUT", &address, file, &[("content-range", &range)])?,
        None => server.send_file("POST", "/api/files", file, &[])?,
    };
    if !reply.ok {
        bail!("{shown}: {}", refusal(&reply));
    }
    reply.content()
}

fn digest(file: &mut File) -> std::io::Result<(FileId, u64)> {
    let (mut digest, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            let id = hex::encode(digest.finalize()).parse().map_err(std::io::Error::other)?;
            return Ok((id, bytes));
        }
        digest.update(&piece[..read]);
        bytes += read as u64;
    }
}

/// Writes an answer to a file, or to standard output.
fn save(server: &Server, address: &str, to: Option<&Path>) -> anyhow::Result<()> {
    let mut content = match server.stream(address)? {
        Ok(content) => content,
        Err(reply) => bail!("{}", refusal(&reply)),
    };
    match to {
        Some(path) => {
            let shown = path.display();
            let mut file = File::create(path).with_context(|| format!("can't make {shown}"))?;
            std::io::copy(&mut content, &mut file).with_context(|| format!("can't write {shown}"))?;
        }
        None => {
            let mut out = std::io::stdout().lock();
            std::io::copy(&mut content, &mut out)?;
            out.flush()?;
        }
    }
    Ok(())
}

/// Lists what a task has left, or writes it. Returns the exit code.
///
/// # Errors
/// The server can't be reached, or a file not be written.
pub fn run_artifacts(server: &Server, args: &Artifacts) -> anyhow::Result<u8> {
    let task = ids::resolve(server, &args.id)?;
    if let Some(archive) = &args.zip {
        save(server, &format!("/api/tasks/{task}/artifacts.zip"), Some(archive))?;
        return Ok(0);
    }
    let Some(folder) = &args.to else {
        let page = server.ask("GET", &format!("/api/tasks/{task}/artifacts?limit=1000"))?;
        return args.output.answer(&page, |page: &ArtifactPage| {
            let row = |one: &ArtifactView| vec![one.bytes.to_string().into(), one.path.as_str().into()];
            table::print(ARTIFACT_COLUMNS, &page.artifacts.iter().map(row).collect::<Vec<Vec<Cell>>>());
        });
    };
    let mut cursor = String::new();
    loop {
        let reply = server.ask("GET", &format!("/api/tasks/{task}/artifacts?limit=1000&cursor={}", encode(&cursor)))?;
        if !reply.ok {
            bail!("{}", refusal(&reply));
        }
        let page: ArtifactPage = reply.content()?;
        for one in &page.artifacts {
            let to = below(folder, &one.path)?;
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).with_context(|| format!("can't make {}", parent.display()))?;
            }
            let address = format!("/api/tasks/{task}/artifacts/content?path={}", encode(&one.path));
            save(server, &address, Some(&to))?;
            println!("{}", to.display());
        }
        match page.next_cursor {
            Some(next) => cursor = next,
            None => return Ok(0),
        }
    }
}

/// A path of a server's answer below a folder. It may lead nowhere else.
fn below(folder: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let is_plain = !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_plain {
        bail!("the server names a file outside the folder: {path:?}");
    }
    Ok(folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_names_stays_below_the_folder() {
        assert_eq!(below(Path::new("/t"), "out/a.txt").expect("a path"), Path::new("/t/out/a.txt"));
        for bad in ["", "/etc/passwd", "../a", "a/../../b", "./a"] {
            assert!(below(Path::new("/t"), bad).is_err(), "{bad:?}");
        }
    }
}
