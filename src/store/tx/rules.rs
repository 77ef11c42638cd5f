//! Rules of keys: calls of tools that need no answer of a person.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::RuleRow;
use domain::RuleId;

/// See the [module](self).
#[async_trait(?Send)]
pub trait Rules {
    /// Returns the rules of a key, oldest first.
    async fn rules(&mut self, key: &str) -> Result<Vec<RuleRow>, StoreError>;

    /// Inserts a rule.
    async fn insert_rule(&mut self, row: &RuleRow) -> Result<(), StoreError>;

    /// Removes a rule; with `key`, only one of that key. Returns whether it was there.
    async fn remove_rule(&mut self, id: RuleId, key: Option<&str>) -> Result<bool, StoreError>;
}
