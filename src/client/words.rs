//! Words for people: times, amounts, statuses, short ids.

use console::style;
use domain::{Status, TaskId, Timestamp};

/// Digits of a short id.
const SHORT: usize = 8;

/// The short id of a task: its last digits. Ids begin with the time, so that the beginnings of those that were stored in one
/// minute are the same.
pub fn short(id: TaskId) -> String {
    let id = id.to_string();
    id[id.len() - SHORT..].to_owned()
}

/// The colour of a status.
pub const fn colour(status: Status) -> fn(String) -> String {
    match status {
        Status::Completed => |text| style(text).green().to_string(),
        Status::Failed => |text| style(text).red().to_string(),
        Status::Running => |text| style(text).cyan().to_string(),
        Status::Cancelled => |text| style(text).yellow().to_string(),
        Status::Pending => |text| text,
    }
}

/// How long ago a time was, or how long it is until then.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.0 - at.0 {
        past @ 0.. => format!("{} ago", length(past)),
        future => format!("in {}", length(-future)),
    }
}

/// A length of time in its largest unit, in milliseconds.
pub fn length(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        86_400..63_072_000 => format!("{} d", seconds / 86_400),
        _ => format!("{} y", seconds / 31_557_600),
    }
}

/// A folder with `~` for the home of the person who looks.
pub fn folder(path: &str) -> String {
    let home = std::env::home_dir().and_then(|home| home.into_os_string().into_string().ok());
    match home.filter(|home| home.len() > 1).and_then(|home| path.strip_prefix(&home).map(str::to_owned)) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let at = |seconds: i64| ago(Timestamp(1_000_000_000_000), Timestamp(1_000_000_000_000 + seconds * 1_000));
        let told = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, -90].map(at);
        assert_eq!(
            told,
            ["0 s ago", "59 s ago", "1 min ago", "59 min ago", "1 h ago", "23 h ago", "1 d ago", "in 1 min"]
        );
    }
}
