//! The length of lists.

use domain::json;
use serde_json::Value;

/// Longest list with whole texts, in bytes.
pub const LIST_BYTES: usize = 4 << 20;
/// Lengths to which the texts of a longer list are cut, in bytes: the first with which it fits.
const SHORTENED: [usize; 4] = [256 << 10, 16 << 10, 1 << 10, 100];

/// A list as it is answered: where it would be too long, its longest texts are cut, and say how long they were.
#[must_use]
pub fn bounded(mut list: Value) -> Value {
    for most in SHORTENED {
        if size(&list) <= LIST_BYTES {
            break;
        }
        json::shorten(&mut list, most);
    }
    list
}

/// Returns the approximate length of a value in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + size(field)).sum(),
        _ => 8,
    }
}
