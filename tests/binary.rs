//! The binary as an operator meets it: commands, exit codes, reload, stop, rights, log.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use lab::namespace::Namespace;
use lab::office::Office;
use lab::process::Process;
use lab::server::Bootbox;
use lab::walker::{Stage, Walker, ask_http, fetch_http, fetch_tftp, port_68};
use lab::{BOX, Failure, Lab};
use socket2::{Domain, Socket, Type};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 80);
const LIMIT: Duration = Duration::from_secs(10);

fn bootbox(words: &[&str]) -> Output {
    Command::new(BINARY).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A repository with a small kernel and initrd, and a config that gives them to every machine.
fn config(folder: &Path, secret: &str) -> PathBuf {
    let root = folder.join("repository");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("vmlinuz"), vec![b'k'; 100_000]).unwrap();
    fs::write(root.join("initrd.img"), vec![b'i'; 3_000_000]).unwrap();
    let file = folder.join("bootbox.toml");
    // The server is nobody in some tests.
    let ledger = folder.join("ledger");
    fs::create_dir_all(&ledger).unwrap();
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o777)).unwrap();
    let socket = ledger.join("control.sock");
    let ledger = ledger.join("ledger.redb");
    let text = format!(
        "network.interfaces = [\"eth0\"]\ninstall.ledger = {ledger:?}\n\
         control.socket = {socket:?}\nrepository.root = {root:?}\n\
         [[profile]]\nname = \"p\"\nkernel = \"/vmlinuz\"\ninitrd = [\"/initrd.img\"]\n\
         args = [\"secret={secret}\", \"from={{{{ base_url }}}}\", \"boot=live\"]\n\
         [[group]]\nname = \"g\"\nprofile = \"p\"\n"
    );
    fs::write(&file, text).unwrap();
    file
}

/// An office with a served desk at 10.77.0.9.
fn with_server(
    name: &str,
    format: &str,
    body: impl FnOnce(&Lab, &mut Bootbox, &Namespace, &Path) -> Result<(), Failure>,
) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let file = config(lab.scratch(), "first");
        let mut server = Bootbox::start(lab, Path::new(BINARY), &file, format)?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        desk.run("ip address add 10.77.0.9/16 dev eth0")?;
        body(lab, &mut server, &desk, &file)
    });
}

