//! Where the text of 1.85 and all the others differ: which objects and public areas are taken, and what is said to
//! those that are not.

use super::said::{DEFINES, POLICY_FAIL, SIZE, Said, fmt1};
use crate::differential::cc;
use crate::differential::tally::Case;
use crate::differential::world::rh;

const PIN_BY_POLICY: &str = "PIN indices and PolicySecret by policy session";
const PIN_WITHOUT_AUTHREAD: &str = "a PIN without TPMA_NV_AUTHREAD";
/// Rows of PINs that the others admit.
pub(super) const PIN_ROWS: [&str; 2] = [PIN_BY_POLICY, PIN_WITHOUT_AUTHREAD];

/// The row of docs/differences.md that explains why the response codes differ.
pub(super) fn explain(case: &Case, trail: &[Case]) -> Option<&'static str> {
    let said = &Said::of(case);
    explain_nv(case, said, trail)
        .or_else(|| explain_hierarchies(case, said, trail))
        .or_else(|| explain_policies(case, said, trail))
        .or_else(|| explain_objects(case, said))
}

fn explain_hierarchies(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    if theirs == 0x921 && said.handle_area().any(|h| h == rh::LOCKOUT) && lockout_is_enabled_by_policy(trail) {
        return Some("DictionaryAttackLockReset with lockoutPolicy");
    }
    if (case.code, ours) == (cc::EVICT_CONTROL, 0x28b) && endorsement_is_disabled(trail) {
        return Some("EvictControl of an object of the disabled endorsement hierarchy");
    }
    None
}

/// Whether lockoutAuth has failed, and TPM2_DictionaryAttackLockReset was successful after that by a policy session.
fn lockout_is_enabled_by_policy(trail: &[Case]) -> bool {
    let fails = |case: &Case| case.rc == [0x98e; 2] && Said::of(case).u32(10) == rh::LOCKOUT;
    let resets = |case: &Case| {
        let said = Said::of(case);
        case.rc == [0, 0] && said.code() == cc::DICTIONARY_ATTACK_LOCK_RESET && by_policy(&said)
    };
    let mut since = trail.iter().rev().skip_while(|case| !fails(case) && !resets(case));
    since.next().is_some_and(resets) && since.any(fails)
}

/// Whether TPM2_HierarchyControl was the last to change ehEnable, and cleared it.
fn endorsement_is_disabled(trail: &[Case]) -> bool {
    let last = trail.iter().rev().filter(|case| case.rc == [0, 0]).find_map(|case| {
        let said = Said::of(case);
        let at = said.parameters();
        match said.code() {
            cc::STARTUP | cc::CLEAR => Some(true),
            cc::HIERARCHY_CONTROL if said.u32(at) == rh::ENDORSEMENT => Some(said.request.get(at + 4) == Some(&1)),
            _ => None,
        }
    });
    last == Some(false)
}

fn explain_objects(case: &Case, said: &Said<'_>) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    match (case.code, ours, theirs) {
        (cc::CERTIFY, 0x103 | 0x18b, 0 | 0x84) => {
            Some("Certify of sequence objects and of external objects without nameAlg")
        }
        (cc::CERTIFY_CREATION, 0x103 | 0x28b, 0 | 0x4e0) => Some("CertifyCreation of external and sequence objects"),
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
        (cc::ACTIVATE_CREDENTIAL, 0x103, 0 | 0x1df | 0x2e7) => Some("ActivateCredential for a sequence object"),
        (_, 0x156, theirs) if theirs != 0 => Some("read-only mode is asked for before authorization"),
        (_, 0x144, _) if fmt1(theirs) == Some(SIZE) => Some("authorizationSize out of range"),
        (cc::RSA_ENCRYPT, _, 0x182) => Some("RSA_Encrypt with a key that does not decrypt"),
        (cc::CLOCK_RATE_ADJUST, 0x1c4, 0) => Some("ClockRateAdjust beyond the limit"),
        (cc::GET_CAPABILITY, 0x095 | 0x2da | 0x3da, 0x1c4) if matches!(said.u32(said.parameters()), 0xb | 0xc) => {
            Some("SPDM groups of GetCapability")
        }
        (cc::STARTUP, 0x907, 0x1c4) => Some("H-CRTM mismatch at TPM Resume"),
        (cc::IMPORT, 0x2c2, 0) => Some("Import below a parent without fixedTPM"),
        _ => None,
    }
}

