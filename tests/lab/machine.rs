//! A QEMU machine on the LAN: described by [`Hardware`], powered on by
//! [`Machine::power_on`], observed only through its serial console, and gone
//! when dropped. TCG only, one processor, no default devices.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::nvram::{self, First, Store};
use super::process::{Process, Sighting};
use super::{Failure, Lab, guest};

const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const AAVMF_CODE: &str = "/usr/share/AAVMF/AAVMF_CODE.fd";
const OVMF_SECURE_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";

/// Bytes of a disk to install to; a file with holes.
const BLANK_DISK: u64 = 2 << 30;

/// What the machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS; the network card's option ROM does PXE.
    Bios,
    /// OVMF with its own PXE stack; the card has no ROM.
    Ovmf,
    /// The same, whose owner has put HTTP Boot first.
    OvmfHttp,
    /// The same of an ARM64 machine.
    AavmfHttp,
    /// OVMF with Secure Boot on and Microsoft's keys, as PCs are sold.
    SecureOvmf,
    /// The same, whose owner has put HTTP Boot first.
    SecureOvmfHttp,
}

impl Firmware {
    /// Whether its owner has put HTTP Boot first.
    fn is_http(self) -> bool {
        match self {
            Self::OvmfHttp | Self::AavmfHttp | Self::SecureOvmfHttp => true,
            Self::Bios | Self::Ovmf | Self::SecureOvmf => false,
        }
    }
}

/// The network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// Intel 82540EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// AMD PCnet32.
    Pcnet,
    /// Realtek 8139.
    Rtl8139,
    /// virtio-net.
    Virtio,
    /// VMware's.
    Vmxnet3,
}

/// One machine, as bought.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// The name of its console in logs and evidence.
    pub name: String,
    /// What it starts with.
    pub firmware: Firmware,
    /// Its network card.
    pub nic: Nic,
    /// The card's address.
    pub mac: String,
    /// SMBIOS system UUID.
    pub uuid: Option<String>,
    /// SMBIOS strings as VMware's machines have them.
    pub vmware: bool,
    /// Its disk, tried after the network.
    pub disk: Disk,
    /// What its firmware remembers when it is new; none is what such firmware is sold with.
    pub store: Option<PathBuf>,
}

/// What a machine has for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// None.
    Absent,
    /// `/dev/sda` of 2 GiB on VMware's controller, blank at first, kept from one
    /// power-on to the next.
    Blank,
    /// One whose boot sector says that it booted, and nothing else.
    Marker,
    /// The same for UEFI: Debian's signed shim and GRUB, and a config that says so.
    SignedMarker,
}

impl Hardware {
    /// A blank machine.
    pub fn new(name: &str, firmware: Firmware, nic: Nic, mac: &str) -> Self {
        Self {
            name: name.to_owned(),
            firmware,
            nic,
            mac: mac.to_owned(),
            uuid: None,
            vmware: false,
            disk: Disk::Absent,
            store: None,
        }
    }

    /// Whether its owner has set a boot order in its firmware's menu.
    fn has_boot_order(&self) -> bool {
        self.firmware.is_http()
            || match self.disk {
                Disk::Absent | Disk::Marker => false,
                Disk::Blank | Disk::SignedMarker => self.firmware != Firmware::Bios,
            }
    }

    /// The same, with VMware's SMBIOS strings.
    pub fn vmware(self) -> Self {
        Self { vmware: true, ..self }
    }

    /// The same, with this SMBIOS UUID.
    pub fn uuid(self, uuid: &str) -> Self {
        Self { uuid: Some(uuid.to_owned()), ..self }
    }

    /// The same, with a disk that boots when the network does not.
    pub fn disk(self) -> Self {
        Self { disk: Disk::Marker, ..self }
    }

    /// The same, whose firmware remembers what is in this store.
    pub fn remembers(self, store: &Path) -> Self {
        Self { store: Some(store.to_owned()), ..self }
    }

    /// The same, with a disk that UEFI boots with Secure Boot on.
    pub fn signed_disk(self) -> Self {
        Self { disk: Disk::SignedMarker, ..self }
    }

    /// The same, with a blank disk to install to, and the memory to do so.
    pub fn blank_disk(self) -> Self {
        Self { disk: Disk::Blank, ..self }
    }
}

