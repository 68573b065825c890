//! A choice and the machine's words in, the texts that boot and set it up out.

mod config;
mod hand_off;
mod rehearsal;
mod script;

pub use config::{ConfigText, Configs, Unfit};
pub use hand_off::{Ending, disk_script, hold_script, notice_for, wait_script};
pub use rehearsal::{Finding, Role, rehearse};
pub use script::{arguments, boot_script, machine_script, notice_script, script_for};

#[cfg(test)]
mod tests;
