//! The schema on PostgreSQL, step by step. A step is a transaction; one that has been released is never edited.
//!
//! The tables are those of the entities, in PostgreSQL's types: all whole numbers are `BIGINT`, ids are `UUID`. The first
//! step is the schema of SQLite as it was when PostgreSQL came; from then on a change of the schema is a step of each.

mod p0001_base;
mod p0002_transcripts;
mod p0003_labels;
mod p0004_open_questions;
mod p0005_figures;
mod p0006_loops;
mod p0007_traces;
mod p0008_words;
mod p0009_dependencies;
mod p0010_shares;
mod p0011_files;
mod p0012_secrets;
mod p0013_handovers;
mod p0014_races;
mod p0015_touches;
mod p0016_rules;
mod p0017_child_tasks;
mod p0018_notifications;

/// A step of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Name under which it is noted in the database.
    pub name: &'static str,
    /// Statements that make it.
    pub up: &'static [&'static str],
    /// Statements that undo it.
    pub down: &'static [&'static str],
}

/// All steps, in order.
pub const STEPS: &[Step] = &[
    p0001_base::STEP,
    p0002_transcripts::STEP,
    p0003_labels::STEP,
    p0004_open_questions::STEP,
    p0005_figures::STEP,
    p0006_loops::STEP,
    p0007_traces::STEP,
    p0008_words::STEP,
    p0009_dependencies::STEP,
    p0010_shares::STEP,
    p0011_files::STEP,
    p0012_secrets::STEP,
    p0013_handovers::STEP,
    p0014_races::STEP,
    p0015_touches::STEP,
    p0016_rules::STEP,
    p0017_child_tasks::STEP,
    p0018_notifications::STEP,
];
