//! A patch, as git writes it: a fold for each file.

use super::html::{Html, cut};

/// Longest patch that is shown, in bytes.
const MAX_PATCH: usize = 512 << 10;
/// Longest line that is shown, in bytes.
const MAX_LINE: usize = 2 << 10;
/// Lines of a file up to which it is shown open.
const SMALL: usize = 300;

/// Renders a patch.
#[must_use]
pub fn patch(text: &str) -> Html {
    let (shown, left) = cut(text, MAX_PATCH);
    let mut html = Html::new();
    for file in files(&shown) {
        file_of(&mut html, &file);
    }
    if left > 0 {
        html.raw("<p class=\"cut\">").number(i64::try_from(left).unwrap_or(i64::MAX)).raw(" more bytes</p>");
    }
    html
}

/// The lines of each file.
fn files(text: &str) -> Vec<Vec<&str>> {
    let mut files: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("diff --git ") || files.is_empty() {
            files.push(Vec::new());
        }
        if let Some(file) = files.last_mut() {
            file.push(line);
        }
    }
    files
}

fn file_of(html: &mut Html, lines: &[&str]) {
    let body = lines.iter().position(|line| line.starts_with("@@")).unwrap_or(lines.len());
    let (head, body) = lines.split_at(body);
    let name = head.iter().find_map(|line| line.strip_prefix("+++ ").filter(|name| *name != "/dev/null"));
    let name = name.or_else(|| head.iter().find_map(|line| line.strip_prefix("--- ")));
    let name = name.or_else(|| head.first().map(|line| line.trim_start_matches("diff --git "))).unwrap_or("?");
    let name = name.strip_prefix("a/").or_else(|| name.strip_prefix("b/")).unwrap_or(name);
    let count = |sign: char| i64::try_from(body.iter().filter(|line| line.starts_with(sign)).count()).unwrap_or(0);
    html.raw(if body.len() <= SMALL {
        "<details class=\"file\" open><summary>"
    } else {
        "<details class=\"file\"><summary>"
    });
    html.raw("<code>").text(name).raw("</code> <span class=\"plus\">+").number(count('+'));
    html.raw("</span> <span class=\"minus\">−")
        .number(count('-'))
        .raw("</span></summary><pre class=\"diff\" tabindex=\"0\">");
    for line in body {
        let (line, left) = cut(line, MAX_LINE);
        let (open, close) = match line.as_bytes().first() {
            Some(b'+') => ("<ins>", "</ins>\n"),
            Some(b'-') => ("<del>", "</del>\n"),
            Some(b'@') => ("<span class=\"gap\">", "</span>\n"),
            _ => ("<span>", "</span>\n"),
        };
        html.raw(open).text(&line);
        if left > 0 {
            html.raw(" …");
        }
        html.raw(close);
    }
    html.raw("</pre></details>");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check;
    use super::*;

    #[test]
    fn each_file_has_its_fold() {
        let text = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old <b>\n+new\ndiff --git a/y b/y\ndeleted file mode 100644\n--- a/y\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n";
        let html = patch(text);
        let html = html.as_str();
        check::well_formed(html);
        assert_eq!(html.matches("<details").count(), 2);
        assert!(html.contains("<code>x</code> <span class=\"plus\">+1</span>") && html.contains("<code>y</code>"));
        assert!(html.contains("<del>-old &lt;b&gt;</del>"));
    }

    proptest! {
        #[test]
        fn whatever_a_patch_has_is_well_formed(text in "(diff --git |[+@ -]|[a-c<>&\"\n]){0,100}") {
            check::well_formed(patch(&text).as_str());
        }
    }
}
