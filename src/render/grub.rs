//! GRUB configs: the one that every machine reads first, the one that boots it, and those that send
//! it to its disk, keep it waiting, or tell a person at its console why nothing boots.
//!
//! Written for the GRUB that Debian signs (2.06): what Secure Boot lets it run is what is built into
//! it, and `source` of a file that is not there is no error to it.

use std::fmt::{self, Write as _};

use super::line::{self, TooLong};
use crate::{
    catalog::{Group, HandOff, Source},
    firmware::to_grub,
    machine::{Mac, Machine},
    path::LONGEST_BY_TFTP,
    printable::is_hidden,
    template::{TemplateError, Words},
};

/// What the name of a machine's own config begins with; what it tells of itself follows.
pub(super) const QUESTION: &str = "grub.cfg;";
/// How often a machine tries before it gives up.
const TRIES: &str = "1 2 3 4 5 6 7 8 9 10";
/// GRUB_ERR_BAD_SIGNATURE of 2.06: a kernel that Secure Boot refuses is refused again.
const BAD_SIGNATURE: u8 = 45;
/// Where installed systems keep their first loader, as `X64` has it. The fallback comes last: a
/// distribution's shim there puts itself first in the boot order.
const LOADERS: [&str; 8] = [
    "/EFI/debian/shimx64.efi",
    "/EFI/ubuntu/shimx64.efi",
    "/EFI/fedora/shimx64.efi",
    "/EFI/redhat/shimx64.efi",
    "/EFI/centos/shimx64.efi",
    "/EFI/opensuse/shim.efi",
    "/EFI/Microsoft/Boot/bootmgfw.efi",
    "/EFI/BOOT/BOOTX64.EFI",
];

/// The first config, the same for every machine: GRUB tells what it knows of its machine in the name
/// of the next one, what shows that the name is whole last. `mac` is the card's where the name of this
/// one has it already.
///
/// Who waits never comes to the disk here, whatever ended its waiting.
pub fn first_config(mac: Option<Mac>) -> String {
    let mac = mac.map_or_else(|| "$net_default_mac".to_owned(), |mac| mac.to_string());
    let mut config = format!("set bootbox=\nset bootbox_mac={mac}\n");
    for (name, field) in [
        ("uuid", "--get-uuid 8"),
        ("manufacturer", "--get-string 4"),
        ("product", "--get-string 5"),
        ("serial", "--get-string 7"),
    ] {
        // Where there is no such command, it stays empty.
        let _ =
            writeln!(config, "set bootbox_{name}=\nsmbios --type 1 {field} --set bootbox_{name}");
    }
    let _ = write!(
        config,
        "for bootbox_try in {TRIES}; do\n\
         source \"/{QUESTION}mac=$bootbox_mac;uuid=$bootbox_uuid;arch=$grub_cpu;\
         manufacturer=$bootbox_manufacturer;product=$bootbox_product;serial=$bootbox_serial;\
         platform=$grub_platform\"\n\
         if [ \"$bootbox\" != 1 ]; then source \"/{QUESTION}mac=$bootbox_mac;uuid=$bootbox_uuid\"; fi\n\
         if [ \"$bootbox\" != 1 ]; then\n\
         echo \"bootbox: no answer to this machine's question, try $bootbox_try of 10, again in 3 s\"\n\
         sleep 3\n\
         fi\n\
         done\n\
         if [ \"$bootbox_waits\" != 1 ]; then\n\
         echo 'bootbox: giving up; this machine boots its disk'\n\
         {}\
         fi\n",
        to_disk(HandOff::Silence)
    );
    config
}

