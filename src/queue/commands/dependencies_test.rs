//! Tasks that depend on others, in any order of submits, ends, cancels and retries: what the commands do is what a naive
//! look at all tasks says.

use std::time::Duration;

use proptest::prelude::*;

use super::model_test::Scratch;
use crate::queue::messages::{
    Amend, Cancel, Claim, Directory, Finish, NewDependency, NewTask, Settle, Submit, Submitted,
};
use audit::{Audit, AuditContext};
use domain::{
    Condition, DependencyState, Failure, FailureClass, Hold, Labels, OnFailure, Outcome, Report, Status, TaskId,
    WorkerInstanceId, dependency_state,
};
use wire::TaskSpec;

/// A dependency on the task of this place.
type On = (usize, Condition, OnFailure);

#[derive(Clone, Debug)]
enum Step {
    /// A task that depends on these.
    Submit(Vec<On>),
    /// The next in line runs, and completes or fails.
    Run(bool),
    /// A client calls one off.
    Cancel(usize),
    /// A client runs one again that has ended.
    Retry(usize),
    /// A client lets one go on without those that it depends on.
    Waive(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    let condition = prop::sample::select(vec![Condition::Completed, Condition::Completed, Condition::Ended]);
    let on_failure = prop::sample::select(vec![OnFailure::Cancel, OnFailure::Run, OnFailure::Wait]);
    let on = prop::collection::vec((0usize..12, condition, on_failure), 0..4);
    prop_oneof![
        6 => on.prop_map(Step::Submit),
        6 => any::<bool>().prop_map(Step::Run),
        1 => (0usize..12).prop_map(Step::Cancel),
        3 => (0usize..12).prop_map(Step::Retry),
        1 => (0usize..12).prop_map(Step::Waive),
    ]
}

/// A task as the model has it.
#[derive(Clone, Debug)]
struct Known {
    id: TaskId,
    status: Status,
    on: Vec<On>,
    retry_of: Option<usize>,
    waived: bool,
}

#[derive(Default)]
struct Model(Vec<Known>);

impl Model {
    fn state(&self, (on, condition, on_failure): On) -> DependencyState {
        dependency_state(condition, on_failure, self.0[on].status)
    }

    fn waits(&self, task: &Known) -> bool {
        let is_open = |on: &On| self.state(*on) != DependencyState::Met;
        task.status == Status::Pending && !task.waived && task.on.iter().any(is_open)
    }

    /// Cancels all that can't start any more.
    fn settle(&mut self) {
        while let Some(at) =
            self.0.iter().position(|task| self.waits(task) && task.on.iter().any(|on| self.is_lost(*on)))
        {
            self.0[at].status = Status::Cancelled;
        }
    }

    fn is_lost(&self, on: On) -> bool {
        self.state(on) == DependencyState::Failed && on.2 == OnFailure::Cancel
    }

    /// The dependencies with retries in place of what has failed; `None` where one is lost.
    fn resolved(&self, on: &[On]) -> Option<Vec<On>> {
        let one = |mut on: On| {
            while self.state(on) == DependencyState::Failed
                && let Some(retry) = self.0.iter().rposition(|task| task.retry_of == Some(on.0))
            {
                on.0 = retry;
            }
            (!self.is_lost(on)).then_some(on)
        };
        on.iter().copied().map(one).collect()
    }

