//! Which keys a cloud-config has for coreos-cloudinit 1.11, and what each holds. Whatever its
//! `-validate` would report, a mere warning too, makes coreos-install refuse the whole file.

use super::yaml::{self, Node, Value};
use crate::check::{Report, Target, near};

/// Adds what the table does not know.
pub(super) fn check(config: &Node, target: &Target, report: &mut Report) {
    mapping(config, CONFIG, "", target, report);
}

/// What a key holds.
#[derive(Clone, Copy)]
enum Want {
    Bool,
    List(&'static Self),
    Map(&'static [Key]),
    /// Three or four octal digits, as a text.
    Permissions,
    Real,
    Text,
    Whole,
    /// A span of time, such as 1h30m.
    WindowLength,
    /// A time of day, or of a weekday.
    WindowStart,
    /// One of these.
    Word(&'static [&'static str]),
}

/// A key, and why it is no longer to be used.
struct Key(&'static str, Want, Option<&'static str>);

const fn key(name: &'static str, want: Want) -> Key {
    Key(name, want, None)
}

const fn old(name: &'static str, want: Want, why: &'static str) -> Key {
    Key(name, want, Some(why))
}

fn mapping(node: &Node, keys: &[Key], inside: &str, target: &Target, report: &mut Report) {
    for (name, value) in node.members() {
        if report.is_full() {
            return;
        }
        let Some(known) = keys.iter().find(|known| known.0 == name.key()) else {
            unknown(name, keys, inside, report);
            continue;
        };
        let flatcar = matches!(target, Target::Flatcar(_)) && inside == "coreos";
        let gone = flatcar && matches!(known.0, "etcd" | "etcd2" | "fleet");
        let why = known.2.or(gone.then_some("Flatcar has it no more"));
        if let Some(why) = why {
            report.error(name.line, format!("has the deprecated key \"{}\": {why}", known.0));
        }
        holds(value, known.1, known.0, name.line, target, report);
    }
}

fn unknown(name: &Node, keys: &[Key], inside: &str, report: &mut Report) {
    let key: String = name.raw.chars().take(60).collect();
    let place = if inside.is_empty() { String::new() } else { format!(" in \"{inside}\"") };
    let elsewhere = PLACES.iter().find(|(known, _)| *known == name.key());
    let hint = if let Some((_, hint)) = elsewhere {
        (*hint).to_owned()
    } else if let Some(near) = near::nearest(&name.raw, keys.iter().map(|known| known.0)) {
        format!("is \"{near}\" meant?")
    } else {
        let known: Vec<&str> = keys.iter().take(14).map(|known| known.0).collect();
        format!("there are {}", known.join(", "))
    };
    let why = format!("has the unknown key \"{key}\"{place}, so coreos-install refuses it; {hint}");
    report.error(name.line, why);
}

/// Keys that are right somewhere else.
const PLACES: [(&str, &str); 16] = [
    ("apt", "Ubuntu's cloud-init has it; CoreOS has no packages"),
    ("bootcmd", "Ubuntu's cloud-init has it; write a unit with command: start"),
    ("chpasswd", "Ubuntu's cloud-init has it; write \"passwd\" for a user"),
    ("disk_setup", "Ubuntu's cloud-init has it; write it into an Ignition config"),
    ("etcd2", "it belongs under \"coreos\""),
    ("locale", "Ubuntu's cloud-init has it, coreos-cloudinit has not"),
    ("mounts", "Ubuntu's cloud-init has it; write a unit that ends in .mount"),
    ("ntp", "Ubuntu's cloud-init has it; write /etc/ntp.conf with write_files"),
    ("package_update", "Ubuntu's cloud-init has it; CoreOS has no packages"),
    ("package_upgrade", "Ubuntu's cloud-init has it; CoreOS has no packages"),
    ("packages", "Ubuntu's cloud-init has it; CoreOS has no packages, run a container"),
    ("runcmd", "Ubuntu's cloud-init has it; write a unit with command: start"),
    ("timezone", "Ubuntu's cloud-init has it; write a unit that runs timedatectl set-timezone"),
    ("units", "it belongs under \"coreos\""),
    ("update", "it belongs under \"coreos\""),
    ("write_files", "it belongs at the top, not under \"coreos\""),
];

fn holds(node: &Node, want: Want, key: &str, line: usize, target: &Target, report: &mut Report) {
    match (want, &node.value) {
        (_, Value::Null) => {
            report.error(line, format!("has nothing for \"{key}\"; write it, or take the key out"));
        }
        (Want::Map(keys), Value::Map(_)) => mapping(node, keys, key, target, report),
        (Want::List(want), Value::List(nodes)) => {
            nodes.iter().for_each(|item| holds(item, *want, key, item.line, target, report));
        }
        (Want::Text, Value::Date) => {
            let raw: String = node.raw.chars().take(60).collect();
            let why = format!("has the date {raw} for \"{key}\"; write it in quotes: \"{raw}\"");
            report.error(line, why);
        }
        (Want::Bool, Value::Text) if yaml::is_old_bool(&node.raw) => {
            let raw = &node.raw;
            let why = format!("has \"{raw}\" for \"{key}\", a text here; write true or false");
            report.error(line, why);
        }
        (Want::Bool, Value::Bool(_))
        | (Want::Whole | Want::Real, Value::Whole(_))
        | (Want::Real, Value::Real(_))
        | (
            Want::Text,
            Value::Binary(_) | Value::Text | Value::Bool(_) | Value::Whole(_) | Value::Real(_),
        ) => {}
        (
            Want::Permissions | Want::WindowLength | Want::WindowStart | Want::Word(_),
            Value::Text | Value::Bool(_) | Value::Whole(_) | Value::Real(_),
        ) => valid(node, want, key, target, report),
        _ => report.error(line, format!("has {} for \"{key}\"; {}", sort(node), write(want))),
    }
}

fn sort(node: &Node) -> &'static str {
    match node.value {
        Value::Binary(_) | Value::Text => "a text",
        Value::Bool(_) => "true or false",
        Value::Date => "a date",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
        Value::Null => "nothing",
        Value::Real(_) | Value::Whole(_) => "a number",
    }
}

