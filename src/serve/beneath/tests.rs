use std::{
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::*;
use crate::mutator::Random;

const BOTH: [Lookup; 2] = [Lookup::Kernel, Lookup::Walk];

/// A folder of its own, with `root` in it and beside that a `secret`.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bootbox-beneath-{}-{number}", std::process::id());
        let place = Self(std::env::temp_dir().canonicalize().unwrap().join(name));
        fs::create_dir_all(place.root()).unwrap();
        fs::write(place.0.join("secret"), "secret").unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn file(&self, name: &str, content: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn by(&self, lookup: Lookup) -> Root {
        Root::open(&self.root()).unwrap().by(lookup)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(root: &Root, name: &str) -> Result<String, Errno> {
    let file = root.look_up(name.as_bytes(), OFlag::O_RDONLY | OFlag::O_CLOEXEC)?;
    let mut text = String::new();
    match fs::File::from(file).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(_) => Ok("(a folder)".to_owned()),
    }
}

#[test]
fn names_and_symlinks_come_to_the_same_both_ways() {
    let place = Place::new();
    let (root, aside) = (place.root(), place.0.join("aside"));
    symlink("root", &aside).unwrap();
    place.file("v2/kernel", "two");
    place.file("v2/sub/x", "x");
    for (name, target) in [
        ("current", "v2"),
        ("v2/again", "../current/sub/../kernel"),
        ("slash", "v2/"),
        ("file-slash", "v2/kernel/"),
        ("here", "."),
        ("v2/up", ".."),
        ("climbs", "../secret"),
        ("v2/climbs", "../../secret"),
        ("round", "round"),
        ("ping", "pong"),
        ("pong", "ping"),
        ("gone", "nothing"),
        ("absolute-out", "/etc/passwd"),
        ("all", "/"),
    ] {
        place.link(name, target);
    }
    place.link("absolute-in", root.join("v2/kernel"));
    place.link("absolute-folder", root.join("v2"));
    place.link("absolute-root", &root);
    place.link("absolute-climbs", root.join("../secret"));
    let own = place.0.file_name().unwrap().to_str().unwrap();
    place.link("out-and-in", "../root/v2/kernel");
    place.link("far-out-and-in", format!("./../../{own}/./root/v2"));
    place.link("out-and-aside", "../aside/v2/kernel");
    place.link("out-alone", "..");
    place.link("absolute-like", place.0.join("root-of-another/x"));
    place.link("by-another-name", aside.join("v2/kernel"));
    (0..41).for_each(|n| place.link(&format!("l{n}"), format!("l{}", n + 1)));
    place.link("l41", "v2/kernel");
    let two = || Ok("two".to_owned());
    for lookup in BOTH {
        let root = place.by(lookup);
        for (name, found) in [
            ("v2/kernel", two()),
            ("current/kernel", two()),
            ("v2/again", two()),
            ("slash/kernel", two()),
            ("here/here/v2/kernel", two()),
            ("v2/up/v2/up/v2/kernel", two()),
            ("absolute-in", two()),
            ("absolute-folder/kernel", two()),
            ("absolute-root/current/sub/x", Ok("x".to_owned())),
            ("l2", two()),
            ("out-and-in", two()),
            ("far-out-and-in/kernel", two()),
            ("out-alone/root/v2/kernel", two()),
            (".", Ok("(a folder)".to_owned())),
            ("here", Ok("(a folder)".to_owned())),
            ("l1", Err(Errno::ELOOP)),
            ("round", Err(Errno::ELOOP)),
            ("ping/x", Err(Errno::ELOOP)),
            ("climbs", Err(Errno::EXDEV)),
            ("v2/climbs", Err(Errno::EXDEV)),
            ("v2/up/up/secret", Err(Errno::ENOENT)),
            ("out-alone", Err(Errno::EXDEV)),
            ("out-alone/secret", Err(Errno::EXDEV)),
            ("out-and-aside", Err(Errno::EXDEV)),
            ("absolute-out", Err(Errno::EXDEV)),
            ("all/etc/passwd", Err(Errno::EXDEV)),
            ("absolute-climbs", Err(Errno::EXDEV)),
            ("absolute-like", Err(Errno::EXDEV)),
            ("by-another-name", Err(Errno::EXDEV)),
            ("gone", Err(Errno::ENOENT)),
            ("nothing/x", Err(Errno::ENOENT)),
            ("v2/kernel/x", Err(Errno::ENOTDIR)),
            ("file-slash", Err(Errno::ENOTDIR)),
        ] {
            assert_eq!(read(&root, name), found, "{lookup:?} {name}");
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = |name: &str| root.look_up(name.as_bytes(), flags).map(drop);
        assert_eq!(folder("absolute-folder"), Ok(()), "{lookup:?}");
        assert_eq!(folder("current"), Ok(()), "{lookup:?}");
        assert_eq!(folder("v2/again"), Err(Errno::ENOTDIR), "{lookup:?}");
        assert_eq!(folder("all"), Err(Errno::EXDEV), "{lookup:?}");
    }
}

/// A repository that is named by way of a symlink has two paths.
#[test]
fn an_absolute_symlink_may_name_the_root_by_either_path() {
    let place = Place::new();
    place.file("kernel", "k");
    let aside = place.0.join("aside");
    symlink("root", &aside).unwrap();
    place.link("one", place.root().join("kernel"));
    place.link("two", aside.join("kernel"));
    for lookup in BOTH {
        let root = Root::open(&aside).unwrap().by(lookup);
        assert_eq!(read(&root, "one").as_deref(), Ok("k"), "{lookup:?}");
        assert_eq!(read(&root, "two").as_deref(), Ok("k"), "{lookup:?}");
    }
}

#[test]
fn made_up_trees_come_to_the_same_both_ways() {
    let mut random = Random(13);
    let names = ["a", "b", "c"];
    let mut inside = 0;
    for _ in 0..60 {
        let place = Place::new();
        let path = |random: &mut Random, with: &[&str]| -> String {
            let parts = (0..=random.below(4)).map(|_| with[random.below(with.len())]);
            parts.collect::<Vec<_>>().join("/")
        };
        for _ in 0..12 {
            let name = place.root().join(path(&mut random, &names));
            if fs::create_dir_all(name.parent().unwrap()).is_err() {
                continue;
            }
            let _ = match random.below(3) {
                0 => fs::write(&name, "x"),
                1 => fs::create_dir(&name),
                _ => {
                    let target = path(&mut random, &["a", "b", "c", "..", "..", "."]);
                    match random.below(4) {
                        0 => symlink(place.root().join(target), &name),
                        _ => symlink(target, &name),
                    }
                }
            };
        }
        let (kernel, walk) = (place.by(Lookup::Kernel), place.by(Lookup::Walk));
        for _ in 0..200 {
            let name = path(&mut random, &names);
            let found = read(&walk, &name);
            inside += usize::from(found.is_ok());
            assert_eq!(found, read(&kernel, &name), "{} {name}", place.0.display());
        }
    }
    assert!(inside > 500, "only {inside} names were found");
}

#[test]
fn a_rename_elsewhere_does_not_disturb_a_lookup() {
    let place = Place::new();
    place.file("kernel", "k");
    place.link("b/kernel", "../kernel");
    let busy = place.0.join("elsewhere");
    fs::create_dir_all(&busy).unwrap();
    fs::write(busy.join("x"), "").unwrap();
    for lookup in BOTH {
        let root = place.by(lookup);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fs::rename(busy.join("x"), busy.join("y")).unwrap();
                    fs::rename(busy.join("y"), busy.join("x")).unwrap();
                }
            });
            let failed = (0..5000).filter(|_| read(&root, "b/kernel").is_err()).count();
            done.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0, "{lookup:?}");
        });
    }
}