/// The config that boots a machine of this group.
pub(super) fn machine_config(group: &Group, words: &Words) -> Result<String, Unbootable> {
    let profile = &group.profile;
    if profile.chains {
        return Err(Unbootable::Chain);
    }
    if let Some(initrd) = profile.initrd.iter().find(|initrd| !initrd.args.is_empty()) {
        return Err(Unbootable::InitrdArgs(place(&initrd.source)?));
    }
    let place_of_kernel = place(&profile.kernel)?;
    let mut linux = format!("linux {}", quoted(&place_of_kernel));
    // GRUB begins the line with this word.
    let mut line = format!("BOOT_IMAGE={place_of_kernel}");
    for arg in &profile.args {
        let Some(text) = arg.render_arg(words, &group.metadata)? else { continue };
        for word in kernel_words(&text)? {
            let _ = write!(linux, " {}", quoted(&word));
            // A word with spaces gets quotes.
            let _ = write!(line, " {word}{}", if word.contains(' ') { "\"\"" } else { "" });
        }
    }
    line::fits(&line, &words.machine)?;
    let mut initrd = String::new();
    if !profile.initrd.is_empty() {
        initrd.push_str("initrd");
        for file in &profile.initrd {
            let _ = write!(initrd, " {}", quoted(&place(&file.source)?));
        }
        initrd.push('\n');
    }
    let announced = quoted(&format!(
        "bootbox: {} boots profile {} (group {}), try",
        words.machine.mac, profile.name, group.name
    ));
    let refused = quoted(&format!(
        "bootbox: Secure Boot refuses the kernel of profile {}: neither shim nor the firmware knows \
         who signed it",
        profile.name
    ));
    Ok(format!(
        "set bootbox=1\n\
         for bootbox_try in {TRIES}; do\n\
         echo {announced} \"$bootbox_try of 10\"\n\
         {linux}\n\
         set bootbox_error=$?\n\
         if [ \"$bootbox_error\" = 0 ]; then\n\
         {initrd}\
         if [ $? = 0 ]; then boot; fi\n\
         fi\n\
         if [ \"$bootbox_error\" = {BAD_SIGNATURE} ]; then\n\
         echo {refused}\n\
         break\n\
         fi\n\
         echo \"bootbox: try $bootbox_try of 10 failed, again in 3 s\"\n\
         sleep 3\n\
         done\n\
         echo 'bootbox: giving up; this machine boots its disk in 10 s'\n\
         sleep 10\n\
         {}",
        to_disk(HandOff::Silence)
    ))
}

/// The config that sends a machine to its own disk, and says why.
pub(super) fn disk_config(reason: &str, hand_off: HandOff) -> String {
    let mut config = shown(reason);
    let _ = write!(
        config,
        "echo 'bootbox: this machine boots its disk'\nsleep 3\n{}",
        to_disk(hand_off)
    );
    config
}

/// The config that shows a reason on the machine's console, and lets it go on to its disk.
pub(super) fn notice_config(reason: &str) -> String {
    let mut config = shown(reason);
    let _ = write!(
        config,
        "echo 'bootbox: this machine boots its disk in 10 s'\nsleep 10\n{}",
        to_disk(HandOff::Silence)
    );
    config
}

/// The config that keeps a machine from its disk and asks again every 30 s, for as long as nobody
/// answers.
pub(super) fn hold_config(machine: &Machine, reason: &str) -> String {
    let mac = machine.mac;
    let what = format!("is held and waits for its operator (bootbox machine {mac})");
    asking_again(machine, reason, &what)
}

/// The config of a machine whose profile is not ready yet.
pub(super) fn wait_config(machine: &Machine, reason: &str) -> String {
    asking_again(machine, reason, "waits")
}

/// Asked again, the same answer ends at once: GRUB's stack would not hold an answer within an answer
/// for a whole night.
fn asking_again(machine: &Machine, reason: &str, what: &str) -> String {
    let mut config = shown(reason);
    let _ = write!(
        config,
        "if [ \"$bootbox_waits\" != 1 ]; then\n\
         set bootbox_waits=1\n\
         echo 'bootbox: this machine {what}; it asks again every 30 s'\n\
         while [ 1 = 1 ]; do\n\
         sleep 30\n\
         source {}\n\
         done\n\
         fi\n",
        quoted(&question(machine))
    );
    config
}

/// The name of a machine's config, with everything that GRUB told the last time where there is room.
fn question(machine: &Machine) -> String {
    let mut short = format!("/{QUESTION}mac={}", machine.mac);
    if let Some(uuid) = &machine.uuid {
        let _ = write!(short, ";uuid={uuid}");
    }
    let Some(labels) = &machine.labels else { return short };
    let mut long = short.clone();
    for name in ["arch", "manufacturer", "product", "serial", "platform"] {
        if let Some(value) = labels.get(name) {
            let _ = write!(long, ";{name}={}", to_grub(name, value));
        }
    }
    if long.len() <= LONGEST_BY_TFTP { long } else { short }
}

/// GRUB's `exit` tells EDK2 of success, which then opens its menu; so the disk's own loader is
/// started first. Fedora's GRUB passes the number on, and EDK2 goes on to its next boot device.
///
/// What is started learns from `root` which disk it comes from.
fn to_disk(hand_off: HandOff) -> String {
    match hand_off {
        HandOff::Exit => "exit 1\n".to_owned(),
        HandOff::Sanboot | HandOff::Silence => {
            let on_arm = LOADERS.map(|path| path.replace("x64", "aa64").replace("X64", "AA64"));
            let (on_x64, on_arm) = (LOADERS.join(" "), on_arm.join(" "));
            format!(
                "set bootbox_loaders=\"{on_x64}\"\n\
                 if [ \"$grub_cpu\" = arm64 ]; then set bootbox_loaders=\"{on_arm}\"; fi\n\
                 for bootbox_file in $bootbox_loaders; do\n\
                 if search --no-floppy --file --set=bootbox_disk $bootbox_file; then\n\
                 echo \"bootbox: starts $bootbox_file on ($bootbox_disk)\"\n\
                 set root=$bootbox_disk\n\
                 if chainloader $bootbox_file; then boot; fi\n\
                 fi\n\
                 done\n\
                 exit 1\n"
            )
        }
    }
}

