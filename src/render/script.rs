//! iPXE scripts: the one every machine reads first, the one that boots it, and the one that tells
//! a person at its console why nothing boots.
//!
//! Written for Debian's iPXE of 2019, the oldest in the field that we chainload: no arithmetic but
//! `inc`, no `params`, and a kernel on UEFI finds its initrd only by `initrd=NAME`.

use std::fmt::Write as _;

use super::{
    hand_off::{Ending, ended_notice},
    line::{self, TooLong},
};
use crate::{
    catalog::{Group, Initrd, Source, Verdict},
    firmware::Platform,
    template::{TemplateError, Words},
};

/// How often a machine tries before it gives up and goes on to its next boot device.
const TRIES: u32 = 20;

/// The first script, the same for every machine: iPXE fills in what it knows of itself.
///
/// `:uristring` escapes what SMBIOS holds: VMware's serial has spaces.
pub fn boot_script() -> String {
    format!(
        "#!ipxe\n\
         set attempt:int32 1\n\
         :ask\n\
         chain --replace ipxe?mac=${{mac:hexhyp}}&uuid=${{uuid}}&serial=${{serial:uristring}}\
         &arch=${{buildarch:uristring}}&platform=${{platform:uristring}}\
         &manufacturer=${{manufacturer:uristring}}&product=${{product:uristring}} || goto again\n\
         {}",
        asked_again("no answer to this machine's question"),
    )
}

/// What newer iPXE runs before it has an address of its own: leads to the first script.
pub fn autoexec_script(base_url: &str) -> String {
    format!(
        "#!ipxe\n\
         set attempt:int32 1\n\
         :ask\n\
         isset ${{ip}} || dhcp || goto again\n\
         chain --replace {base_url}/boot.ipxe || goto again\n\
         {}",
        asked_again("no first script"),
    )
}

/// Goes back to `:ask`, and on to the next boot device in the end.
fn asked_again(why: &str) -> String {
    format!(
        ":again\n\
         echo bootbox: {why}, try ${{attempt}} of {TRIES}, again in 3 s\n\
         inc attempt\n\
         iseq ${{attempt}} {} && exit 1 ||\n\
         sleep 3\n\
         goto ask\n",
        TRIES + 1,
    )
}

/// The script of a machine of this group; else the reason why nothing boots.
pub(super) fn script_for(group: &Group, words: &Words) -> Result<String, String> {
    // Who does not say gets the name: a stray word hurts less than a kernel without its initrd.
    let names_initrd = words.machine.platform != Some(Platform::Bios);
    let kernel = kernel_line(group, words, names_initrd)
        .map_err(|error| format!("an argument of profile {} {error}", group.profile.name))?;
    line::fits(&kernel, &words.machine)
        .map_err(|error| format!("profile {}: {error}", group.profile.name))?;
    let initrd = initrd_lines(group, words)
        .map_err(|error| format!("an initrd of profile {} {error}", group.profile.name))?;
    Ok(match group.profile.chains {
        true => chain_script(group, words),
        false => machine_script(group, words, &kernel, &initrd),
    })
}

/// Whether the kernel would lose the end of its line for these words, on BIOS or on UEFI where the
/// group has such machines. A line that cannot be filled in is told elsewhere.
pub fn overlong(group: &Group, words: &Words) -> Option<TooLong> {
    let mut on_uefi = words.machine.clone();
    on_uefi.platform = Some(Platform::Uefi);
    if let Some(labels) = &mut on_uefi.labels {
        labels.insert("platform".to_owned(), "efi".to_owned());
    }
    let names_initrd = group.selector.matches(&on_uefi) != Verdict::Mismatch;
    let line = kernel_line(group, words, names_initrd).ok()?;
    line::fits(&line, &words.machine).err()
}

/// All that the kernel finds on its line.
///
/// On BIOS the kernel gets its initrd from the boot loader, and naming it too would only put a
/// stray word on the command line.
fn kernel_line(group: &Group, words: &Words, names_initrd: bool) -> Result<String, TemplateError> {
    let mut parts = Vec::new();
    if names_initrd && !group.profile.is_wimboot() {
        let initrd = named(&group.profile.initrd);
        parts.extend(initrd.iter().map(|(name, _)| format!("initrd={name}")));
    }
    parts.extend(arguments(group, words)?);
    Ok(parts.join(" "))
}

