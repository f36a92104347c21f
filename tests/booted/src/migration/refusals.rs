//! Who is refused, by name, in the machine. A side that refuses says why; the source's TPM answers on.

use super::machine::{GET_RANDOM, Images, Machine, SUCCESS, image, new_terms, old_terms};
use super::travel::{Journey, Order, To, travel};
use crate::{Totals, case};
use anyhow::{Context, Result, ensure};
use host::boot::Built;
use host::psp::Identity;
use migration::destination::{Destination, Next};
use migration::message::Kind;
use migration::{Refusal, Terms};
use moves::chip::{Boot, Chip};

/// Octets of a report (SNP firmware ABI, table 23): POLICY, with bit 19.
const DEBUG: &str = "report=0x8:00000b0000000000";

/// All of them. The sources keep their TPM, and are used again.
pub(super) fn run(images: &Images) -> Result<Totals> {
    let owner = &images.owner;
    let old = image("moving-old-unkept.igvm", false, &old_terms(owner))?;
    let floors = [[5, 0, 0, 0, 0, 0, 0, 0]; 3];
    let strict = image("moving-old-strict.igvm", false, &Terms { floors, ..old_terms(owner) })?;
    let new = image("moving-new-unkept.igvm", false, &new_terms(owner, &old))?;
    // It names the owner, and has no list.
    let stranger = image("moving-new-stranger.igvm", false, &Terms { predecessors: vec![], ..new_terms(owner, &old) })?;
    let grant = owner.grant(&old, &new)?;
    let mut source = Machine::started(&old, &Identity::development(), None, "")?;
    let mut destination = waiting(&new, "")?;
    let mut totals = case(
        "the successor is not listed, and the owner has said nothing",
        refused(&mut source, &destination, &[], To::Source, Refusal::Successor),
    );
    let other = owner.grant(&new, &old)?;
    totals += case(
        "the owner's word is for other measurements",
        refused(&mut source, &destination, &other, To::Source, Refusal::GrantMeasurement),
    );
    let mut forged = grant.clone();
    forged[200] ^= 1;
    totals += case(
        "the owner's word is not the owner's",
        refused(&mut source, &destination, &forged, To::Source, Refusal::GrantSignature),
    );
    totals += case("a replayed channel", replayed(&mut source, &destination, &grant));
    totals += case("the destination is at VMPL 1", at_vmpl(&mut source, &destination, &new, &grant));
    destination = waiting(&new, &format!("{DEBUG}\nreport-from=2"))?;
    totals += case(
        "the destination's policy allows debugging",
        refused(&mut source, &destination, &grant, To::Source, Refusal::Debug),
    );
    let none = waiting(&stranger, "")?;
    let grant_to_other = owner.grant(&old, &stranger)?;
    let mut without = grant_to_other.clone();
    without[136..].fill(0);
    totals +=
        case("a grant without a signature", refused(&mut source, &none, &without, To::Source, Refusal::GrantSignature));
    drop((source, none));
    let mut source = Machine::started(&strict, &Identity::development(), None, "")?;
    let destination = waiting(&new, "")?;
    let to = owner.grant(&strict, &new)?;
    totals += case(
        "the destination's TCB is below the floor",
        refused(&mut source, &destination, &to, To::Source, Refusal::Tcb),
    );
    drop(source);
    let mut source = Machine::started(&old, &Identity::development(), None, &format!("{DEBUG}\nreport-from=2"))?;
    totals += case(
        "the source's policy allows debugging: the destination refuses",
        refused(&mut source, &destination, &grant, To::Destination, Refusal::Debug),
    );
    drop((source, destination));
    totals += case("a TPM that nobody keeps moves to another chip", unkept(&old, &new, &grant));
    Ok(totals)
}

fn waiting(built: &Built, config: &str) -> Result<Machine> {
    let mut machine = Machine::start(built, &Identity::another(), None, config)?;
    machine.wait_for("a TPM is to come")?;
    Ok(machine)
}

