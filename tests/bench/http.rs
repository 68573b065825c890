//! HTTP throughput and CPU time beside nginx: one file, 1, 8 and 64 downloads at once.
//!
//! Both servers run as processes of their own, in turns, with the same discarding client in a third
//! process. `print` prints the table; `role` is what this executable does when it starts itself.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use crate::{OUR_CORE, Options, SERVERS_CORE, fake::Fake, lab::Failure, median, stay_on};
use bootbox::serve::{
    drain,
    http::{self, Limits, Service},
    journal::Journal,
    ledger::Ledger,
    site::Site,
    store::Store,
};
use nix::sys::socket::{MsgFlags, recv};

const SIZE: u64 = 256 * 1024 * 1024;
const FILE: &str = "image.bin";
const AT_ONCE: [usize; 3] = [1, 8, 64];
/// Downloads of one measurement, at least: a clock tick of 10 ms must not count.
const DOWNLOADS: usize = 16;
const GIB: f64 = (1_u64 << 30) as f64;

/// Prints the table; every figure is the median of `runs`. `BOOTBOX` names a real binary to measure
/// instead of the service alone; it wants a network namespace for ports 67 and 69 on `lo`.
pub(crate) fn print(options: &Options) -> Result<(), Failure> {
    let runs = options.runs.unwrap_or(9);
    let folder = Folder::new();
    let binary = env::var_os("BOOTBOX");
    println!(
        "HTTP: {} MiB from the page cache over loopback (medians of {runs}, in turns; ratios of pairs)",
        SIZE >> 20
    );
    let what = match &binary {
        Some(binary) => binary.display().to_string(),
        None => "serve::http alone, no log subscriber".to_owned(),
    };
    println!("nginx: a worker per core, sendfile on, access_log off; bootbox: {what}");
    println!("one download: the server on one core, the client on another");
    println!(
        "{:>8}{:>13}{:>13}{:>8}{:>17}{:>17}{:>8}",
        "at once", "GiB/s", "nginx", "ratio", "CPU s/GiB", "nginx", "ratio"
    );
    for at_once in AT_ONCE {
        // One download keeps both busy without a break: who shares a core with whom by chance would
        // be all that is measured.
        let [servers, client] = match at_once {
            1 => [Some(SERVERS_CORE), Some(OUR_CORE)],
            _ => [None, None],
        };
        stay_on(servers)?;
        let nginx = Server::nginx(&folder.0);
        let ours = match &binary {
            Some(binary) => Server::binary(&folder.0, Path::new(binary)),
            None => Server::service(&folder.0),
        };
        let (mut our_runs, mut nginx_runs) = (Vec::new(), Vec::new());
        for round in 0..runs {
            // Whoever goes first has the colder caches: take turns.
            for ours_now in [round % 2 == 0, round % 2 == 1] {
                if ours_now {
                    our_runs.push(ours.measure(at_once, client));
                } else {
                    nginx_runs.push(nginx.measure(at_once, client));
                }
            }
        }
        let [speed, cpu] = [|run: &Run| run.speed, |run: &Run| run.cpu];
        let column =
            |runs: &[Run], value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
        // Of each pair, as other load on the machine changes slower than the turns.
        let ratio = |value: fn(&Run) -> f64| {
            let pairs = our_runs.iter().zip(&nginx_runs);
            median(pairs.map(|(ours, nginx)| value(ours) / value(nginx)).collect())
        };
        println!(
            "{at_once:>8}{:>13.2}{:>13.2}{:>8.2}{:>17.3}{:>17.3}{:>8.2}",
            column(&our_runs, speed),
            column(&nginx_runs, speed),
            ratio(speed),
            column(&our_runs, cpu),
            column(&nginx_runs, cpu),
            ratio(cpu)
        );
    }
    Ok(())
}

/// Plays a part when this executable was started by itself; true when it did.
pub(crate) fn role(arguments: &[String]) -> bool {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["http-serve", root] => serve(Path::new(root)),
        ["http-discard", port, at_once, downloads, core @ ..] => {
            let number = |text: &str| text.parse::<usize>().expect("a number");
            if let [core] = core {
                stay_on(Some(number(core))).expect("a core");
            }
            discard(number(port) as u16, number(at_once), number(downloads));
        }
        _ => return false,
    }
    true
}

struct Server {
    port: u16,
    child: Child,
}

struct Run {
    speed: f64,
    cpu: f64,
}

