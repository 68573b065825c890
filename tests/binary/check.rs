//! `check` and `explain`, before anything is served, and the interfaces that they find.

use std::{fs, path::Path};

use super::{
    BINARY, LIMIT, bootbox, config,
    lab::{self, namespace::Namespace, office::Office, process::Process},
    said, tempfile,
};

#[test]
fn check_finds_what_serve_would_find_and_opens_no_port() {
    let folder = tempfile("check");
    let file = config(&folder, "x");
    let text = fs::read_to_string(&file).unwrap();
    let whole = format!("{:?}", folder.join("repository/vmlinuz"));
    for (from, to, expected) in [
        ("\"/vmlinuz\"", &*whole, "no such file; paths begin below root: write \"/vmlinuz\""),
        ("\"/vmlinuz\"", "\"/vmlinux\"", ":7: /vmlinux beneath "),
        ("\"/initrd.img\"", "\"/../initrd.img\"", ":8: \"/../initrd.img\" climbs with \"..\""),
        ("base_url", "bse_url", ":9: \"from={{ bse_url }}\" has the unknown word"),
        ("profile = \"p\"", "profile = \"q\"", ":12: no profile is named \"q\"; write one of p"),
        ("repository\"\n", "nowhere\"\n", ":4: [repository] root "),
        (
            "[[group]]",
            "[boot.programs]\nuefi-x64 = \"shim.efi\"\n[[group]]",
            ": boot program /shim.efi: no such file; put it into [firmware] dir or beneath",
        ),
        (
            "[[group]]",
            "[boot.programs]\nuefi-arm64 = \"snponly.efi\"\n[[group]]",
            ": boot program /snponly.efi is for UEFI x64, not for UEFI ARM64; name another",
        ),
        ("\"eth0\"", "\"eth7\"", ":1: interface eth7 does not exist; write one of these:"),
    ] {
        assert!(text.contains(from));
        fs::write(&file, text.replace(from, to)).unwrap();
        let file = file.to_str().unwrap();
        for words in [["check", "--config", file], ["serve", "--config", file]] {
            let output = bootbox(&words);
            assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
            assert_eq!(output.status.code(), Some(78), "{words:?}: {}", said(&output));
        }
    }
    fs::write(&file, &text).unwrap();
    fs::create_dir(folder.join("groups.d")).unwrap();
    for name in ["20.toml", "10.toml", ".10.toml", "10.toml~"] {
        let text = format!("\n[[profile]]\nname = \"{name}\"\nkernel = \"/none\"\n");
        fs::write(folder.join("groups.d").join(name), text).unwrap();
    }
    let output = said(&bootbox(&["check", "--config", file.to_str().unwrap()]));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].contains("groups.d/10.toml:4: /none beneath "), "{output}");
    assert!(lines[1].contains("groups.d/20.toml:4: /none beneath "), "{output}");

    let missing = bootbox(&["check", "--config", "/nowhere/bootbox.toml"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(said(&missing).contains("/nowhere/bootbox.toml: cannot be read"), "{}", said(&missing));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_refuses_a_group_that_installs_every_machine_and_does_not_say_so() {
    let folder = tempfile("every-machine");
    let file = config(&folder, "x");
    let text = fs::read_to_string(&file).unwrap();
    // An image that is known leaves no other warning.
    let text = text
        .replace("\"eth0\"", "\"lo\"")
        .replace("kernel =", "install = \"once\"\nkernel =")
        .replace("secret=x", "coreos.inst.image_url={{ base_url }}/initrd.img");
    let check = |more: &str| {
        fs::write(&file, format!("{text}{more}")).unwrap();
        let output = bootbox(&["check", "--config", file.to_str().unwrap()]);
        (output.status.code(), said(&output))
    };
    for more in ["", "selector.firmware = \"uefi\"\n", "selector.serial = \"*\"\n"] {
        let (code, text) = check(more);
        assert_eq!(code, Some(78), "{more}: {text}");
        assert!(text.contains("bootbox.toml:12: group \"g\" "), "{text}");
        assert!(text.contains("write every-machine = true in the group"), "{text}");
    }
    let (code, text) = check("selector.mac = \"00:50:56:*\"\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 warning") && text.contains("every VMware VM"), "{text}");
    assert!(text.contains("16777216 addresses"), "{text}");
    for more in ["every-machine = true\n", "selector.mac = \"52:54:00:00:00:01\"\n"] {
        let (code, text) = check(more);
        assert_eq!(code, Some(0), "{more}: {text}");
        assert!(text.contains("nothing is wrong"), "{more}: {text}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_foresees_what_bootbox_cannot_learn_of_an_installation() {
    let folder = tempfile("foresees");
    let file = config(&folder, "x");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(folder.join("repository/ks.cfg"), "text\nreboot\n").unwrap();
    fs::write(
        folder.join("repository/reports.cfg"),
        "%post\ncurl -X POST {{ base_url }}/v1/event?state=installed\n%end\n",
    )
    .unwrap();
    let (silent, fixed) = ("nothing tells bootbox", "is answered with 503");
    let template = "[[template]]\npath = \"/reports.cfg\"\nkind = \"kickstart\"\n";
    for (args, expected, unexpected) in [
        ("inst.ks={{ base_url }}/ks.cfg", vec![silent, "has fetched /ks.cfg"], vec![fixed]),
        ("inst.ks={{ base_url }}/reports.cfg", vec![], vec![silent, fixed]),
        (
            "ip=192.0.2.9::::n:eth0:none inst.ks={{ base_url }}/reports.cfg",
            vec![fixed],
            vec![silent],
        ),
        (
            "ip=192.0.2.9::::n:eth0:none inst.ks={{ base_url }}/reports.cfg?mac={{ mac }}",
            vec![],
            vec![silent, fixed],
        ),
        (
            "coreos.inst.image_url={{ base_url }}/absent.raw.gz coreos.inst.install_dev=/dev/sda",
            vec!["installs from /absent.raw.gz, which is not beneath", silent],
            vec![fixed],
        ),
        (
            "coreos.inst.image_url={{ base_url }}/initrd.img coreos.inst.install_dev=/dev/sda",
            vec![],
            vec!["which is not beneath", silent, fixed],
        ),
        (
            "coreos.inst.image_url={{ base_url }}/{{ mac }}.raw coreos.inst.install_dev=/dev/sda",
            vec![silent],
            vec!["which is not beneath", fixed],
        ),
        ("quiet", vec!["add install = \"once\" if it does"], vec![silent, fixed]),
        ("boot=live", vec![], vec![silent, fixed, "add install = "]),
    ] {
        let text = text
            .replace(", \"boot=live\"", "")
            .replace("secret=x", args)
            .replace("[[profile]]", &format!("{template}[[profile]]"));
        fs::write(&file, text + "selector.mac = \"52:54:00:00:00:01\"\n").unwrap();
        let said = said(&bootbox(&["check", "--config", file.to_str().unwrap()]));
        assert!(expected.iter().all(|words| said.contains(words)), "{args}: {said}");
        assert!(!unexpected.iter().any(|words| said.contains(words)), "{args}: {said}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn explain_prints_the_group_and_the_script_or_ends_with_1() {
    let folder = tempfile("explain");
    let file = config(&folder, "x");
    let asked = |machine: &str, more: &[&str]| {
        let file = file.to_str().unwrap();
        let words = ["explain", machine, "--config", file, "--address", "192.0.2.7"];
        let output = bootbox(&[&words[..], more].concat());
        (output.status.code(), said(&output))
    };
    let (code, text) = asked("52:54:00:12:34:56", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("group g matches: profile p\n  it has no selector"), "{text}");
    let (code, config) = asked("52:54:00:12:34:56", &["--grub"]);
    assert_eq!(code, Some(0), "{config}");
    assert!(config.contains("\nlinux '/") && !config.contains("#!ipxe"), "{config}");
    assert!(text.contains("kernel http://192.0.2.7/vmlinuz initrd=initrd.img secret=x"), "{text}");
    let (_, text) = asked("52:54:00:12:34:56", &["--label", "platform=pcbios"]);
    assert!(text.contains("kernel http://192.0.2.7/vmlinuz secret=x"), "{text}");
    assert_eq!(asked("nobody", &[]).0, Some(64));
    assert_eq!(asked("52:54:00:12:34:56", &["--label", "x"]).0, Some(64));

    let text = fs::read_to_string(&file).unwrap() + "selector.label.rack = \"1\"\n";
    fs::write(&file, text).unwrap();
    assert_eq!(asked("52:54:00:12:34:56", &["--label", "rack=2"]).0, Some(1));
    assert_eq!(asked("52:54:00:12:34:56", &["--label", "rack=1"]).0, Some(0));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn with_several_interfaces_it_lists_them_and_prints_the_line_to_write() {
    let namespace = Namespace::new().unwrap();
    for (name, address) in [("eth0", "192.0.2.1/24"), ("eth1", "198.51.100.1/24")] {
        namespace.run(&format!("ip link add {name} type bridge")).unwrap();
        namespace.run(&format!("ip address add {address} dev {name}")).unwrap();
        namespace.run(&format!("ip link set {name} up")).unwrap();
    }
    let folder = tempfile("interfaces");
    let file = folder.join("bootbox.toml");
    fs::write(&file, "").unwrap();
    let output = namespace.command(BINARY).args(["serve", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    for expected in ["eth0 (192.0.2.1)", "eth1 (198.51.100.1)", "interfaces = [\"eth1\"]"] {
        assert!(said(&output).contains(expected), "{expected}: {}", said(&output));
    }
    fs::remove_dir_all(folder).unwrap();
}

/// As ifupdown, keepalived and avahi write them: netdevice(7).
#[test]
fn a_labelled_address_is_one_of_its_device() {
    let namespace = Namespace::new().unwrap();
    namespace.run("ip link add eth0 type bridge").unwrap();
    namespace.run("ip address add 192.0.2.1/24 dev eth0").unwrap();
    namespace.run("ip address add 198.51.100.1/24 dev eth0 label eth0:1").unwrap();
    namespace.run("ip link set eth0 up").unwrap();
    let folder = tempfile("label");
    let file = folder.join("bootbox.toml");
    let checked = |interfaces: &str| {
        fs::write(&file, format!("network.interfaces = {interfaces}\n")).unwrap();
        let output =
            namespace.command(BINARY).args(["check", "--config"]).arg(&file).output().unwrap();
        said(&output)
    };
    for (interfaces, expected) in [
        ("[]", "serve on eth0 (192.0.2.1)"),
        ("[\"eth0\"]", "serve on eth0 (192.0.2.1)"),
        ("[\"eth0:1\"]", "serve on eth0 (198.51.100.1)"),
    ] {
        let said = checked(interfaces);
        assert!(said.contains(expected), "{interfaces}: {said}");
    }
    let both = checked("[\"eth0\", \"eth0:1\"]");
    assert_eq!(both.matches("serve on").count(), 1, "{both}");
    namespace.run("ip address del 192.0.2.1/24 dev eth0").unwrap();
    let said = checked("[\"eth0\"]");
    assert!(said.contains("serve on eth0 (198.51.100.1)"), "{said}");
    namespace.run("ip address flush dev eth0").unwrap();
    let said = checked("[\"eth0\"]");
    assert!(said.contains("and no other interface has one: give it an address"), "{said}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_shipped_config_serves_on_the_only_interface() {
    let namespace = Namespace::new().unwrap();
    namespace.run("ip link add eth5 type bridge").unwrap();
    namespace.run("ip address add 192.0.2.1/24 dev eth5").unwrap();
    namespace.run("ip link set eth5 up").unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("etc/bootbox.toml");
    let output =
        namespace.command(BINARY).args(["check", "--config"]).arg(&shipped).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("serve on eth5 (192.0.2.1)"), "{}", said(&output));
}

#[test]
fn ipv6_that_is_switched_off_is_told_at_start_and_by_check() {
    lab::run("ipv6_that_is_switched_off", &Office::Plain, 1, |lab| {
        let folder = tempfile("ipv6");
        let file = config(&folder, "x");
        let bootbox = |word: &str| {
            let mut command = lab.server().command(BINARY);
            command.args([word, "--config"]).arg(&file);
            command
        };
        let log = lab.evidence().join("server.log");
        for off in [false, true] {
            let key = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
            lab.server().enter(|| fs::write(key, if off { "1" } else { "0" }))??;
            let checked = said(&bootbox("check").output()?);
            assert_eq!(checked.contains("IPv6 is switched off on eth0"), off, "{checked}");
            let mut server = Process::spawn("bootbox", bootbox("serve"), &log)?;
            server.wait_for("is ready", LIMIT)?;
            let text = server.transcript().text();
            assert_eq!(text.contains("IPv6 is switched off on eth0"), off, "{text}");
            assert_eq!(server.terminate(LIMIT)?, Some(0));
        }
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("network.answer-router-solicitations = \"never\"\n{text}"))?;
        let checked = said(&bootbox("check").output()?);
        assert!(!checked.contains("IPv6"), "{checked}");
        fs::remove_dir_all(folder)?;
        Ok(())
    });
}
