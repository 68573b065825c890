//! `bootbox explain`: which group a machine is in and why, what the running server's ledger lets it
//! do, the script or GRUB config it would get, and its other configs.

use std::{fmt::Write as _, net::Ipv4Addr, path::PathBuf, process::ExitCode};

use clap::Args;

use super::{
    CONFIG, NOT_SO, USAGE, fail,
    machines::{next_boot, plain},
    print,
};
use crate::{
    catalog::{Catalog, Finding, Group, Outcome, Verdict},
    config::{Access, Config},
    control::{NextBoot, Refusal, Request, Sheet},
    http::request::Query,
    machine::{Machine, Subject, Uuid},
    render::Language,
    serve::{
        control::link::{AskError, ask},
        interface::Interface,
        site::{Site, is_meant_for},
    },
    template::{Words, base_url},
    token::Token,
};

/// Of a machine that is asked about by its UUID; locally administered, so no vendor's card has it.
const SOME_MAC: &str = "02:00:00:00:00:00";
/// Of a machine that has not booted yet (RFC 5737, documentation only).
const SOME_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The machine's hardware address or UUID.
    #[arg(value_name = "MAC|UUID")]
    machine: Subject,
    /// What the machine would tell besides, such as serial=…, product=… or platform=efi.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Print what GRUB would get instead of iPXE's script.
    #[arg(long)]
    grub: bool,
    /// Our address in the script [default: that of the first interface served on]
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Ipv4Addr>,
    /// The config [default: /etc/bootbox/bootbox.toml if it is there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

pub(super) fn run(options: &Options) -> ExitCode {
    let site = match Site::load(options.config.as_deref()) {
        Ok(site) => site,
        Err(error) => return fail(CONFIG, &error),
    };
    let machine = match options.machine() {
        Ok(machine) => machine,
        Err(error) => return fail(USAGE, &error),
    };
    let address = match options.address {
        Some(address) => address,
        None => match Interface::choose(&site.config.interfaces).as_deref() {
            Ok([first, ..]) => first.address,
            Ok([]) => Ipv4Addr::UNSPECIFIED,
            Err(error) => return fail(CONFIG, &format!("{error}\nor say --address")),
        },
    };
    let base_url = base_url(address, site.config.http_port);
    let token = match site.config.config_access {
        Access::Address => None,
        Access::Token => Some(Token::new([0; 16])),
    };
    let words = Words { base_url, ip: SOME_ADDRESS, machine, token };
    let socket = &site.config.control_socket;
    let asks = |machine| ask(socket, &Request::Machine { machine });
    let mut says = what_the_ledger_says(asks, options.machine, words.machine.uuid);
    says.extend(by_image(&site.config, &words.machine));
    says.extend(told_too_little(&site.config.catalog, &words.machine));
    says.extend(own_values(&site.config, &words.machine));
    let says = says.join("\n");
    let language = if options.grub { Language::Grub } else { Language::Ipxe };
    let (found, mut text) = report(&site.config.catalog, &words, language, &says);
    text.push_str(&configs(&site, &words));
    let printed = print(text.as_bytes());
    match found {
        true => printed,
        false => NOT_SO.into(),
    }
}

impl Options {
    /// The machine as `/ipxe` would be told of it; what is given first counts.
    fn machine(&self) -> Result<Machine, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        match self.machine {
            Subject::Mac(mac) => query.append_pair("mac", &mac.to_string()),
            Subject::Uuid(uuid) => query.append_pair("uuid", &uuid.to_string()),
        };
        query.extend_pairs(&self.labels).append_pair("mac", SOME_MAC);
        Query::parse(&query.finish()).map(Query::machine).map_err(|error| error.to_string())
    }
}

/// What the running server makes of the machine's next network boot, by what it has done, line by
/// line.
fn what_the_ledger_says(
    asks: impl Fn(Subject) -> Result<Vec<Sheet>, AskError>,
    machine: Subject,
    uuid: Option<Uuid>,
) -> Vec<String> {
    let (said, hint) = match (asks(machine), machine, uuid) {
        (Ok(sheets), ..) => (sheets.first().map(by_the_ledger), None),
        (Err(AskError::Refused(Refusal::Unknown(_))), Subject::Mac(_), Some(uuid)) => {
            (Some(by_its_uuid(asks(Subject::Uuid(uuid)))), None)
        }
        (Err(AskError::Refused(Refusal::Unknown(_))), Subject::Mac(_), None) => {
            (Some(NEW.to_owned()), Some(NO_UUID.to_owned()))
        }
        (Err(AskError::Refused(Refusal::Unknown(_))), Subject::Uuid(_), _) => {
            (Some(NEW.to_owned()), None)
        }
        (Err(error), ..) => {
            (Some(format!("what the ledger says of it is not known: {error}")), None)
        }
    };
    let said = said.unwrap_or_else(|| "the running server says nothing of it".to_owned());
    [plain(&said)].into_iter().chain(hint).collect()
}

