//! `make demo`: the main job, to look at. A private network with a plain DHCP
//! server, `bootbox serve` beside it, a blank BIOS machine and a blank UEFI
//! machine powered on together; the boot log live; and at the end what each
//! machine's own kernel printed. Argument 1: the binary (target/release/bootbox).

// A program that shows something to a person writes to the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../lab/mod.rs"]
mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::guest::{self, ARRIVED};
use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::office::Office;
use lab::server::Bootbox;
use lab::{BOX, BOX_INTERFACE, Failure, Lab, ROUTER};

/// Both machines must be there by then.
const LIMIT: Duration = Duration::from_secs(120);

const BIOS_MAC: &str = "52:54:00:b0:00:0b";
const UEFI_MAC: &str = "52:54:00:b0:00:0e";

fn main() -> ExitCode {
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nThe demo did not work:\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<(), Failure> {
    let binary = std::env::args_os().nth(1).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/bootbox"),
        PathBuf::from,
    );
    let binary = fs::canonicalize(&binary)
        .map_err(|error| Failure::new(format!("{}: {error}", binary.display())))?;

    heading("An office network, private to this process");
    let lab = Lab::new("demo", &Office::Plain)?;
    println!("dnsmasq gives addresses at {ROUTER} and knows nothing about booting.");

    let config = lab.evidence().join("bootbox.toml");
    let repository = lab.scratch().join("repository");
    guest::install(&repository.join("lab"))?;
    let text = configuration(&repository);
    fs::write(&config, &text)?;
    heading("bootbox serve, with this configuration");
    print!("{text}");

    heading(&format!("The boot log of bootbox at {BOX}, as it happens"));
    let mut bootbox = Bootbox::start(&lab, &binary, &config, "text")?;
    let log = bootbox.process().transcript().clone();
    let mut cursor = 0;
    relay(&log.next_lines(&mut cursor, Duration::from_millis(200)));

    let bios = Hardware::new("bios", Firmware::Bios, Nic::Virtio, BIOS_MAC);
    let uefi = Hardware::new("uefi", Firmware::Ovmf, Nic::Virtio, UEFI_MAC);
    println!(
        "-- a blank BIOS machine ({BIOS_MAC}) and a blank UEFI machine ({UEFI_MAC}): power on"
    );
    let bios = Machine::power_on(&lab, &bios)?;
    let uefi = Machine::power_on(&lab, &uefi)?;

    let deadline = Instant::now() + LIMIT;
    let mut arrived = [("BIOS", &bios, false), ("UEFI", &uefi, false)];
    while Instant::now() < deadline && arrived.iter().any(|machine| !machine.2) {
        relay(&log.next_lines(&mut cursor, Duration::from_millis(100)));
        for (name, machine, there) in &mut arrived {
            if !*there && machine.console().contains(ARRIVED) {
                *there = true;
                let (_, took) = machine.wait_for_init(Duration::from_secs(5))?;
                println!(
                    "-- the {name} machine runs Linux, {:.1} s after power-on",
                    took.as_secs_f64()
                );
            }
        }
        if bootbox.process().has_ended()? {
            return Err(Failure::new("bootbox ended; its last lines are above"));
        }
    }
    relay(&log.next_lines(&mut cursor, Duration::ZERO));

    heading("What each machine's own kernel printed on its console");
    for (name, machine, _) in arrived {
        let (line, took) = machine.wait_for_init(Duration::ZERO)?;
        println!("{name}, {:.1} s after power-on:\n  {line}", took.as_secs_f64());
    }
    println!("\nConsoles and logs are in {}", lab.evidence().display());
    Ok(())
}

fn heading(text: &str) {
    println!("\n== {text}");
}

fn relay(lines: &[String]) {
    for line in lines {
        println!("   {line}");
    }
}

fn configuration(repository: &Path) -> String {
    format!(
        r#"[network]
interfaces = ["{BOX_INTERFACE}"]

[repository]
root = "{}"

[[profile]]
name = "demo"
kernel = "/lab/vmlinuz"
initrd = ["/lab/initrd.img"]
args = ["console=ttyS0", "quiet", "demo.mac={{{{ mac }}}}", "demo.server={{{{ base_url }}}}"]

[[group]]
name = "everybody"
profile = "demo"
"#,
        repository.display()
    )
}
