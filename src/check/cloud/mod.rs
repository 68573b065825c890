//! cloud-config for coreos-cloudinit: not Ubuntu's cloud-init, whose keys are others.
//!
//! coreos-install runs `coreos-cloudinit -validate` and refuses a file at any entry of its report, so
//! each is an error here.

mod rules;
mod schema;
mod yaml;

use super::{Report, Target, script};

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
            "does not begin with #cloud-config, so nothing of it is read; write that line above it"
        };
        report.error(1, why);
        return;
    }
    let Some(config) = yaml::parse(text, report) else { return };
    // Ubuntu's installer has the same first line, and keys that are its own.
    if *target == Target::Unknown && config.get("autoinstall").is_some() {
        return;
    }
    match config.value {
        yaml::Value::Map(_) => {
            schema::check(&config, target, report);
            rules::check(&config, text, report);
        }
        yaml::Value::Null => {}
        yaml::Value::Binary(_)
        | yaml::Value::Bool(_)
        | yaml::Value::List(_)
        | yaml::Value::Real(_)
        | yaml::Value::Text
        | yaml::Value::Whole(_) => {
            report.error(config.line, "is no cloud-config: write \"key: value\" lines");
        }
    }
}
