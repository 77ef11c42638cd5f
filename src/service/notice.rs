//! Messages to people about tasks, in the shapes of the services that show them. Pure.
//!
//! What a task, its client or a model has written is text in each of them: it mentions nobody, and no link says another place than
//! the one that it leads to.

use domain::{Question, Status, Timestamp, main_argument};
use serde_json::{Value, json};
use wire::{HookEvent, HookFormat, Task};

/// Longest text of a message, in characters: ntfy takes 4,096 bytes, Discord 4,096 characters.
const MAX_TEXT: usize = 800;
/// Longest title, in characters: Discord takes 256.
const MAX_TITLE: usize = 120;
/// Longest title and text of a section as Slack counts them, in characters: 3,000 together.
const MAX_SLACK: [usize; 2] = [500, 2_400];

/// A message to people.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The task, in a line.
    pub title: String,
    /// What there is to tell of it.
    pub text: String,
    /// Kind of the message.
    pub event: HookEvent,
    /// Page of the task, where an address of the dashboard is known.
    pub page: Option<String>,
    /// Addresses at which one question is allowed and denied.
    pub answers: Option<(String, String)>,
}

impl Notice {
    /// The message about a task; with a question, that it is asked.
    #[must_use]
    pub fn of(task: &Task, event: HookEvent, question: Option<&Question>) -> Self {
        let text = match (event, question) {
            (HookEvent::Waiting, Some(question)) => asked(question),
            (HookEvent::Waiting, None) => "Waits for a message".to_owned(),
            (HookEvent::Started, _) => "Has started".to_owned(),
            (HookEvent::Looping, _) => match &task.looping {
                Some(sign) => format!("May go round in circles: {sign}"),
                None => "Seemed to go round in circles".to_owned(),
            },
            (HookEvent::Completed, _) => ended("Completed", task),
            (HookEvent::Failed, _) => ended("Failed", task),
            (HookEvent::Cancelled, _) => ended("Cancelled", task),
        };
        Self {
            title: bounded(&task.spec.title(), MAX_TITLE),
            text: bounded(&text, MAX_TEXT),
            event,
            page: None,
            answers: None,
        }
    }

    /// The body for a service; `topic` is that of ntfy.
    #[must_use]
    pub fn body(&self, format: HookFormat, topic: &str) -> Value {
        match format {
            HookFormat::Ntfy => self.ntfy(topic),
            HookFormat::Slack => self.slack(),
            HookFormat::Discord => self.discord(),
            HookFormat::Apprise => self.apprise(),
            HookFormat::Standard => json!({ "type": self.event, "title": self.title, "text": self.text }),
        }
    }

    const fn is_urgent(&self) -> bool {
        matches!(self.event, HookEvent::Waiting | HookEvent::Looping | HookEvent::Failed)
    }