fn script_at(desk: &Namespace) -> Result<String, Failure> {
    let body = desk.enter(|| fetch_http(SERVER, "/ipxe?mac=52-54-00-12-34-56"))??;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn help_version_man_page_and_completions_come_from_one_definition() {
    let help = said(&bootbox(&["--help"]));
    for word in [
        "serve",
        "check",
        "completions",
        "explain",
        "forget",
        "hold",
        "installed",
        "machine",
        "machines",
        "man",
        "reinstall",
        "release",
        "vmware",
        "Start here",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
    assert_eq!(
        said(&bootbox(&["--version"])).trim(),
        concat!("bootbox ", env!("CARGO_PKG_VERSION"))
    );
    let man = said(&bootbox(&["man"]));
    assert!(man.contains(".TH bootbox 1") && man.contains("log\\-format"), "{man}");
    for shell in ["bash", "fish", "zsh"] {
        let script = said(&bootbox(&["completions", shell]));
        assert!(script.contains("log-format"), "{shell}: {script}");
    }
}

#[test]
fn wrong_usage_is_64_and_says_what_there_is() {
    let output = bootbox(&["sevre"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(said(&output).contains("serve"), "{}", said(&output));
}

#[test]
fn check_finds_what_serve_would_find_and_opens_no_port() {
    let folder = tempfile("check");
    let file = config(&folder, "x");
    let text = fs::read_to_string(&file).unwrap();
    for (from, to, expected) in [
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
fn a_bad_reload_keeps_the_last_good_config() {
    with_server("a_bad_reload_keeps_the_last_good_config", "text", |lab, server, desk, file| {
        assert!(script_at(desk)?.contains("secret=first"));
        let good = fs::read_to_string(file)?;
        fs::write(file, good.replace("kernel =", "kernl ="))?;
        server.process().signal("HUP")?;
        server.process().wait_for("the last good one still holds", LIMIT)?;
        server.process().wait_for(":7: unknown field `kernl`", LIMIT)?;
        assert!(script_at(desk)?.contains("secret=first"));

        // As an editor leaves it that is killed, or with everything commented out.
        for blank in ["", "\n", "# kernel\n"] {
            fs::write(file, blank)?;
            let mark = server.process().transcript().mark();
            server.process().signal("HUP")?;
            let log = server.process().transcript();
            log.wait_for("bootbox.toml: nothing stands in it", mark, LIMIT)?;
            log.wait_for("the last good one still holds", mark, LIMIT)?;
            assert!(script_at(desk)?.contains("secret=first"));
        }

        config(lab.scratch(), "second");
        server.process().signal("HUP")?;
        server.process().wait_for("bootbox.toml is loaded", LIMIT)?;
        assert!(script_at(desk)?.contains("secret=second"));

        // A port that is not open yet must not be named to a machine.
        let moved = fs::read_to_string(file)?
            .replace("repository.root", "http.port = 8080\nrepository.root");
        fs::write(file, moved)?;
        server.process().signal("HUP")?;
        server.process().wait_for("take effect at the next start", LIMIT)?;
        assert!(script_at(desk)?.contains("kernel http://10.77.0.2/vmlinuz"));
        let walker = Walker::number(7, Ipv4Addr::BROADCAST);
        let offer = desk.enter(|| walker.discover(&port_68()?, Stage::Ipxe))??;
        assert_eq!(offer.file, "http://10.77.0.2/boot.ipxe");
        Ok(())
    });
}

#[test]
fn asked_to_stop_it_ends_what_goes_on_and_takes_nothing_new() {
    with_server("asked_to_stop_it_ends_what_goes_on", "text", |lab, server, desk, _| {
        lab.throttle(20)?;
        let download = desk
            .command("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{size_download}\n", "-m", "30"])
            .arg(format!("http://{BOX}/initrd.img"))
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        lab.wait_for_bytes_sent(200_000, LIMIT)?;
        server.process().signal("TERM")?;
        server.process().wait_for("stopping", LIMIT)?;
        let refused = desk.enter(|| ask_http(SERVER, "/vmlinuz"))?;
        assert!(refused.is_err(), "a new connection was served after TERM");
        let download = download.wait_with_output()?;
        assert_eq!(String::from_utf8_lossy(&download.stdout).trim(), "3000000");
        assert_eq!(server.process().wait_for_end(LIMIT)?, Some(0));
        Ok(())
    });
}

#[test]
fn while_a_config_is_loaded_it_serves_and_hears_a_stop() {
    with_server("while_a_config_is_loaded", "text", |_, server, desk, file| {
        let mut text = fs::read_to_string(file)?;
        for number in 0..60_000 {
            text.push_str(&format!(
                "[[group]]\nname = \"g{number}\"\nprofile = \"p\"\n\
                 selector.mac = \"52:54:00:01:{:02x}:{:02x}\"\n",
                number >> 8,
                number & 255
            ));
        }
        fs::write(file, text)?;
        server.process().signal("HUP")?;
        server.process().wait_for("the config is being loaded again", LIMIT)?;
        assert!(script_at(desk)?.contains("secret=first"));
        server.process().signal("TERM")?;
        assert_eq!(server.process().wait_for_end(LIMIT)?, Some(0));
        let log = server.process().transcript().text();
        assert!(!log.contains("is loaded"), "it was loaded before the stop: {log}");
        Ok(())
    });
}

#[test]
fn a_port_that_is_taken_stops_everything_and_is_named() {
    with_server("a_port_that_is_taken_stops_everything", "text", |lab, _, _, file| {
        // The socket for commands is not what it is about.
        let text = fs::read_to_string(file)?.replace("/control.sock", "/second.sock");
        let file = lab.scratch().join("second.toml");
        fs::write(&file, text)?;
        let output = lab.server().command(BINARY).args(["serve", "--config"]).arg(file).output()?;
        assert_eq!(output.status.code(), Some(71), "{}", said(&output));
        assert!(said(&output).contains("UDP port 67 on eth0: "), "{}", said(&output));
        assert!(said(&output).contains("another server on this machine"), "{}", said(&output));
        Ok(())
    });
}

#[test]
fn asked_to_stop_twice_it_stops_at_once() {
    with_server("asked_to_stop_twice_it_stops_at_once", "text", |lab, server, desk, _| {
        lab.throttle(1)?;
        let url = format!("http://{BOX}/initrd.img");
        let mut download =
            desk.command("curl").args(["-s", "-o", "/dev/null", "-m", "30", &url]).spawn()?;
        lab.wait_for_bytes_sent(50_000, LIMIT)?;
        server.process().signal("TERM")?;
        server.process().wait_for("stopping", LIMIT)?;
        server.process().signal("INT")?;
        assert_eq!(server.process().wait_for_end(Duration::from_secs(2))?, Some(0));
        download.wait()?;
        Ok(())
    });
}

#[test]
fn an_interface_that_changes_ends_the_server_instead_of_announcing_what_is_gone() {
    with_server("an_interface_that_changes", "text", |lab, server, _, _| {
        lab.server().run("ip address add 10.77.0.5/24 dev eth0")?;
        lab.server().run(&format!("ip address del {BOX}/24 dev eth0"))?;
        lab.server()
            .run("ip address add 10.77.0.5/24 dev eth0")
            .or_else(|_| Ok::<_, Failure>(String::new()))?;
        assert_eq!(server.process().wait_for_end(LIMIT)?, Some(70));
        server.process().wait_for("its address is 10.77.0.5 now", LIMIT)?;
        Ok(())
    });
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

#[test]
fn without_its_capabilities_it_says_which_is_missing_and_with_them_needs_no_root() {
    lab::run("without_its_capabilities", &Office::Plain, 1, |lab| {
        let folder = tempfile("capabilities");
        let file = config(&folder, "x");
        // A build folder may be closed to other users.
        let binary = folder.join("bootbox");
        fs::copy(BINARY, &binary)?;
        let as_nobody = |capabilities: &str| {
            let mut command = lab.server().command("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
            command.arg(format!("--inh-caps=-all{capabilities}"));
            command.arg(format!("--ambient-caps=-all{capabilities}"));
            command.arg(&binary).args(["serve", "--config"]).arg(&file);
            command
        };
        let output = as_nobody("").output()?;
        assert_eq!(output.status.code(), Some(77), "{}", said(&output));
        assert!(said(&output).contains("CAP_NET_BIND_SERVICE is missing"), "{}", said(&output));

        let log = lab.evidence().join("server.log");
        for (capabilities, warning) in
            [(",+net_bind_service", true), (",+net_bind_service,+net_raw", false)]
        {
            let mut server = Process::spawn("bootbox", as_nobody(capabilities), &log)?;
            server.wait_for("is ready", LIMIT)?;
            let warned = server.transcript().text().contains("CAP_NET_RAW is missing");
            assert_eq!(warned, warning, "{}", server.transcript().text());
            assert_eq!(server.terminate(LIMIT)?, Some(0));
        }
        fs::remove_dir_all(folder)?;
        Ok(())
    });
}

#[test]
fn one_boot_is_one_id_and_every_field_is_documented() {
    with_server("one_boot_is_one_id", "json", |_, server, desk, _| {
        let address = Ipv4Addr::new(10, 77, 0, 9);
        let walker = Walker { address, ..Walker::number(1, Ipv4Addr::BROADCAST) };
        let bytes = desk.enter(|| walker.boot(&port_68()?, 80))??;
        assert!(bytes > 3_100_000, "{bytes}");
        server.process().wait_for("HTTP /initrd.img: complete", LIMIT)?;

        let manual = include_str!("../docs/log.md");
        let (mut boots, mut steps) = (BTreeSet::new(), Vec::new());
        for line in server.process().transcript().text().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let line = line.as_object().unwrap();
            for field in line.keys() {
                assert!(manual.contains(&format!("`{field}`")), "{field} is not in docs/log.md");
            }
            if let Some(boot) = line.get("boot") {
                assert_eq!(line["mac"], walker.mac_text().as_str());
                boots.insert(boot.to_string());
                steps.push(line["step"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(boots.len(), 1, "{boots:?}");
        // The end of the boot program's transfer may be noted after iPXE has asked already.
        steps[2..4].sort();
        let expected = ["offer", "lease", "offer", "transfer", "script", "transfer", "transfer"];
        assert_eq!(steps, expected);
        Ok(())
    });
}

#[test]
fn a_hostile_lan_cannot_flood_the_log() {
    with_server("a_hostile_lan_cannot_flood_the_log", "text", |_, server, desk, _| {
        let sent = 20_000_u16;
        desk.enter(|| -> Result<(), Failure> {
            let socket = port_68()?;
            for number in 0..sent {
                // As fast as the server can read, or the kernel drops the flood for us.
                if number % 50 == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let walker = Walker::number(number, Ipv4Addr::new(10, 77, 0, 2));
                let stage = [Stage::Bios, Stage::Ipxe, Stage::Office][usize::from(number % 3)];
                socket.send_to(&walker.message(1, stage, &[]), (walker.to, 67))?;
                // An offer of a proxy, each time of another one.
                let [high, low] = number.to_be_bytes();
                let options = [54, 4, 10, 9, high, low];
                let mut offer = walker.message(2, Stage::Bios, &options);
                offer[0] = 2;
                socket.send_to(&offer, (walker.to, 68))?;
            }
            Ok(())
        })??;
        // A machine is still answered, and that is also when the flood has been dealt with.
        let began = Instant::now();
        desk.enter(|| {
            let walker = Walker::number(60_000, Ipv4Addr::BROADCAST);
            walker.discover(&port_68()?, Stage::Bios)
        })??;
        let seconds = began.elapsed().as_secs() + 10;
        assert_eq!(server.process().terminate(LIMIT)?, Some(0));
        let text = server.process().transcript().text();
        let lines = text.lines().count() as u64;
        assert!(lines < 4100 + 100 * seconds, "{lines} lines for {sent} packets");
        assert!(text.contains("log lines held back"), "{}", server.process().transcript().tail(3));
        let rivals = text.matches("another ProxyDHCP server").count();
        assert!((1..=20).contains(&rivals), "{rivals} rivals");
        assert!(!text.contains(" WARN") && !text.contains(" ERROR"), "a LAN made us warn");
        Ok(())
    });
}

#[test]
fn what_a_machine_tells_moves_no_cursor_and_turns_no_line_round() {
    for format in ["text", "json"] {
        with_server(&format!("no_cursor_{format}"), format, |lab, server, desk, file| {
            // ESC, CSI of C1, and a mark that turns the rest of a line round.
            let hostile = "%1B[2J%C2%9B31m%E2%80%AEx";
            let url = |rest: &str| format!("http://{SERVER}{rest}");
            let told = format!("/ipxe?mac=52-54-00-12-34-56&product=A{hostile}&serial={hostile}");
            desk.run(&format!("curl -fgsS -m 10 -o /dev/null {}", url(&told)))?;
            desk.run(&format!("curl -gsS -m 10 -o /dev/null {}", url(&format!("/{hostile}"))))?;
            let report = format!("/v1/event?mac=52-54-00-12-34-56&state=failed&reason={hostile}");
            desk.run(&format!("curl -gsS -m 10 -o /dev/null -X POST {}", url(&report)))?;
            let absent = "no\u{9b}31m\u{202e}\u{1b}[2J";
            assert!(desk.enter(|| fetch_tftp(*SERVER.ip(), absent))?.is_err());
            let config = file.display();
            let mut seen = vec![fs::read_to_string(lab.evidence().join("server.log"))?];
            for words in ["machines", "machines --json", "machine 525400123456 --json"] {
                seen.push(lab.server().run(&format!("{BINARY} {words} --config {config}"))?);
            }
            assert!(seen[2].contains("\"A["), "it told its product: {}", seen[2]);
            assert_eq!(server.process().terminate(LIMIT)?, Some(0));
            seen.push(fs::read_to_string(lab.evidence().join("server.log"))?);
            for text in seen {
                let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
                assert!(!text.contains(acts), "{text:?}");
            }
            Ok(())
        });
    }
}

#[test]
fn answers_that_nobody_takes_hold_up_no_offer() {
    with_server("nobody_takes", "text", |_, _, desk, _| {
        desk.enter(|| -> Result<(), Failure> {
            let walker = Walker::number(1, Ipv4Addr::BROADCAST);
            // A boot item, as a ROM's menu asks for, to addresses that do not exist.
            let mut inform = walker.message(8, Stage::Bios, &[43, 6, 71, 4, 0, 0, 0, 0]);
            for number in 0..2000_u16 {
                let address = Ipv4Addr::new(10, 77, 0, 50 + (number % 200) as u8);
                inform[12..16].copy_from_slice(&address.octets());
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
                socket.set_ip_transparent_v4(true)?;
                // A program that another test starts holds a copy of the last one until its exec.
                socket.set_reuse_address(true)?;
                socket.bind(&SocketAddr::from((address, 68)).into())?;
                socket.send_to(&inform, &SocketAddr::from((*SERVER.ip(), 67)).into())?;
            }
            let began = Instant::now();
            walker.discover(&port_68()?, Stage::Bios)?;
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
            Ok(())
        })??;
        Ok(())
    });
}

/// A folder of this test's own.
fn tempfile(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("bootbox-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
