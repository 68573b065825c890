//! The post, from a blank disk to the third boot, with real machines: one line on the
//! serial console for each step that the guest takes.
//! Two tests need nothing of bootbox but its boot service: they hold the lab to account
//! when a story fails (`cargo test --test install -- --ignored`).

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "install/killed.rs"]
mod killed;
mod lab;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lab::guest::systems::Family;
use lab::machine::{Firmware, Hardware, Nic};
use lab::office::Office;
use lab::server::{Server, Subject};
use lab::story::{Actor, INSTALLS, Plan, STEP, Script, Story};
use lab::{Failure, Lab};

const VMWARE: &str = "00:50:56:b0:02:01";
const UEFI: &str = "52:54:00:b0:02:02";

fn bootbox() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bootbox"))
}

/// The post's machine: VMware's card with its ROM and VMware's strings, network first,
/// and nothing on its disk.
fn vmware_machine() -> Hardware {
    Hardware::new("vmware", Firmware::Bios, Nic::Vmxnet3, VMWARE)
        .vmware()
        .uuid("564d6b8e-2a11-c0de-1234-56789abcdef0")
        .blank_disk()
}

fn uefi_machine() -> Hardware {
    Hardware::new("uefi", Firmware::Ovmf, Nic::Virtio, UEFI).blank_disk()
}

/// Installs with a server that forgets nothing because it knows nothing: it has to be
/// taken away for the machine to come up from its disk.
fn installs_by_hand(name: &str, hardware: &Hardware) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let plan = Plan::new(Script::Posts)?;
        plan.lay_out(&lab.scratch().join("repository"))?;
        let subject = Subject::from_environment(env!("CARGO_BIN_EXE_bootbox"));
        let mut server = Server::start(lab, &subject, &plan.site(&hardware.mac))?;
        let mut machine = Actor::power_on(lab, hardware)?;
        machine.passes(&INSTALLS)?;
        server.kill();
        machine.comes_up_from_disk(1)
    });
}

#[test]
#[ignore = "holds the lab to account when a story fails"]
fn the_posts_files_install_a_vmware_machine_by_hand() {
    installs_by_hand("the_posts_files_install_a_vmware_machine_by_hand", &vmware_machine());
}

#[test]
#[ignore = "holds the lab to account when a story fails"]
fn the_posts_files_install_a_uefi_machine_by_hand() {
    installs_by_hand("the_posts_files_install_a_uefi_machine_by_hand", &uefi_machine());
}

#[test]
fn the_real_ignition_prepares_a_disk() {
    lab::run("the_real_ignition_prepares_a_disk", &Office::Plain, 1, |lab| {
        let hardware = vmware_machine();
        let plan = Plan::of(Family::Flatcar, Script::Look)?;
        plan.lay_out(&lab.scratch().join("repository"))?;
        let subject = Subject::from_environment(env!("CARGO_BIN_EXE_bootbox"));
        let _server = Server::start(lab, &subject, &plan.site(&hardware.mac))?;
        let mut machine = Actor::power_on(lab, &hardware)?;
        machine.passes(&["LAB-RAM up: flatcar", "LAB-RAM ignition: done"])?;
        machine.passes(&["LAB-RAM ROOT is /dev/sda1", "LAB-RAM script: exit 0"])
    });
}

/// Power-on, RAM, installation, and then two boots from disk in which we said nothing.
fn installs_once(name: &str, hardware: &Hardware, script: Script) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let story = Story::begin(lab, bootbox(), Plan::new(script)?)?;
        let mut machine = Actor::power_on(lab, hardware)?;
        machine.passes(&INSTALLS)?;
        let offers = offers_to(lab, hardware)?;
        machine.comes_up_from_disk(1)?;
        story.expect_state(lab, &hardware.mac, "installed")?;
        machine.reboot()?;
        machine.comes_up_from_disk(2)?;
        story.expect_state(lab, &hardware.mac, "installed")?;
        expect_no_more_offers(lab, hardware, offers)
    });
}

/// Holds the server to have said nothing to a machine since it said this much.
fn expect_no_more_offers(lab: &Lab, hardware: &Hardware, offers: usize) -> Result<(), Failure> {
    match (offers, offers_to(lab, hardware)?) {
        (0, _) => Err(Failure::new("no offer is in the capture: no proof")),
        (before, now) if before == now => Ok(()),
        _ => Err(Failure::new("an installed machine was offered a boot")),
    }
}

/// How many DHCP messages the boot server has sent to this machine.
fn offers_to(lab: &Lab, hardware: &Hardware) -> Result<usize, Failure> {
    let replies = lab.capture()?.dhcp_replies_to(&hardware.mac)?;
    Ok(replies.iter().filter(|&&from| from == [10, 77, 0, 2]).count())
}

