//! From a pinned root to the report: who says that a report is true.
//!
//! Only VCEKs count. A VLEK is a provider's, for any of its chips, so the chip that a state goes to would be the
//! provider's word; and a report without signature is nobody's.

use snp::report::{Report, TcbVersion};
use tpm_crypto::ecc::{Curve, Signature};
use tpm_crypto::hash::{HashAlg, digest};
use zerocopy::IntoBytes;

use crate::certificate::Certificate;
use crate::refusal::Refusal;
use crate::transcript::Testimony;

/// A line of processors: those with one root, and one layout of TCB_VERSION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Generation {
    /// Octets of a chip's identity.
    const fn id_size(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }

    /// The extensions that name a TCB, each by the last component of its identifier, and the octet of TCB_VERSION that
    /// it is.
    const fn levels(self) -> &'static [(u8, usize)] {
        match self {
            Self::Milan | Self::Genoa => &[(1, 0), (2, 1), (3, 6), (8, 7)],
            Self::Turin => &[(9, 0), (1, 1), (2, 2), (3, 3), (8, 7)],
        }
    }
}

/// SHA-384 of a root's certificate, DER.
pub type RootDigest = [u8; 48];

/// A root, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// SHA-384 of its certificate.
    pub sha384: RootDigest,
    /// Whose chips it vouches for.
    pub generation: Generation,
}

/// AMD's, as AMD's key server has given them since each generation began.
pub const AMD: [Root; 3] = [
    Root {
        sha384: hex(
            b"2f1316273dade9b896875da0acb6bc1c0547d41320ad323cbfbef6570f0305a3e7f8398d0b44bd1f36075295cefcc0db",
        ),
        generation: Generation::Milan,
    },
    Root {
        sha384: hex(
            b"d1b7bcfe685d19e63ca792957371b619cee792db280c312e7a00433d506224d5953ad9d348d74b4e176fba1b6a616eac",
        ),
        generation: Generation::Genoa,
    },
    Root {
        sha384: hex(
            b"09da21f0e7d04ac7f1b04306ebc5d65a3c0ebec966170d22fe26c44efcce8be3ed298a80d10fcfa4131c01028fe536d8",
        ),
        generation: Generation::Turin,
    },
];

/// The software machine's (tests/machine/psp), whose keys everybody has: accepted where the setting says so.
pub const DEVELOPMENT: Root = Root {
    sha384: hex(b"a327e868be5971f1cfd37e945a303d086254a79f9a97edec71b88e7c84e54da50e37327d8be18cea56361f497eafd084"),
    generation: Generation::Milan,
};

/// Signature algorithm of reports: ECDSA P-384 with SHA-384.
const ECDSA_P384: u32 = 1;
/// Octets of a report that are signed.
const SIGNED: usize = 0x2a0;
/// Octets of R and S that P-384 fills.
const SCALAR: usize = 48;
/// KEY_INFO: MASK_CHIP_KEY, and SIGNING_KEY, which is 0 for a VCEK.
const NO_VCEK: u32 = 0b1_1110;

/// Verifies a report up to one of the roots. Whose chip it is, is returned.
///
/// # Errors
/// `Certificate`, `Root`, `Chain`, `ReportVersion`, `Signer`, `ReportSignature`, `Chip`, `Levels`; in this order.
pub fn verify(testimony: &Testimony, roots: &[Root]) -> Result<Generation, Refusal> {
    let read = |der| Certificate::parse(der).ok_or(Refusal::Certificate);
    let (ark, ask, vcek) = (read(&testimony.ark)?, read(&testimony.ask)?, read(&testimony.vcek)?);
    let sha384 = digest(HashAlg::Sha384, &[&testimony.ark]);
    let root = roots.iter().find(|root| root.sha384 == sha384.as_slice()).ok_or(Refusal::Root)?;
    if !ask.is_signed_by(&ark) || !vcek.is_signed_by(&ask) {
        return Err(Refusal::Chain);
    }
    let report = &testimony.report;
    if !(2..=5).contains(&report.version.get()) || report.signature_algo.get() != ECDSA_P384 {
        return Err(Refusal::ReportVersion);
    }
    if report.key_info.get() & NO_VCEK != 0 || vcek.names_a_provider() {
        return Err(Refusal::Signer);
    }
    verify_signature(report, &vcek)?;
    named(report, &vcek, root.generation)?;
    Ok(root.generation)
}

fn verify_signature(report: &Report, vcek: &Certificate<'_>) -> Result<(), Refusal> {
    let key = vcek.chip_key().ok_or(Refusal::Certificate)?;
    let (r, s) = (big_endian(&report.signature_r)?, big_endian(&report.signature_s)?);
    let signature = Signature::new(Curve::NistP384, &r, &s).map_err(|_| Refusal::ReportSignature)?;
    let signed = report.as_bytes().get(..SIGNED).ok_or(Refusal::Shape)?;
    let hash = digest(HashAlg::Sha384, &[signed]);
    Curve::NistP384.ecdsa_verify(&key, hash.as_slice(), &signature).map_err(|_| Refusal::ReportSignature)
}

/// R or S: 72 octets little-endian, of which those beyond P-384 are zero.
fn big_endian(number: &[u8; 72]) -> Result<[u8; SCALAR], Refusal> {
    let (low, high) = number.split_first_chunk::<SCALAR>().ok_or(Refusal::ReportSignature)?;
    if high.iter().any(|octet| *octet != 0) {
        return Err(Refusal::ReportSignature);
    }
    let mut number = *low;
    number.reverse();
    Ok(number)
}

/// The certificate is for this chip and this TCB. Without that, an older firmware of the chip, whose key may be known,
/// could say that it is the newest.
fn named(report: &Report, vcek: &Certificate<'_>, generation: Generation) -> Result<(), Refusal> {
    let id = vcek.hardware_id(generation.id_size()).ok_or(Refusal::Chip)?;
    let (chip, rest) = report.chip_id.split_at_checked(id.len()).ok_or(Refusal::Chip)?;
    if chip != id || rest.iter().any(|octet| *octet != 0) {
        return Err(Refusal::Chip);
    }
    let TcbVersion(reported) = report.reported_tcb;
    for (number, at) in generation.levels() {
        if vcek.level(*number).is_none() || vcek.level(*number) != reported.get(*at).copied() {
            return Err(Refusal::Levels);
        }
    }
    Ok(())
}

/// Octets from hexadecimal digits, at compile time.
const fn hex(text: &[u8; 96]) -> RootDigest {
    let mut octets = [0; 48];
    let mut at = 0;
    #[expect(clippy::indexing_slicing, clippy::panic, reason = "at compile time")]
    while at < 96 {
        let digit = match text[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit @ b'a'..=b'f' => digit - b'a' + 10,
            _ => panic!("no digit"),
        };
        octets[at / 2] = octets[at / 2] << 4 | digit;
        at += 1;
    }
    octets
}
