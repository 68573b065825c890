//! Offers beside dnsmasq in proxy mode: how soon they come, and how many a second.
//!
//! One namespace sends discovers of BIOS ROMs at a fixed rate, each from another hardware address;
//! the server in the other one runs on one core alone, both servers in turn in each round. Once with
//! the log that each writes by itself, into a file, and once with hardly any. A rate is sustained
//! when 99.9 % of its discovers are answered within a second.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    OUR_CORE, Options, SERVERS_CORE,
    lab::{
        BOX_INTERFACE, Failure, Lab,
        namespace::Namespace,
        office::Office,
        process::Process,
        walker::{Stage, Walker},
    },
    median, stay_on,
};

/// Discovers a second.
const RATES: [u32; 5] = [500, 2000, 8000, 16_000, 32_000];
const LASTS: Duration = Duration::from_secs(3);
/// What comes later is no answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a server may take from its start to its first offer.
const READY: Duration = Duration::from_secs(10);
const EVERYONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
const SUSTAINED: f64 = 0.999;

/// What one rate brought.
#[derive(Clone, Copy)]
struct Figures {
    answered: f64,
    p50: f64,
    p99: f64,
}

/// Starts a server in the lab, with its usual log or with hardly any.
type Start = fn(&Lab, Log) -> Result<Process, Failure>;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Log {
    Hardly,
    Usual,
}

const SERVERS: [(&str, Start); 2] = [("bootbox", ours), ("dnsmasq", dnsmasq)];

/// Prints both tables; figures are medians of the rounds, ratios those of the pairs.
pub(crate) fn print(options: &Options) -> Result<(), Failure> {
    let rounds = options.runs.unwrap_or(5).max(1);
    for (log, what) in [(Log::Hardly, "hardly any log"), (Log::Usual, "each with its usual log")] {
        println!("ProxyDHCP offers, {what}: {rounds} rounds, server on one core, all machines new");
        table(log, rounds, &options.case)?;
    }
    Ok(())
}

fn table(log: Log, rounds: usize, case: &str) -> Result<(), Failure> {
    println!(
        "{:>9} {:>9} {:>10} {:>9} {:>9} {:>11} {:>11}",
        "rate /s", "server", "answered", "p50 ms", "p99 ms", "p50 ratio", "p99 ratio"
    );
    let mut sustained = [0; 2];
    for rate in RATES.into_iter().filter(|rate| case.is_empty() || rate.to_string() == case) {
        let mut rows: [Vec<Figures>; 2] = Default::default();
        for _ in 0..rounds {
            for ((_, start), row) in SERVERS.iter().zip(&mut rows) {
                row.push(run(*start, log, rate)?);
            }
        }
        let middle =
            |row: &[Figures], of: fn(&Figures) -> f64| median(row.iter().map(of).collect());
        let ratio = |of: fn(&Figures) -> f64| {
            let [ours, theirs] = &rows;
            median(ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect())
        };
        for (index, ((name, _), row)) in SERVERS.iter().zip(&rows).enumerate() {
            let answered = middle(row, |run| run.answered);
            let (p50, p99) = (middle(row, |run| run.p50), middle(row, |run| run.p99));
            print!("{rate:>9} {name:>9} {:>9.2}% {p50:>9.3} {p99:>9.3}", 100.0 * answered);
            match index {
                0 => println!(" {:>11.2} {:>11.2}", ratio(|run| run.p50), ratio(|run| run.p99)),
                _ => println!(),
            }
            if answered >= SUSTAINED {
                sustained[index] = rate;
            }
        }
    }
    println!("sustained, of these: bootbox {}/s, dnsmasq {}/s", sustained[0], sustained[1]);
    Ok(())
}

fn run(start: Start, log: Log, rate: u32) -> Result<Figures, Failure> {
    let lab = Lab::new("bench-dhcp", &Office::Plain)?;
    // It would answer, too, and on the same cores.
    lab.office().signal("KILL")?;
    let desk = lab.desk("desk", "02:00:00:00:77:50")?;
    desk.run("ip address add 10.77.0.50/24 dev eth0")?;
    // Whom this thread starts stays there, too, and sees one core.
    stay_on(Some(SERVERS_CORE))?;
    let _server = start(&lab, log)?;
    load(&desk, rate)
}

fn ours(lab: &Lab, log: Log) -> Result<Process, Failure> {
    let at = lab.scratch();
    let repository = at.join("repository");
    fs::create_dir_all(&repository)?;
    fs::write(repository.join("k"), "")?;
    let (ledger, socket) = (at.join("ledger.redb"), at.join("control.sock"));
    let text = format!(
        "[network]\ninterfaces = [\"{BOX_INTERFACE}\"]\n[repository]\nroot = {repository:?}\n\
         [install]\nledger = {ledger:?}\n[control]\nsocket = {socket:?}\n\
         [[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"\n"
    );
    let config = at.join("bench.toml");
    fs::write(&config, text)?;
    let level = if log == Log::Usual { "info" } else { "warn" };
    let config = config.to_string_lossy();
    let words = ["env", &format!("BOOTBOX_LOG={level}"), env!("CARGO_BIN_EXE_bootbox"), "serve"];
    started(lab, "bootbox", &[&words[..], &["--config", &config]].concat())
}

