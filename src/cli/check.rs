//! `bootbox check`: loads what `serve` would load, and says what it found.

use std::{
    fmt::Write as _,
    io,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{CONFIG, SYSTEM, fail, lan, print};
use crate::{
    catalog::{Install, Profile},
    config::{Config, ConfigError, Mode, Place, Problem},
    control::{Refusal, Request, SameUuid, Sheet},
    firmware::Firmware,
    lan::Silence,
    ledger::{State, Weight, sample},
    machine::{Mac, Machine},
    serve::{
        MOST_TRIED,
        access::lacks,
        control::link::{AskError, ask},
        interface::Interface,
        ipv6,
        ledger::{Ledger, LedgerError},
        ports::Ports,
        releases::{Preflight, Verifier},
        service::Service,
        site::{Site, TurnedAway},
    },
};

/// UUIDs that are told of.
const MOST_TOLD: usize = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The config [default: /etc/bootbox/bootbox.toml if it is there, else built-in defaults]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask on the LAN, too, who answers a machine that boots: DHCP servers, other proxies, bootbox.
    ///
    /// Sends discovers of two made-up machines, takes no address, and listens for 4 s, or 6 s where no
    /// DHCP server answers at first; 1 if no machine can boot there by a proxy. Needs CAP_NET_RAW
    /// (root has it).
    #[arg(long)]
    lan: bool,
    /// Ask on this interface alone, and look at no config.
    #[arg(long, value_name = "NAME", requires = "lan", conflicts_with = "config")]
    interface: Option<String>,
    /// Say, too, what the service of bootbox.service could not read or write, whether or not it is
    /// installed here and reads this config.
    #[arg(long, conflicts_with = "interface")]
    as_service: bool,
    /// Say only whether the running server would take this config: errors alone, no ports, no
    /// interfaces. The service's reload runs it first.
    #[arg(long, conflicts_with_all = ["as_service", "lan"])]
    reload: bool,
}

pub(super) fn run(options: &Options) -> ExitCode {
    if let Some(name) = &options.interface {
        return lan::look_at(name);
    }
    let (mut site, mut problems) = match Site::look(options.config.as_deref()) {
        Ok(looked) => looked,
        Err(error) => return fail(CONFIG, &error),
    };
    let known = known(&site);
    if options.reload {
        let has_ledger = !matches!(known, Err(AskError::Refused(Refusal::NoLedger)));
        return reload(&site, problems, has_ledger);
    }
    let server = match &known {
        Ok(_) => Some(true),
        Err(AskError::Nobody { .. }) => Some(false),
        Err(_) => None,
    };
    let known = known.unwrap_or_default();
    site.warnings.extend(shared_uuids(&site, &known));
    let known = sampled(known);
    site.try_with(&known);
    let preflight = Preflight::of(&site);
    // Without the folder all of its releases are missing, and that is said already.
    if site.store.has_repository() {
        problems.extend(preflight.problems);
    }
    problems.extend(lost_ledger(&site));
    // These keep no server from starting, so the rest is told as well.
    let unsaid = site.config.reaches.unsaid.clone();
    let keeps_from_starting = !problems.is_empty();
    problems.extend(unsaid.iter().cloned());
    if let Some(error) = ConfigError::of(problems) {
        let code = fail(CONFIG, &error);
        if keeps_from_starting {
            // Told in the same round.
            return match Interface::choose(&site.config.interfaces) {
                Ok(_) => code,
                Err(error) => fail(CONFIG, &error),
            };
        }
    }
    site.warnings.retain(|warning| unsaid.iter().all(|it| it.to_string() != *warning));
    let service = service(options, &site.config);
    if let Some(service) = &service
        && let lacks = lacks(&site.config, service)
        && !lacks.is_empty()
    {
        return fail(CONFIG, &format_args!("as {}: {}", service.name, lacks.join("\n")));
    }
    site.warnings.extend(preflight.warnings);
    let interfaces = match Interface::choose(&site.config.interfaces) {
        Ok(interfaces) => interfaces,
        Err(error) => {
            warn(&site.warnings);
            return fail(CONFIG, &error);
        }
    };
    let mut ports = Ports::of(&site.config, &interfaces);
    site.warnings.append(&mut ports.warnings);
    site.warnings.extend(interfaces.iter().filter_map(|it| ipv6::warning(&site.config, it)));
    warn(&site.warnings);
    if !ports.problems.is_empty() {
        return fail(SYSTEM, &ports.problems.join("\n"));
    }
    let mut report = report(&site, &interfaces, known.len());
    report.push_str(&of_this_machine(&site.config, &ports, service.as_ref()));
    let told = print(report.as_bytes());
    match unsaid.is_empty() {
        true if options.lan => lan::look(&interfaces, |mac| silence(&site, server, mac)),
        true => told,
        false => CONFIG.into(),
    }
}

