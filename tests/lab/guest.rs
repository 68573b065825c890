//! What the machines run once they arrive: Debian's cloud kernel with an
//! initramfs written here, whose `/init` prints the command line it was given;
//! and a hand-made boot sector, the "disk OS" of a machine that is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::Failure;

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
    fs::copy(kernel()?, dir.join("vmlinuz"))?;
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

/// The newest of Debian's cloud kernels: installed, or unpacked by `tests/packages`.
fn kernel() -> Result<PathBuf, Failure> {
    let folders = [PathBuf::from("/boot"), super::target().join("guest")];
    let mut kernels: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("vmlinuz-") && name.ends_with("-cloud-amd64")
        })
        .collect();
    kernels.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    kernels
        .pop()
        .ok_or_else(|| Failure::new("no cloud kernel to boot: run `tests/packages test` first"))
}

/// A newc archive: busybox, /init, and an empty /proc made by /init itself.
fn initramfs() -> Result<Vec<u8>, Failure> {
    let busybox = fs::read("/bin/busybox")
        .map_err(|_| Failure::new("no /bin/busybox: run `tests/packages test` first"))?;
    let mut archive = Vec::with_capacity(busybox.len() + 4096);
    append(&mut archive, "bin", 0o040_755, &[]);
    append(&mut archive, "bin/busybox", 0o100_755, &busybox);
    append(&mut archive, "init", 0o100_755, INIT.as_bytes());
    append(&mut archive, "TRAILER!!!", 0, &[]);
    Ok(archive)
}

/// One newc entry (Linux Documentation/driver-api/early-userspace/buffer-format.rst).
fn append(archive: &mut Vec<u8>, name: &str, mode: u32, body: &[u8]) {
    let inode = u32::try_from(archive.len() / 4 + 1).unwrap_or(1);
    let size = u32::try_from(body.len()).expect("a file of the initramfs is small");
    let name_size = u32::try_from(name.len() + 1).expect("a name is short");
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    let fields = [inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(body);
    archive.resize(archive.len().next_multiple_of(4), 0);
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
