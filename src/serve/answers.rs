//! Which machine asks for a config, and what it is given.

use std::{collections::BTreeSet, time::Instant};

use hyper::body::Bytes;

use super::{
    http::{Arrival, Config},
    ledger::now,
    scripts::{Renderer, ipv4},
    site::Site,
    version,
};
use crate::{
    catalog::{Catalog, Group, NotTold},
    check::Kind,
    config::Access,
    http::{
        reply::Refusal,
        request::{Claim, Query},
        route::Asked,
    },
    ledger::Book,
    machine::{Mac, Machine, Uuid},
    path::RepositoryPath,
    printable::is_hidden,
    render::{ConfigText, Unfit},
    template::{Words, base_url},
    token::Token,
    trace::{Step, Who},
};

impl Renderer {
    /// The text, who it is for, and the line about it.
    pub(super) fn text(
        &self,
        asked: &Asked,
        site: &Site,
        arrival: Arrival,
    ) -> Result<(Config, Who, Step), Refusal> {
        let Some(text) = site.configs.get(&asked.path) else {
            let base = asked.release().ok_or(Refusal::NoSuchFile)?;
            return self.version(base.as_ref(), asked, site, arrival);
        };
        let token = asked.token.filter(|_| site.config.config_access == Access::Token);
        let machine = self.who(asked, site, arrival)?;
        if let Some(why) = machine.as_ref().and_then(|machine| site.turns_away(machine.mac)) {
            return Err(Refusal::NoBoot(why.to_string()));
        }
        let words = |machine: Machine| Words {
            base_url: base_url(ipv4(arrival.local), site.config.http_port),
            ip: ipv4(arrival.peer),
            machine,
            token,
        };
        let given = |text: &ConfigText, rendered: Bytes, group: Option<&Group>| {
            let (file, kind) = (asked.path.to_string(), text.kind.to_string());
            let group = group.map(|group| group.name.clone());
            (
                Config { kind: text.kind, text: rendered, mac: None },
                Step::Config { file, kind, group },
            )
        };
        if text.is_same_for_all() {
            let who = machine
                .as_ref()
                .map_or(Who::Address(ipv4(arrival.peer)), |machine| Who::Machine(machine.mac));
            let words = words(machine.unwrap_or_else(|| Words::specimen().machine));
            let rendered = text.render_for_all(&words).map_err(|error| unready(&error))?;
            let (config, step) = given(text, rendered, None);
            return Ok((config, who, step));
        }
        let machine = machine.ok_or(Refusal::NoMachine)?;
        let mac = machine.mac;
        let group = match site.config.catalog.settle(&machine) {
            Ok(group) => group.ok_or(Refusal::NoGroup(mac))?,
            Err(NotTold) => return Err(Refusal::NoMachine),
        };
        let rendered = text.render(&words(machine), group).map_err(|error| {
            if site.is_first_complaint(&asked.path) {
                let error = Token::hidden(&error.to_string()).replace(is_hidden, " ");
                let (path, group) = (&asked.path, &group.name);
                tracing::warn!("{path} is not given to {mac} (group {group}): it {error}");
            }
            unready(&error)
        })?;
        let (config, step) = given(text, rendered, Some(group));
        Ok((config, Who::Machine(mac), step))
    }

    /// The machine that asks, where that is known.
    fn who(
        &self,
        asked: &Asked,
        site: &Site,
        arrival: Arrival,
    ) -> Result<Option<Machine>, Refusal> {
        let holder = || self.holder(asked.token?);
        match site.config.config_access {
            Access::Token => match holder() {
                Some(machine) => Ok(Some(machine)),
                // Ignition takes 403 as final, and its token may be one that had to make room.
                None if asked.token.is_some() && self.visitors.has_dropped(Instant::now()) => {
                    let why = "too many machines asked for scripts, and some tokens were dropped";
                    Err(Refusal::NotReady(format!("{why}; boot this machine again")))
                }
                None => Err(Refusal::Token),
            },
            Access::Address => match &asked.claim {
                Claim::Wrong(error) => Err(Refusal::Claim(error.clone())),
                Claim::Uuid(uuid) => Ok(self.by_uuid(*uuid, site, arrival)),
                Claim::Machine(query) => Ok(Some(self.machine_of(query))),
                Claim::Nobody => Ok(holder().or_else(|| self.machine_at(arrival))),
                Claim::Cards(macs) => {
                    Ok(holder().or_else(|| self.by_cards(macs, &site.config.catalog, arrival)))
                }
            },
        }
    }

