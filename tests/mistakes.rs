//! Each typical mistake is told with its file, its line and what to write, and reaches no machine.
//!
//! The site is the example of the post, filled in, with a release that a key made here has signed.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "examples/example.rs"]
#[allow(dead_code)]
mod example;
#[path = "releases/gnupg.rs"]
#[allow(dead_code)]
mod gnupg;
mod lab;
#[path = "mistakes/rows.rs"]
mod rows;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use example::Example;
use gnupg::{Gnupg, SIGNED, Signer};
use lab::{
    Failure, Lab, namespace::Namespace, office::Office, server::Bootbox, walker::ask_http_with,
};
use rows::{Fate, LOSSES, SLIPS, Slip, Then};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 2), 80);
const LIMIT: Duration = Duration::from_secs(10);

const NODE: &str = "/ipxe?mac=52-54-00-12-34-56&serial=7&product=VM";
const RESCUED: &str = "/ipxe?mac=52-54-00-ff-00-01&serial=8&product=Lab1";
const RELEASE: &str = "/coreos/1122.2.0/coreos_production_";
const KERNEL: &str = "pxe.vmlinuz";
const INITRD: &str = "pxe_image.cpio.gz";
const IMAGE: &str = "image.bin.bz2";
/// What a node asks for, with the token of its script.
const TEXTS: [&str; 3] = ["/coreos/", "/coreos/ignition.json", "/coreos/cloud-config.yaml"];

const GROUPS: &str = "[[profile]]\nname = \"rescue\"\nkernel = \"/rescue/vmlinuz\"\n\
                      args = [\"console={{ metadata.console }}\"]\ninstall = \"never\"\n\n\
                      [[group]]\nname = \"lab\"\nprofile = \"rescue\"\n[group.selector]\n\
                      mac = \"52:54:00:ff:*\"\nproduct = \"Lab*\"\n[group.metadata]\n\
                      console = \"ttyS0\"\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The good site on disk.
struct Site {
    folder: PathBuf,
    gnupg: Gnupg,
    signer: Signer,
    other: Signer,
}

impl Site {
    fn in_folder(folder: &Path) -> Self {
        let gnupg = Gnupg::new();
        let signer = gnupg.signer("coreos", "ed25519", "never");
        let other = gnupg.signer("other", "ed25519", "never");
        let site = Self { folder: folder.to_owned(), gnupg, signer, other };
        let example = Example::of("coreos-rancher");
        for name in ["install.sh", "ignition.json", "cloud-config.yaml"] {
            let text = fs::read(example.folder.join("coreos").join(name)).unwrap();
            site.put(&format!("repository/coreos/{name}"), &text);
        }
        for name in [KERNEL, INITRD, IMAGE] {
            let data = name.repeat(2);
            let signature = site.gnupg.sign(&[&site.signer], data.as_bytes(), &[]);
            site.put(&format!("repository{RELEASE}{name}"), data.as_bytes());
            site.put(&format!("repository{RELEASE}{name}.sig"), &signature);
        }
        site.put("repository/rescue/vmlinuz", b"a kernel");
        site.put("keyring.asc", &site.gnupg.export(&[&site.signer]));
        site.put("groups.d/lab.toml", GROUPS.as_bytes());
        site.put("bootbox.toml", site.config(&example).as_bytes());
        let state = folder.join("state");
        fs::create_dir(&state).unwrap();
        // The server runs as nobody.
        fs::set_permissions(state, fs::Permissions::from_mode(0o777)).unwrap();
        site
    }

