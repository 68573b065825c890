//! Releases on disk and the signatures on them, with keys and second opinions from real GnuPG.
// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]

#[path = "releases/disk.rs"]
mod disk;
#[path = "releases/gnupg.rs"]
mod gnupg;

use std::time::SystemTime;

use bootbox::release::{Fault, Keyring, KeyringFault, Verdict};
use gnupg::{Gnupg, MADE, SIGNED, Signer};
use pgp::{
    composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey, SignedSecretKey},
    crypto::hash::HashAlgorithm,
    packet::{KeyFlags, SignatureConfig, SignatureType, Subpacket, SubpacketData},
    ser::Serialize as _,
    types::{KeyDetails as _, Password},
};

const DATA: &[u8] = b"a disk image";
const EXPIRED: &str = "signed by KEY on 2016-09-01, when that key had expired (2016-06-01); fetch the \
                       key again, as its owner may have prolonged it";

/// Our verdict, with the file in pieces as it comes from a disk.
fn ours(keyring: &[u8], signature: &[u8], data: &[u8]) -> Verdict {
    let keyring = Keyring::parse(keyring, SystemTime::now()).unwrap();
    let mut check = match keyring.begin(signature, SystemTime::now()) {
        Ok(check) => check,
        Err(fault) => return Verdict::Bad(fault),
    };
    data.chunks(5).for_each(|piece| check.update(piece));
    check.finish()
}

/// Our verdict where gpgv must agree, put into words without the key.
fn agreed(gnupg: &Gnupg, keyring: &[u8], signature: &[u8], data: &[u8]) -> String {
    let verdict = ours(keyring, signature, data);
    let (is_good, status) = gnupg.gpgv(keyring, signature, data);
    assert_eq!(matches!(verdict, Verdict::Good { .. }), is_good, "{verdict} / gpgv: {status}");
    verdict.to_string()
}

fn said(words: &str, signer: &Signer) -> String {
    words.replace("KEY", &signer.subkey)
}

#[test]
fn a_file_is_good_when_it_is_just_what_was_signed() {
    let gnupg = Gnupg::new();
    // The algorithms of CoreOS and Flatcar, and GnuPG's own today.
    for algorithm in ["rsa2048", "ed25519", "nistp256/ecdsa"] {
        let signer = gnupg.signer(&algorithm[..5], algorithm, "never");
        let keyring = gnupg.export(&[&signer]);
        let signature = gnupg.sign(&[&signer], DATA, &[]);
        let good = said("signed by KEY on 2016-09-01", &signer);
        let not = said("not what KEY signed: fetch the file and its signature again", &signer);
        let damaged = "its signature is damaged or cut off; fetch it again";
        let cut = &signature[..signature.len() - 9];
        for (signature, data, words) in [
            (&signature[..], DATA, &good[..]),
            (&signature, b"another image", &not),
            (&signature, &DATA[..5], &not),
            (&signature, b"", &not),
            (cut, DATA, damaged),
            (b"<html>404 Not Found</html>", DATA, damaged),
            (DATA, DATA, damaged),
            (b"", DATA, "its signature file is empty; fetch it again"),
        ] {
            assert_eq!(agreed(&gnupg, &keyring, signature, data), words);
        }
    }
}

/// A certificate whose subkey was bound anew, with this digest in both directions; GnuPG of today
/// does not make such any more.
fn bound_with(secret: &[u8], digest: HashAlgorithm) -> Vec<u8> {
    let secret = SignedSecretKey::from_bytes(secret).unwrap();
    let (primary, subkey) = (&secret.primary_key, &secret.secret_subkeys[0].key);
    let made = SubpacketData::SignatureCreationTime(subkey.created_at());
    let made = Subpacket::regular(made).unwrap();
    let issuer = |id| Subpacket::regular(SubpacketData::IssuerKeyId(id)).unwrap();
    let nothing = Password::empty();

    let mut back = SignatureConfig::v4(SignatureType::KeyBinding, subkey.algorithm(), digest);
    back.hashed_subpackets = vec![made.clone()];
    back.unhashed_subpackets = vec![issuer(subkey.legacy_key_id())];
    let of_subkey = subkey.public_key();
    let back =
        back.sign_primary_key_binding(subkey, of_subkey, &nothing, primary.public_key()).unwrap();

    let mut signs = KeyFlags::default();
    signs.set_sign(true);
    let signs = Subpacket::regular(SubpacketData::KeyFlags(signs)).unwrap();
    let back = Subpacket::regular(SubpacketData::EmbeddedSignature(Box::new(back))).unwrap();
    let mut binding =
        SignatureConfig::v4(SignatureType::SubkeyBinding, primary.algorithm(), digest);
    binding.hashed_subpackets = vec![made, signs];
    binding.unhashed_subpackets = vec![issuer(primary.legacy_key_id()), back];
    let of_primary = primary.public_key();
    let binding = binding.sign_subkey_binding(primary, of_primary, &nothing, of_subkey).unwrap();

    let subkey = SignedPublicSubKey::new(of_subkey.clone(), vec![binding]);
    SignedPublicKey::new(of_primary.clone(), secret.details.clone(), vec![subkey])
        .to_bytes()
        .unwrap()
}