impl Server {
    fn service(folder: &Path) -> Self {
        let mut child = Command::new(env::current_exe().expect("own path"))
            .args(["http-serve".as_ref(), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting the service");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("a port");
        let port = line.trim().parse().expect("a port");
        Self { port, child }
    }

    fn binary(folder: &Path, binary: &Path) -> Self {
        let port = free_port();
        let config = folder.join("bootbox.toml");
        let text = format!(
            "[network]\ninterfaces = [\"lo\"]\n[http]\nport = {port}\n[repository]\nroot = {folder:?}\n\
             [control]\nsocket = {:?}\n",
            folder.join("control.sock")
        );
        fs::write(&config, text).expect("writing the config");
        let child = Command::new(binary)
            .args(["serve".as_ref(), "--config".as_ref(), config.as_os_str()])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("starting bootbox");
        Self { port, child }.ready()
    }

    fn nginx(folder: &Path) -> Self {
        let port = free_port();
        let config = folder.join("nginx.conf");
        let at = folder.display();
        let text = format!(
            "worker_processes auto; daemon off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ sendfile on; tcp_nopush on; access_log off; default_type application/octet-stream;\n\
             client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f;\n\
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen 127.0.0.1:{port}; root {at}; }} }}\n"
        );
        fs::write(&config, text).expect("writing nginx.conf");
        // Its workers run as nobody: they must get at the file.
        let child = Command::new("nginx")
            .args(["-p".as_ref(), folder.as_os_str(), "-c".as_ref(), config.as_os_str()])
            .spawn()
            .expect("nginx: apt-get install nginx-light");
        Self { port, child }.ready()
    }

    fn ready(self) -> Self {
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < end, "nobody listens on {}", self.port);
            thread::sleep(Duration::from_millis(20));
        }
        self
    }

    fn measure(&self, at_once: usize, core: Option<usize>) -> Run {
        let downloads = DOWNLOADS.max(at_once);
        let before = cpu(self.child.id());
        let client = Command::new(env::current_exe().expect("own path"))
            .args([
                "http-discard",
                &self.port.to_string(),
                &at_once.to_string(),
                &downloads.to_string(),
            ])
            .args(core.map(|core| core.to_string()))
            .output()
            .expect("starting the client");
        let text = String::from_utf8_lossy(&client.stdout);
        let seconds: f64 = text.trim().parse().expect("the client prints its seconds");
        let gib = downloads as f64 * SIZE as f64 / GIB;
        Run { speed: gib / seconds, cpu: (cpu(self.child.id()) - before) / gib }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, for nginx's master must stop its workers.
        let pid = nix::libc::pid_t::try_from(self.child.id()).expect("a pid");
        let ended = Command::new("kill").arg(pid.to_string()).status();
        if ended.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A folder with the file, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = env::temp_dir().join(format!("bootbox-bench-http-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut file = fs::File::create(folder.join(FILE)).expect("a file");
        let block: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
        for _ in 0..SIZE / block.len() as u64 {
            file.write_all(&block).expect("writing the file");
        }
        file.sync_all().expect("writing the file");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The service alone, on a runtime as the binary has it, until its parent closes stdin.
fn serve(root: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (_site, site) = tokio::sync::watch::channel(Arc::new(Site::of(
        Store::open(None, Some(root)).expect("the folder"),
    )));
    let journal = Journal::new();
    let service = Service {
        site,
        ledger: Ledger::forgetful(journal.clone()),
        journal,
        scripts: Arc::new(Fake(|_, _| String::new())),
        limits: Limits::default(),
    };
    let (_tap, drain) = drain::channel();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address").port());
        http::run(listener, service, drain).await
    });
    let _ = std::io::stdin().read(&mut [0]);
    runtime.shutdown_background();
}

/// Downloads the file and throws it away in the kernel: MSG_TRUNC takes bytes without copying.
fn discard(port: u16, at_once: usize, downloads: usize) {
    let start = Arc::new(Barrier::new(at_once + 1));
    let clients: Vec<_> = (0..at_once)
        .map(|client| {
            let start = Arc::clone(&start);
            let own = downloads / at_once + usize::from(client < downloads % at_once);
            thread::spawn(move || {
                start.wait();
                for _ in 0..own {
                    download(SocketAddr::from(([127, 0, 0, 1], port)));
                }
            })
        })
        .collect();
    start.wait();
    let started = Instant::now();
    for client in clients {
        client.join().expect("a client");
    }
    println!("{}", started.elapsed().as_secs_f64());
}

fn download(server: SocketAddr) {
    let mut stream = TcpStream::connect(server).expect("connecting");
    let request = format!("GET /{FILE} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("asking");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).expect("a head"), 1);
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    let mut left = SIZE as usize;
    let mut window = vec![0; 1 << 20];
    let fd = std::os::fd::AsRawFd::as_raw_fd(&stream);
    while left > 0 {
        let count = recv(fd, &mut window, MsgFlags::MSG_TRUNC).expect("bytes");
        assert!(count > 0, "{left} bytes are missing");
        left -= count;
    }
}

/// User and system seconds of a process and its children's.
fn cpu(pid: u32) -> f64 {
    let mut ticks = 0;
    let mut family = vec![pid];
    while let Some(pid) = family.pop() {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        ticks += fields.skip(11).take(2).map(|n| n.parse::<u64>().unwrap_or(0)).sum::<u64>();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        family.extend(
            children.unwrap_or_default().split_whitespace().filter_map(|n| n.parse::<u32>().ok()),
        );
    }
    ticks as f64 / 100.0
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
