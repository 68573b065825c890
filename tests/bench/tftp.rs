//! TFTP throughput beside tftpd-hpa, dnsmasq and async-tftp, and the memory of 500 transfers.
//!
//! One client of our own fetches the same file from each server in turn; the servers alternate
//! within a round, so that whatever else the machine does meets all of them. Loopback, blocks of
//! at most 1468 bytes, every server on port 69 of an address of its own.

#[path = "../tftp/client.rs"]
mod client;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use crate::{Options, fake::Fake, lab::Failure, median};
use bootbox::serve::{drain, journal::Journal, site::Site, store::Store, tftp};
use client::Fetch;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{net::UdpSocket, sync::watch};

const MIB: usize = 1 << 20;
const WINDOWS: [u16; 4] = [1, 4, 16, 64];
const BLOCK_SIZES: [u16; 2] = [1468, 512];
const CROWD: usize = 500;
/// The first argument of this program when it is started as a server.
const SERVE: &str = "--serve-tftp";

/// Makes the command that serves a folder's files at an address, port 69.
type Start<'a> = &'a dyn Fn(&Path, Ipv4Addr) -> Command;

/// Prints the tables: throughput at each window, then the memory of 500 transfers.
pub(crate) fn print(options: &Options) -> Result<(), Failure> {
    let folder = Folder::new()?;
    let mut servers = Vec::new();
    let started: [(&str, Start<'_>); 4] = [
        ("bootbox", &|folder, address| in_this_binary("bootbox", folder, address)),
        ("tftpd-hpa", &tftpd_hpa),
        ("dnsmasq", &dnsmasq),
        ("async-tftp", &|folder, address| in_this_binary("async-tftp", folder, address)),
    ];
    for (number, (name, start)) in started.into_iter().enumerate() {
        let address = Ipv4Addr::new(127, 0, 69, 1 + number as u8);
        servers.push(Server::start(name, start(&folder.0, address), address)?);
    }
    throughput(&servers, options.runs.unwrap_or(41))?;
    Ok(crowd(&servers)?)
}

/// Serves and returns true where this program was started by [`in_this_binary`].
pub(crate) fn serve_if_asked() -> io::Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [serve, server, folder, address, ..] = arguments.as_slice() else { return Ok(false) };
    if serve != SERVE {
        return Ok(false);
    }
    let address: Ipv4Addr = address.parse().map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match server.as_str() {
        "bootbox" => runtime.block_on(serve_bootbox(Path::new(folder), address))?,
        _ => runtime.block_on(serve_async_tftp(folder, address))?,
    }
    Ok(true)
}

/// The command that starts this program as a server.
fn in_this_binary(server: &str, folder: &Path, address: Ipv4Addr) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let mut command = Command::new(program);
    command.args([SERVE, server]).arg(folder).arg(address.to_string());
    command
}

async fn serve_bootbox(folder: &Path, address: Ipv4Addr) -> io::Result<()> {
    // A socket and a file for each transfer.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let (_tap, drain) = drain::channel();
    let (_sites, site) = watch::channel(Arc::new(Site::of(Store::open(None, Some(folder))?)));
    let socket = UdpSocket::bind((address, 69)).await?;
    let nothing = Fake(|_, _| String::new());
    tftp::run(socket, address, 1500, site, Journal::new(), Arc::new(nothing), drain).await
}

/// As its own example serves a folder.
async fn serve_async_tftp(folder: &str, address: Ipv4Addr) -> io::Result<()> {
    let server = async_tftp::server::TftpServerBuilder::with_dir_ro(folder)
        .map_err(io::Error::other)?
        .bind((address, 69).into())
        .build()
        .await
        .map_err(io::Error::other)?;
    server.serve().await.map_err(io::Error::other)
}

fn tftpd_hpa(folder: &Path, address: Ipv4Addr) -> Command {
    let mut command = Command::new("in.tftpd");
    command.args(["-L", "-a", &format!("{address}:69"), "-s"]).arg(folder);
    command
}

fn dnsmasq(folder: &Path, address: Ipv4Addr) -> Command {
    let mut command = Command::new("dnsmasq");
    command.args(["--no-daemon", "--conf-file=/dev/null", "--port=0", "--bind-interfaces"]);
    command.args(["--enable-tftp", "--quiet-tftp", "--tftp-max=1000", "--user=root"]);
    command.arg(format!("--listen-address={address}"));
    command.arg(format!("--tftp-root={}", folder.display()));
    command
}