/// While a name changes between a folder, a file and symlinks inside and outside, what is read is
/// what one of the inner ones names, and never the secret.
#[test]
fn who_swaps_names_during_a_lookup_gets_nothing_from_outside() {
    let place = Place::new();
    place.file("v2/secret", "inside");
    place.file("v2/sub/secret", "inside");
    place.link("v2/out", "../..");
    fs::create_dir(place.0.join("sub")).unwrap();
    fs::write(place.0.join("sub/secret"), "secret").unwrap();
    let root = place.root();
    for (name, target) in
        [("1", ".."), ("2", "v2"), ("3", "v2/sub/../.."), ("4", "v2/out"), ("5", "/etc")]
    {
        place.link(name, target);
    }
    place.link("6", root.join("v2"));
    place.link("7", &place.0);
    fs::create_dir_all(root.join("8/sub")).unwrap();
    place.file("9", "inside");
    let asked = ["x/secret", "x/sub/secret", "x", "v2/sub/../x/secret", "v2/out/x/secret"];
    for lookup in BOTH {
        let opened = place.by(lookup);
        let done = AtomicBool::new(false);
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = Random(7);
                while !done.load(Ordering::Relaxed) {
                    let name = root.join((1 + random.below(9)).to_string());
                    if fs::rename(&name, root.join("x")).is_ok() {
                        let _ = fs::rename(root.join("x"), &name);
                    }
                }
            });
            let mut found = 0;
            for turn in 0..20_000 {
                let text = read(&opened, asked[turn % asked.len()]);
                assert_ne!(text.as_deref(), Ok("secret"), "{lookup:?}");
                found += usize::from(text.is_ok());
            }
            done.store(true, Ordering::Relaxed);
            found
        });
        assert!(found > 0, "{lookup:?}: the names were never there");
    }
}

/// A folder that is moved out of the root in the middle of a walk does not take the walk with it.
#[test]
fn a_folder_that_moves_out_does_not_lead_out() {
    let place = Place::new();
    place.file("a/b/x", "inside");
    place.link("a/b/up", "../../secret");
    let (inner, outer) = (place.root().join("a/b"), place.0.join("b"));
    fs::create_dir(place.0.join("deep")).unwrap();
    for lookup in BOTH {
        let opened = place.by(lookup);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    fs::rename(&inner, &outer).unwrap();
                    fs::rename(&outer, &inner).unwrap();
                }
            });
            for _ in 0..20_000 {
                let text = read(&opened, "a/b/up");
                assert_ne!(text.as_deref(), Ok("secret"), "{lookup:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
