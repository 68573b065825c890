//! An ordinary computer on the LAN: busybox's DHCP client in a namespace of its
//! own. It reports what it was given and by whom, and configures nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::namespace::Namespace;
use super::{Failure, Lab};

/// A desk with a computer that asks for an address.
pub struct OrdinaryClient {
    desk: Namespace,
}

/// What the client was told, by udhcpc's own variable names
/// (`ip`, `serverid`, `router`, `lease`, `siaddr`, `boot_file`, …).
pub type Lease = BTreeMap<String, String>;

impl OrdinaryClient {
    /// Plugs it in.
    pub fn plug_in(lab: &Lab, mac: &str) -> Result<Self, Failure> {
        Ok(Self { desk: lab.desk("desk", mac)? })
    }

    /// One DHCP exchange, from discover to the end of the lease's negotiation.
    pub fn ask(&self, lab: &Lab) -> Result<Lease, Failure> {
        let record = lab.scratch().join("lease");
        let _ = fs::remove_file(&record);
        let script = lab.scratch().join("on-lease");
        let text =
            format!("#!/bin/sh\nif [ \"$1\" = bound ]; then env > {}; fi\n", record.display());
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;

        let output = self
            .desk
            .command("timeout")
            .args(["30", "/bin/busybox", "udhcpc", "-f", "-q", "-n"])
            .args(["-i", "eth0", "-t", "5", "-T", "2", "-s"])
            .arg(&script)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()?;
        let text = fs::read_to_string(&record).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Failure::new(format!("the ordinary client got no lease: {said}"))
        })?;
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| !["PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }
}
