//! `/settings`: what is in force and where it comes from, what is missing, keys, webhooks.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use crate::api::Shared;
use crate::queue::{ReadKeys, ReadWebhooks};
use domain::Named as _;
use wire::KeyScope;

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    shell: Shell,
    findings: Vec<(&'static str, bool, String)>,
    settings: Vec<Line>,
    keys: Vec<(String, String, String)>,
    /// Address, shape, tasks, state.
    hooks: Vec<(String, String, String, String)>,
    version: &'static str,
}

struct Line {
    name: &'static str,
    value: String,
    origin: &'static str,
    help: &'static str,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Admin)?;
    let findings = shared.doctor.findings().await.into_iter().map(|finding| {
        let ok = finding.result.is_ok();
        (finding.what, ok, finding.result.unwrap_or_else(|mend| mend))
    });
    let settings = shared.settings.iter().map(|one| Line {
        name: one.setting.name,
        value: one.value.clone().unwrap_or_else(|| if one.is_set { "set".to_owned() } else { String::new() }),
        origin: one.origin.name(),
        help: one.setting.help,
    });
    let of_settings =
        shared.keys.of_settings().map(|key| (key.name().to_owned(), "settings".to_owned(), String::new()));
    let stored = shared.queue.ask(ReadKeys).await?;
    let stored = stored.into_iter().map(|key| {
        let scopes = key.rights.as_ref().map(|rights| {
            let names: Vec<_> = rights.scopes.iter().map(|scope| scope.name()).collect();
            names.join(", ")
        });
        let state = if key.revoked_at.is_some() { "revoked" } else { "" };
        (key.name, scopes.unwrap_or_else(|_| "unreadable".to_owned()), state.to_owned())
    });
    let hooks = shared.queue.ask(ReadWebhooks(None)).await?;
    let hooks = hooks.into_iter().map(|hook| {
        let state = match (&hook.disabled, hook.failing_since) {
            (Some((at, why)), _) => format!("disabled at {at}: {why}"),
            (None, Some(at)) => format!("failing since {at}"),
            (None, None) => "well".to_owned(),
        };
        let tasks = hook.key.unwrap_or_else(|| "all keys".to_owned());
        let tasks = if hook.tags.is_empty() { tasks } else { format!("{tasks}: {}", hook.tags.join(" ")) };
        (hook.url, hook.format.name().to_owned(), tasks, state)
    });
    let template = Settings {
        findings: findings.collect(),
        settings: settings.collect(),
        keys: of_settings.chain(stored).collect(),
        hooks: hooks.collect(),
        version: env!("CARGO_PKG_VERSION"),
        shell: Shell::new(&shared, &visitor, "/settings", "Settings").await?,
    };
    Ok(page(&request, &visitor, &template))
}
