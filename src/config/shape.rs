//! The config file as it is written: keys, defaults, nothing resolved.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::Spanned;

use super::{initrd::Initrd, patterns::Patterns};
use crate::{
    catalog::{HandOff, Install as Policy, Offer},
    firmware,
};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) network: Network,
    pub(super) http: Http,
    pub(super) repository: Repository,
    pub(super) firmware: Firmware,
    pub(super) boot: Boot,
    pub(super) control: Control,
    pub(super) install: Install,
    pub(super) template: Vec<Template>,
    pub(super) profile: Vec<Profile>,
    pub(super) group: Vec<Group>,
    pub(super) machine: Vec<Machine>,
}

/// A file of `groups.d`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fragment {
    pub(super) profile: Vec<Profile>,
    pub(super) group: Vec<Group>,
    pub(super) machine: Vec<Machine>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Network {
    pub(super) interfaces: Vec<Spanned<String>>,
    pub(super) answer_router_solicitations: Solicitations,
    pub(super) mode: Mode,
    pub(super) allow: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) reply_delay_ms: Spanned<u16>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            answer_router_solicitations: Solicitations::Auto,
            mode: Mode::Serve,
            allow: None,
            reply_delay_ms: Spanned::new(0..0, 0),
        }
    }
}

/// Whether machines are answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// No: it is only logged what each would be offered.
    Observe,
    /// Yes.
    Serve,
}

/// Whether iPXE's question for an IPv6 router is answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solicitations {
    /// Where no router has been heard, for a machine that runs iPXE with us.
    Auto,
    /// By us, never.
    Never,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Http {
    pub(super) port: Spanned<u16>,
    pub(super) names: Spanned<Vec<String>>,
    pub(super) config_access: Access,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            port: Spanned::new(0..0, 80),
            names: Spanned::new(0..0, Vec::new()),
            config_access: Access::Address,
        }
    }
}

/// How it is known which machine asks for a config.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// By its query, else by the address it took.
    Address,
    /// By the token of its script, and by nothing else.
    Token,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Repository {
    pub(super) root: Spanned<PathBuf>,
    pub(super) keyring: Option<Spanned<PathBuf>>,
}

impl Default for Repository {
    fn default() -> Self {
        Self { root: Spanned::new(0..0, PathBuf::from("/var/lib/bootbox")), keyring: None }
    }
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Firmware {
    pub(super) dir: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Boot {
    pub(super) offer: Offer,
    pub(super) prefer_http: bool,
    pub(super) programs: BTreeMap<firmware::Firmware, Spanned<String>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Control {
    pub(super) socket: Spanned<PathBuf>,
}

impl Default for Control {
    fn default() -> Self {
        Self { socket: Spanned::new(0..0, PathBuf::from("/run/bootbox/control.sock")) }
    }
}

/// All that the commands read which talk to a running server: what else is wrong with a config must
/// not keep an operator from holding a machine.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ControlOnly {
    pub(super) control: Control,
}

/// All that is read to look at releases, which an operator does before the rest is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReleasesOnly {
    pub(super) repository: Repository,
    pub(super) install: LedgerOnly,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct LedgerOnly {
    pub(super) ledger: PathBuf,
}

impl Default for LedgerOnly {
    fn default() -> Self {
        Self { ledger: Install::default().ledger.into_inner() }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Install {
    pub(super) ledger: Spanned<PathBuf>,
    pub(super) attempts: Spanned<u32>,
    pub(super) allow_always: bool,
    pub(super) shared_uuids: Vec<Spanned<String>>,
}

impl Default for Install {
    fn default() -> Self {
        let ledger = PathBuf::from("/var/lib/bootbox-ledger/ledger.redb");
        Self {
            ledger: Spanned::new(0..0, ledger),
            attempts: Spanned::new(0..0, 3),
            allow_always: false,
            shared_uuids: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Template {
    pub(super) path: Spanned<String>,
    pub(super) file: Option<Spanned<String>>,
    pub(super) kind: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, remote = "Self", rename_all = "kebab-case")]
pub(super) struct Profile {
    pub(super) name: Spanned<String>,
    pub(super) kernel: Option<Spanned<String>>,
    pub(super) chain: Option<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) initrd: Vec<Spanned<Initrd>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<Spanned<String>>,
    pub(super) install: Option<Spanned<Policy>>,
    #[serde(default = "unverified", skip_serializing_if = "is_unverified")]
    pub(super) verify: Spanned<bool>,
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub(super) metadata: toml::Table,
}

/// One that boots nothing does not fit, as if a field were missing.
impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let profile = Self::deserialize(deserializer)?;
        match profile.kernel.is_none() && profile.chain.is_none() {
            true => Err(de::Error::missing_field("kernel")),
            false => Ok(profile),
        }
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

fn is_unverified(verify: &Spanned<bool>) -> bool {
    !verify.get_ref()
}

fn unverified() -> Spanned<bool> {
    Spanned::new(0..0, false)
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Group {
    pub(super) name: Spanned<String>,
    pub(super) profile: Spanned<String>,
    #[serde(default)]
    pub(super) selector: Selector,
    #[serde(default)]
    pub(super) hand_off: HandOff,
    pub(super) boot_program: Option<Spanned<String>>,
    pub(super) offer: Option<Offer>,
    #[serde(default)]
    pub(super) every_machine: bool,
    #[serde(default)]
    pub(super) metadata: toml::Table,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Selector {
    pub(super) mac: Option<Spanned<Patterns>>,
    pub(super) uuid: Option<Spanned<Patterns>>,
    pub(super) serial: Option<Spanned<Patterns>>,
    pub(super) arch: Option<Spanned<Patterns>>,
    pub(super) firmware: Option<Spanned<Patterns>>,
    pub(super) manufacturer: Option<Spanned<Patterns>>,
    pub(super) product: Option<Spanned<Patterns>>,
    pub(super) label: BTreeMap<String, Spanned<Patterns>>,
    pub(super) not: Option<Spanned<Box<Self>>>,
}

/// One machine, and what is its own.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, remote = "Self", rename_all = "kebab-case")]
pub(super) struct Machine {
    pub(super) mac: Option<Spanned<Patterns>>,
    pub(super) uuid: Option<Spanned<Patterns>>,
    pub(super) serial: Option<Spanned<Patterns>>,
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub(super) metadata: toml::Table,
}

/// One that is not named does not fit, as if a field were missing.
impl<'de> Deserialize<'de> for Machine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let machine = Self::deserialize(deserializer)?;
        match machine.mac.is_none() && machine.uuid.is_none() && machine.serial.is_none() {
            true => Err(de::Error::missing_field("mac")),
            false => Ok(machine),
        }
    }
}

impl Serialize for Machine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}
