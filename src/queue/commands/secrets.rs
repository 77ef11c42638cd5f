//! Secrets of keys.

use super::{Change, Unit};
use crate::queue::secrets::{PutSecret, RemoveSecret, ResealSecret, SecretPut};
use crate::store::StoreError;
use crate::store::rows::SecretRow;

impl Change for PutSecret {
    type Answer = SecretPut;

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<SecretPut, StoreError> {
        let known = unit.tx.secret(&self.key, &self.name).await?;
        let is_new = known.is_none();
        let row = SecretRow {
            key_name: self.key.clone(),
            name: self.name.clone(),
            sealed: self.sealed.clone(),
            created_at: known.map_or(unit.now, |known| known.created_at),
            updated_at: unit.now,
        };
        unit.tx.put_secret(&row).await?;
        Ok(SecretPut { row, is_new })
    }
}

impl Change for ResealSecret {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        if unit.tx.secret(&self.row.key_name, &self.row.name).await?.as_ref() != Some(&self.row) {
            return Ok(false);
        }
        unit.tx.put_secret(&SecretRow { sealed: self.sealed.clone(), ..self.row.clone() }).await?;
        Ok(true)
    }
}

impl Change for RemoveSecret {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        if unit.tx.secret(&self.key, &self.name).await?.is_none() {
            return Ok(false);
        }
        unit.tx.remove_secret(&self.key, &self.name).await?;
        Ok(true)
    }
}
