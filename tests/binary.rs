//! The binary as an operator meets it: commands, exit codes, reload, stop, rights, log.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "binary/check.rs"]
mod check;
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
use lab::walker::{Stage, Walker, ask_http, fetch_http, port_68};
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