/// `who` refuses for this reason, and the source's TPM answers on.
fn refused(source: &mut Machine, destination: &Machine, grant: &[u8], who: To, why: Refusal) -> Result<()> {
    let journey = travel(source, &destination.programs, Some(grant), &mut |_| Order::Deliver)?;
    stays(source, &journey, who, why)
}

fn stays(source: &mut Machine, journey: &Journey, who: To, why: Refusal) -> Result<()> {
    ensure!(journey.refused == Some((who, why)), "it ends by {:?}", journey.refused);
    ensure!(source.code(GET_RANDOM)? == SUCCESS, "the source does not answer any more");
    Ok(())
}

/// A destination's answer of one run, in the next.
fn replayed(source: &mut Machine, destination: &Machine, grant: &[u8]) -> Result<()> {
    let mut answer = None;
    let lose = &mut |letter: &super::Letter| match letter.kind() {
        Some(Kind::Answer) => {
            answer = Some(letter.octets.clone());
            Order::End
        }
        _ => Order::Deliver,
    };
    travel(source, &destination.programs, Some(grant), lose)?;
    let answer = answer.context("there was no answer")?;
    let again = &mut |letter: &super::Letter| match letter.kind() {
        Some(Kind::Answer) => Order::Instead(answer.clone()),
        _ => Order::Deliver,
    };
    let journey = travel(source, &destination.programs, Some(grant), again)?;
    stays(source, &journey, To::Source, Refusal::ReportData)
}

/// A guest at VMPL 1 of the destination's machine, which asks the secure processor itself, answers in its place.
fn at_vmpl(source: &mut Machine, destination: &Machine, new: &Built, grant: &[u8]) -> Result<()> {
    let Identity { vcek_scalar, chip_id, tcb, vcek, ask, ark } = Identity::another();
    let chip = Chip::known(chip_id, tcb.to_bytes(), vcek_scalar.to_vec(), [vcek, ask, ark]);
    let terms = Terms { receives: true, itself: true, ..Terms::default() };
    for vmpl in [0_u32, 1] {
        let mut boot = Boot::new(&chip, new.image.launch.digest).with(move |report| report.vmpl = vmpl.into());
        let mut offer = None;
        let instead = &mut |letter: &super::Letter| match (letter.kind(), &offer) {
            (Some(Kind::Offer), _) => {
                offer = Some(letter.octets.clone());
                Order::Deliver
            }
            (Some(Kind::Answer), Some(offer)) => {
                let answered = Destination::new(&terms, true, 1 << 20, None).and_then(|mut destination| {
                    destination.receive(offer, &mut boot, &mut moves::Seeded::new("guest"))
                });
                match answered {
                    Ok(Next::Send(answer)) => Order::Instead(answer),
                    _ => Order::End,
                }
            }
            // With VMPL 0 it is as good as the firmware: a proof comes.
            (Some(Kind::Proof), _) => Order::End,
            _ => Order::Deliver,
        };
        let journey = travel(source, &destination.programs, Some(grant), instead)?;
        let is_proven = journey.letters.last().and_then(super::Letter::kind) == Some(Kind::Proof);
        match vmpl {
            0 => ensure!(is_proven, "the answer is refused for something else: {:?}", journey.refused),
            _ => stays(source, &journey, To::Source, Refusal::Vmpl)?,
        }
    }
    Ok(())
}

/// Without disks, on the same way.
fn unkept(old: &Built, new: &Built, grant: &[u8]) -> Result<()> {
    let mut source = Machine::started(old, &Identity::development(), None, "")?;
    let mut belongings = super::made(&mut source)?;
    let mut destination = waiting(new, "")?;
    let journey = travel(&mut source, &destination.programs, Some(grant), &mut |_| Order::Deliver)?;
    ensure!(journey.is_live, "it has not arrived: {:?}", journey.refused);
    super::found(&mut destination, &mut belongings)?;
    let after = super::attested(&mut destination, new, &Identity::another())?;
    ensure!(after.flags == super::MIGRATED && after.origin == old.image.launch.digest[..32], "{after:?}");
    ensure!(source.code(GET_RANDOM)? == super::FAILURE, "the source answers");
    Ok(())
}
