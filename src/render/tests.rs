use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    catalog::{Field, Group, HandOff, Install, Pattern, Profile, Selector, Source},
    check::{Kind, Severity},
    machine::Machine,
    template::{Metadata, Words},
};

fn group() -> Group {
    let profile = Profile {
        name: "p".to_owned(),
        kernel: Source::Url("http://192.0.2.9/vmlinuz".to_owned()),
        chains: false,
        initrd: Vec::new(),
        args: Vec::new(),
        install: Install::Never,
        says_install: false,
        verify: false,
    };
    let metadata = Metadata::of(&"role = \"web\"".parse().unwrap(), &toml::Table::new());
    let (selector, hand_off) = (Selector::default(), HandOff::Silence);
    Group {
        name: "g".to_owned(),
        selector,
        profile: Arc::new(profile),
        metadata,
        hand_off,
        boot: Default::default(),
        every_machine: false,
    }
}

fn text(source: &str) -> ConfigText {
    ConfigText::template("/r/x.sh".to_owned(), (Kind::Script, Origin::Said), source).unwrap()
}

fn role<'a>(group: &'a Group, last: u32, labels: &[(&str, &str)], is_guest: bool) -> Role<'a> {
    let mac = format!("52:54:00:00:00:{last:02x}").parse().unwrap();
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let machine = Machine::told(mac, None, BTreeMap::from_iter(labels));
    let words = Words { machine, ..Words::specimen() };
    Role { group, name: mac.to_string(), words, is_guest }
}

#[test]
fn what_is_wrong_for_many_is_told_once() {
    let group = group();
    let roles: Vec<Role<'_>> = (0..50).map(|last| role(&group, last, &[], false)).collect();
    for (source, line, said) in [
        (" #!{{ mac }}\n", Some(1), "for 52:54:00:00:00:00 (group g) and 49 more: "),
        ("#!/bin/sh\n{{ metadata.rule }}\n", Some(2), "(group g): has \"metadata.rule\""),
        ("{% if mac %} #!{{ mac }}\nx{% endif %}", Some(1), "and 49 more: "),
        (
            "{% for x in [1, 2] %} #!{{ mac }}\n{% endfor %}",
            None,
            "and 49 more, in line 1 of what it becomes: ",
        ),
    ] {
        let findings = rehearse(&text(source), roles.iter());
        let [finding] = findings.as_slice() else { panic!("{source}: {findings:?}") };
        assert_eq!((finding.line, finding.severity), (line, Severity::Error), "{source}");
        assert!(finding.text.contains(said), "{source}: {}", finding.text);
    }
    assert_eq!(rehearse(&text("#!/bin/sh\n{{ mac }}\n"), roles.iter()), []);
}

#[test]
fn a_machine_that_is_made_up_tells_every_label_and_a_guest_only_its_own() {
    let group = group();
    let asks = text("#!/bin/sh\necho {{ label.rack | sh }}\n");
    assert_eq!(rehearse(&asks, [role(&group, 1, &[], false)].iter()), []);
    assert_eq!(rehearse(&asks, [role(&group, 1, &[("rack", "7")], true)].iter()), []);
    let findings = rehearse(&asks, [role(&group, 1, &[], true)].iter());
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.line, finding.severity), (Some(2), Severity::Warning));
    assert!(finding.text.contains("label.rack"), "{}", finding.text);
}

#[test]
fn a_text_with_a_fault_is_not_given_away() {
    let group = group();
    let source = "{{ label.first }}\necho\n";
    let bad = role(&group, 1, &[("first", " #!/bin/sh")], true);
    let good = role(&group, 1, &[("first", "#!/bin/sh")], true);
    assert!(matches!(text(source).render(&bad.words, &group), Err(Unfit::Fault(_))));
    assert_eq!(text(source).render(&good.words, &group).unwrap(), "#!/bin/sh\necho\n");
    let missing = ConfigText::missing("/r/x".to_owned(), "no such file".to_owned());
    let error = missing.render(&good.words, &group).unwrap_err();
    assert_eq!(error, Unfit::Missing("no such file".to_owned()));
}

#[test]
fn a_script_that_says_unquoted_what_a_machine_told_is_warned_of() {
    let group = group();
    let roles = [role(&group, 1, &[("serial", "7")], false), role(&group, 2, &[], true)];
    for (source, line) in [
        ("#!/bin/sh\necho {{ serial }}\n", Some(2)),
        ("#!/bin/sh\n{% for x in [1, 2, 3] %}echo {{ label.rack }}\n{% endfor %}", None),
    ] {
        let findings = rehearse(&text(source), roles[..1].iter());
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.line, finding.severity), (line, Severity::Warning), "{source}");
        assert!(finding.text.contains("write {{ … | sh }}"), "{}", finding.text);
    }
    for fine in ["{{ serial | sh }}", "{{ serial | json }}", "{{ mac }} {{ metadata.role }}"] {
        let fine = text(&format!("#!/bin/sh\necho {fine}\n"));
        assert_eq!(rehearse(&fine, roles[..1].iter()), []);
    }
}

