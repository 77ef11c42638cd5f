//! Kinds of tasks for which processes are kept ready: learned from what was asked for. Pure.
//!
//! A place is empty from the start of the task that took its process, until the next process is started behind that task. So
//! the processes of one kind are the servers of Erlang's loss system: with `n` of them, and `a` tasks of the kind at a time in
//! the mean, a task starts cold with the probability `B(n, a)`. Each further process of a kind saves fewer cold starts than the
//! one before it, so places are given one by one, each to the kind of which it saves the most.
//!
//! How often a kind is asked for is counted with weights that fade with each task, of whatever kind. People who work in one
//! folder after another are served best by a short memory, a mix of programs by a long one. Which of them would have had more
//! hits lately is counted, and that one decides ([`Expert`]).

use std::time::Instant;

/// Kinds that are remembered.
const MAX_KINDS: usize = 64;
/// Tasks after which a hit, or the lack of one, counts half for the choice between experts.
const JUDGED_BY: f64 = 64.0;
/// Part that the newest task has in the mean number of tasks of its kind at a time.
const NEWEST: f64 = 0.25;
/// Memories: the tasks after which one counts half, and how much more a newcomer must save than what has its place, since each
/// change costs a start. At equal hits the first of them decides.
const MEMORIES: [(f64, f64); 3] = [(0.5, 1.0), (6.0, 1.1), (48.0, 1.25)];

/// See the [module](self).
#[derive(Debug)]
pub struct Demand<K> {
    /// Number of processes at most.
    places: usize,
    kinds: Vec<Kind<K>>,
    experts: [Expert; MEMORIES.len()],
}

/// A kind of tasks. What experts know of it stands at the same place.
#[derive(Debug)]
struct Kind<K> {
    kind: K,
    /// Tasks of this kind that run now.
    running: u32,
    /// Mean number of those that ran when another one began; tasks come at any time, so this is the mean of all times.
    at_a_time: f64,
    /// Begin of its newest task.
    newest: Instant,
    by_expert: [Share; MEMORIES.len()],
}

/// An expert's view of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    /// Number of tasks, each with its weight.
    weight: f64,
    /// Places that it would give to the kind.
    places: usize,
}

/// A memory of some length, and how well it would have done.
#[derive(Clone, Copy, Debug)]
struct Expert {
    /// Factor of all weights for each task.
    fades: f64,
    /// What a newcomer must save, over what has its place.
    margin: f64,
    /// Tasks that it would have had a process for; older ones count less.
    hits: f64,
}

impl<K: Clone + PartialEq> Demand<K> {
    /// Knows nothing yet.
    pub fn new(places: usize) -> Self {
        let expert = |(half_life, margin): (f64, f64)| Expert { fades: (-1.0 / half_life).exp2(), margin, hits: 0.0 };
        Self { places, kinds: Vec::new(), experts: MEMORIES.map(expert) }
    }

    /// Notes that a task of this kind begins.
    pub fn began(&mut self, kind: &K, now: Instant) {
        let at = self.known(kind, now);
        self.judge(at);
        let of = &mut self.kinds[at];
        of.at_a_time += (f64::from(of.running) - of.at_a_time) * NEWEST;
        of.running += 1;
        of.newest = now;
        for (number, expert) in self.experts.iter().enumerate() {
            self.kinds.iter_mut().for_each(|kind| kind.by_expert[number].weight *= expert.fades);
            self.kinds[at].by_expert[number].weight += 1.0;
        }
        for number in 0..self.experts.len() {
            self.give_places(number);
        }
    }

    /// Notes that a task of this kind has ended.
    pub fn ended(&mut self, kind: &K) {
        if let Some(of) = self.kinds.iter_mut().find(|of| of.kind == *kind) {
            of.running = of.running.saturating_sub(1);
        }
    }

    /// Forgets the kinds that nobody has asked for since `time`.
    pub fn forget_before(&mut self, time: Instant) {
        let known = self.kinds.len();
        self.kinds.retain(|of| of.newest >= time || of.running > 0);
        if self.kinds.len() < known {
            (0..self.experts.len()).for_each(|number| self.give_places(number));
        }
    }

    /// True if the kind was asked for, and is not forgotten.
    pub fn knows(&self, kind: &K) -> bool {
        self.kinds.iter().any(|of| of.kind == *kind)
    }

