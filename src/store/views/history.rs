//! Places in the history.

use domain::Timestamp;

/// Finds the first commit of a time.
#[derive(Clone, Copy, Debug)]
pub struct FindCommit {
    /// The time.
    pub since: Timestamp,
    /// Maximum number of commits from there to the newest.
    pub most: i64,
}

/// A place in the history.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundCommit {
    /// Number of the commit before it; 0 where it is the first.
    pub before: i64,
    /// Time of the commit that was found.
    pub at: Option<Timestamp>,
}

/// A search by halves for the first commit of a time.
#[derive(Debug)]
pub struct CommitSearch {
    since: Timestamp,
    low: i64,
    high: i64,
}

impl CommitSearch {
    /// A search among the commits up to this one.
    #[must_use]
    pub fn new(newest: i64, find: FindCommit) -> Self {
        Self { since: find.since, low: newest.saturating_sub(find.most).max(0) + 1, high: newest + 1 }
    }

    /// The number at which to look next.
    #[must_use]
    pub const fn middle(&self) -> Option<i64> {
        if self.low < self.high { Some(self.low + (self.high - self.low) / 2) } else { None }
    }

    /// Takes the first commit from there on: its number and its time.
    pub fn note(&mut self, commit: Option<(i64, i64)>) {
        let middle = self.low + (self.high - self.low) / 2;
        match commit {
            Some((seq, at)) if at < self.since.0 && seq < self.high => self.low = seq + 1,
            _ => self.high = middle,
        }
    }

    /// The number from which on the commits are of that time.
    #[must_use]
    pub const fn from(&self) -> i64 {
        self.low
    }

    /// The place, with the first commit from there on.
    #[must_use]
    pub fn found(&self, commit: Option<(i64, i64)>) -> FoundCommit {
        FoundCommit { before: self.low - 1, at: commit.map(|(_, at)| Timestamp(at)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_commit_of_a_time_is_found(
            steps in prop::collection::vec((1_i64..4, 0_i64..3), 0..40), since in 0_i64..60, most in 1_i64..200,
        ) {
            // Numbers have gaps, and several commits one time.
            let commits: Vec<(i64, i64)> = steps
                .iter()
                .scan((0, 0), |at, (seq, ms)| {
                    *at = (at.0 + seq, at.1 + ms);
                    Some(*at)
                })
                .collect();
            let from = |seq: i64| commits.iter().copied().find(|(number, _)| *number >= seq);
            let newest = commits.last().map_or(0, |(seq, _)| *seq);
            let mut search = CommitSearch::new(newest, FindCommit { since: Timestamp(since), most });
            while let Some(middle) = search.middle() {
                search.note(from(middle));
            }
            let found = search.found(from(search.from()));
            let within = |seq: i64| seq > newest - most;
            let wanted = commits.iter().find(|(seq, at)| *at >= since && within(*seq));
            prop_assert_eq!(from(found.before + 1), wanted.copied());
            prop_assert_eq!(found.at, wanted.map(|(_, at)| Timestamp(*at)));
        }
    }
}
