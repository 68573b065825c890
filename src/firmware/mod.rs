//! What a machine boots with, and the boot program that takes it on.
//!
//! [`ARCHITECTURES`] is the one table from DHCP option 93 to a firmware; [`identify`] reads it and
//! knows the firmware that says something else than it is; [`Programs`] says what each is given.
//! Debian's iPXE is embedded at build time (`firmware/README.md`); the rest is the operator's.

mod embedded;
mod grub;
mod identify;
mod pe;
mod program;
mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unified::Processor;
pub use embedded::{Embedded, embedded};
pub use grub::{from_grub, to_grub};
pub use identify::{Clues, Unidentified, identify, means};
pub use pe::made_for;
pub use program::{BootFile, Programs, comes_back};
pub use table::{ARCHITECTURES, Architecture};

/// The firmware that asks for a boot program, or runs one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Firmware {
    /// x86 BIOS with a UNDI option ROM.
    #[serde(rename = "bios")]
    Bios,
    /// 32-bit x86 UEFI.
    #[serde(rename = "uefi-x86")]
    Efi32,
    /// 64-bit x86 UEFI.
    #[serde(rename = "uefi-x64")]
    Efi64,
    /// 32-bit ARM UEFI.
    #[serde(rename = "uefi-arm32")]
    EfiArm32,
    /// 64-bit ARM UEFI.
    #[serde(rename = "uefi-arm64")]
    EfiArm64,
    /// 64-bit LoongArch UEFI.
    #[serde(rename = "uefi-loong64")]
    EfiLoong64,
    /// 32-bit RISC-V UEFI.
    #[serde(rename = "uefi-riscv32")]
    EfiRiscv32,
    /// 64-bit RISC-V UEFI.
    #[serde(rename = "uefi-riscv64")]
    EfiRiscv64,
    /// A Raspberry Pi's own boot ROM or EEPROM.
    #[serde(rename = "raspberry-pi")]
    RaspberryPi,
    /// U-Boot on 32-bit ARM, where it does not say UEFI.
    #[serde(rename = "u-boot-arm32")]
    UbootArm32,
    /// U-Boot on 64-bit ARM, where it does not say UEFI.
    #[serde(rename = "u-boot-arm64")]
    UbootArm64,
}

impl Firmware {
    /// Every firmware that can be booted, for checks at load.
    pub const ALL: [Self; 11] = [
        Self::Bios,
        Self::Efi32,
        Self::Efi64,
        Self::EfiArm32,
        Self::EfiArm64,
        Self::EfiLoong64,
        Self::EfiRiscv32,
        Self::EfiRiscv64,
        Self::RaspberryPi,
        Self::UbootArm32,
        Self::UbootArm64,
    ];

    /// What kind it is; a Raspberry Pi's and U-Boot are neither.
    pub fn platform(self) -> Option<Platform> {
        match self {
            Self::Bios => Some(Platform::Bios),
            Self::Efi32
            | Self::Efi64
            | Self::EfiArm32
            | Self::EfiArm64
            | Self::EfiLoong64
            | Self::EfiRiscv32
            | Self::EfiRiscv64 => Some(Platform::Uefi),
            Self::RaspberryPi | Self::UbootArm32 | Self::UbootArm64 => None,
        }
    }

    /// What its EFI programs run on.
    pub fn processor(self) -> Option<Processor> {
        match self {
            Self::Efi32 => Some(Processor::X86),
            Self::Efi64 => Some(Processor::X64),
            Self::EfiArm32 => Some(Processor::Arm),
            Self::EfiArm64 => Some(Processor::Arm64),
            Self::EfiLoong64 => Some(Processor::LoongArch64),
            Self::EfiRiscv64 => Some(Processor::RiscV64),
            Self::Bios
            | Self::EfiRiscv32
            | Self::RaspberryPi
            | Self::UbootArm32
            | Self::UbootArm64 => None,
        }
    }

