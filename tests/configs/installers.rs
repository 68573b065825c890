//! Installers that can only GET, and those that POST for their answers.

use super::{BINARY, NOBODY, ONE, Reply, TWO, lab::BOX, token, with_server};

#[test]
fn an_installer_that_can_only_get_reports_by_its_token() {
    with_server("gets", "token", |desk| {
        let script = desk.boots(ONE, "&serial=7")?;
        let token = token(&script);
        let event = |state: &str| format!("/~{token}/v1/event?state={state}");
        for target in ["/v1/event?state=installed", "/~x/v1/event?state=installed"] {
            let Reply(status, head, body) = desk.ask(ONE.0, target)?;
            assert_eq!(status, 405, "{head}");
            assert!(body.contains("GET it with the machine's token"), "{body}");
        }
        let other = format!("/~{}/v1/event?state=installed", "0a".repeat(16));
        assert_eq!(desk.ask(ONE.0, &other)?.0, 403, "a token that nobody has");
        assert_eq!(desk.ask(ONE.0, &event("progress&text=half"))?.0, 200);
        // A stranger who was shown the URL has the token as well; a proxy may come from anywhere.
        let Reply(status, head, _) = desk.ask(NOBODY, &event("installed"))?;
        assert_eq!(status, 200, "{head}");
        assert!(head.to_lowercase().contains("cache-control: no-store"), "{head}");
        assert_eq!(desk.ask(ONE.0, &event("installed"))?.0, 200, "said again");
        assert_eq!(desk.ask(ONE.0, &event("failed"))?.0, 403, "its token has expired");
        let file = desk.lab.scratch().join("bootbox.toml");
        let mac = ONE.1.replace('-', ":");
        let order = format!("{BINARY} reinstall {mac} --config {}", file.display());
        desk.lab.server().run(&order)?;
        desk.boots(ONE, "&serial=7")?;
        let Reply(status, _, body) = desk.ask(ONE.0, &event("installed"))?;
        assert_eq!(status, 403, "a report of the installation before is none of this one: {body}");
        desk.boots(ONE, "&serial=7")?;
        Ok(())
    });
}

#[test]
fn an_installer_that_posts_is_known_by_its_cards() {
    with_server("posts", "address", |desk| {
        desk.boots(TWO, "&serial=7&product=P")?;
        let url = format!("http://{BOX}/coreos/cloud-config.yaml");
        let body = |macs: &[&str]| {
            let cards: Vec<String> =
                macs.iter().map(|mac| format!("{{\"link\":\"eth\",\"mac\":\"{mac}\"}}")).collect();
            format!(
                "{{\"dmi\":{{\"system\":{{\"uuid\":\"\"}}}},\"network_interfaces\":[{}]}}",
                cards.join(",")
            )
        };
        let (one, two) = ("52:54:00:00:00:01", "52:54:00:00:00:02");
        for (from, macs, status, said) in [
            (TWO.0, &[][..], 200, two),
            (TWO.0, &[two, "52:54:00:00:00:77"], 200, two),
            // The address may be another machine's by now; a group names this one.
            (TWO.0, &[one], 503, "serial"),
            (NOBODY, &["52:54:00:00:00:77", two], 200, two),
            (NOBODY, &["52:54:00:00:00:77"], 503, "not known yet which one asks"),
            (NOBODY, &[], 503, "not known yet which one asks"),
        ] {
            let json = body(macs);
            let words = ["-i", "-H", "Content-Type: application/json", "--data", &json, &url];
            let Reply(found, _, text) = desk.curl(from, &words)?;
            assert_eq!(found, status, "{from} {macs:?}: {text}");
            assert!(text.contains(said), "{from} {macs:?}: {text}");
        }
        let long = format!("a={}", "x".repeat(70_000));
        assert_eq!(desk.curl(NOBODY, &["-i", "-H", "Expect:", "--data", &long, &url])?.0, 413);
        let kernel = format!("http://{BOX}/coreos/1122.2.0/coreos_production_pxe.vmlinuz");
        assert_eq!(desk.curl(NOBODY, &["-i", "--data", "{}", &kernel])?.0, 405);
        Ok(())
    });
}
