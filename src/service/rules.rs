//! Rules of keys: calls of tools that need no answer of a person, and what people's answers suggest for new ones.

use serde_json::Value;
use wire::request::NewRule;
use wire::response::{RuleSuggestion, RuleView, Rules};

use super::admission::ceiling;
use super::{Caller, Kind, Refusal, Service, key_limit};
use crate::claude::ASK_USER;
use crate::queue::{AddRule, AnsweredRow, ReadAnswered, ReadRules, RemoveRule, RuleAdded, RuleRow};
use domain::{
    AnsweredCall, Behavior, Decision, RuleId, RuleScope, rule_covers, session_rules, suggested_rules, wider_rule,
};

/// Maximum number of rules of a key.
const MOST: usize = 200;
/// Longest rule, tag or folder, in bytes.
const MAX_BYTES: usize = 1 << 10;

/// Returns the rules that the caller sees, and what people's answers suggest for new ones.
///
/// # Errors
/// The store's.
pub async fn list(service: &Service, caller: &Caller) -> Result<Rules, Refusal> {
    let rules = service.queue.ask(ReadRules(caller.own())).await?;
    let answered = service.queue.ask(ReadAnswered(caller.own())).await?;
    let calls: Vec<_> = answered.into_iter().filter_map(call).collect();
    let is_known = |call: &AnsweredCall, rule: &str| {
        rules.iter().any(|row| {
            row.key_name == call.key
                && rule_covers(&row.rule, rule)
                && row.scope().includes(&call.tags, call.folder.as_deref())
        })
    };
    let most = ceiling(service, caller).mode;
    let suggestions = suggested_rules(&calls, is_known).into_iter().filter(|one| most.covers(&one.rule));
    let suggestion = |one: domain::SuggestedRule| {
        let (tag, folder) = one.scope.into_parts();
        RuleSuggestion { rule: one.rule, key: one.key, tag, folder, times: one.times, waited_ms: one.waited_ms }
    };
    let suggestions = suggestions.map(suggestion).collect();
    Ok(Rules { rules: rules.into_iter().map(view).collect(), suggestions })
}

/// Stores a rule. Returns it, and whether it is new.
///
/// # Errors
/// It breaks a rule of ours, or allows more than the key may.
pub async fn add(service: &Service, caller: &Caller, new: NewRule) -> Result<(RuleView, bool), Refusal> {
    let NewRule { rule, tag, folder, key } = new;
    let name = rule.split('(').next().unwrap_or_default();
    let is_name = !name.is_empty()
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let is_whole = rule.len() == name.len() || (rule.ends_with(')') && rule.len() > name.len() + 2);
    if rule.len() > MAX_BYTES || !is_name || !is_whole || rule.chars().any(char::is_control) || name == ASK_USER {
        return Err(Refusal::invalid("rule", "must be a tool, or a call of one, such as Bash(cargo test *)"));
    }
    if tag.is_some() && folder.is_some() {
        return Err(Refusal::invalid("folder", "can't be set beside tag: name one of them"));
    }
    for (field, value) in [("tag", &tag), ("folder", &folder)] {
        if value.as_ref().is_some_and(|value| value.is_empty() || value.len() > MAX_BYTES) {
            return Err(Refusal::invalid(field, format!("must have 1 to {MAX_BYTES} bytes")));
        }
    }
    let key = match key {
        Some(key) if key != caller.name() && !caller.is_admin() => {
            return Err(Refusal::forbidden("SCOPE_MISSING", "a rule for another key needs the scope admin".to_owned()));
        }
        Some(key) => key,
        None => caller.name().to_owned(),
    };
    let most = ceiling(service, caller);
    if !most.mode.covers(&rule) {
        return Err(Refusal::forbidden("PERMISSION_CEILING", format!("allowing {rule} is above {most}")));
    }
    let scope = RuleScope::of(tag, folder.map(|folder| folder.trim_end_matches('/').to_owned()));
    let add = AddRule { key, rule, scope, by: caller.name().to_owned(), most: MOST };
    match service.queue.ask(add).await? {
        RuleAdded::New(row) => Ok((view(row), true)),
        RuleAdded::Known(row) => Ok((view(row), false)),
        RuleAdded::Full => Err(key_limit("rules", MOST as i64)),
    }
}

/// Removes a rule.
///
/// # Errors
/// There is none of that id that the caller sees.
pub async fn remove(service: &Service, caller: &Caller, id: &str) -> Result<(), Refusal> {
    let unknown = || Refusal::new(Kind::Unknown, "RULE_NOT_FOUND", format!("there is no rule {id}"));
    let rule: RuleId = id.parse().map_err(|_| unknown())?;
    match service.queue.ask(RemoveRule { id: rule, key: caller.own() }).await? {
        true => Ok(()),
        false => Err(unknown()),
    }
}

fn view(row: RuleRow) -> RuleView {
    RuleView {
        rule_id: row.id,
        rule: row.rule,
        key: row.key_name,
        tag: row.tag,
        folder: row.folder,
        created_at: row.created_at,
        created_by: row.created_by,
    }
}

/// The answer of a person in a row; `None` for questions of the model itself, and where nobody answered.
fn call(row: AnsweredRow) -> Option<AnsweredCall> {
    let decision: Decision = serde_json::from_str(&row.answer).ok()?;
    if row.tool == ASK_USER || decision == Decision::too_late() {
        return None;
    }
    let suggestions: Value = serde_json::from_str(&row.suggestions).unwrap_or_default();
    let spec = wire::stored::from_text(&row.spec).spec;
    let folder = spec.context.base().map(str::to_owned);
    let mut rules = session_rules(&row.tool, &suggestions);
    if row.tool == "Bash" {
        let input: Value = serde_json::from_str(&row.input).unwrap_or_default();
        rules.extend(input["command"].as_str().and_then(wider_rule));
    }
    Some(AnsweredCall {
        key: row.key_name,
        rules,
        tags: spec.tags,
        folder: folder.filter(|_| !row.own_directory),
        allowed: decision.behavior == Behavior::Allow,
        waited_ms: row.answered_at.since_ms(row.asked_at),
    })
}
