//! What the TPM has verified it vouches for: TPMT_TK_VERIFIED (1.85: Part 2, 10.6.5) with each of its tags, from the
//! command that verifies to TPM2_PolicyAuthorize (Part 3, 23.16).

use crate::harness::Fixture;
use crate::keys::{self, Key, SIGN, flush, handle, names, scheme};
use client::codes::{ENDORSEMENT, INSUFFICIENT, NULL, OWNER, PLATFORM, TAG, VALUE, param};
use client::hash::Alg;
use client::names::alg;
use client::policy::PolicyDigest;
use client::session::{Kind, Outcome, Session};
use client::tpm2b;
use tpm_core::cc;
use tpm_crypto::hash::{HashAlg, digest};

/// TPMT_TK_HASHCHECK: a NULL Ticket.
const NO_HASHCHECK: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];
const REFERENCE: &[u8] = b"ref";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    Signature = 0x8022,
    Message = 0x8026,
    Digest = 0x8027,
}

const TAGS: [Tag; 3] = [Tag::Signature, Tag::Message, Tag::Digest];

/// A key whose signatures a hierarchy vouches for. Their nameAlg is SHA-256.
struct Signer {
    what: &'static str,
    /// with its private part
    signs: u32,
    /// in a hierarchy
    verifies: u32,
    name: Vec<u8>,
    /// the hash of its scheme, if it signs digests
    hash: Option<HashAlg>,
    /// the commands that verify with it
    tags: &'static [Tag],
}

fn id(hash: HashAlg) -> [u8; 2] {
    hash.id().to_be_bytes()
}

impl Signer {
    /// An RSA or ECC key that was loaded twice: whole, and its public part in a hierarchy.
    fn external(tpm: &mut Fixture, what: &'static str, key: Key, kind: u16, hash: HashAlg, hierarchy: u32) -> Self {
        let scheme = scheme(kind, hash.id());
        let signs = key.load(tpm, SIGN, &scheme);
        let verifies = key.load_public(tpm, SIGN, &scheme, hierarchy);
        // Of TPM2_VerifySignature the ticket says that the digest was made with nameAlg.
        let tags = if hash == HashAlg::Sha256 { &TAGS[..] } else { &TAGS[1..] };
        Self { what, signs, verifies, name: names(tpm, verifies).0, hash: Some(hash), tags }
    }

    fn primary(tpm: &mut Fixture, what: &'static str, kind: u16, parms: &[u8], hierarchy: u32) -> Self {
        let key = keys::primary_of(tpm, hierarchy, kind, SIGN, parms, &tpm2b(b""));
        let hash = parms.get(2..4).and_then(|id| HashAlg::from_id(u16::from_be_bytes([id[0], id[1]])));
        let (tags, hash) = match (kind, hash) {
            (alg::HASH_MLDSA, _) => (&TAGS[1..], hash),
            (alg::MLDSA, _) => (&TAGS[1..2], None),
            (_, Some(HashAlg::Sha256)) => (&TAGS[..2], None),
            _ => (&TAGS[1..2], None),
        };
        Self { what, signs: key, verifies: key, name: names(tpm, key).0, hash, tags }
    }

    fn flush(self, tpm: &mut Fixture) {
        flush(tpm, self.signs);
        if self.signs != self.verifies {
            flush(tpm, self.verifies);
        }
    }

    /// Has it sign a message, and the signature verified, by the commands of the tag; the ticket.
    fn ticket(&self, tpm: &mut Fixture, tag: Tag, message: &[u8]) -> Vec<u8> {
        match tag {
            Tag::Signature => {
                let digest = tpm2b(digest(HashAlg::Sha256, &[message]).as_slice());
                let params = [&digest[..], &keys::NONE, &NO_HASHCHECK].concat();
                let signature = tpm.run(cc::SIGN, &[self.signs], &[b""], &params).unwrap();
                tpm.run(cc::VERIFY_SIGNATURE, &[self.verifies], &[], &[digest, signature].concat()).unwrap()
            }
            Tag::Message => {
                let signature = self.sign_message(tpm, message);
                let sequence = self.sequence(tpm);
                update(tpm, sequence, message);
                self.verify_message(tpm, sequence, &signature)
            }
            Tag::Digest => self.digest_ticket(tpm, digest(self.hash.unwrap(), &[message]).as_slice()),
        }
    }

