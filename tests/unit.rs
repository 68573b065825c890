//! The shipped bootbox.service, unchanged, under this machine's own systemd as PID 1 of namespaces:
//! start, serve, reload, `kill -9`, stop, and what is said where the sandbox takes something away.
//!
//! One story is played once (`unit/story`); each test reads its part of what was told.
// A test that cannot go on has failed; one that cannot run says so.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use nix::unistd::geteuid;

const BINARY: &str = env!("CARGO_BIN_EXE_bootbox");
const SYSTEMD: &str = "/lib/systemd/systemd";
/// Seconds; the story takes some 20 on an idle machine, and `unit/run` gives it 120.
const LONGEST: &str = "180";

/// The words that were told; `None` where this machine cannot play it.
static TOLD: LazyLock<Option<String>> = LazyLock::new(|| {
    if !geteuid().is_root() || !Path::new(SYSTEMD).exists() {
        eprintln!("passed over: it takes root, and {SYSTEMD}");
        return None;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("unit.told");
    let run = Command::new("timeout")
        .args(["--signal", "KILL", LONGEST])
        .args(["setpriv", "--pdeathsig", "KILL"])
        .arg(here.join("tests/unit/run"))
        .arg(BINARY)
        .arg(here.join("etc/bootbox.service"))
        .arg(here.join("tests/unit/story"))
        .arg(&out)
        .output()
        .unwrap();
    let told = fs::read_to_string(&out).unwrap_or_default();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(told.ends_with("== end\n"), "the story ended early: {said}\n{told}");
    Some(told)
});

/// A part of the story.
struct Part(&'static str);

impl Part {
    fn says(&self, text: &str) -> &Self {
        assert!(self.0.contains(text), "{text:?} is not in:\n{}", self.0);
        self
    }

    fn never_says(&self, text: &str) -> &Self {
        assert!(!self.0.contains(text), "{text:?} is in:\n{}", self.0);
        self
    }
}

/// Reads this part of the story.
fn part(name: &str, read: impl FnOnce(&Part)) {
    let Some(told) = &*TOLD else { return };
    let head = format!("== {name}\n");
    let rest = told.split_once(&head).unwrap_or_else(|| panic!("no {name} in {told}")).1;
    read(&Part(rest.split("\n== ").next().unwrap()));
}

#[test]
fn the_unit_is_the_shipped_one_and_its_sandbox_is_on() {
    part("unit", |part| {
        part.says("unchanged").says("DynamicUser=yes").says("RestrictSUIDSGID=yes");
    });
}

#[test]
fn it_starts_and_serves() {
    part("check", |part| {
        part.says("nothing is wrong\n").says("ports are free: UDP 67, 69 and 4011, TCP 80\n");
        part.says("bootbox.service could read all that is named").says("rc=0");
    });
    part("start", |part| {
        part.says("rc=0\n").says("ActiveState=active").says("/k/vmlinuz 200").says("word=one");
        part.says("/absolute/vmlinuz 200").says("/relative/vmlinuz 200").says("/out/passwd 403");
        part.says("700 /run/bootbox\n").says("600 /run/bootbox/control.sock");
        part.says("700 /var/lib/bootbox-ledger\n").says("600 /var/lib/bootbox-ledger/ledger.redb");
        part.says("held").says("is ready");
        // Nothing that the sandbox takes away is missed.
        part.never_says("\"WARN\"").never_says("\"ERROR\"").never_says("not heard");
        part.never_says("not answered").never_says("will not reach this server");
    });
}

#[test]
fn check_knows_that_the_ports_are_the_running_servers() {
    part("check-while-it-runs", |part| {
        part.says("nothing is wrong\n").says("ports are held by bootbox (pid ").says("rc=0");
    });
}

#[test]
fn a_reload_takes_a_good_config_and_fails_for_a_wrong_one() {
    part("reload", |part| {
        part.says("rc=0\n").says("word=two");
    });
    part("reload-refused", |part| {
        part.says("Job for bootbox.service failed").says("rc=1\nword=two");
        part.says("bootbox: /etc/bootbox/bootbox.toml:13: ");
        // Commands work all the same.
        part.says("(the control socket is taken from the default").says("52:54:00:00:00:01  p");
    });
    part("reload-refused-for-a-kernel", |part| {
        part.says("rc=1\nword=two").says("bootbox.toml:5: /k/missing beneath /var/lib/bootbox");
    });
}

#[test]
fn it_comes_back_after_kill_9_and_remembers() {
    part("killed", |part| {
        part.says("ActiveState=active").says("NRestarts=1").says("/k/vmlinuz 200");
        part.says("word=two").says("held by the operator: fan");
    });
}

#[test]
fn it_stops_when_asked() {
    part("stop", |part| {
        part.says("rc=0\n").says("ActiveState=inactive").says("Result=success");
    });
}

#[test]
fn a_wrong_config_is_exit_78_and_one_clear_line() {
    part("bad-config", |part| {
        part.says("rc=1\n").says("ExecMainStatus=78").says("bootbox.toml:13: ");
    });
}

#[test]
fn what_the_sandbox_hides_is_named_by_check_and_by_the_start() {
    for (name, folder, by) in
        [("home", "/home", "ProtectHome"), ("temporary", "/tmp", "PrivateTmp")]
    {
        part(name, |part| {
            let hidden = format!("does not see what is below {folder} ({by} in its unit)");
            part.says(&format!(".service: {folder}"));
            part.says("rc=78").says("ExecMainStatus=78");
            assert_eq!(part.0.matches(&hidden).count(), 2, "{}", part.0);
        });
    }
}

#[test]
fn what_the_services_user_cannot_read_is_told_with_what_to_do() {
    for (name, command) in [
        ("closed-file", "chmod a+r /var/lib/bootbox/k/vmlinuz"),
        ("closed-folder", "chmod a+x /var/lib/bootbox/k"),
        ("closed-config", "chmod a+r /etc/bootbox/bootbox.toml"),
    ] {
        part(name, |part| {
            part.says("rc=78").says("ExecMainStatus=78").never_says("put it there");
            assert!(part.0.matches(command).count() >= 2, "by check and by the start: {}", part.0);
        });
    }
}

#[test]
fn a_port_that_is_taken_is_told_with_its_holder() {
    part("port", |part| {
        part.says("TCP port 80 on eth0 (192.168.77.2) is held by busybox (pid ");
        part.says("rc=71").says("ExecMainStatus=71");
    });
}

#[test]
fn a_ledger_that_was_cut_is_one_line() {
    part("ledger", |part| {
        part.says("rc=1\n").says("ExecMainStatus=70").says("it cannot be read as a ledger");
        part.never_says("panicked").never_says("backtrace");
    });
}
