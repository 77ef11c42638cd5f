//! All SQL. SQLite now; a second database is a second set of these files.
//!
//! One connection writes, in immediate transactions; others read beside it. Every file is one
//! idea: `open` the database, `tx` a transaction with its buffered inserts, `claim`, `settle`
//! (everything that moves one task), `read`, and `row` between a row and the domain.

mod attempts;
mod claim;
mod insert;
#[cfg(test)]
mod model_test;
mod open;
mod read;
mod row;
mod settle;
mod submit;
mod tx;
mod workers;

pub use open::{Store, StoreError};
pub use read::{Reader, Watcher};
pub use tx::{Change, Tx, Waiting, Writer, asked};
