//! What both others answer differently: they stem from the TCG's code.

use super::said::{INSUFFICIENT, RESERVED_BITS, SIZE, SYMMETRIC, Said, TAG, VALUE, fmt1};
use crate::differential::cc;
use crate::differential::command::{Command, Commands};
use crate::differential::tally::Case;
use crate::differential::world::rh;

/// Algorithms that we have and libtpms 0.9.2 has not: SM3, SM4, the three SHA-3, ML-DSA and Hash-ML-DSA.
const MORE_ALGORITHMS: [[u8; 2]; 7] = [[0, 0x12], [0, 0x13], [0, 0x27], [0, 0x28], [0, 0x29], [0, 0xa1], [0, 0xa2]];
/// What libtpms says to an algorithm that it has not: ASYMMETRIC, HASH, VALUE, CURVE, MODE, TYPE, KDF, SCHEME,
/// SYMMETRIC, SIZE of its digest
const NO_ALGORITHM: [u32; 10] = [0x01, 0x03, 0x04, 0x26, 0x09, 0x0a, 0x0c, 0x12, 0x16, 0x15];
/// The row of docs/differences.md that explains why the response codes differ.
pub(super) fn explain(case: &Case, trail: &[Case], commands: &Commands) -> Option<&'static str> {
    let said = Said::of(case);
    explain_header(case, &said, commands)
        .or_else(|| explain_algorithms(case, &said))
        .or_else(|| explain_limits(case, &said))
        .or_else(|| explain_nv(case, &said, trail))
        .or_else(|| explain_one_command(case, &said, commands))
        .or_else(|| explain_own_octets(case, &said))
}

/// Command codes and sessions.
fn explain_header(case: &Case, said: &Said<'_>, commands: &Commands) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if commands.only_ours(said.code()) && theirs == 0x143 {
        return Some("commands that the other has not");
    }
    if matches!(ours, 0x982 | 0xa82 | 0xb82) && said.has_misplaced_audit_attributes() {
        return Some("auditExclusive or auditReset without audit");
    }
    // A persistent object in use takes a slot there, and has its handle.
    let missing = (0x910..=0x912).contains(&ours).then(|| said.u32(10 + 4 * (ours as usize - 0x910)));
    if missing.is_some_and(|h| h >> 24 == 0x80) && said.handle_area().any(|h| h >> 24 == 0x81) {
        return Some("slots for objects");
    }
    None
}

fn explain_algorithms(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    // Of a code or a size that is hit, what follows is read as something else.
    let is_moved = said.is_hit(6..10) || said.is_hit(said.first_sized());
    let has_made = |id: &[u8; 2]| said.has_made(id) || is_moved && said.has(id);
    if fmt1(case.rc[1]).is_some_and(|code| NO_ALGORITHM.contains(&code)) && MORE_ALGORITHMS.iter().any(has_made) {
        return Some("algorithms that the other has not");
    }
    None
}

