//! A repository with releases in it: what is found, what is remembered, who is let through.

use std::{
    fs,
    io::Write as _,
    ops::ControlFlow,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use bootbox::{
    catalog::{Install, Profile},
    release::{Gate, Part, Release, State, Verdict},
    serve::{
        beneath::Lookup,
        releases::{Proofs, Verifier, scan},
        site::Site,
        store::Store,
    },
};

use super::gnupg::{Gnupg, Signer};

const VERSION: &str = "coreos/1122.2.0";
const PIECES: [&str; 3] = [
    "coreos_production_pxe.vmlinuz",
    "coreos_production_pxe_image.cpio.gz",
    "coreos_production_image.bin.bz2",
];
const DISK: &str = PIECES[2];
const LIMIT: Duration = Duration::from_secs(20);

/// A signer, its keyring, and a repository with one whole release that it signed.
struct Shelf {
    gnupg: Gnupg,
    signer: Signer,
    root: PathBuf,
    keyring: PathBuf,
}

impl Shelf {
    fn new() -> Self {
        let gnupg = Gnupg::new();
        let signer = gnupg.signer("coreos", "ed25519", "2017-05-16");
        let keyring = gnupg.path().join("keyring.gpg");
        fs::write(&keyring, gnupg.export(&[&signer])).unwrap();
        let root = gnupg.path().join("repository");
        let shelf = Self { gnupg, signer, root, keyring };
        PIECES.iter().for_each(|name| shelf.put(name, name.repeat(20_000).as_bytes()));
        shelf.write("version.txt", b"COREOS_VERSION=1122.2.0\n");
        shelf
    }

    /// Puts a file into the release, signed.
    fn put(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
        self.write(&format!("{name}.sig"), &self.gnupg.sign(&[&self.signer], bytes, &[]));
    }

    /// Replaces a file of the release in one step, as an operator should.
    fn write(&self, name: &str, bytes: &[u8]) {
        let folder = self.root.join(VERSION);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".new"), bytes).unwrap();
        fs::rename(folder.join(".new"), folder.join(name)).unwrap();
    }

    fn store(&self) -> Store {
        Store::open(None, Some(&self.root)).unwrap()
    }

    fn config(&self, more: &str) -> PathBuf {
        let file = self.gnupg.path().join("bootbox.toml");
        let Self { root, keyring, .. } = self;
        let text = format!(
            "[repository]\nroot = {root:?}\nkeyring = {keyring:?}\n[[profile]]\nname = \"p\"\n\
             kernel = \"/{VERSION}/{}\"\ninitrd = [\"/{VERSION}/{}\"]\n{more}\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\nevery-machine = true\n",
            PIECES[0], PIECES[1]
        );
        fs::write(&file, text).unwrap();
        file
    }

    fn images(&self, words: &[&str]) -> (Option<i32>, String) {
        self.bootbox("images", &self.config(""), words)
    }

    fn bootbox(&self, name: &str, config: &Path, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootbox"));
        command.arg(name).arg("--config").arg(config).args(words);
        let Output { status, stdout, stderr } = command.output().unwrap();
        (status.code(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }
}

/// The verdict on the disk image, and whether the file was read for it.
fn on_disk_image(shelf: &Shelf, verifier: &Verifier) -> (Verdict, bool) {
    let store = shelf.store();
    let releases = scan(&store).unwrap().releases;
    let is_disk = |part: &&Part| part.path.file_name() == DISK.as_bytes();
    let part = releases[0].parts.values().find(is_disk).unwrap();
    let mut last = 0;
    let mut verdicts = verifier.verify(&store, &[part], &mut |progress| {
        assert!(progress.done > last && progress.done <= progress.total);
        last = progress.done;
        ControlFlow::Continue(())
    });
    (verdicts.remove(&part.path).unwrap(), last > 0)
}

fn folders(releases: &[Release]) -> Vec<String> {
    releases.iter().map(|release| release.folder.to_string()).collect()
}

#[test]
fn releases_are_found_wherever_they_are_and_nowhere_else() {
    let shelf = Shelf::new();
    let root = &shelf.root;
    let outside = shelf.gnupg.path().join("outside/1.2.3");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join(PIECES[0]), "k").unwrap();
    symlink(&outside, root.join("coreos/1.2.3")).unwrap();
    symlink("1122.2.0", root.join("coreos/current")).unwrap();
    symlink("..", root.join("coreos/loop")).unwrap();
    symlink("nothing", root.join("coreos/dangling")).unwrap();
    let deep = root.join("a/b/c/3510.2.8");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("flatcar_production_image.bin.bz2"), "").unwrap();
    for (folder, name) in [("1/2/3/4/5/6/7/8", PIECES[0]), ("1/2/3/4/5/6/7/8/9", PIECES[0])] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::write(root.join(folder).join(name), "k").unwrap();
    }

    [Lookup::Kernel, Lookup::Walk].into_iter().for_each(|lookup| finds_all(&shelf, lookup));
}

