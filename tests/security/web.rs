//! Browser → pages: a cookie is good for its key and its pages alone, and no page of others can use it.

use serde_json::json;

use super::matrix::key;
use crate::support::http::Client;
use crate::support::{Server, World, until};

/// Status, headers and text of an answer; no redirect is followed.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }

    /// The cookie that it sets.
    fn cookie(&self) -> Option<String> {
        Some(self.header("set-cookie").split(';').next()?.to_owned()).filter(|cookie| !cookie.is_empty())
    }
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], form: Option<&str>) -> Answer {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", server.http.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent = ureq::Agent::from(config);
    let sent = match form {
        Some(form) => agent.run(
            request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.to_owned())
                .expect("a request"),
        ),
        None => agent.run(request.body(()).expect("a request")),
    };
    let mut answer = sent.expect("an answer");
    let text = answer.body_mut().read_to_string().unwrap_or_default();
    Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
}

/// Signs in with a key, and returns the cookie.
fn sign_in(server: &Server, client: &Client) -> String {
    let answer = ask(server, "POST", "/in", &[], Some(&format!("key={}", client.key())));
    assert_eq!((answer.status, answer.header("location")), (303, "/"), "{}", answer.text);
    answer.cookie().expect("a cookie")
}

fn token_of(page: &str) -> String {
    page.split("data-token=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned()
}

#[test]
fn a_one_time_code_signs_in_once() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let line = server.process.wait_log("Dashboard url=");
    let code = line.split("/in#").nth(1).and_then(|rest| rest.split(' ').next()).expect("a code").to_owned();
    let answer = ask(&server, "POST", "/in", &[], Some(&format!("code={code}&next=%2Ftasks")));
    assert_eq!((answer.status, answer.header("location")), (303, "/tasks"));
    let set = answer.header("set-cookie");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/"), "{set}");
    let cookie = answer.cookie().expect("a cookie");
    assert_eq!(ask(&server, "GET", "/tasks", &[("cookie", &cookie)], None).status, 200);
    for code in [&*code, "Knonsense", &code[..code.len() - 1]] {
        let again = ask(&server, "POST", "/in", &[], Some(&format!("code={code}")));
        assert_eq!((again.status, again.cookie()), (200, None), "{code}");
    }
    let elsewhere = ask(
        &server,
        "POST",
        "/in",
        &[],
        Some(&format!("key={}&next=https%3A%2F%2Fexample.invalid%2F", server.http.key())),
    );
    assert_eq!(elsewhere.header("location"), "/", "no sign-in leads elsewhere");
    let protocol =
        ask(&server, "POST", "/in", &[], Some(&format!("key={}&next=%2F%2Fexample.invalid", server.http.key())));
    assert_eq!(protocol.header("location"), "/");
    assert_eq!(ask(&server, "POST", "/in", &[], Some("key=not-a-key-of-this-server")).cookie(), None);
    let out = ask(&server, "POST", "/out", &[("cookie", &cookie)], Some(""));
    assert!(out.header("set-cookie").contains("Max-Age=0"));
}

#[test]
fn a_cookie_is_no_use_to_pages_of_others() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let cookie = sign_in(&server, &server.http);
    let with = |more: &[(&str, &str)]| -> Vec<(String, String)> {
        let own = [("cookie", cookie.as_str())];
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let status = |method: &str, path: &str, more: &[(&str, &str)], form: Option<&str>| {
        let headers = with(more);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        ask(&server, method, path, &headers, form).status
    };
    let same = ("sec-fetch-site", "same-origin");
    assert_eq!(status("GET", "/api/tasks", &[same], None), 200);
    assert_eq!(status("GET", "/api/tasks", &[("sec-fetch-site", "same-site")], None), 401);
    assert_eq!(status("GET", "/api/tasks", &[("sec-fetch-site", "cross-site")], None), 403);
    assert_eq!(status("POST", "/api/queue/pause", &[same], Some("")), 401, "a change needs our header");
    assert_eq!(status("POST", "/api/queue/pause", &[same, ("x-cc-anywhere", "1")], None), 200);
    assert_eq!(
        status("POST", "/api/queue/start", &[("origin", "https://example.invalid"), ("x-cc-anywhere", "1")], None),
        403
    );
    assert_eq!(
        status("POST", "/api/queue/start", &[("origin", "null"), ("x-cc-anywhere", "1")], None),
        403,
        "a sandboxed frame"
    );
    // Forms need the token of their page.
    let page = ask(&server, "GET", "/queue", &[("cookie", &cookie)], None);
    let token = token_of(&page.text);
    assert_eq!(status("POST", "/queue", &[same], Some("do=start")), 403);
    assert_eq!(status("POST", "/queue", &[same], Some("do=start&token=nonsense")), 403);
    assert_eq!(
        status("POST", "/queue", &[("sec-fetch-site", "cross-site")], Some(&format!("do=start&token={token}"))),
        403
    );
    assert_eq!(status("POST", "/queue", &[same], Some(&format!("do=start&token={token}"))), 303);
    // A link on another site leads to a page that asks for itself; anything else from there is refused.
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let headers = with(&link);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let bounced = ask(&server, "GET", "/tasks", &headers, None);
    assert!(
        bounced.status == 200 && bounced.text.contains("0; url=/tasks") && !bounced.text.contains("data-token"),
        "{}",
        bounced.text
    );
    assert_eq!(
        status(
            "GET",
            "/tasks",
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
            None
        ),
        403
    );
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "form-action 'self'",
    ] {
        assert!(page.header("content-security-policy").contains(rule), "{rule}");
    }
    assert_eq!((page.header("cache-control"), page.header("x-content-type-options")), ("no-store", "nosniff"));
}

