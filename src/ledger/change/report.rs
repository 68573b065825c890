//! How reports change a record: a machine's own, and those that may be somebody else's.

use super::super::{
    Moment, Refusal, Report,
    record::{Attempt, Held, Holder, Proof, Record, State},
};

/// Reports of progress within this many seconds are one line of the history.
const BETWEEN_REPORTS: u64 = 30;
/// How that line begins.
const PROGRESS: &str = "it reports: ";

impl Record {
    /// A failure that may be told by somebody else takes nothing back that is known.
    pub(super) fn alleged(
        &mut self,
        reason: &str,
        most_attempts: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        match &self.state {
            State::Installing(attempt) if attempt.is_open() => {
                self.reported(&Report::Failed(reason.to_owned()), most_attempts, now)
            }
            State::Installing(attempt) => {
                let (attempt, mac) = (attempt.clone(), self.machine.mac);
                let reason = format!(
                    "a failure was reported in its name ({reason}), and its disk may be installed; \
                     if it is: bootbox installed {mac}, if not: bootbox reinstall {mac}"
                );
                self.note(now, format!("held: {reason}"));
                let (by, attempt) = (Holder::Doubt, Some(attempt));
                self.state = State::Held(Held { reason, by, installed: None, attempt });
                Ok(())
            }
            State::Held(held) if held.attempt.is_some() => {
                self.note(now, format!("a failure was reported in its name: {reason}"));
                Ok(())
            }
            State::Failed { .. } => Ok(()),
            State::Held(_) | State::Installed(_) | State::New => Err(Refusal::NotInstalling),
        }
    }

    pub(super) fn reported(
        &mut self,
        report: &Report,
        most_attempts: u32,
        now: Moment,
    ) -> Result<(), Refusal> {
        match (report, &mut self.state) {
            (Report::Started, State::Installing(attempt)) => {
                attempt.is_under_way = true;
                let text = "its install script runs";
                if self.history.last().is_none_or(|last| last.text != text) {
                    self.note(now, text.to_owned());
                }
            }
            (Report::Progress(text), State::Installing(attempt)) => {
                attempt.is_under_way = true;
                self.progressed(text, now);
            }
            (Report::Failed(reason), State::Installing(_)) => {
                let reason = reason.clone();
                self.fail(&reason, most_attempts, now);
            }
            (
                Report::Installed,
                State::Installing(Attempt { profile, .. }) | State::Failed { profile, .. },
            ) => {
                let profile = profile.clone();
                self.install(profile, Proof::Reported, now);
            }
            // Said twice, as a script does that missed our answer.
            (Report::Installed, State::Installed(installed)) => installed.proof = Proof::Reported,
            // Its own word settles what was doubted.
            (
                Report::Failed(reason),
                State::Held(Held { by: Holder::Doubt, attempt: Some(attempt), .. }),
            ) => {
                let (reason, attempt) = (reason.clone(), attempt.clone());
                self.state = State::Installing(attempt);
                self.fail(&reason, most_attempts, now);
            }
            (_, State::Held(Held { attempt: Some(_), .. })) => {
                self.reported_while_held(report, now)
            }
            (Report::Failed(_), State::Failed { .. }) => {}
            (
                Report::Started | Report::Progress(_) | Report::Failed(_) | Report::Installed,
                State::Failed { .. } | State::Held(_) | State::Installed(_) | State::New,
            ) => return Err(Refusal::NotInstalling),
        }
        Ok(())
    }

    /// A hold does not stop an attempt that goes on: what came of it shows when it is released.
    fn reported_while_held(&mut self, report: &Report, now: Moment) {
        let State::Held(held) = &mut self.state else { return };
        let Some(attempt) = &mut held.attempt else { return };
        match report {
            Report::Started => {}
            Report::Progress(text) => self.progressed(text, now),
            Report::Failed(reason) => {
                *attempt = attempt.clone().taken_back();
                self.note(now, format!("attempt {} failed: {reason}", self.attempts));
            }
            Report::Installed => {
                let profile = attempt.profile.clone();
                let held = (held.by == Holder::Operator).then(|| held.clone());
                self.install(profile, Proof::Reported, now);
                if let (Some(held), State::Installed(installed)) = (held, &self.state) {
                    let installed = Some(installed.clone());
                    self.state = State::Held(Held { installed, attempt: None, ..held });
                }
            }
        }
    }

    /// One line for what is reported within a short time: the rest of the history stays.
    fn progressed(&mut self, text: &str, now: Moment) {
        let text = format!("{PROGRESS}{text}");
        match self.history.last_mut() {
            Some(last) if last.text == text => {}
            Some(last)
                if last.text.starts_with(PROGRESS)
                    && now.0 < last.at.0.saturating_add(BETWEEN_REPORTS) =>
            {
                last.text = text;
                self.trim_history();
            }
            Some(_) | None => self.note(now, text),
        }
    }
}
