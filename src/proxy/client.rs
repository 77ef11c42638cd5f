//! The worker's side: starts the proxy, lets attempts in, and asks what they have spent.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::process::Child;

use super::hash;
use super::messages::{Counted, FromProxy, ToPass, ToProxy};
use crate::config::{Claude, Environment, Log};
use crate::process::{self, ControlLines, EnvMarks, Launch};
use domain::{Usd, WorkerInstanceId};

/// Variables that say whom the CLI asks, and with what: the proxy knows them, the CLI does not.
const KEPT: [&str; 4] = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS"];
/// Credentials that are not the API's key: the CLI signs its requests with them itself.
const OTHERS: [&str; 3] = ["CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"];
/// Longest start of a proxy.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Longest answer of a proxy that runs.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Everything that a proxy is started from.
#[derive(Clone, Debug)]
pub struct ProxyLaunch {
    /// Path of our own program, which is the proxy too.
    pub program: PathBuf,
    /// The worker's life, for the marks: should the worker die, its proxy is found by it.
    pub holder: WorkerInstanceId,
    /// Settings of its log.
    pub log: Log,
}

/// The proxy of a worker. Clones share it; it ends when the last is dropped and no pass is held.
#[derive(Clone)]
pub struct Proxy {
    launch: ProxyLaunch,
    /// What says whom to ask, and with what.
    environment: Environment,
    running: Arc<Mutex<Running>>,
}

/// The process.
struct Running {
    url: String,
    control: UnixStream,
    child: Child,
    /// Pass of the next attempt, where it was let in beforehand.
    spare: Option<Pass>,
}

impl Proxy {
    /// Starts the proxy on a free port of loopback. `None` where it is turned off, or where the CLI's credential is none
    /// that can be added for it. Blocks for some milliseconds.
    ///
    /// # Errors
    /// The process can't be started, the system gives no port, or a certificate can't be read.
    pub fn start(claude: &Claude, launch: ProxyLaunch) -> io::Result<Option<Self>> {
        let has = |name: &str| claude.environment.iter().any(|(key, value)| key == name && !value.is_empty());
        let is_key = has("ANTHROPIC_API_KEY") || has("ANTHROPIC_AUTH_TOKEN");
        if !claude.agent.proxy || !is_key || OTHERS.iter().any(|name| has(name)) {
            return Ok(None);
        }
        let environment = claude.environment.clone();
        let running = Arc::new(Mutex::new(Running::start(&launch, &environment)?));
        Ok(Some(Self { launch, environment, running }))
    }

    /// The process; another one where it has died.
    fn running(&self) -> io::Result<std::sync::MutexGuard<'_, Running>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = running.child.try_wait()? {
            tracing::error!(%status, "The credential proxy has ended; starting another one");
            *running = Running::start(&self.launch, &self.environment)?;
        }
        Ok(running)
    }

    /// Takes what the CLI is not to know out of its environment, and names the proxy.
    ///
    /// # Errors
    /// The proxy has died, and can't be started anew.
    pub fn environment(&self, of: &Environment) -> io::Result<Environment> {
        let mut ours: Environment = of.iter().filter(|(name, _)| !KEPT.contains(&name.as_str())).cloned().collect();
        ours.push(("ANTHROPIC_BASE_URL".to_owned(), self.running()?.url.clone()));
        for name in ["NO_PROXY", "no_proxy"] {
            let others = of.iter().find(|(key, _)| key == name).map(|(_, value)| format!("{value},"));
            ours.retain(|(key, _)| key != name);
            ours.push((name.to_owned(), format!("{}127.0.0.1", others.unwrap_or_default())));
        }
        Ok(ours)
    }

    /// Lets one attempt in, for as long as the pass is held.
    ///
    /// # Errors
    /// The system has no randomness, or the proxy does not answer.
    pub async fn let_in(&self) -> io::Result<Pass> {
        let spare = self.running()?.spare.take();
        match spare {
            Some(spare) => Ok(spare),
            None => self.ask_in().await,
        }
    }

    /// Lets the next attempt in before there is one: it need not wait for the proxy then.
    pub async fn prepare(&self) {
        let Some(of) = self.running().ok().filter(|running| running.spare.is_none()).map(|running| running.child.id())
        else {
            return;
        };
        match self.ask_in().await {
            Ok(pass) => {
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                // One that was started meanwhile knows nothing of it.
                if running.child.id() == of {
                    running.spare = Some(pass);
                }
            }
            Err(error) => tracing::debug!(%error, "No attempt could be let in beforehand"),
        }
    }

    async fn ask_in(&self) -> io::Result<Pass> {
        let token = format!("sk-attempt-{}", process::secret()?);
        let (ours, theirs) = UnixStream::pair()?;
        let line = line(&ToProxy::LetIn { hash: hex::encode(hash(&token)) })?;
        // A socket holds more than one such line, so that all of it goes at once.
        process::send_with(&self.running()?.control, &line, &[theirs.as_fd()])?;
        drop(theirs);
        let mut pass = Pass::of(token, ours)?;
        pass.answer().await?;
        Ok(pass)
    }
}

