//! The check of an attempt's outcome, in a form that costs less.

use sea_orm_migration::prelude::*;

/// The thirty-second step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// For the same reason, and in the same way, as the step before.
const UP: &[&str] = &[
    // One text: it must be one connection.
    "PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql,
        'CHECK (outcome IN (''completed'',''failed'',''crashed'',''released'',''cancelled''))',
        'CHECK (outcome = ''completed'' OR outcome = ''failed'' OR outcome = ''crashed'' OR outcome = ''released'' OR outcome = ''cancelled'')')
        WHERE type = 'table' AND name = 'attempts';
    PRAGMA writable_schema = RESET",
    "CREATE VIEW read_the_schema AS SELECT 1",
    "DROP VIEW read_the_schema",
];

const DOWN: &[&str] = &[
    // One text: it must be one connection.
    "PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql,
        'CHECK (outcome = ''completed'' OR outcome = ''failed'' OR outcome = ''crashed'' OR outcome = ''released'' OR outcome = ''cancelled'')',
        'CHECK (outcome IN (''completed'',''failed'',''crashed'',''released'',''cancelled''))')
        WHERE type = 'table' AND name = 'attempts';
    PRAGMA writable_schema = RESET",
    "CREATE VIEW read_the_schema AS SELECT 1",
    "DROP VIEW read_the_schema",
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
