//! API keys and the audit log.

use super::{Change, Unit};
use crate::queue::Concern;
use crate::queue::keys::{CreateKey, KeyChanged, NoteAudit, RevokeKey, RotateKey, TouchKey};
use crate::queue::messages::{SetLimit, Submitted};
use crate::store::StoreError;
use crate::store::convert::key_of;
use domain::{Group, GroupKind, LimitChange};
use wire::KeyLimits;

impl Change for CreateKey {
    type Answer = bool;

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        if !unit.tx.insert_api_key(&self.row).await? {
            return Ok(false);
        }
        if let Some(most) = self.max_running {
            let group = Group::new(GroupKind::Key, &self.row.name);
            let change = LimitChange { concurrency: Some(Some(most)), ..LimitChange::default() };
            SetLimit { group, change: Some(change) }.run(unit).await?;
        }
        Ok(true)
    }
}

impl Change for RotateKey {
    type Answer = KeyChanged;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<KeyChanged, StoreError> {
        let Some(mut row) = unit.tx.api_key(&self.name).await? else { return Ok(KeyChanged::Unknown) };
        if row.revoked_at.is_some() {
            return Ok(KeyChanged::Revoked);
        }
        let old = std::mem::replace(&mut row.hash, self.hash.clone());
        (row.previous_hash, row.previous_until) = match self.grace_ms {
            0 => (None, None),
            grace => (Some(old), Some(unit.now.plus_ms(grace).0)),
        };
        unit.tx.update_api_key(&row).await?;
        Ok(KeyChanged::Done(Box::new(key_of(row))))
    }
}

impl Change for RevokeKey {
    type Answer = KeyChanged;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<KeyChanged, StoreError> {
        let Some(mut row) = unit.tx.api_key(&self.0).await? else { return Ok(KeyChanged::Unknown) };
        row.revoked_at.get_or_insert(unit.now.0);
        (row.previous_hash, row.previous_until) = (None, None);
        unit.tx.update_api_key(&row).await?;
        Ok(KeyChanged::Done(Box::new(key_of(row))))
    }
}

impl Change for TouchKey {
    type Answer = ();

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.tx.touch_api_key(&self.name, self.at).await
    }
}

impl Change for NoteAudit {
    type Answer = ();

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.tx.append_audit(&self.0).await
    }
}

/// Returns the limit of a key that a further task would pass.
pub async fn passed(unit: &mut Unit<'_>, key: &str, limits: &KeyLimits) -> Result<Option<Submitted>, StoreError> {
    let KeyLimits { max_pending, max_tasks_per_day: per_day, max_stored_bytes: bytes, .. } = limits;
    if max_pending.is_none() && per_day.is_none() && bytes.is_none() {
        return Ok(None);
    }
    let counted = unit.tx.key_use(key, unit.now.day_start(), per_day.unwrap_or(0)).await?;
    let most = |limit: Option<u32>| limit.map(i64::from);
    let rules = [
        ("maxPending", most(*max_pending), counted.pending),
        ("maxTasksPerDay", most(*per_day), counted.submitted),
        ("maxStoredBytes", bytes.map(|most| i64::try_from(most).unwrap_or(i64::MAX)), counted.bytes),
    ];
    let passed =
        rules.into_iter().find_map(|(limit, most, used)| most.filter(|most| used >= *most).map(|most| (limit, most)));
    Ok(passed.map(|(limit, most)| Submitted::KeyLimit { limit, most }))
}
