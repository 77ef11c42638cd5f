//! Lines with a bound: the CLI prints lines of megabytes, and a broken one could print without
//! end.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

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
/// Bytes that are read at a time: fewer than those from which on the allocator lets the system map each block.
const BUFFER: usize = 32 << 10;

/// Reads lines of at most `limit` bytes each. Memory stays within the limit however long a line is.
pub struct LineReader<R> {
    from: BufReader<R>,
    limit: usize,
    /// What was read of the line that is under way.
    line: Vec<u8>,
    tail: Vec<u8>,
    length: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Reads from this stream.
    pub fn new(stream: R, limit: usize) -> Self {
        let from = BufReader::with_capacity(BUFFER, stream);
        Self { from, limit, line: Vec::new(), tail: Vec::new(), length: 0 }
    }

    /// Returns the next line; `None` at the end of the stream. May be dropped and called again.
    ///
    /// # Errors
    /// The stream's.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let chunk = self.from.fill_buf().await?;
            if chunk.is_empty() {
                return Ok((self.length > 0).then(|| self.finished()));
            }
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..newline.unwrap_or(chunk.len())];
            self.length += part.len();
            if self.length <= self.limit {
                self.line.extend_from_slice(part);
            } else {
                // From here on only its ends are kept.
                if self.tail.is_empty() && self.line.len() > ENDS {
                    self.tail = self.line[self.line.len() - ENDS..].to_vec();
                    self.line.truncate(ENDS);
                    self.line.shrink_to_fit();
                }
                self.tail.extend_from_slice(part);
                if self.tail.len() > 2 * ENDS {
                    self.tail.drain(..self.tail.len() - ENDS);
                }
            }
            let used = part.len() + usize::from(newline.is_some());
            self.from.consume(used);
            if newline.is_some() {
                return Ok(Some(self.finished()));
            }
        }
    }

    fn finished(&mut self) -> Line {
        let (line, tail) = (std::mem::take(&mut self.line), std::mem::take(&mut self.tail));
        finished(line, tail, std::mem::take(&mut self.length), self.limit)
    }

    /// True in the middle of a line of which bytes were dropped.
    pub const fn is_cut(&self) -> bool {
        self.length > self.limit
    }

    /// Returns the stream, and what was read of it beyond the last line.
    pub fn into_parts(mut self) -> (R, Vec<u8>) {
        self.line.extend_from_slice(self.from.buffer());
        (self.from.into_inner(), self.line)
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
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[actix::test]
    async fn long_lines_are_dropped_and_the_next_one_is_whole() {
        let text = format!("one\n{}\n\ntwo", "x".repeat(50));
        let mut from = LineReader::new(text.as_bytes(), 10);
        let mut lines = Vec::new();
        while let Some(line) = from.next().await.expect("bytes in memory") {
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
        let mut from = LineReader::new(text.as_bytes(), 300_000);
        let line = from.next().await.expect("bytes in memory").expect("a line");
        assert!(line.held() <= 3 * ENDS);
        let Line::TooLong { bytes, head, tail } = line else { panic!("too long") };
        assert_eq!((bytes, head.starts_with("begin"), tail.ends_with("end")), (text.len(), true, true));
    }

    #[actix::test]
    async fn what_was_read_beyond_a_line_is_given_back() {
        let (mut to, from) = tokio::io::duplex(1 << 10);
        let mut from = LineReader::new(from, 1 << 10);
        to.write_all(b"one\ntw").await.expect("room");
        assert_eq!(from.next().await.expect("read"), Some(Line::Whole("one".to_owned())));
        // Given up in the middle of a line, which goes on later.
        let waited = tokio::time::timeout(std::time::Duration::from_millis(5), from.next()).await;
        assert!(waited.is_err());
        to.write_all(b"o\nthree\nfo").await.expect("room");
        assert_eq!(from.next().await.expect("read"), Some(Line::Whole("two".to_owned())));
        assert_eq!(from.into_parts().1, b"three\nfo");
    }
}
