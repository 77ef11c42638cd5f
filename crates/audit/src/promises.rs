//! The promises in a few words each, by their numbers in ARCHITECTURE.md.

/// The promises; that with the number 1 first.
pub const PROMISES: [&str; 21] = [
    "A task whose submit was answered exists",
    "Each task reaches one end, once",
    "Ends don't change",
    "Epochs grow by one",
    "One lease of a task lives at a time",
    "A result counts under the newest epoch alone",
    "Two process trees of a task never run at the same time",
    "Events have the numbers 1, 2, 3 …",
    "An idempotency key gives one task",
    "Attempts and crashes keep their limits",
    "Nothing starts that is held back",
    "Tasks start by priority, then share by share, then age",
    "A cancelled task has no process 5 s later",
    "A cost counts once",
    "Completed means a result",
    "A schedule fires each of its times once",
    "A task starts behind those that it depends on",
    "A file stays for the tasks that name it",
    "Completed means checked, where a check was asked for",
    "A race has one winner, and nobody starts in it behind the end",
    "Tasks made from inside a running one stay within its budget, and end with its cancel",
];

/// Those that the lines about one task alone can show.
pub const OF_ONE_TASK: [u8; 11] = [2, 3, 4, 5, 6, 7, 8, 10, 14, 15, 19];
