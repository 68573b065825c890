use std::path::Path;

use super::*;
use crate::{catalog::Install, machine::Machine};

const SHIPPED: &str = include_str!("../../etc/bootbox.toml");

const POST: &str = r#"
[network]
interfaces = ["eth1"]
[http]
port = 8080
[repository]
root = "/srv/boot"
[firmware]
dir = "/usr/lib/ipxe"
[[profile]]
name = "coreos"
kernel = "/coreos/1122.2.0/coreos_production_pxe.vmlinuz"
initrd = ["/coreos/1122.2.0/coreos_production_pxe_image.cpio.gz"]
args = ["coreos.config.url={{ base_url }}/coreos/ignition.json", "coreos.first_boot=1"]
[[group]]
name = "lab"
profile = "coreos"
[group.selector]
mac = "52:54:00:12:34:56"
"#;

pub(super) fn problems(text: &str) -> String {
    Config::parse(text, "b.toml").unwrap_err().to_string()
}

/// The post's config with one piece replaced.
pub(super) fn post(from: &str, to: &str) -> String {
    assert_eq!(POST.matches(from).count(), 1, "{from}");
    POST.replace(from, to)
}

#[test]
fn the_posts_config_is_what_it_says() {
    let config = Config::parse(POST, "b.toml").unwrap();
    let [interface] = config.interfaces.as_slice() else { panic!("one") };
    assert_eq!((&*interface.name, interface.place.to_string()), ("eth1", "b.toml:3".to_owned()));
    assert_eq!(config.http_port, 8080);
    assert_eq!(config.repository.path, Path::new("/srv/boot"));
    assert_eq!(config.repository.place.to_string(), "b.toml:7");
    assert_eq!(config.boot_programs.unwrap().place.line, Some(9));
    assert_eq!(
        config.files.iter().filter_map(|file| file.place.line).collect::<Vec<_>>(),
        [12, 13]
    );
    let machine = Machine::heard("52:54:00:12:34:56".parse().unwrap(), None, None);
    assert_eq!(config.catalog.select(&machine).unwrap().profile.name, "coreos");
}

#[test]
fn without_a_config_no_machine_is_answered() {
    let config = Config::built_in();
    assert!(config.catalog.groups().is_empty());
    assert_eq!(config.http_port, 80);
    assert_eq!(config.repository.path, Path::new("/var/lib/bootbox"));
    assert_eq!(config.repository.place.line, None);
    assert_eq!(config.answer_router_solicitations, Solicitations::Auto);
}

#[test]
fn a_uuid_that_many_boards_have_selects_no_machine() {
    let uuid = "uuid = \"00020003-0004-0005-0006-000700080009\"";
    let said = "b.toml:19: \"00020003-0004-0005-0006-000700080009\" is what board makers leave on \
                many boards, and names no machine; select by mac";
    assert_eq!(problems(&post("mac = \"52:54:00:12:34:56\"", uuid)), said);
}