#[test]
fn a_key_of_coreos_age_vouches_for_itself_with_sha_1() {
    let gnupg = Gnupg::new();
    let sha_1 = ["--cert-digest-algo", "SHA1"];
    let signer = gnupg.signer_by(&sha_1, "coreos", "rsa2048", "never");
    let secret = gnupg.gpg(MADE, &["--export-secret-keys", &signer.primary]);
    let signature = gnupg.sign(&[&signer], DATA, &[]);
    let keyring = bound_with(&secret, HashAlgorithm::Sha1);
    let by_itself = &certificate(&keyring).details.users[0].signatures[0];
    assert_eq!(by_itself.hash_alg(), Some(HashAlgorithm::Sha1));
    let words = said("signed by KEY on 2016-09-01", &signer);
    assert_eq!(agreed(&gnupg, &keyring, &signature, DATA), words);

    let words = "signed by KEY, which may not sign: its certificate does not vouch for it";
    let keyring = bound_with(&secret, HashAlgorithm::Md5);
    assert_eq!(ours(&keyring, &signature, DATA).to_string(), said(words, &signer));
}

#[test]
fn armor_and_several_certificates_make_no_difference() {
    let gnupg = Gnupg::new();
    let (one, two) =
        (gnupg.signer("one", "ed25519", "never"), gnupg.signer("two", "ed25519", "never"));
    let signature = gnupg.sign(&[&two], DATA, &[]);
    let armored = gnupg.sign(&[&two], DATA, &["--armor"]);
    assert!(armored.starts_with(b"-----BEGIN"));
    let block = |signer: &Signer| gnupg.gpg(SIGNED, &["--armor", "--export", &signer.primary]);
    let blocks = [block(&one), b"\n".to_vec(), block(&two)].concat();
    let in_one = gnupg.gpg(SIGNED, &["--armor", "--export"]);
    let binary = [gnupg.export(&[&one]), gnupg.export(&[&two])].concat();
    for keyring in [blocks, in_one, binary] {
        assert_eq!(Keyring::parse(&keyring, SystemTime::now()).unwrap().certificates(), 2);
        for signature in [&signature, &armored] {
            assert!(matches!(ours(&keyring, signature, DATA), Verdict::Good { .. }));
        }
    }
    let cut = &armored[..armored.len() - 30];
    assert_eq!(ours(&gnupg.export(&[&two]), cut, DATA), Verdict::Bad(Fault::Damaged));
}

#[test]
fn of_an_unknown_key_its_name_is_told() {
    let gnupg = Gnupg::new();
    let (known, other) =
        (gnupg.signer("known", "ed25519", "never"), gnupg.signer("other", "ed25519", "never"));
    let keyring = gnupg.export(&[&known]);
    let signature = gnupg.sign(&[&other], DATA, &[]);
    let words =
        said("signed by KEY, which is not in the keyring; add that key, if you trust it", &other);
    assert_eq!(agreed(&gnupg, &keyring, &signature, DATA), words);
    // One good signature is enough, wherever it stands; gpgv wants to know every key.
    let both = [signature, gnupg.sign(&[&known], DATA, &[])].concat();
    assert!(matches!(ours(&keyring, &both, DATA), Verdict::Good { .. }));
    let words = said("not what KEY signed: fetch the file and its signature again", &known);
    assert_eq!(agreed(&gnupg, &keyring, &both, b"another"), words);
    let both = gnupg.sign(&[&known, &other], DATA, &[]);
    assert!(matches!(ours(&keyring, &both, DATA), Verdict::Good { .. }));
}