/// A machine that has been powered on.
pub struct Machine {
    qemu: Process,
}

impl Machine {
    /// Plugs `hardware` into the LAN and switches it on.
    pub fn power_on(lab: &Lab, hardware: &Hardware) -> Result<Self, Failure> {
        let tap = lab.tap()?;
        let name = &hardware.name;
        // A small cache of translated code: after a reboot, GRUB writes over what the old
        // system ran, and QEMU gives every such page up slowly (36 s fell to 16 s).
        let accelerator = if hardware.disk == Disk::Blank { "tcg,tb-size=64" } else { "tcg" };
        let mut command = lab.bridge().command(match hardware.firmware == Firmware::AavmfHttp {
            true => "qemu-system-aarch64",
            false => "qemu-system-x86_64",
        });
        command
            .args(["-accel", accelerator, "-smp", "1", "-nodefaults", "-display", "none"])
            .args(["-vga", "none", "-serial", "stdio", "-monitor", "none"]);
        if hardware.firmware == Firmware::Bios {
            // graphics=off makes SeaBIOS, and so every ROM, speak on the serial port.
            command.args(["-machine", "pc,graphics=off"]);
        } else {
            let vars = lab.scratch().join(format!("{name}.vars"));
            flash(&mut command, hardware, &vars)?;
        }
        command
            .arg("-netdev")
            .arg(format!("tap,id=lan,ifname={tap},script=no,downscript=no"))
            .args(["-device", &card(hardware)]);
        if let Some(uuid) = &hardware.uuid {
            command.args(["-uuid", uuid]);
        }
        if hardware.vmware {
            let serial = "VMware-56 4d 6b 8e 2a 11 c0 de-12 34 56 78 9a bc de f0";
            command.arg("-smbios").arg(format!(
                "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform,serial={serial}"
            ));
        }
        attach(&mut command, hardware, &lab.scratch().join(format!("{name}.img")))?;
        let console = lab.evidence().join(format!("{name}.console"));
        let name = format!("machine {name}");
        Ok(Self { qemu: Process::spawn_interactive(&name, command, &console)? })
    }

    /// Waits for a console line holding `needle`.
    pub fn wait_for(&self, needle: &str, limit: Duration) -> Result<Sighting, Failure> {
        self.qemu.wait_for(needle, limit)
    }

    /// Waits until `/init` speaks: the kernel's command line, and the time from
    /// power-on to there.
    pub fn wait_for_init(&self, limit: Duration) -> Result<(String, Duration), Failure> {
        let sighting = self.wait_for(guest::ARRIVED, limit)?;
        let took = sighting.at.duration_since(self.qemu.started());
        let (_, line) = sighting.line.split_once(guest::ARRIVED).unwrap_or_default();
        Ok((line.to_owned(), took))
    }

    /// The same, looking only past `mark`, the end of an earlier sighting.
    pub fn wait_past(
        &self,
        mark: usize,
        needle: &str,
        limit: Duration,
    ) -> Result<Sighting, Failure> {
        self.qemu.transcript().wait_for(needle, mark, limit)
    }

    /// Types a line at the serial console.
    pub fn type_line(&mut self, line: &str) -> Result<(), Failure> {
        self.qemu.type_line(line)
    }

    /// When it was switched on.
    pub fn powered_on(&self) -> Instant {
        self.qemu.started()
    }

    /// Pulls the plug. The disk keeps what was written to it.
    pub fn power_cut(mut self) {
        self.qemu.kill();
    }

    /// Pulls the plug of a machine whose console is still to be read.
    pub fn unplug(&mut self) {
        self.qemu.kill();
    }

    /// The complete lines past `cursor`, which moves on; waits up to `limit` for one.
    pub fn next_lines(&self, cursor: &mut usize, limit: Duration) -> Vec<String> {
        self.qemu.transcript().next_lines(cursor, limit)
    }

    /// Everything the console showed so far.
    pub fn console(&self) -> String {
        self.qemu.transcript().text()
    }
}

