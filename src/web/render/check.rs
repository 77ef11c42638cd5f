//! What the tests of all renderers ask: that the markup is ours, and well formed.

/// Elements that may stand in what is rendered.
const ALLOWED: &[&str] = &[
    "a",
    "article",
    "b",
    "blockquote",
    "br",
    "button",
    "code",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "form",
    "g",
    "h3",
    "h4",
    "h5",
    "header",
    "hr",
    "i",
    "input",
    "ins",
    "label",
    "legend",
    "li",
    "ol",
    "p",
    "path",
    "pre",
    "rect",
    "s",
    "section",
    "small",
    "span",
    "strong",
    "summary",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "textarea",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
];
/// Those without an end.
const EMPTY: &[&str] = &["br", "hr", "input"];

/// Fails where an element is not ours, is not closed in order, or has an attribute that runs something.
///
/// # Panics
/// It does.
pub fn well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').unwrap_or_else(|| panic!("no end of an element: {html}"));
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order: {html}");
            continue;
        }
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        assert!(ALLOWED.contains(&name), "<{name}> is none of ours: {html}");
        assert!(tag.matches('"').count().is_multiple_of(2), "an open attribute: {html}");
        let names = tag.split('"').step_by(2).skip(usize::from(!tag.contains(' ')));
        assert!(names.into_iter().all(|name| !name.contains(" on")), "an attribute that runs something: {html}");
        assert!(!tag.to_ascii_lowercase().contains("javascript:"), "{html}");
        if !EMPTY.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?} in {html}");
}
