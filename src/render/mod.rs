//! A choice and the machine's words in, the texts that boot and set it up out.

mod config;
mod grub;
mod hand_off;
mod language;
mod line;
mod rehearsal;
mod script;
mod trial;

pub use config::{ConfigText, Configs, Origin, Unfit};
pub use grub::first_config;
pub use language::Language;
pub use line::TooLong;
pub use rehearsal::{Finding, Role, rehearse};
pub use script::{arguments, autoexec_script, boot_script, notice_script, overlong};

#[cfg(test)]
mod tests;