fn write(want: Want) -> &'static str {
    match want {
        Want::Bool => "write true or false, without quotes",
        Want::List(_) => "write a list, a line with \"- \" for each",
        Want::Map(_) => "write \"key: value\" lines below it",
        Want::Permissions => "write \"0644\"",
        Want::Real | Want::Whole => "write a number, without quotes",
        Want::Text | Want::WindowLength | Want::WindowStart | Want::Word(_) => "write a text",
    }
}

/// As the validator sees it: what is written, whatever YAML would make of it elsewhere.
fn valid(node: &Node, want: Want, key: &str, target: &Target, report: &mut Report) {
    let seen = node.raw.as_str();
    let raw: String = node.raw.chars().take(60).collect();
    let why = match want {
        _ if seen.is_empty() => return,
        Want::Permissions if is_permissions(seen) => return,
        Want::Permissions => format!("has \"{raw}\"; write octal digits in quotes: \"0644\""),
        Want::WindowStart if is_window_start(seen) => return,
        Want::WindowStart => format!("has \"{raw}\"; write a time such as \"Thu 04:00\""),
        Want::WindowLength if is_window_length(seen) => return,
        Want::WindowLength => format!("has \"{raw}\"; write a span such as 1h"),
        Want::Word(words) => {
            let flatcar = matches!(target, Target::Flatcar(_));
            let left = |word: &&&str| !(flatcar && **word == "best-effort");
            let words: Vec<&str> = words.iter().filter(left).copied().collect();
            if words.contains(&seen) {
                return;
            }
            format!("has \"{raw}\"; write one of {}", words.join(", "))
        }
        Want::Bool | Want::List(_) | Want::Map(_) | Want::Real | Want::Text | Want::Whole => return,
    };
    report.error(node.line, format!("for \"{key}\" {why}"));
}

fn is_permissions(text: &str) -> bool {
    let octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    octal && (3..=4).contains(&text.len()) || octal && text.len() == 5 && text.starts_with('0')
}

fn is_window_start(text: &str) -> bool {
    let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let time = match text.split_once(' ') {
        Some((day, time)) if days.contains(&day.to_lowercase().as_str()) => time,
        Some(_) => return false,
        None => text,
    };
    let below = |digits: &str, most: u32| {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain && digits.parse::<u32>().is_ok_and(|number| number < most)
    };
    time.split_once(':').is_some_and(|(hour, minute)| below(hour, 24) && below(minute, 60))
}

fn is_window_length(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    text.ends_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.')
}

const TEXTS: Want = Want::List(&Want::Text);

const CONFIG: &[Key] = &[
    key("ssh_authorized_keys", TEXTS),
    key("coreos", Want::Map(COREOS)),
    key("write_files", Want::List(&Want::Map(FILE))),
    key("hostname", Want::Text),
    key("users", Want::List(&Want::Map(USER))),
    key("manage_etc_hosts", Want::Text),
];

