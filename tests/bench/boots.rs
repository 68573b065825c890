//! Power-on to `/init`, ours beside dnsmasq + nginx, one machine at a time, the
//! order alternating. `BOOTBOX_UNDER_TEST=peer` measures the peer alone.

use crate::lab::cases::Case;
use crate::lab::server::Subject;
use crate::lab::{Failure, Lab};
use crate::{Options, median};

/// Prints the table; every figure is the median of its runs.
pub(crate) fn print(options: &Options) -> Result<(), Failure> {
    let runs = options.runs.unwrap_or(1).max(1);
    let ours = Subject::from_environment(env!("CARGO_BIN_EXE_bootbox"));
    println!("Power-on to /init, seconds (median of {runs}; QEMU TCG, one machine at a time)");
    println!("{:<24}{:>9}{:>9}{:>8}", "machine", "bootbox", "peer", "ratio");
    let cases = Case::ALL.into_iter();
    let cases = cases.filter(|case| case.name().contains(&options.case));
    for (row, case) in cases.enumerate() {
        if ours == Subject::Peer {
            let mut peer = Vec::new();
            for _ in 0..runs {
                peer.push(seconds(case, &ours)?);
            }
            println!("{:<24}{:>9}{:>9.1}{:>8}", case.name(), "-", median(peer), "-");
            continue;
        }
        let (mut bootbox, mut peer) = (Vec::new(), Vec::new());
        for run in 0..runs {
            if (row + run) % 2 == 0 {
                bootbox.push(seconds(case, &ours)?);
                peer.push(seconds(case, &Subject::Peer)?);
            } else {
                peer.push(seconds(case, &Subject::Peer)?);
                bootbox.push(seconds(case, &ours)?);
            }
        }
        let (bootbox, peer) = (median(bootbox), median(peer));
        println!("{:<24}{bootbox:>9.1}{peer:>9.1}{:>8.2}", case.name(), bootbox / peer);
    }
    Ok(())
}

/// One boot on a LAN of its own, nothing recorded.
fn seconds(case: Case, subject: &Subject) -> Result<f64, Failure> {
    let mut lab = Lab::new("bench-boots", &case.office())?;
    let (_, took) = case.boot(&mut lab, subject)?;
    Ok(took.as_secs_f64())
}
