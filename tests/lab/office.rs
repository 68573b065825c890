//! The office's own DHCP server: dnsmasq giving addresses and nothing about
//! booting, as bootbox finds it. One variant names a boot file to network card
//! ROMs, which is how a ROM is made to take undionly.kpxe by TFTP.

use std::path::Path;
use std::time::Duration;

use super::namespace::Namespace;
use super::process::Process;
use super::{BOX, Failure};

/// What the DHCP server of the LAN says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Office {
    /// Addresses, a router, and no word about PXE.
    Plain,
    /// As `Plain`, but sends NIC ROMs to BOX for `undionly.kpxe`. QEMU's ROMs are
    /// iPXE and would take the script from the proxy at once; option 175.176
    /// (no-pxedhcp) makes them heed this server only. undionly's own discover
    /// differs from the ROM's in nothing but the broadcast flag (seen with Debian's
    /// build), so the lab turns this office into a plain one once the ROM has it.
    ChainsUndionly,
    /// As `Plain`, but names a boot file of its own to everybody, as routers with a
    /// left-over setting do. Nobody has that file.
    NamesAFile,
    /// As `ChainsUndionly`, but the ROMs, which are iPXE, are sent to BOX for the script that newer
    /// iPXE fetches beside itself.
    NamesAutoexec,
    /// As `Plain`, with BOX as its "next server" (siaddr), and no boot file.
    NextServer,
    /// As `Plain`, but says option 60 `PXEClient` of itself, as a server does that was once set up
    /// beside WDS: machines then ask it for their boot file, and no proxy counts.
    ClaimsPxe,
    /// Nobody gives addresses.
    Absent,
}

impl Office {
    /// Starts it in `router`, on `eth0`.
    pub fn open(
        &self,
        router: &Namespace,
        scratch: &Path,
        evidence: &Path,
    ) -> Result<Process, Failure> {
        if *self == Self::Absent {
            let mut command = router.command("sleep");
            command.arg("3600");
            return Process::spawn("nobody", command, &evidence.join("office.log"));
        }
        let mut command = router.command("dnsmasq");
        command
            .args(["--keep-in-foreground", "--conf-file=/dev/null"])
            .args(["--log-facility=-", "--log-dhcp", "--pid-file="])
            .args(["--user=root", "--group=", "--port=0"])
            .args(["--interface=eth0", "--bind-dynamic"])
            // Its 3 s ping of an address before offering it would be measured as the boot server's.
            .arg("--no-ping")
            .arg("--dhcp-range=10.77.0.100,10.77.0.200,255.255.255.0,1h")
            .arg(format!("--dhcp-leasefile={}", scratch.join("leases").display()));
        match self {
            Self::ChainsUndionly => {
                command
                    .arg("--dhcp-vendorclass=set:rom,PXEClient:Arch:00000")
                    .arg(format!("--dhcp-boot=tag:rom,undionly.kpxe,,{BOX}"))
                    .arg("--dhcp-option-force=tag:rom,encap:175,176,1b");
            }
            Self::ClaimsPxe => {
                command.arg("--dhcp-option-force=60,PXEClient");
            }
            Self::NamesAFile => {
                command.arg("--dhcp-boot=left-over.efi,,10.77.0.1");
            }
            Self::NamesAutoexec => {
                command
                    .arg("--dhcp-vendorclass=set:rom,PXEClient:Arch:00000")
                    .arg(format!("--dhcp-boot=tag:rom,tftp://{BOX}/snp/autoexec.ipxe"))
                    .arg("--dhcp-option-force=tag:rom,encap:175,176,1b");
            }
            Self::NextServer => {
                command.arg(format!("--dhcp-boot=,,{BOX}"));
            }
            Self::Absent | Self::Plain => {}
        }
        let office = Process::spawn("office DHCP", command, &evidence.join("office.log"))?;
        office.wait_for("sockets bound exclusively", Duration::from_secs(10))?;
        Ok(office)
    }
}
