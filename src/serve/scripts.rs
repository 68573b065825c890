//! What `/boot.ipxe` and `/ipxe` say to one machine: its script, or on its console why there is none.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use hyper::StatusCode;

use super::{
    http::{Arrival, Config, Scripts, Text},
    journal::Journal,
    site::Site,
    visitors::Visitors,
};
use crate::{
    config::Access,
    http::{
        reply::Refusal,
        request::{Query, Verb},
        route::{Asked, Script},
    },
    render::{boot_script, notice_script, script_for},
    template::{Words, base_url},
    token::Token,
    trace::{Step, Who},
};

/// Renders scripts and configs, and notes each in the log.
#[derive(Debug)]
pub(super) struct Renderer {
    pub(super) journal: Journal,
    pub(super) visitors: Visitors,
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
    fn machine(&self, query: &Query, site: &Site, arrival: Arrival) -> String {
        let who = Who::Machine(query.mac);
        let token = match site.config.config_access {
            Access::Address => None,
            Access::Token => match random() {
                Ok(token) => Some(token),
                Err(error) => return self.notice(who, format!("no token can be made: {error}")),
            },
        };
        let base_url = base_url(ipv4(arrival.local), site.config.http_port);
        let ip = ipv4(arrival.peer);
        let words = Words { base_url, ip, machine: query.clone().machine(), token };
        match script_for(&site.config.catalog, &words) {
            Ok((group, script)) => {
                let (group, profile) = (group.name.clone(), group.profile.name.clone());
                self.journal.step(who, &Step::Script { group, profile });
                self.journal.learn(query.mac, ip);
                self.visitors.scripted(words.machine, ip, token, Instant::now());
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