#[test]
fn a_label_that_changes_how_a_text_is_built_is_an_error_with_its_filter() {
    let group = group();
    let roles = [role(&group, 1, &[("serial", "7")], false)];
    let found = |kind: Kind, source: &str| {
        let text = ConfigText::template("/r/x".to_owned(), (kind, Origin::Said), source).unwrap();
        let findings = rehearse(&text, roles.iter());
        let broken = |it: &&Finding| it.text.contains("no longer the same");
        findings.iter().find(broken).map(|it| (it.line, it.severity, it.text.clone()))
    };
    let ignition = |value: &str| {
        let file = format!("{{\"path\": \"/a\", \"contents\": {{\"source\":\n{value}}}}}");
        format!(
            "{{\"ignition\": {{\"version\": \"3.3.0\"}}, \"storage\": {{\"files\": [{file}]}}}}\n"
        )
    };
    let (inside, whole) = (r#""data:,{{ serial }}""#, r#"{{ ("data:," ~ serial) | json }}"#);
    let in_url = r#""data:,{{ serial | url }}""#;
    for (kind, wrong, line, filter, right) in [
        (Kind::Ignition, ignition(inside), 2, "| json", ignition(whole)),
        (Kind::Ignition, ignition(inside), 2, "| url", ignition(in_url)),
        (
            Kind::CloudInit,
            "#cloud-config\nhostname: {{ label.rack }}\n".to_owned(),
            2,
            "| yaml",
            "#cloud-config\nhostname: {{ label.rack | yaml }}\n".to_owned(),
        ),
        (
            Kind::CloudConfig,
            "#cloud-config\nhostname: '{{ serial }}'\n".to_owned(),
            2,
            "| yaml",
            "#cloud-config\nhostname: {{ serial | yaml }}\n".to_owned(),
        ),
        (Kind::Talos, "a: \"{{ serial }}\"\n".to_owned(), 1, "| yaml", "a: 1\n".to_owned()),
        (
            Kind::AutoYast,
            "<profile>\n<a>{{ serial }}</a></profile>\n".to_owned(),
            2,
            "| xml",
            "<profile>\n<a b=\"{{ serial | xml }}\"/></profile>\n".to_owned(),
        ),
        (
            Kind::Ipxe,
            "#!ipxe\n# {{ serial }}\nchain http://a/{{ serial }}\n".to_owned(),
            3,
            "| url",
            "#!ipxe\n# {{ serial }}\nchain http://a/{{ serial | url }}\n".to_owned(),
        ),
        (
            Kind::Kickstart,
            "network --hostname={{ serial }}\n".to_owned(),
            1,
            "| sh",
            "network --hostname={{ serial | sh }}\n%post\necho {{ serial }}\n%end\n".to_owned(),
        ),
        (
            Kind::Preseed,
            "d-i a/b string {{ serial }}\nd-i c/d string e\n".to_owned(),
            1,
            "| url",
            "d-i a/b string {{ serial | url }}\nd-i c/d string e\n".to_owned(),
        ),
        (
            Kind::Preseed,
            "d-i preseed/late_command string echo {{ serial }} >/target/x\n".to_owned(),
            1,
            "| url",
            "d-i preseed/late_command string echo {{ serial | sh }} >/target/x\n".to_owned(),
        ),
    ] {
        let Some((at, severity, said)) = found(kind, &wrong) else { panic!("{kind}: {wrong}") };
        assert_eq!((at, severity), (Some(line), Severity::Error), "{kind}: {said}");
        assert!(said.contains(filter), "{kind}: {said}");
        assert_eq!(found(kind, &right), None, "{kind}: {right}");
    }
    for own in
        ["a: {{ metadata.role }} {{ mac }}\n", "a:\n{% for x in [1] %}- {{ x }}\n{% endfor %}"]
    {
        assert_eq!(found(Kind::Yaml, own), None, "{own}");
    }
}

#[test]
fn a_label_that_the_selector_pins_is_no_strangers() {
    let mut group = group();
    let field = Field::Label("rack".to_owned());
    let pins = |value: &str| {
        let pattern = Pattern::parse(&field, value).unwrap();
        Selector::new([(field.clone(), vec![pattern])].into_iter().collect())
    };
    for (value, is_open) in [("r1", false), ("r*", true)] {
        group.selector = pins(value);
        let roles = [role(&group, 1, &[("rack", "r1")], false)];
        let said = (Kind::Yaml, Origin::Said);
        let text = ConfigText::template("/r/x".to_owned(), said, "a: {{ label.rack }}\n").unwrap();
        assert_eq!(!rehearse(&text, roles.iter()).is_empty(), is_open, "{value}");
    }
}

#[test]
fn what_a_guessed_reader_would_refuse_is_a_warning() {
    let group = group();
    let roles = [role(&group, 1, &[], false)];
    let severity = |origin: Origin, kind: Kind, bytes: &[u8]| {
        let text = ConfigText::plain("/r/x".to_owned(), (kind, origin), bytes.to_vec());
        rehearse(&text, roles.iter()).iter().map(|it| it.severity).max()
    };
    let named = |is_strict| Origin::Named { key: "ks".to_owned(), is_strict };
    let broken = b"a: [\n";
    for (origin, expected) in [
        (Origin::Said, Severity::Error),
        (named(true), Severity::Error),
        (named(false), Severity::Warning),
        (Origin::Looks, Severity::Warning),
    ] {
        assert_eq!(severity(origin.clone(), Kind::Yaml, broken), Some(expected), "{origin}");
    }
    assert_eq!(severity(Origin::Looks, Kind::Ignition, b"{"), Some(Severity::Error));
    let latin = b"# caf\xe9\nd-i a/b string c\n";
    assert_eq!(severity(named(true), Kind::Preseed, latin), None);
}
