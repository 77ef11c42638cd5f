//! The contract as OpenAPI 3.1, and a page to read it.
//!
//! Schemas are derived from the very types that the server reads and writes (utoipa), wherever one of the
//! [operations] names them.

mod operation;
mod operations;
mod page;

use std::collections::HashSet;
use std::sync::LazyLock;

use actix_web::http::Method;
use serde_json::{Map, Value, json};
use wire::response::Failed;

pub use operation::{Access, Operation};
use operation::{Answer, Body, Content, Parameter, Schemas, Type};
pub use operations::OPERATIONS;
pub use page::HTML;

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

/// The operation of a route; of `HEAD`, the one of `GET`.
pub fn operation(method: &Method, path: Option<&str>) -> Option<&'static Operation> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    OPERATIONS.iter().find(|one| Some(one.path) == path && one.method == method.as_str())
}

/// The methods of a path, as its routes have them.
pub fn methods(path: &str) -> Vec<&'static str> {
    OPERATIONS.iter().filter(|one| one.path == path).map(|one| one.method).collect()
}

fn schemas() -> Map<String, Value> {
    let (mut sent, mut answered) = (Schemas::new(), Schemas::new());
    for one in OPERATIONS {
        one.body.iter().for_each(|body| (body.kind.collect)(&mut sent));
        one.answers.iter().flat_map(types).for_each(|kind| (kind.collect)(&mut answered));
    }
    (operation::of::<Failed>().collect)(&mut answered);
    let requests: HashSet<String> = sent.iter().map(|(name, _)| name.clone()).collect();
    let answers = answered.into_iter().map(|(name, schema)| {
        let mut schema = json!(schema);
        if !requests.contains(&name) {
            require_nullable(&mut schema);
        }
        (name, schema)
    });
    let mut schemas: Map<String, Value> = sent.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    schemas.extend(answers);
    schemas.values_mut().for_each(open_free_objects);
    schemas
}

/// The types of an answer.
fn types(answer: &Answer) -> Vec<Type> {
    match answer.content {
        Content::Json(kind) => vec![kind],
        Content::Either(one, other) => vec![one, other],
        Content::Empty | Content::Object | Content::Other(..) => Vec::new(),
    }
}

/// Requires nullable fields: in answers, they are always there.
fn require_nullable(schema: &mut Value) {
    let is_null = |schema: &Value| schema["type"] == "null";
    let may_be_null = |schema: &Value| {
        schema["type"].as_array().is_some_and(|types| types.contains(&json!("null")))
            || ["oneOf", "anyOf"].iter().any(|any| schema[any].as_array().is_some_and(|any| any.iter().any(is_null)))
    };
    let Some(properties) = schema["properties"].as_object() else { return };
    let required = |name: &&String| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
    let names: Vec<&String> = properties
        .iter()
        .filter(|(name, property)| may_be_null(property) || required(name))
        .map(|(name, _)| name)
        .collect();
    schema["required"] = json!(names);
}

/// An object of which nothing is said may have any field.
fn open_free_objects(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_free = fields.get("type") == Some(&json!("object"))
                && !["properties", "additionalProperties", "propertyNames"]
                    .iter()
                    .any(|name| fields.contains_key(*name));
            if is_free {
                fields.insert("additionalProperties".to_owned(), json!(true));
            }
            fields.values_mut().for_each(open_free_objects);
        }
        Value::Array(items) => items.iter_mut().for_each(open_free_objects),
        _ => {}
    }
}

fn schema_of(parameter: Parameter) -> Value {
    match parameter {
        Parameter::Text => json!({ "type": "string" }),
        Parameter::Uuid => json!({ "type": "string", "format": "uuid" }),
        Parameter::Day => json!({ "type": "string", "format": "date" }),
        Parameter::Flag => json!({ "type": "boolean" }),
        Parameter::Number(low, high) => {
            json!({ "type": "integer", "format": "int64", "minimum": low, "maximum": high })
        }
        Parameter::Of(kind) => reference(kind),
    }
}

fn reference(kind: Type) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", (kind.name)()) })
}

fn paths() -> Map<String, Value> {
    let mut paths = Map::new();
    for one in OPERATIONS {
        let path = paths.entry(one.path).or_insert_with(|| json!({}));
        path[one.method.to_lowercase()] = described(one);
    }
    paths
}

