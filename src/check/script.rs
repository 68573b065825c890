//! Scripts that a machine runs: what keeps the kernel from starting them, and what makes an install
//! script go round for ever.

use super::Report;

/// Adds what is wrong with a script.
pub(super) fn check(text: &str, report: &mut Report) {
    let Some(first) = text.lines().next() else { return };
    let Some(interpreter) = text.strip_prefix("#!") else {
        if first.trim_start().starts_with("#!") {
            report.error(1, "begins with a space before its #!; take it out");
        } else {
            let why = "does not begin with #!, so only a shell that is given it runs it, as \
                       curl | bash does; write #!/bin/bash above it";
            report.warn(1, why);
            loops(text, report);
        }
        return;
    };
    let command = interpreter.split('\n').next().unwrap_or("");
    if command.contains('\r') {
        let shown = command.trim();
        let why = format!(
            "ends in CR LF, so the machine looks for the program \"{shown}\\r\"; save with LF"
        );
        report.error(1, why);
    } else if !command.trim_start().starts_with('/') {
        let why = format!("has #!{command}; write a whole path, such as #!/bin/bash");
        report.error(1, why);
    }
    let carriage = text.split('\n').skip(1).position(|line| line.ends_with('\r'));
    if let Some(line) = carriage.filter(|_| !command.contains('\r')) {
        report.warn(line + 2, "ends in CR LF, which a shell takes for a part of its last word");
    }
    loops(text, report);
}

/// The post's own script: whatever fails in it, it reboots, installs nothing, and comes back.
fn loops(text: &str, report: &mut Report) {
    let ends = |word: &str| matches!(word, "reboot" | "poweroff");
    let Some(_) = line_with(text, |words| words.iter().any(|word| ends(word))) else { return };
    let stops = line_with(text, |words| {
        words.first() == Some(&"set")
            && words[1..]
                .iter()
                .any(|w| w.starts_with('-') && !w.starts_with("--") && w.contains('e'))
    });
    let fails = |words: &[&str]| {
        words.contains(&"curl")
            && !words.iter().any(|word| {
                let short = word.starts_with('-') && !word.starts_with("--");
                matches!(*word, "--fail" | "--fail-with-body") || short && word.contains('f')
            })
    };
    if let Some(line) = line_with(text, fails) {
        let why = "saves an error page as if it were the file, and reboots all the same; \
                   write curl -f";
        report.warn(line, why);
    }
    let shebang = text.lines().next().is_some_and(|line| line.contains(" -e"));
    if stops.is_none() && !shebang {
        let line = line_with(text, |words| words.iter().any(|word| ends(word))).unwrap_or(1);
        let why = "reboots even if a line above failed, and so for ever; write set -e at the top";
        report.warn(line, why);
    }
}

/// The first line whose words are of this sort; comments are none.
fn line_with(text: &str, wanted: impl Fn(&[&str]) -> bool) -> Option<usize> {
    let found = text.lines().position(|line| {
        let line = line.trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        !line.starts_with('#') && !words.is_empty() && wanted(&words)
    });
    found.map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use crate::check::{Fault, Kind, Severity, Target, faults};

    fn of(text: &str) -> Vec<Fault> {
        faults(Kind::Script, text.as_bytes(), &Target::Unknown)
    }

    #[test]
    fn a_script_that_stops_at_errors_has_no_faults() {
        let script = "#!/bin/bash\nset -euo pipefail\ncurl -fsS -o c http://a/c\n\
                      coreos-install -d /dev/sda -c c\nsystemctl reboot\n";
        assert_eq!(of(script), []);
    }

    #[test]
    fn the_post_s_script_is_served_with_two_warnings() {
        let script = "#!/bin/bash\n\ncurl -kO http://SOMEHOST/coreos/cloud-config.yaml\n\
                      sudo coreos-install -d /dev/sda -c cloud-config.yaml -b http://SOMEHOST/coreos\n\
                      sudo reboot\n";
        let found: Vec<(usize, Severity)> =
            of(script).iter().map(|fault| (fault.line, fault.severity)).collect();
        assert_eq!(found, [(3, Severity::Warning), (5, Severity::Warning)]);
    }

    #[test]
    fn what_a_shell_takes_is_no_error() {
        let page = "#!/bin/bash\n\u{c}\necho -e \"ready \u{7}\"\n";
        assert_eq!(of(page), []);
        let found = of("# fetched as: curl -fsS URL | bash\nset -e\necho hello\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].line, found[0].severity), (1, Severity::Warning), "{found:?}");
        assert!(found[0].text.contains("curl | bash"), "{found:?}");
    }

    #[test]
    fn what_the_kernel_cannot_start_is_an_error() {
        for (script, word) in [
            (" #!/bin/sh\n", "space before"),
            ("#!/bin/bash\r\necho a\r\n", "CR LF"),
            ("#!bash\n", "whole path"),
            ("#!\n", "whole path"),
        ] {
            let found = of(script);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].line, found[0].severity), (1, Severity::Error), "{script:?}");
            assert!(found[0].text.contains(word), "{found:?}");
        }
    }
}
