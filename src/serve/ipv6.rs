//! Looks whether IPv6 is on at an interface: without it iPXE's question for a router is not heard.

use std::{fs, path::Path};

use super::interface::Interface;
use crate::config::{Config, Solicitations};

/// The kernel's settings of its protocols.
const SETTINGS: &str = "/proc/sys/net";

/// Why an interface has no IPv6.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Off {
    /// The kernel has none, or was started with ipv6.disable=1.
    Everywhere,
    /// It is switched off there.
    Here,
}

/// The warning for this interface, where iPXE's router solicitation is to be answered.
pub fn warning(config: &Config, interface: &Interface) -> Option<String> {
    match config.answer_router_solicitations {
        Solicitations::Auto => Some(off(Path::new(SETTINGS), &interface.name)?.said(interface)),
        Solicitations::Never => None,
    }
}

fn off(settings: &Path, name: &str) -> Option<Off> {
    // Where nothing can be read, a sandbox hides it.
    if !settings.join("ipv4").exists() {
        return None;
    }
    let ipv6 = settings.join("ipv6");
    if !ipv6.exists() {
        return Some(Off::Everywhere);
    }
    let written = fs::read_to_string(ipv6.join("conf").join(name).join("disable_ipv6")).ok()?;
    (written.trim() != "0").then_some(Off::Here)
}

impl Off {
    fn said(self, interface: &Interface) -> String {
        let (off, remedy) = match self {
            Self::Everywhere => {
                ("this kernel has no IPv6".to_owned(), "start it without ipv6.disable=1".to_owned())
            }
            Self::Here => (
                format!("IPv6 is switched off on {interface}"),
                format!("run `sysctl -w net/ipv6/conf/{}/disable_ipv6=0`", interface.name),
            ),
        };
        format!(
            "{off}, so bootbox cannot tell iPXE that there is no IPv6 router, and stock iPXE waits \
             about 15 s each time it starts: {remedy} (it needs no IPv6 address), or write [network] \
             answer-router-solicitations = \"never\" if that is meant"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use super::*;

    #[test]
    fn ipv6_is_off_where_the_kernel_says_so() {
        let settings = env::temp_dir().join(format!("bootbox-ipv6-{}", process::id()));
        let at = |path: &str| settings.join(path);
        assert_eq!(off(&settings, "eth0.7"), None, "nothing can be read");
        fs::create_dir_all(at("ipv4")).unwrap();
        assert_eq!(off(&settings, "eth0.7"), Some(Off::Everywhere));
        fs::create_dir_all(at("ipv6/conf/eth0.7")).unwrap();
        assert_eq!(off(&settings, "eth0.7"), None, "not known");
        for (written, expected) in [("0\n", None), ("1\n", Some(Off::Here))] {
            fs::write(at("ipv6/conf/eth0.7/disable_ipv6"), written).unwrap();
            assert_eq!(off(&settings, "eth0.7"), expected);
        }
        fs::remove_dir_all(settings).unwrap();
    }
}
