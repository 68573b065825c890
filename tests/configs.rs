//! What a machine asks for once its kernel runs, from the real binary: whose it is, when it is not
//! given, and what becomes of tokens.

// A test stops at the first thing that is not as it should be.
#![allow(clippy::unwrap_used)]

#[path = "configs/installers.rs"]
mod installers;
mod lab;
#[path = "configs/profiles.rs"]
mod profiles;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use lab::namespace::Namespace;
use lab::office::Office;
use lab::server::Bootbox;
use lab::{BOX, Failure, Lab};

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const LIMIT: Duration = Duration::from_secs(10);

/// Two machines by their address, at two desks; a third desk where nobody boots.
const ONE: (&str, &str) = ("10.77.0.9", "52-54-00-00-00-01");
const TWO: (&str, &str) = ("10.77.0.10", "52-54-00-00-00-02");
const NOBODY: &str = "10.77.0.11";

const INSTALL: &str = "#!/bin/bash\nset -e\nfor x in \"${arr[@]}\"; do echo ${#arr[@]} $private_ipv4 \\$x; done\n\
                       {% raw %}docker ps --format '{{.Names}}'\n{% endraw %}\
                       curl -o c {{ base_url }}/coreos/cloud-config.yaml # {{ group }}\n";
const CLOUD: &str = "#cloud-config\nhostname: {{ metadata.role }}\nwrite_files:\n- path: /etc/who\n  \
                     content: {{ (mac ~ ' ' ~ serial) | yaml }}\n";
const IGNITION: &str = "{\"ignition\": {\"version\": \"2.0.0\"}}\n";
/// Plain files that args name by keys of other systems.
const SECRETS: [(&str, &str); 3] = [
    ("/suse/auto.xml", "<?xml version=\"1.0\"?>\n<profile/>\n"),
    ("/seed/user-data", "#cloud-config\nhostname: x\n"),
    ("/seed/meta-data", "instance-id: x\n"),
];
const VERSION: &str = "/coreos/current/version.txt";

