//! Disks, partitions, arrays and encrypted volumes.

use std::collections::BTreeSet;

use super::{Context, Spec, is_path, named, path, repeats, resource};
use crate::check::{Report, Target, json::Node, url};

/// Adds what is wrong with them.
pub(super) fn check(config: &Node, context: Context<'_>, report: &mut Report) {
    let Some(storage) = config.get("storage") else { return };
    for disk in storage.list("disks") {
        path(disk, "device", context, report);
        partitions(disk.list("partitions"), context, report);
    }
    for array in storage.list("raid") {
        raid(array, context, report);
    }
    for volume in storage.list("luks") {
        luks(volume, context, report);
    }
    if context.is_spec_3() {
        for (list, key) in [("disks", "device"), ("raid", "name"), ("luks", "name")] {
            let names = storage.list(list).iter();
            repeats(names.map(|node| (node.line_of(key), node.text(key))), key, report);
        }
    }
}

fn partitions(partitions: &[Node], context: Context<'_>, report: &mut Report) {
    let mut numbers = BTreeSet::new();
    let mut labels = BTreeSet::new();
    for partition in partitions {
        one(partition, context, report);
        let number = partition.whole("number").unwrap_or(0);
        let counts = number != 0 || context.spec <= Spec::V2_1;
        if !numbers.insert(number) && counts {
            let line = partition.line_of("number");
            report.error(line, format!("has the partition number {number} twice on one disk"));
        }
        if let Some(label) = partition.text("label").filter(|_| context.spec >= Spec::V2_3)
            && !labels.insert(label)
        {
            let line = partition.line_of("label");
            report.error(line, format!("has the label \"{label}\" twice on one disk"));
        }
    }
    overlaps(partitions, context, report);
    let absent = |node: &&Node| node.flag("shouldExist") == Some(false);
    if let Some(node) = partitions.iter().find(absent).filter(|_| numbers.contains(&0)) {
        report.error(
            node.line_of("shouldExist"),
            "takes a partition away beside one without a number; number them all",
        );
    }
    translated(partitions, context, report);
}

fn one(partition: &Node, context: Context<'_>, report: &mut Report) {
    let number = partition.whole("number").unwrap_or(0);
    let number_line = partition.line_of("number");
    let label = partition.text("label");
    if context.spec >= Spec::V2_3 && number == 0 && label.is_none() {
        let why = "has a partition with neither number nor label; write \"number\": 1 or a label";
        report.error(partition.line, why);
    }
    if !(0..=128).contains(&number) {
        let line = number_line;
        report.error(line, format!("has the partition number {number}; write one from 1 to 128"));
    }
    if number == 0 && partition.get("number").is_some() && is_flatcar(context) {
        let why = "has the partition number 0, which many Flatcars get wrong; write 1";
        report.warn(number_line, why);
    }
    if let Some(label) = label {
        let line = partition.line_of("label");
        if label.len() > 36 {
            report.error(line, format!("has the label \"{label}\", longer than 36 bytes"));
        }
        if label.contains(':') {
            let why = format!("has a colon in the label \"{label}\", which would be cut off there");
            if context.spec >= Spec::V3_0 {
                report.error(line, why)
            } else {
                report.warn(line, why)
            }
        }
    }
    for key in ["typeGuid", "guid"] {
        if let Some(guid) = partition.filled(key).filter(|guid| !is_guid(guid)) {
            let write = "write one like 0FC63DAF-8483-4772-8E79-3D69D8477DE4";
            report.error(partition.line_of(key), format!("has \"{key}\": \"{guid}\"; {write}"));
        }
    }
    for key in ["size", "start", "sizeMiB", "startMiB"] {
        if partition.whole(key).is_some_and(|number| number < 0) {
            report.error(
                partition.line_of(key),
                format!("has a negative \"{key}\"; write 0 or more"),
            );
        }
    }
    let misaligned = partition.whole("start").is_some_and(|start| start % 2048 != 0);
    if misaligned {
        let why = "has a \"start\" that is no multiple of 2048 sectors (1 MiB); write one that is";
        report.error(partition.line_of("start"), why);
    }
    if partition.flag("shouldExist") == Some(false) {
        let others = ["label", "sizeMiB", "startMiB", "size", "start"];
        let more = others.iter().any(|key| partition.get(key).is_some())
            || ["typeGuid", "guid"].iter().any(|key| partition.filled(key).is_some());
        if more {
            let why = "has \"shouldExist\": false with more than a number; take the rest out";
            report.error(partition.line_of("shouldExist"), why);
        }
    }
}

fn is_flatcar(context: Context<'_>) -> bool {
    matches!(context.target, Target::Flatcar(_))
}

fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len).collect::<Vec<_>>();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Two partitions that both say where they begin and how long they are.
fn overlaps(partitions: &[Node], context: Context<'_>, report: &mut Report) {
    let old = context.spec < Spec::V3_0;
    if old && ["size", "start"].iter().any(|key| partitions.iter().any(|p| p.get(key).is_some())) {
        let mixed = |p: &&Node| p.get("sizeMiB").is_some() || p.get("startMiB").is_some();
        if let Some(node) = partitions.iter().find(mixed) {
            report
                .error(node.line, "mixes sectors and MiB on one disk; write sizeMiB and startMiB");
        }
    }
    let mut spans: Vec<_> = partitions.iter().filter_map(span).collect();
    spans.sort_by_key(|&(start, end, _)| (start, end));
    let mut reached: Option<i64> = None;
    for (start, end, node) in spans {
        if reached.is_some_and(|reached| start <= reached) {
            report.error(node.line, "has a partition that overlaps another on its disk");
        }
        reached = Some(reached.map_or(end, |reached| reached.max(end)));
    }
}

