//! `/inbox`: all that waits for a person.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::Html;
use super::super::view::{length, moment};
use super::cards::Card;
use crate::api::{ApiError, Shared, question_cursor, read_question_cursor};
use crate::queue::ListQuestions;
use crate::service;
use wire::KeyScope;
use wire::response::{RuleSuggestion, RuleView, Rules};

/// Cards of a page.
const LIMIT: u64 = 25;

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    shell: Shell,
    questions: Vec<Card>,
    next: Option<String>,
    suggestions: Vec<Suggested>,
    rules: Vec<Kept>,
    /// True if the visitor may add and remove rules.
    may_decide: bool,
}

/// A rule that the visitor's answers suggest.
struct Suggested {
    rule: String,
    key: String,
    tag: String,
    folder: String,
    /// The tasks that it would be for.
    of: String,
    times: i64,
    waited: String,
}

/// A rule.
struct Kept {
    id: String,
    rule: String,
    of: String,
    since: Html,
}

#[derive(Deserialize)]
pub struct Asked {
    cursor: Option<String>,
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let after = asked.cursor.as_deref().and_then(read_question_cursor);
    let list = ListQuestions { key: visitor.caller.own(), after, limit: LIMIT };
    let found = shared.queue.ask(list).await?.questions;
    let next = found.last().filter(|_| found.len() as u64 == LIMIT).map(question_cursor);
    let questions = found.iter().map(|one| Card::of(one.task.id, one.task.spec.title(), &one.question)).collect();
    let shell = Shell::new(&shared, &visitor, "/inbox", "Inbox").await?;
    let Rules { rules, suggestions } = service::rules::list(&shared, &visitor.caller).await.map_err(ApiError::from)?;
    let may_decide = visitor.caller.may(KeyScope::Decide);
    let (suggestions, rules) =
        (suggestions.into_iter().map(suggested).collect(), rules.into_iter().map(kept).collect());
    Ok(page(&request, &visitor, &Inbox { shell, questions, next, suggestions, rules, may_decide }))
}

fn suggested(one: RuleSuggestion) -> Suggested {
    Suggested {
        of: tasks_of(one.tag.as_deref(), one.folder.as_deref()),
        rule: one.rule,
        key: one.key,
        tag: one.tag.unwrap_or_default(),
        folder: one.folder.unwrap_or_default(),
        times: one.times,
        waited: length(one.waited_ms),
    }
}

fn kept(one: RuleView) -> Kept {
    let of = tasks_of(one.tag.as_deref(), one.folder.as_deref());
    Kept { id: one.rule_id.to_string(), rule: one.rule, of, since: moment(one.created_at) }
}

/// The tasks that a rule is for; empty where it is all.
fn tasks_of(tag: Option<&str>, folder: Option<&str>) -> String {
    tag.map(|tag| format!("tag {tag}")).or_else(|| folder.map(str::to_owned)).unwrap_or_default()
}
