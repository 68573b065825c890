//! The only code with sockets, tasks, a clock and files.
//!
//! Each service here reads a packet or request, asks its pure twin what to do, and does that:
//!
//! ```text
//!   interface ─┬─ dhcp 67, 4011 ── proxydhcp::answer ──┐
//!              ├─ tftp 69 ──────── tftp::Session ──────┤
//!              ├─ http ─────────── http::…, scripts ───┼── journal ── log
//!              ├─ solicitation ─── solicitation::read ─┤
//!              └─ ear 68 ───────── lan::read, Lan ─────┘
//!   control ─── an operator's commands ── ledger
//!   process: signals ─┬─ HUP: a new site, or the old one kept
//!                     └─ TERM: drain, which every service watches
//! ```

pub mod access;
mod answers;
mod aside;
pub mod beneath;
mod bootable;
mod caller;
mod clock;
mod configs;
pub mod control;
mod dhcp;
mod disk;
pub mod drain;
pub mod ear;
mod error;
mod goal;
pub mod http;
mod installs;
pub mod interface;
pub mod ipv6;
pub mod journal;
pub mod ledger;
mod lines;
pub mod log;
mod neighbours;
pub mod ports;
mod premises;
mod process;
mod programs;
pub mod releases;
mod scripts;
pub mod service;
mod shell;
pub mod site;
mod solicitation;
pub mod store;
pub mod tftp;
mod tokens;
pub mod unified;
mod unsaid;
mod verdict;
mod version;
mod visitors;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    config::{Mode, Solicitations},
    proxydhcp::{Arrival, Conversations, Port},
};
use aside::aside;
use drain::Drain;
pub use error::ServeError;
use interface::Interface;
use journal::Journal;
use ledger::Ledger;
pub use premises::MOST_TRIED;
use premises::Premises;
use process::{Request, Signals};
use releases::Proofs;
use scripts::Renderer;
use site::Site;
use visitors::Visitors;

/// How long downloads may go on after we were asked to stop; systemd's own limit is 90 s.
const LAST_CALL: Duration = Duration::from_secs(30);
/// How long the ledger may take for what is noted by then.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Serves until a signal ends it or a service fails. `config` is read again on SIGHUP.
pub async fn run(config: Option<PathBuf>) -> Result<(), ServeError> {
    let mut signals = Signals::listen().map_err(ServeError::Io)?;
    let path = config.clone();
    let loading = aside("config", move || Site::load(path.as_deref()));
    let Some(site) = signals.unless_stopped(loading).await else { return Ok(()) };
    let site = site.map_err(ServeError::Io)??;
    let interfaces = Interface::choose(&site.config.interfaces)?;
    process::raise_file_limit();

    // Before any machine is answered: of two servers, the second must not begin.
    let listener = commands(&site)?;
    let journal = Journal::new();
    let log = journal.clone();
    let opening = aside("ledger and texts", move || Premises::open(config, site, &log));
    let Some(premises) = signals.unless_stopped(opening).await else { return Ok(()) };
    let premises = Arc::new(premises.map_err(ServeError::Io)??);
    let ledger = premises.ledger();
    let (tap, drain) = drain::channel();
    let mut services = Services {
        tasks: JoinSet::new(),
        site: premises.site(),
        proofs: premises.proofs(),
        journal,
        ledger: ledger.clone(),
        visitors: Visitors::default(),
        drain,
    };
    for interface in &interfaces {
        services.start(interface)?;
    }
    services.start_rounds();
    if let Some(listener) = listener {
        services.attend(listener);
    }
    let Services { mut tasks, .. } = services;
    tracing::info!("bootbox {} is ready", env!("CARGO_PKG_VERSION"));
    process::notify_ready();

    let mut reloads = JoinSet::new();
    let mut again = signals.take_missed_reload();
    loop {
        if again && reloads.is_empty() {
            again = false;
            reloads.spawn(Arc::clone(&premises).reload());
        }
        tokio::select! {
            request = signals.next() => match request {
                Request::Reload => again = true,
                Request::Stop => break,
            },
            Some(Ok(reloaded)) = reloads.join_next() => premises.take(reloaded),
            // Services end only by failing: nobody has asked them to yet.
            Some(ended) = tasks.join_next() => {
                write_last_words(&ledger).await;
                return Err(ServeError::Service(outcome(ended)));
            }
        }
    }
    process::notify_stopping();
    tracing::info!("stopping: what is being sent may end within {} s", LAST_CALL.as_secs());
    tap.open();
    let drained = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        finished = timeout(LAST_CALL, drained) => {
            if finished.is_err() {
                tracing::info!("not everything ended in time; stopped all the same");
            }
        }
        () = async { while signals.next().await != Request::Stop {} } => {
            tracing::info!("stopped at once, as asked again");
        }
    }
    write_last_words(&ledger).await;
    Ok(())
}