    fn digest_ticket(&self, tpm: &mut Fixture, digest: &[u8]) -> Vec<u8> {
        let digest = [tpm2b(b""), tpm2b(digest)].concat();
        let params = [&digest[..], &NO_HASHCHECK].concat();
        let signature = tpm.run(cc::SIGN_DIGEST, &[self.signs], &[b""], &params).unwrap();
        tpm.run(cc::VERIFY_DIGEST_SIGNATURE, &[self.verifies], &[], &[digest, signature].concat()).unwrap()
    }

    fn sign_message(&self, tpm: &mut Fixture, message: &[u8]) -> Vec<u8> {
        let sequence = handle(&tpm.run(cc::SIGN_SEQUENCE_START, &[self.signs], &[], &[0; 4]).unwrap());
        tpm.with(cc::SIGN_SEQUENCE_COMPLETE, &[sequence, self.signs], &[b"", b""], &tpm2b(message)).unwrap()
    }

    /// A sequence to verify a message.
    fn sequence(&self, tpm: &mut Fixture) -> u32 {
        handle(&tpm.run(cc::VERIFY_SEQUENCE_START, &[self.verifies], &[], &[0; 6]).unwrap())
    }

    fn verify_message(&self, tpm: &mut Fixture, sequence: u32, signature: &[u8]) -> Vec<u8> {
        tpm.with(cc::VERIFY_SEQUENCE_COMPLETE, &[sequence, self.verifies], &[b""], signature).unwrap()
    }
}

fn update(tpm: &mut Fixture, sequence: u32, piece: &[u8]) {
    tpm.with(cc::SEQUENCE_UPDATE, &[sequence], &[b""], &tpm2b(piece)).unwrap();
}

/// Does this with a key of every kind.
fn with_each(tpm: &mut Fixture, hierarchy: u32, mut check: impl FnMut(&mut Fixture, &Signer)) {
    type Make = fn(&mut Fixture, u32) -> Signer;
    let all: [Make; 9] = [
        |tpm, h| Signer::external(tpm, "RSASSA", Key::Rsa, alg::RSASSA, HashAlg::Sha256, h),
        |tpm, h| Signer::external(tpm, "RSAPSS, SHA-384", Key::Rsa, alg::RSAPSS, HashAlg::Sha384, h),
        |tpm, h| Signer::external(tpm, "ECDSA", Key::Ecc, alg::ECDSA, HashAlg::Sha256, h),
        |tpm, h| Signer::external(tpm, "ECDSA, SHA-512", Key::Ecc, alg::ECDSA, HashAlg::Sha512, h),
        |tpm, h| Signer::primary(tpm, "HMAC", 8, &scheme(alg::HMAC, alg::SHA256), h),
        |tpm, h| Signer::primary(tpm, "HMAC, SHA-512", 8, &scheme(alg::HMAC, alg::SHA512), h),
        |tpm, h| Signer::primary(tpm, "ML-DSA", alg::MLDSA, &[0, 1, 0], h),
        |tpm, h| Signer::primary(tpm, "Hash-ML-DSA", alg::HASH_MLDSA, &[0, 1, 0, 0x0b], h),
        |tpm, h| Signer::primary(tpm, "Hash-ML-DSA, SHA-512", alg::HASH_MLDSA, &[0, 1, 0, 0x0d], h),
    ];
    for make in all {
        let signer = make(tpm, hierarchy);
        check(tpm, &signer);
        signer.flush(tpm);
    }
}