#[test]
fn each_mistake_names_its_line_and_what_to_write() {
    for (from, to, said) in [
        (
            "port = 8080",
            "prt = 8080",
            "b.toml:5: unknown field `prt`, expected one of `port`, `names`, `config-access`",
        ),
        (
            "port = 8080",
            "port = \"80\"",
            "b.toml:5: port is the text \"80\"; write a whole number from 0 to 65535",
        ),
        (
            "port = 8080",
            "port = 0",
            "b.toml:5: port 0 cannot be asked for; write the TCP port, 80 by default",
        ),
        (
            "\"/srv/boot\"",
            "\"srv\"",
            "b.toml:7: \"srv\" depends on the working directory; write it from / on",
        ),
        ("[\"eth1\"]", "[\"eth1\", \"eth1\"]", "b.toml:3: interface eth1 is listed twice"),
        (
            "[\"eth1\"]",
            "[\"a b\"]",
            "b.toml:3: \"a b\" is no interface; write one that `ip link` shows",
        ),
        (
            "\"/coreos/1122.2.0/coreos_production_pxe.vmlinuz\"",
            "\"vmlinuz\"",
            "b.toml:12: \"vmlinuz\" is neither a path nor a URL; write a path in the repository from / on, or a URL",
        ),
        (
            "\"/coreos/1122.2.0/coreos_production_pxe.vmlinuz\"",
            "\"/../vmlinuz\"",
            "b.toml:12: \"/../vmlinuz\" climbs with \"..\"",
        ),
        (
            "{{ base_url }}",
            "{{ base_ulr }}",
            "b.toml:14: \"coreos.config.url={{ base_ulr }}/coreos/ignition.json\" has the unknown word \
          \"base_ulr\"; the words are base_url, ip, mac, metadata, uuid",
        ),
        (
            "coreos.first_boot=1",
            "a || b",
            "b.toml:14: \"a || b\": iPXE takes \"||\" for the end of the command; leave it out",
        ),
        (
            "profile = \"coreos\"",
            "profile = \"coros\"",
            "b.toml:17: no profile is named \"coros\"; write one of coreos",
        ),
        (
            "52:54:00:12:34:56",
            "52:54:00:12:34",
            "b.toml:19: \"52:54:00:12:34\" is not a hardware address; write \
          it like \"52:54:00:12:34:56\"",
        ),
        (
            "mac =",
            "macs =",
            "b.toml:19: unknown field `macs`, expected one of `mac`, `uuid`, `serial`, `arch`, \
             `firmware`, `manufacturer`, `product`, `label`, `not`",
        ),
        (
            "\"52:54:00:12:34:56\"",
            "7",
            "b.toml:19: mac is the number 7; write a text or a list of texts",
        ),
        (
            "\"52:54:00:12:34:56\"",
            "[]",
            "b.toml:19: mac has no value, so no machine matches; leave it out",
        ),
        (
            "\"52:54:00:12:34:56\"",
            "[\n\"52:*\",\n\"56:x*\"]",
            "b.toml:21: \"56:x*\" is no part of a hardware address; write it like \"52:54:00:*\"",
        ),
        (
            "mac = \"52:54:00:12:34:56\"",
            "firmware = \"efi\"",
            "b.toml:19: \"efi\" is no firmware; write \"bios\" or \"uefi\"",
        ),
        (
            "mac =",
            "label.mac =",
            "b.toml:19: \"mac\" is no label; write mac = … without \"label.\"",
        ),
        (
            "name = \"lab\"",
            "name = \"the lab\"",
            "b.toml:16: \"the lab\" is no name for a group; write letters, \
          digits, \".\", \"_\" and \"-\"",
        ),
        ("name = \"lab\"", "", "b.toml:15: missing field `name`; add it"),
    ] {
        assert_eq!(problems(&post(from, to)), said);
    }
}

#[test]
fn what_an_example_leaves_to_the_operator_is_asked_for_with_the_rest() {
    let text = |name: &str, text: &str| Text { name: name.to_owned(), text: text.to_owned() };
    let main = post("52:54:00:12:34:56", "CHANGE-ME").replace("\"/coreos/1122", "\"coreos/1122")
        + "[group.metadata]\n# CHANGE-ME in a comment asks for nothing\n\
           rancher.roles = [\"etcd\", \"CHANGE-ME\"]\nurl = \"http://CHANGE-ME/\"\n";
    let beside = "[[profile]]\nname = \"unused\"\nkernel = \"/k\"\nmetadata.x = \"CHANGE-ME\"\n";
    let said = Config::assemble(&text("b.toml", &main), &[text("g/a.toml", beside)]).unwrap_err();
    assert_eq!(
        said.to_string(),
        "b.toml:12: \"coreos/1122.2.0/coreos_production_pxe.vmlinuz\" is neither a path nor a URL; write \
         a path in the repository from / on, or a URL\n\
         b.toml:13: \"coreos/1122.2.0/coreos_production_pxe_image.cpio.gz\" is neither a path nor a URL; \
         write a path in the repository from / on, or a URL\n\
         b.toml:19: group.selector.mac is still \"CHANGE-ME\"; write your own value\n\
         b.toml:22: group.metadata.rancher.roles is still \"CHANGE-ME\"; write your own value\n\
         b.toml:23: group.metadata.url is still \"http://CHANGE-ME/\"; write your own value\n\
         g/a.toml:4: profile.metadata.x is still \"CHANGE-ME\"; write your own value"
    );
}

