//! An operator and the running server: each command's effect, who may, and what happens when no
//! server runs, an old one was killed, or a client misbehaves.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "control/fleet.rs"]
mod fleet;
mod lab;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lab::namespace::{Namespace, is_root};
use lab::process::Process;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const MAC: &str = "52:54:00:12:34:56";
const OTHER: &str = "52:54:00:12:34:57";
const LIMIT: Duration = Duration::from_secs(10);

/// A server on an interface of its own, and what belongs to it.
struct Server {
    process: Process,
    namespace: Namespace,
    folder: PathBuf,
}

impl Server {
    fn start(name: &str) -> Self {
        Self::start_with(name, "")
    }

    /// `umask` is a shell command that goes before.
    fn start_with(name: &str, umask: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bootbox-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        for part in ["ledger", "root"] {
            fs::create_dir(folder.join(part)).unwrap();
        }
        fs::write(folder.join("root/vmlinuz"), "k").unwrap();
        // A build folder may be closed to other users.
        fs::copy(BINARY, folder.join("bootbox")).unwrap();
        let text = format!(
            "[network]\ninterfaces = [\"eth5\"]\n[repository]\nroot = {:?}\n\
             [control]\nsocket = {:?}\n[install]\nledger = {:?}\n\
             [[profile]]\nname = \"p\"\nkernel = \"/vmlinuz\"\ninstall = \"once\"\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\nselector.mac = \"52:54:00:12:34:*\"\n",
            folder.join("root"),
            folder.join("run/control.sock"),
            folder.join("ledger/ledger.redb"),
        );
        fs::write(folder.join("bootbox.toml"), text).unwrap();
        let namespace = served();
        let process = serve(&namespace, &folder, umask);
        process.wait_for("is ready", LIMIT).unwrap();
        Self { process, namespace, folder }
    }

    fn restart(&mut self) {
        self.process = serve(&self.namespace, &self.folder, "");
        self.process.wait_for("is ready", LIMIT).unwrap();
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("run/control.sock")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(self.folder.join("bootbox.toml"));
        command.stdin(Stdio::null());
        command
    }

    /// Exit code and all that it said.
    fn asked(&self, words: &[&str]) -> (i32, String) {
        ended(&self.command(words).output().unwrap())
    }

