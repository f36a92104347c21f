//! The secure processor, mocked: identity, VMPCKs, secrets page, guest messages, reports and derived keys (SNP firmware
//! ABI, 56860).

mod answer;
mod message;
mod report;
mod request;

use crate::bits::{array, put, u32_at, u64_at, us};
use crate::cpu::rdrand;
use crate::fwcfg;
use crate::launch::Launched;
use crate::log::{bad_launch, log};
use crate::phys::{self, PAGE, Pool};
use core::cell::{Cell, RefCell};
use core::fmt;
use message::{IvUse, Ivs};
use p384::ecdsa::SigningKey;
use sha2::{Digest, Sha256};

/// FAMILY, MODEL, STEPPING of the processor in the report: Milan.
const CPU: [u8; 3] = [0x19, 0x01, 0x01];
/// The same as CPUID leaf 1 has it.
const CPU_FMS: u32 = 0x00A0_0F11;

/// What the bundle of docs/boot.md has.
struct Identity {
    key: SigningKey,
    scalar: [u8; 48],
    chip_id: [u8; 64],
    tcb: u64,
    certificates: &'static [u8],
}

/// The secure processor.
pub(crate) struct Psp {
    identity: Option<Identity>,
    vmpck: [[u8; 32]; 4],
    /// The last sequence number used with each VMPCK.
    sequence: [u64; 4],
    ivs: Ivs,
    digest: [u8; 48],
    policy: u64,
    report_id: [u8; 32],
    /// Guest requests so far, those included that the host did not pass on.
    requests: u64,
    /// The last answer page, for a host that repeats it.
    last_answer: Option<[u8; 4096]>,
    /// Reports so far.
    reports: Cell<u64>,
    /// The last report.
    last_report: RefCell<Option<[u8; report::REPORT]>>,
}

impl Identity {
    fn parse(bundle: &'static [u8]) -> Option<Self> {
        const CERTIFICATES: usize = 48 + 64 + 8;
        let scalar: [u8; 48] = array(bundle.get(..48)?, 0);
        let key = SigningKey::from_slice(&scalar).ok()?;
        let len = us(u32_at(bundle, CERTIFICATES).into());
        let certificates = bundle.get(CERTIFICATES + 4..CERTIFICATES + 4 + len)?;
        Some(Self { key, scalar, chip_id: array(bundle, 48), tcb: u64_at(bundle, 112), certificates })
    }
}

impl Psp {
    /// Identity from fw_cfg, keys from RDRAND, or from the seed.
    pub(crate) fn new(pool: &mut Pool, seed: Option<u64>) -> Self {
        let identity = match fwcfg::file(pool, "opt/org.quoin/psp") {
            Some(bundle) => match Identity::parse(bundle) {
                Some(identity) => Some(identity),
                None => {
                    bad_launch!("the secure processor's identity (opt/org.quoin/psp) is malformed")
                }
            },
            None => {
                log!("no identity for the secure processor: guest requests will be refused");
                None
            }
        };
        let ivs = Ivs::new(pool.slice(message::IVS * size_of::<IvUse>()));
        let random = |label: u8| match seed {
            Some(seed) => Sha256::new().chain_update(seed.to_le_bytes()).chain_update([label]).finalize().into(),
            None => random(),
        };
        Self {
            identity,
            vmpck: core::array::from_fn(|n| random(crate::bits::lo8(n as u64))),
            sequence: [0; 4],
            ivs,
            digest: [0; 48],
            policy: 0,
            report_id: random(0x80),
            requests: 0,
            last_answer: None,
            reports: Cell::new(0),
            last_report: RefCell::new(None),
        }
    }

    /// Takes over what the launch yielded.
    pub(crate) fn launched(&mut self, launched: &Launched) {
        self.digest = launched.digest;
        self.policy = launched.policy;
    }

    /// VMPCK0 to VMPCK3.
    pub(crate) fn keys(&self) -> &[[u8; 32]; 4] {
        &self.vmpck
    }

    /// The secrets page (SNP firmware ABI, table 71).
    pub(crate) fn secrets_page(&self) -> [u8; 4096] {
        const VERSION: u32 = 3;
        let mut page = [0; 4096];
        put(&mut page, 0, &VERSION.to_le_bytes());
        put(&mut page, 8, &CPU_FMS.to_le_bytes());
        for (n, key) in self.vmpck.iter().enumerate() {
            put(&mut page, 0x20 + 32 * n, key);
        }
        page
    }

    /// Pages that the certificate table needs.
    fn certificate_pages(&self) -> u64 {
        self.identity.as_ref().map_or(0, |identity| (identity.certificates.len() as u64).div_ceil(PAGE))
    }

    /// Copies page `index` of the certificate table, zeros behind its end.
    fn copy_certificates(&self, index: u64, hpa: u64) {
        let Some(identity) = &self.identity else {
            return;
        };
        let mut page = [0; 4096];
        put(&mut page, 0, identity.certificates.get(us(index * PAGE)..).unwrap_or(&[]));
        phys::write(hpa, &page);
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&rdrand().to_le_bytes());
    }
    bytes
}

/// Bytes as hexadecimal digits.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