/// Whether the running server would take this: what it only warns of is no reason to refuse.
fn reload(site: &Site, mut problems: Vec<Problem>, has_ledger: bool) -> ExitCode {
    if let Some(keyring) = &site.config.keyring
        && let Err(error) = Verifier::new(&keyring.path, None)
    {
        problems.push(Problem { place: keyring.place.clone(), text: error.to_string() });
    }
    problems.extend(keeps_the_old_one(&site.config, has_ledger));
    match ConfigError::of(problems) {
        Some(error) => fail(CONFIG, &error),
        None => ExitCode::SUCCESS,
    }
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        // Where standard error is closed, the exit code still tells.
        let _ = writeln!(io::stderr(), "bootbox: warning: {warning}");
    }
}

/// The service that will read this config.
fn service(options: &Options, config: &Config) -> Option<Service> {
    let installed = Service::installed();
    match options.as_service {
        true => Some(installed.unwrap_or_else(Service::shipped)),
        false => installed.filter(|service| service.reads(Path::new(&config.name))),
    }
}

/// A reason why the running server keeps its config, though nothing is wrong with this one.
fn keeps_the_old_one(config: &Config, has_ledger: bool) -> Option<Problem> {
    let text = match (config.is_blank, config.installs() && !has_ledger) {
        (true, _) => {
            "nothing stands in it: an editor may have emptied it, or it is gone; write it again, \
             or restart bootbox if that is meant"
        }
        (false, true) => {
            "it installs machines, and the running server has no ledger: restart bootbox"
        }
        (false, false) => return None,
    };
    Some(Problem { place: Place::of_file(&config.name, None), text: text.to_owned() })
}

/// Machines of the ledger, which the running server has open.
fn known(site: &Site) -> Result<Vec<Sheet>, AskError> {
    ask(&site.config.control_socket, &Request::Machines)
}

/// UUIDs that machines of the ledger tell which cannot be one machine.
fn shared_uuids(site: &Site, known: &[Sheet]) -> Vec<String> {
    let machines: Vec<Machine> =
        known.iter().filter(|it| it.uuid.is_some()).cloned().map(Sheet::into_machine).collect();
    let apart = SameUuid::all_apart(&machines, site.config.catalog.shared_uuids());
    // Anybody can make them up.
    let said = apart.iter().take(MOST_TOLD).map(|(uuid, same)| format!("UUID {uuid}: {same}"));
    said.collect()
}

/// Those that texts are tried with.
fn sampled(sheets: Vec<Sheet>) -> Vec<Machine> {
    let weigh = |sheet: Sheet| {
        let (has_a_story, last_seen) = (sheet.state != State::New, sheet.last_seen);
        (Weight { has_a_story, last_seen }, sheet.into_machine())
    };
    let machines: Vec<(Weight, Machine)> = sheets.into_iter().map(weigh).collect();
    sample(machines.iter().map(|(weight, machine)| (*weight, machine)), MOST_TRIED)
}

/// Lists the checks of this machine that were made, and those that were not.
fn of_this_machine(config: &Config, ports: &Ports, service: Option<&Service>) -> String {
    let mut told = String::new();
    match ports.ours.first() {
        Some(holder) => {
            let _ = writeln!(told, "  ports are held by {holder}, as they should be where it runs");
        }
        None if ports.untried.is_none() => {
            let http = config.http_port;
            let _ = writeln!(told, "  ports are free: UDP 67, 69 and 4011, TCP {http}");
        }
        None => {}
    }
    if let Some(service) = service {
        let _ = writeln!(told, "  {} could read all that is named, by its modes", service.name);
    }
    if let Some(why) = &ports.untried {
        let _ = writeln!(told, "  not tried: whether the ports are free ({why})");
    }
    if service.is_none() {
        told.push_str(
            "  not tried: whether the service's user can read this (--as-service tries it)\n",
        );
    }
    told
}

