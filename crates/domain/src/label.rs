//! Labels: what a worker has, and what a task needs of it.
//!
//! A label is `NAME` or `NAME=VALUE`. A requirement `NAME=VALUE` is met by that label, and a requirement `NAME` by any label
//! of that name. The tasks with the same requirements are a lane: a worker takes from all lanes that it meets.

use std::collections::BTreeSet;

/// Maximum number of bytes of a label.
pub const MAX_LABEL: usize = 128;
/// Maximum number of requirements of a task.
pub const MAX_LABELS: usize = 16;
/// Stands between labels; none has it.
const BETWEEN: char = ',';

/// Reason for which a text is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be NAME or NAME=VALUE, of letters, digits and . _ - / : @, at most {MAX_LABEL} bytes")]
pub struct InvalidLabel;

/// Checks a label.
///
/// # Errors
/// It is none.
pub fn check_label(label: &str) -> Result<(), InvalidLabel> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte))
    };
    let (name, value) = label.split_once('=').map_or((label, None), |(name, value)| (name, Some(value)));
    (label.len() <= MAX_LABEL && is_word(name) && value.is_none_or(is_word)).then_some(()).ok_or(InvalidLabel)
}

/// Name of the lane of a task with these requirements; empty without any. Order and repetitions make no difference.
#[must_use]
pub fn lane_of(requires: &[String]) -> String {
    requires.iter().cloned().collect::<Labels>().text()
}

/// What a worker has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(BTreeSet<String>);

impl Labels {
    /// Reads labels as they are stored: between commas.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        text.split(BETWEEN).filter(|label| !label.is_empty()).map(str::to_owned).collect()
    }

    /// The labels between commas.
    #[must_use]
    pub fn text(&self) -> String {
        self.iter().collect::<Vec<_>>().join(&BETWEEN.to_string())
    }

    /// The labels, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True if a worker with these labels may take the tasks of a lane.
    #[must_use]
    pub fn meet(&self, lane: &str) -> bool {
        lane.is_empty() || lane.split(BETWEEN).all(|requirement| self.has(requirement))
    }

    fn has(&self, requirement: &str) -> bool {
        let of_name = |label: &String| label.split_once('=').is_some_and(|(name, _)| name == requirement);
        self.0.contains(requirement) || self.0.iter().any(of_name)
    }
}

impl FromIterator<String> for Labels {
    fn from_iter<T: IntoIterator<Item = String>>(labels: T) -> Self {
        Self(labels.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn owned(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    #[test]
    fn requirements_are_met_by_value_or_by_name() {
        let labels: Labels = owned(&["gpu=a100", "repo=web", "repo=api", "fast"]).into_iter().collect();
        for met in ["", "gpu", "gpu=a100", "repo=api", "fast,gpu,repo=web"] {
            assert!(labels.meet(met), "{met}");
        }
        for unmet in ["cpu", "gpu=h100", "fast=yes", "fast,cpu", "=a100", "a100", ",", "repo="] {
            assert!(!labels.meet(unmet), "{unmet}");
        }
        assert!(!Labels::default().meet("gpu"));
    }

    #[test]
    fn a_label_is_a_word_or_two() {
        for good in ["gpu", "repo=web", "host=a.b-c_d", "repo=github.com/o/r", "x=1"] {
            assert_eq!(check_label(good), Ok(()), "{good}");
        }
        for bad in ["", "=", "a=", "=a", "a=b=c", "a b", "a,b", "ü", "a\n", &"x".repeat(MAX_LABEL + 1)] {
            assert_eq!(check_label(bad), Err(InvalidLabel), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_worker_meets_what_it_has(labels in prop::collection::vec("[a-c]{1,2}(=[a-c])?", 0..6), more in prop::collection::vec("[a-d]{1,2}(=[a-c])?", 0..3)) {
            let has: Labels = labels.iter().cloned().collect();
            prop_assert!(has.meet(&lane_of(&labels)));
            prop_assert_eq!(Labels::from_text(&has.text()), has.clone());
            // Each further label of a worker only adds to what it may take, each further requirement takes away.
            let all: Labels = labels.iter().chain(&more).cloned().collect();
            let lane = lane_of(&more);
            prop_assert!(!has.meet(&lane) || all.meet(&lane));
            let harder: Vec<String> = more.iter().chain(&labels).cloned().collect();
            prop_assert_eq!(has.meet(&lane_of(&harder)), has.meet(&lane));
            prop_assert!(lane_of(&harder).split(',').filter(|label| !label.is_empty()).all(|label| check_label(label).is_ok()));
        }
    }
}