impl Running {
    fn start(launch: &ProxyLaunch, environment: &Environment) -> io::Result<Self> {
        let (ours, theirs) = process::control_pair()?;
        let mut args = vec!["agent-proxy".into(), format!("--control-fd={}", theirs.as_raw_fd()).into()];
        let marks: Vec<_> = EnvMarks::holder(launch.holder).variables().collect();
        // Its memory, and so its environment, can't be looked into by others of this user.
        args.extend(marks.iter().map(|(name, value)| format!("{name}={value}").into()));
        let home = environment.iter().filter(|(name, _)| name == "HOME").cloned();
        let env = marks.into_iter().chain(home).collect();
        let process = Launch { program: launch.program.clone(), args, env, directory: Some("/".into()) };
        let child = process::spawn_helper(&process, theirs)?;
        let log = (launch.log.level.clone(), launch.log.json);
        ours.set_read_timeout(Some(START_LIMIT))?;
        ours.set_write_timeout(Some(ANSWER_LIMIT))?;
        (&ours).write_all(&line(&ToProxy::Begin { environment: environment.clone(), log })?)?;
        let mut lines = ControlLines::new(ours);
        let said = lines.next()?.ok_or_else(|| io::Error::other("it has ended"))?;
        match serde_json::from_slice(&said)? {
            FromProxy::Listens { url } => Ok(Self { url, control: lines.into_socket(), child, spare: None }),
            FromProxy::Failed { why } => Err(io::Error::other(why)),
        }
    }
}

fn line(message: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Right of one attempt to ask the API. Dropped, its token is worth nothing, unless another worker
/// [goes on](Self::to_be_left) with it.
pub struct Pass {
    token: String,
    socket: BufStream<tokio::net::UnixStream>,
}

impl Pass {
    fn of(token: String, socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { token, socket: BufStream::new(tokio::net::UnixStream::from_std(socket)?) })
    }

    /// Goes on with a pass that another worker has left.
    ///
    /// # Errors
    /// It is no socket.
    pub fn taken(socket: OwnedFd) -> io::Result<Self> {
        Self::of(String::new(), socket.into())
    }

    /// Returns what another worker goes on with: the token holds for as long as that is open.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn to_be_left(&self) -> io::Result<OwnedFd> {
        self.socket.get_ref().as_fd().try_clone_to_owned()
    }

    /// The variable that shows it.
    #[must_use]
    pub fn variable(&self) -> (String, String) {
        ("ANTHROPIC_API_KEY".to_owned(), self.token.clone())
    }

    /// Lets the attempt spend this at most.
    ///
    /// # Errors
    /// The proxy does not answer.
    pub async fn limit(&mut self, budget: Option<Usd>) -> io::Result<()> {
        self.ask(&ToPass::Limit { budget }).await.map(drop)
    }

    /// Returns what the attempt has spent.
    ///
    /// # Errors
    /// The proxy does not answer.
    pub async fn counted(&mut self) -> io::Result<Counted> {
        self.ask(&ToPass::Count).await
    }

    async fn ask(&mut self, message: &ToPass) -> io::Result<Counted> {
        self.socket.write_all(&line(message)?).await?;
        self.socket.flush().await?;
        self.answer().await
    }

    async fn answer(&mut self) -> io::Result<Counted> {
        let mut line = String::new();
        let read = self.socket.read_line(&mut line);
        if tokio::time::timeout(ANSWER_LIMIT, read).await.map_err(|_| io::ErrorKind::TimedOut)?? == 0 {
            return Err(io::Error::other("the credential proxy is gone"));
        }
        Ok(serde_json::from_str(&line)?)
    }
}
