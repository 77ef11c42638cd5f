//! What another worker must know of a machine to go on with it. Times count from the moment at which it was written: while
//! an attempt is handed over, its clocks stand still.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::effect::{Now, StopReason};
use super::super::questions::Questions;
use super::{Config, Machine, RunPhase};
use crate::claude::{Ending, Observed};

/// Milliseconds from now; negative in the past.
pub type FromNow = i64;

/// See the [module](self).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineState {
    observed: Observed,
    began: FromNow,
    heard: FromNow,
    phase: RunPhase<FromNow>,
    why: StopReason,
    turn: Option<i64>,
    next_turns: VecDeque<(i64, String)>,
    taken: HashSet<i64>,
    interrupted: bool,
    questions: Questions<FromNow>,
    first: Option<(String, Vec<String>)>,
    hopeless: u32,
}

/// The time from `now` to `at`.
pub fn from_now(now: Instant, at: Instant) -> FromNow {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    if at >= now { ms(at - now) } else { -ms(now - at) }
}

/// The time that is so far from `now`.
pub fn time_at(now: Instant, ms: FromNow) -> Instant {
    let time = Duration::from_millis(ms.unsigned_abs());
    let at = if ms >= 0 { now.checked_add(time) } else { now.checked_sub(time) };
    at.unwrap_or(now)
}

impl Machine {
    /// Returns what another worker must know of it. The guard against loops begins anew there.
    pub fn carried(&self, now: Instant) -> MachineState {
        let to = |at| from_now(now, at);
        MachineState {
            observed: self.observed.clone(),
            began: to(self.began),
            heard: to(self.heard),
            phase: self.phase.map(to),
            why: self.why,
            turn: self.turn,
            next_turns: self.next_turns.clone(),
            taken: self.taken.clone(),
            interrupted: self.interrupted,
            questions: self.questions.clone().map(to),
            first: self.first.clone(),
            hopeless: self.hopeless,
        }
    }

    /// Goes on with an attempt of another worker.
    pub fn resumed(config: Config, state: MachineState, now: Now) -> Self {
        let at = |ms| time_at(now.instant, ms);
        Self {
            observed: state.observed,
            began: at(state.began),
            heard: at(state.heard),
            phase: state.phase.map(at),
            // That worker has left; its reason is none of the attempt's.
            why: match state.why {
                StopReason::Shutdown => StopReason::ItsOwn(Ending::ItsOwn),
                why => why,
            },
            turn: state.turn,
            next_turns: state.next_turns,
            taken: state.taken,
            interrupted: state.interrupted,
            questions: state.questions.map(at),
            first: state.first,
            hopeless: state.hopeless,
            ..Self::new(config, now)
        }
    }
}
