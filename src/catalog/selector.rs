//! Which machines belong to a group, and how sure that is before a machine has told all.

use std::{collections::BTreeMap, fmt};

use super::pattern::Pattern;
use crate::{
    firmware::Platform,
    machine::{Mac, Machine, Uuid},
};

/// What a machine is selected by.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Field {
    /// iPXE's `${buildarch}`.
    Arch,
    /// BIOS or UEFI.
    Firmware,
    /// A parameter of `/ipxe` by its name.
    Label(String),
    /// Hardware address of the card that boots.
    Mac,
    /// SMBIOS system manufacturer.
    Manufacturer,
    /// SMBIOS product name.
    Product,
    /// SMBIOS system serial number.
    Serial,
    /// SMBIOS system UUID.
    Uuid,
}

/// What a machine has for a field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// Of `mac`.
    Mac(Mac),
    /// Of `firmware`.
    Platform(Platform),
    /// Of what iPXE tells.
    Text(&'a str),
    /// Of `uuid`.
    Uuid(Uuid),
}

/// How far a machine's value is known.
enum Known<'a> {
    Absent,
    Here(Value<'a>),
    NotYet,
}

impl Field {
    /// Whether UEFI alone tells it, without iPXE.
    fn is_told_by_firmware(&self) -> bool {
        match self {
            Self::Arch | Self::Firmware | Self::Mac | Self::Uuid => true,
            Self::Label(_) | Self::Manufacturer | Self::Product | Self::Serial => false,
        }
    }

    fn of<'a>(&self, machine: &'a Machine) -> Known<'a> {
        let name = match self {
            Self::Mac => return Known::Here(Value::Mac(machine.mac)),
            Self::Firmware => return known(machine, machine.platform.map(Value::Platform)),
            Self::Uuid => return known(machine, machine.uuid.map(Value::Uuid)),
            Self::Arch => "arch",
            Self::Label(name) => name,
            Self::Manufacturer => "manufacturer",
            Self::Product => "product",
            Self::Serial => "serial",
        };
        let told = machine.labels.as_ref().and_then(|labels| labels.get(name));
        known(machine, told.map(|value| Value::Text(value)))
    }
}

/// What is absent may still be told, until iPXE has asked.
fn known<'a>(machine: &Machine, value: Option<Value<'a>>) -> Known<'a> {
    match value {
        Some(value) => Known::Here(value),
        None if machine.labels.is_none() => Known::NotYet,
        None => Known::Absent,
    }
}

/// Which machines belong to a group: those that every field accepts, so every machine when empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector(BTreeMap<Field, Vec<Pattern>>);

/// What a selector says of a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It belongs here.
    Match,
    /// It does not, whatever else it tells.
    Mismatch,
    /// It has not told enough yet.
    Undecided,
}

/// What one field of a selector says of a machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding<'a> {
    /// The field.
    pub field: &'a Field,
    /// What it accepts.
    pub patterns: &'a [Pattern],
    /// What it met.
    pub outcome: Outcome<'a>,
}

/// What a field met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<'a> {
    /// A value that this pattern accepts.
    Hit(&'a Pattern),
    /// A value that none accepts.
    Miss(Value<'a>),
    /// A machine that has none.
    Nothing,
    /// A machine that has not told it yet.
    NotYet,
}

impl Selector {
    /// Accepts a machine when each field accepts one of its patterns.
    pub fn new(fields: BTreeMap<Field, Vec<Pattern>>) -> Self {
        Self(fields)
    }

    /// Whether it accepts every machine.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What its fields accept, all together.
    pub fn all_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.values().flatten()
    }

    /// Whether the machine belongs here, as far as it has told.
    pub fn matches(&self, machine: &Machine) -> Verdict {
        let mut verdict = Verdict::Match;
        for finding in self.findings(machine) {
            match finding.outcome {
                Outcome::Hit(_) => {}
                Outcome::Miss(_) | Outcome::Nothing => return Verdict::Mismatch,
                Outcome::NotYet => verdict = Verdict::Undecided,
            }
        }
        verdict
    }

    /// What each field says of the machine.
    pub fn findings<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = Finding<'a>> {
        self.0.iter().map(|(field, patterns)| {
            let outcome = match field.of(machine) {
                Known::Absent => Outcome::Nothing,
                Known::NotYet => Outcome::NotYet,
                Known::Here(value) => match patterns.iter().find(|own| own.accepts(&value)) {
                    Some(pattern) => Outcome::Hit(pattern),
                    None => Outcome::Miss(value),
                },
            };
            Finding { field, patterns, outcome }
        })
    }

    /// Whether nothing speaks against it but what a machine has not told that only iPXE tells.
    pub(super) fn lacks_only_what_ipxe_tells(&self, machine: &Machine) -> bool {
        self.findings(machine).all(|finding| match finding.outcome {
            Outcome::Hit(_) => true,
            Outcome::Nothing | Outcome::NotYet => !finding.field.is_told_by_firmware(),
            Outcome::Miss(_) => false,
        })
    }

    /// The fields it asks for.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.keys()
    }

    /// What a field may be; empty where that does not matter.
    pub(super) fn patterns(&self, field: &Field) -> &[Pattern] {
        self.0.get(field).map_or(&[], Vec::as_slice)
    }

    /// How narrow it is: greater goes first.
    pub(super) fn specificity(&self) -> Specificity {
        let exact = |patterns: &Vec<Pattern>| patterns.iter().all(Pattern::is_exact);
        let rank = |field: &Field| self.0.get(field).is_some_and(exact);
        let identity = match () {
            () if rank(&Field::Mac) => 3,
            () if rank(&Field::Uuid) => 2,
            () if rank(&Field::Serial) => 1,
            () => 0,
        };
        let exact = self.0.values().filter(|patterns| exact(patterns)).count();
        Specificity { identity, fields: self.0.len(), exact }
    }

    /// Whether one machine may belong to both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().all(|(field, own)| {
            let Some(theirs) = other.0.get(field) else { return true };
            own.iter().any(|own| theirs.iter().any(|their| own.overlaps(their)))
        })
    }
}

/// Compared from the first field on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Specificity {
    /// 3 for an exact `mac`, 2 for `uuid`, 1 for `serial`: these name machines.
    identity: u8,
    fields: usize,
    /// Fields without a glob.
    exact: usize,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arch => "arch",
            Self::Firmware => "firmware",
            Self::Label(name) => return write!(f, "label.{name}"),
            Self::Mac => "mac",
            Self::Manufacturer => "manufacturer",
            Self::Product => "product",
            Self::Serial => "serial",
            Self::Uuid => "uuid",
        })
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "\"{mac}\""),
            Self::Platform(platform) => write!(f, "\"{platform}\""),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Uuid(uuid) => write!(f, "\"{uuid}\""),
        }
    }
}

/// As it may be written in the config.
impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_field(f, self.field, self.patterns)
    }
}

/// As it may be written in the config.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, patterns)) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write_field(f, field, patterns)?;
        }
        Ok(())
    }
}

fn write_field(f: &mut fmt::Formatter<'_>, field: &Field, patterns: &[Pattern]) -> fmt::Result {
    let written: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
    match written.as_slice() {
        [one] => write!(f, "{field} = {one}"),
        several => write!(f, "{field} = [{}]", several.join(", ")),
    }
}
