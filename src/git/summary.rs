//! The state of a repository in a few lines, for the model. Pure.

use std::fmt::Write as _;

/// Changed files that are listed.
const MAX_FILES: usize = 50;
/// Maximum length of a line, in characters.
const MAX_LINE: usize = 200;

/// Makes the text from the output of `git status --short --branch` and `git log`.
pub fn of(status: &str, log: &str) -> String {
    let mut lines = status.lines();
    let branch = lines.next().and_then(|line| line.strip_prefix("## ")).unwrap_or("unknown");
    let files: Vec<&str> = lines.collect();
    let mut text = format!(
        "State of the git repository when this conversation began (it is not updated):\n\nBranch: {}\nChanged files: ",
        short(branch)
    );
    let more = files.len().saturating_sub(MAX_FILES);
    match files.len() {
        0 => text.push_str("none"),
        _ => text.extend(files.iter().take(MAX_FILES).map(|file| format!("\n{}", short(file)))),
    }
    if more > 0 {
        // Writing to a text can't fail.
        write!(text, "\n… and {more} more").unwrap_or_default();
    }
    if !log.trim().is_empty() {
        text.push_str("\nNewest commits:");
        text.extend(log.lines().map(|line| format!("\n{}", short(line))));
    }
    text
}

/// A line without control characters, cut where it is long.
fn short(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).take(MAX_LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_the_branch_the_changes_and_the_newest_commits() {
        let text = of("## main...origin/main\n M src/a.rs\n?? b\n", "1234567 First\n");
        for part in ["Branch: main...origin/main", " M src/a.rs\n?? b", "1234567 First"] {
            assert!(text.contains(part), "{text}");
        }
        let many: String = std::iter::once("## x\n".to_owned()).chain((0..60).map(|i| format!("?? {i}\n"))).collect();
        assert!(of(&many, "").contains("… and 10 more") && !of(&many, "").contains("Newest"));
        assert!(of("", "").contains("Branch: unknown"));
    }
}
