//! The conversation that a new task goes on with.

use std::path::Path as FilePath;
use std::time::Duration;

use domain::SessionId;
use serde_json::json;
use wire::{Task, TaskSpec};

use super::folders::{folder, unreachable_folder};
use super::{Caller, Kind, Refusal, Service};
use crate::claude;
use crate::process;
use crate::queue::{Find, HasSession, Resumes};

/// Transcripts of sessions are found and read within this time.
const TRANSCRIPT_LIMIT: Duration = Duration::from_secs(5);

/// A conversation that a new task goes on with.
pub struct Conversation {
    /// The session, and whether it is forked.
    pub resumes: Resumes,
    /// Folder in which it is held; not known where its worker is on another machine.
    held_in: Option<String>,
    field: &'static str,
    /// True if it goes on in another folder.
    moves: bool,
}

impl Conversation {
    /// The conversation that a request names, if it can be gone on with.
    pub async fn of(service: &Service, caller: &Caller, spec: &TaskSpec) -> Result<Option<Self>, Refusal> {
        let sdk = &spec.options.sdk;
        let fork = sdk.fork_session == Some(true);
        let (field, task, session) = match (sdk.continue_from_task_id, sdk.resume_session) {
            (Some(id), _) => {
                let field = "options.sdk.continueFromTaskId";
                let task = service.queue.ask(Find(id)).await?.filter(|task| caller.sees(&task.key));
                let task = task.ok_or_else(|| Refusal::invalid(field, format!("there is no task {id}")))?;
                let session = session_of(&task, field)?;
                (field, Some(task), session)
            }
            (None, Some(session)) => {
                let field = "options.sdk.resumeSession";
                if let Some(key) = caller.own()
                    && !service.queue.ask(HasSession { key, session }).await?
                {
                    return Err(Refusal::invalid(field, format!("no task of this key has used session {session}")));
                }
                (field, None, session)
            }
            (None, None) => return Ok(None),
        };
        let key = task.as_ref().map_or(caller.name(), |task| &task.key).to_owned();
        let (homes, of_task) = (service.homes.clone(), task.as_ref().map(|task| task.id));
        let look = move || claude::transcript(&homes.config_dirs(&key, of_task), session);
        let written = process::blocking(TRANSCRIPT_LIMIT, look).await;
        let written = written.map_err(|error| unreachable_folder(field, &error))?;
        let begun = written.as_ref().is_some_and(claude::Transcript::has_messages);
        if !begun && service.has_local_workers {
            return Err(Refusal::invalid(field, format!("nothing was said in session {session} yet, or it is gone")));
        }
        let known = written.and_then(|written| written.directory().map(|folder| folder.display().to_string()));
        let of_task = task.as_ref().and_then(|task| task.working_directory.clone());
        let resumes = Resumes { session, fork, task: task.map(|task| task.id) };
        let moves = sdk.move_session == Some(true);
        Ok(Some(Self { resumes, held_in: of_task.or(known), field, moves }))
    }
}

fn session_of(task: &Task, field: &str) -> Result<SessionId, Refusal> {
    if !task.status.is_terminal() {
        let message = format!("task {} is {}: wait for its end, or send it a message", task.id, task.status);
        return Err(Refusal::new(Kind::Conflict, "TASK_NOT_ENDED", message).with(json!({ "taskId": task.id })));
    }
    task.attempted.session_id.ok_or_else(|| Refusal::invalid(field, format!("task {} never had a session", task.id)))
}

impl Conversation {
    /// Returns the folder of the task: the CLI finds a session only from the folder in which it was begun.
    pub async fn directory(
        &self,
        service: &Service,
        caller: &Caller,
        named: Option<String>,
    ) -> Result<String, Refusal> {
        match (&self.held_in, named) {
            (_, Some(named)) if self.moves => Ok(named),
            (_, None) if self.moves => {
                let rule = "must name the folder that the session is moved to (options.sdk.moveSession)";
                Err(Refusal::invalid("context.workingDirectory", rule))
            }
            (Some(held_in), Some(named)) if *held_in != named => {
                let rule = format!(
                    "this session works only from {held_in}; name that folder, or none, or set options.sdk.moveSession: true"
                );
                Err(Refusal::invalid("context.workingDirectory", rule).with(json!({
                    "field": "context.workingDirectory", "workingDirectory": held_in,
                })))
            }
            // The folder of a task that named none.
            (Some(held_in), _) if FilePath::new(held_in).starts_with(&service.work_dir) => Ok(held_in.clone()),
            (Some(held_in), _) if FilePath::new(held_in).starts_with(&service.worktrees) => {
                if FilePath::new(held_in).is_dir() {
                    return Ok(held_in.clone());
                }
                Err(Refusal::invalid(self.field, "its worktree was removed; keep it with options.worktree.keep"))
            }
            (Some(held_in), _) => folder(service, caller, self.field, held_in).await.map_err(|error| error.and(
                "; where it was moved or renamed, name the new one as context.workingDirectory with options.sdk.moveSession: true",
            )),
            (None, Some(named)) => Ok(named),
            (None, None) => {
                Err(Refusal::invalid("context.workingDirectory", "must name the folder that the session was begun in"))
            }
        }
    }
}
