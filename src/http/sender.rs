//! Whether a web page may have sent a request: a browser on the LAN runs scripts of strangers.
//!
//! A page can send a POST to our address, or, by DNS rebinding, to a name of its own that resolves to
//! our address. An install script does neither: it uses our address, and sends no `Origin`.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use hyper::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
    http::uri::Authority,
};

/// The header by which a browser tells whether another site's page sends a request.
const FETCH_SITE: &str = "sec-fetch-site";

/// Why a request is not taken for an install script's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Foreign {
    /// Its `Host` is neither an address nor among `[http] names`.
    Host,
    /// A web page sent it: it has an `Origin`.
    Origin,
    /// A web page of another site sent it.
    Site,
}

impl Foreign {
    /// Looks at the head of a request that changes something. `names` are our own, in lower case.
    pub fn read(uri: &Uri, headers: &HeaderMap, names: &BTreeSet<String>) -> Option<Self> {
        if headers.contains_key(ORIGIN) {
            return Some(Self::Origin);
        }
        let mut sites = headers.get_all(FETCH_SITE).iter();
        if sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
            return Some(Self::Site);
        }
        // HTTP/1.0 has none, and a browser always sends one.
        let is_ours = |host: &str| is_address(host) || names.contains(&host.to_ascii_lowercase());
        let mut hosts = headers.get_all(HOST).iter().map(|host| {
            let host = host.to_str().ok()?.trim();
            host.parse::<Authority>().ok()
        });
        let are_hosts_ours =
            hosts.all(|host| host.is_some_and(|host| is_ours(host.host().trim_end_matches('.'))));
        let is_target_ours = uri.host().is_none_or(|host| is_ours(host.trim_end_matches('.')));
        (!(are_hosts_ours && is_target_ours)).then_some(Self::Host)
    }

    /// The stable name of this reason in counters.
    pub fn label(self) -> &'static str {
        match self {
            Self::Host => "foreign-host",
            Self::Origin => "foreign-origin",
            Self::Site => "foreign-site",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => {
                "takes reports under an address of this server or a name of [http] names alone; \
                 write {{ base_url }} in the script, or add the name"
            }
            Self::Origin | Self::Site => {
                "takes reports of install scripts alone, and a web page sent this one"
            }
        })
    }
}

/// An address is no name that somebody else could resolve to ours. NAT may give us any.
fn is_address(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn read(target: &str, lines: &[(&str, &str)]) -> Option<Foreign> {
        let headers = lines.iter().map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
        });
        let names = BTreeSet::from(["boot.example".to_owned()]);
        Foreign::read(&target.parse().unwrap(), &headers.collect(), &names)
    }

    #[test]
    fn an_install_script_is_heard() {
        for lines in [
            &[][..],
            &[("host", "10.77.0.2")],
            &[("host", "10.77.0.2:8080")],
            &[("host", "[2001:db8::1]:80")],
            &[("host", "Boot.EXAMPLE:80")],
            &[("host", "boot.example.")],
            &[("host", "10.77.0.2"), ("sec-fetch-site", "none")],
        ] {
            assert_eq!(read("/v1/event", lines), None, "{lines:?}");
        }
        assert_eq!(read("http://10.77.0.2/v1/event", &[("host", "10.77.0.2")]), None);
    }

    #[test]
    fn a_web_page_is_not() {
        let address = ("host", "10.77.0.2");
        for (lines, why) in [
            (&[("host", "evil.example")][..], Foreign::Host),
            (&[("host", "evil.example:80")], Foreign::Host),
            (&[("host", "10.77.0.2.evil.example")], Foreign::Host),
            (&[("host", "boot.example@evil.example")], Foreign::Host),
            (&[("host", "")], Foreign::Host),
            (&[("host", "\u{e9}")], Foreign::Host),
            (&[address, ("host", "evil.example")], Foreign::Host),
            (&[address, ("origin", "http://evil.example")], Foreign::Origin),
            (&[address, ("origin", "null")], Foreign::Origin),
            (&[address, ("sec-fetch-site", "cross-site")], Foreign::Site),
            (&[address, ("sec-fetch-site", "same-site")], Foreign::Site),
        ] {
            assert_eq!(read("/v1/event", lines), Some(why), "{lines:?}");
        }
        assert_eq!(read("http://evil.example/v1/event", &[address]), Some(Foreign::Host));
    }
}
