//! One file a page.

mod agent;
mod cards;
mod export;
mod graph;
mod inbox;
mod new;
mod overview;
mod proof;
mod queue;
mod race;
mod schedules;
mod search;
mod sessions;
mod settings;
mod task;
mod tasks;
mod usage;
mod workers;

use actix_web::web;

pub use cards::choices;

/// The routes of pages.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(overview::show))
        .route("/inbox", web::get().to(inbox::show))
        .route("/tasks", web::get().to(tasks::show))
        .route("/tasks/{id}", web::get().to(task::show))
        .route("/tasks/{id}/export", web::get().to(export::show))
        .route("/tasks/{id}/older", web::get().to(task::older))
        .route("/search", web::get().to(search::show))
        .route("/find", web::get().to(search::offer))
        .route("/new", web::get().to(new::show))
        .route("/sessions", web::get().to(sessions::show))
        .route("/schedules", web::get().to(schedules::show))
        .route("/queue", web::get().to(queue::show))
        .route("/workers", web::get().to(workers::show))
        .route("/usage", web::get().to(usage::show))
        .route("/proof", web::get().to(proof::show))
        .route("/settings", web::get().to(settings::show));
}

/// A link to a part of a page.
pub struct Tab {
    pub name: &'static str,
    pub query: String,
    pub here: bool,
}
