//! HTML that is built piece by piece: markup stands in the program, and everything else is text.

use std::borrow::Cow;

use domain::visible;

/// A piece of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// An empty piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds markup.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, or the value of an attribute. What would be invisible or turn the reading direction is shown.
    pub fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.0, &visible(text, true));
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: impl Into<i64>) -> &mut Self {
        self.0.push_str(&number.into().to_string());
        self
    }

    /// Adds another piece.
    pub fn add(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// The piece as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn escape(to: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&#39;"),
            c => to.push(c),
        }
    }
}

/// A text of which at most this many bytes are shown, and the number of those that are not.
#[must_use]
pub fn cut(text: &str, most: usize) -> (Cow<'_, str>, usize) {
    let end = text.floor_char_boundary(most);
    (Cow::Borrowed(&text[..end]), text.len() - end)
}

impl askama::filters::HtmlSafe for Html {}

impl std::fmt::Display for Html {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut html = Html::new();
        html.raw("<p title=\"").text("\" onclick='x'").raw("\">").text("<script>&\u{202e}\u{1b}[1m").raw("</p>");
        assert_eq!(html.as_str(), "<p title=\"&quot; onclick=&#39;x&#39;\">&lt;script&gt;&amp;\\u202e\\u001b[1m</p>");
    }
}
