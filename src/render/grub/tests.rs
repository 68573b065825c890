use std::{collections::BTreeSet, sync::Arc};

use super::*;
use crate::{
    catalog::{Install, Profile, Selector},
    path::RepositoryPath,
    template::{Metadata, Template},
};

fn source(path: &str) -> Source {
    match path.strip_prefix('/') {
        Some(path) => Source::Repository(RepositoryPath::parse(path.as_bytes()).unwrap()),
        None => Source::Url(path.to_owned()),
    }
}

fn config(kernel: &str, initrd: &[&str], args: &[&str]) -> Result<String, Unbootable> {
    let profile = Profile {
        name: "core'os".to_owned(),
        kernel: source(kernel),
        chains: false,
        initrd: initrd.iter().map(|path| source(path).into()).collect(),
        args: args.iter().map(|arg| Template::parse(arg).unwrap()).collect(),
        install: Install::Never,
        says_install: false,
        verify: false,
    };
    let group = Group {
        name: "lab".to_owned(),
        selector: Selector::default(),
        profile: Arc::new(profile),
        metadata: Metadata::default(),
        hand_off: HandOff::Silence,
        boot: Default::default(),
        every_machine: false,
    };
    machine_config(&group, &Words::specimen())
}

fn machine(labels: Option<&[(&str, &str)]>) -> Machine {
    let mac = "52:54:00:12:34:56".parse().unwrap();
    let uuid = "564da6d2-1706-6343-dc2d-0123456789ab".parse().ok();
    let text = |text: &&str| (*text).to_owned();
    let labels =
        labels.map(|labels| labels.iter().map(|(name, value)| (text(name), text(value))).collect());
    Machine { labels, ..Machine::heard(mac, uuid, None) }
}

#[test]
fn a_kernel_is_loaded_from_the_server_that_grub_came_from() {
    let config = config(
        "/a/vm linuz",
        &["/a/b.img", "http://192.0.2.9:8080/c.img"],
        &["x={{ base_url }}/y", "mac={{ mac }}"],
    )
    .unwrap();
    for line in [
        "linux '/a/vm linuz' 'x=http://192.0.2.1/y' 'mac=52:54:00:00:00:01'",
        "initrd '/a/b.img' '(http,192.0.2.9:8080)/c.img'",
        "if [ $? = 0 ]; then boot; fi",
        "echo 'bootbox: 52:54:00:00:00:01 boots profile core'\\''os (group lab), try' \
         \"$bootbox_try of 10\"",
    ] {
        assert!(config.lines().any(|found| found == line), "{line}\n{config}");
    }
    assert!(config.ends_with("\nexit 1\n"));
}

#[test]
fn an_argument_reaches_the_kernel_as_ipxe_passes_it_or_not_at_all() {
    for (arg, words) in [
        ("quiet  splash", &["quiet", "splash"][..]),
        ("a;b&&c|d#e", &["a;b&&c|d#e"]),
        ("x=$y", &["x=$y"]),
        ("dyndbg=\"file x +p\" y", &["dyndbg=file x +p", "y"]),
        ("\"dyndbg=file x +p\"", &["dyndbg=file x +p"]),
        ("x=\"y\"", &["x=y"]),
        ("", &[]),
    ] {
        assert_eq!(kernel_words(arg).unwrap(), words, "{arg}");
    }
    for arg in ["it's", "a\\b", "x=${net0/mac}", "x=a\"b\"", "x=\"a", "\"a\"b\""] {
        let refused = kernel_words(arg).unwrap_err().to_string();
        assert!(refused.ends_with(arg), "{refused}");
    }
    let url = "https://192.0.2.9/x";
    assert_eq!(config(url, &[], &[]), Err(Unbootable::Url(url.to_owned())));
    let unknown = config("/x", &[], &["uuid={{ uuid }}", "it's"]);
    assert!(matches!(unknown, Err(Unbootable::Argument { .. })), "{unknown:?}");
}

/// The words of a line as GRUB's shell splits it; it must have no other command in it.
fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut chars) = (vec![String::new()], line.chars());
    while let Some(c) = chars.next() {
        let word = words.last_mut().unwrap();
        match c {
            '\'' => word.extend(chars.by_ref().take_while(|&c| c != '\'')),
            '\\' => word.extend(chars.next()),
            ' ' => words.push(String::new()),
            ';' | '|' | '&' | '<' | '>' | '{' | '}' | '$' | '"' | '#' | '`' => {
                panic!("{c} in {line}")
            }
            c => word.push(c),
        }
    }
    words
}

#[test]
fn nothing_that_is_told_can_become_a_command() {
    let evil = "a'; boot\nlinux $(x) `y` \"z\" # && { \u{1b}[2J \\";
    let told = [("platform", "efi"), ("serial", evil)];
    for config in [
        notice_config(evil),
        disk_config(evil, HandOff::Exit),
        hold_config(&machine(Some(&told)), evil),
        wait_config(&machine(Some(&told)), evil),
    ] {
        let lines: Vec<&str> = config.lines().collect();
        assert_eq!(words_of(lines[1]), ["echo", "bootbox: a'; boot"]);
        let second = "bootbox: linux $(x) `y` \"z\" # && { [2J \\";
        assert_eq!(words_of(lines[2]), ["echo", second]);
        if let Some(question) = lines.iter().find(|line| line.starts_with("source ")) {
            let name = &words_of(question)[1];
            let told = ";serial=a'; bootlinux $(x) `y` \"z\" # && { [2J \\;platform=efi";
            assert!(name.ends_with(told), "{name}");
        }
    }
}

