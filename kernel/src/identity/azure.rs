//! What a guest of an Azure confidential VM finds in its vTPM: an attestation report in an NV Index, an attestation key
//! at a persistent handle, and a platform hierarchy that is closed (docs/boot.md, "Azure's vTPM").

use alloc::vec::Vec;

use sha2::{Digest, Sha256};
use snp::report::REPORT_SIZE;

use super::{AkTemplate, Failure, Tpm};

/// The attestation report.
pub(super) const REPORT_INDEX: u32 = 0x0140_0001;
/// What the guest wants to be in it.
const USER_DATA_INDEX: u32 = 0x0140_0002;
/// The certificate of the attestation key.
pub(super) const AK_CERTIFICATE_INDEX: u32 = 0x01c1_01d0;
/// The attestation key.
const AK_HANDLE: u32 = 0x8100_0003;
/// Octets of the report's index: there is room for more claims.
pub(super) const REPORT_INDEX_SIZE: usize = 2900;
/// Octets of the user data that count.
pub(super) const USER_DATA_SIZE: usize = 64;

/// Runs a command; gives the response's octets behind its header if the command succeeded.
pub(super) type Run<'a> = dyn FnMut(&[u8]) -> Option<Vec<u8>> + 'a;

/// TPM2_HierarchyControl of the platform hierarchy, with its empty password: that a TPM Reset gives it, whatever was
/// kept.
const CLOSE: [u8; 32] = [
    0x80, 2, 0, 0, 0, 32, 0, 0, 1, 0x21, 0x40, 0, 0, 0x0c, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0, 0x40, 0, 0, 0x0c,
    0,
];

/// Puts the attestation key of this boot to its place, whatever is there of a state that was kept (CVE-2025-49707).
/// `false`: a guest has left no room.
pub(super) fn place_key(tpm: &mut Tpm) -> Result<bool, Failure> {
    tpm.place_attestation_key(AkTemplate::Rsa2048, AK_HANDLE)
}

/// Closes the platform hierarchy until the next boot. `None`: the TPM does not do it.
pub(super) fn close(run: &mut Run<'_>) -> Option<()> {
    run(&CLOSE).map(|_| ())
}

/// What the guest has written, and zeros: read whoever owns the TPM, by no authorization.
pub(super) fn user_data(tpm: &Tpm) -> [u8; USER_DATA_SIZE] {
    let mut data = [0; USER_DATA_SIZE];
    let written = tpm.index_contents(USER_DATA_INDEX).unwrap_or_default();
    data.iter_mut().zip(written).for_each(|(to, from)| *to = *from);
    data
}

/// The runtime claims: JSON without spaces. The keys are marshalled TPMT_PUBLIC of RSA keys, which end with the
/// modulus; `is_kept`: the TPM's state outlives the VM.
pub(super) fn claims(ak: &[u8], ek: &[u8], user_data: &[u8; USER_DATA_SIZE], is_kept: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(REPORT_INDEX_SIZE);
    out.extend(br#"{"keys":["#);
    web_key(&mut out, b"HCLAkPub", b"sign", ak);
    out.push(b',');
    web_key(&mut out, b"HCLEkPub", b"encrypt", ek);
    out.extend(br#"],"vm-configuration":{"root-cert-thumbprint":"","console-enabled":true,"#);
    out.extend(br#""interactive-console-enabled":true,"secure-boot":false,"tpm-enabled":true,"tpm-persisted":"#);
    out.extend(if is_kept { &b"true"[..] } else { b"false" });
    out.extend(br#","vmUniqueId":""},"user-data":""#);
    let digit = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
    out.extend(user_data.iter().flat_map(|octet| [octet >> 4, octet & 15]).map(digit));
    out.extend(br#""}"#);
    out
}

/// A JSON Web Key (RFC 7517) with the exponent 65537.
fn web_key(out: &mut Vec<u8>, name: &[u8], operation: &[u8], public: &[u8]) {
    let modulus = public.get(public.len().saturating_sub(256)..).unwrap_or_default();
    let parts: [&[u8]; 5] =
        [br#"{"kid":""#, name, br#"","key_ops":[""#, operation, br#""],"kty":"RSA","e":"AQAB","n":""#];
    parts.iter().for_each(|part| out.extend(*part));
    base64url(out, modulus);
    out.extend(br#""}"#);
}

/// RFC 4648, 5, without padding.
fn base64url(out: &mut Vec<u8>, octets: &[u8]) {
    for group in octets.chunks(3) {
        let word = group.iter().chain([0; 3].iter()).take(3).fold(0_u32, |word, octet| word << 8 | u32::from(*octet));
        out.extend([18, 12, 6, 0].into_iter().take(group.len() + 1).map(|shift| letter(word >> shift & 63)));
    }
}

fn letter(number: u32) -> u8 {
    let number = u8::try_from(number).unwrap_or_default();
    match number {
        0..26 => b'A' + number,
        26..52 => b'a' + number - 26,
        52..62 => b'0' + number - 52,
        62 => b'-',
        _ => b'_',
    }
}

/// REPORT_DATA of a report over these claims.
pub(super) fn report_data(claims: &[u8]) -> [u8; 64] {
    let mut data = [0; 64];
    data.iter_mut().zip(Sha256::digest(claims)).for_each(|(to, from)| *to = from);
    data
}

/// The index's contents: a header, the report, what describes the claims, and the claims; then zeros. All integers are
/// little-endian. `None`: the claims are too long, which they are not.
pub(super) fn contents(report: &[u8], claims: &[u8]) -> Option<Vec<u8>> {
    const HEAD: usize = 32;
    const DESCRIPTION: usize = 20;
    let (length, described) = (u32::try_from(claims.len()).ok()?, u32::try_from(DESCRIPTION + claims.len()).ok()?);
    let whole = u32::try_from(HEAD + REPORT_SIZE + DESCRIPTION + claims.len()).ok()?;
    let mut out = Vec::with_capacity(REPORT_INDEX_SIZE);
    out.extend(b"HCLA");
    // Version; all that is used; the request (a certificate of the AK), status; reserved.
    [2, whole, 2, 0, 0, 0, 0].iter().for_each(|word: &u32| out.extend(word.to_le_bytes()));
    out.extend(report);
    // All that follows; version; SEV-SNP; SHA-256; the claims.
    [described, 1, 2, 1, length].iter().for_each(|word: &u32| out.extend(word.to_le_bytes()));
    out.extend(claims);
    if out.len() > REPORT_INDEX_SIZE {
        return None;
    }
    out.resize(REPORT_INDEX_SIZE, 0);
    Some(out)
}
