//! UEFI HTTP Boot with real firmware: of iPXE by its URL, and of unified images that are composed
//! for one machine, on x64 and on ARM64. The proof is a word that only the server's configuration
//! holds, on the guest's console.

// A test stops at the first thing that is not as it should be, and tells its times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

// The machine that is only its packets plays iPXE, too, which it does not here.
#[allow(dead_code)]
#[path = "ledger/guest.rs"]
mod guest_walker;
mod lab;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use guest_walker::{Guest, IMAGE};
use lab::cases::{ARRIVAL, expect_arguments};
use lab::guest;
use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::office::Office;
use lab::server::{Bootbox, Server, Subject};
use lab::site::{Profile, Site};
use lab::walker::{Stage, Walker, port_68};
use lab::{Failure, Lab};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const MAC: &str = "52:54:00:b0:02:01";
const STUB: &str = "linuxx64.efi.stub";

fn ours() -> Subject {
    Subject::Bootbox(BINARY.into())
}

/// Boots one machine; its console says each of these on the way.
fn boots(
    name: &str,
    firmware: Firmware,
    site: fn(&Lab) -> Result<Site, Failure>,
    on_the_way: &[&str],
) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let _server = Server::start(lab, &ours(), &site(lab)?)?;
        let hardware = Hardware::new("machine", firmware, Nic::Virtio, MAC);
        let machine = Machine::power_on(lab, &hardware)?;
        let (line, took) = machine.wait_for_init(ARRIVAL)?;
        println!("{name}: power-on to /init {:.1} s", took.as_secs_f64());
        expect_arguments(&line, MAC, "by-http")?;
        let console = machine.console();
        for step in on_the_way {
            if !console.contains(step) {
                return Err(Failure::new(format!("the console never said {step:?}")));
            }
        }
        Ok(())
    });
}

fn stubs(lab: &Lab) -> PathBuf {
    lab.scratch().join("firmware")
}

/// The tables that name the folder of stubs, and what x64 is given.
fn tables(lab: &Lab, program: &str) -> String {
    let dir = stubs(lab);
    format!("[firmware]\ndir = {dir:?}\n[boot.programs]\nuefi-x64 = \"{program}\"\n")
}

#[test]
fn ovmf_takes_snponly_by_http_and_boots() {
    boots(
        "ovmf_takes_snponly_by_http_and_boots",
        Firmware::OvmfHttp,
        |_| Ok(Site::new().boots(Some(MAC), "by-http")),
        &["HTTP Boot over IPv4", "http://10.77.0.2/snponly.efi", "/boot.ipxe... ok"],
    );
}

#[test]
fn ovmf_takes_its_own_unified_image_and_boots() {
    boots(
        "ovmf_takes_its_own_unified_image_and_boots",
        Firmware::OvmfHttp,
        |lab| {
            guest::install_stub(&stubs(lab))?;
            let site = Site::new().boots(Some(MAC), "by-http");
            Ok(site.also(&tables(lab, STUB)))
        },
        &["HTTP Boot over IPv4", "/linuxx64.efi.stub/52-54-00-b0-02-01.efi"],
    );
}

#[test]
fn an_arm64_machine_takes_its_own_unified_image_and_boots() {
    boots(
        "an_arm64_machine_takes_its_own_unified_image_and_boots",
        Firmware::AavmfHttp,
        |lab| {
            let repository = lab.scratch().join("repository");
            guest::install_arm64(&repository.join("arm64"), &stubs(lab))?;
            let args = ["console=ttyAMA0", "lab.mac={{ mac }}", "lab.from={{ base_url }}"];
            let mut args: Vec<String> = args.map(str::to_owned).into();
            args.push("lab.secret=by-http".to_owned());
            let profile = Profile {
                name: "arm64".to_owned(),
                kernel: "/arm64/vmlinuz".to_owned(),
                initrd: "/arm64/initrd.img".to_owned(),
                args,
            };
            let site = Site::new().profile(Some(MAC), profile);
            Ok(site.also(&tables(lab, "snponly.efi")))
        },
        &["HTTP Boot over IPv4", "/linuxaa64.efi.stub/52-54-00-b0-02-01.efi"],
    );
}

