//! The API process, in any mode: its actors, and their end in reverse.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use actix::Addr;
use tokio::sync::watch;

use super::parts::{FILES_OF_A_TASK, Parts, descriptors};
use super::roles;
use super::secrets::hide_secrets;
use super::stop::{AFTER_DRAIN, CLOSE_LIMIT, Signals, tell, within};
use super::{Exit, run};
use crate::api::{self, ApiActor, Workers};
use crate::config::{Config, Mode};
use crate::process;
use crate::queue::{self, ChangeNotifier, Queue, Reaper};
use crate::service::{Figures, Phase};
use crate::supervisor;
use crate::web;
use crate::worker::{self, News, WorkerActor};
use domain::{Named as _, WorkerInstanceId};

/// Open files of an API process that serves nobody: database, sockets, event loops; measured, and half again.
const FILES_OF_A_SERVER: u64 = 72;
/// Socket and pidfd of a worker process, while it is replaced as well.
const FILES_OF_A_LINK: u64 = 4;
/// Smallest number of connections with which a server starts.
const FEWEST_CONNECTIONS: u64 = 16;

/// The API process, in any mode.
///
/// # Errors
/// Something that it can't live without could not be started.
pub fn serve(config: Config) -> Exit {
    run(async move {
        hide_secrets(&config)?;
        let mut parts = Parts::new();
        let connections = connections(&config)?;
        let listener = listen(config.server.host, config.server.port, "PORT")?;
        let address = listener.local_addr()?;
        let metrics = match config.server.metrics_port {
            Some(port) => Some(listen(config.server.host, port, "METRICS_PORT")?),
            None => None,
        };
        let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
        let (queue, hub) = parts.start_queue(&config).await?;
        let folder = &config.store.data_dir;
        if process::is_open_to_others(folder, config.claude.agent.user.is_some()) {
            let cure = format!("chmod 700 {}", folder.display());
            tracing::warn!(target: "cc_anywhere::store", cure, "Other users may look into the data folder");
        }
        if config.mode != Mode::Standalone {
            roles::check_agent_user(&config)?;
        }
        let holder = WorkerInstanceId::new();
        let reaper = Reaper { queue: queue.clone(), hub: hub.clone(), me: holder, leadership: parts.stand()? };
        queue::reap_at_start(&reaper).await;
        if config.mode != Mode::Managed {
            supervisor::end_left_behind(&config.store.data_dir);
        }
        let (workers, inline) = start_workers(&parts, &config, holder, &queue, &hub)?;
        let (phase, phases) = watch::channel(Phase::Serving);
        let tail = parts.start_tail(&hub)?;
        let service = roles::service(
            &config,
            &parts,
            queue,
            hub,
            workers.are_local(),
            (reaper.leadership.clone(), Duration::ZERO),
            phases,
        )?;
        parts.start_duties(&config, &service, reaper);
        let figures = Figures::default();
        parts.beside(figures.clone().follow(service.queue.clone(), service.hub.clone()));
        let search = parts.start_search(&config, &service);
        let shared = roles::shared(&config, service, search, tail, figures, workers.clone())?;
        // Those that were made just now as well.
        hide_secrets(&config)?;
        let sign_in = shared.keys.sign_in().cloned();
        let pages = config.server.dashboard.then_some(web::routes as api::Pages);
        let actor = ApiActor::start_server(listener, shared, phase, connections, pages, metrics)?;
        let api = parts.guard("api", actor, api::MAILBOX);
        tracing::info!(target: "cc_anywhere::api", url = %format!("http://{address}"), mode = config.mode.name(), "Listening");
        if let Some(address) = metrics_address {
            tracing::info!(target: "cc_anywhere::api", url = %format!("http://{address}/metrics"), "Metrics");
        }
        if config.server.dashboard {
            // Good once, and for ten minutes.
            let code = sign_in.map(|sign_in| sign_in.code(process::wall_now())).transpose()?;
            let page = code.map_or_else(String::new, |code| format!("in#{code}"));
            tracing::info!(target: "cc_anywhere::api", url = %format!("http://{address}/{page}"), "Dashboard");
        }

        let mut signals = Signals::new()?;
        let failed = parts.until_end(&mut signals).await;
        let limit = config.shutdown_limit;
        tracing::info!(target: "cc_anywhere::api", limit_ms = limit.as_millis() as u64, "Stopping");
        parts.resign();
        tell(&api, api::Drain).await;
        let may_hand_over = config.handover.by_server(process::is_first_of_container());
        let hand_over = may_hand_over && failed == 0 && signals.is_term;
        drain(workers, inline, (limit, hand_over), &mut signals).await;
        within(CLOSE_LIMIT + AFTER_DRAIN, tell(&api, api::Stop)).await;
        parts.end().await;
        Ok(failed)
    })
}

