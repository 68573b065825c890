//! What iPXE and GRUB are told for one machine: how it boots, the way to its disk, or on its console
//! why there is neither. One decision, whichever of the two asks, and over HTTP and TFTP alike.
//!
//! A script that installs is sent only once the ledger has it on disk.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::timeout};

use super::{
    caller::Caller,
    http::{Arrival, Composing, Config, Evidence, Rendering, Scripts},
    journal::Journal,
    ledger::{Ledger, NoteError, now},
    releases::Proofs,
    site::Site,
    unified::no_group,
    visitors::Visitors,
};
use crate::{
    catalog::{Catalog, Group, Install, NotTold, Source},
    config::Access,
    firmware::Means,
    http::{
        named::{Named, Told},
        reply::Refusal,
        request::Verb,
        route::{Asked, Script},
    },
    ledger::{Decision, Event, Found, Pass, Record},
    machine::{Mac, Machine},
    path::RepositoryPath,
    release::Gate,
    render::{Language, autoexec_script, boot_script, first_config, notice_script},
    template::{Words, base_url},
    token::Token,
    trace::{Step, Who},
    unified::Name,
};

/// How long the ledger's disk may take for what must be written first.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where a machine boots in any case.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// How often a decision is taken anew because the machine did something meanwhile.
const TRIES: usize = 4;

/// Renders scripts and configs, and notes each in the ledger and the log.
#[derive(Debug)]
pub(super) struct Renderer {
    pub(super) journal: Journal,
    pub(super) ledger: Ledger,
    pub(super) visitors: Visitors,
    pub(super) proofs: watch::Receiver<Arc<Proofs>>,
}

/// What becomes of a machine, in whatever language it is told.
#[derive(Debug)]
pub(super) enum Verdict<'a, T> {
    /// It boots this.
    Boot(T),
    /// It goes on to its own disk, for this reason.
    Disk {
        /// Its group.
        group: &'a Group,
        /// The reason.
        reason: String,
    },
    /// It waits for its operator.
    Hold(String),
    /// It boots nothing, for this reason.
    Nothing(String),
    /// It boots nothing yet.
    NotYet(String),
}

/// Fills in what boots a machine of this group and these words.
pub(super) type Make<'a, T> = &'a (dyn Fn(&Group, &Words) -> Result<T, String> + Sync);

impl Scripts for Renderer {
    fn image<'a>(
        &'a self,
        verb: Verb,
        name: &'a Name,
        site: &'a Site,
        arrival: Arrival,
    ) -> Composing<'a> {
        Box::pin(self.composed(verb, name, site, arrival))
    }

    fn has_fetched(&self, path: &RepositoryPath, site: &Site, address: Ipv4Addr) {
        Evidence::by_tftp(&self.ledger, address, (path, &site.config.catalog));
    }

    fn render<'a>(&'a self, script: &'a Script, site: &'a Site, arrival: Arrival) -> Rendering<'a> {
        Box::pin(async move {
            match script {
                Script::Boot => boot_script(),
                Script::Machine(query) => {
                    self.machine(self.hear(query), Language::Ipxe, site, arrival).await
                }
                Script::Named(Named::Autoexec) => {
                    autoexec_script(&base_url(ipv4(arrival.local), site.config.http_port))
                }
                Script::Named(Named::First(mac)) => first_config(*mac),
                Script::Named(Named::Machine(told)) => self.grub(told, site, arrival).await,
                Script::Nobody(error) => {
                    let reason = error.to_string();
                    let script = notice_script(&reason);
                    let who = Who::Address(ipv4(arrival.peer));
                    self.journal.step(who, &Step::Notice { reason });
                    script
                }
            }
        })
    }

    /// What belongs to a profile that is not served is not, either: an installer that waits tries
    /// again at 503.
    fn admits(&self, path: &RepositoryPath) -> Result<(), Refusal> {
        self.proofs.borrow().admits(path).map_err(Refusal::NotReady)
    }

    fn config(
        &self,
        verb: Verb,
        asked: &Asked,
        site: &Site,
        arrival: Arrival,
    ) -> Result<Config, Refusal> {
        let (config, who, step) = self.text(asked, site, arrival)?;
        if verb == Verb::Get {
            self.journal.step(who, &step);
        }
        Ok(config)
    }
}

