//! All SQL. SQLite now; a second database is a second set of these files.
//!
//! One connection writes, in immediate transactions; others read beside it. Every file is one
//! idea: `open` the database, `tx` a transaction with its buffered inserts, `claim`, `settle`
//! (everything that moves one task), `talk` (what it asks and is told), `read`, `gate` (what is due and may not start), `money` (what was spent), `history` (what was done), `keep` (a copy, and the
//! end of what is old), `sound` and `mark` (whether it may be used at all), `reserve` (for a
//! disk that is full), and `row` between a row and the domain. `quick` is for batches
//! that only insert.

mod attempts;
mod claim;
mod gate;
mod history;
mod insert;
mod keep;
mod mark;
#[cfg(test)]
mod model_test;
mod money;
mod open;
mod quick;
mod read;
mod reserve;
mod row;
mod settle;
mod sound;
mod submit;
mod talk;
mod tx;
mod workers;

pub use mark::Mark;
pub use open::{Store, StoreError};
pub use read::{Reader, Watcher};
pub use reserve::Reserve;
pub use tx::{Change, Tx, Waiting, Writer, asked};