const COREOS: &[Key] = &[
    key("units", Want::List(&Want::Map(UNIT))),
    key("update", Want::Map(UPDATE)),
    key("flannel", Want::Map(FLANNEL)),
    key("locksmith", Want::Map(LOCKSMITH)),
    key("oem", Want::Map(OEM)),
    key("etcd", Want::Map(ETCD)),
    key("etcd2", Want::Map(ETCD2)),
    key("fleet", Want::Map(FLEET)),
];

const FILE: &[Key] = &[
    key("encoding", Want::Word(ENCODINGS)),
    key("content", Want::Text),
    key("owner", Want::Text),
    key("path", Want::Text),
    key("permissions", Want::Permissions),
];

const ENCODINGS: &[&str] =
    &["base64", "b64", "gz", "gzip", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64"];

const USER: &[Key] = &[
    key("name", Want::Text),
    key("passwd", Want::Text),
    key("ssh_authorized_keys", TEXTS),
    old("coreos_ssh_import_github", Want::Text, FETCHED),
    old("coreos_ssh_import_github_users", TEXTS, FETCHED),
    old("coreos_ssh_import_url", Want::Text, FETCHED),
    key("gecos", Want::Text),
    key("homedir", Want::Text),
    key("no_create_home", Want::Bool),
    key("primary_group", Want::Text),
    key("groups", TEXTS),
    key("no_user_group", Want::Bool),
    key("system", Want::Bool),
    key("no_log_init", Want::Bool),
    key("shell", Want::Text),
];

const FETCHED: &str = "coreos-install refuses it; write the keys as ssh_authorized_keys";

const UNIT: &[Key] = &[
    key("name", Want::Text),
    key("mask", Want::Bool),
    key("enable", Want::Bool),
    key("runtime", Want::Bool),
    key("content", Want::Text),
    key("command", Want::Word(COMMANDS)),
    key("drop_ins", Want::List(&Want::Map(&[key("name", Want::Text), key("content", Want::Text)]))),
];

const COMMANDS: &[&str] = &[
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "reload-or-restart",
    "reload-or-try-restart",
];

const UPDATE: &[Key] = &[
    key("reboot_strategy", Want::Word(&["best-effort", "etcd-lock", "reboot", "off"])),
    key("group", Want::Text),
    key("server", Want::Text),
];

const PROXY: &[&str] = &["on", "off", "readonly"];

const FLANNEL: &[Key] = &[
    key("etcd_endpoints", Want::Text),
    key("etcd_cafile", Want::Text),
    key("etcd_certfile", Want::Text),
    key("etcd_keyfile", Want::Text),
    key("etcd_prefix", Want::Text),
    key("ip_masq", Want::Text),
    key("subnet_file", Want::Text),
    key("interface", Want::Text),
    key("public_ip", Want::Text),
];

const LOCKSMITH: &[Key] = &[
    key("endpoint", Want::Text),
    key("etcd_cafile", Want::Text),
    key("etcd_certfile", Want::Text),
    key("etcd_keyfile", Want::Text),
    key("etcd_username", Want::Text),
    key("etcd_password", Want::Text),
    key("group", Want::Text),
    key("window_start", Want::WindowStart),
    key("window_length", Want::WindowLength),
];

const OEM: &[Key] = &[
    key("id", Want::Text),
    key("name", Want::Text),
    key("version_id", Want::Text),
    key("home_url", Want::Text),
    key("bug_report_url", Want::Text),
];

const FLEET: &[Key] = &[
    key("agent_ttl", Want::Text),
    key("authorized_keys_file", Want::Text),
    key("disable_engine", Want::Bool),
    key("engine_reconcile_interval", Want::Real),
    key("etcd_cafile", Want::Text),
    key("etcd_certfile", Want::Text),
    key("etcd_keyfile", Want::Text),
    key("etcd_key_prefix", Want::Text),
    key("etcd_request_timeout", Want::Real),
    key("etcd_servers", Want::Text),
    key("etcd_username", Want::Text),
    key("etcd_password", Want::Text),
    key("metadata", Want::Text),
    key("public_ip", Want::Text),
    key("token_limit", Want::Whole),
    key("verbosity", Want::Whole),
    key("verify_units", Want::Bool),
];

const ETCD: &[Key] = &[
    key("addr", Want::Text),
    old("advertise_client_urls", Want::Text, "it is one of etcd2"),
    key("bind_addr", Want::Text),
    key("ca_file", Want::Text),
    key("cert_file", Want::Text),
    key("cluster_active_size", Want::Whole),
    key("cluster_remove_delay", Want::Real),
    key("cluster_sync_interval", Want::Real),
    key("cors", Want::Text),
    key("data_dir", Want::Text),
    key("discovery", Want::Text),
    old("discovery_fallback", Want::Text, "it is one of etcd2"),
    old("discovery_srv", Want::Text, "it is one of etcd2"),
    old("discovery_proxy", Want::Text, "it is one of etcd2"),
    old("election_timeout", Want::Whole, "it is one of etcd2"),
    old("force_new_cluster", Want::Bool, "it is one of etcd2"),
    key("graphite_host", Want::Text),
    old("heartbeat_interval", Want::Whole, "it is one of etcd2"),
    key("http_read_timeout", Want::Real),
    key("http_write_timeout", Want::Real),
    old("initial_advertise_peer_urls", Want::Text, "it is one of etcd2"),
    old("initial_cluster", Want::Text, "it is one of etcd2"),
    old("initial_cluster_state", Want::Text, "it is one of etcd2"),
    old("initial_cluster_token", Want::Text, "it is one of etcd2"),
    key("key_file", Want::Text),
    old("listen_client_urls", Want::Text, "it is one of etcd2"),
    old("listen_peer_urls", Want::Text, "it is one of etcd2"),
    key("max_result_buffer", Want::Whole),
    key("max_retry_attempts", Want::Whole),
    old("max_snapshots", Want::Whole, "it is one of etcd2"),
    old("max_wals", Want::Whole, "it is one of etcd2"),
    key("name", Want::Text),
    key("peer_addr", Want::Text),
    key("peer_bind_addr", Want::Text),
    key("peer_ca_file", Want::Text),
    key("peer_cert_file", Want::Text),
    key("peer_election_timeout", Want::Whole),
    key("peer_heartbeat_interval", Want::Whole),
    key("peer_key_file", Want::Text),
    key("peers", Want::Text),
    key("peers_file", Want::Text),
    old("proxy", Want::Text, "it is one of etcd2"),
    key("retry_interval", Want::Real),
    key("snapshot", Want::Bool),
    key("snapshot_count", Want::Whole),
    key("trace", Want::Text),
    key("verbose", Want::Bool),
    key("very_verbose", Want::Bool),
    key("very_very_verbose", Want::Bool),
];

const ETCD2: &[Key] = &[
    key("advertise_client_urls", Want::Text),
    old("ca_file", Want::Text, "write trusted_ca_file and client_cert_auth, or their peer_ forms"),
    key("cert_file", Want::Text),
    key("client_cert_auth", Want::Bool),
    key("cors", Want::Text),
    key("data_dir", Want::Text),
    key("debug", Want::Bool),
    key("discovery", Want::Text),
    key("discovery_fallback", Want::Text),
    key("discovery_srv", Want::Text),
    key("discovery_proxy", Want::Text),
    key("election_timeout", Want::Whole),
    key("enable_pprof", Want::Bool),
    key("force_new_cluster", Want::Bool),
    key("heartbeat_interval", Want::Whole),
    key("initial_advertise_peer_urls", Want::Text),
    key("initial_cluster", Want::Text),
    key("initial_cluster_state", Want::Text),
    key("initial_cluster_token", Want::Text),
    key("key_file", Want::Text),
    key("listen_client_urls", Want::Text),
    key("listen_peer_urls", Want::Text),
    key("log_package_levels", Want::Text),
    key("max_snapshots", Want::Whole),
    key("max_wals", Want::Whole),
    key("name", Want::Text),
    old(
        "peer_ca_file",
        Want::Text,
        "write trusted_ca_file and client_cert_auth, or their peer_ forms",
    ),
    key("peer_cert_file", Want::Text),
    key("peer_key_file", Want::Text),
    key("peer_client_cert_auth", Want::Bool),
    key("peer_trusted_ca_file", Want::Text),
    key("proxy", Want::Word(PROXY)),
    key("proxy_dial_timeout", Want::Whole),
    key("proxy_failure_wait", Want::Whole),
    key("proxy_read_timeout", Want::Whole),
    key("proxy_refresh_interval", Want::Whole),
    key("proxy_write_timeout", Want::Whole),
    key("snapshot_count", Want::Whole),
    key("strict_reconfig_check", Want::Bool),
    key("trusted_ca_file", Want::Text),
    key("wal_dir", Want::Text),
];
