//! The contract as OpenAPI 3.1, and a page to read it.
//!
//! Schemas of what clients send, of tasks and of events are derived from the very types (utoipa); the
//! [operations](self::operations) and the [other answers](self::answers) are tables, which a test holds against the routes,
//! and a fuzz run against the answers.

mod answers;
mod operations;
mod page;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

pub use operations::OPERATIONS;
use operations::{Body, Operation};
pub use page::HTML;

use super::routes;
use domain::Decision;
use wire::view::{EventView, TaskView};
use wire::{TaskSpec, WebhookOptions};

/// The document, as JSON.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "cc-anywhere", "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs Claude Code tasks over HTTP: stored durably, executed once, followed live.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "apiKey": [] }, { "bearer": [] }],
        "paths": paths(),
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "apiKey": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
    })
});

/// The methods of a path, as its routes have them.
pub fn methods(path: &str) -> Vec<&'static str> {
    OPERATIONS.iter().filter(|one| one.path == path).map(|one| one.method).collect()
}

fn schemas() -> Map<String, Value> {
    let mut found = Vec::new();
    collect::<TaskSpec>(&mut found);
    collect::<TaskView<'_>>(&mut found);
    collect::<EventView<'_>>(&mut found);
    collect::<Decision>(&mut found);
    collect::<WebhookOptions>(&mut found);
    routes::bodies(&mut found);
    let derived = found.into_iter().map(|(name, schema)| (name, json!(schema)));
    derived.chain(answers::schemas()).collect()
}

/// Named schemas.
pub type Schemas = Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>;

/// The schema of a type, and of all that it is made of.
pub fn collect<T: utoipa::ToSchema>(into: &mut Schemas) {
    into.push((T::name().into_owned(), T::schema()));
    T::schemas(into);
}

fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for one in OPERATIONS {
        let path = paths.entry(one.path).or_insert_with(|| json!({}));
        path[one.method.to_lowercase()] = operation(one);
    }
    paths
}

fn operation(one: &Operation) -> Value {
    let in_path = one
        .path
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = one
        .query
        .iter()
        .map(|(name, kind)| json!({ "name": name, "in": "query", "required": false, "schema": answers::schema(kind) }));
    let in_header = one.headers.iter().map(
        |(name, kind)| json!({ "name": name, "in": "header", "required": false, "schema": answers::schema(kind) }),
    );
    let parameters: Vec<Value> = in_path.chain(in_query).chain(in_header).collect();
    let group = one.path.trim_start_matches("/api/").trim_start_matches('/').split('/').next().unwrap_or_default();
    let mut operation = json!({
        "tags": [group],
        "summary": one.summary,
        "operationId": operation_id(one),
        "parameters": parameters,
        "responses": responses(one),
    });
    if one.is_open {
        operation["security"] = json!([]);
    }
    if let Some(Body { schema, required, examples }) = &one.body {
        let parse = |text: &&str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let named =
            examples.iter().enumerate().map(|(n, text)| (format!("example{n}"), json!({ "value": parse(text) })));
        let examples: Map<String, Value> = named.collect();
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": answers::schema(schema), "examples": examples } },
        });
    }
    operation
}

fn operation_id(one: &Operation) -> String {
    let words = one.path.split(['/', '{', '}', '.', '-']).filter(|word| !word.is_empty() && *word != "api");
    let words: Vec<String> = std::iter::once(one.method.to_lowercase()).chain(words.map(str::to_owned)).collect();
    words.join("_")
}

fn responses(one: &Operation) -> Map<String, Value> {
    let mut statuses: Vec<(u16, &str)> = one.answers.to_vec();
    let mut errors: Vec<u16> = one.errors.to_vec();
    errors.extend(if one.is_open { &[403][..] } else { &[401, 403, 503] });
    if one.body.is_some() {
        errors.extend([400, 413, 415, 422]);
    }
    if one.path.contains('{') {
        errors.push(404);
    }
    if !one.query.is_empty() {
        errors.push(422);
    }
    errors.sort_unstable();
    errors.dedup();
    errors.retain(|status| statuses.iter().all(|(known, _)| known != status));
    statuses.extend(errors.into_iter().map(|status| (status, "Error")));
    statuses.sort_unstable();
    statuses.into_iter().map(|(status, schema)| (status.to_string(), response(status, schema))).collect()
}

fn response(status: u16, schema: &str) -> Value {
    let mut response = json!({ "description": description(status) });
    let (types, names): (Vec<&str>, Vec<&str>) =
        schema.split('|').filter(|one| !one.is_empty()).partition(|one| one.contains('/'));
    let mut content = Map::new();
    if !names.is_empty() {
        content.insert("application/json".to_owned(), json!({ "schema": answers::schema(&names.join("|")) }));
    }
    content.extend(types.into_iter().map(|kind| (kind.to_owned(), json!({ "schema": { "type": "string" } }))));
    if !content.is_empty() {
        response["content"] = json!(content);
    }
    if matches!(status, 429 | 503) && schema == "Error" {
        let seconds =
            json!({ "description": "Seconds until it is worth another try", "schema": { "type": "integer" } });
        response["headers"] = json!({ "Retry-After": seconds });
    }
    response
}

const fn description(status: u16) -> &'static str {
    match status {
        101 => "The connection is a WebSocket now",
        200 => "Done",
        201 => "Made",
        202 => "Stored, and on its way",
        204 => "Gone",
        400 => "The body is no JSON",
        401 => "No key was shown, or one that is not known",
        403 => "The server does not allow it; code names the rule",
        404 => "It is not there",
        409 => "It does not fit how things stand",
        413 => "The body is too long",
        415 => "The body is not said to be JSON",
        422 => "A field breaks a rule; details.field names it",
        429 => "Too much waits already",
        504 => "The task goes on; this is how it stands",
        _ => "Not now; try again after a while",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Every `$ref` of a value.
    fn references<'a>(value: &'a Value, into: &mut HashSet<&'a str>) {
        match value {
            Value::Object(object) => {
                into.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }

    #[test]
    fn every_name_leads_to_a_schema_and_none_is_left_over() {
        let mut used = HashSet::new();
        references(&DOCUMENT, &mut used);
        let schemas = DOCUMENT["components"]["schemas"].as_object().expect("schemas");
        let known: HashSet<String> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
        let missing: Vec<_> = used.iter().filter(|name| !known.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let unused: Vec<_> = known.iter().filter(|name| !used.contains(name.as_str())).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn every_example_is_json_and_every_operation_has_its_own_name() {
        let ids: HashSet<String> = OPERATIONS.iter().map(operation_id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
        for example in OPERATIONS.iter().filter_map(|one| one.body.as_ref()).flat_map(|body| body.examples) {
            serde_json::from_str::<Value>(example).expect(example);
        }
    }
}