/// Sizes and counts that we take and libtpms does not.
fn explain_limits(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    const LARGER: Option<&str> = Some("buffers and lists that are larger");
    let [ours, theirs] = case.rc;
    let not_before = ours & 0x40 != 0 && theirs & 0x40 != 0 && ours & 0xf00 >= theirs & 0xf00;
    let cut_short = fmt1(ours) == Some(INSUFFICIENT) && fmt1(theirs) == Some(SIZE) && not_before;
    // The least of the limits that are larger here, by what the command has.
    let least = match said.code() {
        cc::NV_WRITE | cc::NV_EXTEND => 1024,
        cc::RSA_ENCRYPT
        | cc::RSA_DECRYPT
        | cc::START_AUTH_SESSION
        | cc::IMPORT
        | cc::LOAD_EXTERNAL
        | cc::REWRAP
        | cc::ACTIVATE_CREDENTIAL => 0x100,
        cc::LOAD
        | cc::CREATE
        | cc::CREATE_LOADED
        | cc::CREATE_PRIMARY
        | cc::QUOTE
        | cc::POLICY_PCR
        | cc::PCR_READ
        | cc::PCR_ALLOCATE
        | cc::PCR_EXTEND => 3,
        cc::CONTEXT_LOAD => 0x800,
        _ => u16::MAX,
    };
    if cut_short && said.has_made_more_than(least) {
        return LARGER;
    }
    if cut_short && said.code() == cc::START_AUTH_SESSION && said.hit.is_some() {
        return LARGER;
    }
    if said.code() == cc::LOAD && ours == 0x1d5 && fmt1(theirs) == Some(INSUFFICIENT) && said.has_made_more_than(0x300)
    {
        return Some("private areas that are longer than any");
    }
    let size = said.u16(said.request.len().saturating_sub(4));
    match said.code() {
        cc::NV_READ if theirs == 0x1c4 && size > 1024 => LARGER,
        cc::NV_CERTIFY if theirs == 0x3c4 && size > 1024 => LARGER,
        cc::NV_DEFINE_SPACE if theirs == 0x2d5 && said.last_u16() > 1024 => LARGER,
        cc::PCR_READ if theirs == 0x1d5 && said.has_made_more_than(4) => LARGER,
        cc::CREATE | cc::CREATE_PRIMARY if theirs == 0x4d5 && said.has_made_more_than(4) => LARGER,
        cc::QUOTE if theirs == 0x3d5 && said.has_made_more_than(4) => LARGER,
        cc::POLICY_PCR if theirs == 0x2d5 && said.has_made_more_than(4) => LARGER,
        _ => None,
    }
}

fn explain_one_command(case: &Case, said: &Said<'_>, commands: &Commands) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let pcr = said.u32(10);
    if (20..=22).contains(&pcr) && ours == 0x12f && matches!(theirs, 0x99d | 0x128 | 0x989) {
        return Some("PCR with an authPolicy");
    }
    let end = said.request.len().saturating_sub(4);
    // The code that was sent: damage may have hit it.
    match (said.code(), ours, theirs) {
        (cc::GET_CAPABILITY, _, 0x1c4) if said.u32(10) == 0x100 => Some("TPM_CAP_VENDOR_PROPERTY"),
        (cc::FLUSH_CONTEXT, 0x1cb, 0) => Some("FlushContext of a session by its other handle"),
        (cc::POLICY_COMMAND_CODE, 0, 0x1e4) if commands.only_ours(said.u32(end)) => {
            Some("commands that the other has not")
        }
        (cc::IMPORT, 0x3df | 0x3d5 | 0x3da, 0x3df | 0x3d5 | 0x3da | 0x3c4)
            if said.hit.is_some() || said.request.ends_with(&[0, 6, 0, 0x80, 0, 0x43]) =>
        {
            Some("a malformed inner wrapper")
        }
        (cc::ECC_PARAMETERS | cc::EC_EPHEMERAL, 0x1e6, 0 | 0x95) if said.u16(10) == 0x11 || said.last_u16() == 0x11 => {
            Some("BN P-638, TDES")
        }
        (cc::RSA_ENCRYPT, 0x19c, 0 | 0x101) => Some("malformed RSA public keys"),
        // An HMAC session, of which the other asks whether it is bound to the object before it asks for the object's
        // sensitive area.
        (_, 0x12f | 0x921, 0x101) if said.sessions().iter().any(|(handle, _)| handle >> 24 == 2) => {
            Some("failure mode of the other")
        }
        (cc::CREATE_LOADED | cc::CREATE_PRIMARY | cc::CREATE | cc::IMPORT, _, 0x2c3)
            if ours & 0xfc0 == 0x2c0 && said.has_template_without_name_alg() =>
        {
            Some("a template without nameAlg and with another fault")
        }
        _ if fmt1(ours) == Some(SIZE) && fmt1(theirs) == Some(INSUFFICIENT) && said.has_made_a_name_too_long() => {
            Some("names of 67 and 68 octets")
        }
        // What damage makes of a nonceTPM may be what the one had.
        (cc::POLICY_SECRET | cc::POLICY_SIGNED, 0 | 0x1cf | 0x1c4, 0 | 0x1cf | 0x1c4)
            if said.is_hit(said.first_sized()) =>
        {
            Some("octets of one side's own read as sizes")
        }
        // A time that damage has made: of the first 50 days, or one that both were set to before.
        (cc::CLOCK_SET, 0x1c4, 0)
            if said.hit.is_some() && (said.u32(end.saturating_sub(4)) == 0 || said.u32(end) == 0) =>
        {
            Some("Time and Clock of each TPM")
        }
        // A timeout that damage has made: it was the one's own already, or has passed for the one.
        (cc::POLICY_TICKET, 0 | 0x1e3 | 0x5e0, 0 | 0x1e3 | 0x5e0) if said.is_hit(said.first_sized()) => {
            Some("Time and Clock of each TPM")
        }
        (cc::POLICY_COUNTER_TIMER, 0, 0x126) | (cc::POLICY_COUNTER_TIMER, 0x126, 0) if said.u16(end) < 16 => {
            Some("Time and Clock of each TPM")
        }
        (cc::EVICT_CONTROL, 0 | 0x285 | 0x14c | 0x1cd, 0x282) => Some("a public area alone that is made persistent"),
        (cc::SET_COMMAND_CODE_AUDIT_STATUS, 0, 0x1c4) if said.has(&[0, 0xb]) => Some("initial hash of command audit"),
        (cc::QUOTE, 0, 0x2d2) | (cc::NV_CERTIFY, 0x2d2, 0) if said.u32(10) == rh::NULL => {
            Some("digests that are attested to without a key")
        }
        _ => None,
    }
}

