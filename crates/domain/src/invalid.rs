//! A value that breaks a rule.

/// A field of a request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// Path of the field, such as `options.timeout`.
    pub field: &'static str,
    /// The rule, with the range: `must be from 1 to 20, got 0`.
    pub rule: String,
}

impl Invalid {
    /// A field that breaks a rule.
    pub fn new(field: &'static str, rule: impl Into<String>) -> Self {
        Self { field, rule: rule.into() }
    }
}
