//! Files, directories and links.

use std::collections::BTreeSet;

use super::{Context, Spec, path, resource};
use crate::check::{Report, json::Node};

const KINDS: [&str; 3] = ["files", "directories", "links"];

/// Adds what is wrong with them.
pub(super) fn check(config: &Node, context: Context<'_>, report: &mut Report) {
    let Some(storage) = config.get("storage") else { return };
    for kind in KINDS {
        for node in storage.list(kind) {
            path(node, "path", context, report);
            mode(node, kind, context, report);
            owner(node, context, report);
            if context.spec < Spec::V3_0 {
                filesystem(node, config, context, report);
            }
        }
    }
    storage.list("files").iter().for_each(|node| contents(node, context, report));
    for link in storage.list("links").iter().filter(|link| link.filled("target").is_none()) {
        report.error(link.line_of("target"), "has a link without \"target\"; add it");
    }
    if context.spec >= Spec::V3_0 {
        places(config, storage, context, report);
    } else if context.is_translated() {
        translated(storage, context, report);
    }
}

/// Faults for a new Flatcar's translation of spec 2: a path twice, or below a link of the config.
fn translated(storage: &Node, context: Context<'_>, report: &mut Report) {
    let defined: BTreeSet<&str> =
        storage.list("filesystems").iter().filter_map(|node| node.text("name")).collect();
    // It writes to its own root what is for a filesystem that is not defined.
    let filesystem = |node: &Node| {
        let name = node.text("filesystem").unwrap_or("");
        defined.get(name).filter(|name| **name != "root").copied().unwrap_or("").to_owned()
    };
    let entries = |kind: &str| -> Vec<(usize, (String, String))> {
        let nodes = storage.list(kind).iter();
        let named = nodes.filter_map(|node| {
            let path = joined("/", node.filled("path")?);
            Some((node.line_of("path"), (filesystem(node), path)))
        });
        named.collect()
    };
    let links: BTreeSet<(String, String)> =
        entries("links").into_iter().map(|(_, entry)| entry).collect();
    let mut taken = BTreeSet::new();
    for (line, entry) in KINDS.iter().flat_map(|kind| entries(kind)) {
        let (name, path) = &entry;
        let target = context.target;
        let link = parents(path).find(|link| links.contains(&(name.clone(), (*link).to_owned())));
        if let Some(link) = link {
            let why = format!(
                "has \"{path}\" below the link \"{link}\", which {target} refuses; write its target"
            );
            report.error(line, why);
        }
        if taken.contains(&entry) {
            let why = format!("has the path \"{path}\" twice, which {target} refuses; keep one");
            report.error(line, why);
        }
        taken.insert(entry);
    }
}

fn mode(node: &Node, kind: &str, context: Context<'_>, report: &mut Report) {
    let line = node.line_of("mode");
    match node.whole("mode") {
        Some(mode) if !(0..=0o7777).contains(&mode) => {
            report.error(line, format!("has the mode {mode}; write 420 for 0644, 493 for 0755"));
        }
        // A mode whose decimal digits read as octal was most likely meant so.
        Some(mode) if octal(mode).is_some() => {
            let meant = octal(mode).unwrap_or(mode);
            let why = format!(
                "has the mode {mode}, which is {mode:o} in octal; for 0{mode} write {meant}"
            );
            report.warn(line, why);
        }
        Some(mode) if mode > 0o777 && context.spec >= Spec::V3_0 && context.spec < Spec::V3_4 => {
            report.warn(line, "has setuid, setgid or sticky bits, which come with version 3.4.0");
        }
        None if context.spec < Spec::V3_0 && kind == "files" => {
            report.warn(line, "has no \"mode\", and so 0000; write 420 for 0644");
        }
        Some(_) | None => {}
    }
}

/// 644 → 0o644: for three decimal digits that would do as a mode.
fn octal(mode: i64) -> Option<i64> {
    let digits = mode.to_string();
    let usual = [
        "400", "440", "444", "600", "640", "644", "664", "666", "700", "750", "755", "770", "775",
        "777",
    ];
    usual.contains(&digits.as_str()).then(|| i64::from_str_radix(&digits, 8).ok()).flatten()
}

fn owner(node: &Node, context: Context<'_>, report: &mut Report) {
    for key in ["user", "group"] {
        let Some(owner) = node.get(key).filter(|_| context.spec > Spec::V2_0) else { continue };
        if owner.get("id").is_some() && owner.filled("name").is_some() {
            let line = node.line_of(key);
            report.error(line, format!("has both \"id\" and \"name\" for \"{key}\"; keep one"));
        }
    }
}

