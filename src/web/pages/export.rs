//! `/tasks/ID/export`: a conversation as one file, which needs nothing else to be read.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Data, Path};
use askama::Template;

use super::super::assets;
use super::super::door::{Turned, Visitor};
use super::super::page::lone;
use super::super::render::{Block, Conversation, Html, Show};
use super::super::view::{Row, moment};
use super::task::{blocks, result};
use crate::api::{Shared, find_task};
use crate::process::wall_now;
use crate::queue::{PagePlace, ReadEventPage};
use wire::KeyScope;

/// Events of one read, and bytes of their data.
const PAGE: u64 = 1_000;
const PAGE_BYTES: u64 = 4 << 20;
/// Bytes of events of one file.
const MAX_BYTES: usize = 32 << 20;

#[derive(Template)]
#[template(path = "export.html")]
struct Export {
    css: Html,
    task: Row,
    asked: Html,
    instruction: String,
    result: Option<Html>,
    blocks: Vec<Block>,
    /// True if not all of it is there.
    is_cut: bool,
}

pub async fn show(visitor: Visitor, id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let task = find_task(&shared, &visitor.caller, &id).await?;
    let (mut events, mut bytes, mut after, mut more) = (Vec::new(), 0, 0, true);
    while more && bytes < MAX_BYTES {
        let place = PagePlace::After(after);
        let read = ReadEventPage { task: task.id, place, kinds: Vec::new(), limit: PAGE, bytes: PAGE_BYTES };
        let page = shared.queue.ask(read).await?;
        more = page.more && !page.events.is_empty();
        after = page.events.last().map_or(after, |event| event.seq);
        bytes += page.events.iter().map(|event| event.data.len()).sum::<usize>();
        events.extend(page.events);
    }
    let template = Export {
        css: assets::style(),
        asked: moment(task.created_at),
        instruction: task.spec.instruction.clone(),
        result: result(&task),
        blocks: blocks(&events, Conversation::new(Show::All).flat()),
        is_cut: more,
        task: Row::of(&task, wall_now()),
    };
    let mut response = lone(&template);
    let name = format!("attachment; filename=\"cc-anywhere-{}.html\"", task.id);
    if let Ok(name) = name.parse() {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
