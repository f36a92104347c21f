//! Differences that are meant, each as narrow as it can be said, with the row of docs/differences.md that tells why.

use super::cc;
use super::send::{Case, Command, Commands};
use super::wire::Two;
use super::world::rh;
use core::ops::Range;

/// TPM_RC_RETRY of libtpms.
pub(crate) const RETRY: &str = "first use of a protected object after TPM2_Startup";

/// Handles of objects that we have and libtpms has not: it has three slots, we have eight.
const MORE_OBJECTS: core::ops::RangeInclusive<u32> = 0x8000_0003..=0x8000_0007;

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

/// What a command says, from our side, and what was done to it.
struct Said<'a> {
    request: &'a [u8],
    handles: usize,
    hit: Option<&'a Range<usize>>,
}

impl<'a> Said<'a> {
    fn of(case: &'a Case) -> Self {
        Self { request: &case.request[0], handles: case.handles, hit: case.hit.as_ref() }
    }

    fn u32(&self, at: usize) -> u32 {
        self.request.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    fn u16(&self, at: usize) -> u16 {
        self.request.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    /// The last two octets.
    fn last_u16(&self) -> u16 {
        self.u16(self.request.len().saturating_sub(2))
    }

    /// The command code as it was sent.
    fn code(&self) -> u32 {
        self.u32(6)
    }

    /// Where the octets stand behind the handles.
    fn places<'b>(&self, octets: &'b [u8]) -> impl Iterator<Item = usize> + use<'b, 'a> {
        let from = 10 + 4 * self.handles;
        let rest: &'a [u8] = self.request.get(from..).unwrap_or_default();
        rest.windows(octets.len()).enumerate().filter(move |(_, window)| window == &octets).map(move |(n, _)| from + n)
    }

    /// Whether the octets stand in it somewhere behind the handles.
    fn has(&self, octets: &[u8]) -> bool {
        self.places(octets).next().is_some()
    }

    /// Whether damage has hit one of these octets.
    fn is_hit(&self, at: Range<usize>) -> bool {
        self.hit.is_some_and(|hit| hit.start < at.end && at.start < hit.end)
    }

    /// Whether damage has made these octets.
    fn has_made(&self, octets: &[u8]) -> bool {
        self.places(octets).any(|at| self.is_hit(at..at + octets.len()))
    }

    /// Whether damage has made a number of two octets that is greater.
    fn has_made_more_than(&self, limit: u16) -> bool {
        self.hit.is_some_and(|hit| (hit.start.saturating_sub(1)..hit.end).any(|at| self.u16(at) > limit))
    }

    /// Handles and attributes of the authorization area's entries; none if its size is not theirs.
    fn sessions(&self) -> Vec<(u32, u8)> {
        let start = 14 + 4 * self.handles;
        let end = start + self.u32(start - 4) as usize;
        let (mut at, mut found) = (start, Vec::new());
        while at < end && at < self.request.len() {
            let handle = self.u32(at);
            at += 6 + usize::from(self.u16(at + 4));
            found.push((handle, self.request.get(at).copied().unwrap_or_default()));
            at += 3 + usize::from(self.u16(at + 1));
        }
        if at == end { found } else { Vec::new() }
    }

    /// Whether a session has auditExclusive or auditReset without audit.
    fn has_misplaced_audit_attributes(&self) -> bool {
        self.sessions().iter().any(|(_, attributes)| attributes & 0x06 != 0 && attributes & 0x80 == 0)
    }

    /// The handle area.
    fn handle_area(&self) -> impl Iterator<Item = u32> {
        (0..self.handles).map(|n| self.u32(10 + 4 * n))
    }

    /// Whether damage has set bits of TPMA_OBJECT that only later revisions have, in a public area.
    fn has_made_later_attributes(&self) -> bool {
        let Some(hit) = self.hit else { return false };
        // type, nameAlg and the attributes, of which the octet that was hit may be the third
        (hit.start..hit.end).any(|at| {
            let kinds = [1, 8, 0x23, 0x25];
            at >= 6 && kinds.contains(&self.u16(at - 6)) && self.u16(at - 4) < 0x30 && self.u32(at - 2) & 0x300 != 0
        })
    }
}

impl Said<'_> {
    /// Whether damage has made a public area with x509sign: type, nameAlg and attributes.
    fn has_made_x509_sign(&self) -> bool {
        let kinds = [1, 8, 0x23, 0x25];
        let is_area =
            |at: usize| kinds.contains(&self.u16(at)) && self.u16(at + 2) < 0x30 && self.u32(at + 4) & 1 << 19 != 0;
        (0..self.request.len()).any(|at| is_area(at) && self.is_hit(at..at + 8))
    }

