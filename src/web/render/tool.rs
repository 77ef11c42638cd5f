//! Calls of tools.

use serde_json::Value;

use super::ansi::ansi;
use super::diff::{Size, diff};
use super::html::{Html, cut};

/// Longest argument in the head of a call, in bytes.
const MAX_HEAD: usize = 160;
/// Longest text of an input or an output that is shown, in bytes.
const MAX_TEXT: usize = 32 << 10;
/// Longest line of an output that is shown, in bytes.
const MAX_LINE: usize = 2 << 10;
/// Lines at the beginning and at the end of a long output.
const LINES: usize = 40;
/// Lines of a change up to which it is shown open.
const SMALL: usize = 20;

/// The argument that matters, on one line.
#[must_use]
pub fn head(name: &str, input: &Value) -> String {
    let field = match name {
        "Bash" => "command",
        "Read" | "Edit" | "MultiEdit" | "Write" => "file_path",
        "NotebookEdit" => "notebook_path",
        "Glob" | "Grep" => "pattern",
        "WebFetch" => "url",
        "WebSearch" => "query",
        "Task" | "Agent" => "description",
        "AskUserQuestion" => return questions(input).next().unwrap_or_default().to_owned(),
        _ => "",
    };
    let first = || input.as_object()?.values().find_map(Value::as_str);
    let argument = input[field].as_str().or_else(first).unwrap_or_default();
    let line = argument.lines().next().unwrap_or_default();
    let (shown, left) = cut(line, MAX_HEAD);
    if left > 0 || argument.lines().nth(1).is_some() { format!("{shown} …") } else { shown.into_owned() }
}

fn questions(input: &Value) -> impl Iterator<Item = &str> {
    input["questions"].as_array().into_iter().flatten().filter_map(|question| question["question"].as_str())
}

/// True if the tool changes a file.
#[must_use]
pub fn changes_files(name: &str) -> bool {
    matches!(name, "Edit" | "MultiEdit" | "Write" | "NotebookEdit")
}

/// The input as it is shown, and whether it is shown open.
#[must_use]
pub fn input(name: &str, input: &Value) -> (Html, bool) {
    let text = |field: &str| input[field].as_str().unwrap_or_default();
    match name {
        "Bash" => {
            let mut html = Html::new();
            html.raw("<pre class=\"cmd\" tabindex=\"0\">").add(&lines(text("command"))).raw("</pre>");
            (html, false)
        }
        "Edit" => change(diff(text("old_string"), text("new_string"))),
        "Write" => change(diff("", text("content"))),
        "MultiEdit" => {
            let mut html = Html::new();
            let mut size = Size::default();
            for edit in input["edits"].as_array().into_iter().flatten().take(50) {
                let side = |field: &str| edit[field].as_str().unwrap_or_default();
                let (piece, more) = diff(side("old_string"), side("new_string"));
                html.add(&piece);
                size = Size { removed: size.removed + more.removed, added: size.added + more.added };
            }
            change((html, size))
        }
        "Task" | "Agent" => {
            let mut html = Html::new();
            html.raw("<pre class=\"words\">").text(&cut(text("prompt"), MAX_TEXT).0).raw("</pre>");
            (html, false)
        }
        "TodoWrite" => (todos(input), true),
        "AskUserQuestion" => (choices(input), true),
        _ => (json(input), false),
    }
}

fn change((html, size): (Html, Size)) -> (Html, bool) {
    (html, size.removed + size.added <= SMALL)
}

fn todos(input: &Value) -> Html {
    let mut html = Html::new();
    html.raw("<ul class=\"todo\">");
    for todo in input["todos"].as_array().into_iter().flatten().take(100) {
        html.raw(match todo["status"].as_str() {
            Some("completed") => "<li class=\"done\">☑ ",
            Some("in_progress") => "<li class=\"now\">▸ ",
            _ => "<li>☐ ",
        });
        html.text(todo["content"].as_str().unwrap_or_default()).raw("</li>");
    }
    html.raw("</ul>");
    html
}

