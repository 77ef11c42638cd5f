//! What we say to the CLI. Only a JSON serialiser builds these lines: standard input is a
//! privileged channel, and a raw newline in a pasted text would begin a second frame.

use serde_json::json;

/// The last block of every instruction. The CLI reads only the *last* text block for
/// `@path` and `/command`; with a constant there, the client's text reaches the model word
/// for word.
const LAST_BLOCK: &str = "Do the task above.";

/// The frame that hands an instruction over, with its newline.
#[must_use]
pub fn instruction(text: &str) -> String {
    let content = json!([{ "type": "text", "text": text }, { "type": "text", "text": LAST_BLOCK }]);
    line(&json!({
        "type": "user",
        "message": { "role": "user", "content": content },
        "parent_tool_use_id": null,
        "session_id": "",
    }))
}

/// The frame that stops the turn, with its newline.
#[must_use]
pub fn interrupt() -> String {
    line(&json!({
        "type": "control_request",
        "request_id": "interrupt",
        "request": { "subtype": "interrupt" },
    }))
}

fn line(frame: &serde_json::Value) -> String {
    format!("{frame}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_becomes_exactly_one_line(text in any::<String>()) {
            let frame = instruction(&text);
            prop_assert_eq!(frame.matches('\n').count(), 1);
            prop_assert!(frame.ends_with('\n') && !frame.contains('\r'));
            let read: serde_json::Value = serde_json::from_str(&frame).expect("json");
            prop_assert_eq!(read["message"]["content"][0]["text"].as_str(), Some(text.as_str()));
        }
    }
}
