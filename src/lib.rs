//! bootbox: a box you drop onto a VLAN, and every machine there boots from power-on.
//!
//! This library holds all the moving parts; `main.rs` only calls [`cli::run`]. One boot goes through
//! it like this (→ a pure decision, ⇒ IO in [`serve`]):
//!
//! ```text
//! ROM   DISCOVER :67       ⇒ serve/dhcp  → proxydhcp::answer: BootClient → catalog → Reply(offer, boot
//!                                           program) ⇒ broadcast :68       | Ignore(reason)
//! ROM   REQUEST  :4011     ⇒ the same path, Reply(ACK) ⇒ to the source
//! ROM   RRQ snponly.efi    ⇒ serve/tftp  → tftp::Session ⇒ blocks
//! iPXE  DISCOVER 77=iPXE   ⇒ serve/dhcp  → boot file http://BOX/boot.ipxe: the chainload ends here
//! iPXE  RS (ICMPv6)        ⇒ serve/solicitation → solicitation::read ⇒ "no router here"
//! iPXE  GET /boot.ipxe     ⇒ serve/http  → render::boot_script
//! iPXE  GET /ipxe?mac=…    ⇒ serve/http  → catalog, ledger, release::gate → render: boot | disk | wait
//! iPXE  GET /…/vmlinuz     ⇒ serve/http  → http::file: which bytes ⇒ sendfile
//! OS    GET /…/x.json      ⇒ serve/http  → who asks → render: its text, checked at load
//! OS    GET /…/image       ⇒ serve/http  → ledger: its last byte leaves when that is on disk
//! OS    POST /v1/event     ⇒ serve/http  → ledger: installed, so the next discover gets no offer
//! ```
//!
//! Each module imports only from floors below its own; `tests/layering.rs` holds them to it.
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | 0 | [`machine`] | who asks: hardware address, UUID, what iPXE tells |
//! | 0 | [`path`] | a name beneath the repository's root |
//! | 0 | [`printable`] | what others wrote, as a terminal may show it |
//! | 0 | [`firmware`] | option 93 → boot program |
//! | 0 | [`template`] | text with words in it, parsed once; the words |
//! | 0 | [`token`] | the word in a URL that a machine is known by |
//! | 0 | [`unified`] | an EFI program of a kernel, its initrds and its command line |
//! | 1 | [`catalog`] | groups choose profiles by selectors |
//! | 1 | [`check`] | what the real tools would refuse of a text |
//! | 1 | [`release`] | CoreOS and Flatcar releases: complete, signed by whom, to be served or not |
//! | 1 | [`trace`] | the steps of one boot, and the words for them |
//! | 2 | [`ledger`] | what each machine has done, and what that lets it do next |
//! | 2 | [`render`] | a choice and a machine's words → its script |
//! | 3 | [`config`] | TOML → a config that is valid by construction |
//! | 3 | [`control`] | what a command asks the running server, and what it is answered |
//! | 3 | [`lan`] | the other DHCP servers: what each says, and what of it keeps machines from booting |
//! | 3 | [`proxydhcp`] | DHCP message in → answer out |
//! | 3 | [`solicitation`] | ICMPv6 message in → who asks for a router |
//! | 3 | [`tftp`] | datagram or time-out in → datagrams and outcome out |
//! | 3 | [`http`] | request in → reply out |
//! | 4 | [`serve`] | the only code with sockets, tasks, a clock and files |
//! | 5 | [`cli`] | one file a command |

pub mod catalog;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod firmware;
pub mod http;
pub mod lan;
pub mod ledger;
pub mod machine;
#[cfg(test)]
#[path = "../tests/mutator/mod.rs"]
mod mutator;
pub mod path;
pub mod printable;
pub mod proxydhcp;
pub mod release;
pub mod render;
pub mod serve;
pub mod solicitation;
pub mod template;
pub mod tftp;
pub mod token;
pub mod trace;
pub mod unified;
