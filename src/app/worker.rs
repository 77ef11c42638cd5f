//! A worker process: of a supervisor, or on its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use anyhow::Context as _;
use tokio::sync::{Notify, mpsc, watch};

use super::parts::{FILES_OF_A_TASK, Parts, descriptors};
use super::roles;
use super::secrets::hide_secrets;
use super::stop::{AFTER_DRAIN, Signals, tell, within};
use super::{Exit, run};
use crate::config::Config;
use crate::queue::{self, Reaper};
use crate::service::Phase;
use crate::worker::{self, Link, LinkEnd, LinkSettings, News, WorkerActor};
use domain::{InvalidLabel, WorkerInstanceId, check_label};

/// Maximum number of news on their way to the supervisor; more are dropped.
const NEWS_AHEAD: usize = 256;
/// Open files of a worker process without a task.
const FILES_OF_A_WORKER: u64 = 64;
/// A worker without a supervisor does what an API process has left undone for this time.
const STANDS_IN_AFTER: Duration = Duration::from_secs(10);

/// Arguments that a supervisor passes to its worker process.
#[derive(Debug, clap::Args)]
pub struct WorkerRole {
    /// The incarnation of this worker; a new one where a person starts it
    #[arg(long, hide = true)]
    holder: Option<WorkerInstanceId>,
    /// The socket of the supervisor
    #[arg(long, hide = true)]
    link: Option<PathBuf>,
    /// A label of this worker, beside those of WORKER_LABELS: NAME or NAME=VALUE; may be repeated
    #[arg(long = "label", value_name = "LABEL", value_parser = label)]
    labels: Vec<String>,
}

fn label(text: &str) -> Result<String, InvalidLabel> {
    check_label(text).map(|()| text.to_owned())
}

/// A worker process: of a supervisor, or on its own.
///
/// # Errors
/// Something that it can't live without could not be started.
pub fn worker(mut config: Config, role: WorkerRole) -> Exit {
    config.worker.labels.extend(role.labels);
    run(async move {
        hide_secrets(&config)?;
        let mut parts = Parts::new();
        descriptors(FILES_OF_A_WORKER + FILES_OF_A_TASK * u64::from(config.worker.concurrency))?;
        let mut signals = Signals::new()?;
        let (queue, hub) = parts.start_queue(&config).await?;
        let holder = role.holder.unwrap_or_else(WorkerInstanceId::new);
        let name = config.worker.id.clone().unwrap_or_else(|| format!("worker-{}", std::process::id()));
        let (link_news, news_ahead) = mpsc::channel(NEWS_AHEAD);
        let (phase, phases) = watch::channel(Phase::Serving);
        if role.link.is_none() {
            // It has no supervisor, whose process has these duties: with the API down they are still done.
            let reaper = Reaper { queue: queue.clone(), hub: hub.clone(), me: holder, leadership: parts.stand()? };
            queue::reap_at_start(&reaper).await;
            let service = roles::service(
                &config,
                &parts,
                queue.clone(),
                hub.clone(),
                true,
                (reaper.leadership.clone(), STANDS_IN_AFTER),
                phases,
            )?;
            parts.start_duties(&config, &service, reaper);
        }
        let asked_to_end = Arc::new(Notify::new());
        let news =
            News { hub, link: role.link.is_some().then_some(link_news), asked_to_end: Arc::clone(&asked_to_end) };
        let worker = parts.start_worker(&config, name.clone(), holder, &queue, news)?;
        let (ends, mut end) = mpsc::channel(4);
        if let Some(path) = role.link {
            let token = config.link_token.clone().context("a managed worker is started by its supervisor only")?;
            let settings = LinkSettings { path, worker: name.clone(), holder, token };
            actix::spawn(Link::new(settings, worker.clone(), news_ahead, parts.vitals.clone()).keep(ends));
        }
        tracing::info!(target: "cc_anywhere::worker", workerId = name, concurrency = config.worker.concurrency, "Started");

        let own = config.shutdown_limit;
        let (failed, order) = tokio::select! {
            failed = parts.until_end(&mut signals) => (failed, LinkEnd::Alone),
            Some(order) = end.recv() => (0, order),
            () = asked_to_end.notified() => {
                tracing::info!(target: "cc_anywhere::worker", workerId = name, "Somebody has asked for its end");
                (0, LinkEnd::Alone)
            }
        };
        phase.send_replace(Phase::Draining);
        parts.resign();
        // One that nobody manages any more has nobody to leave its work to.
        let hand_over = order == LinkEnd::Alone && config.handover.by_workers && failed == 0 && signals.is_term;
        drain(&worker, order, &mut end, (own, hand_over), &mut signals).await;
        parts.end().await;
        tracing::info!(target: "cc_anywhere::worker", workerId = name, "Stopped");
        Ok(failed)
    })
}

/// Lets the worker end what it runs, as it was told; a further signal, or the supervisor's word, ends it at once.
async fn drain(
    worker: &Addr<WorkerActor>,
    order: LinkEnd,
    end: &mut mpsc::Receiver<LinkEnd>,
    (own, hand_over): (Duration, bool),
    signals: &mut Signals,
) {
    let stop = || worker.try_send(worker::StopNow).unwrap_or_default();
    if order.at_once().is_some() {
        stop();
    }
    let drain = order.drain(own, hand_over);
    let drained = within(drain.limit + AFTER_DRAIN, tell(worker, drain));
    let drained = async {
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = &mut drained => return,
                Some(LinkEnd::Stop) = end.recv() => stop(),
            }
        }
    };
    signals.hurry(drained, stop).await;
}