/// The post's tree and a config for it; `access` is `config-access`.
fn site(folder: &Path, access: &str) -> PathBuf {
    let root = folder.join("repository");
    let release = root.join("coreos/1122.2.0");
    fs::create_dir_all(&release).unwrap();
    for name in ["pxe.vmlinuz", "pxe_image.cpio.gz", "image.bin.bz2", "image.bin.bz2.sig"] {
        fs::write(release.join(format!("coreos_production_{name}")), "x").unwrap();
    }
    for (name, text) in
        [("install.sh", INSTALL), ("cloud-config.yaml", CLOUD), ("ignition.json", IGNITION)]
    {
        fs::write(root.join("coreos").join(name), text).unwrap();
    }
    for (name, text) in SECRETS {
        let file = root.join(name.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let file = folder.join("bootbox.toml");
    let (ledger, socket) = (folder.join("state/ledger.redb"), folder.join("state/control"));
    fs::create_dir_all(folder.join("state")).unwrap();
    // The server runs as nobody.
    fs::set_permissions(folder.join("state"), fs::Permissions::from_mode(0o777)).unwrap();
    let text = format!(
        r#"[network]
interfaces = ["eth0"]
[http]
config-access = "{access}"
[repository]
root = {root:?}
[install]
ledger = {ledger:?}
[control]
socket = {socket:?}
[[template]]
path = "/coreos/"
file = "/coreos/install.sh"
[[template]]
path = "/coreos/cloud-config.yaml"
[[profile]]
name = "coreos"
kernel = "/coreos/1122.2.0/coreos_production_pxe.vmlinuz"
initrd = ["/coreos/1122.2.0/coreos_production_pxe_image.cpio.gz"]
args = ["coreos.config.url={{{{ base_url }}}}/coreos/ignition.json", "cloud-config-url={{{{ base_url }}}}/coreos/", "autoyast={{{{ base_url }}}}/suse/auto.xml", "ds=nocloud-net;s={{{{ base_url }}}}/seed/"]
install = "once"
metadata.role = "web"
[[group]]
name = "one"
profile = "coreos"
selector.mac = "52:54:00:00:00:01"
[[group]]
name = "two"
profile = "coreos"
selector.mac = "52:54:00:00:00:02"
selector.product = "P*"
metadata.role = "db"
"#
    );
    fs::write(&file, text).unwrap();
    file
}

struct Desk<'a> {
    desk: Namespace,
    server: &'a mut Bootbox,
    lab: &'a Lab,
}

fn with_server(name: &str, access: &str, body: impl FnOnce(&mut Desk<'_>) -> Result<(), Failure>) {
    lab::run(name, &Office::Plain, 1, |lab| {
        let file = site(lab.scratch(), access);
        let mut server = Bootbox::start(lab, Path::new(BINARY), &file, "text")?;
        let desk = lab.desk("desk", "02:00:00:00:77:09")?;
        for address in [ONE.0, TWO.0, NOBODY] {
            desk.run(&format!("ip address add {address}/24 dev eth0"))?;
        }
        body(&mut Desk { desk, server: &mut server, lab })
    });
}

/// A reply: its status, its head and its body.
struct Reply(u16, String, String);

impl Desk<'_> {
    fn ask(&self, from: &str, target: &str) -> Result<Reply, Failure> {
        self.curl(from, &["-i", &format!("http://{BOX}{target}")])
    }

    fn curl(&self, from: &str, words: &[&str]) -> Result<Reply, Failure> {
        let mut command = self.desk.command("curl");
        command.args(["-sS", "-m", "10", "--path-as-is", "--interface", from]).args(words);
        let output = command.output()?;
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .ok_or_else(|| Failure::new(String::from_utf8_lossy(&output.stderr)))?;
        Ok(Reply(head[9..12].parse().unwrap(), head.to_owned(), body.to_owned()))
    }

    /// The machine asks for its script: what it is known by from then on.
    fn boots(&self, machine: (&str, &str), more: &str) -> Result<String, Failure> {
        let script = self.ask(machine.0, &format!("/ipxe?mac={}{more}", machine.1))?.2;
        assert!(script.contains("boots profile coreos"), "{script}");
        Ok(script)
    }

    fn reload(&mut self, said: &str) -> Result<(), Failure> {
        // An earlier reload may have said the same.
        let count = |desk: &mut Self| desk.log().matches(said).count();
        let before = count(self);
        self.server.process().signal("HUP")?;
        let deadline = Instant::now() + LIMIT;
        while count(self) == before {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("no {said:?}: {}", self.log())));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn log(&mut self) -> String {
        self.server.process().transcript().text()
    }
}

/// The token of a script's first URL that has one.
fn token(script: &str) -> String {
    let (_, rest) = script.split_once("/~").unwrap();
    rest.split('/').next().unwrap().to_owned()
}

fn filled(text: &str, group: &str, base_url: &str) -> String {
    text.replace("{% raw %}", "")
        .replace("{% endraw %}", "")
        .replace("{{ base_url }}", base_url)
        .replace("{{ group }}", group)
}

#[test]
fn a_machine_gets_its_own_texts_by_the_address_it_took() {
    with_server("own_texts_by_address", "address", |desk| {
        let serial = "&serial=S%0a-%20%22%201&product=P1";
        desk.boots(ONE, serial)?;
        desk.boots(TWO, serial)?;
        for ((address, mac), role, group) in [(ONE, "web", "one"), (TWO, "db", "two")] {
            let Reply(status, head, body) = desk.ask(address, "/coreos/cloud-config.yaml")?;
            let who = format!("\"{} S- \\\" 1\"", mac.replace('-', ":"));
            let expected = CLOUD
                .replace("{{ metadata.role }}", role)
                .replace("{{ (mac ~ ' ' ~ serial) | yaml }}", &who);
            assert_eq!((status, body), (200, expected), "{head}");
            for field in ["Cache-Control: no-store", "Content-Type: text/plain; charset=utf-8"] {
                assert!(head.contains(field), "{head}");
            }
            // The post asks with one slash, coreos-install of 2016 with two.
            for index in ["/coreos/", "/coreos//", "//coreos/install.sh"] {
                let Reply(status, _, body) = desk.ask(address, index)?;
                let expected = filled(INSTALL, group, &format!("http://{BOX}"));
                assert_eq!((status, body), (200, expected), "{index}");
            }
        }
        let Reply(status, head, body) = desk.ask(NOBODY, "/coreos/ignition.json")?;
        assert_eq!((status, body.as_str()), (200, IGNITION), "the same for everyone");
        assert!(head.contains("Content-Type: application/json"), "{head}");
        let url = format!("http://{BOX}/coreos/");
        let Reply(status, head, body) = desk.curl(ONE.0, &["--head", &url])?;
        let length = filled(INSTALL, "one", &format!("http://{BOX}")).len();
        assert_eq!((status, body.as_str()), (200, ""));
        assert!(head.contains(&format!("Content-Length: {length}")), "{head}");
        desk.server.process().wait_for("script /coreos/ for a machine of group one", LIMIT)?;
        // The file itself would be a broken config.
        for name in ["install.sh", "ignition.json"] {
            let url = format!("tftp://{BOX}/coreos/{name}");
            let output = desk.desk.command("curl").args(["-sS", "-m", "10", &url]).output()?;
            assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        }
        desk.server.process().wait_for("is made for each machine, over HTTP only", LIMIT)?;
        Ok(())
    });
}

#[test]
fn who_only_observes_or_does_not_allow_a_machine_boots_it_on_no_way() {
    with_server("closed_doors", "address", |desk| {
        desk.boots(ONE, "&serial=1")?;
        desk.boots(TWO, "&serial=2&product=P")?;
        let file = desk.lab.scratch().join("bootbox.toml");
        let text = fs::read_to_string(&file)?;
        let grub =
            |(_, mac): (&str, &str)| format!("/grub.cfg;mac={};serial=1", mac.replace('-', ":"));
        for (network, reason, is_open_to_two) in [
            ("mode = \"observe\"", "[network] mode is \"observe\"", false),
            ("allow = [\"52:54:00:00:00:02\"]", "not among the machines of [network] allow", true),
        ] {
            let closed = text.replacen("[network]\n", &format!("[network]\n{network}\n"), 1);
            fs::write(&file, closed)?;
            desk.reload("is loaded")?;
            let Reply(_, _, script) = desk.ask(ONE.0, &format!("/ipxe?mac={}&serial=1", ONE.1))?;
            assert!(script.contains(reason) && !script.contains("kernel"), "{script}");
            let Reply(_, _, menu) = desk.ask(ONE.0, &grub(ONE))?;
            assert!(menu.contains(reason) && !menu.contains("linux "), "{menu}");
            for config in ["/coreos/cloud-config.yaml", "/coreos/", "/coreos/ignition.json"] {
                let Reply(status, head, body) = desk.ask(ONE.0, config)?;
                assert_eq!(status, 404, "{config}: {body}");
                assert!(body.contains(reason) && head.contains("no-store"), "{body}");
            }
            let Reply(status, _, body) = desk.ask(TWO.0, "/coreos/cloud-config.yaml")?;
            assert_eq!(status, if is_open_to_two { 200 } else { 404 }, "{body}");
            assert_eq!(desk.ask(NOBODY, "/coreos/ignition.json")?.0, 200, "nobody's: a file");
        }
        Ok(())
    });
}

#[test]
fn a_template_is_not_read_as_it_is_by_way_of_a_linked_folder() {
    with_server("linked_folder", "address", |desk| {
        symlink("coreos", desk.lab.scratch().join("repository/mirror"))?;
        let Reply(status, _, body) = desk.ask(ONE.0, "/mirror/cloud-config.yaml")?;
        assert!(status == 404 && !body.contains("metadata"), "{status}: {body}");
        let Reply(status, _, body) = desk.ask(ONE.0, "/mirror/ignition.json")?;
        assert_eq!((status, body.as_str()), (200, IGNITION), "it is what everybody gets");
        let Reply(status, ..) =
            desk.ask(ONE.0, "/mirror/1122.2.0/coreos_production_pxe.vmlinuz")?;
        assert_eq!(status, 200);
        Ok(())
    });
}

#[test]
fn a_machine_that_is_not_known_waits_and_is_never_told_that_there_is_nothing() {
    with_server("not_known_yet", "address", |desk| {
        let cloud = "/coreos/cloud-config.yaml";
        let Reply(status, head, body) = desk.ask(NOBODY, cloud)?;
        assert_eq!(status, 503, "{head}");
        assert!(head.contains("Retry-After: 5") && head.contains("no-store"), "{head}");
        assert!(body.contains("boot it with bootbox first"), "{body}");
        let asks = |query: &str| desk.ask(NOBODY, &format!("{cloud}?{query}"));
        assert_eq!(asks("mac=52:54:00:00:00:07")?.0, 404, "in no group, whatever it is");
        assert_eq!(asks("mac=x")?.0, 400);
        assert_eq!(asks("mac=52:54:00:00:00:02")?.0, 503, "its product may still be told");
        assert_eq!(asks("mac=52:54:00:00:00:02&product=Q")?.0, 404);
        let Reply(status, _, body) = asks("mac=52:54:00:00:00:01")?;
        assert_eq!(status, 503);
        assert!(body.contains("it tells none"), "it has told no serial number: {body}");
        assert_eq!(asks("mac=52:54:00:00:00:01&serial=7")?.0, 200);
        let uuid = "11223344-5566-7788-99aa-bbccddeeff00";
        assert_eq!(asks(&format!("uuid={uuid}"))?.0, 503);
        desk.boots(ONE, &format!("&uuid={uuid}&serial=7"))?;
        let Reply(status, _, body) = asks(&format!("uuid={uuid}"))?;
        assert!(status == 200 && body.contains("52:54:00:00:00:01 7"), "{body}");
        let warned = desk.log().matches("is not given to 52:54:00:00:00:01").count();
        assert_eq!(warned, 1, "{}", desk.log());
        Ok(())
    });
}

#[test]
fn a_uuid_names_one_machine_or_none() {
    with_server("a_uuid_names_one", "address", |desk| {
        let ask = |desk: &Desk<'_>, from, uuid| {
            desk.ask(from, &format!("/coreos/cloud-config.yaml?uuid={uuid}"))
        };
        let own = "11223344-5566-7788-99aa-bbccddeeff00";
        let shared = "03000200-0400-0500-0006-000700080009";
        desk.boots(ONE, &format!("&uuid={own}&serial=7"))?;
        desk.boots(TWO, &format!("&uuid={shared}&serial=8&product=P"))?;
        assert_eq!(ask(desk, NOBODY, own)?.0, 200);
        assert_eq!(ask(desk, NOBODY, shared)?.0, 503, "board makers leave it everywhere");
        desk.server.restart(desk.lab)?;
        let Reply(status, _, body) = ask(desk, NOBODY, own)?;
        assert!(status == 200 && body.contains("52:54:00:00:00:01 7"), "by the ledger: {body}");
        // The first one is presumed installed by now, so the second card gets no installer.
        let second = format!("/ipxe?mac={}&uuid={own}&serial=8&product=P", TWO.1);
        let Reply(_, _, script) = desk.ask(TWO.0, &second)?;
        assert!(script.contains("it has the UUID of 52:54:00:00:00:01"), "{script}");
        assert_eq!(ask(desk, NOBODY, own)?.0, 503, "two have it");
        for ((address, mac), serial) in [(ONE, 7), (TWO, 8)] {
            let Reply(status, _, body) = ask(desk, address, own)?;
            let who = format!("{} {serial}", mac.replace('-', ":"));
            assert!(status == 200 && body.contains(&who), "each has it at its address: {body}");
        }
        Ok(())
    });
}

