//! Differences from wolfTPM's firmware TPM server, in what belongs to algorithms on lattices and to version 185.

use super::GONE;
use super::said::{BAD_AUTH, EXT_MU, INSUFFICIENT, SIZE, Said, VALUE, fmt1};
use crate::differential::answer::SessionSaid;
use crate::differential::cc;
use crate::differential::tally::Case;
use crate::differential::world::rh;

/// Commands of version 185 that end a sequence.
const COMPLETES: [u32; 2] = [cc::SIGN_SEQUENCE_COMPLETE, cc::VERIFY_SEQUENCE_COMPLETE];
/// Commands of version 185 with a context.
const WITH_CONTEXT: [u32; 4] =
    [cc::SIGN_DIGEST, cc::VERIFY_DIGEST_SIGNATURE, cc::SIGN_SEQUENCE_START, cc::VERIFY_SEQUENCE_START];

/// Commands that have no authorization area.
const WITHOUT_SESSIONS: [u32; 3] = [cc::FLUSH_CONTEXT, cc::CONTEXT_SAVE, cc::CONTEXT_LOAD];

/// Commands whose second parameter is a public area.
const WITH_PUBLIC: [u32; 4] = [cc::CREATE_PRIMARY, cc::CREATE, cc::LOAD, cc::LOAD_EXTERNAL];

/// TPMT_TK_HASHCHECK of TPM_RH_NULL
const NULL_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

const TWO_FAULTS: &str = "which of two faults is reported";

/// The row of docs/differences.md that explains why the response codes differ.
pub(super) fn explain(case: &Case, trail: &[Case]) -> Option<&'static str> {
    let said = &Said::of(case);
    if case.rc[1] == GONE {
        return (said.request.len() < 10).then_some("a command that is shorter than its header");
    }
    explain_codes(case, said, trail)
        .or_else(|| explain_header(case, said))
        .or_else(|| explain_public_areas(case, said))
        .or_else(|| explain_one_command(case, said, trail))
}

/// What is reported, where both refuse.
fn explain_codes(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if ours == 0 || theirs == 0 {
        return None;
    }
    if fmt1(ours).is_some() && fmt1(ours) == fmt1(theirs) && theirs & 0xf40 == 0 {
        return Some("positions of response codes");
    }
    if fmt1(ours) == Some(BAD_AUTH) && theirs == 0x08e {
        return Some("a wrong authValue without dictionary-attack protection");
    }
    if (0x910..=0x912).contains(&ours) && theirs == 0x08b {
        return Some("an object that is not loaded");
    }
    // Of such a key only the handle is known, and what it stands for.
    if theirs == 0x08b && begins_sequence(trail) {
        return Some("a sequence where a key is asked for");
    }
    let no_ticket = case.code == cc::SIGN_DIGEST && said.request.ends_with(&NULL_TICKET);
    let long_context = WITH_CONTEXT.contains(&case.code) && fmt1(ours) == Some(SIZE) && said.has(&[1, 0]);
    let no_ciphertext = case.code == cc::DECAPSULATE && fmt1(ours) == Some(SIZE);
    (said.hit.is_some() || no_ticket || long_context || no_ciphertext).then_some(TWO_FAULTS)
}

fn explain_header(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if theirs == 0 && (ours == 0x144 && said.hit.is_some() || said.is_hit(0..2)) {
        return Some("a malformed authorization area");
    }
    if theirs == 0 && matches!(ours, 0x995 | 0xa95 | 0xb95 | 0x99a | 0xa9a | 0xb9a) && said.is_hit(said.first_sized()) {
        return Some("size of an encrypted first parameter beyond the command");
    }
    if theirs == 0 && ours == SIZE | 0x80 && said.hit.is_some() {
        return Some("octets after a command's end");
    }
    if theirs == 0 && matches!(fmt1(ours), Some(INSUFFICIENT | SIZE)) && said.hit.is_some() {
        return Some("sizes and counts that are wrong");
    }
    if matches!(ours, 0x982 | 0xa82 | 0xb82) && (said.sessions().iter().any(has_odd_use) || has_use_twice(said)) {
        return Some("a session without use, a password with one, two sessions for one");
    }
    let encrypts = said.sessions().iter().any(|(_, attributes)| attributes & 0x60 != 0);
    if theirs == 0 && matches!(ours, 0x996 | 0xa96 | 0xb96) && encrypts {
        return Some("a session without a cipher that should encrypt");
    }
    if theirs == 0x08e && has_foreign_nonces(said) {
        return Some("nonces of sessions that encrypt in the first session's HMAC");
    }
    // HANDLE at a session is a password's that goes with no handle.
    let beside = ours & 0xff == 0x8b || matches!(ours & 0xff, 0x8e | 0xa2) && is_beside(ours, said.code());
    if theirs == 0 && ours & 0x880 == 0x880 && beside {
        return Some("a session that authorizes nothing is not looked at");
    }
    if matches!(ours, 0x9a1 | 0xaa1 | 0xba1) && said.sessions().iter().any(|(_, attributes)| attributes & 0x18 != 0) {
        return Some("reserved bits of TPMA_SESSION");
    }
    let by_value = |(handle, _): &(u32, u8)| *handle == rh::PW || handle >> 24 == 2;
    if ours == 0x12f && said.sessions().iter().any(by_value) {
        return Some("an object without userWithAuth, by password");
    }
    let blamed = matches!(ours, 0x982 | 0xa82 | 0xb82).then(|| said.sessions().get((ours as usize >> 8) - 9).copied());
    if theirs == 0 && blamed.flatten().is_some_and(|(_, attributes)| encrypts_no_sized(said.code(), attributes)) {
        return Some("a session that encrypts what is no TPM2B");
    }
    None
}