const NEW: &str = "the running server has not seen it yet: by its ledger it is new";
const NO_UUID: &str =
    "  unless its UUID is a known machine's: --label uuid=… asks the server for that, too";

/// Of a hardware address that the server has not seen, by what it says of the UUID.
fn by_its_uuid(said: Result<Vec<Sheet>, AskError>) -> String {
    let unseen = "the running server has not seen its hardware address";
    match said {
        Err(AskError::Refused(Refusal::Unknown(_))) => NEW.to_owned(),
        Err(error) => format!("{unseen}, and says of its UUID: {error}"),
        Ok(sheets) => match sheets.first() {
            Some(sheet) => format!(
                "{unseen}, but its UUID: it is that of {}, whose next network boot {}. Once anything \
                 was done to that one, this one counts as its other card and is not installed",
                sheet.mac,
                next_boot(sheet)
            ),
            None => NEW.to_owned(),
        },
    }
}

/// What firmware gets that is given no program, but an image.
fn by_image(config: &Config, machine: &Machine) -> Option<String> {
    let own = config.catalog.select(machine)?.boot.program.as_ref();
    let usual = config.named_programs.values().filter(|_| own.is_none());
    let stub = own.into_iter().chain(usual).find(|program| program.stub().is_some())?;
    Some(format!(
        "firmware that is given {stub} runs no script: it gets one image of the same kernel and \
         initrds, with the kernel's arguments below, without initrd=, as its command line"
    ))
}

/// Where the values stand that are the machine's own.
fn own_values(config: &Config, machine: &Machine) -> Option<String> {
    let number = config.catalog.values().find(machine).ok()??;
    let group = config.catalog.select(machine)?;
    let place = config.machines.get(number)?;
    Some(format!(
        "its own values, of the [[machine]] at {place}, stand over those of group {}",
        group.name
    ))
}

/// Of what is said without labels: the server does not decide by that alone where it could be wrong.
fn told_too_little(catalog: &Catalog, machine: &Machine) -> Option<String> {
    let tells = machine.labels.as_ref().is_some_and(|labels| !labels.is_empty());
    let heard = Machine::heard(machine.mac, machine.uuid, None);
    match tells || catalog.settle(&heard).is_ok() {
        true => None,
        false => Some(
            "this is what it gets if that is all it tells by iPXE; a narrower group may have it: say \
             with --label what it tells (manufacturer=…, product=…, serial=…)"
                .to_owned(),
        ),
    }
}

fn by_the_ledger(sheet: &Sheet) -> String {
    let instead = match sheet.next_boot {
        NextBoot::Boot | NextBoot::Install | NextBoot::Undecided => "",
        NextBoot::Disk(_) | NextBoot::Hold(_) | NextBoot::Nothing | NextBoot::Refused(_) => {
            "; the script below is not what it gets then"
        }
    };
    let next = next_boot(sheet);
    format!("by the running server's ledger, its next network boot {next}{instead}")
}

/// Whether a group matches, and all there is to say.
fn report(catalog: &Catalog, words: &Words, language: Language, ledger: &str) -> (bool, String) {
    let machine = &words.machine;
    let mut report = format!("machine {}", machine.mac);
    if let Some(uuid) = machine.uuid {
        let _ = write!(report, ", UUID {uuid}");
    }
    report.push('\n');
    if machine.mac.to_string() == SOME_MAC {
        report.push_str("  its hardware address is made up: --label mac=… gives it\n");
    }
    let chosen = catalog.select(machine);
    if chosen.is_none() {
        report.push_str("no group matches\n");
    }
    for group in catalog.groups() {
        explain(&mut report, group, chosen, machine);
    }
    let _ = writeln!(report, "{ledger}");
    let script = chosen
        .ok_or_else(|| format!("no group matches {}", machine.mac))
        .and_then(|group| language.boot(group, words))
        .unwrap_or_else(|reason| language.notice(&reason, None));
    if script.contains(&SOME_ADDRESS.to_string()) {
        let _ = writeln!(report, "in the script, {SOME_ADDRESS} stands for its address");
    }
    if let Some(token) = words.token {
        let _ = writeln!(report, "below, {token} stands for the token of one boot");
    }
    let _ = write!(report, "\n{script}");
    (chosen.is_some(), report)
}

