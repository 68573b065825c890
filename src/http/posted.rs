//! `POST` for a config: some installers, such as Proxmox VE's, ask for their answers by a POST whose
//! JSON body tells of the machine.
//!
//! Decides only what the body says. It is a claim, as `?mac=` is one; other bodies say nothing.

use std::collections::BTreeSet;

use hyper::{HeaderMap, Uri};
use serde::Deserialize;

use super::{
    event::is_longer_than,
    reply::Refusal,
    request::{Claim, Request},
    route::{Asked, Route},
};
use crate::{machine::Mac, path::UrlPath};

/// A body is no longer, in bytes: a machine with a hundred cards tells some 10 KiB.
pub const LONGEST_BODY: u64 = 64 << 10;
/// Hardware addresses that are looked at.
const MOST_MACS: usize = 128;

/// The part of a body that tells of a machine.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    network_interfaces: Vec<Interface>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    mac: String,
}

/// Reads the head of a POST: only a config of ours takes one.
pub fn read(
    uri: &Uri,
    headers: &HeaderMap,
    is_config: impl Fn(&UrlPath) -> bool,
) -> Result<Asked, Refusal> {
    let request = Request::of_get(uri)?;
    let path = UrlPath::parse(&request.path).map_err(Refusal::Path)?;
    if !is_config(&path) {
        return Err(Refusal::Method);
    }
    if is_longer_than(headers, LONGEST_BODY) {
        return Err(Refusal::LongBody);
    }
    match Route::of(&request, is_config)? {
        Route::Config(asked) => Ok(asked),
        Route::File(_) | Route::Image(_) | Route::Script(_) => Err(Refusal::Method),
    }
}

/// The same request with what its body claims, where the query claims nothing.
pub fn claimed(asked: Asked, body: &[u8]) -> Asked {
    let told: Told = serde_json::from_slice(body).unwrap_or_default();
    let macs: BTreeSet<Mac> = told
        .network_interfaces
        .iter()
        .filter_map(|it| it.mac.parse().ok())
        .take(MOST_MACS)
        .collect();
    match asked.claim {
        Claim::Nobody if !macs.is_empty() => Asked { claim: Claim::Cards(macs), ..asked },
        Claim::Cards(_) | Claim::Machine(_) | Claim::Nobody | Claim::Uuid(_) | Claim::Wrong(_) => {
            asked
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{CONTENT_LENGTH, HeaderValue};

    use super::*;

    fn read(target: &str, length: &'static str) -> Result<Asked, Refusal> {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static(length))]);
        let is_config = |path: &UrlPath| path.as_bytes() == b"/answer.toml";
        super::read(&target.parse().unwrap(), &headers, is_config)
    }

    #[test]
    fn only_a_config_takes_a_post_of_bounded_length() {
        assert!(read("/answer.toml", "65536").is_ok());
        assert_eq!(read("/answer.toml", "65537"), Err(Refusal::LongBody));
        for other in ["/x", "/ipxe?mac=525400000001", "/coreos/current/version.txt"] {
            assert_eq!(read(other, "2"), Err(Refusal::Method), "{other}");
        }
    }

    #[test]
    fn the_cards_of_a_body_are_a_claim_where_the_query_has_none() {
        let body = br#"{"product": {"product": "pve"}, "dmi": {"system": {"uuid": "x"}},
            "network_interfaces": [{"link": "eno1", "mac": "52:54:00:00:00:01"},
            {"link": "eno2", "mac": "52:54:00:00:00:02"}, {"link": "x", "mac": "01:00:5e:00:00:01"}]}"#;
        let macs = ["52:54:00:00:00:01", "52:54:00:00:00:02"].map(|mac| mac.parse().unwrap());
        let of = |target, body: &[u8]| claimed(read(target, "2").unwrap(), body).claim;
        assert_eq!(of("/answer.toml", body), Claim::Cards(BTreeSet::from(macs)));
        assert!(matches!(of("/answer.toml?mac=525400000009", body), Claim::Machine(_)));
        for other in
            [&b""[..], b"{}", b"[1]", b"{\"network_interfaces\": 7}", b"\xff{", &[b'['; 9999]]
        {
            assert_eq!(of("/answer.toml", other), Claim::Nobody);
        }
        let many: Vec<String> =
            (0..1000).map(|n| format!(r#"{{"mac":"5254000{n:05}"}}"#)).collect();
        let many = format!("{{\"network_interfaces\":[{}]}}", many.join(","));
        let Claim::Cards(macs) = of("/answer.toml", many.as_bytes()) else { panic!("no cards") };
        assert_eq!(macs.len(), MOST_MACS);
    }
}
