//! The part of the [checker](super::Audit) that holds the tasks as they stand against their history.

use super::Audit;
use crate::TaskSnapshot;
use domain::{Status, Usd};

impl Audit {
    pub(super) fn stands(&mut self, standing: &TaskSnapshot, settled: bool) {
        let task = standing.task;
        let Some(picture) = self.tasks.get(&task) else {
            return self.broken(2, task, "is there, and the history doesn't know it");
        };
        let status = match (picture.terminal, picture.lease) {
            (Some(status), _) => status,
            (None, Some(_)) => Status::Running,
            (None, None) => Status::Pending,
        };
        let same =
            picture.terminal == Some(standing.status) || (picture.terminal.is_none() && status == standing.status);
        let (epoch, counts) = (picture.epoch, (picture.ended, picture.crashes));
        let missing: Vec<String> = picture
            .costs
            .iter()
            .filter(|(epoch, cost)| !standing.attempt_costs.contains(&(**epoch, **cost)))
            .map(|(epoch, cost)| format!("{cost} of epoch {epoch}"))
            .collect();
        let reported = picture.costs.len();
        if !same {
            let promise = if status.is_terminal() { 3 } else { 2 };
            self.broken(promise, task, format!("is {}, and its history ends as {status}", standing.status));
        }
        if settled && !standing.status.is_terminal() {
            self.broken(2, task, format!("is still {}", standing.status));
        }
        if epoch != standing.epoch {
            self.broken(4, task, format!("has epoch {}, and its history {epoch}", standing.epoch));
        }
        if counts != (standing.ended, standing.crashes) {
            let evidence =
                format!("has {:?} ends and crashes, and its history {counts:?}", (standing.ended, standing.crashes));
            self.broken(10, task, evidence);
        }
        if standing.ended > standing.max_attempts {
            self.broken(10, task, format!("ended {} times, and may {} times", standing.ended, standing.max_attempts));
        }
        if standing.events.0 != standing.events.1 {
            let (last, count) = standing.events;
            self.broken(8, task, format!("has {count} events numbered from 1 on, and the last is {last}"));
        }
        self.stands_paid(standing, &missing, reported);
        if standing.status == Status::Completed && !standing.well_completed {
            self.broken(15, task, "is completed without a result of the model");
        }
    }

    /// Each cost that was reported is in the ledger, and their sum with the task.
    fn stands_paid(&mut self, standing: &TaskSnapshot, missing: &[String], reported: usize) {
        let task = standing.task;
        let sum: Usd = standing.attempt_costs.iter().map(|(_, cost)| *cost).sum();
        // Sums that were stored before amounts were rounded may differ by what was rounded off.
        let rounded = standing.attempt_costs.len() as u64;
        if !missing.is_empty() || reported != standing.attempt_costs.len() {
            let evidence = format!(
                "{} costs are kept of {reported} reported; not kept: {missing:?}",
                standing.attempt_costs.len()
            );
            self.broken(14, task, evidence);
        } else if standing.cost.unwrap_or_default().distance(sum) > rounded {
            self.broken(14, task, format!("costs {:?}, its attempts {sum}", standing.cost));
        }
    }
}
