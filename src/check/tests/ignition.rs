//! Spec 2, which no tool here can read: the rules of its own validators, one at a time.

use super::{coreos, errors, flatcar};
use crate::check::{Kind, Severity, Target, faults};

fn config(version: &str, rest: &str) -> String {
    format!("{{\"ignition\": {{\"version\": \"{version}\"}},\n{rest}}}")
}

fn disk(partitions: &str) -> String {
    format!(
        "\"storage\": {{\"disks\": [{{\"device\": \"/dev/sda\", \"partitions\": [{partitions}]}}]}}"
    )
}

#[test]
fn spec_2_takes_what_its_examples_have() {
    let cases = [
        ("2.0.0", disk(r#"{"label": "ROOT", "number": 0, "size": 0, "start": 0}"#)),
        ("2.0.0", disk(r#"{"number": 1, "start": 2048, "size": 2048}, {"number": 2, "start": 4096}"#)),
        ("2.2.0", disk(r#"{"label": "a"}, {"label": "b"}"#)),
        ("2.3.0", disk(r#"{"number": 1, "sizeMiB": 100, "startMiB": 1, "guid": ""}"#)),
        ("2.0.0", r#""storage": {"files": [{"filesystem": "root", "path": "/a", "mode": 420,
            "contents": {"source": "data:,x"}}]}"#.to_owned()),
        ("2.0.0", r#""storage": {"filesystems": [{"name": "x", "path": "/mnt"}],
            "files": [{"filesystem": "x", "path": "/a", "mode": 420}]}"#.to_owned()),
        ("2.0.0", r#""systemd": {"units": [{"name": "a.service", "enable": true,
            "contents": "[Install]\nWantedBy=x"}]}"#.to_owned()),
        ("2.0.0", r#""networkd": {"units": [{"name": "00.network", "contents": "[Match]\nName=e*"}]}"#.to_owned()),
        ("2.0.0", r#""passwd": {"users": [{"name": "core", "create": {"uid": 5}}]}"#.to_owned()),
        ("2.2.0", r#""storage": {"files": [{"filesystem": "root", "path": "/a", "mode": 420, "append": true}]}"#.to_owned()),
        ("2.1.0", r#""storage": {"links": [{"filesystem": "root", "path": "/a", "target": "/b"}]}"#.to_owned()),
    ];
    for (version, rest) in cases {
        let text = config(version, &rest);
        let late = Target::CoreOs("2512.3.0".to_owned());
        assert_eq!(faults(Kind::Ignition, text.as_bytes(), &late), [], "{text}");
        assert_eq!(errors(Kind::Ignition, &text, &Target::Unknown), [], "{text}");
    }
}

/// Where, which version, what, and words of what is said.
const REFUSED: [(&str, &str, &str, &str); 32] = [
    ("P", "2.0.0", r#"{"number": 1}, {"number": 1}"#, "number 1 twice"),
    ("P", "2.0.0", r#"{"label": "a"}, {"label": "b"}"#, "number 0 twice"),
    ("P", "2.0.0", r#"{"number": 1, "start": 2049}"#, "multiple of 2048"),
    (
        "P",
        "2.0.0",
        r#"{"number": 1, "start": 2048, "size": 4096}, {"number": 2, "start": 4096, "size": 1}"#,
        "overlaps",
    ),
    ("P", "2.0.0", r#"{"number": 1, "sizeMiB": 5}"#, "came with version 2.3.0"),
    ("P", "2.3.0", r#"{"sizeMiB": 5}"#, "neither number nor label"),
    ("P", "2.3.0", r#"{"number": 1, "sizeMiB": 5}, {"number": 2, "size": 5}"#, "mixes sectors"),
    ("P", "2.0.0", r#"{"number": 1, "typeGuid": "8300"}"#, "typeGuid"),
    ("storage", "2.0.0", r#""files": {}"#, "write [] for none"),
    ("storage", "2.0.0", r#""filesystems": [{"name": "a"}]"#, "neither \"mount\" nor \"path\""),
    (
        "storage",
        "2.0.0",
        r#""filesystems": [{"name": "a", "path": "/a", "mount": {"device": "/a", "format": "xfs"}}]"#,
        "keep one",
    ),
    ("M", "2.0.0", r#""device": "sda1", "format": "ext4""#, "must begin with /"),
    ("M", "2.0.0", r#""device": "/dev/a", "format": "ext3""#, "ext4, btrfs, xfs"),
    ("M", "2.0.0", r#""device": "/dev/a""#, "without \"format\""),
    (
        "M",
        "2.1.0",
        r#""device": "/dev/a", "format": "ext4", "create": {}, "options": ["x"]"#,
        "both \"create\"",
    ),
    (
        "M",
        "2.1.0",
        r#""device": "/dev/a", "format": "xfs", "label": "thirteen-long""#,
        "longer than 12",
    ),
    ("storage", "2.0.0", r#""files": [{"path": "/a"}]"#, "lacks \"filesystem\""),
    ("F", "2.0.0", r#""filesystem": "data""#, "not defined; there are root"),
    ("F", "2.0.0", r#""mode": 5000"#, "has the mode 5000"),
    ("F", "2.0.0", r#""contents": {"source": "http://a", "compression": "xz"}"#, "only \"gzip\""),
    ("F", "2.0.0", r#""contents": {"source": "tftp://a/b"}"#, "the schemes http, https, oem, data"),
    (
        "F",
        "2.0.0",
        r#""contents": {"source": "http://a", "verification": {"hash": "sha256-00"}}"#,
        "write sha512",
    ),
    ("F", "2.2.0", r#""append": true, "overwrite": true"#, "keep one"),
    ("R", "2.0.0", r#""level": "raid0", "spares": 1"#, "spares"),
    ("R", "2.0.0", r#""level": "9""#, "RAID level"),
    (
        "storage",
        "2.0.0",
        r#""directories": [{"filesystem": "root", "path": "/a"}]"#,
        "came with version 2.1.0",
    ),
    ("systemd", "2.0.0", r#""units": [{"name": "a"}]"#, "ends in .service"),
    (
        "systemd",
        "2.0.0",
        r#""units": [{"name": "a.service", "dropins": [{"name": "x"}]}]"#,
        "ends in .conf",
    ),
    (
        "systemd",
        "2.1.0",
        r#""units": [{"name": "a.service", "contents": "[Unit\n"}]"#,
        "without its ]",
    ),
    (
        "networkd",
        "2.0.0",
        r#""units": [{"name": "a.service"}]"#,
        "ends in .link, .netdev, .network",
    ),
    (
        "passwd",
        "2.1.0",
        r#""users": [{"name": "a", "create": {}, "shell": "/bin/sh"}]"#,
        "both \"create\" and",
    ),
    ("kernelArguments", "2.0.0", r#""shouldExist": ["a"]"#, "came with version 3.3.0"),
];

#[test]
fn spec_2_refuses_what_its_validators_refuse() {
    for (place, version, rest, words) in REFUSED {
        let (before, after) = match place {
            "P" => (r#""storage": {"disks": [{"device": "/dev/sda", "partitions": ["#, "]}]}"),
            "M" => (r#""storage": {"filesystems": [{"name": "a", "mount": {"#, "}}]}"),
            "F" => (r#""storage": {"files": [{"filesystem": "root", "path": "/a", "#, "}]}"),
            "R" => (r#""storage": {"raid": [{"name": "md", "devices": ["/dev/a"], "#, "}]}"),
            _ => ("", ""),
        };
        let rest = match before {
            "" => format!("\"{place}\": {{{rest}}}"),
            before => format!("{before}{rest}{after}"),
        };
        let text = config(version, &rest);
        let found = errors(Kind::Ignition, &text, &Target::Unknown);
        assert!(found.iter().any(|f| f.line == 2 && f.text.contains(words)), "{text}: {found:?}");
    }
}

#[test]
fn a_flatcar_takes_spec_2_only_without_sectors() {
    let clean = config(
        "2.3.0",
        r#""storage": {
        "disks": [{"device": "/dev/sda", "wipeTable": true, "partitions": [{"label": "ROOT", "number": 1}]}],
        "filesystems": [{"name": "r", "mount": {"device": "/dev/disk/by-partlabel/ROOT",
            "format": "ext4", "label": "ROOT", "wipeFilesystem": true}}]}"#,
    );
    assert_eq!(faults(Kind::Ignition, clean.as_bytes(), &flatcar()), []);
    let sectors = clean.replace("\"number\": 1", "\"number\": 1, \"size\": 0");
    assert_eq!(errors(Kind::Ignition, &sectors, &flatcar()).len(), 1);
    let old = clean.replace("2.3.0", "2.2.0");
    assert_eq!(errors(Kind::Ignition, &old, &flatcar()).len(), 1);
    let no_partitions = config("2.0.0", "\"systemd\": {}");
    assert_eq!(errors(Kind::Ignition, &no_partitions, &flatcar()), []);
}

#[test]
fn what_works_otherwise_than_it_looks_is_a_warning() {
    let zero = disk(r#"{"label": "ROOT", "number": 0}"#);
    let unit = r#""systemd": {"units": [{"name": "a.service", "enabled": true, "contents": "[Service]\nExecStart=/a"}]}"#;
    let file = |more: &str| format!(r#""storage": {{"files": [{{"path": "/a", {more}}}]}}"#);
    for (version, rest, target, words) in [
        ("3.3.0", zero, flatcar(), "write 1"),
        ("3.3.0", unit.to_owned(), Target::Unknown, "[Install]"),
        ("3.3.0", file("\"mode\": 644"), Target::Unknown, "for 0644 write 420"),
        ("3.3.0", file("\"mode\": 2541"), Target::Unknown, "3.4.0"),
        ("2.0.0", file("\"filesystem\": \"root\""), coreos(), "and so 0000"),
        ("3.4.0", "\"passwd\": {}".to_owned(), flatcar(), "only a late Flatcar"),
        ("3.3.0", "\"passwd\": {}, \"passwd\": {}".to_owned(), flatcar(), "twice"),
    ] {
        let line = if words.starts_with("only") { 1 } else { 2 };
        let text = config(version, &rest);
        let found = faults(Kind::Ignition, text.as_bytes(), &target);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!((found[0].line, found[0].severity), (line, Severity::Warning), "{found:?}");
        assert!(found[0].text.contains(words), "{found:?}");
    }
}

#[test]
fn later_versions_have_their_own_keys_and_rules() {
    let taken = [
        (
            "3.4.0",
            r#""storage": {"luks": [{"name": "a", "device": "/dev/a", "discard": true, "openOptions": ["--x"]}]}"#,
        ),
        (
            "3.5.0",
            r#""storage": {"luks": [{"name": "a", "device": "/dev/a", "cex": {"enabled": true}}]}"#,
        ),
        (
            "3.4.0",
            r#""storage": {"files": [{"path": "/a", "mode": 2541, "contents": {"source": "arn:aws:s3:::b/k"}}]}"#,
        ),
        ("3.6.0", r#""storage": {"files": [{"path": "/a/b"}], "directories": [{"path": "/a"}]}"#),
    ];
    for (version, rest) in taken {
        let text = config(version, rest);
        assert_eq!(faults(Kind::Ignition, text.as_bytes(), &Target::Unknown), [], "{text}");
    }
    let refused = [
        (
            "3.4.0",
            r#""storage": {"luks": [{"name": "a", "device": "/dev/a", "cex": {"enabled": true}}]}"#,
            "came with version 3.5.0",
        ),
        (
            "3.4.0",
            r#""systemd": {"units": [{"name": "a.service", "contents": "[Unit]\nA=b"}]},
            "storage": {"files": [{"path": "/etc/systemd/system/a.service"}]}"#,
            "\"systemd\" writes",
        ),
        ("3.6.0", r#""storage": {"files": [{"path": "/a"}, {"path": "/a/b"}]}"#, "is a file"),
    ];
    for (version, rest, words) in refused {
        let text = config(version, rest);
        let found = errors(Kind::Ignition, &text, &Target::Unknown);
        assert!(found.iter().any(|fault| fault.text.contains(words)), "{text}: {found:?}");
    }
}

#[test]
fn a_version_that_is_not_known_is_checked_by_the_nearest_and_served() {
    let good = r#""storage": {"files": [{"path": "/a", "mode": 420, "news": 1}]}"#;
    for (version, target) in [
        ("3.7.0", Target::Unknown),
        ("3.7.0", flatcar()),
        ("3.12.0", Target::FedoraCoreOs),
        ("3.6.0-experimental", Target::FedoraCoreOs),
        ("3.8.0-experimental", Target::Unknown),
        ("2.5.0-experimental", Target::Unknown),
    ] {
        let rest = good.replace("\"path\"", "\"filesystem\": \"root\", \"path\"");
        let rest = if version.starts_with('2') { rest.as_str() } else { good };
        let text = config(version, rest);
        assert_eq!(errors(Kind::Ignition, &text, &target), [], "{text}");
        let found = faults(Kind::Ignition, text.as_bytes(), &target);
        let named = |words: &str| found.iter().any(|fault| fault.text.contains(words));
        assert!(named("is not known here; it is checked as") && named("write \""), "{found:?}");
        assert!(named("key \"news\""), "{found:?}");
        let bad = config(version, &rest.replace("/a", "a"));
        assert!(!errors(Kind::Ignition, &bad, &target).is_empty(), "{bad}");
    }
    for version in
        ["3.7", "3.07.0", "2.5.0", "4", "3.3.0-experimental", "3.7.1", "three", "3.999.0"]
    {
        let text = config(version, "\"systemd\": {}");
        assert_eq!(errors(Kind::Ignition, &text, &Target::Unknown).len(), 1, "{text}");
    }
    let text = config("3.7.0", "\"systemd\": {}");
    assert_eq!(errors(Kind::Ignition, &text, &coreos()).len(), 1, "CoreOS has spec 2 only");
}

#[test]
fn version_1_is_read_by_coreos_and_translated_by_flatcar() {
    let unit = r#"{"name": "hello.service", "enable": true,
        "contents": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target"}"#;
    let text = format!("{{\"ignitionVersion\": 1,\n\"systemd\": {{\"units\": [{unit}]}}}}");
    for target in [coreos(), flatcar()] {
        assert_eq!(faults(Kind::Ignition, text.as_bytes(), &target), [], "{text}");
    }
    let found = faults(Kind::Ignition, text.as_bytes(), &Target::Unknown);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].line, found[0].severity), (1, Severity::Warning), "{found:?}");
    assert_eq!(errors(Kind::Ignition, &text, &Target::FedoraCoreOs).len(), 1);
    for (from, to, words) in [
        ("hello.service", "hello", "ends in .service"),
        ("true,", "\"true\",", "write true without quotes"),
        ("\"enable\"", "\"enabel\"", "is \"enable\" meant?"),
    ] {
        let found = errors(Kind::Ignition, &text.replacen(from, to, 1), &coreos());
        assert!(found.iter().any(|fault| fault.text.contains(words)), "{found:?}");
    }
}

#[test]
fn a_key_like_none_that_is_known_is_a_warning_and_a_slip_is_an_error() {
    for (rest, severity, words) in [
        (r#""storage": {"skipWaitForDevices": true}"#, Severity::Warning, "ignores"),
        (r#""_comment": "ours""#, Severity::Warning, "ignores"),
        (r#""storage": {"filesystem": [1]}"#, Severity::Error, "kind = \"text\""),
        (
            r#""networkd": {"units": [{"name": "a.link"}]}"#,
            Severity::Error,
            "it went after version 2.4.0",
        ),
    ] {
        let text = config("3.5.0", rest);
        let found = faults(Kind::Ignition, text.as_bytes(), &Target::Unknown);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].line, found[0].severity), (2, severity), "{found:?}");
        assert!(found[0].text.contains(words), "{found:?}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_merged_as_go_does_it() {
    let file = r#""storage": {"files": [{"path": "/a"}]}"#;
    for (rest, words) in [
        (format!(r#""storage": {{"disks": [{{"device": "sda"}}]}}, {file}"#), "must begin with /"),
        (format!(r#"{file}, "storage": {{"files": [{{"path": "b"}}]}}"#), "must begin with /"),
        (
            r#""storage": {"files": [{"path": "a"}]}, "storage": {"files": [{"mode": 1}]}"#
                .to_owned(),
            "must begin with /",
        ),
        (
            r#""storage": {"files": [{"path": "a"}]}, "storage": null"#.to_owned(),
            "must begin with /",
        ),
        (format!(r#""storage": {{"files": [{{"path": "b"}}]}}, {file}"#), ""),
        (r#""storage": {"files": [{"path": "a"}]}, "storage": {"files": []}"#.to_owned(), ""),
        (r#""storage": {"files": [{"path": "a"}], "files": null}"#.to_owned(), ""),
    ] {
        let text = config("3.3.0", &rest);
        let found = errors(Kind::Ignition, &text, &Target::Unknown);
        assert_eq!(found.is_empty(), words.is_empty(), "{text}: {found:?}");
        assert!(found.iter().all(|fault| fault.text.contains(words)), "{found:?}");
        let all = faults(Kind::Ignition, text.as_bytes(), &Target::Unknown);
        assert!(all.iter().any(|fault| fault.text.contains("twice; both are merged")), "{all:?}");
    }
}

#[test]
fn what_only_flatcar_s_translation_refuses_is_an_error_there_and_a_warning_for_anyone() {
    let files = |files: &str| format!(r#""storage": {{"files": [{files}]}}"#);
    let file = r#"{"filesystem": "root", "path": "/a", "mode": 420}"#;
    let mount = |more: &str| {
        format!(
            r#""storage": {{"filesystems": [{{"name": "x", "mount": {{"device": "/dev/a",
            "format": "ext4"{more}}}}}]}}"#
        )
    };
    for (rest, words) in [
        (
            r#""storage": {"links": [{"filesystem": "root", "path": "/o/a", "target": "/v"}],
            "files": [{"filesystem": "root", "path": "/o/a/f", "mode": 420}]}"#
                .to_owned(),
            "below the link \"/o/a\"",
        ),
        (
            r#""storage": {"filesystems": [{"name": "root", "path": "/sysroot"}]}"#.to_owned(),
            "without \"mount\"",
        ),
        (files(&format!("{file}, {}", file.replace("/a", "//a"))), "twice"),
        (mount(r#", "create": {}"#), "without \"force\""),
        (r#""passwd": {"users": [{"name": "a"}, {"name": "a"}]}"#.to_owned(), "twice"),
        (
            r#""systemd": {"units": [{"name": "a.service", "dropins": [
            {"name": "a.conf"}, {"name": "a.conf"}]}]}"#
                .to_owned(),
            "twice",
        ),
    ] {
        let text = config("2.3.0", &rest);
        let late = Target::CoreOs("2512.3.0".to_owned());
        assert_eq!(errors(Kind::Ignition, &text, &late), [], "{text}");
        let found = errors(Kind::Ignition, &text, &flatcar());
        assert!(found.iter().any(|fault| fault.text.contains(words)), "{text}: {found:?}");
        assert_eq!(errors(Kind::Ignition, &text, &Target::Unknown), [], "{text}");
        let anyone = faults(Kind::Ignition, text.as_bytes(), &Target::Unknown);
        let named = |it: &crate::check::Fault| it.text.contains("Flatcar refuses it");
        assert!(anyone.iter().any(|it| named(it) && it.text.contains(words)), "{anyone:?}");
    }
    let appended =
        r#""ignition": {"version": "2.2.0", "config": {"append": [{"source": "http://a/b"}]}}"#;
    let text = format!("{{{appended},\n{}}}", files(&file.replace("root", "data")));
    assert_eq!(errors(Kind::Ignition, &text, &Target::Unknown), []);
    let alone = config("2.2.0", &files(&file.replace("root", "data")));
    assert_eq!(errors(Kind::Ignition, &alone, &Target::Unknown).len(), 1);
    assert_eq!(errors(Kind::Ignition, &alone, &flatcar()), [], "written to its own root");
}
