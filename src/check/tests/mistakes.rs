//! What people type, and what they are told.

use super::{coreos, flatcar};
use crate::check::{Kind, Severity, Target, faults};

const IGNITION: &str = "{\n  \"ignition\": {\n    \"version\": \"3.3.0\"\n  },\n  \"storage\": {\n    \
    \"files\": [\n      {\n        \"path\": \"/etc/hostname\",\n        \"mode\": 420,\n        \
    \"contents\": { \"source\": \"data:,node\" }\n      }\n    ]\n  }\n}\n";

const CLOUD: &str = "#cloud-config\nhostname: node\nwrite_files:\n  - path: /etc/a\n    \
    permissions: \"0644\"\n    content: |\n      some text\ncoreos:\n  update:\n    reboot-strategy: off\n  \
    units:\n    - name: a.service\n      command: start\n";

/// A right text, with one thing in it written otherwise: the line that is named, and words of what
/// is said.
#[track_caller]
fn told(kind: Kind, right: &str, (from, to): (&str, &str), line: usize, words: &str) {
    told_by(kind, right, (from, to), line, words, &Target::Unknown);
}

#[track_caller]
fn told_by(
    kind: Kind,
    right: &str,
    (from, to): (&str, &str),
    line: usize,
    words: &str,
    target: &Target,
) {
    assert!(right.contains(from), "{from:?} is not in the text");
    let text = right.replacen(from, to, 1);
    let found = faults(kind, text.as_bytes(), target);
    let right = |fault: &&crate::check::Fault| {
        (fault.line, fault.severity) == (line, Severity::Error) && fault.text.contains(words)
    };
    assert!(
        found.iter().any(|fault| right(&fault)),
        "{to:?} for {from:?}: no \"{words}\" in line {line}, but {found:#?}"
    );
}

#[test]
fn the_texts_that_the_mistakes_are_made_in_are_right() {
    assert_eq!(faults(Kind::Ignition, IGNITION.as_bytes(), &flatcar()), []);
    assert_eq!(faults(Kind::CloudConfig, CLOUD.as_bytes(), &coreos()), []);
}

#[test]
fn slips_in_json_are_named_with_their_line() {
    for (change, line, words) in [
        (("\"/etc/hostname\",", "\"/etc/hostname\""), 8, "lacks a comma"),
        (("node\" }", "node\", }"), 10, "comma before the closing }"),
        (("420,\n", "420,,\n"), 9, "a comma too many"),
        (("    ]\n", "    \n"), 13, "] for line 6"),
        (("  }\n}\n", "  }\n"), 1, "never closed"),
        (("420", "0644"), 9, "no octal numbers, write 420"),
        (("420", "\"0644\""), 9, "write 420, without quotes"),
        (("\"version\"", "\u{201c}version\u{201d}"), 3, "typographic quote"),
        (("\"version\"", "'version'"), 3, "plain double quotes"),
        (("\"version\"", "version"), 3, "write \"version\""),
        (("\"version\":", "\"version\" ="), 3, "colon"),
        (("{\n", "// mine\n{\n"), 1, "must begin with {"),
        (("420,", "420, # octal"), 9, "comment"),
        (("\"mode\"", "\"Mode\": True, \"mode\""), 9, "write true"),
        (("/etc/hostname\"", "/etc/hostname"), 8, "closing quote"),
        (("}\n}\n", "}\n}\n}\n"), 15, "after its last }"),
    ] {
        told(Kind::Ignition, IGNITION, change, line, words);
    }
}

#[test]
fn slips_in_an_ignition_config_are_named_with_their_line() {
    for (change, line, words) in [
        (("3.3.0", "3.3"), 3, "no Ignition takes"),
        (("3.3.0", "2.5.0"), 3, "no Ignition takes"),
        (("\"version\": \"3.3.0\"", ""), 2, "has no version"),
        (("\"3.3.0\"", "3.3"), 3, "write it in quotes"),
        (("\"files\"", "\"file\""), 6, "is \"files\" meant"),
        (("\"mode\": 420", "\"permissions\": 420"), 9, "unknown key \"permissions\""),
        (("\"path\": \"/etc", "\"path\": \"etc"), 8, "must begin with /"),
        (("/etc/hostname", "/etc//hostname"), 8, "write \"/etc/hostname\""),
        (("data:,node", "node"), 10, "one of the schemes"),
        (("data:,node", "data:,a node"), 10, "%20"),
        (("420", "{{ metadata.mode }}"), 9, "nobody filled in"),
        (("node\"", "{{ metadata.name }}\""), 10, "nobody filled in"),
        (
            (
                "\"storage\"",
                "\"networkd\": {\"units\": []}, \"storage\": {}, \"systemd\": 5, \"x\"",
            ),
            5,
            "number",
        ),
    ] {
        told(Kind::Ignition, IGNITION, change, line, words);
    }
}

