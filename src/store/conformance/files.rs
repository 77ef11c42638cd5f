//! Files, and their contents.

use bytes::Bytes;

use super::super::Store;
use super::super::blobs::{BlobWriter, PIECE, digest_of};
use super::super::rows::{FileRow, TaskBefore};
use super::super::views::{FindFile, ListFiles, ReadArtifacts};
use super::{begin, insert, task};
use domain::{Artifact, BlobId, FileId, Status, TaskId, Timestamp};

fn id(digit: char) -> FileId {
    digit.to_string().repeat(64).parse().expect("an id")
}

fn row(key: &str, digit: char, blob: u128, complete: bool, used: i64) -> FileRow {
    FileRow {
        key_name: key.to_owned(),
        id: id(digit),
        blob: BlobId::from_u128(blob),
        bytes: 7,
        complete,
        created_at: Timestamp(1),
        used_at: Timestamp(used),
    }
}

pub async fn contents_are_kept_piece_by_piece(store: &dyn Store) {
    let (blobs, blob, other) = (store.blobs(), BlobId::from_u128(5), BlobId::from_u128(9));
    assert_eq!(blobs.len(blob).await.expect("a read"), 0);
    assert!(blobs.read(blob, 0).await.expect("a read").is_empty());
    let bytes: Vec<u8> = (0..2 * PIECE + 100).map(|n| (n % 251) as u8).collect();
    let mut writer = BlobWriter::new(&*blobs, blob, 0);
    for part in bytes.chunks(70_000) {
        assert!(writer.add(part).await.expect("added"));
    }
    let (len, digest) = writer.finish().await.expect("stored").expect("alone");
    assert_eq!(len, bytes.len() as u64);
    assert_eq!(digest_of(&*blobs, blob).await.expect("a read"), digest);
    assert_eq!(blobs.len(blob).await.expect("a read"), len);
    for at in [0, 1, PIECE - 1, PIECE, PIECE + 7, 2 * PIECE + 99] {
        let piece = blobs.read(blob, at as u64).await.expect("a read");
        assert!(!piece.is_empty() && piece.len() <= PIECE);
        assert_eq!(piece[..], bytes[at..at + piece.len()], "from {at}");
    }
    assert!(blobs.read(blob, len).await.expect("a read").is_empty());
    // Only at its end, and by one of two.
    for (at, is_added) in [(len - 1, false), (len + 1, false), (0, false), (len, true), (len, false)] {
        assert_eq!(blobs.append(blob, at, Bytes::from_static(b"x")).await.expect("an answer"), is_added, "at {at}");
    }
    let empty = BlobWriter::new(&*blobs, other, 0).finish().await.expect("stored").expect("alone");
    assert_eq!(empty.0, 0);
    blobs.append(other, 0, Bytes::from_static(b"y")).await.expect("added");
    assert_eq!(blobs.list(BlobId::from_u128(0), 9).await.expect("a list"), [blob, other]);
    assert_eq!(blobs.list(blob, 9).await.expect("a list"), [other]);
    assert_eq!(blobs.list(BlobId::from_u128(0), 1).await.expect("a list"), [blob]);
    blobs.remove(blob).await.expect("removed");
    blobs.remove(blob).await.expect("removed before");
    assert_eq!(blobs.len(blob).await.expect("a read"), 0);
}