    /// The machine that took the address that is asked from. The ledger knows it across a restart
    /// of ours.
    pub(super) fn machine_at(&self, arrival: Arrival) -> Option<Machine> {
        let address = ipv4(arrival.peer);
        let recorded = |book: &Book| book.at(address).map(|record| record.machine.clone());
        self.visitors.at(address).or_else(|| self.ledger.with(recorded))
    }

    /// The machine that has one of these cards: the one at the address that is asked from, else the
    /// only one that is known, else the only one that a group names. No more than `?mac=` would have.
    fn by_cards(
        &self,
        macs: &BTreeSet<Mac>,
        catalog: &Catalog,
        arrival: Arrival,
    ) -> Option<Machine> {
        let here = self.machine_at(arrival).filter(|machine| macs.contains(&machine.mac));
        if here.is_some() {
            return here;
        }
        let recorded = |mac| self.ledger.with(|book| Some(book.get(mac)?.machine.clone()));
        let known = |&mac: &Mac| self.visitors.by_mac(mac).or_else(|| recorded(mac));
        let mut found: Vec<Machine> = macs.iter().filter_map(known).collect();
        if found.is_empty() {
            let heard = |&mac: &Mac| Machine::heard(mac, None, None);
            let is_named = |machine: &Machine| {
                let group = catalog.settle(machine).ok().flatten();
                group.is_some_and(|group| group.selector.names_each())
            };
            found = macs.iter().map(heard).filter(is_named).collect();
        }
        match found.len() {
            1 => found.pop(),
            _ => None,
        }
    }

    /// The machine that has this UUID. Where several have it, or board makers leave it everywhere, it is
    /// the one at the address that is asked from, if that has it, too; else nobody knows which.
    fn by_uuid(&self, uuid: Uuid, site: &Site, arrival: Arrival) -> Option<Machine> {
        let here = self.machine_at(arrival).filter(|machine| machine.has_uuid(uuid));
        if here.is_some() || site.config.catalog.shared_uuids().contains(&uuid) {
            return here;
        }
        let mut found = self.visitors.with_uuid(uuid);
        self.ledger.with(|book| {
            let recorded = book.records().map(|record| &record.machine);
            for machine in recorded.filter(|machine| machine.has_uuid(uuid)) {
                // Who visits has told it last.
                if !found.iter().any(|other| other.mac == machine.mac) {
                    found.push(machine.clone());
                }
            }
        });
        match found.len() {
            1 => found.pop(),
            _ => None,
        }
    }

    /// The machine that a token was made for: the ledger keeps what an installer was given, and
    /// drops it once the machine is installed; visitors keep what boots into RAM.
    pub(super) fn holder(&self, token: Token) -> Option<Machine> {
        let recorded = |book: &Book| Some(book.by_token(token, now())?.machine.clone());
        let visitor = self.visitors.by_token(token, Instant::now());
        visitor.or_else(|| self.ledger.with(recorded))
    }

    /// The machine that a query names, as it told when it was given a script; else as the query tells.
    fn machine_of(&self, query: &Query) -> Machine {
        let recorded = |book: &Book| book.get(query.mac).map(|record| record.machine.clone());
        let known = self.visitors.by_mac(query.mac).or_else(|| self.ledger.with(recorded));
        known.unwrap_or_else(|| self.hear(query))
    }

    /// The machine that a query tells of.
    pub(super) fn hear(&self, query: &Query) -> Machine {
        self.ledger.with(|book| book.hear(query.mac, query.uuid, &query.labels))
    }

    /// No secret, so that a machine is known by whatever there is.
    fn version(
        &self,
        base: Option<&RepositoryPath>,
        asked: &Asked,
        site: &Site,
        arrival: Arrival,
    ) -> Result<(Config, Who, Step), Refusal> {
        let machine = self.who(asked, site, arrival).ok().flatten();
        let machine = machine.or_else(|| self.machine_at(arrival));
        let group =
            machine.as_ref().and_then(|machine| site.config.catalog.settle(machine).ok().flatten());
        let profile = group.map(|group| &*group.profile);
        let text = version::current(&site.store, profile, base).ok_or(Refusal::NoSuchFile)?;
        let kind = Kind::Text;
        let (file, group) = (asked.path.to_string(), None);
        let step = Step::Config { file, kind: kind.to_string(), group };
        let who = machine.map_or(Who::Address(ipv4(arrival.peer)), |it| Who::Machine(it.mac));
        Ok((Config { kind, text: text.into(), mac: None }, who, step))
    }
}

fn unready(error: &Unfit) -> Refusal {
    Refusal::NotReady(Token::hidden(&format!("it {error}")))
}
