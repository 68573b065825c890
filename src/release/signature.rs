//! A detached OpenPGP signature, held against a file that comes in pieces.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use digest::DynDigest;
use pgp::{
    armor::BlockType,
    crypto::hash::HashAlgorithm,
    errors::Error,
    packet::{
        Packet, PacketParser, Signature, SignatureConfig, SignatureType, SignatureVersionSpecific,
        SubpacketData,
    },
};

use super::keyring::{Key, Keyring, hashed, unarmored};

/// Signatures in one file that are looked at.
const MOST: usize = 16;
/// The longest signature file that is read, in bytes: those of releases have under 1 KiB.
pub const LONGEST: u64 = 64 << 10;

/// What became of one signed file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// A key of the keyring signed just this.
    Good {
        /// Of the key that signed, in upper case.
        fingerprint: String,
        /// When.
        made: SystemTime,
        /// Until when that holds; mostly for ever.
        until: Option<SystemTime>,
    },
    /// Not so, or nobody knows.
    Bad(Fault),
}

/// Why a file does not count as signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The key had expired when it signed.
    AfterExpiry {
        /// Its fingerprint.
        key: String,
        /// In seconds since 1970.
        made: u64,
        /// In seconds since 1970.
        until: u64,
    },
    /// The signature is older than its key.
    BeforeKey {
        /// Its fingerprint.
        key: String,
        /// In seconds since 1970.
        made: u64,
        /// In seconds since 1970.
        from: u64,
    },
    /// The signature is no OpenPGP data, or cut off.
    Damaged,
    /// The signature itself held only for a time.
    Expired,
    /// The signature is from after our clock's time.
    Future(u64),
    /// The file is not what the key signed.
    Mismatch {
        /// Its fingerprint.
        key: String,
    },
    /// There is no signature in the signature's file.
    Nothing,
    /// The key is revoked.
    Revoked {
        /// Its fingerprint.
        key: String,
    },
    /// The key may not sign files.
    Unfit {
        /// Its fingerprint.
        key: String,
        /// Why not.
        why: &'static str,
    },
    /// No certificate has the key.
    UnknownKey(String),
    /// File or signature cannot be read: what the system says.
    Unreadable(String),
    /// A kind of signature that is not looked at.
    Unsupported(String),
    /// A digest that can be forged.
    WeakDigest(String),
}

/// A file that is being held against its signatures.
pub struct Check<'k> {
    signers: Vec<Signer<'k>>,
    /// What is wrong with the signatures that are not looked at any more.
    fault: Option<Fault>,
}

/// A signature that is good when its file is.
struct Signer<'k> {
    key: &'k Key,
    signature: Signature,
    config: SignatureConfig,
    hasher: Box<dyn DynDigest + Send>,
}

impl Keyring {
    /// Begins to hold a file against the content of its signature file. What is wrong with the
    /// signature itself is found at once.
    pub fn begin(&self, signatures: &[u8], now: SystemTime) -> Result<Check<'_>, Fault> {
        let mut check = Check { signers: Vec::new(), fault: None };
        for signature in read(signatures)? {
            match self.signers_of(&signature, seconds(now)) {
                Ok(signers) => check.signers.extend(signers),
                Err(fault) => check.note(fault),
            }
        }
        match (check.signers.is_empty(), check.fault.take()) {
            (true, fault) => Err(fault.unwrap_or(Fault::Nothing)),
            (false, fault) => Ok(Check { fault, ..check }),
        }
    }

    fn signers_of(&self, signature: &Signature, now: u64) -> Result<Vec<Signer<'_>>, Fault> {
        let made = is_acceptable(signature, now)?;
        let mut signers = Vec::new();
        let mut fault = None;
        for key in self.signers(signature) {
            let signer = key.may_have_signed(made).and_then(|()| Signer::new(key, signature));
            match signer {
                Ok(signer) => signers.push(signer),
                Err(error) => fault = Some(error),
            }
        }
        match (signers.is_empty(), fault) {
            (false, _) => Ok(signers),
            (true, Some(fault)) => Err(fault),
            (true, None) => Err(Fault::UnknownKey(issuer(signature))),
        }
    }
}

