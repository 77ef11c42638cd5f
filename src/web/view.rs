//! What pages show of tasks and figures: signs, moments, money.

use domain::{Named as _, Status, Timestamp, Usd};
use wire::Task;

use super::render::Html;

/// A moment; a script shows it in the reader's time zone, and how long ago it was.
#[must_use]
pub fn moment(at: Timestamp) -> Html {
    let text = at.to_string();
    let mut html = Html::new();
    html.raw("<time datetime=\"").text(&text).raw("\" title=\"").text(&text).raw("\">");
    html.text(text.get(5..16).unwrap_or(&text).replace('T', " ").as_str()).raw(" UTC</time>");
    html
}

/// An amount of money.
#[must_use]
pub fn money(cost: Option<Usd>) -> String {
    cost.map(Usd::shown).unwrap_or_default()
}

/// A length of time: `41 s`, `2:14`, `1:02:03`.
#[must_use]
pub fn length(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes}:{:02}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    }
}

/// A task in a list.
pub struct Row {
    pub id: String,
    pub title: String,
    pub sign: &'static str,
    pub status: &'static str,
    pub folder: String,
    pub tags: String,
    pub took: String,
    pub cost: String,
    pub attempt: String,
    pub when: Html,
    /// What it does, why it failed, or what it has said.
    pub line: String,
    pub worker: String,
    pub may_cancel: bool,
    pub may_interrupt: bool,
    pub loops: bool,
    /// Running tasks that change the same files, each with the first of them and what it can be told.
    pub conflicts: Vec<ConflictLine>,
    /// The task from inside which it was made.
    pub parent: Option<String>,
    /// Number of tasks that were made from inside it; counted on its own page alone.
    pub children: i64,
}

/// A task that changes the same files as another.
pub struct ConflictLine {
    pub id: String,
    pub line: String,
    /// What to say to the task, so that it waits.
    pub wait: String,
}

impl Row {
    /// The task, as it is now.
    #[must_use]
    pub fn of(task: &Task, now: Timestamp) -> Self {
        let loops = task.looping.as_deref();
        let (sign, status) = if loops.is_some() { ("▲", "loops") } else { (task.status.sign(), task.status.name()) };
        let left = &task.attempted;
        let ended = task.status.is_terminal();
        let took = task.started_at.map(|from| length(task.completed_at.unwrap_or(now).since_ms(from)));
        let known = left.cost_usd.map_or(task.cost_so_far, |cost| Some(cost + task.cost_so_far.unwrap_or_default()));
        let error = left.error.as_ref().map(|error| format!("{}: {}", error.code, error.message));
        let doing = task.activity.as_ref().map(|activity| activity.line.clone());
        let said = left.result.as_ref().map(|result| result.lines().next().unwrap_or_default().to_owned());
        let looping = loops.map(|sign| format!("May go round in circles: {sign}"));
        let line = looping.or(doing).or(error).or(said).unwrap_or_default();
        Self {
            id: task.id.to_string(),
            title: task.spec.title(),
            sign,
            status,
            folder: short(task.working_directory.as_deref().unwrap_or_default()),
            tags: task.spec.tags.join(" "),
            took: took.unwrap_or_default(),
            cost: money(known),
            attempt: match task.attempt {
                0 | 1 => String::new(),
                attempt => format!("attempt {attempt}"),
            },
            when: moment(task.completed_at.or(task.started_at).unwrap_or(task.created_at)),
            line: line.chars().take(200).collect(),
            worker: task.worker.clone().filter(|_| !ended).unwrap_or_default(),
            parent: task.spec.parent.map(|parent| parent.to_string()),
            children: 0,
            may_cancel: !ended,
            may_interrupt: task.status == Status::Running,
            loops: loops.is_some(),
            conflicts: conflicts(task),
        }
    }
}

/// The last two parts of a path.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.rsplit('/').take(2).collect();
    match *parts {
        [last, before] if path.matches('/').count() > 2 => format!("…/{before}/{last}"),
        _ => path.to_owned(),
    }
}

/// The tasks that change the same files as this one, each in a line.
fn conflicts(task: &Task) -> Vec<ConflictLine> {
    let mut others: Vec<(String, Vec<&str>)> = Vec::new();
    for one in &task.conflicts {
        let id = one.task_id.to_string();
        match others.last_mut().filter(|(last, _)| *last == id) {
            Some((_, paths)) => paths.push(&one.path),
            None => others.push((id, vec![&one.path])),
        }
    }
    let line = |(id, paths): (String, Vec<&str>)| {
        let more = paths.len() - 1;
        let named = if more == 0 { paths[0].to_owned() } else { format!("{} and {more} more files", paths[0]) };
        let wait = format!(
            "Another task is changing {named} at the same time. Leave that alone until it has ended: go on with what does not need it."
        );
        ConflictLine { id, line: named, wait }
    };
    others.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_money_are_short() {
        assert_eq!([41_900, 134_000, 3_723_000, -5].map(length), ["41 s", "2:14", "1:02:03", "0 s"]);
        assert_eq!(money(Some(Usd::of(0.0012))), "$0.0012");
        assert_eq!(money(Some(Usd::of(2.1))), "$2.10");
        assert_eq!((short("/a/b"), short("/home/x/project/api")), ("/a/b".to_owned(), "…/project/api".to_owned()));
    }
}
