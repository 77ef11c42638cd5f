//! Frames of the CLI, and what follows from them.

use std::time::Instant;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::effect::{Effect, StopReason, ToCli};
use super::{HOPELESS, Machine, RunPhase};
use crate::claude::{self, ASK_USER, Ending, Frame, FrameKind, McpServer};
use crate::queue::Ask;
use crate::worker::mcp;
use domain::{EventKind, NewEvent, session_rules};
use wire::Background;

impl Machine {
    /// Takes a frame.
    pub(super) fn take(&mut self, frame: Frame) {
        self.heard = self.now.instant;
        self.observed.note(&frame);
        match &frame.kind {
            FrameKind::Partial { text } if text.is_empty() => return,
            FrameKind::Partial { text } => return self.emit(Effect::Partial(text.clone())),
            FrameKind::Mirror { session, entries } => {
                return self.emit(Effect::Transcript { session: *session, entries: entries.clone() });
            }
            FrameKind::AsksOther { request_id } => self.tell(ToCli::Refuse(request_id.clone())),
            FrameKind::TakesBack { request_id } => self.take_back(request_id),
            _ => {}
        }
        if let Some(kind) = frame.event_kind() {
            self.emit(Effect::Add(NewEvent { kind, data: frame.event_data() }));
        }
        self.watch_for_loops(&frame.kind);
        match frame.kind {
            FrameKind::Result(_) => {
                self.note_result();
                if matches!(self.phase, RunPhase::Turn | RunPhase::Background { .. } | RunPhase::Connecting { .. }) {
                    self.turn_is_over();
                }
            }
            FrameKind::Asks { request_id, tool, input, exact_input, suggestions } if !self.is_ending() => {
                self.asks(request_id, tool, input, exact_input, suggestions);
            }
            FrameKind::ApiRetry(retry) if claude::is_hopeless(retry.status, &retry.error) => {
                self.hopeless += 1;
                if self.hopeless == HOPELESS {
                    self.observed.judge_by_status(retry.status, &retry.error);
                    self.end(StopReason::ItsOwn(Ending::Judged));
                }
            }
            FrameKind::McpStatus(servers) => self.connected(&servers),
            // The CLI tells the model what has ended in the background.
            FrameKind::Init { .. } if matches!(self.phase, RunPhase::Background { .. }) => self.phase = RunPhase::Turn,
            FrameKind::Init { .. } if self.phase == RunPhase::Verifying => {
                self.emit(Effect::EndCheck);
                self.phase = RunPhase::Turn;
            }
            FrameKind::BackgroundEnded { .. } if !self.observed.has_background() => {
                if let RunPhase::Background { empty } = &mut self.phase {
                    empty.get_or_insert(self.now.instant);
                }
            }
            FrameKind::BackgroundStarted { .. } => {
                if let RunPhase::Background { empty } = &mut self.phase {
                    *empty = None;
                }
            }
            _ => {}
        }
    }

    /// Marks a model that goes round in circles, and interrupts it where that is wanted: as a client would, so that it
    /// is seen, and outlives this process.
    fn watch_for_loops(&mut self, kind: &FrameKind) {
        let signs: Vec<String> = match kind {
            FrameKind::Assistant { calls, .. } => {
                calls.iter().filter_map(|call| self.guard.called(call.clone())).collect()
            }
            FrameKind::User { results } => {
                results.iter().filter_map(|(id, failed)| self.guard.answered(id, *failed)).collect()
            }
            _ => return,
        };
        for sign in signs {
            let data = json!({ "message": format!("it goes round in circles: {sign}"), "looping": sign });
            self.emit(Effect::Looping(sign.clone()));
            self.emit(Effect::Add(NewEvent::new(EventKind::Log, &data)));
            self.emit(Effect::Warn("A task goes round in circles", sign));
            if let Some(message) = self.config.loop_message.clone().filter(|_| !self.is_ending()) {
                self.emit(Effect::Say(None));
                self.emit(Effect::Say(Some(message)));
            }
        }
    }

    /// The CLI asks whether a tool may be used: people are asked, or it is refused at once.
    fn asks(
        &mut self,
        request_id: String,
        tool: String,
        input: Value,
        exact_input: Option<Box<RawValue>>,
        suggestions: Value,
    ) {
        if tool != ASK_USER && !self.config.asks_for_tools {
            let decision = claude::not_allowed(&tool);
            let (cli_id, input, exact_input, rules) = (request_id, Value::Null, None, Vec::new());
            return self.tell(ToCli::Answer { cli_id, decision, input, exact_input, rules });
        }
        let (key, limit) = (self.config.key, self.config.limits.answer);
        let rules = session_rules(&tool, &suggestions);
        self.questions.ask(request_id.clone(), input.clone(), exact_input, rules, self.now.instant);
        self.emit(Effect::Ask(Box::new(Ask { key, request_id, tool, input, suggestions, limit })));
    }

    /// Says what of a result could not be understood.
    fn note_result(&mut self) {
        let unread = self.observed.unread().join(", ");
        if !unread.is_empty() {
            self.log(&format!("fields of the result that can't be read: {unread}"));
            self.emit(Effect::Warn("Fields of the result can't be read", unread));
        }
        if self.observed.spent().set_aside {
            let what = "the CLI reported a cost that can't be one; it is set aside";
            self.log(what);
            self.emit(Effect::Warn("A cost can't be read", what.to_owned()));
        }
    }

    /// Says what ran in the background and was ended. Where the task goes on elsewhere, it was not done.
    pub(super) fn note_background(&mut self) {
        if !self.observed.has_background() {
            return;
        }
        let goes_on = matches!(self.why, StopReason::Shutdown | StopReason::Waiting | StopReason::Lost)
            && self.config.background == Background::Wait;
        let ended = if goes_on { Vec::new() } else { self.observed.end_background() };
        let what = if ended.is_empty() { "it goes on with the task".to_owned() } else { ended.join("; ") };
        let data = json!({ "message": format!("ended in the background: {what}"), "backgroundEnded": ended });
        self.emit(Effect::Add(NewEvent::new(EventKind::Log, &data)));
        self.emit(Effect::Warn("What ran in the background was ended", what));
    }

    /// Asks again how the MCP servers stand, for a while.
    pub(super) fn ask_again(&mut self, since: Instant) {
        if self.now.instant.saturating_duration_since(since) >= mcp::LIMIT {
            self.observed.judge("MCP_UNAVAILABLE", self.config.gate.too_late());
            return self.end(StopReason::ItsOwn(Ending::Judged));
        }
        self.tell(ToCli::McpStatus);
        self.phase = RunPhase::Connecting { since, ask_at: self.now.instant + mcp::ASK_AGAIN };
    }

    /// The CLI says how the MCP servers stand.
    fn connected(&mut self, servers: &[McpServer]) {
        let RunPhase::Connecting { since, .. } = self.phase else { return };
        match self.config.gate.judge(servers, self.now.instant.saturating_duration_since(since)) {
            mcp::Verdict::Wait => {}
            mcp::Verdict::Unavailable(why) => {
                self.observed.judge("MCP_UNAVAILABLE", why);
                self.end(StopReason::ItsOwn(Ending::Judged));
            }
            mcp::Verdict::Go(missing) => {
                for server in missing {
                    self.log(&format!("warning: the task runs without {server}"));
                    self.emit(Effect::Warn("A task runs without an MCP server", server));
                }
                self.phase = RunPhase::Turn;
                if let Some((text, files)) = self.first.take() {
                    self.tell(ToCli::Instruct { text, files });
                }
            }
        }
    }
}
