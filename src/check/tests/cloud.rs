//! What coreos-cloudinit's validator says of small configs, and we beside it.

use super::{coreos, errors, flatcar};
use crate::check::{Kind, Severity, Target, faults};

/// A config without its first line, and the line of the entry in the validator's report, if any.
const VERDICTS: [(&str, Option<usize>); 71] = [
    ("", None),
    ("hostname: true", None),
    ("hostname: 4", None),
    ("hostname: node.example", None),
    ("hostname:\n  name:", Some(2)),
    ("hostname:\n  - name", Some(2)),
    ("test:", Some(2)),
    ("coreos: true", Some(2)),
    ("coreos: 4", Some(2)),
    ("coreos:\n  - hello", Some(2)),
    ("coreos:\n  etcd:\n    bad:", Some(4)),
    ("coreos:\n  etcd:\n    addr: hi", None),
    ("coreos:\n  etcd:\n    proxy: hi", Some(4)),
    ("coreos:\n  etcd:\n    discovery: https://d/0", None),
    ("coreos:\n  etcd:\n    discovery: disco", Some(4)),
    ("coreos:\n  etcd:\n    http_read_timeout: 2", None),
    ("coreos:\n  etcd2:\n    proxy: on", None),
    ("coreos:\n  etcd2:\n    proxy: yes", Some(4)),
    ("coreos:\n  etcd2:\n    proxy: \"on\"", None),
    ("coreos:\n  etcd2:\n    ca-file: /a", Some(4)),
    ("coreos:\n  etcd2:\n    heartbeat-interval: \"5\"", Some(4)),
    ("coreos:\n  fleet:\n    public-ip: $private_ipv4\n    verbosity: 2", None),
    ("coreos:\n  flannel:\n    interface: $public_ipv4", None),
    ("coreos:\n  flannel:\n    iface: eth0", Some(4)),
    ("coreos:\n  locksmith:\n    window_start: Thu 04:00\n    window_length: 1h30m", None),
    ("coreos:\n  locksmith:\n    window_start: Thursday 04:00", Some(4)),
    ("coreos:\n  locksmith:\n    window_start: 25:00", Some(4)),
    ("coreos:\n  locksmith:\n    window_length: 60", Some(4)),
    ("coreos:\n  update:\n    reboot_strategy: off", None),
    ("coreos:\n  update:\n    reboot-strategy: etcd-lock\n    group: beta", None),
    ("coreos:\n  update:\n    reboot_strategy: always", Some(4)),
    ("coreos:\n  units:\n    - hello\n    - goodbye", Some(4)),
    ("coreos:\n  units:\n    - name: a.service\n      enable: 4", Some(5)),
    ("coreos:\n  units:\n    - name: a.service\n      enable: yes", None),
    ("coreos:\n  units:\n    - name: a.service\n      enable:\n        - bad", Some(5)),
    ("coreos:\n  units:\n    - name: a.service\n      command: lol", Some(5)),
    (
        "coreos:\n  units:\n    - name: a.service\n      drop-ins:\n        - name: a.conf\n          content: x",
        None,
    ),
    ("coreos:\n  units:\n    - name: a.service\n      dropins: []", Some(5)),
    ("ssh_authorized_keys: key", Some(2)),
    ("ssh_authorized_keys:\n  - ssh-rsa AAAA", None),
    ("ssh_authorized_keys:\n  - key: value", Some(3)),
    ("users:\n  bad:", Some(2)),
    ("users:\n  - name: hi\n  - true", Some(4)),
    ("users:\n  - - bad", Some(3)),
    ("users:\n  - name: core\n    groups: [sudo, docker]\n    no-create-home: true", None),
    ("users:\n  - name: core\n    groups: sudo", Some(4)),
    ("users:\n  - name: core\n    sudo: ALL=(ALL) NOPASSWD:ALL", Some(4)),
    ("write_files:\n  - path: /tmp/usr/valid", None),
    ("write_files:\n  - path: /usr/invalid", Some(3)),
    ("write-files:\n  - path: /tmp/../usr/invalid", Some(3)),
    ("write_files:\n  - path: /a\n    encoding: base64\n    content: aGVsbG8K", None),
    ("write_files:\n  - path: /a\n    encoding: base64\n    content: !!binary aGVsbG8K", Some(5)),
    (
        "write_files:\n  - path: /a\n    encoding: gzip\n    content: !!binary H4sIAOC3tVQAA8tIzcnJ5wIAIDA6NgYAAAA=",
        None,
    ),
    (
        "write_files:\n  - path: /a\n    encoding: gzip+base64\n    content: H4sIAOC3tVQAA8tIzcnJ5wIAIDA6NgYAAAA=",
        None,
    ),
    (
        "write_files:\n  - path: /a\n    encoding: gz+b64\n    content: H4sIAOC3tVQAA8tIzcnJ5wIAIDA6NgYA",
        Some(5),
    ),
    ("write_files:\n  - path: /a\n    encoding: custom\n    content: hello", Some(4)),
    ("write_files:\n  - path: /a\n    permissions: 0644", None),
    ("write_files:\n  - path: /a\n    permissions: 0700", None),
    ("write_files:\n  - path: /a\n    permissions: 0755", None),
    ("write_files:\n  - path: /a\n    permissions: 755", None),
    ("write_files:\n  - path: /a\n    permissions: 04755", None),
    ("write_files:\n  - path: /a\n    permissions: 0o644", Some(4)),
    ("write_files:\n  - path: /a\n    permissions: 0", Some(4)),
    ("write_files:\n  - path: /a\n    permissions: u=rw", Some(4)),
    ("write_files:\n  - path: /a\n    content: 123\n    owner: 0", None),
    ("users:\n  - name: core\n    coreos-ssh-import-github: elroy", Some(4)),
    ("users:\n  - name: core\n    coreos_ssh_import_url: http://a/b", Some(4)),
    ("coreos:\n  units:\n    - name: a.service\n      command: off", Some(5)),
    ("coreos:\n  units:\n    - name: a.service\n      command: false", Some(5)),
    ("coreos:\n  update:\n    reboot_strategy: false", Some(4)),
    ("ssh_authorized_keys: [http://a]", Some(2)),
];

