//! The check of a task's status, in a form that costs less.

use sea_orm_migration::prelude::*;

/// The thirty-first step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// SQLite makes a table of the values of a long `IN`, each time that a row is written; it stops at the first of these that
/// is true. No row is touched: what a check says stands in the schema alone, and is changed there
/// (<https://www.sqlite.org/lang_altertable.html#making_other_kinds_of_table_schema_changes>). A view that comes and goes tells
/// connections that are open to read the schema anew.
const UP: &[&str] = &[
    // One text: it must be one connection.
    "PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql,
        'CHECK (status IN (''pending'',''running'',''completed'',''failed'',''cancelled''))',
        'CHECK (status = ''pending'' OR status = ''running'' OR status = ''completed'' OR status = ''failed'' OR status = ''cancelled'')')
        WHERE type = 'table' AND name = 'tasks';
    PRAGMA writable_schema = RESET",
    "CREATE VIEW read_the_schema AS SELECT 1",
    "DROP VIEW read_the_schema",
];

const DOWN: &[&str] = &[
    // One text: it must be one connection.
    "PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET sql = replace(sql,
        'CHECK (status = ''pending'' OR status = ''running'' OR status = ''completed'' OR status = ''failed'' OR status = ''cancelled'')',
        'CHECK (status IN (''pending'',''running'',''completed'',''failed'',''cancelled''))')
        WHERE type = 'table' AND name = 'tasks';
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
