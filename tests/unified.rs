//! UEFI HTTP Boot with real firmware: of iPXE by its URL, and of unified images that are composed
//! for one machine, on x64 and on ARM64. The proof is a word that only the server's configuration
//! holds, on the guest's console.

// A test stops at the first thing that is not as it should be, and tells its times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod lab;

use lab::cases::{ARRIVAL, expect_arguments};
use lab::guest;
use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::office::Office;
use lab::server::{Server, Subject};
use lab::site::{Profile, Site};
use lab::{Failure, Lab};

const MAC: &str = "52:54:00:b0:02:01";

fn ours() -> Subject {
    Subject::Bootbox(env!("CARGO_BIN_EXE_bootbox").into())
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

fn stubs(lab: &Lab) -> std::path::PathBuf {
    lab.scratch().join("firmware")
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
            Ok(site.firmware(&stubs(lab), "linuxx64.efi.stub"))
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
            Ok(site.firmware(&stubs(lab), "snponly.efi"))
        },
        &["HTTP Boot over IPv4", "/linuxaa64.efi.stub/52-54-00-b0-02-01.efi"],
    );
}
