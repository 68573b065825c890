//! As many machines as a ledger takes, and a flood of made-up ones: the memory and the file of the
//! real process, how long its start takes, and a list of all machines.
//!
//! All machines are played only with fast code: `cargo test --profile robust --test scale`, or
//! `BOOTBOX_UNDER_TEST=BINARY`. A debug build has fewer of them, and no bound in time.

// A test stops at the first thing that is not as it should be, and tells its figures.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bootbox::ledger::{Event, Report};
use bootbox::machine::{Mac, Machine};
use bootbox::serve::{journal::Journal, ledger::Ledger};
use nix::fcntl::{Flock, FlockArg};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use lab::namespace::Namespace;
use lab::office::Office;
use lab::server::{Bootbox, Subject, ledger};
use lab::{BOX, Failure, Lab};

const MIB: u64 = 1 << 20;
/// Machines that the ledger takes.
const ALL: u32 = 65_536;
/// For all machines.
const MEMORY: u64 = 128 * MIB;
const START: Duration = Duration::from_secs(5);
/// While machines are made up, whatever they tell. The unit's limit is 1 GiB.
const FLOODED_MEMORY: u64 = 512 * MIB;
const FLOODED_FILE: u64 = 1024 * MIB;
/// Neighbours that make machines up, each at an address of its own.
const LIARS: u8 = 64;

fn binary() -> PathBuf {
    match Subject::from_environment(env!("CARGO_BIN_EXE_bootbox")) {
        Subject::Bootbox(binary) => binary,
        Subject::Peer => panic!("this is about bootbox"),
    }
}

fn is_fast() -> bool {
    !cfg!(debug_assertions) || std::env::var_os("BOOTBOX_UNDER_TEST").is_some()
}

/// A config that installs every machine.
fn config(lab: &Lab) -> Result<PathBuf, Failure> {
    let root = lab.scratch().join("repository");
    fs::create_dir_all(&root)?;
    fs::write(root.join("vmlinuz"), vec![b'k'; 100_000])?;
    fs::write(root.join("ks.cfg"), "poweroff\n%post\ncurl {{ base_url }}/v1/event\n%end\n")?;
    let file = lab.evidence().join("bootbox.toml");
    fs::write(
        &file,
        format!(
            "[network]\ninterfaces = [\"eth0\"]\n[repository]\nroot = {root:?}\n\
             [[profile]]\nname = \"linux-server-9.4\"\nkernel = \"/vmlinuz\"\ninstall = \"once\"\n\
             args = [\"inst.ks={{{{ base_url }}}}/ks.cfg\"]\n\
             [[template]]\npath = \"/ks.cfg\"\nfile = \"/ks.cfg\"\n\
             [[group]]\nname = \"rack-12-compute\"\nprofile = \"linux-server-9.4\"\n\
             every-machine = true\n"
        ),
    )?;
    Ok(file)
}

/// A machine as our script has it tell of itself.
fn machine(number: u32) -> Machine {
    let [_, high, middle, low] = number.to_be_bytes();
    let mac = Mac::new([0x52, 0x54, 0, high, middle, low]).unwrap();
    let uuid = format!("4c4c4544-0042-3510-8052-{:012x}", 0x00b4_c04f_0000_u64 + u64::from(number));
    let labels = [
        ("arch", "x86_64".to_owned()),
        ("asset", format!("A-{number:07}")),
        ("firmware", "uefi".to_owned()),
        ("hostname", format!("compute-{number:05}")),
        ("manufacturer", "Dell Inc.".to_owned()),
        ("platform", "efi".to_owned()),
        ("product", "PowerEdge R6525".to_owned()),
        ("serial", format!("SN{number:08}")),
    ];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Machine::told(mac, Some(uuid.parse().unwrap()), labels)
}

/// A ledger of so many machines that are installed.
fn fill(file: &Path, count: u32) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let ledger = Ledger::open(file, 3, Journal::new()).unwrap();
        let mut adding = JoinSet::new();
        for number in 0..count {
            let ledger = ledger.clone();
            adding.spawn(async move {
                let [_, _, high, low] = number.to_be_bytes();
                let (group, profile) =
                    ("rack-12-compute".to_owned(), "linux-server-9.4".to_owned());
                let events = vec![
                    Event::Address(Ipv4Addr::new(10, 77, high, low)),
                    Event::PoweredOn,
                    Event::Scripted { group, profile, token: None },
                    Event::Reported(Report::Started),
                    Event::Reported(Report::Progress("writing the image".to_owned())),
                    Event::Reported(Report::Installed),
                ];
                ledger.meet(machine(number), events).await.unwrap();
            });
            if adding.len() >= 2048 {
                adding.join_next().await.unwrap().unwrap();
            }
        }
        adding.join_all().await;
        ledger.flush().await;
    });
    drop(runtime);
    // Its writer closes the file when it likes.
    let closed = fs::File::open(file).unwrap();
    drop(Flock::lock(closed, FlockArg::LockExclusive).unwrap());
    for path in [file.to_owned(), mark(file)] {
        std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
    }
}

fn mark(ledger: &Path) -> PathBuf {
    ledger.with_file_name("ledger.redb.mark")
}