fn explain_policies(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    // An authPolicy that the caller has from a trial session of only one side. The other's is met where banks are not
    // allocated.
    let fails = fmt1(ours) == Some(POLICY_FAIL) && by_policy(said) || (case.code, ours) == (cc::POLICY_OR, 0x1c4);
    if fails && has_trial_of_pcr(trail) && (theirs != 0 || has_allocated(trail)) {
        return Some("PolicyPCR in a trial session");
    }
    match (case.code, ours, theirs) {
        (cc::POLICY_SIGNED, 0x5dd, 0x5db | 0x5d2 | 0x5cb) => Some("PolicySigned with what is no valid signature"),
        (cc::POLICY_SIGNED | cc::POLICY_SECRET, 0x1c4, 0x1cf) => Some("nonceTPM that is not the session's"),
        (cc::POLICY_TEMPLATE, 0x1c4, 0x151) => Some("PolicyTemplate with another template"),
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
            | cc::POLICY_COUNTER_TIMER
            | cc::POLICY_PARAMETERS
            | cc::POLICY_CAPABILITY
            | cc::POLICY_TRANSPORT_SPDM
            | cc::POLICY_AC_SEND_SELECT,
            0,
            _,
        ) if is_trial(said.u32(10), trail) => Some("trial sessions"),
        _ => None,
    }
}

/// Whether TPM2_PolicyCounterTimer limits Time: eight octets, offset 0, TPM_EO_UNSIGNED_LT.
fn is_limit_of_time(said: &Said<'_>) -> bool {
    said.first_sized().len() == 8 && said.request.ends_with(&[0, 0, 0, 5])
}

/// Whether the last session that was started with this number is a trial.
fn is_trial(session: u32, trail: &[Case]) -> bool {
    let of_number = |case: &&Case| case.session.is_some_and(|started| (started ^ session) & 0x00ff_ffff == 0);
    trail.iter().rfind(of_number).is_some_and(|case| {
        let said = Said::of(case);
        let salt = said.first_sized().end;
        said.request.get(salt + 2 + usize::from(said.u16(salt))) == Some(&3)
    })
}

/// Whether there was TPM2_PolicyPCR in a trial session.
fn has_trial_of_pcr(trail: &[Case]) -> bool {
    let mut cases = trail.iter().enumerate().filter(|(_, case)| case.code == cc::POLICY_PCR && case.rc == [0, 0]);
    cases.any(|(n, case)| trail.get(..n).is_some_and(|before| is_trial(Said::of(case).u32(10), before)))
}

/// Whether banks of PCR were allocated otherwise.
fn has_allocated(trail: &[Case]) -> bool {
    trail.iter().any(|case| case.code == cc::PCR_ALLOCATE && case.rc == [0, 0])
}

/// Whether a policy session authorizes.
fn by_policy(said: &Said<'_>) -> bool {
    said.sessions().iter().any(|(handle, _)| handle >> 24 == 3)
}

/// The commands that read the contents of an NV Index.
const READS_NV: [u32; 4] = [cc::NV_READ, cc::NV_CERTIFY, cc::POLICY_NV, cc::POLICY_AUTHORIZE_NV];

fn explain_nv(case: &Case, said: &Said<'_>, trail: &[Case]) -> Option<&'static str> {
    let [ours, theirs] = case.rc;
    let of_index = said.handle_area().any(|h| h >> 24 == 1);
    if ours == 0x12f && by_policy(said) && (case.code == cc::POLICY_SECRET || of_index) {
        return Some(PIN_BY_POLICY);
    }
    if ours == 0x12f && said.handle_area().any(|h| h >> 24 == 1 && is_pin_without_authread(h, trail)) {
        return Some(PIN_WITHOUT_AUTHREAD);
    }
    if ours == 0x14a && of_index && READS_NV.contains(&case.code) {
        return Some("reading an Index that has not been written");
    }
    let cleared = trail.iter().any(|case| case.code == cc::CLEAR && case.rc == [0, 0]);
    if case.code == cc::CONTEXT_LOAD && said.u32(18) == 0x8000_0002 && cleared && (ours == 0x1df || theirs == 0x1df) {
        return Some("contexts of stClear objects after Clear");
    }
    None
}

/// TPMA_NV with which an NV Index was last defined.
pub(super) fn defined_with(index: u32, trail: &[Case]) -> Option<u32> {
    let mut done = trail.iter().rev().filter(|case| case.rc == [0, 0]).map(Said::of);
    done.find_map(|said| {
        let defines = matches!(said.code(), cc::NV_DEFINE_SPACE | cc::NV_DEFINE_SPACE_2);
        let at = said.places(&index.to_be_bytes()).last().filter(|_| defines)?;
        Some(said.u32(at + 6))
    })
}

/// Whether an NV Index was last defined as PIN Fail or PIN Pass without AUTHREAD.
fn is_pin_without_authread(index: u32, trail: &[Case]) -> bool {
    defined_with(index, trail)
        .is_some_and(|attributes| matches!(attributes >> 4 & 0xf, 8 | 9) && attributes & 1 << 18 == 0)
}

/// The row that explains why the answers differ, although both say success.
pub(super) fn explain_answer(code: u32, trail: &[Case]) -> Option<&'static str> {
    let session = Said::of(trail.last()?).u32(10);
    let of_session = |case: &Case| case.code == cc::POLICY_PCR && Said::of(case).u32(10) == session;
    (code == cc::POLICY_GET_DIGEST && is_trial(session, trail) && trail.iter().any(of_session))
        .then_some("PolicyPCR in a trial session")
}

