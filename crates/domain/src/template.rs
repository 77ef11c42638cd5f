//! Places in a text that are filled with what another task has left: `{{tasks.NAME.result}}`. Pure.
//!
//! A text is filled once: what stands in a result is never read as a place.

use std::ops::Range;

/// Maximum number of places in one task.
pub const MAX_PLACES: usize = 32;
/// Maximum number of bytes that one place is filled with.
pub const MAX_FILLED_BYTES: usize = 256 << 10;

/// Part of a task that a place is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "camelCase")]
pub enum Part {
    /// The text of the result; empty where it has none.
    Result,
    /// The result as its schema wants it, as JSON; `null` where it has none.
    StructuredOutput,
    /// What it has changed in its worktree, as a patch; empty where it has none.
    Changes,
    /// The status.
    Status,
    /// The id.
    TaskId,
}

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Bytes of the text that it takes.
    pub at: Range<usize>,
    /// Name of the task.
    pub name: &'a str,
    /// Part of the task.
    pub part: Part,
    /// True if a text is written as a JSON string, quotes included: `{{tasks.NAME.result|json}}`.
    pub json: bool,
}

/// True if a task may be called so: 1 to 64 letters, digits, `-` and `_`.
#[must_use]
pub fn is_task_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The places of a text, in order. Braces around anything else are none.
pub fn places(text: &str) -> impl Iterator<Item = Place<'_>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let begin = from + text.get(from..)?.find("{{")?;
            let length = text[begin..].find("}}")?;
            let inside = &text[begin + 2..begin + length];
            match place(inside) {
                Some((name, part, json)) => {
                    from = begin + length + 2;
                    return Some(Place { at: begin..from, name, part, json });
                }
                // One may begin inside of what looked like one.
                None => from = begin + 1,
            }
        }
    })
}

fn place(inside: &str) -> Option<(&str, Part, bool)> {
    let (path, json) = match inside.split_once('|') {
        Some((path, filter)) if filter.trim() == "json" => (path, true),
        Some(_) => return None,
        None => (inside, false),
    };
    let (name, part) = path.trim().strip_prefix("tasks.")?.split_once('.')?;
    is_task_name(name).then_some(())?;
    Some((name, part.parse().ok()?, json))
}

/// Fills the places of a text. One that `value` knows nothing for stays as it is.
pub fn fill(text: &str, mut value: impl FnMut(&str, Part) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut from = 0;
    for place in places(text) {
        let Some(value) = value(place.name, place.part) else { continue };
        filled.push_str(&text[from..place.at.start]);
        let value = bounded(&value);
        match place.json {
            true => filled.push_str(&serde_json::Value::from(value).to_string()),
            false => filled.push_str(&value),
        }
        from = place.at.end;
    }
    filled.push_str(&text[from..]);
    filled
}

fn bounded(value: &str) -> std::borrow::Cow<'_, str> {
    if value.len() <= MAX_FILLED_BYTES {
        return value.into();
    }
    let end = value.floor_char_boundary(MAX_FILLED_BYTES);
    format!("{}\n[cut: {} of {} bytes]", &value[..end], end, value.len()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(text: &str, result: &str) -> String {
        fill(text, |name, part| match (name, part) {
            ("a", Part::Result) => Some(result.to_owned()),
            ("a", Part::Status) => Some("completed".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn places_are_filled_once_and_nothing_else_is() {
        assert_eq!(with("x {{tasks.a.result}} y", "R"), "x R y");
        assert_eq!(with("{{ tasks.a.status }}: {{tasks.a.result}}", "R"), "completed: R");
        assert_eq!(with("{{tasks.a.result}}", "{{tasks.a.result}}"), "{{tasks.a.result}}");
        assert_eq!(with("{\"a\":{{tasks.a.result|json}}}", "say \"hi\"\n"), r#"{"a":"say \"hi\"\n"}"#);
        for text in
            ["{{tasks.b.result}}", "{{tasks.a.secret}}", "{{a.result}}", "{{tasks.a.result", "{{}}", "{{ {{", "é{{"]
        {
            assert_eq!(with(text, "R"), text);
        }
        assert_eq!(with("{{{{tasks.a.result}}}}", "R"), "{{R}}");
    }

    #[test]
    fn a_long_result_is_cut_and_says_so() {
        let filled = with("{{tasks.a.result}}", &"é".repeat(MAX_FILLED_BYTES));
        assert!(filled.len() < MAX_FILLED_BYTES + 100 && filled.ends_with("bytes]"), "{}", filled.len());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "[{}a-c.|é tasksreult]{0,60}", result in ".{0,20}") {
            let kept = fill(&text, |_, _| None);
            prop_assert_eq!(&kept, &text);
            with(&text, &result);
        }
    }
}
