//! The service on a free port of loopback with a root of its own, and a client that reads bytes.

use std::{
    fs, io,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::fake::Fake;
use bootbox::{
    http::route::Script,
    serve::{
        beneath::Lookup,
        drain::{self, Tap},
        http::{self, Arrival, Limits, Service},
        journal::Journal,
        ledger::Ledger,
        site::Site,
        store::Store,
    },
};
use socket2::{Domain, Socket, Type};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch, task::JoinHandle};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) root: PathBuf,
    pub(crate) tap: Tap,
    runtime: Runtime,
    task: Option<JoinHandle<io::Result<()>>>,
    _site: watch::Sender<Arc<Site>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::serving(limits, |store| store)
    }

    /// Looks files up in this way, whatever the system allows.
    pub(crate) fn by(lookup: Lookup) -> Self {
        Self::serving(Limits::default(), |store| store.by(lookup))
    }

    fn serving(limits: Limits, with: impl FnOnce(Store) -> Store) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bootbox-http-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name).join("root");
        fs::create_dir_all(&root).unwrap();
        let runtime = Runtime::new().unwrap();
        super::log::listen();
        let store = with(Store::open(None, Some(&root)).unwrap());
        let (_site, site) = watch::channel(Arc::new(Site::of(store)));
        let journal = Journal::new();
        let ledger = Ledger::forgetful(journal.clone());
        let service = Service { site, journal, ledger, scripts: Arc::new(Fake(script)), limits };
        let (tap, drain) = drain::channel();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let task = Some(runtime.spawn(http::run(listener, service, drain)));
        Self { address, root, tap, runtime, task, _site }
    }

    /// Puts a file in the repository.
    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn connect(&self) -> Client {
        self.connect_from(1)
    }

    /// A client on 127.0.0.`host`.
    pub(crate) fn connect_from(&self, host: u8) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
        socket.bind(&from.into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &[u8]) -> Answer {
        self.connect().ask(request)
    }

    /// Waits for the service to finish.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let task = self.task.take().unwrap();
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.root.parent().unwrap());
    }
}

fn script(script: &Script, arrival: Arrival) -> String {
    match script {
        Script::Boot => format!("boot for {} at {}", arrival.peer.ip(), arrival.local),
        Script::Machine(query)
            if query.labels.get("serial").is_some_and(|serial| serial == "panic") =>
        {
            panic!("as this test wants")
        }
        Script::Machine(query) => format!("machine {} {:?}", query.mac, query.labels.get("serial")),
        Script::Named(named) => format!("named {named:?}"),
        Script::Nobody(error) => format!("nobody: {error}"),
    }
}

pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        self.hear(!request.starts_with(b"HEAD"))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Reads one reply.
    pub(crate) fn hear(&mut self, with_body: bool) -> Answer {
        let head = self.head();
        let answer = Answer { head, body: Vec::new() };
        let length = match answer.status() {
            304 => 0,
            _ => answer.field("Content-Length").parse().unwrap(),
        };
        let mut body = vec![0; if with_body { length } else { 0 }];
        self.0.read_exact(&mut body).unwrap();
        Answer { body, ..answer }
    }

    /// Reads a head, up to and with the empty line.
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(self.0.read_until(b'\n', &mut head).unwrap() > 0, "cut off: {head:?}");
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub(crate) fn close_half(&self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The next line, nothing where the connection ends instead.
    pub(crate) fn first_line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => line,
        }
    }

    /// Everything up to the end of the connection, a reset counted as its end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => bytes,
        }
    }
}

pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    /// The status of a refusal that has all a refusal must have.
    pub(crate) fn refused(&self) -> u16 {
        assert_eq!(self.field("Connection"), "close", "{}", self.head);
        assert_eq!(self.field("Content-Type"), "text/plain; charset=utf-8");
        assert!(self.body.ends_with(b"\n") && self.body.len() > 10, "{}", self.head);
        assert!(self.head.len() + self.body.len() < 1500);
        self.status()
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        let field = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        field.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub(crate) fn without_date(&self) -> Vec<&str> {
        self.head.lines().filter(|line| !line.starts_with("Date: ")).collect()
    }
}

pub(crate) fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n").into_bytes()
}
