//! Messages to [`QueueActor`](super::QueueActor) about races.

use super::messages::{AllSubmitted, Submit, answers};
use crate::store::views::Race;
use domain::TaskId;

answers! {
    SubmitRace => AllSubmitted;
    PickWinner => Picked;
    ReadRace => Option<Race>;
}

/// Stores the tasks of a race, all or none.
#[derive(Clone, Debug)]
pub struct SubmitRace {
    /// The contenders.
    pub contenders: Vec<Submit>,
    /// The judge, where there is one: it depends on them.
    pub judge: Option<Submit>,
}

/// Makes a contender the winner, as a person has chosen.
#[derive(Clone, Copy, Debug)]
pub struct PickWinner(pub TaskId);

/// The answer to a [`PickWinner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked {
    /// It has won.
    Done,
    /// It is no contender of a race.
    NoContender,
    /// It has not completed.
    NotCompleted,
    /// The race was decided before.
    Decided(Option<TaskId>),
}

/// Reads the race that a task is in.
#[derive(Clone, Copy, Debug)]
pub struct ReadRace(pub TaskId);
