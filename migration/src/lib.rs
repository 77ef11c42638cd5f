//! The schema of cc-anywhere's database, step by step. Steps go up and down; a step that has
//! been released is never edited.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

pub mod postgres;

mod m0001_base;
mod m0002_attempts;
mod m0003_history;
mod m0004_sessions;
mod m0005_talk;
mod m0006_limits;
mod m0007_directories;
mod m0008_groups;
mod m0009_event_order;
mod m0010_webhooks;
mod m0011_schedules;
mod m0012_remarks;
mod m0013_words;
mod m0014_keys;
mod m0015_transcripts;
mod m0016_labels;
mod m0017_open_questions;
mod m0018_figures;
mod m0019_loops;
mod m0020_traces;
mod m0021_dependencies;
mod m0022_shares;
mod m0023_files;
mod m0024_secrets;
mod m0025_handovers;
mod m0026_races;
mod m0027_touches;
mod m0028_rules;
mod m0029_child_tasks;
mod m0030_notifications;
mod m0031_plain_check;
mod m0032_plain_outcome;

/// All steps, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_base::Migration),
            Box::new(m0002_attempts::Migration),
            Box::new(m0003_history::Migration),
            Box::new(m0004_sessions::Migration),
            Box::new(m0005_talk::Migration),
            Box::new(m0006_limits::Migration),
            Box::new(m0007_directories::Migration),
            Box::new(m0008_groups::Migration),
            Box::new(m0009_event_order::Migration),
            Box::new(m0010_webhooks::Migration),
            Box::new(m0011_schedules::Migration),
            Box::new(m0012_remarks::Migration),
            Box::new(m0013_words::Migration),
            Box::new(m0014_keys::Migration),
            Box::new(m0015_transcripts::Migration),
            Box::new(m0016_labels::Migration),
            Box::new(m0017_open_questions::Migration),
            Box::new(m0018_figures::Migration),
            Box::new(m0019_loops::Migration),
            Box::new(m0020_traces::Migration),
            Box::new(m0021_dependencies::Migration),
            Box::new(m0022_shares::Migration),
            Box::new(m0023_files::Migration),
            Box::new(m0024_secrets::Migration),
            Box::new(m0025_handovers::Migration),
            Box::new(m0026_races::Migration),
            Box::new(m0027_touches::Migration),
            Box::new(m0028_rules::Migration),
            Box::new(m0029_child_tasks::Migration),
            Box::new(m0030_notifications::Migration),
            Box::new(m0031_plain_check::Migration),
            Box::new(m0032_plain_outcome::Migration),
        ]
    }
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
