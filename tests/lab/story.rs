//! The post's story: what its author put on a web server, what bootbox must be told for
//! it, and the steps that the machine's console shows. What the server side is expected
//! to understand is all in here: [`Plan::toml`] and [`Story::state`].

// Where the time of a story goes is printed, as the boot tests print theirs.
#![allow(clippy::print_stdout)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::guest::systems::Family;
use super::machine::{Hardware, Machine};
use super::process::Sighting;
use super::release::{INITRD, KERNEL, Release};
use super::server::Bootbox;
use super::site::{Profile, Site};
use super::{BOX, BOX_INTERFACE, Failure, Lab};

/// No step of a story may take longer; generous, because a busy two-core machine
/// emulates slowly.
pub const STEP: Duration = Duration::from_secs(240);

/// From power-on to the reboot that ends an installation.
pub const INSTALLS: [&str; 5] = [
    "LAB-RAM ignition: done",
    "LAB-RAM script: fetched",
    "LAB-RAM coreos-install: writing",
    "LAB-RAM coreos-install: Success",
    "LAB rebooting",
];

/// What a machine says when it has come up from its own disk.
pub const UP_FROM_DISK: &str = "LAB-DISK up";

/// The post's Ignition config, with the braces its transcription lost.
const IGNITION: &str = include_str!("story/ignition.json");
/// The same in the words of today.
const IGNITION_3: &str = include_str!("story/ignition-3.json");
/// The post's cloud-config, with its lost lines; what only its author knows is left out.
const CLOUD_CONFIG: &str = include_str!("story/cloud-config.yaml");
/// The post's script, with its first line back.
const POSTS_SCRIPT: &str = include_str!("story/posts-script.sh");
/// A script that stops at the first failure, and reports.
const CAREFUL_SCRIPT: &str = include_str!("story/careful-script.sh");
/// The one that bootbox comes with.
const OUR_SCRIPT: &str = include_str!("../../etc/examples/coreos-rancher/coreos/install.sh");
const LOOK_SCRIPT: &str = "#!/bin/bash\necho \"LAB-RAM ROOT is $(findfs LABEL=ROOT)\"\n";

/// Which script the machines run in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// One that stops at the first failure, and reports.
    Careful,
    /// The example's, which tries again.
    Ours,
    /// The post's own, which knows nothing of bootbox.
    Posts,
    /// One that installs nothing and shows what Ignition made of the disk.
    Look,
}

/// The task, for whichever server is to do it.
pub struct Plan {
    /// What is installed.
    pub release: Release,
    script: Script,
}

impl Plan {
    /// To install CoreOS with this script.
    pub fn new(script: Script) -> Result<Self, Failure> {
        Self::of(Family::CoreOs, script)
    }

    /// The same with the names, and the Ignition, of another family.
    pub fn of(family: Family, script: Script) -> Result<Self, Failure> {
        Ok(Self { release: Release::of(family)?, script })
    }

    /// Fills the repository with what the post has on its web server.
    pub fn lay_out(&self, repository: &Path) -> Result<(), Failure> {
        self.release.install(repository)?;
        let script = match self.script {
            Script::Careful => CAREFUL_SCRIPT.to_owned(),
            Script::Ours => OUR_SCRIPT.to_owned(),
            // The one thing the post asks its reader to fill in.
            Script::Posts => POSTS_SCRIPT.replace("SOMEHOST", BOX),
            Script::Look => LOOK_SCRIPT.to_owned(),
        };
        let ignition = match self.release.family() {
            Family::CoreOs => IGNITION,
            Family::Flatcar => IGNITION_3,
        };
        let folder = repository.join("coreos");
        fs::write(folder.join("install.sh"), script)?;
        fs::write(folder.join("ignition.json"), ignition)?;
        fs::write(folder.join("cloud-config.yaml"), CLOUD_CONFIG)?;
        Ok(())
    }

    /// bootbox's configuration: any machine is installed once.
    fn toml(&self, repository: &Path, state: &Path) -> String {
        let (repository, state) = (repository.display(), state.display());
        let keyring = self.release.keyring();
        let (kernel, initrd) = (self.release.path(KERNEL), self.release.path(INITRD));
        let args = self.args("{{ base_url }}", "");
        format!(
            r#"[network]
interfaces = ["{BOX_INTERFACE}"]

[repository]
root = "{repository}"
keyring = "{state}/{keyring}"

[install]
ledger = "{state}/ledger.redb"
attempts = 3

[control]
socket = "{state}/control.sock"

[[template]]
path = "/coreos/"
file = "/coreos/install.sh"

[[template]]
path = "/coreos/ignition.json"

[[template]]
path = "/coreos/cloud-config.yaml"

[[profile]]
name = "coreos"
kernel = "{kernel}"
initrd = ["{initrd}"]
args = {args:?}
install = "once"
verify = false

[[group]]
name = "everybody"
profile = "coreos"
metadata.disk = "/dev/sda"
"#,
            keyring = keyring.file_name().unwrap_or_default().to_string_lossy()
        )
    }

    /// The same for a server that knows nothing of installing: files, and a kernel line.
    /// It has no index, so the script goes by its name.
    pub fn site(&self, mac: &str) -> Site {
        let profile = Profile {
            name: "coreos".to_owned(),
            kernel: self.release.path(KERNEL),
            initrd: self.release.path(INITRD),
            args: self.args(&format!("http://{BOX}"), "install.sh"),
        };
        Site::new().profile(Some(mac), profile)
    }

