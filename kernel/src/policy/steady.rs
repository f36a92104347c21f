//! What stays as it is while a guest lives: a report that says otherwise is of another chip, another guest, or of a
//! firmware that the host has taken back.

use snp::report::{Report, TcbVersion};

use super::judge::at_most;
use crate::attest::Differs;

/// What the firmware's own report has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    chip_id: [u8; 64],
    measurement: [u8; 48],
    policy: u64,
    reported_tcb: TcbVersion,
}

impl Steady {
    /// Of the first report of a boot.
    #[must_use]
    pub fn of(report: &Report) -> Steady {
        let Report { chip_id, measurement, policy, reported_tcb, .. } = *report;
        Steady { chip_id, measurement, policy: policy.get(), reported_tcb }
    }

    /// What a later one says otherwise. The host may have brought the TCB further meanwhile, but not back.
    pub fn check(&self, report: &Report) -> Result<(), Differs> {
        if report.chip_id != self.chip_id {
            return Err(Differs::ChipId);
        }
        if report.measurement != self.measurement {
            return Err(Differs::Measurement);
        }
        if report.policy.get() != self.policy {
            return Err(Differs::Policy);
        }
        if at_most(self.reported_tcb, report.reported_tcb) { Ok(()) } else { Err(Differs::ReportedTcb) }
    }
}
