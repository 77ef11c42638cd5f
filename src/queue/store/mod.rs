//! All SQL. SQLite now; a second database is a second set of these files.
//!
//! Statements that are run for every claim or report name their index (`INDEXED BY`): left alone, SQLite takes
//! that of the status, and walks all pending tasks.
//!
//! One connection writes, in immediate transactions; others read beside it. Every file is one
//! idea: `open` the database, `writer` the connection that writes, `tx` a transaction, `change` a command
//! in it, `table` whole rows, `claim`, `amend` (what waits), `settle`
//! (everything that moves one task), `talk` (what it asks and is told), `read`, `look` (small reads), `gate` (what is due and may not start), `limits` (on groups of tasks), `hooks` (who is told over HTTP), `schedules` (tasks by the clock), `money` (what was spent), `history` (what was done), `keep` (a copy, and the
//! end of what is old), `sound` and `mark` (whether it may be used at all), `reserve` (for a
//! disk that is full), and `row` between a row and the domain.

mod amend;
mod attempts;
mod change;
mod claim;
mod gate;
mod history;
mod hooks;
mod keep;
mod limits;
mod look;
mod mark;
#[cfg(test)]
mod model_test;
mod money;
mod open;
mod read;
mod reserve;
mod row;
mod schedules;
mod settle;
mod sound;
mod submit;
mod summary;
mod table;
mod talk;
mod tx;
mod workers;
mod writer;

pub use change::{Change, Waiting, asked};
pub use mark::Mark;
pub use open::{Store, StoreError};
pub use read::{LatestEvents, Reader};
pub use reserve::Reserve;
pub use tx::Tx;
pub use writer::{Committed, Writer};
