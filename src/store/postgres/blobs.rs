//! Contents of files: pieces in a table, so that every machine has them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::readers::Readers;
use super::tx::only;
use super::value::{get, params};
use crate::store::StoreError;
use crate::store::blobs::Blobs;
use domain::BlobId;

const LEN: &str = "SELECT at + octet_length(bytes) FROM blob_pieces WHERE blob = $1 ORDER BY at DESC LIMIT 1";

const APPEND: &str = "INSERT INTO blob_pieces (blob, at, bytes) SELECT $1, $2, $3 WHERE $2 = COALESCE(
        (SELECT at + octet_length(bytes) FROM blob_pieces WHERE blob = $1 ORDER BY at DESC LIMIT 1), 0)
    ON CONFLICT DO NOTHING RETURNING 1";

const READ: &str = "SELECT at, bytes FROM blob_pieces WHERE blob = $1 AND at <= $2 ORDER BY at DESC LIMIT 1";

/// Goes from content to content, however many pieces each has.
const LIST: &str = "WITH RECURSIVE found(blob) AS (
        (SELECT blob FROM blob_pieces WHERE blob > $1 ORDER BY blob LIMIT 1)
        UNION ALL
        SELECT next.blob FROM found CROSS JOIN LATERAL
            (SELECT blob FROM blob_pieces WHERE blob > found.blob ORDER BY blob LIMIT 1) next)
    SELECT blob FROM found LIMIT $2";

/// See the [module](self).
pub struct Pieces(pub Arc<Readers>);

#[async_trait]
impl Blobs for Pieces {
    async fn len(&self, blob: BlobId) -> Result<u64, StoreError> {
        let len: Option<i64> = self.0.connection().await?.one(LEN, &params![blob.uuid()], only).await?;
        Ok(len.unwrap_or_default().unsigned_abs())
    }

    async fn append(&self, blob: BlobId, at: u64, bytes: Bytes) -> Result<bool, StoreError> {
        if bytes.is_empty() {
            return Ok(self.len(blob).await? == at);
        }
        let values = params![blob.uuid(), at.cast_signed(), bytes.to_vec()];
        self.0.connection().await?.any(APPEND, &values).await
    }

    async fn keep(&self, _: BlobId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn read(&self, blob: BlobId, at: u64) -> Result<Bytes, StoreError> {
        let values = params![blob.uuid(), at.cast_signed()];
        let read = |row: &tokio_postgres::Row| Ok((get::<i64>(row, 0)?, get::<Vec<u8>>(row, 1)?));
        let found = self.0.connection().await?.one(READ, &values, read).await?;
        let Some((from, bytes)) = found else { return Ok(Bytes::new()) };
        let skipped = usize::try_from(at.saturating_sub(from.unsigned_abs())).unwrap_or(usize::MAX).min(bytes.len());
        Ok(Bytes::from(bytes).slice(skipped..))
    }

    async fn remove(&self, blob: BlobId) -> Result<(), StoreError> {
        let text = "DELETE FROM blob_pieces WHERE blob = $1";
        self.0.connection().await?.rows(text, &params![blob.uuid()]).await.map(drop)
    }

    async fn list(&self, after: BlobId, limit: usize) -> Result<Vec<BlobId>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = |row: &tokio_postgres::Row| get(row, 0);
        self.0.connection().await?.all(LIST, &params![after.uuid(), limit], read).await
    }
}
