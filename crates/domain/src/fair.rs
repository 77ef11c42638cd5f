//! Turns: which of several shares starts its next task. Pure.
//!
//! Tasks start by priority. Within a priority the shares (the client's keys, as a rule) take turns, each as often as its
//! weight says, and the tasks of a share start by age: start-time fair queueing, where each task costs the same. A share
//! that was away comes back at the turn that it is now, so that none saves up turns while it has nothing to start.

use std::collections::{BTreeMap, HashMap, VecDeque};

/// Heaviest weight of a share.
pub const MAX_WEIGHT: i64 = 100;
/// What a turn of a share of weight 1 takes.
const STRIDE: i64 = 1_000_000;

/// Shares and their turns.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// Start of the newest turn: every share stands here, or behind it.
    pub clock: i64,
    shares: HashMap<String, Share>,
}

/// A share, between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Turns that it has for each one of a share of weight 1.
    pub weight: i64,
    /// Where its next turn begins, unless that has passed.
    pub pass: i64,
}

impl Default for Share {
    fn default() -> Self {
        Self { weight: 1, pass: 0 }
    }
}

impl Turns {
    /// The turns at this time.
    #[must_use]
    pub fn at(clock: i64) -> Self {
        // A number that no turns lead to is damage: they begin anew.
        let clock = if (0..i64::MAX / 2).contains(&clock) { clock } else { 0 };
        Self { clock, shares: HashMap::new() }
    }

    /// Adds a share that is not known yet.
    pub fn know(&mut self, name: &str, share: Share) {
        if !self.shares.contains_key(name) {
            self.shares.insert(name.to_owned(), share);
        }
    }

    /// Place of a share among those that have something to start: the least is next. What has passed counts last, so that
    /// shares that all come back at the same turn go on in their order.
    fn place(&self, name: &str) -> (i64, i64) {
        // No turn takes longer than a stride.
        let most = self.clock.saturating_add(STRIDE);
        let pass = self.shares.get(name).copied().unwrap_or_default().pass.min(most);
        (pass.max(self.clock), pass)
    }

    /// Takes a turn for a share. Returns it as it is then.
    pub fn take(&mut self, name: &str) -> Share {
        let (start, _) = self.place(name);
        self.clock = start;
        let share = self.shares.entry(name.to_owned()).or_default();
        share.pass = start.saturating_add(STRIDE / share.weight.clamp(1, MAX_WEIGHT));
        *share
    }
}

/// What the shares are, and how heavy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fairness {
    /// What makes a share.
    pub by: FairBy,
    /// Weights other than 1.
    pub weights: BTreeMap<String, i64>,
}

/// What makes a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FairBy {
    /// The client's key.
    #[default]
    Key,
    /// The first tag with this beginning; tasks without one are a share together.
    Tag(String),
    /// Nothing: tasks start by age alone.
    Nothing,
}

impl Fairness {
    /// The share of a task, and its weight; an empty one has no name.
    #[must_use]
    pub fn share_of(&self, key: &str, tags: &[String]) -> (String, i64) {
        let share = match &self.by {
            FairBy::Key => key,
            FairBy::Tag(begin) => tags.iter().find(|tag| tag.starts_with(begin)).map_or("", String::as_str),
            FairBy::Nothing => "",
        };
        (share.to_owned(), self.weights.get(share).copied().unwrap_or(1))
    }
}

/// A task that is ready.
pub trait Ready {
    /// Higher starts first.
    fn priority(&self) -> i64;
    /// Name of its share.
    fn share(&self) -> &str;
}

/// Ready tasks in the order in which they start.
#[derive(Debug)]
pub struct Line<T> {
    turns: Turns,
    /// The first tasks of each share, by priority, then age.
    queues: Vec<VecDeque<T>>,
    /// Number of tasks that are known of a share, where there may be more.
    most: usize,
    /// Numbers of tasks that were known of each share.
    known: Vec<usize>,
    /// True if more of a share would have to be known.
    is_over: bool,
}

