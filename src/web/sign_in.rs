//! Signing in with a one-time code or a key, and signing out.

use actix_web::http::header::LOCATION;
use actix_web::web::{self, Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::actions::Fields;
use super::assets;
use super::door::{Turned, set_cookie};
use super::page::{is_local, lone};
use crate::api::{ApiError, Shared, find_key};
use crate::process::wall_now;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/in").get(form).post(sign_in)).service(web::resource("/out").post(sign_out));
}

/// The form.
#[derive(Template)]
#[template(path = "sign_in.html")]
struct Form {
    next: String,
    problem: Option<&'static str>,
    css: &'static str,
    js: &'static str,
}

#[derive(Deserialize)]
struct Asked {
    next: Option<String>,
}

fn show(next: Option<String>, problem: Option<&'static str>) -> HttpResponse {
    let next = next.filter(|next| is_local(next)).unwrap_or_else(|| "/".to_owned());
    lone(&Form { next, problem, css: assets::css(), js: assets::js() })
}

async fn form(asked: Query<Asked>, shared: Data<Shared>) -> HttpResponse {
    if shared.keys.is_open() {
        return HttpResponse::SeeOther().insert_header((LOCATION, "/")).finish();
    }
    show(asked.into_inner().next, None)
}

/// `code` is one that a terminal has shown, `key` a key.
async fn sign_in(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    let fields = Fields::read(payload, &shared).await?;
    let (code, key, next) = (fields.text("code"), fields.text("key"), fields.text("next"));
    let now = wall_now();
    let cookie = match (code, key) {
        (code, _) if !code.is_empty() => match shared.keys.redeem(code, now).await? {
            Some(cookie) => Some(cookie),
            None => {
                let problem =
                    "This link was used before, or is more than ten minutes old. cc-anywhere open makes another.";
                return Ok(show(Some(next.to_owned()), Some(problem)));
            }
        },
        (_, key) if !key.is_empty() => {
            let address = request.peer_addr().map(|address| address.ip());
            match find_key(key.trim(), &shared, address).await {
                Ok(caller) => shared.keys.cookie(&caller, now).await?,
                Err(error) if error.is_unauthorized() => None,
                Err(error) => return Err(error.into()),
            }
        }
        _ => None,
    };
    let Some(cookie) = cookie else {
        return Ok(show(
            Some(next.to_owned()),
            Some("That is no key of this server. cc-anywhere keys show prints yours."),
        ));
    };
    let next = if is_local(next) { next } else { "/" };
    Ok(HttpResponse::SeeOther().insert_header(set_cookie(&request, &cookie)).insert_header((LOCATION, next)).finish())
}

async fn sign_out(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::SeeOther().insert_header(set_cookie(&request, "")).insert_header((LOCATION, "/in")).finish())
}