    fn config(&self, example: &Example) -> String {
        let usual = "keyring = \"/etc/bootbox/keyring.asc\"";
        let filled = example.filled_in();
        assert!(filled.contains(usual));
        let own = format!(
            "root = {:?}\nkeyring = {:?}",
            self.path("repository"),
            self.path("keyring.asc")
        );
        let ledger = self.path("state/ledger.redb");
        let socket = self.path("state/control.sock");
        // So many that no mistake is the last attempt of the machine that asks.
        format!(
            "{}\n[network]\ninterfaces = [\"eth0\"]\n[install]\nattempts = 100\n\
             ledger = {ledger:?}\n[control]\nsocket = {socket:?}\n",
            filled.replace(usual, &own)
        )
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn put(&self, file: &str, bytes: &[u8]) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    /// Makes a mistake in a text; the text before it, and the line that is to be named.
    fn slip(&self, file: &str, (from, to, at, _): Slip) -> (String, usize) {
        let right = self.text(file);
        let place = right.find(from).unwrap_or_else(|| panic!("no {from:?} in {file}"));
        let wrong = right.replacen(from, to, 1);
        let line = match at {
            "" => 1 + right[..place].matches('\n').count(),
            at => line_of(&wrong, at),
        };
        // As an editor writes it that knows Latin-1 only.
        let latin_1 = |part: &str| part.as_bytes().to_vec();
        self.put(file, &wrong.split('é').map(latin_1).collect::<Vec<_>>().join(&0xe9));
        (right, line)
    }

    /// Does something to a file; its bytes before, where there was one.
    fn lose(&self, file: &str, fate: &Fate) -> Option<Vec<u8>> {
        let before = fs::read(self.path(file)).ok();
        let Signer { primary, subkey } = &self.signer;
        match fate {
            Fate::Becomes(text) => self.put(file, text.as_bytes()),
            Fate::Expired => {
                let words = ["--quick-set-expire", primary, "2016-06-01", subkey];
                self.gnupg.gpg("20160301T000000", &words);
                self.put(file, &self.gnupg.export(&[&self.signer]));
            }
            Fate::Gone => fs::remove_file(self.path(file)).unwrap(),
            Fate::Other if file.ends_with(".sig") => {
                let data = fs::read(self.path(file.trim_end_matches(".sig"))).unwrap();
                self.put(file, &self.gnupg.sign(&[&self.other], &data, &[]));
            }
            Fate::Other => self.put(file, &self.gnupg.export(&[&self.other])),
            Fate::Secret => {
                let words = ["--export-secret-keys", primary];
                self.put(file, &self.gnupg.gpg(SIGNED, &words));
            }
        }
        before
    }

    fn undo(&self, file: &str, before: Option<&[u8]>) {
        match before {
            Some(bytes) => self.put(file, bytes),
            None => fs::remove_file(self.path(file)).unwrap(),
        }
    }
}

fn line_of(text: &str, needle: &str) -> usize {
    1 + text.lines().position(|line| line.contains(needle)).unwrap()
}

/// A file of a release by its role, any other by its name.
fn file_of(name: &str) -> String {
    let (role, end) = match name.strip_suffix(".sig") {
        Some(role) => (role, ".sig"),
        None => (name, ""),
    };
    match role {
        "KERNEL" => format!("repository{RELEASE}{KERNEL}{end}"),
        "INITRD" => format!("repository{RELEASE}{INITRD}{end}"),
        "IMAGE" => format!("repository{RELEASE}{IMAGE}{end}"),
        "VERSION" => "repository/coreos/1122.2.0/version.txt".to_owned(),
        _ => name.to_owned(),
    }
}

/// All that machines are given.
#[derive(Clone, Debug, PartialEq)]
struct Given {
    node: String,
    rescued: String,
    texts: Vec<(u16, String)>,
    files: Vec<(u16, String)>,
}

impl Given {
    /// What is not as it should be, for who reads that the test failed.
    fn beside(&self, good: &Self) -> String {
        let all = |given: &Self| {
            let scripts = [&given.node, &given.rescued].map(|it| (200, it.clone()));
            [scripts.to_vec(), given.texts.clone(), given.files.clone()].concat()
        };
        let (all, good) = (all(self), all(good));
        let lines = |it: &(u16, String)| -> Vec<String> {
            it.1.lines().map(|line| format!("{} {line}", it.0)).collect()
        };
        let differ = all.iter().zip(&good).filter(|(it, good)| it != good);
        differ
            .flat_map(|(it, good)| {
                let good = lines(good);
                lines(it).into_iter().filter(move |line| !good.contains(line))
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

struct Desk<'a> {
    desk: Namespace,
    /// Fetches files: what the machine fetches counts for it.
    beside: Namespace,
    server: &'a mut Bootbox,
    lab: &'a Lab,
    site: Site,
    /// Of a boot of the node before the mistake.
    token: String,
}

impl Desk<'_> {
    /// All but the end of an image: who has that may have installed itself, and it is not known who.
    fn ask(&self, desk: &Namespace, target: &str) -> (u16, String) {
        let lines = if target.ends_with(IMAGE) { "Range: bytes=0-3\r\n" } else { "" };
        let (head, body) = desk.enter(|| ask_http_with(SERVER, target, lines)).unwrap().unwrap();
        (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
    }

    /// What they are given now. Tokens are each script's own, and left out.
    fn given(&mut self) -> Given {
        let node = self.ask(&self.desk, NODE).1;
        if let Some((_, rest)) = node.split_once("/~") {
            self.token = rest.split('/').next().unwrap().to_owned();
        }
        let plain = |text: &str| text.replace(&format!("/~{}", self.token), "/~");
        let of = |desk: &Namespace, target: &str| {
            let (status, body) = self.ask(desk, target);
            (status, plain(&body))
        };
        let texts = TEXTS.map(|text| of(&self.desk, &format!("/~{}{text}", self.token)));
        let files =
            [KERNEL, INITRD, IMAGE].map(|file| of(&self.beside, &format!("{RELEASE}{file}")));
        let rescued = plain(&self.ask(&self.desk, RESCUED).1);
        Given { node: plain(&node), rescued, texts: texts.to_vec(), files: files.to_vec() }
    }

    fn check(&self) -> (Option<i32>, String) {
        let mut command = self.lab.server().command(BINARY);
        let output =
            command.args(["check", "--config"]).arg(self.site.path("bootbox.toml")).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Has the server read its config again; what it says until it is done.
    fn reload(&mut self) -> String {
        let process = self.server.process();
        let mark = process.transcript().mark();
        process.signal("HUP").unwrap();
        let begun = Instant::now();
        loop {
            let text = process.transcript().text()[mark..].to_owned();
            if ["the last good one still holds\n", "is loaded\n"]
                .iter()
                .any(|end| text.contains(end))
            {
                return text;
            }
            assert!(begun.elapsed() < LIMIT, "{text}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until machines are given this again: signatures are verified anew.
    fn settle(&mut self, good: &Given) {
        let begun = Instant::now();
        while self.given() != *good {
            assert!(begun.elapsed() < LIMIT, "{}", self.given().beside(good));
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Whether a line begins with this place and has these words.
fn tells(text: &str, place: &str, words: &str) -> bool {
    text.lines().any(|line| {
        line.split_once(place)
            .is_some_and(|(_, said)| said.starts_with(": ") && said.contains(words))
    })
}

fn with_server(name: &str, body: impl FnOnce(&mut Desk<'_>, &Given) -> Vec<String>) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let site = Site::in_folder(lab.scratch());
        let mut server =
            Bootbox::start(lab, Path::new(BINARY), &site.path("bootbox.toml"), "text")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        desk.run("ip address add 10.77.0.9/24 dev eth0")?;
        let beside = lab.desk("beside", "02:00:00:00:77:0a")?;
        beside.run("ip address add 10.77.0.10/24 dev eth0")?;
        let mut desk = Desk { desk, beside, server: &mut server, lab, site, token: String::new() };
        let (code, said) = desk.check();
        assert!(code == Some(0) && !said.contains("error"), "{said}");
        let begun = Instant::now();
        let good = loop {
            let given = desk.given();
            if given.node.contains("\nkernel ") && given.files.iter().all(|it| it.0 < 300) {
                break given;
            }
            assert!(begun.elapsed() < LIMIT, "{given:#?}");
            thread::sleep(Duration::from_millis(50));
        };
        assert!(good.texts.iter().all(|it| it.0 == 200) && good.rescued.contains("ttyS0"));
        let wrong = body(&mut desk, &good);
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(format!("{} of them:\n{}", wrong.len(), wrong.join("\n")))),
        }
    });
}

#[test]
fn a_mistake_in_a_text_is_named_and_the_last_good_one_is_given_on() {
    with_server("mistakes_in_texts", |desk, good| {
        let mut wrong = Vec::new();
        let slips = SLIPS.iter().flat_map(|(file, slips)| slips.iter().map(move |it| (file, it)));
        for (file, &slip) in slips.clone() {
            let (right, line) = desk.site.slip(file, slip);
            let place = format!("{}:{line}", desk.site.path(file).display());
            let (code, said) = desk.check();
            let log = desk.reload();
            let given = desk.given();
            desk.site.put(file, right.as_bytes());
            let (from, to, _, words) = slip;
            let what = format!("{file}: {to:?} for {from:?}");
            if code != Some(78) || !tells(&said, &place, words) {
                wrong.push(format!("{what}: {place}: … {words:?}: {code:?} {said}"));
            }
            if !tells(&log, &place, words) {
                wrong.push(format!("{what}: the log: {log}"));
            }
            if given != *good {
                wrong.push(format!("{what}: reached a machine: {}", given.beside(good)));
            }
            if !log.contains("the last good one still holds") {
                wrong.push(format!("{what}: {log}"));
                desk.reload();
                desk.settle(good);
            }
        }
        assert!(slips.count() >= 40);
        wrong
    });
}

#[test]
fn a_mistake_in_a_release_is_named_and_the_release_is_not_given_out() {
    with_server("mistakes_in_releases", |desk, good| {
        let mut wrong = Vec::new();
        for (name, fate, at, words, then) in LOSSES {
            let file = file_of(name);
            let before = desk.site.lose(&file, fate);
            let config = desk.site.path("bootbox.toml");
            let place =
                format!("{}:{}", config.display(), line_of(&desk.site.text("bootbox.toml"), at));
            let (code, said) = desk.check();
            let log = desk.reload();
            let given = desk.given();
            desk.site.undo(&file, before.as_deref());
            let what = format!("{name} {words}");
            if code != Some(78) || !tells(&said, &place, words) {
                wrong.push(format!("{what}: {place}: {code:?} {said}"));
            }
            if !tells(&log, &place, words) {
                wrong.push(format!("{what}: the log: {log}"));
            }
            let is_closed = given.node.contains("is not served: ")
                && !given.node.contains("\nkernel ")
                && given.files.iter().all(|(status, body)| *status == 503 && !body.is_empty());
            let are_good =
                given.texts.iter().zip(&good.texts).all(|(it, good)| it.0 == 503 || it == good);
            let is_right = match then {
                Then::Closed => is_closed && are_good && given.rescued == good.rescued,
                Then::Kept => given == *good,
            };
            if !is_right {
                wrong.push(format!("{what}: {}", given.beside(good)));
            }
            desk.reload();
            desk.settle(good);
        }
        wrong
    });
}
