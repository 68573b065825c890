//! A site whose machines are installed once, and a desk that asks it as they do: a profile `p`, and
//! whatever else a test needs.

use std::fs;
use std::path::{Path, PathBuf};

use super::namespace::Namespace;
use super::server::Bootbox;
use super::{BOX, Failure, Lab, guest};

/// A server that installs once, and a desk.
pub struct Asked<'a> {
    lab: &'a Lab,
    server: Bootbox,
    /// Where it is asked from.
    pub desk: Namespace,
    binary: PathBuf,
}

impl<'a> Asked<'a> {
    /// Starts `binary` with profile `p` and these tables, its groups among them.
    pub fn begin(lab: &'a Lab, binary: &Path, tables: &str) -> Result<Self, Failure> {
        let repository = lab.scratch().join("repository");
        guest::install(&repository.join("lab"))?;
        let config = lab.evidence().join("installs.toml");
        fs::write(
            &config,
            format!(
                "[repository]\nroot = {repository:?}\n\
                 [[profile]]\nname = \"p\"\nkernel = \"/lab/vmlinuz\"\n\
                 initrd = [\"/lab/initrd.img\"]\ninstall = \"once\"\n{tables}"
            ),
        )?;
        let server = Bootbox::start(lab, binary, &config, "json")?;
        let desk = lab.desk("desk", "02:00:00:00:77:50")?;
        desk.run("ip address add 10.77.0.50/24 dev eth0")?;
        Ok(Self { lab, server, desk, binary: binary.to_owned() })
    }

    /// What is at this URL.
    pub fn fetch(&self, url: &str) -> Result<String, Failure> {
        self.desk.run(&format!("curl -fsS -m 30 -o - {url}"))
    }

    /// Says that the machine which asked last from the desk is installed.
    pub fn reports_installed(&self) -> Result<(), Failure> {
        let url = format!("http://{BOX}/v1/event?state=installed");
        self.desk.run(&format!("curl -fsS -m 10 -X POST {url}")).map(drop)
    }

    /// Runs a command of bootbox against the running server.
    pub fn machine(&self, command: &str) -> Result<String, Failure> {
        let (binary, config) = (self.binary.display(), self.server.own_config(self.lab));
        self.lab.server().run(&format!("{binary} {command} --config {}", config.display()))
    }

    /// Holds what is at this URL to a word that is there, and another that is not.
    pub fn expect(&self, url: &str, wanted: &str, unwanted: &str) -> Result<(), Failure> {
        let text = self.fetch(url)?;
        if text.contains(wanted) && !text.contains(unwanted) {
            return Ok(());
        }
        Err(Failure::new(format!("{url}: {wanted:?}, and not {unwanted:?}, in:\n{text}")))
    }

    /// Holds the ledger to a number of attempts to install this machine.
    pub fn expect_attempts(&self, mac: &str, wanted: u32) -> Result<(), Failure> {
        let said = self.machine(&format!("machine {mac} --json"))?;
        match said.contains(&format!("\"attempts\": {wanted},")) {
            true => Ok(()),
            false => Err(Failure::new(format!("not {wanted} attempts: {said}"))),
        }
    }
}