/// OVMF's two flash chips: its code, and what it remembers.
fn flash(command: &mut Command, hardware: &Hardware, vars: &Path) -> Result<(), Failure> {
    let store = match hardware.firmware {
        Firmware::AavmfHttp => Store::Aavmf,
        Firmware::SecureOvmf | Firmware::SecureOvmfHttp => Store::Microsoft,
        Firmware::Bios | Firmware::Ovmf | Firmware::OvmfHttp => Store::Blank,
    };
    let bytes = match &hardware.store {
        Some(own) => fs::read(own)?,
        None => store.read()?,
    };
    if hardware.has_boot_order() {
        let first = if hardware.firmware.is_http() { First::Http } else { First::PxeThenDisk };
        nvram::write(bytes, first, &hardware.mac, vars)?;
    } else {
        fs::write(vars, bytes)?;
    }
    if store == Store::Aavmf {
        nvram::fill_arm64(vars)?;
    }
    let code = match store {
        Store::Aavmf => {
            command.args(["-machine", "virt", "-cpu", "cortex-a57"]);
            AAVMF_CODE
        }
        Store::Blank => {
            command.args(["-machine", "q35,graphics=off"]);
            OVMF_CODE
        }
        Store::Microsoft => {
            // Only its system management mode may write to the flash.
            command.args(["-machine", "q35,smm=on,graphics=off", "-global"]);
            command.arg("driver=cfi.pflash01,property=secure,value=on");
            OVMF_SECURE_CODE
        }
    };
    let flash = "if=pflash,format=raw";
    command
        .arg("-drive")
        .arg(format!("{flash},readonly=on,file={code}"))
        .arg("-drive")
        .arg(format!("{flash},file={}", vars.display()));
    Ok(())
}

/// The disk at `file`, and the memory that goes with it.
fn attach(command: &mut Command, hardware: &Hardware, file: &Path) -> Result<(), Failure> {
    let drive = format!("if=none,id=disk,format=raw,file={}", file.display());
    match hardware.disk {
        Disk::Absent => {
            // A unified image is in memory three times: as it came, in its sections, as it runs.
            let memory = if hardware.firmware.is_http() { "1024" } else { "512" };
            command.args(["-m", memory, "-no-reboot"]);
        }
        Disk::Blank => {
            if !file.exists() {
                File::create(file)?.set_len(BLANK_DISK)?;
            }
            // VMware's controller, which Debian's OVMF has no driver for.
            let (controller, order) = match hardware.firmware == Firmware::Bios {
                true => ("pvscsi".to_owned(), ",bootindex=2"),
                false => (format!("virtio-scsi-pci,addr={}", nvram::DISK_SLOT), ""),
            };
            command
                .args(["-m", "1024", "-device", &controller])
                .args(["-drive", &format!("{drive},cache=unsafe")])
                .args(["-device", &format!("scsi-hd,drive=disk{order}")]);
        }
        Disk::Marker => {
            guest::disk(file)?;
            command
                .args(["-m", "512", "-no-reboot", "-drive", &drive])
                .args(["-device", "ide-hd,drive=disk,bootindex=2"]);
        }
        Disk::SignedMarker => {
            guest::signed_disk(file)?;
            let controller = format!("virtio-scsi-pci,addr={}", nvram::DISK_SLOT);
            command.args(["-m", "512", "-no-reboot", "-device", &controller]).args([
                "-drive",
                &drive,
                "-device",
                "scsi-hd,drive=disk",
            ]);
        }
    }
    Ok(())
}

fn card(hardware: &Hardware) -> String {
    let device = match hardware.nic {
        Nic::E1000 => "e1000",
        Nic::E1000e => "e1000e",
        Nic::Pcnet => "pcnet",
        Nic::Rtl8139 => "rtl8139",
        Nic::Virtio => "virtio-net-pci",
        Nic::Vmxnet3 => "vmxnet3",
    };
    // An empty romfile leaves OVMF alone with its own PXE stack.
    let rom = if hardware.firmware == Firmware::Bios { "" } else { ",romfile=" };
    // A boot order from QEMU would overrule the one in the firmware's own memory.
    let order = match hardware.has_boot_order() {
        true => format!("addr={}", nvram::NIC_SLOT),
        false => "bootindex=1".to_owned(),
    };
    let mac = &hardware.mac;
    format!("{device},netdev=lan,mac={mac},{order}{rom}")
}
