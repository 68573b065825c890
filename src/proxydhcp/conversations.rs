//! In which form each machine is offered its boot file, by what came of the offers before.
//!
//! The rule. A ROM is first offered the file directly, or in the form that worked for it before. When
//! it discovers again and has taken nothing up (no request on port 4011, no transfer, no iPXE), it is
//! offered the other form, and at the next time the first again, but only where that means anything:
//!
//! - A DHCP server is known to be there: without one no offer is ever taken up.
//! - At least 3 s have passed since the offer. What comes sooner belongs to the same collection of
//!   offers (EDK2 collects 4 s and then sends the same xid again, iPXE 0.25, 0.5, 1 and 2 s).
//! - A form that worked before has failed twice in a row, or the machine took a lease after it and
//!   still nothing came: EDK2 discovers a second time whenever the DHCP server takes more than 4 s.
//!
//! A machine that gets both forms within one collection loses nothing: EDK2 prefers the direct one
//! (PxeBcDhcp4.c), and both lead to the same file. iPXE takes either and gets the direct one.

use std::{
    net::Ipv4Addr,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lru::LruCache;

use super::{Discover, Reason};
use crate::{
    catalog::Offer,
    firmware::{Form, Means, Platform},
    machine::Mac,
    trace::{BELONGS_TOGETHER, Fetched, Stage},
};

/// Machines that are remembered at once.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// A discover that comes sooner after an offer was sent before that could have been heard.
const COLLECTION: Duration = Duration::from_secs(3);
/// How often a form that worked before may lead to nothing.
const PATIENCE: u32 = 2;
/// How long firmware goes on asking by PXE before it tries its next boot option: EDK2 60 s.
const ROUND: Duration = Duration::from_secs(75);

/// What went on with each machine of one interface. Bounded: those that were heard longest ago
/// are forgotten first.
#[derive(Debug)]
pub struct Conversations {
    machines: LruCache<Mac, Conversation>,
    has_dhcp_server: bool,
}

/// What else the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// When the machine fetched from us the last time.
    pub fetched: Fetched,
    /// Whether firmware that may come by HTTP Boot is to do so.
    pub prefer_http: bool,
    /// How long the offer is held back.
    pub delay: Duration,
}

#[derive(Debug, Default)]
struct Conversation {
    /// What was offered since anything was taken up.
    pending: Option<Pending>,
    works: Option<Form>,
    http: Http,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    form: Form,
    /// When the last offer went out.
    sent: Instant,
    /// Offers of this form in a row.
    tries: u32,
    /// Whether both forms are among them.
    both: bool,
    took_a_lease: bool,
}

/// Whether firmware that asks by PXE is known to come by HTTP Boot, too.
#[derive(Clone, Copy, Debug, Default)]
enum Http {
    /// It came, was offered a file by HTTP first then, and never fetched any: firmware may refuse
    /// `http://`. PXE is answered for good.
    Fails,
    /// It was left alone, and never came.
    Never,
    /// It came. A fetch is not seen where the file is another server's.
    Offered { since: Instant, is_elsewhere: bool },
    #[default]
    Unknown,
    /// Left alone since then.
    WaitedFor(Instant),
}

/// The form of an offer to a machine of which nothing is known, and nothing is to be remembered.
pub fn first_choice(
    discover: &Discover,
    about: &Circumstances,
    now: Instant,
) -> Result<Form, Reason> {
    Conversation::default().choose(discover, about, false, now)
}

impl Default for Conversations {
    fn default() -> Self {
        Self { machines: LruCache::new(MOST), has_dhcp_server: false }
    }
}

impl Conversations {
    /// The form of the offer to this machine, which is going to be sent; an error where it is to be
    /// left alone.
    pub fn choose(
        &mut self,
        discover: &Discover,
        about: &Circumstances,
        now: Instant,
    ) -> Result<Form, Reason> {
        let has_dhcp_server = self.has_dhcp_server;
        self.of(discover.mac).choose(discover, about, has_dhcp_server, now)
    }

    /// The machine asks port 4011 for its boot file.
    pub fn asked_boot_server(&mut self, mac: Mac) {
        self.of(mac).take_up(Form::BootServer);
    }

    /// The machine takes a lease of this server, which so is there. Who names none asks for an address
    /// that it had before, perhaps elsewhere (RFC 2131 section 4.3.2): that proves nothing.
    pub fn took_lease(&mut self, mac: Mac, server: Option<Ipv4Addr>, now: Instant) {
        if server.is_none() {
            return;
        }
        self.heard_dhcp_server();
        // An office full of laptops is no concern of ours.
        if let Some(pending) =
            self.machines.peek_mut(&mac).and_then(|machine| machine.pending.as_mut())
            && now.saturating_duration_since(pending.sent) <= BELONGS_TOGETHER
        {
            pending.took_a_lease = true;
        }
    }