#[test]
fn with_tokens_only_the_script_of_a_boot_opens_its_texts() {
    with_server("tokens", "token", |desk| {
        let script = desk.boots(ONE, "&serial=7")?;
        let first = token(&script);
        assert_eq!(first.len(), 32, "{script}");
        assert!(
            script
                .contains(&format!("coreos.config.url=http://{BOX}/~{first}/coreos/ignition.json"))
        );
        assert!(script.contains(&format!("kernel http://{BOX}/coreos/1122.2.0/")), "{script}");
        for target in [
            "/coreos/",
            "/coreos/ignition.json",
            "/coreos/cloud-config.yaml?mac=52-54-00-00-00-01",
            "/~00112233445566778899aabbccddeeff/coreos/",
            "/~/coreos/",
        ] {
            let Reply(status, head, body) = desk.ask(ONE.0, target)?;
            assert_eq!(status, 403, "{target}: {head}");
            assert!(body.contains("needs the token") && !body.contains("0011223344"), "{body}");
        }
        let Reply(status, _, body) = desk.ask(NOBODY, &format!("/~{first}//coreos/"))?;
        assert_eq!(
            (status, body),
            (200, filled(INSTALL, "one", &format!("http://{BOX}/~{first}")))
        );
        for (secret, text) in SECRETS {
            let Reply(status, _, body) = desk.ask(ONE.0, secret)?;
            assert_eq!(status, 403, "{secret}: {body}");
            let old = format!("/~00112233445566778899aabbccddeeff{secret}");
            assert_eq!(desk.ask(ONE.0, &old)?.0, 403, "a token that nobody has");
            let Reply(status, _, body) = desk.ask(NOBODY, &format!("/~{first}{secret}"))?;
            assert_eq!((status, body.as_str()), (200, text), "{secret}");
        }
        for kernel in ["", &format!("/%7e{first}")] {
            let kernel = format!("{kernel}/coreos/1122.2.0/coreos_production_pxe.vmlinuz");
            assert_eq!(desk.ask(NOBODY, &kernel)?.0, 200, "{kernel}");
        }
        for missing in
            [format!("/~{first}/none"), format!("/%7E{first}/none"), format!("/%2f~{first}/../x")]
        {
            let Reply(status, _, body) = desk.ask(NOBODY, &missing)?;
            assert!(status >= 400 && !body.contains(&first), "{body}");
        }
        // It has fetched all that it is known to need, so it is presumed installed.
        let Reply(_, _, script) = desk.ask(ONE.0, &format!("/ipxe?mac={}&serial=7", ONE.1))?;
        assert!(script.contains("presumed, nothing reported it"), "{script}");
        let file = desk.lab.scratch().join("bootbox.toml");
        let mac = ONE.1.replace('-', ":");
        desk.lab.server().run(&format!("{BINARY} reinstall {mac} --config {}", file.display()))?;
        let second = token(&desk.boots(ONE, "&serial=7")?);
        assert_eq!(
            desk.ask(ONE.0, &format!("/~{first}/coreos/"))?.0,
            403,
            "a new script, a new token"
        );
        assert_eq!(desk.ask(ONE.0, &format!("/~{second}/coreos/ignition.json"))?.0, 200);
        let other = token(&desk.boots(TWO, "&serial=8&product=P")?);
        let theirs = desk.ask(ONE.0, &format!("/~{other}/coreos/cloud-config.yaml"))?.2;
        assert!(theirs.contains("52:54:00:00:00:02 8"), "{theirs}");
        desk.server.process().wait_for("/~.../none", LIMIT)?;
        let log = desk.log();
        for token in [&first, &second, &other] {
            assert!(!log.contains(token.as_str()), "{log}");
        }
        Ok(())
    });
}

