//! iPXE scripts: the first line, the words, and that something is started in the end.

use std::collections::BTreeSet;

use super::{Report, near};

/// The commands of the build that we hand out (Debian's, of 2019).
const COMMANDS: [&str; 48] = [
    "autoboot",
    "boot",
    "chain",
    "choose",
    "clear",
    "config",
    "cpuid",
    "dhcp",
    "echo",
    "exit",
    "goto",
    "help",
    "ibstat",
    "ifclose",
    "ifconf",
    "ifopen",
    "ifstat",
    "imgargs",
    "imgexec",
    "imgfetch",
    "imgfree",
    "imgload",
    "imgselect",
    "imgstat",
    "inc",
    "initrd",
    "iseq",
    "isset",
    "item",
    "iwlist",
    "iwstat",
    "kernel",
    "login",
    "menu",
    "module",
    "prompt",
    "pxebs",
    "read",
    "reboot",
    "route",
    "sanboot",
    "sanhook",
    "sanunhook",
    "set",
    "shell",
    "show",
    "sleep",
    "sync",
];

/// Commands that other builds have.
const ELSEWHERE: [&str; 30] = [
    "certfree",
    "certstat",
    "certstore",
    "console",
    "digest",
    "fcels",
    "fcstat",
    "fdt",
    "imgdecrypt",
    "imgextract",
    "imgmem",
    "imgtrust",
    "imgverify",
    "ipstat",
    "lotest",
    "neighbour",
    "nslookup",
    "nstat",
    "ntp",
    "param",
    "params",
    "pciscan",
    "ping",
    "poweroff",
    "profstat",
    "shim",
    "time",
    "usbscan",
    "vcreate",
    "vdestroy",
];

/// One command as it stands between `&&`, `||` and `;`.
struct Command<'t> {
    line: usize,
    words: Vec<&'t str>,
    /// Only run if another one failed.
    fallback: bool,
}

/// Adds what is wrong with a script.
pub(super) fn check(text: &str, report: &mut Report) {
    let first = text.lines().next().unwrap_or("");
    let magic = ["#!ipxe", "#!gpxe"].iter().find_map(|magic| first.strip_prefix(magic));
    if magic.is_none_or(|rest| !rest.is_empty() && !rest.starts_with(char::is_whitespace)) {
        let why = "does not begin with #!ipxe, so iPXE runs it as a program and hangs; \
                   write #!ipxe as the first line";
        report.error(1, why);
        return;
    }
    let commands = commands(text);
    let labels: BTreeSet<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix(':')).map(str::trim).collect();
    for command in &commands {
        if report.is_full() {
            return;
        }
        words(command, &labels, report);
    }
    starts(&commands, report);
}

fn commands(text: &str) -> Vec<Command<'_>> {
    let mut commands = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.starts_with(':') {
            continue;
        }
        let mut command = Command { line, words: Vec::new(), fallback: false };
        for word in content.split_whitespace() {
            match word {
                "&&" | "||" | ";" => {
                    let next = Command { line, words: Vec::new(), fallback: word == "||" };
                    commands.push(std::mem::replace(&mut command, next));
                }
                // A comment may follow a command.
                word if word.starts_with('#') => break,
                word => command.words.push(word),
            }
        }
        commands.push(command);
    }
    commands.retain(|command| !command.words.is_empty());
    commands
}

fn words(command: &Command<'_>, labels: &BTreeSet<&str>, report: &mut Report) {
    let (Some(&name), line) = (command.words.first(), command.line) else { return };
    // Its value is known to iPXE only.
    if name.contains("${") {
        return;
    }
    if !COMMANDS.contains(&name) {
        let why = if ELSEWHERE.contains(&name) {
            format!("has the command \"{name}\", which Debian's iPXE lacks")
        } else {
            match near::nearest(name, COMMANDS.into_iter()) {
                Some(near) => format!("has the unknown command \"{name}\"; is \"{near}\" meant?"),
                None => format!("has the unknown command \"{name}\""),
            }
        };
        report.warn(line, why);
    }
    let fetches = matches!(name, "kernel" | "initrd" | "module" | "chain" | "imgfetch");
    let operands = operands(&command.words[1..]);
    if fetches && operands.is_empty() {
        report.error(line, format!("has \"{name}\" without a URL; add it"));
    }
    if fetches && operands.iter().any(|word| word.starts_with("https://")) {
        report.warn(line, "fetches by https, which Debian's iPXE cannot; write http");
    }
    if name == "goto" {
        let label = operands.first().copied().unwrap_or("");
        if !label.contains("${") && !labels.contains(label) {
            report.error(line, format!("goes to \"{label}\", and there is no line :{label}"));
        }
    }
}

