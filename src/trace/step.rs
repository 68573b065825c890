//! One step of a boot, and how it reads in the log.

use std::{fmt, net::Ipv4Addr, time::Duration};

use super::Stop;
use crate::firmware::{Firmware, Form};

/// Something that happened on a machine's way from power-on to its kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Port 4011 was answered.
    Ack {
        /// What the machine boots with; an iPXE may not tell.
        firmware: Option<Firmware>,
        /// Who asked: the ROM or iPXE.
        stage: Stage,
        /// Boot program or script URL that was named.
        boot_file: String,
    },
    /// A router solicitation was answered so that iPXE does not wait 15 s for a router.
    Advertise,
    /// A text was made for the machine and sent.
    Config {
        /// Its path.
        file: String,
        /// What it is for.
        kind: String,
        /// The group whose words it has; absent where every machine gets the same.
        group: Option<String>,
    },
    /// It is installed, and still it keeps coming back to the network.
    DiskFails,
    /// The script that sends the machine to its disk was sent.
    Disk {
        /// Why it boots nothing else.
        reason: String,
    },
    /// Its install script says that it gave up.
    Failed {
        /// What was to be installed.
        profile: String,
        /// Why, in the script's words.
        reason: String,
    },
    /// Nothing is installed on it until an operator says so.
    Held {
        /// Why.
        reason: String,
    },
    /// It is installed from now on.
    Installed {
        /// What is on its disk.
        profile: String,
        /// How that is known.
        reason: String,
    },
    /// An attempt to install it begins.
    Installing {
        /// The group that matched.
        group: String,
        /// The profile it names.
        profile: String,
        /// Which attempt it is, from 1.
        attempt: u32,
    },
    /// A lease was seen to be taken from the LAN's own DHCP server.
    Lease {
        /// The machine's address from now on.
        address: Ipv4Addr,
        /// The server that gave it, where the machine named one.
        server: Option<Ipv4Addr>,
    },
    /// A network boot was asked for and is not answered.
    LeaveAlone {
        /// Why, in the operator's words.
        reason: String,
    },
    /// A message on the machine's console instead of a boot.
    Notice {
        /// The text shown.
        reason: String,
    },
    /// A discover was answered.
    Offer {
        /// What the machine boots with; an iPXE may not tell.
        firmware: Option<Firmware>,
        /// Who asked: the ROM or iPXE.
        stage: Stage,
        /// Boot program or script URL that was named.
        boot_file: String,
        /// How it was named.
        form: Form,
    },
    /// A discover that would be answered if this were not only watching.
    WouldOffer {
        /// What the machine boots with; an iPXE may not tell.
        firmware: Option<Firmware>,
        /// Who asked: the ROM or iPXE.
        stage: Stage,
        /// Boot program or script URL that would be named.
        boot_file: String,
        /// The boot that would follow, as far as it has told who it is.
        then: Option<Prospect>,
    },
    /// The machine's iPXE script was rendered and sent.
    Script {
        /// The group that matched.
        group: String,
        /// The profile it names.
        profile: String,
    },
    /// Nothing follows where something must.
    Stop(Stop),
    /// A file was sent, or its sending ended early.
    Transfer(Transfer),
}

/// The end of one transfer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transfer {
    /// What carried it.
    pub protocol: Protocol,
    /// The name as the client asked for it, printable.
    pub file: String,
    /// How it ended.
    pub end: End,
    /// Bytes that the client acknowledged (TFTP) or the kernel took (HTTP).
    pub bytes: u64,
    /// Bytes asked for: the file's size, or the range's.
    pub size: u64,
    /// From the request to the end.
    pub took: Duration,
}

/// How a transfer ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// The client went away or said stop.
    Abort {
        /// What the client said, or what the connection did.
        reason: String,
    },
    /// Every byte arrived.
    Complete,
    /// The server stopped it.
    Fail {
        /// Why, for the operator.
        reason: String,
    },
    /// The client only wanted to know the size: EDK2 and Intel ROMs open with this.
    Probe,
    /// Nothing was sent.
    Refuse {
        /// Why, for the operator.
        reason: String,
    },
    /// The client fell silent.
    TimeOut,
}

/// What carries a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// TFTP, RFC 1350.
    Tftp,
}

/// Who runs on the machine when it asks.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// The firmware's own network boot.
    Rom,
    /// iPXE, from a card's ROM or chainloaded.
    Ipxe,
}