    /// A DHCP server is there.
    pub fn heard_dhcp_server(&mut self) {
        self.has_dhcp_server = true;
    }

    fn of(&mut self, mac: Mac) -> &mut Conversation {
        self.machines.get_or_insert_mut(mac, Conversation::default)
    }
}

impl Conversation {
    fn choose(
        &mut self,
        discover: &Discover,
        about: &Circumstances,
        has_dhcp_server: bool,
        now: Instant,
    ) -> Result<Form, Reason> {
        if discover.stage == Stage::Ipxe {
            self.take_up(Form::Direct);
            return Ok(Form::Direct);
        }
        if discover.means == Means::Http {
            self.http.comes(discover.is_elsewhere, about.fetched.by_http_boot, now);
            return Ok(Form::Http);
        }
        if about.prefer_http
            && discover.platform == Some(Platform::Uefi)
            && self.http.is_waited_for(about.fetched.by_http_boot, now)
        {
            return Err(Reason::LeftToHttp);
        }
        match discover.offer {
            Offer::Auto => {}
            Offer::BootServer => return Ok(Form::BootServer),
            Offer::Direct => return Ok(Form::Direct),
        }
        let is_up =
            |pending: Pending| about.fetched.any.is_some_and(|fetched| fetched > pending.sent);
        if self.pending.is_some_and(is_up) {
            self.take_up(Form::Direct);
        }
        Ok(self.offer(has_dhcp_server, now, about.delay))
    }

    /// The next form; it counts as sent after `delay`.
    fn offer(&mut self, has_dhcp_server: bool, now: Instant, delay: Duration) -> Form {
        let Some(pending) = &mut self.pending else {
            let form = self.works.unwrap_or(Form::Direct);
            let sent = now + delay;
            let pending = Pending { form, sent, tries: 1, both: false, took_a_lease: false };
            self.pending = Some(pending);
            return form;
        };
        if now.saturating_duration_since(pending.sent) < COLLECTION {
            return pending.form;
        }
        let patience = if self.works == Some(pending.form) { PATIENCE } else { 1 };
        let has_failed = pending.took_a_lease || (has_dhcp_server && pending.tries >= patience);
        if has_failed {
            pending.form = match pending.form {
                Form::Direct => Form::BootServer,
                Form::BootServer | Form::Http | Form::RaspberryPi => Form::Direct,
            };
            (pending.tries, pending.both) = (0, true);
        }
        pending.tries = pending.tries.saturating_add(1);
        (pending.sent, pending.took_a_lease) = (now + delay, false);
        pending.form
    }

    /// Something came of the offers. Only where both forms were offered does `sign` tell which it
    /// was: old ROMs ask port 4011 after a direct offer, too.
    fn take_up(&mut self, sign: Form) {
        if let Some(pending) = self.pending.take() {
            self.works = Some(if pending.both { sign } else { pending.form });
        }
    }
}

impl Http {
    /// It discovers by HTTP Boot. What nothing came of is not counted anew: firmware that tries
    /// HTTP before PXE would be left alone at each round.
    fn comes(&mut self, is_elsewhere: bool, booted: Option<Instant>, now: Instant) {
        match *self {
            Self::Offered { since, .. } if booted.is_none_or(|at| at <= since) => {}
            Self::Fails if !is_elsewhere => {}
            Self::Fails
            | Self::Never
            | Self::Offered { .. }
            | Self::Unknown
            | Self::WaitedFor(_) => *self = Self::Offered { since: now, is_elsewhere },
        }
    }