    /// Whether a TPM2B begins with a type of object and no nameAlg.
    fn has_template_without_name_alg(&self) -> bool {
        [1, 8, 0x23, 0x25].into_iter().any(|kind| self.has(&[0, kind, 0, 0x10]))
    }

    /// Where the parameters begin.
    fn parameters(&self) -> usize {
        let from = 10 + 4 * self.handles;
        from + if self.u16(0) == 0x8002 { 4 + self.u32(from) as usize } else { 0 }
    }

    /// The octets of the first parameter, if it is a TPM2B.
    fn first_sized(&self) -> Range<usize> {
        let from = self.parameters() + 2;
        from..from + usize::from(self.u16(from - 2))
    }

    /// The third parameter, if it and those before are TPM2Bs.
    fn third_sized(&self) -> Option<&[u8]> {
        let mut rest = self.request.get(self.parameters()..)?;
        let mut one = &[][..];
        for _ in 0..3 {
            let (size, after) = rest.split_first_chunk::<2>()?;
            (one, rest) = after.split_at_checked(u16::from_be_bytes(*size).into())?;
        }
        Some(one)
    }

    /// Whether damage has made a size that only libtpms takes for a Name's: its TPMU_NAME has 68 octets, ours 66.
    fn has_made_a_name_too_long(&self) -> bool {
        [67, 68].into_iter().any(|size| self.has_made(&[0, size]))
    }
}

/// Algorithms that we have and libtpms 0.9.2 has not: SM3, SM4, the three SHA-3, ML-DSA and Hash-ML-DSA.
const MORE_ALGORITHMS: [[u8; 2]; 7] = [[0, 0x12], [0, 0x13], [0, 0x27], [0, 0x28], [0, 0x29], [0, 0xa1], [0, 0xa2]];
/// What libtpms says to an algorithm that it has not: ASYMMETRIC, HASH, VALUE, CURVE, MODE, TYPE, KDF, SCHEME, SYMMETRIC, SIZE of its digest
const NO_ALGORITHM: [u32; 10] = [0x01, 0x03, 0x04, 0x26, 0x09, 0x0a, 0x0c, 0x12, 0x16, 0x15];
/// Commands that take a definition of a symmetric algorithm or of a curve.
const DEFINES: [u32; 11] = [
    cc::START_AUTH_SESSION,
    cc::CREATE_PRIMARY,
    cc::CREATE,
    cc::CREATE_LOADED,
    cc::LOAD,
    cc::LOAD_EXTERNAL,
    cc::IMPORT,
    cc::DUPLICATE,
    cc::TEST_PARMS,
    cc::INCREMENTAL_SELF_TEST,
    cc::CONTEXT_LOAD,
];
/// Commands with a ticket.
const TICKETS: [u32; 4] = [cc::SIGN, cc::CERTIFY_CREATION, cc::POLICY_TICKET, cc::POLICY_AUTHORIZE];

/// The row of docs/differences.md that explains why the response codes differ.
pub(crate) fn explain(case: &Case, trail: &[Case], commands: &Commands) -> Option<&'static str> {
    let said = Said::of(case);
    of_the_header(case, &said, commands)
        .or_else(|| of_the_text(case, &said, trail))
        .or_else(|| of_algorithms(case, &said))
        .or_else(|| of_limits(case, &said))
        .or_else(|| of_nv(case, &said, trail))
        .or_else(|| of_one_command(case, &said, commands))
        .or_else(|| of_own_octets(case, &said))
}