    /// Its key in `[boot.programs]`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Efi32 => "uefi-x86",
            Self::Efi64 => "uefi-x64",
            Self::EfiArm32 => "uefi-arm32",
            Self::EfiArm64 => "uefi-arm64",
            Self::EfiLoong64 => "uefi-loong64",
            Self::EfiRiscv32 => "uefi-riscv32",
            Self::EfiRiscv64 => "uefi-riscv64",
            Self::RaspberryPi => "raspberry-pi",
            Self::UbootArm32 => "u-boot-arm32",
            Self::UbootArm64 => "u-boot-arm64",
        }
    }

    /// The boot programs it is given when no other is named: the first that is there.
    ///
    /// The second name is where iPXE's own archive has it, `ipxeboot.tar.gz`; the third is systemd's
    /// stub, with which HTTP Boot needs no iPXE (`unified`). UEFI gets `snponly`
    /// because iPXE with its own drivers hangs on VMware (ipxe/ipxe#1701, #624, #664). A Raspberry
    /// Pi fetches files of its own choice; these say that they are there. What U-Boot takes depends
    /// on the board.
    pub fn usual_programs(self) -> &'static [&'static str] {
        match self {
            Self::Bios => &["undionly.kpxe"],
            Self::Efi32 => &["snponly-i386.efi", "i386/snponly.efi", "linuxia32.efi.stub"],
            Self::Efi64 => &["snponly.efi", "x86_64/snponly.efi", "linuxx64.efi.stub"],
            Self::EfiArm32 => &["snponly-arm32.efi", "arm32/snponly.efi", "linuxarm.efi.stub"],
            Self::EfiArm64 => &["snponly-arm64.efi", "arm64/snponly.efi", "linuxaa64.efi.stub"],
            Self::EfiLoong64 => {
                &["snponly-loong64.efi", "loong64/snponly.efi", "linuxloongarch64.efi.stub"]
            }
            Self::EfiRiscv32 => &["snponly-riscv32.efi", "riscv32/snponly.efi"],
            Self::EfiRiscv64 => {
                &["snponly-riscv64.efi", "riscv64/snponly.efi", "linuxriscv64.efi.stub"]
            }
            Self::RaspberryPi => &["bootcode.bin", "start4.elf", "config.txt"],
            Self::UbootArm32 | Self::UbootArm64 => &[],
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "BIOS",
            Self::Efi32 => "UEFI x86",
            Self::Efi64 => "UEFI x64",
            Self::EfiArm32 => "UEFI ARM32",
            Self::EfiArm64 => "UEFI ARM64",
            Self::EfiLoong64 => "UEFI LoongArch64",
            Self::EfiRiscv32 => "UEFI RISC-V 32",
            Self::EfiRiscv64 => "UEFI RISC-V 64",
            Self::RaspberryPi => "Raspberry Pi",
            Self::UbootArm32 => "U-Boot ARM32",
            Self::UbootArm64 => "U-Boot ARM64",
        })
    }
}

/// How a firmware asks, and fetches what it is told.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Means {
    /// PXE: option 60 is `PXEClient`, files come by TFTP.
    Pxe,
    /// UEFI HTTP Boot: option 60 is `HTTPClient`, one file comes by its URL.
    Http,
}

/// How a boot file is offered to a firmware.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// In the offer, to be fetched at once (option 43.6 = 8).
    Direct,
    /// In the offer, and the firmware is to ask port 4011 for it first (no option 43).
    BootServer,
    /// As a URL, to UEFI HTTP Boot.
    Http,
    /// As the menu that a Raspberry Pi looks for; it knows the names of its files.
    RaspberryPi,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::BootServer => "boot-server",
            Self::Http => "http",
            Self::RaspberryPi => "raspberry-pi",
        })
    }
}

/// The kind of firmware, whatever the processor.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// Told by iPXE as `pcbios`.
    Bios,
    /// Told by iPXE as `efi`.
    Uefi,
}

impl Platform {
    /// Reads iPXE's `${platform}`.
    pub fn from_ipxe(name: &str) -> Option<Self> {
        match name {
            "efi" => Some(Self::Uefi),
            "pcbios" => Some(Self::Bios),
            _ => None,
        }
    }
}

/// As a config names it.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        })
    }
}
