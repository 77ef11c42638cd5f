//! From events to HTML. Pure: what comes in is shown as text, whatever it is; nothing is read or written.
//!
//! | file | |
//! | --- | --- |
//! | `html` | pieces of HTML, in which markup stands in the program and everything else is text |
//! | `conversation` | the events of a task as blocks: a call of a tool and its result are one |
//! | `tool` | calls of tools: the argument that matters, and what is shown of input and output |
//! | `markdown`, `ansi`, `diff`, `patch` | texts of the model, output of programs, changes |
//! | `chart`, `graph` | numbers as a picture and as a table; tasks that depend on each other |

mod ansi;
mod chart;
#[cfg(test)]
mod check;
mod conversation;
#[cfg(test)]
mod conversation_test;
mod diff;
mod graph;
mod html;
mod markdown;
mod patch;
mod tool;

pub use chart::{Chart, Span, chart, time_line};
pub use conversation::{Block, Conversation, Show, question};
pub use graph::{Node, graph};
pub use html::Html;
pub use markdown::markdown;
pub use patch::patch;