#[test]
fn an_installed_machine_that_now_boots_into_ram_is_given_its_texts() {
    with_server("tokens_in_ram", "token", |desk| {
        let first = token(&desk.boots(ONE, "&serial=7")?);
        let report = format!("http://{BOX}/~{first}/v1/event?state=installed");
        let Reply(status, _, body) = desk.curl(ONE.0, &["-i", "-X", "POST", &report])?;
        assert_eq!(status, 200, "{body}");
        assert_eq!(desk.ask(ONE.0, &format!("/~{first}/coreos/"))?.0, 403, "it is installed");
        let file = desk.lab.scratch().join("bootbox.toml");
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.replace("install = \"once\"", "install = \"never\""))?;
        desk.reload("is loaded")?;
        let second = token(&desk.boots(ONE, "&serial=7")?);
        assert_eq!(desk.ask(ONE.0, &format!("/~{second}/coreos/"))?.0, 200);
        Ok(())
    });
}

#[test]
fn a_bad_text_is_not_loaded_and_the_last_good_one_is_served_on() {
    with_server("bad_text", "address", |desk| {
        desk.boots(ONE, "&serial=7")?;
        let install = desk.lab.scratch().join("repository/coreos/install.sh");
        let served = |desk: &Desk<'_>| desk.ask(ONE.0, "/coreos/").map(|reply| reply.2);
        let good = served(desk)?;
        fs::write(&install, INSTALL.replace("{{ group }}", "{{ gruop }}"))?;
        desk.reload("install.sh:5: has the unknown word \"gruop\"")?;
        desk.server.process().wait_for("the last good one still holds", LIMIT)?;
        assert_eq!(served(desk)?, good);
        fs::write(&install, INSTALL.replace("{{ group }}", "new"))?;
        assert_eq!(served(desk)?, good, "only a reload takes it");
        desk.reload("is loaded")?;
        assert!(served(desk)?.contains("# new\n"));
        Ok(())
    });
}