/// The signatures in a file; anything else in it is damage.
fn read(bytes: &[u8]) -> Result<Vec<Signature>, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Nothing);
    }
    let packets = unarmored(bytes, BlockType::Signature).ok_or(Fault::Damaged)?;
    let mut signatures = Vec::new();
    for packet in PacketParser::new(&packets[..]).take(MOST) {
        match packet {
            Ok(Packet::Signature(signature)) => signatures.push(signature),
            Err(Error::Unsupported { .. }) => {}
            Ok(_) | Err(_) => return Err(Fault::Damaged),
        }
    }
    match signatures.is_empty() {
        true => Err(Fault::Damaged),
        false => Ok(signatures),
    }
}

/// When a signature was made, if its own words allow to believe it.
fn is_acceptable(signature: &Signature, now: u64) -> Result<u64, Fault> {
    let Some(config) = signature.config() else {
        let version = format!("it is of version {:?}", signature.version());
        return Err(Fault::Unsupported(version));
    };
    if config.typ() != SignatureType::Binary {
        return Err(Fault::Unsupported(format!("it is of type {:?}", config.typ())));
    }
    let has_critical_notation = hashed(signature).any(|subpacket| {
        subpacket.is_critical && matches!(subpacket.data, SubpacketData::Notation(_))
    });
    if has_critical_notation {
        return Err(Fault::Unsupported("it makes a condition".to_owned()));
    }
    let weak = [HashAlgorithm::Md5, HashAlgorithm::Sha1, HashAlgorithm::Ripemd160];
    if weak.contains(&config.hash_alg) {
        return Err(Fault::WeakDigest(config.hash_alg.to_string()));
    }
    let Some(made) = config.created().map(|made| u64::from(made.as_secs())) else {
        return Err(Fault::Unsupported("it does not say when it was made".to_owned()));
    };
    if made > now {
        return Err(Fault::Future(made));
    }
    match expiry(signature, made) {
        Some(until) if until <= now => Err(Fault::Expired),
        Some(_) | None => Ok(made),
    }
}

fn expiry(signature: &Signature, made: u64) -> Option<u64> {
    let lasts = signature.signature_expiration_time()?.as_secs();
    (lasts > 0).then(|| made + u64::from(lasts))
}

/// The key a signature says it is of.
fn issuer(signature: &Signature) -> String {
    let print = signature.issuer_fingerprint().first().map(|print| format!("{print:X}"));
    let id = || signature.issuer_key_id().first().map(|id| id.to_string().to_uppercase());
    print.or_else(id).unwrap_or_else(|| "a key that it does not name".to_owned())
}

impl<'k> Signer<'k> {
    fn new(key: &'k Key, signature: &Signature) -> Result<Self, Fault> {
        let unsupported = |error: &dyn fmt::Display| Fault::Unsupported(error.to_string());
        let config = signature.config().ok_or(Fault::Damaged)?.clone();
        let mut hasher = config.hash_alg.new_hasher().map_err(|error| unsupported(&error))?;
        if let SignatureVersionSpecific::V6 { salt } = &config.version_specific {
            if config.hash_alg.salt_len() != Some(salt.len()) {
                return Err(Fault::Damaged);
            }
            hasher.update(salt);
        }
        Ok(Self { key, signature: signature.clone(), config, hasher })
    }

    fn verdict(self) -> Verdict {
        let key = self.key.fingerprint.clone();
        let made = self.config.created().map_or(0, |made| u64::from(made.as_secs()));
        let until = expiry(&self.signature, made).map(time);
        match self.holds() {
            Some(true) => Verdict::Good { fingerprint: key, made: time(made), until },
            Some(false) | None => Verdict::Bad(Fault::Mismatch { key }),
        }
    }

