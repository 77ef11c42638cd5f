//! Values of a frame, whatever clothes they come in. `None` is for what can't be understood. Pure.

use serde_json::Value;

/// A whole number: `3`, `3.0` or `"3"`.
pub fn int(value: &Value) -> Option<i64> {
    /// Largest whole number up to which floats are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| float(value).filter(|n| n.fract() == 0.0 && n.abs() <= EXACT).map(|n| n as i64))
}

/// A number: `0.5` or `"0.5"`; also one that is not finite, in a text.
pub fn float(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A text; what is no text is one as JSON.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Reads a flag: `true`, `"true"` or `1`.
pub fn flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
        number => int(number).filter(|n| (0..=1).contains(n)).map(|n| n == 1),
    }
}

/// A list; one value is a list of it.
pub fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.clone(),
        one => vec![one.clone()],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_one_in_every_clothes() {
        assert_eq!([json!(3), json!(3.0), json!("3"), json!(" 3.0 ")].map(|value| int(&value)), [Some(3); 4]);
        assert_eq!([json!(3.5), json!("three"), json!(null), json!([3])].map(|value| int(&value)), [None; 4]);
        assert_eq!((float(&json!("0.5")), float(&json!(null))), (Some(0.5), None));
        assert_eq!([json!(true), json!("TRUE"), json!(1)].map(|value| flag(&value)), [Some(true); 3]);
        assert_eq!((flag(&json!("no")), flag(&json!(7))), (None, None));
    }
}
