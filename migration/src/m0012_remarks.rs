//! Remarks of a task beside its result, costs that were set aside, and webhooks that fail.

use sea_orm_migration::prelude::*;

/// The twelfth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// `remarks` is JSON. A delivery knows its host, so that one that does not answer takes no other's place, and its
/// webhook, so that one that is gone is told nothing more.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN remarks TEXT",
    "ALTER TABLE attempts ADD COLUMN cost_set_aside BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE webhooks ADD COLUMN failing_since BIGINT",
    "ALTER TABLE webhooks ADD COLUMN disabled_at BIGINT",
    "ALTER TABLE webhooks ADD COLUMN disabled_reason TEXT",
    "ALTER TABLE deliveries ADD COLUMN webhook_id TEXT",
    "ALTER TABLE deliveries ADD COLUMN host TEXT NOT NULL DEFAULT ''",
];

const DOWN: &[&str] = &[
    "ALTER TABLE deliveries DROP COLUMN host",
    "ALTER TABLE deliveries DROP COLUMN webhook_id",
    "ALTER TABLE webhooks DROP COLUMN disabled_reason",
    "ALTER TABLE webhooks DROP COLUMN disabled_at",
    "ALTER TABLE webhooks DROP COLUMN failing_since",
    "ALTER TABLE attempts DROP COLUMN cost_set_aside",
    "ALTER TABLE tasks DROP COLUMN remarks",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