    fn args(&self, base: &str, script: &str) -> Vec<String> {
        let mut args = vec![
            format!("coreos.config.url={base}/coreos/ignition.json"),
            format!("cloud-config-url={base}/coreos/{script}"),
            "coreos.first_boot=1".to_owned(),
        ];
        // The post's kernel line has no more than that.
        if matches!(self.script, Script::Careful | Script::Ours) {
            args.push("console=ttyS0".to_owned());
        }
        args
    }
}

/// A plan being carried out by bootbox.
pub struct Story {
    /// The server.
    pub server: Bootbox,
    /// Its repository.
    pub repository: PathBuf,
    /// The plan.
    pub plan: Plan,
    binary: PathBuf,
    config: PathBuf,
}

impl Story {
    /// Starts `binary` with everything the plan needs.
    pub fn begin(lab: &Lab, binary: &Path, plan: Plan) -> Result<Self, Failure> {
        let repository = lab.scratch().join("repository");
        let state = lab.scratch().join("state");
        plan.lay_out(&repository)?;
        fs::create_dir_all(&state)?;
        // Root's folder, where nobody, as which the server runs, keeps its ledger.
        fs::set_permissions(&state, fs::Permissions::from_mode(0o777))?;
        fs::copy(plan.release.keyring(), state.join("keyring.asc"))?;
        let config = lab.evidence().join("bootbox.toml");
        fs::write(&config, plan.toml(&repository, &state))?;
        let server = Bootbox::start(lab, binary, &config, "json")?;
        let binary = binary.to_owned();
        Ok(Self { server, repository, plan, binary, config })
    }

    /// Runs a command of bootbox against the running server: `reinstall MAC`, …
    pub fn command(&self, lab: &Lab, words: &[&str]) -> Result<String, Failure> {
        let output = lab
            .server()
            .command("timeout")
            .arg("20")
            .arg(&self.binary)
            .args(words)
            .arg("--config")
            .arg(&self.config)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("bootbox {words:?}: {said}{wrong}")))
    }

    /// What the server says a machine's state is: `new`, `installing`, `installed`,
    /// `failed` or `held`; and how many attempts it has had.
    pub fn state(&self, lab: &Lab, mac: &str) -> Result<(String, u64), Failure> {
        let said = self.command(lab, &["machine", mac, "--json"])?;
        let record: Value = serde_json::from_str(&said)
            .map_err(|error| Failure::new(format!("{error} in {said}")))?;
        let state = &record["state"];
        // A state with particulars is an object: its name is the only key.
        let name = state
            .as_str()
            .or_else(|| state.as_object()?.keys().next().map(String::as_str))
            .ok_or_else(|| Failure::new(format!("what state is {state}? in {said}")))?;
        Ok((name.to_owned(), record["attempts"].as_u64().unwrap_or(0)))
    }

    /// Holds the server to a state.
    pub fn expect_state(&self, lab: &Lab, mac: &str, wanted: &str) -> Result<(), Failure> {
        let (state, _) = self.state(lab, mac)?;
        if state == wanted {
            return Ok(());
        }
        Err(Failure::new(format!("{mac} is {state}, and should be {wanted}")))
    }
}

/// A machine on its way through a story: each wait looks only at what came since the last.
pub struct Actor {
    machine: Machine,
    mark: usize,
}

impl Actor {
    /// Switches it on.
    pub fn power_on(lab: &Lab, hardware: &Hardware) -> Result<Self, Failure> {
        Ok(Self { machine: Machine::power_on(lab, hardware)?, mark: 0 })
    }

    /// Waits for each of these lines in turn.
    pub fn passes(&mut self, steps: &[&str]) -> Result<(), Failure> {
        steps.iter().try_for_each(|step| self.sees(step).map(drop))
    }

    /// Waits for a line, and tells when it came.
    pub fn sees(&mut self, needle: &str) -> Result<Sighting, Failure> {
        let sighting = self.machine.wait_past(self.mark, needle, STEP)?;
        self.mark = sighting.end;
        let since = sighting.at.duration_since(self.machine.powered_on());
        println!("{:6.1} s  {}", since.as_secs_f64(), sighting.line);
        Ok(sighting)
    }

    /// Waits until it is up from its disk, with the name its cloud-config gives it and
    /// this many boots behind it.
    pub fn comes_up_from_disk(&mut self, boots: u32) -> Result<(), Failure> {
        self.sees("LAB-DISK loader: GRUB")?;
        let address = self.sees("LAB-DISK address: ")?.line;
        let octet = address.rsplit('.').next().unwrap_or_default().to_owned();
        self.sees(&format!("LAB-DISK hostname: coreos{octet}"))?;
        self.sees(&format!("LAB-DISK boot: {boots}"))?;
        self.sees(UP_FROM_DISK).map(drop)
    }

    /// Reboots it by a word at its console, where the systems of the lab listen once they
    /// have nothing else to do.
    pub fn reboot(&mut self) -> Result<(), Failure> {
        self.machine.type_line("reboot")?;
        self.sees("LAB rebooting").map(drop)
    }

    /// How often the console has shown this since power-on.
    pub fn has_shown(&self, needle: &str) -> usize {
        self.machine.console().matches(needle).count()
    }

    /// Pulls the plug.
    pub fn power_cut(self) {
        self.machine.power_cut();
    }
}