/// The key that makes the image the last thing that the installer needs.
const IMAGE_KEY: &str = "coreos.inst.image_url=";

/// A config whose machines install once, by images made with systemd's stub, and its folders.
fn lay_out(folder: &Path, groups: &str) -> Result<PathBuf, Failure> {
    let (root, dir) = (folder.join("repository"), folder.join("firmware"));
    guest::install_stub(&dir)?;
    fs::create_dir_all(root.join("coreos/1122.2.0"))?;
    // It is an EFI program for the right processor, as a kernel is.
    fs::copy(dir.join(STUB), root.join("k"))?;
    fs::write(root.join("i"), vec![b'i'; 300_001])?;
    fs::write(root.join("j"), vec![b'j'; 10])?;
    fs::write(root.join("old"), vec![0x7f; 100])?;
    fs::write(root.join(&IMAGE[1..]), vec![b'd'; 200_000])?;
    fs::write(root.join(format!("{}.sig", &IMAGE[1..])), vec![b's'; 543])?;
    let file = folder.join("site.toml");
    fs::write(
        &file,
        format!(
            "[network]\ninterfaces = [\"eth0\"]\n[repository]\nroot = {root:?}\n[firmware]\ndir = {dir:?}\n\
             [boot.programs]\nuefi-x64 = \"{STUB}\"\n\
             [[profile]]\nname = \"p\"\nkernel = \"/k\"\ninitrd = [\"/i\", \"/j\"]\n\
             args = [\"lab.mac={{{{ mac }}}}\", \"{IMAGE_KEY}{{{{ base_url }}}}{IMAGE}\"]\ninstall = \"once\"\n\
             [[profile]]\nname = \"old\"\nkernel = \"/old\"\n{groups}"
        ),
    )?;
    Ok(file)
}

/// Machines of these numbers at a desk, and the server.
fn plays(name: &str, groups: &str, body: fn([Guest; 3]) -> Result<(), Failure>) {
    lab::run(name, &Office::Plain, 0, |lab| {
        let config = lay_out(lab.scratch(), groups)?;
        let _server = Bootbox::start(lab, Path::new(BINARY), &config, "text")?;
        let desk = lab.desk("desk", "02:00:00:00:77:60")?;
        let guest = |number: u8| {
            let walker = Walker {
                mac: [0x52, 0x54, 0, 0xbb, 0, number],
                address: Ipv4Addr::new(10, 77, 0, 60 + number),
                to: Ipv4Addr::BROADCAST,
            };
            Guest { walker, ..Guest::number(0) }
        };
        let guests = [1, 2, 3].map(guest);
        for guest in &guests {
            desk.run(&format!("ip address add {}/24 dev eth0", guest.walker.address))?;
        }
        desk.enter(|| body(guests))?
    });
}

/// The path that it is offered; none where it is left alone.
fn offered(guest: &Guest) -> Result<Option<String>, Failure> {
    let limit = std::time::Duration::from_millis(900);
    let offer = guest.walker.offer_within(&port_68()?, Stage::Http, limit)?;
    guest.walker.take_lease(&port_68()?)?;
    Ok(offer.map(|offer| offer.file.trim_start_matches("http://10.77.0.2").to_owned()))
}

/// The bytes of a section of an EFI program.
fn section<'a>(image: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let number = |at: usize, len: usize| {
        image[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte))
    };
    let pe = number(0x3c, 4);
    let table = pe + 24 + number(pe + 20, 2);
    let entry = (0..number(pe + 6, 2))
        .map(|index| table + 40 * index)
        .find(|&entry| image[entry..].starts_with(name))?;
    Some(&image[number(entry + 20, 4)..][..number(entry + 8, 4)])
}