/// Where the text of 1.85 and both peers differ: which objects and public areas are taken, and what is said to those that are not.
fn of_the_text(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    match (case.code, ours, theirs) {
        (cc::POLICY_SIGNED, 0x5dd, 0x5db | 0x5d2 | 0x5cb) => Some("PolicySigned with what is no valid signature"),
        (cc::POLICY_SIGNED | cc::POLICY_SECRET, 0x1c4, 0x1cf) => Some("nonceTPM that is not the session's"),
        (cc::GET_CAPABILITY, 0x2da | 0x3da, 0x1c4) if matches!(said.u32(10), 0xb | 0xc) => {
            Some("SPDM groups of GetCapability")
        }
        (cc::POLICY_NV, 0x146, 0x1d5) => Some("PolicyNV beyond the Index"),
        (cc::POLICY_COUNTER_TIMER, 0 | 0x0a3 | 0x1c4, 0 | 0x126) if is_limit_of_time(said) => {
            Some("PolicyCounterTimer: TPM_EO_UNSIGNED_LT of Time")
        }
        (cc::POLICY_DUPLICATION_SELECT, 0 | 0x0a4, 0x143) => {
            Some("PolicyDuplicationSelect after a limit to another command")
        }
        (
            cc::POLICY_TICKET
            | cc::POLICY_LOCALITY
            | cc::POLICY_COMMAND_CODE
            | cc::POLICY_CP_HASH
            | cc::POLICY_NAME_HASH
            | cc::POLICY_TEMPLATE
            | cc::POLICY_DUPLICATION_SELECT
            | cc::POLICY_NV_WRITTEN
            | cc::POLICY_AUTHORIZE
            | cc::POLICY_COUNTER_TIMER,
            0,
            _,
        ) if has_trial(trail) => Some("trial sessions"),
        (cc::CERTIFY, 0x103 | 0x18b, 0 | 0x84) | (cc::CERTIFY_CREATION, 0x103 | 0x28b, 0 | 0x4e0) => {
            Some("Certify and CertifyCreation of external and sequence objects")
        }
        (cc::CERTIFY_X509, 0x182, 0x3c4) => Some("CertifyX509: uses that the key's attributes do not admit"),
        (_, 0x2c2, _) if DEFINES.contains(&case.code) && said.has_made_x509_sign() => {
            Some("x509sign of what is no asymmetric signing key")
        }
        (cc::LOAD_EXTERNAL, 0x0a5 | 0x2e7, 0) if said.has(&[0, 0x23, 0, 0x10]) => {
            Some("LoadExternal of ECC keys without nameAlg")
        }
        (cc::LOAD_EXTERNAL, 0x2c2, _) if said.has_template_without_name_alg() => {
            Some("attributes of external keys without nameAlg")
        }
        (cc::CREATE | cc::CREATE_PRIMARY | cc::CREATE_LOADED, 0, 0x08d)
        | (cc::LOAD_EXTERNAL | cc::IMPORT | cc::LOAD, 0x2c4, 0 | 0x0a5)
        | (cc::LOAD_EXTERNAL | cc::IMPORT | cc::LOAD, 0, 0x2c4)
        | (cc::TEST_PARMS, 0x1c4, 0) => Some("RSA public exponents"),
        (cc::CREATE | cc::CREATE_PRIMARY | cc::CREATE_LOADED, 0x095, 0x087) => {
            Some("symmetric data of the caller's that are not as long as the key")
        }
        (cc::IMPORT, 0x2c2, 0) => Some("Import below a parent without fixedTPM"),
        _ => None,
    }
}

/// Whether TPM2_PolicyCounterTimer limits Time: eight octets, offset 0, TPM_EO_UNSIGNED_LT.
fn is_limit_of_time(said: &Said<'_>) -> bool {
    said.first_sized().len() == 8 && said.request.ends_with(&[0, 0, 0, 5])
}

/// Whether a trial session has been started.
fn has_trial(trail: &[Case]) -> bool {
    let mut started = trail.iter().filter(|case| case.code == cc::START_AUTH_SESSION && case.rc == [0, 0]);
    started.any(|case| {
        let said = Said::of(case);
        let salt = said.first_sized().end;
        said.request.get(salt + 2 + usize::from(said.u16(salt))) == Some(&3)
    })
}

