//! Whose signatures count: OpenPGP certificates, reduced at load to the keys in them that may sign,
//! each with the time in which it may.
//!
//! rPGP reads packets and does the arithmetic; what makes a key good is decided here.

use std::{fmt, io::Read as _, time::SystemTime};

use pgp::{
    armor::{BlockType, Dearmor, DearmorOptions},
    composed::{PublicOrSecret, SignedPublicKey, SignedPublicSubKey},
    crypto::hash::HashAlgorithm,
    packet::{
        PublicKey, PublicSubkey, RevocationCode, Signature, SignatureType, Subpacket, SubpacketData,
    },
    types::{KeyDetails, KeyId, Tag, VerifyingKey},
};

use super::signature::{Fault, seconds};

/// A keyring is read whole; GnuPG's own of all Debian developers has 20 MB.
const LARGEST: usize = 32 << 20;

/// The keys whose signatures count.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<Key>,
    certificates: usize,
}

/// One key that signs, or that does not and why.
#[derive(Debug)]
pub(super) struct Key {
    /// Of this key, in upper case.
    pub(super) fingerprint: String,
    pub(super) id: KeyId,
    pub(super) public: Public,
    standing: Standing,
}

#[derive(Debug)]
pub(super) enum Public {
    Primary(PublicKey),
    Subkey(PublicSubkey),
}

/// In which time a key may sign, in seconds since 1970.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// From when it is there.
    from: u64,
    /// When it expires.
    until: Option<u64>,
    /// From when on it is revoked; 0 where not even what it signed before is to be believed.
    revoked: Option<u64>,
    /// Why it may sign nothing at all.
    unfit: Option<&'static str>,
}

impl Keyring {
    /// Reads certificates, armored (one block or more) or binary; `now` tells which self-signatures
    /// count.
    pub fn parse(bytes: &[u8], now: SystemTime) -> Result<Self, KeyringFault> {
        if bytes.len() > LARGEST {
            return Err(KeyringFault::TooLarge);
        }
        if bytes.get(8..12) == Some(b"KBXf") {
            return Err(KeyringFault::Keybox);
        }
        let packets = unarmored(bytes, BlockType::PublicKey).ok_or(KeyringFault::Damaged)?;
        let read = PublicOrSecret::from_bytes_many(&packets[..]);
        let mut keyring = Self { keys: Vec::new(), certificates: 0 };
        for certificate in read.map_err(|_| KeyringFault::Damaged)? {
            match certificate.map_err(|_| KeyringFault::Damaged)? {
                PublicOrSecret::Public(certificate) => keyring.add(certificate, seconds(now)),
                PublicOrSecret::Secret(_) => return Err(KeyringFault::Secret),
            }
        }
        match keyring.certificates {
            0 => Err(KeyringFault::Empty),
            _ => Ok(keyring),
        }
    }

    /// How many certificates there are.
    pub fn certificates(&self) -> usize {
        self.certificates
    }

    fn add(&mut self, certificate: SignedPublicKey, now: u64) {
        let holder = Holder::of(&certificate, now);
        let SignedPublicKey { primary_key, public_subkeys, .. } = certificate;
        for subkey in public_subkeys {
            let standing = holder.subkey(&subkey, &primary_key).within(&holder.standing);
            self.keys.push(Key::new(Public::Subkey(subkey.key), standing));
        }
        let unfit = holder.standing.unfit.or(holder.only_certifies);
        let standing = Standing { unfit, ..holder.standing };
        self.keys.push(Key::new(Public::Primary(primary_key), standing));
        self.certificates += 1;
    }

    /// The keys that may have made a signature, by what it says of itself.
    pub(super) fn signers(&self, signature: &Signature) -> impl Iterator<Item = &Key> {
        let fingerprints: Vec<String> =
            signature.issuer_fingerprint().iter().map(|print| format!("{print:X}")).collect();
        let ids: Vec<KeyId> = signature.issuer_key_id().into_iter().copied().collect();
        self.keys.iter().filter(move |key| match fingerprints.is_empty() {
            true => ids.contains(&key.id),
            false => fingerprints.contains(&key.fingerprint),
        })
    }
}

