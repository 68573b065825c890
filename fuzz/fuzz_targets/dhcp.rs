//! A DHCP message, to either port: `fuzz/run` runs it. Seeds: `tests/fixtures/dhcp/`.
#![no_main]

use std::{collections::BTreeMap, net::Ipv4Addr};

use bootbox::{
    catalog::Offer,
    config::Config,
    firmware::{Form, Means, Programs},
    ledger::Book,
    proxydhcp::{Answer, Arrival, Discover, Offering, Port, answer},
};

const EVERYONE: &str =
    "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"";

libfuzzer_sys::fuzz_target!(init: {
    SITE.get_or_init(|| {
        let config = Config::parse(EVERYONE, "fuzz").expect("the config is valid");
        (config, Book::default(), Programs::new(&BTreeMap::new(), |_| true))
    });
}, |packet: &[u8]| {
    let Some((config, book, programs)) = SITE.get() else { return };
    let offering = Offering {
        catalog: &config.catalog,
        programs,
        allow: None,
        offer: Offer::Auto,
        http_port: 80,
        book,
        most_attempts: 3,
    };
    let choose = |discover: &Discover| match discover.means {
        Means::Http => Ok(Form::Http),
        Means::Pxe => Ok(Form::Direct),
    };
    for port in [Port::Dhcp, Port::BootServer] {
        let arrival = Arrival { address: Ipv4Addr::new(192, 0, 2, 1), port };
        if let Answer::Reply(reply) = answer(packet, &arrival, &offering, choose) {
            assert!(reply.bytes.len() <= 1472 && reply.bytes[16..20] == [0; 4]);
        }
    }
});

static SITE: std::sync::OnceLock<(Config, Book, Programs)> = std::sync::OnceLock::new();
