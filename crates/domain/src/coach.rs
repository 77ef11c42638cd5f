//! Rule coach: what people always allow may be a rule. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Programs that run what they are given: a rule for all of their calls would be one for everything.
const RUNNERS: [&str; 16] = [
    "sudo", "su", "sh", "bash", "zsh", "dash", "env", "eval", "exec", "xargs", "ssh", "nohup", "timeout", "rm", "dd",
    "find",
];

/// Fewest times that a call must have been allowed, and never refused, before a rule is suggested.
const ENOUGH: i64 = 3;
/// Maximum number of suggestions.
const MOST: usize = 20;

/// Tasks that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleScope {
    /// Those with this tag.
    Tag(String),
    /// Those of this folder or repository.
    Folder(String),
    /// All of the key.
    Key,
}

impl RuleScope {
    /// The tasks of a tag, else of a folder, else all.
    #[must_use]
    pub fn of(tag: Option<String>, folder: Option<String>) -> Self {
        match (tag, folder) {
            (Some(tag), _) => Self::Tag(tag),
            (None, Some(folder)) => Self::Folder(folder),
            (None, None) => Self::Key,
        }
    }

    /// The tag and the folder of [`of`](Self::of).
    #[must_use]
    pub fn into_parts(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Tag(tag) => (Some(tag), None),
            Self::Folder(folder) => (None, Some(folder)),
            Self::Key => (None, None),
        }
    }

    /// True if a task of these tags and this folder is meant.
    #[must_use]
    pub fn includes(&self, tags: &[String], folder: Option<&str>) -> bool {
        match self {
            Self::Key => true,
            Self::Tag(tag) => tags.contains(tag),
            Self::Folder(named) => folder.is_some_and(|folder| {
                folder.strip_prefix(named.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }),
        }
    }
}

/// An answer of a person to a call of a tool.
#[derive(Clone, Debug)]
pub struct AnsweredCall {
    /// Name of the key whose task asked.
    pub key: String,
    /// Rules that would have allowed it.
    pub rules: Vec<String>,
    /// Tags of the task.
    pub tags: Vec<String>,
    /// Its folder or repository, where it has one that is not its own.
    pub folder: Option<String>,
    /// True if it was allowed.
    pub allowed: bool,
    /// Milliseconds until the answer.
    pub waited_ms: i64,
}

/// A rule that would have answered as people did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuggestedRule {
    /// Name of the key.
    pub key: String,
    /// The rule, as the CLI writes it.
    pub rule: String,
    /// Tasks that it would be for.
    pub scope: RuleScope,
    /// Times that a person was asked, and allowed it: interruptions that it would have saved.
    pub times: i64,
    /// Milliseconds that tasks have waited for these answers.
    pub waited_ms: i64,
}

/// The rule for all calls of the same sub-command, as `Bash(cargo test *)`; `None` where the command is more than one call of a
/// program with a sub-command.
#[must_use]
pub fn wider_rule(command: &str) -> Option<String> {
    let is_plain = |text: &str| !text.contains(|c: char| c.is_control() || ";&|<>`$(){}\\\"'*?[]#!~=".contains(c));
    let mut words = command.split(' ').filter(|word| !word.is_empty());
    let (program, sub) = (words.next()?, words.next()?);
    let is_name = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":_-".contains(&byte))
    };
    let is_fit = is_plain(command) && is_name(program) && is_name(sub) && !RUNNERS.contains(&program);
    is_fit.then(|| format!("Bash({program} {sub} *)"))
}

/// True if a rule allows what the other one does: it is the same, or one for all calls of a sub-command.
#[must_use]
pub fn rule_covers(wide: &str, narrow: &str) -> bool {
    wide == narrow || wide.strip_suffix(" *)").is_some_and(|prefix| narrow.starts_with(prefix))
}

/// Times and milliseconds of what was allowed; `None` once something was refused.
type Tally = Option<(i64, i64)>;

