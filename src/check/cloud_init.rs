//! User-data for cloud-init: its forms, and whether what is YAML is YAML. Keys are not judged: what
//! cloud-init does not know it passes over with a warning.

use std::io::Read as _;

use super::{
    Kind, Report,
    kind::{HEADERS, is_cloud_init},
    script, text,
    yaml::{self, Node},
};

/// Adds what is wrong with user-data.
pub(super) fn check(text: &str, report: &mut Report) {
    data(text, report);
}

/// The same of user-data for Ubuntu's installer.
pub(super) fn check_autoinstall(text: &str, report: &mut Report) {
    let Some(config) = data(text, report) else { return };
    // The installer also reads a file of its own, where the keys stand at the top.
    let Some(section) = config.get("autoinstall") else {
        if config.get("version").is_none() {
            let why = "has no \"autoinstall\" key, so nothing installs; add it, and write kind = \
                       \"cloud-init\" where that is meant";
            report.error(config.line, why);
        }
        return;
    };
    if !section.is_map() {
        report.error(section.line, "has nothing below \"autoinstall\"; add version: 1");
    } else if section.get("version").is_none() {
        let why = "has no \"version\" below \"autoinstall\", and the installer stops there; add \
                   version: 1";
        report.error(section.line.saturating_sub(1).max(1), why);
    }
}

/// The mapping of a cloud-config; nothing of any other form.
fn data(text: &str, report: &mut Report) -> Option<Node> {
    let body = text.trim_start();
    let begin: String = body.chars().take(64).collect::<String>().to_ascii_lowercase();
    if is_mime(text) {
        return None;
    }
    if begin.starts_with("#!") {
        script::check(body, report);
        return None;
    }
    if !is_cloud_init(body.as_bytes()) {
        let first = text.lines().next().unwrap_or("");
        let is_near = first.to_lowercase().replace(' ', "").starts_with("#cloud-config");
        let why = if is_near {
            "has a first line that is nearly right; write exactly #cloud-config".to_owned()
        } else {
            format!(
                "begins with none of {}, #! and MIME, so cloud-init reads nothing of it; write \
                 #cloud-config above it",
                HEADERS.join(", ")
            )
        };
        report.error(1, why);
        return None;
    }
    if begin.starts_with("## template: jinja") {
        let inside = body.split_once('\n').map_or("", |(_, inside)| inside);
        if !is_cloud_init(inside.as_bytes()) && !inside.trim_start().starts_with("#!") {
            let why = "has no header of cloud-init below its \"## template: jinja\"; write \
                       #cloud-config there";
            report.error(2, why);
        }
        return None;
    }
    if begin.starts_with("#include") {
        includes(text, report);
    }
    let is_archive = begin.starts_with("#cloud-config-archive");
    // The others are programs, or JSON Patch.
    if !begin.starts_with("#cloud-config") || begin.starts_with("#cloud-config-jsonp") {
        return None;
    }
    let document = yaml::documents(text, report)?.into_iter().next()?;
    if document.is_nothing() {
        return None;
    }
    let is_right = match is_archive {
        true => matches!(document.value, yaml::Value::List(_)),
        false => document.is_map(),
    };
    if !is_right {
        let instead = if is_archive { "a list of parts" } else { "\"key: value\" lines" };
        report.error(document.line, format!("is no cloud-config: write {instead}"));
    }
    (is_right && !is_archive).then_some(document)
}

fn is_mime(text: &str) -> bool {
    let begin: String = text.chars().take(4096).collect::<String>().to_ascii_lowercase();
    begin.contains("mime-version:") || begin.starts_with("content-type:")
}

fn includes(text: &str, report: &mut Report) {
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if !content.is_empty() && !content.starts_with('#') && !content.contains("://") {
            report.warn(line, format!("includes \"{content}\", which is no URL"));
        }
    }
}

/// More than user-data has reason to be once it is unpacked.
const LARGEST: u64 = 16 << 20;

/// cloud-init unpacks what is gzipped.
pub(super) fn unpacked(text: &[u8], report: &mut Report) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(text).take(LARGEST).read_to_end(&mut unpacked);
    if read.is_err() {
        report.error(1, "is compressed with gzip, and cannot be unpacked; compress it again");
        return None;
    }
    Some(unpacked)
}

/// Whether a reader unpacks gzip by itself.
pub(super) fn unpacks(kind: Kind) -> bool {
    matches!(kind, Kind::CloudInit | Kind::Autoinstall)
}

/// Adds what is wrong with user-data that is gzipped.
pub(super) fn check_packed(kind: Kind, packed: &[u8], report: &mut Report) {
    let Some(bytes) = unpacked(packed, report) else { return };
    let mut inside = Report::default();
    if let Some(text) = text::read(kind, &bytes, &mut inside) {
        if kind == Kind::Autoinstall {
            check_autoinstall(text, &mut inside);
        } else {
            check(text, &mut inside);
        }
    }
    for fault in inside.into_faults() {
        let text = format!("unpacked, in line {}: {}", fault.line, fault.text);
        report.add(1, fault.severity, text);
    }
}
