//! Files that clients send, and those that tasks leave.

use super::{Change, Unit};
use crate::queue::Concern;
use crate::queue::files::{FilePut, FileRemoved, PutFile, RemoveFile, RemoveIdleFiles};
use crate::queue::messages::{NewTask, Submitted};
use crate::store::StoreError;
use crate::store::rows::FileRow;
use audit::{HistoryEvent, NamedFile};
use domain::{Artifact, BlobId, FileId, TaskId};
use wire::ContextFile;

/// Files of one transaction: others wait for its end.
const BATCH: i64 = 200;

impl Change for PutFile {
    type Answer = FilePut;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<FilePut, StoreError> {
        let known = unit.tx.file(&self.key, &self.id, false).await?;
        if let Some(mut known) = known.clone().filter(|known| known.complete || !self.complete) {
            known.used_at = unit.now;
            unit.tx.put_file(&known).await?;
            return Ok(FilePut::Known(known));
        }
        let counted = known.as_ref().map_or(0, |known| known.bytes);
        if known.is_none()
            && let Some(most) = self.max_stored_bytes
        {
            let used = unit.tx.key_use(&self.key, unit.now.day_start(), 0).await?.bytes;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            if used.saturating_add(self.bytes) > most {
                return Ok(FilePut::KeyLimit { most });
            }
        }
        let row = FileRow {
            key_name: self.key.clone(),
            id: self.id.clone(),
            blob: self.blob,
            bytes: self.bytes,
            complete: self.complete,
            created_at: unit.now,
            used_at: unit.now,
        };
        unit.tx.put_file(&row).await?;
        unit.count_bytes(&self.key, self.bytes - counted);
        if self.complete {
            unit.record(&HistoryEvent::PutFile { file: name_of(&row) });
        }
        Ok(FilePut::Stored(row))
    }
}

fn name_of(row: &FileRow) -> NamedFile {
    NamedFile { key: row.key_name.clone(), id: row.id.clone() }
}

impl Change for RemoveFile {
    type Answer = FileRemoved;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<FileRemoved, StoreError> {
        let found = unit.tx.file(&self.key, &self.id, false).await?;
        let Some(row) = found.filter(|row| row.blob == self.blob) else { return Ok(FileRemoved::Unknown) };
        if let Some(task) = unit.tx.user_of_file(&self.key, &self.id).await? {
            return Ok(FileRemoved::InUse(task));
        }
        remove(unit, &row).await?;
        Ok(FileRemoved::Done(row))
    }
}

impl Change for RemoveIdleFiles {
    type Answer = Vec<BlobId>;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Vec<BlobId>, StoreError> {
        let idle = unit.tx.idle_files(self.before, self.incomplete_before, BATCH).await?;
        for row in &idle {
            remove(unit, row).await?;
        }
        Ok(idle.iter().map(|row| row.blob).collect())
    }
}

async fn remove(unit: &mut Unit<'_>, row: &FileRow) -> Result<(), StoreError> {
    unit.tx.remove_file(&row.key_name, &row.id).await?;
    unit.count_bytes(&row.key_name, -row.bytes);
    if row.complete {
        unit.record(&HistoryEvent::RemoveFile { file: name_of(row) });
    }
    Ok(())
}

/// The files that a new task names, or why it can't be stored.
pub async fn of_new(unit: &mut Unit<'_>, new: &NewTask) -> Result<Result<Vec<FileRow>, Submitted>, StoreError> {
    let mut rows: Vec<FileRow> = Vec::new();
    for id in named(new) {
        match unit.tx.file(&new.key, id, new.sees_all).await?.filter(|row| row.complete) {
            Some(row) if !rows.contains(&row) => rows.push(row),
            Some(_) => {}
            None => return Ok(Err(Submitted::NoFile(id.clone()))),
        }
    }
    Ok(Ok(rows))
}

fn named(new: &NewTask) -> impl Iterator<Item = &FileId> {
    new.spec.context.files.iter().filter_map(|file| match file {
        ContextFile::Sent(sent) => Some(&sent.file_id),
        ContextFile::Path(_) | ContextFile::Upload(_) => None,
    })
}

/// Notes which files a new task names: they stay until it has ended.
pub async fn store(unit: &mut Unit<'_>, task: TaskId, files: Vec<FileRow>) -> Result<(), StoreError> {
    for mut row in files {
        unit.tx.insert_task_file(task, &row.key_name, &row.id).await?;
        row.used_at = unit.now;
        unit.tx.put_file(&row).await?;
    }
    Ok(())
}

/// What the history says that a new task names.
pub fn names(files: &[FileRow]) -> Vec<NamedFile> {
    files.iter().map(name_of).collect()
}

/// Stores what a task has left, in place of what an attempt before has left.
pub async fn keep_artifacts(
    unit: &mut Unit<'_>,
    task: TaskId,
    key: &str,
    artifacts: &[Artifact],
) -> Result<(), StoreError> {
    let before = unit.tx.put_artifacts(task, artifacts).await?;
    let bytes: i64 = artifacts.iter().map(|one| one.bytes).sum();
    unit.count_bytes(key, bytes - before);
    Ok(())
}