#[test]
fn an_image_is_its_machines_script_and_installs_once() {
    let name = "an_image_is_its_machines_script_and_installs_once";
    plays(name, "[[group]]\nname = \"g\"\nprofile = \"p\"\n", |[guest, stranger, _]| {
        let path = offered(&guest)?.unwrap();
        assert_eq!(path, format!("/{STUB}/52-54-00-bb-00-01.efi"));
        for _ in 0..3 {
            let head = guest.asks("HEAD", &path)?;
            assert_eq!((head.status, head.body.len()), (200, 0), "{}", head.head);
        }
        let head = guest.asks("HEAD", &path)?.head;
        // A part is not to be had, and there is nothing to ask for it with.
        let image = guest.asks_with("GET", &path, "Range: bytes=5-9\r\n")?;
        assert!(image.status == 200 && image.is_whole, "{}", image.head);
        let without_date = |head: &str| -> Vec<String> {
            head.lines().filter(|line| !line.starts_with("Date:")).map(str::to_owned).collect()
        };
        assert_eq!(without_date(&head), without_date(&image.head));
        assert!(head.contains("Content-Type: application/efi\r\n") && !head.contains("ETag"));
        let initrd = [vec![b'i'; 300_001], vec![0; 3], vec![b'j'; 10]].concat();
        let stub = fs::read(format!("/usr/lib/systemd/boot/efi/{STUB}"))?;
        let line = format!("lab.mac=52:54:00:bb:00:01 {IMAGE_KEY}http://10.77.0.2{IMAGE}");
        for (name, bytes) in
            [(".cmdline", line.as_bytes()), (".linux", &stub), (".initrd", &initrd)]
        {
            assert!(section(&image.body, name.as_bytes()) == Some(bytes), "{name}");
        }

        // It comes back before it has the image: another attempt.
        assert!(offered(&guest)?.is_some());
        assert!(guest.asks("GET", &path)?.is_whole);
        for file in [format!("{IMAGE}.sig"), IMAGE.to_owned()] {
            assert!(guest.asks("GET", &file)?.is_whole);
        }
        assert_eq!(offered(&guest)?, None, "an offer after the whole image");
        for method in ["HEAD", "GET"] {
            let answer = guest.asks(method, &path)?;
            assert_eq!(answer.status, 404, "{}", answer.head);
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(
                said.contains("is not given: p is installed since ") || method == "HEAD",
                "{said}"
            );
        }

        // Nobody is another's image, or one without a stub.
        for path in ["/linuxaa64.efi.stub/52-54-00-bb-00-02.efi", "/k/52-54-00-bb-00-02.efi"] {
            assert_eq!(stranger.asks("GET", path)?.status, 404, "{path}");
        }
        Ok(())
    });
}

#[test]
fn who_cannot_have_an_image_is_told_why() {
    let groups = "[[group]]\nname = \"a\"\nprofile = \"p\"\n[group.selector]\nserial = \"x\"\n\
                  [[group]]\nname = \"b\"\nprofile = \"old\"\n[group.selector]\n\
                  mac = \"52:54:00:bb:00:02\"\n\
                  [[group]]\nname = \"c\"\nprofile = \"p\"\n[group.selector]\n\
                  mac = \"52:54:00:bb:00:03\"\narch = \"i386\"\n";
    plays("who_cannot_have_an_image_is_told_why", groups, |[serial, old, arch]| {
        assert_eq!(offered(&serial)?, None, "its firmware will never tell its serial");
        assert_eq!(offered(&arch)?, None, "it is no i386");
        assert!(offered(&old)?.is_some());
        for (guest, why) in [
            (serial, "without iPXE it tells only mac, uuid, arch and firmware"),
            (old, "the kernel of profile old is no kernel that UEFI can start"),
            (arch, "no group matches 52:54:00:bb:00:03"),
        ] {
            let mac = guest.walker.mac_text().replace(':', "-");
            let answer = guest.asks("GET", &format!("/{STUB}/{mac}.efi"))?;
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 404 && said.contains(why), "{said}");
        }
        Ok(())
    });
}

