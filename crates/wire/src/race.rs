//! Races: one request, done by several tasks, of which one wins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::{TaskSpec, invalid, texts, within};
use domain::{CONTENDERS, Invalid, Pick};

/// A race: several tasks do the same, side by side, each in a worktree of its own, and one wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RaceOptions {
    /// Number of contenders, 2 to 8; as many as `models`, or 2, where not set.
    #[schema(minimum = 2, maximum = 8)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<i64>,
    /// Models of the contenders, in turn; `options.sdk.model` for all where it is empty.
    #[schema(max_items = 8)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Rule by which the winner is chosen.
    #[serde(default)]
    pub pick: Pick,
}

impl RaceOptions {
    /// Number of contenders.
    #[must_use]
    pub fn contenders(&self) -> i64 {
        self.n.unwrap_or_else(|| i64::try_from(self.models.len()).unwrap_or_default().max(*CONTENDERS.start()))
    }

    /// Parts of the budget: one for each contender, and one for the judge.
    fn parts(&self) -> i64 {
        self.contenders() + i64::from(self.pick == Pick::Judge)
    }

    /// Checks the rules for the race of this task.
    pub(super) fn validate(&self, spec: &TaskSpec) -> Result<(), Invalid> {
        within("race.n", self.n, *CONTENDERS.start(), *CONTENDERS.end())?;
        texts("race.models", &self.models, usize::try_from(self.contenders()).unwrap_or_default())?;
        if self.pick == Pick::FirstVerified && spec.verify.is_none() {
            invalid("race.pick", "first_verified needs verify: the check that the first has to pass")?;
        }
        if self.pick == Pick::Me && spec.options.run_async == Some(false) {
            invalid("options.async", "can't be false where a person picks: nobody knows when")?;
        }
        if spec.options.worktree.as_ref().is_some_and(|worktree| worktree.push) {
            invalid("options.worktree.push", "can't be set in a race: push the branch of the winner")?;
        }
        if spec.context.working_directory.is_some() && spec.options.use_worktree == Some(false) {
            invalid("options.useWorktree", "can't be false in a race: each contender has a worktree of its own")?;
        }
        let sdk = &spec.options.sdk;
        if sdk.resume_session.is_some() || sdk.continue_from_task_id.is_some() {
            invalid("race", "can't go on with a session: its contenders begin side by side")?;
        }
        Ok(())
    }

    /// The request of a contender: of its own model, its part of the budget, its worktree and its branch.
    #[must_use]
    pub fn contender(&self, spec: &TaskSpec, place: i64) -> TaskSpec {
        let mut own = spec.clone();
        let index = usize::try_from(place - 1).unwrap_or_default();
        if let Some(model) = (!self.models.is_empty()).then(|| &self.models[index % self.models.len()]) {
            own.options.sdk.model = Some(model.clone());
        }
        own.options.sdk.max_budget_usd = own.options.sdk.max_budget_usd.map(|budget| budget / self.parts());
        if own.context.working_directory.is_some() && own.options.worktree().is_none() {
            own.options.use_worktree = Some(true);
        }
        if let Some(branch) = own.options.worktree.as_mut().and_then(|worktree| worktree.branch.as_mut()) {
            branch.push_str(&format!("-{place}"));
        }
        own.options.run_async = None;
        own
    }

    /// The request of the judge of these contenders.
    #[must_use]
    pub fn judge(&self, spec: &TaskSpec) -> TaskSpec {
        let names = || (1..=self.contenders()).map(|place| format!("c{place}"));
        let mut told = format!(
            "Several people have done the same task, each by themselves. Choose the best: the one that does what was asked for, \
             correctly, with the least that was not asked for. Judge by what they did, not by what they say of it.\n\n\
             The task was:\n\n{}\n",
            // No places of its own: they are filled for the contenders.
            spec.instruction.replace("{{", "{ {")
        );
        for name in names() {
            told.push_str(&format!(
                "\n--- {name}: {{{{tasks.{name}.status}}}}\n\nIt says:\n\n{{{{tasks.{name}.result}}}}\n\nIt changed:\n\n{{{{tasks.{name}.changes}}}}\n"
            ));
        }
        told.push_str(
            "\n--- Answer with the name of the best, and why in a sentence. One that is not completed can't be chosen.",
        );
        let mut judge = TaskSpec::of(told);
        (judge.priority, judge.tags, judge.requires) = (spec.priority, spec.tags.clone(), spec.requires.clone());
        judge.parent = spec.parent;
        let sdk = &mut judge.options.sdk;
        sdk.model.clone_from(&spec.options.sdk.model);
        sdk.max_budget_usd = spec.options.sdk.max_budget_usd.map(|budget| budget / self.parts());
        let names: Vec<_> = names().collect();
        sdk.output_schema = Some(serde_json::json!({
            "type": "object",
            "required": ["winner"],
            "properties": { "winner": { "enum": names }, "why": { "type": "string" } },
        }));
        judge.race.clone_from(&spec.race);
        judge
    }

    /// The place that a judge names in its answer.
    #[must_use]
    pub fn choice(answer: &serde_json::Value) -> Option<i64> {
        answer["winner"].as_str()?.strip_prefix('c')?.parse().ok()
    }
}