/// First and last unit of a partition that says both.
fn span(node: &Node) -> Option<(i64, i64, &Node)> {
    let of = |key: &str, mib: &str| node.whole(key).or_else(|| node.whole(mib));
    let (start, size) = (of("start", "startMiB")?, of("size", "sizeMiB")?);
    (start > 0 && size >= 0).then(|| (start, start.saturating_add((size - 1).max(0)), node))
}

/// A new Flatcar translates spec 2, and refuses what is deprecated in it: sectors, which it reads
/// into every partition below 2.3.0.
fn translated(partitions: &[Node], context: Context<'_>, report: &mut Report) {
    let Some(first) = partitions.first().filter(|_| context.is_translated()) else { return };
    let write =
        "write version 3.3.0, or 2.3.0 with \"label\" and \"wipeFilesystem\" and no sectors";
    if context.spec < Spec::V2_3 {
        let (spec, target) = (context.spec, context.target);
        let why = format!("has partitions in version {spec}, which {target} refuses; {write}");
        report.error(first.line, why);
        return;
    }
    for key in ["size", "start"] {
        if let Some(node) = partitions.iter().find(|node| node.get(key).is_some()) {
            let target = context.target;
            report.error(
                node.line_of(key),
                format!("has \"{key}\", which {target} refuses; {write}"),
            );
        }
    }
}

fn raid(array: &Node, context: Context<'_>, report: &mut Report) {
    named(array, "RAID array", report);
    let line = array.line_of("level");
    let level = array.text("level").unwrap_or("");
    match level {
        "linear" | "raid0" | "0" | "stripe" => {
            if array.whole("spares").is_some_and(|spares| spares != 0) {
                report.error(
                    line,
                    format!("has \"spares\" for the level \"{level}\"; take them out"),
                );
            }
        }
        "raid1" | "1" | "mirror" | "raid4" | "4" | "raid5" | "5" | "raid6" | "6" | "raid10"
        | "10" => {}
        _ => {
            let why =
                format!("has the RAID level \"{level}\"; write raid0, raid1, raid5 or raid10");
            report.error(line, why);
        }
    }
    let devices = array.list("devices");
    if devices.is_empty() {
        report.error(array.line_of("devices"), "has a RAID array without \"devices\"; list them");
    }
    for device in devices {
        is_path(device.as_text().unwrap_or(""), device.line, "devices", context, report);
    }
    if context.is_spec_3() {
        repeats(devices.iter().map(|node| (node.line, node.as_text())), "device", report);
    }
}

fn luks(volume: &Node, context: Context<'_>, report: &mut Report) {
    named(volume, "LUKS volume", report);
    if volume.text("name").is_some_and(|name| name.contains('/')) {
        report.error(volume.line_of("name"), "has a slash in a LUKS name; take it out");
    }
    if volume.text("label").is_some_and(|label| label.len() > 47) {
        report.error(volume.line_of("label"), "has a LUKS label longer than 47 bytes");
    }
    path(volume, "device", context, report);
    if let Some(file) = volume.get("keyFile") {
        resource::check(file, context, report);
    }
    let Some(clevis) = volume.get("clevis") else { return };
    let tang = clevis.list("tang");
    for server in tang {
        let line = server.line_of("url");
        match url::scheme(server.text("url").unwrap_or("")).as_deref() {
            Ok("http" | "https") => {}
            _ => report.error(line, "has a tang server without a URL; write http://HOST"),
        }
        if server.filled("thumbprint").is_none() {
            report.error(server.line, "has a tang server without \"thumbprint\"; add it");
        }
    }
    repeats(tang.iter().map(|node| (node.line, node.text("url"))), "tang server", report);
    if let Some(custom) = clevis.get("custom") {
        let others = !tang.is_empty()
            || clevis.flag("tpm2") == Some(true)
            || clevis.whole("threshold").is_some_and(|threshold| threshold != 0);
        custom_pin(custom, others, context, report);
    }
}

fn custom_pin(custom: &Node, others: bool, context: Context<'_>, report: &mut Report) {
    let pin = custom.filled("pin");
    let config = custom.filled("config");
    if pin.is_none() && config.is_none() && custom.flag("needsNetwork") != Some(true) {
        return;
    }
    let line = custom.line_of("pin");
    let known = matches!(pin, Some("tpm2" | "tang" | "sss"))
        || pin == Some("trustee") && context.spec >= Spec::V3_6;
    if !known {
        report.error(line, "has no known clevis \"pin\"; write tpm2, tang or sss");
    }
    if config.is_none() {
        report
            .error(custom.line_of("config"), "has a clevis \"custom\" without \"config\"; add it");
    }
    if others && pin.is_some() {
        report.error(line, "has a clevis \"custom\" beside tpm2, tang or threshold; keep one");
    }
}
