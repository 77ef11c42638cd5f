//! Spans of the tools that a model calls, where the CLI sends none of its own.

use std::collections::HashMap;

use crate::claude::{Frame, FrameKind};
use crate::telemetry::traces::Span;

/// Most calls that are under way at a time; what goes beyond has no span.
const MOST: usize = 1_000;

/// Calls that are under way, by the model's names for them.
#[derive(Debug, Default)]
pub struct ToolSpans {
    is_wanted: bool,
    open: HashMap<String, Span>,
}

impl ToolSpans {
    /// Begins none unless they are wanted.
    pub fn new(is_wanted: bool) -> Self {
        Self { is_wanted, open: HashMap::new() }
    }

    /// Begins and ends spans as a frame tells of it.
    pub fn note(&mut self, frame: &Frame) {
        match &frame.kind {
            FrameKind::Assistant { calls, .. } if self.is_wanted => {
                for call in calls.iter().take(MOST.saturating_sub(self.open.len())) {
                    self.open.insert(call.id().to_owned(), Span::of_tool(call.tool(), call.id()));
                }
            }
            FrameKind::User { results } => {
                for (id, failed) in results {
                    let ended = self.open.remove(id);
                    if let Some(mut span) = ended.filter(|_| *failed) {
                        span.fail("tool_error");
                    }
                }
            }
            _ => {}
        }
    }
}
