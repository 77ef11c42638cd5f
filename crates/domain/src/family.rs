//! Tasks that are made from inside a running task: its children, which share its budget. Pure.

use crate::Usd;

/// Maximum number of tasks above one: a task, its child, and the child of that.
pub const MAX_DEPTH: i64 = 2;
/// Maximum number of tasks that are made from inside one.
pub const MAX_CHILDREN: i64 = 100;

/// A running task, as far as it decides whether another may be made from inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// Number of tasks above it.
    pub depth: i64,
    /// Number of tasks that were made from inside it.
    pub children: i64,
    /// Budget of all of its attempts, where it has one.
    pub budget: Option<Usd>,
    /// Cost of its attempts, as far as is known.
    pub cost: Usd,
    /// What its children have of its budget: that of each which has not ended, and the cost of each which has.
    pub given: Usd,
}

/// Reason for which a task has no further child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChild {
    /// It is [`MAX_DEPTH`] deep itself.
    TooDeep,
    /// It has [`MAX_CHILDREN`].
    TooMany,
    /// It has a budget, and the child none: this is left of it.
    NeedsBudget(Usd),
    /// The budget of the child is more than what is left.
    OverBudget(Usd),
}

impl Parent {
    /// What is left of its budget; `None` is without a limit.
    #[must_use]
    pub fn left(&self) -> Option<Usd> {
        self.budget.map(|budget| (budget - self.cost - self.given).max(Usd::ZERO))
    }

    /// Decides whether a task with this budget may be made from inside it.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_have(&self, budget: Option<Usd>) -> Result<(), NoChild> {
        if self.depth >= MAX_DEPTH {
            return Err(NoChild::TooDeep);
        }
        if self.children >= MAX_CHILDREN {
            return Err(NoChild::TooMany);
        }
        match (self.left(), budget) {
            (Some(left), None) => Err(NoChild::NeedsBudget(left)),
            (Some(left), Some(budget)) if budget > left => Err(NoChild::OverBudget(left)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is asked for in whatever order, all of it together stays within the budget.
        #[test]
        fn children_stay_within_the_budget(
            budget in 0_i64..1_000, spends in prop::collection::vec((any::<bool>(), 0_i64..400), 0..40),
        ) {
            let mut parent = Parent { budget: Some(Usd::of_micros(budget)), ..Parent::default() };
            for (is_child, amount) in spends {
                let amount = Usd::of_micros(amount);
                let left = parent.left().expect("a budget");
                if is_child {
                    let allowed = parent.may_have(Some(amount)).is_ok();
                    prop_assert_eq!(allowed, amount <= left);
                    if allowed {
                        parent.given += amount;
                        parent.children += 1;
                    }
                } else {
                    parent.cost += amount.min(left);
                }
                prop_assert!(parent.cost + parent.given <= Usd::of_micros(budget));
            }
            prop_assert!(parent.may_have(None).is_err());
        }
    }

    #[test]
    fn depth_and_number_have_bounds() {
        let parent = |depth, children| Parent { depth, children, ..Parent::default() };
        assert_eq!(parent(1, 99).may_have(None), Ok(()));
        assert_eq!(parent(2, 0).may_have(None), Err(NoChild::TooDeep));
        assert_eq!(parent(0, 100).may_have(Some(Usd::ZERO)), Err(NoChild::TooMany));
    }
}