    fn machines(&self) -> Vec<Value> {
        let output = self.command(&["machines", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn machine(&self, name: &str) -> Value {
        let output = self.command(&["machine", name, "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Sends bytes as they are; what comes back until the server hangs up.
    fn sent(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn served() -> Namespace {
    let namespace = Namespace::new().unwrap();
    namespace.run("ip link add eth5 type bridge").unwrap();
    namespace.run("ip address add 192.0.2.1/24 dev eth5").unwrap();
    namespace.run("ip link set eth5 up").unwrap();
    namespace
}

fn serve(namespace: &Namespace, folder: &Path, umask: &str) -> Process {
    let mut command = namespace.command("sh");
    let line = format!("{umask}\nexec \"$0\" serve --config \"$1\"");
    command.args(["-c", &line]).arg(folder.join("bootbox")).arg(folder.join("bootbox.toml"));
    Process::spawn("bootbox", command, &folder.join("server.log")).unwrap()
}

fn ended(output: &Output) -> (i32, String) {
    let said = [&output.stdout[..], &output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn each_command_does_what_it_says_and_a_restart_keeps_it() {
    let mut server = Server::start("commands");
    assert_eq!(server.machines(), Vec::<Value>::new());
    assert_eq!(server.asked(&["machines"]), (0, "no machine has been seen yet\n".to_owned()));

    // Before it ever boots, in the spelling of a switch.
    let (code, said) = server.asked(&["hold", "5254.0012.3456", "--reason", "broken fan"]);
    assert_eq!(code, 0, "{said}");
    let expected = "52:54:00:12:34:56: held until `bootbox release 52:54:00:12:34:56`; its next \
                    network boot boots its own disk: held by the operator: broken fan\n";
    assert_eq!(said, expected);
    let (code, said) = server.asked(&["hold", OTHER]);
    assert!(code == 0 && said.contains("until further notice"), "{said}");
    let machines = server.machines();
    let macs: Vec<&str> = machines.iter().map(|one| one["mac"].as_str().unwrap()).collect();
    assert_eq!(macs, [MAC, OTHER]);
    assert_eq!(machines[0]["state"]["held"]["reason"], "broken fan");
    assert_eq!(machines[0]["next_boot"]["disk"], "held by the operator: broken fan");
    let (_, table) = server.asked(&["machines"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("MAC ") && lines[1].starts_with(MAC), "{table}");
    assert!(lines[1].ends_with("held by the operator: broken fan"), "{table}");

    let mut check = server.namespace.command(BINARY);
    check.arg("check").arg("--config").arg(server.folder.join("bootbox.toml"));
    let (code, said) = ended(&check.output().unwrap());
    assert!(code == 0 && said.contains("tried with 2 machines"), "{said}");

    let explained = |mac: &str| {
        let (code, said) = server.asked(&["explain", mac, "--address", "192.0.2.1"]);
        assert!(code == 0, "{said}");
        said
    };
    let said = explained(MAC);
    assert!(
        said.contains("\nby the running server's ledger, its next network boot boots its own disk"),
        "{said}"
    );
    let said = explained("52:54:00:12:34:58");
    assert!(said.contains("has not seen it yet: by its ledger it is new\n"), "{said}");

    let (code, said) = server.asked(&["release", MAC]);
    let expected = "52:54:00:12:34:56: released; its next network boot boots its own disk: its disk \
                    counts as installed since ";
    assert!(code == 0 && said.starts_with(expected), "{code} {said}");
    assert_eq!(server.machine(MAC)["state"]["installed"]["proof"], "presumed");
    let (code, said) = server.asked(&["release", MAC]);
    assert!(code == 1 && said.contains("is not held"), "{code} {said}");

    let (code, said) = server.asked(&["reinstall", OTHER]);
    let expected = "52:54:00:12:34:57: will be installed again at its next network boot, which wipes \
                    its disk\n";
    assert_eq!((code, said.as_str()), (0, expected));

    assert_eq!(server.process.terminate(LIMIT).unwrap(), Some(0));
    assert!(!server.socket().exists(), "a server that ends takes its socket away");
    let (_, said) = server.asked(&["explain", MAC, "--address", "192.0.2.1"]);
    assert!(
        said.contains("\nwhat the ledger says of it is not known: no bootbox serves"),
        "{said}"
    );
    server.restart();
    let told = server.machine(OTHER);
    assert_eq!((&told["state"], &told["next_boot"]), (&"new".into(), &"install".into()));
    let history = told["history"].as_array().unwrap();
    let history: Vec<&str> = history.iter().map(|entry| entry["text"].as_str().unwrap()).collect();
    assert_eq!(
        history[1..],
        [
            "held by the operator: until further notice",
            "to be installed again, by the operator's word"
        ]
    );
    let (code, page) = server.asked(&["machine", MAC]);
    assert!(code == 0 && page.starts_with("machine 52:54:00:12:34:56\n  state "), "{page}");
    assert!(page.contains("Z  released by the operator\n"), "{page}");

    let (code, said) = server.asked(&["forget", MAC, "--yes"]);
    assert!(code == 0 && said.contains("52:54:00:12:34:56: forgotten\n"), "{said}");
    assert_eq!(server.machines().len(), 1);
    server.process.kill();
    server.restart();
    assert_eq!(server.machines().len(), 1);
    assert_eq!(server.machines()[0]["mac"], OTHER);
}

#[test]
fn a_machine_that_nobody_has_seen_is_1_with_words() {
    let server = Server::start("unknown");
    for (words, expected) in [
        (&["machine", MAC][..], "has no record"),
        (&["release", MAC], "has no record"),
        (&["forget", MAC, "--yes"], "has no record"),
        (&["reinstall", MAC], "so it is new anyway"),
        (&["hold", "564da6d2-1706-6343-dc2d-0123456789ab"], "name it by its hardware address"),
    ] {
        let (code, said) = server.asked(words);
        assert!(code == 1 && said.contains(expected), "{words:?}: {code} {said}");
    }
    assert_eq!(server.machines(), Vec::<Value>::new());
    for words in [&["hold", MAC, "--reason", "two\nlines"][..], &["machine", "nobody"], &["forget"]]
    {
        assert_eq!(server.asked(words).0, 64, "{words:?}");
    }
}

#[test]
fn forget_says_what_it_means_and_does_nothing_without_a_yes() {
    let server = Server::start("forget");
    assert_eq!(server.asked(&["hold", MAC]).0, 0);
    let (code, said) = server.asked(&["forget", MAC]);
    assert_eq!(code, 64, "{said}");
    assert!(said.contains("INSTALLED, and its disk WIPED, at its next network boot"), "{said}");
    assert!(said.contains("group g matches it now") && said.contains("nothing was done"), "{said}");
    // A yes in a pipe is not somebody at a terminal.
    let mut piped = server.command(&["forget", MAC]);
    let mut piped =
        piped.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _ = piped.stdin.take().unwrap().write_all(b"yes\n");
    assert_eq!(piped.wait().unwrap().code(), Some(64));
    assert_eq!(server.machines().len(), 1);

    for (answer, code, left) in [("no", 64, 1), ("", 64, 1), ("yes", 0, 0)] {
        let line = format!(
            "{BINARY} forget {MAC} --config {}",
            server.folder.join("bootbox.toml").display()
        );
        let mut terminal = Command::new("script");
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let mut terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        terminal.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
        let (ended, said) = ended(&terminal.wait_with_output().unwrap());
        assert_eq!(ended, code, "{answer}: {said}");
        assert!(said.contains("Forget it? Type yes:"), "{said}");
        assert_eq!(server.machines().len(), left, "{answer}");
    }
}

#[test]
fn without_a_server_it_says_so_with_69() {
    let folder = std::env::temp_dir().join(format!("bootbox-none-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("bootbox.toml");
    let socket = folder.join("control.sock");
    // What is wrong elsewhere in the config does not matter.
    fs::write(&file, format!("[control]\nsocket = {socket:?}\n[network]\ninterfacs = []\n"))
        .unwrap();
    for words in [
        &["machines", "--json"][..],
        &["machine", MAC],
        &["reinstall", MAC],
        &["hold", MAC],
        &["release", MAC],
        &["forget", MAC, "--yes"],
    ] {
        let output = Command::new(BINARY).args(words).arg("--config").arg(&file).output().unwrap();
        let (code, said) = ended(&output);
        assert_eq!(code, 69, "{words:?}: {said}");
        assert!(said.contains(&format!("no bootbox serves with {}: ", socket.display())), "{said}");
    }
    fs::write(&file, "[control]\nsocket = \"control.sock\"\n").unwrap();
    let output = Command::new(BINARY).args(["machines", "--config"]).arg(&file).output().unwrap();
    assert_eq!(ended(&output).0, 78);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_socket_is_its_owners_whatever_the_umask() {
    let server = Server::start_with("mode", "umask 000");
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&server.socket()), 0o600);
    assert_eq!(mode(&server.folder.join("run")), 0o700);
    if !is_root().unwrap() {
        // There is no other user to try.
        return;
    }
    let as_nobody = |words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(server.folder.join("bootbox")).args(words);
        ended(&command.arg("--config").arg(server.folder.join("bootbox.toml")).output().unwrap())
    };
    let (code, said) = as_nobody(&["machines"]);
    assert!(code == 77 && said.contains("is not yours to use; run this as root"), "{code} {said}");
    // Where somebody opens the file to all, the server still asks who it is.
    for (path, mode) in [(server.socket(), 0o666), (server.folder.join("run"), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for words in [&["machines"][..], &["hold", MAC], &["forget", MAC, "--yes"]] {
        let (code, said) = as_nobody(words);
        assert!(code == 77 && said.contains("user 65534 may not do this"), "{code} {said}");
    }
    assert_eq!(server.machines(), Vec::<Value>::new());
}

#[test]
fn a_killed_servers_socket_is_replaced_and_a_living_ones_is_not() {
    let mut server = Server::start("two");
    let first = fs::metadata(server.socket()).unwrap().ino();
    // Elsewhere, so that it is not a port which stops it.
    let text = fs::read_to_string(server.folder.join("bootbox.toml")).unwrap();
    let file = server.folder.join("second.toml");
    fs::write(&file, text.replace("ledger.redb", "second.redb")).unwrap();
    let elsewhere = served();
    let mut second = elsewhere.command(BINARY);
    second.args(["serve", "--config"]).arg(&file);
    let mut second = Process::spawn("second", second, &server.folder.join("second.log")).unwrap();
    assert_eq!(second.wait_for_end(LIMIT).unwrap(), Some(71));
    let said = second.transcript().text();
    let expected = format!("another bootbox serves already with {}", server.socket().display());
    assert!(said.contains(&expected), "{said}");
    assert_eq!(fs::metadata(server.socket()).unwrap().ino(), first);
    assert_eq!(server.machines(), Vec::<Value>::new());

    server.process.kill();
    assert!(server.socket().exists());
    let (code, said) = server.asked(&["machines"]);
    assert!(code == 69 && said.contains("no bootbox serves with"), "{code} {said}");
    server.restart();
    assert_eq!(server.machines(), Vec::<Value>::new());
}

#[test]
fn without_its_socket_the_server_still_serves_and_says_what_to_write() {
    let mut server = Server::start("nosocket");
    assert_eq!(server.process.terminate(LIMIT).unwrap(), Some(0));
    let file = server.folder.join("bootbox.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(server.folder.join("file"), "mine").unwrap();
    for (socket, expected) in [
        ("nowhere/run/control.sock", "nowhere/run cannot be made"),
        ("file/control.sock", "file/control.sock cannot be opened"),
        ("file", "file is there and is no socket; move it away"),
    ] {
        fs::write(&file, text.replace("run/control.sock", socket)).unwrap();
        server.restart();
        let said = server.process.transcript().text();
        assert!(said.contains("will not reach this server") && said.contains(expected), "{said}");
        assert!(said.contains("[control] socket"), "{said}");
        assert_eq!(server.process.terminate(LIMIT).unwrap(), Some(0));
    }
    assert_eq!(fs::read_to_string(server.folder.join("file")).unwrap(), "mine");
}

#[test]
fn what_a_client_does_wrong_disturbs_nobody() {
    let server = Server::start("hostile");
    for (bytes, expected) in [
        (&b"\n"[..], "EOF while parsing"),
        (b"\xff\xfe\x00 machines\n", "expected value"),
        (b"{\"version\":1,\"body\":\"machines\"}", "the line is cut off"),
        (b"{\"version\":9,\"body\":\"machines\"}\n", "\"other-version\""),
        (&[b'x'; 64 * 1024 + 1], "no line ends within 65536 bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "expected value"),
        (b"", ""),
    ] {
        let answer = server.sent(bytes);
        assert!(answer.contains(expected), "{expected}: {answer}");
        assert!(answer.is_empty() || answer.contains("\"refused\""), "{answer}");
    }
    let long = [vec![b' '; 65_000], b"{\"version\":1,\"body\":\"machines\"}\n".to_vec()].concat();
    assert!(server.sent(&long).contains("\"end\""));
    // A second request, and one whose answer nobody waits for.
    let twice = b"{\"version\":1,\"body\":\"machines\"}\n".repeat(2);
    assert_eq!(server.sent(&twice).lines().count(), 1);
    for _ in 0..100 {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        stream.write_all(&twice[..twice.len() / 2]).unwrap();
    }
    assert_eq!(server.machines(), Vec::<Value>::new());
    assert!(!server.process.transcript().text().contains("panicked"));
}

#[test]
fn behind_eighty_that_say_nothing_a_command_waits_two_seconds() {
    let server = Server::start("idle");
    let began = Instant::now();
    let idle: Vec<UnixStream> =
        (0..80).map(|_| UnixStream::connect(server.socket()).unwrap()).collect();
    assert_eq!(server.machines(), Vec::<Value>::new());
    for stream in idle {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut line = String::new();
        assert_eq!(BufReader::new(stream).read_line(&mut line).unwrap(), 0);
    }
    let waited = began.elapsed();
    assert!((Duration::from_millis(800)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
}