async fn write_last_words(ledger: &Ledger) {
    if timeout(LAST_WORDS, ledger.flush()).await.is_err() {
        tracing::warn!("the ledger's disk does not answer; its last entries may be missing");
    }
}

/// Where commands come in. Machines boot without it: what is missing is a warning, unless another
/// server has it.
fn commands(site: &Site) -> Result<Option<control::Listener>, ServeError> {
    match control::Listener::open(&site.config.control_socket) {
        Ok(listener) => Ok(Some(listener)),
        Err(error @ control::OpenError::Taken { .. }) => Err(ServeError::Control(error)),
        Err(error) => {
            tracing::warn!("`bootbox machines` and its like will not reach this server: {error}");
            Ok(None)
        }
    }
}

/// The tasks, and what each of them is given.
struct Services {
    tasks: JoinSet<(String, io::Result<()>)>,
    site: watch::Receiver<Arc<Site>>,
    journal: Journal,
    ledger: Ledger,
    visitors: Visitors,
    proofs: watch::Receiver<Arc<Proofs>>,
    drain: Drain,
}

impl Services {
    /// Opens every port of an interface, then serves there.
    fn start(&mut self, interface: &Interface) -> Result<(), ServeError> {
        let (port, solicitations) = {
            let site = self.site.borrow();
            (site.config.http_port, site.config.answer_router_solicitations)
        };
        let (dhcp, shared) = interface.udp_beside_others(67)?;
        if shared {
            tracing::warn!(
                "another server on this machine holds UDP port 67 on {interface}: renewals that \
                 machines send to it may come here and be lost; bootbox wants a machine of its own"
            );
        }
        let boot_server = interface.udp(4011)?;
        let conversations: Arc<Mutex<Conversations>> = Arc::default();
        for (number, port, socket) in
            [(67, Port::Dhcp, dhcp), (4011, Port::BootServer, boot_server)]
        {
            let service = dhcp::Service {
                arrival: Arrival { address: interface.address, port },
                site: self.site.clone(),
                journal: self.journal.clone(),
                ledger: self.ledger.clone(),
                conversations: Arc::clone(&conversations),
            };
            let service = dhcp::run(socket, service, self.drain.clone());
            self.spawn(format!("ProxyDHCP on {interface}, port {number}"), service);
        }
        let tftp = interface.udp(69)?;
        self.spawn(
            format!("TFTP on {interface}"),
            tftp::run(
                tftp,
                interface.address,
                interface.mtu,
                self.site.clone(),
                self.journal.clone(),
                self.scripts(),
                self.drain.clone(),
            ),
        );
        let http = interface.tcp(port)?;
        self.spawn(
            format!("HTTP on {interface}"),
            http::run(http, self.http(), self.drain.clone()),
        );
        let (watched, mut drain) = (interface.clone(), self.drain.clone());
        self.spawn(format!("{interface}"), async move {
            tokio::select! {
                change = watched.changes() => Err(change),
                () = drain.begun() => Ok(()),
            }
        });
        match solicitations {
            Solicitations::Auto => self.start_solicitation(interface),
            Solicitations::Never => {}
        }
        self.start_ear(interface, conversations);
        let mode = match self.site.borrow().config.mode {
            Mode::Observe => " ([network] mode is \"observe\": no machine is answered)",
            Mode::Serve => "",
        };
        tracing::info!(
            "serving on {interface}{mode}: UDP 67, 69, 4011 and {}",
            crate::template::base_url(interface.address, port)
        );
        Ok(())
    }

