//! A worker process's end of the socket to its supervisor.
//!
//! Hints only. When the link is gone, the worker goes on with what it does and tries to come
//! back; without an answer for a while, it drains and ends.

use std::path::PathBuf;
use std::time::Duration;

use actix::Addr;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::actor::WorkerActor;
use super::messages::{Drain, Hint, ReadStatus, StopNow, WorkerStatus};
use crate::ipc::{self, Incoming, Outgoing, PROTOCOL_VERSION, ToSupervisor, ToWorker};
use crate::process::BackOff;
use crate::telemetry::Vitals;
use domain::WorkerInstanceId;

/// Time between two heartbeats.
const BEAT: Duration = Duration::from_millis(500);
/// A supervisor that was restarted is back within seconds.
const ALONE_LIMIT: Duration = Duration::from_secs(60);
/// WorkerActor answers in microseconds; one that doesn't is no sign of life.
const ANSWER_LIMIT: Duration = Duration::from_millis(400);

/// Identity of this worker for its supervisor.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// The socket.
    pub path: PathBuf,
    /// Name.
    pub worker: String,
    /// Instance of the worker.
    pub holder: WorkerInstanceId,
    /// Token from the supervisor.
    pub token: SecretString,
}

/// Reason for which the link has ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// The supervisor said so: drain, at most for this time, or, where that is true, leave what runs to another worker.
    Drain(Duration, bool),
    /// The supervisor said so: stop now.
    Stop,
    /// There was no answer for long.
    Alone,
}

/// See the [module](self).
pub struct Link {
    settings: LinkSettings,
    worker: Addr<WorkerActor>,
    news: mpsc::Receiver<ToSupervisor>,
    /// State of this process's duties.
    vitals: Vitals,
}

impl Link {
    /// A link of this worker; `news` is what it passes up.
    #[must_use]
    pub const fn new(
        settings: LinkSettings,
        worker: Addr<WorkerActor>,
        news: mpsc::Receiver<ToSupervisor>,
        vitals: Vitals,
    ) -> Self {
        Self { settings, worker, news, vitals }
    }

    /// Keeps the link up, until the worker is to end. Beats go on while it drains: see
    /// [`LinkEnd`].
    pub async fn keep(mut self, ends: mpsc::Sender<LinkEnd>) {
        let (mut alone_since, mut back_off) = (Instant::now(), BackOff::default());
        loop {
            match ipc::connect(&self.settings.path).await {
                Ok((incoming, outgoing)) => {
                    if self.talk(incoming, outgoing, &ends).await {
                        alone_since = Instant::now();
                        back_off.reset();
                    }
                    tracing::warn!("The link is gone, going on without it");
                }
                Err(error) => tracing::debug!(%error, "Nobody answers the link"),
            }
            if alone_since.elapsed() > ALONE_LIMIT {
                ends.send(LinkEnd::Alone).await.unwrap_or_default();
                alone_since = Instant::now();
            }
            back_off.pause().await;
        }
    }

    /// Talks until the link is gone. Returns whether we were welcome.
    async fn talk(
        &mut self,
        mut incoming: Incoming<ToWorker>,
        mut outgoing: Outgoing<ToSupervisor>,
        ends: &mpsc::Sender<LinkEnd>,
    ) -> bool {
        let hello = ToSupervisor::Hello {
            version: PROTOCOL_VERSION,
            worker: self.settings.worker.clone(),
            holder: self.settings.holder,
            pid: std::process::id(),
            token: self.settings.token.clone(),
        };
        if outgoing.send(&hello).await.is_err() {
            return false;
        }
        // Frames are read by a task of their own: reading one is not to be cut off halfway.
        let (sender, mut frames) = mpsc::channel(16);
        let reader = tokio::spawn(async move {
            while let Some(frame) = incoming.next().await {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let mut welcome = false;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let sent = tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => {
                        welcome |= matches!(frame, ToWorker::Welcome { .. });
                        self.obey(frame, ends).await;
                        Ok(())
                    }
                    None => break,
                },
                _ = beat.tick() => self.beat(&mut outgoing).await,
                Some(news) = self.news.recv() => outgoing.send(&news).await,
            };
            if sent.is_err() {
                break;
            }
        }
        reader.abort();
        welcome
    }

    async fn beat(&self, outgoing: &mut Outgoing<ToSupervisor>) -> std::io::Result<()> {
        match self.worker.send(ReadStatus).timeout(ANSWER_LIMIT).await {
            Ok(status) => {
                let WorkerStatus { running, concurrency } = status;
                let beat = ToSupervisor::Beat { running, concurrency, failing: self.vitals.complaint() };
                outgoing.send(&beat).await
            }
            // No sign of life from the worker is none from us.
            Err(_) => Ok(()),
        }
    }

    async fn obey(&self, frame: ToWorker, ends: &mpsc::Sender<LinkEnd>) {
        match frame {
            // Full: a look is due anyway.
            ToWorker::Wake | ToWorker::Cancel { .. } => drop(self.worker.try_send(Hint)),
            ToWorker::Drain { limit_ms, hand_over } => {
                ends.send(LinkEnd::Drain(Duration::from_millis(limit_ms), hand_over)).await.unwrap_or_default();
            }
            ToWorker::Stop => ends.send(LinkEnd::Stop).await.unwrap_or_default(),
            ToWorker::Welcome { version } if version != PROTOCOL_VERSION => {
                tracing::info!(version, "The supervisor speaks another version");
            }
            ToWorker::Welcome { .. } | ToWorker::Unknown => {}
        }
    }
}

/// Drains that the end of a link asks for.
impl LinkEnd {
    /// Returns the drain with the longest time for running tasks, and whether they go on without the worker; as here
    /// where the supervisor doesn't say.
    #[must_use]
    pub fn drain(self, limit: Duration, hand_over: bool) -> Drain {
        match self {
            Self::Drain(limit, hand_over) => Drain { limit, hand_over },
            Self::Stop => Drain { limit: Duration::ZERO, hand_over: false },
            Self::Alone => Drain { limit, hand_over },
        }
    }

    /// True if it is to end at once.
    #[must_use]
    pub fn at_once(self) -> Option<StopNow> {
        (self == Self::Stop).then_some(StopNow)
    }
}