impl<T: Ready> Line<T> {
    /// The line of these tasks: the first of each share, by priority, then age, and at most `most` of each.
    #[must_use]
    pub fn of(ready: impl IntoIterator<Item = T>, turns: Turns, most: usize) -> Self {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut queues: Vec<VecDeque<T>> = Vec::new();
        for task in ready {
            let place = *places.entry(task.share().to_owned()).or_insert_with(|| {
                queues.push(VecDeque::new());
                queues.len() - 1
            });
            if queues[place].len() < most {
                queues[place].push_back(task);
            }
        }
        let known = queues.iter().map(VecDeque::len).collect();
        Self { turns, queues, most, known, is_over: false }
    }

    /// The next task. Its share keeps its turn until [`start`](Self::start) takes it.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_over {
            return None;
        }
        let heads = self.queues.iter().enumerate().filter_map(|(place, queue)| Some((place, queue.front()?)));
        let (place, _) = heads.min_by_key(|(_, task)| (-task.priority(), self.turns.place(task.share())))?;
        let task = self.queues[place].pop_front();
        self.is_over = self.queues[place].is_empty() && self.known[place] >= self.most;
        task
    }

    /// A task of this share starts.
    pub fn start(&mut self, share: &str) {
        self.turns.take(share);
    }
}

