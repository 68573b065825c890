//! A small site in the lab, with machines that are played from one desk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use bootbox::ledger::Record;
use bootbox::machine::Mac;
use bootbox::serve::{journal::Journal, ledger::Ledger};

use super::guest::{Guest, IMAGE};
use super::lab::namespace::Namespace;
use super::lab::office::Office;
use super::lab::server::Bootbox;
use super::lab::{self, Failure, Lab};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
pub(crate) const SIZE: usize = 3_000_000;

/// An office with a server and a desk that has the addresses of these machines.
pub(crate) struct Site<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) desk: Namespace,
    pub(crate) server: Bootbox,
    pub(crate) config: PathBuf,
}

impl<'a> Site<'a> {
    pub(crate) fn start(lab: &'a Lab, machines: u16, groups: &str) -> Result<Self, Failure> {
        let config = lay_out(lab.scratch(), groups)?;
        let server = Bootbox::start(lab, Path::new(BINARY), &config, "text")?;
        lab.server().run("ip route add 10.77.0.0/16 dev eth0")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        let addresses: String = (0..=machines)
            .map(|number| {
                let address = Guest::number(number).walker.address;
                format!("address add {address}/16 dev eth0\n")
            })
            .collect();
        let batch = lab.scratch().join("addresses");
        fs::write(&batch, addresses)?;
        desk.run(&format!("ip -batch {}", batch.display()))?;
        Ok(Self { lab, desk, server, config })
    }

    /// The config with other groups, loaded.
    pub(crate) fn regroup(&mut self, groups: &str) -> Result<(), Failure> {
        lay_out(self.lab.scratch(), groups)?;
        self.restart()
    }

    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        let config = fs::read_to_string(&self.config)?;
        fs::write(&self.config, config)?;
        self.server.restart(self.lab)
    }

    /// What the ledger has on disk about a machine; the server must not run.
    pub(crate) fn record(&self, guest: &Guest) -> Option<Record> {
        let copy = self.lab.scratch().join("copy.redb");
        fs::copy(ledger_file(self.lab.scratch()), &copy).unwrap();
        let mac: Mac = guest.walker.mac_text().parse().unwrap();
        let mut opened = Ledger::open(&copy, 3, Journal::new());
        for _ in 0..100 {
            if opened.is_ok() {
                break;
            }
            sleep(Duration::from_millis(10));
            opened = Ledger::open(&copy, 3, Journal::new());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let record = runtime.unwrap().block_on(opened.unwrap().read(mac));
        fs::remove_file(copy).unwrap();
        record
    }

    /// Does something as a machine at the desk.
    pub(crate) fn plays<T: Send>(
        &self,
        body: impl FnOnce() -> Result<T, Failure> + Send,
    ) -> Result<T, Failure> {
        self.desk.enter(body)?
    }
}

pub(crate) fn ledger_file(folder: &Path) -> PathBuf {
    folder.join("ledger/ledger.redb")
}

pub(crate) fn lay_out(folder: &Path, groups: &str) -> Result<PathBuf, Failure> {
    let root = folder.join("repository");
    fs::create_dir_all(root.join("coreos/1122.2.0"))?;
    fs::write(root.join("k"), vec![b'k'; 100_000])?;
    fs::write(root.join("i"), vec![b'i'; 300_000])?;
    let script = "#!/bin/bash\ncoreos-install -d /dev/sda -b {{ base_url }}/coreos\n";
    fs::write(root.join("install.sh"), script)?;
    let image = root.join(&IMAGE[1..]);
    if !image.exists() {
        let bytes: Vec<u8> = (0..SIZE).map(|index| (index % 251) as u8).collect();
        fs::write(&image, bytes)?;
        fs::write(root.join(format!("{}.sig", &IMAGE[1..])), vec![b's'; 543])?;
    }
    let ledger = folder.join("ledger");
    fs::create_dir_all(&ledger)?;
    fs::set_permissions(&ledger, fs::Permissions::from_mode(0o777))?;
    let file = folder.join("site.toml");
    let text = format!(
        "[network]\ninterfaces = [\"eth0\"]\n[install]\nledger = {:?}\n[repository]\nroot = {root:?}\n\
         [[profile]]\nname = \"p\"\nkernel = \"/k\"\ninitrd = [\"/i\"]\n\
         args = [\"cloud-config-url={{{{ base_url }}}}/coreos/\"]\n\
         [[template]]\npath = \"/coreos/\"\nfile = \"/install.sh\"\n\
         [[profile]]\nname = \"ram\"\nkernel = \"/k\"\n{groups}",
        ledger_file(folder)
    );
    fs::write(&file, text)?;
    Ok(file)
}

pub(crate) fn with_site(
    name: &str,
    machines: u16,
    groups: &str,
    body: impl FnOnce(&mut Site<'_>) -> Result<(), Failure>,
) {
    lab::run(name, &Office::Plain, 1, |lab| body(&mut Site::start(lab, machines, groups)?));
}
