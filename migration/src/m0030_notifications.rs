//! Messages of webhooks in the shape of services that notify people, and rules for them.

use sea_orm_migration::prelude::*;

/// The thirtieth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Without a format a message is JSON, as before. `tags` has each between two characters 31.
const UP: &[&str] = &[
    "ALTER TABLE webhooks ADD COLUMN format TEXT",
    "ALTER TABLE webhooks ADD COLUMN tags TEXT",
    "ALTER TABLE webhooks ADD COLUMN quiet BOOLEAN",
    "ALTER TABLE deliveries ADD COLUMN format TEXT",
    "ALTER TABLE deliveries ADD COLUMN quiet BOOLEAN",
];

const DOWN: &[&str] = &[
    "ALTER TABLE deliveries DROP COLUMN quiet",
    "ALTER TABLE deliveries DROP COLUMN format",
    "ALTER TABLE webhooks DROP COLUMN quiet",
    "ALTER TABLE webhooks DROP COLUMN tags",
    "ALTER TABLE webhooks DROP COLUMN format",
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
