//! What the firmware makes sure of about its platform before it makes a TPM.

use alloc::vec::Vec;

use kernel::attest::Reports;
use kernel::fatal::{Fatal, Reason};
use kernel::policy::{self, Otherwise, Policy, Steady};
use snp::report::Report;

use crate::host::{PspReports, say};

/// A report over zeros: that the guest can be attested is known before it runs.
///
/// # Errors
/// `Report`.
pub fn self_check(reports: &mut PspReports) -> Result<Report, Fatal> {
    first_report(reports, &[0; 64])
}

fn first_report(reports: &mut PspReports, report_data: &[u8; 64]) -> Result<Report, Fatal> {
    say("report", format_args!("requested for VMPL0"));
    let report = reports.report(report_data, None).map_err(Fatal::because(Reason::Report))?;
    say("report", format_args!("received, version {}", report.version.get()));
    Ok(report)
}

/// What processor and host say of themselves, beside a report.
pub struct Claimed {
    /// Family, model and stepping, by the secrets page.
    pub fms: u32,
    /// Bits of the GHCB protocol's hypervisor features.
    pub hypervisor_features: u64,
    /// SEV_FEATURES.
    pub sev_features: u64,
}

/// Judges the platform by the measured policy, before anything is made that the guest trusts. The report, and what is
/// attested of the rules that it does not meet.
///
/// # Errors
/// `Report`; `Policy`, with the rule that is not met, and the value.
pub fn demand(policy: &Policy<'_>, reports: &mut PspReports, claimed: Claimed) -> Result<(Report, Vec<u8>), Fatal> {
    let report = first_report(reports, &policy::report_data())?;
    let Claimed { fms, hypervisor_features, sev_features } = claimed;
    let unmet = policy.judge(&policy::Platform { report: &report, fms, hypervisor_features, sev_features });
    for rule in &unmet {
        say(
            "policy",
            format_args!("{rule}{}", if rule.otherwise == Otherwise::NameIt { ", which is attested" } else { "" }),
        );
    }
    if let Some(rule) = unmet.iter().find(|rule| rule.otherwise == Otherwise::Refuse) {
        return Err(Fatal::new(Reason::Policy, format_args!("{rule}")));
    }
    say("policy", format_args!("{} rules, {} not met and attested", policy.len(), unmet.len()));
    reports.hold_to(Steady::of(&report), policy.later_reports());
    Ok((report, policy::manifest(&unmet)))
}