/// Number of tasks that start before one of a priority, about: those of its share that are older, and the turns of others
/// until then. `others` has the number of tasks and the weight of each other share.
#[must_use]
pub fn turns_before(older: i64, weight: i64, others: impl IntoIterator<Item = (i64, i64)>) -> i64 {
    let turns = |(tasks, of): (i64, i64)| tasks.min(older.saturating_add(1).saturating_mul(of) / weight.max(1));
    others.into_iter().map(turns).fold(older, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Task(i64, &'static str, usize);

    impl Ready for Task {
        fn priority(&self) -> i64 {
            self.0
        }

        fn share(&self) -> &str {
            self.1
        }
    }

    /// All that the line tells, each started.
    fn all(mut line: Line<Task>) -> Vec<Task> {
        std::iter::from_fn(|| line.pop().inspect(|task| line.start(task.1))).collect()
    }

    #[test]
    fn what_does_not_start_takes_no_turn_and_the_line_ends_where_more_would_have_to_be_known() {
        let tasks = || vec![Task(0, "a", 1), Task(0, "a", 2), Task(0, "b", 3), Task(0, "b", 4), Task(0, "b", 5)];
        let mut line = Line::of(tasks(), Turns::default(), 9);
        let first = std::array::from_fn(|_| line.pop().map(|task| task.2));
        assert_eq!(first, [Some(1), Some(2), Some(3)], "a share that starts nothing keeps its turn");
        assert_eq!(all(Line::of(tasks(), Turns::default(), 2)).len(), 3, "of b there may be more");
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    /// Shares with their tasks, by age, and their turns.
    #[derive(Default)]
    struct Simulation {
        turns: Turns,
        waiting: HashMap<&'static str, VecDeque<usize>>,
        started: Vec<&'static str>,
        number: usize,
    }

    impl Simulation {
        fn weigh(&mut self, name: &str, weight: i64) {
            self.turns.know(name, Share { weight, pass: 0 });
        }

        fn submit(&mut self, name: &'static str, many: usize) {
            let range = self.number..self.number + many;
            self.number += many;
            self.waiting.entry(name).or_default().extend(range);
        }

        /// Claims as a worker does: the first of each share are known, and no more.
        fn claim(&mut self, many: usize) {
            let first = |(name, tasks): (&&'static str, &VecDeque<usize>)| {
                tasks.iter().take(many).map(|task| Task(0, name, *task)).collect::<Vec<_>>()
            };
            let mut ready: Vec<Task> = self.waiting.iter().flat_map(first).collect();
            ready.sort_by_key(|task| task.2);
            for task in all(Line::of(ready, self.turns.clone(), many)).into_iter().take(many) {
                assert_eq!(self.waiting.get_mut(task.1).and_then(VecDeque::pop_front), Some(task.2), "by age");
                self.turns.take(task.1);
                self.started.push(task.1);
            }
        }

        fn count(&self, name: &str, last: usize) -> usize {
            self.started[self.started.len() - last..].iter().filter(|one| **one == name).count()
        }
    }

    #[test]
    fn one_of_a_share_starts_next_however_many_another_has() {
        let mut simulation = Simulation::default();
        simulation.submit("a", 50_000);
        (0..1_000).for_each(|_| simulation.claim(2));
        simulation.submit("b", 1);
        simulation.claim(1);
        assert_eq!(simulation.started.last(), Some(&"b"));
        // One that comes often has every second turn, and saves none up while it is away.
        (0..500).for_each(|_| simulation.claim(2));
        simulation.submit("b", 1_000);
        simulation.claim(10);
        assert_eq!((simulation.count("a", 10), simulation.count("b", 10)), (5, 5));
    }

    #[test]
    fn the_place_of_a_task_is_told_by_the_turns_before_it() {
        assert_eq!(turns_before(3, 1, []), 3);
        assert_eq!(turns_before(0, 1, [(50_000, 1), (2, 1)]), 2);
        assert_eq!(turns_before(9, 2, [(50_000, 1), (3, 1)]), 9 + 5 + 3);
    }

    #[test]
    fn shares_have_turns_by_their_weights() {
        let mut simulation = Simulation::default();
        for (name, weight) in [("a", 1), ("b", 3), ("c", 6)] {
            simulation.weigh(name, weight);
            simulation.submit(name, 10_000);
        }
        (0..100).for_each(|_| simulation.claim(7));
        (0..100).for_each(|_| simulation.claim(1));
        let [a, b, c] = ["a", "b", "c"].map(|name| simulation.count(name, 800));
        assert!(a.abs_diff(80) <= 2 && b.abs_diff(240) <= 2 && c.abs_diff(480) <= 2, "{a} {b} {c}");
    }

    #[test]
    fn numbers_that_are_damaged_starve_nobody() {
        for (clock, pass) in [(i64::MAX, 0), (-1, i64::MAX), (5, i64::MAX), (5, i64::MIN), (i64::MAX / 2 - 1, 0)] {
            let mut simulation = Simulation { turns: Turns::at(clock), ..Simulation::default() };
            simulation.turns.know("a", Share { weight: -7, pass });
            simulation.submit("a", 10);
            simulation.submit("b", 10);
            (0..10).for_each(|_| simulation.claim(1));
            assert!((3..=7).contains(&simulation.count("a", 10)), "{clock} {pass}: {:?}", simulation.started);
        }
    }

    #[test]
    fn a_higher_priority_is_nobodys_turn() {
        let ready = vec![Task(5, "a", 1), Task(0, "a", 3), Task(5, "b", 2), Task(5, "b", 4), Task(0, "b", 0)];
        let mut turns = Turns::default();
        // It is the other one's turn, and then each has one after the other: all of the higher priority come first.
        turns.know("a", Share { weight: 1, pass: STRIDE });
        let numbers: Vec<usize> = all(Line::of(ready, turns, 9)).iter().map(|task| task.2).collect();
        assert_eq!(numbers, [2, 1, 4, 3, 0]);
    }

    proptest! {
        /// While a share waits, no other one has more turns than its weight says, and one.
        #[test]
        fn none_starves(
            weights in prop::array::uniform4(1i64..9),
            steps in prop::collection::vec((0usize..4, 0usize..6, 0usize..4), 1..120),
        ) {
            let mut simulation = Simulation::default();
            for (name, weight) in NAMES.iter().zip(weights) {
                simulation.weigh(name, weight);
            }
            // Turns of each share since another one waits.
            let mut since: HashMap<(&str, &str), i64> = HashMap::new();
            for (share, many, claims) in steps {
                simulation.submit(NAMES[share], many);
                for _ in 0..claims {
                    let waiting: Vec<&str> = NAMES.into_iter()
                        .filter(|name| simulation.waiting.get(name).is_some_and(|tasks| !tasks.is_empty())).collect();
                    since.retain(|(waits, _), _| waiting.contains(waits));
                    let before = simulation.started.len();
                    simulation.claim(1);
                    let Some(started) = simulation.started.get(before).copied() else { continue };
                    since.retain(|(waits, _), _| *waits != started);
                    let weight = |name: &str| weights[NAMES.iter().position(|one| *one == name).expect("a share")];
                    for waits in waiting.into_iter().filter(|waits| *waits != started) {
                        let turns = since.entry((waits, started)).or_default();
                        *turns += 1;
                        let most = weight(started).unsigned_abs().div_ceil(weight(waits).unsigned_abs()).cast_signed() + 1;
                        prop_assert!(*turns <= most, "{started} had {turns} turns while {waits} waited");
                    }
                }
            }
        }
    }
}