/// The problem that keeps the ledger from being opened as the one that was here.
fn lost_ledger(site: &Site) -> Option<Problem> {
    if !site.config.installs() {
        return None;
    }
    let ledger = &site.config.ledger;
    let error = Ledger::look(&ledger.path).err().filter(LedgerError::is_about_the_file)?;
    Some(Problem { place: ledger.place.clone(), text: error.to_string() })
}

/// Why the server does not answer a made-up machine; `runs` where that is known.
fn silence(site: &Site, runs: Option<bool>, mac: Mac) -> Silence {
    match runs {
        None => return Silence::Unknown,
        Some(false) => return Silence::NotRunning,
        Some(true) => {}
    }
    let catalog = &site.config.catalog;
    match site.turns_away(mac) {
        Some(TurnedAway::Observing) => Silence::Observing,
        Some(TurnedAway::NotAllowed) => Silence::NotAllowed,
        None if catalog.may_select(&Machine::heard(mac, None, None)) => Silence::Unexplained,
        None => Silence::NoGroup,
    }
}

/// What a profile does to disks, and who says so.
fn disks(profile: &Profile) -> String {
    let does = match profile.install {
        Install::Always => "installs at every network boot",
        Install::Never => "leaves the disk alone",
        Install::Once => "installs once",
    };
    match profile.says_install {
        true => format!("which {does}"),
        false => format!("which {does}, as far as its args tell"),
    }
}

/// What would be served, and to whom.
fn report(site: &Site, interfaces: &[Interface], known: usize) -> String {
    let mut report = match (site.config.reaches.unsaid.len(), site.warnings.len()) {
        (errors @ 1.., _) => format!(
            "{}: {errors} {}; a server that is started all the same serves this\n",
            site.config.name,
            if errors == 1 { "error" } else { "errors" }
        ),
        (0, 0) => format!("{}: nothing is wrong\n", site.config.name),
        (0, 1) => format!("{}: no errors, 1 warning\n", site.config.name),
        (0, count) => format!("{}: no errors, {count} warnings\n", site.config.name),
    };
    for interface in interfaces {
        let _ = writeln!(report, "  serve on {interface}");
    }
    if site.config.mode == Mode::Observe {
        report.push_str("  [network] mode is \"observe\": no machine is answered\n");
    }
    if site.config.catalog.groups().iter().any(|group| group.profile.verify) {
        report.push_str("  signatures are not read here: `bootbox images --verify` reads them\n");
    }
    if known > 0 {
        let _ = writeln!(report, "  tried with {known} machines that the running server knows");
    }
    for group in site.config.catalog.groups() {
        let who = match group.selector.is_empty() {
            true => "every other machine".to_owned(),
            false => group.selector.to_string(),
        };
        let _ = writeln!(
            report,
            "  {who}: boots profile {} (group {}), {}",
            group.profile.name,
            group.name,
            disks(&group.profile)
        );
    }
    match site.config.machines.len() {
        0 => {}
        1 => report.push_str("  1 machine has values of its own\n"),
        count => {
            let _ = writeln!(report, "  {count} machines have values of their own");
        }
    }
    report.push_str(&by_image(site));
    report.push_str(&without_program(site));
    report
}

/// Which firmware is given images that are made with a stub, and so needs to boot by HTTP.
fn by_image(site: &Site) -> String {
    let image = |firmware: Firmware| {
        let (stub, _) = site.programs.get(firmware)?.stub()?;
        Some(format!("{firmware} ({})", String::from_utf8_lossy(stub.as_bytes())))
    };
    let images: Vec<String> = Firmware::ALL.into_iter().filter_map(image).collect();
    match images.is_empty() {
        true => String::new(),
        false => format!("  by HTTP Boot alone, without iPXE: {}\n", images.join(", ")),
    }
}

/// Which file would add which firmware.
fn without_program(site: &Site) -> String {
    let missing = |firmware: Firmware| match firmware.usual_programs() {
        [] => format!("{firmware} (name it in [boot.programs])"),
        [program, .., stub] if stub.ends_with(".stub") => {
            format!("{firmware} ({program} or {stub})")
        }
        [program, ..] => format!("{firmware} ({program})"),
    };
    let missing: Vec<String> = site.programs.missing().map(missing).collect();
    match missing.is_empty() {
        true => String::new(),
        false => format!(
            "  other firmware boots with a file of yours in [firmware] dir: {}\n",
            missing.join(", ")
        ),
    }
}
