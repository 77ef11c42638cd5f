//! Limits on groups of tasks: what is set, and what is left of each.

use std::collections::HashMap;

use super::{Change, Unit, gate};
use crate::queue::messages::SetLimit;
use crate::store::StoreError;
use audit::HistoryEvent;
use domain::{Group, GroupKind, GroupRoom, Limit};

/// Every limit that is set.
#[derive(Default)]
pub struct LimitsInForce(HashMap<Group, Limit>);

impl LimitsInForce {
    /// Reads them.
    pub async fn read(unit: &mut Unit<'_>) -> Result<Self, StoreError> {
        Ok(Self(unit.tx.limits().await?.into_iter().collect()))
    }

    /// True if a tag has one: then it must be known which tags a task has.
    pub fn are_on_tags(&self) -> bool {
        self.0.keys().any(|group| group.kind == GroupKind::Tag)
    }

    /// Returns the rest of each limit, and of the concurrency keys that have none of their own.
    pub async fn room(&self, unit: &mut Unit<'_>) -> Result<HashMap<Group, GroupRoom>, StoreError> {
        let mut rooms = HashMap::new();
        for (group, limit) in &self.0 {
            let starts = match limit.rate {
                Some(rate) => unit.tx.starts(group, unit.now.plus_ms(-rate.period_ms), rate.starts).await?,
                None => Vec::new(),
            };
            rooms.insert(group.clone(), GroupRoom { limit: *limit, running: 0, starts });
        }
        for group in unit.tx.running_groups(self.are_on_tags()).await?.into_iter().flatten() {
            self.member(&mut rooms, group, 1);
        }
        Ok(rooms)
    }

    /// Adds members to a group, should it have a limit.
    pub fn member(&self, rooms: &mut HashMap<Group, GroupRoom>, group: Group, more: u32) {
        if self.0.contains_key(&group) || group.kind == GroupKind::ConcurrencyKey {
            let limit = group.default_limit();
            rooms.entry(group).or_insert_with(|| GroupRoom { limit, ..GroupRoom::default() }).running += more;
        }
    }

    /// Writes down that tasks of these groups have started, for the rates, and forgets what no longer counts.
    pub async fn started(&self, unit: &mut Unit<'_>, groups: &[Group]) -> Result<(), StoreError> {
        for group in groups {
            let Some(rate) = self.0.get(group).and_then(|limit| limit.rate) else { continue };
            unit.tx.remove_starts(group, Some(unit.now.plus_ms(-rate.period_ms))).await?;
            unit.tx.insert_start(group, unit.now).await?;
        }
        Ok(())
    }
}

impl Change for SetLimit {
    type Answer = Limit;

    const MAKES_WORK: bool = true;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Limit, StoreError> {
        let known = unit.tx.limit(&self.group).await?;
        let default = self.group.default_limit();
        let limit = self.change.map_or(default, |change| change.applied_to(known.unwrap_or(default)));
        unit.tx.put_limit(&self.group, (limit != default).then_some(&limit)).await?;
        if limit.rate.is_none() {
            unit.tx.remove_starts(&self.group, None).await?;
        }
        unit.record(&HistoryEvent::SetLimit { group: self.group.clone(), limit });
        // What waits finds out anew what holds.
        gate::let_all_go(unit, &self.group).await?;
        Ok(limit)
    }
}
