//! Real machines, from power-on to the kernel's `/init`, in network namespaces.
//! The proof of a boot is the guest's console printing a value that only the
//! server's configuration holds. With `BOOTBOX_UNDER_TEST=peer` the same cases
//! run against dnsmasq and nginx: if both fail, the lab is broken.

// A test stops at the first thing that is not as it should be, and tells its times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod lab;

use std::time::Duration;

use lab::asked::Asked;
use lab::cases::{ARRIVAL, Case, expect_arguments};
use lab::client::OrdinaryClient;
use lab::guest::DISK_BOOTED;
use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::office::Office;
use lab::server::{Server, Subject};
use lab::site::Site;
use lab::{BOX_MAC, Failure, Lab};

const RED: &str = "52:54:00:b0:01:01";
const BLUE: &str = "52:54:00:b0:01:02";

fn subject() -> Subject {
    Subject::from_environment(env!("CARGO_BIN_EXE_bootbox"))
}

fn boots(name: &str, case: Case, on_the_way: &[&str]) {
    lab::run(name, &case.office(), 1, |lab| arrives(lab, case, on_the_way));
}

fn arrives(lab: &mut Lab, case: Case, on_the_way: &[&str]) -> Result<(), Failure> {
    let (console, took) = case.boot(lab, &subject())?;
    println!("{}: power-on to /init {:.1} s", case.name(), took.as_secs_f64());
    expect_steps(&console, on_the_way)
}

fn expect_steps(console: &str, on_the_way: &[&str]) -> Result<(), Failure> {
    match on_the_way.iter().find(|step| !console.contains(**step)) {
        Some(step) => Err(Failure::new(format!("the console never said {step:?}"))),
        None => Ok(()),
    }
}

#[test]
fn a_vmware_machine_with_the_vmxnet3_rom_boots() {
    boots(
        "a_vmware_machine_with_the_vmxnet3_rom_boots",
        Case::BiosVmxnet3,
        &["SeaBIOS", "/boot.ipxe... ok", "DMI: VMware"],
    );
}

#[test]
fn ovmf_takes_snponly_by_tftp_in_time_and_boots() {
    let (name, case) = ("ovmf_takes_snponly_by_tftp_in_time_and_boots", Case::Ovmf);
    lab::run(name, &case.office(), 1, |lab| {
        let steps = ["NBP filename is snponly.efi", "NBP file downloaded", "/boot.ipxe... ok"];
        arrives(lab, case, &steps)?;
        // EDK2 collects offers for four seconds.
        lab.capture()?.asks_tftp_within(&case.hardware().mac, Duration::from_millis(4500))
    });
}

#[test]
fn a_rom_takes_undionly_by_tftp_and_boots() {
    boots(
        "a_rom_takes_undionly_by_tftp_and_boots",
        Case::Undionly,
        &["tftp://10.77.0.2/undionly.kpxe... ok", "using undionly", "/boot.ipxe... ok"],
    );
}

#[test]
fn the_e1000_and_the_virtio_rom_get_two_machines_at_once_to_their_own_profiles() {
    let name = "the_e1000_and_the_virtio_rom_get_two_machines_at_once_to_their_own_profiles";
    lab::run(name, &Office::Plain, 2, |lab| {
        let site = Site::new().boots(Some(RED), "red-profile").boots(Some(BLUE), "blue-profile");
        let _server = Server::start(lab, &subject(), &site)?;
        let red = Hardware::new("red", Firmware::Bios, Nic::Virtio, RED);
        let blue = Hardware::new("blue", Firmware::Bios, Nic::E1000, BLUE);
        let red = Machine::power_on(lab, &red)?;
        let blue = Machine::power_on(lab, &blue)?;
        for (machine, mac, profile) in [(red, RED, "red-profile"), (blue, BLUE, "blue-profile")] {
            expect_arguments(&machine.wait_for_init(ARRIVAL)?.0, mac, profile)?;
            expect_steps(&machine.console(), &["SeaBIOS", "/boot.ipxe... ok"])?;
        }
        Ok(())
    });
}

#[test]
fn a_machine_no_group_matches_boots_its_own_disk() {
    lab::run("a_machine_no_group_matches_boots_its_own_disk", &Office::Plain, 1, |lab| {
        let site = Site::new().boots(Some(RED), "somebody-else");
        let _server = Server::start(lab, &subject(), &site)?;
        let stranger = Hardware::new("stranger", Firmware::Bios, Nic::E1000, BLUE).disk();
        let machine = Machine::power_on(lab, &stranger)?;
        machine.wait_for(DISK_BOOTED, ARRIVAL)?;

        let replies = lab.capture()?.dhcp_replies_to(BLUE)?;
        if !replies.contains(&[10, 77, 0, 1]) {
            return Err(Failure::new("the machine never heard the office DHCP: no proof"));
        }
        let ours = replies.iter().filter(|&&from| from == [10, 77, 0, 2]).count();
        let frames = lab.capture()?.frames_between(BOX_MAC, BLUE)?;
        if ours + frames > 0 {
            return Err(Failure::new(format!(
                "the boot server sent {ours} DHCP replies and {frames} frames to a stranger"
            )));
        }
        Ok(())
    });
}

