//! Names that are nearly those of settings: somebody has mistyped one.

use std::collections::HashMap;

use super::settings::SETTINGS;

/// Names that other programs read, though ours are near.
const OTHERS: &[&str] = &["ANTHROPIC_API_KEYS", "CLAUDE_API_KEYS"];

/// The setting that a name nearly is; `None` where it is one, or far from all.
#[must_use]
pub fn meant(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let names = || SETTINGS.iter().map(|setting| setting.name);
    if names().any(|known| known == name) || OTHERS.contains(&name) {
        return None;
    }
    let distance = |known: &str| strsim::osa_distance(&upper, known);
    let nearest = names().min_by_key(|known| distance(known))?;
    // Short names are near to many: HOME is no HOST.
    let bound = match nearest.len() {
        0..6 => 0,
        6..9 => 1,
        _ => 2,
    };
    (distance(nearest) <= bound).then_some(nearest)
}

/// Variables of the environment that are nearly settings, with those that are meant; in order.
pub fn near_misses(environment: &HashMap<String, String>) -> Vec<(String, &'static str)> {
    let found = environment.keys().filter_map(|name| Some((name.clone(), meant(name)?)));
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mistyped_is_told_from_what_others_use() {
        assert_eq!(meant("QUEUE_CONCURENCY"), Some("QUEUE_CONCURRENCY"));
        assert_eq!(meant("WORKERMODE"), Some("WORKER_MODE"));
        assert_eq!(meant("worker_mode"), Some("WORKER_MODE"));
        assert_eq!(meant("DBPATH"), Some("DB_PATH"));
        assert_eq!(meant("LOG_LEVLE"), Some("LOG_LEVEL"));
        for other in ["HOME", "PATH", "PORTS", "HOSTNAME", "LOGNAME", "PGHOST", "WORKER_MODE", "LANG", "SHELL", "PWD"] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    /// One letter less, more, changed or moved, in any long name.
    #[test]
    fn any_slip_of_a_finger_is_noticed() {
        for setting in SETTINGS.iter().filter(|setting| setting.name.len() >= 9) {
            let name = setting.name;
            for at in 1..name.len() - 1 {
                let (less, more) = (name[..at].to_owned() + &name[at + 1..], name[..at].to_owned() + "X" + &name[at..]);
                let moved = name[..at].to_owned() + &name[at + 1..=at + 1] + &name[at..=at] + &name[at + 2..];
                for slip in [less, more, moved].into_iter().filter(|slip| !SETTINGS.iter().any(|one| one.name == slip))
                {
                    assert!(meant(&slip).is_some(), "{slip}");
                }
            }
        }
    }
}
