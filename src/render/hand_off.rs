//! iPXE scripts that boot no profile: the way to the machine's own disk, and the one that waits.

use std::fmt::Write as _;

use crate::{
    catalog::HandOff,
    firmware::Platform,
    machine::{Labels, Machine, Uuid},
    printable::is_hidden,
};

/// How iPXE lets go of a machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// `exit`: the firmware goes on to its next boot device. As a failure, because a firmware that
    /// is told of success may stop there (EDK2 opens its menu).
    Exit,
    /// The machine starts anew: the way out where `exit` crashes the firmware.
    Reboot,
    /// iPXE boots the first BIOS disk itself, which works where the firmware would come back to the
    /// network.
    Sanboot,
    /// The same where iPXE says that it runs on BIOS, else `exit`.
    SanbootOnBios,
}

impl Ending {
    /// How a machine gets to its disk.
    pub(super) fn to_disk(machine: &Machine, hand_off: HandOff) -> Self {
        match (hand_off, machine.platform) {
            (HandOff::Exit, _) => Self::Exit,
            (HandOff::Sanboot, _) => Self::Sanboot,
            (HandOff::Silence, Some(Platform::Bios)) => Self::Sanboot,
            (HandOff::Silence, _) if exit_crashes(machine) => Self::Reboot,
            (HandOff::Silence, Some(Platform::Uefi)) => Self::Exit,
            (HandOff::Silence, None) => Self::SanbootOnBios,
        }
    }

    /// How a machine gets on to whatever comes next for it.
    pub(super) fn after_a_notice(machine: &Machine) -> Self {
        if exit_crashes(machine) { Self::Reboot } else { Self::Exit }
    }

    /// What a person at the console is told.
    pub(super) fn announced(self) -> &'static str {
        match self {
            Self::Exit => "this machine goes on to its next boot device",
            Self::Reboot => "this machine restarts, and then boots without the network",
            Self::Sanboot | Self::SanbootOnBios => "this machine boots its disk",
        }
    }

    /// The lines that do it.
    pub(super) fn commands(self) -> &'static str {
        match self {
            Self::Exit => "exit 1\n",
            Self::Reboot => "reboot\n",
            Self::Sanboot => {
                "sanboot --no-describe --drive 0x80 || echo bootbox: the disk does not boot\n\
                 sleep 10\n\
                 exit 1\n"
            }
            Self::SanbootOnBios => {
                "iseq ${platform} pcbios && sanboot --no-describe --drive 0x80 || exit 1\n"
            }
        }
    }
}

/// VMware's EFI crashes where iPXE ends (ipxe#213, ipxe#883). Who does not say that it is BIOS is
/// taken for EFI: a restart is safe with both.
fn exit_crashes(machine: &Machine) -> bool {
    let maker = machine.labels.as_ref().and_then(|labels| labels.get("manufacturer"));
    machine.platform != Some(Platform::Bios)
        && maker.is_some_and(|maker| maker.starts_with("VMware"))
}

/// The script that sends a machine to its own disk, and says why.
pub(super) fn disk_script(reason: &str, ending: Ending) -> String {
    let mut script = shown(reason);
    let _ = write!(script, "echo bootbox: {}\nsleep 3\n{}", ending.announced(), ending.commands());
    script
}

/// The script that shows a reason on the machine's console, and lets it go on after 10 s.
pub(super) fn notice_for(machine: &Machine, reason: &str) -> String {
    ended_notice(reason, Ending::after_a_notice(machine))
}

pub(super) fn ended_notice(reason: &str, ending: Ending) -> String {
    let mut script = shown(reason);
    let _ = write!(
        script,
        "echo bootbox: {} in 10 s\nsleep 10\n{}",
        ending.announced(),
        ending.commands()
    );
    script
}

/// The script that keeps a machine from its disk and asks again every 30 s, so that an operator's
/// word takes effect without a power cycle.
///
/// It waits for as long as nobody answers: going on would boot a disk that may be half written.
pub(super) fn hold_script(machine: &Machine, reason: &str) -> String {
    let mac = machine.mac;
    asking_again(
        machine,
        reason,
        &format!("this machine is held and waits for its operator (bootbox machine {mac})"),
    )
}

/// The script of a machine whose profile is not ready yet.
pub(super) fn wait_script(machine: &Machine, reason: &str) -> String {
    asking_again(machine, reason, "this machine waits")
}

