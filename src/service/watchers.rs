//! People who have a page of the dashboard open, by their keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Caller;

/// Pages of this process that are open. Clones share the counts.
#[derive(Clone, Default)]
pub struct Watchers(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    by_key: HashMap<String, u32>,
    /// Pages of those who see the tasks of all keys.
    of_admins: u32,
}

/// An open page; it is closed when this is dropped.
pub struct OpenPage {
    watchers: Watchers,
    key: Option<String>,
}

impl Watchers {
    /// Counts a page of this caller.
    #[must_use]
    pub fn open(&self, caller: &Caller) -> OpenPage {
        let key = caller.own();
        self.change(key.as_deref(), |count| count.saturating_add(1));
        OpenPage { watchers: self.clone(), key }
    }

    /// True if somebody who sees the tasks of this key has a page open.
    #[must_use]
    pub fn see(&self, key: &str) -> bool {
        let counts = self.counts();
        counts.of_admins > 0 || counts.by_key.contains_key(key)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, key: Option<&str>, change: impl Fn(u32) -> u32) {
        let mut counts = self.counts();
        let Some(key) = key else {
            counts.of_admins = change(counts.of_admins);
            return;
        };
        let count = change(counts.by_key.get(key).copied().unwrap_or_default());
        match count {
            0 => drop(counts.by_key.remove(key)),
            count => drop(counts.by_key.insert(key.to_owned(), count)),
        }
    }
}

impl Drop for OpenPage {
    fn drop(&mut self) {
        self.watchers.change(self.key.as_deref(), |count| count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::KeyRights;

    #[test]
    fn a_page_counts_for_its_key_and_an_admin_s_for_all() {
        let watchers = Watchers::default();
        let alice = Caller::new("alice", KeyRights::of(&[wire::KeyScope::Read]));
        let (one, other) = (watchers.open(&alice), watchers.open(&alice));
        assert!(watchers.see("alice") && !watchers.see("bob"));
        drop(one);
        assert!(watchers.see("alice"));
        drop(other);
        assert!(!watchers.see("alice"));
        let operator = watchers.open(&Caller::operator());
        assert!(watchers.see("alice") && watchers.see("bob"));
        drop(operator);
        assert!(!watchers.see("bob"));
    }
}
