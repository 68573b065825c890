//! Verdicts of each reader: kickstart, preseed, autoinstall, each form of cloud-init, and texts that
//! were meant for another reader.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use super::*;

/// The verdict that a text should get.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// Nothing is said.
    Right,
    /// It is served, with a warning that has these words.
    Warned(&'static str),
    /// It is refused, with an error that has these words.
    Refused(&'static str),
}

use Expected::{Refused, Right, Warned};

fn judge(kind: Kind, text: &[u8], target: &Target, expected: Expected) {
    let faults = faults(kind, text, target);
    let shown = String::from_utf8_lossy(text);
    let has = |severity, words: &str| {
        faults.iter().any(|fault| fault.severity == severity && fault.text.contains(words))
    };
    let is_served = faults.iter().all(|fault| fault.severity == Severity::Warning);
    let is_expected = match expected {
        Right => faults.is_empty(),
        Warned(words) => is_served && has(Severity::Warning, words),
        Refused(words) => has(Severity::Error, words),
    };
    assert!(is_expected, "{kind}, {expected:?}: {shown}\n{faults:?}");
}

fn judge_all(kind: Kind, rows: &[(&str, Expected)]) {
    for (text, expected) in rows {
        judge(kind, text.as_bytes(), &Target::Unknown, *expected);
    }
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

#[test]
fn kickstart_sections_end_as_anaconda_wants_it() {
    judge_all(
        Kind::Kickstart,
        &[
            ("text\nreboot\n%packages\n@core\n%end\n", Right),
            ("%pre\necho\n%end\n%post --nochroot\necho\n%end # of it\n", Right),
            ("%post\necho\n  %end\n  %packages\nvim\n\t%end\n", Right),
            ("%post\necho %packages\n# %packages\nprintf '\n%s' x\n%end\n", Right),
            ("%include /tmp/part\n%ksappend http://192.0.2.1/x\n", Right),
            ("%post\n%include /tmp/part\n%end\n", Right),
            ("%packages\n@core\n", Refused("begins %packages, which no %end ends")),
            ("%pre\necho\n %packages\n%end\n", Refused("begins %pre, which no %end ends")),
            ("%post\necho\n%endx\n", Refused("begins %post, which no %end ends")),
            ("text\n%end\n", Refused("has %end, and no section is open")),
            ("%pots\necho\n", Warned("has the unknown section %pots")),
            ("accepteula\n%firstboot --interpreter=busybox\necho\n", Right),
            ("", Warned("is empty")),
        ],
    );
}

#[test]
fn preseed_answers_have_a_type_that_debconf_knows() {
    judge_all(
        Kind::Preseed,
        &[
            ("d-i a/b string x y z\nd-i a/c boolean true\n# d-i a/d\n", Right),
            ("d-i a/b multiselect one, two\nd-i a/b seen false\ntasksel t/f select\n", Right),
            ("d-i a/b string one; \\\n  two\nd-i a/c password\n", Right),
            ("d-i a/b string\n", Right),
            ("d-i a/b strin x\n", Refused("is \"string\" meant?")),
            ("d-i a/b quux x\n", Refused("which debconf does not know; there are boolean")),
            ("d-i a/b\n", Refused("has fewer than three words")),
            ("d-i a/b boolean yes\n", Warned("another value for a/b than true or false")),
        ],
    );
}

#[test]
fn autoinstall_has_a_version_below_its_key() {
    judge_all(
        Kind::Autoinstall,
        &[
            ("#cloud-config\nautoinstall:\n  version: 1\n", Right),
            ("#cloud-config\nautoinstall: {version: 1, shutdown: reboot}\n", Right),
            ("#cloud-config\nautoinstall:\n  locale: C\n", Refused("has no \"version\"")),
            ("#cloud-config\nautoinstall:\n", Refused("has nothing below \"autoinstall\"")),
            ("#cloud-config\nusers: []\n", Refused("has no \"autoinstall\" key")),
            ("#cloud-config\nautoinstall: [\n", Refused("")),
        ],
    );
    let packed = gzipped("#cloud-config\nautoinstall:\n  locale: C\n");
    judge(Kind::Autoinstall, &packed, &Target::Unknown, Refused("unpacked, in line 2: has no"));
}

#[test]
fn cloud_init_takes_each_of_its_forms() {
    judge_all(
        Kind::CloudInit,
        &[
            ("#cloud-config\nusers: [default]\n", Right),
            ("#cloud-config\n", Right),
            ("#cloud-config\n{\"users\": [\"default\"]}\n", Right),
            ("#Cloud-Config\nusers: []\n", Right),
            ("#cloud-config\n- a\n", Refused("write \"key: value\" lines")),
            ("#cloud-config\nusers: [\n", Refused("")),
            ("# cloud-config\nusers: []\n", Refused("write exactly #cloud-config")),
            ("users: []\n", Refused("write #cloud-config above it")),
            ("#cloud-config-archive\n- type: text/cloud-config\n  content: 'a: b'\n", Right),
            ("#cloud-config-archive\na: b\n", Refused("write a list of parts")),
            ("#cloud-config-jsonp\n[{\"op\": \"add\", \"path\": \"/a\", \"value\": 1}]\n", Right),
            ("#!/bin/sh\necho\n", Right),
            ("#!/usr/bin/env python3\nprint()\n", Right),
            ("#include\nhttp://192.0.2.1/a\n# no more\n\nhttps://192.0.2.1/b\n", Right),
            ("#include-once\nhttp://192.0.2.1/a\n", Right),
            ("#include\nother.cfg\n", Warned("includes \"other.cfg\", which is no URL")),
            ("#part-handler\ndef list_types():\n    return []\n", Right),
            ("#cloud-boothook\n#!/bin/sh\necho\n", Right),
            ("#cloud-boothook\necho\n", Right),
            ("#upstart-job\ndescription \"x\"\n", Right),
            ("## template: jinja\n#cloud-config\nfqdn: {{ v1.local_hostname }}\n", Right),
            ("## template: jinja\n#!/bin/sh\necho {{ v1.region }}\n", Right),
            ("## template: jinja\nusers: []\n", Refused("below its \"## template: jinja\"")),
            (
                "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"x\"\n\n--x\n\
                 Content-Type: text/cloud-config\n\na: b\n--x--\n",
                Right,
            ),
            ("Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x--\n", Right),
            ("", Right),
        ],
    );
}

#[test]
fn cloud_init_unpacks_gzip_and_is_judged_by_what_is_inside() {
    for (text, expected) in [
        ("#cloud-config\nusers: [default]\n", Right),
        ("#!/bin/sh\necho\n", Right),
        ("#cloud-config\na: [\n", Refused("unpacked, in line ")),
        ("users: []\n", Refused("unpacked, in line 1: begins with none of")),
    ] {
        judge(Kind::CloudInit, &gzipped(text), &Target::Unknown, expected);
    }
    let mut cut = gzipped("#cloud-config\nusers: [default]\n");
    cut.truncate(14);
    judge(Kind::CloudInit, &cut, &Target::Unknown, Refused("cannot be unpacked"));
    // A reader that unpacks nothing.
    judge(Kind::Ignition, &gzipped("{}"), &Target::Unknown, Refused(""));
}

#[test]
fn a_text_for_another_reader_is_named_as_what_it_is() {
    let butane = "variant: fcos\nversion: 1.5.0\npasswd: {}\n";
    let part = "storage:\n  disks:\n    - device: /dev/sda\n";
    let cloud = "#cloud-config\nusers: []\n";
    let kickstart = "%packages\n@core\n%end\n";
    let preseed = "d-i a/b string x\n";
    let ignition = "{\"ignition\": {\"version\": \"3.4.0\"}}";
    for (kind, text, words) in [
        (Kind::Ignition, butane, "is Butane YAML, which Ignition does not read; run `butane"),
        (Kind::Ignition, part, "is Butane YAML, which Ignition does not read; run `butane"),
        (Kind::Ignition, cloud, "is user-data of cloud-init"),
        (Kind::Ignition, "<!DOCTYPE html><p>404", "is an HTML page"),
        (Kind::Ignition, "#!/bin/sh\n", "is a script (#!), which Ignition does not read"),
        (Kind::Ignition, kickstart, "is a kickstart file"),
        (Kind::CloudInit, butane, "is Butane YAML, which cloud-init does not read"),
        (Kind::CloudInit, ignition, "is an Ignition config, which cloud-init does not read"),
        (Kind::CloudConfig, ignition, "is an Ignition config, which coreos-cloudinit does not"),
        (Kind::Kickstart, preseed, "is a preseed file (d-i …), which Anaconda does not read"),
        (Kind::Kickstart, cloud, "is user-data of cloud-init"),
        (Kind::Preseed, kickstart, "is a kickstart file, which Debian's installer does not read"),
        (Kind::Talos, cloud, "is user-data of cloud-init"),
        (Kind::AutoYast, kickstart, "is a kickstart file, which AutoYaST does not read"),
        (Kind::Ipxe, butane, "is Butane YAML, which iPXE does not read"),
    ] {
        judge(kind, text.as_bytes(), &Target::Unknown, Refused(words));
    }
}

/// Verdicts that were wrong once, each with a text of its own: good ones that were refused.
#[test]
fn what_its_own_tool_takes_is_served() {
    let fcos = Target::FedoraCoreOs;
    let late_coreos = Target::CoreOs("2303.3.0".to_owned());
    let appended = r#"{"ignition": {"version": "2.2.0", "config": {"append": [{"source":
        "http://192.0.2.9/more.ign"}]}}, "storage": {"files": [{"filesystem": "elsewhere", "path":
        "/a", "contents": {"source": "data:,a"}}]}}"#;
    let ahead = r#"{"ignition": {"version": "3.5.0"}, "storage": {"waitsForNothing": true}}"#;
    let first = r#"{"ignitionVersion": 1, "systemd": {"units": []}}"#;
    for (kind, text, target, expected) in [
        (
            Kind::CloudConfig,
            "#cloud-config\nwrite_files:\n- path: /a\n  permissions: 0644\n  content: a\n",
            coreos(),
            Right,
        ),
        (
            Kind::CloudConfig,
            "#cloud-config\nwrite_files:\n- path: /a\n  content: '{{ getv \"/b\" }}'\n",
            coreos(),
            Right,
        ),
        (
            Kind::CloudConfig,
            "#cloud-config\nusers:\n- ssh_authorized_keys: []\n",
            coreos(),
            Warned("without \"name\", which is left out"),
        ),
        (Kind::CloudInit, "#cloud-config\npackages: [vim]\n", Target::Unknown, Right),
        (
            Kind::Autoinstall,
            "#cloud-config\nautoinstall:\n  version: 1\n  x: {a.b:c: \"on\"}\n",
            Target::Unknown,
            Right,
        ),
        (
            Kind::Ipxe,
            "#!ipxe\necho a || goto none\nexit\n",
            Target::Unknown,
            Warned("no line :none"),
        ),
        (Kind::Ipxe, "#!ipxe\nset a b\n", Target::Unknown, Warned("starts nothing")),
        (Kind::Script, "echo a\n", Target::Unknown, Warned("does not begin with #!")),
        (Kind::Script, "#!/bin/sh\n\x0c\necho '\x1b[0m'\n", Target::Unknown, Right),
        (Kind::Ignition, appended, late_coreos, Warned("of the configs that it fetches")),
        (Kind::Ignition, first, coreos(), Right),
        (Kind::Ignition, ahead, fcos, Warned("waitsForNothing")),
    ] {
        judge(kind, text.as_bytes(), &target, expected);
    }
    let latin = b"# caf\xe9\nd-i a/b string x\n";
    let found = faults(Kind::Preseed, latin, &Target::Unknown);
    assert!(found.iter().all(|fault| fault.severity == Severity::Warning), "{found:?}");
}

