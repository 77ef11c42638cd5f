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
    html.raw("</span> <span class=\"minus\">−").number(count('-')).raw("</span></summary>");
    html.raw("<p><button type=\"button\" class=\"quiet remark\" data-at=\"").text(name).raw("\" hidden>Comment on ");
    html.text(name).raw("</button></p><pre class=\"diff\" tabindex=\"0\" data-file=\"").text(name).raw("\">");
    let mut at = Place::default();
    for line in body {
        let (shown, left) = cut(line, MAX_LINE);
        let (open, close) = match line.as_bytes().first() {
            Some(b'+') => ("<ins", "</ins>\n"),
            Some(b'-') => ("<del", "</del>\n"),
            Some(b'@') => ("<span class=\"gap\"", "</span>\n"),
            _ => ("<span", "</span>\n"),
        };
        html.raw(open);
        if let Some(number) = at.next(line) {
            html.raw(" data-n=\"").number(number).raw("\"");
        }
        html.raw(">").text(&shown);
        if left > 0 {
            html.raw(" …");
        }
        html.raw(close);
    }
    html.raw("</pre></details>");
}

/// Number of the next line, before the change and after it.
#[derive(Default)]
struct Place {
    old: i64,
    new: i64,
}

impl Place {
    /// Number of this line: of one that is gone in the old file, else in the new one. A head of a part has none, and says where
    /// it begins.
    fn next(&mut self, line: &str) -> Option<i64> {
        let number = |of: &str| of.split(',').next()?.parse::<i64>().ok();
        match line.as_bytes().first() {
            Some(b'@') => {
                let mut ranges = line.split(' ').skip(1);
                self.old = ranges.next().and_then(|range| number(range.strip_prefix('-')?)).unwrap_or(0);
                self.new = ranges.next().and_then(|range| number(range.strip_prefix('+')?)).unwrap_or(0);
                return None;
            }
            Some(b'-') => self.old = self.old.saturating_add(1),
            Some(b'+') => self.new = self.new.saturating_add(1),
            Some(b'\\') => return None,
            _ => {
                self.old = self.old.saturating_add(1);
                self.new = self.new.saturating_add(1);
            }
        }
        let after = if line.starts_with('-') { self.old } else { self.new };
        (after > 1).then(|| after - 1)
    }
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
        assert!(html.contains("<del data-n=\"1\">-old &lt;b&gt;</del>"), "{html}");
    }

    #[test]
    fn lines_have_the_numbers_that_an_editor_shows() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -10,3 +12,3 @@ fn f() {\n same\n-gone\n+come\n+more\n\\ No newline at end of file\n";
        let html = patch(text);
        for line in [
            "<span data-n=\"12\"> same",
            "<del data-n=\"11\">-gone",
            "<ins data-n=\"13\">+come",
            "<ins data-n=\"14\">+more",
            "<span>\\ No",
        ] {
            assert!(html.as_str().contains(line), "{line}: {}", html.as_str());
        }
    }

    proptest! {
        #[test]
        fn whatever_a_patch_has_is_well_formed(text in "(diff --git |@@ -9223372036854775807,1 \\+[0-9]{1,19} @@|[+@ -]|[a-c<>&\"\n]){0,100}") {
            check::well_formed(patch(&text).as_str());
        }
    }
}