/// Tags, command codes, handles, sessions.
fn of_the_header(case: &Case, said: &Said<'_>, commands: &Commands) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if ours == 0x1e && fmt1(theirs) == Some(VALUE) && !matches!(said.u16(0), 0x8001 | 0x8002) {
        return Some("a tag that is none");
    }
    if commands.only_ours(said.code()) && theirs == 0x143 {
        return Some("commands that libtpms has not");
    }
    if said.handle_area().any(|h| MORE_OBJECTS.contains(&h)) && fmt1(theirs) == Some(VALUE) {
        return Some("slots for objects");
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

fn of_algorithms(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let their_fmt1 = fmt1(theirs);
    let has_made = |id: &[u8; 2]| said.has_made(id) || said.is_hit(6..10) && said.has(id);
    if their_fmt1.is_some_and(|code| NO_ALGORITHM.contains(&code)) && MORE_ALGORITHMS.iter().any(has_made) {
        return Some("algorithms that libtpms has not");
    }
    if !DEFINES.contains(&said.code()) {
        return None;
    }
    if matches!(their_fmt1, Some(VALUE | SIZE)) && (said.has(&[0, 6, 0, 0xc0]) || said.has(&[0, 0x26, 0, 0xc0])) {
        return Some("keys of 192 bits");
    }
    let is_tdes = said.has(&[0, 3, 0, 0x80]) || said.has(&[0, 3, 0, 0xc0]);
    if matches!(fmt1(ours), Some(SYMMETRIC | VALUE))
        && (is_tdes || case.code == cc::INCREMENTAL_SELF_TEST && said.request.ends_with(&[0, 3]))
    {
        return Some("BN P-638, TDES");
    }
    // A definition of TDES, of another number of bits, that damage has led to.
    if fmt1(ours) == Some(SYMMETRIC) && their_fmt1 == Some(VALUE) && said.hit.is_some() && said.has(&[0, 3]) {
        return Some("BN P-638, TDES");
    }
    if fmt1(ours) == Some(CURVE) && said.has(&[0, 0x11, 0, 0x10]) {
        return Some("BN P-638, TDES");
    }
    (their_fmt1 == Some(RESERVED_BITS) && said.has_made_later_attributes()).then_some("attributes of later revisions")
}

/// Sizes and counts that we take and libtpms does not.
fn of_limits(case: &Case, said: &Said<'_>) -> Option<&'static str> {
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

fn of_nv(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let partly_written = said.handle_area().any(|h| h >> 24 == 1 && in_part(h, trail));
    if partly_written && (ours == 0x12f || theirs == 0x12f) {
        return Some(IN_PART);
    }
    if (ours, theirs) == (0x148, 0) && said.handle_area().any(|h| h >> 24 == 1 && is_orderly(h, trail)) {
        return Some("WRITELOCKED of an orderly Index");
    }
    let index = said.u32(14);
    if case.code == cc::POLICY_NV && matches!((ours, theirs), (0, 0x126) | (0x126, 0)) && is_incremented(index, trail) {
        return Some("first NV_Increment of a counter");
    }
    let signed = matches!(said.last_u16(), 2 | 4 | 6 | 8);
    if matches!(case.code, cc::POLICY_NV | cc::POLICY_COUNTER_TIMER)
        && signed
        && matches!((ours, theirs), (0, 0x126) | (0x126, 0))
    {
        return Some("signed comparison of negative numbers");
    }
    if case.code == cc::NV_DEFINE_SPACE && (ours, theirs) == (0, 0x14b) && said.request.len() > 12 {
        return Some("RAM for orderly Indices");
    }
    None
}

fn of_one_command(case: &Case, said: &Said<'_>, commands: &Commands) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if TICKETS.contains(&case.code)
        && fmt1(ours) == Some(TAG)
        && fmt1(theirs) == Some(VALUE)
        && ours & 0xf40 == theirs & 0xf40
    {
        return Some("a ticket's tag that is no tag");
    }
    let pcr = said.u32(10);
    if (20..=22).contains(&pcr) && ours == 0x12f && matches!(theirs, 0x99d | 0x128 | 0x989) {
        return Some("PCR with an authPolicy");
    }
    let end = said.request.len().saturating_sub(4);
    match (case.code, ours, theirs) {
        (cc::GET_CAPABILITY, _, 0x1c4) if said.u32(10) == 0x100 => Some("TPM_CAP_VENDOR_PROPERTY"),
        (cc::FLUSH_CONTEXT, _, 0x1c4) if MORE_OBJECTS.contains(&said.u32(10)) => Some("slots for objects"),
        (cc::FLUSH_CONTEXT, 0x1cb, 0) => Some("FlushContext of a session by its other handle"),
        (cc::SEQUENCE_UPDATE, 0x189, 0x1c9) => Some("SequenceUpdate of what is no sequence"),
        (cc::POLICY_COMMAND_CODE, 0, 0x1e4) if commands.only_ours(said.u32(end)) => {
            Some("commands that libtpms has not")
        }
        (cc::POLICY_TEMPLATE, 0x1c4, 0x151) => Some("PolicyTemplate with another template"),
        (cc::ECC_PARAMETERS | cc::EC_EPHEMERAL, 0x1e6, 0 | 0x95) if said.u16(10) == 0x11 || said.last_u16() == 0x11 => {
            Some("BN P-638, TDES")
        }
        (cc::RSA_ENCRYPT, 0x19c, 0 | 0x101) => Some("RSA public keys that are none"),
        (cc::RSA_ENCRYPT, 0x84, 0x101) => Some("failure mode of libtpms"),
        (cc::ACTIVATE_CREDENTIAL | cc::IMPORT | cc::REWRAP | cc::RSA_DECRYPT | cc::START_AUTH_SESSION, _, 0x101)
            if fmt1(ours) == Some(VALUE) && (said.hit.is_some() || case.code == cc::RSA_DECRYPT) =>
        {
            Some("RSA ciphertexts that are none")
        }
        (cc::IMPORT, 0x3df | 0x3d5 | 0x3da, 0x3df | 0x3d5 | 0x3da | 0x3c4)
            if said.hit.is_some() || said.request.ends_with(&[0, 6, 0, 0x80, 0, 0x43]) =>
        {
            Some("an inner wrapper that is none")
        }
        (cc::CREATE_LOADED | cc::CREATE_PRIMARY | cc::CREATE | cc::IMPORT, _, 0x2c3)
            if ours & 0xfc0 == 0x2c0 && said.has_template_without_name_alg() =>
        {
            Some("a template without nameAlg and with another fault")
        }
        (cc::POLICY_AUTHORIZE, 0x3d5, 0x3c3) if said.third_sized().is_some_and(|name| name.len() < 2) => {
            Some("PolicyAuthorize with a name of less than two octets")
        }
        // TPM_ST_MESSAGE_VERIFIED is one bit from TPM_ST_VERIFIED.
        (cc::POLICY_AUTHORIZE, _, 0x4c4) if said.has_made(&[0x80, 0x26]) => Some("tickets of later revisions"),
        _ if fmt1(ours) == Some(SIZE) && fmt1(theirs) == Some(INSUFFICIENT) && said.has_made_a_name_too_long() => {
            Some("names of 67 and 68 octets")
        }
        (cc::CERTIFY_X509, 0x182, 0) | (cc::CERTIFY_X509, 0, 0x3c4) if said.is_hit(end..end + 4) => {
            Some("CertifyX509: what keyUsage asks of the key")
        }
        (cc::CLOCK_SET, 0x1c4, 0) if said.hit.is_some() && said.u32(end.saturating_sub(4)) == 0 => {
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
        (cc::QUOTE, 0, 0x2d2) | (cc::NV_CERTIFY, 0x2d2, 0) if said.u32(10) == rh::NULL => {
            Some("digests that are attested to without a key")
        }
        (cc::SET_COMMAND_CODE_AUDIT_STATUS, 0, 0x1c4) if said.has(&[0, 0xb]) => Some("initial hash of command audit"),
        // An HMAC session, of which libtpms asks whether it is bound to the object before it asks for the object's sensitive area.
        (_, 0x12f | 0x921, 0x101) if said.sessions().iter().any(|(handle, _)| handle >> 24 == 2) => {
            Some("failure mode of libtpms")
        }
        (cc::ZGEN_2PHASE, _, 0x101) if said.has(&[0, 0x1d]) => Some("failure mode of libtpms"),
        (cc::CERTIFY_X509, ..) if fmt1(ours) == fmt1(theirs) && [ours & 0xf40, theirs & 0xf40] == [0x200, 0x100] => {
            Some("CertifyX509: positions of handles")
        }
        (cc::CERTIFY_X509, ..) if fmt1(ours) == fmt1(theirs) && [ours & 0xf40, theirs & 0xf40] == [0x100, 0x200] => {
            Some("CertifyX509: positions of handles")
        }
        (cc::IMPORT, 0x0a5, 0) if said.hit.is_some() && said.has(&[0, 0x10, 8, 0, 0, 0, 0, 0, 1, 0]) => {
            Some("Import of an RSA key of another modulus")
        }
        _ => None,
    }
}

/// Both refuse a command in which a damaged size has made nonces or blobs, which each TPM has its own of, read as something else.
fn of_own_octets(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
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

const IN_PART: &str = "a PIN index that was first written in part";

/// Whether an NV Index was last defined with ORDERLY and WRITEDEFINE.
fn is_orderly(index: u32, trail: &[Case]) -> bool {
    let defined = trail.iter().rev().filter(|case| case.code == cc::NV_DEFINE_SPACE && case.rc == [0, 0]);
    let attributes = defined.filter_map(|case| {
        let said = Said::of(case);
        said.places(&index.to_be_bytes()).last().map(|at| said.u32(at + 6))
    });
    attributes.into_iter().next().is_some_and(|attributes| attributes & ORDERLY_WRITEDEFINE == ORDERLY_WRITEDEFINE)
}

/// Whether an NV Index is a counter that has been incremented.
fn is_incremented(index: u32, trail: &[Case]) -> bool {
    let mut increments = trail.iter().filter(|case| case.code == cc::NV_INCREMENT && case.rc == [0, 0]);
    increments.any(|case| Said::of(case).u32(14) == index)
}

/// Whether two public areas of an NV Index are the same but for WRITELOCKED, and it is one with ORDERLY and WRITEDEFINE.
pub(crate) fn is_lock_of_orderly(public: &Two<Vec<u8>>) -> bool {
    let attributes = |side: &Vec<u8>| Said { request: side, handles: 0, hit: None }.u32(6);
    let [ours, theirs] = public.each_ref().map(attributes);
    let rest = |side: &Vec<u8>| [&side[..6], &side[10..]].concat();
    public.iter().all(|side| side.len() >= 10)
        && ours ^ theirs == 1 << 11
        && ours & ORDERLY_WRITEDEFINE == ORDERLY_WRITEDEFINE
        && rest(&public[0]) == rest(&public[1])
}

/// TPMA_NV_ORDERLY and TPMA_NV_WRITEDEFINE
const ORDERLY_WRITEDEFINE: u32 = 1 << 26 | 1 << 13;

/// Whether a part of an NV Index of eight octets has been written.
fn in_part(index: u32, trail: &[Case]) -> bool {
    trail.iter().any(|earlier| {
        let wrote = Said::of(earlier);
        let end = wrote.request.len();
        let whole = wrote.u16(end.saturating_sub(2)) == 0 && wrote.u16(end.saturating_sub(12)) == 8;
        earlier.code == cc::NV_WRITE && earlier.rc == [0, 0] && wrote.u32(14) == index && !whole
    })
}

/// Whether two answers say the same but for what one side has more: banks of PCR.
pub(crate) fn is_same(code: u32, answers: &Two<Vec<u8>>) -> bool {
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
pub(crate) fn explain_answer(command: &Command, answers: &Two<Vec<u8>>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = answers;
    match command.code {
        cc::NV_READ if command.handles.get(1).is_some_and(|index| in_part(index.handle[0], trail)) => Some(IN_PART),
        cc::ENCRYPT_DECRYPT | cc::ENCRYPT_DECRYPT_2 if ours.len() == theirs.len() => {
            let size = usize::from(u16::from_be_bytes([ours[0], ours[1]]));
            (size % 16 != 0 && ours[..2 + size] == theirs[..2 + size]).then_some("ivOut after a block that is not full")
        }
        cc::POLICY_GET_DIGEST if has_trial(trail) && trail.iter().any(|case| case.code == cc::POLICY_PCR) => {
            Some("PolicyPCR in a trial session")
        }
        cc::ECC_PARAMETERS if ours.starts_with(&[0, 0x10]) => Some("zeros before the numbers of ECC_Parameters"),
        _ => None,
    }
}
