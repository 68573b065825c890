use super::*;

fn rendered(source: &str) -> Result<String, TemplateError> {
    Template::parse(source)?.render(&Words::specimen(), &Metadata::default())
}

#[test]
fn words_are_filled_in_and_shell_is_left_alone() {
    let source =
        "{{ base_url }}/i?mac={{ mac }}&uuid={{uuid}}&ip={{ ip }} $private_ipv4 ${mac} #{x";
    assert_eq!(
        rendered(source).unwrap(),
        "http://192.0.2.1/i?mac=52:54:00:00:00:01&uuid=11223344-5566-7788-99aa-bbccddeeff00\
         &ip=192.0.2.2 $private_ipv4 ${mac} #{x"
    );
}

#[test]
fn an_unknown_word_is_named_with_those_there_are() {
    let error = Template::parse("url={{ base_ulr }}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "has the unknown word \"base_ulr\"; the words are base_url, ip, mac, metadata, uuid"
    );
}

#[test]
fn what_would_fail_at_a_request_fails_at_parse() {
    for source in ["{{ mac", "{{ mac | shout }}", "{% if %}", "{{ mac() }}", "{{ 1 / 0 }}"] {
        let error = Template::parse(source).unwrap_err();
        assert!(matches!(error, TemplateError::Malformed { line: 1, .. }), "{source}: {error}");
    }
}

#[test]
fn a_machine_without_a_uuid_is_told_so_only_where_it_matters() {
    let mut words = Words::specimen();
    words.machine.uuid = None;
    let needs = Template::parse("u={{ uuid }}").unwrap();
    assert_eq!(needs.render(&words, &Metadata::default()), Err(TemplateError::NoUuid));
    let does_not = Template::parse("m={{ mac }}").unwrap();
    assert!(does_not.render(&words, &Metadata::default()).is_ok());
}

fn setting(metadata: &Metadata) -> Setting<'_> {
    Setting { group: "lab", profile: "coreos", metadata }
}

fn file(source: &str) -> Result<String, TemplateError> {
    let metadata = Metadata::of(&"a = \"it's \\\"x\\\"\"".parse().unwrap(), &toml::Table::new());
    let mut words = Words::specimen();
    let told = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    words.machine.labels = Some([told("serial", "S\n- 1\u{2028}"), told("rack\r", "r")].into());
    Template::parse_file(source)?.render_file(&words, &setting(&metadata))
}

#[test]
fn a_file_stays_what_it_is_but_for_its_words() {
    let source = "#!/bin/bash\r\nfor x in \"${arr[@]}\" ${#arr[@]}; do echo \\$x $private_ipv4 {# }\n\
                  {% raw %}docker ps --format '{{.Names}}' {% endraw %}\t#}\n\n";
    let expected = source.replace("{% raw %}", "").replace("{% endraw %}", "");
    assert_eq!(file(source).unwrap(), expected);
    assert_eq!(file("a").unwrap(), "a");
    assert_eq!(file("").unwrap(), "");
}

