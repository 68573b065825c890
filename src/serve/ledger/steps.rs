//! What of a record's change an operator wants to read in the log.

use crate::{
    ledger::{Record, State},
    trace::Step,
};

/// The steps from one state of a machine to the next.
pub(super) fn steps(before: Option<&Record>, after: &Record) -> Vec<Step> {
    let was = before.map(|before| &before.state);
    let mut steps = Vec::new();
    match &after.state {
        State::New => {}
        state if was == Some(state) => {}
        State::Failed { profile, reason } => {
            steps.push(Step::Failed { profile: profile.clone(), reason: reason.clone() });
        }
        State::Held(held) => steps.push(Step::Held { reason: held.reason.clone() }),
        State::Installed(installed) => {
            let proof = |state: &State| match state {
                State::Installed(installed) => Some(installed.proof),
                State::Failed { .. } | State::Held(_) | State::Installing(_) | State::New => None,
            };
            if was.and_then(proof) != Some(installed.proof) {
                let (profile, reason) = (installed.profile.clone(), installed.proof.to_string());
                steps.push(Step::Installed { profile, reason });
            }
        }
        State::Installing(attempt) => {
            // After a release it goes on with the attempt that it had.
            let is_new = before.is_none_or(|before| before.attempts < after.attempts);
            if is_new {
                let (group, profile) = (attempt.group.clone(), attempt.profile.clone());
                steps.push(Step::Installing { group, profile, attempt: after.attempts });
            }
        }
    }
    if after.returns_from_its_disk() && before.is_some_and(|it| !it.returns_from_its_disk()) {
        steps.push(Step::DiskFails);
    }
    steps
}
