//! The boot server under test: the bootbox binary in the lab's server
//! namespace, on the real ports, or the peer when `BOOTBOX_UNDER_TEST=peer`.
//! Ours runs as nobody, with the capabilities of its service unit and no more.
//! If both fail a case, the lab is broken; if ours alone fails, we are.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::namespace::is_root;
use super::peer::Peer;
use super::process::Process;
use super::site::Site;
use super::{Failure, Lab, guest};

/// Which boot server a test or a measurement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The binary at this path.
    Bootbox(PathBuf),
    /// dnsmasq and nginx.
    Peer,
}

impl Subject {
    /// Ours at `binary`, unless `BOOTBOX_UNDER_TEST` says `peer` or names another binary.
    pub fn from_environment(binary: &str) -> Self {
        match std::env::var("BOOTBOX_UNDER_TEST").as_deref() {
            Ok("peer") => Self::Peer,
            Ok(other) => Self::Bootbox(other.into()),
            Err(_) => Self::Bootbox(binary.into()),
        }
    }
}

/// A boot server at work.
pub enum Server {
    /// Ours.
    Bootbox(Bootbox),
    /// dnsmasq and nginx.
    Peer(Peer),
}

impl Server {
    /// Installs the guest's files, writes the configuration and starts `subject`.
    pub fn start(lab: &Lab, subject: &Subject, site: &Site) -> Result<Self, Failure> {
        let repository = lab.scratch().join("repository");
        if !repository.exists() {
            guest::install(&repository.join("lab"))?;
        }
        match subject {
            Subject::Bootbox(binary) => {
                let config = lab.evidence().join("bootbox.toml");
                fs::write(&config, site.toml(&repository))?;
                Ok(Self::Bootbox(Bootbox::start(lab, binary, &config, "json")?))
            }
            Subject::Peer => Ok(Self::Peer(Peer::start(lab, site, &repository)?)),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        match self {
            Self::Bootbox(bootbox) => bootbox.process.kill(),
            Self::Peer(peer) => peer.kill(),
        }
    }

    /// Starts it again, as it was.
    pub fn restart(&mut self, lab: &Lab) -> Result<(), Failure> {
        match self {
            Self::Bootbox(bootbox) => bootbox.restart(lab),
            Self::Peer(peer) => peer.restart(lab),
        }
    }
}

/// A running bootbox.
pub struct Bootbox {
    process: Process,
    binary: PathBuf,
    config: PathBuf,
    format: String,
    ready_after: Duration,
}

impl Bootbox {
    /// Runs `binary serve --config FILE --log-format FORMAT` until it says it is ready.
    pub fn start(lab: &Lab, binary: &Path, config: &Path, format: &str) -> Result<Self, Failure> {
        let (process, ready_after) = serve(lab, binary, config, format)?;
        Ok(Self {
            process,
            binary: binary.to_owned(),
            config: config.to_owned(),
            format: format.to_owned(),
            ready_after,
        })
    }

    /// Starts it again with the same arguments, the old one being gone.
    pub fn restart(&mut self, lab: &Lab) -> Result<(), Failure> {
        self.process.kill();
        let (process, ready_after) = serve(lab, &self.binary, &self.config, &self.format)?;
        self.process = process;
        self.ready_after = ready_after;
        Ok(())
    }

    /// The running process and its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The config it runs with, ledger and control socket among it.
    pub fn own_config(&self, lab: &Lab) -> PathBuf {
        own_config(lab)
    }

    /// From its start to `READY=1`.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }
}

/// What the service unit grants: the low ports, and the raw socket that answers a
/// router solicitation.
const CAPABILITIES: &str = "-all,+net_bind_service,+net_raw";

/// The user the server runs as when we are root: Debian's `nobody`.
const NOBODY: &str = "65534";

/// `binary`, as nobody with just [`CAPABILITIES`], or as it is in a user namespace,
/// where there is no other user. Copied first: a clone may lie where nobody cannot look. By a process
/// of its own: a file that we write is busy for as long as a child forked meanwhile has not become
/// its program, and then cannot be run.
fn unprivileged(lab: &Lab, binary: &Path) -> Result<Command, Failure> {
    let copy = lab.scratch().join("bootbox");
    if !copy.exists() {
        let copied = Command::new("cp").arg(binary).arg(&copy).output()?;
        if !copied.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&copied.stderr)));
        }
    }
    if !is_root()? {
        return Ok(lab.server().command(&copy.to_string_lossy()));
    }
    let mut command = lab.server().command("setpriv");
    command
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .args(["--bounding-set", CAPABILITIES])
        .args(["--inh-caps", CAPABILITIES])
        .args(["--ambient-caps", CAPABILITIES])
        // Set again, because changing the user clears it.
        .args(["--no-new-privs", "--pdeathsig", "KILL", "--"])
        .arg(&copy);
    Ok(command)
}

/// Where a lab's ledger is: in a folder that the user nobody may write to.
pub fn ledger(lab: &Lab) -> Result<PathBuf, Failure> {
    let folder = lab.scratch().join("ledger");
    if !folder.exists() {
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
    }
    Ok(folder.join("ledger.redb"))
}

fn own_config(lab: &Lab) -> PathBuf {
    lab.scratch().join("bootbox.toml")
}

/// Starts the binary and waits for sd_notify's READY=1, the one signal that does
/// not depend on the wording of a log.
fn serve(
    lab: &Lab,
    binary: &Path,
    config: &Path,
    format: &str,
) -> Result<(Process, Duration), Failure> {
    let limit = Duration::from_secs(10);
    let path = lab.scratch().join("notify");
    let _ = fs::remove_file(&path);
    let notify = UnixDatagram::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
    notify.set_read_timeout(Some(Duration::from_millis(100)))?;

    let mut config = fs::read_to_string(config)?;
    if !config.contains("ledger =") {
        let _ = write!(config, "\n[install]\nledger = {:?}\n", ledger(lab)?);
    }
    if !config.contains("socket =") {
        let socket = ledger(lab)?.with_file_name("control.sock");
        let _ = write!(config, "\n[control]\nsocket = {socket:?}\n");
    }
    let own_config = own_config(lab);
    fs::write(&own_config, config)?;
    let mut command = unprivileged(lab, binary)?;
    command
        .args(["serve", "--log-format", format, "--config"])
        .arg(&own_config)
        .env("NOTIFY_SOCKET", &path);
    let mut process = Process::spawn("bootbox", command, &lab.evidence().join("server.log"))?;
    let mut message = [0; 512];
    while process.started().elapsed() < limit {
        if let Ok(length) = notify.recv(&mut message)
            && message[..length].split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
        {
            let ready_after = Instant::now() - process.started();
            return Ok((process, ready_after));
        }
        if process.has_ended()? {
            break;
        }
    }
    Err(Failure::new(format!(
        "bootbox did not say READY=1 in {limit:?}; it said:\n{}",
        process.transcript().tail(25)
    )))
}
