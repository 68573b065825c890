//! Units of systemd and networkd.

use super::{Context, Spec, repeats};
use crate::check::{Report, json::Node};

const SYSTEMD: [&str; 12] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "snapshot",
    "slice",
    "scope",
];
const NETWORKD: [&str; 3] = ["link", "netdev", "network"];

/// systemd's own longest line, in bytes.
const LONGEST: usize = 2048;

/// Adds what is wrong with them.
pub(super) fn check(config: &Node, context: Context<'_>, report: &mut Report) {
    for (section, suffixes) in [("systemd", &SYSTEMD[..]), ("networkd", &NETWORKD[..])] {
        let units = config.get(section).map_or(&[][..], |node| node.list("units"));
        for unit in units {
            named(unit, suffixes, report);
            contents(unit, context, report);
            dropins(unit, context, report);
            installed(unit, report);
        }
        if context.spec >= Spec::V3_0 {
            repeats(units.iter().map(|u| (u.line_of("name"), u.text("name"))), "unit", report);
        }
    }
}

fn named(unit: &Node, suffixes: &[&str], report: &mut Report) {
    let name = unit.text("name").unwrap_or("");
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    if !suffixes.contains(&suffix) {
        let line = unit.line_of("name");
        let first = suffixes.first().unwrap_or(&"");
        let why = if name.is_empty() {
            format!("has a unit without \"name\"; write one like NAME.{first}")
        } else {
            format!("has the unit \"{name}\"; a name ends in .{}", suffixes.join(", ."))
        };
        report.error(line, why);
    }
}

fn dropins(unit: &Node, context: Context<'_>, report: &mut Report) {
    let dropins = unit.list("dropins");
    for dropin in dropins {
        let name = dropin.text("name").unwrap_or("");
        if !name.ends_with(".conf") {
            let line = dropin.line_of("name");
            report.error(line, format!("has the drop-in \"{name}\"; a name ends in .conf"));
        }
        contents(dropin, context, report);
    }
    if context.is_spec_3() {
        repeats(dropins.iter().map(|d| (d.line_of("name"), d.text("name"))), "drop-in", report);
    }
}

/// Sections and their `Key=value` lines; Ignition 0.8.0, which reads 2.0.0, leaves that to systemd.
fn contents(unit: &Node, context: Context<'_>, report: &mut Report) {
    let Some(text) = unit.filled("contents") else { return };
    let line = unit.line_of("contents");
    if let Some(why) = fault(text) {
        if context.spec > Spec::V2_0 {
            report.error(line, why);
        } else {
            report.warn(line, why);
        }
    }
}

/// The first line of a unit that systemd would not understand.
pub(in crate::check) fn fault(text: &str) -> Option<String> {
    let mut lines = text.split('\n');
    let mut inside = false;
    while let Some(line) = lines.next() {
        let shown: String = line.trim().chars().take(60).collect();
        let plain = line.trim();
        if line.len() > LONGEST {
            return Some(format!("has a unit's line longer than {LONGEST} bytes: \"{shown}…\""));
        }
        if plain.is_empty() || plain.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = plain.strip_prefix('[') {
            inside = true;
            match rest.split_once(']') {
                Some((_, "")) => {}
                Some(_) => return Some(format!("has a unit's line \"{shown}\"; end it with ]")),
                None => return Some(format!("has a unit's section \"{shown}\" without its ]")),
            }
        } else if !inside {
            return Some(format!("has a unit's line \"{shown}\" above the first [Section]"));
        } else if !plain.contains('=') {
            return Some(format!("has a unit's line \"{shown}\" without =; write Key=value"));
        } else {
            let mut last = line;
            while last.ends_with('\\') {
                let Some(next) = lines.next() else { break };
                last = next;
            }
        }
    }
    None
}

/// To enable a unit is to do what its [Install] section says.
fn installed(unit: &Node, report: &mut Report) {
    let enabled = ["enabled", "enable"].into_iter().find(|key| unit.flag(key) == Some(true));
    let (Some(key), Some(text)) = (enabled, unit.filled("contents")) else { return };
    if !text.lines().any(|line| line.trim() == "[Install]") {
        let why = "enables a unit that has no [Install] section, so it will not start; add \
                   [Install] and WantedBy=multi-user.target";
        report.warn(unit.line_of(key), why);
    }
}
