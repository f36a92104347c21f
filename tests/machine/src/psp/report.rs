//! The attestation report (SNP firmware ABI, table 23): 1184 bytes, version 3, signed by the VCEK.

use super::{CPU, Identity, Psp};
use crate::bits::put;
use crate::config::Config;
use p384::ecdsa::Signature;
use p384::ecdsa::signature::Signer;

/// Bytes of a report.
pub(super) const REPORT: usize = 0x4A0;
/// Bytes of it that are signed.
const SIGNED: usize = 0x2A0;

/// Offsets.
mod at {
    pub(super) const POLICY: usize = 0x08;
    pub(super) const VMPL: usize = 0x30;
    pub(super) const SIGNATURE_ALGORITHM: usize = 0x34;
    pub(super) const CURRENT_TCB: usize = 0x38;
    pub(super) const PLATFORM_INFO: usize = 0x40;
    pub(super) const REPORT_DATA: usize = 0x50;
    pub(super) const MEASUREMENT: usize = 0x90;
    pub(super) const REPORT_ID: usize = 0x140;
    pub(super) const REPORT_ID_MA: usize = 0x160;
    pub(super) const REPORTED_TCB: usize = 0x180;
    pub(super) const CPUID: usize = 0x188;
    pub(super) const CHIP_ID: usize = 0x1A0;
    pub(super) const COMMITTED_TCB: usize = 0x1E0;
    pub(super) const CURRENT_VERSION: usize = 0x1E8;
    pub(super) const COMMITTED_VERSION: usize = 0x1EC;
    pub(super) const LAUNCH_TCB: usize = 0x1F0;
}

impl Psp {
    /// A signed report. `None`: there is no identity.
    pub(super) fn report(&self, report_data: &[u8; 64], vmpl: u32, config: &Config) -> Option<[u8; REPORT]> {
        const VERSION: u32 = 3;
        const ECDSA_P384_SHA384: u32 = 1;
        const SMT: u64 = 1;
        // Build, minor, major: 1.55.
        const FIRMWARE: [u8; 3] = [21, 55, 1];
        let identity = self.identity.as_ref()?;
        let mut report = [0; REPORT];
        put(&mut report, 0, &VERSION.to_le_bytes());
        put(&mut report, at::POLICY, &self.policy.to_le_bytes());
        put(&mut report, at::VMPL, &vmpl.to_le_bytes());
        put(&mut report, at::SIGNATURE_ALGORITHM, &ECDSA_P384_SHA384.to_le_bytes());
        put(&mut report, at::PLATFORM_INFO, &SMT.to_le_bytes());
        put(&mut report, at::REPORT_DATA, report_data);
        put(&mut report, at::MEASUREMENT, &self.digest);
        put(&mut report, at::REPORT_ID, &self.report_id);
        // No migration agent.
        put(&mut report, at::REPORT_ID_MA, &[0xFF; 32]);
        put(&mut report, at::CPUID, &CPU);
        put(&mut report, at::CHIP_ID, &identity.chip_id);
        for tcb in [at::CURRENT_TCB, at::REPORTED_TCB, at::COMMITTED_TCB, at::LAUNCH_TCB] {
            put(&mut report, tcb, &identity.tcb.to_le_bytes());
        }
        put(&mut report, at::CURRENT_VERSION, &FIRMWARE);
        put(&mut report, at::COMMITTED_VERSION, &FIRMWARE);
        self.reports.set(self.reports.get() + 1);
        config.patches(self.reports.get()).for_each(|patch| patch.apply(&mut report[..SIGNED]));
        // Signatures of one report are the same (RFC 6979), and one of ours takes as long as hundreds of calls.
        let mut last = self.last_report.borrow_mut();
        match last.as_ref().filter(|last| last[..SIGNED] == report[..SIGNED]) {
            Some(last) => report = *last,
            None => sign(identity, &mut report),
        }
        *last = Some(report);
        Some(report)
    }
}

/// R and S, each little-endian in 72 bytes.
fn sign(identity: &Identity, report: &mut [u8; REPORT]) {
    let signature: Signature = identity.key.sign(&report[..SIGNED]);
    let (mut r, mut s): ([u8; 48], [u8; 48]) = (signature.r().to_bytes().into(), signature.s().to_bytes().into());
    r.reverse();
    s.reverse();
    put(report, SIGNED, &r);
    put(report, SIGNED + 72, &s);
}
