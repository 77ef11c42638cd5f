//! Changes of a file, line by line, with the changed words marked.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::html::{Html, cut};

/// Longest text of either side that is compared, in bytes.
const MAX_TEXT: usize = 128 << 10;
/// Time for a comparison; then what is left counts as changed.
const LIMIT: Duration = Duration::from_millis(50);
/// Lines of a change that are shown.
const MAX_LINES: usize = 400;
/// Lines around a change that are shown.
const AROUND: usize = 3;

/// Numbers of lines that were taken away, and that were added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub removed: usize,
    pub added: usize,
}

/// Renders what became of a text.
#[must_use]
pub fn diff(old: &str, new: &str) -> (Html, Size) {
    let ((old, _), (new, _)) = (cut(old, MAX_TEXT), cut(new, MAX_TEXT));
    let mut html = Html::new();
    let (mut size, mut lines) = (Size::default(), 0);
    let diff = TextDiff::configure().timeout(LIMIT).diff_lines(&*old, &*new);
    html.raw("<pre class=\"diff\" tabindex=\"0\">");
    for (at, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if at > 0 && lines < MAX_LINES {
            html.raw("<span class=\"gap\">⋯</span>\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_inline_changes(op)) {
            match change.tag() {
                ChangeTag::Delete => size.removed += 1,
                ChangeTag::Insert => size.added += 1,
                ChangeTag::Equal => {}
            }
            lines += 1;
            if lines > MAX_LINES {
                continue;
            }
            let number = change.new_index().or(change.old_index()).unwrap_or(0) + 1;
            line(&mut html, change.tag(), number, change.values());
        }
    }
    if lines > MAX_LINES {
        html.raw("<span class=\"gap\">")
            .number(i64::try_from(lines - MAX_LINES).unwrap_or(0))
            .raw(" more lines</span>\n");
    }
    html.raw("</pre>");
    (html, size)
}

fn line(html: &mut Html, tag: ChangeTag, number: usize, words: &[(bool, &str)]) {
    html.raw(match tag {
        ChangeTag::Delete => "<del>",
        ChangeTag::Insert => "<ins>",
        ChangeTag::Equal => "<span>",
    });
    html.raw("<i>").number(i64::try_from(number).unwrap_or(0)).raw("</i>");
    html.raw(match tag {
        ChangeTag::Delete => "− ",
        ChangeTag::Insert => "+ ",
        ChangeTag::Equal => "  ",
    });
    for (changed, word) in words {
        let word = word.trim_end_matches(['\n', '\r']);
        match changed {
            true => html.raw("<b>").text(word).raw("</b>"),
            false => html.text(word),
        };
    }
    html.raw(match tag {
        ChangeTag::Delete => "</del>\n",
        ChangeTag::Insert => "</ins>\n",
        ChangeTag::Equal => "</span>\n",
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check;
    use super::*;

    #[test]
    fn lines_have_numbers_signs_and_marked_words() {
        let (html, size) = diff("a\nlet x = 1;\nb\n", "a\nlet x = 2;\nb\n");
        assert_eq!(size, Size { removed: 1, added: 1 });
        let html = html.as_str();
        assert!(html.contains("<del><i>2</i>− let x = <b>1</b>;</del>") || html.contains("<b>1;</b>"), "{html}");
        assert!(html.contains("<ins><i>2</i>+ let x = "), "{html}");
        let (html, size) = diff("", &"<script>\n".repeat(1_000));
        assert_eq!(size, Size { removed: 0, added: 1_000 });
        assert!(html.as_str().contains("600 more lines") && !html.as_str().contains("<script"));
    }

    proptest! {
        #[test]
        fn whatever_changes_is_well_formed(old in "[a-c<>&\n]{0,200}", new in "[a-c<>&\n]{0,200}") {
            check::well_formed(diff(&old, &new).0.as_str());
        }
    }
}
