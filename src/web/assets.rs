//! Style, scripts and pictures: a part of the program, named by what is in them, so that a browser keeps them for good.

use std::sync::LazyLock;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{self, Path};
use actix_web::{HttpResponse, Responder};
use sha2::{Digest as _, Sha256};

use super::render::Html;

/// A file.
struct Asset {
    plain: &'static str,
    /// `app-1a2b3c4d.css`
    name: String,
    kind: &'static str,
    text: String,
}

/// Name in front of the hash, kind, and text; each stands behind those that it names.
const FILES: &[(&str, &str, &str)] = &[
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
    ("app.css", "text/css; charset=utf-8", include_str!("assets/app.css")),
    ("idiomorph.js", SCRIPT, include_str!("assets/idiomorph.js")),
    ("page.js", SCRIPT, include_str!("assets/page.js")),
    ("find.js", SCRIPT, include_str!("assets/find.js")),
    ("forms.js", SCRIPT, include_str!("assets/forms.js")),
    ("keys.js", SCRIPT, include_str!("assets/keys.js")),
    ("task.js", SCRIPT, include_str!("assets/task.js")),
    ("live.js", SCRIPT, include_str!("assets/live.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let mut all: Vec<Asset> = Vec::new();
    for (plain, kind, text) in FILES {
        // What it imports has a hash in its name by now.
        let text = all.iter().fold((*text).to_owned(), |text, asset| {
            text.replace(&format!("\"./{}\"", asset.plain), &format!("\"./{}\"", asset.name))
        });
        let (stem, end) = plain.rsplit_once('.').unwrap_or((plain, ""));
        let name = format!("{stem}-{}.{end}", hex::encode(&Sha256::digest(&text)[..4]));
        all.push(Asset { plain, name, kind, text });
    }
    all
});

fn named(plain: &str) -> &'static Asset {
    ASSETS.iter().find(|asset| asset.plain == plain).unwrap_or(&ASSETS[0])
}

/// Name of the style.
pub fn css() -> &'static str {
    &named("app.css").name
}

/// The style itself, for a file that needs nothing else.
pub fn style() -> Html {
    let mut html = Html::new();
    html.raw(include_str!("assets/app.css"));
    html
}

/// Name of the first script.
pub fn js() -> &'static str {
    &named("live.js").name
}

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/web/asset/{name}", web::get().to(asset)).route("/favicon.ico", web::get().to(icon));
}

async fn asset(name: Path<String>) -> impl Responder {
    match ASSETS.iter().find(|asset| asset.name == **name) {
        Some(asset) => HttpResponse::Ok()
            .content_type(asset.kind)
            .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
            .body(asset.text.as_str()),
        None => HttpResponse::NotFound().finish(),
    }
}

async fn icon() -> impl Responder {
    let icon = named("icon.svg").text.as_str();
    HttpResponse::Ok().content_type("image/svg+xml").insert_header((CACHE_CONTROL, "public, max-age=86400")).body(icon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_loads_stays_small() {
        let size = |name: &str| FILES.iter().find(|(plain, ..)| *plain == name).map_or(0, |(.., text)| text.len());
        assert!(size("app.css") <= 24 << 10, "{}", size("app.css"));
        let ours: usize = ["live.js", "page.js", "task.js", "keys.js", "forms.js"].into_iter().map(size).sum();
        assert!(ours <= 40 << 10, "{ours}");
    }
}
