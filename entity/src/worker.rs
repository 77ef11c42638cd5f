//! The workers that live, one row a life.

use sea_orm::entity::prelude::*;

/// One row a life of a worker.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "workers")]
pub struct Model {
    /// The life.
    #[sea_orm(primary_key, auto_increment = false)]
    pub holder: Uuid,
    /// Name.
    pub name: String,
    /// The machine.
    pub host: String,
    /// The process, as JSON: number, start time, boot, PID namespace.
    pub process: String,
    /// Start of the process.
    pub started_at: i64,
    /// Time of the last heartbeat.
    pub beat_at: i64,
    /// Tasks that it runs.
    pub running: i64,
    /// Tasks that it may run at a time.
    pub concurrency: i64,
    /// Its labels, between commas.
    pub labels: String,
    /// Version of its program.
    pub version: String,
    /// True once it is to finish what it runs, and to end.
    pub drain: bool,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
