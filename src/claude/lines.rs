//! Lines with a bound: the CLI prints lines of megabytes, and a broken one could print without
//! end.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line, or what is left of one that was too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The line without its newline; bytes that are no UTF-8 are replaced.
    Whole(String),
    /// It had so many bytes, and was dropped.
    TooLong(usize),
}

/// Reads the next line, of at most `limit` bytes; `None` at the end of the stream. Memory
/// stays within the limit however long the line is.
///
/// # Errors
/// The stream's.
pub async fn next_line(from: &mut (impl AsyncBufRead + Unpin), limit: usize) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        let chunk = from.fill_buf().await?;
        if chunk.is_empty() {
            return Ok((length > 0).then(|| finished(line, length, limit)));
        }
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        length += part.len();
        if length <= limit {
            line.extend_from_slice(part);
        } else {
            line = Vec::new();
        }
        let used = part.len() + usize::from(newline.is_some());
        from.consume(used);
        if newline.is_some() {
            return Ok(Some(finished(line, length, limit)));
        }
    }
}

fn finished(line: Vec<u8>, length: usize, limit: usize) -> Line {
    if length > limit {
        return Line::TooLong(length);
    }
    Line::Whole(String::from_utf8(line).unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()))
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
        assert_eq!(lines, [whole("one"), Line::TooLong(50), whole(""), whole("two")]);
    }
}
