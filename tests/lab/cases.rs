//! The ways a machine gets from power-on to a kernel that the lab can show.
//! The boot tests prove each; the benchmark times each, ours beside the peer's.

use std::time::Duration;

use super::machine::{Firmware, Hardware, Machine, Nic};
use super::office::Office;
use super::server::{Server, Subject};
use super::site::Site;
use super::{Failure, Lab};

/// No machine may take longer than this to its `/init`; generous, because a busy
/// two-core machine emulates slowly.
pub const ARRIVAL: Duration = Duration::from_secs(120);

/// One way to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// SeaBIOS, the e1000's ROM, script over HTTP.
    BiosE1000,
    /// SeaBIOS, the virtio card's ROM.
    BiosVirtio,
    /// SeaBIOS, vmxnet3's ROM, VMware's SMBIOS strings.
    BiosVmxnet3,
    /// OVMF's PXE, snponly.efi by TFTP, script over HTTP.
    Ovmf,
    /// SeaBIOS, ROM takes undionly.kpxe by TFTP, then the script over HTTP.
    Undionly,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::BiosE1000, Self::BiosVirtio, Self::BiosVmxnet3, Self::Ovmf, Self::Undionly];

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::BiosE1000 => "SeaBIOS, e1000 ROM",
            Self::BiosVirtio => "SeaBIOS, virtio ROM",
            Self::BiosVmxnet3 => "SeaBIOS, vmxnet3 ROM",
            Self::Ovmf => "OVMF PXE, snponly",
            Self::Undionly => "ROM, undionly chain",
        }
    }

    /// The DHCP server it needs.
    pub fn office(self) -> Office {
        match self {
            Self::Undionly => Office::ChainsUndionly,
            Self::BiosE1000 | Self::BiosVirtio | Self::BiosVmxnet3 | Self::Ovmf => Office::Plain,
        }
    }

    /// The machine it needs.
    pub fn hardware(self) -> Hardware {
        let (firmware, nic, mac) = match self {
            Self::BiosE1000 => (Firmware::Bios, Nic::E1000, "52:54:00:b0:00:01"),
            Self::BiosVirtio => (Firmware::Bios, Nic::Virtio, "52:54:00:b0:00:02"),
            Self::BiosVmxnet3 => (Firmware::Bios, Nic::Vmxnet3, "00:50:56:b0:00:03"),
            Self::Ovmf => (Firmware::Ovmf, Nic::Virtio, "52:54:00:b0:00:04"),
            Self::Undionly => (Firmware::Bios, Nic::E1000, "52:54:00:b0:00:05"),
        };
        let hardware = Hardware::new("machine", firmware, nic, mac);
        if self == Self::BiosVmxnet3 {
            return hardware.vmware().uuid("564d6b8e-2a11-c0de-1234-56789abcdef0");
        }
        hardware
    }

    /// Boots one machine this way; the console it leaves, and power-on to `/init`.
    /// The proof is a word that only the server's configuration holds.
    pub fn boot(self, lab: &mut Lab, subject: &Subject) -> Result<(String, Duration), Failure> {
        let hardware = self.hardware();
        let secret = format!("{self:?}-{}", std::process::id());
        let site = Site::new().boots(Some(&hardware.mac), &secret);
        let _server = Server::start(lab, subject, &site)?;
        let machine = Machine::power_on(lab, &hardware)?;
        if self == Self::Undionly {
            machine.wait_for("undionly.kpxe... ok", ARRIVAL)?;
            lab.change_office(&Office::Plain)?;
        }
        let (line, took) = machine.wait_for_init(ARRIVAL)?;
        expect_arguments(&line, &hardware.mac, &secret)?;
        Ok((machine.console(), took))
    }
}

/// Holds a kernel command line to what the configuration renders for a machine.
pub fn expect_arguments(line: &str, mac: &str, secret: &str) -> Result<(), Failure> {
    for wanted in [
        format!("lab.mac={mac}"),
        format!("lab.from=http://{}", super::BOX),
        format!("lab.secret={secret}"),
    ] {
        if !line.split(' ').any(|word| word == wanted) {
            return Err(Failure::new(format!("no {wanted:?} in the command line: {line}")));
        }
    }
    Ok(())
}