#[test]
fn a_file_has_more_words_and_filters() {
    for (source, expected) in [
        ("{{ group }} {{ profile }}", "lab coreos"),
        ("{{ serial }}|{{ label.serial }}", "S- 1|S- 1"),
        ("{% for name in label %}{{ name }} {% endfor %}", "serial "),
        ("{{ mac | replace(':', '-') }}", "52-54-00-00-00-01"),
        ("{{ 'AB' | lower }}", "ab"),
        ("{{ (mac | split(':'))[5] }}", "01"),
        ("{% for part in mac | split(':') %}{{ part }}{% endfor %}", "525400000001"),
        ("{{ metadata.a | sh }}", r#"'it'\''s "x"'"#),
        ("{{ metadata.a | yaml }}", r#""it's \"x\"""#),
        ("{{ metadata | json }}", r#"{"a": "it's \"x\""}"#),
        ("{% if label.rack is defined %}x{% endif %}", ""),
    ] {
        assert_eq!(file(source).unwrap(), expected, "{source}");
    }
}

#[test]
fn what_is_wrong_with_a_file_has_its_line_and_a_way_out() {
    for (source, line, said) in [
        ("a\n{{.Names}}", 2, "{% raw %}"),
        (
            "a\n{{ mac | shout }}",
            2,
            "the filters are json, lower, replace, sh, split, url, xml and yaml",
        ),
        ("a\nmca\n{{ mca }}", 3, "unknown word \"mca\""),
        ("a\n\n{{ metadata.b | json }}", 3, "metadata.b"),
        ("{% if label.z is defined %}{% endif %}\n\n{{ label.rack }}", 3, "label.rack"),
        ("{% if metadata.b is defined %}{% endif %}\n{{ label.rack }}", 2, "label.rack"),
    ] {
        let error = file(source).unwrap_err();
        assert!(error.to_string().contains(said), "{source}: {error}");
        assert_eq!(error.line(source), Some(line), "{source}: {error}");
    }
    let bare = Template::parse_file("x\n{{ serial }}").unwrap();
    let metadata = Metadata::default();
    let error = bare.render_file(&Words::specimen(), &setting(&metadata)).unwrap_err();
    assert!(error.to_string().contains("serial"), "{error}");
    assert_eq!(error.line("x\n{{ serial }}"), Some(2));
}

#[test]
fn a_template_knows_whom_it_is_the_same_for() {
    for (source, all, group) in [
        ("x {{ base_url }}", true, true),
        ("{{ metadata.x }}{{ group }}{{ profile }}", false, true),
        ("{% if label.x is defined %}{% endif %}", false, false),
        ("{{ ip }}", false, false),
    ] {
        let template = Template::parse_file(source).unwrap();
        assert_eq!((template.is_same_for_all(), template.is_same_for_group()), (all, group));
    }
    let template = Template::parse_file("{{ label.b }}{{ label.a.c }}").unwrap();
    assert_eq!(template.labels().collect::<Vec<_>>(), ["a.c", "b"]);
}

#[test]
fn a_token_is_part_of_every_url_of_ours() {
    let token = "00112233445566778899aabbccddeeff".parse().ok();
    let words = Words { token, ..Words::specimen() };
    let template = Template::parse("{{ base_url }}/x").unwrap();
    let rendered = template.render(&words, &Metadata::default()).unwrap();
    assert_eq!(rendered, "http://192.0.2.1/~00112233445566778899aabbccddeeff/x");
}

#[test]
fn a_groups_metadata_wins_key_by_key() {
    let profile = "a = 1\nt.x = \"p\"\nt.y = [true, 1.5]\nl = [1]\nd = 2016-10-01".parse().unwrap();
    let group = "t.x = \"g\"\nt.z.deep = \"new\"\nl = [2, 3]".parse().unwrap();
    let metadata = Metadata::of(&profile, &group);
    let source = "{{ metadata.a }} {{ metadata.t.x }} {{ metadata.t.y[1] }} {{ metadata.t.y[0] }} {{ metadata.t.z.deep }} \
                  {{ metadata.l[1] }} {{ metadata.d }} {% if metadata.q is defined %}q{% endif %}";
    let template = Template::parse(source).unwrap();
    let rendered = template.render(&Words::specimen(), &metadata).unwrap();
    assert_eq!(rendered, "1 g 1.5 true new 3 2016-10-01 ");
}

#[test]
fn metadata_that_is_nowhere_is_named() {
    let metadata = Metadata::of(&"a.b = 1".parse().unwrap(), &toml::Table::new());
    for (source, word) in [
        ("{{ metadata.a.b }}{{ metadata.a.c }}", "metadata.a.c"),
        ("{{ metadata.x.y }}", "metadata.x.y"),
        ("{{ metadata.z }}", "metadata.z"),
    ] {
        let error = Template::parse(source).unwrap().render(&Words::specimen(), &metadata);
        assert_eq!(error, Err(TemplateError::UnknownMetadata(word.to_owned())), "{source}");
    }
}