#[test]
fn a_blank_uefi_machine_is_installed_once() {
    installs_once("a_blank_uefi_machine_is_installed_once", &uefi_machine(), Script::Careful);
}

#[test]
fn the_posts_script_installs_a_vmware_machine_once() {
    let name = "the_posts_script_installs_a_vmware_machine_once";
    installs_once(name, &vmware_machine(), Script::Posts);
}

#[test]
fn an_image_with_a_strangers_signature_is_never_installed() {
    let name = "an_image_with_a_strangers_signature_is_never_installed";
    lab::run(name, &Office::Plain, 1, |lab| {
        let story = Story::begin(lab, bootbox(), Plan::new(Script::Careful)?)?;
        story.plan.release.sign_wrongly(&story.repository)?;
        let mut machine = Actor::power_on(lab, &vmware_machine())?;
        for attempt in 1..=3 {
            machine.sees("LAB-RAM coreos-install: the image is not good")?;
            machine.sees("LAB-RAM idle")?;
            let (state, attempts) = story.state(lab, VMWARE)?;
            if state == "installed" || attempts != attempt {
                return Err(Failure::new(format!("{state} after attempt {attempts}")));
            }
            machine.reboot()?;
        }
        machine.sees("held after 3 attempts")?;
        story.expect_state(lab, VMWARE, "held")?;
        let (runs, disk_boots) = (machine.has_shown("LAB-RAM up"), machine.has_shown("LAB-DISK"));
        if (runs, disk_boots) != (3, 0) {
            return Err(Failure::new(format!("{runs} attempts, {disk_boots} lines from the disk")));
        }
        Ok(())
    });
}

#[test]
fn a_power_cut_in_the_middle_of_the_image_is_forgiven() {
    let name = "a_power_cut_in_the_middle_of_the_image_is_forgiven";
    lab::run(name, &Office::Plain, 1, |lab| {
        let story = Story::begin(lab, bootbox(), Plan::new(Script::Careful)?)?;
        let mut machine = Actor::power_on(lab, &vmware_machine())?;
        machine.sees("LAB-RAM coreos-install: writing")?;
        lab.wait_for_bytes_sent(4_000_000, STEP)?;
        if machine.has_shown("Success") > 0 {
            return Err(Failure::new("the image had arrived already: nothing was tested"));
        }
        machine.power_cut();
        story.expect_state(lab, VMWARE, "installing")?;

        let mut machine = Actor::power_on(lab, &vmware_machine())?;
        machine.passes(&INSTALLS)?;
        machine.comes_up_from_disk(1)?;
        story.expect_state(lab, VMWARE, "installed")
    });
}

#[test]
fn a_blank_vmware_machine_is_installed_once_and_again_by_reinstall_and_forget() {
    let name = "a_blank_vmware_machine_is_installed_once_and_again_by_reinstall_and_forget";
    lab::run(name, &Office::Plain, 1, |lab| {
        let story = Story::begin(lab, bootbox(), Plan::new(Script::Careful)?)?;
        let hardware = vmware_machine();
        let mut machine = Actor::power_on(lab, &hardware)?;
        machine.passes(&INSTALLS)?;
        let offers = offers_to(lab, &hardware)?;
        machine.comes_up_from_disk(1)?;
        story.expect_state(lab, VMWARE, "installed")?;
        expect_no_more_offers(lab, &hardware, offers)?;

        story.command(lab, &["reinstall", VMWARE])?;
        machine.reboot()?;
        machine.passes(&INSTALLS)?;
        // The counter is on the disk: it starts anew with a new image.
        machine.comes_up_from_disk(1)?;
        story.expect_state(lab, VMWARE, "installed")?;

        if story.command(lab, &["forget", VMWARE]).is_ok() {
            return Err(Failure::new("forget did so without --yes"));
        }
        story.expect_state(lab, VMWARE, "installed")?;
        story.command(lab, &["forget", VMWARE, "--yes"])?;
        machine.reboot()?;
        // What follows is what followed twice.
        machine.sees("LAB-RAM script: fetched")?;
        story.expect_state(lab, VMWARE, "installing")
    });
}

/// `BOOTBOX_KILLS` says how often, `BOOTBOX_SEED` when.
#[test]
#[ignore = "takes a quarter of an hour and more: cargo test --test install killed -- --ignored --nocapture"]
fn a_machine_whose_server_is_killed_at_random_is_never_installed_twice() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let kills = usize::try_from(number("BOOTBOX_KILLS").unwrap_or(50)).unwrap();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("BOOTBOX_SEED").unwrap_or_else(clock).max(1);
    let tally = killed::stories(kills, seed, bootbox(), &vmware_machine());
    assert!(tally.kills >= kills, "{tally:?}");
}