impl Renderer {
    /// GRUB knows the card that it was loaded by, and tells of the machine what fits into a name.
    async fn grub(&self, told: &Told, site: &Site, arrival: Arrival) -> String {
        let address = ipv4(arrival.peer);
        let holder = || self.journal.machine_at(address);
        let holder = || holder().or_else(|| Some(self.machine_at(arrival)?.mac));
        let Some(caller) = Caller::of(told, holder) else {
            let reason = format!("nobody knows which machine has the address {address}");
            let config = Language::Grub.notice(&reason, None);
            self.journal.step(Who::Address(address), &Step::Notice { reason });
            return config;
        };
        match self.ledger.with(|book| caller.machine(told, book)) {
            Ok(machine) => {
                let make = |group: &Group, words: &Words| {
                    caller.may_have(group)?;
                    Language::Grub.boot(group, words)
                };
                self.say(machine, Language::Grub, site, arrival, &make).await
            }
            Err(reason) => {
                let config = Language::Grub.notice(&reason, None);
                self.journal.step(Who::Address(address), &Step::Notice { reason });
                config
            }
        }
    }

    /// The machine's own text, in the words of its loader.
    async fn machine(
        &self,
        machine: Machine,
        language: Language,
        site: &Site,
        arrival: Arrival,
    ) -> String {
        let make = |group: &Group, words: &Words| language.boot(group, words);
        self.say(machine, language, site, arrival, &make).await
    }

    async fn say(
        &self,
        machine: Machine,
        language: Language,
        site: &Site,
        arrival: Arrival,
        make: Make<'_, String>,
    ) -> String {
        match self.verdict(machine.clone(), site, arrival, make).await {
            Verdict::Boot(text) => text,
            Verdict::Disk { group, reason } => language.disk(&machine, group.hand_off, &reason),
            Verdict::Hold(reason) => language.hold(&machine, &reason),
            Verdict::Nothing(reason) => language.notice(&reason, Some(&machine)),
            Verdict::NotYet(reason) => language.wait(&machine, &reason),
        }
    }

