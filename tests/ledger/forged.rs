//! Words of strangers about a machine, over the wire: none of them has it installed anew.

use bootbox::ledger::State;

use super::guest::{Guest, installs};
use super::lab::walker::{Walker, fetch_tftp, port_68};
use super::lab::{BOX, Failure};
use super::site::with_site;
use super::{GROUP, LIMIT};

#[test]
fn a_report_that_a_web_page_may_have_sent_changes_nothing() {
    let names = format!("{GROUP}[http]\nnames = [\"boot.example\"]\n");
    with_site("a_report_of_a_web_page", 2, &names, |site| {
        let mut guest = Guest::number(1);
        site.plays(|| {
            assert!(guest.powers_on(&port_68()?)? && installs(&guest.script()?));
            for lines in [
                "Host: evil.example\r\n",
                "Host: 10.77.0.2.evil.example:80\r\n",
                "Host: 10.77.0.2\r\nOrigin: http://evil.example\r\n",
                "Host: 10.77.0.2\r\nOrigin: null\r\n",
                "Host: 10.77.0.2\r\nSec-Fetch-Site: cross-site\r\n",
            ] {
                let (status, said) = guest.reports_with("state=installed", lines)?;
                assert_eq!(status, 403, "{lines}: {said}");
            }
            // Files, scripts and configs have always been served under any name.
            for target in ["/k", "/coreos/", "/boot.ipxe"] {
                let answer = guest.asks_with("GET", target, "Host: evil.example\r\n")?;
                assert_eq!(answer.status, 200, "{target}: {}", answer.head);
            }
            assert!(installs(&guest.script()?), "it is not installed by a web page's word");
            let own = guest.reports_with("state=installed", "Host: boot.example:80\r\n")?;
            assert_eq!(own.0, 200, "{}", own.1);
            assert!(!installs(&guest.script()?));
            Ok(())
        })?;
        site.server
            .process()
            .wait_for("refused: takes reports under an address of this server", LIMIT)?;
        Ok(())
    });
}

#[test]
fn a_lease_and_a_failure_that_a_neighbour_makes_up_undo_no_whole_image() {
    with_site("a_made_up_lease_and_failure", 3, GROUP, |site| {
        let mut victim = Guest::number(1);
        let attacker = Guest::number(2);
        site.plays(|| {
            let port_68 = port_68()?;
            victim.story(&port_68)?;
            // One DHCP request in the victim's name that takes the attacker's address.
            let forged = Walker { address: attacker.walker.address, ..victim.walker };
            for mac in ["", "&mac=52:54:00:aa:00:01"] {
                forged.take_lease(&port_68)?;
                attacker.reports(&format!("state=failed&reason=made+up{mac}"))?;
            }
            victim.walker.take_lease(&port_68)?;
            assert!(!installs(&victim.script()?), "installed anew by a stranger's word");
            assert!(!installs(&victim.script()?), "and at the boot after that");
            Ok(())
        })?;
        site.server.process().kill();
        let state = site.record(&victim).unwrap().state;
        assert!(!matches!(state, State::New | State::Failed { .. }), "{state:?}");
        Ok(())
    });
}

#[test]
fn a_second_card_that_a_stranger_names_first_is_still_its_machines() {
    with_site("a_second_card_named_by_a_stranger", 4, GROUP, |site| {
        let uuid = "&uuid=564da6d2-1706-6343-dc2d-0123456789ab";
        let [mut first, mut second, mut third, stranger] = [1, 2, 3, 4].map(Guest::number);
        for card in [&mut first, &mut second, &mut third] {
            card.more = format!("&platform=pcbios{uuid}");
        }
        site.plays(|| -> Result<(), Failure> {
            let port_68 = port_68()?;
            first.story(&port_68)?;
            assert!(first.is_left_alone(&port_68)?);
            // By HTTP without a UUID, and by TFTP, which any source address may send.
            let mac = second.walker.mac_text();
            stranger.asks("GET", &format!("/ipxe?mac={mac}&platform=pcbios"))?;
            let name = format!("grub.cfg;mac={};platform=pc", third.walker.mac_text());
            fetch_tftp(BOX.parse().unwrap(), &name)?;
            for card in [&mut second, &mut third] {
                let script = card.script()?;
                assert!(!installs(&script), "{}: {script}", card.walker.mac_text());
            }
            Ok(())
        })
    });
}

#[test]
fn an_installed_that_a_made_up_card_reports_is_not_its_twins() {
    with_site("a_made_up_twin_reports", 2, GROUP, |site| {
        let uuid = "&platform=pcbios&uuid=564da6d2-1706-6343-dc2d-0123456789ab";
        let [mut blank, mut made_up] = [1, 2].map(Guest::number);
        made_up.more = uuid.to_owned();
        blank.more = uuid.to_owned();
        site.plays(|| {
            made_up.script()?;
            made_up.walker.take_lease(&port_68()?)?;
            made_up.reports("state=installed")?;
            let script = blank.script()?;
            assert!(!script.contains("\nsanboot"), "a blank disk is booted: {script}");
            Ok(())
        })
    });
}
