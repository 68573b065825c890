use std::{fs, path::PathBuf};

use super::{super::journal::Journal, link::ask, *};
use crate::{
    config::Config,
    control::NextBoot,
    ledger::{Book, Decision},
    serve::{drain, store::Store},
};

/// Answers on a socket of the test's own.
struct Service {
    socket: PathBuf,
    folder: PathBuf,
    tap: drain::Tap,
    running: tokio::task::JoinHandle<io::Result<()>>,
}

impl Service {
    fn start(name: &str, ledger: impl FnOnce(&std::path::Path) -> Ledger) -> (Self, Ledger) {
        Self::start_with(name, Site::of(Store::new(None, None)), ledger)
    }

    fn start_with(
        name: &str,
        site: Site,
        ledger: impl FnOnce(&std::path::Path) -> Ledger,
    ) -> (Self, Ledger) {
        let folder = std::env::temp_dir().join(format!("bootbox-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("control.sock");
        let listener = Listener::open(&socket).unwrap();
        let ledger = ledger(&folder);
        let (tap, drain) = drain::channel();
        let (_, site) = watch::channel(Arc::new(site));
        let proofs = Proofs::start(Arc::clone(&site.borrow()), None).unwrap();
        let (_, proofs) = watch::channel(Arc::new(proofs));
        let desk = Desk { ledger: ledger.clone(), site, proofs };
        let running = tokio::spawn(run(listener, desk, drain));
        (Self { socket, folder, tap, running }, ledger)
    }

    async fn ask(&self, request: Request) -> Result<Vec<Sheet>, String> {
        let socket = self.socket.clone();
        let asked = spawn_blocking(move || ask(&socket, &request)).await.unwrap();
        asked.map_err(|error| error.to_string())
    }

    async fn stop(self) {
        self.tap.open();
        self.running.await.unwrap().unwrap();
        assert!(!self.socket.exists());
        fs::remove_dir_all(self.folder).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_comes_whole_and_in_order() {
    let (service, ledger) = Service::start("list", |folder| {
        Ledger::open(&folder.join("ledger.redb"), 5, Journal::new()).unwrap()
    });
    let mac = |number: u8| Mac::new([2, 0, 0, 0, 0, number]).unwrap();
    let mut adding = JoinSet::new();
    for number in (0..=200).rev() {
        let ledger = ledger.clone();
        adding.spawn(async move { ledger.add(Machine::heard(mac(number), None, None)).await });
    }
    assert!(adding.join_all().await.into_iter().all(|added| added.is_ok()));
    let sheets = service.ask(Request::Machines).await.unwrap();
    let macs: Vec<Mac> = sheets.iter().map(|sheet| sheet.mac).collect();
    assert_eq!(macs, (0..=200).map(mac).collect::<Vec<_>>());
    assert!(sheets.iter().all(|sheet| sheet.history.is_none() && sheet.most_attempts == 5));
    let one = service.ask(Request::Machine { machine: mac(7).into() }).await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].history.as_ref().map(Vec::len), Some(1));
    assert_eq!(one[0].next_boot, NextBoot::Nothing, "the site has no group");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_install_is_foretold_that_the_release_or_the_config_refuses() {
    let plain = "kernel = \"/k\"";
    let missing = "kernel = \"/1/flatcar_production_pxe.vmlinuz\"";
    for (name, kernel, network, expected) in [
        ("plain", plain, "", NextBoot::Install),
        ("observe", plain, "mode = \"observe\"", refused("nothing is booted")),
        ("allow", plain, "allow = [\"52:54:00:*\"]", refused("[network] allow")),
        ("release", missing, "", refused("profile p is not served: /1 has no Flatcar release")),
    ] {
        let text = format!(
            "[network]\n{network}\n[[profile]]\nname = \"p\"\n{kernel}\ninstall = \"once\"\n\
             [[group]]\nname = \"g\"\nprofile = \"p\"\nselector.mac = \"02:00:00:00:00:01\"\n"
        );
        let mut site = Site::of(Store::new(None, None));
        site.config = Config::parse(&text, "b.toml").unwrap();
        let (service, ledger) = Service::start_with(name, site, |folder| {
            Ledger::open(&folder.join("ledger.redb"), 3, Journal::new()).unwrap()
        });
        let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
        ledger.add(Machine::heard(mac, None, None)).await.unwrap();
        for request in [Request::Machines, Request::Machine { machine: mac.into() }] {
            let sheets = service.ask(request).await.unwrap();
            match (&sheets[0].next_boot, &expected) {
                (NextBoot::Refused(said), NextBoot::Refused(words)) => {
                    assert!(said.contains(words), "{name}: {said}");
                }
                (next, expected) => assert_eq!(next, expected, "{name}"),
            }
        }
        service.stop().await;
    }
}

fn refused(words: &str) -> NextBoot {
    NextBoot::Refused(words.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_what_the_machine_told() {
    let (service, ledger) = Service::start("hold", |folder| {
        Ledger::open(&folder.join("ledger.redb"), 3, Journal::new()).unwrap()
    });
    let mac = Mac::new([2, 0, 0, 0, 0, 1]).unwrap();
    let labels = [("product".to_owned(), "x".to_owned())].into();
    ledger.add(Machine::told(mac, None, labels)).await.unwrap();
    let reason = "fan".parse().unwrap();
    let held = service.ask(Request::Hold { machine: mac.into(), reason }).await.unwrap();
    assert_eq!(held[0].labels["product"], "x");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_it_does_not_say_that_there_are_no_machines() {
    let (service, _) = Service::start("noledger", |_| Ledger::forgetful(Journal::new()));
    for request in
        [Request::Machines, Request::Forget { machine: Mac::new([2; 6]).unwrap().into() }]
    {
        let error = service.ask(request).await.unwrap_err();
        assert!(error.contains("has no ledger"), "{error}");
    }
    service.stop().await;
}

#[test]
fn the_group_is_the_one_that_matches_now() {
    let text = "[[profile]]\nname = \"p\"\nkernel = \"/k\"\ninstall = \"once\"\n\
                [[group]]\nname = \"g\"\nprofile = \"p\"\n";
    let choice = |selector: &str| {
        let config = Config::parse(&format!("{text}{selector}"), "b.toml").unwrap();
        let mac = "52:54:00:00:00:01".parse().unwrap();
        let machine = Machine::heard(mac, None, None);
        Choice::of(&Book::default(), &config.catalog, &machine, 3)
    };
    assert_eq!(choice(""), Choice::Group("g".to_owned(), "p".to_owned(), Decision::Install));
    assert_eq!(choice("selector.product = \"x\""), Choice::Later);
    assert_eq!(choice("selector.mac = \"52:54:00:00:00:02\""), Choice::Nothing);
}