#[test]
fn a_key_that_expired_later_signed_well_and_one_that_had_expired_did_not() {
    let gnupg = Gnupg::new();
    let signer = gnupg.signer("coreos", "ed25519", "2017-05-16");
    let signature = gnupg.sign(&[&signer], DATA, &[]);
    let words = said("signed by KEY on 2016-09-01", &signer);
    let keyring = gnupg.export(&[&signer]);
    assert_eq!(agreed(&gnupg, &keyring, &signature, DATA), words);
    let (_, status) = gnupg.gpgv(&keyring, &signature, DATA);
    assert!(status.contains("EXPKEYSIG"), "{status}");

    // Its owner's last word is that it expired before; gpgv only notes that it has.
    let Signer { primary, subkey } = &signer;
    gnupg.gpg("20160301T000000", &["--quick-set-expire", primary, "2016-06-01", subkey]);
    let words = said(EXPIRED, &signer);
    assert_eq!(ours(&gnupg.export(&[&signer]), &signature, DATA).to_string(), words);

    // The same where the primary key has expired and the subkey has not.
    let signer = gnupg.signer("flatcar", "ed25519", "never");
    let signature = gnupg.sign(&[&signer], DATA, &[]);
    gnupg.gpg("20160301T000000", &["--quick-set-expire", &signer.primary, "2016-06-01"]);
    let words = said(EXPIRED, &signer);
    assert_eq!(ours(&gnupg.export(&[&signer]), &signature, DATA).to_string(), words);
    gnupg.gpg("20160401T000000", &["--quick-set-expire", &signer.primary, "2017-06-01"]);
    let words = said("signed by KEY on 2016-09-01", &signer);
    assert_eq!(agreed(&gnupg, &gnupg.export(&[&signer]), &signature, DATA), words);
}

#[test]
fn a_revoked_key_is_not_believed_unless_it_was_merely_replaced() {
    let gnupg = Gnupg::new();
    let revoked = |signer: &Signer| said("signed by KEY, which is revoked", signer);
    for (reason, when, is_good) in [
        ("1", "20170101T000000", false),
        ("0", "20170101T000000", false),
        ("2", "20170101T000000", true),
        ("3", "20170101T000000", true),
        ("2", "20160801T000000", false),
    ] {
        let signer = gnupg.signer(&format!("r{reason}at{when}"), "ed25519", "never");
        let signature = gnupg.sign(&[&signer], DATA, &[]);
        gnupg.revoke_subkey(&signer, when, reason);
        let verdict = ours(&gnupg.export(&[&signer]), &signature, DATA);
        match is_good {
            true => assert!(matches!(verdict, Verdict::Good { .. }), "{reason}: {verdict}"),
            false => assert_eq!(verdict.to_string(), revoked(&signer), "{reason} {when}"),
        }
    }
    let signer = gnupg.signer("whole", "ed25519", "never");
    let signature = gnupg.sign(&[&signer], DATA, &[]);
    assert!(matches!(ours(&gnupg.export(&[&signer]), &signature, DATA), Verdict::Good { .. }));
    gnupg.revoke(&signer);
    let keyring = gnupg.export(&[&signer]);
    assert_eq!(ours(&keyring, &signature, DATA).to_string(), revoked(&signer));
    assert!(gnupg.gpgv(&keyring, &signature, DATA).1.contains("REVKEYSIG"));
}

fn certificate(bytes: &[u8]) -> SignedPublicKey {
    SignedPublicKey::from_bytes(bytes).unwrap()
}

#[test]
fn a_subkey_that_and_its_certificate_do_not_vouch_for_each_other_signs_nothing() {
    let gnupg = Gnupg::new();
    let (ours_is, thief) =
        (gnupg.signer("ours", "ed25519", "never"), gnupg.signer("thief", "ed25519", "never"));
    let signature = gnupg.sign(&[&thief], DATA, &[]);

    let mut grafted = certificate(&gnupg.export(&[&ours_is]));
    grafted.public_subkeys.extend(certificate(&gnupg.export(&[&thief])).public_subkeys);
    let words = "signed by KEY, which may not sign: its certificate does not vouch for it";
    let verdict = agreed(&gnupg, &grafted.to_bytes().unwrap(), &signature, DATA);
    assert!(verdict == said(words, &thief), "{verdict}");

    let mut silent = certificate(&gnupg.export(&[&thief]));
    let binding = &mut silent.public_subkeys[0].signatures[0];
    let at = binding
        .config()
        .unwrap()
        .unhashed_subpackets()
        .position(|subpacket| matches!(subpacket.data, SubpacketData::EmbeddedSignature(_)));
    binding.unhashed_subpacket_remove(at.unwrap()).unwrap();
    let words = "signed by KEY, which may not sign: it does not vouch for its certificate";
    let verdict = agreed(&gnupg, &silent.to_bytes().unwrap(), &signature, DATA);
    assert!(verdict == said(words, &thief), "{verdict}");

    let mut unsigned = certificate(&gnupg.export(&[&thief]));
    unsigned.details.users.clear();
    let verdict = ours(&unsigned.to_bytes().unwrap(), &signature, DATA).to_string();
    assert!(verdict.ends_with("no self-signature"), "{verdict}");
}

