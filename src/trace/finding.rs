//! What another server of the LAN does to our boots, in the operator's words.

use std::{fmt, net::Ipv4Addr};

use crate::firmware::Means;

/// Something about one server that an operator wants to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// A DHCP server says option 60 `PXEClient` or `HTTPClient` of itself.
    ClaimsToBoot {
        /// The server.
        server: Ipv4Addr,
        /// Which of them.
        by: Means,
    },
    /// A DHCP server names a boot file beside the addresses it gives.
    OwnBootFile {
        /// The server.
        server: Ipv4Addr,
        /// The file.
        boot_file: String,
    },
    /// Another ProxyDHCP server offers a boot file.
    RivalProxy {
        /// The server.
        server: Ipv4Addr,
        /// The file; empty where it is told on port 4011.
        boot_file: String,
    },
}

impl Finding {
    /// The stable name in JSON logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClaimsToBoot { .. } => "option-60",
            Self::OwnBootFile { .. } => "own-boot-file",
            Self::RivalProxy { .. } => "rival-proxy",
        }
    }

    /// What two messages of one server that say the same have in common.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ClaimsToBoot { by: Means::Http, .. } => "option-60 HTTPClient",
            Self::ClaimsToBoot { .. } | Self::OwnBootFile { .. } | Self::RivalProxy { .. } => {
                self.name()
            }
        }
    }

    /// The server it is about.
    pub fn server(&self) -> Ipv4Addr {
        match self {
            Self::ClaimsToBoot { server, .. }
            | Self::OwnBootFile { server, .. }
            | Self::RivalProxy { server, .. } => *server,
        }
    }

    /// The boot file that is named.
    pub fn boot_file(&self) -> Option<&str> {
        match self {
            Self::OwnBootFile { boot_file, .. } | Self::RivalProxy { boot_file, .. } => {
                Some(boot_file)
            }
            Self::ClaimsToBoot { .. } => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClaimsToBoot { server, by: Means::Http } => write!(
                f,
                "DHCP server {server} itself sends option 60 HTTPClient: machines that boot by UEFI \
                 HTTP Boot take the file it names, and not ours; those that boot by PXE do not heed \
                 it. Where ours is meant, remove option 60 HTTPClient there, and the URL in option 67"
            ),
            Self::ClaimsToBoot { server, by: Means::Pxe } => write!(
                f,
                "DHCP server {server} itself sends option 60 PXEClient: machines ask it for their \
                 boot file, and no proxy can boot them (PXE-E16, PXE-E55). Remove option 60 there: \
                 on Windows it is 060 PXEClient of the server or scope options, in dnsmasq \
                 dhcp-option=60, or pxe-service where it gives addresses, too; in ISC dhcpd and Kea \
                 vendor-class-identifier"
            ),
            Self::OwnBootFile { server, boot_file } => write!(
                f,
                "DHCP server {server} names a boot file itself, {boot_file}: machines that heed a \
                 proxy take ours, others (U-Boot, some old ROMs) take that one. Nothing to mend \
                 unless a machine boots the wrong one: then remove options 66 and 67 there"
            ),
            Self::RivalProxy { server, boot_file } => {
                write!(f, "another ProxyDHCP server answers, {server}")?;
                if !boot_file.is_empty() {
                    write!(f, ", with boot file {boot_file}")?;
                }
                f.write_str(
                    ": of two proxies a machine takes either. Turn off the one that is not meant \
                     (bootbox, dnsmasq, WDS, FOG, MAAS, …), or let each answer only its own machines",
                )
            }
        }
    }
}
