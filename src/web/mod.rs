//! The dashboard: pages that need no script, and scripts that make them live.
//!
//! *Owns* `/` and everything beside `/api`. *Talks to* the queue and the service, as the handlers of the API do, and lets
//! through what the visitor's key may. *Promises* that nothing which a task, a client or a model has written is anything
//! but text on a page; that pages load nothing from elsewhere; and that every form works without a script.
//!
//! | file | |
//! | --- | --- |
//! | `door` | who asks: the cookie of a browser, and the way to sign in |
//! | `sign_in` | signing in and out |
//! | `answer` | links of notifications that answer a question |
//! | `page` | what all pages have; their headers |
//! | `pages` | one file a page |
//! | `actions`, `bulk` | what forms do: to one thing, and to many tasks |
//! | `live` | the stream of a page |
//! | `render` | events, texts and numbers as HTML |
//! | `assets` | style, scripts, pictures |

mod actions;
mod answer;
mod assets;
mod bulk;
mod door;
mod live;
mod page;
mod pages;
mod render;
mod sign_in;
mod view;

use actix_web::web;

/// Every route of the dashboard.
pub fn routes(config: &mut web::ServiceConfig) {
    assets::routes(config);
    sign_in::routes(config);
    answer::routes(config);
    live::routes(config);
    actions::routes(config);
    pages::routes(config);
}