#[test]
fn a_socket_is_found_in_a_config_that_is_wrong_elsewhere() {
    let socket = |text: String| {
        Config::control_socket(&Text { name: "b.toml".to_owned(), text })
            .map(|socket| socket.path)
            .map_err(|error| error.to_string())
    };
    let broken = POST.replace("kernel", "kernl");
    assert_eq!(socket(broken.clone()).unwrap(), Path::new("/run/bootbox/control.sock"));
    let broken = format!("[control]\nsocket = \"/run/b\"\n{broken}");
    assert_eq!(socket(broken).unwrap(), Path::new("/run/b"));
    let wrong = socket("[control]\nsokcet = \"/run/b\"\n".to_owned()).unwrap_err();
    assert_eq!(wrong, "b.toml:2: unknown field `sokcet`, expected `socket`");
    for (path, said) in [
        ("run/b", "\"run/b\" depends on the working directory; write it from / on"),
        ("/run/", "\"/run/\" is no file; write \"/run/bootbox/control.sock\""),
    ] {
        let text = format!("[control]\nsocket = {path:?}\n");
        let said = format!("b.toml:2: {said}");
        assert_eq!(problems(&text), said);
        assert_eq!(socket(text).unwrap_err(), said);
    }
    let longest = format!("/{}", "b".repeat(106));
    assert_eq!(socket(format!("control.socket = {longest:?}")).unwrap(), Path::new(&longest));
    let wrong = socket(format!("control.socket = \"{longest}b\"")).unwrap_err();
    assert!(wrong.starts_with("b.toml:1: ") && wrong.contains("has 108 bytes"), "{wrong}");
}

#[test]
fn a_socket_is_found_in_a_file_that_is_no_toml() {
    for (text, path, said) in [
        ("[[profile\nname =\n[control]\nsocket = \"/run/b\"\n", "/run/b", "from line 4)"),
        ("control.socket = \"/run/b\"\nx = yes\n[[group]]\n", "/run/b", "from line 1)"),
        ("control = { socket = \"/run/b\" } # x\n[a\n", "/run/b", "from line 1)"),
        ("[[group]]\nsocket = \"/run/b\"\nx =\n", "/run/bootbox/control.sock", "the default"),
        ("[control]\nsocket = \"/run/b\n", "/run/bootbox/control.sock", "the default"),
    ] {
        let text = Text { name: "b.toml".to_owned(), text: text.to_owned() };
        let socket = Config::control_socket(&text).unwrap();
        assert_eq!(socket.path, Path::new(path), "{}", text.text);
        let note = socket.note.unwrap();
        assert!(note.starts_with("b.toml:") && note.contains(said), "{note}");
    }
}

#[test]
fn each_mistake_about_disks_does_too() {
    for (from, to, said) in [
        (
            "coreos.first_boot=1\"]",
            "x\"]\ninstall = \"always\"",
            "b.toml:15: \"always\" installs at every network boot, whatever is on the disk; where that \
             is meant, say it twice: add allow-always = true to [install]",
        ),
        (
            "[firmware]",
            "[install]\nledger = \"/srv/boot/ledger.redb\"\n[firmware]",
            "b.toml:9: \"/srv/boot/ledger.redb\" lies below [repository] root, which anyone may read; \
             write a path outside of it",
        ),
        (
            "[firmware]",
            "[install]\nattempts = 0\n[firmware]",
            "b.toml:9: 0 attempts; write a number from 1 to 100",
        ),
    ] {
        assert_eq!(problems(&post(from, to)), said);
    }
}