/// The same of bad ones that were served.
#[test]
fn what_its_own_tool_refuses_is_refused() {
    let user = "#cloud-config\nusers:\n- name: a\n  coreos-ssh-import-github: a\n";
    let unit = "#cloud-config\ncoreos:\n  units:\n  - name: a.service\n    ";
    let twice = r#"{"ignition": {"version": "3.3.0"}, "storage": {"disks": [{"device": "vdb"}]},
        "storage": {"files": []}}"#;
    let linked = r#"{"ignition": {"version": "2.2.0"}, "storage": {"links": [{"filesystem": "root",
        "path": "/srv/a", "target": "/b"}], "files": [{"filesystem": "root", "path": "/srv/a/c",
        "contents": {"source": "data:,a"}}]}}"#;
    let path_alone = r#"{"ignition": {"version": "2.2.0"}, "storage": {"filesystems": [{"name":
        "root", "path": "/sysroot"}]}}"#;
    for (kind, text, target, words) in [
        (Kind::CloudConfig, user.to_owned(), coreos(), "deprecated key"),
        (Kind::CloudConfig, format!("{unit}command: on\n"), coreos(), "has \"on\""),
        (Kind::CloudConfig, format!("{unit}enable: no\n"), flatcar(), "write true or false"),
        (
            Kind::CloudConfig,
            "#cloud-config\ncoreos: {}\ncoreos: {}\n".to_owned(),
            flatcar(),
            "has \"coreos\" twice",
        ),
        (Kind::Ignition, twice.to_owned(), Target::FedoraCoreOs, "must begin with /"),
        (Kind::Ignition, linked.to_owned(), flatcar(), "below the link \"/srv/a\""),
        (Kind::Ignition, path_alone.to_owned(), flatcar(), "without \"mount\""),
    ] {
        judge(kind, text.as_bytes(), &target, Refused(words));
    }
}
