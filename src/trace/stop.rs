//! Where a boot stopped, and what an operator should look at.

use std::{fmt, net::Ipv4Addr, time::Duration};

use super::Stage;
use crate::firmware::Form;

/// What is known of a LAN's other servers, as far as it explains a stop.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Heard {
    /// Whether we hear other servers at all.
    pub hears: bool,
    /// A DHCP server that was heard or named lately.
    pub dhcp_server: Option<Ipv4Addr>,
    /// A DHCP server that claims to boot machines itself (option 60).
    pub claims_to_boot: Option<Ipv4Addr>,
    /// Another proxy.
    pub rival_proxy: Option<Ipv4Addr>,
}

/// Where a boot stopped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// A file that was needed did not arrive, and nothing follows.
    Broken {
        /// How its transfer ended.
        transfer: String,
        /// Since then.
        silent: Duration,
    },
    /// The script was sent, and its kernel never asked for.
    NoKernel {
        /// Since then.
        silent: Duration,
    },
    /// It discovers again and again, and no DHCP server answers it.
    NoDhcpServer {
        /// Offers of ours.
        offers: u32,
        /// In this time.
        after: Duration,
        /// What is known of the LAN.
        heard: Heard,
    },
    /// It has fetched its kernel whole again and again by one script, and starts it never.
    Looping {
        /// The kernel.
        kernel: String,
        /// So many times.
        times: u32,
        /// In this time.
        after: Duration,
    },
    /// It took an address or our ACK, and never asked for the boot file.
    NotFetched {
        /// The file.
        boot_file: String,
        /// The form of our last offer.
        form: Option<Form>,
        /// How it knows the file.
        by: Knows,
        /// Since then.
        silent: Duration,
        /// What is known of the LAN.
        heard: Heard,
    },
    /// It discovers again and again, though a DHCP server answers it.
    NotTaken {
        /// The file that was offered.
        boot_file: String,
        /// The forms of our offers, each once.
        forms: Vec<Form>,
        /// Offers of ours.
        offers: u32,
        /// In this time.
        after: Duration,
        /// The DHCP server.
        server: Ipv4Addr,
        /// It says itself that it has heard that one and not us.
        misses_us: bool,
        /// What is known of the LAN.
        heard: Heard,
    },
    /// The boot program arrived whole, and was not heard of again.
    ProgramSilent {
        /// The boot program.
        boot_file: String,
        /// Since then.
        silent: Duration,
    },
}

/// By what a machine should know its boot file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Knows {
    /// We told it on port 4011, so many times in a row.
    Ack(u32),
    /// We offered it, and it then took an address.
    Lease(Ipv4Addr),
}

impl Stop {
    /// The stable name in JSON logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Broken { .. } => "transfer-broken",
            Self::Looping { .. } => "kernel-fetched-again",
            Self::NoDhcpServer { .. } => "no-dhcp-server",
            Self::NoKernel { .. } => "kernel-not-fetched",
            Self::NotFetched { .. } => "boot-file-not-fetched",
            Self::NotTaken { .. } => "offer-not-taken",
            Self::ProgramSilent { .. } => "boot-program-silent",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped here: ")?;
        match self {
            Self::Broken { transfer, silent } => write!(
                f,
                "{transfer}, and nothing since, for {} s. Its console says more; a firewall or a \
                 smaller MTU on the way stops large packets and lets small ones pass",
                silent.as_secs()
            ),
            Self::NoKernel { silent } => write!(
                f,
                "its script was sent {} s ago, and it did not ask for the kernel. Its console says \
                 why; somebody may have pressed a key",
                silent.as_secs()
            ),
            Self::NoDhcpServer { offers, after, heard } => {
                no_dhcp_server(f, *offers, *after, heard)
            }
            Self::Looping { kernel, times, after } => write!(
                f,
                "it fetched {kernel} whole {times} times in {} s, and its loader tries again. Its \
                 console says why: too little memory for kernel and initrd, a file that is no kernel \
                 for this machine, or Secure Boot, which refuses a kernel that nobody signed",
                after.as_secs()
            ),
            Self::NotFetched { boot_file, form, by, silent, heard } => {
                match by {
                    Knows::Ack(1) => write!(f, "it was told {boot_file} on port 4011")?,
                    Knows::Ack(times) => {
                        write!(f, "it was told {boot_file} on port 4011 {times} times")?;
                    }
                    Knows::Lease(server) => {
                        write!(f, "offered {boot_file}, it took an address from {server}")?;
                    }
                }
                write!(f, " and did not fetch the file in {} s. ", silent.as_secs())?;
                causes(f, *by, (boot_file, *form), heard)
            }
            Self::NotTaken { boot_file, forms, offers, after, server, misses_us, heard } => {
                let seconds = after.as_secs();
                let forms: Vec<String> = forms.iter().map(Form::to_string).collect();
                write!(
                    f,
                    "offered {boot_file} {offers} times in {seconds} s (form {}) and DHCP server \
                     {server} is there, but it goes on discovering. ",
                    forms.join(", ")
                )?;
                not_taken(f, *misses_us, heard)
            }
            Self::ProgramSilent { boot_file, silent } => write!(
                f,
                "{boot_file} arrived whole, and nothing was heard of it in {} s. Its console says \
                 why: with Secure Boot on, firmware refuses a program that it has no key for; else \
                 the program has no driver for this card",
                silent.as_secs()
            ),
        }
    }
}

