//! Whether each profile may be served now, with one thread that verifies behind it.

use std::{
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    memory::Identity,
    scan::{of_subject, subject},
    verifier::{Verifier, identity},
};
use crate::{
    catalog::{Install, Profile, Source},
    path::RepositoryPath,
    release::{Fault, Finding, Gate, Part, Release, Subject, Verdict, gate},
    serve::{
        site::Site,
        store::{Opened, Store},
    },
};

/// How often files are looked at when nobody asks.
const ROUND: Duration = Duration::from_secs(5);
/// How often the log hears of progress.
const NEWS: Duration = Duration::from_secs(5);

/// The doorkeeper of one site. Ends its thread when it is dropped.
#[derive(Debug)]
pub struct Proofs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    site: Arc<Site>,
    verifier: Option<Arc<Verifier>>,
    desk: Mutex<Desk>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Desk {
    /// What was found of a file in this state.
    findings: BTreeMap<RepositoryPath, (State, Finding)>,
    is_over: bool,
}

/// A file and its signature, as they were.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct State {
    file: Option<Identity>,
    signature: Option<Identity>,
}

impl Proofs {
    /// Begins to verify what profiles with `verify = true` need, and what others install: the ledger
    /// believes a signature that is good. Where there is none, no thread is started.
    pub fn start(site: Arc<Site>, verifier: Option<Arc<Verifier>>) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { site, verifier, desk: Mutex::default(), bell: Condvar::new() });
        let behind = Arc::clone(&shared);
        if shared.verifier.is_some() && shared.profiles().next().is_some() {
            let thread = thread::Builder::new().name("proofs".to_owned());
            thread.spawn(move || behind.run())?;
        }
        Ok(Self(shared))
    }

    /// Whether a profile may be served, by the files as they are now.
    pub fn gate(&self, profile: &Profile) -> Gate {
        let store = &self.0.site.store;
        let subject = subject(profile);
        let releases = of_subject(store, &subject);
        let findings = match profile.verify {
            true => self.0.known(&releases),
            false => BTreeMap::new(),
        };
        gate(&subject, &releases, &findings)
    }

    /// Whether this open file is one whose signature was found good.
    pub fn is_good(&self, path: &RepositoryPath, opened: &Opened) -> bool {
        let found = self.0.desk().findings.get(path).cloned();
        let Some((state, Finding::Done(verdict))) = found else { return false };
        state.file.is_some() && state.file == identity(opened) && verdict.is_good(SystemTime::now())
    }

    /// Whether this file may be sent: not where every profile that it is the release of is closed.
    pub fn admits(&self, path: &RepositoryPath) -> Result<(), String> {
        let folder = path.folder();
        let is_kernels = |profile: &&Profile| match &profile.kernel {
            Source::Repository(kernel) => folder.is_some() && kernel.folder() == folder,
            Source::Url(_) => false,
        };
        let profiles = self.0.site.config.catalog.profiles().iter().map(|profile| &**profile);
        let mut refused = Ok(());
        for profile in profiles.filter(is_kernels) {
            match self.gate(profile) {
                Gate::Open => return Ok(()),
                Gate::Closed(reason) | Gate::Pending(reason) => refused = Err(reason),
            }
        }
        refused
    }
}

impl Drop for Proofs {
    fn drop(&mut self) {
        self.0.desk().is_over = true;
        self.0.bell.notify_all();
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn profiles(&self) -> impl Iterator<Item = &Profile> {
        let profiles = self.site.config.catalog.profiles().iter().map(|profile| &**profile);
        let verified = |profile: &&Profile| profile.verify || profile.install == Install::Once;
        profiles.filter(verified)
    }

    /// What is known of the files of these releases in the state they are in.
    fn known(&self, releases: &[Release]) -> BTreeMap<RepositoryPath, Finding> {
        let mut known = BTreeMap::new();
        let parts = releases.iter().flat_map(|release| release.parts.values());
        for part in parts.filter(|part| part.is_signed()) {
            let state = State::of(&self.site.store, part);
            if self.verifier.is_none() {
                let fault = Fault::Unreadable("there is no keyring".to_owned());
                known.insert(part.path.clone(), Finding::Done(Verdict::Bad(fault)));
                continue;
            }
            let finding = match self.desk().findings.get(&part.path) {
                Some((then, Finding::Done(good @ Verdict::Good { .. })))
                    if *then == state && !good.is_good(SystemTime::now()) =>
                {
                    Finding::Done(Verdict::Bad(Fault::Expired))
                }
                Some((then, finding)) if *then == state => finding.clone(),
                Some(_) | None => Finding::Pending(0),
            };
            if finding == Finding::Pending(0) {
                self.bell.notify_all();
            }
            known.insert(part.path.clone(), finding);
        }
        known
    }

    fn run(&self) {
        loop {
            for profile in self.profiles() {
                if self.look_after(&subject(profile)).is_break() {
                    return;
                }
            }
            let desk = self.desk();
            if desk.is_over {
                return;
            }
            let waited = self.bell.wait_timeout(desk, ROUND);
            if waited.unwrap_or_else(PoisonError::into_inner).0.is_over {
                return;
            }
        }
    }

    /// Verifies what is new or changed of one profile's releases.
    fn look_after(&self, subject: &Subject<'_>) -> ControlFlow<()> {
        let Some(verifier) = &self.verifier else {
            return ControlFlow::Break(());
        };
        let store = &self.site.store;
        for release in of_subject(store, subject) {
            let mut states = BTreeMap::new();
            for part in release.needed(true).filter(|part| part.is_signed()) {
                let state = State::of(store, part);
                let is_known = matches!(
                    self.desk().findings.get(&part.path),
                    Some((then, Finding::Done(_))) if *then == state
                );
                if !is_known {
                    states.insert(part.path.clone(), (state, part));
                }
            }
            if !states.is_empty() {
                self.verify(verifier, &release, &states)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn verify(
        &self,
        verifier: &Verifier,
        release: &Release,
        states: &BTreeMap<RepositoryPath, (State, &Part)>,
    ) -> ControlFlow<()> {
        let parts: Vec<&Part> = states.values().map(|(_, part)| *part).collect();
        let note = |percent: u8| {
            let mut desk = self.desk();
            for (path, (state, _)) in states {
                desk.findings.insert(path.clone(), (*state, Finding::Pending(percent)));
            }
            match desk.is_over {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let mut last = Instant::now();
        let verdicts = verifier.verify(&self.site.store, &parts, &mut |progress| {
            if last.elapsed() > NEWS {
                last = Instant::now();
                tracing::info!("verifying {}: {} %", release.folder, progress.percent());
            }
            note(progress.percent())
        });
        for (path, verdict) in &verdicts {
            match verdict {
                Verdict::Good { .. } => tracing::info!("{path} is {verdict}"),
                Verdict::Bad(fault) => tracing::warn!("{path}: {fault}"),
            }
        }
        let mut desk = self.desk();
        for (path, verdict) in verdicts {
            if let Some((state, _)) = states.get(&path) {
                desk.findings.insert(path, (*state, Finding::Done(verdict)));
            }
        }
        match desk.is_over {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl State {
    fn of(store: &Store, part: &Part) -> Self {
        let at = |path: &RepositoryPath| identity(&store.read(path).ok()?);
        let signature = part.signature_path();
        Self { file: at(&part.path), signature: signature.and_then(|path| at(&path)) }
    }
}
