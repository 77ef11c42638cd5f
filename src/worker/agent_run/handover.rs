//! An attempt that goes from one worker to the next: leaving it, and taking it over.

use std::time::{Duration, Instant};

use super::super::attempt::{About, Attempt, Carried, Config, Ended, Parts, ToolSpans};
use super::super::check::Checker;
use super::super::messages::RunHeld;
use super::super::outbox::Outbox;
use super::super::secrets;
use super::super::set_up::NotReady;
use super::{AgentRun, Following, RunCommand, counted, sweep};
use crate::claude::{HeldRun, Offer};
use crate::process;
use crate::proxy::Pass;
use crate::queue::Release;
use crate::telemetry::chain;
use crate::telemetry::traces::Span;
use domain::{ReleaseReason, Spent};

/// What has become of an attempt that was to be handed over.
pub enum Handed {
    /// Its shim holds it.
    Held(HeldRun),
    /// It stays with this worker.
    Kept(Box<Attempt>),
    /// It has ended meanwhile.
    Ended(Box<Ended>),
}

impl AgentRun {
    /// Leaves the process with its shim, behind all that it has said so far.
    pub(super) async fn hand_over(&self, mut attempt: Attempt, of: &Following) -> Handed {
        process::barrier("run-hand-over");
        let pass = match of.pass.as_ref().map(Pass::to_be_left).transpose() {
            Ok(pass) => pass,
            Err(error) => {
                tracing::warn!(error = chain(&error), "An attempt can't be handed over");
                return Handed::Kept(Box::new(attempt));
            }
        };
        if !attempt.store_all().await {
            return Handed::Kept(Box::new(attempt));
        }
        let about = About {
            session: of.session,
            directory: of.directory.clone(),
            secrets: of.secrets.folder.clone(),
            ran_ms: i64::try_from(of.began.elapsed().as_millis()).unwrap_or(i64::MAX),
        };
        match Box::pin(attempt.hold(&self.tools.handovers, about, pass)).await {
            Ok(held) => Handed::Held(held),
            Err(ended) => {
                if !ended.exit.gone {
                    sweep(self.assignment.key.task, Some(of.session)).await;
                }
                Handed::Ended(Box::new(ended))
            }
        }
    }

    /// Waits until the store knows that the attempt is handed over, and leaves it.
    pub(super) async fn leave(&mut self, held: HeldRun, mut of: Following) {
        let key = self.assignment.key;
        process::barrier("run-held");
        // Closed while the actor restarts: then it ends with this process.
        self.held.send(RunHeld(key)).await.unwrap_or_default();
        loop {
            match self.commands.recv().await {
                Some(RunCommand::Extend(until)) => held.extend(until),
                Some(RunCommand::LetGo(until)) => {
                    process::barrier("run-let-go");
                    match held.let_go(until).await {
                        Ok(()) => {
                            of.secrets.leave();
                            tracing::info!("The attempt runs on, for another worker");
                        }
                        Err(error) => tracing::warn!(error = chain(&error), "An attempt could not be left"),
                    }
                    return;
                }
                // Its shim ends the process tree.
                Some(RunCommand::Lost) => return tracing::info!("Task is not ours any more"),
                Some(RunCommand::Shutdown) | None => break,
                // What was said comes again, to the next worker.
                Some(RunCommand::Hear(_) | RunCommand::Limit(_) | RunCommand::Draining | RunCommand::HandOver) => {}
            }
        }
        drop(held);
        sweep(key.task, Some(of.session)).await;
        let spent = counted(&mut of.pass).await.spent.unwrap_or(Spent::NONE);
        let session_id = Some(of.session);
        self.release(Release { session_id, spent, ..self.giving_back(ReleaseReason::Shutdown) }).await;
    }

    /// Takes over an attempt as another worker has left it.
    pub async fn run_adopted(mut self, mut offer: Offer, carried: Carried) {
        let task = &self.assignment.task;
        self.news.started(task.id);
        let About { session, directory, secrets, ran_ms } = carried.about;
        let given = secrets::take_up(&self.tools, &self.queue, task, secrets).await;
        let pass = offer.pass().and_then(|pass| {
            // Without it the CLI can't ask, and what it has spent is not known.
            Pass::taken(pass).inspect_err(|error| tracing::error!(error = chain(error), "A pass is lost")).ok()
        });
        let run = match given {
            // A worker of an older version, which knows no checks.
            Ok(_) if task.spec.verify.is_some() && carried.check.is_none() => {
                Err("its work can't be checked".to_owned())
            }
            Ok(given) => offer.take(carried.run, self.deadline).map(|run| (run, given)).map_err(|error| chain(&error)),
            Err(NotReady::Release(why, _)) => Err(why),
            Err(NotReady::Fail(failure)) => Err(failure.message),
        };
        match run {
            Ok((run, secrets)) => {
                process::barrier("run-adopted");
                let outbox = Outbox::open(self.queue.clone(), self.assignment.key, session, carried.outbox);
                let config = Config::of(self.assignment.key, &self.assignment.task, &self.tools);
                let state = (carried.machine, carried.estimate);
                let tool_spans = ToolSpans::new(!self.tools.traces.from_cli);
                let checker = Checker::of(&self.tools, &self.assignment.task, carried.check);
                let (news, deadline) = (self.news.clone(), self.deadline);
                let parts = Parts { outbox, config, news, tools: tool_spans, checker, deadline };
                let attempt = Attempt::resumed(run, parts, state);
                let mut agent = Span::of_agent(self.assignment.task.spec.options.sdk.model.as_deref());
                agent.began(session, false);
                let ran = Duration::from_millis(ran_ms.unsigned_abs());
                let began = Instant::now().checked_sub(ran).unwrap_or_else(Instant::now);
                let of = Following { session, directory, began, pass, secrets, recipe: None, agent };
                Box::pin(self.follow(attempt, of)).await;
            }
            Err(why) => {
                sweep(self.assignment.key.task, Some(session)).await;
                let spent = counted(&mut { pass }).await.spent.unwrap_or(Spent::NONE);
                let detail = Some(format!("the attempt can't be taken over: {why}"));
                let session_id = Some(session);
                tracing::warn!(why, "An attempt can't be taken over");
                self.release(Release { detail, session_id, spent, ..self.giving_back(ReleaseReason::SetUpFailed) })
                    .await;
            }
        }
        self.news.ended(self.assignment.key.task);
    }
}