impl Key {
    fn new(public: Public, standing: Standing) -> Self {
        let details: &dyn KeyDetails = match &public {
            Public::Primary(key) => key,
            Public::Subkey(key) => key,
        };
        let (fingerprint, id) = (format!("{:X}", details.fingerprint()), details.legacy_key_id());
        Self { fingerprint, id, public, standing }
    }

    /// Whether what this key signed at that time counts.
    pub(super) fn may_have_signed(&self, made: u64) -> Result<(), Fault> {
        let key = self.fingerprint.clone();
        if let Some(why) = self.standing.unfit {
            return Err(Fault::Unfit { key, why });
        }
        if self.standing.revoked.is_some_and(|revoked| made >= revoked) {
            return Err(Fault::Revoked { key });
        }
        if made < self.standing.from {
            return Err(Fault::BeforeKey { key, made, from: self.standing.from });
        }
        match self.standing.until {
            Some(until) if made >= until => Err(Fault::AfterExpiry { key, made, until }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Standing {
    /// A subkey counts only while its primary key does.
    fn within(self, primary: &Self) -> Self {
        let earliest = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        Self {
            from: self.from.max(primary.from),
            until: earliest(self.until, primary.until),
            revoked: earliest(self.revoked, primary.revoked),
            unfit: primary.unfit.or(self.unfit),
        }
    }
}

/// A primary key, as its own signatures describe it.
struct Holder {
    standing: Standing,
    /// Why it signs nothing but keys.
    only_certifies: Option<&'static str>,
    now: u64,
}

impl Holder {
    fn of(certificate: &SignedPublicKey, now: u64) -> Self {
        let key = &certificate.primary_key;
        let details = &certificate.details;
        let direct = details.direct_signatures.iter().filter(|signature| {
            signature.typ() == Some(SignatureType::Key) && signature.verify_key(key).is_ok()
        });
        let on_names = details.users.iter().flat_map(|user| {
            user.signatures.iter().filter(|signature| {
                signature.typ() != Some(SignatureType::CertRevocation)
                    && signature.verify_certification(key, Tag::UserId, &user.id).is_ok()
            })
        });
        let newest = newest(direct.chain(on_names), now);
        let revocations = details.revocation_signatures.iter();
        let revocations = revocations.filter(|signature| signature.verify_key(key).is_ok());
        let mut standing = Standing::of(key, newest, revoked(revocations));
        if newest.is_none() {
            standing.unfit =
                Some("nothing in the keyring shows that it is whole: no self-signature");
        }
        let only_certifies = newest.and_then(cannot_sign);
        Self { standing, only_certifies, now }
    }

    fn subkey(&self, subkey: &SignedPublicSubKey, primary: &PublicKey) -> Standing {
        let own = |typ: SignatureType| {
            subkey.signatures.iter().filter(move |signature| {
                signature.typ() == Some(typ)
                    && signature.verify_subkey_binding(primary, &subkey.key).is_ok()
            })
        };
        let newest = newest(own(SignatureType::SubkeyBinding), self.now);
        let revoked = revoked(own(SignatureType::SubkeyRevocation));
        let mut standing = Standing::of(&subkey.key, newest, revoked);
        standing.unfit = match newest {
            None => Some("its certificate does not vouch for it"),
            Some(binding) => cannot_sign(binding).or_else(|| {
                // Else anyone could claim another's subkey for a certificate of their own.
                let agrees = embedded(binding).any(|back| {
                    is_strong(back) && back.verify_primary_key_binding(&subkey.key, primary).is_ok()
                });
                (!agrees).then_some("it does not vouch for its certificate")
            }),
        };
        standing
    }
}

impl Standing {
    fn of(key: &impl KeyDetails, newest: Option<&Signature>, revoked: Option<u64>) -> Self {
        let from = u64::from(key.created_at().as_secs());
        let lasts = newest.and_then(Signature::key_expiration_time);
        let lasts = lasts.map(|lasts| u64::from(lasts.as_secs())).filter(|&lasts| lasts > 0);
        Self { from, until: lasts.map(|lasts| from + lasts), revoked, unfit: None }
    }
}

/// The one that counts, as in GnuPG: the last word of the key's owner.
fn newest<'a>(signatures: impl Iterator<Item = &'a Signature>, now: u64) -> Option<&'a Signature> {
    let counts = |signature: &&Signature| {
        let Some(made) = signature.created().map(|made| u64::from(made.as_secs())) else {
            return false;
        };
        let lasts = signature.signature_expiration_time().map_or(0, |lasts| lasts.as_secs());
        let is_over = lasts > 0 && made + u64::from(lasts) <= now;
        made <= now && !is_over && is_strong(signature)
    };
    signatures.filter(counts).max_by_key(|signature| signature.created())
}

/// From when on a key is revoked. What it signed before stands only where its owner says that it
/// was merely replaced or retired.
fn revoked<'a>(revocations: impl Iterator<Item = &'a Signature>) -> Option<u64> {
    let since = |signature: &Signature| match signature.revocation_reason_code() {
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired) => {
            signature.created().map_or(0, |made| u64::from(made.as_secs()))
        }
        Some(_) | None => 0,
    };
    revocations.map(since).min()
}

