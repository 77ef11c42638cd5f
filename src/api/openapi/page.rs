//! The contract as a page: one file, without scripts, that makes no request of its own.

use std::sync::LazyLock;

use serde_json::Value;

use super::DOCUMENT;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
pre{background:#f4f4f4;padding:.75rem;overflow:auto;font-size:.85rem}summary{cursor:pointer;padding:.35rem 0}
code{font-size:.95em}.m{display:inline-block;min-width:4.5rem;font-weight:600}h2{margin-top:2rem;border-bottom:1px solid #ddd}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}pre{background:#242424}a{color:#8ab4f8}h2{border-color:#333}}";

/// The page.
pub static HTML: LazyLock<String> = LazyLock::new(|| {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
        <title>cc-anywhere API</title><style>{STYLE}</style></head><body><h1>cc-anywhere {}</h1>\
        <p>Show the key as <code>X-API-Key</code> or <code>Authorization: Bearer</code>. The same for programs: \
        <a href=\"openapi.json\">openapi.json</a>.</p>",
        env!("CARGO_PKG_VERSION")
    );
    let empty = serde_json::Map::new();
    let mut group = "";
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap_or(&empty) {
        for (method, operation) in methods.as_object().unwrap_or(&empty) {
            let tag = operation["tags"][0].as_str().unwrap_or_default();
            if tag != group {
                heading(&mut page, tag);
                group = tag;
            }
            page.push_str(&describe(&method.to_uppercase(), path, operation));
        }
    }
    heading(&mut page, "Schemas");
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap_or(&empty) {
        page.push_str(&format!(
            "<details id=\"{name}\"><summary><code>{name}</code></summary>{}</details>",
            code(schema)
        ));
    }
    page + "</body></html>"
});

fn heading(page: &mut String, text: &str) {
    page.push_str(&format!("<h2>{}</h2>", escape(text)));
}

fn describe(method: &str, path: &str, operation: &Value) -> String {
    let summary = operation["summary"].as_str().unwrap_or_default();
    let head = format!("<span class=\"m\">{method}</span><code>{}</code> {}", escape(path), escape(summary));
    let mut page = format!("<details><summary>{head}</summary>");
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    for parameter in parameters {
        let (name, place) =
            (parameter["name"].as_str().unwrap_or_default(), parameter["in"].as_str().unwrap_or_default());
        let schema = escape(&parameter["schema"].to_string());
        page.push_str(&format!("<p><code>{}</code> ({place}) <code>{schema}</code></p>", escape(name)));
    }
    let body = &operation["requestBody"]["content"]["application/json"];
    if body.is_object() {
        page.push_str(&format!("<p>Body: {}</p>", links(&body["schema"])));
        for example in body["examples"].as_object().into_iter().flat_map(|examples| examples.values()) {
            page.push_str(&code(&example["value"]));
        }
    }
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        let content = answer["content"].as_object();
        let kinds: Vec<String> = content
            .into_iter()
            .flatten()
            .map(|(kind, content)| match kind.as_str() {
                "application/json" => links(&content["schema"]),
                kind => format!("<code>{kind}</code>"),
            })
            .collect();
        let description = answer["description"].as_str().unwrap_or_default();
        page.push_str(&format!("<p><b>{status}</b> {} {}</p>", escape(description), kinds.join(", ")));
    }
    page + "</details>"
}

/// The names of a schema, as links to where they are described.
fn links(schema: &Value) -> String {
    let choices = schema["anyOf"].as_array().map_or(std::slice::from_ref(schema), Vec::as_slice);
    let link = |one: &Value| {
        let name = one["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        name.map_or_else(
            || "<code>object</code>".to_owned(),
            |name| format!("<a href=\"#{name}\"><code>{name}</code></a>"),
        )
    };
    choices.iter().map(link).collect::<Vec<_>>().join(" or ")
}

fn code(value: &Value) -> String {
    format!("<pre>{}</pre>", escape(&format!("{value:#}")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
