//! A place in a trace, as W3C Trace Context writes it (<https://www.w3.org/TR/trace-context/>): `traceparent`.

use std::fmt;
use std::str::FromStr;

use crate::LeaseKey;

/// The trace and the span that something belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// Number of the trace; never 0.
    pub trace: u128,
    /// Number of the span; never 0.
    pub span: u64,
    /// True if the spans are kept.
    pub sampled: bool,
}

/// A text that is no place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no traceparent")]
pub struct NoTraceParent;

impl TraceParent {
    /// The trace in hexadecimal digits, as logs and collectors have it.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceParent {
    type Err = NoTraceParent;

    /// Reads the header. A later version may have more behind the four parts that version 00 has; ff is none.
    fn from_str(text: &str) -> Result<Self, NoTraceParent> {
        let mut parts = text.split('-');
        let version = digits(parts.next(), 2)?;
        let trace = digits(parts.next(), 32)?;
        let span = digits(parts.next(), 16)?;
        let flags = digits(parts.next(), 2)?;
        let has_more = parts.next().is_some();
        if version == 0xff || (version == 0 && has_more) || trace == 0 || span == 0 {
            return Err(NoTraceParent);
        }
        Ok(Self { trace, span: u64::try_from(span).map_err(|_| NoTraceParent)?, sampled: flags & 1 == 1 })
    }
}

/// A number of this many hexadecimal digits, in lower case.
fn digits(part: Option<&str>, wanted: usize) -> Result<u128, NoTraceParent> {
    let part = part.filter(|part| part.len() == wanted).ok_or(NoTraceParent)?;
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !part.bytes().all(is_digit) {
        return Err(NoTraceParent);
    }
    u128::from_str_radix(part, 16).map_err(|_| NoTraceParent)
}

/// Number of the span of an attempt. It follows from the attempt, so that the next one, on whichever machine, can name
/// the one before: the random half of the task's id, and the epoch.
#[must_use]
pub const fn span_of_attempt(key: LeaseKey) -> u64 {
    let (_, random) = key.task.uuid().as_u64_pair();
    match random.wrapping_add(key.epoch.number().unsigned_abs()) {
        // A span has no such number.
        0 => u64::MAX,
        span => span,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_traceparent_is_refused() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(good.parse::<TraceParent>().expect("good").to_string(), good);
        let later = good.replacen("00", "cc", 1) + "-what-comes";
        assert_eq!(later.parse::<TraceParent>().expect("a later version").to_string(), good);
        for bad in [
            String::new(),
            "-".repeat(4),
            good.to_uppercase(),
            good.replacen("00", "ff", 1),
            format!("{good}-more"),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            good.replace("b7ad6b7169203331", "+7ad6b7169203331"),
            good[1..].to_owned(),
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NoTraceParent), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            if let Ok(read) = text.parse::<TraceParent>() {
                prop_assert_eq!(read.to_string().parse(), Ok(read));
            }
        }

        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., sampled in any::<bool>()) {
            let place = TraceParent { trace, span, sampled };
            prop_assert_eq!(place.to_string().parse(), Ok(place));
        }
    }
}