fn finds_all(shelf: &Shelf, lookup: Lookup) {
    let found = scan(&shelf.store().by(lookup)).unwrap();
    assert_eq!(
        folders(&found.releases),
        ["/1/2/3/4/5/6/7/8", "/a/b/c/3510.2.8", "/coreos/1122.2.0", "/coreos/current"]
    );
    let [_, flatcar, coreos, current] = &found.releases[..] else { panic!() };
    assert!(flatcar.state().to_string().contains("image.bin.bz2 (is empty)"));
    assert_eq!((coreos.state(), current.state()), (State::Complete, State::Complete));
    assert_eq!((&*current.version, coreos.current.as_deref()), ("1122.2.0", Some("1122.2.0")));
    let notes = found.notes.join("\n");
    assert!(notes.contains("/coreos/1.2.3 leads out of the repository"), "{notes}");
    assert_eq!(found.notes.len(), 1, "{notes}");
}

#[test]
fn what_was_good_is_remembered_until_anything_changes() {
    let shelf = Shelf::new();
    let memory = shelf.gnupg.path().join("verified.json");
    let verifier = || Verifier::new(&shelf.keyring, Some(&memory)).unwrap();
    let until_remembered = || {
        // A file that was only just written is read again: nothing tells two changes apart.
        let (began, one) = (Instant::now(), verifier());
        loop {
            let (verdict, was_read) = on_disk_image(&shelf, &one);
            assert!(matches!(verdict, Verdict::Good { .. }), "{verdict}");
            if !was_read {
                return;
            }
            assert!(began.elapsed() < LIMIT, "it is never remembered");
        }
    };
    until_remembered();
    let (verdict, was_read) = on_disk_image(&shelf, &verifier());
    assert!(matches!(verdict, Verdict::Good { .. }) && !was_read, "the disk remembers, too");

    // The same bytes, written anew, are another file.
    shelf.write(DISK, DISK.repeat(20_000).as_bytes());
    assert!(on_disk_image(&shelf, &verifier()).1);
    until_remembered();
    let file = fs::OpenOptions::new().append(true).open(shelf.root.join(VERSION).join(DISK));
    file.unwrap().write_all(b"more").unwrap();
    let (verdict, was_read) = on_disk_image(&shelf, &verifier());
    assert!(matches!(verdict, Verdict::Bad(_)) && was_read, "{verdict}");
    shelf.write(DISK, DISK.repeat(20_000).as_bytes());
    until_remembered();

    let whole = fs::read(&memory).unwrap();
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        for damaged in [&flipped[..], &whole[..at]] {
            fs::write(&memory, damaged).unwrap();
            assert!(on_disk_image(&shelf, &verifier()).1, "believed when damaged at {at}");
        }
    }
    fs::write(&memory, &whole).unwrap();
    assert!(!on_disk_image(&shelf, &verifier()).1);

    let other = shelf.gnupg.signer("other", "ed25519", "never");
    let signature = format!("{DISK}.sig");
    let kept = fs::read(shelf.root.join(VERSION).join(&signature)).unwrap();
    shelf.write(&signature, &shelf.gnupg.sign(&[&other], DISK.repeat(20_000).as_bytes(), &[]));
    let (verdict, _) = on_disk_image(&shelf, &verifier());
    assert!(verdict.to_string().contains("which is not in the keyring"), "{verdict}");
    shelf.write(&signature, &kept);
    fs::write(&shelf.keyring, shelf.gnupg.export(&[&other])).unwrap();
    let (verdict, _) = on_disk_image(&shelf, &verifier());
    assert!(verdict.to_string().contains("which is not in the keyring"), "{verdict}");
}

