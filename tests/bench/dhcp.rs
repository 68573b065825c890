//! Offers beside dnsmasq in proxy mode: how soon they come, and how many a second.
//!
//! One namespace sends discovers of BIOS ROMs at a fixed rate, each from another hardware address;
//! the server in the other one runs on one core alone, both servers in turn in each round. A rate
//! is sustained when 99.9 % of its discovers are answered within a second.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use socket2::SockRef;

use crate::{
    Options,
    lab::{
        BOX_INTERFACE, Failure, Lab,
        namespace::Namespace,
        office::Office,
        process::Process,
        server::Bootbox,
        walker::{Stage, Walker},
    },
};

/// Discovers a second, for latency and then upwards.
const RATES: [u32; 7] = [500, 1000, 2000, 4000, 8000, 16_000, 32_000];
const LASTS: Duration = Duration::from_secs(3);
/// What comes later is no answer.
const PATIENCE: Duration = Duration::from_secs(1);
const SUSTAINED: f64 = 0.999;
const OUR_CORE: usize = 0;
const SERVERS_CORE: usize = 1;

/// What one rate brought.
#[derive(Clone, Copy)]
struct Figures {
    rate: u32,
    answered: f64,
    p50: f64,
    p99: f64,
}

/// Prints the table; every figure is the median of its runs.
pub(crate) fn print(options: &Options) -> Result<(), Failure> {
    let rounds = options.runs.unwrap_or(3).max(1);
    let servers: [(&str, &Start); 2] = [("bootbox", &ours), ("dnsmasq", &dnsmasq)];
    println!(
        "ProxyDHCP offers, {rounds} rounds, server on one core, another machine each discover"
    );
    println!("{:>9} {:>9} {:>10} {:>9} {:>9}", "rate /s", "server", "answered", "p50 ms", "p99 ms");
    let mut sustained = [0; 2];
    for rate in RATES {
        let mut found = [const { Vec::new() }; 2];
        for _ in 0..rounds {
            for ((_, start), found) in servers.iter().zip(&mut found) {
                found.push(run(*start, rate)?);
            }
        }
        let medians = found.map(median);
        for (index, ((name, _), figures)) in servers.iter().zip(medians).enumerate() {
            let Figures { rate, answered, p50, p99 } = figures;
            println!("{rate:>9} {name:>9} {:>9.2}% {p50:>9.3} {p99:>9.3}", 100.0 * answered);
            if answered >= SUSTAINED {
                sustained[index] = rate;
            }
        }
        let ratio = medians[0].p99 / medians[1].p99;
        println!("{:>9} {:>9} {:>10} {:>9} {ratio:>9.2}", "", "ratio", "", "");
        if medians.iter().all(|figures| figures.answered < SUSTAINED) {
            break;
        }
    }
    println!("sustained: bootbox {}/s, dnsmasq {}/s", sustained[0], sustained[1]);
    Ok(())
}

/// Each figure's own median.
fn median(figures: Vec<Figures>) -> Figures {
    let of = |field: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (answered, p50, p99) = (of(|it| it.answered), of(|it| it.p50), of(|it| it.p99));
    Figures { rate: figures[0].rate, answered, p50, p99 }
}

/// Starts a server, tells its process, and keeps it while the body runs.
type Start = dyn Fn(&Lab, &mut dyn FnMut(u32) -> Result<(), Failure>) -> Result<(), Failure>;

fn run(start: &Start, rate: u32) -> Result<Figures, Failure> {
    let lab = Lab::new("bench-dhcp", &Office::Plain)?;
    // It would answer, too, and on the same cores.
    lab.office().signal("KILL")?;
    let desk = lab.desk("desk", "02:00:00:00:77:50")?;
    desk.run("ip address add 10.77.0.50/24 dev eth0")?;
    let mut found = None;
    start(&lab, &mut |server| {
        let pinned = format!("taskset -apc {SERVERS_CORE} {server}");
        lab.server().run(&pinned)?;
        found = Some(load(&desk, rate)?);
        Ok(())
    })?;
    found.ok_or_else(|| Failure::new("no server ran"))
}

fn ours(lab: &Lab, body: &mut dyn FnMut(u32) -> Result<(), Failure>) -> Result<(), Failure> {
    let config = lab.evidence().join("bench.toml");
    let repository = lab.scratch().join("repository");
    fs::create_dir_all(&repository)?;
    fs::write(repository.join("k"), "")?;
    let text = format!(
        "[network]\ninterfaces = [\"{BOX_INTERFACE}\"]\n[repository]\nroot = {repository:?}\n\
         [[profile]]\nname = \"p\"\nkernel = \"/k\"\n[[group]]\nname = \"g\"\nprofile = \"p\"\n"
    );
    fs::write(&config, text)?;
    let binary = Path::new(env!("CARGO_BIN_EXE_bootbox"));
    let mut server = Bootbox::start(lab, binary, &config, "text")?;
    let pid = server.process().pid();
    body(pid)
}

fn dnsmasq(lab: &Lab, body: &mut dyn FnMut(u32) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut command = lab.server().command("dnsmasq");
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--log-facility=-", "--port=0"])
        .args(["--pid-file=", "--user=root", "--group=", "--bind-dynamic", "--quiet-dhcp"])
        .arg(format!("--interface={BOX_INTERFACE}"))
        .arg(format!("--dhcp-leasefile={}", lab.scratch().join("peer-leases").display()))
        .arg("--dhcp-range=10.77.0.0,proxy,255.255.255.0")
        .arg("--pxe-service=x86PC,boot,undionly.kpxe");
    let server = Process::spawn("dnsmasq", command, &lab.evidence().join("server.log"))?;
    server.wait_for("sockets bound exclusively", Duration::from_secs(10))?;
    body(server.pid())
}

/// Sends at this rate from a namespace, and takes the time of each answer.
fn load(desk: &Namespace, rate: u32) -> Result<Figures, Failure> {
    desk.enter(|| -> Result<Figures, Failure> {
        let mut core = CpuSet::new();
        core.set(OUR_CORE).map_err(|error| Failure::new(error.to_string()))?;
        sched_setaffinity(Pid::from_raw(0), &core)
            .map_err(|error| Failure::new(error.to_string()))?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68))?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        SockRef::from(&socket).bind_device(Some(b"eth0"))?;
        let _ = SockRef::from(&socket).set_recv_buffer_size(8 << 20);

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
        Ok(Figures { rate, answered, p50: at(0.5), p99: at(0.99) })
    })?
}

fn send(
    socket: &UdpSocket,
    sent: &[AtomicU64],
    rate: u32,
    nanos: &dyn Fn() -> u64,
) -> Result<(), Failure> {
    let everyone = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
    let between = 1_000_000_000 / u64::from(rate);
    for (number, sent) in sent.iter().enumerate() {
        let [_, a, b, c] = u32::try_from(number).unwrap_or_default().to_be_bytes();
        let machine = Walker {
            mac: [2, 0xaa, 0, a, b, c],
            address: Ipv4Addr::UNSPECIFIED,
            to: Ipv4Addr::BROADCAST,
        };
        let mut discover = machine.message(1, Stage::Bios, &[]);
        discover[4..8].copy_from_slice(&[0, a, b, c]);
        let due = between * number as u64;
        while nanos() < due {
            thread::sleep(Duration::from_micros(50));
        }
        sent.store(nanos(), Ordering::Relaxed);
        socket.send_to(&discover, everyone)?;
    }
    Ok(())
}
