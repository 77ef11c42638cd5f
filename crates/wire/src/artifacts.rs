//! Patterns of paths below a folder: of files that a task leaves, and of those that it may change.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use domain::Invalid;

/// Maximum number of patterns of a task.
const MAX_PATTERNS: usize = 20;
/// The longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256;

/// Patterns of paths below a task's folder: `*` and `?` stand for what is no slash, `**` for any folders.
///
/// ```
/// let patterns = wire::Patterns::of("artifacts", &["out/**".to_owned(), "*.log".to_owned()]).expect("patterns");
/// assert!(patterns.include("out/a/b.txt") && patterns.include("test.log"));
/// assert!(!patterns.include("src/test.log"));
/// assert!(wire::Patterns::of("artifacts", &["../secret".to_owned()]).is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Patterns {
    all: GlobSet,
    /// Folders to begin at: what each pattern has before its first wild card.
    pub folders: Vec<String>,
}

impl Patterns {
    /// Reads them; the field is the one that has them.
    ///
    /// # Errors
    /// One is no pattern, or leads out of the folder.
    pub fn of(field: &'static str, patterns: &[String]) -> Result<Self, Invalid> {
        let invalid = |message: String| Invalid::new(field, message);
        if patterns.len() > MAX_PATTERNS {
            return Err(invalid(format!("must have at most {MAX_PATTERNS} entries, got {}", patterns.len())));
        }
        let mut all = GlobSetBuilder::new();
        for pattern in patterns {
            if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES || pattern.contains('\0') {
                return Err(invalid(format!("each must have 1 to {MAX_PATTERN_BYTES} bytes, got {pattern:?}")));
            }
            if pattern.split('/').any(|part| ["", ".", ".."].contains(&part)) {
                let rule = "must be paths below the task's folder, without \"..\", \".\" and double slashes";
                return Err(invalid(format!("{rule}, got {pattern:?}")));
            }
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            all.add(glob.map_err(|error| invalid(format!("{pattern:?} is no pattern: {}", error.kind())))?);
        }
        let all = all.build().map_err(|error| invalid(format!("are too much together: {error}")))?;
        Ok(Self { all, folders: patterns.iter().map(|pattern| folder_of(pattern)).collect() })
    }

    /// True if they include this path.
    #[must_use]
    pub fn include(&self, path: &str) -> bool {
        self.all.is_match(path)
    }
}

/// The folder that a pattern names before its first wild card; empty where it begins with one.
fn folder_of(pattern: &str) -> String {
    let plain = pattern.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
    plain.rsplit_once('/').map_or_else(String::new, |(folder, _)| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_stay_below_the_folder() {
        for bad in ["", "/etc/passwd", "../a", "a/../../b", "a//b", "./a", "a/", "[", "{a", "a\0b"] {
            assert!(Patterns::of("artifacts", &[bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert!(Patterns::of("artifacts", &vec!["a".to_owned(); MAX_PATTERNS + 1]).is_err());
        for (pattern, folder) in
            [("out/**", "out"), ("a/b/c?.txt", "a/b"), ("*.log", ""), ("a.txt", ""), ("{a,b}/c", "")]
        {
            assert_eq!(folder_of(pattern), folder, "{pattern}");
        }
    }

    proptest! {
        /// Whatever a pattern includes stands below the folder that it begins at.
        #[test]
        fn what_is_included_stands_below_its_folder(pattern in "[ab*?/]{1,8}", path in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
            if let Ok(patterns) = Patterns::of("artifacts", std::slice::from_ref(&pattern))
                && patterns.include(&path)
            {
                let folder = &patterns.folders[0];
                prop_assert!(folder.is_empty() || path.starts_with(&format!("{folder}/")), "{pattern} {path}");
            }
        }
    }
}
