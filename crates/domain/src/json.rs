//! JSON that others wrote: made such that every reader can read it. Pure.
//!
//! JavaScript programs cut strings by UTF-16 units, so halves of characters stand in what they print; other
//! programs print numbers that no `f64` holds, or nest without end. Strict readers refuse a whole text for one
//! of these. [`clean`] keeps the text and replaces only what can't be read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Deepest nesting of what is stored. Readers give up at 128 levels (serde_json) or later, and what is stored is
/// shown inside of some more.
pub const MAX_DEPTH: usize = 100;

/// The text as every reader can read it: unchanged where it can be, else with U+FFFD for half characters, text
/// for what is nested deeper than [`MAX_DEPTH`] and for numbers that are none. `None` where it is no JSON at all.
#[must_use]
pub fn clean(text: &str) -> Option<Cow<'_, str>> {
    if is_clean(text) {
        return Some(Cow::Borrowed(text));
    }
    let mended = Mender { text, at: 0, depth: 0, to: String::with_capacity(text.len()) }.mend();
    is_clean(&mended).then_some(Cow::Owned(mended))
}

/// True if every reader can read the text.
#[must_use]
pub fn is_clean(text: &str) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    Levels(MAX_DEPTH).deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// True if the value is nested no deeper than [`MAX_DEPTH`].
#[must_use]
pub fn is_shallow(value: &Value) -> bool {
    fn fits(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
            Value::Object(fields) => levels > 0 && fields.values().all(|field| fits(field, levels - 1)),
            _ => true,
        }
    }
    fits(value, MAX_DEPTH)
}

/// Shortens every text of a value to `most` bytes, and says how long it was.
pub fn shorten(value: &mut Value, most: usize) {
    match value {
        Value::String(text) if text.len() > most => {
            let bytes = text.len();
            text.truncate(text.floor_char_boundary(most));
            text.push_str(&format!("… ({bytes} bytes)"));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| shorten(item, most)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shorten(field, most)),
        _ => {}
    }
}

/// Reads a whole value, text and numbers included, and keeps nothing of it. Nested at most so deep.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn below<E: Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

macro_rules! nothing_to_keep {
    ($($visit:ident: $kind:ty),*) => {
        $(fn $visit<E>(self, _: $kind) -> Result<(), E> {
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for Levels {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("any JSON")
    }

    nothing_to_keep!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while fields.next_key_seed(Levels(0))?.is_some() {
            fields.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// Copies a text, token by token, and replaces what can't be read.
struct Mender<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    to: String,
}

impl Mender<'_> {
    fn mend(mut self) -> String {
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.string(),
                b'{' | b'[' if self.depth == MAX_DEPTH => {
                    let deep = &self.text[self.at..end_of_container(self.text, self.at)];
                    self.at += deep.len();
                    self.to.push_str(&Value::from(deep).to_string());
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    self.copy(1);
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.copy(1);
                }
                b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => self.word(),
                _ => {
                    let next = self.text[self.at..].chars().next().map_or(1, char::len_utf8);
                    self.copy(next);
                }
            }
        }
        self.to
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn copy(&mut self, bytes: usize) {
        self.to.push_str(&self.text[self.at..self.at + bytes]);
        self.at += bytes;
    }

    /// A number, `true`, `false` or `null`; anything else becomes a text.
    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let word = &rest[..rest.bytes().take_while(|byte| is_part(byte)).count()];
        self.at += word.len();
        if serde_json::from_str::<Value>(word).is_ok() {
            self.to.push_str(word);
        } else {
            self.to.push_str(&Value::from(word).to_string());
        }
    }

    fn string(&mut self) {
        self.copy(1);
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => return self.copy(1),
                b'\\' => self.escape(),
                0..0x20 => {
                    self.to.push_str(&format!("\\u{byte:04x}"));
                    self.at += 1;
                }
                _ => {
                    let rest = &self.text[self.at..];
                    let plain = rest.bytes().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
                    self.copy(plain);
                }
            }
        }
    }

    fn escape(&mut self) {
        let rest = &self.text[self.at..];
        match rest.as_bytes().get(1) {
            Some(b'u') => match (unit(rest), rest.get(6..).and_then(unit)) {
                (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => self.copy(12),
                (Some(0xD800..0xE000), _) => self.replace(6),
                (Some(_), _) => self.copy(6),
                // Cut in the middle of its figures.
                (None, _) => {
                    let figures = rest.bytes().skip(2).take(3).take_while(u8::is_ascii_hexdigit).count();
                    self.replace(2 + figures);
                }
            },
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.copy(2),
            // No escape at all: a backslash.
            _ => {
                self.to.push_str("\\\\");
                self.at += 1;
            }
        }
    }

    fn replace(&mut self, bytes: usize) {
        self.to.push('\u{FFFD}');
        self.at += bytes;
    }
}