    /// Decides what becomes of a machine, and notes it in the ledger and the log before it is said.
    /// `make` fills in what boots it; its error is why nothing does.
    pub(super) async fn verdict<'a, T: Send>(
        &self,
        machine: Machine,
        site: &'a Site,
        arrival: Arrival,
        make: Make<'_, T>,
    ) -> Verdict<'a, T> {
        if let Some(reason) = site.turns_away(machine.mac) {
            return self.nothing(&machine, reason);
        }
        let token = match site.config.config_access {
            Access::Address => None,
            Access::Token => match random() {
                Ok(token) => Some(token),
                Err(error) => {
                    return self.nothing(&machine, format!("no token can be made: {error}"));
                }
            },
        };
        let words = words(machine, token, site, arrival);
        let group = match choose(&site.config.catalog, &words.machine) {
            Ok(group) => group,
            Err(reason) => {
                self.ledger.pass_by(words.machine.clone());
                return self.nothing(&words.machine, reason);
            }
        };
        let met = self.meet(&words, group).await;
        for _ in 0..TRIES {
            match self.answer(&words, group, site, met.as_ref().err(), make).await {
                Ok(verdict) => return verdict,
                Err(NoteError::Changed) => {}
                Err(error) => return self.nothing(&words.machine, error.to_string()),
            }
        }
        self.nothing(&words.machine, NoteError::Changed.to_string())
    }

    /// What [`Renderer::verdict`] would be now: nothing is noted, and nothing decided.
    pub(super) fn foresee<'a, T>(
        &self,
        machine: Machine,
        site: &'a Site,
        arrival: Arrival,
        make: Make<'_, T>,
    ) -> Verdict<'a, T> {
        if let Some(reason) = site.turns_away(machine.mac) {
            return Verdict::Nothing(reason);
        }
        let catalog = &site.config.catalog;
        let group = match choose(catalog, &machine) {
            Ok(group) => group,
            Err(reason) => return Verdict::Nothing(reason),
        };
        let most_attempts = self.ledger.most_attempts();
        match self.ledger.with(|book| book.decide(&machine, group, catalog, most_attempts)) {
            Decision::Boot | Decision::Install => {
                // All tokens are equally long.
                let token =
                    (site.config.config_access == Access::Token).then(|| Token::new([0; 16]));
                let made = self.make(&words(machine, token, site, arrival), group, make);
                made.map_or_else(|verdict| verdict, Verdict::Boot)
            }
            Decision::Disk(reason) => Verdict::Disk { group, reason },
            Decision::Hold(reason) => Verdict::Hold(reason),
        }
    }

    /// Writes down who asks, and that it does.
    async fn meet(&self, words: &Words, group: &Group) -> Result<(), NoteError> {
        let mac = words.machine.mac;
        let (most, now) = (self.ledger.most_attempts(), now());
        let is_news = |record: &Record| record.is_power_on_news(most, Means::Pxe, now);
        let mut events = vec![Event::Address(words.ip)];
        if self.ledger.with(|book| book.get(mac).is_none_or(is_news)) {
            events.push(Event::PoweredOn);
        }
        in_time(group, self.ledger.meet(words.machine.clone(), events)).await.map(drop)
    }

    /// Decides, and writes down what follows before it is said. `unmet` is why nothing is known of
    /// the machine now.
    async fn answer<'a, T: Send>(
        &self,
        words: &Words,
        group: &'a Group,
        site: &Site,
        unmet: Option<&NoteError>,
        make: Make<'_, T>,
    ) -> Result<Verdict<'a, T>, NoteError> {
        let (machine, catalog) = (&words.machine, &site.config.catalog);
        let most_attempts = self.ledger.most_attempts();
        let (decision, record, is_twin) = self.ledger.with(|book| {
            let decision = book.decide(machine, group, catalog, most_attempts);
            let is_twin = matches!(book.find(machine), Found::Twin(_));
            (decision, book.get(machine.mac).cloned(), is_twin)
        });
        match decision {
            Decision::Boot => {
                let made = match self.made(words, group, make) {
                    Ok(made) => made,
                    Err(verdict) => return Ok(verdict),
                };
                self.boots(group, record).await;
                self.scripted(words, group, words.token);
                Ok(Verdict::Boot(made))
            }
            Decision::Install => {
                let made = match self.made(words, group, make) {
                    Ok(made) => made,
                    Err(verdict) => return Ok(verdict),
                };
                let Some(record) = record.filter(|_| unmet.is_none()) else {
                    return Err(unmet.cloned().unwrap_or(NoteError::Changed));
                };
                let event = Event::Scripted {
                    group: group.name.clone(),
                    profile: group.profile.name.clone(),
                    token: words.token.map(|token| Pass { token, made: now() }),
                };
                in_time(group, self.ledger.note_if(record, vec![event])).await?;
                // Whether its token is good the ledger says, which also knows when it no longer is.
                self.scripted(words, group, None);
                Ok(Verdict::Boot(made))
            }
            Decision::Disk(reason) => {
                self.is_twin(machine, is_twin, &reason).await?;
                let step = Step::Disk { reason: reason.clone() };
                self.journal.step(Who::Machine(machine.mac), &step);
                Ok(Verdict::Disk { group, reason })
            }
            Decision::Hold(reason) => {
                self.is_twin(machine, is_twin, &reason).await?;
                let step = Step::Notice { reason: reason.clone() };
                self.journal.once(machine.mac, &step, false);
                Ok(Verdict::Hold(reason))
            }
        }
    }

    /// An operator can speak of a twin once it has a record.
    async fn is_twin(&self, machine: &Machine, is: bool, why: &str) -> Result<(), NoteError> {
        if is {
            let event = Event::Twin(why.to_owned());
            timeout(PATIENCE, self.ledger.note(machine.mac, event)).await.unwrap_or_else(late)?;
        }
        Ok(())
    }

    /// Notes the group of a machine that runs from RAM, so that losing it never installs it.
    async fn boots(&self, group: &Group, record: Option<Record>) {
        let Some(record) = record else { return };
        let mac = record.machine.mac;
        let event =
            Event::Booted { group: group.name.clone(), profile: group.profile.name.clone() };
        // It boots all the same; that the disk does not take it is in the log.
        let _ = in_time(group, self.ledger.note(mac, event)).await;
    }

    /// What boots a machine, or the verdict on one whose profile may not be served, or not yet; it is
    /// noted.
    fn made<T>(
        &self,
        words: &Words,
        group: &Group,
        make: Make<'_, T>,
    ) -> Result<T, Verdict<'static, T>> {
        let made = self.make(words, group, make);
        if let Err(Verdict::Nothing(reason) | Verdict::NotYet(reason)) = &made {
            self.notes(&words.machine, reason);
        }
        made
    }

    fn make<T>(
        &self,
        words: &Words,
        group: &Group,
        make: Make<'_, T>,
    ) -> Result<T, Verdict<'static, T>> {
        let closed = |reason| format!("profile {} is not served: {reason}", group.profile.name);
        let gate = self.proofs.borrow().gate(&group.profile);
        match gate {
            Gate::Open => make(group, words).map_err(Verdict::Nothing),
            Gate::Closed(reason) => Err(Verdict::Nothing(closed(reason))),
            Gate::Pending(reason) => Err(Verdict::NotYet(closed(reason))),
        }
    }

    fn scripted(&self, words: &Words, group: &Group, token: Option<Token>) {
        let mac = words.machine.mac;
        let elsewhere = matches!(group.profile.kernel, Source::Url(_));
        let (group, profile) = (group.name.clone(), group.profile.name.clone());
        self.journal.step(Who::Machine(mac), &Step::Script { group, profile });
        self.journal.learn(mac, words.ip);
        if elsewhere {
            self.journal.goes_elsewhere(mac);
        }
        self.visitors.scripted(words.machine.clone(), words.ip, token, Instant::now());
    }

    fn nothing<T>(&self, machine: &Machine, reason: String) -> Verdict<'static, T> {
        self.notes(machine, &reason);
        Verdict::Nothing(reason)
    }

    pub(super) fn notes(&self, machine: &Machine, reason: &str) {
        let step = Step::Notice { reason: reason.to_owned() };
        self.journal.step(Who::Machine(machine.mac), &step);
    }
}