#[test]
fn a_held_machine_asks_again_by_all_that_it_told_and_never_gets_to_its_disk() {
    let labels = [("platform", "efi"), ("serial", "it's")];
    let config = hold_config(&machine(Some(&labels)), "held");
    let question = "source '/grub.cfg;mac=52:54:00:12:34:56;\
                    uuid=564da6d2-1706-6343-dc2d-0123456789ab;serial=it'\\''s;platform=efi'";
    assert!(config.contains(&format!("\nsleep 30\n{question}\ndone\n")), "{config}");
    for word in ["exit", "chainloader", "\nboot"] {
        assert!(!config.contains(word), "{config}");
    }
    let long = "x".repeat(250);
    for labels in [None, Some(&[("platform", "efi"), ("serial", &*long)][..])] {
        assert_eq!(
            question_of(labels),
            "/grub.cfg;mac=52:54:00:12:34:56;uuid=564da6d2-1706-6343-dc2d-0123456789ab",
            "the UUID tells of its other card"
        );
    }
}

#[test]
fn who_waits_tells_in_grubs_words_what_ipxe_calls_otherwise() {
    let told = [("arch", "loong64"), ("product", "pcbios"), ("platform", "pcbios")];
    let question = question_of(Some(&told));
    assert!(question.ends_with(";arch=loongarch64;product=pcbios;platform=pc"), "{question}");
}

fn question_of(labels: Option<&[(&str, &str)]>) -> String {
    question(&machine(labels))
}

#[test]
fn a_disk_config_boots_nothing_but_the_disk() {
    assert!(disk_config("x", HandOff::Exit).ends_with("\nexit 1\n"));
    assert!(!disk_config("x", HandOff::Exit).contains("chainloader"));
    for hand_off in [HandOff::Silence, HandOff::Sanboot] {
        let config = disk_config("installed", hand_off);
        assert!(config.contains("if chainloader $bootbox_file; then boot; fi\n"), "{config}");
        for word in ["linux ", "source", "configfile"] {
            assert!(!config.contains(word), "{config}");
        }
    }
}

#[test]
fn the_first_config_asks_with_the_card_of_the_name_or_what_grub_knows() {
    let mac = "52:54:00:12:34:56".parse().ok();
    assert!(first_config(mac).contains("\nset bootbox_mac=52:54:00:12:34:56\n"));
    let config = first_config(None);
    assert!(config.contains("\nset bootbox_mac=$net_default_mac\n"));
    let short = "/grub.cfg;mac=$bootbox_mac;uuid=$bootbox_uuid";
    assert!(config.contains(&format!("then source \"{short}\"; fi\n")), "{config}");
    let long = config.lines().find(|line| line.starts_with("source "));
    let long = long.unwrap_or_default();
    assert!(long.ends_with(";platform=$grub_platform\""), "cut, it is not whole: {long}");
}

/// The commands of a config, without the words of GRUB's own grammar.
fn commands(config: &str) -> BTreeSet<String> {
    let mut commands = BTreeSet::new();
    for line in config.lines() {
        let (mut pieces, mut quote) = (vec![String::new()], None);
        for c in line.chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (';', None) => pieces.push(String::new()),
                (_, Some(_)) => {}
                (c, None) => pieces.last_mut().unwrap().push(c),
            }
        }
        for piece in pieces {
            let grammar = ["if", "then", "else", "while", "do"];
            let command = piece.split_whitespace().find(|word| !grammar.contains(word));
            commands.extend(command.map(str::to_owned));
        }
    }
    commands
}

#[test]
fn our_configs_use_only_what_every_signed_grub_has_built_in() {
    let known = [
        "[",
        "boot",
        "break",
        "chainloader",
        "done",
        "echo",
        "exit",
        "fi",
        "for",
        "initrd",
        "linux",
        "search",
        "set",
        "sleep",
        "source",
    ];
    let told = [("platform", "efi")];
    for config in [
        config("/k", &["/i"], &["quiet"]).unwrap(),
        notice_config("x"),
        disk_config("x", HandOff::Silence),
        disk_config("x", HandOff::Exit),
        hold_config(&machine(Some(&told)), "x"),
        wait_config(&machine(None), "x"),
    ] {
        let foreign: Vec<String> =
            commands(&config).into_iter().filter(|it| !known.contains(&&**it)).collect();
        assert!(foreign.is_empty(), "{foreign:?} in\n{config}");
    }
    let first = first_config(None);
    let mut used = commands(&first);
    assert!(used.remove("smbios"));
    used.retain(|command| !known.contains(&&**command));
    assert!(used.is_empty(), "{used:?}");
    for name in ["uuid", "manufacturer", "product", "serial"] {
        let (empty, told) =
            (format!("set bootbox_{name}=\nsmbios "), format!("--set bootbox_{name}\n"));
        assert!(first.contains(&empty) && first.contains(&told), "without smbios it is empty");
    }
}

#[test]
fn who_waits_does_not_come_to_the_disk_by_the_first_config() {
    let config = first_config(None);
    let (_, end) = config.split_once("\ndone\n").unwrap();
    let guarded = end.strip_prefix("if [ \"$bootbox_waits\" != 1 ]; then\n").unwrap();
    assert!(guarded.ends_with("exit 1\nfi\n"), "{config}");
    let waits = hold_config(&machine(None), "held");
    assert!(waits.contains("\nset bootbox_waits=1\n") && waits.contains("while [ 1 = 1 ]; do\n"));
}
