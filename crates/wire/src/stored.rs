//! A request as it is stored with its task: written by this version, read from any. Pure.
//!
//! A client's wish is read strictly, what is stored leniently: a field that this version doesn't know is left
//! alone, since a newer one may have written it. A field that it knows and can't read makes the task unreadable:
//! to run it without, say, the tools that it was denied would be another task.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::TaskSpec;
use domain::json;

/// Version of the form in which requests are stored. A newer one may mean something else by the same fields.
const VERSION: u64 = 1;
/// Beginning of a request that this version has stored.
const BEGINS: &str = "{\"version\":1,";
/// Fields that are left alone before the whole counts as unreadable.
const MAX_FIELDS: usize = 200;

/// A request that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSpec {
    /// Readable part of the request.
    pub spec: TaskSpec,
    /// Reason for which it can't be run as it is; `None` where all of it was understood.
    pub unreadable: Option<String>,
}

/// The text that is stored.
///
/// # Errors
/// The request has a map with keys that are no text, which no client can send.
pub fn to_text(spec: &TaskSpec) -> serde_json::Result<String> {
    let text = serde_json::to_string(spec)?;
    Ok(format!("{BEGINS}{}", &text[1..]))
}

/// Reads what was stored. Never fails: what can't be read is said.
#[must_use]
pub fn from_text(text: &str) -> StoredSpec {
    let strict = match text.strip_prefix(BEGINS) {
        Some(rest) => serde_json::from_str(&format!("{{{rest}")),
        // From before there were versions.
        None => serde_json::from_str(text),
    };
    match strict {
        Ok(spec) => StoredSpec { spec, unreadable: None },
        Err(error) => leniently(text).unwrap_or_else(|| StoredSpec {
            spec: TaskSpec::of(String::new()),
            unreadable: Some(format!("the stored request is no JSON object: {error}")),
        }),
    }
}

/// Takes out, one by one, the fields that can't be read. `None` where it is no object.
fn leniently(text: &str) -> Option<StoredSpec> {
    let mut value: Value = serde_json::from_str(&json::clean(text)?).ok()?;
    let version = value.as_object_mut()?.remove("version");
    let mut unreadable = match version.as_ref().map(serde_json::Value::as_u64) {
        None | Some(Some(0..=VERSION)) => None,
        _ => Some(format!("the request was stored by a newer version of this program (form {})", version?)),
    };
    for _ in 0..MAX_FIELDS {
        let error = match serde_path_to_error::deserialize::<_, TaskSpec>(&value) {
            Ok(spec) => return Some(StoredSpec { spec, unreadable }),
            Err(error) => error,
        };
        let what = error.inner().to_string();
        let is_unknown = what.starts_with("unknown field");
        if !is_unknown {
            unreadable.get_or_insert_with(|| format!("{}: {what}", error.path()));
        }
        if what.starts_with("missing field `instruction`") {
            value.as_object_mut()?.insert("instruction".to_owned(), Value::from(""));
        } else if !remove(&mut value, error.path()) {
            break;
        }
    }
    let instruction = value["instruction"].as_str().unwrap_or_default().to_owned();
    let why = unreadable.unwrap_or_else(|| "the stored request can't be read".to_owned());
    Some(StoredSpec { spec: TaskSpec::of(instruction), unreadable: Some(why) })
}

/// Takes out what stands at this place. False where that is the whole.
fn remove(value: &mut Value, path: &Path) -> bool {
    let steps: Vec<&Segment> = path.iter().collect();
    let Some((last, above)) = steps.split_last() else { return false };
    let mut at = value;
    for step in above {
        let next = match step {
            Segment::Map { key } => at.get_mut(key),
            Segment::Seq { index } => at.get_mut(index),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    match (last, at) {
        (Segment::Map { key }, Value::Object(fields)) => fields.shift_remove(key).is_some(),
        (Segment::Seq { index }, Value::Array(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_this_version_stores_it_reads() {
        let mut spec = TaskSpec::of("do it".to_owned());
        spec.tags = vec!["a".to_owned()];
        let text = to_text(&spec).expect("json");
        assert!(text.starts_with(BEGINS));
        assert_eq!(from_text(&text), StoredSpec { spec: spec.clone(), unreadable: None });
        let before = serde_json::to_string(&spec).expect("json");
        assert_eq!(from_text(&before), StoredSpec { spec, unreadable: None }, "from before there were versions");
    }

    #[test]
    fn fields_of_a_newer_version_are_left_alone_at_every_depth() {
        let text = json!({
            "version": 1, "instruction": "x", "newField": { "a": [1] }, "tags": ["t"],
            "context": { "workingDirectory": "/w", "newer": 1 }, "options": { "sdk": { "newest": null, "model": "m" } },
        });
        let read = from_text(&text.to_string());
        assert_eq!((read.spec.instruction.as_str(), read.unreadable), ("x", None));
        assert_eq!(read.spec.tags, ["t"]);
        assert_eq!(read.spec.context.working_directory.as_deref(), Some("/w"));
        assert_eq!(read.spec.options.sdk.model.as_deref(), Some("m"));
    }

    #[test]
    fn a_known_field_that_cannot_be_read_is_named_and_the_rest_is_shown() {
        for (text, why) in [
            (r#"{"instruction":"x","tags":["t"],"options":{"sdk":{"permissionMode":"newest"}}}"#, "permissionMode"),
            (r#"{"instruction":"x","tags":["t"],"priority":"high"}"#, "priority"),
            (r#"{"version":2,"instruction":"x","tags":["t"]}"#, "newer version"),
            (r#"{"tags":["t"]}"#, "instruction"),
        ] {
            let read = from_text(text);
            assert!(read.unreadable.as_ref().is_some_and(|said| said.contains(why)), "{text} {read:?}");
            assert_eq!(read.spec.tags, ["t"], "{text}");
        }
        for text in ["", "null", "[]", "no json", "{", "7", "\"x\""] {
            assert!(from_text(text).unreadable.is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_stored_is_read_or_said_to_be_unreadable(
            field in prop_oneof![Just("instruction"), Just("context"), Just("options"), Just("tags"), Just("priority"), Just("new")],
            value in prop_oneof![
                Just("null"), Just("[]"), Just("{}"), Just("\"\\ud83d\""), Just("1e999"), Just("{\"a\":{\"b\":1}}"), Just("-1"),
                Just("[[[\"x\"]]]"), Just("{"), Just(""),
            ],
        ) {
            let read = from_text(&format!("{{\"version\":1,\"instruction\":\"x\",\"{field}\":{value}}}"));
            if field == "new" && json::is_clean(value) {
                prop_assert_eq!(read.unreadable, None);
            }
        }
    }
}
