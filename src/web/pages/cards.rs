//! Open questions as cards.

use serde_json::Value;

use super::super::render::{self, Html};
use super::super::view::moment;
use domain::{Question, TaskId};

/// A question, ready to be answered.
pub struct Card {
    pub task: TaskId,
    pub title: String,
    pub request: String,
    pub asked: Html,
    pub deadline: Html,
    pub body: Html,
    /// Rules that a yes for the task means.
    pub rules: String,
    /// The input, to be edited.
    pub input: String,
    /// Choices, where the model asks with some.
    pub choices: Vec<Choice>,
}

/// A question of the model, with its choices.
pub struct Choice {
    pub number: usize,
    pub question: String,
    /// The name of each, and what it means.
    pub options: Vec<(String, String)>,
    pub several: bool,
}

impl Card {
    /// The card of a question.
    pub fn of(task: TaskId, title: String, question: &Question) -> Self {
        Self {
            task,
            title,
            request: question.request_id.clone(),
            asked: moment(question.asked_at),
            deadline: moment(question.deadline),
            body: render::question(question),
            rules: question.session_rules().join(", "),
            input: serde_json::to_string_pretty(&question.input).unwrap_or_default(),
            choices: choices(question),
        }
    }
}

/// The questions of an `AskUserQuestion`.
pub fn choices(question: &Question) -> Vec<Choice> {
    if question.tool != "AskUserQuestion" {
        return Vec::new();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |(number, asked): (usize, &Value)| Choice {
        number,
        question: text(&asked["question"]),
        options: asked["options"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|option| (text(&option["label"]), text(&option["description"])))
            .collect(),
        several: asked["multiSelect"] == true,
    };
    question.input["questions"].as_array().into_iter().flatten().enumerate().map(one).collect()
}
