//! Text of others on a terminal: what would move the cursor, change the title or turn the reading direction is shown, and
//! does nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every control character, and every character that changes how others are read, written as JSON escapes
/// it: `\u001b`. Tabs stay, and line breaks where `lines` is true. Inside a string of JSON it means the same as before.
///
/// ```
/// use domain::visible;
/// assert_eq!(visible("red: \u{1b}[31m\n", true), "red: \\u001b[31m\n");
/// assert_eq!(visible("one\nline", false), "one\\u000aline");
/// ```
#[must_use]
pub fn visible(text: &str, lines: bool) -> Cow<'_, str> {
    let is_kept = |c: char| c == '\t' || (lines && c == '\n');
    let is_hidden = |c: char| !is_kept(c) && (c.is_control() || is_format(c));
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A String takes all that is written to it.
                write!(shown, "\\u{unit:04x}").unwrap_or_default();
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Characters that are not seen and change what is: marks, embeddings, overrides and isolates of the reading direction,
/// separators of lines and paragraphs, and tags. Joiners stay: emojis are made with them.
const fn is_format(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn honest_text_stays_as_it_is() {
        for text in ["", "Füße, 木, עברית", "a\tb", "👩‍👩‍👧"] {
            assert!(matches!(visible(text, false), Cow::Borrowed(_)), "{text}");
        }
        assert_eq!(visible("\u{202e}\u{9b}\u{e0041}", true), "\\u202e\\u009b\\udb40\\udc41");
    }

    proptest! {
        /// Whatever it is, a terminal sees nothing but text; and JSON says the same as before.
        #[test]
        fn nothing_is_left_that_a_terminal_acts_on(text in any::<String>()) {
            let shown = visible(&text, false);
            prop_assert!(shown.chars().all(|c| c == '\t' || (!c.is_control() && !is_format(c))));
            let json = serde_json::to_string(&text).expect("JSON");
            let again: String = serde_json::from_str(&visible(&json, true)).expect("JSON");
            prop_assert_eq!(again, text);
        }
    }
}
