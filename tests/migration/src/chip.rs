//! A secure processor, and boots on it.

use crate::authority::{Authority, Claims};
use crate::{Seeded, octets};
use migration::chain::Generation;
use migration::{Measurement, Testimony, Witness};
use snp::report::{REPORT_SIZE, Report, TcbVersion};
use tpm_crypto::ecc::Curve;
use tpm_crypto::hash::{HashAlg, digest};
use zerocopy::{FromZeros, IntoBytes};

/// No debugging, no migration agent, SMT allowed: what COCONUT's and our launches use.
pub const POLICY: u64 = 0x3_0000;
/// As a Milan has it.
pub const TCB: [u8; 8] = [4, 0, 0, 0, 0, 0, 24, 219];

/// A chip at one TCB.
pub struct Chip {
    /// CHIP_ID.
    pub id: [u8; 64],
    /// REPORTED_TCB.
    pub tcb: [u8; 8],
    key: Vec<u8>,
    vcek: Vec<u8>,
    ask: Vec<u8>,
    ark: Vec<u8>,
}

impl Chip {
    /// A chip with a name, which makes its identity and its key.
    pub fn new(authority: &Authority, name: &str, tcb: [u8; 8]) -> Self {
        Self::claiming(authority, name, tcb, |_| ())
    }

    /// One whose key and certificates are known: VCEK's, ASK's and ARK's, DER.
    pub fn known(id: [u8; 64], tcb: [u8; 8], key: Vec<u8>, [vcek, ask, ark]: [Vec<u8>; 3]) -> Self {
        Self { id, tcb, key, vcek, ask, ark }
    }

    /// One whose certificate claims something else.
    pub fn claiming(authority: &Authority, name: &str, tcb: [u8; 8], change: impl FnOnce(&mut Claims)) -> Self {
        let mut rng = Seeded::new(&format!("chip {name}, {tcb:?}"));
        let mut id = octets::<64>(&mut rng);
        if authority.generation == Generation::Turin {
            id[8..].fill(0);
        }
        let (key, public) = Curve::NistP384.generate(&mut rng).expect("a key");
        let len = if authority.generation == Generation::Turin { 8 } else { 64 };
        let mut claims = Claims { id: id[..len].to_vec(), tcb, provider: false };
        change(&mut claims);
        let vcek = authority.certify(&public, &claims);
        Self { id, tcb, key: key.as_slice().to_vec(), vcek, ask: authority.ask.clone(), ark: authority.ark.clone() }
    }

    /// Another certificate in the place of the VCEK's, ASK's or ARK's.
    pub fn with_certificates(mut self, change: impl FnOnce([&mut Vec<u8>; 3])) -> Self {
        change([&mut self.vcek, &mut self.ask, &mut self.ark]);
        self
    }

    /// A certificate for the chip's key by somebody else.
    pub fn vcek_by_root(mut self, authority: &Authority) -> Self {
        let public = Curve::NistP384.public(&self.key).expect("a key");
        self.vcek =
            authority.certify_by_root(&public, &Claims { id: self.id.to_vec(), tcb: self.tcb, provider: false });
        self
    }

    /// Signs a report.
    pub fn sign(&self, report: &mut Report) {
        let hash = digest(HashAlg::Sha384, &[&report.as_bytes()[..0x2a0]]);
        let mut rng = Seeded::new("nonce");
        let signature = Curve::NistP384.ecdsa_sign(&self.key, hash.as_slice(), &mut rng).expect("a signature");
        for (to, from) in [(&mut report.signature_r, signature.r), (&mut report.signature_s, signature.s)] {
            let mut number = from.as_slice().to_vec();
            number.reverse();
            to[..48].copy_from_slice(&number);
        }
    }
}

/// A change of a report before it is signed.
pub type Change = Box<dyn Fn(&mut Report)>;

/// A firmware that runs on a chip, at VMPL 0.
pub struct Boot<'c> {
    chip: &'c Chip,
    /// MEASUREMENT.
    pub measurement: Measurement,
    /// The guest policy.
    pub policy: u64,
    changes: Vec<Change>,
    /// What was asked for.
    pub asked: Vec<[u8; 64]>,
    /// There is no report.
    pub silent: bool,
}

impl<'c> Boot<'c> {
    /// A launch of a measurement.
    pub fn new(chip: &'c Chip, measurement: Measurement) -> Self {
        Self { chip, measurement, policy: POLICY, changes: Vec::new(), asked: Vec::new(), silent: false }
    }

    /// The same, of a guest with this policy.
    pub fn under(self, policy: u64) -> Self {
        Self { policy, ..self }
    }

    /// One whose reports differ in this: the secure processor says so, and signs it.
    pub fn with(mut self, change: impl Fn(&mut Report) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// A report.
    pub fn report(&self, report_data: &[u8; 64]) -> Report {
        let mut report = Report::new_zeroed();
        report.version = 3.into();
        report.policy = self.policy.into();
        report.signature_algo = 1.into();
        report.report_data = *report_data;
        report.measurement = self.measurement;
        report.chip_id = self.chip.id;
        report.report_id_ma = [0xff; 32];
        let tcb = TcbVersion(self.chip.tcb);
        (report.current_tcb, report.reported_tcb, report.committed_tcb, report.launch_tcb) = (tcb, tcb, tcb, tcb);
        for change in &self.changes {
            change(&mut report);
        }
        self.chip.sign(&mut report);
        report
    }

    /// A report, and the chip's certificates.
    pub fn testimony(&self, report_data: &[u8; 64]) -> Testimony {
        let Chip { vcek, ask, ark, .. } = self.chip;
        Testimony { report: self.report(report_data), vcek: vcek.clone(), ask: ask.clone(), ark: ark.clone() }
    }
}

impl Witness for Boot<'_> {
    fn testify(&mut self, report_data: &[u8; 64]) -> Option<Testimony> {
        self.asked.push(*report_data);
        (!self.silent).then(|| self.testimony(report_data))
    }
}

const _: () = assert!(REPORT_SIZE == 1184);
