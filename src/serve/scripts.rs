//! What iPXE and GRUB are told for one machine: how it boots, the way to its disk, or on its console
//! why there is neither. Whichever of the two asks, and over HTTP and TFTP alike, it is one verdict.

use std::{
    future::ready,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    caller::Caller,
    http::{Arrival, Composing, Config, Evidence, Noting, Rendering, Scripts},
    journal::Journal,
    ledger::Ledger,
    releases::Proofs,
    site::Site,
    store::Opened,
    verdict::{Asking, Fill, Filling, Teller, Verdict},
    visitors::Visitors,
};
use crate::{
    catalog::Group,
    http::{
        named::{Named, Told},
        reply::Refusal,
        request::Verb,
        route::{Asked, Script},
    },
    machine::Machine,
    path::RepositoryPath,
    render::{Language, autoexec_script, boot_script, first_config, notice_script},
    template::{Words, base_url},
    token::Token,
    trace::{Step, Who},
    unified::Name,
};

/// Renders scripts and configs, and notes each in the ledger and the log.
#[derive(Debug)]
pub(super) struct Renderer {
    pub(super) journal: Journal,
    pub(super) ledger: Ledger,
    pub(super) visitors: Visitors,
    pub(super) proofs: watch::Receiver<Arc<Proofs>>,
}

impl Renderer {
    /// The proofs as they are now. Nobody looks at the disk while they hold the channel: one that
    /// hangs would hang a reload too, and then everyone.
    pub(super) fn proofs(&self) -> Arc<Proofs> {
        Arc::clone(&self.proofs.borrow())
    }
}

impl Scripts for Renderer {
    fn image<'a>(
        &'a self,
        verb: Verb,
        name: &'a Name,
        site: &'a Arc<Site>,
        arrival: Arrival,
    ) -> Composing<'a> {
        Box::pin(self.composed(verb, name, site, arrival))
    }

    fn has_fetched(&self, path: &RepositoryPath, site: &Site, address: Ipv4Addr) {
        Evidence::by_tftp(&self.ledger, address, (path, &site.config.catalog));
    }

    fn before_tftp<'a>(
        &'a self,
        path: &'a RepositoryPath,
        site: &'a Site,
        address: Ipv4Addr,
    ) -> Noting<'a> {
        Box::pin(async move {
            let what = (path, &site.config.catalog);
            match Evidence::before_tftp(&self.ledger, address, what) {
                Some(evidence) => evidence.last_byte().await,
                None => Ok(()),
            }
        })
    }

    fn is_verified(&self, path: &RepositoryPath, opened: &Opened) -> bool {
        self.proofs().is_good(path, opened)
    }

    fn render<'a>(&'a self, script: &'a Script, site: &'a Site, arrival: Arrival) -> Rendering<'a> {
        Box::pin(async move {
            match script {
                Script::Boot => boot_script(),
                Script::Machine(query) => {
                    let language = Language::Ipxe;
                    let fill = |group: &Group, words: &Words| filled(language.boot(group, words));
                    let who = [
                        self.hear(query),
                        Machine::of_request(query.mac, query.uuid, &query.labels),
                    ];
                    self.say(who, language, site, arrival, &fill).await
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

    fn knows(&self, token: Token) -> bool {
        self.holder(token).is_some()
    }

    /// What belongs to a profile that is not served is not, either: an installer that waits tries
    /// again at 503.
    fn admits(&self, path: &RepositoryPath) -> Result<(), Refusal> {
        self.proofs().admits(path).map_err(Refusal::NotReady)
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
        let mac = match who {
            Who::Machine(mac) => Some(mac),
            Who::Address(_) => None,
        };
        Ok(Config { mac, ..config })
    }
}

impl Renderer {
    /// GRUB knows the card that it was loaded by, and tells of the machine what fits into a name.
    async fn grub(&self, told: &Told, site: &Site, arrival: Arrival) -> String {
        let address = ipv4(arrival.peer);
        let holder = || self.journal.machine_at(address);
        let holder = || holder().or_else(|| Some(self.machine_at(arrival)?.mac));
        let nobody = || format!("nobody knows which machine has the address {address}");
        let who = Caller::of(told, holder)
            .ok_or_else(nobody)
            .and_then(|caller| Ok((caller, self.ledger.with(|book| caller.machine(told, book))?)));
        match who {
            Ok((caller, machine)) => {
                let fill = |group: &Group, words: &Words| {
                    let may_have = caller.may_have(group);
                    filled(may_have.and_then(|()| Language::Grub.boot(group, words)))
                };
                let labels = told.labels.clone().unwrap_or_default();
                let own = match told.mac {
                    Some(mac) => Machine::of_request(mac, told.uuid, &labels),
                    None => Machine::heard(machine.mac, None, None),
                };
                self.say([machine, own], Language::Grub, site, arrival, &fill).await
            }
            Err(reason) => {
                let config = Language::Grub.notice(&reason, None);
                self.journal.step(Who::Address(address), &Step::Notice { reason });
                config
            }
        }
    }

    /// A machine's own text, in the words of its loader: by all that is known of it, and by what its
    /// request tells alone. `fill` makes that which boots it.
    async fn say(
        &self,
        [machine, own]: [Machine; 2],
        language: Language,
        site: &Site,
        arrival: Arrival,
        fill: Fill<'_, String>,
    ) -> String {
        let asking =
            Asking { machine: machine.clone(), own, teller: Teller::Loader, site, arrival };
        match self.verdict(asking, fill).await {
            Verdict::Boot(text) => text,
            Verdict::Disk { group, reason } => language.disk(&machine, group.hand_off, &reason),
            Verdict::Hold(reason) => language.hold(&machine, &reason),
            Verdict::Nothing(reason) => language.notice(&reason, Some(&machine)),
            Verdict::NotYet(reason) => language.wait(&machine, &reason),
        }
    }
}

/// A reply that is made without the disk.
fn filled<'a, T: Send + 'a>(text: Result<T, String>) -> Filling<'a, T> {
    Box::pin(ready(text))
}

/// We listen on IPv4 only.
pub(super) fn ipv4(address: SocketAddr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