fn cannot_sign(binding: &Signature) -> Option<&'static str> {
    let mut flags = hashed(binding).filter_map(|subpacket| {
        let SubpacketData::KeyFlags(flags) = &subpacket.data else {
            return None;
        };
        Some(flags.sign())
    });
    (!flags.next().unwrap_or(true)).then_some("it is for other uses than signing")
}

fn embedded(binding: &Signature) -> impl Iterator<Item = &Signature> {
    let unhashed = binding.config().into_iter().flat_map(|config| config.unhashed_subpackets());
    hashed(binding).chain(unhashed).filter_map(|subpacket| {
        let SubpacketData::EmbeddedSignature(back) = &subpacket.data else {
            return None;
        };
        Some(&**back)
    })
}

pub(super) fn hashed(signature: &Signature) -> impl Iterator<Item = &Subpacket> {
    signature.config().into_iter().flat_map(|config| config.hashed_subpackets())
}

/// Keys of CoreOS's age vouch for themselves with SHA-1; nobody has forged that afterwards, and
/// rPGP refuses texts made to collide.
fn is_strong(signature: &Signature) -> bool {
    signature.hash_alg().is_some_and(|hash| hash != HashAlgorithm::Md5)
}

impl Public {
    pub(super) fn verify(
        &self,
        hash: HashAlgorithm,
        hashed: &[u8],
        signature: &pgp::types::SignatureBytes,
    ) -> bool {
        match self {
            Self::Primary(key) => key.verify(hash, hashed, signature).is_ok(),
            Self::Subkey(key) => key.verify(hash, hashed, signature).is_ok(),
        }
    }
}

/// The packets of a text with one armored block or more of this kind, or of what is binary already.
pub(super) fn unarmored(bytes: &[u8], kind: BlockType) -> Option<Vec<u8>> {
    // Every packet's first byte has this bit, and no text has.
    if bytes.first().is_none_or(|first| first & 0x80 != 0) {
        return Some(bytes.to_owned());
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
    let mut packets = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&begin) {
        let block = &rest[start..];
        let length = block.find(&end)? + end.len();
        let block = format!("{}\n", &block[..length]);
        let options = DearmorOptions::new().set_limit(LARGEST);
        Dearmor::with_options(block.as_bytes(), options).read_to_end(&mut packets).ok()?;
        rest = &rest[start + length..];
    }
    Some(packets)
}

/// Why a keyring cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyringFault {
    /// It is no OpenPGP data, or cut off.
    Damaged,
    /// It has no certificate.
    Empty,
    /// It is GnuPG's own database.
    Keybox,
    /// It has a secret key.
    Secret,
    /// It is over 32 MiB.
    TooLarge,
}

impl fmt::Display for KeyringFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instead = "write one with `gpg --export --armor KEY`";
        match self {
            Self::Damaged => write!(f, "is no OpenPGP keyring, or is damaged; {instead}"),
            Self::Empty => write!(f, "has no OpenPGP certificate; {instead}"),
            Self::Keybox => write!(f, "is a database of GnuPG's own; {instead}"),
            Self::Secret => write!(f, "has a secret key, which must not lie here; {instead}"),
            Self::TooLarge => write!(f, "is larger than {} MiB; {instead}", LARGEST >> 20),
        }
    }
}

impl std::error::Error for KeyringFault {}