#[test]
fn the_current_version_is_told_where_there_is_no_file_of_it() {
    with_server("current_version", "token", |desk| {
        let Reply(status, head, body) =
            desk.ask(NOBODY, &VERSION.replace("coreos/", "coreos//"))?;
        assert_eq!((status, body.lines().next()), (200, Some("COREOS_VERSION=1122.2.0")), "{head}");
        let root = desk.lab.scratch().join("repository/coreos");
        // The asking machine's profile counts, not what is newer.
        let newer = root.join("4000.1.0");
        fs::create_dir_all(&newer)?;
        for name in ["pxe.vmlinuz", "pxe_image.cpio.gz", "image.bin.bz2", "image.bin.bz2.sig"] {
            fs::write(newer.join(format!("flatcar_production_{name}")), "x")?;
        }
        desk.boots(ONE, "")?;
        assert!(desk.ask(NOBODY, VERSION)?.2.starts_with("FLATCAR_VERSION=4000.1.0\n"));
        assert!(desk.ask(ONE.0, VERSION)?.2.starts_with("COREOS_VERSION=1122.2.0\n"));
        fs::create_dir_all(root.join("current"))?;
        fs::write(root.join("current/version.txt"), "COREOS_VERSION=1.2.3\n")?;
        assert_eq!(desk.ask(ONE.0, VERSION)?.2, "COREOS_VERSION=1.2.3\n", "the operator's own");
        assert_eq!(desk.ask(ONE.0, "/none/current/version.txt")?.0, 404);
        Ok(())
    });
}

