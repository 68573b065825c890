//! `bootbox check`: loads what `serve` would load, and says what it found.

use std::{fmt::Write as _, io, io::Write as _, path::Path, process::ExitCode};

use super::{CONFIG, fail, print};
use crate::{
    config::ConfigError,
    serve::{interface::Interface, releases::Preflight, site::Site},
};

pub(super) fn run(config: Option<&Path>) -> ExitCode {
    let mut site = match Site::load(config) {
        Ok(site) => site,
        Err(error) => return fail(CONFIG, &error),
    };
    // No profile says yet that it installs.
    let Preflight { problems, warnings } = Preflight::of(&site, |_| false);
    if let Some(error) = ConfigError::of(problems) {
        return fail(CONFIG, &error);
    }
    site.warnings.extend(warnings);
    for warning in &site.warnings {
        // Where standard error is closed, the exit code still tells.
        let _ = writeln!(io::stderr(), "bootbox: warning: {warning}");
    }
    match Interface::choose(&site.config.interfaces) {
        Ok(interfaces) => print(report(&site, &interfaces).as_bytes()),
        Err(error) => fail(CONFIG, &error),
    }
}

/// What would be served, and to whom.
fn report(site: &Site, interfaces: &[Interface]) -> String {
    let mut report = match site.warnings.len() {
        0 => format!("{}: nothing is wrong\n", site.config.name),
        1 => format!("{}: no errors, 1 warning\n", site.config.name),
        count => format!("{}: no errors, {count} warnings\n", site.config.name),
    };
    for interface in interfaces {
        let _ = writeln!(report, "  serve on {interface}");
    }
    for group in site.config.catalog.groups() {
        let who = match group.selector.is_empty() {
            true => "every other machine".to_owned(),
            false => group.selector.to_string(),
        };
        let _ = writeln!(
            report,
            "  {who}: boots profile {} (group {})",
            group.profile.name, group.name
        );
    }
    report
}