    /// Whether to say nothing to a discover by PXE. Firmware that does not come by HTTP in its first
    /// round is answered from the second on, and so is one that comes and fetches nothing.
    fn is_waited_for(&mut self, booted: Option<Instant>, now: Instant) -> bool {
        match *self {
            Self::Fails | Self::Never => return false,
            Self::Offered { since, is_elsewhere } => {
                let came_of_it = is_elsewhere || booted.is_some_and(|at| at > since);
                if !came_of_it && now.saturating_duration_since(since) > ROUND {
                    *self = Self::Fails;
                    return false;
                }
            }
            Self::Unknown => *self = Self::WaitedFor(now),
            Self::WaitedFor(since) if now.saturating_duration_since(since) > ROUND => {
                *self = Self::Never;
                return false;
            }
            Self::WaitedFor(_) => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One interface, and a clock.
    struct Lan {
        conversations: Conversations,
        start: Instant,
        fetched: Fetched,
        prefer_http: bool,
        delay: Duration,
    }

    impl Lan {
        fn new() -> Self {
            let (conversations, start) = (Conversations::default(), Instant::now());
            let (fetched, delay) = (Fetched::default(), Duration::ZERO);
            Self { conversations, start, fetched, prefer_http: false, delay }
        }

        fn with_a_dhcp_server() -> Self {
            let mut lan = Self::new();
            lan.conversations.took_lease(mac(99), OFFICE, lan.start);
            lan
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn choose(&mut self, second: u64, discover: &Discover) -> Result<Form, Reason> {
            let Self { fetched, prefer_http, delay, .. } = *self;
            let about = Circumstances { fetched, prefer_http, delay };
            let now = self.at(second);
            self.conversations.choose(discover, &about, now)
        }

        /// What a ROM is offered at these seconds.
        fn offers(&mut self, seconds: &[u64]) -> Vec<Form> {
            seconds.iter().map(|&second| self.choose(second, &rom()).unwrap()).collect()
        }
    }

    fn mac(last: u16) -> Mac {
        let [a, b] = last.to_be_bytes();
        Mac::new([2, 0, 0, 0, a, b]).unwrap()
    }

    fn rom() -> Discover {
        let platform = Some(Platform::Uefi);
        Discover {
            mac: mac(1),
            means: Means::Pxe,
            stage: Stage::Rom,
            platform,
            offer: Offer::Auto,
            is_elsewhere: false,
        }
    }

    const OFFICE: Option<Ipv4Addr> = Some(Ipv4Addr::new(192, 0, 2, 1));
    const A: Form = Form::Direct;
    const B: Form = Form::BootServer;

    #[test]
    fn a_rom_that_takes_nothing_up_gets_each_form_in_turn() {
        assert_eq!(Lan::with_a_dhcp_server().offers(&[0, 4, 12, 28]), [A, B, A, B]);
    }

    #[test]
    fn without_a_dhcp_server_the_form_is_not_to_blame() {
        let mut lan = Lan::new();
        assert_eq!(lan.offers(&[0, 4, 12, 28]), [A, A, A, A]);
        // A laptop that wakes up asks for the address it had at home.
        lan.conversations.took_lease(mac(99), None, lan.at(40));
        lan.conversations.took_lease(mac(1), None, lan.at(40));
        assert_eq!(lan.offers(&[50]), [A]);
        lan.conversations.heard_dhcp_server();
        assert_eq!(lan.offers(&[60, 64]), [B, A]);
    }

    #[test]
    fn what_comes_within_one_collection_of_offers_changes_nothing() {
        assert_eq!(Lan::with_a_dhcp_server().offers(&[0, 1, 2, 2]), [A, A, A, A]);
        let mut late = Lan::with_a_dhcp_server();
        late.delay = Duration::from_secs(5);
        assert_eq!(late.offers(&[0, 4, 12]), [A, A, B], "the first has not even been sent at 4 s");
    }

    #[test]
    fn a_lease_and_then_silence_says_that_the_offer_was_not_understood() {
        let mut lan = Lan::new();
        assert_eq!(lan.offers(&[0]), [A]);
        lan.conversations.took_lease(mac(1), OFFICE, lan.at(4));
        // Switched on again half an hour later.
        assert_eq!(lan.offers(&[1800]), [B]);
        lan.conversations.asked_boot_server(mac(1));
        assert_eq!(lan.offers(&[3600]), [B], "and that worked");
    }

    #[test]
    fn the_form_that_worked_is_offered_first_and_falls_back_after_two_failures() {
        let mut lan = Lan::with_a_dhcp_server();
        assert_eq!(lan.offers(&[0]), [A]);
        lan.fetched.any = Some(lan.at(4));
        assert_eq!(lan.offers(&[100, 104, 112, 128]), [A, A, B, A]);
        lan.fetched.any = Some(lan.at(130));
        assert_eq!(lan.offers(&[200]), [A], "fetched without asking port 4011: the direct one");
        assert_eq!(lan.offers(&[204, 212]), [A, B]);
        lan.conversations.asked_boot_server(mac(1));
        assert_eq!(lan.offers(&[300, 304, 312]), [B, B, A], "it is the other one that works");
    }

    #[test]
    fn ipxe_shows_that_the_rom_took_our_offer_and_gets_the_direct_form() {
        let mut lan = Lan::with_a_dhcp_server();
        let ipxe = Discover { stage: Stage::Ipxe, ..rom() };
        assert_eq!(lan.offers(&[0]), [A]);
        for second in [8, 12, 20] {
            assert_eq!(lan.choose(second, &ipxe), Ok(A));
        }
        assert_eq!(lan.offers(&[100, 104]), [A, A], "the ROM begins anew with the one that worked");
    }

    #[test]
    fn an_operator_may_fix_the_form() {
        let mut lan = Lan::with_a_dhcp_server();
        for (offer, form) in [(Offer::Direct, A), (Offer::BootServer, B)] {
            for second in [0, 4, 12] {
                assert_eq!(lan.choose(second, &Discover { offer, ..rom() }), Ok(form));
            }
        }
    }

    #[test]
    fn uefi_that_is_to_come_by_http_is_left_alone_by_pxe_for_one_round() {
        let mut lan = Lan::with_a_dhcp_server();
        lan.prefer_http = true;
        let http = Discover { means: Means::Http, ..rom() };
        for second in [0, 4, 12, 28] {
            assert_eq!(lan.choose(second, &rom()), Err(Reason::LeftToHttp));
        }
        assert_eq!(lan.choose(120, &http), Ok(Form::Http));
        lan.fetched.by_http_boot = Some(lan.at(125));
        assert_eq!(lan.choose(900, &rom()), Err(Reason::LeftToHttp), "it is known to come");
        lan.fetched.by_http_boot = None;
        let other = Discover { mac: mac(2), ..rom() };
        assert_eq!(lan.choose(0, &other), Err(Reason::LeftToHttp));
        assert_eq!(lan.choose(130, &other), Ok(A), "it has no HTTP Boot");
        assert_eq!(lan.choose(900, &other), Ok(B));
        let bios = Discover { mac: mac(3), platform: Some(Platform::Bios), ..rom() };
        assert_eq!(lan.choose(0, &bios), Ok(A));
    }

    #[test]
    fn firmware_whose_http_boot_fails_is_answered_by_pxe() {
        let mut lan = Lan::new();
        lan.prefer_http = true;
        let http = Discover { means: Means::Http, ..rom() };
        // HTTP before PXE in the boot order, and again and again.
        assert_eq!(lan.choose(0, &http), Ok(Form::Http));
        assert_eq!(lan.choose(40, &rom()), Err(Reason::LeftToHttp), "it may be on its way");
        // It looked at the file and did not take it, or somebody else discovered in its name.
        lan.fetched.any = Some(lan.at(50));
        for second in [100, 200, 300] {
            assert_eq!(lan.choose(second, &http), Ok(Form::Http));
            assert_eq!(lan.choose(second + 40, &rom()), Ok(A), "{second}");
        }
        // A file of another server: nobody here sees it fetched.
        let elsewhere = |means| Discover { mac: mac(2), means, is_elsewhere: true, ..rom() };
        assert_eq!(lan.choose(400, &elsewhere(Means::Http)), Ok(Form::Http));
        assert_eq!(lan.choose(900, &elsewhere(Means::Pxe)), Err(Reason::LeftToHttp));
    }

    #[test]
    fn the_lease_of_the_system_on_its_disk_says_nothing_of_our_offer() {
        let mut lan = Lan::new();
        assert_eq!(lan.offers(&[0]), [A]);
        lan.fetched.any = Some(lan.at(4));
        assert_eq!(lan.offers(&[1000]), [A]);
        lan.conversations.took_lease(mac(1), OFFICE, lan.at(1200));
        assert_eq!(lan.offers(&[9000]), [A], "the form that works");
    }

    #[test]
    fn a_lan_full_of_made_up_machines_costs_no_memory() {
        let mut lan = Lan::with_a_dhcp_server();
        let count = u16::try_from(2 * MOST.get()).unwrap();
        for number in 0..count {
            let second = u64::from(number);
            assert_eq!(lan.choose(second, &Discover { mac: mac(number), ..rom() }), Ok(A));
            lan.conversations.took_lease(mac(number.wrapping_add(30_000)), OFFICE, lan.at(second));
        }
        let machines = &lan.conversations.machines;
        assert_eq!(machines.len(), MOST.get());
        let [oldest, newest] = [MOST.get() as u16, count - 1].map(mac);
        assert!(machines.contains(&oldest) && machines.contains(&newest));
    }
}
