//! The table of endings: what the CLI or the API says, and what that makes of the attempt. Pure.
//!
//! The first row that fits decides. `docs/endings.md` is this table for people; a test compares the two. What a
//! class means for the task is in `machine.rs` of the domain: whether it is tried again, and whether the credential is
//! parked for all tasks.

use FailureClass::{Auth, Crashed, Execution, Invalid, Network, Overloaded, Refused, Timeout, UsageLimit};

use super::result::ResultFrame;
use domain::{Failure, FailureClass};

/// Condition of a row.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sign {
    /// The `subtype` of the result.
    Subtype(&'static str),
    /// The `stop_reason` of the result, whether it has an error or not.
    Stop(&'static str),
    /// The status of the API's answer.
    Status(i64),
    /// A range of statuses, both included.
    Statuses(i64, i64),
    /// The status, and a part of what is said, in lower case.
    StatusSays(i64, &'static str),
    /// A part of what is said, in lower case.
    Says(&'static str),
    /// A subtype, and a part of the text.
    SubtypeSays(&'static str, &'static str),
    /// Seen by us and not said in a result.
    Seen,
}

/// A row: what is said, and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Condition.
    pub sign: Sign,
    /// Decides on what follows.
    pub class: FailureClass,
    /// A stable name for programs.
    pub code: &'static str,
    /// Occasion, for the documentation.
    pub when: &'static str,
    /// Remedy; empty where there is none.
    pub help: &'static str,
}

const fn row(sign: Sign, class: FailureClass, code: &'static str, when: &'static str, help: &'static str) -> Row {
    Row { sign, class, code, when, help }
}

/// Remedy after mending a credential.
const GO_ON: &str =
    "set another credential and restart, or mend the account and POST /api/queue/start {\"credential\": ID}";

/// Every ending but success, in the order in which they are looked for.
pub(super) const ENDINGS: &[Row] = &[
    row(Sign::Subtype("error_max_turns"), Invalid, "MAX_TURNS", "`maxTurns` is reached", "raise options.sdk.maxTurns"),
    row(
        Sign::Subtype("error_max_budget_usd"),
        Invalid,
        "BUDGET_SPENT",
        "`maxBudgetUsd` is spent",
        "raise options.sdk.maxBudgetUsd",
    ),
    row(
        Sign::Says("the budget of this attempt is spent"),
        Invalid,
        "BUDGET_SPENT",
        "the same, as the credential proxy says it",
        "raise options.sdk.maxBudgetUsd",
    ),
    row(
        Sign::Stop("refusal"),
        Refused,
        "MODEL_REFUSED",
        "the model refuses the request",
        "word the instruction in another way, or choose another model",
    ),
    row(
        Sign::Stop("model_context_window_exceeded"),
        Invalid,
        "CONTEXT_WINDOW",
        "the conversation no longer fits the model",
        "begin a new conversation, split the task, or choose a model with a larger context window",
    ),
    row(
        Sign::Says("context window limit"),
        Invalid,
        "CONTEXT_WINDOW",
        "the same, as the CLI words it",
        "begin a new conversation, split the task, or choose a model with a larger context window",
    ),
    row(
        Sign::Says("prompt is too long"),
        Invalid,
        "CONTEXT_WINDOW",
        "the request does not fit the model",
        "give it less to read, split the task, or choose a model with a larger context window",
    ),
    row(
        Sign::Stop("max_tokens"),
        Invalid,
        "OUTPUT_LIMIT",
        "one answer is longer than the model may write",
        "ask for less at a time, or raise CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    ),
    row(
        Sign::Says("output token maximum"),
        Invalid,
        "OUTPUT_LIMIT",
        "the same, as the CLI words it",
        "ask for less at a time, or raise CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    ),
    row(Sign::Stop("pause_turn"), Execution, "TURN_PAUSED", "the API broke a long turn off", ""),
    row(Sign::Says("credit balance is too low"), Auth, "BILLING", "the account has no credit", GO_ON),
    row(Sign::Status(402), Auth, "BILLING", "402: the account must pay", GO_ON),
    row(Sign::StatusSays(403, "disabled"), Auth, "ACCOUNT_DISABLED", "403: account or organisation disabled", GO_ON),
    row(Sign::StatusSays(401, "revoked"), Auth, "LOGIN_EXPIRED", "401: the login was revoked", GO_ON),
    row(Sign::StatusSays(401, "expired"), Auth, "LOGIN_EXPIRED", "401: the login has expired", GO_ON),
    row(Sign::Statuses(401, 401), Auth, "AUTH_FAILED", "401: the credential is refused", GO_ON),
    row(Sign::Status(403), Auth, "AUTH_FAILED", "403: the credential may not do this", GO_ON),
    row(
        Sign::Status(404),
        Invalid,
        "MODEL_NOT_FOUND",
        "404: there is no such model, or not for this account",
        "choose another options.sdk.model",
    ),
    row(
        Sign::Status(413),
        Invalid,
        "REQUEST_TOO_LARGE",
        "413: more than the API takes at once",
        "give it smaller files",
    ),
    row(Sign::Status(408), Network, "NETWORK", "408: the request took too long", ""),
    row(Sign::Status(429), UsageLimit, "USAGE_LIMIT", "429: the account's limit is reached", ""),
    row(Sign::Statuses(500, 599), Overloaded, "OVERLOADED", "500 to 599: the API fails, or has too much to do", ""),
    row(Sign::Statuses(300, 499), Invalid, "API_REFUSED", "any other status below 500", ""),
    row(
        Sign::SubtypeSays("error_during_execution", "no conversation found"),
        Invalid,
        "UNKNOWN_SESSION",
        "the session that was to go on is not there",
        "begin a new conversation",
    ),
    row(Sign::SubtypeSays("success", "529"), Overloaded, "OVERLOADED", "529 as a text without a status", ""),
    row(Sign::SubtypeSays("success", "overloaded"), Overloaded, "OVERLOADED", "the same in words", ""),
    row(Sign::Subtype("success"), Network, "NETWORK", "an error of the API without a status", ""),
    row(Sign::Subtype("error_during_execution"), Execution, "EXECUTION_FAILED", "the CLI failed during a turn", ""),
    row(Sign::Says(""), Execution, "EXECUTION_FAILED", "any other error", ""),
    row(
        Sign::Seen,
        Invalid,
        "NO_MODEL_CALL",
        "a result without error, and the model was never asked",
        "send a task, not a command of the CLI",
    ),
    row(
        Sign::Seen,
        Execution,
        "MCP_UNAVAILABLE",
        "an MCP server that the task needs is not connected",
        "mend the server in MCP_CONFIG, or name it with \"required\": false",
    ),
    row(Sign::Seen, Timeout, "TIMEOUT", "the attempt's time is over", "raise options.timeout"),
    row(Sign::Seen, Timeout, "IDLE_TIMEOUT", "silent for too long while no tool runs", "raise options.timeout.idle"),
    row(Sign::Seen, Refused, "INTERRUPTED", "the turn was interrupted, and no message followed", ""),
    row(Sign::Seen, Execution, "CLI_FAILED", "the CLI ended with an exit code before its first frame", ""),
    row(Sign::Seen, Execution, "CLI_NOT_STARTED", "the CLI can't be started", "see `cc-anywhere doctor`"),
    row(
        Sign::Seen,
        Invalid,
        "MEMORY_LIMIT",
        "its processes take more than TASK_MEMORY_BYTES",
        "let it do less at a time",
    ),
    row(Sign::Seen, Invalid, "PROCESS_LIMIT", "it has more processes than TASK_PROCESSES", "let it do less at a time"),
    row(Sign::Seen, Invalid, "FILE_LIMIT", "the CLI writes a file above TASK_FILE_BYTES", ""),
    row(Sign::Seen, Invalid, "OUTPUT_BYTES", "the CLI prints more than TASK_OUTPUT_BYTES", "split the task"),
    row(
        Sign::Seen,
        Invalid,
        "DISK_LIMIT",
        "its folders grow above TASK_DISK_BYTES",
        "let it remove what it needs no more",
    ),
    row(
        Sign::Seen,
        Invalid,
        "NOT_VERIFIED",
        "the check of `verify` has not passed, and has gone back to the model as often as it may",
        "see `verification` for what was tried; raise verify.maxRounds, or go on with its session",
    ),
    row(Sign::Seen, Execution, "NOT_CHECKED", "the worker is of a version that knows no `verify`", "upgrade it"),
    row(Sign::Seen, Crashed, "CLI_CRASHED", "the CLI ended without a result, or was killed", ""),
    row(Sign::Seen, Crashed, "WORKER_DIED", "the worker ended, or could not renew its lease", ""),
    row(Sign::Seen, Crashed, "WORKER_PANICKED", "the worker failed while it ran the task", ""),
    row(Sign::Seen, Crashed, "POISONED", "three crashes in a row", "see why it crashes before it is retried"),
    row(
        Sign::Seen,
        Invalid,
        "UNREADABLE",
        "the stored task can't be read by this version of the program",
        "start the version that stored it",
    ),
    row(Sign::Seen, Invalid, "WORKING_DIRECTORY", "the folder is gone, or no task may work there any more", ""),
    row(Sign::Seen, Invalid, "WORKTREE", "no worktree can be made", ""),
    row(Sign::Seen, Invalid, "CONTEXT_FILE", "a file of `context.files` can't be read any more, or is damaged", ""),
    row(
        Sign::Seen,
        Invalid,
        "SECRET",
        "the key has a secret of the task no more, or the secrets are too much to be masked",
        "store it again, then `retry`",
    ),
];

impl Sign {
    /// True if it stands in this result; `says` is what it says, in lower case.
    fn is_in(self, result: &ResultFrame, says: &str) -> bool {
        let status = result.api_error_status;
        match self {
            Self::Subtype(subtype) => result.is_error && result.subtype == subtype,
            Self::Stop(reason) => result.stop_reason == reason,
            Self::Status(one) => result.is_error && status == Some(one),
            Self::Statuses(from, to) => result.is_error && status.is_some_and(|status| (from..=to).contains(&status)),
            Self::StatusSays(one, part) => result.is_error && status == Some(one) && says.contains(part),
            Self::Says(part) => result.is_error && says.contains(part),
            Self::SubtypeSays(subtype, part) => {
                result.is_error && status.is_none() && result.subtype == subtype && says.contains(part)
            }
            Self::Seen => false,
        }
    }
}

/// Returns the failure of a result; `None` for a success.
pub(super) fn of_result(result: &ResultFrame) -> Option<Failure> {
    let errors: Vec<_> = result.errors.iter().filter_map(super::lenient::text).collect();
    let said = result.result.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| errors.join("; "));
    let says = said.to_lowercase();
    let row = ENDINGS.iter().find(|row| row.sign.is_in(result, &says))?;
    let said = match said.is_empty() || !result.is_error {
        true => row.when.to_owned(),
        false => said,
    };
    Some(Failure::new(row.class, row.code, with_help(said, row)))
}

/// A failure that was seen and not said: the class is that of the table.
pub(super) fn seen(code: &'static str, said: impl Into<String>) -> Failure {
    match ENDINGS.iter().find(|row| row.code == code) {
        Some(row) => Failure::new(row.class, code, with_help(said.into(), row)),
        None => Failure::new(Execution, code, said),
    }
}

fn with_help(said: String, row: &Row) -> String {
    if row.help.is_empty() { said } else { format!("{said}. What helps: {}", row.help) }
}

/// True if asking again brings the same answer: nothing to wait for.
#[must_use]
pub fn is_hopeless(status: Option<i64>, error: &str) -> bool {
    matches!(status, Some(401 | 402 | 403 | 404 | 413)) || matches!(error, "authentication_failed" | "billing_error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Named as _;

    fn said(sign: Sign) -> Option<ResultFrame> {
        let base = ResultFrame { is_error: true, subtype: "success".to_owned(), ..ResultFrame::default() };
        let text = |part: &str| Some(format!("API Error: {part}."));
        Some(match sign {
            Sign::Subtype(subtype) => ResultFrame { subtype: subtype.to_owned(), ..base },
            Sign::Stop(reason) => ResultFrame { stop_reason: reason.to_owned(), is_error: false, ..base },
            Sign::Status(status) => ResultFrame { api_error_status: Some(status), ..base },
            Sign::Statuses(from, _) => ResultFrame { api_error_status: Some(from), ..base },
            Sign::StatusSays(status, part) => {
                ResultFrame { api_error_status: Some(status), result: text(part), ..base }
            }
            Sign::Says(part) => ResultFrame { subtype: "new_error".to_owned(), result: text(part), ..base },
            Sign::SubtypeSays(subtype, part) => ResultFrame { subtype: subtype.to_owned(), result: text(part), ..base },
            Sign::Seen => return None,
        })
    }

    #[test]
    fn each_row_is_found_by_what_it_names() {
        for row in ENDINGS {
            let failure = match said(row.sign) {
                Some(result) => of_result(&result).unwrap_or_else(|| panic!("{row:?}")),
                None => seen(row.code, "seen"),
            };
            assert_eq!((failure.class, failure.code.as_str()), (row.class, row.code), "{row:?}");
            assert!(failure.message.contains(row.help), "{failure:?}");
        }
        let good =
            ResultFrame { subtype: "success".to_owned(), stop_reason: "end_turn".to_owned(), ..ResultFrame::default() };
        assert_eq!(of_result(&good), None);
    }

    #[test]
    fn what_the_cli_was_seen_to_say_has_its_row() {
        let result = |status: Option<i64>, text: &str| ResultFrame {
            is_error: true,
            subtype: "success".to_owned(),
            api_error_status: status,
            result: Some(text.to_owned()),
            ..ResultFrame::default()
        };
        for (status, text, code) in [
            (Some(400), "Credit balance is too low", "BILLING"),
            (Some(402), "API Error: 402 payment", "BILLING"),
            (
                Some(403),
                "Failed to authenticate. API Error: 403 This organization has been disabled.",
                "ACCOUNT_DISABLED",
            ),
            (
                Some(401),
                "Failed to authenticate. API Error: 401 OAuth token has been revoked. Please …",
                "LOGIN_EXPIRED",
            ),
            (Some(401), "Invalid API key · Fix external API key", "AUTH_FAILED"),
            (Some(404), "There's an issue with the selected model (x).", "MODEL_NOT_FOUND"),
            (Some(413), "Request too large (max 32MB). Try with a smaller file.", "REQUEST_TOO_LARGE"),
            (Some(400), "Prompt is too long · the request is ~220000 tokens", "CONTEXT_WINDOW"),
            (None, "API Error: The model has reached its context window limit.", "CONTEXT_WINDOW"),
            (None, "API Error: Claude's response exceeded the 64000 output token maximum. To …", "OUTPUT_LIMIT"),
            (None, "API Error: Repeated 529 Overloaded errors", "OVERLOADED"),
            (None, "API Error: Connection error.", "NETWORK"),
            (Some(400), "API Error: 400 something else", "API_REFUSED"),
        ] {
            let failure = of_result(&result(status, text)).expect("a failure");
            assert_eq!(failure.code, code, "{text}");
        }
    }

    /// Refused before the model wrote anything.
    const UNPAID: [&str; 16] = [
        "BILLING",
        "ACCOUNT_DISABLED",
        "LOGIN_EXPIRED",
        "AUTH_FAILED",
        "MODEL_NOT_FOUND",
        "REQUEST_TOO_LARGE",
        "UNKNOWN_SESSION",
        "NO_MODEL_CALL",
        "MCP_UNAVAILABLE",
        "CLI_FAILED",
        "CLI_NOT_STARTED",
        "UNREADABLE",
        "WORKING_DIRECTORY",
        "WORKTREE",
        "CONTEXT_FILE",
        "SECRET",
    ];

    #[test]
    fn the_documentation_is_this_table() {
        let mut table = "| code | class | when | tried again | parks the credential | paid | what helps |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
        for row in ENDINGS {
            let again = match row.class {
                UsageLimit => "after the reset, and counts as nothing",
                Crashed if row.code != "POISONED" => "yes, three crashes in a row at most",
                Timeout => "where `retry.onTimeout` says so",
                class if class.is_transient() => "yes, up to `maxAttempts`",
                _ => "no",
            };
            let parks = match row.class {
                Auth => "for 5 minutes",
                UsageLimit => "until the reset",
                _ => "no",
            };
            let paid = if UNPAID.contains(&row.code) { "nothing" } else { "what the CLI reports" };
            let (code, class, when, help) = (row.code, row.class.name(), row.when, row.help);
            table.push_str(&format!("| `{code}` | `{class}` | {when} | {again} | {parks} | {paid} | {help} |\n"));
        }
        let documented = include_str!("../../docs/endings.md");
        assert!(documented.contains(&table), "docs/endings.md should have:\n{table}");
    }
}
