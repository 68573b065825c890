//! A DHCP message, to either port: `cargo +nightly fuzz run dhcp`. Seeds: `tests/fixtures/dhcp/`.
#![no_main]

use std::net::Ipv4Addr;

use bootbox::{
    config::Config,
    firmware::Firmware,
    ledger::Book,
    proxydhcp::{Answer, Arrival, Offering, Port, answer},
};

const EVERYONE: &str =
    "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"";

libfuzzer_sys::fuzz_target!(init: {
    SITE.get_or_init(|| {
        (Config::parse(EVERYONE, "fuzz").expect("the config is valid"), Book::default())
    });
}, |packet: &[u8]| {
    let Some((config, book)) = SITE.get() else { return };
    let offering = Offering {
        catalog: &config.catalog,
        programs: &Firmware::ALL,
        http_port: 80,
        book,
        most_attempts: 3,
    };
    for port in [Port::Dhcp, Port::BootServer] {
        let arrival = Arrival { address: Ipv4Addr::new(192, 0, 2, 1), port };
        if let Answer::Reply(reply) = answer(packet, &arrival, &offering) {
            assert!(reply.bytes.len() <= 1472 && reply.bytes[16..20] == [0; 4]);
        }
    }
});

static SITE: std::sync::OnceLock<(Config, Book)> = std::sync::OnceLock::new();
