//! The roles of the program: `serve`, `worker`, `agent-shim`, `agent-proxy`, and the client's commands.

use std::process::ExitCode;

use cc_anywhere::{admin, app, claude, client, config, proxy, telemetry};
use clap::{CommandFactory as _, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: sys::BySize = sys::BySize;

/// Runs Claude Code tasks over HTTP
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serve the HTTP API
    Serve(config::Flags),
    /// Run tasks of the queue in DB_PATH
    Worker {
        #[command(flatten)]
        role: app::WorkerRole,
        #[command(flatten)]
        flags: config::Flags,
    },
    /// Print what makes a shell complete commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the reference of the commands
    #[command(hide = true)]
    Reference,
    #[command(flatten)]
    Client(Box<client::ClientCommand>),
    #[command(flatten)]
    Admin(admin::AdminCommand),
}

/// Guards one run of the CLI. Started by workers, for every attempt: it doesn't wait until the flags of
/// all other roles are made.
#[derive(Parser)]
struct Shim {
    #[command(flatten)]
    args: claude::ShimArgs,
}

/// Stands between the CLIs of a worker and the API. Started by workers.
#[derive(Parser)]
struct ProxyRole {
    #[command(flatten)]
    args: proxy::ProxyArgs,
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|role| role == "agent-shim") {
        // First, while there is one thread.
        return ExitCode::from(claude::run_shim(&Shim::parse_from(std::env::args_os().skip(1)).args));
    }
    if std::env::args_os().nth(1).is_some_and(|role| role == "agent-proxy") {
        return ExitCode::from(proxy::run_proxy(&ProxyRole::parse_from(std::env::args_os().skip(1)).args));
    }
    if let (Some("agent-probe"), Some(targets)) = (std::env::args().nth(1).as_deref(), std::env::args().nth(2)) {
        return ExitCode::from(claude::run_probe(&targets));
    }
    // A shell asks what a word may be completed to.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    sys::give_memory_back();
    let outcome = match Cli::parse().role {
        Role::Serve(flags) => configured(&flags, app::serve),
        Role::Worker { role, flags } => configured(&flags, |config| app::worker(config, role)),
        Role::Completions { shell } => {
            let name = shell.to_string();
            let shells = clap_complete::env::Shells::builtins();
            let script = shells.completer(&name).map(|shell| {
                let program = "cc-anywhere";
                shell.write_registration("COMPLETE", program, program, program, &mut std::io::stdout())
            });
            script.transpose().map(|_| 0).map_err(Into::into)
        }
        Role::Reference => {
            print!("{}", client::reference(&Cli::command()));
            Ok(0)
        }
        Role::Client(command) => client::run(*command),
        Role::Admin(command) => admin::run(command),
    };
    outcome.map_or_else(
        |error| {
            eprintln!("cc-anywhere: {error:#}");
            ExitCode::from(1)
        },
        ExitCode::from,
    )
}

/// Reads the settings, begins to log, and runs; a bad setting ends the program with 2.
fn configured(flags: &config::Flags, run: impl FnOnce(config::Config) -> anyhow::Result<u8>) -> anyhow::Result<u8> {
    let config = match config::Config::load(flags) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return Ok(2);
        }
    };
    if let Err(error) = telemetry::start(&config.log) {
        eprintln!("LOG_LEVEL: {error}");
        return Ok(2);
    }
    let traces = match telemetry::traces::start(&config.traces) {
        Ok(traces) => traces,
        Err(error) => {
            eprintln!("{error}");
            return Ok(2);
        }
    };
    // A managed worker has the variables of its server, which has said so.
    let near_misses = config.near_misses.iter().filter(|_| config.link_token.is_none());
    for (name, meant) in near_misses {
        tracing::warn!(target: "cc_anywhere::config", "{name} is no setting; did you mean {meant}?");
    }
    // Reads FAILPOINTS, in builds that have the feature.
    let scenario = fail::FailScenario::setup();
    let outcome = run(config);
    scenario.teardown();
    drop(traces);
    outcome
}