    /// Returns the number of tasks of this kind that run.
    pub fn running(&self, kind: &K) -> usize {
        let of = self.kinds.iter().find(|of| of.kind == *kind);
        of.and_then(|of| usize::try_from(of.running).ok()).unwrap_or(0)
    }

    /// Returns the number of processes that are to wait for tasks of this kind.
    pub fn wanted(&self, kind: &K) -> usize {
        let leader = self.leader();
        self.kinds.iter().find(|of| of.kind == *kind).map_or(0, |of| of.by_expert[leader].places)
    }

    /// Returns all kinds for which processes are to wait, with their numbers.
    pub fn all_wanted(&self) -> impl Iterator<Item = (&K, usize)> {
        let leader = self.leader();
        self.kinds.iter().map(move |of| (&of.kind, of.by_expert[leader].places)).filter(|(_, places)| *places > 0)
    }

    /// Returns the place of a kind; where it is new, that of the one that was asked for least recently may be its own.
    fn known(&mut self, kind: &K, now: Instant) -> usize {
        if let Some(at) = self.kinds.iter().position(|of| of.kind == *kind) {
            return at;
        }
        if self.kinds.len() >= MAX_KINDS {
            let oldest = self.kinds.iter().enumerate().min_by_key(|(_, of)| (of.running > 0, of.newest));
            let oldest = oldest.map_or(0, |(at, _)| at);
            self.kinds.swap_remove(oldest);
        }
        let by_expert = [Share::default(); MEMORIES.len()];
        self.kinds.push(Kind { kind: kind.clone(), running: 0, at_a_time: 0.0, newest: now, by_expert });
        self.kinds.len() - 1
    }

    /// Notes which experts would have had a process for a task of this kind.
    fn judge(&mut self, at: usize) {
        let of = &self.kinds[at];
        for (expert, share) in self.experts.iter_mut().zip(&of.by_expert) {
            let is_hit = usize::try_from(of.running).is_ok_and(|running| running < share.places);
            expert.hits = expert.hits * (-1.0 / JUDGED_BY).exp2() + f64::from(u8::from(is_hit));
        }
    }

    /// Number of the expert that decides.
    fn leader(&self) -> usize {
        let best = self.experts.iter().enumerate().rev().max_by(|(_, one), (_, other)| one.hits.total_cmp(&other.hits));
        best.map_or(0, |(number, _)| number)
    }

    /// Gives an expert's places, one by one, each to the kind of which it saves the most cold starts.
    fn give_places(&mut self, number: usize) {
        let margin = self.experts[number].margin;
        let had: Vec<usize> = self.kinds.iter().map(|of| of.by_expert[number].places).collect();
        self.kinds.iter_mut().for_each(|of| of.by_expert[number].places = 0);
        for _ in 0..self.places {
            let saves = |(at, of): (usize, &Kind<K>)| {
                let Share { weight, places } = of.by_expert[number];
                let saved = weight * (cold(places, of.at_a_time) - cold(places + 1, of.at_a_time));
                (saved * if places < had[at] { margin } else { 1.0 }, of.newest, at)
            };
            let best = self.kinds.iter().enumerate().map(saves).filter(|(saved, ..)| *saved > 0.0);
            let best = best.max_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
            let Some((.., at)) = best else { return };
            self.kinds[at].by_expert[number].places += 1;
        }
    }
}

