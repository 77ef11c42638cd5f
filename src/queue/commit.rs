//! Runs waiting commands in one transaction, and answers each.

use super::change_notifier::Concern;
use super::commands::{Command, Done, Unit};
use crate::store::{About, Store, StoreError};
use domain::TaskId;

/// Result of a batch.
#[derive(Default)]
pub struct Committed {
    /// True if any command has written something.
    pub any: bool,
    /// True if that is more than signs of life.
    pub is_news: bool,
    /// The tasks that changed.
    pub touched: Vec<TaskId>,
    /// Workers that it concerns.
    pub concern: Concern,
    /// True if dependents of tasks that have ended are to be told by further commits.
    pub unsettled: bool,
    /// Reason of the last failure.
    pub failure: Option<StoreError>,
}

/// Runs all commands in one transaction, commits, and answers each. Where one of them fails, each runs again in a
/// transaction of its own, so that only that one's sender is told of the failure.
pub async fn commit(store: &dyn Store, batch: Vec<Box<dyn Command>>) -> Committed {
    let (mut batch, shortage) = turn_away(store, batch);
    if batch.is_empty() {
        return Committed { failure: shortage, ..Committed::default() };
    }
    let failure = match try_commit(store, &mut batch).await {
        Ok(Done { has_written, touched, unsettled }) => {
            let is_news = has_written && !batch.iter().all(|each| each.is_sign_of_life());
            let concern = batch.iter().fold(Concern::Nobody, |all, each| all.and(each.concern()));
            batch.into_iter().for_each(|each| each.answer(Ok(())));
            return Committed { any: has_written, is_news, touched, concern, unsettled, failure: None };
        }
        Err(failure) if store.relieve(&failure) => return Box::pin(commit(store, batch)).await,
        Err(failure) => failure,
    };
    // Where none of them could be stored by itself either, there is no need to wait for the lock, the disk or the server once each.
    let all_fail = matches!(
        failure,
        StoreError::Locked
            | StoreError::Replaced { .. }
            | StoreError::Closed
            | StoreError::Unavailable { .. }
            | StoreError::Refused { .. }
            | StoreError::Schema { .. }
    );
    if all_fail || batch.len() == 1 {
        let error = crate::telemetry::chain(&failure);
        tracing::warn!(commands = batch.len(), error, "Commands were not stored");
        batch.into_iter().for_each(|each| each.answer(Err(failure.clone())));
        return Committed { failure: Some(failure), ..Committed::default() };
    }
    let mut all = Committed::default();
    for each in batch {
        let one = Box::pin(commit(store, vec![each])).await;
        all.any |= one.any;
        all.is_news |= one.is_news;
        all.touched.extend(one.touched);
        all.concern = all.concern.and(one.concern);
        all.unsettled |= one.unsettled;
        all.failure = one.failure.or(all.failure);
    }
    all
}

/// Refuses all but essential commands while there is no room for others. Returns the reason, where any was refused.
fn turn_away(store: &dyn Store, batch: Vec<Box<dyn Command>>) -> (Vec<Box<dyn Command>>, Option<StoreError>) {
    let Some(shortage) = store.shortage() else { return (batch, None) };
    let (essential, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|each| each.is_essential());
    let refused = (!others.is_empty()).then(|| shortage.clone());
    others.into_iter().for_each(|each| each.answer(Err(shortage.clone())));
    (essential, refused)
}

async fn try_commit(store: &dyn Store, batch: &mut [Box<dyn Command>]) -> Result<Done, StoreError> {
    let tasks: Vec<TaskId> = batch.iter().filter_map(|each| each.task()).collect();
    let about = About { tasks: &tasks, submits: batch.iter().any(|each| each.submits()) };
    let mut unit = Unit::begin(store, about).await?;
    for each in batch {
        each.run(&mut unit).await?;
    }
    unit.commit().await
}