    const fn sign(&self) -> &'static str {
        match self.event {
            HookEvent::Started => "arrow_forward",
            HookEvent::Waiting => "question",
            HookEvent::Looping => "warning",
            HookEvent::Completed => "white_check_mark",
            HookEvent::Failed => "x",
            HookEvent::Cancelled => "no_entry_sign",
        }
    }

    /// <https://docs.ntfy.sh/publish/#publish-as-json>
    fn ntfy(&self, topic: &str) -> Value {
        let mut body = json!({
            "topic": topic, "title": self.title, "message": self.text, "tags": [self.sign()],
            "priority": if self.is_urgent() { 4 } else { 3 },
        });
        if let Some(page) = &self.page {
            body["click"] = json!(page);
        }
        if let Some((allow, deny)) = &self.answers {
            let action = |label: &str, url: &str| json!({ "action": "http", "label": label, "url": url, "method": "POST", "clear": true });
            body["actions"] = json!([action("Allow", allow), action("Deny", deny)]);
        }
        body
    }

    /// <https://docs.slack.dev/reference/block-kit/blocks>. A button of an incoming webhook can only open an address.
    fn slack(&self) -> Value {
        let [title, said] = MAX_SLACK;
        let (title, said) = (for_slack(&self.title, title), for_slack(&self.text, said));
        let whole = format!("{title}: {said}");
        let said = format!(":{}: *{title}*\n{said}", self.sign());
        // Verbatim: names in it are no mentions.
        let said = json!({ "type": "mrkdwn", "text": said, "verbatim": true });
        let mut blocks = vec![json!({ "type": "section", "text": said })];
        let links = self.links();
        if !links.is_empty() {
            let button = |(label, url): &(&str, &str)| json!({ "type": "button", "text": { "type": "plain_text", "text": label }, "url": url });
            blocks.push(json!({ "type": "actions", "elements": links.iter().map(button).collect::<Vec<_>>() }));
        }
        json!({ "text": whole, "blocks": blocks })
    }

    /// <https://discord.com/developers/docs/resources/webhook#execute-webhook>
    fn discord(&self) -> Value {
        let colour = match self.event {
            HookEvent::Waiting | HookEvent::Looping => 0x9b_59_b6,
            HookEvent::Failed => 0xe7_4c_3c,
            HookEvent::Completed => 0x2e_cc_71,
            HookEvent::Started | HookEvent::Cancelled => 0x95_a5_a6,
        };
        let links: Vec<_> = self.answers().map(|(label, url)| format!("[{label}]({url})")).collect();
        let text = [for_discord(&self.text), links.join(" · ")].join("\n\n");
        let mut embed = json!({ "title": for_discord(&self.title), "description": text.trim_end(), "color": colour });
        if let Some(page) = &self.page {
            embed["url"] = json!(page);
        }
        json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
    }

    /// <https://github.com/caronc/apprise-api>
    fn apprise(&self) -> Value {
        let kind = match self.event {
            HookEvent::Started | HookEvent::Cancelled => "info",
            HookEvent::Waiting | HookEvent::Looping => "warning",
            HookEvent::Completed => "success",
            HookEvent::Failed => "failure",
        };
        let links = self.links().into_iter().map(|(label, url)| format!("\n{label}: {url}"));
        let text = self.text.clone() + &links.collect::<String>();
        json!({ "title": self.title, "body": text, "type": kind, "format": "text" })
    }

    /// Labels and addresses of the answers.
    fn answers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.answers.iter().flat_map(|(allow, deny)| [("Allow", &**allow), ("Deny", &**deny)])
    }

    /// The same, and the page.
    fn links(&self) -> Vec<(&str, &str)> {
        self.answers().chain(self.page.as_deref().map(|page| ("Open", page))).collect()
    }
}

fn asked(question: &Question) -> String {
    if question.takes_a_decision() {
        return format!("Asks to use {}: {}", question.tool, main_argument(&question.input));
    }
    let questions = question.input["questions"].as_array().into_iter().flatten();
    let texts: Vec<_> = questions.filter_map(|one| one["question"].as_str()).collect();
    if texts.is_empty() { "Asks a question".to_owned() } else { format!("Asks: {}", texts.join(" ")) }
}

fn ended(how: &str, task: &Task) -> String {
    let took = task.started_at.zip(task.completed_at).map(|(from, to)| took(from, to));
    let cost = task.attempted.cost_usd.map(domain::Usd::shown);
    let facts: Vec<_> = took.into_iter().chain(cost).collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let said = match (&task.attempted.error, &task.attempted.result) {
        (Some(error), _) if task.status != Status::Completed => format!(": {}: {}", error.code, error.message),
        (_, Some(result)) => format!(": {result}"),
        _ => String::new(),
    };
    format!("{how}{facts}{said}")
}