/// A machine that has been installed, in a group that hands it to its disk by a script.
fn is_handed_to_its_disk(name: &str, hand_off: &str, hardware: &Hardware, proof: &str) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let group =
            format!("[[group]]\nname = \"g\"\nprofile = \"p\"\nhand-off = \"{hand_off}\"\n");
        let asked = Asked::begin(lab, env!("CARGO_BIN_EXE_bootbox").as_ref(), &group)?;
        asked.fetch(&format!("http://10.77.0.2/ipxe?mac={}", hardware.mac))?;
        asked.reports_installed()?;

        let machine = Machine::power_on(lab, hardware)?;
        machine.wait_for("its install script said so", ARRIVAL)?;
        machine.wait_for(proof, ARRIVAL)?;
        Ok(())
    });
}

#[test]
fn sanboot_hands_a_bios_machine_to_its_disk() {
    let hardware = Hardware::new("machine", Firmware::Bios, Nic::E1000, RED).disk();
    let name = "sanboot_hands_a_bios_machine_to_its_disk";
    is_handed_to_its_disk(name, "sanboot", &hardware, DISK_BOOTED);
}

#[test]
fn exit_hands_a_bios_machine_to_its_disk() {
    let hardware = Hardware::new("machine", Firmware::Bios, Nic::Virtio, RED).disk();
    let name = "exit_hands_a_bios_machine_to_its_disk";
    is_handed_to_its_disk(name, "exit", &hardware, DISK_BOOTED);
}

#[test]
fn exit_hands_a_uefi_machine_to_its_next_boot_device() {
    let hardware = Hardware::new("machine", Firmware::Ovmf, Nic::Virtio, RED).disk();
    let name = "exit_hands_a_uefi_machine_to_its_next_boot_device";
    // In OVMF's own order that is the next protocol of the same card; a disk comes after all of them.
    is_handed_to_its_disk(name, "exit", &hardware, ">>Start PXE over IPv6");
}

#[test]
fn a_server_killed_while_the_kernel_downloads_is_forgiven() {
    lab::run("a_server_killed_while_the_kernel_downloads_is_forgiven", &Office::Plain, 1, |lab| {
        let site = Site::new().boots(Some(RED), "after-the-crash");
        let mut server = Server::start(lab, &subject(), &site)?;
        // 14 MB of kernel take 4 s at this speed: time to strike in the middle.
        lab.throttle(30)?;
        let machine = Hardware::new("machine", Firmware::Bios, Nic::Virtio, RED);
        let machine = Machine::power_on(lab, &machine)?;
        lab.wait_for_bytes_sent(4_000_000, ARRIVAL)?;
        server.kill();
        if machine.console().contains("vmlinuz... ok") {
            return Err(Failure::new("the kernel had arrived already: nothing was tested"));
        }
        std::thread::sleep(Duration::from_secs(1));
        server.restart(lab)?;
        expect_arguments(&machine.wait_for_init(ARRIVAL)?.0, RED, "after-the-crash")
    });
}

#[test]
fn a_server_killed_after_tftp_is_forgiven() {
    lab::run("a_server_killed_after_tftp_is_forgiven", &Office::Plain, 1, |lab| {
        let site = Site::new().boots(Some(RED), "after-the-crash");
        let mut server = Server::start(lab, &subject(), &site)?;
        let machine = Hardware::new("machine", Firmware::Ovmf, Nic::Virtio, RED);
        let machine = Machine::power_on(lab, &machine)?;
        machine.wait_for("NBP file downloaded", ARRIVAL)?;
        server.kill();
        machine.wait_for("Features:", ARRIVAL)?;
        server.restart(lab)?;
        expect_arguments(&machine.wait_for_init(ARRIVAL)?.0, RED, "after-the-crash")
    });
}

#[test]
fn an_ordinary_dhcp_client_sees_no_difference() {
    const DESK: &str = "02:00:00:00:77:99";
    lab::run("an_ordinary_dhcp_client_sees_no_difference", &Office::Plain, 0, |lab| {
        let client = OrdinaryClient::plug_in(lab, DESK)?;
        let without = client.ask(lab)?;
        let replies_without = lab.capture()?.dhcp_replies_to(DESK)?;

        let site = Site::new().boots(None, "every-machine");
        let _server = Server::start(lab, &subject(), &site)?;
        let with = client.ask(lab)?;
        let replies = lab.capture()?.dhcp_replies_to(DESK)?;

        if without.get("serverid").map(String::as_str) != Some(lab::ROUTER) {
            return Err(Failure::new(format!("not the office's lease: {without:?}")));
        }
        if with != without {
            return Err(Failure::new(format!("before: {without:?}\nafter: {with:?}")));
        }
        if replies.len() != 2 * replies_without.len() {
            return Err(Failure::new(format!("replies on the wire: {replies:?}")));
        }
        if replies.iter().any(|&from| from != [10, 77, 0, 1]) {
            return Err(Failure::new(format!("somebody else answered: {replies:?}")));
        }
        let advertised = lab.capture()?.advertised_to(BOX_MAC)?;
        if lab.capture()?.frames_between(BOX_MAC, DESK)? + advertised.len() > 0 {
            return Err(Failure::new("the boot server spoke to an ordinary client"));
        }
        Ok(())
    });
}
