//! Which task is next, and who says when one never is: shares that take turns, and the alarm of labels that no worker has.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{FairBy, Fairness, MAX_WEIGHT};

use super::source::Source;

/// Reads the shares.
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

/// Reads how long tasks may wait for labels that no worker has before the log says so; `None` where it never does.
pub fn read_label_alarm(from: &mut Source) -> Option<Duration> {
    let ms: u64 = from.number("LABEL_ALARM_MS", 0, 86_400_000);
    (ms > 0).then(|| Duration::from_millis(ms))
}
