//! What `/ipxe` says to one machine: its script, or on its console why there is none.

use std::net::Ipv4Addr;

use super::{journal::Journal, site::Site};
use crate::{
    http::request::{Query, QueryError},
    machine::Machine,
    render::{machine_script, notice_script},
    template::{Words, base_url},
    trace::{Step, Who},
};

/// The script for the machine that asks from `peer` at our address `local`, and the log of it.
///
/// Always a script: iPXE shows no more than a number of an HTTP error, and the person at the
/// console needs the reason.
pub(super) fn script(
    site: &Site,
    journal: &Journal,
    query: Result<Query, QueryError>,
    local: Ipv4Addr,
    peer: Ipv4Addr,
) -> String {
    let query = match query {
        Ok(query) => query,
        Err(error) => return notice(journal, Who::Address(peer), error.to_string()),
    };
    let who = Who::Machine(query.mac);
    let machine = Machine { mac: query.mac, uuid: query.uuid };
    let Some(group) = site.config.catalog.select(&machine) else {
        return notice(journal, who, format!("no group matches {}", machine.mac));
    };
    let base_url = base_url(local, site.config.http_port);
    let words = Words { base_url, ip: peer, machine };
    let names_initrd = query.platform.as_deref() != Some("pcbios");
    match machine_script(group, &words, names_initrd) {
        Ok(script) => {
            let (group, profile) = (group.name.clone(), group.profile.name.clone());
            journal.step(who, &Step::Script { group, profile });
            journal.learn(query.mac, peer);
            script
        }
        Err(error) => {
            let profile = &group.profile.name;
            notice(journal, who, format!("an argument of profile {profile} {error}"))
        }
    }
}

fn notice(journal: &Journal, who: Who, reason: String) -> String {
    let script = notice_script(&reason);
    journal.step(who, &Step::Notice { reason });
    script
}