#[test]
fn a_config_is_refused_where_the_validator_would_report_an_entry() {
    for (config, line) in VERDICTS {
        let text = format!("#cloud-config\n{config}\n");
        let found = errors(Kind::CloudConfig, &text, &coreos());
        match line {
            None => assert_eq!(found, [], "{text}"),
            Some(line) => {
                assert!(
                    found.iter().any(|fault| fault.line == line),
                    "{line} of {text}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn what_fails_only_when_it_is_applied_is_an_error_too() {
    for (config, words) in [
        ("write_files:\n  - content: a", "without \"path\""),
        ("manage_etc_hosts: \"true\"", "only localhost"),
        ("coreos:\n  update:\n    reboot_strategy: no", "one of best-effort"),
        ("write_files:\n  - path: \u{201c}/a\u{201d}", "typographic quotes"),
        ("just words", "\"key: value\" lines"),
    ] {
        let text = format!("#cloud-config\n{config}\n");
        let found = errors(Kind::CloudConfig, &text, &Target::Unknown);
        assert!(found.iter().any(|fault| fault.text.contains(words)), "{text}: {found:?}");
    }
}

#[test]
fn the_first_line_may_end_in_spaces_or_cr_and_a_script_is_a_script() {
    for text in
        ["#cloud-config\r\nhostname: a\r\n", "#cloud-config  \nhostname: a\n", "#cloud-config"]
    {
        assert_eq!(errors(Kind::CloudConfig, text, &coreos()), [], "{text:?}");
    }
    assert_eq!(errors(Kind::CloudConfig, "#!/bin/bash\nset -e\n", &coreos()), []);
    assert_eq!(errors(Kind::CloudConfig, "#!/bin/bash\r\nset -e\n", &coreos()).len(), 1);
}

#[test]
fn a_second_section_of_one_name_and_a_program_without_its_first_line_are_warnings() {
    for (config, line, words) in [
        ("hostname: a\nwrite_files: []\nwrite-files: []", 4, "only the last one counts"),
        (
            "write_files:\n  - path: /a\n    permissions: \"0755\"\n    content: |\n      echo",
            5,
            "#!",
        ),
        ("coreos:\n  units:\n    - name: a", 4, "a.service"),
        ("users:\n  - shell: /bin/sh", 3, "left out"),
        ("coreos:\n  units:\n    - command: start", 4, "left out"),
        ("hostname: my node", 2, "simplified; write letters, digits"),
        (
            "coreos:\n  units:\n    - name: a.service\n      content: |\n        [Unit\n",
            5,
            "without its ]",
        ),
    ] {
        let text = format!("#cloud-config\n{config}\n");
        let found = faults(Kind::CloudConfig, text.as_bytes(), &coreos());
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!((found[0].line, found[0].severity), (line, Severity::Warning), "{found:?}");
        assert!(found[0].text.contains(words), "{found:?}");
    }
}

/// A config without its first line, the line of a fault, and whether CoreOS's coreos-cloudinit and
/// Flatcar's refuse it.
const READERS: [(&str, usize, bool, bool); 11] = [
    ("coreos:\n  units:\n    - name: a.service\n      mask: yes", 5, false, true),
    ("coreos:\n  units:\n    - name: a.service\n      enable: On", 5, false, true),
    ("coreos:\n  units:\n    - name: a.service\n      enable: \"yes\"", 5, true, true),
    ("hostname: a\nhostname: b", 3, false, true),
    ("write_files: []\nwrite-files: []", 3, false, true),
    ("users: [{name: a, name: b}]", 2, false, true),
    ("hostname: 2026-11-30", 2, false, true),
    ("ssh_authorized_keys: [http://a]", 2, true, false),
    ("coreos:\n  update:\n    reboot_strategy: best-effort", 4, false, true),
    ("coreos:\n  update:\n    reboot_strategy: never", 4, true, true),
    ("coreos:\n  units:\n    - name: a.service\n      command: off", 5, true, true),
];

#[test]
fn what_one_reader_alone_refuses_is_an_error_for_it_and_a_warning_that_names_it() {
    let said = |text: &str, target: &Target, line: usize| -> Vec<(Severity, String)> {
        let found = faults(Kind::CloudConfig, text.as_bytes(), target).into_iter();
        found.filter(|it| it.line == line).map(|it| (it.severity, it.text)).collect()
    };
    let is_error = |said: &[(Severity, String)]| said.iter().any(|it| it.0 == Severity::Error);
    for (config, line, by_coreos, by_flatcar) in READERS {
        let text = format!("#cloud-config\n{config}\n");
        let old = Target::Flatcar(Some("3510.2.0".to_owned()));
        assert_eq!(is_error(&said(&text, &coreos(), line)), by_coreos, "CoreOS: {text}");
        assert_eq!(is_error(&said(&text, &flatcar(), line)), by_flatcar, "Flatcar: {text}");
        assert_eq!(is_error(&said(&text, &Target::Flatcar(None), line)), by_flatcar, "{text}");
        let by_old = by_coreos || config.ends_with("best-effort");
        assert_eq!(is_error(&said(&text, &old, line)), by_old, "an old Flatcar: {text}");
        let of_anyone = said(&text, &Target::Unknown, line);
        assert_eq!(is_error(&of_anyone), by_coreos && by_flatcar, "anyone: {text}");
        let name = if by_coreos { "(CoreOS refuses it)" } else { "(Flatcar refuses it)" };
        let named = of_anyone.iter().any(|(_, text)| text.contains(name));
        assert_eq!(named, by_coreos != by_flatcar, "{of_anyone:?}");
    }
    let between = Target::Flatcar(Some("3913.0.0".to_owned()));
    let text = "#cloud-config\nhostname: a\nhostname: b\n";
    let found = said(text, &between, 3);
    assert!(!is_error(&found) && found.iter().any(|it| it.1.contains("since 3975")), "{found:?}");
}

#[test]
fn ubuntu_s_own_user_data_is_only_read_as_yaml() {
    let text = "#cloud-config\nautoinstall:\n  version: 1\n  packages: [vim]\n";
    assert_eq!(errors(Kind::CloudConfig, text, &Target::Unknown), []);
    assert_eq!(errors(Kind::CloudConfig, text, &coreos()).len(), 1);
    assert_eq!(errors(Kind::CloudConfig, &text.replace("  p", "\tp"), &Target::Unknown).len(), 1);
}
