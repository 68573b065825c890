//! A choice and the machine's words in, the text that boots it out.

mod hand_off;
mod script;

pub use hand_off::{Ending, disk_script, hold_script, notice_for};
pub use script::{boot_script, machine_script, notice_script, script_for};
