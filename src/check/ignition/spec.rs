//! Which version of the spec a config is in, and who takes it.

use std::fmt;

use crate::check::{
    Report, Target,
    json::{Node, Value},
};

/// A version of the spec: 24 is 2.4.0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Spec(pub(super) u8);

impl Spec {
    pub(super) const V2_0: Self = Self(20);
    pub(super) const V2_1: Self = Self(21);
    pub(super) const V2_3: Self = Self(23);
    pub(super) const V3_0: Self = Self(30);
    pub(super) const V3_1: Self = Self(31);
    pub(super) const V3_2: Self = Self(32);
    pub(super) const V3_3: Self = Self(33);
    pub(super) const V3_4: Self = Self(34);
    pub(super) const V3_6: Self = Self(36);

    /// "3.3.0"; there are no others than these.
    fn parse(text: &str) -> Option<Self> {
        let known = (20..=24).chain(30..=36).map(Self);
        known.into_iter().find(|spec| spec.to_string() == text)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0", self.0 / 10, self.0 % 10)
    }
}

/// The first Flatcar with Ignition 2, which reads spec 3 and translates spec 2.
const FLATCAR_SPEC_3: u32 = 3185;
/// CoreOS up to here is known to take spec 2.0.0 only (1122.2.0 has Ignition 0.8.0) …
const COREOS_OLD: u32 = 1353;
/// … and from here on to take all of spec 2.
const COREOS_LATE: u32 = 2303;

/// The config's version, if there is one that the target takes.
pub(super) fn read(config: &Node, target: &Target, report: &mut Report) -> Option<Spec> {
    let write = match target {
        Target::CoreOs(_) => "2.0.0",
        Target::Flatcar(_) | Target::FedoraCoreOs | Target::Unknown => "3.3.0",
    };
    if !matches!(config.value, Value::Object(_)) {
        let sort = config.sort();
        report.error(config.line, format!("is {sort}; a config is an object, in {{ and }}"));
        return None;
    }
    let ignition = config.get("ignition");
    let line = ignition.map_or(1, |node| node.line_of("version"));
    let version = ignition.and_then(|node| node.get("version"));
    let Some(version) = version else {
        let old = config.get("ignitionVersion").is_some();
        let what = if old { "is of version 1, long gone" } else { "has no version" };
        report.error(line, format!("{what}; write \"ignition\": {{ \"version\": \"{write}\" }}"));
        return None;
    };
    let Some(text) = version.as_text() else {
        let sort = version.sort();
        report.error(line, format!("has {sort} for \"version\"; write it in quotes: \"{write}\""));
        return None;
    };
    let Some(spec) = Spec::parse(text) else {
        report.error(
            line,
            format!(
                "has the version \"{text}\", which no Ignition takes; write \"{write}\" \
                 (there are 2.0.0 to 2.4.0 and 3.0.0 to 3.6.0)"
            ),
        );
        return None;
    };
    taken(spec, line, target, report).then_some(spec)
}

/// Whether a target's Ignition takes a version of the spec.
fn taken(spec: Spec, line: usize, target: &Target, report: &mut Report) -> bool {
    let old = spec < Spec::V3_0;
    let refuse = |report: &mut Report, most: &str| {
        report.error(
            line,
            format!("has the version \"{spec}\", which {target} refuses; write {most}"),
        );
        false
    };
    match (target, target.major()) {
        (Target::CoreOs(_), Some(major)) if major <= COREOS_OLD && spec > Spec::V2_0 => {
            refuse(report, "2.0.0")
        }
        (Target::CoreOs(_), _) if !old => refuse(report, "2.0.0"),
        (Target::CoreOs(_), Some(major)) if major < COREOS_LATE && spec > Spec::V2_0 => {
            report.warn(
                line,
                format!("has the version \"{spec}\", which {target} may be too old for"),
            );
            true
        }
        (Target::Flatcar(_), Some(major)) if major < FLATCAR_SPEC_3 && !old => {
            refuse(report, "2.3.0")
        }
        (Target::Flatcar(_), _) if spec >= Spec::V3_4 => {
            report.warn(
                line,
                format!("has the version \"{spec}\", which only a late {target} takes"),
            );
            true
        }
        (Target::FedoraCoreOs, _) if old => refuse(report, "3.3.0, and filesystems by path"),
        _ => true,
    }
}

/// Whether a Flatcar is old enough to read spec 2 as it stands.
pub(super) fn reads_spec_2(target: &Target) -> bool {
    matches!(target, Target::Flatcar(_)) && target.major().is_some_and(|m| m < FLATCAR_SPEC_3)
}
