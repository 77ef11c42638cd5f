//! Markdown of the model. Its HTML is text, its pictures are links, and its links lead to the web only.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::html::{Html, cut};

/// Longest text that is rendered, in bytes.
const MAX_TEXT: usize = 256 << 10;
/// Levels by which lists and quotes may be nested; deeper ones stay at this one.
const MAX_DEPTH: usize = 16;

/// Renders a text.
#[must_use]
pub fn markdown(text: &str) -> Html {
    let (shown, left) = cut(text, MAX_TEXT);
    let mut out = Writer { html: Html::new(), open: Vec::new(), in_head: false };
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(&shown, options) {
        out.event(event);
    }
    out.close_all();
    if left > 0 {
        out.html.raw("<p class=\"cut\">").number(i64::try_from(left).unwrap_or(i64::MAX)).raw(" more bytes</p>");
    }
    out.html
}

/// An element that is open, with the markup that closes it.
type Open = &'static str;

struct Writer {
    html: Html,
    open: Vec<Open>,
    in_head: bool,
}

impl Writer {
    fn begin(&mut self, markup: &'static str, end: Open) {
        // What is nested without end would cost the reader's stack.
        if self.open.len() < MAX_DEPTH * 2 {
            self.html.raw(markup);
            self.open.push(end);
        } else {
            self.open.push("");
        }
    }

    fn end(&mut self) {
        if let Some(end) = self.open.pop() {
            self.html.raw(end);
        }
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.end();
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(TagEnd::TableHead) => {
                self.end();
                self.in_head = false;
            }
            Event::End(_) => self.end(),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => _ = self.html.text(&text),
            Event::Code(text) => _ = self.html.raw("<code>").text(&text).raw("</code>"),
            Event::SoftBreak => _ = self.html.raw("\n"),
            Event::HardBreak => _ = self.html.raw("<br>"),
            Event::Rule => _ = self.html.raw("<hr>"),
            Event::TaskListMarker(true) => _ = self.html.raw("☑ "),
            Event::TaskListMarker(false) => _ = self.html.raw("☐ "),
            Event::FootnoteReference(name) => _ = self.html.text(&name),
            Event::InlineMath(text) | Event::DisplayMath(text) => _ = self.html.text(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.begin("<p>", "</p>\n"),
            // The page has the first two levels for itself.
            Tag::Heading { level, .. } => match level {
                HeadingLevel::H1 => self.begin("<h3>", "</h3>\n"),
                HeadingLevel::H2 => self.begin("<h4>", "</h4>\n"),
                _ => self.begin("<h5>", "</h5>\n"),
            },
            Tag::BlockQuote(_) => self.begin("<blockquote>", "</blockquote>\n"),
            Tag::CodeBlock(kind) => {
                if let CodeBlockKind::Fenced(language) = kind
                    && !language.trim().is_empty()
                {
                    self.html.raw("<p class=\"lang\">").text(language.trim()).raw("</p>");
                }
                self.begin("<pre tabindex=\"0\"><code>", "</code></pre>\n");
            }
            Tag::List(None) => self.begin("<ul>\n", "</ul>\n"),
            Tag::List(Some(first)) if first != 1 && self.open.len() < MAX_DEPTH * 2 => {
                let first = i64::try_from(first).unwrap_or(1).min(999_999_999);
                self.html.raw("<ol start=\"").number(first).raw("\">\n");
                self.open.push("</ol>\n");
            }
            Tag::List(Some(_)) => self.begin("<ol>\n", "</ol>\n"),
            Tag::Item => self.begin("<li>", "</li>\n"),
            Tag::Emphasis => self.begin("<em>", "</em>"),
            Tag::Strong => self.begin("<strong>", "</strong>"),
            Tag::Strikethrough => self.begin("<s>", "</s>"),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.link(&dest_url),
            Tag::Table(_) => self.begin("<div class=\"wide\" tabindex=\"0\"><table>\n", "</table></div>\n"),
            Tag::TableHead => {
                self.in_head = true;
                self.begin("<thead><tr>", "</tr></thead>\n");
            }
            Tag::TableRow => self.begin("<tr>", "</tr>\n"),
            Tag::TableCell if self.in_head => self.begin("<th>", "</th>"),
            Tag::TableCell => self.begin("<td>", "</td>"),
            _ => self.open.push(""),
        }
    }

    /// Other schemes may run something, or ask this server.
    fn link(&mut self, url: &str) {
        let lower = url.trim_start().to_ascii_lowercase();
        let is_web = ["https://", "http://", "mailto:"].iter().any(|scheme| lower.starts_with(scheme));
        if is_web && self.open.len() < MAX_DEPTH * 2 {
            self.html
                .raw("<a rel=\"noopener noreferrer nofollow\" target=\"_blank\" href=\"")
                .text(url.trim())
                .raw("\">");
            self.open.push("</a>");
        } else {
            self.open.push("");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check;
    use super::*;

    fn shown(text: &str) -> String {
        markdown(text).as_str().to_owned()
    }

    #[test]
    fn what_the_model_writes_is_shown_and_runs_nothing() {
        assert_eq!(shown("# A *b*"), "<h3>A <em>b</em></h3>\n");
        assert_eq!(shown("`<b>`"), "<p><code>&lt;b&gt;</code></p>\n");
        assert_eq!(shown("<script>alert(1)</script>"), "&lt;script&gt;alert(1)&lt;/script&gt;");
        assert_eq!(shown("[x](javascript:alert(1))"), "<p>x</p>\n");
        let picture = shown("![pic](https://x/y.png)");
        assert!(picture.contains("<a rel=") && !picture.contains("<img"), "{picture}");
        assert!(
            shown("```rust\nfn f() {}\n```")
                .contains("<p class=\"lang\">rust</p><pre tabindex=\"0\"><code>fn f() {}\n")
        );
        assert!(shown("| a |\n|---|\n| b |").contains("<th>a</th>"));
        assert!(shown(&"> ".repeat(5_000)).len() < 10_000);
        assert!(shown(&"x".repeat(MAX_TEXT + 7)).ends_with("<p class=\"cut\">7 more bytes</p>"));
    }

    proptest! {
        #[test]
        fn whatever_stands_there_is_well_formed(text in "[ -~\n<>&*_`#>|\\[\\]()!~-]{0,400}") {
            check::well_formed(markdown(&text).as_str());
        }
    }
}
