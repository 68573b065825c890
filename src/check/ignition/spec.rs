//! Which version of the spec a config is in, and who takes it.

use std::fmt;

use crate::check::{
    Report, Target,
    json::{Node, Value},
};

/// A version of the spec: 24 is 2.4.0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Spec(pub(super) u8);

/// A config's version: the spec that it is checked by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) spec: Spec,
    /// Not the spec itself, but the nearest one that is known.
    pub(super) is_other: bool,
}

impl Spec {
    pub(super) const V1: Self = Self(10);
    pub(super) const V2_0: Self = Self(20);
    pub(super) const V2_1: Self = Self(21);
    pub(super) const V2_3: Self = Self(23);
    pub(super) const V3_0: Self = Self(30);
    pub(super) const V3_1: Self = Self(31);
    pub(super) const V3_2: Self = Self(32);
    pub(super) const V3_3: Self = Self(33);
    pub(super) const V3_4: Self = Self(34);
    pub(super) const V3_6: Self = Self(36);

    /// "3.3.0"; these are known.
    fn parse(text: &str) -> Option<Self> {
        let known = (20..=24).chain(30..=36).map(Self);
        known.into_iter().find(|spec| spec.to_string() == text)
    }

    /// The nearest known one of a version that some Ignition may take: a later one of spec 3, and
    /// one that is tried out, such as 3.6.0-experimental.
    fn nearest(text: &str) -> Option<Self> {
        let stable = text.strip_suffix("-experimental").or_else(|| text.strip_suffix("-dev"));
        let is_trial = stable.is_some();
        let rest = stable.unwrap_or(text).strip_suffix(".0")?;
        let (major, minor) = rest.split_once('.')?;
        let digits = minor.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (minor.len() == 1 || !minor.starts_with('0'));
        let minor: u8 = minor.parse().ok().filter(|_| plain)?;
        match major {
            // Older trial versions were in builds that nobody has any more.
            "2" if is_trial && minor > 4 => Some(Self(24)),
            "3" if is_trial && minor > 3 || minor > 6 => Some(Self(30 + minor.min(6))),
            _ => None,
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V1 => f.write_str("1"),
            Self(number) => write!(f, "{}.{}.0", number / 10, number % 10),
        }
    }
}

/// The first Flatcar with Ignition 2, which reads spec 3 and translates spec 2.
const FLATCAR_SPEC_3: u32 = 3185;
/// CoreOS up to here is known to take spec 2.0.0 only (1122.2.0 has Ignition 0.8.0) …
const COREOS_OLD: u32 = 1353;
/// … and from here on to take all of spec 2.
const COREOS_LATE: u32 = 2303;

/// The config's version, if there is one that the target takes.
pub(super) fn read(config: &Node, target: &Target, report: &mut Report) -> Option<Version> {
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
        if config.whole("ignitionVersion") == Some(1) {
            return version_1(config.line_of("ignitionVersion"), target, report);
        }
        let why = format!("has no version; write \"ignition\": {{ \"version\": \"{write}\" }}");
        report.error(line, why);
        return None;
    };
    let Some(text) = version.as_text() else {
        let sort = version.sort();
        report.error(line, format!("has {sort} for \"version\"; write it in quotes: \"{write}\""));
        return None;
    };
    if let Some(spec) = Spec::parse(text) {
        let version = Version { spec, is_other: false };
        return taken(spec, line, target, report).then_some(version);
    }
    let Some(spec) = Spec::nearest(text) else {
        let why = format!(
            "has the version \"{text}\", which no Ignition takes; write \"{write}\" \
             (there are 2.0.0 to 2.4.0 and 3.0.0 to 3.6.0)"
        );
        report.error(line, why);
        return None;
    };
    // The target's own refusal says more than that the version is not known.
    let version = Version { spec, is_other: true };
    if !taken(spec, line, target, report) {
        return None;
    }
    let why = format!(
        "has the version \"{text}\", which is not known here; it is checked as {spec} and \
         served, as the machine's Ignition may take it; if not, write \"{write}\""
    );
    report.warn(line, why);
    Some(version)
}

/// CoreOS's Ignition takes it, and a new Flatcar translates it.
fn version_1(line: usize, target: &Target, report: &mut Report) -> Option<Version> {
    let write = "write \"ignition\": { \"version\": \"3.3.0\" }";
    match target {
        Target::CoreOs(_) | Target::Flatcar(_) => {}
        Target::FedoraCoreOs => {
            report.error(line, format!("is of version 1, which {target} refuses; {write}"));
            return None;
        }
        Target::Unknown => {
            let why = format!("is of version 1, which only CoreOS and Flatcar read; {write}");
            report.warn(line, why);
        }
    }
    Some(Version { spec: Spec::V1, is_other: false })
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
