//! Conversations as blocks.

use domain::{Event, EventKind, TaskId, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::check;
use super::conversation::*;

fn event(seq: i64, kind: EventKind, data: &Value) -> Event {
    Event { task: TaskId::from_u128(1), seq, at: Timestamp(seq * 1_000), kind, data: data.to_string() }
}

fn calls(id: &str, name: &str, input: &Value) -> Value {
    json!({ "frame": { "message": { "content": [{ "type": "tool_use", "id": id, "name": name, "input": input }] } } })
}

fn result(id: &str, text: &str, failed: bool) -> Value {
    let part = json!({ "type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed });
    json!({ "frame": { "message": { "content": [part] } } })
}

#[test]
fn a_call_and_its_result_are_one_block() {
    let mut conversation = Conversation::default();
    let asked = conversation.add(&event(3, EventKind::ToolUse, &calls("t", "Bash", &json!({ "command": "ls" }))));
    assert_eq!(asked[0].seq, 3);
    assert!(asked[0].html.as_str().contains("<span class=\"took\">…</span>"));
    let done = conversation.add(&event(5, EventKind::ToolResult, &result("t", "a\nb", false)));
    assert_eq!((done.len(), done[0].seq), (1, 3), "it takes the place of the first");
    let html = done[0].html.as_str();
    assert!(html.contains("2.0 s") && html.contains("a\nb") && html.contains("id=\"e3\""), "{html}");
    let lone = conversation.add(&event(6, EventKind::ToolResult, &result("unknown", "x", true)));
    assert_eq!(lone[0].seq, 6);
    assert!(lone[0].html.as_str().contains("✗ failed"));
}

#[test]
fn retries_in_a_row_are_one_line_and_filters_hold() {
    let retry = json!({ "frame": { "error": "overloaded", "error_status": 529 } });
    let mut conversation = Conversation::new(Show::Failures);
    let first = conversation.add(&event(1, EventKind::Retry, &retry));
    let third = [2, 9].map(|seq| conversation.add(&event(seq, EventKind::Retry, &retry))).concat();
    assert_eq!((first[0].seq, third[1].seq), (1, 1));
    assert!(third[1].html.as_str().contains("asked the API again 3 times: 529 overloaded, 8 s"));
    let text = json!({ "frame": { "message": { "content": [{ "type": "text", "text": "hi" }] } } });
    assert!(conversation.add(&event(10, EventKind::Assistant, &text)).is_empty(), "no failure");
    assert_eq!(conversation.add(&event(11, EventKind::Retry, &retry))[0].seq, 11, "another run of them");
}

/// The same of a sub-agent.
fn of(parent: &str, mut data: Value) -> Value {
    data["frame"]["parent_tool_use_id"] = json!(parent);
    data
}

#[test]
fn what_a_sub_agent_does_stands_in_its_own_conversation() {
    let begun = event(3, EventKind::ToolUse, &calls("agent one", "Task", &json!({ "description": "look" })));
    let inner = event(4, EventKind::ToolUse, &of("agent one", calls("i", "Bash", &json!({ "command": "ls <b>" }))));
    let deeper = event(5, EventKind::ToolUse, &of("i", calls("j", "Read", &json!({ "file_path": "x" }))));
    let answer = event(6, EventKind::ToolResult, &of("agent one", result("i", "files", false)));
    let end = event(7, EventKind::ToolResult, &result("agent one", "found it", false));
    let mut conversation = Conversation::default();
    conversation.add(&begun);
    for (step, n) in [(&inner, 1), (&deeper, 2), (&answer, 3), (&end, 3)] {
        let blocks = conversation.add(step);
        let html = blocks[0].html.as_str();
        check::well_formed(html);
        assert_eq!((blocks.len(), blocks[0].seq), (1, 3), "in the fold of its call");
        assert!(html.contains(&format!("{n} steps")) && html.contains("?agent=agent%20one&amp;from=3"), "{html}");
    }
    // A page that begins behind the call.
    let mut later = Conversation::default();
    assert_eq!((later.add(&inner)[0].seq, later.add(&answer)[0].seq), (4, 4));
    // Its own conversation.
    let mut own = Conversation::of_agent("agent one");
    let shown: Vec<i64> = [&begun, &inner, &deeper, &answer, &end]
        .into_iter()
        .flat_map(|event| own.add(event))
        .map(|block| block.seq)
        .collect();
    assert_eq!(shown, [4, 4, 4], "the call, a step below it, its result");
}

proptest! {
    #[test]
    fn whatever_an_event_has_is_shown_as_text(
        kind in prop::sample::select(<EventKind as strum::VariantArray>::VARIANTS.to_vec()),
        text in "[ -~<>&\"'\u{1b}\u{202e}\n]{0,80}",
        shape in 0..7,
        nested in any::<bool>(),
    ) {
        let mut data = match shape {
            0 => json!({ "frame": { "message": { "content": [{ "type": "text", "text": text }] } } }),
            1 => calls(&text, &text, &json!({ "command": text, "file_path": [text] })),
            2 => result(&text, &text, true),
            3 => json!({ "state": "asked", "toolName": text, "input": { "command": text }, "text": text }),
            4 => json!({ "status": text, "reason": text, "error": { "message": text } }),
            5 => json!({ "frame": { "subtype": text, "is_error": true, "num_turns": text, "error": text } }),
            _ => json!([text, { "message": text }]),
        };
        if nested && data["frame"].is_object() {
            data = of(&text, data);
        }
        let mut conversation = Conversation::default();
        for seq in 1..3 {
            for block in conversation.add(&event(seq, kind, &data)) {
                check::well_formed(block.html.as_str());
            }
        }
    }
}