    /// RFC 9580 section 5.2.4.
    fn holds(mut self) -> Option<bool> {
        let length = self.config.hash_signature_data(&mut self.hasher).ok()?;
        self.hasher.update(&self.config.trailer(length).ok()?);
        let hash = self.hasher.finalize();
        let begins_so = self.signature.signed_hash_value()?[..] == *hash.get(..2)?;
        let signature = self.signature.signature()?;
        Some(begins_so && self.key.public.verify(self.config.hash_alg, &hash, signature))
    }
}

impl Check<'_> {
    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        for signer in &mut self.signers {
            signer.hasher.update(bytes);
        }
    }

    /// What the whole file comes to. One good signature is enough: a new key's may stand beside an
    /// old one's.
    pub fn finish(mut self) -> Verdict {
        for signer in std::mem::take(&mut self.signers) {
            match signer.verdict() {
                Verdict::Bad(fault) => self.fault = Some(fault),
                good @ Verdict::Good { .. } => return good,
            }
        }
        Verdict::Bad(self.fault.unwrap_or(Fault::Nothing))
    }

    /// Keeps what says most: that a key is unknown says least.
    fn note(&mut self, fault: Fault) {
        if self.fault.is_none() || !matches!(fault, Fault::UnknownKey(_)) {
            self.fault = Some(fault);
        }
    }
}

impl Verdict {
    /// Whether it is good, still.
    pub fn is_good(&self, now: SystemTime) -> bool {
        match self {
            Self::Good { until, .. } => until.is_none_or(|until| now < until),
            Self::Bad(_) => false,
        }
    }
}

/// SHA-256 of a short text, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    let digest = HashAlgorithm::Sha256.digest(bytes).unwrap_or_default();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The day of a time, as 2016-09-01, in UTC.
fn day(seconds: u64) -> String {
    // Howard Hinnant's civil_from_days: years that begin in March, in eras of 400 years.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good { fingerprint, made, .. } => {
                write!(f, "signed by {fingerprint} on {}", day(seconds(*made)))
            }
            Self::Bad(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterExpiry { key, made, until } => {
                let (made, until) = (day(*made), day(*until));
                write!(
                    f,
                    "signed by {key} on {made}, when that key had expired ({until}); fetch the key \
                     again, as its owner may have prolonged it"
                )
            }
            Self::BeforeKey { key, made, from } => {
                let (made, from) = (day(*made), day(*from));
                write!(f, "signed by {key} on {made}, before that key was made ({from})")
            }
            Self::Damaged => f.write_str("its signature is damaged or cut off; fetch it again"),
            Self::Expired => f.write_str("its signature held only for a time, and that is over"),
            Self::Future(made) => {
                let made = day(*made);
                write!(f, "signed on {made}, which is yet to come: is this machine's clock right?")
            }
            Self::Mismatch { key } => {
                write!(f, "not what {key} signed: fetch the file and its signature again")
            }
            Self::Nothing => f.write_str("its signature file is empty; fetch it again"),
            Self::Revoked { key } => write!(f, "signed by {key}, which is revoked"),
            Self::Unfit { key, why } => write!(f, "signed by {key}, which may not sign: {why}"),
            Self::UnknownKey(key) => write!(
                f,
                "signed by {key}, which is not in the keyring; add that key, if you trust it"
            ),
            Self::Unreadable(error) => write!(f, "cannot be verified: {error}"),
            Self::Unsupported(what) => {
                write!(f, "its signature is of a kind that is not looked at: {what}")
            }
            Self::WeakDigest(digest) => {
                write!(f, "its signature rests on {digest}, which can be forged")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_the_calendars() {
        for (seconds, said) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_494_892_800, "2017-05-16"),
            (4_102_444_799, "2099-12-31"),
        ] {
            assert_eq!(day(seconds), said);
        }
    }
}