pub async fn a_file_is_one_keys_and_stays_while_it_is_needed(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    let mut tx = begin(store).await;
    for file in [
        row("a", '1', 11, true, 10),
        row("b", '1', 12, true, 10),
        row("a", '2', 13, false, 50),
        row("a", '3', 14, true, 99),
    ] {
        tx.put_file(&file).await.expect("stored");
    }
    tx.insert_task_file(TaskId::from_u128(1), "a", &id('1')).await.expect("noted");
    tx.insert_task_file(TaskId::from_u128(1), "a", &id('1')).await.expect("noted once");
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    assert_eq!(tx.file("a", &id('1'), false).await.expect("a read").map(|file| file.blob), Some(BlobId::from_u128(11)));
    assert_eq!(tx.file("c", &id('1'), false).await.expect("a read"), None);
    assert!(tx.file("c", &id('1'), true).await.expect("a read").is_some());
    assert_eq!(tx.file("b", &id('1'), true).await.expect("a read"), Some(row("b", '1', 12, true, 10)));
    assert_eq!(tx.user_of_file("a", &id('1')).await.expect("a read"), Some(TaskId::from_u128(1)));
    assert_eq!(tx.user_of_file("b", &id('1')).await.expect("a read"), None);
    // By their last use; the one that is not complete by another time; none that a task needs.
    let idle = async |tx: &mut Box<dyn super::super::Tx + '_>, before, incomplete| {
        let found = tx.idle_files(Timestamp(before), Timestamp(incomplete), 9).await.expect("a read");
        found.iter().map(|file| file.blob.uuid().as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(idle(&mut tx, 20, 20).await, [12]);
    assert_eq!(idle(&mut tx, 20, 60).await, [12, 13]);
    assert_eq!(idle(&mut tx, 100, 0).await, [12, 13, 14]);
    let (mut ended, epoch) = (task(1), task(1).epoch);
    ended.status = Status::Completed.into();
    assert!(tx.update_task(&ended, TaskBefore { status: Status::Pending, epoch }).await.expect("written"));
    tx.put_file(&row("a", '3', 15, true, 200)).await.expect("replaced");
    tx.remove_file("b", &id('1')).await.expect("removed");
    tx.commit().await.expect("committed");
    let mut tx = begin(store).await;
    assert_eq!(idle(&mut tx, 100, 0).await, [11, 13]);
    drop(tx);
    let reader = store.reader();
    let list = |key: Option<&str>, before: Option<u128>| ListFiles {
        key: key.map(str::to_owned),
        before: before.map(BlobId::from_u128),
        limit: 2,
    };
    let blobs = |files: Vec<FileRow>| files.iter().map(|file| file.blob.uuid().as_u128()).collect::<Vec<_>>();
    assert_eq!(blobs(reader.files(list(None, None)).await.expect("a list")), [15, 13]);
    assert_eq!(blobs(reader.files(list(Some("a"), Some(13))).await.expect("a list")), [11]);
    assert_eq!(blobs(reader.files(list(Some("b"), None)).await.expect("a list")), []);
    assert_eq!(blobs(reader.files_of_task(TaskId::from_u128(1)).await.expect("a list")), [11]);
    let find = FindFile { key: "a".to_owned(), id: id('2'), any: false };
    assert_eq!(reader.file(find).await.expect("a read"), Some(row("a", '2', 13, false, 50)));
}

pub async fn what_a_task_leaves_is_replaced_and_goes_with_it(store: &dyn Store) {
    insert(store, &[task(1)]).await;
    let artifact = |path: &str, blob, bytes| Artifact {
        path: path.to_owned(),
        blob: BlobId::from_u128(blob),
        bytes,
        sha256: id('a'),
    };
    let of = TaskId::from_u128(1);
    let put = async |artifacts: &[Artifact]| {
        let mut tx = begin(store).await;
        let before = tx.put_artifacts(of, artifacts).await.expect("stored");
        tx.commit().await.expect("committed");
        before
    };
    assert_eq!(put(&[artifact("x", 1, 5)]).await, 0);
    // In the order of their bytes, whatever the language of the server.
    let all =
        [artifact("Z", 2, 5), artifact("a", 3, 6), artifact("a b", 4, 7), artifact("a/b", 5, 8), artifact("é", 6, 9)];
    assert_eq!(put(&all).await, 5);
    let reader = store.reader();
    let read = |after: &str, limit| ReadArtifacts { task: of, after: after.to_owned(), limit };
    assert_eq!(reader.artifacts(read("", 9)).await.expect("a list"), all);
    assert_eq!(reader.artifacts(read("a", 2)).await.expect("a list"), all[2..4]);
    assert_eq!(reader.artifact(of, "a b".to_owned()).await.expect("a read"), Some(all[2].clone()));
    assert_eq!(reader.artifact(of, "x".to_owned()).await.expect("a read"), None);
    assert_eq!(reader.file_bytes().await.expect("a count"), 35);
    let blobs = [1, 3, 6, 7].map(BlobId::from_u128);
    assert_eq!(reader.unnamed_blobs(blobs.to_vec()).await.expect("a list"), [blobs[0], blobs[3]]);
    let mut tx = begin(store).await;
    tx.remove_task(of).await.expect("removed");
    tx.commit().await.expect("committed");
    assert!(reader.artifacts(read("", 9)).await.expect("a list").is_empty());
    assert!(reader.files_of_task(of).await.expect("a list").is_empty());
}
