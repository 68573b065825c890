//! Real machines with Secure Boot on and Microsoft's keys: what is signed boots, what is not is
//! refused, and the ledger's word stands for GRUB as it does for iPXE.

// A test stops at the first thing that is not as it should be, and tells its times.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::asked::Asked;
use lab::cases::expect_arguments;
use lab::disk::run;
use lab::guest::{DISK_BOOTED, Signed};
use lab::machine::{Firmware, Hardware, Machine, Nic};
use lab::office::Office;
use lab::server::{Server, Subject};
use lab::site::Site;
use lab::{Failure, Lab};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const MAC: &str = "52:54:00:b0:05:01";
/// Who is installed, and who is not.
const GROUPS: &str = "[[profile]]\nname = \"other\"\nkernel = \"/lab/vmlinuz\"\n\
                      [[group]]\nname = \"g\"\nprofile = \"p\"\n\
                      [[group]]\nname = \"desks\"\nprofile = \"other\"\n\
                      [group.selector]\nproduct = \"Desk\"\n";
/// What the kernel says.
const SECURE: &str = "secureboot: Secure boot enabled";
/// GRUB loads the kernel by TFTP, a KiB at a time, and shim hashes it: an emulated machine needs
/// most of a minute, and a busy one more.
const ARRIVAL: Duration = Duration::from_secs(240);

fn subject() -> Subject {
    Subject::Bootbox(BINARY.into())
}

fn machine(name: &str) -> Hardware {
    Hardware::new(name, Firmware::SecureOvmf, Nic::Virtio, MAC)
}

/// Debian's shim and GRUB as boot programs.
fn signed_programs(lab: &Lab) -> Result<PathBuf, Failure> {
    let folder = lab.scratch().join("firmware");
    fs::create_dir_all(&folder)?;
    fs::copy(Signed::Shim.path()?, folder.join("shimx64.efi"))?;
    fs::copy(Signed::NetworkGrub.path()?, folder.join("grubx64.efi"))?;
    Ok(folder)
}

/// What gives them to machines, in a config.
fn shim_in(folder: &Path) -> String {
    let folder = folder.display();
    format!("[firmware]\ndir = \"{folder}\"\n[boot.programs]\nuefi-x64 = \"shimx64.efi\"\n")
}

/// Takes the signature off a kernel.
fn unsign(kernel: &Path) -> Result<(), Failure> {
    run(&format!("sbattach --remove {}", kernel.display())).map(drop)
}

