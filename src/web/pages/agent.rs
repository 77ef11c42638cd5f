//! The conversation of a sub-agent within that of its task.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::super::door::Turned;
use super::super::render::{Block, Conversation};
use super::task::blocks;
use crate::api::Shared;
use crate::queue::{PagePlace, ReadEventPage};
use domain::{EventKind, TaskId};

/// Events around one that is looked for.
const AROUND: i64 = 200;
/// Events of a read, bytes of their data, and reads for a page.
const EVENTS: u64 = 500;
const BYTES: u64 = 1 << 20;
const READS: usize = 8;

/// Where an event stands that a sub-agent has made: in a conversation of its own.
pub async fn place_in_agent(shared: &Shared, task: TaskId, event: Option<i64>) -> Result<Option<String>, Turned> {
    let Some(seq) = event else { return Ok(None) };
    let found = shared
        .queue
        .ask(ReadEventPage::one(task, seq))
        .await?
        .events
        .into_iter()
        .next()
        .filter(|event| event.seq == seq);
    let data: Option<Value> = found.and_then(|event| serde_json::from_str(&event.data).ok());
    let call = data.as_ref().and_then(|data| data["frame"]["parent_tool_use_id"].as_str());
    Ok(call.map(|call| {
        let (call, from) = (utf8_percent_encode(call, NON_ALPHANUMERIC), seq.saturating_sub(AROUND));
        format!("/tasks/{task}?agent={call}&from={from}#e{seq}")
    }))
}

/// The conversation of a sub-agent behind this event, and whether it is cut.
pub async fn of_agent(shared: &Shared, task: TaskId, call: &str, from: i64) -> Result<(Vec<Block>, bool), Turned> {
    let (mut events, mut after, mut more) = (Vec::new(), from.saturating_sub(1), true);
    let mut reads = 0;
    while more && reads < READS {
        let kinds = vec![EventKind::Assistant, EventKind::ToolUse, EventKind::ToolResult];
        let read = ReadEventPage { task, place: PagePlace::After(after), kinds, limit: EVENTS, bytes: BYTES };
        let page = shared.queue.ask(read).await?;
        more = page.more && !page.events.is_empty();
        after = page.events.last().map_or(after, |event| event.seq);
        reads += 1;
        // Others are of no use to it, and may be large.
        events.extend(page.events.into_iter().filter(|event| event.data.contains("parent_tool_use_id")));
    }
    Ok((blocks(&events, Conversation::of_agent(call)), more))
}
