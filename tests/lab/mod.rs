//! The lab: an office LAN in network namespaces, with real QEMU machines.
//!
//! ```text
//!   office (dnsmasq, plain DHCP)   box (bootbox, or its peer)   desk (an ordinary client)
//!         10.77.0.1                      10.77.0.2                    │
//!             └──────────────┬──────────────┴────────────────────────┘
//!                          bridge ── tap ── machine, machine, …
//! ```
//!
//! Everything dies with the [`Lab`]; what it wrote stays under
//! `target/lab/<test>/` when the test did not pass.

// Three programs (tests, demo, bench) share this module: none uses all of it, and to
// each its `pub` looks unreachable.
#![allow(dead_code, unreachable_pub)]
// A poisoned lock or a capture that is no capture ends the test, as it should.
#![allow(clippy::unwrap_used)]

pub mod asked;
pub mod capture;
pub mod cases;
pub mod client;
pub mod disk;
pub mod guest;
pub mod machine;
pub mod namespace;
pub mod nvram;
pub mod office;
pub mod peer;
pub mod process;
pub mod release;
pub mod server;
pub mod site;
pub mod story;
pub mod walker;

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use capture::Capture;
use namespace::{Namespace, is_root};
use office::Office;
use process::Process;

/// The office's router and DHCP server.
pub const ROUTER: &str = "10.77.0.1";
/// The boot server's address.
pub const BOX: &str = "10.77.0.2";
/// The boot server's network card, fixed so that captures can name it.
pub const BOX_MAC: &str = "02:00:00:00:77:02";
/// The boot server's interface, inside its namespace.
pub const BOX_INTERFACE: &str = "eth0";

/// Machines that may be powered on at once, in one test program.
const MACHINES_AT_ONCE: usize = 3;

/// Why a lab test did not pass, in words. Its `Debug` is its `Display`, so that
/// a test returning it is readable.
pub struct Failure(String);

impl Failure {
    /// A failure with this explanation.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// One office LAN. Fields are dropped in this order: programs first, then networks.
pub struct Lab {
    capture: Option<Capture>,
    office: Process,
    bridge: Namespace,
    server: Namespace,
    router: Namespace,
    taps: Cell<u32>,
    evidence: PathBuf,
    scratch: Scratch,
}

impl Lab {
    /// Builds the LAN and switches its router on; `name` is the evidence folder's.
    pub fn new(name: &str, office: &Office) -> Result<Self, Failure> {
        let evidence = target().join("lab").join(name);
        let _ = fs::remove_dir_all(&evidence);
        fs::create_dir_all(&evidence)?;
        let scratch = Scratch::new()?;

        let bridge = Namespace::new()?;
        let server = bridge.beside()?;
        let router = bridge.beside()?;
        bridge.run("ip link add lan type bridge forward_delay 0")?;
        bridge.run("ip link set lan up")?;
        plug(&bridge, &server, "box", &format!("address {BOX_MAC}"))?;
        plug(&bridge, &router, "office", "")?;
        server.run(&format!("ip address add {BOX}/24 dev {BOX_INTERFACE}"))?;
        router.run(&format!("ip address add {ROUTER}/24 dev eth0"))?;

        let office = office.open(&router, scratch.path(), &evidence)?;
        Ok(Self {
            capture: None,
            office,
            bridge,
            server,
            router,
            taps: Cell::new(0),
            evidence,
            scratch,
        })
    }

    /// Records every frame on the LAN from now on (root only: tcpdump insists).
    pub fn record(&mut self) -> Result<(), Failure> {
        if is_root()? {
            self.capture = Some(Capture::start(&self.bridge, &self.evidence)?);
        }
        Ok(())
    }

    /// What was recorded.
    pub fn capture(&self) -> Result<&Capture, Failure> {
        self.capture
            .as_ref()
            .ok_or_else(|| Failure::new("this test reads the wire, and tcpdump needs root"))
    }

    /// The office's DHCP server, whose log names every lease.
    pub fn office(&self) -> &Process {
        &self.office
    }

    /// The office's administrator changes the DHCP server; leases are kept.
    pub fn change_office(&mut self, office: &Office) -> Result<(), Failure> {
        self.office.kill();
        self.office = office.open(&self.router, self.scratch.path(), &self.evidence)?;
        Ok(())
    }

