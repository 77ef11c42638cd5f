//! What is asked, answered and said goes to the store here, in order, beside the frames: the
//! attempt goes on reading while it is written.

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::queue::{Ask, Asked, Progress, Queue, Stale, Step};
use domain::LeaseKey;

/// An attempt asks and says a few things at a time.
const AHEAD: usize = 64;

/// What is to be written.
enum Paper {
    /// A question, and the CLI's name for it.
    Ask(Box<Ask>),
    /// What became of something.
    Progress(Progress),
}

/// A question that is stored.
#[derive(Debug)]
pub struct Filed {
    /// The CLI's name for it.
    pub cli_id: String,
    /// As the store has it.
    pub asked: Asked,
}

/// The way to the store.
pub struct Desk {
    key: LeaseKey,
    papers: mpsc::Sender<Paper>,
    filed: mpsc::Receiver<Filed>,
    writer: JoinHandle<()>,
    /// Answered when the store says that the task is not ours any more.
    lost: oneshot::Receiver<()>,
}

impl Desk {
    /// The desk of this attempt.
    pub fn open(queue: Queue, key: LeaseKey) -> Self {
        let (papers, receiver) = mpsc::channel(AHEAD);
        let (sender, filed) = mpsc::channel(AHEAD);
        let (lost_sender, lost) = oneshot::channel();
        let writer = tokio::spawn(write(queue, receiver, sender, lost_sender));
        Self { key, papers, filed, writer, lost }
    }

    /// Files a question; [`next`](Self::next) tells when it is stored.
    pub async fn ask(&self, ask: Ask) {
        // Closed means that the task is lost, which `next` tells.
        self.papers.send(Paper::Ask(Box::new(ask))).await.unwrap_or_default();
    }

    /// Writes down what became of something.
    pub async fn note(&self, step: Step) {
        self.papers.send(Paper::Progress(Progress { key: self.key, step })).await.unwrap_or_default();
    }

    /// The next question that was stored; `None` when the task is somebody else's. May be dropped
    /// and called again.
    pub async fn next(&mut self) -> Option<Filed> {
        tokio::select! {
            Some(filed) = self.filed.recv() => Some(filed),
            Ok(()) = &mut self.lost => None,
            else => std::future::pending().await,
        }
    }

    /// Waits until all is stored.
    pub async fn close(self) {
        drop(self.papers);
        drop(self.filed);
        if let Err(error) = self.writer.await {
            tracing::error!(error = crate::telemetry::chain(&error), "the writer of a desk failed");
        }
    }
}

async fn write(queue: Queue, mut papers: mpsc::Receiver<Paper>, filed: mpsc::Sender<Filed>, lost: oneshot::Sender<()>) {
    while let Some(paper) = papers.recv().await {
        let stored = match &paper {
            Paper::Ask(ask) => match queue.insist(&**ask, "a question").await {
                // Nobody listens where the process has ended meanwhile.
                Ok(asked) => {
                    filed.send(Filed { cli_id: ask.request_id.clone(), asked }).await.unwrap_or_default();
                    Ok(())
                }
                Err(Stale) => Err(Stale),
            },
            Paper::Progress(progress) => queue.insist(progress, "what was said").await,
        };
        if stored.is_err() {
            lost.send(()).unwrap_or_default();
            return;
        }
    }
}
