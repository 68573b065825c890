//! Commands that name many machines at once: by several words, by a glob, and from a file.

use std::fs;

use super::lab::namespace::Namespace;
use super::{MAC, OTHER, Server, ended};

const STRANGER: &str = "52:54:00:99:00:01";

/// A place on the server's LAN from where machines ask.
fn desk(server: &Server) -> Namespace {
    let desk = server.namespace.beside().unwrap();
    let pid = desk.pid();
    for line in [
        &format!("ip link add plug type veth peer name eth0 netns {pid}"),
        "ip link set plug master eth5",
        "ip link set plug up",
    ] {
        server.namespace.run(line).unwrap();
    }
    desk.run("ip address add 192.0.2.9/24 dev eth0").unwrap();
    desk.run("ip link set eth0 up").unwrap();
    desk
}

impl Server {
    /// A machine asks for its script.
    fn hears(&self, desk: &Namespace, mac: &str, more: &str) -> String {
        let mut curl = desk.command("curl");
        let url = format!("http://192.0.2.1/ipxe?mac={mac}&platform=pcbios{more}");
        let (code, said) = ended(&curl.args(["-sS", "-m", "10", &url]).output().unwrap());
        assert_eq!(code, 0, "{said}");
        said
    }

    fn known(&self) -> Vec<String> {
        let mac = |one: &serde_json::Value| one["mac"].as_str().unwrap().to_owned();
        self.machines().iter().map(mac).collect()
    }
}

#[test]
fn a_fleet_is_told_to_be_installed_by_words_a_file_and_a_glob() {
    let mut server = Server::start("fleet-installed");
    let desk = desk(&server);
    let (code, said) = server.asked(&["installed", MAC, "5254.0012.3457"]);
    assert_eq!(code, 0, "{said}");
    for mac in [MAC, OTHER] {
        assert!(said.contains(&format!("{mac}: installed; its next network boot ")), "{said}");
        assert!(server.machine(mac)["state"]["installed"].is_object(), "{mac}");
    }
    let list = server.folder.join("fleet.txt");
    fs::write(&list, "# rack 1\n52:54:00:12:34:60 # the top one\n\n52-54-00-12-34-61\n").unwrap();
    let from = ["installed", "--from", list.to_str().unwrap()];
    assert_eq!(server.asked(&from).0, 0);
    assert!(server.machine("52:54:00:12:34:61")["state"]["installed"].is_object());

    // Nothing of a file with a wrong line is done.
    fs::write(&list, "52:54:00:12:34:62\nrack 2\n").unwrap();
    let (code, said) = server.asked(&from);
    assert!(code == 64 && said.contains("fleet.txt: line 2: \"rack 2\" "), "{code} {said}");
    assert!(!server.known().contains(&"52:54:00:12:34:62".to_owned()));

    // A mistaken `reinstall` is undone, and a glob names what is known.
    for mac in [MAC, OTHER] {
        assert_eq!(server.asked(&["reinstall", mac]).0, 0);
    }
    let (code, said) = server.asked(&["installed", "52:54:00:12:34:5*"]);
    assert!(code == 0 && said.matches(": installed; ").count() == 2, "{said}");
    let (code, said) = server.asked(&["installed", "02:00:*"]);
    assert!(code == 1 && said.contains("no machine that is known is one of "), "{code} {said}");

    server.process.kill();
    server.restart();
    assert_eq!(server.known().len(), 4);
    assert!(server.machine(MAC)["state"]["installed"].is_object(), "it outlives a kill");
    assert!(
        server.hears(&desk, MAC, "").contains("installed"),
        "and the machine is sent to its disk"
    );
}

#[test]
fn machines_without_a_record_are_listed_and_not_among_the_known() {
    let server = Server::start("fleet-unknown");
    let desk = desk(&server);
    let (code, said) = server.asked(&["machines", "--unknown"]);
    assert_eq!((code, said.as_str()), (0, "no machine was heard that has no record\n"));
    server.hears(&desk, STRANGER, "&serial=X1");
    server.hears(&desk, MAC, "");
    let (code, said) = server.asked(&["machines", "--unknown"]);
    assert!(code == 0 && said.contains(STRANGER) && !said.contains(MAC), "{said}");
    assert_eq!(server.known(), [MAC]);
    let json = server.command(&["machines", "--unknown", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json[0]["mac"], STRANGER);
    // A glob of `installed` takes them, too.
    assert_eq!(server.asked(&["installed", "52:54:00:99:*"]).0, 0);
    assert!(server.known().contains(&STRANGER.to_owned()));
}

#[test]
fn forget_takes_a_glob_and_asks_before() {
    let server = Server::start("fleet-forget");
    assert_eq!(server.asked(&["installed", MAC, OTHER, STRANGER]).0, 0);
    let (code, said) = server.asked(&["forget", "52:54:00:12:*"]);
    assert!(code == 64 && said.contains("nothing was done"), "{code} {said}");
    assert_eq!(server.known().len(), 3);
    let (code, said) = server.asked(&["forget", "52:54:00:12:*", "--yes"]);
    assert!(code == 0 && said.matches(": forgotten\n").count() == 2, "{code} {said}");
    assert_eq!(server.known(), [STRANGER]);
    let (code, said) = server.asked(&["forget", "02:00:*", "--yes"]);
    assert!(code == 1 && said.contains("no machine that is known"), "{code} {said}");
}

#[test]
fn what_a_machine_tells_reaches_no_terminal_unescaped() {
    let mut server = Server::start("fleet-hostile");
    let desk = desk(&server);
    // C1's CSI, a right-to-left override, an isolate and a mark, as UTF-8.
    let hostile = "&serial=A%C2%9B2J%E2%80%AEB&asset=%E2%81%A6x%D8%9C&product=%E2%80%8FP";
    server.hears(&desk, MAC, hostile);
    server.hears(&desk, STRANGER, hostile);
    let is_unfit = |c: char| c != '\n' && bootbox::printable::is_hidden(c);
    for words in [
        &["machines"][..],
        &["machines", "--json"],
        &["machines", "--unknown"],
        &["machines", "--unknown", "--json"],
        &["machine", MAC],
        &["machine", MAC, "--json"],
        &["explain", MAC, "--address", "192.0.2.1"],
        &["explain", MAC, "--address", "192.0.2.1", "--label", "serial=A\u{9b}2J\u{202e}B"],
    ] {
        let (_, said) = server.asked(words);
        assert!(!said.contains(is_unfit), "{words:?}: {said:?}");
    }
    let mut hold = server.command(&["hold", MAC, "--reason", "a\u{202e}b\u{200f}"]);
    assert!(!ended(&hold.output().unwrap()).1.contains(is_unfit));
    let page = ended(&server.command(&["machine", MAC, "--json"]).output().unwrap()).1;
    assert!(!page.contains(is_unfit), "{page:?}");
    server.process.kill();
    let log = server.process.transcript().text();
    assert!(log.contains(MAC) && !log.contains(is_unfit), "{log:?}");
}
