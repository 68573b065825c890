//! Offers beside dnsmasq in proxy mode: how soon they come, and how many a second.
//!
//! A desk on each server's own LAN sends discovers of BIOS ROMs at a fixed rate, each from another
//! hardware address; the servers share one core that is theirs alone. For how many, each has three
//! seconds at a time. For how soon, they take turns of 50 ms, so that what else this machine does
//! falls on both alike: a p99 is the host's tail as much as the server's. Once with the log that
//! each writes by itself, into a file, and once with hardly any. A rate is sustained when 99.9 % of
//! its discovers are answered within a second; what is not answered counts as a second.

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
/// How long each server is asked, in each of the two ways.
const LASTS: Duration = Duration::from_secs(3);
/// One server's turn when it is about how many.
const LONG: Duration = LASTS;
/// One server's turn when it is about how soon.
const SHORT: Duration = Duration::from_millis(50);
/// Between two turns, for what is still under way.
const PAUSE: Duration = Duration::from_millis(5);
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
        println!(
            "ProxyDHCP offers, {what}: {rounds} rounds, servers on one core, all machines new"
        );
        table(log, rounds, &options.case)?;
    }
    Ok(())
}

fn table(log: Log, rounds: usize, case: &str) -> Result<(), Failure> {
    println!(
        "{:>9} {:>9} {:>10} {:>9} {:>9} {:>20} {:>20}",
        "rate /s", "server", "answered", "p50 ms", "p99 ms", "p50 ratio (half)", "p99 ratio (half)"
    );
    let mut sustained = [0; 2];
    for rate in RATES.into_iter().filter(|rate| case.is_empty() || rate.to_string() == case) {
        let mut rows: [Vec<Figures>; 2] = Default::default();
        for _ in 0..rounds {
            for (row, figures) in rows.iter_mut().zip(run(log, rate)?) {
                row.push(figures);
            }
        }
        let middle =
            |row: &[Figures], of: fn(&Figures) -> f64| median(row.iter().map(of).collect());
        // The median of the pairs' ratios, and between which of them half of all are: by that one
        // sees what of it this machine makes up.
        let ratio = |of: fn(&Figures) -> f64| {
            let [ours, theirs] = &rows;
            let mut ratios: Vec<f64> =
                ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect();
            ratios.sort_by(f64::total_cmp);
            let (low, high) = (ratios[rounds / 4], ratios[rounds - 1 - rounds / 4]);
            format!("{:.2} ({low:.2}-{high:.2})", median(ratios))
        };
        for (index, ((name, _), row)) in SERVERS.iter().zip(&rows).enumerate() {
            let answered = middle(row, |run| run.answered);
            let (p50, p99) = (middle(row, |run| run.p50), middle(row, |run| run.p99));
            print!("{rate:>9} {name:>9} {:>9.2}% {p50:>9.3} {p99:>9.3}", 100.0 * answered);
            match index {
                0 => println!(" {:>20} {:>20}", ratio(|run| run.p50), ratio(|run| run.p99)),
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

fn run(log: Log, rate: u32) -> Result<[Figures; 2], Failure> {
    let mut running = Vec::new();
    for (name, start) in SERVERS {
        running.push(Running::start(name, start, log)?);
    }
    let sockets: Vec<&UdpSocket> = running.iter().map(|server| &server.socket).collect();
    let many = load(&sockets, rate, LONG, 0)?;
    // The first machines are known by now: these have other numbers.
    let soon = load(&sockets, rate, SHORT, many.asked)?;
    Ok(std::array::from_fn(|server| Figures {
        answered: many.answered(server),
        p50: soon.quantile(server, 0.5),
        p99: soon.quantile(server, 0.99),
    }))
}

/// A server on its own LAN, and who asks it. Fields are dropped in this order.
struct Running {
    socket: UdpSocket,
    _desk: Namespace,
    _server: Process,
    _lab: Lab,
}

impl Running {
    fn start(name: &str, start: Start, log: Log) -> Result<Self, Failure> {
        let lab = Lab::new(&format!("bench-dhcp-{name}"), &Office::Plain)?;
        // It would answer, too, and on the same cores.
        lab.office().signal("KILL")?;
        let desk = lab.desk("desk", "02:00:00:00:77:50")?;
        desk.run("ip address add 10.77.0.50/24 dev eth0")?;
        // Whom this thread starts stays there, too, and sees one core.
        stay_on(Some(SERVERS_CORE))?;
        let server = start(&lab, log)?;
        stay_on(Some(OUR_CORE))?;
        let socket = desk.enter(|| -> Result<UdpSocket, Failure> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68))?;
            socket.set_broadcast(true)?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            SockRef::from(&socket).bind_device(Some(b"eth0"))?;
            let _ = SockRef::from(&socket).set_recv_buffer_size(8 << 20);
            first_offer(&socket)?;
            Ok(socket)
        })??;
        Ok(Self { socket, _desk: desk, _server: server, _lab: lab })
    }
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

/// What a load brought: for each server, how long its answers took, in ns and in order.
struct Answers {
    latencies: Vec<Vec<u64>>,
    /// Discovers to all servers together.
    asked: usize,
}

impl Answers {
    fn answered(&self, server: usize) -> f64 {
        (self.latencies[server].len() * self.latencies.len()) as f64 / self.asked as f64
    }

    /// In milliseconds, of all that were asked: who loses what it cannot answer is not the faster.
    fn quantile(&self, server: usize, share: f64) -> f64 {
        let asked = self.asked / self.latencies.len();
        let at = (asked.saturating_sub(1) as f64 * share) as usize;
        let took = self.latencies[server].get(at).copied().map(Duration::from_nanos);
        took.unwrap_or(PATIENCE).as_secs_f64() * 1e3
    }
}

/// When a discover was sent, in ns, or 0: not yet, or answered.
type Sent = AtomicU64;

/// Asks the servers in turn at this rate, with machines from this number on, and takes the time of
/// each answer.
fn load(
    sockets: &[&UdpSocket],
    rate: u32,
    turn: Duration,
    first: usize,
) -> Result<Answers, Failure> {
    let of_a_turn = (u128::from(rate) * turn.as_millis() / 1000) as usize;
    let turns = sockets.len() * (LASTS.as_millis() / turn.as_millis()) as usize;
    let sent: Vec<Sent> = (0..of_a_turn * turns).map(|_| Sent::new(0)).collect();
    let (clock, is_over) = (Clock(Instant::now()), AtomicBool::new(false));
    let latencies = thread::scope(|scope| {
        let hear = |socket| hear(socket, &sent, first, &clock, &is_over);
        let receivers: Vec<_> =
            sockets.iter().map(|&socket| scope.spawn(move || hear(socket))).collect();
        let outcome = (0..turns).try_for_each(|turn| {
            let socket = sockets[turn % sockets.len()];
            let from = turn * of_a_turn;
            send(socket, &sent[from..from + of_a_turn], first + from, rate, &clock)
        });
        thread::sleep(PATIENCE);
        is_over.store(true, Ordering::Relaxed);
        let latencies = receivers.into_iter().map(|each| each.join().unwrap_or_default()).collect();
        outcome.map(|()| latencies)
    })?;
    Ok(Answers { latencies, asked: sent.len() })
}

struct Clock(Instant);

impl Clock {
    /// Since it was started.
    fn nanos(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Takes the answers that come here, until all is over.
fn hear(
    socket: &UdpSocket,
    sent: &[Sent],
    first: usize,
    clock: &Clock,
    is_over: &AtomicBool,
) -> Vec<u64> {
    let mut latencies: Vec<u64> = Vec::new();
    let mut buffer = [0; 2048];
    while !is_over.load(Ordering::Relaxed) {
        let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
        let now = clock.nanos();
        let Some(&[a, b, c, d]) = buffer[..len].get(4..8) else { continue };
        let number = (u32::from_be_bytes([a, b, c, d]) as usize).wrapping_sub(first);
        // Each is answered once; a broadcast of ours does not come back.
        let at = sent.get(number).map_or(0, |sent| sent.swap(0, Ordering::Relaxed));
        if at > 0 && buffer[0] == 2 {
            latencies.push(now - at);
        }
    }
    latencies.sort_unstable();
    latencies
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

/// One turn: a discover for each of these, evenly.
fn send(
    socket: &UdpSocket,
    sent: &[Sent],
    first: usize,
    rate: u32,
    clock: &Clock,
) -> Result<(), Failure> {
    thread::sleep(PAUSE);
    let (began, between) = (clock.nanos(), 1_000_000_000 / u64::from(rate));
    for (index, sent) in sent.iter().enumerate() {
        let discover = discover(u32::try_from(first + index).unwrap_or_default());
        let due = began + between * index as u64;
        while clock.nanos() < due {
            thread::sleep(Duration::from_micros(50));
        }
        sent.store(clock.nanos(), Ordering::Relaxed);
        socket.send_to(&discover, EVERYONE)?;
    }
    Ok(())
}
