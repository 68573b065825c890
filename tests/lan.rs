//! Other servers on the LAN, and boots that stop: what the log and `bootbox check --lan` say.
//!
//! The servers are real (dnsmasq, beside bootbox), the machines mostly packets: a machine that goes
//! its way is the subject of `boot.rs`.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

mod lab;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::namespace::Namespace;
use lab::office::Office;
use lab::process::Process;
use lab::server::Bootbox;
use lab::site::one_kernel;
use lab::walker::{Stage, Walker, fetch_http, fetch_tftp, port_68};
use lab::{BOX, Failure, Lab};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
/// Past the longest wait before a diagnosis of packets alone, 60 s.
const SOON: Duration = Duration::from_secs(90);

/// The server on a LAN with this office, and a desk at 10.77.0.9 from where packets are sent.
fn on_a_lan(
    name: &str,
    office: &Office,
    body: impl FnOnce(&Lab, &mut Bootbox, &Namespace) -> Result<(), Failure>,
) {
    with_machines(0, name, office, body);
}

/// The same with so many real machines.
fn with_machines(
    machines: usize,
    name: &str,
    office: &Office,
    body: impl FnOnce(&Lab, &mut Bootbox, &Namespace) -> Result<(), Failure>,
) {
    lab::run(name, office, machines, |lab| {
        let mut server = Bootbox::start(lab, Path::new(BINARY), &one_kernel(lab)?.0, "json")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        desk.run("ip address add 10.77.0.9/16 dev eth0")?;
        body(lab, &mut server, &desk)
    });
}

#[test]
fn an_offer_to_a_rom_is_held_back_and_nothing_else_is() {
    lab::run("an_offer_to_a_rom_is_held_back", &Office::Plain, 0, |lab| {
        let file = one_kernel(lab)?.0;
        let text = fs::read_to_string(&file)?;
        fs::write(&file, format!("network.reply-delay-ms = 1500\n{text}"))?;
        let mut server = Bootbox::start(lab, Path::new(BINARY), &file, "json")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        desk.run("ip address add 10.77.0.9/16 dev eth0")?;
        let its_own = lab.scratch().join("bootbox.toml");
        desk.enter(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            let after = |number, stage| -> Result<Duration, Failure> {
                let began = Instant::now();
                walker(number).discover(&port_68, stage)?;
                Ok(began.elapsed())
            };
            // Two machines: what the ROM is still to get is no answer to iPXE.
            let (rom, ipxe) = (after(1, Stage::Bios)?, after(3, Stage::Ipxe)?);
            assert!(rom >= Duration::from_millis(1500), "{rom:?}");
            assert!(ipxe < Duration::from_millis(1000), "{ipxe:?}");
            // The ROM asked more than once.
            port_68.set_read_timeout(Some(Duration::from_secs(2)))?;
            while port_68.recv_from(&mut [0; 2048]).is_ok() {}
            // Who is closed out meanwhile gets no offer any more.
            discover(&port_68, &walker(2), Stage::Bios, 0)?;
            let text = fs::read_to_string(&its_own)?;
            fs::write(&its_own, format!("network.allow = [\"02:00:00:00:00:01\"]\n{text}"))?;
            server.process().signal("HUP")?;
            server.process().wait_for("is loaded", Duration::from_secs(1))?;
            port_68.set_read_timeout(Some(Duration::from_secs(3)))?;
            // The office's own server answers, and nobody else.
            while let Ok((_, from)) = port_68.recv_from(&mut [0; 2048]) {
                assert_ne!(from.ip().to_string(), BOX);
            }
            Ok(())
        })?
    });
}

fn walker(number: u16) -> Walker {
    let address = Ipv4Addr::new(10, 77, 0, 9);
    Walker { address, ..Walker::number(number, Ipv4Addr::BROADCAST) }
}

/// Sends a discover that asks for its answers by broadcast, as every ROM does.
fn discover(port_68: &UdpSocket, walker: &Walker, stage: Stage, secs: u8) -> Result<(), Failure> {
    let mut message = walker.message(1, stage, &[]);
    message[9] = secs;
    message[10] = 0x80;
    port_68.send_to(&message, (Ipv4Addr::BROADCAST, 67))?;
    Ok(())
}