    /// The namespace the boot server runs in.
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// The namespace of the bridge, where QEMU and tcpdump run.
    pub fn bridge(&self) -> &Namespace {
        &self.bridge
    }

    /// Where logs, consoles and captures go.
    pub fn evidence(&self) -> &Path {
        &self.evidence
    }

    /// A folder that is gone when the lab is.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A new tap on the bridge for one machine.
    pub fn tap(&self) -> Result<String, Failure> {
        let number = self.taps.get();
        self.taps.set(number + 1);
        let tap = format!("tap{number}");
        self.bridge.run(&format!("ip tuntap add {tap} mode tap"))?;
        self.bridge.run(&format!("ip link set {tap} master lan up"))?;
        Ok(tap)
    }

    /// A new network stack with one cable to the bridge.
    pub fn desk(&self, name: &str, mac: &str) -> Result<Namespace, Failure> {
        let desk = self.bridge.beside()?;
        plug(&self.bridge, &desk, name, &format!("address {mac}"))?;
        Ok(desk)
    }

    /// Slows the boot server's link to `megabits` per second, so that a test can
    /// act in the middle of a download.
    pub fn throttle(&self, megabits: u32) -> Result<(), Failure> {
        self.server.run(&format!(
            "tc qdisc add dev {BOX_INTERFACE} root tbf rate {megabits}mbit burst 64k latency 200ms"
        ))?;
        Ok(())
    }

    /// Bytes the boot server has sent so far.
    pub fn bytes_sent(&self) -> Result<u64, Failure> {
        let table = self.server.run("cat /proc/net/dev")?;
        table
            .lines()
            .find_map(|line| line.trim().strip_prefix("eth0:"))
            .and_then(|counters| counters.split_whitespace().nth(8)?.parse().ok())
            .ok_or_else(|| Failure::new("no counters for eth0 in /proc/net/dev"))
    }

    /// Waits until the boot server has sent `bytes` more than now.
    pub fn wait_for_bytes_sent(&self, bytes: u64, limit: Duration) -> Result<(), Failure> {
        let goal = self.bytes_sent()? + bytes;
        let polls = limit.as_millis() / 20;
        for _ in 0..polls {
            if self.bytes_sent()? >= goal {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Failure::new(format!("the boot server did not send {bytes} bytes in {limit:?}")))
    }
}

/// A cable from `bridge` (port `name`) to `eth0` of another namespace.
fn plug(bridge: &Namespace, to: &Namespace, name: &str, options: &str) -> Result<(), Failure> {
    let pid = to.pid();
    bridge.run(&format!("ip link add {name} type veth peer name eth0 netns {pid} {options}"))?;
    bridge.run(&format!("ip link set {name} master lan up"))?;
    to.run("ip link set lo up")?;
    to.run("ip link set eth0 up")?;
    Ok(())
}

/// Runs one lab test: waits for its machines' turn, builds the LAN, and keeps
/// the evidence unless the body ends well.
pub fn run(
    name: &str,
    office: &Office,
    machines: usize,
    body: impl FnOnce(&mut Lab) -> Result<(), Failure>,
) {
    let _turn = Turn::take(machines);
    let evidence = target().join("lab").join(name);
    let outcome = Lab::new(name, office).and_then(|mut lab| {
        lab.record()?;
        body(&mut lab)
    });
    if let Err(failure) = outcome {
        panic!("{failure}\nevidence is in {}", evidence.display());
    }
    if std::env::var_os("BOOTBOX_LAB_KEEP").is_none() {
        let _ = fs::remove_dir_all(evidence);
    }
}

/// Leave to power on some machines; given back when dropped.
struct Turn(usize);

static FREE: (Mutex<usize>, Condvar) = (Mutex::new(MACHINES_AT_ONCE), Condvar::new());

impl Turn {
    fn take(machines: usize) -> Self {
        let machines = machines.min(MACHINES_AT_ONCE);
        let free = FREE.0.lock().unwrap();
        let mut free = FREE.1.wait_while(free, |free| *free < machines).unwrap();
        *free -= machines;
        Self(machines)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.0.lock().unwrap() += self.0;
        FREE.1.notify_all();
    }
}

/// A temporary folder, unique by pid and counter.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bootbox-lab-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        // The server, as nobody, looks in here, whatever our umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Cargo's target folder.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
}
