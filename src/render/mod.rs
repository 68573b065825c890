//! A choice and the machine's words in, the text that boots it out.

mod script;

pub use script::{boot_script, machine_script, notice_script, script_for};