#[test]
fn check_and_explain_show_what_machines_would_get() {
    let folder = std::env::temp_dir().join(format!("bootbox-configs-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = site(&folder, "address");
    let run = |words: &[&str]| -> Output {
        let mut command = Command::new(BINARY);
        command.args(words).arg("--config").arg(&file).output().unwrap()
    };
    let said = |output: &Output| {
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        String::from_utf8(text).unwrap()
    };
    let explained = run(&["explain", "52:54:00:00:00:01", "--label", "serial=7", "--address", BOX]);
    let text = said(&explained);
    assert_eq!(explained.status.code(), Some(0), "{text}");
    let parts: Vec<&str> = text.split("\n== ").collect();
    let expected = [
        format!("/coreos/\n{}", filled(INSTALL, "one", &format!("http://{BOX}"))),
        "/coreos/cloud-config.yaml\n#cloud-config\nhostname: web\n".to_owned(),
        format!("/coreos/ignition.json\n{IGNITION}"),
    ];
    // The seed's two and AutoYaST's follow.
    assert_eq!(parts.len(), 7, "{text}");
    for (part, expected) in parts[1..].iter().zip(&expected) {
        assert!(part.starts_with(expected.as_str()), "{part}\n{expected}");
    }

    let root = folder.join("repository/coreos");
    for (name, text, expected) in [
        (
            "cloud-config.yaml",
            "hostname: x\n",
            "cloud-config.yaml:1: for 52:54:00:00:00:02 (group two)",
        ),
        (
            "cloud-config.yaml",
            "#cloud-config\nhostname: {{ metadata.rule }}\n",
            "cloud-config.yaml:2: for 52:54:00:00:00:02 (group two) and 1 more: has \"metadata.rule\"",
        ),
        ("install.sh", "#!/bin/bash\ndocker ps --format '{{.Names}}'\n", "install.sh:2: "),
        (
            "install.sh",
            "#!/bin/bash\n{{ mac | base64 }}\n",
            "the filters are json, lower, replace, sh, split, url, xml and yaml",
        ),
        ("ignition.json", "no", "ignition.json:1: "),
    ] {
        let good = fs::read_to_string(root.join(name)).unwrap();
        fs::write(root.join(name), text).unwrap();
        let checked = run(&["check"]);
        assert!(said(&checked).contains(expected), "{expected}: {}", said(&checked));
        assert_eq!(checked.status.code(), Some(78));
        fs::write(root.join(name), good).unwrap();
    }
    fs::remove_file(root.join("install.sh")).unwrap();
    assert!(said(&run(&["check"])).contains("bootbox.toml:13: "), "{}", said(&run(&["check"])));
    fs::remove_dir_all(&folder).unwrap();
}