/// What is no option; `--name` and `--timeout` have a value of their own.
fn operands<'t>(words: &[&'t str]) -> Vec<&'t str> {
    let mut operands = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if matches!(*word, "-n" | "--name" | "-t" | "--timeout") {
            words.next();
        } else if !word.starts_with('-') {
            operands.push(*word);
        }
    }
    operands
}

/// A kernel that is fetched must be booted, and a script must do something.
fn starts(commands: &[Command<'_>], report: &mut Report) {
    let is = |command: &Command<'_>, names: &[&str]| names.contains(&command.words[0]);
    let kernel = commands.iter().rposition(|command| is(command, &["kernel", "imgselect"]));
    let initrd = commands.iter().find(|command| is(command, &["initrd"]));
    if let Some(at) = kernel {
        let boots = |command: &Command<'_>| {
            is(command, &["boot", "imgexec", "chain", "autoboot"])
                || !command.fallback && is(command, &["goto"])
        };
        if !commands[at..].iter().any(boots) {
            let why = "fetches a kernel, and nothing boots it; write boot as the last line";
            report.error(commands[at].line, why);
        }
    } else if let Some(command) = initrd {
        report.warn(command.line, "fetches an initrd without a kernel; add the kernel line");
    }
    let acts = [
        "autoboot", "boot", "chain", "choose", "exit", "goto", "imgexec", "kernel", "login",
        "poweroff", "pxebs", "reboot", "sanboot", "shell",
    ];
    if !commands.iter().any(|command| is(command, &acts)) {
        let line = commands.last().map_or(1, |command| command.line);
        report.error(line, "starts nothing; end it with boot, chain, sanboot or exit");
    }
}

#[cfg(test)]
mod tests {
    use crate::check::{Fault, Kind, Severity, Target, faults};

    fn of(text: &str) -> Vec<Fault> {
        faults(Kind::Ipxe, text.as_bytes(), &Target::Unknown)
    }

    const POST: &str = "#!ipxe\n# Boot a persistent CoreOS to RAM\n\n\
        set base-url http://SOMEHOST/coreos\n\n\
        kernel ${base-url}/1122.2.0/coreos_production_pxe.vmlinuz coreos.first_boot=1\n\
        initrd ${base-url}/1122.2.0/coreos_production_pxe_image.cpio.gz\nboot\n";

    #[test]
    fn scripts_that_boot_have_no_faults() {
        for script in [
            POST,
            "#!ipxe\r\nchain http://a/b || exit\r\n",
            "#!ipxe\n:retry\nchain http://a/ipxe?mac=${mac:hexhyp} || goto failed\n\
             :failed\necho no answer ; sleep 5 && goto retry\n",
            "#!ipxe\nsanboot --no-describe --drive 0x80 || exit 1\n",
            "#!ipxe\nkernel a || goto shell\ninitrd b\nboot || goto shell\n:shell\nshell\n",
            "#!ipxe\nkernel casper/vmlinuz ds=nocloud-net;s=http://H/u/ a=b\nboot\n",
        ] {
            assert_eq!(of(script), [], "{script}");
        }
    }

    #[test]
    fn a_script_that_hangs_or_starts_nothing_is_an_error() {
        for (script, line, word) in [
            (&POST["#!ipxe\n".len()..], 1, "#!ipxe"),
            ("#!ipxefoo\nboot\n", 1, "#!ipxe"),
            (POST.trim_end_matches("boot\n"), 6, "nothing boots it"),
            ("#!ipxe\nkernel a || goto x\n:x\n", 2, "nothing boots it"),
            ("#!ipxe\necho hello\n", 2, "starts nothing"),
            ("#!ipxe\nkernel\nboot\n", 2, "without a URL"),
            ("#!ipxe\nkernel --name k\nboot\n", 2, "without a URL"),
            ("#!ipxe\ngoto nowhere\n", 2, ":nowhere"),
        ] {
            let found = of(script);
            assert_eq!(found.len(), 1, "{script}: {found:?}");
            assert_eq!((found[0].line, found[0].severity), (line, Severity::Error), "{found:?}");
            assert!(found[0].text.contains(word), "{found:?}");
        }
    }

    #[test]
    fn an_unknown_command_is_a_warning_that_names_it() {
        for (script, word) in [
            ("#!ipxe\nkernal a\nboot\n", "\"kernel\" meant"),
            ("#!ipxe\nimgverify a b\nboot\n", "Debian's iPXE lacks"),
            ("#!ipxe\nchain https://a/b\n", "https"),
        ] {
            let found = of(script);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].line, found[0].severity), (2, Severity::Warning), "{found:?}");
            assert!(found[0].text.contains(word), "{found:?}");
        }
    }
}
