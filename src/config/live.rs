//! Decides whether a kernel surely leaves the disk alone. Knows systems that run from RAM or from a
//! disk by the names of their kernels and by their args. What is not listed here is not sure.

use super::install::file_name;
use crate::catalog::Source;

/// Kernels of images that run from RAM, by how their names begin.
const KERNELS: [&str; 4] =
    ["coreos_production_pxe", "flatcar_production_pxe", "fedora-coreos-", "memtest"];
/// Arguments of systems that run from RAM or from a disk.
const STARTS: [&str; 17] = [
    "archisobasedir=",
    "boot=casper",
    "boot=live",
    "coreos.live.",
    "inst.rescue",
    "k3os.mode=live",
    "modloop=",
    "rd.live.",
    "rescue/enable=true",
    "root=/dev/nvme",
    "root=/dev/sd",
    "root=/dev/vd",
    "root=LABEL=",
    "root=PARTLABEL=",
    "root=PARTUUID=",
    "root=UUID=",
    "root=live:",
];
/// Arguments that make such a system run something unknown, which may write to the disk.
const RUNS: [&str; 15] = [
    "apkovl=",
    "command=",
    "config_url=",
    "ds=",
    "file=",
    "hooks=",
    "live-config.hooks=",
    "ocs_",
    "preseed",
    "rd.cos.",
    "rd.immucore.",
    "script",
    "seedfrom=",
    "systemd.run",
    "systemd.unit=",
];

/// Whether a profile of this kernel surely leaves the disk alone.
pub fn leaves_the_disk_alone<T: AsRef<str>>(kernel: &Source, args: &[T]) -> bool {
    let words = || args.iter().flat_map(|arg| arg.as_ref().split_whitespace());
    let begins = |known: &[&str], word: &str| known.iter().any(|start| word.starts_with(start));
    let is_live = begins(&KERNELS, &file_name(kernel)) || words().any(|word| begins(&STARTS, word));
    // Casper's url= names either the image or a text of answers.
    let names_a_text = |word: &str| word.starts_with("url=") && !word.ends_with(".iso");
    is_live && !words().any(|word| begins(&RUNS, word) || names_a_text(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_surely_live_is_told_from_one_that_may_install() {
        for (kernel, args, expected) in [
            ("coreos/1122.2.0/coreos_production_pxe.vmlinuz", "coreos.autologin", true),
            ("f/fedora-coreos-41-live-kernel.x86_64", "ignition.platform.id=metal", true),
            ("memtest86+.bin", "", true),
            ("casper/vmlinuz", "boot=casper url=http://192.0.2.1/live.iso", true),
            ("casper/vmlinuz", "boot=casper url=http://192.0.2.1/seed", false),
            ("casper/vmlinuz", "boot=casper ds=nocloud-net;s=http://192.0.2.1/", false),
            ("live/vmlinuz", "boot=live components", true),
            ("live/vmlinuz", "boot=live ocs_live_run=\"ocs-sr restoredisk\"", false),
            ("arch/vmlinuz-linux", "archisobasedir=arch", true),
            ("vmlinuz", "root=/dev/ram0 ramdisk_size=65536", false),
            ("vmlinuz", "root=/dev/nfs nfsroot=192.0.2.1:/srv", false),
            ("kairos", "root=live:http://192.0.2.1/r config_url=http://192.0.2.1/c", false),
            ("vmlinuz", "root=UUID=0ac1 quiet", true),
            ("vmlinuz", "quiet systemd.run=/x root=/dev/sda1", false),
            ("vmlinuz", "console=ttyS0", false),
            ("efi/boot/bootx64.efi", "-c /esxi/boot.cfg", false),
            ("vmlinuz", "", false),
        ] {
            let kernel = Source::Url(format!("http://192.0.2.1/{kernel}"));
            assert_eq!(leaves_the_disk_alone(&kernel, &[args]), expected, "{kernel:?} {args}");
        }
    }
}
