//! cloud-config for coreos-cloudinit: not Ubuntu's cloud-init, whose keys are others.
//!
//! coreos-install runs `coreos-cloudinit -validate` and refuses a file at any entry of its report, so
//! each is an error here.

mod rules;
mod schema;
mod yaml;

use std::collections::BTreeSet;

use super::{Fault, Report, Severity, Target, script};
pub(super) use yaml::malformed;
use yaml::{Dialect, Value};

const HEADER: &str = "#cloud-config";

/// Adds what is wrong with a config.
pub(super) fn check(text: &str, target: &Target, report: &mut Report) {
    let first = text.lines().next().unwrap_or("");
    if first.starts_with("#!") {
        script::check(text, report);
        return;
    }
    if *target == Target::FedoraCoreOs {
        report.error(1, "is a cloud-config, which Fedora CoreOS does not read; write Ignition");
        return;
    }
    if first.trim_end() != HEADER {
        let near = first.to_lowercase().replace(' ', "").starts_with(HEADER);
        let why = if near {
            "has a first line that is nearly right; write exactly #cloud-config"
        } else {
            "does not begin with #cloud-config, so nothing of it is read; write that line above it; \
             for a script, write #!/bin/bash above it"
        };
        report.error(1, why);
        return;
    }
    if *target == Target::Unknown && is_autoinstall(text) {
        return;
    }
    both(text, &Reader::of(target), report);
}

/// Ubuntu's installer has the same first line, and keys that are its own.
fn is_autoinstall(text: &str) -> bool {
    let config = yaml::parse(text, Dialect::V3, &mut Report::default());
    config.is_some_and(|config| config.get("autoinstall").is_some())
}

/// Adds what is wrong with a config for its reader; where it may be one of two, what only one of
/// them refuses is a warning that names it.
fn both(text: &str, readers: &[Reader], report: &mut Report) {
    let reports = readers.iter().map(|reader| {
        let mut report = Report::default();
        read(text, reader, &mut report);
        (reader, report.into_faults())
    });
    let reports: Vec<(&Reader, Vec<Fault>)> = reports.collect();
    let refused: Vec<BTreeSet<usize>> = reports.iter().map(|(_, faults)| errors(faults)).collect();
    for (index, (reader, faults)) in reports.iter().enumerate() {
        for fault in faults {
            let by_all = refused.iter().all(|lines| lines.contains(&fault.line));
            match fault.severity {
                Severity::Warning => report.warn(fault.line, fault.text.clone()),
                Severity::Error if !by_all => {
                    let why = format!("{} ({} refuses it)", fault.text, reader.name);
                    report.warn(fault.line, why);
                }
                // The first says it for all.
                Severity::Error if index == 0 => report.error(fault.line, fault.text.clone()),
                Severity::Error => {}
            }
        }
    }
}

fn errors(faults: &[Fault]) -> BTreeSet<usize> {
    let errors = faults.iter().filter(|fault| fault.severity == Severity::Error);
    errors.map(|fault| fault.line).collect()
}

/// One coreos-cloudinit.
struct Reader {
    name: &'static str,
    dialect: Dialect,
    target: Target,
}

/// Flatcars before this one have CoreOS's YAML library …
const FLATCAR_V1: u32 = 3874;
/// … and from this one on yaml.v3; those between are not known.
const FLATCAR_V3: u32 = 3975;

impl Reader {
    /// Those that a target may have; a Flatcar whose version is not known is one of today.
    fn of(target: &Target) -> Vec<Self> {
        let old = |name, target| Self { name, dialect: Dialect::V1, target };
        let new = |name, target| Self { name, dialect: Dialect::V3, target };
        match target {
            Target::CoreOs(_) => vec![old("CoreOS", target.clone())],
            Target::Flatcar(_) => match target.major() {
                Some(major) if major < FLATCAR_V1 => vec![old("Flatcar", target.clone())],
                Some(major) if major < FLATCAR_V3 => vec![
                    old("Flatcar before 3874", target.clone()),
                    new("Flatcar since 3975", target.clone()),
                ],
                Some(_) | None => vec![new("Flatcar", target.clone())],
            },
            Target::FedoraCoreOs | Target::Unknown => vec![
                old("CoreOS", Target::CoreOs("current".to_owned())),
                new("Flatcar", Target::Flatcar(None)),
            ],
        }
    }
}

fn read(text: &str, reader: &Reader, report: &mut Report) {
    let Some(config) = yaml::parse(text, reader.dialect, report) else { return };
    match config.value {
        Value::Map(_) => {
            schema::check(&config, &reader.target, report);
            rules::check(&config, text, report);
        }
        Value::Null => {}
        Value::Binary(_)
        | Value::Bool(_)
        | Value::Date
        | Value::List(_)
        | Value::Real(_)
        | Value::Text
        | Value::Whole(_) => {
            report.error(config.line, "is no cloud-config: write \"key: value\" lines");
        }
    }
}