impl Step {
    /// The stable name of this step in JSON logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ack { .. } => "ack",
            Self::Advertise => "advertise",
            Self::Config { .. } => "config",
            Self::Disk { .. } => "disk",
            Self::DiskFails => "disk-fails",
            Self::Failed { .. } => "failed",
            Self::Held { .. } => "held",
            Self::Installed { .. } => "installed",
            Self::Installing { .. } => "installing",
            Self::Lease { .. } => "lease",
            Self::LeaveAlone { .. } => "leave-alone",
            Self::Notice { .. } => "notice",
            Self::Offer { .. } => "offer",
            Self::Script { .. } => "script",
            Self::Stop(_) => "stopped",
            Self::Transfer(_) => "transfer",
            Self::WouldOffer { .. } => "would-offer",
        }
    }

    /// What an offer reads like that is not sent; `None` of what is no offer.
    pub fn observed(&self, then: Option<Prospect>) -> Option<Self> {
        let Self::Offer { firmware, stage, boot_file, .. } = self else { return None };
        let (firmware, stage, boot_file) = (*firmware, *stage, boot_file.clone());
        Some(Self::WouldOffer { firmware, stage, boot_file, then })
    }

    /// Whether a person following a boot wants the line; the rest is for debugging.
    pub fn is_routine(&self) -> bool {
        match self {
            Self::Transfer(transfer) => transfer.end == End::Probe,
            Self::Ack { .. }
            | Self::Advertise
            | Self::Config { .. }
            | Self::Disk { .. }
            | Self::DiskFails
            | Self::Failed { .. }
            | Self::Held { .. }
            | Self::Installed { .. }
            | Self::Installing { .. }
            | Self::Lease { .. }
            | Self::LeaveAlone { .. }
            | Self::Notice { .. }
            | Self::Offer { .. }
            | Self::Script { .. }
            | Self::Stop(_)
            | Self::WouldOffer { .. } => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ack { firmware, stage, boot_file } => {
                write!(f, "{} asks on port 4011: ack {boot_file}", Asker(*firmware, *stage))
            }
            Self::Advertise => {
                f.write_str("answered its router solicitation, no 15 s wait for IPv6")
            }
            Self::Config { file, kind, group: Some(group) } => {
                write!(f, "{kind} {file} for a machine of group {group}")
            }
            Self::Config { file, kind, group: None } => write!(f, "{kind} {file}, as for everyone"),
            Self::Disk { reason } => write!(f, "sent to its disk: {reason}"),
            Self::DiskFails => f.write_str(
                "its disk does not boot: installed, and back on the network again and again",
            ),
            Self::Failed { profile, reason } => write!(f, "installing {profile} failed: {reason}"),
            Self::Held { reason } => write!(f, "held: {reason}"),
            Self::Installed { profile, reason } => write!(f, "{profile} is installed: {reason}"),
            Self::Installing { group, profile, attempt } => {
                write!(f, "attempt {attempt} to install {profile} (group {group})")
            }
            Self::Lease { address, server: Some(server) } => {
                write!(f, "takes {address} from DHCP server {server}")
            }
            Self::Lease { address, server: None } => write!(f, "keeps {address}"),
            Self::LeaveAlone { reason } => write!(f, "left alone: {reason}"),
            Self::Notice { reason } => write!(f, "told on its console: {reason}"),
            Self::Offer { firmware, stage, boot_file, form } => {
                write!(f, "{} discovers: offer {boot_file}", Asker(*firmware, *stage))?;
                match form {
                    Form::BootServer => f.write_str(", by way of port 4011"),
                    Form::Direct | Form::Http | Form::RaspberryPi => Ok(()),
                }
            }
            Self::Script { group, profile } => {
                write!(f, "script of profile {profile} (group {group})")
            }
            Self::Stop(stop) => stop.fmt(f),
            Self::Transfer(transfer) => transfer.fmt(f),
            Self::WouldOffer { firmware, stage, boot_file, then } => {
                write!(f, "{} discovers: would offer {boot_file}", Asker(*firmware, *stage))?;
                then.as_ref().map_or(Ok(()), |then| write!(f, "; {then}"))
            }
        }
    }
}

/// The boot of a machine once it is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prospect {
    /// The group that would choose it.
    pub group: String,
    /// The profile that it would boot.
    pub profile: String,
    /// Whether that installs it.
    pub installs: bool,
    /// Whether what it has yet to tell may choose another group.
    pub is_open: bool,
}

impl fmt::Display for Prospect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, profile, installs, is_open } = self;
        let would = if *is_open { "may" } else { "would" };
        match installs {
            true => write!(
                f,
                "{would} be installed with profile {profile} (group {group}), which wipes its disk"
            ),
            false => write!(f, "{would} boot profile {profile} (group {group})"),
        }
    }
}

/// Who asks, as far as it tells.
struct Asker(Option<Firmware>, Stage);

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(firmware) => write!(f, "{firmware} {}", self.1),
            None => self.1.fmt(f),
        }
    }
}

impl fmt::Display for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, file, end, bytes, size, took } = self;
        // What is not plain is quoted: a name must not look like the rest of the line.
        if file.bytes().all(|byte| byte.is_ascii_graphic()) {
            write!(f, "{protocol} {file}: ")?;
        } else {
            write!(f, "{protocol} {file:?}: ")?;
        }
        match end {
            End::Abort { reason } => {
                write!(f, "aborted by the client after {bytes} of {size} bytes: {reason}")
            }
            End::Complete => write!(f, "complete, {bytes} bytes in {} ms", took.as_millis()),
            End::Fail { reason } => write!(f, "stopped after {bytes} of {size} bytes: {reason}"),
            End::Probe => write!(f, "asked for its size, {size} bytes"),
            End::Refuse { reason } => write!(f, "refused: {reason}"),
            End::TimeOut => {
                write!(f, "timed out after {bytes} of {size} bytes, {} ms", took.as_millis())
            }
        }
    }
}

impl End {
    /// The stable name of this end in JSON logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Abort { .. } => "aborted",
            Self::Complete => "complete",
            Self::Fail { .. } => "failed",
            Self::Probe => "probed",
            Self::Refuse { .. } => "refused",
            Self::TimeOut => "timed-out",
        }
    }

    /// Why it did not complete, where there is more to say than how.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Abort { reason } | Self::Fail { reason } | Self::Refuse { reason } => {
                Some(reason)
            }
            Self::Complete | Self::Probe | Self::TimeOut => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tftp => "TFTP",
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipxe => "iPXE",
            Self::Rom => "ROM",
        })
    }
}
