//! The messages of [`QueueActor`], and what it does at each.

use std::sync::Arc;
use std::time::Instant;

use actix::dev::MessageResponse;
use actix::prelude::*;
use tokio::sync::oneshot;

use super::{ParkedPoll, QueueActor};
use crate::queue::commands::{Change, PendingAnswer};
use crate::queue::files::{
    CountFileBytes, FindUnnamedBlobs, PutFile, ReadArtifact, ReadTaskFiles, RemoveFile, RemoveIdleFiles,
};
use crate::queue::hooks::{
    AddWebhook, ClaimDeliveries, EnableWebhook, NextDelivery, ReadDeliveries, ReadWebhooks, RemoveWebhook,
    ReportDelivery, RetryDelivery,
};
use crate::queue::keys::{
    CreateKey, FindOwner, HasSession, NoteAudit, ReadAudit, ReadKeys, RevokeKey, RotateKey, TouchKey,
};
use crate::queue::messages::{
    Adopt, Amend, Append, Beat, Cancel, Claim, DrainWorker, Draining, Expire, FindAdopted, FindHandover, FindHoldings,
    Finish, HandOver, HolderDied, Probe, Prune, QueueError, ReadLimits, Release, Renew, SetConcurrency, SetLimit,
    SetPaused, Settle, Submit, SubmitAll, TakeBackOrphan, TidyShares, Unpark, WorkerGone,
};
use crate::queue::poll::{FlushPoll, PollQueue, PollReply};
use crate::queue::races::{PickWinner, ReadRace, SubmitRace};
use crate::queue::reads::{
    self, Explain, Find, HasEnded, ReadBacklog, ReadClock, ReadHistory, ReadPatch, ReadStats, ReadTaskHistory,
    ReadTranscript, ReadWorkers,
};
use crate::queue::rules::{AddRule, ReadAnswered, ReadRules, RemoveRule};
use crate::queue::schedules::{
    DueSchedules, FindSchedule, Fire, NextFiring, PutSchedule, ReadSchedules, RemoveSchedule, Replan,
};
use crate::queue::secrets::{PutSecret, ReadSecrets, RemoveSecret, ResealSecret};
use crate::queue::talk::{Answer, Ask, MarkLooping, Progress, ReadQuestions, ReadTalk, Say};
use crate::store::views::{
    FindCommit, FindFile, LastTask, ListConversations, ListFiles, ListQuestions, ListTaskIds, ListTasks, Poll,
    ReadArtifacts, ReadDependencies, ReadEventPage, ReadEvents, ReadGraph, ReadRuns, ReadUsage,
};
use crate::telemetry::Duty;

impl<C> MessageResponse<QueueActor, C> for PendingAnswer<C>
where
    C: Change + Message<Result = Result<<C as Change>::Answer, QueueError>>,
{
    fn handle(self, _: &mut Context<QueueActor>, sender: Option<oneshot::Sender<C::Result>>) {
        self.send_to(sender);
    }
}

macro_rules! changes {
    ($($message:ty),* $(,)?) => {
        $(impl Handler<$message> for QueueActor {
            type Result = PendingAnswer<$message>;

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) -> Self::Result {
                self.change(message, ctx)
            }
        })*
    };
}

changes!(
    Submit,
    SubmitAll,
    Amend,
    Claim,
    Renew,
    Append,
    Finish,
    Release,
    Cancel,
    HolderDied,
    Expire,
    HandOver,
    Adopt,
    TakeBackOrphan,
    Beat,
    Draining,
    Prune,
    WorkerGone,
    DrainWorker,
    Ask,
    Progress,
    Answer,
    Say,
    MarkLooping,
    SetPaused,
    SetConcurrency,
    SetLimit,
    AddWebhook,
    RemoveWebhook,
    ClaimDeliveries,
    ReportDelivery,
    RetryDelivery,
    PutSchedule,
    RemoveSchedule,
    Fire,
    Replan,
    Unpark,
    EnableWebhook,
    CreateKey,
    RotateKey,
    RevokeKey,
    TouchKey,
    NoteAudit,
    Settle,
    TidyShares,
    PutFile,
    RemoveFile,
    RemoveIdleFiles,
    PutSecret,
    AddRule,
    RemoveRule,
    SubmitRace,
    PickWinner,
    ResealSecret,
    RemoveSecret,
);

impl Handler<PollQueue> for QueueActor {
    type Result = ResponseActFuture<Self, <PollQueue as Message>::Result>;

    /// Claims what a poll finds at once, in one go with the commands of others.
    fn handle(&mut self, look: PollQueue, _: &mut Context<Self>) -> Self::Result {
        let store = Arc::clone(&self.store);
        let polled = async move {
            let poll =
                Poll { holder: look.holder, credential: &look.credential, heard: &look.heard, labels: &look.labels };
            let polled = store.poll(&poll).await?;
            Ok((PollReply::of(&look.leases, &look.budgets, polled), look.claim))
        };
        Box::pin(polled.into_actor(self).then(|polled, this, ctx| this.answer_look(polled, ctx).into_actor(this)))
    }
}

impl Handler<FlushPoll> for QueueActor {
    type Result = ();