#[test]
fn without_ipxe_no_machine_falls_past_a_narrower_group_into_one_that_installs() {
    let name = "without_ipxe_no_machine_falls_past_a_narrower_group_into_one_that_installs";
    let groups = "[[profile]]\nname = \"ram\"\nkernel = \"/k\"\n\
                  [[group]]\nname = \"wide\"\nprofile = \"p\"\n\
                  [[group]]\nname = \"desk\"\nprofile = \"ram\"\n[group.selector]\n\
                  product = \"Desk\"\n\
                  [[group]]\nname = \"sure\"\nprofile = \"ram\"\n[group.selector]\n\
                  mac = \"52:54:00:bb:00:02\"\n";
    plays(name, groups, |[unsure, sure, ipxe]| {
        assert_eq!(offered(&unsure)?, None, "it may be a desk");
        let path = format!("/{STUB}/52-54-00-bb-00-01.efi");
        for method in ["HEAD", "GET"] {
            let answer = unsure.asks(method, &path)?;
            assert_eq!(answer.status, 404, "{method}: {}", answer.head);
            let said = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(said.contains("told too little") || method == "HEAD", "{said}");
        }
        assert_eq!(offered(&unsure)?, None, "nothing of it was remembered as all");
        let path = offered(&sure)?.unwrap();
        assert_eq!(sure.asks("GET", &path)?.status, 200);
        let told = "/ipxe?mac=52:54:00:bb:00:03&product=Box&platform=efi";
        let script = ipxe.asks("GET", told)?;
        assert!(String::from_utf8_lossy(&script.body).contains("kernel "), "iPXE told all");
        // Anybody could have told that, and it installs.
        assert_eq!(offered(&ipxe)?, None, "by its own word it may be a desk");
        let image = ipxe.asks("GET", &format!("/{STUB}/52-54-00-bb-00-03.efi"))?;
        let said = String::from_utf8_lossy(&image.body).into_owned();
        assert!(
            image.status == 404 && said.contains("only by what was told of it earlier"),
            "{said}"
        );
        let short = ipxe.asks("GET", "/ipxe?mac=52:54:00:bb:00:03")?;
        assert!(!String::from_utf8_lossy(&short.body).contains("\nkernel "), "it tells too little");
        Ok(())
    });
}

#[test]
fn a_stub_that_is_none_is_said_at_load() {
    let folder = std::env::temp_dir().join(format!("bootbox-unified-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let config =
        lay_out(&folder, "[[group]]\nname = \"g\"\nprofile = \"p\"\nevery-machine = true\n")
            .unwrap();
    let text = fs::read_to_string(&config).unwrap().replace("\"eth0\"", "\"lo\"");
    fs::write(&config, &text).unwrap();
    let check = || {
        let output =
            Command::new(BINARY).args(["check", "--config"]).arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let stub = folder.join("firmware").join(STUB);
    fs::write(folder.join("firmware/linuxaa64.efi.stub"), "no stub").unwrap();
    let (code, said) = check();
    assert!(code == Some(0), "{said}");
    let usual = "/linuxaa64.efi.stub is no EFI program, or only the beginning of one; put systemd's \
                 linuxaa64.efi.stub there";
    assert!(said.contains(usual), "{said}");
    let bytes = fs::read(&stub).unwrap();
    fs::write(&stub, &bytes[..bytes.len() / 2]).unwrap();
    let (code, said) = check();
    assert!(code == Some(78) && said.contains("/linuxx64.efi.stub is no EFI program"), "{said}");
    fs::write(&stub, bytes).unwrap();
    fs::write(&config, text.replace("uefi-x64", "uefi-arm64")).unwrap();
    let (code, said) = check();
    let other = "/linuxx64.efi.stub is for UEFI x64, not for UEFI ARM64";
    assert!(code == Some(78) && said.contains(other), "{said}");
    fs::remove_dir_all(folder).unwrap();
}