#[cfg(test)]
mod tests {
    use super::{PIN_WITHOUT_AUTHREAD, defined_with, lockout_is_enabled_by_policy};
    use crate::differential::cc;
    use crate::differential::explained::parts;
    use crate::differential::tally::Case;
    use client::codes::OWNER;
    use client::command::with_passwords as command;
    use client::tpm2b;

    /// A command with one handle, of which both say the same.
    fn case(code: u32, request: Vec<u8>, rc: u32) -> Case {
        let (hit, session, damaged, spared) = (None, None, false, false);
        let (request, rc) = ([request.clone(), request], [rc; 2]);
        Case { code, request, rc, session, damaged, hit, spared, handles: 1, locality: 0, retried: false }
    }

    /// TPM2_DictionaryAttackLockReset by one session.
    fn lock_reset(session: u32, rc: u32) -> Case {
        let code = cc::DICTIONARY_ATTACK_LOCK_RESET;
        let head = [0x8002_0000, 0x001b_0000, code, 0x4000_000a, 9].map(u32::to_be_bytes).concat();
        case(code, [&head[..2], &head[4..], &session.to_be_bytes(), &[0; 5]].concat(), rc)
    }

    #[test]
    fn an_index_is_as_it_was_defined_last_by_either_command() {
        const INDEX: u32 = 0x0150_0001;
        let define = |code, before: &[u8], attributes: u32, rc| {
            let public = [before, &INDEX.to_be_bytes(), &[0, 0xb], &attributes.to_be_bytes(), &[0, 0, 0, 8]].concat();
            case(code, command(code, &[OWNER], &[b""], &[tpm2b(&[]), tpm2b(&public)].concat()), rc)
        };
        let older = define(cc::NV_DEFINE_SPACE, &[], 0x90, 0);
        let later = define(cc::NV_DEFINE_SPACE_2, &[1], 0x80, 0);
        assert_eq!(defined_with(INDEX, &[older.clone(), later.clone()]), Some(0x80));
        assert_eq!(defined_with(INDEX, &[later, older.clone()]), Some(0x90));
        let refused = define(cc::NV_DEFINE_SPACE_2, &[1], 0x80, 0x14c);
        assert_eq!(defined_with(INDEX, &[older, refused]), Some(0x90));
    }

    #[test]
    fn lockout_auth_is_enabled_by_its_policy_after_it_has_failed() {
        let (password, policy) = (0x4000_0009, 0x0300_0000);
        let failed = lock_reset(password, 0x98e);
        let explains = |trail: &[Case]| lockout_is_enabled_by_policy(trail);
        assert!(explains(&[failed.clone(), lock_reset(policy, 0)]));
        assert!(!explains(&[lock_reset(policy, 0)]), "it had not failed");
        assert!(!explains(&[failed.clone(), lock_reset(password, 0)]), "that was no policy");
        assert!(!explains(&[failed.clone(), lock_reset(policy, 0), failed]), "it has failed since");
    }

    #[test]
    fn a_pin_that_only_the_other_admits_ends_the_sequence() {
        assert!(parts(PIN_WITHOUT_AUTHREAD, [0x12f, 0x146]), "it was counted there, although the command failed");
        assert!(!parts("trial sessions", [0x1c4, 0x1d5]), "nothing has happened");
        assert!(parts("trial sessions", [0, 0x1d5]), "only one has done it");
    }
}