/// What is not the same on the two sides, and no difference of theirs: damage that changed nothing on one side, or both
/// refuse a command in which a damaged size has made nonces or blobs, which each TPM has its own of, read as
/// something else.
fn explain_own_octets(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if case.spared {
        return Some("damage that changes nothing on one side");
    }
    if ours == 0 || theirs == 0 || !reads_octets(ours) && !reads_octets(theirs) {
        return None;
    }
    let hit = said.hit?;
    let [mine, other] = &case.request;
    // From where on the two commands differ behind the damage.
    let differ = mine.len() != other.len() || (hit.start..mine.len()).any(|at| mine[at] != other[at]);
    differ.then_some("octets of one side's own read as sizes")
}

/// Whether a response code is about octets that could not be read, at a parameter or a session.
fn reads_octets(rc: u32) -> bool {
    const READ: [u32; 13] =
        [0x02, 0x03, VALUE, 0x0b, 0x0d, 0x12, SIZE, SYMMETRIC, TAG, 0x18, INSUFFICIENT, 0x1b, RESERVED_BITS];
    fmt1(rc).is_some_and(|code| READ.contains(&code)) || matches!(rc, 0x144 | 0x145)
}

fn explain_nv(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let partly_written = said.handle_area().any(|h| h >> 24 == 1 && in_part(h, trail));
    if partly_written && (ours == 0x12f || theirs == 0x12f) {
        return Some(IN_PART);
    }
    if (ours, theirs) == (0, 0x14b) && said.defines_orderly() {
        return Some("RAM for orderly Indices");
    }
    None
}

const IN_PART: &str = "a PIN index that was first written in part";
/// Whether a part of an NV Index of eight octets has been written.
fn in_part(index: u32, trail: &[Case]) -> bool {
    trail.iter().any(|earlier| {
        let wrote = Said::of(earlier);
        let end = wrote.request.len();
        let whole = wrote.u16(end.saturating_sub(2)) == 0 && wrote.u16(end.saturating_sub(12)) == 8;
        earlier.code == cc::NV_WRITE && earlier.rc == [0, 0] && wrote.u32(14) == index && !whole
    })
}

/// The row that explains why the answers differ, although both say success.
pub(super) fn explain_answer(command: &Command, trail: &[Case]) -> Option<&'static str> {
    let index = command.handles.get(1).filter(|_| command.code == cc::NV_READ)?;
    in_part(index.handle[0], trail).then_some(IN_PART)
}