/// Each config that is meant for the machine, or why it would not get it.
fn configs(site: &Site, words: &Words) -> String {
    let mut report = String::new();
    let Some(group) = site.config.catalog.select(&words.machine) else { return report };
    for (path, text) in site.configs.iter() {
        if !is_meant_for(&site.config, path, &group.name) {
            continue;
        }
        let said = match text.render(words, group) {
            Ok(text) => match std::str::from_utf8(&text) {
                Ok(text) => text.to_owned(),
                Err(_) => format!("{} bytes, which are sent as they are\n", text.len()),
            },
            Err(error) => format!("503: {} {error}\n", text.name),
        };
        let end = if said.ends_with('\n') || said.is_empty() { "" } else { "\n" };
        let _ = write!(report, "\n== {path}\n{said}{end}");
    }
    report
}

fn explain(report: &mut String, group: &Group, chosen: Option<&Group>, machine: &Machine) {
    let name = &group.name;
    let matches = group.selector.matches(machine) == Verdict::Match;
    let _ = match chosen {
        Some(chosen) if chosen.name == *name => {
            writeln!(report, "group {name} matches: profile {}", group.profile.name)
        }
        Some(chosen) if matches => {
            writeln!(report, "group {name} matches, and is less specific than {}", chosen.name)
        }
        _ => writeln!(report, "group {name} does not match"),
    };
    if group.selector.is_empty() {
        report.push_str("  it has no selector: every machine\n");
    }
    for finding in group.selector.findings(machine) {
        let _ = writeln!(report, "  {}", Reason(&finding));
    }
}

/// One field of a selector, and what it met.
struct Reason<'a>(&'a Finding<'a>);

