//! Where the text of 1.85 and all the others differ: which objects and public areas are taken, and what is said to
//! those that are not.

use super::said::{DEFINES, Said};
use crate::differential::cc;
use crate::differential::send::Case;

/// The row of docs/differences.md that explains why the response codes differ.
pub(super) fn explain(case: &Case) -> Option<&'static str> {
    let said = &Said::of(case);
    let [ours, theirs] = case.rc;
    match (case.code, ours, theirs) {
        (cc::POLICY_SIGNED, 0x5dd, 0x5db | 0x5d2 | 0x5cb) => Some("PolicySigned with what is no valid signature"),
        (cc::POLICY_SIGNED | cc::POLICY_SECRET, 0x1c4, 0x1cf) => Some("nonceTPM that is not the session's"),
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
        | (cc::LOAD_EXTERNAL | cc::IMPORT | cc::LOAD, 0x2c4, 0)
        | (cc::LOAD_EXTERNAL | cc::IMPORT | cc::LOAD, 0, 0x2c4)
        | (cc::TEST_PARMS, 0x1c4, 0)
            if said.hit.is_some() =>
        {
            Some("RSA public exponents")
        }
        (cc::CREATE | cc::CREATE_PRIMARY | cc::CREATE_LOADED, 0x095, 0x087) => {
            Some("symmetric data of the caller's that are not as long as the key")
        }
        (cc::ACTIVATE_CREDENTIAL, 0x103, 0 | 0x1df) => Some("ActivateCredential for a sequence object"),
        (cc::STARTUP, 0x907, 0x1c4) => Some("H-CRTM mismatch at TPM Resume"),
        (cc::IMPORT, 0x2c2, 0) => Some("Import below a parent without fixedTPM"),
        _ => None,
    }
}
