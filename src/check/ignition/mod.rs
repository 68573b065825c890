//! Ignition's JSON, spec 1, 2.0.0 to 2.4.0 and 3.0.0 to 3.6.0; other versions by the nearest.
//!
//! The rules are those of `ignition-validate` where we have it (3.0 to 3.3: `tests/checks.rs` holds
//! us to its verdicts) and of the specs where we have not. Stricter than the tool on purpose: a
//! misspelt key, or one of another version, is an error here, because what its author wanted would
//! not happen. A key that is like none that we know is a warning, as in the tool.

mod disks;
mod filesystems;
mod nodes;
mod resource;
mod schema;
mod spec;
mod units;
mod users;

use std::collections::BTreeSet;

use super::{
    Report, Severity, Target,
    json::{self, Node},
};
use spec::{Spec, Version};
pub(super) use units::fault as unit_fault;

/// Adds what is wrong with a config.
pub(super) fn check(text: &str, target: &Target, report: &mut Report) {
    let Some(config) = json::parse(text, report) else { return };
    repeated(&config, report);
    let config = config.merged();
    let Some(version) = spec::read(&config, target, report) else { return };
    if *target == Target::Unknown && version.spec < Spec::V3_0 {
        let mut strictly = Report::default();
        judge(&config, version, &Target::Flatcar(None), &mut strictly);
        judge(&config, version, target, report);
        refused_by_flatcar(strictly, report);
    } else {
        judge(&config, version, target, report);
    }
}

/// Adds the faults that only a new Flatcar's translation finds: warnings, as it may be none.
fn refused_by_flatcar(strictly: Report, report: &mut Report) {
    for fault in strictly.into_faults() {
        let told = report.0.iter().any(|it| it.line == fault.line && it.severity == fault.severity);
        if fault.severity == Severity::Error && !told {
            report.warn(fault.line, format!("{} (Flatcar refuses it)", fault.text));
        }
    }
}

fn repeated(config: &Node, report: &mut Report) {
    let mut found = Vec::new();
    config.repeated(&mut found);
    for (line, key) in found {
        let key: String = key.chars().take(60).collect();
        report.warn(line, format!("has \"{key}\" twice; both are merged, the last one wins"));
    }
}

fn judge(config: &Node, version: Version, target: &Target, report: &mut Report) {
    let Version { spec, .. } = version;
    if schema::check(config, version, report) {
        let context = Context { spec, target };
        if spec == Spec::V1 {
            units::check(config, context, report);
            users::check(config, context, report);
            return;
        }
        references(config, context, report);
        disks::check(config, context, report);
        filesystems::check(config, context, report);
        nodes::check(config, context, report);
        units::check(config, context, report);
        users::check(config, context, report);
    }
}

/// What the rules depend on.
#[derive(Clone, Copy)]
struct Context<'a> {
    spec: Spec,
    target: &'a Target,
}

impl Context<'_> {
    /// Whether a Flatcar translates the config to spec 3 before it reads it.
    fn is_translated(self) -> bool {
        let flatcar = matches!(self.target, Target::Flatcar(_));
        self.spec < Spec::V3_0 && flatcar && !spec::reads_spec_2(self.target)
    }

    /// Whether it is read as spec 3 in the end, which takes no two entries of one name.
    fn is_spec_3(self) -> bool {
        self.spec >= Spec::V3_0 || self.is_translated()
    }
}

/// Other configs, certificates, the proxy and the kernel's arguments.
fn references(config: &Node, context: Context<'_>, report: &mut Report) {
    let ignition = config.get("ignition");
    if let Some(references) = ignition.and_then(|node| node.get("config")) {
        for key in ["merge", "append"] {
            let list = references.list(key);
            list.iter().for_each(|node| resource::required(node, context, report));
            if key == "merge" {
                repeats(list.iter().map(|node| (node.line, node.text("source"))), "source", report);
            }
        }
        if let Some(replace) = references.get("replace") {
            resource::check(replace, context, report);
        }
    }
    let tls = ignition.and_then(|node| node.get("security")).and_then(|node| node.get("tls"));
    if let Some(tls) = tls {
        let list = tls.list("certificateAuthorities");
        list.iter().for_each(|node| resource::required(node, context, report));
        if context.is_spec_3() {
            repeats(list.iter().map(|node| (node.line, node.text("source"))), "source", report);
        }
    }
    if let Some(proxy) = ignition.and_then(|node| node.get("proxy")) {
        resource::proxy(proxy, context, report);
    }
    if let Some(arguments) = config.get("kernelArguments") {
        let both = ["shouldExist", "shouldNotExist"].map(|key| arguments.list(key));
        let words = both.iter().flat_map(|list| list.iter());
        repeats(words.map(|node| (node.line, node.as_text())), "argument", report);
    }
}

/// Spec 3 refuses two entries of one name in a list.
fn repeats<'t>(
    names: impl Iterator<Item = (usize, Option<&'t str>)>,
    what: &str,
    report: &mut Report,
) {
    let mut seen = BTreeSet::new();
    for (line, name) in names {
        let Some(name) = name else { continue };
        if !seen.insert(name) {
            report.error(line, format!("has the {what} \"{name}\" twice; take one out"));
        }
    }
}

/// A path on the machine: there, absolute, and as short as it can be.
fn path(node: &Node, key: &str, context: Context<'_>, report: &mut Report) {
    let line = node.line_of(key);
    match node.filled(key) {
        None => report.error(line, format!("lacks \"{key}\"; write an absolute path")),
        Some(path) => is_path(path, line, key, context, report),
    }
}

fn is_path(path: &str, line: usize, key: &str, context: Context<'_>, report: &mut Report) {
    if !path.starts_with('/') {
        report.error(line, format!("has \"{key}\": \"{path}\"; it must begin with /"));
        return;
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let mut clean: Vec<&str> = Vec::new();
    for part in parts {
        if part == ".." {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    let clean = format!("/{}", clean.join("/"));
    if context.spec >= Spec::V3_0 && clean != path {
        report.error(line, format!("has \"{key}\": \"{path}\"; write \"{clean}\""));
    }
}

/// A name without which the real tool would stop at boot, though its validator takes the config.
fn named(node: &Node, what: &str, report: &mut Report) {
    if node.filled("name").is_none() {
        report.error(node.line_of("name"), format!("has a {what} without \"name\"; add it"));
    }
}