#[test]
fn proof_is_asked_for_only_where_a_keyring_gives_it() {
    for (from, to, said) in [
        (
            "name = \"coreos\"",
            "name = \"coreos\"\nverify = true",
            "b.toml:12: verify = true needs a keyring; name the signers' OpenPGP certificates in \
             [repository] keyring",
        ),
        (
            "root = \"/srv/boot\"",
            "root = \"/srv/boot\"\nkeyring = \"keys.asc\"",
            "b.toml:8: \"keys.asc\" depends on the working directory; write it from / on",
        ),
    ] {
        assert_eq!(problems(&post(from, to)), said);
    }
    let text = post("\"/srv/boot\"", "\"/srv/boot\"\nkeyring = \"/etc/keys.asc\"");
    let config = Config::parse(
        &text.replace("\"coreos\"\nkernel", "\"coreos\"\nverify = true\nkernel"),
        "b.toml",
    );
    let config = config.unwrap();
    assert_eq!(config.keyring.unwrap().place.line, Some(8));
    assert!(config.catalog.groups()[0].profile.verify);
}

#[test]
fn every_problem_is_reported_in_the_order_of_the_file() {
    let text = post("port = 8080", "port = 0").replace("\"coreos\"\n[group", "\"x\"\n[group");
    let said = problems(&text);
    let lines: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["b.toml:5", "b.toml:17"]);
}

#[test]
fn two_groups_that_contradict_each_other_are_refused() {
    let text = format!(
        "{POST}[[profile]]\nname = \"ram\"\nkernel = \"/k\"\n[[group]]\nname = \"too\"\nprofile = \"ram\"\n\
         selector.mac = \"52-54-00-12-34-56\"\n"
    );
    assert_eq!(
        problems(&text),
        "b.toml:24: a machine can be in group \"too\" and in group \"lab\", which boots it otherwise; \
         make one selector more specific"
    );
}

#[test]
fn files_beside_the_config_add_profiles_and_groups() {
    let text = |name: &str, text: &str| Text { name: name.to_owned(), text: text.to_owned() };
    let main = text("b.toml", POST);
    let a = "[[group]]\nname = \"a\"\nprofile = \"ram\"\nselector.arch = \"i386\"\n";
    let b =
        "# ram\n[[profile]]\nname = \"ram\"\nkernel = \"/k\"\nargs = [\"x={{ metadata.x }}\"]\n";
    let with =
        |a: &str, b: &str| Config::assemble(&main, &[text("g/a.toml", a), text("g/b.toml", b)]);
    let b = format!("{b}metadata.x = 1\n");
    let config = with(a, &b).unwrap();
    assert_eq!(config.catalog.groups().len(), 2);
    assert_eq!(config.files.last().unwrap().place.to_string(), "g/b.toml:4");

    let again = a.replace("\"a\"", "\"lab\"").replace("\"ram\"", "\"rom\"");
    let said = with(&again, &b.replace("ram\"", "coreos\"").replace("x = 1", "y = 1"));
    assert_eq!(
        said.unwrap_err().to_string(),
        "g/a.toml:2: there is a group \"lab\" already, at b.toml:16; names are unique\n\
         g/b.toml:3: there is a profile \"coreos\" already, at b.toml:11; names are unique"
    );
    let said = with(a, &b.replace("x = 1", "y = 1")).unwrap_err().to_string();
    assert!(said.starts_with("g/b.toml:5: ") && said.contains("group \"a\""), "{said}");
    let said = with(&format!("[network]\n{a}"), "x").unwrap_err().to_string();
    let lines: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(lines, ["g/a.toml:1", "g/b.toml:1"]);
    let tie = format!("{a}[[group]]\nname = \"b\"\nprofile = \"coreos\"\nselector.arch = \"i*\"\n");
    let tie = with(&tie.replace("i386", "?386"), &b).unwrap_err().to_string();
    assert!(tie.starts_with("g/a.toml:6: a machine can be in group \"b\" and in"), "{tie}");
}