/// Resident bytes of the process: now, and at most.
fn memory(server: &mut Bootbox) -> [u64; 2] {
    let status = format!("/proc/{}/status", server.process().pid());
    let status = fs::read_to_string(status).unwrap();
    ["VmRSS:", "VmHWM:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    })
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

/// `machines --json`, and how long it took.
fn list(lab: &Lab, server: &Bootbox) -> (usize, Duration) {
    let began = Instant::now();
    let output = Command::new(binary())
        .args(["machines", "--json", "--config"])
        .arg(server.own_config(lab))
        .output()
        .unwrap();
    let took = began.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let machines: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    (machines.len(), took)
}

#[test]
fn all_machines_that_there_can_be_fit() {
    let count = if is_fast() { ALL } else { 4096 };
    lab::run("all_machines_that_there_can_be", &Office::Plain, 0, |lab| {
        let (config, file) = (config(lab)?, ledger(lab)?);
        let began = Instant::now();
        fill(&file, count);
        println!("filled in {:.1} s, {} MiB", began.elapsed().as_secs_f64(), size(&file) / MIB);
        let mut server = Bootbox::start(lab, &binary(), &config, "json")?;
        let at_start = memory(&mut server);
        let (listed, took) = list(lab, &server);
        assert_eq!(listed, count as usize);
        let [now, most] = memory(&mut server);
        println!(
            "{count} machines: start {:.2} s, list {:.2} s, memory at start {} MiB (at most {}), then \
             {} MiB (at most {}), file {} MiB",
            server.ready_after().as_secs_f64(),
            took.as_secs_f64(),
            at_start[0] / MIB,
            at_start[1] / MIB,
            now / MIB,
            most / MIB,
            size(&file) / MIB
        );
        assert!(most <= MEMORY, "{} MiB", most / MIB);
        if is_fast() {
            assert!(server.ready_after() <= START, "{:?}", server.ready_after());
        }
        Ok(())
    });
}

/// A neighbour's connection, from one of its addresses.
struct Liar(BufReader<TcpStream>);

impl Liar {
    fn at(address: Ipv4Addr) -> Result<Self, Failure> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((address, 0)).into())?;
        let server = SocketAddrV4::new(BOX.parse().unwrap(), 80);
        socket.connect_timeout(&SocketAddr::from(server).into(), Duration::from_secs(10))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The status of the answer.
    fn asks(&mut self, method: &str, target: &str) -> Result<u16, Failure> {
        let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
        write!(self.0.get_mut(), "{method} {target} HTTP/1.1\r\nHost: {BOX}\r\n{length}\r\n")?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(Failure::new("hung up"));
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse().unwrap();
            } else if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length])?;
        Ok(status)
    }

    /// Makes machines up until the time is over: each asks for its script, tells all that a request
    /// may hold, and reports what fills its history.
    fn floods(&mut self, address: Ipv4Addr, until: Instant) -> Result<u32, Failure> {
        let labels: String =
            (0..40).map(|number| format!("&label{number}={}", "v".repeat(120))).collect();
        let mut count = 0;
        while Instant::now() < until {
            let [_, _, _, last] = address.octets();
            let [_, high, middle, low] = u32::to_be_bytes(count);
            let mac = format!("02-ff-{last:02x}-{high:02x}-{middle:02x}-{low:02x}");
            let more = if count.is_multiple_of(2) { labels.as_str() } else { "&serial=7" };
            let told = self.asks("GET", &format!("/ipxe?mac={mac}&platform=efi{more}"))?;
            assert_eq!(told, 200);
            for _ in 0..4 {
                for state in ["started", "progress"] {
                    let text = "t".repeat(200);
                    self.asks("POST", &format!("/v1/event?state={state}&text={text}"))?;
                }
            }
            count += 1;
        }
        Ok(count)
    }
}

fn flood(desk: &Namespace, time: Duration) -> Result<u32, Failure> {
    let addresses: Vec<Ipv4Addr> = (1..=LIARS).map(|last| Ipv4Addr::new(10, 77, 4, last)).collect();
    for address in &addresses {
        desk.run(&format!("ip address add {address}/16 dev eth0"))?;
    }
    let until = Instant::now() + time;
    desk.enter(|| {
        std::thread::scope(|scope| {
            let liars: Vec<_> = addresses
                .iter()
                .map(|&address| scope.spawn(move || Liar::at(address)?.floods(address, until)))
                .collect();
            liars.into_iter().map(|liar| liar.join().unwrap()).sum()
        })
    })?
}

#[test]
fn made_up_machines_and_reports_fill_neither_memory_nor_disk() {
    let seconds = std::env::var("BOOTBOX_FLOOD_SECONDS");
    let seconds = seconds.map_or(10, |seconds| seconds.parse().unwrap());
    lab::run("made_up_machines_and_reports", &Office::Plain, 0, |lab| {
        let (config, file) = (config(lab)?, ledger(lab)?);
        let mut server = Bootbox::start(lab, &binary(), &config, "json")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        desk.run("ip address add 10.77.0.9/16 dev eth0")?;
        let count = flood(&desk, Duration::from_secs(seconds))?;
        let ([now, most], flooded) = (memory(&mut server), size(&file));
        let (listed, _) = list(lab, &server);
        println!(
            "{count} made-up machines in {seconds} s: {listed} kept, memory {} MiB (at most {}), file \
             {} MiB",
            now / MIB,
            most / MIB,
            flooded / MIB
        );
        assert!(listed <= ALL as usize && listed > 0);
        assert!(most <= FLOODED_MEMORY && flooded <= FLOODED_FILE);
        server.restart(lab)?;
        let [now, _] = memory(&mut server);
        println!(
            "then: start {:.2} s, memory {} MiB, file {} MiB",
            server.ready_after().as_secs_f64(),
            now / MIB,
            size(&file) / MIB
        );
        assert!(size(&file) <= flooded);
        if is_fast() {
            assert!(server.ready_after() <= START, "{:?}", server.ready_after());
        }
        Ok(())
    });
}
