//! What an attempt has cost so far, by the counts in the messages of its CLI. An estimate: these messages come before the
//! answer's last count, and calls that the CLI tells nobody of are not in them. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::price::{Said, Usage, cost};
use domain::Usd;

/// Answers that are remembered, since more may come of them; older ones keep what they have cost.
const REMEMBERED: usize = 64;

/// Estimate of what an attempt has cost so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// Millionths of micro-dollars, of all answers but those that are remembered.
    before: i128,
    answers: HashMap<String, Answer>,
    count: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    number: u64,
    model: String,
    usage: Usage,
}

impl Estimate {
    /// Takes the counts of an answer. Returns the cost of all.
    pub fn add(&mut self, id: &str, model: &str, usage: &Value) -> Usd {
        let said = Said::deserialize(usage).unwrap_or_default();
        self.count += 1;
        let fresh = Answer { number: self.count, model: model.to_owned(), usage: Usage::default() };
        self.answers.entry(id.to_owned()).or_insert(fresh).usage.raise(&said);
        if self.answers.len() > REMEMBERED {
            self.forget_oldest();
        }
        self.sum()
    }

    fn forget_oldest(&mut self) {
        let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.number).map(|(id, _)| id.clone());
        if let Some(answer) = oldest.and_then(|id| self.answers.remove(&id)) {
            self.before = self.before.saturating_add(cost(&answer.model, answer.usage));
        }
    }

    fn sum(&self) -> Usd {
        let costs = self.answers.values().map(|answer| cost(&answer.model, answer.usage));
        let sum = costs.fold(self.before, i128::saturating_add);
        Usd::of_micros(i64::try_from((sum + 500_000) / 1_000_000).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_counts_once_however_often_it_is_told_of() {
        let mut estimate = Estimate::default();
        let usage = |output: i64| json!({ "input_tokens": 10, "output_tokens": output });
        assert_eq!(estimate.add("a", "claude-sonnet-4-5", &usage(1)), Usd::of_micros(30 + 15));
        assert_eq!(estimate.add("a", "claude-sonnet-4-5", &usage(5)), Usd::of_micros(30 + 75));
        assert_eq!(estimate.add("b", "claude-sonnet-4-5", &usage(5)), Usd::of_micros(2 * (30 + 75)));
        assert_eq!(estimate.add("c", "claude-sonnet-4-5", &json!("nothing")), Usd::of_micros(2 * (30 + 75)));
    }

    proptest! {
        #[test]
        fn what_is_forgotten_still_counts(tokens in prop::collection::vec(0_i64..1_000_000, 0..300)) {
            let mut estimate = Estimate::default();
            let mut last = Usd::ZERO;
            for (at, output) in tokens.iter().enumerate() {
                last = estimate.add(&at.to_string(), "claude-sonnet-4-5", &json!({ "output_tokens": output }));
            }
            prop_assert_eq!(last, Usd::of_micros(tokens.iter().sum::<i64>() * 15));
        }
    }
}