/// The script that boots a machine of this group with this line.
fn machine_script(group: &Group, words: &Words, line: &str, initrd: &str) -> String {
    let profile = &group.profile;
    let ending = Ending::after_a_notice(&words.machine);
    let mut kernel = url(&profile.kernel, words);
    if !line.is_empty() {
        let _ = write!(kernel, " {line}");
    }
    let mut script = format!(
        "#!ipxe\n\
         set attempt:int32 1\n\
         :load\n\
         echo bootbox: {} boots profile {} (group {}), try ${{attempt}} of {TRIES}\n\
         imgfree\n\
         kernel {kernel} || goto again\n",
        words.machine.mac, profile.name, group.name,
    );
    script.push_str(initrd);
    let _ = write!(
        script,
        "boot || goto again\n\
         {}",
        again(&ending)
    );
    script
}

/// The label where a failed try goes on: the next try, or the way on after the last.
fn again(ending: &Ending) -> String {
    format!(
        ":again\n\
         echo bootbox: try ${{attempt}} of {TRIES} failed, again in 3 s\n\
         inc attempt\n\
         iseq ${{attempt}} {} && goto stop ||\n\
         sleep 3\n\
         goto load\n\
         :stop\n\
         echo bootbox: giving up; {}\n\
         {}",
        TRIES + 1,
        ending.announced(),
        ending.commands(),
    )
}

/// The script that runs another one. What is fetched is tried again; what has run has had its say,
/// whatever it ended with.
fn chain_script(group: &Group, words: &Words) -> String {
    let profile = &group.profile;
    let ending = Ending::after_a_notice(&words.machine);
    let script = match &profile.kernel {
        // A script may be a text, which only a token opens.
        Source::Repository(path) => format!("{}/{}", words.url(), path.in_url()),
        Source::Url(url) => url.clone(),
    };
    format!(
        "#!ipxe\n\
         set attempt:int32 1\n\
         :load\n\
         echo bootbox: {} runs the script of profile {} (group {}), try ${{attempt}} of {TRIES}\n\
         imgfree\n\
         imgfetch --name bootbox-chain {script} || goto again\n\
         imgexec bootbox-chain ||\n\
         echo bootbox: the script of profile {} has ended; {}\n\
         {}\
         {}",
        words.machine.mac,
        profile.name,
        group.name,
        profile.name,
        ending.announced(),
        ending.commands(),
        again(&ending),
    )
}

/// The lines that fetch the RAM disks. wimboot knows a file on BIOS by the argument behind it, and on
/// UEFI by its name.
fn initrd_lines(group: &Group, words: &Words) -> Result<String, TemplateError> {
    let mut lines = String::new();
    for (name, initrd) in named(&group.profile.initrd) {
        let _ = write!(lines, "initrd --name {name} {}", url(&initrd.source, words));
        for arg in &initrd.args {
            if let Some(arg) = arg.render_arg(words, &group.metadata)? {
                let _ = write!(lines, " {arg}");
            }
        }
        if initrd.args.is_empty() && group.profile.is_wimboot() {
            let _ = write!(lines, " {name}");
        }
        lines.push_str(" || goto again\n");
    }
    Ok(lines)
}

/// The kernel's arguments for a machine of this group; those that become empty are left out.
pub fn arguments(group: &Group, words: &Words) -> Result<Vec<String>, TemplateError> {
    let rendered = group.profile.args.iter().map(|arg| arg.render_arg(words, &group.metadata));
    rendered.filter_map(Result::transpose).collect()
}

/// The script that shows a reason on the machine's console and goes on to its next boot device.
pub fn notice_script(reason: &str) -> String {
    ended_notice(reason, Ending::Exit)
}

