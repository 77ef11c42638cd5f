//! Lines with a bound: the CLI prints lines of megabytes, and a broken one could print without
//! end.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line, or what is left of one that was too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The line without its newline; bytes that are no UTF-8 are replaced.
    Whole(String),
    /// A line of more bytes than are read.
    TooLong {
        /// Number of bytes that it had.
        bytes: usize,
        /// Beginning of the line.
        head: String,
        /// End of the line.
        tail: String,
    },
}

impl Line {
    /// Bytes that were read for it.
    #[must_use]
    pub const fn read(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::TooLong { bytes, .. } => *bytes,
        }
    }

    /// Bytes that it holds in memory.
    #[must_use]
    pub const fn held(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::TooLong { head, tail, .. } => head.len() + tail.len(),
        }
    }
}

/// Length that is kept of the beginning and of the end of a line that is too long, in bytes.
const ENDS: usize = 64 << 10;

/// Reads the next line, of at most `limit` bytes; `None` at the end of the stream. Memory
/// stays within the limit however long the line is.
///
/// # Errors
/// The stream's.
pub async fn next_line(from: &mut (impl AsyncBufRead + Unpin), limit: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut tail = Vec::new();
    let mut length = 0;
    loop {
        let chunk = from.fill_buf().await?;
        if chunk.is_empty() {
            return Ok((length > 0).then(|| finished(line, tail, length, limit)));
        }
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        length += part.len();
        if length <= limit {
            line.extend_from_slice(part);
        } else {
            // From here on only its ends are kept.
            if tail.is_empty() && line.len() > ENDS {
                tail = line[line.len() - ENDS..].to_vec();
                line.truncate(ENDS);
                line.shrink_to_fit();
            }
            tail.extend_from_slice(part);
            if tail.len() > 2 * ENDS {
                tail.drain(..tail.len() - ENDS);
            }
        }
        let used = part.len() + usize::from(newline.is_some());
        from.consume(used);
        if newline.is_some() {
            return Ok(Some(finished(line, tail, length, limit)));
        }
    }
}

fn finished(line: Vec<u8>, tail: Vec<u8>, length: usize, limit: usize) -> Line {
    if length > limit {
        return Line::TooLong { bytes: length, head: text(line), tail: text(tail) };
    }
    Line::Whole(text(line))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn long_lines_are_dropped_and_the_next_one_is_whole() {
        let text = format!("one\n{}\n\ntwo", "x".repeat(50));
        let mut from = tokio::io::BufReader::with_capacity(7, text.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut from, 10).await.expect("bytes in memory") {
            lines.push(line);
        }
        let whole = |text: &str| Line::Whole(text.to_owned());
        let Line::TooLong { bytes, head, tail } = lines.remove(1) else { panic!("too long") };
        assert_eq!((bytes, head.len() + tail.len()), (50, 50));
        assert_eq!(lines, [whole("one"), whole(""), whole("two")]);
    }

    #[actix::test]
    async fn of_a_line_without_end_its_ends_are_kept() {
        let text = format!("begin{}end", "x".repeat(1 << 20));
        let mut from = tokio::io::BufReader::with_capacity(1_000, text.as_bytes());
        let line = next_line(&mut from, 300_000).await.expect("bytes in memory").expect("a line");
        assert!(line.held() <= 3 * ENDS);
        let Line::TooLong { bytes, head, tail } = line else { panic!("too long") };
        assert_eq!((bytes, head.starts_with("begin"), tail.ends_with("end")), (text.len(), true, true));
    }
}
