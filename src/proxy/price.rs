//! Prices of models. Pure.
//!
//! Source: the price list of the Messages API, as CLI 2.1.197 has it too. Prices are micro-dollars for a million tokens.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Price of a model, in micro-dollars for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    input: i64,
    output: i64,
    /// Written to the cache for five minutes.
    write: i64,
    /// Written to the cache for an hour.
    write_hour: i64,
    read: i64,
}

/// Price of one web search, in micro-dollars.
const SEARCH: i64 = 10_000;

/// A price by dollars for a million tokens in and out: a write to the cache costs five quarters of the input or, for an
/// hour, twice as much, and a read a tenth.
const fn price(input_cents: i64, output_cents: i64) -> Price {
    let input = input_cents * 10_000;
    Price { input, output: output_cents * 10_000, write: input * 5 / 4, write_hour: input * 2, read: input / 10 }
}

/// Beginnings of the names of models, the longer before the shorter.
const PRICES: &[(&str, Price)] = &[
    ("claude-3-haiku", price(25, 125)),
    ("claude-3-5-haiku", price(80, 400)),
    ("claude-haiku-4", price(100, 500)),
    ("claude-3-5-sonnet", price(300, 1_500)),
    ("claude-3-7-sonnet", price(300, 1_500)),
    ("claude-sonnet", price(300, 1_500)),
    ("claude-3-opus", price(1_500, 7_500)),
    ("claude-opus-4-0", price(1_500, 7_500)),
    ("claude-opus-4-1", price(1_500, 7_500)),
    ("claude-opus-4-2025", price(1_500, 7_500)),
    ("claude-fable", price(1_000, 5_000)),
    ("claude-mythos", price(1_000, 5_000)),
];

/// Price of a model that is not in the list: of Opus since 4.5.
const OTHERS: Price = price(500, 2_500);

/// Numbers of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input: i64,
    pub output: i64,
    /// Written to the cache, all together.
    pub write: i64,
    /// Part of these that is kept for an hour.
    pub write_hour: i64,
    pub read: i64,
    pub searches: i64,
    /// True if it was answered at the higher speed, which costs more.
    pub fast: bool,
}

/// Counts, as the API says them; what is no number counts for nothing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Said {
    input_tokens: Value,
    output_tokens: Value,
    cache_creation_input_tokens: Value,
    cache_read_input_tokens: Value,
    cache_creation: Value,
    server_tool_use: Value,
    speed: Value,
}

impl Usage {
    /// Takes what is said later of the same answer: each count is a total.
    pub fn raise(&mut self, said: &Said) {
        let set = |to: &mut i64, value: &Value| *to = value.as_i64().map_or(*to, |value| value.max(*to));
        set(&mut self.input, &said.input_tokens);
        set(&mut self.output, &said.output_tokens);
        set(&mut self.write, &said.cache_creation_input_tokens);
        set(&mut self.read, &said.cache_read_input_tokens);
        set(&mut self.write_hour, &said.cache_creation["ephemeral_1h_input_tokens"]);
        set(&mut self.searches, &said.server_tool_use["web_search_requests"]);
        self.fast |= said.speed == "fast";
    }
}

/// The cost of an answer, in millionths of micro-dollars.
pub fn cost(model: &str, usage: Usage) -> i128 {
    let price = of(model, usage.fast);
    let tokens = [
        (usage.input, price.input),
        (usage.output, price.output),
        (usage.write.saturating_sub(usage.write_hour), price.write),
        (usage.write_hour, price.write_hour),
        (usage.read, price.read),
    ];
    let sum: i128 = tokens.iter().map(|(count, price)| i128::from((*count).max(0)) * i128::from(*price)).sum();
    sum + i128::from(usage.searches.max(0)) * i128::from(SEARCH) * 1_000_000
}

fn of(model: &str, fast: bool) -> Price {
    match model {
        _ if fast && (model.starts_with("claude-opus-4-6") || model.starts_with("claude-opus-4-7")) => {
            price(3_000, 15_000)
        }
        _ if fast && model.starts_with("claude-opus-4-8") => price(1_000, 5_000),
        _ => PRICES.iter().find(|(name, _)| model.starts_with(name)).map_or(OTHERS, |(_, price)| *price),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_costs_what_its_tokens_cost() {
        let usage = Usage { input: 10, output: 5, ..Usage::default() };
        let micros = |model, usage| cost(model, usage) / 1_000_000;
        assert_eq!(micros("claude-opus-4-5-20251101", usage), 175);
        assert_eq!(micros("whatever comes", usage), 175);
        assert_eq!(micros("claude-opus-4-20250514", usage), 525);
        assert_eq!(micros("claude-haiku-4-5", usage), 35);
        let cached = Usage { write: 1_000, write_hour: 400, read: 2_000, searches: 1, ..Usage::default() };
        // 600 at 3.75, 400 at 6 and 2,000 at 0.30 dollars a million, and one search.
        assert_eq!(micros("claude-sonnet-4-5", cached), 2_250 + 2_400 + 600 + 10_000);
        assert_eq!(micros("claude-opus-4-6", Usage { fast: true, ..usage }), 1_050);
        let absurd = Usage { input: i64::MAX, output: i64::MIN, ..Usage::default() };
        assert!(cost("x", absurd) > 0);
    }
}
