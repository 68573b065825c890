//! What becomes of a machine that asks, whoever tells of it and in whatever language it is told: one
//! decision, by catalog and ledger, on every way to a kernel.
//!
//! What installs is given only once the ledger has it on disk.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    disk::Area,
    goal::signs,
    http::Arrival,
    ledger::{NoteError, PATIENCE, late, now},
    neighbours,
    scripts::{Renderer, ipv4},
    site::Site,
    visitors::Standing,
};
use crate::{
    catalog::{Catalog, Choice, Group, Install, NotTold, Source},
    config::Access,
    firmware::Means,
    ledger::{Book, Decision, Event, Found, Pass, Record},
    machine::Machine,
    release::Gate,
    template::{Words, base_url},
    token::Token,
    trace::{Step, Who},
};

/// As [`PATIENCE`], where a machine boots in any case.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// How often a decision is taken anew because the machine did something meanwhile.
const TRIES: usize = 4;

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
pub(super) type Fill<'a, T> = &'a (dyn Fn(&Group, &Words) -> Filling<'a, T> + Sync);

/// The filling of a verdict, which may have to wait for the disk.
pub(super) type Filling<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// A machine that asks what becomes of it.
pub(super) struct Asking<'a> {
    pub(super) machine: Machine,
    /// The same by what this request tells alone.
    pub(super) own: Machine,
    pub(super) teller: Teller,
    pub(super) site: &'a Site,
    pub(super) arrival: Arrival,
}

/// Who tells of a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Teller {
    /// UEFI, which tells no more than this, ever.
    Firmware,
    /// iPXE or GRUB: all that there will be, or nothing.
    Loader,
}

impl<'a> Asking<'a> {
    /// Its group, and whether it was told of earlier what chose that; the error is why it has none
    /// to boot by.
    fn group(&self) -> Result<(&'a Group, bool), String> {
        let mac = self.machine.mac;
        if let Some(why) = self.site.turns_away(mac) {
            return Err(why.to_string());
        }
        let catalog = &self.site.config.catalog;
        let by = match self.teller {
            Teller::Firmware => Catalog::select_by_firmware,
            Teller::Loader => Catalog::settle,
        };
        match catalog.choose(&self.machine, &self.own, by) {
            Ok(Choice::Told(group)) => {
                group.map(|group| (group, false)).ok_or_else(|| self.no_group())
            }
            Ok(Choice::Remembered(group)) => Ok((group, true)),
            Err(NotTold) => {
                Err(format!("{mac} has told too little of itself to say which group it is in"))
            }
        }
    }

    fn no_group(&self) -> String {
        let Self { machine, site, .. } = self;
        let reason = format!("no group matches {}", machine.mac);
        let heard = Machine::heard(machine.mac, machine.uuid, machine.platform);
        let may_tell_more = self.teller == Teller::Firmware && !machine.tells_by_ipxe();
        match may_tell_more && site.config.catalog.may_select(&heard) {
            true => format!(
                "{reason}: without iPXE it tells only mac, uuid, arch and firmware for a group to \
                 select by"
            ),
            false => reason,
        }
    }

    fn words(self, token: Option<Token>) -> Words {
        let base_url = base_url(ipv4(self.arrival.local), self.site.config.http_port);
        Words { base_url, ip: ipv4(self.arrival.peer), machine: self.machine, token }
    }
}

