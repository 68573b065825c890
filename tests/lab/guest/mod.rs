//! What the machines run once they arrive: Debian's cloud kernel with an
//! initramfs written here, whose `/init` prints the command line it was given;
//! and a hand-made boot sector, the "disk OS" of a machine that is left alone.

pub mod archive;
pub mod kernel;
pub mod systems;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use archive::Archive;

use super::disk::run;
use super::{Failure, target};

/// What `/init` prints before the command line: the proof of a boot.
pub const ARRIVED: &str = "LAB-INIT cmdline: ";

/// What the boot sector prints when the firmware went on to the disk.
pub const DISK_BOOTED: &str = "LAB-DISK booted";

const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
/bin/busybox printf '%s%s\\n' 'LAB-INIT cmdline: ' \"$(/bin/busybox cat /proc/cmdline)\"
/bin/busybox poweroff -f
";

/// Puts `vmlinuz` and `initrd.img` into `dir`.
pub fn install(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir)?;
    fs::copy(kernel::image()?, dir.join("vmlinuz"))?;
    fs::write(dir.join("initrd.img"), initramfs()?)?;
    Ok(())
}

/// Writes a 1 MiB disk whose boot sector says [`DISK_BOOTED`] on COM1 and halts.
pub fn disk(path: &Path) -> Result<(), Failure> {
    let mut image = vec![0; 1 << 20];
    image[..512].copy_from_slice(&boot_sector());
    fs::write(path, image)?;
    Ok(())
}

/// A signed boot loader of Debian's: installed, or unpacked by `tests/packages`.
#[derive(Clone, Copy, Debug)]
pub enum Signed {
    /// GRUB for disks.
    Grub,
    /// GRUB for networks.
    NetworkGrub,
    /// What Microsoft has signed, and starts GRUB.
    Shim,
}

impl Signed {
    /// Where it is.
    pub fn path(self) -> Result<PathBuf, Failure> {
        let path = match self {
            Self::Grub => "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
            Self::NetworkGrub => "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
            Self::Shim => "usr/lib/shim/shimx64.efi.signed",
        };
        let folders = [PathBuf::from("/"), target().join("guest")];
        folders
            .into_iter()
            .map(|folder| folder.join(path))
            .find(|path| path.exists())
            .ok_or_else(|| Failure::new(format!("no {path}: run `tests/packages test` first")))
    }
}

/// Writes a disk with one EFI partition, as Debian's installer leaves it; its config says
/// [`DISK_BOOTED`] and halts.
pub fn signed_disk(path: &Path) -> Result<(), Failure> {
    const START: u64 = 1 << 20;
    let (esp, config) = (path.with_extension("esp"), path.with_extension("cfg"));
    fs::write(&config, format!("echo {DISK_BOOTED}\nsleep 1\nhalt\n"))?;
    let (disk, image, config) = (path.display(), esp.display(), config.display());
    let (shim, grub) = (Signed::Shim.path()?, Signed::Grub.path()?);
    let (shim, grub) = (shim.display(), grub.display());
    for line in [
        format!("mformat -C -i {image} -h 64 -s 32 -c 4 -t 32 -v EFI-SYSTEM ::"),
        format!("mmd -i {image} ::/EFI ::/EFI/debian ::/EFI/BOOT"),
        format!("mcopy -i {image} {shim} ::/EFI/debian/shimx64.efi"),
        format!("mcopy -i {image} {grub} ::/EFI/debian/grubx64.efi"),
        // Where a firmware looks that was told of a disk, and of no file on it.
        format!("mcopy -i {image} {shim} ::/EFI/BOOT/BOOTX64.EFI"),
        format!("mcopy -i {image} {grub} ::/EFI/BOOT/grubx64.efi"),
        format!("mcopy -i {image} {config} ::/EFI/debian/grub.cfg"),
        format!("truncate -s 34M {disk}"),
        format!("sgdisk -n 1:2048:+32M -t 1:ef00 -c 1:EFI-SYSTEM {disk}"),
    ] {
        run(&line)?;
    }
    File::options().write(true).open(path)?.write_all_at(&fs::read(esp)?, START)?;
    Ok(())
}

/// busybox and /init; /proc is made by /init itself.
fn initramfs() -> Result<Vec<u8>, Failure> {
    let mut archive = Archive::new();
    archive.folder("bin");
    archive.copy("/bin/busybox", "bin/busybox")?;
    archive.file("init", 0o755, INIT.as_bytes());
    Ok(archive.finish())
}

/// A master boot record, assembled by hand (loaded at 0000:7c00, DL = drive).
fn boot_sector() -> [u8; 512] {
    let code: [u8; 34] = [
        0xfa, // cli
        0x31, 0xc0, // xor ax, ax
        0x8e, 0xd8, // mov ds, ax
        0xbe, 0x22, 0x7c, // mov si, 0x7c22 (the text, right after this code)
        0xfc, // cld
        0xac, // next: lodsb
        0x84, 0xc0, // test al, al
        0x74, 0x11, // jz done
        0x88, 0xc4, // mov ah, al
        0xba, 0xfd, 0x03, // mov dx, 0x3fd (COM1 line status)
        0xec, // wait: in al, dx
        0xa8, 0x20, // test al, 0x20 (transmitter empty)
        0x74, 0xfb, // jz wait
        0xb2, 0xf8, // mov dl, 0xf8 (COM1 data)
        0x88, 0xe0, // mov al, ah
        0xee, // out dx, al
        0xeb, 0xea, // jmp next
        0xf4, // done: hlt
        0xeb, 0xfd, // jmp done
    ];
    let text = format!("\r\n{DISK_BOOTED}\r\n\0");
    let mut sector = [0; 512];
    sector[..code.len()].copy_from_slice(&code);
    sector[code.len()..code.len() + text.len()].copy_from_slice(text.as_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
