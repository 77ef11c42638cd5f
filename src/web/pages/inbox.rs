//! `/inbox`: all that waits for a person.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::cards::Card;
use crate::api::{Shared, question_cursor, read_question_cursor};
use crate::queue::ListQuestions;
use wire::KeyScope;

/// Cards of a page.
const LIMIT: u64 = 25;

#[derive(Template)]
#[template(path = "inbox.html")]
struct Inbox {
    shell: Shell,
    questions: Vec<Card>,
    next: Option<String>,
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
    Ok(page(&request, &visitor, &Inbox { shell, questions, next }))
}