fn dnsmasq(lab: &Lab, log: Log) -> Result<Process, Failure> {
    let leases = format!("--dhcp-leasefile={}", lab.scratch().join("peer-leases").display());
    let interface = format!("--interface={BOX_INTERFACE}");
    let mut words = vec![
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--log-facility=-",
        "--port=0",
        "--pid-file=",
        "--user=root",
        "--group=",
        "--bind-dynamic",
        &interface,
        &leases,
        "--dhcp-range=10.77.0.0,proxy,255.255.255.0",
        "--pxe-service=x86PC,boot,undionly.kpxe",
    ];
    if log == Log::Hardly {
        words.push("--quiet-dhcp");
    }
    started(lab, "dnsmasq", &words)
}

/// Starts a server whose log is a file and not our pipe: reading it would cost its core time.
fn started(lab: &Lab, name: &str, words: &[&str]) -> Result<Process, Failure> {
    let log = lab.evidence().join("server.log");
    let mut command = lab.server().command("sh");
    command.args(["-c", r#"exec "$@" >"$0" 2>&1"#]).arg(&log).args(words);
    Process::spawn(name, command, &lab.evidence().join("shell.log"))
}

/// Sends at this rate from a namespace, and takes the time of each answer.
fn load(desk: &Namespace, rate: u32) -> Result<Figures, Failure> {
    desk.enter(|| -> Result<Figures, Failure> {
        stay_on(Some(OUR_CORE))?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68))?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        SockRef::from(&socket).bind_device(Some(b"eth0"))?;
        let _ = SockRef::from(&socket).set_recv_buffer_size(8 << 20);

        first_offer(&socket)?;
        let count = (u128::from(rate) * LASTS.as_millis() / 1000) as usize;
        let sent: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
        let (began, is_over) = (Instant::now(), AtomicBool::new(false));
        let nanos = || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut latencies = thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let mut latencies: Vec<u64> = Vec::new();
                let mut buffer = [0; 2048];
                while !is_over.load(Ordering::Relaxed) {
                    let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
                    let now = nanos();
                    let Some(&[a, b, c, d]) = buffer[..len].get(4..8) else { continue };
                    let number = u32::from_be_bytes([a, b, c, d]) as usize;
                    // Each is answered once; a broadcast of ours does not come back.
                    let at = sent.get(number).map_or(0, |sent| sent.swap(0, Ordering::Relaxed));
                    if at > 0 && buffer[0] == 2 {
                        latencies.push(now - at);
                    }
                }
                latencies
            });
            let outcome = send(&socket, &sent, rate, &nanos);
            thread::sleep(PATIENCE);
            is_over.store(true, Ordering::Relaxed);
            let latencies = receiver.join().unwrap_or_default();
            outcome.map(|()| latencies)
        })?;
        latencies.sort_unstable();
        let at = |share: f64| {
            let last = latencies.len().saturating_sub(1);
            let nanos = latencies.get((last as f64 * share) as usize).copied().unwrap_or(u64::MAX);
            nanos as f64 / 1e6
        };
        let answered = latencies.len() as f64 / count as f64;
        Ok(Figures { answered, p50: at(0.5), p99: at(0.99) })
    })?
}

/// Asks until the server is ready.
fn first_offer(socket: &UdpSocket) -> Result<(), Failure> {
    let (began, mut buffer) = (Instant::now(), [0; 2048]);
    while began.elapsed() < READY {
        socket.send_to(&discover(0x00ff_ffff), EVERYONE)?;
        if socket.recv_from(&mut buffer).is_ok() {
            // What it still has of the earlier ones is no answer to the load.
            thread::sleep(Duration::from_millis(200));
            while socket.recv_from(&mut buffer).is_ok() {}
            return Ok(());
        }
    }
    Err(Failure::new("the server never made an offer"))
}

/// A BIOS ROM's, its number being its hardware address and xid.
fn discover(number: u32) -> Vec<u8> {
    let [_, a, b, c] = number.to_be_bytes();
    let machine = Walker {
        mac: [2, 0xaa, 0, a, b, c],
        address: Ipv4Addr::UNSPECIFIED,
        to: Ipv4Addr::BROADCAST,
    };
    let mut discover = machine.message(1, Stage::Bios, &[]);
    discover[4..8].copy_from_slice(&[0, a, b, c]);
    discover
}

fn send(
    socket: &UdpSocket,
    sent: &[AtomicU64],
    rate: u32,
    nanos: &dyn Fn() -> u64,
) -> Result<(), Failure> {
    let between = 1_000_000_000 / u64::from(rate);
    for (number, sent) in sent.iter().enumerate() {
        let discover = discover(u32::try_from(number).unwrap_or_default());
        let due = between * number as u64;
        while nanos() < due {
            thread::sleep(Duration::from_micros(50));
        }
        sent.store(nanos(), Ordering::Relaxed);
        socket.send_to(&discover, EVERYONE)?;
    }
    Ok(())
}