    fn handle(&mut self, flush: FlushPoll, _: &mut Context<Self>) {
        let is_old = |parked: &mut ParkedPoll| parked.until <= Instant::now();
        let parked = self.standing.take_if(|parked| flush == FlushPoll::Now || is_old(parked));
        if let Some(ParkedPoll { looked, answer, .. }) = parked {
            drop(answer.send(PollReply { is_old: flush == FlushPoll::IfOld, ..looked }));
        }
    }
}

impl Handler<Probe> for QueueActor {
    type Result = ();

    /// Tells how commits go. While one is under way it tells more than any probe.
    fn handle(&mut self, _: Probe, _: &mut Context<Self>) {
        if !self.committing {
            self.vitals.note(Duty::Commits, &self.store.probe());
        }
        match self.store.shortage() {
            Some(shortage) => self.vitals.failed(Duty::Disk, &shortage),
            None => self.vitals.well(Duty::Disk),
        }
    }
}

impl Handler<HasEnded> for QueueActor {
    type Result = ResponseFuture<<HasEnded as Message>::Result>;

    fn handle(&mut self, ended: HasEnded, _: &mut Context<Self>) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move { Ok(store.has_ended(ended.0).await?) })
    }
}

impl Handler<ReadEvents> for QueueActor {
    type Result = ResponseFuture<<ReadEvents as Message>::Result>;

    fn handle(&mut self, read: ReadEvents, _: &mut Context<Self>) -> Self::Result {
        let (store, reader, vitals) = (Arc::clone(&self.store), Arc::clone(&self.reader), self.vitals.clone());
        let last_page = self.last_page.clone();
        Box::pin(async move {
            let commits = match last_page.find(&read) {
                Ok(page) => return Ok(page),
                Err(commits) => commits,
            };
            let page = match store.few_events(&read).await {
                Ok(Some(page)) => {
                    last_page.keep(read, &page, commits);
                    return Ok(page);
                }
                Ok(None) => reader.events(read).await,
                Err(error) => Err(error),
            };
            vitals.note(Duty::Events, &page);
            Ok(page?)
        })
    }
}

macro_rules! reads {
    ($($message:ty => |$reader:ident, $asked:ident| $read:expr;)*) => {
        $(impl Handler<$message> for QueueActor {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, $asked: $message, _: &mut Context<Self>) -> Self::Result {
                let $reader = Arc::clone(&self.reader);
                Box::pin(async move { Ok($read.await?) })
            }
        })*
    };
}

reads! {
    ReadClock => |reader, _read| reader.now();
    ReadPatch => |reader, read| reader.patch(read.0);
    Find => |reader, find| reader.task(find.0);
    ReadQuestions => |reader, read| reader.questions(read.0);
    ListQuestions => |reader, list| reader.open_questions(list);
    ReadTalk => |reader, read| reader.talk(read.0);
    Explain => |reader, explain| reader.explain(explain.0);
    ReadTranscript => |reader, read| reader.transcript(read.0);
    ListTasks => |reader, list| reader.tasks(list);
    ReadEventPage => |reader, read| reader.event_page(read);
    ReadHistory => |reader, read| reader.history(read.0);
    ReadTaskHistory => |reader, read| reads::history_of(&*reader, read);
    FindCommit => |reader, find| reader.find_commit(find);
    ListTaskIds => |reader, list| reader.task_ids(list);
    ListConversations => |reader, list| reader.conversations(list);
    ReadStats => |reader, read| reader.stats(read.0);
    ReadBacklog => |reader, _read| reader.backlog();
    FindOwner => |reader, find| reader.owner(find.0);
    HasSession => |reader, asked| reader.has_session(asked.key, asked.session);
    ReadKeys => |reader, _read| reader.api_keys();
    ReadAudit => |reader, read| reader.audit_log(read.before, read.limit);
    ReadUsage => |reader, read| reader.usage(read);
    ReadWorkers => |reader, _read| reader.workers();
    ReadLimits => |reader, _read| reader.limits();
    ReadWebhooks => |reader, read| reader.webhooks(read.0);
    ReadDeliveries => |reader, read| reader.deliveries(read.0);
    NextFiring => |reader, _read| reader.next_firing();
    NextDelivery => |reader, _read| reader.next_delivery();
    DueSchedules => |reader, _read| reader.due_schedules();
    ReadSchedules => |reader, read| reader.schedules(read.0);
    FindSchedule => |reader, find| reader.schedule(find.0);
    ReadRuns => |reader, read| reader.runs(read);
    LastTask => |reader, last| reader.last_task(last);
    FindHoldings => |reader, _find| reader.holdings();
    FindAdopted => |reader, find| reader.adopted(find.0);
    FindHandover => |reader, find| reader.handed_over(find.0);
    ReadDependencies => |reader, read| reader.dependencies(read);
    ReadGraph => |reader, read| reader.graph(read);
    ReadRace => |reader, read| reader.race(read.0);
    FindFile => |reader, find| reader.file(find);
    ListFiles => |reader, list| reader.files(list);
    ReadTaskFiles => |reader, read| reader.files_of_task(read.0);
    ReadArtifacts => |reader, read| reader.artifacts(read);
    ReadArtifact => |reader, read| reader.artifact(read.task, read.path);
    ReadRules => |reader, read| reader.rules(read.0);
    ReadAnswered => |reader, read| reader.answered(read.0);
    ReadSecrets => |reader, read| reader.secrets(read.0);
    CountFileBytes => |reader, _count| reader.file_bytes();
    FindUnnamedBlobs => |reader, find| reader.unnamed_blobs(find.0);
}