#[test]
fn a_profile_is_served_while_its_files_are_those_that_were_signed() {
    let shelf = Shelf::new();
    let site = Arc::new(Site::load(Some(&shelf.config("verify = true"))).unwrap());
    let verifier = Arc::new(Verifier::new(&shelf.keyring, None).unwrap());
    let proofs = Proofs::start(Arc::clone(&site), Some(verifier)).unwrap();
    let profile = &site.config.catalog.groups()[0].profile;
    let ram = Profile { install: Install::Never, ..Profile::clone(profile) };
    let profile = &Profile { install: Install::Once, ..ram.clone() };
    let settled = |profile: &Profile| {
        let began = Instant::now();
        loop {
            let gate = proofs.gate(profile);
            if !matches!(gate, Gate::Pending(_)) || began.elapsed() > LIMIT {
                return gate;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    assert_eq!(settled(profile), Gate::Open);
    shelf.write(DISK, b"another");
    assert!(matches!(proofs.gate(profile), Gate::Pending(_)), "not for one moment");
    let Gate::Closed(reason) = settled(profile) else { panic!("a wrong image is served") };
    assert!(reason.starts_with(&format!("/{VERSION}/{DISK}: not what ")), "{reason}");
    assert_eq!(settled(&ram), Gate::Open);
    shelf.put(DISK, b"another");
    assert_eq!(settled(profile), Gate::Open);
    fs::remove_file(shelf.root.join(VERSION).join(DISK)).unwrap();
    assert!(matches!(proofs.gate(profile), Gate::Closed(_)));
}

#[test]
fn images_lists_what_there_is_and_ends_with_1_when_it_is_not_whole() {
    let shelf = Shelf::new();
    let (code, text) = shelf.images(&["--verify"]);
    assert_eq!(code, Some(0), "{text}");
    let key = &shelf.signer.subkey;
    let expected = format!(
        "/coreos/1122.2.0: CoreOS 1122.2.0, complete\n\
         \x20 kernel      coreos_production_pxe.vmlinuz        580 kB  signed by {key} on 2016-09-01\n\
         \x20 initrd      coreos_production_pxe_image.cpio.gz  700 kB  signed by {key} on 2016-09-01\n\
         \x20 disk image  coreos_production_image.bin.bz2      620 kB  signed by {key} on 2016-09-01\n"
    );
    assert_eq!(text, expected);
    let (code, text) = shelf.images(&[]);
    assert!(code == Some(0) && text.contains("not verified: --verify was not given"), "{text}");

    shelf.write(DISK, b"another");
    fs::remove_file(shelf.root.join(VERSION).join(PIECES[1])).unwrap();
    let (code, text) = shelf.images(&["--verify", "--json"]);
    assert_eq!(code, Some(1), "{text}");
    let release: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(release["state"], "incomplete");
    assert_eq!(release["missing"][0], PIECES[1]);
    let pieces = release["pieces"].as_array().unwrap();
    let good: Vec<Option<bool>> = pieces.iter().map(|piece| piece["is-good"].as_bool()).collect();
    assert_eq!(good, [Some(true), None, Some(false)]);
    assert_eq!(pieces[0]["key"], **key);

    fs::write(&shelf.keyring, "").unwrap();
    let (code, text) = shelf.images(&[]);
    assert!(code == Some(78) && text.contains("bootbox.toml:3: [repository] keyring"), "{text}");
    fs::remove_dir_all(shelf.root.join("coreos")).unwrap();
    fs::write(&shelf.keyring, shelf.gnupg.export(&[&shelf.signer])).unwrap();
    let (code, text) = shelf.images(&[]);
    assert!(code == Some(0) && text.starts_with("no CoreOS or Flatcar release beneath"), "{text}");
}

#[test]
fn images_needs_no_more_of_a_config_than_where_the_releases_are() {
    let shelf = Shelf::new();
    let ledger = shelf.gnupg.path().join("ledger.redb");
    let more = format!("kernl = \"x\"\n[install]\nledger = {ledger:?}\nattempts = \"many\"");
    let config = shelf.config(&more);
    let (code, text) = shelf.bootbox("check", &config, &[]);
    assert!(code == Some(78) && text.contains("\"many\""), "{text}");
    let images = || shelf.bootbox("images", &config, &[]);
    let (code, text) = images();
    assert_eq!((code, text.matches("--verify was not given").count()), (Some(0), 3), "{text}");

    // What the server found good is told without --verify; nothing is added to what it remembers.
    let memory = ledger.with_file_name("verified");
    let (code, text) = shelf.bootbox("images", &config, &["--verify"]);
    assert!(code == Some(0) && !memory.exists(), "{text}");
    let (began, verifier) = (Instant::now(), Verifier::new(&shelf.keyring, Some(&memory)).unwrap());
    while on_disk_image(&shelf, &verifier).1 {
        assert!(began.elapsed() < LIMIT, "it is never remembered");
    }
    let (code, text) = images();
    let disk = text.lines().last().unwrap();
    assert!(code == Some(0) && disk.contains(&shelf.signer.subkey), "{text}");
    assert_eq!(text.matches("--verify was not given").count(), 2, "{text}");
}

#[test]
fn check_says_all_that_is_missing_in_one_go() {
    let shelf = Shelf::new();
    let folder = shelf.root.join(VERSION);
    for name in [PIECES[0], PIECES[1], DISK] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let config = shelf.config(
        "install = \"once\"\nargs = [\"coreos.config.url={{ base_url }}/coreos/ignition.json\"]",
    );
    let (code, text) = shelf.bootbox("check", &config, &[]);
    assert_eq!(code, Some(78), "{text}");
    for missing in [
        PIECES[0],
        PIECES[1],
        "ignition.json",
        &format!("lacks {}, {}, {DISK}", PIECES[0], PIECES[1]),
    ] {
        assert!(text.contains(missing), "{missing}: {text}");
    }
}

#[test]
fn check_says_what_would_not_be_served() {
    let shelf = Shelf::new();
    let check = || shelf.bootbox("check", &shelf.config("verify = true"), &[]);
    // Whether interfaces are there is not what is asked here.
    let wrong = |text: &str| text.contains("would not be served");
    let (_, text) = check();
    assert!(!wrong(&text), "{text}");
    let other = shelf.gnupg.signer("other", "ed25519", "never");
    let name = PIECES[0];
    shelf.write(&format!("{name}.sig"), &shelf.gnupg.sign(&[&other], b"", &[]));
    let (code, text) = check();
    let said = format!(
        "bootbox.toml:6: profile p would not be served: /{VERSION}/{name}: signed by {}, which is \
         not in the keyring; add that key, if you trust it\n",
        other.subkey
    );
    assert!(code == Some(78) && text.ends_with(&said), "{text}");
    fs::remove_file(shelf.root.join(VERSION).join(format!("{name}.sig"))).unwrap();
    let (code, text) = check();
    assert!(code == Some(78) && wrong(&text) && text.contains("put its .sig beside it"), "{text}");
    fs::write(&shelf.keyring, "").unwrap();
    let (code, text) = check();
    assert!(code == Some(78) && text.contains("bootbox.toml:3: [repository] keyring "), "{text}");
}

#[test]
fn check_says_that_what_installs_lacks_its_image() {
    let shelf = Shelf::new();
    let config = shelf.config("install = \"once\"");
    let (_, text) = shelf.bootbox("check", &config, &[]);
    assert!(!text.contains("would not be served"), "{text}");
    fs::remove_file(shelf.root.join(VERSION).join(format!("{DISK}.sig"))).unwrap();
    let (code, text) = shelf.bootbox("check", &config, &[]);
    let said = format!("it installs 1122.2.0, and /{VERSION} lacks {DISK}.sig\n");
    assert!(code == Some(78) && text.ends_with(&said), "{text}");
}