impl Renderer {
    /// Decides what becomes of a machine, and notes it in the ledger and the log before it is said.
    /// `fill` fills in what boots it; its error is why nothing does.
    pub(super) async fn verdict<'a, T: Send>(
        &self,
        asking: Asking<'a>,
        fill: Fill<'_, T>,
    ) -> Verdict<'a, T> {
        let (machine, site) = (&asking.machine, asking.site);
        let (group, is_remembered) = match asking.group() {
            Ok(chosen) => chosen,
            Err(reason) => {
                self.ledger.pass_by(machine.clone());
                return self.nothing(machine, reason);
            }
        };
        let token = match site.config.config_access {
            Access::Address => None,
            Access::Token => match random() {
                Ok(token) => Some(token),
                Err(error) => {
                    return self.nothing(machine, format!("no token can be made: {error}"));
                }
            },
        };
        let teller = asking.teller;
        let words = asking.words(token);
        let met = self.meet(&words, group).await;
        if is_remembered && self.would_install(&words.machine, group, site) {
            return self.nothing(&words.machine, remembered(&words.machine, group));
        }
        for _ in 0..TRIES {
            match self.answer(&words, teller, group, site, met.as_ref().err(), fill).await {
                Ok(verdict) => return verdict,
                Err(NoteError::Changed) => {}
                Err(error) => return self.nothing(&words.machine, error.to_string()),
            }
        }
        self.nothing(&words.machine, NoteError::Changed.to_string())
    }

    /// What [`Renderer::verdict`] would be now: nothing is noted, and nothing decided.
    pub(super) async fn foresee<'a, T>(
        &self,
        asking: Asking<'a>,
        fill: Fill<'_, T>,
    ) -> Verdict<'a, T> {
        let (group, is_remembered) = match asking.group() {
            Ok(chosen) => chosen,
            Err(reason) => return Verdict::Nothing(reason),
        };
        if is_remembered && self.would_install(&asking.machine, group, asking.site) {
            return Verdict::Nothing(remembered(&asking.machine, group));
        }
        let config = &asking.site.config;
        let most_attempts = self.ledger.most_attempts();
        let decide =
            |book: &Book| book.decide(&asking.machine, group, &config.catalog, most_attempts);
        match self.ledger.with(decide) {
            Decision::Boot | Decision::Install => {
                // All tokens are equally long.
                let token = (config.config_access == Access::Token).then(|| Token::new([0; 16]));
                let filled = self.fill_in(&asking.words(token), group, fill).await;
                filled.map_or_else(|verdict| verdict, Verdict::Boot)
            }
            Decision::Disk(reason) => Verdict::Disk { group, reason },
            Decision::Hold(reason) => Verdict::Hold(reason),
        }
    }

    fn would_install(&self, machine: &Machine, group: &Group, site: &Site) -> bool {
        let most_attempts = self.ledger.most_attempts();
        let catalog = &site.config.catalog;
        let decide = |book: &Book| book.decide(machine, group, catalog, most_attempts);
        self.ledger.with(decide) == Decision::Install
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
        teller: Teller,
        group: &'a Group,
        site: &Site,
        unmet: Option<&NoteError>,
        fill: Fill<'_, T>,
    ) -> Result<Verdict<'a, T>, NoteError> {
        let (machine, catalog) = (&words.machine, &site.config.catalog);
        let most_attempts = self.ledger.most_attempts();
        let (decision, record, is_twin) = self.ledger.with(|book| {
            let decision = book.decide(machine, group, catalog, most_attempts);
            let is_twin = matches!(book.find(machine, catalog.shared_uuids()), Found::Twin(_));
            (decision, book.get(machine.mac).cloned(), is_twin)
        });
        let installs = match decision {
            Decision::Boot => false,
            Decision::Install => true,
            Decision::Disk(reason) => {
                self.is_twin(machine, is_twin, &reason).await?;
                let step = Step::Disk { reason: reason.clone() };
                self.journal.step(Who::Machine(machine.mac), &step);
                return Ok(Verdict::Disk { group, reason });
            }
            Decision::Hold(reason) => {
                self.is_twin(machine, is_twin, &reason).await?;
                let step = Step::Notice { reason: reason.clone() };
                self.journal.once(machine.mac, &step, false);
                return Ok(Verdict::Hold(reason));
            }
        };
        let filled = match self.fill_in(words, group, fill).await {
            Ok(filled) => filled,
            Err(verdict) => {
                if let Verdict::Nothing(reason) | Verdict::NotYet(reason) = &verdict {
                    self.notes(machine, reason);
                }
                return Ok(verdict);
            }
        };
        if installs {
            let Some(record) = record.filter(|_| unmet.is_none()) else {
                return Err(unmet.cloned().unwrap_or(NoteError::Changed));
            };
            let event = Event::Scripted {
                group: group.name.clone(),
                profile: group.profile.name.clone(),
                token: words.token.map(|token| Pass { token, made: now() }),
            };
            let is_unified = teller == Teller::Firmware;
            let goal = signs(site, group, words, is_unified).goal;
            let events = vec![event, Event::Aims(goal), Event::AskedBy(words.ip)];
            in_time(group, self.ledger.note_if(record, events)).await?;
            // Whether its token is good the ledger says, which also knows when it no longer is.
            self.scripted(words, group, None);
        } else {
            self.boots(group, record).await;
            self.scripted(words, group, words.token);
        }
        Ok(Verdict::Boot(filled))
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

    /// What boots a machine, or the verdict on one whose profile may not be served, or not yet.
    async fn fill_in<T>(
        &self,
        words: &Words,
        group: &Group,
        fill: Fill<'_, T>,
    ) -> Result<T, Verdict<'static, T>> {
        let closed = |reason| format!("profile {} is not served: {reason}", group.profile.name);
        match self.gate(group).await {
            Gate::Open => fill(group, words).await.map_err(Verdict::Nothing),
            Gate::Closed(reason) => Err(Verdict::Nothing(closed(reason))),
            Gate::Pending(reason) => Err(Verdict::NotYet(closed(reason))),
        }
    }

    /// Whether the profile of this group may be served; a disk that hangs says "not yet".
    async fn gate(&self, group: &Group) -> Gate {
        let (proofs, profile) = (self.proofs(), Arc::clone(&group.profile));
        let kernel = match &profile.kernel {
            Source::Repository(kernel) => kernel,
            Source::Url(_) => return proofs.gate(&profile),
        };
        match Area::of(kernel).look(move || proofs.gate(&profile)).await {
            Ok(gate) => gate,
            Err(stall) => {
                self.journal.silence("disk", stall.label());
                Gate::Pending(stall.to_string())
            }
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
        let standing = match neighbours::card(words.ip) == Some(mac) {
            true => Standing::Local,
            false => Standing::Stranger,
        };
        self.visitors.scripted((words.machine.clone(), standing), words.ip, token, Instant::now());
    }

    fn nothing<T>(&self, machine: &Machine, reason: String) -> Verdict<'static, T> {
        self.notes(machine, &reason);
        Verdict::Nothing(reason)
    }

    fn notes(&self, machine: &Machine, reason: &str) {
        let step = Step::Notice { reason: reason.to_owned() };
        self.journal.step(Who::Machine(machine.mac), &step);
    }
}

/// Why a machine is not installed that is in its group by what was told of it earlier.
fn remembered(machine: &Machine, group: &Group) -> String {
    format!(
        "{} is in group {}, whose profile {} installs, only by what was told of it earlier; it is \
         installed when its own request tells that",
        machine.mac, group.name, group.profile.name
    )
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

fn random() -> Result<Token, getrandom::Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)?;
    Ok(Token::new(bits))
}
