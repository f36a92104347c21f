//! A second TPM of the exported state of the first: it must answer as that one does, and come to the same state.

use super::Fixture;
use client::platform::{CountedEntropy, ManualClock, export};
use tpm_core::cc;
use tpm_core::{Hooks, Locality, StateError, StateForm, Tpm};

/// A TPM of the state, at this time.
pub(crate) fn import(state: &[u8], now_ms: u64) -> Result<Box<Tpm>, StateError> {
    let mut entropy = CountedEntropy { count: 1 << 32, dry: false };
    let mut tpm = Box::new(Tpm::blank());
    tpm.import(state, &mut Hooks { entropy: &mut entropy, clock: &mut ManualClock(now_ms) })?;
    Ok(tpm)
}

pub(crate) struct Twin {
    tpm: Box<Tpm>,
    now_ms: u64,
}

impl Twin {
    /// A copy of a TPM that runs; its clock is another one.
    pub(crate) fn running(original: &Fixture) -> Self {
        let state = export(&original.tpm, StateForm::Whole);
        let tpm = import(&state, original.last_ms).unwrap();
        assert!(export(&tpm, StateForm::Whole) == state, "export, import, export");
        Self { tpm, now_ms: original.clock.0 }
    }

    /// A copy of what survives the loss of power.
    pub(crate) fn powered_off(original: &Fixture) -> Self {
        let state = export(&original.tpm, StateForm::PoweredOff);
        let tpm = import(&state, original.clock.0).unwrap();
        assert!(export(&tpm, StateForm::PoweredOff) == state, "export, import, export");
        Self { tpm, now_ms: original.clock.0 }
    }

    /// The copy gets the command, too.
    pub(crate) fn compare(mut self, original: &Fixture, request: &[u8], response: &[u8]) {
        let mut entropy = CountedEntropy { count: 1 << 40, dry: original.entropy.dry };
        let mut own = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let mut hooks = Hooks { entropy: &mut entropy, clock: &mut ManualClock(self.now_ms) };
        let n = self.tpm.execute(&mut hooks, Locality::new(original.locality).unwrap(), request, &mut own);
        self.tpm.check().unwrap();
        assert_eq!(own[..10.min(n)][6..], response[6..10], "response code of {request:x?}");
        if !is_random(request) {
            assert_eq!(&own[..n], response, "response to {request:x?}");
            assert!(export(&self.tpm, StateForm::Whole) == export(&original.tpm, StateForm::Whole), "{request:x?}");
        }
    }

    /// The copy is as the original after _TPM_Init.
    pub(crate) fn compare_init(self, original: &Fixture) {
        for form in [StateForm::Whole, StateForm::PoweredOff] {
            assert!(export(&self.tpm, form) == export(&original.tpm, form), "{form:?} after _TPM_Init");
        }
    }
}

/// Commands whose outcome depends on the DRBG: those that draw from it themselves.
const RANDOM: [u32; 26] = [
    cc::CHANGE_EPS,
    cc::CHANGE_PPS,
    cc::CLEAR,
    cc::STARTUP,
    cc::CERTIFY,
    cc::CERTIFY_CREATION,
    cc::DUPLICATE,
    cc::GET_TIME,
    cc::GET_SESSION_AUDIT_DIGEST,
    cc::REWRAP,
    cc::CREATE,
    cc::IMPORT,
    cc::QUOTE,
    cc::SIGN,
    cc::CONTEXT_SAVE,
    cc::ECDH_KEY_GEN,
    cc::MAKE_CREDENTIAL,
    cc::RSA_ENCRYPT,
    cc::START_AUTH_SESSION,
    cc::GET_RANDOM,
    cc::NV_CERTIFY,
    cc::CREATE_LOADED,
    cc::ECC_ENCRYPT,
    cc::SIGN_SEQUENCE_COMPLETE,
    cc::SIGN_DIGEST,
    cc::ENCAPSULATE,
];

/// Whether the answer may be another at each time: there is a session whose nonceTPM is new, or the command itself
/// draws random numbers.
fn is_random(request: &[u8]) -> bool {
    let code = request.get(6..10).map_or(0, |c| u32::from_be_bytes(c.try_into().unwrap()));
    RANDOM.contains(&code) || (request.starts_with(&[0x80, 2]) && !only_passwords(request))
}

fn only_passwords(request: &[u8]) -> bool {
    (0..4).any(|handles| {
        let Some((size, rest)) = request.get(10 + 4 * handles..).and_then(|r| r.split_first_chunk::<4>()) else {
            return false;
        };
        let Some(mut area) = rest.get(..u32::from_be_bytes(*size) as usize) else { return false };
        let mut passwords = 0;
        while let Some((head, tail)) = area.split_first_chunk::<9>() {
            let length = usize::from(u16::from_be_bytes([head[7], head[8]]));
            if head[..7] != [0x40, 0, 0, 9, 0, 0, 1] || tail.len() < length {
                return false;
            }
            passwords += 1;
            area = &tail[length..];
        }
        passwords > 0 && area.is_empty()
    })
}