/// The first log line with this diagnosis.
fn diagnosis(server: &mut Bootbox, name: &str) -> Result<serde_json::Value, Failure> {
    let needle = format!("\"diagnosis\":\"{name}\"");
    let line = server.process().wait_for(&needle, SOON)?.line;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let manual = include_str!("../docs/log.md");
    for word in line.as_object().unwrap().keys().map(String::as_str).chain([name]) {
        assert!(manual.contains(&format!("`{word}`")), "{word} is not in docs/log.md");
    }
    Ok(line)
}

fn has_diagnosis(server: &mut Bootbox, name: &str) -> bool {
    server.process().transcript().text().contains(&format!("\"diagnosis\":\"{name}\""))
}

/// `bootbox check --lan` in a namespace.
fn check_lan(place: &Namespace, words: &[&str]) -> Result<(Output, String), Failure> {
    let output = place.command(BINARY).args(["check", "--lan"]).args(words).output()?;
    let said = [&output.stdout[..], &output.stderr].concat();
    Ok((output, String::from_utf8_lossy(&said).into_owned()))
}

/// dnsmasq as a ProxyDHCP server at 10.77.0.3.
fn rival(lab: &Lab) -> Result<(Namespace, Process), Failure> {
    let place = lab.desk("rival", "02:00:00:00:77:03")?;
    place.run("ip address add 10.77.0.3/24 dev eth0")?;
    let mut command = place.command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-", "--pid-file="])
        .args(["--user=root", "--group=", "--port=0", "--interface=eth0", "--bind-dynamic"])
        .args(["--dhcp-range=10.77.0.0,proxy", "--pxe-service=x86PC,boot,pxelinux"])
        .arg(format!("--dhcp-leasefile={}", lab.scratch().join("rival").display()));
    let dnsmasq = Process::spawn("rival", command, &lab.evidence().join("rival.log"))?;
    dnsmasq.wait_for("DHCP, proxy on subnet", Duration::from_secs(10))?;
    Ok((place, dnsmasq))
}

#[test]
fn a_rival_proxy_is_told_by_name_and_once() {
    on_a_lan("a_rival_proxy_is_told", &Office::Plain, |lab, server, desk| {
        let (_place, _rival) = rival(lab)?;
        desk.enter(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            (1..=3).try_for_each(|number| discover(&port_68, &walker(number), Stage::Bios, 0))
        })??;
        let line = diagnosis(server, "rival-proxy")?;
        assert_eq!(line["server"], "10.77.0.3", "{line}");
        assert_eq!((&line["step"], &line["level"]), (&"lan".into(), &"INFO".into()), "{line}");
        assert!(line["message"].as_str().unwrap().contains("Turn off the one"), "{line}");
        server.process().wait_for("52:54:00:aa:00:03", SOON)?;
        std::thread::sleep(Duration::from_secs(1));
        let text = server.process().transcript().text();
        assert_eq!(text.matches("rival-proxy").count(), 1, "{text}");
        assert!(!has_diagnosis(server, "option-60"));

        let (output, said) = check_lan(lab.server(), &["--interface", "eth0"])?;
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("bootbox at 10.77.0.2 answers: offers snponly.efi to UEFI"),
            "{said}"
        );
        assert!(said.contains("ProxyDHCP server 10.77.0.3 answers"), "{said}");
        assert!(said.contains("warning: another ProxyDHCP server answers, 10.77.0.3"), "{said}");
        Ok(())
    });
}

#[test]
fn a_dhcp_server_that_sends_option_60_is_told_by_name_in_the_log_and_by_check() {
    on_a_lan("option_60_is_told", &Office::ClaimsPxe, |lab, server, desk| {
        desk.enter(|| discover(&port_68()?, &walker(1), Stage::Bios, 0))??;
        let line = diagnosis(server, "option-60")?;
        assert_eq!(line["server"], "10.77.0.1", "{line}");
        assert!(line["message"].as_str().unwrap().contains("Remove option 60 there"), "{line}");

        let (output, said) = check_lan(lab.server(), &["--interface", "eth0"])?;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("problem: DHCP server 10.77.0.1 itself sends option 60"), "{said}");
        Ok(())
    });
}

