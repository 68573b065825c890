//! bootbox: a box you drop onto a VLAN, and every machine there boots from power-on.

pub mod catalog;
pub mod cli;
pub mod config;
pub mod firmware;
pub mod http;
pub mod machine;
pub mod path;
pub mod proxydhcp;
pub mod render;
pub mod serve;
pub mod solicitation;
pub mod template;
pub mod tftp;
pub mod trace;