fn asking_again(machine: &Machine, reason: &str, what: &str) -> String {
    let mut script = shown(reason);
    let _ = write!(
        script,
        "echo bootbox: {what}; it asks again every 30 s\n\
         :wait\n\
         sleep 30\n\
         chain --replace {} || goto wait\n",
        question(machine)
    );
    script
}

/// `/ipxe` with everything that the machine told the last time.
fn question(machine: &Machine) -> String {
    let mut question = format!("ipxe?mac={}", machine.mac.to_string().replace(':', "-"));
    let uuid = machine.uuid.as_ref().map(Uuid::to_string);
    let words = machine.labels.iter().flat_map(Labels::iter);
    for (name, value) in uuid.as_deref().map(|uuid| ("uuid", uuid)).into_iter().chain(words) {
        let escaped = |text| percent_encoding::utf8_percent_encode(text, IN_QUERY);
        let _ = write!(question, "&{}={}", escaped(name), escaped(value));
    }
    question
}

/// All but letters, digits and what no parser stumbles over.
const IN_QUERY: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The first line of a script, and a reason in words that cannot become commands.
fn shown(reason: &str) -> String {
    let mut script = String::from("#!ipxe\n");
    for line in reason.lines() {
        // iPXE would expand ${…} of a reason that quotes what a client sent.
        let line: String = line.chars().filter(|&c| !is_hidden(c) && c != '$').collect();
        // And it ends a command at such a word.
        let is_plain = |word: &&str| !matches!(*word, "&&" | "||" | ";") && !word.starts_with('#');
        let words: Vec<&str> = line.split_whitespace().filter(is_plain).collect();
        let _ = writeln!(script, "echo bootbox: {}", words.join(" "));
    }
    script
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn machine(labels: &[(&str, &str)]) -> Machine {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let uuid = "564da6d2-1706-6343-dc2d-0123456789ab".parse().ok();
        Machine::told("52:54:00:12:34:56".parse().unwrap(), uuid, labels)
    }

    #[test]
    fn each_firmware_gets_to_its_disk_by_what_works_there() {
        let vmware = ("manufacturer", "VMware, Inc.");
        for (labels, ending, after_a_notice) in [
            (&[("platform", "pcbios")][..], Ending::Sanboot, Ending::Exit),
            (&[("platform", "pcbios"), vmware], Ending::Sanboot, Ending::Exit),
            (&[("platform", "efi")], Ending::Exit, Ending::Exit),
            (&[("platform", "efi"), vmware], Ending::Reboot, Ending::Reboot),
            (&[vmware], Ending::Reboot, Ending::Reboot),
            (&[], Ending::SanbootOnBios, Ending::Exit),
        ] {
            let machine = machine(labels);
            assert_eq!(Ending::to_disk(&machine, HandOff::Silence), ending, "{labels:?}");
            assert_eq!(Ending::after_a_notice(&machine), after_a_notice, "{labels:?}");
            assert_eq!(Ending::to_disk(&machine, HandOff::Exit), Ending::Exit);
            assert_eq!(Ending::to_disk(&machine, HandOff::Sanboot), Ending::Sanboot);
        }
    }

    #[test]
    fn a_disk_script_boots_nothing_but_the_disk() {
        for ending in [Ending::Exit, Ending::Reboot, Ending::Sanboot, Ending::SanbootOnBios] {
            let script = disk_script("coreos is installed", ending);
            assert!(script.starts_with("#!ipxe\necho bootbox: coreos is installed\n"), "{script}");
            for word in ["kernel", "chain", "imgfetch", "\nboot"] {
                assert!(!script.contains(word), "{script}");
            }
        }
        assert!(!disk_script("x", Ending::Reboot).contains("exit"));
    }

    #[test]
    fn a_held_machine_waits_asks_again_and_never_gets_to_its_disk() {
        let machine = machine(&[("platform", "efi"), ("serial", "VMware-56 4d ${x}&"), ("é", "ü")]);
        let script =
            hold_script(&machine, "held after 3 attempts\nlast: ${evil} && chain #x || y ; z");
        assert!(script.contains("\necho bootbox: last: {evil} chain y z\n"), "{script}");
        assert!(
            script.ends_with(
                ":wait\nsleep 30\nchain --replace ipxe?mac=52-54-00-12-34-56\
                 &uuid=564da6d2-1706-6343-dc2d-0123456789ab&platform=efi\
                 &serial=VMware-56%204d%20%24%7Bx%7D%26&%C3%A9=%C3%BC || goto wait\n"
            ),
            "{script}"
        );
        for word in ["exit", "sanboot", "reboot", "\nboot"] {
            assert!(!script.contains(word), "{script}");
        }
    }
}