fn words(machine: Machine, token: Option<Token>, site: &Site, arrival: Arrival) -> Words {
    let base_url = base_url(ipv4(arrival.local), site.config.http_port);
    Words { base_url, ip: ipv4(arrival.peer), machine, token }
}

/// The group of a machine: of one that has not told all, only where the rest could change nothing.
fn choose<'a>(catalog: &'a Catalog, machine: &Machine) -> Result<&'a Group, String> {
    let group = catalog.settle(machine).map_err(|NotTold| told_too_little(machine.mac))?;
    group.ok_or_else(|| no_group(machine, catalog))
}

/// Why a machine is in no group that could be said.
pub(super) fn told_too_little(mac: Mac) -> String {
    format!("{mac} has told too little of itself to say which group it is in")
}

async fn in_time(
    group: &Group,
    noted: impl Future<Output = Result<Record, NoteError>>,
) -> Result<Record, NoteError> {
    let patience = match group.profile.install {
        Install::Never => SHORT_PATIENCE,
        Install::Always | Install::Once => PATIENCE,
    };
    timeout(patience, noted).await.unwrap_or_else(late)
}

fn late(_: tokio::time::error::Elapsed) -> Result<Record, NoteError> {
    Err(NoteError::Disk("its disk does not answer".to_owned()))
}

fn random() -> Result<Token, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(Token::new(bits))
}

/// We listen on IPv4 only.
pub(super) fn ipv4(address: SocketAddr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
