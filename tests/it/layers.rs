//! Imports go down, never sideways or up; some crates and calls have one home.

use std::path::{Path, PathBuf};
use std::{fs, mem};

use proc_macro2::TokenTree;
use syn::visit::{self, Visit};

/// From above to below; what stands in one row may not see each other.
const LAYERS: &[&[&str]] = &[
    &["main", "app"],
    &["web"],
    &["api", "client", "admin"],
    &["doctor"],
    &["worker", "supervisor", "service", "no_op"],
    &["queue", "claude", "git", "proxy"],
    &["store", "sandbox"],
    &["process", "supervise", "ipc"],
    &["config", "telemetry", "mcp"],
];

/// What these rows may see of their own row or above, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("main", "app", "the program is its composition root"),
    ("telemetry", "config", "what to log is a setting"),
    ("telemetry", "process", "a line has a time, and clocks are read in process"),
    ("ipc", "process", "a peer is known by its uid"),
];

/// Crates and macros, and the only folders that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("sea_orm", &["src/store/sqlite/", "entity/", "migration/"]),
    ("rusqlite", &["src/store/sqlite/"]),
    ("tokio_postgres", &["src/store/postgres/"]),
    ("use entity", &["src/store/"]),
    ("actix_web", &["src/api/", "src/proxy/", "src/web/"]),
    ("interprocess", &["src/ipc/"]),
    ("opentelemetry", &["src/telemetry/traces/"]),
    ("Command::new", &["src/process/"]),
    ("env::var", &["src/config/", "src/sandbox/probe.rs"]),
    ("anyhow", &["src/main.rs", "src/app/", "src/client/", "src/admin/"]),
];

fn sources(folder: &Path) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).expect("inside").display().to_string();
                found.push((name, fs::read_to_string(&path).expect("a file")));
            }
        }
    }
    found
}

/// The code of a file, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.split("//").next().unwrap_or_default())
}

fn layer(part: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&part))
}

/// The paths into this crate that one file names, each from the root on; `*` for a glob.
struct Paths {
    module: Vec<String>,
    found: Vec<Vec<String>>,
}

impl Paths {
    fn of(name: &str, text: &str) -> Vec<Vec<String>> {
        let module = name.trim_start_matches("src/").trim_end_matches(".rs").split('/').map(ToOwned::to_owned);
        let module = module.filter(|part| !matches!(&**part, "mod" | "lib")).collect();
        let mut paths = Self { module, found: Vec::new() };
        paths.visit_file(&syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}")));
        paths.found
    }

    /// Keeps a path if it leads into this crate.
    fn note(&mut self, path: &[String]) {
        let mut at = match path.first().map(String::as_str) {
            Some("crate" | "cc_anywhere") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for part in path {
            match &**part {
                "crate" | "cc_anywhere" | "self" => {}
                "super" => _ = at.pop(),
                _ => at.push(part.clone()),
            }
        }
        self.found.push(at);
    }

    fn note_use(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |part: &dyn ToString| [before, &[part.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.note_use(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(&with(&"*")),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(tree, before)),
        }
    }

    /// What stands in a macro isn't parsed yet: any identifiers joined by colons are a path there.
    fn note_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.note(&mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => self.note_tokens(group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => colons = 0,
            }
        }
        self.note(&path);
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.note_use(&item.tree, &[]);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        self.note(&["crate".to_owned(), item.ident.to_string()]);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let path_of: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&path_of);
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.note_tokens(call.tokens.clone());
    }
}

/// What a file names of its own row, of a row above, or of the root itself, where everything could be re-exported.
fn wrong_imports(name: &str, text: &str) -> Vec<String> {
    let part = name.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
    let Some(own) = layer(part) else { return Vec::new() };
    let mut wrong = Vec::new();
    for path in Paths::of(name, text) {
        let used = path.first().map_or("the root", String::as_str);
        let allowed = used == part || EXCEPTIONS.iter().any(|(from, to, _)| *from == part && *to == used);
        if !allowed && layer(used).is_none_or(|below| below <= own) {
            wrong.push(format!("{name} uses {used}"));
        }
    }
    wrong
}

#[test]
fn imports_go_down() {
    let wrong: Vec<String> =
        sources(Path::new("src")).iter().flat_map(|(name, text)| wrong_imports(name, text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_import_upwards_is_seen_in_every_form() {
    let file = "src/queue/commands/planted.rs";
    for planted in [
        "use crate::api::Server;",
        "use crate::{task, api as x};",
        "use crate::{task::Task, worker::{attempt as y}};",
        "use super::super::super::api;",
        "pub use crate::api::*;",
        "use crate::*;",
        "use crate as everything;",
        "use super::super::super::*;",
        "extern crate self as me;",
        "use crate::Reexported;",
        "use cc_anywhere::supervisor;",
        "fn f() { crate::api::start(); }",
        "fn f(server: &super::super::super::api::Server) {}",
        "fn f() { let x = Vec::<crate::worker::Worker>::new(); }",
        "fn f() { println!(\"{}\", crate::api::NAME); }",
        "fn f() { assert!(matches!(x, Some(super::super::super::worker::Y))); }",
        "mod tests { use super::super::super::super::api; }",
        "impl crate::api::Speak for Store {}",
        "macro_rules! m { () => { $crate::api::NAME } }",
    ] {
        assert!(!wrong_imports(file, planted).is_empty(), "{planted}");
    }
    for right in [
        "use crate::process::{Tree, json as j};",
        "use super::super::actor;",
        "use crate::queue::*;",
        "pub(crate) fn f() {}",
        "pub(in crate::queue) struct X;",
        "fn f() { tracing::warn!(target: \"crate::api\", error = crate::telemetry::chain(&error)); }",
        "// use crate::api;\nmod tests { use super::*; use super::super::Row; }",
    ] {
        assert_eq!(wrong_imports(file, right), [""; 0], "{right}");
    }
}

#[test]
fn crates_and_calls_stay_in_their_homes() {
    let mut wrong = Vec::new();
    for (name, text) in sources(Path::new("src")) {
        for (what, homes) in HOMES {
            if !homes.iter().any(|home| name.starts_with(home)) && code(&text).any(|line| line.contains(what)) {
                wrong.push(format!("{name} names {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_begins_with_its_page() {
    for folder in ["src", "crates", "entity/src", "migration/src", "tests"] {
        for (name, text) in sources(Path::new(folder)) {
            assert!(text.starts_with("//!"), "{name} has no page");
        }
    }
}
