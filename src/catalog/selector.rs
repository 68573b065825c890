//! Which machines belong to a group, and how sure that is before a machine has told all.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

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

    /// The parameter of `/ipxe` that tells it; none where it is known otherwise.
    pub(super) fn label(&self) -> Option<&str> {
        match self {
            Self::Arch => Some("arch"),
            Self::Firmware | Self::Mac | Self::Uuid => None,
            Self::Label(name) => Some(name),
            Self::Manufacturer => Some("manufacturer"),
            Self::Product => Some("product"),
            Self::Serial => Some("serial"),
        }
    }

    fn of<'a>(&self, machine: &'a Machine) -> Known<'a> {
        match self {
            Self::Mac => return Known::Here(Value::Mac(machine.mac)),
            Self::Firmware => return known(machine, machine.platform.map(Value::Platform)),
            Self::Uuid => return known(machine, machine.uuid.map(Value::Uuid)),
            Self::Arch | Self::Label(_) | Self::Manufacturer | Self::Product | Self::Serial => {}
        }
        let labels = machine.labels.as_ref();
        let told = labels.and_then(|labels| labels.get(self.label()?));
        known(machine, told.map(Value::Text))
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

/// Which machines belong to a group: those that every field accepts, so every machine when empty,
/// but for those that an exclusion names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector(Arc<Written>);

/// Shared, as each machine with values of its own has its group's selector.
#[derive(Debug, Default, Eq, PartialEq)]
struct Written {
    fields: BTreeMap<Field, Vec<Pattern>>,
    exclusions: BTreeMap<Field, Vec<Pattern>>,
    /// The places of exact hardware addresses in their field: there may be many.
    by_mac: HashMap<Mac, usize>,
}

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
    /// The values that it accepts, or that an exclusion takes out.
    pub patterns: &'a [Pattern],
    /// Whether it is an exclusion.
    pub is_exclusion: bool,
    /// What it met.
    pub outcome: Outcome<'a>,
}

