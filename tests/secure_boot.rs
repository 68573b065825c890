//! Real machines with Secure Boot on and Microsoft's keys: what is signed boots, what is not is
//! refused, and the ledger's word stands for GRUB as it does for iPXE.

// A test stops at the first thing that is not as it should be, and tells its times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod lab;

use std::fs;
use std::path::{Path, PathBuf};

use lab::cases::{ARRIVAL, expect_arguments};
use lab::disk::run;
use lab::guest::{DISK_BOOTED, NETWORK_GRUB, SHIM};
use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::office::Office;
use lab::server::{Server, Subject};
use lab::site::Site;
use lab::{Failure, Lab};

const MAC: &str = "52:54:00:b0:05:01";

fn subject() -> Subject {
    Subject::Bootbox(env!("CARGO_BIN_EXE_bootbox").into())
}

fn machine(name: &str) -> Hardware {
    Hardware::new(name, Firmware::SecureOvmf, Nic::Virtio, MAC)
}

/// Debian's shim and GRUB as boot programs.
fn signed_programs(lab: &Lab) -> Result<PathBuf, Failure> {
    let folder = lab.scratch().join("firmware");
    fs::create_dir_all(&folder)?;
    fs::copy(SHIM, folder.join("snponly.efi"))?;
    fs::copy(NETWORK_GRUB, folder.join("grubx64.efi"))?;
    Ok(folder)
}

/// Takes the signature off a kernel.
fn unsign(kernel: &Path) -> Result<(), Failure> {
    run(&format!("sbattach --remove {}", kernel.display())).map(drop)
}

#[test]
fn a_signed_kernel_boots_through_shim_and_grub() {
    lab::run("a_signed_kernel_boots_through_shim_and_grub", &Office::NextServer, 1, |lab| {
        let site = Site::new().boots(Some(MAC), "signed").firmware(&signed_programs(lab)?);
        let _server = Server::start(lab, &subject(), &site)?;
        let machine = Machine::power_on(lab, &machine("machine"))?;
        let (line, took) = machine.wait_for_init(ARRIVAL)?;
        println!("Secure Boot, shim, GRUB: power-on to /init {:.1} s", took.as_secs_f64());
        expect_arguments(&line, MAC, "signed")?;
        let console = machine.console();
        for step in ["Fetching Netboot Image grubx64.efi", "secureboot: Secure boot enabled"] {
            if !console.contains(step) {
                return Err(Failure::new(format!("the console never said {step:?}")));
            }
        }
        Ok(())
    });
}

#[test]
fn an_unsigned_kernel_is_refused_and_the_machine_goes_on_to_its_disk() {
    let name = "an_unsigned_kernel_is_refused_and_the_machine_goes_on_to_its_disk";
    lab::run(name, &Office::NextServer, 1, |lab| {
        let site = Site::new().boots(Some(MAC), "unsigned").firmware(&signed_programs(lab)?);
        let repository = lab.scratch().join("repository");
        lab::guest::install(&repository.join("lab"))?;
        unsign(&repository.join("lab/vmlinuz"))?;
        let _server = Server::start(lab, &subject(), &site)?;
        let machine = Machine::power_on(lab, &machine("machine").signed_disk())?;
        machine.wait_for("bad shim signature", ARRIVAL)?;
        machine.wait_for("bootbox: Secure Boot refuses the kernel of profile unsigned", ARRIVAL)?;
        machine.wait_for(DISK_BOOTED, ARRIVAL)?;
        match machine.console().contains("Linux version") {
            true => Err(Failure::new("an unsigned kernel ran")),
            false => Ok(()),
        }
    });
}

#[test]
fn an_unsigned_boot_program_is_refused_and_the_machine_goes_on() {
    let name = "an_unsigned_boot_program_is_refused_and_the_machine_goes_on";
    lab::run(name, &Office::Plain, 1, |lab| {
        let site = Site::new().boots(Some(MAC), "unsigned");
        let _server = Server::start(lab, &subject(), &site)?;
        let machine = Machine::power_on(lab, &machine("machine").signed_disk())?;
        machine.wait_for("Access Denied", ARRIVAL)?;
        machine.wait_for(DISK_BOOTED, ARRIVAL)?;
        Ok(())
    });
}