#[test]
fn a_dhcp_server_on_the_box_itself_is_heard() {
    on_a_lan("on_the_box_itself", &Office::Plain, |lab, server, _| {
        lab.server().enter(|| -> Result<(), Failure> {
            let socket = UdpSocket::bind((BOX, 0))?;
            socket.set_broadcast(true)?;
            let mut offer = walker(1).message(2, Stage::Bios, &[]);
            offer[0] = 2;
            offer[16..20].copy_from_slice(&[10, 77, 0, 99]);
            socket.send_to(&offer, (Ipv4Addr::BROADCAST, 68))?;
            Ok(())
        })??;
        let line = diagnosis(server, "option-60")?;
        assert_eq!(line["server"], BOX.to_string(), "{line}");
        Ok(())
    });
}

#[test]
fn a_real_uefi_machine_that_option_60_leads_astray_is_told_why_it_stopped() {
    with_machines(1, "option_60_and_a_real_machine", &Office::ClaimsPxe, |lab, server, _| {
        let hardware = Hardware::new("machine", Firmware::Ovmf, Nic::Virtio, "52:54:00:b0:02:01");
        let machine = Machine::power_on(lab, &hardware)?;
        machine.wait_for("PXE-E", Duration::from_secs(120))?;
        let line = diagnosis(server, "option-60")?;
        assert_eq!(line["server"], "10.77.0.1", "{line}");
        let line = diagnosis(server, "boot-file-not-fetched")?;
        assert_eq!(line["mac"], "52:54:00:b0:02:01", "{line}");
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("10.77.0.1 itself sends option 60"), "{line}");
        Ok(())
    });
}

#[test]
fn a_real_uefi_machine_whose_tftp_is_dropped_is_told_which_port() {
    with_machines(1, "tftp_is_dropped", &Office::Plain, |lab, server, _| {
        // What a firewall does, without one: packets to port 69 lead nowhere. 17 is UDP: a small Debian
        // knows no names of protocols.
        for rule in
            ["add pref 10 ipproto 17 dport 69 blackhole", "add pref 20 lookup local", "del pref 0"]
        {
            lab.server().run(&format!("ip rule {rule}"))?;
        }
        let hardware = Hardware::new("machine", Firmware::Ovmf, Nic::Virtio, "52:54:00:b0:02:02");
        let _machine = Machine::power_on(lab, &hardware)?;
        let line = diagnosis(server, "boot-file-not-fetched")?;
        assert_eq!(line["mac"], "52:54:00:b0:02:02", "{line}");
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("took an address from 10.77.0.1"), "{line}");
        assert!(message.contains("that drops UDP port 69"), "{line}");
        Ok(())
    });
}

#[test]
fn a_lan_without_a_dhcp_server_is_told_in_the_boots_own_line_and_by_check() {
    on_a_lan("no_dhcp_server", &Office::Absent, |lab, server, desk| {
        let began = Instant::now();
        desk.enter(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            // EDK2's times.
            for pause in [0, 4, 8] {
                std::thread::sleep(Duration::from_secs(pause));
                discover(&port_68, &walker(1), Stage::Bios, 0)?;
            }
            Ok(())
        })??;
        let line = diagnosis(server, "no-dhcp-server")?;
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(
            (&line["step"], &line["mac"]),
            (&"stopped".into(), &walker(1).mac_text().into())
        );
        assert!(line["boot"].is_string() && line["since_ms"].is_u64(), "{line}");
        assert!(line["message"].as_str().unwrap().contains("A proxy alone boots no machine"));

        let (output, said) = check_lan(lab.server(), &["--interface", "eth0"])?;
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("problem: no DHCP server answers"), "{said}");
        Ok(())
    });
}

#[test]
fn an_offer_that_is_never_taken_is_told_with_what_the_machine_says_itself() {
    on_a_lan("an_offer_never_taken", &Office::Plain, |_, server, desk| {
        desk.enter(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            // iPXE counts in secs, and says there that it has heard the DHCP server alone.
            for (pause, secs) in [(0, 4), (5, 0b1010), (6, 0b1110)] {
                std::thread::sleep(Duration::from_secs(pause));
                discover(&port_68, &walker(1), Stage::Ipxe, secs)?;
            }
            Ok(())
        })??;
        let line = diagnosis(server, "offer-not-taken")?;
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("DHCP server 10.77.0.1 is there"), "{line}");
        assert!(message.contains("heard the DHCP server and not us"), "{line}");
        assert!(!has_diagnosis(server, "no-dhcp-server"));
        Ok(())
    });
}