fn described(one: &Operation) -> Value {
    let in_path = one
        .path
        .split(['{', '}'])
        .skip(1)
        .step_by(2)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let optional = |place: &'static str| move |(name, kind): &(&str, Parameter)| json!({ "name": name, "in": place, "required": false, "schema": schema_of(*kind) });
    let in_query = one.query.iter().map(optional("query"));
    let in_header = one.headers.iter().map(optional("header"));
    let parameters: Vec<Value> = in_path.chain(in_query).chain(in_header).collect();
    let group = one.path.trim_start_matches("/api/").trim_start_matches('/').split('/').next().unwrap_or_default();
    let mut operation = json!({
        "tags": [group],
        "summary": one.summary,
        "operationId": one.id,
        "parameters": parameters,
        "responses": responses(one),
    });
    match one.access {
        Access::Open => operation["security"] = json!([]),
        Access::Within => {}
        Access::Key(scope) => operation["x-scope"] = json!(scope),
    }
    if let Some(Body { kind, required, examples }) = &one.body {
        let parse = |text: &&str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let named =
            examples.iter().enumerate().map(|(n, text)| (format!("example{n}"), json!({ "value": parse(text) })));
        let examples: Map<String, Value> = named.collect();
        operation["requestBody"] = json!({
            "required": required,
            "content": { "application/json": { "schema": reference(*kind), "examples": examples } },
        });
    }
    if one.takes_bytes {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/octet-stream": { "schema": { "type": "string", "format": "binary" } } },
        });
    }
    operation
}

fn responses(one: &Operation) -> Map<String, Value> {
    let mut errors: Vec<u16> = one.errors.to_vec();
    errors.extend(match one.access {
        Access::Open => &[403][..],
        Access::Within | Access::Key(_) => &[401, 403, 429, 503],
    });
    if one.body.is_some() {
        errors.extend([400, 413, 415, 422]);
    }
    if one.takes_bytes {
        errors.extend([400, 408, 413]);
    }
    if one.path.contains('{') {
        errors.push(404);
    }
    if !one.query.is_empty() {
        errors.push(422);
    }
    errors.sort_unstable();
    errors.dedup();
    errors.retain(|status| one.answers.iter().all(|answer| answer.status != *status));
    let mut responses: Vec<(u16, Value)> = one.answers.iter().map(|answer| (answer.status, success(answer))).collect();
    responses.extend(errors.into_iter().map(|status| (status, refusal(status))));
    responses.sort_unstable_by_key(|(status, _)| *status);
    responses.into_iter().map(|(status, response)| (status.to_string(), response)).collect()
}

fn success(answer: &Answer) -> Value {
    let content = match answer.content {
        Content::Empty => return json!({ "description": description(answer.status) }),
        Content::Json(kind) => json!({ "application/json": { "schema": reference(kind) } }),
        Content::Either(one, other) => {
            json!({ "application/json": { "schema": { "anyOf": [reference(one), reference(other)] } } })
        }
        Content::Object => {
            json!({ "application/json": { "schema": { "type": "object", "additionalProperties": true } } })
        }
        Content::Other(kind, what) => json!({ kind: { "schema": { "type": "string", "description": what } } }),
    };
    json!({ "description": description(answer.status), "content": content })
}

fn refusal(status: u16) -> Value {
    let content = json!({ "application/json": { "schema": reference(operation::of::<Failed>()) } });
    let mut response = json!({ "description": description(status), "content": content });
    if matches!(status, 429 | 503) {
        let seconds =
            json!({ "description": "Seconds until another try is worth it", "schema": { "type": "integer" } });
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
        206 => "A part of it",
        304 => "It is what the client has",
        400 => "The body is no JSON",
        401 => "No key was shown, or one that is not known",
        403 => "The server does not allow it; code names the rule",
        404 => "It is not there",
        408 => "The body came too slowly",
        409 => "It does not fit how things stand",
        413 => "The body is too long",
        416 => "The file has none of these bytes",
        415 => "The body is not said to be JSON",
        422 => "A field breaks a rule; details.field names it",
        429 => "Too much waits already",
        504 => "The task goes on; this is how it stands",
        _ => "Not now; try again after a while",
    }
}

#[cfg(test)]
mod tests {
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
        let ids: HashSet<&str> = OPERATIONS.iter().map(|one| one.id).collect();
        assert_eq!(ids.len(), OPERATIONS.len());
        for example in OPERATIONS.iter().filter_map(|one| one.body.as_ref()).flat_map(|body| body.examples) {
            serde_json::from_str::<Value>(example).expect(example);
        }
    }
}
