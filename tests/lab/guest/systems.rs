//! The two systems that play CoreOS: the one in RAM that a machine boots over the
//! network, and the one that is on the disk image it installs. Both are Debian's
//! kernel with busybox, real programs where their behaviour matters, and scripts of ours.

use super::super::Failure;
use super::archive::Archive;
use super::kernel;

/// Whose names a release has, and whose rules its system in RAM follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// CoreOS 1122.2.0, as in the post: Ignition 0.8.0's rules.
    CoreOs,
    /// Flatcar of today: the real Ignition, of Debian.
    Flatcar,
}

impl Family {
    /// The first word of its files, and the `ID` of its os-release.
    pub fn name(self) -> &'static str {
        match self {
            Self::CoreOs => "coreos",
            Self::Flatcar => "flatcar",
        }
    }

    /// The release that the lab makes of it.
    pub fn version(self) -> &'static str {
        match self {
            Self::CoreOs => "1122.2.0",
            Self::Flatcar => "4459.2.1",
        }
    }
}

/// Where Debian's package `ignition` has its binary.
const IGNITION: &str = "/usr/lib/dracut/modules.d/30ignition/ignition";

/// What is run as it is on this machine: its exit codes and requests are the point.
const REAL_PROGRAMS: [&str; 7] = [
    "/bin/bash",
    "/sbin/mkfs.ext4",
    "/sbin/sgdisk",
    "/usr/bin/curl",
    "/usr/bin/gpgv",
    "/usr/bin/jq",
    "/usr/bin/wget",
];

/// The scripts, by their names in `/bin`; what they share first.
const SHARED: [(&str, &str); 4] = [
    ("lib/lab.sh", include_str!("lab.sh")),
    ("lib/on-lease", include_str!("on-lease")),
    ("bin/reboot", include_str!("reboot")),
    ("bin/sudo", include_str!("sudo")),
];
const RAM: [(&str, &str); 4] = [
    ("init", include_str!("ram/init")),
    ("bin/coreos-install", include_str!("ram/coreos-install")),
    ("bin/lab-cloudinit", include_str!("ram/cloudinit")),
    ("bin/udevadm", include_str!("ram/udevadm")),
];
const IGNITION_2: &str = include_str!("ram/ignition-2");
const IGNITION_3: &str = include_str!("ram/ignition-3");
const INSTALLED: [(&str, &str); 3] = [
    ("init", include_str!("installed/init")),
    ("bin/apply-cloud-config", include_str!("installed/apply-cloud-config")),
    ("bin/hostnamectl", include_str!("installed/hostnamectl")),
];

/// The initramfs that is the whole of the system in RAM; it trusts `keyring`.
pub fn in_ram(family: Family, keyring: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut archive = common(&RAM)?;
    // Debian's busybox prefers its own `reboot` and `wget` to what is in PATH.
    archive.link("bin/sh", "bash");
    for program in REAL_PROGRAMS {
        archive.program(program)?;
    }
    match family {
        Family::CoreOs => archive.file("bin/lab-ignition", 0o755, IGNITION_2.as_bytes()),
        Family::Flatcar => {
            archive.program(IGNITION)?;
            archive.file("bin/lab-ignition", 0o755, IGNITION_3.as_bytes());
        }
    }
    archive.link("bin/flatcar-install", "coreos-install");
    let release = format!("ID={}\nVERSION_ID={}\n", family.name(), family.version());
    archive.file("etc/os-release", 0o644, release.as_bytes());
    archive.file("etc/image-keys.gpg", 0o644, keyring);
    Ok(archive.finish())
}

/// The initramfs that is the whole of the installed system, but for what it keeps on ROOT.
pub fn installed() -> Result<Vec<u8>, Failure> {
    let mut archive = common(&INSTALLED)?;
    archive.link("bin/sh", "busybox");
    Ok(archive.finish())
}

/// What a rebuild depends on, for the cache: every text above.
pub fn sources() -> Vec<&'static str> {
    let scripts = SHARED.iter().chain(&RAM).chain(&INSTALLED).map(|&(_, text)| text);
    scripts.chain([IGNITION_2, IGNITION_3]).chain(REAL_PROGRAMS).collect()
}

fn common(scripts: &[(&str, &str)]) -> Result<Archive, Failure> {
    let mut archive = Archive::new();
    archive.folder("bin");
    archive.folder("usr");
    // One folder of programs under all the names that scripts and programs look in.
    for name in ["sbin", "usr/bin", "usr/sbin"] {
        archive.link(name, "/bin");
    }
    archive.copy("/bin/busybox", "bin/busybox")?;
    archive.link("bin/systemctl", "reboot");
    for (name, text) in SHARED.iter().chain(scripts) {
        archive.file(name, 0o755, text.as_bytes());
    }
    kernel::add_modules(&mut archive)?;
    Ok(archive)
}