#[test]
fn metadata_is_looked_at_for_every_group_of_the_profile() {
    let more = "[group.metadata]\nrole = \"db\"\n[[group]]\nname = \"two\"\nprofile = \"coreos\"\n";
    let post = post("coreos.first_boot=1", "role={{ metadata.role }}") + more;
    assert_eq!(
        problems(&post),
        "b.toml:14: \"role={{ metadata.role }}\", for group \"two\", has \"metadata.role\", and neither the \
         group nor the profile has it; add it"
    );
    let mended = format!("{post}[group.metadata]\nrole = \"web\"\n");
    Config::parse(&mended, "b.toml").unwrap();
    let said = problems(&mended.replace("\"web\"", "\"a\\nshell\""));
    assert!(said.starts_with("b.toml:14: ") && said.contains("control character"), "{said}");
}

#[test]
fn the_shipped_config_shows_the_defaults() {
    let shipped: toml::Table = SHIPPED.parse().unwrap();
    let defaults = toml::Table::try_from(shape::File::default()).unwrap();
    for (name, table) in &defaults {
        match name.as_str() {
            "group" | "machine" | "profile" | "template" => {
                assert!(!shipped.contains_key(name), "no machine by default")
            }
            _ => assert_eq!(shipped.get(name), Some(table), "[{name}]"),
        }
    }
    Config::parse(SHIPPED, "etc/bootbox.toml").unwrap();
}

#[test]
fn the_shipped_config_shows_every_key() {
    let is_example = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let examples: String = SHIPPED
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| is_example(rest)).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    Config::parse(&examples, "etc/bootbox.toml").unwrap();
    let shown: toml::Table = examples.parse().unwrap();
    let file: shape::File = toml::from_str(&examples).unwrap();
    // What serde writes has every key that is not absent, so nothing may be absent in the example.
    assert_eq!(toml::Table::try_from(&file).unwrap(), shown);
    let selector = toml::Table::try_from(&file.group[0].selector).unwrap();
    assert_eq!(selector.len(), 9);
    let profile = toml::Table::try_from(&file.profile[0]).unwrap();
    assert_eq!(profile.len(), 7, "all but chain, which the next one has");
    assert!(file.profile[1].chain.is_some());
    assert!(file.firmware.dir.is_some() && !file.group[0].selector.label.is_empty());
}

#[test]
fn a_profile_installs_when_it_says_so_or_its_arguments_do() {
    let install = |text: &str| {
        let config = Config::parse(text, "b.toml").unwrap();
        let profile = &config.catalog.groups()[0].profile;
        (profile.install, profile.says_install)
    };
    assert_eq!(install(POST), (Install::Never, false));
    let args = "cloud-config-url={{ base_url }}/coreos/\"]";
    let script = post("coreos.first_boot=1\"]", args);
    assert_eq!(install(&script), (Install::Once, false));
    let says = format!("{args}\ninstall = \"never\"");
    assert_eq!(install(&post("coreos.first_boot=1\"]", &says)), (Install::Never, true));
    let always = says.replace("never", "always");
    let always = post("coreos.first_boot=1\"]", &always) + "[install]\nallow-always = true\n";
    assert_eq!(install(&always), (Install::Always, true));
}

#[test]
fn an_installer_in_metadata_must_be_said() {
    let text = post("coreos.first_boot=1", "{{ metadata.more }}")
        + "[group.metadata]\nmore = \"autoinstall\"\n";
    assert_eq!(
        problems(&text),
        "b.toml:14: \"{{ metadata.more }}\", for group \"lab\", becomes \"autoinstall\": that installs, \
         and profile coreos does not say so; write install = \"once\" there"
    );
    let said = text.replace("initrd =", "install = \"once\"\ninitrd =");
    Config::parse(&said, "b.toml").unwrap();
}