/// Whether a session neither decrypts, encrypts nor audits, or a password is to do so.
fn has_odd_use((handle, attributes): &(u32, u8)) -> bool {
    (attributes & 0xe0 == 0) != (*handle == rh::PW)
}

/// Whether a response code is about a session that goes with no handle: commands of this subject that authorize have
/// one handle to authorize, but for one of them.
fn is_beside(rc: u32, code: u32) -> bool {
    let authorized = match code {
        cc::HASH
        | cc::READ_PUBLIC
        | cc::LOAD_EXTERNAL
        | cc::ENCAPSULATE
        | cc::SIGN_SEQUENCE_START
        | cc::VERIFY_SEQUENCE_START
        | cc::VERIFY_DIGEST_SIGNATURE => 0,
        cc::SIGN_SEQUENCE_COMPLETE => 2,
        _ => 1,
    };
    rc >> 8 & 7 > authorized
}

/// Whether two sessions are to do what only one may: decrypt, encrypt, audit.
fn has_use_twice(said: &Said<'_>) -> bool {
    let sessions = said.sessions();
    [0x20, 0x40, 0x80]
        .into_iter()
        .any(|bit| sessions.iter().filter(|(_, attributes)| attributes & bit != 0).count() > 1)
}

/// Whether an HMAC session comes first, and another one decrypts or encrypts.
fn has_foreign_nonces(said: &Said<'_>) -> bool {
    let sessions = said.sessions();
    let mut all = sessions.iter();
    all.next().is_some_and(|(handle, _)| handle >> 24 == 2) && all.any(|(_, attributes)| attributes & 0x60 != 0)
}

/// Whether a session should encrypt a parameter that is no TPM2B.
const fn encrypts_no_sized(code: u32, attributes: u8) -> bool {
    attributes & 0x20 != 0 && !cc::encrypts_command(code) || attributes & 0x40 != 0 && !cc::encrypts_response(code)
}

/// The row that explains why the other's session has ended: the command has failed, and continueSession was CLEAR.
pub(super) fn explain_end(case: &Case) -> Option<&'static str> {
    let ends = |(handle, attributes): &(u32, u8)| matches!(handle >> 24, 2 | 3) && attributes & 1 == 0;
    (case.rc[1] != 0 && Said::of(case).sessions().iter().any(ends))
        .then_some("a session without continueSession in a command that fails")
}

/// Whether a sequence was started for another key than the one that TPM2_SignSequenceComplete has.
fn is_of_another_key(said: &Said<'_>, trail: &[Case]) -> bool {
    let mut done = trail.iter().rev().filter(|case| case.rc == [0, 0]).map(Said::of);
    done.find(|earlier| earlier.code() == cc::SIGN_SEQUENCE_START)
        .is_some_and(|started| started.u32(10) != said.u32(14))
}

/// Public areas that the other takes, or refuses for another reason.
fn explain_public_areas(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let odd = said.hit.is_some() || said.has_odd_lattice();
    (WITH_PUBLIC.contains(&case.code) && odd).then_some("public areas that are malformed or unusual")
}