fn digest_of(tpm: &mut Fixture, s: &Session) -> Vec<u8> {
    tpm.run(cc::POLICY_GET_DIGEST, &[s.handle], &[], &[]).unwrap()[2..].to_vec()
}

/// A session for TPM2_Unseal alone, and its policyDigest.
fn session(tpm: &mut Fixture) -> (Session, Vec<u8>) {
    let s = Session::plain(tpm, Kind::Policy);
    tpm.run(cc::POLICY_COMMAND_CODE, &[s.handle], &[], &0x15eu32.to_be_bytes()).unwrap();
    let approved = digest_of(tpm, &s);
    (s, approved)
}

fn authorize(tpm: &mut Fixture, s: &Session, reference: &[u8], name: &[u8], ticket: &[u8]) -> Outcome {
    let params = [tpm2b(&digest_of(tpm, s)), tpm2b(reference), tpm2b(name), ticket.to_vec()].concat();
    tpm.run(cc::POLICY_AUTHORIZE, &[s.handle], &[], &params)
}

#[test]
fn a_ticket_of_each_tag_authorizes_the_policy_that_the_key_signed() {
    let mut tpm = Fixture::new();
    for hierarchy in [OWNER, ENDORSEMENT, PLATFORM] {
        with_each(&mut tpm, hierarchy, |tpm, signer| {
            for &tag in signer.tags {
                let (s, approved) = session(tpm);
                let ticket = signer.ticket(tpm, tag, &[&approved, REFERENCE].concat());
                let metadata = if tag == Tag::Digest { id(signer.hash.unwrap()).to_vec() } else { vec![] };
                let front = [&(tag as u16).to_be_bytes()[..], &hierarchy.to_be_bytes(), &metadata, &[0, 32]].concat();
                assert_eq!(ticket[..ticket.len() - 32], front, "{}", signer.what);
                assert_eq!(authorize(tpm, &s, REFERENCE, &signer.name, &ticket), Ok(vec![]), "{} {tag:?}", signer.what);
                let expected = PolicyDigest::new(Alg::Sha256).update(cc::POLICY_AUTHORIZE, &signer.name, REFERENCE);
                assert_eq!(digest_of(tpm, &s), expected.digest);
                flush(tpm, s.handle);
            }
        });
    }
}

/// The tags of one key make digests of one size, with SHA-256, of the same message: only the tag, the metadata, and
/// what is signed tell them apart.
#[test]
fn a_ticket_is_good_for_nothing_else() {
    let mut tpm = Fixture::new();
    let (s, approved) = session(&mut tpm);
    let message = [&approved, REFERENCE].concat();
    with_each(&mut tpm, OWNER, |tpm, signer| {
        for &tag in signer.tags {
            let ticket = signer.ticket(tpm, tag, &message);
            let mut refused = |reference: &[u8], name: &[u8], ticket: &[u8], why: &str| {
                let outcome = authorize(tpm, &s, reference, name, ticket);
                assert_eq!(outcome, Err(param(4, VALUE)), "{} {tag:?}: {why}", signer.what);
            };
            let name = &signer.name;
            refused(b"REF", name, &ticket, "another policyRef");
            refused(b"", name, &ticket, "no policyRef");
            refused(REFERENCE, &[&[0, 0xb][..], &[9; 32]].concat(), &ticket, "another key");
            refused(REFERENCE, &[&[0, 4][..], &[9; 20]].concat(), &ticket, "another key and nameAlg");
            let (front, hmac) = ticket.split_at(ticket.len() - 34);
            for hierarchy in [ENDORSEMENT, PLATFORM] {
                let other = [&front[..2], &hierarchy.to_be_bytes(), &front[6..], hmac].concat();
                refused(REFERENCE, name, &other, "another hierarchy");
            }
            let null = [&front[..2], &NULL.to_be_bytes(), hmac].concat();
            refused(REFERENCE, name, &null, "the NULL hierarchy");
            refused(REFERENCE, name, &[&null[..6], &[0, 0]].concat(), "a NULL Ticket");
            refused(REFERENCE, name, &[front, &[0, 0]].concat(), "an empty digest");
            refused(REFERENCE, name, &[front, &tpm2b(&[0; 32])].concat(), "a digest of zeros");
            refused(REFERENCE, name, &[front, &tpm2b(&hmac[2..33])].concat(), "a shorter digest");
            for at in front.len() + 2..ticket.len() {
                let mut other = ticket.clone();
                other[at] ^= 0x40;
                refused(REFERENCE, name, &other, "another digest");
            }
            for other in TAGS.into_iter().filter(|other| *other != tag) {
                let metadata: &[u8] = if other == Tag::Digest { &[0, 0x0b] } else { &[] };
                let other = [&(other as u16).to_be_bytes(), &front[2..6], metadata, hmac].concat();
                refused(REFERENCE, name, &other, "another tag");
            }
            if tag == Tag::Digest {
                for metadata in [alg::SHA1, alg::SHA256, alg::SHA384, alg::SHA512, 0x10, 0x25, 0xffff] {
                    if Some(metadata) != signer.hash.map(HashAlg::id) {
                        let other = [&front[..6], &metadata.to_be_bytes(), hmac].concat();
                        refused(REFERENCE, name, &other, "another hash");
                    }
                }
            }
            for other in
                [&message[1..], &[&message[..], b"."].concat(), digest(HashAlg::Sha256, &[&message]).as_slice()]
            {
                let other = signer.ticket(tpm, tag, other);
                let outcome = authorize(tpm, &s, REFERENCE, name, &other);
                assert_eq!(outcome, Err(param(4, VALUE)), "{} {tag:?}: signed something else", signer.what);
            }
        }
    });
    assert_eq!(digest_of(&mut tpm, &s), approved);
}

