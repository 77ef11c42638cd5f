//! `/tasks/ID?part=race`: the contenders of a race, side by side.

use askama::Template;
use domain::{Named as _, Status, TaskId};
use wire::response::{ContenderView, RaceProgress, RaceView};

use super::super::page::Shell;
use super::super::view::{Row, length, money};
use super::Tab;
use super::task::Head;
use crate::process::wall_now;

/// Letters of an id that tell it from others.
const SHORT_ID: usize = 6;
/// Characters of a result that a row shows.
const MAX_RESULT: usize = 120;

/// See the [module](self).
#[derive(Template)]
#[template(path = "task_race.html")]
pub struct Lanes {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    /// Where it stands, in words.
    line: String,
    contenders: Vec<Lane>,
    judge: Option<TaskId>,
    says: String,
}

struct Lane {
    place: i64,
    id: TaskId,
    short: String,
    here: bool,
    model: String,
    state: String,
    checked: String,
    changed: String,
    took: String,
    cost: String,
    result: String,
    /// True if the visitor may choose it.
    may_win: bool,
}

impl Lanes {
    /// The part of this task; a visitor who may change tasks may choose.
    pub fn of(head: Head, here: TaskId, race: &RaceView, may_change: bool) -> Self {
        let Head { shell, task, estimated, facts, tabs } = head;
        let rule = race.pick.name().replace('_', " ");
        let line = match race.state {
            RaceProgress::Open => "It goes on.",
            RaceProgress::NeedsPick => "Choose the winner: the others are cleaned up then.",
            RaceProgress::Won => "It is decided.",
            RaceProgress::Lost => "No contender has completed.",
        };
        let open = matches!(race.state, RaceProgress::Open | RaceProgress::NeedsPick);
        Self {
            shell,
            task,
            estimated,
            facts,
            tabs,
            line: format!("{line} Rule: {rule}. Cost of all: {}", money(Some(race.cost_usd))),
            contenders: race.contenders.iter().map(|one| lane(one, here, open && may_change)).collect(),
            judge: race.judge_task_id,
            says: race.judge_says.clone().unwrap_or_default(),
        }
    }
}

fn lane(one: &ContenderView, here: TaskId, may_pick: bool) -> Lane {
    let end = one.completed_at.unwrap_or_else(wall_now);
    let code = one.error_code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
    let won = if one.won == Some(true) { ", has won" } else { "" };
    let id = one.task_id.to_string();
    let result: String = one.result.as_deref().unwrap_or_default().chars().take(MAX_RESULT).collect();
    Lane {
        place: one.place,
        id: one.task_id,
        short: id[id.len() - SHORT_ID..].to_owned(),
        here: one.task_id == here,
        model: one.model.clone().unwrap_or_default(),
        state: format!("{}{code}{won}", one.status),
        checked: match one.verified {
            Some(true) => format!("passed, at check {}", one.rounds),
            Some(false) => format!("not passed in {}", one.rounds),
            None => String::new(),
        },
        changed: one.files.map_or_else(String::new, |files| {
            let (more, less) = (one.additions.unwrap_or_default(), one.deletions.unwrap_or_default());
            format!("{files} {}, +{more} −{less}", if files == 1 { "file" } else { "files" })
        }),
        took: one.started_at.map(|since| length(end.since_ms(since))).unwrap_or_default(),
        cost: money(one.cost_usd),
        result,
        may_win: may_pick && one.status == Status::Completed,
    }
}