fn explain_one_command(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    match (case.code, ours, theirs) {
        (_, _, theirs) if fmt1(theirs) == Some(EXT_MU) && said.has_external_mu() => {
            Some("ML-DSA keys that admit external μ")
        }
        (cc::CREATE | cc::LOAD, 0x18a, _) => Some("a parent that is no storage key"),
        (cc::CREATE, 0x2c3 | 0x2d6, 0) if said.sized(2).is_some_and(is_restricted_kem) => {
            Some("a storage key with another nameAlg or cipher than its parent")
        }
        (cc::SIGN_DIGEST, 0x3e0, 0) if said.request.ends_with(&NULL_TICKET) && has_hashed_generated(trail) => {
            Some("a ticket for a message that begins with TPM_GENERATED_VALUE")
        }
        (cc::HASH, _, theirs) if theirs != 0 && !said.sessions().is_empty() => Some("TPM2_Hash with a session"),
        (cc::SEQUENCE_UPDATE, 0x189, 0x08b) => Some("SequenceUpdate of what is no sequence"),
        (_, 0x145, 0) if WITHOUT_SESSIONS.contains(&said.code()) => Some("context commands with a session"),
        (_, 0x1c4, 0) if said.code() == cc::GET_CAPABILITY => Some("a group of capabilities that does not exist"),
        (_, 0x1c4, 0)
            if said.code() == cc::SELF_TEST && said.request.get(said.parameters()).is_some_and(|o| *o > 1) =>
        {
            Some("fullTest that is neither YES nor NO")
        }
        (code, ours, 0) if fmt1(ours) == Some(VALUE) && WITH_CONTEXT.contains(&code) && has_context(code, said) => {
            Some("a context for a scheme without one")
        }
        (cc::SIGN_SEQUENCE_COMPLETE, 0x282, 0x0ad) if is_of_another_key(said, trail) => Some(TWO_FAULTS),
        (cc::SIGN_DIGEST, 0x3e0, 0) if said.hit.is_some() && !said.request.ends_with(&NULL_TICKET) => {
            Some("a wrong ticket for a key that is not restricted")
        }
        (cc::SIGN_DIGEST, 0x3c4, 0) if said.hit.is_some() => Some("a ticket of no hierarchy"),
        (cc::FLUSH_CONTEXT, 0, theirs) if theirs != 0 && has_failed(said.u32(10), trail) => {
            Some("a message's sequence that could not be completed")
        }
        (cc::SIGN_SEQUENCE_COMPLETE | cc::SEQUENCE_UPDATE, 0, 0x904) if has_update(said.u32(10), trail) => {
            Some("messages of ML-DSA that come in pieces")
        }
        _ => None,
    }
}

/// Whether a public area is that of an ML-KEM storage key.
fn is_restricted_kem(public: &[u8]) -> bool {
    matches!(public, [0, 0xa0, _, _, _, attributes, ..] if attributes & 1 != 0)
}

/// Whether the context of a signature has octets.
fn has_context(code: u32, said: &Said<'_>) -> bool {
    let at = match code {
        cc::SIGN_SEQUENCE_START => 2,
        cc::VERIFY_SEQUENCE_START => 3,
        _ => 1,
    };
    said.sized(at).is_some_and(|context| !context.is_empty())
}

/// Whether TPM2_Hash was given a message that begins with TPM_GENERATED_VALUE.
fn has_hashed_generated(trail: &[Case]) -> bool {
    let generated = |case: &&Case| Said::of(case).sized(1).is_some_and(|data| data.starts_with(b"\xffTCG"));
    trail.iter().filter(|case| case.code == cc::HASH).any(|case| generated(&case))
}

/// Whether a sequence has begun.
pub(super) fn begins_sequence(trail: &[Case]) -> bool {
    trail.iter().any(|case| {
        let code = Said::of(case).code();
        case.rc == [0, 0]
            && matches!(
                code,
                cc::SIGN_SEQUENCE_START | cc::VERIFY_SEQUENCE_START | cc::HASH_SEQUENCE_START | cc::MAC_START
            )
    })
}

/// Whether the last use of the sequence on our side was a completion that failed.
fn has_failed(sequence: u32, trail: &[Case]) -> bool {
    let mut uses = trail.iter().rev().filter(|case| case.code != cc::FLUSH_CONTEXT);
    uses.find(|case| Said::of(case).u32(10) == sequence)
        .is_some_and(|case| COMPLETES.contains(&Said::of(case).code()) && case.rc[0] != 0)
}

/// Whether octets came to the sequence before.
fn has_update(sequence: u32, trail: &[Case]) -> bool {
    let mut updates = trail.iter().rev().filter(|case| case.code == cc::SEQUENCE_UPDATE && case.rc == [0, 0]);
    updates.any(|case| Said::of(case).u32(10) == sequence)
}

/// The row that explains why the sessions of two responses differ.
pub(super) fn explain_sessions(code: u32, ours: &[SessionSaid], theirs: &[SessionSaid]) -> Option<&'static str> {
    // continueSession
    let rest = |said: &SessionSaid| (said.hmac, said.attributes & 1);
    if ours.iter().map(rest).eq(theirs.iter().map(rest)) {
        return Some("nonceTPM and attributes of a response's session");
    }
    if COMPLETES.contains(&code) && ours.len() == theirs.len() {
        return Some("the HMAC of a response that ends a sequence");
    }
    theirs.is_empty().then_some("an audit session of a command without authorization")
}