    /// A retry stands for its task, for those that wait for one.
    fn repoint(&mut self, old: usize, retry: usize) {
        let waiting: Vec<usize> = (0..self.0.len()).filter(|at| self.waits(&self.0[*at])).collect();
        for at in waiting {
            let on: Vec<On> = self.0[at].on.clone();
            let failed = |on: &On| on.0 == old && self.state(*on) == DependencyState::Failed;
            self.0[at].on = on.iter().map(|on| if failed(on) { (retry, on.1, on.2) } else { *on }).collect();
        }
    }
}

/// Stores a task. Returns its id, unless it is refused.
async fn submit(scratch: &Scratch, model: &Model, on: &[On], retry_of: Option<usize>) -> Option<TaskId> {
    let dependency = |(at, condition, on_failure): &On| NewDependency {
        task: model.0[*at].id,
        condition: *condition,
        on_failure: *on_failure,
        name: None,
        is_new: false,
    };
    let task = NewTask {
        id: TaskId::new(),
        spec: TaskSpec::of("x".to_owned()),
        directory: Directory::OwnBelow("/w".into()),
        retry_of: retry_of.map(|at| model.0[at].id),
        dependencies: on.iter().map(dependency).collect(),
        key: "default".into(),
        share: (String::new(), 1),
        sees_all: true,
        exclusive: false,
        resumes: None,
        trace_parent: None,
    };
    match scratch
        .ask(Submit { task: Box::new(task), idempotency: None, max_pending: 100, limits: wire::KeyLimits::default() })
        .await
    {
        Submitted::Created(task) => Some(task.id),
        Submitted::DependencyFailed(..) => None,
        other => panic!("{other:?}"),
    }
}

/// Runs the next in line, as far as there is one. Returns its place.
async fn run(scratch: &Scratch, model: &Model, ok: bool) -> Option<usize> {
    let claim = Claim {
        holder: WorkerInstanceId::from_u128(1),
        worker: "w".into(),
        credential: String::new(),
        labels: Labels::default(),
        limit: 1,
        budgets: domain::Budgets::default(),
        lease: Duration::from_secs(60),
    };
    let claimed = scratch.ask(claim).await.pop()?;
    let failed = || Outcome::Failed(Failure::new(FailureClass::Invalid, "CODE", "message"));
    let report = Report::of(if ok { Outcome::Completed } else { failed() });
    let finish = Finish { key: claimed.key, credential: String::new(), report, events: vec![], chance: 0.5 };
    assert!(scratch.ask(finish).await.is_ok());
    model.0.iter().position(|task| task.id == claimed.task.id)
}

async fn compare(scratch: &Scratch, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        let place = |at: usize| (!model.0.is_empty()).then(|| at % model.0.len().max(1));
        match step.clone() {
            Step::Submit(on) => {
                let mut on: Vec<On> = on.into_iter().filter_map(|on| Some((place(on.0)?, on.1, on.2))).collect();
                on.sort_by_key(|on| on.0);
                on.dedup_by_key(|on| on.0);
                add(scratch, &mut model, on, None).await?;
            }
            Step::Run(ok) => {
                let ready = model.0.iter().position(|task| task.status == Status::Pending && !model.waits(task));
                let ran = run(scratch, &model, ok).await;
                prop_assert_eq!(ran, ready, "the oldest that waits for nothing");
                if let Some(ran) = ran {
                    model.0[ran].status = if ok { Status::Completed } else { Status::Failed };
                }
            }
            Step::Cancel(at) => {
                let Some(at) = place(at).filter(|at| model.0[*at].status == Status::Pending) else { continue };
                scratch.ask(Cancel(model.0[at].id)).await;
                model.0[at].status = Status::Cancelled;
            }
            Step::Retry(at) => {
                let Some(at) = place(at).filter(|at| model.0[*at].status.is_terminal()) else { continue };
                let on = model.0[at].on.clone();
                add(scratch, &mut model, on, Some(at)).await?;
            }
            Step::Waive(at) => {
                let Some(at) = place(at) else { continue };
                scratch.ask(Amend { task: model.0[at].id, priority: None, run_at: None, waive: true }).await;
                model.0[at].waived |= model.waits(&model.0[at]);
            }
        }
        model.settle();
        while scratch.store.reader().holdings().await.expect("a read").any_unsettled {
            scratch.ask(Settle).await;
        }
        for known in &model.0 {
            let row = scratch.row(known.id).await;
            let held = row.held.as_deref() == Some(Hold::DEPENDENCIES);
            prop_assert_eq!(
                (row.status, held),
                (known.status.into(), model.waits(known)),
                "{:?} after {:?}",
                known,
                step
            );
        }
    }
    prop_assert_eq!(broken(scratch).await, Vec::<String>::new());
    Ok(())
}

/// Submits, and adds what was stored to the model.
async fn add(scratch: &Scratch, model: &mut Model, on: Vec<On>, retry_of: Option<usize>) -> Result<(), TestCaseError> {
    let resolved = model.resolved(&on);
    let stored = submit(scratch, model, &on, retry_of).await;
    prop_assert_eq!(stored.is_some(), resolved.is_some(), "{:?}", on);
    if let (Some(id), Some(on)) = (stored, resolved) {
        model.0.push(Known { id, status: Status::Pending, on, retry_of, waived: false });
        if let Some(old) = retry_of {
            model.repoint(old, model.0.len() - 1);
        }
    }
    Ok(())
}

/// Promises that the history breaks, but for those about results, which these tasks don't have.
async fn broken(scratch: &Scratch) -> Vec<String> {
    let (reader, mut audit, mut after) = (scratch.store.reader(), Audit::default(), 0);
    loop {
        let entries = reader.history(after).await.expect("a read");
        let Some(last) = entries.last() else { break };
        after = last.commit;
        entries.iter().for_each(|entry| audit.take(entry));
    }
    let standing = reader.standings(TaskId::from_u128(0)).await.expect("a read");
    let standing = standing.into_iter().map(|row| row.expect("a row")).collect();
    let broken = audit.finish(&AuditContext { standing, ..AuditContext::default() });
    broken.iter().filter(|broken| broken.promise != 15).map(ToString::to_string).collect()
}

/// The test, over one engine.
macro_rules! over {
    ($engine:ident, $cases:literal) => {
        mod $engine {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: $cases, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn dependents_go_as_their_dependencies_do(steps in prop::collection::vec(any_step(), 1..40)) {
                    actix::System::new().block_on(async { compare(&Scratch::$engine().await, steps).await })?;
                }
            }
        }
    };
}

over!(sqlite, 24);
over!(postgres, 12);
