//! Debian's cloud kernel and those of its modules that the lab's machines need.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Failure, target};
use super::archive::Archive;

/// In the order they must be loaded; below `kernel/` of the module folder.
const MODULES: [&str; 14] = [
    "drivers/net/vmxnet3/vmxnet3",
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/scsi/scsi_common",
    "drivers/scsi/scsi_mod",
    "drivers/scsi/sd_mod",
    "drivers/scsi/vmw_pvscsi",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "drivers/scsi/virtio_scsi",
];

/// The newest of Debian's cloud kernels: installed, or unpacked by `tests/packages`.
pub fn image() -> Result<PathBuf, Failure> {
    let folders = [PathBuf::from("/boot"), target().join("guest")];
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

/// Adds the modules as `lib/modules/NAME.ko`, and `lib/modules/order` that lists them.
pub fn add_modules(archive: &mut Archive) -> Result<(), Failure> {
    let image = image()?;
    let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let release = name.trim_start_matches("vmlinuz-");
    let folder = [Path::new("/lib/modules"), &target().join("guest/modules")]
        .map(|folder| folder.join(release).join("kernel"))
        .into_iter()
        .find(|folder| folder.is_dir())
        .ok_or_else(|| {
            Failure::new(format!("no modules of {release}: run `tests/packages test` first"))
        })?;
    let mut order = String::new();
    for module in MODULES {
        let file = folder.join(format!("{module}.ko"));
        // Built into the kernel, or not part of it.
        if !file.exists() {
            continue;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        archive.copy(&file.to_string_lossy(), &format!("lib/modules/{name}"))?;
        order.push_str(&name);
        order.push('\n');
    }
    archive.file("lib/modules/order", 0o644, order.as_bytes());
    Ok(())
}