/// TPM2_Clear, and with it a new proof of the hierarchy, takes the TPM's word back.
#[test]
fn a_ticket_lives_as_long_as_the_proof_of_its_hierarchy() {
    let mut tpm = Fixture::new();
    let (s, approved) = session(&mut tpm);
    let message = [&approved, REFERENCE].concat();
    let signer = Signer::external(&mut tpm, "ECDSA", Key::Ecc, alg::ECDSA, HashAlg::Sha256, OWNER);
    let tickets = TAGS.map(|tag| signer.ticket(&mut tpm, tag, &message));
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    for ticket in tickets {
        assert_eq!(authorize(&mut tpm, &s, REFERENCE, &signer.name, &ticket), Err(param(4, VALUE)));
    }
}

#[test]
fn however_a_message_comes_in_its_ticket_is_the_same() {
    let mut tpm = Fixture::new();
    let message: Vec<u8> = (0..=255).collect();
    with_each(&mut tpm, OWNER, |tpm, signer| {
        let signature = signer.sign_message(tpm, &message);
        let ticket = signer.ticket(tpm, Tag::Message, &message);
        for size in [1, 63, 64, 65, 255] {
            let sequence = signer.sequence(tpm);
            message.chunks(size).for_each(|piece| update(tpm, sequence, piece));
            assert_eq!(signer.verify_message(tpm, sequence, &signature), ticket, "{} {size}", signer.what);
        }
        for at in [0, 1, 64, 100, 256] {
            let mut sequence = signer.sequence(tpm);
            for piece in [&message[..at], &message[at..]] {
                update(tpm, sequence, piece);
                let context = tpm.run(cc::CONTEXT_SAVE, &[sequence], &[], &[]).unwrap();
                flush(tpm, sequence);
                sequence = handle(&tpm.run(cc::CONTEXT_LOAD, &[], &[], &context).unwrap());
            }
            assert_eq!(signer.verify_message(tpm, sequence, &signature), ticket, "{} saved at {at}", signer.what);
        }
        let sequence = signer.sequence(tpm);
        update(tpm, sequence, &message[..100]);
        // A copy that was made of the state before each command answers it as well.
        tpm.mirrored = true;
        update(tpm, sequence, &message[100..]);
        assert_eq!(signer.verify_message(tpm, sequence, &signature), ticket, "{} in the state", signer.what);
        tpm.mirrored = false;
    });
}

