//! iPXE scripts: the first line, the words, and that something is started in the end.

use std::collections::BTreeSet;

use super::{MEANT, Report, near};

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
const ELSEWHERE: [&str; 32] = [
    "certfree",
    "certstat",
    "certstore",
    "colour",
    "console",
    "cpair",
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
    let first = text.split('\n').next().unwrap_or("");
    let magic = ["#!ipxe", "#!gpxe"].iter().find_map(|magic| first.strip_prefix(magic));
    if magic.is_none_or(|rest| !rest.is_empty() && !rest.starts_with(is_space)) {
        let why = "does not begin with #!ipxe, so iPXE runs it as a program and hangs; \
                   write #!ipxe as the first line";
        report.error(1, why);
        return;
    }
    let lines = lines(text);
    let commands: Vec<Command<'_>> =
        lines.iter().flat_map(|line| commands(line.number, &line.command)).collect();
    let labels: BTreeSet<&str> = lines.iter().filter_map(|line| line.label.as_deref()).collect();
    for command in &commands {
        if report.is_full() {
            return;
        }
        words(command, &labels, report);
    }
    starts(&commands, report);
}

/// A line as iPXE runs it.
struct Line {
    number: usize,
    /// The word behind a colon, to the next space.
    label: Option<String>,
    /// The rest: a command may follow its label.
    command: String,
}

/// A line that ends in a backslash goes on in the next one.
fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, content) in (1..).zip(text.split('\n')) {
        let (number, mut whole) = open.take().unwrap_or((number, String::new()));
        whole.push_str(content.strip_suffix('\r').unwrap_or(content));
        if whole.ends_with('\\') {
            whole.pop();
            open = Some((number, whole));
        } else {
            lines.push(line(number, &whole));
        }
    }
    lines.extend(open.map(|(number, whole)| line(number, &whole)));
    lines
}

fn line(number: usize, whole: &str) -> Line {
    let whole = whole.trim_start_matches(is_space);
    let (label, command) = match whole.strip_prefix(':') {
        Some(rest) => match rest.split_once(is_space) {
            Some((label, command)) => (Some(label.to_owned()), command),
            None => (Some(rest.to_owned()), ""),
        },
        None => (None, whole),
    };
    Line { number, label, command: command.to_owned() }
}

/// iPXE knows no spaces but those of ASCII.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

fn commands(line: usize, content: &str) -> Vec<Command<'_>> {
    let mut commands = Vec::new();
    let mut command = Command { line, words: Vec::new(), fallback: false };
    for word in content.split(is_space).filter(|word| !word.is_empty()) {
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
            let why = format!(
                "goes to \"{label}\", and there is no line :{label}, so the script ends there"
            );
            report.warn(line, why);
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
    // A command whose name iPXE fills in may be any.
    let is = |command: &Command<'_>, names: &[&str]| {
        names.contains(&command.words[0])
            || names.contains(&"boot") && command.words[0].contains("${")
    };
    let kernel = commands.iter().rposition(|command| is(command, &["kernel", "imgselect"]));
    let initrd = commands.iter().find(|command| is(command, &["initrd"]));
    if let Some(at) = kernel {
        let boots = |command: &Command<'_>| {
            is(command, &["boot", "imgexec", "chain", "autoboot"])
                || !command.fallback && is(command, &["goto"])
        };
        if !commands[at..].iter().any(boots) {
            let why = format!(
                "fetches a kernel, and nothing boots it; write boot as the last line ({MEANT})"
            );
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
        let why = "starts nothing, which is right only for a script that others chain; else end it \
                   with boot, chain, sanboot or exit";
        report.warn(line, why);
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
            "#!ipxe\n:retry chain http://a/b || goto retry\n",
            "#!ipxe\ngoto start\n:start   # the beginning\nexit\n",
            "#!ipxe \r\n  :start dhcp && chain http://a/b ||\r\n",
            "#!ipxe\nkernel http://a/k \\\n  console=ttyS0 \\\n  b=c && initrd d\nboot\n",
            "#!ipxe\nkernel http://a/k\n${start} --autofree\n",
            "#!ipxe\nmenu Which one?\nitem --gap -- Systems\nitem --key d disk Disk\n\
             choose --timeout 5000 --default disk target && goto ${target}\n\
             :disk\niseq ${platform} efi && exit || sanboot --no-describe --drive 0x80\n",
            "#!ipxe\nisset ${net0/ip} || dhcp || goto failed\nset a ${b:hexhyp}\n\
             prompt --key 0x02 --timeout 3000 Press Ctrl-B && shell ||\n:failed login\n\
             imgfetch --name x http://a/${serial:uristring} && imgexec x\n",
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
            ("#!ipxe\nkernel\nboot\n", 2, "without a URL"),
            ("#!ipxe\nkernel --name k\nboot\n", 2, "without a URL"),
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
            ("#!ipxe\ngoto nowhere\n", ":nowhere, so the script ends"),
            ("#!ipxe\nchain http://a/b || goto error\nexit\n", ":error"),
            ("#!ipxe\n:next goto n\u{a0}ext\n", "goes to"),
            ("#!ipxe\nset a b # for others\n", "that others chain"),
            ("#!ipxe\necho hello\n", "starts nothing"),
            ("#!ipxe\ncpair --foreground 7 1 ; exit\n", "Debian's iPXE lacks"),
        ] {
            let found = of(script);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].line, found[0].severity), (2, Severity::Warning), "{found:?}");
            assert!(found[0].text.contains(word), "{found:?}");
        }
    }
}
