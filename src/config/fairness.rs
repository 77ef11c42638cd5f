//! Shares that take turns: what makes one, and how heavy each is.

use std::collections::BTreeMap;

use domain::{FairBy, Fairness, MAX_WEIGHT};

use super::source::Source;

/// Reads them.
pub fn read(from: &mut Source) -> Fairness {
    let by = match from.required("FAIRNESS").as_str() {
        "key" => FairBy::Key,
        "off" => FairBy::Nothing,
        other => match other.strip_prefix("tag:") {
            Some(begin) if !begin.is_empty() => FairBy::Tag(begin.to_owned()),
            _ => {
                let rule = format!("must be key, off, or tag: and the beginning of a tag, got \"{other}\"");
                from.fault("FAIRNESS", &rule);
                FairBy::default()
            }
        },
    };
    let mut weights = BTreeMap::new();
    for entry in from.list("FAIRNESS_WEIGHTS", ',') {
        let read = entry.rsplit_once('=').and_then(|(name, weight)| Some((name.trim(), weight.trim().parse().ok()?)));
        match read {
            Some((name, weight)) if (1..=MAX_WEIGHT).contains(&weight) && !name.is_empty() => {
                weights.insert(name.to_owned(), weight);
            }
            _ => {
                let rule = format!(
                    "must be NAME=WEIGHT, separated by commas, weights from 1 to {MAX_WEIGHT}, got \"{entry}\""
                );
                from.fault("FAIRNESS_WEIGHTS", &rule);
            }
        }
    }
    Fairness { by, weights }
}