/// What a field met.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome<'a> {
    /// A value that this pattern of an exclusion takes out.
    Excluded(&'a Pattern),
    /// A value that this pattern accepts.
    Hit(&'a Pattern),
    /// A value that none accepts.
    Miss(Value<'a>),
    /// A machine that has none.
    Nothing,
    /// A machine that has not told it yet.
    NotYet,
    /// A value that an exclusion leaves in.
    Spared(Value<'a>),
}

impl Selector {
    /// Accepts a machine when each field accepts one of its patterns.
    pub fn new(fields: BTreeMap<Field, Vec<Pattern>>) -> Self {
        Self::of(fields, BTreeMap::new())
    }

    /// Accepts of those no machine for which one of these fields accepts a pattern, or that does not
    /// tell it.
    pub fn excluding(self, exclusions: BTreeMap<Field, Vec<Pattern>>) -> Self {
        Self::of(self.0.fields.clone(), exclusions)
    }

    fn of(
        fields: BTreeMap<Field, Vec<Pattern>>,
        exclusions: BTreeMap<Field, Vec<Pattern>>,
    ) -> Self {
        let macs = fields.get(&Field::Mac).map_or(&[][..], Vec::as_slice).iter().enumerate();
        let by_mac = macs.filter_map(|(at, pattern)| Some((pattern.exact_mac()?, at))).collect();
        Self(Arc::new(Written { fields, exclusions, by_mac }))
    }

    /// Whether it accepts every machine.
    pub fn is_empty(&self) -> bool {
        self.0.fields.is_empty() && self.0.exclusions.is_empty()
    }

    /// What its fields accept, all together.
    pub fn all_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.fields.values().flatten()
    }

    /// Whether the machine belongs here, as far as it has told.
    pub fn matches(&self, machine: &Machine) -> Verdict {
        let mut verdict = Verdict::Match;
        for finding in self.findings(machine) {
            match finding.outcome {
                Outcome::Hit(_) | Outcome::Spared(_) => {}
                Outcome::Excluded(_) | Outcome::Miss(_) | Outcome::Nothing => {
                    return Verdict::Mismatch;
                }
                Outcome::NotYet => verdict = Verdict::Undecided,
            }
        }
        verdict
    }

    /// What each field says of the machine.
    pub fn findings<'a>(&'a self, machine: &'a Machine) -> impl Iterator<Item = Finding<'a>> {
        let accepted = self.0.fields.iter().map(|(field, patterns)| {
            let outcome = match field.of(machine) {
                Known::Absent => Outcome::Nothing,
                Known::NotYet => Outcome::NotYet,
                Known::Here(value) => match self.accepting(patterns, &value) {
                    Some(pattern) => Outcome::Hit(pattern),
                    None => Outcome::Miss(value),
                },
            };
            Finding { field, patterns, is_exclusion: false, outcome }
        });
        let excluded = self.0.exclusions.iter().map(|(field, patterns)| {
            let outcome = match field.of(machine) {
                // It may be one that is meant.
                Known::Absent => Outcome::Nothing,
                Known::NotYet => Outcome::NotYet,
                Known::Here(value) => match patterns.iter().find(|own| own.accepts(&value)) {
                    Some(pattern) => Outcome::Excluded(pattern),
                    None => Outcome::Spared(value),
                },
            };
            Finding { field, patterns, is_exclusion: true, outcome }
        });
        accepted.chain(excluded)
    }

    /// The pattern of a field that accepts this.
    fn accepting<'a>(&self, patterns: &'a [Pattern], value: &Value<'_>) -> Option<&'a Pattern> {
        if let Value::Mac(mac) = value {
            if let Some(&at) = self.0.by_mac.get(mac) {
                return patterns.get(at);
            }
            if self.0.by_mac.len() == patterns.len() {
                return None;
            }
        }
        patterns.iter().find(|own| own.accepts(value))
    }

    /// Whether a machine with this exact value may belong here.
    pub fn may_have(&self, field: &Field, value: &Pattern) -> bool {
        let accept = |patterns: &[Pattern]| patterns.iter().any(|own| own.overlaps(value));
        self.0.fields.get(field).is_none_or(|patterns| accept(patterns))
            && !self.0.exclusions.get(field).is_some_and(|patterns| accept(patterns))
    }

    /// Whether nothing speaks against it but what a machine has not told that only iPXE tells.
    pub(super) fn lacks_only_what_ipxe_tells(&self, machine: &Machine) -> bool {
        self.findings(machine).all(|finding| match finding.outcome {
            Outcome::Hit(_) | Outcome::Spared(_) => true,
            Outcome::Nothing | Outcome::NotYet => !finding.field.is_told_by_firmware(),
            Outcome::Excluded(_) | Outcome::Miss(_) => false,
        })
    }

    /// The fields it asks for.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.fields.keys()
    }

    /// What a field may be; empty where that does not matter.
    pub(super) fn patterns(&self, field: &Field) -> &[Pattern] {
        self.0.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// Whether it accepts only machines that it names one by one.
    pub fn names_each(&self) -> bool {
        self.specificity().identity > 0
    }

    /// The fields that it excludes machines by, and what it excludes.
    pub(super) fn exclusions(&self) -> impl Iterator<Item = (&Field, &[Pattern])> {
        self.0.exclusions.iter().map(|(field, patterns)| (field, patterns.as_slice()))
    }

    /// How narrow it is: greater goes first.
    pub(super) fn specificity(&self) -> Specificity {
        let exact = |patterns: &Vec<Pattern>| patterns.iter().all(Pattern::is_exact);
        let rank = |field: &Field| self.0.fields.get(field).is_some_and(exact);
        let identity = match () {
            () if rank(&Field::Mac) => 3,
            () if rank(&Field::Uuid) => 2,
            () if rank(&Field::Serial) => 1,
            () => 0,
        };
        let exact = self.0.fields.values().filter(|patterns| exact(patterns)).count();
        let exclusions = self.0.exclusions.len();
        Specificity { identity, fields: self.0.fields.len(), exact, exclusions }
    }

    /// Whether one machine may belong to both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let meet = self.0.fields.iter().all(|(field, own)| {
            let Some(theirs) = other.0.fields.get(field) else { return true };
            own.iter().any(|own| theirs.iter().any(|their| own.overlaps(their)))
        });
        meet && !self.excludes_all_of(other) && !other.excludes_all_of(self)
    }

    /// Whether an exclusion surely takes out every machine of the other.
    fn excludes_all_of(&self, other: &Self) -> bool {
        self.0.exclusions.iter().any(|(field, own)| {
            let theirs = other.patterns(field);
            let is_out = |their: &Pattern| {
                own.contains(their) || their.is_exact() && own.iter().any(|it| it.overlaps(their))
            };
            !theirs.is_empty() && theirs.iter().all(is_out)
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
    /// Fields of exclusions.
    exclusions: usize,
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
        if self.is_exclusion {
            f.write_str("not.")?;
        }
        write_field(f, self.field, self.patterns)
    }
}

/// As it may be written in the config.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = self.0.fields.iter().map(|it| ("", it));
        let excluded = self.0.exclusions.iter().map(|it| ("not.", it));
        for (index, (prefix, (field, patterns))) in accepted.chain(excluded).enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            f.write_str(prefix)?;
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
