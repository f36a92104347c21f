//! Differences that are meant, each as narrow as it can be said, with the row of docs/differences.md that tells why.

use super::cc;
use super::send::{Case, Command};
use super::wire::Two;

/// TPM_RC_RETRY of libtpms.
pub const RETRY: &str = "first use of a protected object after TPM2_Startup";

/// Handles of objects that we have and libtpms has not: it has three slots, we have eight.
const MORE_OBJECTS: std::ops::RangeInclusive<u32> = 0x8000_0003..=0x8000_0007;

/// A code of format one, without its position.
const fn fmt1(rc: u32) -> Option<u32> {
    if rc & 0x80 != 0 { Some(rc & 0x3f) } else { None }
}

const VALUE: u32 = 0x04;
const SIZE: u32 = 0x15;
const INSUFFICIENT: u32 = 0x1a;
const SYMMETRIC: u32 = 0x16;
const TAG: u32 = 0x17;
const CURVE: u32 = 0x26;
const RESERVED_BITS: u32 = 0x21;

/// What a command says, from our side.
struct Said<'a> {
    request: &'a [u8],
}

impl Said<'_> {
    fn u32(&self, at: usize) -> u32 {
        self.request.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    fn u16(&self, at: usize) -> u16 {
        self.request.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    /// The command code as it was sent.
    fn code(&self) -> u32 {
        self.u32(6)
    }

    /// Whether the octets stand in it somewhere behind the header.
    fn has(&self, octets: &[u8]) -> bool {
        self.request.get(10..).is_some_and(|rest| rest.windows(octets.len()).any(|window| window == octets))
    }

    /// Whether a session has auditExclusive or auditReset without audit.
    fn has_misplaced_audit_attributes(&self) -> bool {
        (0..=3).any(|handles| {
            let start = 14 + 4 * handles;
            let end = start + self.u32(start - 4) as usize;
            let (mut at, mut found) = (start, false);
            while at < end && at < self.request.len() {
                at += 6 + usize::from(self.u16(at + 4));
                let attributes = self.request.get(at).copied().unwrap_or_default();
                found |= attributes & 0x06 != 0 && attributes & 0x80 == 0;
                at += 3 + usize::from(self.u16(at + 1));
            }
            found && at == end
        })
    }

    /// Whether a handle of the handle area is one of these. Commands have three at most.
    fn handle(&self, test: impl Fn(u32) -> bool) -> bool {
        (0..3).any(|n| test(self.u32(10 + 4 * n)))
    }
}

/// Algorithms that we have and libtpms 0.9.2 has not: SM3, SM4, the three SHA-3.
const MORE_ALGORITHMS: [[u8; 2]; 5] = [[0, 0x12], [0, 0x13], [0, 0x27], [0, 0x28], [0, 0x29]];
/// What libtpms says to an algorithm that it has not: ASYMMETRIC, HASH, VALUE, CURVE, MODE, TYPE, KDF, SCHEME, SYMMETRIC, SIZE of its digest
const NO_ALGORITHM: [u32; 10] = [0x01, 0x03, 0x04, 0x26, 0x09, 0x0a, 0x0c, 0x12, 0x16, 0x15];
/// Commands that came after revision 1.59, or that libtpms leaves out.
const MORE_COMMANDS: std::ops::RangeInclusive<u32> = 0x194..=0x1aa;

/// The row of docs/differences.md that explains why the response codes differ.
pub fn explain(case: &Case, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let said = Said { request: &case.request[0] };
    let their_fmt1 = fmt1(theirs);
    if theirs == 0x902 || said.handle(|h| MORE_OBJECTS.contains(&h)) && their_fmt1 == Some(VALUE) {
        return Some("slots for objects");
    }
    if theirs == 0x903 {
        return Some("slots for sessions");
    }
    if ours == 0x1e && their_fmt1 == Some(VALUE) && !matches!(said.u16(0), 0x8001 | 0x8002) {
        return Some("a tag that is none");
    }
    if MORE_COMMANDS.contains(&said.code()) && theirs == 0x143 {
        return Some("commands that libtpms has not");
    }
    if their_fmt1.is_some_and(|code| NO_ALGORITHM.contains(&code))
        && MORE_ALGORITHMS.iter().any(|id| said.has(id))
        && ours != theirs
    {
        return Some("algorithms that libtpms has not");
    }
    if their_fmt1.is_some_and(|code| code == VALUE || code == SIZE)
        && (said.has(&[0, 6, 0, 0xc0]) || said.has(&[0, 0x26, 0, 0xc0]))
    {
        return Some("keys of 192 bits");
    }
    if fmt1(ours) == Some(TAG) && their_fmt1 == Some(VALUE) && ours & 0xf40 == theirs & 0xf40 {
        return Some("a ticket's tag that is no tag");
    }
    if their_fmt1 == Some(RESERVED_BITS)
        && matches!(
            case.code,
            cc::CREATE_PRIMARY | cc::CREATE | cc::CREATE_LOADED | cc::LOAD | cc::LOAD_EXTERNAL | cc::IMPORT
        )
    {
        return Some("attributes of later revisions");
    }
    if matches!(ours, 0x982 | 0xa82 | 0xb82) && said.has_misplaced_audit_attributes() {
        return Some("auditExclusive or auditReset without audit");
    }
    if case.code == cc::GET_CAPABILITY && said.u32(10) == 0x100 && theirs == 0x1c4 {
        return Some("TPM_CAP_VENDOR_PROPERTY");
    }
    if case.code == cc::NV_READ && theirs == 0x1c4
        || case.code == cc::NV_READ && fmt1(ours) == Some(VALUE) && theirs == 0x12f
    {
        return Some("buffers and lists that are larger");
    }
    let positioned = |rc: u32| fmt1(rc).is_some() && rc & 0x800 == 0;
    let octet = case.octet && ours != 0 && theirs != 0;
    let parameter = case.damaged && !case.aligned && positioned(ours) && positioned(theirs);
    if case.request[0] != case.request[1] && (octet || parameter) {
        return Some("octets of one side's own read as sizes");
    }
    let signed = case.request[0]
        .get(case.request[0].len().saturating_sub(2)..)
        .is_some_and(|end| matches!(end, [0, 2 | 4 | 6 | 8]));
    if signed
        && matches!(case.code, cc::POLICY_NV | cc::POLICY_COUNTER_TIMER)
        && matches!((ours, theirs), (0, 0x126) | (0x126, 0))
    {
        return Some("signed comparison of negative numbers");
    }
    let limited = matches!(
        case.code,
        cc::START_AUTH_SESSION
            | cc::NV_WRITE
            | cc::NV_EXTEND
            | cc::IMPORT
            | cc::REWRAP
            | cc::LOAD
            | cc::ACTIVATE_CREDENTIAL
            | cc::CREATE
            | cc::CREATE_LOADED
            | cc::CREATE_PRIMARY
            | cc::QUOTE
            | cc::POLICY_PCR
            | cc::PCR_READ
            | cc::PCR_ALLOCATE
            | cc::PCR_EXTEND
            | cc::CONTEXT_LOAD
    );
    let beyond = fmt1(ours) == Some(INSUFFICIENT) && their_fmt1 == Some(SIZE) && ours & 0xf40 == theirs & 0xf40
        || case.damaged && fmt1(ours) == Some(SIZE) && their_fmt1 == Some(INSUFFICIENT)
        || case.damaged && case.code == cc::PCR_READ && theirs == 0x1d5;
    if limited && beyond {
        return Some("buffers and lists that are larger");
    }
    if case.damaged
        && case.request[0][10.min(case.request[0].len())..22.min(case.request[0].len())]
            != case.request[1][10.min(case.request[1].len())..22.min(case.request[1].len())]
    {
        return Some("slots for objects");
    }
    let pcr = said.u32(10);
    if (20..=22).contains(&pcr) && ours == 0x12f && matches!(theirs, 0x99d | 0x128 | 0x989) {
        return Some("PCR with an authPolicy");
    }
    let partly_written = (0..2).map(|n| said.u32(10 + 4 * n)).any(|h| h >> 24 == 1 && in_part(h, trail));
    if (theirs == 0x12f || (ours, theirs) == (0x12f, 0)) && partly_written {
        return Some(IN_PART);
    }
    if matches!(fmt1(ours), Some(SYMMETRIC | VALUE))
        && (said.has(&[0, 3, 0, 0x80])
            || said.has(&[0, 3, 0, 0xc0])
            || case.code == cc::INCREMENTAL_SELF_TEST && said.request.ends_with(&[0, 3]))
    {
        return Some("BN P-638, TDES");
    }
    if fmt1(ours) == Some(CURVE) && said.has(&[0, 0x11, 0, 0x10]) {
        return Some("BN P-638, TDES");
    }
    let data_size = said.u16(said.request.len().saturating_sub(2));
    if case.code == cc::NV_DEFINE_SPACE && theirs == 0x2d5 && data_size > 1024 {
        return Some("buffers and lists that are larger");
    }
    if said.handle(|h| h >> 24 == 0x81) && said.handle(|h| h >> 24 == 0x80) && matches!(ours, 0x910..=0x912) {
        return Some("slots for objects");
    }
    match (case.code, ours, theirs) {
        (cc::FLUSH_CONTEXT, 0x1cb, 0) => Some("FlushContext of a session by its other handle"),
        (cc::SEQUENCE_UPDATE, 0x189, 0x1c9) => Some("SequenceUpdate of what is no sequence"),
        (cc::POLICY_COMMAND_CODE, 0, 0x1e4) => Some("commands that libtpms has not"),
        (cc::POLICY_TEMPLATE, 0x151, 0x1c4) => Some("PolicyTemplate with another template"),
        (cc::ECC_PARAMETERS | cc::EC_EPHEMERAL, 0x1e6, 0) if matches!(case.request[0][..], [.., 0, 0x11]) => {
            Some("BN P-638, TDES")
        }
        (cc::NV_DEFINE_SPACE, 0, 0x14b) => Some("RAM for orderly Indices"),
        (cc::RSA_ENCRYPT, 0x19c, 0) => Some("RSA public keys that are none"),
        (cc::RSA_ENCRYPT, 0x84, 0x101) => Some("failure mode of libtpms"),
        _ => None,
    }
}

const IN_PART: &str = "a PIN index that was first written in part";

/// Whether a part of an NV Index of eight octets has been written.
fn in_part(index: u32, trail: &[Case]) -> bool {
    trail.iter().any(|earlier| {
        let wrote = Said { request: &earlier.request[0] };
        let end = wrote.request.len();
        let whole = wrote.u16(end.saturating_sub(2)) == 0 && wrote.u16(end.saturating_sub(12)) == 8;
        earlier.code == cc::NV_WRITE && earlier.rc == [0, 0] && wrote.u32(14) == index && !whole
    })
}

/// Whether two answers say the same but for what one side has more: banks of PCR.
pub fn is_same(code: u32, answers: &Two<Vec<u8>>) -> bool {
    match code {
        cc::PCR_EVENT | cc::EVENT_SEQUENCE_COMPLETE => {
            let [ours, theirs] = answers.each_ref().map(|answer| digests(answer));
            let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
            ours.iter().all(|(alg, digest)| theirs.iter().all(|(other, theirs)| alg != other || digest == theirs))
        }
        cc::GET_CAPABILITY if answers[0].starts_with(&[0, 0, 0, 0, 5]) => {
            let [ours, theirs] = answers.each_ref().map(|answer| banks(answer));
            ours.iter().filter(|bank| bank.0 != 0x12).eq(theirs.iter())
        }
        // Where a persistent object is used, a slot is taken for it, and a new object may come to another.
        cc::GET_CAPABILITY if answers[0].starts_with(&[0, 0, 0, 0, 1]) || answers[0].starts_with(&[1, 0, 0, 0, 1]) => {
            let transient = |answer: &Vec<u8>| answer.get(9..).is_some_and(|all| all.chunks(4).all(|h| h[0] == 0x80));
            answers[0].len() == answers[1].len() && answers[0].len() > 9 && answers.iter().all(transient)
        }
        _ => false,
    }
}

/// TPML_DIGEST_VALUES.
fn digests(answer: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let (count, mut rest) = answer.split_first_chunk::<4>()?;
    let mut all = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (alg, tail) = rest.split_first_chunk::<2>()?;
        let alg = u16::from_be_bytes(*alg);
        let size = match alg {
            4 => 20,
            0xc => 48,
            0xd => 64,
            _ => 32,
        };
        let (digest, tail) = tail.split_at_checked(size)?;
        all.push((alg, digest));
        rest = tail;
    }
    Some(all)
}

/// TPML_PCR_SELECTION of TPM_CAP_PCRS.
fn banks(answer: &[u8]) -> Vec<(u16, &[u8])> {
    answer
        .get(9..)
        .unwrap_or_default()
        .chunks_exact(6)
        .map(|bank| (u16::from_be_bytes([bank[0], bank[1]]), &bank[2..]))
        .collect()
}

/// The row that explains why the answers differ, although both say success.
pub fn explain_answer(command: &Command, answers: &Two<Vec<u8>>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = answers;
    match command.code {
        cc::NV_READ if command.handles.get(1).is_some_and(|index| in_part(index.handle[0], trail)) => Some(IN_PART),
        cc::ENCRYPT_DECRYPT | cc::ENCRYPT_DECRYPT_2 if ours.len() == theirs.len() => {
            let size = usize::from(u16::from_be_bytes([ours[0], ours[1]]));
            (size % 16 != 0 && ours[..2 + size] == theirs[..2 + size]).then_some("ivOut after a block that is not full")
        }
        cc::ECC_PARAMETERS if ours.starts_with(&[0, 0x10]) => Some("zeros before the numbers of ECC_Parameters"),
        _ => None,
    }
}