#[test]
fn a_cookie_sees_what_its_key_sees_and_ends_with_it() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let [alice, bob] = ["alice", "bob"].map(|name| key(&server, name, &["read", "submit", "decide"], json!({})));
    let (_, made) = alice.ask("POST", "/api/tasks", Some(json!({ "instruction": "a secret plan of alice" })));
    let id = made["taskId"].as_str().expect("an id").to_owned();
    alice.ask(
        "POST",
        "/api/schedules",
        Some(json!({ "name": "plan of alice", "cron": "0 0 1 1 *", "task": { "instruction": "x" } })),
    );
    let (hers, his) = (sign_in(&server, &alice), sign_in(&server, &bob));
    let get = |cookie: &str, path: &str| ask(&server, "GET", path, &[("cookie", cookie)], None);
    assert!(get(&hers, "/tasks").text.contains("a secret plan of alice"));
    for path in
        ["/", "/tasks", "/tasks?q=secret", "/tasks?tag=x", "/inbox", "/sessions", "/schedules", "/usage", "/new"]
    {
        let page = get(&his, path);
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("of alice") && !page.text.contains(&id), "{path} tells bob");
    }
    for path in [
        format!("/tasks/{id}"),
        format!("/tasks/{id}/older"),
        format!("/web/live?task={id}"),
        format!("/new?from={id}"),
    ] {
        assert_eq!(get(&his, &path).status, 404, "{path}");
    }
    for path in ["/queue", "/workers", "/settings"] {
        assert_eq!(get(&his, path).status, 403, "{path}");
    }
    assert_eq!(get(&his, "/tasks?key=alice").status, 422);
    let token = token_of(&get(&his, "/").text);
    let post = |path: &str, fields: &str| {
        ask(&server, "POST", path, &[("cookie", &his)], Some(&format!("token={token}&{fields}"))).status
    };
    for (path, fields) in [
        (format!("/tasks/{id}/cancel"), ""),
        (format!("/tasks/{id}/retry"), ""),
        (format!("/tasks/{id}/say"), "text=x"),
        (format!("/tasks/{id}/interrupt"), ""),
        (format!("/tasks/{id}/answer"), "request=x&do=allow"),
    ] {
        assert_eq!(post(&path, fields), 404, "{path}");
    }
    for (path, fields) in [("/queue", "do=pause"), ("/workers", ""), ("/workers/x/stop", "")] {
        assert_eq!(post(path, fields), 403, "{path}");
    }
    assert_eq!(server.task(&id)["status"], "pending");
    // What was spoilt, and what belongs to a key that was revoked or has another secret, opens nothing.
    let (head, _) = hers.rsplit_once('.').expect("a cookie");
    for spoilt in [format!("{head}.00"), hers.replace("cc_session=", "cc_session=x"), "cc_session=".to_owned()] {
        assert_eq!(get(&spoilt, "/tasks").header("location"), "/in?next=%2Ftasks", "{spoilt}");
    }
    server.http.ask("DELETE", "/api/keys/alice", None);
    server.http.ask("POST", "/api/keys/bob/rotate", None);
    until("the cookies to end", || {
        ([&hers, &his].iter().all(|cookie| get(cookie, "/tasks").status == 303)).then_some(())
    });
}

#[test]
fn pages_can_be_turned_off() {
    let world = World::new();
    let server = world.serve("inline", &[("DASHBOARD", "off")]);
    assert_eq!(ask(&server, "GET", "/", &[], None).status, 404);
    assert_eq!(server.get("/api/tasks")["total"], 0);
}
