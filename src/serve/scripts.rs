//! What `/boot.ipxe` and `/ipxe` say to one machine: its script, or on its console why there is none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::StatusCode;

use super::{
    http::{Arrival, Scripts, Text},
    journal::Journal,
    site::Site,
};
use crate::{
    http::{request::Query, route::Script},
    render::{boot_script, notice_script, script_for},
    template::{Words, base_url},
    trace::{Step, Who},
};

/// Renders scripts, and notes each in the log.
#[derive(Debug)]
pub(super) struct Renderer {
    pub(super) journal: Journal,
}

impl Scripts for Renderer {
    /// Always a script with status 200: iPXE shows no more than a number of an HTTP error, and the
    /// person at the console needs the reason.
    fn render(&self, script: &Script, site: &Site, arrival: Arrival) -> Text {
        let body = match script {
            Script::Boot => boot_script().to_owned(),
            Script::Machine(query) => self.machine(query, site, arrival),
            Script::Nobody(error) => {
                self.notice(Who::Address(ipv4(arrival.peer)), error.to_string())
            }
        };
        Text { status: StatusCode::OK, body }
    }
}

impl Renderer {
    fn machine(&self, query: &Query, site: &Site, arrival: Arrival) -> String {
        let who = Who::Machine(query.mac);
        let base_url = base_url(ipv4(arrival.local), site.config.http_port);
        let ip = ipv4(arrival.peer);
        let words = Words { base_url, ip, machine: query.clone().machine(), token: None };
        match script_for(&site.config.catalog, &words) {
            Ok((group, script)) => {
                let (group, profile) = (group.name.clone(), group.profile.name.clone());
                self.journal.step(who, &Step::Script { group, profile });
                self.journal.learn(query.mac, ip);
                script
            }
            Err(reason) => self.notice(who, reason),
        }
    }

    fn notice(&self, who: Who, reason: String) -> String {
        let script = notice_script(&reason);
        self.journal.step(who, &Step::Notice { reason });
        script
    }
}

/// We listen on IPv4 only.
fn ipv4(address: SocketAddr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
