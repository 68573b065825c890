//! Kickstart files: sections, each with its `%end`. Commands are not judged; ESXi's are others.

use super::Report;

/// Sections of Anaconda, which end with `%end`.
const SECTIONS: [&str; 10] = [
    "%addon",
    "%anaconda",
    "%certificate",
    "%onerror",
    "%packages",
    "%post",
    "%pre",
    "%pre-install",
    "%preinstall",
    "%traceback",
];
/// Directives that include other files.
const INCLUDES: [&str; 2] = ["%include", "%ksappend"];

/// Adds what is wrong with a kickstart file.
pub(super) fn check(text: &str, report: &mut Report) {
    // ESXi's sections have no end.
    if is_esxi(text) {
        return;
    }
    let mut open: Option<(usize, &str)> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let word = content.split_whitespace().next().unwrap_or("");
        // Space before a section or its end is no matter to Anaconda.
        if !word.starts_with('%') || INCLUDES.contains(&word) {
            continue;
        }
        if word == "%end" {
            if open.take().is_none() {
                report.error(line, "has %end, and no section is open; take it out");
            }
        } else if SECTIONS.contains(&word) {
            if let Some((began, section)) = open.replace((line, word)) {
                unended(began, section, report);
            }
        } else if open.is_none() {
            let shown: String = word.chars().take(40).collect();
            let why = format!("has the unknown section {shown}; there are {}", SECTIONS.join(", "));
            report.warn(line, why);
        }
    }
    if let Some((began, section)) = open {
        unended(began, section, report);
    }
}

fn unended(began: usize, section: &str, report: &mut Report) {
    let why = format!("begins {section}, which no %end ends, so the installer stops; add %end");
    report.error(began, why);
}

/// Told by what Anaconda has not.
fn is_esxi(text: &str) -> bool {
    let words = ["accepteula", "vmaccepteula", "%firstboot", "clearpart --firstdisk"];
    text.lines().any(|line| words.iter().any(|word| line.trim_start().starts_with(word)))
}
