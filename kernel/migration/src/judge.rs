//! What a report must say for its firmware to be trusted with a state, or with what it says of one.

use snp::report::{Report, TcbVersion};

use crate::Measurement;
use crate::chain;
use crate::grant::{Grant, Move};
use crate::refusal::Refusal;
use crate::terms::Terms;
use crate::transcript::Testimony;

/// The guest policy (SNP firmware ABI, table 9): the least version of the secure processor's firmware, and bits.
const ABI: u64 = 0xffff;
const SMT: u64 = 1 << 16;
const MUST_BE_ONE: u64 = 1 << 17;
const MIGRATE_MA: u64 = 1 << 18;
const DEBUG: u64 = 1 << 19;
const SINGLE_SOCKET: u64 = 1 << 20;
const CXL_ALLOW: u64 = 1 << 21;
const MEM_AES_256_XTS: u64 = 1 << 22;
const RAPL_DIS: u64 = 1 << 23;
const CIPHERTEXT_HIDING: u64 = 1 << 24;
const PAGE_SWAP_DISABLE: u64 = 1 << 25;

/// What these forbid, the guest has less of.
const RESTRICTS: u64 = SINGLE_SOCKET | MEM_AES_256_XTS | RAPL_DIS | CIPHERTEXT_HIDING | PAGE_SWAP_DISABLE;
/// What these allow, the host has more of.
const ALLOWS: u64 = SMT | CXL_ALLOW;

/// Judges who speaks: that its secure processor says so, over this channel, that it is VMPL 0 of a guest that nobody
/// looks into, on a chip whose TCB is not below the floor.
///
/// # Errors
/// Those of [`chain::verify`]; then `ReportData`, `Vmpl`, `Policy`, `Debug`, `MigrationAgent`, `TcbOrder`, `Tcb`.
pub fn speaker(testimony: &Testimony, report_data: &[u8; 64], terms: &Terms) -> Result<(), Refusal> {
    let generation = chain::verify(testimony, &terms.accepted())?;
    let report = &testimony.report;
    let policy = report.policy.get();
    let [TcbVersion(reported), TcbVersion(committed), TcbVersion(current)] =
        [report.reported_tcb, report.committed_tcb, report.current_tcb];
    let rules = [
        (report.report_data == *report_data, Refusal::ReportData),
        (report.vmpl.get() == 0, Refusal::Vmpl),
        (policy & MUST_BE_ONE != 0, Refusal::Policy),
        (policy & DEBUG == 0, Refusal::Debug),
        (policy & MIGRATE_MA == 0, Refusal::MigrationAgent),
        (at_most(reported, committed) && at_most(committed, current), Refusal::TcbOrder),
        (at_most(terms.floor(generation), reported), Refusal::Tcb),
    ];
    rules.into_iter().find(|(good, _)| !good).map_or(Ok(()), |(_, refusal)| Err(refusal))
}

/// Judges whether the state may go from the firmware of one report to that of the other, as the source sees it. The
/// destination's policy must not allow what the source's forbids: the owner has chosen that for the state.
///
/// # Errors
/// `Weaker`, `Successor`, or those of a grant.
pub(crate) fn successor(own: &Report, other: &Report, terms: &Terms, case: &Case<'_>) -> Result<(), Refusal> {
    let (ours, theirs) = (own.policy.get(), other.policy.get());
    if ours & RESTRICTS & !theirs != 0 || theirs & ALLOWS & !ours != 0 || theirs & ABI < ours & ABI {
        return Err(Refusal::Weaker);
    }
    let listed = is_listed(&terms.successors, &own.measurement, &other.measurement, terms);
    case.judge(listed, Refusal::Successor, terms, &own.measurement, &other.measurement)
}

/// The same as the destination sees it.
///
/// # Errors
/// `Predecessor`, or those of a grant.
pub(crate) fn predecessor(own: &Report, other: &Report, terms: &Terms, case: &Case<'_>) -> Result<(), Refusal> {
    let listed = is_listed(&terms.predecessors, &own.measurement, &other.measurement, terms);
    case.judge(listed, Refusal::Predecessor, terms, &other.measurement, &own.measurement)
}

/// Whose state it is, and what the owner says of it.
pub(crate) struct Case<'a> {
    pub(crate) identity: &'a [u8; 32],
    pub(crate) epoch: u64,
    pub(crate) grant: Option<&'a Grant>,
}

impl Case<'_> {
    /// The list, or the owner.
    fn judge(
        &self,
        listed: bool,
        refusal: Refusal,
        terms: &Terms,
        from: &Measurement,
        to: &Measurement,
    ) -> Result<(), Refusal> {
        if listed {
            return Ok(());
        }
        let (Some(owner), Some(grant)) = (&terms.owner, self.grant) else { return Err(refusal) };
        grant.covers(owner, &Move { from, to, identity: self.identity, epoch: self.epoch })
    }
}

fn is_listed(list: &[Measurement], own: &Measurement, other: &Measurement, terms: &Terms) -> bool {
    list.contains(other) || terms.itself && own == other
}

/// Octet by octet, which holds for every layout of TCB_VERSION.
fn at_most(low: [u8; 8], high: [u8; 8]) -> bool {
    low.iter().zip(high).all(|(low, high)| *low <= high)
}
