//! iPXE's question for an IPv6 router, answered where nobody else would.
//!
//! Stock iPXE with IPv6 (Debian's of 2019) waits about 15 s for a router on a LAN that has none
//! before it goes on by IPv4. A router advertisement with a lifetime of 0 and no prefix ends the
//! wait and configures nothing (RFC 4861 section 6.2.3: "not a default router").

use crate::machine::Mac;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// RFC 4861 section 4.6.1; its length is counted in units of 8 octets.
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;

/// Router lifetime 0, no prefix, no option. The kernel fills in the checksum.
pub const NO_ROUTER: [u8; 16] = [ROUTER_ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Our own question, asked at start so that a router there is makes itself heard.
pub const IS_THERE_A_ROUTER: [u8; 8] = [ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];

/// What an ICMPv6 message says to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Heard {
    /// A router is there: the question is its to answer.
    Router,
    /// This machine asks for one.
    Solicitation(Mac),
    /// Nothing.
    Nothing,
}

/// Reads an ICMPv6 message, without its IPv6 header.
pub fn read(message: &[u8]) -> Heard {
    match message {
        // A lifetime of 0 is no router, and may be another bootbox's answer.
        [ROUTER_ADVERTISEMENT, 0, _, _, _, _, high, low, ..] if (*high, *low) != (0, 0) => {
            Heard::Router
        }
        [ROUTER_SOLICITATION, 0, _, _, _, _, _, _, options @ ..] => {
            match link_layer_address(options) {
                Some(mac) => Heard::Solicitation(mac),
                None => Heard::Nothing,
            }
        }
        _ => Heard::Nothing,
    }
}

fn link_layer_address(mut options: &[u8]) -> Option<Mac> {
    loop {
        let [kind, units, ..] = options else { return None };
        let len = 8 * usize::from(*units);
        if len == 0 {
            return None;
        }
        let (option, rest) = options.split_at_checked(len)?;
        if *kind == SOURCE_LINK_LAYER_ADDRESS {
            let octets: [u8; 6] = option.get(2..8)?.try_into().ok()?;
            return Mac::new(octets);
        }
        options = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM_IPXE: [u8; 16] =
        [133, 0, 0xaa, 0xbb, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];

    #[test]
    fn ipxe_asks_with_its_hardware_address() {
        let mac = "52:54:00:12:34:56".parse().unwrap();
        assert_eq!(read(&FROM_IPXE), Heard::Solicitation(mac));
        assert_eq!(read(&FROM_IPXE[..8]), Heard::Nothing);
        for cut in 0..FROM_IPXE.len() {
            assert_eq!(read(&FROM_IPXE[..cut]), Heard::Nothing, "{cut}");
        }
    }

    #[test]
    fn a_router_is_known_by_its_lifetime_and_ours_is_none() {
        let mut advertisement = NO_ROUTER;
        assert_eq!(read(&advertisement), Heard::Nothing);
        advertisement[7] = 30;
        assert_eq!(read(&advertisement), Heard::Router);
        assert_eq!(read(&IS_THERE_A_ROUTER), Heard::Nothing);
    }

    #[test]
    fn an_option_of_length_0_ends_the_reading() {
        let mut endless = FROM_IPXE;
        endless[9] = 0;
        assert_eq!(read(&endless), Heard::Nothing);
    }
}