/// External μ is no digest of a hash that the ticket could name: nothing comes of it for a policy.
#[test]
fn external_mu_gives_a_null_ticket() {
    let mut tpm = Fixture::new();
    let (s, _) = session(&mut tpm);
    let signer = Signer::primary(&mut tpm, "ML-DSA with external μ", alg::MLDSA, &[0, 1, 1], OWNER);
    let ticket = signer.digest_ticket(&mut tpm, &[5; 64]);
    assert_eq!(ticket, [0x80, 0x27, 0x40, 0, 0, 7, 0, 0]);
    assert_eq!(authorize(&mut tpm, &s, REFERENCE, &signer.name, &ticket), Err(param(4, VALUE)));
    let trial = Session::plain(&mut tpm, Kind::Trial);
    assert_eq!(authorize(&mut tpm, &trial, REFERENCE, &signer.name, &ticket), Ok(vec![]));
}

#[test]
fn a_key_in_the_null_hierarchy_gives_null_tickets() {
    let mut tpm = Fixture::new();
    with_each(&mut tpm, NULL, |tpm, signer| {
        for &tag in signer.tags {
            let null = [&(tag as u16).to_be_bytes()[..], &NULL.to_be_bytes(), &[0, 0]].concat();
            assert_eq!(signer.ticket(tpm, tag, b"message"), null, "{} {tag:?}", signer.what);
        }
    });
}

/// The metadata stands between hierarchy and digest of a TPM_ST_DIGEST_VERIFIED ticket, unless it is a NULL Ticket,
/// which has three parts.
#[test]
fn policy_authorize_reads_each_form_of_the_ticket() {
    let mut tpm = Fixture::new();
    let (s, _) = session(&mut tpm);
    let trial = Session::plain(&mut tpm, Kind::Trial);
    let name = [&[0, 0xb][..], &[7; 32]].concat();
    let (owner, null) = (OWNER.to_be_bytes(), NULL.to_be_bytes());
    let mut read = |ticket: &[&[u8]], code: Result<(), u32>| {
        let ticket = ticket.concat();
        assert_eq!(authorize(&mut tpm, &trial, REFERENCE, &name, &ticket).map(drop), code, "{ticket:x?}");
        let code = Err(code.err().unwrap_or(param(4, VALUE)));
        assert_eq!(authorize(&mut tpm, &s, REFERENCE, &name, &ticket).map(drop), code, "{ticket:x?}");
    };
    for tag in TAGS {
        let tag = (tag as u16).to_be_bytes();
        read(&[&tag, &null, &[0, 0]], Ok(()));
        read(&[&tag, &null, &tpm2b(&[1; 32])], Ok(()));
        read(&[&tag, &[0x40, 0, 0, 9], &[0, 0]], Err(param(4, VALUE)));
        read(&[&tag, &owner[..3]], Err(param(4, INSUFFICIENT)));
    }
    for tag in [[0x80, 0x22], [0x80, 0x26]] {
        read(&[&tag, &owner, &tpm2b(&[1; 32])], Ok(()));
    }
    let tag = [0x80, 0x27];
    read(&[&tag, &owner, &[0, 0xb], &tpm2b(&[1; 32])], Ok(()));
    read(&[&tag, &owner, &[0xff, 0xff], &tpm2b(&[1; 32])], Ok(()));
    read(&[&tag, &owner, &[0, 0]], Err(param(4, INSUFFICIENT)));
    read(&[&tag, &null, &[0, 0xb], &[0, 0]], Err(param(4, INSUFFICIENT)));
    for tag in [0x8021u16, 0x8023, 0x8024, 0x8025, 0x8028, 0x8000] {
        read(&[&tag.to_be_bytes(), &null, &[0, 0]], Err(param(4, TAG)));
    }
}
