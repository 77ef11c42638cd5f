//! Parsers of git's output. Pure.

use serde::{Deserialize, Serialize};

/// A commit of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Name.
    pub commit: String,
    /// Author of the commit.
    pub author: String,
    /// Time in RFC 3339.
    pub at: String,
    /// The first line of its message.
    pub subject: String,
}

/// A file that a task has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Path from the top of the repository.
    pub path: String,
    /// `added`, `modified`, `deleted`, or git's own letter.
    pub status: String,
    /// Lines; none where it is no text.
    pub additions: Option<i64>,
    /// Lines; none where it is no text.
    pub deletions: Option<i64>,
}

/// The format of `git log` that [`commits`] reads.
pub const LOG_FORMAT: &str = "--format=%H%x00%an%x00%aI%x00%s%x00";

/// `git log` in [`LOG_FORMAT`].
pub fn commits(printed: &[u8]) -> Vec<Commit> {
    let text = String::from_utf8_lossy(printed);
    let fields: Vec<&str> = text.split('\0').map(|field| field.trim_start_matches('\n')).collect();
    let commit = |four: &[&str]| Commit {
        commit: four[0].to_owned(),
        author: four[1].to_owned(),
        at: four[2].to_owned(),
        subject: four[3].to_owned(),
    };
    fields.chunks_exact(4).map(commit).collect()
}

/// `git diff --name-status -z --no-renames` and `git diff --numstat -z --no-renames`, of the same two trees.
pub fn files(name_status: &[u8], numstat: &[u8]) -> Vec<File> {
    let text = String::from_utf8_lossy(numstat);
    let counts: std::collections::HashMap<&str, (Option<i64>, Option<i64>)> = text
        .split('\0')
        .filter_map(|entry| {
            let mut fields = entry.splitn(3, '\t');
            let (added, deleted, path) = (fields.next()?, fields.next()?, fields.next()?);
            Some((path, (added.parse().ok(), deleted.parse().ok())))
        })
        .collect();
    let text = String::from_utf8_lossy(name_status);
    let fields: Vec<&str> = text.split('\0').collect();
    let file = |pair: &[&str]| {
        let (additions, deletions) = counts.get(pair[1]).copied().unwrap_or_default();
        let status = match pair[0] {
            "A" => "added",
            "M" => "modified",
            "D" => "deleted",
            other => other,
        };
        File { path: pair[1].to_owned(), status: status.to_owned(), additions, deletions }
    };
    fields.chunks_exact(2).map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_anything_in_them_are_read() {
        let status = b"M\0a b\tc\0A\0new\nline\0D\0gone\0";
        let numbers = b"1\t2\ta b\tc\0-\t-\tnew\nline\x000\t7\tgone\0";
        let read = files(status, numbers);
        let seen: Vec<_> = read.iter().map(|file| (file.path.as_str(), file.status.as_str(), file.additions)).collect();
        assert_eq!(seen, [("a b\tc", "modified", Some(1)), ("new\nline", "added", None), ("gone", "deleted", Some(0))]);
        assert!(files(b"", b"").is_empty());
    }

    #[test]
    fn commits_are_read() {
        let read = commits(b"abc\0Ann\x002026-01-31T08:15:00+00:00\0mend it\0\ndef\0Bob\0x\0\0");
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].subject.as_str(), read[1].commit.as_str()), ("mend it", "def"));
        assert!(commits(b"").is_empty());
    }
}