/// The UTF-16 unit that a text begins with, as `\u1234`.
fn unit(text: &str) -> Option<u16> {
    let figures = text.strip_prefix("\\u")?.get(..4)?;
    figures.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(figures, 16).ok()).flatten()
}

/// Returns the end of the object or list that begins at this place, or the end of the text.
fn end_of_container(text: &str, from: usize) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cleaned(text: &str) -> String {
        clean(text).unwrap_or_else(|| panic!("{text}")).into_owned()
    }

    #[test]
    fn half_characters_are_replaced_and_whole_ones_stay() {
        assert_eq!(cleaned(r#"{"a":"hi \ud83d"}"#), "{\"a\":\"hi \u{FFFD}\"}");
        assert_eq!(cleaned(r#""\udc00\ud83d\ud83d\ude00x""#), "\"\u{FFFD}\u{FFFD}\\ud83d\\ude00x\"");
        assert_eq!(cleaned(r#""\ud8""#), "\"\u{FFFD}\"");
        assert_eq!(cleaned(r#""\x \u""#), "\"\\\\x \u{FFFD}\"");
        assert_eq!(cleaned("\"a\u{1}\tb\""), "\"a\\u0001\\u0009b\"");
    }

    #[test]
    fn what_is_nested_too_deep_becomes_text_and_loses_nothing() {
        let deep = format!("{{\"a\":{}\"]\"{}}}", "[".repeat(140), "]".repeat(140));
        let value: Value = serde_json::from_str(&cleaned(&deep)).expect("json");
        let mut at = &value["a"];
        let mut levels = 1;
        while let Some(inner) = at.get(0) {
            (at, levels) = (inner, levels + 1);
        }
        assert_eq!(levels, MAX_DEPTH);
        assert_eq!(at.as_str(), Some(format!("{}\"]\"{}", "[".repeat(41), "]".repeat(41)).as_str()));
        assert!(is_shallow(&value));
    }

    #[test]
    fn numbers_that_are_none_become_text() {
        assert_eq!(
            cleaned("[1e999, -1e999, NaN, -Infinity, 01, 1.5, true]"),
            "[\"1e999\", \"-1e999\", \"NaN\", \"-Infinity\", \"01\", 1.5, true]"
        );
    }

    #[test]
    fn what_is_no_json_is_said_to_be_none() {
        for text in ["", "{", "{\"a\":", "Segmentation fault", "{\"a\":1}{", "\"cut"] {
            assert_eq!(clean(text), None, "{text}");
        }
    }

    #[test]
    fn long_texts_are_shortened_at_a_character() {
        let mut value = serde_json::json!({ "a": ["éé", "short"] });
        shorten(&mut value, 3);
        assert_eq!(value, serde_json::json!({ "a": ["é… (4 bytes)", "sho… (5 bytes)"] }));
    }

    proptest! {
        #[test]
        fn whatever_it_is_made_of_the_cleaned_text_can_be_read(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("\\ud83d"), Just("\\ude00"), Just("\\u12"), Just("\\"), Just("\""), Just("{"), Just("}"), Just("["),
                    Just("]"), Just(","), Just(":"), Just("1e999"), Just("-"), Just("null"), Just("é"), Just("\u{7}"), Just("\"a\":"),
                ],
                0..40,
            ),
            depth in 0_usize..200,
        ) {
            let inner = pieces.concat();
            let wrapped = format!("{}\"{}\"{}", "[".repeat(depth), inner.replace('"', "'"), "]".repeat(depth));
            for text in [inner, wrapped] {
                let Some(clean) = clean(&text) else { continue };
                prop_assert!(serde_json::from_str::<Value>(&clean).is_ok());
                prop_assert!(is_clean(&clean));
            }
        }

        #[test]
        fn what_can_be_read_stays_as_it_is(text in any::<String>(), number in any::<f64>()) {
            let json = serde_json::json!({ "text": text, "list": [number, null, true] }).to_string();
            prop_assert!(matches!(clean(&json), Some(Cow::Borrowed(_))));
        }
    }
}