/// A reason in words that cannot become commands, after what tells the first config that it was
/// answered.
fn shown(reason: &str) -> String {
    let mut config = String::from("set bootbox=1\n");
    for line in reason.lines() {
        let _ = writeln!(config, "echo {}", quoted(&format!("bootbox: {line}")));
    }
    config
}

/// One word of GRUB's shell, whatever is in it.
fn quoted(text: &str) -> String {
    let plain: String = text.chars().filter(|&c| !is_hidden(c)).collect();
    format!("'{}'", plain.replace('\'', "'\\''"))
}

/// Where GRUB finds a file: on the server that it was loaded from, or on another by HTTP.
fn place(source: &Source) -> Result<String, Unbootable> {
    match source {
        Source::Repository(path) => Ok(path.to_string()),
        Source::Url(url) => {
            let rest = url.strip_prefix("http://").ok_or_else(|| Unbootable::Url(url.clone()))?;
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            Ok(format!("(http,{host})/{path}"))
        }
    }
}

/// The words of an argument, without the quotes that GRUB puts around one with spaces itself.
///
/// GRUB writes a backslash before each quote and backslash that is left, and the kernel takes that
/// for a part of the word (seen with Debian's 2.06).
fn kernel_words(text: &str) -> Result<Vec<String>, Unbootable> {
    let refuse = |what| Unbootable::Argument { text: text.to_owned(), what };
    for (part, what) in [("'", "'"), ("\\", "\\"), ("${", "${…}, which only iPXE fills in")] {
        if text.contains(part) {
            return Err(refuse(what));
        }
    }
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut is_in_quotes) = (String::new(), false);
    for c in text.chars().chain([' ']) {
        is_in_quotes ^= c == '"';
        if c != ' ' || is_in_quotes {
            word.push(c);
        } else if !word.is_empty() {
            let whole = unquoted(&word).ok_or_else(|| refuse("\" in the middle of a word"))?;
            words.push(whole);
            word.clear();
        }
    }
    if is_in_quotes { Err(refuse("\" without its other half")) } else { Ok(words) }
}

/// `"name=value"` and `name="value"` as the kernel reads both.
fn unquoted(word: &str) -> Option<String> {
    let bare = |text: &str| text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    let plain = match (bare(word), word.split_once('=')) {
        (Some(plain), _) => plain,
        (None, Some((name, value))) => match bare(value) {
            Some(value) => format!("{name}={value}"),
            None => word.to_owned(),
        },
        (None, None) => word.to_owned(),
    };
    (!plain.contains('"')).then_some(plain)
}

/// Why GRUB cannot boot a profile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Unbootable {
    /// It would change this argument.
    Argument {
        /// The argument.
        text: String,
        /// What is in it.
        what: &'static str,
    },
    /// It is a script of iPXE.
    Chain,
    /// An initrd has arguments.
    InitrdArgs(String),
    /// The argument cannot be filled in.
    Template(TemplateError),
    /// The kernel would cut the line.
    TooLong(TooLong),
    /// It speaks no such protocol.
    Url(String),
}

impl From<TemplateError> for Unbootable {
    fn from(error: TemplateError) -> Self {
        Self::Template(error)
    }
}

impl From<TooLong> for Unbootable {
    fn from(error: TooLong) -> Self {
        Self::TooLong(error)
    }
}

impl fmt::Display for Unbootable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { text, what } => {
                write!(f, "an argument has {what}, and GRUB does not pass it on as it is: {text}")
            }
            Self::Chain => f.write_str("it chains to a script of iPXE, which GRUB does not read"),
            Self::InitrdArgs(file) => {
                write!(f, "the initrd {file} has args, which GRUB cannot pass on")
            }
            Self::Template(error) => write!(f, "an argument {error}"),
            Self::TooLong(error) => error.fmt(f),
            Self::Url(url) => write!(f, "GRUB cannot fetch {url}: put it into the repository"),
        }
    }
}

impl std::error::Error for Unbootable {}

#[cfg(test)]
mod tests;