fn no_dhcp_server(
    f: &mut fmt::Formatter<'_>,
    offers: u32,
    after: Duration,
    heard: &Heard,
) -> fmt::Result {
    write!(f, "asked {offers} times in {} s, and ", after.as_secs())?;
    if !heard.hears {
        f.write_str("took no address (CAP_NET_RAW is missing: bootbox hears no other server). ")?;
    } else if let Some(server) = heard.dhcp_server {
        write!(
            f,
            "no DHCP server was heard to answer it, though {server} is there: its addresses may be \
             all given away, or it knows not this machine. "
        )?;
    } else {
        f.write_str("no DHCP server answers on this LAN. ")?;
    }
    f.write_str(
        "A proxy alone boots no machine: it needs an address from a DHCP server on this VLAN, or \
         from a relay to one. `bootbox check --lan` asks for one",
    )
}

fn not_taken(f: &mut fmt::Formatter<'_>, misses_us: bool, heard: &Heard) -> fmt::Result {
    if let Some(server) = heard.claims_to_boot {
        return write!(
            f,
            "{server} itself sends option 60, and then no proxy counts: remove option 60 there"
        );
    }
    if misses_us {
        f.write_str("It says that it has heard the DHCP server and not us: ")?;
    } else {
        f.write_str("Either our offer does not reach it: ")?;
    }
    f.write_str(
        "a switch with DHCP snooping drops offers of a port that is not trusted, a firewall those of \
         port 67",
    )?;
    if !misses_us {
        f.write_str(". Or its firmware takes no offer of a proxy in these forms")?;
    }
    match heard.rival_proxy {
        Some(rival) => write!(f, ". Another proxy is there, too: {rival}"),
        None => Ok(()),
    }
}

fn causes(
    f: &mut fmt::Formatter<'_>,
    by: Knows,
    (boot_file, form): (&str, Option<Form>),
    heard: &Heard,
) -> fmt::Result {
    if let (Knows::Lease(_), Some(server)) = (by, heard.claims_to_boot) {
        return write!(
            f,
            "{server} itself sends option 60, so the machine asks that server for its boot file: \
             remove option 60 there"
        );
    }
    if let (Knows::Lease(_), Some(rival)) = (by, heard.rival_proxy) {
        return write!(f, "It may have gone to the other proxy, {rival}: turn that one off");
    }
    let port = match (by, form) {
        (Knows::Lease(_), Some(Form::BootServer)) => "UDP port 4011",
        // Who has its answer does not ask again.
        (Knows::Ack(2..), _) => "the answers of UDP port 4011",
        _ if boot_file.starts_with("http://") => "HTTP's TCP port",
        _ => "UDP port 69, or TFTP's answers from other ports",
    };
    write!(f, "Look for a firewall, here or on the way, that drops {port}")?;
    match by {
        Knows::Ack(_) => Ok(()),
        Knows::Lease(_) => f.write_str(
            "; or it did not take our offer (old firmware that heeds no proxy, or a switch with \
             DHCP snooping that drops what port 67 here sends)",
        ),
    }
}

/// How long a machine may be silent where the next step is its own.
pub(super) fn patience(stage: Stage) -> Duration {
    match stage {
        // iPXE of 2019 waits 15 s for IPv6 between its address and its first request.
        Stage::Ipxe => Duration::from_secs(40),
        Stage::Rom => Duration::from_secs(20),
    }
}
