//! What a rule asks of a command.

use crate::differential::cc;
use crate::differential::tally::Case;
use client::attributes::object as a;
use client::command::Rest;
use client::hash::Alg;
use core::ops::Range;

/// A code of format one, without its position.
pub(super) const fn fmt1(rc: u32) -> Option<u32> {
    if rc & 0x80 != 0 { Some(rc & 0x3f) } else { None }
}

pub(super) const VALUE: u32 = 0x04;
pub(super) const SIZE: u32 = 0x15;
pub(super) const POLICY_FAIL: u32 = 0x1d;
pub(super) const INSUFFICIENT: u32 = 0x1a;
pub(super) const SYMMETRIC: u32 = 0x16;
pub(super) const TAG: u32 = 0x17;
pub(super) const CURVE: u32 = 0x26;
pub(super) const RESERVED_BITS: u32 = 0x21;
pub(super) const BAD_AUTH: u32 = 0x22;
pub(super) const EXT_MU: u32 = 0x2b;

/// Commands that take a definition of a symmetric algorithm or of a curve.
pub(super) const DEFINES: [u32; 11] = [
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
/// What a command says, from our side, and what was done to it.
pub(super) struct Said<'a> {
    pub(super) request: &'a [u8],
    pub(super) handles: usize,
    pub(super) hit: Option<&'a Range<usize>>,
}

impl<'a> Said<'a> {
    pub(super) fn of(case: &'a Case) -> Self {
        Self { request: &case.request[0], handles: case.handles, hit: case.hit.as_ref() }
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        self.request.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        self.request.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    /// The last two octets.
    pub(super) fn last_u16(&self) -> u16 {
        self.u16(self.request.len().saturating_sub(2))
    }

    /// The command code as it was sent.
    pub(super) fn code(&self) -> u32 {
        self.u32(6)
    }

    /// Where the octets stand behind the handles.
    pub(super) fn places<'b>(&self, octets: &'b [u8]) -> impl Iterator<Item = usize> + use<'b, 'a> {
        let from = 10 + 4 * self.handles;
        let rest: &'a [u8] = self.request.get(from..).unwrap_or_default();
        rest.windows(octets.len()).enumerate().filter(move |(_, window)| window == &octets).map(move |(n, _)| from + n)
    }

    /// Whether the octets stand in it somewhere behind the handles.
    pub(super) fn has(&self, octets: &[u8]) -> bool {
        self.places(octets).next().is_some()
    }

    /// Whether damage has hit one of these octets.
    pub(super) fn is_hit(&self, at: Range<usize>) -> bool {
        self.hit.is_some_and(|hit| hit.start < at.end && at.start < hit.end)
    }

    /// Whether damage has made these octets.
    pub(super) fn has_made(&self, octets: &[u8]) -> bool {
        self.places(octets).any(|at| self.is_hit(at..at + octets.len()))
    }

    /// Whether damage has made a number of two octets that is greater.
    pub(super) fn has_made_more_than(&self, limit: u16) -> bool {
        self.hit.is_some_and(|hit| (hit.start.saturating_sub(1)..hit.end).any(|at| self.u16(at) > limit))
    }

    /// Handles and attributes of the authorization area's entries; none if its size is not theirs.
    pub(super) fn sessions(&self) -> Vec<(u32, u8)> {
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
    pub(super) fn has_misplaced_audit_attributes(&self) -> bool {
        self.sessions().iter().any(|(_, attributes)| attributes & 0x06 != 0 && attributes & 0x80 == 0)
    }

    /// The handle area.
    pub(super) fn handle_area(&self) -> impl Iterator<Item = u32> {
        (0..self.handles).map(|n| self.u32(10 + 4 * n))
    }

    /// Whether damage has set bits of TPMA_OBJECT that only later revisions have, in a public area.
    pub(super) fn has_made_later_attributes(&self) -> bool {
        let Some(hit) = self.hit else { return false };
        // type, nameAlg and the attributes, of which the octet that was hit may be the third
        (hit.start..hit.end).any(|at| {
            let kinds = [1, 8, 0x23, 0x25];
            at >= 6 && kinds.contains(&self.u16(at - 6)) && self.u16(at - 4) < 0x30 && self.u32(at - 2) & 0x300 != 0
        })
    }
}

impl Said<'_> {
    /// Whether a TPM2B begins with a type of object and no nameAlg.
    pub(super) fn has_template_without_name_alg(&self) -> bool {
        [1, 8, 0x23, 0x25].into_iter().any(|kind| self.has(&[0, kind, 0, 0x10]))
    }

    /// Where the parameters begin.
    pub(super) fn parameters(&self) -> usize {
        let from = 10 + 4 * self.handles;
        from + if self.u16(0) == 0x8002 { 4 + self.u32(from) as usize } else { 0 }
    }

    /// The octets of the first parameter, if it is a TPM2B.
    pub(super) fn first_sized(&self) -> Range<usize> {
        let from = self.parameters() + 2;
        from..from + usize::from(self.u16(from - 2))
    }

