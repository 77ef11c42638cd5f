//! `/proof`: the recorded history, held against the promises.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::Html;
use super::super::view::moment;
use crate::api::Shared;
use wire::KeyScope;
use wire::response::Proof;

#[derive(Template)]
#[template(path = "proof.html")]
struct Page {
    shell: Shell,
    proof: Proof,
    at: Html,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Admin)?;
    let proof = shared.prover.prove(&shared.queue, &shared.store).await?;
    let shell = Shell::new(&shared, &visitor, "/settings", "Proof").await?;
    Ok(page(&request, &visitor, &Page { shell, at: moment(proof.checked_at), proof }))
}
