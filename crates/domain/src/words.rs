//! Words of events, as they are searched for: what people and the model said, what tools were asked and answered.
//!
//! A word is a run of letters and digits, in lower case. Both engines of the store are given the words that are found here, so
//! that a search finds the same in each.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::EventKind;

/// Text of an event that is looked at, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// Longest word, in characters; what is longer is cut.
const MAX_WORD: usize = 40;
/// Words that are looked for at a time.
const MAX_TERMS: usize = 10;
/// Characters of an excerpt.
const EXCERPT: usize = 160;

/// Returns what may be searched for in an event with this data; empty where there is nothing.
#[must_use]
pub fn text_of(kind: EventKind, data: &str) -> String {
    let mut text = String::new();
    if !matches!(kind, EventKind::Assistant | EventKind::ToolUse | EventKind::ToolResult | EventKind::Message) {
        return text;
    }
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    add(&data["text"], &mut text);
    match &data["frame"]["message"]["content"] {
        Value::Array(blocks) => blocks.iter().for_each(|block| {
            ["text", "thinking", "name", "input", "content"].iter().for_each(|part| add(&block[part], &mut text));
        }),
        content => add(content, &mut text),
    }
    text
}

/// Adds the texts of a value, one a line.
fn add(value: &Value, to: &mut String) {
    match value {
        Value::String(text) => {
            let room = MAX_TEXT.saturating_sub(to.len());
            to.push_str(&text[..text.floor_char_boundary(room)]);
            to.push('\n');
        }
        Value::Array(all) => all.iter().filter(|one| one["type"] != "image").for_each(|one| add(one, to)),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| *name != "type").for_each(|(_, value)| add(value, to));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The words of a text, each once.
#[must_use]
pub fn words_of(text: &str) -> BTreeSet<String> {
    split(text).map(|(_, word)| lower(word)).collect()
}

/// The words of a question, in its order, each once. A text has what is asked for if a word of it begins with each of them.
#[must_use]
pub fn terms_of(question: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    for (_, word) in split(question) {
        let term = lower(word);
        if terms.len() < MAX_TERMS && !terms.contains(&term) {
            terms.push(term);
        }
    }
    terms
}

/// A part of a text around the first place where one of these terms stands, on one line; its beginning where none does.
#[must_use]
pub fn excerpt(text: &str, terms: &[String]) -> String {
    let at = split(text).find(|(_, word)| is_meant(word, terms)).map_or(0, |(at, _)| at);
    let before = text[..at].char_indices().rev().nth(EXCERPT / 3).map_or(0, |(start, _)| start);
    let shown: String = text[before..].chars().take(EXCERPT).collect();
    let is_cut = before + shown.len() < text.trim_end().len();
    let line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{}{line}{}", if before > 0 { "… " } else { "" }, if is_cut { " …" } else { "" })
}

/// The pieces of a text, each with whether it is a word that begins with one of these terms.
#[must_use]
pub fn pieces<'a>(text: &'a str, terms: &[String]) -> Vec<(&'a str, bool)> {
    let (mut pieces, mut end) = (Vec::new(), 0);
    for (at, word) in split(text).filter(|(_, word)| is_meant(word, terms)) {
        pieces.extend([(&text[end..at], false), (word, true)]);
        end = at + word.len();
    }
    pieces.push((&text[end..], false));
    pieces
}

fn is_meant(word: &str, terms: &[String]) -> bool {
    let word = lower(word);
    terms.iter().any(|term| word.starts_with(&**term))
}

/// The runs of letters and digits of a text, each with its place.
fn split(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let start = text.as_ptr() as usize;
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(move |word| (word.as_ptr() as usize - start, word))
}

fn lower(word: &str) -> String {
    let lower = word.chars().take(MAX_WORD).flat_map(char::to_lowercase);
    // What lower case is of two characters may have a mark, which is no letter.
    lower.filter(|c| c.is_alphanumeric()).take(MAX_WORD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_was_said_asked_and_answered_is_found() {
        let frame = |content: Value| json!({ "frame": { "type": "x", "message": { "content": content } } }).to_string();
        let of = |kind, data: &str| words_of(&text_of(kind, data)).into_iter().collect::<Vec<_>>().join(" ");
        let call = frame(
            json!([{ "type": "tool_use", "id": "toolu_1", "name": "Bash", "input": { "command": "cargo test", "timeout": 5 } }]),
        );
        assert_eq!(of(EventKind::ToolUse, &call), "bash cargo test");
        let answer = frame(
            json!([{ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "It's fine: 12" }] }]),
        );
        assert_eq!(of(EventKind::ToolResult, &answer), "12 fine it s");
        assert_eq!(of(EventKind::Assistant, &frame(json!([{ "type": "text", "text": "Ärger, ärger" }]))), "ärger");
        assert_eq!(of(EventKind::Message, &json!({ "state": "sent", "text": "go on" }).to_string()), "go on");
        assert_eq!(of(EventKind::ToolResult, &frame(json!("plain"))), "plain");
        let image =
            frame(json!([{ "type": "tool_result", "content": [{ "type": "image", "source": { "data": "iVBOR" } }] }]));
        assert_eq!(of(EventKind::ToolResult, &image), "");
        assert_eq!(of(EventKind::Status, &json!({ "text": "pending" }).to_string()), "");
        assert_eq!(of(EventKind::Assistant, "no JSON"), "");
    }

    #[test]
    fn an_excerpt_has_what_was_looked_for() {
        let long = format!("{} the lease ran out {}", "before ".repeat(60), "after ".repeat(60));
        let shown = excerpt(&long, &terms_of("LEASE out"));
        assert!(shown.starts_with("… ") && shown.contains(" the lease ran out ") && shown.ends_with(" …"), "{shown}");
        assert_eq!(excerpt("short\n\ttext", &terms_of("text")), "short text");
    }

    proptest! {
        /// Whatever stands there, words are letters and digits in lower case, and a word of a text is found by itself and by its beginning.
        #[test]
        fn each_word_of_a_text_is_found(text in "\\PC{0,200}", cut in 1usize..8) {
            for word in words_of(&text) {
                prop_assert!(word.chars().all(char::is_alphanumeric) && word.chars().count() <= MAX_WORD, "{word}");
                let term: String = word.chars().take(cut).collect();
                for term in terms_of(&term) {
                    prop_assert!(words_of(&text).iter().any(|word| word.starts_with(&term)), "{term} of {word}");
                }
                prop_assert!(excerpt(&text, std::slice::from_ref(&word)).chars().count() <= EXCERPT + 4);
                let pieces = pieces(&text, &[word]);
                prop_assert!(pieces.iter().any(|(_, is_meant)| *is_meant));
                prop_assert_eq!(pieces.iter().map(|(piece, _)| *piece).collect::<String>(), text.clone());
            }
        }
    }
}