fn took(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.since_ms(from).max(0) / 1_000;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Text of at most so many characters, without those that are not seen.
fn bounded(text: &str, most: usize) -> String {
    let seen = |character: &char| *character == '\n' || !character.is_control();
    let text: String = text.trim().chars().filter(seen).take(most + 1).collect();
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// <https://docs.slack.dev/messaging/formatting-message-text#escaping>
fn for_slack(text: &str, most: usize) -> String {
    let (mut escaped, mut length) = (String::new(), 0);
    for character in text.chars() {
        let special = match character {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            _ => None,
        };
        length += special.map_or(1, str::len);
        if length > most {
            break;
        }
        match special {
            Some(special) => escaped.push_str(special),
            None => escaped.push(character),
        }
    }
    escaped
}

/// Markdown that says nothing but its text.
fn for_discord(text: &str) -> String {
    let special = |character: char| "\\*_~`|>#[]()<:@".contains(character);
    text.chars().flat_map(|character| special(character).then_some('\\').into_iter().chain([character])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever was written, each service takes it.
        #[test]
        fn every_message_is_as_long_as_its_service_takes(title in "[<&*_a😀\u{7}]{0,300}", text in "[<&*@_\n字a]{0,3000}") {
            let notice = notice(&bounded(&title, MAX_TITLE), &bounded(&text, MAX_TEXT));
            let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
            let ntfy = notice.body(HookFormat::Ntfy, "mine");
            prop_assert!(ntfy["message"].as_str().is_some_and(|text| text.len() <= 4_096));
            let slack = notice.body(HookFormat::Slack, "");
            prop_assert!(length(&slack["blocks"][0]["text"]["text"]) <= 3_000);
            let embed = &notice.body(HookFormat::Discord, "")["embeds"][0];
            prop_assert!(length(&embed["title"]) <= 256 && length(&embed["description"]) <= 4_096);
        }
    }

    fn notice(title: &str, text: &str) -> Notice {
        let answers = Some(("https://cc.test/a/1".to_owned(), "https://cc.test/a/2".to_owned()));
        let page = Some("https://cc.test/tasks/7".to_owned());
        Notice { title: title.to_owned(), text: text.to_owned(), event: HookEvent::Waiting, page, answers }
    }

    #[test]
    fn each_service_gets_its_shape() {
        let asked = notice("Mend the test", "Asks to use Bash: make test");
        let ntfy = asked.body(HookFormat::Ntfy, "mine");
        assert_eq!((&ntfy["topic"], &ntfy["priority"]), (&json!("mine"), &json!(4)));
        assert_eq!(ntfy["actions"][1]["url"], "https://cc.test/a/2");
        let slack = asked.body(HookFormat::Slack, "");
        assert_eq!(slack["blocks"][1]["elements"][2]["url"], "https://cc.test/tasks/7");
        let discord = asked.body(HookFormat::Discord, "");
        assert!(
            discord["embeds"][0]["description"]
                .as_str()
                .is_some_and(|text| text.contains("[Allow](https://cc.test/a/1)"))
        );
        assert_eq!(discord["embeds"][0]["url"], "https://cc.test/tasks/7");
        let apprise = asked.body(HookFormat::Apprise, "");
        assert_eq!(apprise["type"], "warning");
        assert!(apprise["body"].as_str().is_some_and(|text| text.ends_with("Open: https://cc.test/tasks/7")));
        let plain = Notice { page: None, answers: None, ..asked };
        assert!(plain.body(HookFormat::Ntfy, "mine").get("actions").is_none());
        assert_eq!(plain.body(HookFormat::Slack, "")["blocks"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn what_was_written_is_text() {
        let hostile = notice("<!channel> *x*", "@everyone [a](https://evil.test) <@1> `x`");
        let slack = hostile.body(HookFormat::Slack, "").to_string();
        assert!(slack.contains("\"verbatim\":true"), "{slack}");
        assert!(!slack.contains("<!channel>") && !slack.contains("<@1>"), "{slack}");
        let discord = hostile.body(HookFormat::Discord, "");
        assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
        assert!(!discord["embeds"][0]["description"].as_str().is_some_and(|text| text.contains("[a](")), "{discord}");
        assert_eq!(bounded(&"x".repeat(2_000), 10), format!("{}…", "x".repeat(10)));
        assert_eq!(bounded("a\u{7}\u{1b}[31mb\nc", 10), "a[31mb\nc");
    }
}