fn throughput(servers: &[Server], rounds: usize) -> io::Result<()> {
    println!("TFTP throughput, MiB/s, median of {rounds} rounds, one transfer at a time");
    print!("{:>8} {:>7}", "blksize", "window");
    servers.iter().for_each(|server| print!(" {:>11}", server.name));
    println!(" {:>10}", "ours/best");
    for block_size in BLOCK_SIZES {
        for window in WINDOWS {
            let mut speeds = vec![Vec::new(); servers.len()];
            for _ in 0..rounds {
                for (server, speeds) in servers.iter().zip(&mut speeds) {
                    speeds.push(server.speed(block_size, window)?);
                }
            }
            let medians: Vec<f64> = speeds.into_iter().map(median).collect();
            let best = medians[1..].iter().copied().fold(0.0, f64::max);
            print!("{block_size:>8} {window:>7}");
            medians.iter().for_each(|median| print!(" {median:>11.1}"));
            println!(" {:>10.2}", medians[0] / best);
        }
    }
    Ok(())
}

/// All transfers are under way before any goes on past its first block.
fn crowd(servers: &[Server]) -> io::Result<()> {
    println!("\n{CROWD} transfers of 4 MiB at once, blksize 1468, window 64");
    println!("{:>11} {:>9} {:>9} {:>9} {:>9}", "server", "complete", "s", "idle KiB", "peak KiB");
    for server in servers {
        let idle = server.peak_rss()?;
        let started = Instant::now();
        let barrier = Arc::new(Barrier::new(CROWD));
        let clients: Vec<_> = (0..CROWD)
            .map(|_| {
                let (address, barrier) = (server.address, Arc::clone(&barrier));
                let client = move || {
                    let mut first = true;
                    let fetch = fetch(address, "crowd.img", 1468, 64);
                    let done = fetch.run(|_| {
                        if std::mem::take(&mut first) {
                            barrier.wait();
                        }
                    });
                    if first {
                        barrier.wait();
                    }
                    done
                };
                thread::Builder::new().stack_size(256 << 10).spawn(client)
            })
            .collect::<io::Result<_>>()?;
        let whole = clients
            .into_iter()
            .filter_map(|client| client.join().ok()?.ok())
            .filter(|&bytes| bytes == 4 * MIB as u64)
            .count();
        let took = started.elapsed().as_secs_f64();
        println!(
            "{:>11} {:>9} {took:>9.1} {idle:>9} {:>9}",
            server.name,
            whole,
            server.peak_rss()?
        );
    }
    Ok(())
}

fn fetch(server: SocketAddr, name: &str, block_size: u16, window: u16) -> Fetch<'_> {
    Fetch { server, name, block_size: Some(block_size), window: (window > 1).then_some(window) }
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

impl Server {
    fn start(name: &'static str, mut command: Command, address: Ipv4Addr) -> io::Result<Self> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { name, address: (address, 69).into(), child: quiet.spawn()? };
        let started = Instant::now();
        while fetch(server.address, "ready", 512, 1).run(|_| {}).is_err() {
            if started.elapsed() > Duration::from_secs(20) {
                return Err(io::Error::other(format!("{name} does not serve")));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// MiB per second of one transfer.
    fn speed(&self, block_size: u16, window: u16) -> io::Result<f64> {
        // Short turns, many rounds: whatever disturbs one server soon disturbs the next.
        let name = if window == 1 { "small.img" } else { "large.img" };
        let started = Instant::now();
        let bytes = fetch(self.address, name, block_size, window).run(|_| {})?;
        Ok(bytes as f64 / MIB as f64 / started.elapsed().as_secs_f64())
    }

    /// KiB, of the process alone: tftpd-hpa's children are not counted.
    fn peak_rss(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kib.ok_or_else(|| io::Error::other("no VmHWM"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is served; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let folder =
            Self(std::env::temp_dir().join(format!("bootbox-bench-{}", std::process::id())));
        fs::create_dir_all(&folder.0)?;
        for (name, length) in
            [("ready", 1), ("small.img", MIB), ("large.img", 4 * MIB), ("crowd.img", 4 * MIB)]
        {
            fs::write(folder.0.join(name), vec![0xa5; length])?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