#[test]
fn all_that_does_not_fit_is_told_in_one_round() {
    let text = r#"
[network]
interfaces = "eth1"
mode = "watch"
reply-delay-ms = 10001
[http]
prt = 80
[install]
allow-always = "yes"
[[profile]]
name = "a"
kernl = "/k"
args = ["{{ base_ulr }}"]
[[profile]]
name = "b"
kernel = 5
[[group]]
name = "g"
profile = "b"
selector.mac = 7
"#;
    let said = problems(text);
    let expected = [
        "b.toml:3: interfaces is the text \"eth1\"; write a list in brackets",
        "b.toml:4: \"watch\" is no value of mode; write \"observe\" or \"serve\"",
        "b.toml:5: 10001 ms; write a number from 0 to 10000",
        "b.toml:7: unknown field `prt`, expected one of `port`, `names`, `config-access`",
        "b.toml:9: allow-always is the text \"yes\"; write true or false",
        "b.toml:12: unknown field `kernl`",
        "b.toml:16: kernel is the number 5; write a text in double quotes",
        "b.toml:20: mac is the number 7; write a text or a list of texts",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, words) in lines.iter().zip(expected) {
        assert!(line.starts_with(words), "{line}\n{words}");
    }
}

#[test]
fn a_single_bracket_where_two_belong_is_told_as_that() {
    let text = "[profile]\nname = \"a\"\nkernel = \"/k\"\n[[network]]\n";
    assert_eq!(
        problems(text),
        "b.toml:1: profile is a table; write [[profile]] with two brackets before each of them\n\
         b.toml:4: network stands in two brackets; write [network], once"
    );
}

#[test]
fn what_is_no_toml_is_told_once_a_line() {
    let said = problems("[network\ninterfaces = [\"eth1\"]\n[http]\nport = = 80\n");
    assert!(said.starts_with("b.toml:1: ") && said.contains("\nb.toml:4: "), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
}

#[test]
fn uuids_that_name_no_machine_are_listed_and_not_selected_by() {
    let uuid = "564da6d2-1706-6343-dc2d-0123456789ab";
    let text = format!("install.shared-uuids = [\"{uuid}\"]\n");
    let config = Config::parse(&text, "b.toml").unwrap();
    assert!(config.catalog.shared_uuids().contains(&uuid.parse().unwrap()));
    let wrong = "install.shared-uuids = [\"564d\"]";
    let said = Config::parse(wrong, "b.toml").unwrap_err().to_string();
    assert!(said.contains("b.toml:1: \"564d\" is not a machine's UUID"), "{said}");
    let group = format!(
        "{text}[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\n\
         profile = \"p\"\nselector.uuid = \"{uuid}\"\n"
    );
    let said = Config::parse(&group, "b.toml").unwrap_err().to_string();
    assert!(said.contains("is in [install] shared-uuids, and names no machine"), "{said}");
}

#[test]
fn a_selector_says_who_is_not_meant() {
    let text = |not: &str| {
        format!(
            "[[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"\n\
             [group.selector]\nfirmware = \"uefi\"\n{not}"
        )
    };
    let good =
        text("[group.selector.not]\nmac = [\"52:54:00:00:00:01\", \"56:*\"]\nlabel.rack = \"7\"\n");
    let config = Config::parse(&good, "b.toml").unwrap();
    assert_eq!(
        config.catalog.groups()[0].selector.to_string(),
        "firmware = \"uefi\", not.label.rack = \"7\", not.mac = [\"52:54:00:00:00:01\", \"56:*\"]"
    );
    for (not, said) in [
        ("not.mac = \"x\"", "b.toml:9: \"x\" is not a hardware address"),
        ("not.mac = []", "b.toml:9: mac has no value"),
        ("not.rack = \"7\"", "b.toml:9: unknown field `rack`"),
        ("not.not.mac = \"52:54:00:00:00:01\"", "b.toml:9: a not has no not of its own"),
        ("not = \"x\"", "b.toml:9: "),
    ] {
        let error = Config::parse(&text(not), "b.toml").unwrap_err().to_string();
        assert!(error.starts_with(said), "{not}: {error}");
    }
}