/// Spec 2 only: a filesystem by its name. Ignition itself has root, and oem; configs that are
/// appended may define others.
fn filesystem(node: &Node, config: &Node, context: Context<'_>, report: &mut Report) {
    let line = node.line_of("filesystem");
    let Some(name) = node.filled("filesystem") else {
        report.error(line, "lacks \"filesystem\"; write \"filesystem\": \"root\"");
        return;
    };
    let filesystems = config.get("storage").map_or(&[][..], |node| node.list("filesystems"));
    let mut defined: Vec<&str> = filesystems.iter().filter_map(|node| node.text("name")).collect();
    let shadowed = defined.contains(&"root");
    defined.extend(["root", "oem"]);
    let references = config.get("ignition").and_then(|node| node.get("config"));
    let appends = references
        .is_some_and(|node| !node.list("append").is_empty() || node.get("replace").is_some());
    if !defined.contains(&name) {
        let known = defined.join(", ");
        let why = format!("has \"filesystem\": \"{name}\", not defined; there are {known}");
        if context.is_translated() {
            let target = context.target;
            report.warn(line, format!("{why} ({target} writes to its own root instead)"));
        } else if appends {
            report.warn(line, format!("{why}, and those of the configs that it fetches"));
        } else {
            report.error(line, why);
        }
    } else if name == "root" && shadowed && !context.is_translated() {
        let why = "writes to the filesystem \"root\" defined here, not to the one that runs; \
                   give that one another name";
        report.warn(line, why);
    }
}

fn contents(file: &Node, context: Context<'_>, report: &mut Report) {
    let contents = file.get("contents");
    if let Some(contents) = contents {
        resource::check(contents, context, report);
    }
    for part in file.list("append") {
        resource::check(part, context, report);
    }
    let overwrites = file.flag("overwrite") == Some(true);
    let source = contents.and_then(|contents| contents.text("source"));
    if overwrites && source.is_none() && context.spec >= Spec::V3_0 {
        let why =
            "has \"overwrite\" without a \"source\"; for an empty file write \"source\": \"\"";
        report.error(file.line_of("overwrite"), why);
    }
    if overwrites && file.flag("append") == Some(true) {
        report.error(file.line_of("append"), "has both \"append\" and \"overwrite\"; keep one");
    }
}

/// Spec 3: no path twice, none below a link, and none where a unit goes.
fn places(config: &Node, storage: &Node, context: Context<'_>, report: &mut Report) {
    let mut taken = BTreeSet::new();
    let units = unit_paths(config);
    let links: BTreeSet<&str> = paths(storage, "links").map(|(_, path)| path).collect();
    let files: BTreeSet<&str> = paths(storage, "files").map(|(_, path)| path).collect();
    for kind in KINDS {
        for (line, path) in paths(storage, kind) {
            if !taken.insert(path) {
                report.error(line, format!("has the path \"{path}\" twice; take one out"));
            }
            if let Some(link) = parents(path).find(|parent| links.contains(parent)) {
                report.error(
                    line,
                    format!("has \"{path}\" below the link \"{link}\"; write its target"),
                );
            }
            if let Some(file) = parents(path).find(|parent| files.contains(parent)) {
                let why = format!("has \"{path}\" below \"{file}\", which is a file");
                refused_since(context, Spec::V3_6, line, why, report);
            }
            if units.contains(path) {
                let why = format!("has \"{path}\", which the section \"systemd\" writes, too");
                refused_since(context, Spec::V3_4, line, why, report);
            }
        }
    }
    let directories: BTreeSet<&str> = paths(storage, "directories").map(|(_, path)| path).collect();
    for link in storage.list("links").iter().filter(|link| link.flag("hard") == Some(true)) {
        let (Some(path), Some(target)) = (link.text("path"), link.text("target")) else { continue };
        if directories.contains(joined(path, target).as_str()) {
            report.error(
                link.line_of("target"),
                "has a hard link to a directory; leave \"hard\" out",
            );
        }
    }
}

/// What a later version refuses is wrong in an earlier one, too, but it takes it.
fn refused_since(context: Context<'_>, since: Spec, line: usize, why: String, report: &mut Report) {
    if context.spec >= since { report.error(line, why) } else { report.warn(line, why) }
}

fn paths<'t>(storage: &'t Node, kind: &str) -> impl Iterator<Item = (usize, &'t str)> {
    let nodes = storage.list(kind).iter();
    nodes.filter_map(|node| Some((node.line_of("path"), node.filled("path")?)))
}

/// The folders above a path, from the nearest.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at]).filter(|parent| !parent.is_empty())
}

fn joined(path: &str, target: &str) -> String {
    let whole =
        if target.starts_with('/') { target.to_owned() } else { format!("{path}/{target}") };
    let mut parts = Vec::new();
    for part in whole.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    format!("/{}", parts.join("/"))
}

fn unit_paths(config: &Node) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for unit in config.get("systemd").map_or(&[][..], |systemd| systemd.list("units")) {
        let name = unit.text("name").unwrap_or("");
        if unit.filled("contents").is_some() {
            paths.insert(format!("/etc/systemd/system/{name}"));
        }
        for dropin in unit.list("dropins").iter().filter(|node| node.filled("contents").is_some()) {
            let file = dropin.text("name").unwrap_or("");
            paths.insert(format!("/etc/systemd/system/{name}.d/{file}"));
        }
    }
    paths
}
