//! Filesystems: spec 2 mounts them by name, spec 3 by path.

use super::{Context, Spec, is_path, path, repeats};
use crate::check::{Report, json::Node};

/// Adds what is wrong with them.
pub(super) fn check(config: &Node, context: Context<'_>, report: &mut Report) {
    let Some(storage) = config.get("storage") else { return };
    let filesystems = storage.list("filesystems");
    if context.spec < Spec::V3_0 {
        filesystems.iter().for_each(|node| named(node, context, report));
        if context.is_translated() {
            let mounts = filesystems.iter().filter_map(|node| node.get("mount"));
            let devices = mounts.map(|node| (node.line_of("device"), node.text("device")));
            repeats(devices, "device", report);
        }
        return;
    }
    for node in filesystems {
        path(node, "device", context, report);
        if let Some(path) = node.filled("path") {
            is_path(path, node.line_of("path"), "path", context, report);
        }
        format(node, context, report);
        label(node, report);
        overwrites(node, storage.list("disks"), report);
    }
    let devices = filesystems.iter().map(|node| (node.line_of("device"), node.text("device")));
    repeats(devices, "device", report);
}

fn formats(spec: Spec) -> &'static [&'static str] {
    match spec {
        Spec::V2_0 => &["ext4", "btrfs", "xfs"],
        spec if spec < Spec::V3_3 => &["ext4", "btrfs", "xfs", "vfat", "swap"],
        _ => &["ext4", "btrfs", "xfs", "vfat", "swap", "none"],
    }
}

fn format(node: &Node, context: Context<'_>, report: &mut Report) {
    let line = node.line_of("format");
    if let Some(format) = node.filled("format") {
        let known = formats(context.spec);
        if !known.contains(&format) {
            let known = known.join(", ");
            report.error(line, format!("has \"format\": \"{format}\"; there are {known}"));
        }
        if format == "swap" && node.filled("path").is_some() {
            report.warn(node.line_of("path"), "mounts swap at a \"path\"; take the path out");
        }
        return;
    }
    let needs = ["path", "label", "uuid"].into_iter().find(|key| node.filled(key).is_some());
    let lists = ["options", "mountOptions"].into_iter().find(|key| !node.list(key).is_empty());
    let wipes = (node.flag("wipeFilesystem") == Some(true)).then_some("wipeFilesystem");
    if let Some(key) = needs.or(lists).or(wipes) {
        report.error(line, format!("has \"{key}\" without \"format\"; add \"format\": \"ext4\""));
    }
}

fn label(node: &Node, report: &mut Report) {
    let Some(label) = node.filled("label") else { return };
    let most = match node.text("format") {
        Some("ext4") => 16,
        Some("btrfs") => 256,
        Some("xfs") => 12,
        Some("swap") => 15,
        Some("vfat") => 11,
        _ => return,
    };
    if label.len() > most {
        let line = node.line_of("label");
        report.error(line, format!("has the label \"{label}\", longer than {most} bytes"));
    }
}

fn overwrites(node: &Node, disks: &[Node], report: &mut Report) {
    let same = |disk: &&Node| disk.text("device") == node.text("device");
    let Some(disk) = disks.iter().find(same) else { return };
    if !disk.list("partitions").is_empty() {
        let why = "is made on a whole disk that is partitioned above; name the partition instead";
        report.warn(node.line_of("device"), why);
    }
}

/// Spec 2: either what to mount, or where it is mounted already.
fn named(node: &Node, context: Context<'_>, report: &mut Report) {
    if let Some(path) = node.text("path") {
        is_path(path, node.line_of("path"), "path", context, report);
    }
    let Some(mount) = node.get("mount") else {
        if node.get("path").is_none() {
            report.error(node.line, "has a filesystem with neither \"mount\" nor \"path\"");
        } else if context.is_translated() {
            let why = "has a filesystem without \"mount\", at which a new Flatcar's Ignition fails; \
                       leave it out and write \"filesystem\": \"root\" for its files";
            report.error(node.line, why);
        }
        return;
    };
    if node.get("path").is_some() {
        report.error(node.line, "has a filesystem with both \"mount\" and \"path\"; keep one");
    }
    path(mount, "device", context, report);
    if mount.filled("format").is_none() {
        let why = "has a mount without \"format\"; add \"format\": \"ext4\"";
        report.error(mount.line_of("format"), why);
    } else {
        format(mount, context, report);
    }
    label(mount, report);
    if mount.get("create").is_some() {
        let line = mount.line_of("create");
        if !mount.list("options").is_empty() {
            report.error(line, "has both \"create\" and \"options\"; put the options into one");
        } else if context.is_translated()
            && mount.get("create").and_then(|create| create.flag("force")) != Some(true)
        {
            let why = "has \"create\" without \"force\": true, which a new Flatcar refuses; write \
                       \"wipeFilesystem\": true instead";
            report.error(line, why);
        } else if context.is_translated() {
            let why = "has \"create\", deprecated since 2.1.0, which a new Flatcar may refuse; \
                       write \"wipeFilesystem\" and \"label\"";
            report.warn(line, why);
        }
    }
}