/// A name for each initrd, without spaces and each once: UEFI's kernel opens them by name. Those that
/// are said are taken as they are.
fn named(initrds: &[Initrd]) -> Vec<(String, &Initrd)> {
    let said: Vec<&String> = initrds.iter().filter_map(|initrd| initrd.name.as_ref()).collect();
    let mut names: Vec<(String, &Initrd)> = Vec::new();
    for initrd in initrds {
        if let Some(name) = &initrd.name {
            names.push((name.clone(), initrd));
            continue;
        }
        let file = match &initrd.source {
            Source::Repository(path) => String::from_utf8_lossy(path.file_name()).into_owned(),
            Source::Url(url) => {
                let path = url.split(['?', '#']).next().unwrap_or(url);
                path.rsplit('/').next().unwrap_or(path).to_owned()
            }
        };
        let plain: String = file
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '_' })
            .collect();
        let plain = if plain.is_empty() { "initrd".to_owned() } else { plain };
        let mut name = plain.clone();
        let mut number = names.len();
        while said.contains(&&name) || names.iter().any(|(taken, _)| *taken == name) {
            name = format!("{number}-{plain}");
            number += 1;
        }
        names.push((name, initrd));
    }
    names
}

fn url(source: &Source, words: &Words) -> String {
    match source {
        Source::Repository(path) => format!("{}/{}", words.base_url, path.in_url()),
        Source::Url(url) => url.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        catalog::{HandOff, Install, Profile, Selector},
        machine::Machine,
        path::RepositoryPath,
        template::{Metadata, Template},
    };

    fn lab(initrd: &[&str], args: &[&str]) -> Group {
        let source = |path: &&str| match path.strip_prefix('/') {
            Some(path) => Source::Repository(RepositoryPath::parse(path.as_bytes()).unwrap()),
            None => Source::Url((*path).to_owned()),
        };
        let profile = Profile {
            name: "coreos".to_owned(),
            kernel: source(&"/coreos/1122.2.0/coreos_production_pxe.vmlinuz"),
            chains: false,
            initrd: initrd.iter().map(|path| source(path).into()).collect(),
            args: args.iter().map(|arg| Template::parse(arg).unwrap()).collect(),
            install: Install::Never,
            says_install: false,
            verify: false,
        };
        let selector = Selector::default();
        let metadata = Metadata::default();
        let hand_off = HandOff::Silence;
        Group {
            name: "lab".to_owned(),
            selector,
            profile: Arc::new(profile),
            metadata,
            hand_off,
            boot: Default::default(),
            every_machine: false,
        }
    }

    fn words() -> Words {
        Words {
            base_url: "http://10.0.0.1:8080".to_owned(),
            ip: [10, 0, 0, 7].into(),
            machine: Machine::heard("52:54:00:12:34:56".parse().unwrap(), None, None),
            token: None,
        }
    }

    fn script(group: &Group, names_initrd: bool) -> String {
        let line = kernel_line(group, &words(), names_initrd).unwrap();
        let initrd = initrd_lines(group, &words()).unwrap();
        machine_script(group, &words(), &line, &initrd)
    }

    #[test]
    fn the_script_is_the_posts_kernel_line_with_the_machines_words() {
        let group = lab(
            &["/coreos/1122.2.0/coreos_production_pxe_image.cpio.gz"],
            &["coreos.config.url={{ base_url }}/coreos/ignition.json", "coreos.first_boot=1"],
        );
        let script = script(&group, false);
        assert!(script.starts_with("#!ipxe\n"));
        assert!(script.contains(
            "\nkernel http://10.0.0.1:8080/coreos/1122.2.0/coreos_production_pxe.vmlinuz \
             coreos.config.url=http://10.0.0.1:8080/coreos/ignition.json coreos.first_boot=1 \
             || goto again\n\
             initrd --name coreos_production_pxe_image.cpio.gz \
             http://10.0.0.1:8080/coreos/1122.2.0/coreos_production_pxe_image.cpio.gz \
             || goto again\n\
             boot || goto again\n"
        ));
    }

    #[test]
    fn on_uefi_every_initrd_is_named_in_order_and_each_name_once() {
        let group =
            lab(&["/a/initrd.img", "http://192.0.2.9/b/initrd.img?x=/y", "/c/my file"], &["quiet"]);
        let script = script(&group, true);
        assert!(script.contains(
            "coreos_production_pxe.vmlinuz initrd=initrd.img initrd=1-initrd.img initrd=my_file quiet ||"
        ));
        assert!(
            script.contains("\ninitrd --name 1-initrd.img http://192.0.2.9/b/initrd.img?x=/y ||")
        );
        assert!(script.contains("\ninitrd --name my_file http://10.0.0.1:8080/c/my%20file ||"));
    }

    #[test]
    fn an_initrd_has_the_name_and_the_args_that_are_said() {
        let mut group = lab(&["/win/BCD", "/win/boot.wim"], &["gui"]);
        let profile = Arc::make_mut(&mut group.profile);
        profile.initrd[0].name = Some("boot.wim".to_owned());
        profile.initrd[1].args = vec![Template::parse("m={{ mac }}").unwrap()];
        let script = script(&group, true);
        assert!(script.contains(" initrd=boot.wim initrd=1-boot.wim gui ||"), "{script}");
        assert!(script.contains("\ninitrd --name boot.wim http://10.0.0.1:8080/win/BCD ||"));
        let with_args = "/win/boot.wim m=52:54:00:12:34:56 ||";
        assert!(script.contains(with_args), "{script}");
    }

    #[test]
    fn wimboot_is_told_each_file_by_name_and_argument_and_no_initrd_on_its_line() {
        let mut group = lab(&["/win/bcd"], &["gui"]);
        let profile = Arc::make_mut(&mut group.profile);
        profile.kernel = Source::Repository(RepositoryPath::parse(b"/win/wimboot").unwrap());
        profile.initrd[0].name = Some("BCD".to_owned());
        let script = script(&group, true);
        assert!(script.contains("/win/wimboot gui ||"), "{script}");
        assert!(script.contains("\ninitrd --name BCD http://10.0.0.1:8080/win/bcd BCD ||"));
    }

    #[test]
    fn a_script_that_is_chained_to_is_fetched_again_and_run_once() {
        let mut group = lab(&[], &[]);
        Arc::make_mut(&mut group.profile).chains = true;
        let mut words = words();
        words.token = Some(crate::token::Token::new([1; 16]));
        let script = script_for(&group, &words).unwrap();
        let lines: Vec<&str> = script.lines().collect();
        let run = lines.iter().position(|line| line.starts_with("imgexec ")).unwrap();
        assert!(lines[run - 1].contains("bootbox-chain http://10.0.0.1:8080/~0101"), "{script}");
        assert!(lines[run - 1].ends_with("|| goto again") && lines[run].ends_with(" ||"));
        assert_eq!((lines[run + 2], lines[run + 3]), ("exit 1", ":again"), "{script}");
    }

    #[test]
    fn an_argument_that_becomes_empty_is_left_out() {
        let metadata =
            |text: &str| Metadata::of(&toml::Table::new(), &text.parse::<toml::Table>().unwrap());
        let args = ["a", "console={{ metadata.c }}", "{% if metadata.c %}x{% endif %}", "k="];
        let mut group = lab(&[], &args);
        for (written, expected) in
            [("c = \"\"", &["a", "k="][..]), ("c = \"t\"", &["a", "console=t", "x", "k="])]
        {
            group.metadata = metadata(written);
            assert_eq!(arguments(&group, &words()).unwrap(), expected);
        }
    }

    #[test]
    fn no_script_has_a_line_that_the_kernel_would_cut() {
        let long = "x".repeat(2030);
        for (arg, is_too_long) in [(&long[..], false), (&format!("{long}{{{{ mac }}}}"), true)] {
            let group = lab(&["/a/k"], &[arg]);
            assert_eq!(overlong(&group, &words()).is_some(), is_too_long);
            assert_eq!(script_for(&group, &words()).is_err(), is_too_long);
        }
    }

    #[test]
    fn no_two_initrds_get_one_name() {
        let group = lab(&["/a/k", "/2-k", "/c/k"], &[]);
        let script = script(&group, true);
        assert!(script.contains(" initrd=k initrd=2-k initrd=3-k ||"), "{script}");
    }

    #[test]
    fn a_reason_cannot_become_a_command() {
        let script = notice_script("no group matches\nchain http://${evil}/\u{1b}[2J");
        assert_eq!(script.lines().nth(2), Some("echo bootbox: chain http://{evil}/[2J"));
        assert!(script.lines().skip(1).all(|line| {
            ["echo bootbox: ", "sleep 10", "exit 1"].iter().any(|start| line.starts_with(start))
        }));
    }

    #[test]
    fn a_word_the_machine_lacks_is_an_error_not_a_gap() {
        let group = lab(&[], &["uuid={{ uuid }}"]);
        assert_eq!(kernel_line(&group, &words(), true), Err(TemplateError::NoUuid));
    }
}