impl std::fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let field = self.0.field;
        match &self.0.outcome {
            Outcome::Excluded(pattern) => write!(f, "no: not.{field} = {pattern}"),
            Outcome::Hit(pattern) => write!(f, "yes: {field} = {pattern}"),
            Outcome::Miss(value) => write!(f, "no: {}, and it has {value}", self.0),
            Outcome::Nothing | Outcome::NotYet => write!(f, "no: {}, and it tells none", self.0),
            Outcome::Spared(value) => write!(f, "yes: {}, and it has {value}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        control::Choice,
        ledger::{Decision, Moment, Record},
    };

    const CONFIG: &str = "
[[profile]]
name = \"p\"
kernel = \"/k\"
args = [\"role={{ metadata.role }}\", \"from={{ base_url }}\", \"ip={{ ip }}\"]
metadata.role = \"none\"
[[group]]
name = \"all-vmware\"
profile = \"p\"
selector.manufacturer = \"VMware*\"
[[group]]
name = \"db\"
profile = \"p\"
metadata.role = \"db\"
selector.uuid = \"564da6d2-1706-6343-dc2d-0123456789ab\"
[[group]]
name = \"rack\"
profile = \"p\"
selector.label.rack = [\"1\", \"2\"]
selector.firmware = \"uefi\"
";

    fn explained(machine: &str, labels: &[&str]) -> (bool, String) {
        let options = Options {
            grub: false,
            machine: machine.parse().unwrap(),
            labels: labels.iter().map(|text| label(text).unwrap()).collect(),
            address: None,
            config: None,
        };
        let config = Config::parse(CONFIG, "b.toml").unwrap();
        let base_url = "http://10.0.0.1".to_owned();
        let machine = options.machine().unwrap();
        let words = Words { base_url, ip: SOME_ADDRESS, machine, token: None };
        report(&config.catalog, &words, Language::Ipxe, "by the ledger, it is new")
    }

    #[test]
    fn it_says_who_matched_and_why_the_others_did_not() {
        let (found, text) = explained(
            "52:54:00:12:34:56",
            &[
                "serial=VMware-56 4d a6 d2 17 06 63 43-dc 2d 01 23 45 67 89 ab",
                "manufacturer=VMware, Inc.",
                "platform=pcbios",
            ],
        );
        assert!(found);
        let (why, script) = text.split_once("\n\n").unwrap();
        assert_eq!(
            why,
            "machine 52:54:00:12:34:56, UUID 564da6d2-1706-6343-dc2d-0123456789ab\n\
             group db matches: profile p\n\
             \x20 yes: uuid = \"564da6d2-1706-6343-dc2d-0123456789ab\"\n\
             group rack does not match\n\
             \x20 no: firmware = \"uefi\", and it has \"bios\"\n\
             \x20 no: label.rack = [\"1\", \"2\"], and it tells none\n\
             group all-vmware matches, and is less specific than db\n\
             \x20 yes: manufacturer = \"VMware*\"\n\
             by the ledger, it is new\n\
             in the script, 192.0.2.2 stands for its address"
        );
        assert!(script.starts_with("#!ipxe\n"));
        let kernel = "\nkernel http://10.0.0.1/k role=db from=http://10.0.0.1 ip=192.0.2.2 || goto";
        assert!(script.contains(kernel), "{script}");
    }

    #[test]
    fn a_machine_is_found_by_its_uuid_in_either_order() {
        let (found, text) = explained("D2A64D56-0617-4363-DC2D-0123456789AB", &[]);
        assert!(found && text.contains("is made up: --label mac="), "{text}");
        let (found, text) =
            explained("d2a64d56-0617-4363-dc2d-0123456789ab", &["mac=52-54-00-12-34-56"]);
        assert!(found && text.starts_with("machine 52:54:00:12:34:56, UUID d2a6"), "{text}");
    }

    #[test]
    fn what_the_ledger_lets_it_do_is_told_before_the_script() {
        let machine = Machine::heard("52:54:00:12:34:56".parse().unwrap(), None, None);
        let record = Record::new(machine, Moment(0));
        for (decision, words) in [
            (Decision::Install, "boot is installed with profile p, which wipes its disk"),
            (
                Decision::Disk("it is done".to_owned()),
                "boot boots its own disk: it is done; the script below is not what it gets then",
            ),
            (
                Decision::Hold("fan".to_owned()),
                "boot waits and installs nothing: fan; the script below is not what it gets then",
            ),
        ] {
            let choice = Choice::Group("g".to_owned(), "p".to_owned(), decision);
            let said = by_the_ledger(&Sheet::of(&record, choice, 3));
            assert_eq!(said, format!("by the running server's ledger, its next network {words}"));
        }
    }

    #[test]
    fn a_card_that_is_not_known_is_asked_for_by_its_uuid_too() {
        let known: Uuid = "564da6d2-1706-6343-dc2d-0123456789ab".parse().unwrap();
        let machine = Machine::heard("52:54:00:12:34:56".parse().unwrap(), Some(known), None);
        let decision = Decision::Disk("p is installed".to_owned());
        let choice = Choice::Group("g".to_owned(), "p".to_owned(), decision);
        let sheet = Sheet::of(&Record::new(machine, Moment(0)), choice, 3);
        let asks = |machine: Subject| match machine {
            Subject::Uuid(uuid) if uuid == known => Ok(vec![sheet.clone()]),
            Subject::Mac(_) | Subject::Uuid(_) => Err(AskError::Refused(Refusal::Unknown(machine))),
        };
        let other: Subject = "52:54:00:12:34:57".parse().unwrap();
        let says = |uuid| what_the_ledger_says(asks, other, uuid);
        let said = says(Some(known)).concat();
        assert!(said.contains("its UUID: it is that of 52:54:00:12:34:56, whose next"), "{said}");
        assert!(said.contains("p is installed") && !said.contains("new"), "{said}");
        let elsewhere = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        assert_eq!(says(Some(elsewhere)), [NEW]);
        assert_eq!(says(None), [NEW, NO_UUID]);
    }

    #[test]
    fn a_machine_that_boots_by_an_image_gets_no_script() {
        let stub = CONFIG.replacen(
            "profile = \"p\"\nselector.m",
            "profile = \"p\"\nboot-program = \"linuxx64.efi.stub\"\nselector.m",
            1,
        );
        let labels = [("manufacturer".to_owned(), "VMware, Inc.".to_owned())].into();
        let machine = Machine::told("52:54:00:12:34:56".parse().unwrap(), None, labels);
        let said = |config: &str| by_image(&Config::parse(config, "b.toml").unwrap(), &machine);
        assert!(said(&stub).unwrap().contains("given linuxx64.efi.stub runs no script"));
        assert_eq!(said(CONFIG), None);
        let usual = format!("{CONFIG}[boot.programs]\nuefi-x64 = \"a/linuxx64.efi.stub\"\n");
        assert!(said(&usual).unwrap().contains("a/linuxx64.efi.stub"));
    }

    #[test]
    fn who_says_nothing_of_a_machine_is_told_that_its_group_is_not_sure() {
        let catalog = Config::parse(CONFIG, "b.toml").unwrap().catalog;
        let mac = "52:54:00:12:34:56".parse().unwrap();
        let said = |uuid: Option<&str>, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            let uuid = uuid.map(|uuid| uuid.parse().unwrap());
            told_too_little(&catalog, &Machine::told(mac, uuid, labels.collect())).is_some()
        };
        assert!(said(None, &[]));
        assert!(!said(None, &[("manufacturer", "QEMU")]));
        assert!(!said(Some("564da6d2-1706-6343-dc2d-0123456789ab"), &[]), "its group asks no more");
    }

    #[test]
    fn a_machine_in_no_group_gets_the_notice() {
        let (found, text) = explained("52:54:00:12:34:56", &[]);
        assert!(!found && text.contains("\nno group matches\ngroup db does not match\n"), "{text}");
        assert!(text.contains("\n\n#!ipxe\necho bootbox: no group matches 52:54:00:12:34:56\n"));
    }
}
