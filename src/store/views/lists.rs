//! Lists: tasks, their ids, conversations, open questions.

use strum::VariantArray as _;

use domain::{FailureClass, Question, ScheduleId, SessionId, Status, TaskId, Timestamp, Usd};
use wire::Task;

/// Reads tasks, in an order.
#[derive(Clone, Debug, Default)]
pub struct ListTasks {
    /// The tasks that are meant.
    pub filter: Filter,
    /// Maximum number of them.
    pub limit: u64,
    /// Number of the first ones that are left out.
    pub offset: u64,
    /// Maximum id: only older tasks.
    pub before: Option<TaskId>,
    /// Their order.
    pub order: ListOrder,
}

/// Order of a list of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ListOrder {
    /// Newest first.
    #[default]
    Newest,
    /// What has cost most first; those without one are left out.
    Cost,
}

/// Reads the ids of tasks, newest first.
#[derive(Clone, Debug)]
pub struct ListTaskIds {
    /// The tasks that are meant.
    pub filter: Filter,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum id: only older tasks.
    pub before: Option<TaskId>,
}

/// Reads conversations, by their newest task, newest first.
#[derive(Clone, Debug)]
pub struct ListConversations {
    /// Name of the client's key.
    pub key: Option<String>,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum id of the newest task: only older ones.
    pub before: Option<TaskId>,
}

/// Maximum number of tasks of a conversation in a list, besides the first.
pub const MAX_CONVERSATION: i64 = 20;

/// The tasks of a conversation.
#[derive(Clone, Debug)]
pub struct ConversationTasks {
    /// The Claude session.
    pub session: SessionId,
    /// The tasks, oldest first, each as a summary; of many the first and the newest.
    pub tasks: Vec<Task>,
    /// Number of them in all.
    pub count: i64,
    /// Sum of their costs in US dollars.
    pub cost_usd: Option<Usd>,
    /// Sum of their turns.
    pub num_turns: i64,
}

/// Reads the open questions of all tasks, oldest first.
#[derive(Clone, Debug)]
pub struct ListQuestions {
    /// Name of the client's key.
    pub key: Option<String>,
    /// The last one of the page before: its time, its task and its name.
    pub after: Option<(Timestamp, TaskId, String)>,
    /// Maximum number of them.
    pub limit: u64,
}

/// An open question, with its task as a summary.
#[derive(Clone, Debug)]
pub struct OpenQuestion {
    pub question: Question,
    pub task: Task,
}

/// A page of open questions.
#[derive(Clone, Debug)]
pub struct QuestionPage {
    /// Oldest first.
    pub questions: Vec<OpenQuestion>,
    /// Number of open questions in all.
    pub total: i64,
}

/// Filter of tasks; all conditions together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Statuses, any of them; with none, all.
    pub statuses: Vec<Status>,
    /// Classes of the newest failure, any of them; with none, all.
    pub error_classes: Vec<FailureClass>,
    /// The Claude session.
    pub session: Option<SessionId>,
    /// The schedule that has submitted it.
    pub schedule: Option<ScheduleId>,
    /// The task from inside which it was made.
    pub parent: Option<TaskId>,
    /// Earliest time of the submit.
    pub since: Option<Timestamp>,
    /// Latest time of the submit, which is not meant itself.
    pub until: Option<Timestamp>,
    /// Tag.
    pub tag: Option<String>,
    /// Folder.
    pub working_directory: Option<String>,
    /// Name of the client's key.
    pub key: Option<String>,
    /// Words, each of which stands in the instruction or in the result; upper and lower case are the same.
    pub words: Vec<String>,
    /// Hexadecimal digits with which the id begins or ends, in lower case and without dashes.
    pub id: Option<String>,
}

impl Filter {
    /// True if the numbers of tasks by key and status say how many it has: then nothing is counted.
    #[must_use]
    pub fn is_of_statuses(&self) -> bool {
        let Self { error_classes, session, schedule, parent, since, until, tag, working_directory, words, id, .. } =
            self;
        let is_plain =
            error_classes.is_empty() && words.is_empty() && id.is_none() && session.is_none() && schedule.is_none();
        is_plain
            && parent.is_none()
            && since.is_none()
            && until.is_none()
            && tag.is_none()
            && working_directory.is_none()
    }

    /// Number of tasks of its statuses among these.
    #[must_use]
    pub fn sum(&self, counts: [i64; 5]) -> i64 {
        let meant = |status: &Status| self.statuses.is_empty() || self.statuses.contains(status);
        Status::VARIANTS.iter().zip(counts).filter(|(status, _)| meant(status)).map(|(_, count)| count).sum()
    }
}

/// A page of tasks.
#[derive(Clone, Debug)]
pub struct Page {
    /// Numbers of tasks that the filter has in each status, whichever statuses it names; in the order of
    /// `Status::VARIANTS`.
    pub counts: [i64; 5],
    /// Newest first, each as a summary: long texts are cut.
    pub tasks: Vec<Task>,
    /// True if more follow than fit into one answer.
    pub more: bool,
    /// Number of tasks that the filter has in all.
    pub total: i64,
}

impl Page {
    /// Where the next page begins, of a page that was asked for with this limit.
    #[must_use]
    pub fn next(&self, limit: u64) -> Option<TaskId> {
        let is_full = self.more || self.tasks.len() as u64 == limit;
        self.tasks.last().filter(|_| is_full).map(|task| task.id)
    }
}