#[test]
fn a_signed_kernel_boots_through_shim_and_grub() {
    lab::run("a_signed_kernel_boots_through_shim_and_grub", &Office::NextServer, 1, |lab| {
        let site = Site::new().boots(Some(MAC), "signed").also(&shim_in(&signed_programs(lab)?));
        let _server = Server::start(lab, &subject(), &site)?;
        let machine = Machine::power_on(lab, &machine("machine"))?;
        let (line, took) = machine.wait_for_init(ARRIVAL)?;
        println!("Secure Boot, shim, GRUB: power-on to /init {:.1} s", took.as_secs_f64());
        expect_arguments(&line, MAC, "signed")?;
        let console = machine.console();
        for step in ["Fetching Netboot Image grubx64.efi", SECURE] {
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
        let site = Site::new().boots(Some(MAC), "unsigned").also(&shim_in(&signed_programs(lab)?));
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

/// A key of the machine's owner, and what it has signed.
struct Key(PathBuf);

impl Key {
    fn make(folder: &Path) -> Result<Self, Failure> {
        let key = Self(folder.join("owner"));
        let name = key.0.display();
        run(&format!(
            "openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=lab \
             -keyout {name}.key -out {name}.pem"
        ))?;
        run(&format!("openssl x509 -in {name}.pem -outform DER -out {name}.der"))?;
        Ok(key)
    }

    fn sign(&self, program: &Path) -> Result<(), Failure> {
        let (key, program) = (self.0.display(), program.display());
        run(&format!("sbsign --key {key}.key --cert {key}.pem --output {program} {program}"))?;
        Ok(())
    }

    /// What a firmware remembers that knows it.
    fn enrolled(&self) -> Result<PathBuf, Failure> {
        let store = self.0.with_extension("vars");
        lab::nvram::with_key(&fs::read(self.0.with_extension("der"))?, &store)?;
        Ok(store)
    }
}

/// Makes a unified kernel image of systemd's stub, the lab's kernel and its initramfs.
fn unified(folder: &Path, cmdline: &str) -> Result<PathBuf, Failure> {
    const STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
    lab::guest::install(folder)?;
    fs::write(folder.join("cmdline"), cmdline)?;
    let image = folder.join("unified.efi");
    let mut sections = String::new();
    for (section, file, address) in [
        (".cmdline", "cmdline", 0x0003_0000),
        (".linux", "vmlinuz", 0x0200_0000),
        (".initrd", "initrd.img", 0x0400_0000),
    ] {
        let file = folder.join(file);
        sections += &format!(" --add-section {section}={}", file.display());
        sections += &format!(" --change-section-vma {section}={address:#x}");
    }
    run(&format!("objcopy{sections} {STUB} {}", image.display()))?;
    Ok(image)
}

/// A signed unified image is refused by a machine that `begins` its boot so, and boots once its
/// firmware knows who signed it.
fn boots_by_its_signer(name: &str, begins: &str, made: impl Fn(&str) -> Hardware) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let folder = lab.scratch().join("firmware");
        fs::create_dir(&folder)?;
        let key = Key::make(lab.scratch())?;
        let image = unified(&folder, "console=ttyS0 lab.secret=sealed")?;
        key.sign(&image)?;
        let programs = shim_in(&folder).replace("shimx64.efi", "unified.efi");
        let site = Site::new().boots(Some(MAC), "sealed").also(&programs);
        let _server = Server::start(lab, &subject(), &site)?;

        let stranger = Machine::power_on(lab, &made("stranger"))?;
        stranger.wait_for(begins, ARRIVAL)?;
        stranger.wait_for("Access Denied", ARRIVAL)?;
        stranger.power_cut();
        let machine = Machine::power_on(lab, &made("owned").remembers(&key.enrolled()?))?;
        let (line, took) = machine.wait_for_init(ARRIVAL)?;
        println!("{begins}, a signed image: power-on to /init {:.1} s", took.as_secs_f64());
        match line.contains("lab.secret=sealed") && machine.console().contains(SECURE) {
            true => Ok(()),
            false => Err(Failure::new(format!("no word of Secure Boot, or another line: {line}"))),
        }
    });
}

#[test]
fn a_unified_image_boots_where_the_firmware_knows_who_signed_it() {
    let name = "a_unified_image_boots_where_the_firmware_knows_who_signed_it";
    boots_by_its_signer(name, "Start PXE over IPv4", |name| machine(name).signed_disk());
}

#[test]
fn http_boot_takes_a_signed_program_and_refuses_one_of_a_stranger() {
    let name = "http_boot_takes_a_signed_program_and_refuses_one_of_a_stranger";
    let http = |name: &str| Hardware { firmware: Firmware::SecureOvmfHttp, ..machine(name) };
    boots_by_its_signer(name, "Start HTTP Boot over IPv4", http);
}

/// A server that installs all machines but desks once.
fn asked(lab: &Lab) -> Result<Asked<'_>, Failure> {
    Asked::begin(lab, BINARY.as_ref(), GROUPS)
}

#[test]
fn the_ledgers_word_stands_for_grub() {
    lab::run("the_ledgers_word_stands_for_grub", &Office::Plain, 0, |lab| {
        let asked = asked(lab)?;
        let own = format!("tftp://10.77.0.2/grub.cfg;mac={MAC};product=Box;platform=efi");
        let linux = "\nlinux '/lab/vmlinuz'\n";
        // The first config decides nothing, whatever its name.
        for first in ["grub/grub.cfg", "grub.cfg-01-52-54-00-b0-05-01", "grub.cfg-0A4D0032"] {
            asked.expect(&format!("tftp://10.77.0.2/{first}"), "source \"/grub.cfg;mac=", linux)?;
            asked.expect(&format!("http://10.77.0.2/{first}"), "source \"/grub.cfg;mac=", linux)?;
        }
        // It may be a desk, and the group of all others would install it.
        let half = format!("tftp://10.77.0.2/grub.cfg;mac={MAC}");
        asked.expect(&half, "told too little of itself", linux)?;

        asked.expect(&own, linux, "is installed since")?;
        asked.expect_attempts(MAC, 1)?;
        // Asked again before anything was fetched: a packet was lost, or GRUB looked first.
        asked.expect(&own.replace("tftp", "http"), linux, "held")?;
        asked.expect_attempts(MAC, 1)?;
        asked.desk.run("curl -fsS -m 60 -o /dev/null tftp://10.77.0.2/lab/vmlinuz")?;
        asked.expect(&own, linux, "held")?;
        asked.expect_attempts(MAC, 2)?;
        // Words of an earlier request choose no group that installs: anybody can ask in its name.
        asked.expect(&half, "only by what was told of it earlier", linux)?;
        asked.expect_attempts(MAC, 2)?;

        asked.machine(&format!("hold {MAC} --reason because"))?;
        let question = format!("source '/grub.cfg;mac={MAC};product=Box;platform=efi'");
        asked.expect(&own, &question, linux)?;
        asked.machine(&format!("release {MAC}"))?;
        asked.fetch(&own)?;
        asked.reports_installed()?;
        asked.expect(&own, "p is installed since", linux)?;
        asked.expect(&half, "p is installed since", linux)
    });
}

