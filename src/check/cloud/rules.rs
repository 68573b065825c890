//! What the keys' table cannot say: contents that cannot be decoded, places that cannot be written,
//! and what goes wrong at a machine's second boot.

use std::io::Read;

use super::yaml::{Node, Value};
use crate::check::{Report, ignition, text};

/// Adds what is wrong with files, units, users and names.
pub(super) fn check(config: &Node, source: &str, report: &mut Report) {
    for file in config.list("write_files") {
        write(file, report);
        hazards(file, source, report);
    }
    let coreos = config.get("coreos");
    for unit in coreos.map_or(&[][..], |coreos| coreos.list("units")) {
        systemd(unit, source, report);
        hazards(unit, source, report);
    }
    if let Some(etcd) = coreos.and_then(|coreos| coreos.get("etcd")) {
        let url = etcd.text("discovery").unwrap_or("/");
        if !url.starts_with('/') && !url.contains("://") {
            report.error(etcd.line_of("discovery"), "has a \"discovery\" that is no URL");
        }
    }
    for user in config.list("users") {
        if user.text("name").is_none() {
            report.warn(user.line, "has a user without \"name\", which is left out; add it");
        }
        keys(user, report);
    }
    keys(config, report);
    names(config, report);
}

fn names(config: &Node, report: &mut Report) {
    if let Some(name) = config.text("hostname") {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-.$_{}".contains(c);
        if !name.chars().all(fine) || name.len() > 64 {
            let why = format!(
                "has the hostname \"{name}\", which is simplified; write letters, digits, - and dots"
            );
            report.warn(config.line_of("hostname"), why);
        }
    }
    if let Some(word) = config.text("manage_etc_hosts").filter(|word| *word != "localhost") {
        let why = format!("has \"{word}\" for \"manage_etc_hosts\"; there is only localhost");
        report.error(config.line_of("manage_etc_hosts"), why);
    }
}

fn keys(node: &Node, report: &mut Report) {
    for key in node.list("ssh_authorized_keys") {
        if let Some(why) = text::ssh_key_fault(&key.raw) {
            report.warn(key.line, why);
        }
    }
}

fn write(file: &Node, report: &mut Report) {
    let line = file.line_of("path");
    match file.text("path") {
        None => report.error(file.line, "has a file without \"path\"; add it"),
        Some(path) if folder(path).starts_with("/usr") => {
            let why = format!("writes \"{path}\", and /usr is read-only; write to /opt or /etc");
            report.error(line, why);
        }
        Some(path) if !path.starts_with('/') => {
            report.warn(line, format!("has the path \"{path}\"; write it from / on"));
        }
        Some(_) => {}
    }
    let content = file.text("content").unwrap_or("");
    if let Some(encoding) = file.text("encoding") {
        let bytes = match file.get("content").map(|node| &node.value) {
            Some(Value::Binary(bytes)) => bytes,
            _ => content.as_bytes(),
        };
        if let Some(why) = undecodable(bytes, encoding) {
            let line = file.line_of("content");
            report.error(line, format!("has a content that is no {encoding}: {why}"));
        }
        return;
    }
    let permissions = file.text("permissions").unwrap_or("");
    let runs =
        permissions.bytes().rev().take(3).any(|digit| matches!(digit, b'1' | b'3' | b'5' | b'7'));
    if runs && !content.is_empty() && !content.starts_with("#!") && !content.starts_with("\u{7f}") {
        let why = "is a file to run whose content does not begin with #!; write #!/bin/bash";
        report.warn(file.line_of("content"), why);
    }
}

/// The folder of a path, without its `..`.
fn folder(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.pop();
    format!("/{}", parts.join("/"))
}

/// More than a file of a config has reason to be.
const LARGEST: u64 = 16 << 20;

fn undecodable(content: &[u8], encoding: &str) -> Option<&'static str> {
    let packed = encoding.starts_with("gz");
    let coded = encoding.contains("64");
    let decoded = match std::str::from_utf8(content).ok().and_then(text::base64) {
        Some(bytes) if coded => bytes,
        None if coded => return Some("it has other characters, or lacks its = signs"),
        Some(_) | None => content.to_vec(),
    };
    if packed {
        let mut unpacked = flate2::read::MultiGzDecoder::new(decoded.as_slice()).take(LARGEST);
        let failed = std::io::copy(&mut unpacked, &mut std::io::sink()).is_err();
        return failed.then_some("it cannot be unpacked; write gz+base64 for packed files");
    }
    None
}

fn systemd(unit: &Node, source: &str, report: &mut Report) {
    let Some(name) = unit.text("name") else {
        report.warn(unit.line, "has a unit without \"name\", which is left out; add it");
        return;
    };
    if !name.contains('.') {
        let why = format!("has the unit \"{name}\"; write what it is: {name}.service");
        report.warn(unit.line_of("name"), why);
    }
    for dropin in unit.list("drop_ins") {
        if dropin.text("name").is_none_or(|name| !name.ends_with(".conf")) {
            report.warn(dropin.line, "has a drop-in whose name does not end in .conf");
        }
    }
    let content = unit.text("content").unwrap_or("");
    if let Some(why) = ignition::unit_fault(content) {
        report.warn(unit.line_of("content"), why);
    }
    if unit.line_of("command") != unit.line && unit.text("command").is_none() {
        report.warn(unit.line_of("command"), "has an empty \"command\"; write start");
    }
    let names_itself = content.contains("set-hostname") && content.contains("$(");
    if names_itself && !content.contains("network-online.target") {
        let line = line_with(source, unit.line, "set-hostname");
        let why = "takes the hostname from an address that may not be there yet; add \
                   Wants=network-online.target and After=network-online.target";
        report.warn(line, why);
    }
}

/// The config is applied at every boot: a container with a name is there already at the second.
fn hazards(node: &Node, source: &str, report: &mut Report) {
    let content = node.text("content").unwrap_or("").replace("\\\n", " ");
    let removed = content.contains("docker rm") || content.contains("docker container rm");
    let again = content.lines().find(|line| {
        let runs = line.contains("docker run") && !line.trim_start().starts_with('#');
        let named = line.contains(" --name ") || line.contains(" --name=");
        runs && named && !line.contains(" --rm")
    });
    if again.is_some() && !removed {
        let line = line_with(source, node.line, "docker run");
        let why = "runs a container by name, which fails at the second boot as the name is taken; \
                   write docker rm -f NAME before it";
        report.warn(line, why);
    }
}

/// The line of a word at or below another line, for what stands in a text of its own.
fn line_with(source: &str, from: usize, word: &str) -> usize {
    let below = source.lines().enumerate().skip(from.saturating_sub(1));
    let mut found = below.filter(|(_, line)| line.contains(word));
    found.next().map_or(from, |(index, _)| index + 1)
}