#[test]
fn digests_that_can_be_forged_and_other_kinds_are_refused() {
    let gnupg = Gnupg::new();
    let signer = gnupg.signer("old", "rsa2048", "never");
    let keyring = gnupg.export(&[&signer]);
    for (words, said) in [
        (&["--digest-algo", "SHA1"][..], "its signature rests on SHA1, which can be forged"),
        (
            &["--allow-weak-digest-algos", "--digest-algo", "MD5"],
            "its signature rests on MD5, which can be forged",
        ),
        (&["--textmode"], "its signature is of a kind that is not looked at: it is of type Text"),
        (
            &["--default-sig-expire", "2016-10-01"],
            "its signature held only for a time, and that is over",
        ),
        (
            &["--sig-notation", "!only@example.org=on-mondays"],
            "its signature is of a kind that is not looked at: it makes a condition",
        ),
    ] {
        let signature = gnupg.sign(&[&signer], DATA, words);
        assert_eq!(ours(&keyring, &signature, DATA).to_string(), said);
    }
    let whole = gnupg.gpg_told(SIGNED, &["--local-user", &signer.subkey, "--sign"], DATA);
    assert_eq!(ours(&keyring, &whole, DATA), Verdict::Bad(Fault::Damaged));
    let later = Keyring::parse(&keyring, SystemTime::now()).unwrap();
    let signature = gnupg.sign(&[&signer], DATA, &[]);
    let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_470_000_000);
    assert!(matches!(later.begin(&signature, then), Err(Fault::Future(_))));
}

#[test]
fn what_is_no_keyring_is_told_apart() {
    let gnupg = Gnupg::new();
    let signer = gnupg.signer("a", "ed25519", "never");
    let keyring = gnupg.export(&[&signer]);
    let keybox = std::fs::read(gnupg.path().join("pubring.kbx")).unwrap();
    let secret = gnupg.gpg(MADE, &["--export-secret-keys", &signer.primary]);
    for (bytes, fault) in [
        (&b""[..], KeyringFault::Empty),
        (b"# nothing yet\n", KeyringFault::Empty),
        (&keybox, KeyringFault::Keybox),
        (&secret, KeyringFault::Secret),
        (&keyring[..keyring.len() - 9], KeyringFault::Damaged),
        (b"\xff\xfe\xfd\xfc", KeyringFault::Damaged),
    ] {
        let parsed = Keyring::parse(bytes, SystemTime::now()).map(|keyring| keyring.certificates());
        assert_eq!(parsed, Err(fault));
    }
}

#[test]
fn no_byte_that_is_flipped_makes_it_panic_or_another_file_good() {
    let gnupg = Gnupg::new();
    let signer = gnupg.signer("a", "ed25519", "never");
    let keyring = gnupg.export(&[&signer]);
    let signature = gnupg.sign(&[&signer], DATA, &[]);
    let parsed = Keyring::parse(&keyring, SystemTime::now()).unwrap();
    for at in 0..signature.len() {
        for bit in [1, 0x80] {
            let mut flipped = signature.clone();
            flipped[at] ^= bit;
            if let Ok(mut check) = parsed.begin(&flipped, SystemTime::now()) {
                check.update(b"another image");
                assert!(matches!(check.finish(), Verdict::Bad(_)));
            }
        }
        let _ = parsed.begin(&signature[..at], SystemTime::now());
    }
    // A certificate takes milliseconds to read where nothing is optimised.
    for at in (0..keyring.len()).step_by(7) {
        let mut flipped = keyring.clone();
        flipped[at] ^= 0x40;
        for keyring in [&flipped[..], &keyring[..at]] {
            if let Ok(keyring) = Keyring::parse(keyring, SystemTime::now()) {
                let _ = keyring.begin(&signature, SystemTime::now()).map(|check| check.finish());
            }
        }
    }
}
