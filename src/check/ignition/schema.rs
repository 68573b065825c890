//! Which keys there are in which version of the spec, and what each holds: one table for all.

use super::spec::{Spec, Version};
use crate::check::{
    MEANT, Report,
    json::{Member, Node, Value},
    near,
};

mod v1;

/// Whether every value is of its type: if not, no other rule can be asked.
pub(super) fn check(config: &Node, version: Version, report: &mut Report) -> bool {
    let keys = if version.spec == Spec::V1 { v1::CONFIG } else { CONFIG };
    object(config, keys, "", version, report)
}

/// What a key holds.
#[derive(Clone, Copy)]
enum Of {
    Bool,
    List(&'static Self),
    Object(&'static [Key]),
    Text,
    Whole,
}

/// A key, and from which version of the spec to which.
struct Key(&'static str, Of, u8, u8);

impl Key {
    fn is_in(&self, spec: Spec) -> bool {
        (self.2..=self.3).contains(&spec.0)
    }
}

fn value(node: &Node, of: Of, key: &str, version: Version, report: &mut Report) -> bool {
    match (of, &node.value) {
        // Go leaves out what is null.
        (_, Value::Null) | (Of::Bool, Value::Bool(_)) | (Of::Text, Value::Text(_)) => true,
        (Of::Whole, Value::Number(digits)) if digits.parse::<i64>().is_ok() => true,
        (Of::List(of), Value::List(nodes)) => {
            let mut fine = true;
            for node in nodes {
                fine &= value(node, *of, key, version, report);
            }
            fine
        }
        (Of::Object(keys), Value::Object(_)) => object(node, keys, key, version, report),
        _ => {
            report.error(node.line, wrong_type(node, of, key));
            false
        }
    }
}

fn object(node: &Node, keys: &[Key], inside: &str, version: Version, report: &mut Report) -> bool {
    let mut fine = true;
    for member in node.members() {
        if report.is_full() {
            return false;
        }
        let known = keys.iter().find(|key| key.0 == member.key && key.is_in(version.spec));
        match known {
            Some(key) => fine &= value(&member.node, key.1, key.0, version, report),
            None => unknown(member, keys, inside, version, report),
        }
    }
    fine
}

fn unknown(member: &Member, keys: &[Key], inside: &str, version: Version, report: &mut Report) {
    let spec = version.spec;
    let key: String = member.key.chars().take(60).collect();
    let place = if inside.is_empty() { String::new() } else { format!(" in \"{inside}\"") };
    let now = || keys.iter().filter(|known| known.is_in(spec)).map(|known| known.0);
    let others = || keys.iter().filter(|known| known.0 == member.key);
    let later = others().find(|known| known.2 > spec.0);
    let near = near::nearest(&member.key, now());
    let elsewhere = ELSEWHERE.iter().find(|(word, _)| *word == member.key).map(|&(_, hint)| hint);
    let hint = match (later, near, others().next()) {
        _ if elsewhere.is_some() => elsewhere.unwrap_or("").to_owned(),
        (Some(known), _, _) => format!("it came with version {}", Spec(known.2)),
        (None, Some(near), _) => format!("is \"{near}\" meant?"),
        (None, None, Some(known)) => format!("it went after version {}", Spec(known.3)),
        (None, None, None) => format!("there are {}", now().collect::<Vec<_>>().join(", ")),
    };
    if version.is_other {
        let text = format!("has the key \"{key}\"{place}, which {spec} has not; {hint}");
        return report.warn(member.line, text);
    }
    let text =
        format!("has the unknown key \"{key}\"{place}, which Ignition {spec} ignores; {hint}");
    // Nothing is lost with an empty one: the post's own config has "files": {} at the top.
    let is_slip = elsewhere.or(near).is_some() || others().next().is_some();
    if member.node.is_empty() || !is_slip {
        report.warn(member.line, text);
    } else {
        report.error(member.line, format!("{text} ({MEANT})"));
    }
}

/// Keys of cloud-config and Butane, and what Ignition has instead.
const ELSEWHERE: [(&str, &str); 9] = [
    ("content", "write \"contents\": { \"source\": \"data:,…\" }"),
    ("inline", "that is Butane's; write \"source\": \"data:,…\", or run butane first"),
    ("local", "that is Butane's; run butane first"),
    ("owner", "write \"user\": { \"name\": \"…\" }"),
    ("permissions", "write \"mode\": 420 for 0644"),
    ("trees", "that is Butane's; run butane first"),
    ("variant", "that is Butane's; run butane first"),
    ("with_mount_unit", "that is Butane's; run butane first"),
    ("write_files", "that is cloud-config's; write \"storage\": { \"files\": [ … ] }"),
];

fn wrong_type(node: &Node, of: Of, key: &str) -> String {
    let sort = node.sort();
    let write = match (of, &node.value) {
        (Of::Bool, Value::Text(text)) if matches!(text.as_str(), "true" | "false") => {
            format!("write {text} without quotes")
        }
        (Of::Bool, _) => "write true or false".to_owned(),
        (Of::List(_), Value::Object(members)) if members.is_empty() => {
            "write [] for none".to_owned()
        }
        (Of::List(_), _) => "write a list, in [ and ]".to_owned(),
        (Of::Object(_), _) => "write an object, in { and }".to_owned(),
        (Of::Text, _) => "write it in double quotes".to_owned(),
        (Of::Whole, Value::Text(text)) => match decimal(text, key) {
            Some(number) => format!("write {number}, without quotes"),
            None => "write a whole number, without quotes".to_owned(),
        },
        (Of::Whole, _) => "write a whole number".to_owned(),
    };
    format!("has {sort} for \"{key}\"; {write}")
}

/// What a quoted number is in decimal: a mode is octal to the one who quotes it.
fn decimal(text: &str, key: &str) -> Option<i64> {
    if key == "mode" {
        let octal = text.strip_prefix("0o").unwrap_or(text);
        return i64::from_str_radix(octal, 8).ok();
    }
    text.parse().ok()
}

const fn all(name: &'static str, of: Of) -> Key {
    Key(name, of, 20, 36)
}

const fn from(name: &'static str, of: Of, first: u8) -> Key {
    Key(name, of, first, 36)
}

const fn spec_2(name: &'static str, of: Of, first: u8) -> Key {
    Key(name, of, first, 24)
}

const fn spec_3(name: &'static str, of: Of) -> Key {
    Key(name, of, 30, 36)
}

const TEXTS: Of = Of::List(&Of::Text);

const CONFIG: &[Key] = &[
    all("ignition", Of::Object(IGNITION)),
    all("storage", Of::Object(STORAGE)),
    all("systemd", Of::Object(&[all("units", Of::List(&Of::Object(UNIT)))])),
    spec_2("networkd", Of::Object(&[all("units", Of::List(&Of::Object(NETWORKD)))]), 20),
    all("passwd", Of::Object(PASSWD)),
    from("kernelArguments", Of::Object(ARGUMENTS), 33),
];

const IGNITION: &[Key] = &[
    all("version", Of::Text),
    all("config", Of::Object(REFERENCES)),
    from("timeouts", Of::Object(TIMEOUTS), 21),
    from("security", Of::Object(&[all("tls", Of::Object(TLS))]), 22),
    spec_2("proxy", Of::Object(PROXY), 24),
    from("proxy", Of::Object(PROXY), 31),
];

const REFERENCES: &[Key] = &[
    spec_2("append", Of::List(&Of::Object(REFERENCE)), 20),
    spec_3("merge", Of::List(&Of::Object(REFERENCE))),
    all("replace", Of::Object(REFERENCE)),
];

const TIMEOUTS: &[Key] = &[all("httpResponseHeaders", Of::Whole), all("httpTotal", Of::Whole)];

const TLS: &[Key] = &[all("certificateAuthorities", Of::List(&Of::Object(REFERENCE)))];

const PROXY: &[Key] =
    &[all("httpProxy", Of::Text), all("httpsProxy", Of::Text), all("noProxy", TEXTS)];

const VERIFICATION: Of = Of::Object(&[all("hash", Of::Text)]);

const HEADERS: Of = Of::List(&Of::Object(&[all("name", Of::Text), all("value", Of::Text)]));

const REFERENCE: &[Key] = &[
    all("source", Of::Text),
    all("verification", VERIFICATION),
    from("compression", Of::Text, 31),
    spec_2("httpHeaders", HEADERS, 24),
    from("httpHeaders", HEADERS, 31),
];

const CONTENTS: &[Key] = &[
    all("source", Of::Text),
    all("verification", VERIFICATION),
    all("compression", Of::Text),
    spec_2("httpHeaders", HEADERS, 24),
    from("httpHeaders", HEADERS, 31),
];

const STORAGE: &[Key] = &[
    all("disks", Of::List(&Of::Object(DISK))),
    all("raid", Of::List(&Of::Object(RAID))),
    from("luks", Of::List(&Of::Object(LUKS)), 32),
    all("filesystems", Of::List(&Of::Object(FILESYSTEM))),
    all("files", Of::List(&Of::Object(FILE))),
    from("directories", Of::List(&Of::Object(DIRECTORY)), 21),
    from("links", Of::List(&Of::Object(LINK)), 21),
];

const DISK: &[Key] = &[
    all("device", Of::Text),
    all("wipeTable", Of::Bool),
    all("partitions", Of::List(&Of::Object(PARTITION))),
];

const PARTITION: &[Key] = &[
    all("label", Of::Text),
    all("number", Of::Whole),
    spec_2("size", Of::Whole, 20),
    spec_2("start", Of::Whole, 20),
    from("sizeMiB", Of::Whole, 23),
    from("startMiB", Of::Whole, 23),
    all("typeGuid", Of::Text),
    from("guid", Of::Text, 21),
    from("wipePartitionEntry", Of::Bool, 23),
    from("shouldExist", Of::Bool, 23),
    from("resize", Of::Bool, 32),
];

const RAID: &[Key] = &[
    all("name", Of::Text),
    all("level", Of::Text),
    all("devices", TEXTS),
    all("spares", Of::Whole),
    from("options", TEXTS, 22),
];

const LUKS: &[Key] = &[
    all("name", Of::Text),
    all("label", Of::Text),
    all("uuid", Of::Text),
    all("device", Of::Text),
    all("keyFile", Of::Object(REFERENCE)),
    all("wipeVolume", Of::Bool),
    all("options", TEXTS),
    all("clevis", Of::Object(CLEVIS)),
    from("discard", Of::Bool, 34),
    from("openOptions", TEXTS, 34),
    from("cex", Of::Object(&[all("enabled", Of::Bool)]), 35),
];

const CLEVIS: &[Key] = &[
    all("custom", Of::Object(CUSTOM)),
    all("tpm2", Of::Bool),
    all("tang", Of::List(&Of::Object(TANG))),
    all("threshold", Of::Whole),
];

const CUSTOM: &[Key] =
    &[all("pin", Of::Text), all("config", Of::Text), all("needsNetwork", Of::Bool)];

const TANG: &[Key] =
    &[all("url", Of::Text), all("thumbprint", Of::Text), from("advertisement", Of::Text, 34)];

const FILESYSTEM: &[Key] = &[
    all("path", Of::Text),
    spec_2("name", Of::Text, 20),
    spec_2("mount", Of::Object(MOUNT), 20),
    spec_3("device", Of::Text),
    spec_3("format", Of::Text),
    spec_3("options", TEXTS),
    from("mountOptions", TEXTS, 31),
    spec_3("wipeFilesystem", Of::Bool),
    spec_3("label", Of::Text),
    spec_3("uuid", Of::Text),
];

const MOUNT: &[Key] = &[
    all("device", Of::Text),
    all("format", Of::Text),
    all("create", Of::Object(&[all("force", Of::Bool), all("options", TEXTS)])),
    from("wipeFilesystem", Of::Bool, 21),
    from("label", Of::Text, 21),
    from("uuid", Of::Text, 21),
    from("options", TEXTS, 21),
];

const OWNER: Of = Of::Object(&[all("id", Of::Whole), from("name", Of::Text, 21)]);

const FILE: &[Key] = &[
    spec_2("filesystem", Of::Text, 20),
    all("path", Of::Text),
    from("overwrite", Of::Bool, 22),
    all("user", OWNER),
    all("group", OWNER),
    all("mode", Of::Whole),
    all("contents", Of::Object(CONTENTS)),
    spec_2("append", Of::Bool, 22),
    spec_3("append", Of::List(&Of::Object(CONTENTS))),
];

const DIRECTORY: &[Key] = &[
    spec_2("filesystem", Of::Text, 20),
    all("path", Of::Text),
    from("overwrite", Of::Bool, 22),
    all("user", OWNER),
    all("group", OWNER),
    all("mode", Of::Whole),
];

const LINK: &[Key] = &[
    spec_2("filesystem", Of::Text, 20),
    all("path", Of::Text),
    from("overwrite", Of::Bool, 22),
    all("user", OWNER),
    all("group", OWNER),
    all("target", Of::Text),
    all("hard", Of::Bool),
];

const DROPIN: Of = Of::Object(&[all("name", Of::Text), all("contents", Of::Text)]);

const UNIT: &[Key] = &[
    all("name", Of::Text),
    spec_2("enable", Of::Bool, 20),
    from("enabled", Of::Bool, 21),
    all("mask", Of::Bool),
    all("contents", Of::Text),
    all("dropins", Of::List(&DROPIN)),
];

const NETWORKD: &[Key] =
    &[all("name", Of::Text), all("contents", Of::Text), from("dropins", Of::List(&DROPIN), 22)];

const ARGUMENTS: &[Key] = &[all("shouldExist", TEXTS), all("shouldNotExist", TEXTS)];

const PASSWD: &[Key] =
    &[all("users", Of::List(&Of::Object(USER))), all("groups", Of::List(&Of::Object(GROUP)))];

const USER: &[Key] = &[
    all("name", Of::Text),
    all("passwordHash", Of::Text),
    all("sshAuthorizedKeys", TEXTS),
    spec_2("create", Of::Object(CREATE), 20),
    from("uid", Of::Whole, 21),
    from("gecos", Of::Text, 21),
    from("homeDir", Of::Text, 21),
    from("noCreateHome", Of::Bool, 21),
    from("primaryGroup", Of::Text, 21),
    from("groups", TEXTS, 21),
    from("noUserGroup", Of::Bool, 21),
    from("noLogInit", Of::Bool, 21),
    from("shell", Of::Text, 21),
    from("system", Of::Bool, 21),
    from("shouldExist", Of::Bool, 32),
];

const CREATE: &[Key] = &[
    all("uid", Of::Whole),
    all("gecos", Of::Text),
    all("homeDir", Of::Text),
    all("noCreateHome", Of::Bool),
    all("primaryGroup", Of::Text),
    all("groups", TEXTS),
    all("noUserGroup", Of::Bool),
    all("system", Of::Bool),
    all("noLogInit", Of::Bool),
    all("shell", Of::Text),
];

const GROUP: &[Key] = &[
    all("name", Of::Text),
    all("gid", Of::Whole),
    all("passwordHash", Of::Text),
    all("system", Of::Bool),
    from("shouldExist", Of::Bool, 32),
];