    /// The n-th parameter from the first one on, if it and those before are TPM2Bs.
    pub(super) fn sized(&self, n: usize) -> Option<&[u8]> {
        let mut rest = Rest(self.request.get(self.parameters()..)?);
        (1..n).try_for_each(|_| rest.sized().map(|_| ()))?;
        rest.sized()
    }

    /// Whether the second parameter is the public area of a key on lattices that is not as the generator makes them.
    pub(super) fn has_odd_lattice(&self) -> bool {
        self.sized(2).is_some_and(|public| matches!(public, [0, 0xa0..=0xa2, ..]) && !is_usual_lattice(public))
    }

    /// Whether damage has made a size that only libtpms takes for a Name's: its TPMU_NAME has 68 octets, ours 66.
    pub(super) fn has_made_a_name_too_long(&self) -> bool {
        [67, 68].into_iter().any(|size| self.has_made(&[0, size]))
    }

    /// Whether the authorization area's entry that a response code blames decrypts, and the first parameter is an empty
    /// TPM2B.
    pub(super) fn has_empty_encrypted(&self, rc: u32) -> bool {
        let blamed = (rc >> 8 & 7).checked_sub(1).and_then(|n| self.sessions().get(n as usize).copied());
        blamed.is_some_and(|(_, attributes)| attributes & 0x20 != 0) && self.u16(self.parameters()) == 0
    }

    /// Whether there is a public area of ML-DSA with allowExternalMu.
    pub(super) fn has_external_mu(&self) -> bool {
        self.places(&[0, 0xa1]).any(|at| {
            let policy = usize::from(self.u16(at + 8));
            matches!(self.u16(at + 2), 4 | 0x0b..=0x0d) && self.request.get(at + 12 + policy) == Some(&1)
        })
    }

    /// Whether bit 3 of TPMA_OBJECT is SET in a public area.
    pub(super) fn has_fixed_firmware(&self) -> bool {
        let kinds = [[0, 1], [0, 8], [0, 0x23], [0, 0x25]];
        let mut places = kinds.iter().flat_map(|kind| self.places(kind));
        places.any(|at| matches!(self.u16(at + 2), 4 | 0x0b..=0x0d | 0x10) && self.u32(at + 4) & 8 != 0)
    }

    /// Whether TPM2_PolicyCounterTimer compares octets of resetCount.
    pub(super) fn compares_reset_count(&self) -> bool {
        let operand = self.first_sized();
        let offset = self.u16(operand.end);
        (16..20).contains(&offset) || offset < 16 && usize::from(offset) + operand.len() > 16
    }

    /// Whether an NV Index with TPMA_NV_ORDERLY is to be defined.
    pub(super) fn defines_orderly(&self) -> bool {
        let at = match self.code() {
            cc::NV_DEFINE_SPACE => 6,
            // behind handleType
            cc::NV_DEFINE_SPACE_2 => 7,
            _ => return false,
        };
        let attributes = self.sized(2).and_then(|public| public.get(at..)?.first_chunk());
        attributes.is_some_and(|four| u32::from_be_bytes(*four) & 1 << 26 != 0)
    }

    /// Whether operandB is empty and the comparison signed: TPM_EO_SIGNED_GT, _LT, _GE, _LE behind offset.
    pub(super) fn compares_nothing_signed(&self) -> bool {
        let operand = self.first_sized();
        operand.is_empty() && matches!(self.u16(operand.end + 2), 2 | 4 | 6 | 8)
    }

    /// Whether TPM2_Import has a sensitive area in the clear whose authValue is longer than digests of nameAlg.
    pub(super) fn imports_long_auth(&self) -> bool {
        let (Some(public), Some(duplicate)) = (self.sized(2), self.sized(3)) else { return false };
        let name_alg = public.get(2..4).and_then(|id| Alg::ALL.into_iter().find(|alg| alg.id().to_be_bytes() == id));
        // size and sensitiveType
        let auth = duplicate.get(4..).and_then(|rest| Rest(rest).sized());
        name_alg.is_some_and(|alg| auth.is_some_and(|auth| auth.len() > alg.size()))
    }

    /// Whether damage has made a hierarchy that is limited to a firmware or to its SVN.
    pub(super) fn has_made_limited_hierarchy(&self) -> bool {
        let ends = 14..=self.request.len();
        ends.map(|end| end - 4..end).any(|at| {
            let limited = matches!(self.u32(at.start), 0x4000_0140..=0x4000_0143 | 0x4001_0000..=0x4004_ffff);
            limited && (self.is_hit(at) || self.is_hit(6..10))
        })
    }

    /// Whether damage has made a public area with x509sign: type, nameAlg and attributes.
    pub(super) fn has_made_x509_sign(&self) -> bool {
        let kinds = [1, 8, 0x23, 0x25];
        let is_area =
            |at: usize| kinds.contains(&self.u16(at)) && self.u16(at + 2) < 0x30 && self.u32(at + 4) & 1 << 19 != 0;
        (0..self.request.len()).any(|at| is_area(at) && self.is_hit(at..at + 8))
    }
}

