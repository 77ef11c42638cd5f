//! Messages to [`QueueActor`](super::QueueActor) about rules of keys.

use super::messages::answers;
use crate::store::rows::{AnsweredRow, RuleRow};
use domain::{RuleId, RuleScope};

answers! {
    AddRule => RuleAdded;
    RemoveRule => bool;
    ReadRules => Vec<RuleRow>;
    ReadAnswered => Vec<AnsweredRow>;
}

/// Stores a rule, unless the key has the same one.
#[derive(Clone, Debug)]
pub struct AddRule {
    /// Name of the key.
    pub key: String,
    /// The rule, as the CLI writes it.
    pub rule: String,
    /// Tasks that it is for.
    pub scope: RuleScope,
    /// Name of the key that asks for it.
    pub by: String,
    /// Maximum number of rules of a key.
    pub most: usize,
}

/// The answer to an [`AddRule`].
#[derive(Clone, Debug)]
pub enum RuleAdded {
    /// It is new.
    New(RuleRow),
    /// It was there.
    Known(RuleRow),
    /// The key has as many as it may.
    Full,
}

/// Removes a rule; with a key, only one of that key. Answered with whether it was there.
#[derive(Clone, Debug)]
pub struct RemoveRule {
    /// The rule.
    pub id: RuleId,
    /// Name of the key.
    pub key: Option<String>,
}

/// Reads the rules of a key, or of all.
#[derive(Clone, Debug)]
pub struct ReadRules(pub Option<String>);

/// Reads the newest answers of people to calls of tools, of a key or of all.
#[derive(Clone, Debug)]
pub struct ReadAnswered(pub Option<String>);