fn choices(input: &Value) -> Html {
    let mut html = Html::new();
    for question in input["questions"].as_array().into_iter().flatten().take(10) {
        html.raw("<p>").text(question["question"].as_str().unwrap_or_default()).raw("</p><ul>");
        for option in question["options"].as_array().into_iter().flatten().take(20) {
            html.raw("<li><strong>").text(option["label"].as_str().unwrap_or_default()).raw("</strong> ");
            html.text(option["description"].as_str().unwrap_or_default()).raw("</li>");
        }
        html.raw("</ul>");
    }
    html
}

/// Any value, as it would be written.
#[must_use]
pub fn json(value: &Value) -> Html {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let mut html = Html::new();
    html.raw("<pre class=\"json\" tabindex=\"0\">").add(&lines(&text)).raw("</pre>");
    html
}

/// The text of a result.
#[must_use]
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &Value| match part["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("[{}]", part["type"].as_str().unwrap_or("something else")),
            };
            parts.iter().map(text).collect::<Vec<_>>().join("\n")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// An output: of a long one its beginning and its end, with the rest in a fold.
#[must_use]
pub fn output(text: &str) -> Html {
    let mut html = Html::new();
    let all: Vec<&str> = text.lines().collect();
    if all.len() <= 2 * LINES + 5 {
        html.raw("<pre class=\"out\" tabindex=\"0\">").add(&ansi(&bounded(&all))).raw("</pre>");
        return html;
    }
    let (first, rest) = all.split_at(LINES);
    let (middle, last) = rest.split_at(rest.len() - LINES);
    html.raw("<pre class=\"out\" tabindex=\"0\">").add(&ansi(&bounded(first))).raw("</pre>");
    html.raw("<details class=\"rest\"><summary>show all ").number(i64::try_from(all.len()).unwrap_or(i64::MAX));
    html.raw(" lines</summary><pre class=\"out\" tabindex=\"0\">").add(&ansi(&bounded(middle))).raw("</pre></details>");
    html.raw("<pre class=\"out\" tabindex=\"0\">").add(&ansi(&bounded(last))).raw("</pre>");
    html
}

fn lines(text: &str) -> Html {
    let mut html = Html::new();
    html.text(&bounded(&text.lines().collect::<Vec<_>>()));
    html
}

/// Lines that are not too long, and not too many.
fn bounded(lines: &[&str]) -> String {
    let mut shown = String::new();
    for (at, line) in lines.iter().enumerate() {
        if shown.len() > MAX_TEXT {
            shown.push_str(&format!("… {} more lines", lines.len() - at));
            break;
        }
        let (line, left) = cut(line, MAX_LINE);
        shown.push_str(&line);
        if left > 0 {
            shown.push_str(&format!(" … {left} more bytes"));
        }
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check;
    use super::*;

    #[test]
    fn the_head_has_what_matters() {
        assert_eq!(head("Bash", &json!({ "description": "x", "command": "ls\nrm" })), "ls …");
        assert_eq!(head("Edit", &json!({ "file_path": "/a", "old_string": "b" })), "/a");
        assert_eq!(head("mcp__x__y", &json!({ "n": 1, "what": "z" })), "z");
        assert_eq!(head("Bash", &json!("odd")), "");
        assert_eq!(head("Grep", &json!({ "pattern": "x".repeat(200) })).chars().count(), MAX_HEAD + 2);
    }

    #[test]
    fn long_outputs_are_folded_and_one_long_line_is_cut() {
        let long: String = (0..1_000).map(|n| format!("{n}\n")).collect();
        let shown = output(&long);
        assert!(shown.as_str().contains("show all 1000 lines"));
        check::well_formed(shown.as_str());
        let line = output(&"x".repeat(1 << 20));
        assert!(line.as_str().len() < 4_000, "{}", line.as_str().len());
        assert!(line.as_str().contains("more bytes"));
        for (name, value) in [
            ("TodoWrite", json!({ "todos": [{ "content": "<b>", "status": "completed" }] })),
            ("AskUserQuestion", json!({ "questions": [{ "question": "<i>?", "options": [{ "label": "<u>" }] }] })),
            ("MultiEdit", json!({ "edits": [{ "old_string": "<", "new_string": ">" }, 7] })),
            ("Write", json!({ "content": ["odd"] })),
            ("Other", json!({ "deep": { "<": [">"] } })),
        ] {
            check::well_formed(input(name, &value).0.as_str());
        }
    }
}
