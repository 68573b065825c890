//! What is served now, and what takes its place at SIGHUP.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    ServeError,
    aside::aside,
    interface::Interface,
    journal::Journal,
    ledger::{Ledger, LedgerError},
    process,
    releases::{Preflight, Proofs, Verifier, proven},
    site::{Site, SiteError},
};
use crate::{
    config::{Place, Problem},
    ledger::{Record, State, Weight, sample},
    machine::Machine,
};

/// Machines of the ledger that texts are tried with, 10 texts within 2 s. What another one is given
/// is checked when it asks, as everything is.
pub const MOST_TRIED: usize = 2048;

/// The outcome of a reload.
pub(super) struct Reloaded(Result<(Arc<Site>, Proofs), ServeError>);

/// The site, who says which of its profiles may be served, and the ledger that outlives both.
pub(super) struct Premises {
    config: Option<PathBuf>,
    /// What the open sockets and files belong to.
    started: Arc<Site>,
    site: watch::Sender<Arc<Site>>,
    proofs: watch::Sender<Arc<Proofs>>,
    ledger: Ledger,
}

impl Premises {
    /// Takes over a site that was loaded from this config.
    pub(super) fn open(
        config: Option<PathBuf>,
        mut site: Site,
        journal: &Journal,
    ) -> Result<Self, ServeError> {
        let ledger = open_ledger(&site, journal)?;
        site.try_with(&known(&ledger));
        site.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let site = Arc::new(site);
        let proofs = watch::Sender::new(Arc::new(proofs_of(&site)?));
        let started = Arc::clone(&site);
        Ok(Self { config, started, site: watch::Sender::new(site), proofs, ledger })
    }

    /// The site, and each that follows it.
    pub(super) fn site(&self) -> watch::Receiver<Arc<Site>> {
        self.site.subscribe()
    }

    /// Who says which profiles may be served.
    pub(super) fn proofs(&self) -> watch::Receiver<Arc<Proofs>> {
        self.proofs.subscribe()
    }

    /// What each machine has done.
    pub(super) fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// Loads the config again, beside the threads that serve.
    pub(super) async fn reload(self: Arc<Self>) -> Reloaded {
        process::notify_reloading();
        tracing::info!("the config is being loaded again");
        let loaded = aside("reload", move || self.load()).await;
        Reloaded(loaded.map_err(ServeError::Io).and_then(|loaded| loaded))
    }

    /// Takes over what was loaded; what is wrong with it changes nothing.
    pub(super) fn take(&self, Reloaded(loaded): Reloaded) {
        match loaded {
            Ok((site, proofs)) => self.move_to(site, proofs),
            Err(error) => {
                error.to_string().lines().for_each(|line| tracing::error!("{line}"));
                tracing::error!("the config was not loaded; the last good one still holds");
            }
        }
        process::notify_ready();
    }

    fn load(&self) -> Result<(Arc<Site>, Proofs), ServeError> {
        let mut site = Site::load(self.config.as_deref())?;
        if site.config.is_blank && !self.site.borrow().config.is_blank {
            let text = "nothing stands in it, and something does in the config that holds now: an \
                        editor may have emptied it, or it is gone; write it again, or restart \
                        bootbox if that is meant";
            let place = Place::of_file(&site.config.name, None);
            let problem = Problem { place, text: text.to_owned() };
            return Err(SiteError::Config(problem.into()).into());
        }
        if site.config.installs() && !self.ledger.remembers() {
            return Err(ServeError::Service(format!(
                "{} installs machines, and there is no ledger since the start: start again",
                site.config.name
            )));
        }
        // It would not start again, and by then nobody remembers why.
        if self.started.config.names_other_interfaces(&site.config) {
            Interface::choose(&site.config.interfaces)?;
        }
        site.try_with(&known(&self.ledger));
        // Machines are sent to the port that is open, not to the one that will be.
        let needs_restart = self.started.config.needs_restart(&site.config);
        site.config.http_port = self.started.config.http_port;
        let site = Arc::new(site);
        let proofs = proofs_of(&site)?;
        if needs_restart {
            tracing::warn!(
                "changes of interfaces, answer-router-solicitations, [http] port, [control] and [install] \
                 ledger take effect at the next start: `systemctl restart bootbox`"
            );
        }
        Ok((site, proofs))
    }

    fn move_to(&self, site: Arc<Site>, proofs: Proofs) {
        self.ledger.allow_attempts(site.config.most_attempts);
        self.proofs.send_replace(Arc::new(proofs));
        self.site.send_replace(Arc::clone(&site));
        site.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        tracing::info!("{} is loaded", site.config.name);
    }
}

/// Without a ledger, a site that installs nothing is still served.
fn open_ledger(site: &Site, journal: &Journal) -> Result<Ledger, LedgerError> {
    let config = &site.config;
    let is_beneath = |folder: &Path| {
        let ledger = config.ledger.path.parent()?.canonicalize().ok()?;
        Some(ledger.starts_with(folder.canonicalize().ok()?))
    };
    let served = [Some(&config.repository), config.boot_programs.as_ref()];
    if served.into_iter().flatten().any(|folder| is_beneath(&folder.path) == Some(true)) {
        return Err(LedgerError::Served(config.ledger.path.clone()));
    }
    match Ledger::open(&config.ledger.path, config.most_attempts, journal.clone()) {
        Err(error) if !config.installs() => {
            tracing::warn!("{error}");
            tracing::warn!("no profile installs, so machines boot; what they do is not remembered");
            Ok(Ledger::forgetful(journal.clone()))
        }
        opened => {
            let ledger = opened?;
            // At the very first start, too: whoever has lost a ledger must read it then.
            if config.installs() && ledger.with(|book| book.records().next().is_none()) {
                tracing::warn!(
                    "the ledger knows no machine: each one that a group matches is installed, and its \
                     disk wiped; if there was another ledger, stop and bring it back"
                );
            }
            Ok(ledger)
        }
    }
}

/// Who says which profiles may be served, by their releases on disk and the keyring.
fn proofs_of(site: &Arc<Site>) -> Result<Proofs, ServeError> {
    let closed = Preflight::of(site);
    closed.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    closed.problems.iter().for_each(|problem| tracing::warn!("{problem}"));
    let memory = proven(&site.config.ledger.path);
    let verifier = site.config.keyring.as_ref().map(|keyring| {
        Verifier::new(&keyring.path, Some(&memory)).map(Arc::new).map_err(|error| {
            let problem = Problem { place: keyring.place.clone(), text: error.to_string() };
            SiteError::Config(problem.into())
        })
    });
    Proofs::start(Arc::clone(site), verifier.transpose()?).map_err(ServeError::Io)
}

/// Machines that have been here before; some, where there are many.
fn known(ledger: &Ledger) -> Vec<Machine> {
    ledger.with(|book| {
        let weigh = |record: &'_ Record| Weight {
            has_a_story: record.state != State::New,
            last_seen: record.last_seen,
        };
        sample(book.records().map(|it| (weigh(it), &it.machine)), MOST_TRIED)
    })
}