    fn http(&self) -> http::Service {
        http::Service {
            site: self.site.clone(),
            journal: self.journal.clone(),
            ledger: self.ledger.clone(),
            scripts: self.scripts(),
            limits: http::Limits::default(),
        }
    }

    fn scripts(&self) -> Arc<dyn http::Scripts> {
        Arc::new(Renderer {
            journal: self.journal.clone(),
            ledger: self.ledger.clone(),
            visitors: self.visitors.clone(),
            proofs: self.proofs.clone(),
        })
    }

    /// Machines boot without it, only slower: what is missing is a warning.
    fn start_solicitation(&mut self, interface: &Interface) {
        let warning = ipv6::warning(&self.site.borrow().config, interface);
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        match solicitation::listen(interface) {
            Ok(socket) => self.spawn(
                format!("router solicitations on {interface}"),
                solicitation::run(
                    socket,
                    interface.clone(),
                    self.site.clone(),
                    self.journal.clone(),
                    self.drain.clone(),
                ),
            ),
            Err(_) if warning.is_some() => {}
            Err(error) => {
                let why = why_no_raw_socket(&error);
                tracing::warn!(
                    "router solicitations on {interface} are not answered ({why}): stock iPXE waits \
                     about 15 s longer where no IPv6 router is"
                );
            }
        }
    }

    /// Hearing other servers is a help, never a condition.
    fn start_ear(&mut self, interface: &Interface, conversations: Arc<Mutex<Conversations>>) {
        match ear::listen(interface) {
            Ok(socket) => {
                self.journal.listens(interface);
                let (journal, drain) = (self.journal.clone(), self.drain.clone());
                self.spawn(
                    format!("listening on {interface}"),
                    ear::run(socket, interface.clone(), journal, conversations, drain),
                );
            }
            Err(error) => tracing::info!(
                "other DHCP servers on {interface} are not heard ({}): the log says less of why a \
                 machine does not boot",
                why_no_raw_socket(&error)
            ),
        }
    }

    fn attend(&mut self, listener: control::Listener) {
        let desk = control::Desk {
            ledger: self.ledger.clone(),
            site: self.site.clone(),
            proofs: self.proofs.clone(),
        };
        self.spawn("commands".to_owned(), control::run(listener, desk, self.drain.clone()));
    }

    /// What is looked at every so often.
    fn start_rounds(&mut self) {
        let journal = self.journal.clone();
        self.spawn("log".to_owned(), journal.summarise(self.drain.clone()));
        let journal = self.journal.clone();
        self.spawn("stopped boots".to_owned(), journal.watch(self.drain.clone()));
        let ledger = self.ledger.clone();
        self.spawn("strangers".to_owned(), ledger.forget_strangers(self.drain.clone()));
    }

    fn spawn(
        &mut self,
        name: String,
        service: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, service.await) });
    }
}

fn why_no_raw_socket(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "the capability CAP_NET_RAW is missing".to_owned()
    } else {
        error.to_string()
    }
}

fn outcome(ended: Result<(String, io::Result<()>), tokio::task::JoinError>) -> String {
    match ended {
        Ok((name, Ok(()))) => format!("{name} ended by itself"),
        Ok((name, Err(error))) => format!("{name}: {error}"),
        Err(error) => format!("a service panicked: {error}"),
    }
}