#[test]
fn slips_in_a_cloud_config_are_named_with_their_line() {
    for (change, line, words) in [
        (("#cloud-config", "# cloud-config"), 1, "exactly #cloud-config"),
        (("#cloud-config\n", ""), 1, "does not begin with #cloud-config"),
        (("  - path", "\t- path"), 4, "tab"),
        (("    permissions", "\tpermissions"), 5, "tab"),
        (("    permissions", "   permissions"), 5, "indent"),
        (("hostname: node", "runcmd:\n  - ls"), 2, "command: start"),
        (("hostname: node", "packages:\n  - vim"), 2, "no packages"),
        (("hostname: node", "timezone: UTC"), 2, "timedatectl"),
        (("hostname: node", "host-name: node"), 2, "is \"hostname\" meant"),
        (("hostname: node", "hostname: {{ metadata.name }}"), 2, "nobody filled in"),
        (("hostname: node", "hostname: CHANGE-ME # yours"), 2, "write your own value"),
        (("hostname: node", "hostname:"), 2, "nothing for \"hostname\""),
        (("hostname: node", "hostname: a: b"), 2, "no YAML"),
        (("\"0644\"", "0o755"), 5, "octal digits in quotes"),
        (("\"0644\"", "rw-r--r--"), 5, "octal digits in quotes"),
        (("/etc/a", "/usr/bin/a"), 4, "read-only"),
        (("path: /etc/a", "path: /etc/a\n    encoding: base64"), 7, "no base64"),
        (("content: |", "contents: |"), 6, "is \"content\" meant"),
        (("off", "never"), 10, "write one of best-effort"),
        (("off", "on"), 10, "write one of"),
        (("reboot-strategy", "reboot_stategy"), 10, "is \"reboot_strategy\" meant"),
        (("start", "started"), 13, "write one of start, stop"),
        (("command: start", "enable: \"true\""), 13, "without quotes"),
        (("start", "off"), 13, "write one of start, stop"),
        (("coreos:", "coreos:\n  write_files:\n    - path: /a"), 9, "at the top"),
        (("coreos:\n", "units:\n  - name: b.service\ncoreos:\n"), 8, "under \"coreos\""),
        (("hostname", "---\nhostname"), 2, "second document"),
        (("text", "te\u{7}xt"), 7, "U+0007"),
    ] {
        if words == "second document" {
            told(Kind::CloudConfig, CLOUD, ("coreos:", "---\ncoreos:"), 8, words);
        } else {
            told(Kind::CloudConfig, CLOUD, change, line, words);
        }
    }
}

#[test]
fn a_byte_order_mark_and_other_encodings_are_errors_for_every_reader() {
    for kind in [Kind::CloudConfig, Kind::Ignition, Kind::Ipxe, Kind::Script] {
        for (text, words) in [
            (&b"\xef\xbb\xbf#!ipxe\n"[..], "byte order mark"),
            (b"a\nb\xff\n", "0xff"),
            (b"\xff\xfea\0", "UTF-16"),
            (b"\x1f\x8b\x08", "gzip"),
            (b" \n", "empty"),
            (b"#!/bin/sh\n\0", "U+0000"),
        ] {
            let found = faults(kind, text, &Target::Unknown);
            let first = found.iter().find(|fault| fault.text.contains(words));
            // A shell and iPXE take bytes of any encoding.
            let wanted = match (kind, words) {
                (Kind::Ipxe | Kind::Script, "0xff") => Severity::Warning,
                _ => Severity::Error,
            };
            assert!(first.is_some_and(|f| f.severity == wanted), "{kind}: {found:?}");
        }
    }
}

#[test]
fn a_config_for_another_system_is_an_error() {
    let spec_2 = ("3.3.0", "2.2.0");
    let late = Target::CoreOs("2512.3.0".to_owned());
    for (target, change, words) in [
        (coreos(), ("3.3.0", "3.3.0"), "CoreOS 1122.2.0 refuses; write 2.0.0"),
        (coreos(), spec_2, "CoreOS 1122.2.0 refuses; write 2.0.0"),
        (late, ("3.3.0", "3.0.0"), "CoreOS 2512.3.0 refuses"),
        (Target::FedoraCoreOs, spec_2, "Fedora CoreOS refuses"),
        (Target::Flatcar(Some("2905.2.0".to_owned())), ("3.3.0", "3.3.0"), "refuses; write 2.3.0"),
    ] {
        told_by(Kind::Ignition, IGNITION, change, 3, words, &target);
    }
    let same = ("node", "node");
    told_by(Kind::CloudConfig, CLOUD, same, 1, "does not read", &Target::FedoraCoreOs);
    let etcd = ("  update:", "  etcd2:\n    name: a\n  update:");
    told_by(Kind::CloudConfig, CLOUD, etcd, 9, "Flatcar has it no more", &flatcar());
    told_by(Kind::CloudConfig, CLOUD, ("off", "best-effort"), 10, "etcd-lock", &flatcar());
}

#[test]
fn a_marker_beside_docker_s_is_still_found() {
    let both = ("data:,node", "{{.ID}} {{ metadata.name }}");
    told(Kind::Ignition, IGNITION, both, 10, "\"{{ metadata.name }}\", which nobody filled in");
}

#[test]
fn docker_s_own_format_markers_are_left_alone() {
    let script = "#!/bin/sh\ndocker ps --format '{{.ID}}' | xargs echo\n";
    assert_eq!(faults(Kind::Script, script.as_bytes(), &Target::Unknown), []);
    let format = "docker ps --format '{{json .ID}} {{range .Ports}}{{end}}'";
    let cloud = CLOUD.replace("some text", format);
    assert_eq!(faults(Kind::CloudConfig, cloud.as_bytes(), &Target::Unknown), []);
}
