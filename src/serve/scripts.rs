//! What `/boot.ipxe` and `/ipxe` say to one machine: its script, the way to its disk, or on its
//! console why there is none.
//!
//! A script that installs is sent only once the ledger has it on disk.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::StatusCode;
use tokio::{sync::watch, time::timeout};

use super::{
    http::{Arrival, Config, Rendering, Scripts, Text},
    journal::Journal,
    ledger::{Ledger, NoteError, now},
    releases::Proofs,
    site::Site,
    visitors::Visitors,
};
use crate::{
    catalog::{Group, Install, Source},
    config::Access,
    http::{
        reply::Refusal,
        request::{Query, Verb},
        route::{Asked, Script},
    },
    ledger::{Decision, Event, Found, Pass, Record},
    machine::Machine,
    path::RepositoryPath,
    release::Gate,
    render::{
        Ending, boot_script, disk_script, hold_script, notice_for, notice_script, script_for,
        wait_script,
    },
    template::{Words, base_url},
    token::Token,
    trace::{Step, Who},
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

impl Scripts for Renderer {
    /// Always a script with status 200: iPXE shows no more than a number of an HTTP error, and the
    /// person at the console needs the reason.
    fn render<'a>(&'a self, script: &'a Script, site: &'a Site, arrival: Arrival) -> Rendering<'a> {
        Box::pin(async move {
            let body = match script {
                Script::Boot => boot_script().to_owned(),
                Script::Machine(query) => self.machine(query, site, arrival).await,
                Script::Nobody(error) => {
                    let reason = error.to_string();
                    let script = notice_script(&reason);
                    let who = Who::Address(ipv4(arrival.peer));
                    self.journal.step(who, &Step::Notice { reason });
                    script
                }
            };
            Text { status: StatusCode::OK, body }
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
    async fn machine(&self, query: &Query, site: &Site, arrival: Arrival) -> String {
        let machine = query.clone().machine();
        if let Some(reason) = site.turns_away(machine.mac) {
            return self.notice(&machine, reason);
        }
        let token = match site.config.config_access {
            Access::Address => None,
            Access::Token => match random() {
                Ok(token) => Some(token),
                Err(error) => {
                    return self.notice(&machine, format!("no token can be made: {error}"));
                }
            },
        };
        let base_url = base_url(ipv4(arrival.local), site.config.http_port);
        let words = Words { base_url, ip: ipv4(arrival.peer), machine, token };
        let Some(group) = site.config.catalog.select(&words.machine) else {
            self.ledger.pass_by(words.machine.clone());
            return self.notice(&words.machine, format!("no group matches {}", query.mac));
        };
        let met = self.meet(&words, group).await;
        for _ in 0..TRIES {
            match self.answer(&words, group, site, met.as_ref().err()).await {
                Ok(script) => return script,
                Err(NoteError::Changed) => {}
                Err(error) => return self.notice(&words.machine, error.to_string()),
            }
        }
        self.notice(&words.machine, NoteError::Changed.to_string())
    }

    /// Writes down who asks, and that it does.
    async fn meet(&self, words: &Words, group: &Group) -> Result<(), NoteError> {
        let mac = words.machine.mac;
        let (most, now) = (self.ledger.most_attempts(), now());
        let is_news = |record: &Record| record.is_power_on_news(most, now);
        let mut events = vec![Event::Address(words.ip)];
        if self.ledger.with(|book| book.get(mac).is_none_or(is_news)) {
            events.push(Event::PoweredOn);
        }
        in_time(group, self.ledger.meet(words.machine.clone(), events)).await.map(drop)
    }

    /// Decides, and writes down what follows before it is said. `unmet` is why nothing is known of
    /// the machine now.
    async fn answer(
        &self,
        words: &Words,
        group: &Group,
        site: &Site,
        unmet: Option<&NoteError>,
    ) -> Result<String, NoteError> {
        let (machine, catalog) = (&words.machine, &site.config.catalog);
        let most_attempts = self.ledger.most_attempts();
        let (decision, record, is_twin) = self.ledger.with(|book| {
            let decision = book.decide(machine, group, catalog, most_attempts);
            let is_twin = matches!(book.find(machine), Found::Twin(_));
            (decision, book.get(machine.mac).cloned(), is_twin)
        });
        match decision {
            Decision::Boot => {
                let script = match self.script(words, group) {
                    Ok(script) => script,
                    Err(told) => return Ok(told),
                };
                self.boots(group, record).await;
                self.scripted(words, group, words.token);
                Ok(script)
            }
            Decision::Install => {
                let script = match self.script(words, group) {
                    Ok(script) => script,
                    Err(told) => return Ok(told),
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
                Ok(script)
            }
            Decision::Disk(reason) => {
                self.is_twin(machine, is_twin, &reason).await?;
                let script = disk_script(&reason, Ending::to_disk(machine, group.hand_off));
                self.journal.step(Who::Machine(machine.mac), &Step::Disk { reason });
                Ok(script)
            }
            Decision::Hold(reason) => {
                self.is_twin(machine, is_twin, &reason).await?;
                let script = hold_script(machine, &reason);
                self.journal.once(machine.mac, &Step::Notice { reason }, false);
                Ok(script)
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

    /// The script that boots a machine, or what it is told where its profile may not be served, or
    /// not yet.
    fn script(&self, words: &Words, group: &Group) -> Result<String, String> {
        let machine = &words.machine;
        let name = &group.profile.name;
        let (reason, tell): (_, fn(&Machine, &str) -> String) =
            match self.proofs.borrow().gate(&group.profile) {
                Gate::Open => match script_for(group, words) {
                    Ok(script) => return Ok(script),
                    Err(reason) => (reason, notice_for),
                },
                Gate::Closed(reason) => {
                    (format!("profile {name} is not served: {reason}"), notice_for)
                }
                Gate::Pending(reason) => {
                    (format!("profile {name} is not served: {reason}"), wait_script)
                }
            };
        let told = tell(machine, &reason);
        self.journal.step(Who::Machine(machine.mac), &Step::Notice { reason });
        Err(told)
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

    fn notice(&self, machine: &Machine, reason: String) -> String {
        let script = notice_for(machine, &reason);
        self.journal.step(Who::Machine(machine.mac), &Step::Notice { reason });
        script
    }
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