#[test]
fn a_grub_that_names_no_card_is_not_installed_by_its_address() {
    let name = "a_grub_that_names_no_card_is_not_installed_by_its_address";
    lab::run(name, &Office::Plain, 0, |lab| {
        let asked = asked(lab)?;
        let linux = "\nlinux '/lab/vmlinuz'\n";
        let [uuid, other] =
            ["564da6d2-1706-6343-dc2d-0123456789ab", "564da6d2-1706-6343-dc2d-0123456789ac"];
        let all = "product=Box;platform=efi";
        asked.expect(
            &format!("tftp://10.77.0.2/grub.cfg;mac={MAC};uuid={uuid};{all}"),
            linux,
            "held",
        )?;
        asked.expect_attempts(MAC, 1)?;
        asked.desk.run("curl -fsS -m 60 -o /dev/null tftp://10.77.0.2/lab/vmlinuz")?;
        for scheme in ["tftp", "http"] {
            let named =
                |uuid: &str| format!("{scheme}://10.77.0.2/grub.cfg;mac=;uuid={uuid};{all}");
            asked.expect(&named(uuid), "only by what was told of it earlier", linux)?;
            asked.expect(&named(""), "only by what was told of it earlier", linux)?;
            asked.expect(&named(other), "nobody knows which machine it is", linux)?;
        }
        asked.expect_attempts(MAC, 1)?;
        let said = asked.machine(&format!("machine {MAC} --json"))?;
        match said.contains(uuid) && !said.contains(other) {
            true => Ok(()),
            false => Err(Failure::new(format!("another's UUID was written down: {said}"))),
        }
    });
}

#[test]
fn an_operators_own_grub_config_wins() {
    lab::run("an_operators_own_grub_config_wins", &Office::Plain, 0, |lab| {
        let asked = asked(lab)?;
        let grub = lab.scratch().join("repository/grub");
        fs::create_dir(&grub)?;
        fs::write(grub.join("grub.cfg"), "echo theirs\n")?;
        for scheme in ["tftp", "http"] {
            asked.expect(
                &format!("{scheme}://10.77.0.2/grub/grub.cfg"),
                "echo theirs",
                "source",
            )?;
            let url = format!("{scheme}://10.77.0.2/snp/autoexec.ipxe");
            asked.expect(&url, "chain --replace http://10.77.0.2/boot.ipxe ||", "theirs")?;
        }
        fs::write(lab.scratch().join("repository/autoexec.ipxe"), "#!ipxe\necho theirs\n")?;
        asked.expect("tftp://10.77.0.2/autoexec.ipxe", "echo theirs", "chain")
    });
}

/// Debian's iPXE is too old to ask for it, and is sent there.
#[test]
fn ipxe_gets_to_its_script_from_autoexec() {
    lab::run("ipxe_gets_to_its_script_from_autoexec", &Office::NamesAutoexec, 1, |lab| {
        let site = Site::new().boots(Some(MAC), "autoexec");
        let _server = Server::start(lab, &subject(), &site)?;
        let hardware = Hardware::new("machine", Firmware::Bios, Nic::E1000, MAC);
        let machine = Machine::power_on(lab, &hardware)?;
        let (line, _) = machine.wait_for_init(ARRIVAL)?;
        expect_arguments(&line, MAC, "autoexec")?;
        match machine.console().contains("/snp/autoexec.ipxe... ok") {
            true => Ok(()),
            false => Err(Failure::new("autoexec.ipxe was not what it booted by")),
        }
    });
}

#[test]
fn a_held_machine_waits_in_grub_until_its_operator_installs_it() {
    let name = "a_held_machine_waits_in_grub_until_its_operator_installs_it";
    lab::run(name, &Office::NextServer, 1, |lab| {
        let programs = signed_programs(lab)?;
        let asked = Asked::begin(lab, BINARY.as_ref(), &format!("{GROUPS}{}", shim_in(&programs)))?;
        let own = format!("tftp://10.77.0.2/grub.cfg;mac={MAC};product=Box;platform=efi");
        asked.fetch(&own)?;
        asked.machine(&format!("hold {MAC} --reason because"))?;
        let machine = Machine::power_on(lab, &machine("machine").signed_disk())?;
        let held = machine.wait_for("this machine is held", ARRIVAL)?;
        // Asked again, it says why again, and waits on.
        machine.wait_past(held.end, "bootbox: because", ARRIVAL)?;
        asked.machine(&format!("reinstall {MAC}"))?;
        machine.wait_for("EFI stub: UEFI Secure Boot is enabled", ARRIVAL)?;
        match machine.console().contains(DISK_BOOTED) {
            true => Err(Failure::new("its disk was booted")),
            false => Ok(()),
        }
    });
}
