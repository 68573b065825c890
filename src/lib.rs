//! bootbox: a box you drop onto a VLAN, and every machine there boots from power-on.

pub mod firmware;
pub mod machine;
pub mod path;
pub mod serve;
pub mod tftp;
pub mod trace;