#[test]
fn each_later_stop_is_told_where_it_is_and_a_boot_that_goes_its_way_is_none() {
    on_a_lan("each_later_stop", &Office::Plain, |lab, server, desk| {
        let second_desk = lab.desk("second", "02:00:00:00:77:11")?;
        second_desk.run("ip address add 10.77.0.11/24 dev eth0")?;
        let third_desk = lab.desk("third", "02:00:00:00:77:12")?;
        third_desk.run("ip address add 10.77.0.12/24 dev eth0")?;
        let at = |number: u16, last: u8| {
            let address = Ipv4Addr::new(10, 77, 0, last);
            Walker { address, ..walker(number) }
        };
        // The first is nowhere: what it does not do cannot be taken for another's.
        let (no_tftp, program, no_kernel, whole) = (at(1, 20), at(2, 9), at(3, 11), at(4, 12));
        // Before the others: by their last diagnosis it would have had its own.
        third_desk.enter(|| whole.boot(&port_68()?, 80))??;
        desk.enter(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            no_tftp.discover(&port_68, Stage::Bios)?;
            no_tftp.take_lease(&port_68)?;
            let offer = program.discover(&port_68, Stage::Bios)?;
            program.take_lease(&port_68)?;
            fetch_tftp(offer.server, &offer.file)?;
            Ok(())
        })??;
        second_desk.enter(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            no_kernel.discover(&port_68, Stage::Ipxe)?;
            no_kernel.take_lease(&port_68)?;
            let query = format!("/ipxe?mac={}", no_kernel.mac_text());
            fetch_http(SocketAddrV4::new(BOX.parse().unwrap(), 80), &query)?;
            Ok(())
        })??;
        for (name, mac, words) in [
            ("boot-file-not-fetched", no_tftp.mac_text(), "UDP port 69"),
            ("kernel-not-fetched", no_kernel.mac_text(), "did not ask for the kernel"),
            ("boot-program-silent", program.mac_text(), "Secure Boot"),
        ] {
            let line = diagnosis(server, name)?;
            assert_eq!(line["mac"], mac.as_str(), "{line}");
            assert!(line["message"].as_str().unwrap().contains(words), "{line}");
        }
        let text = server.process().transcript().text();
        let mut steps = text.lines().filter(|line| line.contains(&whole.mac_text())).peekable();
        assert!(steps.peek().is_some(), "{text}");
        assert!(!steps.any(|line| line.contains("\"diagnosis\"")), "it went its way: {text}");
        Ok(())
    });
}

#[test]
fn check_lan_takes_no_address_wants_its_capability_and_leaves_the_box_as_it_was() {
    on_a_lan("check_lan", &Office::NamesAFile, |lab, server, _| {
        let (output, said) = check_lan(lab.server(), &["--interface", "eth0"])?;
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("DHCP server 10.77.0.1 offers 10.77.0."), "{said}");
        assert!(said.contains("note: DHCP server 10.77.0.1 names a boot file itself"), "{said}");
        assert!(said.contains("fine: a proxy can boot machines here"), "{said}");
        let leases = fs::read_to_string(lab.scratch().join("leases")).unwrap_or_default();
        assert!(leases.is_empty(), "{leases}");
        assert!(!lab.office().transcript().text().contains("DHCPREQUEST"));
        let asked = lab.capture()?.datagrams()?;
        assert!(asked.iter().any(|datagram| datagram.ports == (68, 67)), "nothing was asked");

        let mut command = lab.server().command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        command.args(["--", &lab.scratch().join("bootbox").to_string_lossy()]);
        let output = command.args(["check", "--lan", "--interface", "eth0"]).output()?;
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("CAP_NET_RAW"), "{output:?}");

        let (output, said) = check_lan(lab.server(), &["--interface", "eth7"])?;
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("eth0 (10.77.0.2)"), "{said}");
        let known = lab
            .server()
            .command(BINARY)
            .args(["machines", "--config"])
            .arg(lab.scratch().join("bootbox.toml"))
            .output()?;
        assert_eq!(known.status.code(), Some(0), "{known:?}");
        assert!(!String::from_utf8_lossy(&known.stdout).contains("0a:4d:00:02"), "{known:?}");
        // The discovers of made-up machines are no boots.
        let text = server.process().transcript().text();
        for mac in ["02:b0:0a:4d:00:02", "06:b0:0a:4d:00:02"] {
            assert!(!text.contains(mac), "{text}");
        }
        Ok(())
    });
}