/// Whether the public area of a key on lattices has nameAlg, attributes, parameters and a size of unique that go
/// together.
fn is_usual_lattice(public: &[u8]) -> bool {
    const OF_TEMPLATES: u32 = a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN;
    const OF_ALL: u32 = a::USER | a::NO_DA;
    let mut rest = Rest(public);
    let mut usual = || {
        let kind = u16::from_be_bytes(rest.take(2)?.try_into().ok()?);
        let name_alg = rest.take(2)?;
        let attributes = rest.u32()?;
        let restricted = attributes & a::RESTRICTED != 0;
        let fixed = matches!(attributes & (a::FIXED_TPM | a::FIXED_PARENT), 0 | 0x12);
        let attributes = attributes & !(OF_TEMPLATES | OF_ALL | a::RESTRICTED);
        let policy = rest.sized()?;
        let parms = rest.take(if kind == 0xa1 { 3 } else { 4 })?;
        let (parms, has_cipher) = match (kind, parms) {
            (0xa0, [0, 6, 0, 128]) => (rest.take(4)?, true),
            _ => (parms, false),
        };
        let good = match (kind, parms) {
            (0xa0, [0, 0x43, 0, 1..=3]) => has_cipher && restricted && attributes == a::DECRYPT,
            (0xa0, [0, 0x10, 0, 1..=3]) => !restricted && attributes == a::DECRYPT,
            (0xa1, [0, 1..=3, 0 | 1]) | (0xa2, [0, 1..=3, 0, 0x0b..=0x0d]) => attributes & !a::X509_SIGN == a::SIGN,
            _ => false,
        };
        let unique = rest.sized()?.len();
        let sizes = [0, 800, 1184, 1568, 1312, 1952, 2592];
        Some(good && fixed && matches!(name_alg, [0, 0x0b | 0x0c]) && policy.is_empty() && sizes.contains(&unique))
    };
    usual().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Said, is_usual_lattice};
    use client::command::with_passwords as command;
    use client::{cc, tpm2b};

    /// Template of ML-KEM-512: AES-128-CFB if it is restricted.
    const RESTRICTED: &[u8] = &[0, 0xa0, 0, 0xb, 0, 3, 4, 0x72, 0, 0, 0, 6, 0, 128, 0, 0x43, 0, 1, 0, 0];
    const FREE: &[u8] = &[0, 0xa0, 0, 0xb, 0, 2, 4, 0x72, 0, 0, 0, 0x10, 0, 1, 0, 0];

    #[test]
    fn templates_are_usual_where_all_goes_together() {
        assert!(is_usual_lattice(RESTRICTED));
        assert!(is_usual_lattice(FREE));
        let changed = |of: &[u8], at: usize, to: u8| {
            let mut octets = of.to_vec();
            octets[at] = to;
            is_usual_lattice(&octets)
        };
        assert!(!changed(FREE, 5, 3), "restricted without a cipher");
        assert!(!changed(RESTRICTED, 5, 2), "a cipher without restricted");
        assert!(!changed(FREE, 3, 0x10), "no nameAlg");
        assert!(!changed(FREE, 7, 0x62), "fixedParent alone is CLEAR");
        assert!(!changed(FREE, 13, 4), "no parameter set");
        assert!(!changed(FREE, 15, 1), "cut short");
    }

    #[test]
    fn nothing_is_compared_signed_where_operand_b_is_empty() {
        let compares = |operand: &[u8], operation: u8| {
            let parameters = [&tpm2b(operand)[..], &[0, 0, 0, operation, 0, 0, 0, 1, 0x81, 0, 0, 0]].concat();
            let request = command(cc::POLICY_CAPABILITY, &[0x0300_0000], &[], &parameters);
            Said { request: &request, handles: 1, hit: None }.compares_nothing_signed()
        };
        assert!(compares(&[], 6));
        assert!(!compares(&[], 7), "unsigned");
        assert!(!compares(&[0], 6), "an octet");
    }

    #[test]
    fn an_imported_auth_value_is_long_where_it_is_longer_than_digests_of_name_alg() {
        let is_long = |name_alg: u8, size: usize| {
            let sensitive = [&[0, 0x25][..], &tpm2b(&vec![7; size]), &tpm2b(&[]), &tpm2b(&[7; 16])].concat();
            let areas = [&tpm2b(&[0, 0x25, 0, name_alg])[..], &tpm2b(&tpm2b(&sensitive))].concat();
            let parameters = [&tpm2b(&[])[..], &areas].concat();
            let request = command(cc::IMPORT, &[0x8000_0000], &[b""], &parameters);
            Said { request: &request, handles: 1, hit: None }.imports_long_auth()
        };
        assert!(is_long(4, 21));
        assert!(!is_long(4, 20), "SHA-1");
        assert!(!is_long(0xb, 32), "SHA-256");
    }
}
