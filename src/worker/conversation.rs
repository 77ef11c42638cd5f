//! The conversation of an attempt: the session that it goes on with, and the first message.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::set_up::{NotReady, WorkerContext};
use crate::claude::{self, Session};
use crate::queue::{ConversationState, Queue, ReadRules, ReadTalk, ReadTranscript};
use domain::{Failure, FailureClass, SessionId};
use wire::{PermissionMode, Task};

/// First message to a session that was interrupted: the instruction stands above it.
pub const CONTINUE: &str = "The work on the task above was interrupted. Continue where it stopped.";

/// Reads the transcripts that the attempt may go on with, where they are stored: another machine may have written them.
pub async fn stored_transcripts(
    tools: &WorkerContext,
    queue: &Queue,
    task: &Task,
) -> Result<Vec<(SessionId, String)>, NotReady> {
    let mut stored = Vec::new();
    if !tools.mirrors || (task.attempt == 1 && task.resume_session_id.is_none()) {
        return Ok(stored);
    }
    for session in task.resume_session_id.into_iter().chain(task.attempted.session_id) {
        let read = queue.ask(ReadTranscript(session)).await;
        let read = read.map_err(|error| {
            NotReady::Release(format!("can't read the transcript: {error}"), Duration::from_secs(1))
        })?;
        stored.push((session, read));
    }
    Ok(stored)
}

/// Writes stored transcripts where the CLI looks for them. What is longer there stays: it is this machine's own, and its
/// end may not have been stored.
pub fn restore(transcripts: &[(SessionId, String)], configs: &[PathBuf], directory: &Path) {
    for (session, lines) in transcripts.iter().filter(|(_, lines)| !lines.is_empty()) {
        match claude::restore_transcript(configs, *session, directory, lines) {
            Ok(true) => tracing::info!(%session, "A session goes on from what is stored of it"),
            Ok(false) => {}
            // Whether it is needed is decided by what is there.
            Err(error) => {
                tracing::warn!(%session, error = crate::telemetry::chain(&error), "A session can't be written");
            }
        }
    }
}

/// Copies the conversation to where the CLI looks for it: into the home of the task, and, where the client asked for
/// that, to the name of this folder.
pub fn bring_session(task: &Task, configs: &[PathBuf], directory: &Path) -> Result<(), NotReady> {
    for session in task.resume_session_id.into_iter().chain(task.attempted.session_id) {
        match claude::bring_home(configs, session) {
            Ok(()) => {}
            // Whether it is needed is decided by what is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%session, error = crate::telemetry::chain(&error), "A session can't be copied");
            }
        }
    }
    let wanted = task.spec.options.sdk.move_session == Some(true) && task.attempt == 1;
    let Some(session) = task.resume_session_id.filter(|_| wanted) else {
        return Ok(());
    };
    claude::move_transcript(configs, session, directory).map_err(|error| {
        let message = format!("the session {session} can't be moved to {}: {error}", directory.display());
        NotReady::Fail(Failure::new(FailureClass::Invalid, "UNKNOWN_SESSION", message))
    })
}

/// The conversation of the attempt before, where the CLI wrote it down; else the one that the task
/// goes on with, or its own.
pub fn session(configs: &[PathBuf], task: &Task) -> Session {
    let own = task.attempted.session_id.unwrap_or(task.id.own_session());
    let transcript = claude::transcript(configs, own);
    match (transcript, task.resume_session_id) {
        (Some(written), _) if written.has_messages() => Session::Resume(own),
        (_, Some(from)) if from == own => Session::Resume(own),
        (None, Some(from)) => Session::Fork { from, id: own },
        (None, None) => Session::New(own),
        // It was begun and says nothing: the CLI neither resumes it nor takes its id again.
        (Some(_), Some(from)) => Session::Fork { from, id: SessionId::new() },
        (Some(_), None) => Session::New(SessionId::new()),
    }
}

/// Reads the state of an earlier attempt's conversation.
pub async fn talk(queue: &Queue, task: &Task) -> Result<ConversationState, NotReady> {
    if task.attempt == 1 {
        return Ok(ConversationState::default());
    }
    let unknown = |error| NotReady::Release(format!("can't read what was said: {error}"), Duration::from_secs(1));
    queue.ask(ReadTalk(task.id)).await.map_err(unknown)
}

/// Rules that are allowed: while it ran before, and, where it would ask people, for tasks like it.
pub async fn rules(
    tools: &WorkerContext,
    queue: &Queue,
    task: &Task,
    before: &[String],
) -> Result<Vec<String>, NotReady> {
    if tools.mode_of(task) != PermissionMode::Default {
        return Ok(before.to_vec());
    }
    let stored = queue.ask(ReadRules(Some(task.key.clone()))).await.map_err(|error| {
        NotReady::Release(format!("can't read the rules of its key: {error}"), Duration::from_secs(1))
    })?;
    let mut allowed = before.to_vec();
    for row in stored {
        let is_meant = row.scope().includes(&task.spec.tags, task.spec.context.base());
        // The operator may allow less than when it was stored.
        if is_meant && tools.claude.max_permission_mode.covers(&row.rule) && !allowed.contains(&row.rule) {
            allowed.push(row.rule);
        }
    }
    Ok(allowed)
}

/// Returns the first message, and its number where a client has sent it.
pub fn initial_prompt(task: &Task, session: Session, talk: ConversationState) -> (String, Option<i64>) {
    let begins_anew = task.attempt == 1 || !matches!(session, Session::Resume(_));
    match (talk.current, talk.next) {
        // Messages follow in turns of their own.
        _ if begins_anew => (task.spec.instruction.clone(), None),
        // Whether the session has heard of it is not known.
        (Some((id, text)), _) => (format!("{CONTINUE}\n\nThe task: {text}"), Some(id)),
        (None, Some((id, text))) if talk.idle => (text, Some(id)),
        (None, _) if task.resume_session_id.is_some() => {
            (format!("{CONTINUE}\n\nThe task: {}", task.spec.instruction), None)
        }
        (None, _) => (CONTINUE.to_owned(), None),
    }
}
