//! The disk image of a release: GPT, GRUB for BIOS and for UEFI, Debian's kernel, and a
//! small ROOT. Made from files alone: no loop device, no root.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::Failure;

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

/// Where the partitions start, in MiB: EFI-SYSTEM, GRUB's for BIOS, ROOT, and the end.
const ESP: u64 = 1;
const BIOS_BOOT: u64 = 33;
const ROOT: u64 = 34;
const BACKUP_TABLE: u64 = 42;
const END: u64 = 43;

/// GRUB runs this with no shell of its own: the lines are all there is.
const LOAD: &str = "search.fs_label EFI-SYSTEM root\n\
                    echo LAB-DISK loader: GRUB\n\
                    linux /vmlinuz console=ttyS0 quiet\n\
                    initrd /initrd.img\n\
                    boot\n";

/// Writes the image as `folder/disk.img`, with `kernel` and the initramfs `initrd` on it.
pub fn build(folder: &Path, kernel: &Path, initrd: &Path) -> Result<(), Failure> {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    fs::write(path("load.cfg"), LOAD)?;
    let (load, core, efi) = (path("load.cfg"), path("core.img"), path("BOOTX64.EFI"));
    let modules = "part_gpt fat search_label echo linux boot";
    for line in [
        format!("grub-mkimage -O i386-pc -o {core} -p /grub -c {load} biosdisk {modules}"),
        format!("grub-mkimage -O x86_64-efi -o {efi} -p /grub -c {load} {modules}"),
    ] {
        run(&line)?;
    }

    let (esp, root, disk) = (path("esp.img"), path("root.img"), path("disk.img"));
    // One track is a MiB. GRUB looks every cluster up by itself, so few and large ones.
    let shape = "-h 64 -s 32 -c 64";
    let tracks = BIOS_BOOT - ESP;
    let (kernel, initrd) = (kernel.display(), initrd.display());
    let size = |from: u64, to: u64| format!("{}:+{}M", from * MIB / SECTOR, to - from);
    for line in [
        format!("mformat -C -i {esp} {shape} -t {tracks} -v EFI-SYSTEM ::"),
        format!("mmd -i {esp} ::/EFI ::/EFI/BOOT"),
        format!("mcopy -i {esp} {efi} ::/EFI/BOOT/BOOTX64.EFI"),
        format!("mcopy -i {esp} {kernel} ::/vmlinuz"),
        format!("mcopy -i {esp} {initrd} ::/initrd.img"),
        format!("truncate -s {}M {root}", BACKUP_TABLE - ROOT),
        format!("mkfs.ext4 -q -L ROOT {root}"),
        format!("truncate -s {END}M {disk}"),
        format!(
            "sgdisk -n 1:{} -t 1:ef00 -c 1:EFI-SYSTEM -n 2:{} -t 2:ef02 -c 2:BIOS-BOOT \
             -n 9:{} -c 9:ROOT {disk}",
            size(ESP, BIOS_BOOT),
            size(BIOS_BOOT, ROOT),
            size(ROOT, BACKUP_TABLE)
        ),
    ] {
        run(&line)?;
    }
    let disk = File::options().write(true).open(disk)?;
    disk.write_all_at(&fs::read(esp)?, ESP * MIB)?;
    disk.write_all_at(&fs::read(root)?, ROOT * MIB)?;
    boot_on_bios(&disk, fs::read(core)?)
}

/// What grub-bios-setup does, which wants a real disk: the boot sector is told where
/// GRUB's core starts, and the core's first sector where its rest is.
fn boot_on_bios(disk: &File, mut core: Vec<u8>) -> Result<(), Failure> {
    const BOOT_SECTOR: &str = "/usr/lib/grub/i386-pc/boot.img";
    let start = BIOS_BOOT * MIB / SECTOR;
    let mut sector =
        fs::read(BOOT_SECTOR).map_err(|error| Failure::new(format!("{BOOT_SECTOR}: {error}")))?;
    // GRUB 2's boot.S: the sector number of the core, 64 bits.
    sector[0x5c..0x64].copy_from_slice(&start.to_le_bytes());
    // The partition table of the protective record begins at 440.
    disk.write_all_at(&sector[..440], 0)?;

    let rest = u16::try_from(core.len().div_ceil(512) - 1)
        .map_err(|_| Failure::new("GRUB's core is too large"))?;
    // diskboot.S: the only entry of its block list, at the sector's end.
    core[0x1f4..0x1fc].copy_from_slice(&(start + 1).to_le_bytes());
    core[0x1fc..0x1fe].copy_from_slice(&rest.to_le_bytes());
    disk.write_all_at(&core, start * SECTOR)?;
    Ok(())
}

/// Runs one command line (words split at spaces) that must succeed.
pub fn run(line: &str) -> Result<String, Failure> {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| Failure::new(format!("{program}: {error}; run `tests/packages test`")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("`{line}` failed: {}", said.trim())))
}
