//! Secrets of keys.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::SecretRow;

/// See the [module](self).
#[async_trait(?Send)]
pub trait Secrets {
    /// Returns a secret.
    async fn secret(&mut self, key: &str, name: &str) -> Result<Option<SecretRow>, StoreError>;

    /// Writes a secret, in place of the one of the same key and name.
    async fn put_secret(&mut self, row: &SecretRow) -> Result<(), StoreError>;

    /// Removes a secret.
    async fn remove_secret(&mut self, key: &str, name: &str) -> Result<(), StoreError>;
}
