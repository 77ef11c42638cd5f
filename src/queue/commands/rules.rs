//! Rules of keys.

use super::{Change, Unit};
use crate::queue::rules::{AddRule, RemoveRule, RuleAdded};
use crate::store::StoreError;
use crate::store::rows::RuleRow;
use domain::RuleId;

impl Change for AddRule {
    type Answer = RuleAdded;

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<RuleAdded, StoreError> {
        let known = unit.tx.rules(&self.key).await?;
        if let Some(row) = known.iter().find(|row| row.rule == self.rule && row.scope() == self.scope) {
            return Ok(RuleAdded::Known(row.clone()));
        }
        if known.len() >= self.most {
            return Ok(RuleAdded::Full);
        }
        let (tag, folder) = self.scope.clone().into_parts();
        let row = RuleRow {
            id: RuleId::new(),
            key_name: self.key.clone(),
            rule: self.rule.clone(),
            tag,
            folder,
            created_at: unit.now,
            created_by: self.by.clone(),
        };
        unit.tx.insert_rule(&row).await?;
        Ok(RuleAdded::New(row))
    }
}

impl Change for RemoveRule {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        unit.tx.remove_rule(self.id, self.key.as_deref()).await
    }
}
