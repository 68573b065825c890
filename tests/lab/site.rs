//! What a boot server is asked to do in a test: profiles, and which machines
//! get them. Written once here, and given to bootbox as its configuration file
//! or to the peer as the files an administrator would write by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{BOX_INTERFACE, Failure, Lab};

/// The whole task of a boot server.
#[derive(Default)]
pub struct Site {
    /// What machines can boot.
    pub profiles: Vec<Profile>,
    /// Who boots which of them.
    pub groups: Vec<Group>,
    /// More lines of `[network]`.
    pub network: String,
    /// Tables that stand before the profiles.
    pub more: String,
}

/// A kernel and an initramfs with some arguments.
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its kernel, as a URL path.
    pub kernel: String,
    /// Its initramfs, as a URL path.
    pub initrd: String,
    /// Kernel arguments; `{{ mac }}` and `{{ base_url }}` are the machine's.
    pub args: Vec<String>,
}

/// Machines that share a profile.
pub struct Group {
    /// The profile's name.
    pub profile: String,
    /// The one machine meant; none means every machine.
    pub mac: Option<String>,
}

impl Site {
    /// Nothing yet: every machine is left alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a profile for the machine with this address, or for every machine.
    /// `secret` is a word that only this configuration holds.
    pub fn boots(self, mac: Option<&str>, secret: &str) -> Self {
        let args = ["console=ttyS0", "lab.mac={{ mac }}", "lab.from={{ base_url }}"];
        let mut args: Vec<String> = args.map(str::to_owned).into();
        args.push(format!("lab.secret={secret}"));
        let profile = Profile {
            name: secret.to_owned(),
            kernel: "/lab/vmlinuz".to_owned(),
            initrd: "/lab/initrd.img".to_owned(),
            args,
        };
        self.profile(mac, profile)
    }

    /// The same, with these tables of bootbox's configuration.
    pub fn also(self, more: &str) -> Self {
        Self { more: more.to_owned(), ..self }
    }

    /// The same, with another line in `[network]`.
    pub fn network(mut self, line: &str) -> Self {
        let _ = writeln!(self.network, "{line}");
        self
    }

    /// Adds this profile for the machine with this address, or for every machine.
    pub fn profile(mut self, mac: Option<&str>, profile: Profile) -> Self {
        let name = profile.name.clone();
        self.profiles.push(profile);
        self.groups.push(Group { profile: name, mac: mac.map(str::to_owned) });
        self
    }

    /// bootbox's configuration.
    pub fn toml(&self, repository: &Path) -> String {
        let mut toml = format!(
            "[network]\ninterfaces = [\"{BOX_INTERFACE}\"]\n{}\n[repository]\nroot = \"{}\"\n",
            self.network,
            repository.display()
        );
        let _ = write!(toml, "\n{}", self.more);
        for profile in &self.profiles {
            let _ = write!(
                toml,
                "\n[[profile]]\nname = \"{}\"\nkernel = \"{}\"\n\
                 initrd = [\"{}\"]\nargs = {:?}\n",
                profile.name, profile.kernel, profile.initrd, profile.args
            );
        }
        for group in &self.groups {
            let _ = write!(toml, "\n[[group]]\nname = \"{0}\"\nprofile = \"{0}\"\n", group.profile);
            if let Some(mac) = &group.mac {
                let _ = write!(toml, "[group.selector]\nmac = \"{mac}\"\n");
            }
        }
        toml
    }
}

/// A config that gives one kernel to every machine; the repository, too. Its general keys
/// are dotted ones, so that more of them can go before it.
pub fn one_kernel(lab: &Lab) -> Result<(PathBuf, PathBuf), Failure> {
    let root = lab.scratch().join("repository");
    fs::create_dir_all(&root)?;
    fs::write(root.join("vmlinuz"), vec![b'k'; 100_000])?;
    let file = lab.evidence().join("bootbox.toml");
    fs::write(
        &file,
        format!(
            "network.interfaces = [\"{BOX_INTERFACE}\"]\nrepository.root = {root:?}\n\
             [[profile]]\nname = \"p\"\nkernel = \"/vmlinuz\"\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\n"
        ),
    )?;
    Ok((file, root))
}