/// Listens on an address, which this setting names.
fn listen(host: IpAddr, port: u16, setting: &str) -> anyhow::Result<TcpListener> {
    api::bind(SocketAddr::new(host, port)).map_err(|error| {
        let cure = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another program listens there, maybe another cc-anywhere; stop it, or choose another port with {setting}=…"
            ),
            io::ErrorKind::PermissionDenied => format!("ports below 1024 are root's; choose another with {setting}=…"),
            io::ErrorKind::AddrNotAvailable => "this machine has no such address; set HOST to one that it has".to_owned(),
            _ => format!("see HOST and {setting}"),
        };
        anyhow::Error::new(error).context(format!("can't listen on {host} port {port}: {cure}"))
    })
}

/// Starts the workers of this mode. Returns the one of this process as well, where there is one.
fn start_workers(
    parts: &Parts,
    config: &Config,
    holder: WorkerInstanceId,
    queue: &Queue,
    hub: &ChangeNotifier,
) -> anyhow::Result<(Workers, Option<Addr<WorkerActor>>)> {
    Ok(match config.mode {
        Mode::Standalone => (Workers::Standalone, None),
        Mode::Inline => {
            let news = News { hub: hub.clone(), link: None, asked_to_end: std::sync::Arc::default() };
            (Workers::Inline, Some(parts.start_worker(config, "inline".to_owned(), holder, queue, news)?))
        }
        Mode::Managed => (Workers::Managed(parts.start_supervisor(config, queue, hub)?), None),
    })
}

/// Lets the workers of this mode end what they run, within the limit; a further signal ends it at once.
async fn drain(
    workers: Workers,
    inline: Option<Addr<WorkerActor>>,
    (limit, hand_over): (Duration, bool),
    signals: &mut Signals,
) {
    match workers {
        Workers::Inline => {
            if let Some(worker) = inline {
                let drained = within(limit + AFTER_DRAIN, tell(&worker, worker::Drain { limit, hand_over }));
                signals.hurry(drained, || worker.try_send(worker::StopNow).unwrap_or_default()).await;
            }
        }
        Workers::Managed(supervisor) => {
            // The supervisor itself ends what does not go in time.
            let gone = within(limit + 2 * AFTER_DRAIN, tell(&supervisor, supervisor::Shutdown { limit, hand_over }));
            signals.hurry(gone, || supervisor.try_send(supervisor::ShutdownNow).unwrap_or_default()).await;
        }
        Workers::Standalone => {}
    }
}

/// Maximum number of connections, beside what the database, the workers and their tasks need.
fn connections(config: &Config) -> anyhow::Result<usize> {
    let tasks = match config.mode {
        Mode::Inline => FILES_OF_A_TASK * u64::from(config.worker.concurrency),
        Mode::Managed => FILES_OF_A_LINK * u64::from(config.processes.count),
        Mode::Standalone => 0,
    };
    let left = descriptors(FILES_OF_A_SERVER + tasks + FEWEST_CONNECTIONS)? + FEWEST_CONNECTIONS;
    Ok(usize::try_from(left).unwrap_or(usize::MAX))
}