/// Returns the part of tasks that start cold with `places` processes and this many tasks at a time (Erlang's formula B).
fn cold(places: usize, at_a_time: f64) -> f64 {
    (1..=places).fold(1.0, |cold, place| at_a_time * cold / (place as f64 + at_a_time * cold))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    /// Hits of a policy that follows what is wanted at once, for tasks one after the other; without the first hundred.
    fn hits(tasks: &[u8], places: usize) -> f64 {
        let (mut demand, now) = (Demand::new(places), Instant::now());
        let mut hits = 0;
        for (number, kind) in tasks.iter().enumerate() {
            hits += usize::from(number >= 100 && demand.wanted(kind) > 0);
            demand.began(kind, now + Duration::from_secs(number as u64));
            demand.ended(kind);
        }
        hits as f64 / (tasks.len() - 100) as f64
    }

    /// Hits where the kind that was asked for least recently makes room.
    fn hits_of_the_most_recent(tasks: &[u8], places: usize) -> f64 {
        let (mut kept, mut hits) = (Vec::new(), 0);
        for (number, kind) in tasks.iter().enumerate() {
            hits += usize::from(number >= 100 && kept.contains(kind));
            kept.retain(|other| other != kind);
            kept.insert(0, *kind);
            kept.truncate(places);
        }
        hits as f64 / (tasks.len() - 100) as f64
    }

    fn mixed(parts: &[u32]) -> Vec<u8> {
        let mut seed = 1_u64;
        let kinds: Vec<u8> =
            parts.iter().zip(0..).flat_map(|(part, kind)| std::iter::repeat_n(kind, *part as usize)).collect();
        let next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            kinds[(seed >> 33) as usize % kinds.len()]
        };
        std::iter::repeat_with(next).take(3_000).collect()
    }

    #[test]
    fn it_learns_whether_what_was_asked_for_often_or_lately_comes_again() {
        // One kind is asked for more often than the others: keeping it is best.
        let skewed = mixed(&[10, 4, 3, 1, 1, 1]);
        for places in 1..=4 {
            let (learned, recent) = (hits(&skewed, places), hits_of_the_most_recent(&skewed, places));
            assert!(learned > recent + 0.02, "{places}: {learned} and {recent}");
        }
        // Each folder for a while, by turns: the most recent is best.
        let phases: Vec<u8> = (0..3_000).map(|number| (number / 15 % 7) as u8).collect();
        let (learned, recent) = (hits(&phases, 1), hits_of_the_most_recent(&phases, 1));
        assert!(learned > recent - 0.02, "{learned} and {recent}");
        // By turns, with fewer places than kinds: the most recent is the worst of all.
        let turns: Vec<u8> = (0..3_000).map(|number| (number % 3) as u8).collect();
        assert!(hits_of_the_most_recent(&turns, 2) < 0.01);
        assert!(hits(&turns, 2) > 0.6, "{}", hits(&turns, 2));
    }

    #[test]
    fn a_kind_of_which_several_run_at_a_time_gets_several() {
        let (mut demand, now) = (Demand::new(4), Instant::now());
        for _ in 0..40 {
            (0..3).for_each(|_| demand.began(&"busy", now));
            demand.began(&"seldom", now);
            demand.ended(&"seldom");
            (0..3).for_each(|_| demand.ended(&"busy"));
        }
        assert_eq!((demand.wanted(&"busy"), demand.wanted(&"seldom")), (3, 1));
        let mut alone = Demand::new(4);
        (0..40).for_each(|_| {
            alone.began(&"one by one", now);
            alone.ended(&"one by one");
        });
        assert_eq!(alone.wanted(&"one by one"), 1, "a second one would save nothing");
    }

    proptest! {
        #[test]
        fn no_more_than_the_places_and_none_for_what_nobody_asked_for(
            places in 0_usize..8,
            acts in prop::collection::vec((0_u8..100, 0_u8..4), 0..300),
        ) {
            let (mut demand, mut now) = (Demand::new(places), Instant::now());
            for (kind, act) in acts {
                now += Duration::from_secs(1);
                match act {
                    0 | 1 => demand.began(&kind, now),
                    2 => demand.ended(&kind),
                    _ => demand.forget_before(now.checked_sub(Duration::from_secs(u64::from(kind))).unwrap_or(now)),
                }
                let all: Vec<(u8, usize)> = demand.all_wanted().map(|(kind, wanted)| (*kind, wanted)).collect();
                prop_assert!(all.iter().map(|(_, wanted)| wanted).sum::<usize>() <= places);
                prop_assert!(demand.kinds.len() <= MAX_KINDS);
                if places > 0 && act < 2 {
                    prop_assert!(!all.is_empty());
                }
            }
        }

        #[test]
        fn each_further_process_of_a_kind_saves_less(at_a_time in 0.0_f64..50.0, places in 0_usize..20) {
            let saves = |places| cold(places, at_a_time) - cold(places + 1, at_a_time);
            prop_assert!(saves(places) >= saves(places + 1) - 1e-12);
            prop_assert!((0.0..=1.0).contains(&cold(places, at_a_time)));
        }
    }
}