/// Returns rules that would have answered as people did, those first that save most. `is_known` tells whether there is a
/// rule already that allows it.
pub fn suggested_rules(answers: &[AnsweredCall], is_known: impl Fn(&AnsweredCall, &str) -> bool) -> Vec<SuggestedRule> {
    let mut tallies: BTreeMap<(&str, &str, RuleScope), Tally> = BTreeMap::new();
    for call in answers {
        let tags = call.tags.iter().cloned().map(RuleScope::Tag);
        let scopes: Vec<_> = tags.chain(call.folder.clone().map(RuleScope::Folder)).chain([RuleScope::Key]).collect();
        let rules: BTreeSet<&str> = call.rules.iter().map(String::as_str).collect();
        for rule in rules.into_iter().filter(|rule| !is_known(call, rule)) {
            for scope in &scopes {
                let tally = tallies.entry((&call.key, rule, scope.clone())).or_insert(Some((0, 0)));
                *tally = match (*tally, call.allowed) {
                    (Some((times, ms)), true) => Some((times + 1, ms.saturating_add(call.waited_ms.max(0)))),
                    _ => None,
                };
            }
        }
    }
    let mut best: BTreeMap<(&str, &str), SuggestedRule> = BTreeMap::new();
    for ((key, rule, scope), tally) in tallies {
        let Some((times, waited_ms)) = tally.filter(|(times, _)| *times >= ENOUGH) else { continue };
        let one = SuggestedRule { key: key.to_owned(), rule: rule.to_owned(), scope, times, waited_ms };
        // The narrowest of those that save as much: tags come first, the whole key last.
        let known = best.entry((key, rule)).or_insert_with(|| one.clone());
        if known.times < one.times {
            *known = one;
        }
    }
    let mut all: Vec<_> = best.into_values().collect();
    // Of a rule and a wider one, that which is as narrow as what was asked.
    let others = all.clone();
    all.retain(|one| {
        let of_same = || others.iter().filter(|other| other.key == one.key && other.rule != one.rule);
        let is_idle = of_same().any(|narrow| rule_covers(&one.rule, &narrow.rule) && narrow.times >= one.times);
        let is_part = of_same().any(|wide| rule_covers(&wide.rule, &one.rule) && wide.times > one.times);
        !is_idle && !is_part
    });
    all.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.rule.cmp(&b.rule)));
    all.truncate(MOST);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(rule: &str, tags: &[&str], folder: Option<&str>, allowed: bool) -> AnsweredCall {
        AnsweredCall {
            key: "k".to_owned(),
            rules: vec![rule.to_owned()],
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            folder: folder.map(str::to_owned),
            allowed,
            waited_ms: 100,
        }
    }

    fn none(_: &AnsweredCall, _: &str) -> bool {
        false
    }

    #[test]
    fn what_was_always_allowed_is_suggested_for_the_narrowest_that_has_it_all() {
        let yes = || call("Bash(cargo test *)", &["ci"], Some("/r"), true);
        assert!(suggested_rules(&[yes(), yes()], none).is_empty(), "twice may be chance");
        let all = suggested_rules(&[yes(), yes(), yes()], none);
        assert_eq!((&all[0].scope, all[0].times, all[0].waited_ms), (&RuleScope::Tag("ci".to_owned()), 3, 300));
        // Another tag, the same folder; then another folder too.
        let other = || call("Bash(cargo test *)", &["x"], Some("/r"), true);
        let all = suggested_rules(&[yes(), yes(), yes(), other()], none);
        assert_eq!((&all[0].scope, all[0].times), (&RuleScope::Folder("/r".to_owned()), 4));
        let elsewhere = call("Bash(cargo test *)", &[], Some("/s"), true);
        let all = suggested_rules(&[yes(), yes(), other(), elsewhere], none);
        assert_eq!((&all[0].scope, all[0].times), (&RuleScope::Key, 4));
        // Refused elsewhere: the tag remains.
        let no = call("Bash(cargo test *)", &["y"], Some("/t"), false);
        let all = suggested_rules(&[yes(), yes(), yes(), no], none);
        assert_eq!((&all[0].scope, all.len()), (&RuleScope::Tag("ci".to_owned()), 1));
        assert!(suggested_rules(&[yes(), yes(), yes()], |_, rule| rule.starts_with("Bash")).is_empty());
    }

    #[test]
    fn calls_of_a_sub_command_have_a_rule_in_common() {
        assert_eq!(wider_rule("cargo test --lib -p x").as_deref(), Some("Bash(cargo test *)"));
        assert_eq!(wider_rule("npm run build").as_deref(), Some("Bash(npm run *)"));
        for other in [
            "ls",
            "touch a.txt",
            "rm x y",
            "sudo make x",
            "cargo test; rm x",
            "git push > x",
            "X=1 y",
            "a -b",
            "find x -delete",
            "a b\nc",
        ] {
            assert_eq!(wider_rule(other), None, "{other}");
        }
        let asked = |command: &str| {
            let rules = vec![format!("Bash({command})"), wider_rule(command).expect("a rule")];
            AnsweredCall { rules, ..call("", &[], None, true) }
        };
        let rules =
            |all: &[AnsweredCall]| suggested_rules(all, none).into_iter().map(|one| one.rule).collect::<Vec<_>>();
        let (lib, doc) = (|| asked("cargo test --lib"), || asked("cargo test --doc"));
        assert_eq!(rules(&[lib(), lib(), lib()]), ["Bash(cargo test --lib)"]);
        assert_eq!(rules(&[lib(), lib(), doc()]), ["Bash(cargo test *)"]);
        assert_eq!(rules(&[lib(), lib(), lib(), doc()]), ["Bash(cargo test *)"]);
    }

    #[test]
    fn a_folder_has_what_is_below_it_and_not_beside_it() {
        let folder = RuleScope::Folder("/r".to_owned());
        let includes = |at: Option<&str>| folder.includes(&[], at);
        assert!(includes(Some("/r")) && includes(Some("/r/sub")));
        assert!(!includes(Some("/rest")) && !includes(Some("/")) && !includes(None));
    }

    proptest! {
        /// Nothing is suggested that a person has refused within its scope.
        #[test]
        fn what_was_refused_is_never_suggested(
            answers in prop::collection::vec(("[ab]", prop::collection::vec("[xy]", 0..2), prop::option::of("/[rs]"), any::<bool>()), 0..30),
        ) {
            let answers: Vec<_> = answers
                .iter()
                .map(|(rule, tags, folder, allowed)| {
                    let tags: Vec<_> = tags.iter().map(String::as_str).collect();
                    call(rule, &tags, folder.as_deref(), *allowed)
                })
                .collect();
            for one in suggested_rules(&answers, none) {
                let meant = answers.iter().filter(|call| {
                    call.rules[0] == one.rule && one.scope.includes(&call.tags, call.folder.as_deref())
                });
                let (yes, no): (Vec<_>, Vec<_>) = meant.partition(|call| call.allowed);
                prop_assert!(no.is_empty() && yes.len() as i64 == one.times, "{one:?}");
            }
        }
    }
}
