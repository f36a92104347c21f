//! Pages that the host takes, because we ask it to, without a word to the firmware: each page that a call names, before
//! the call and at the very moment at which the firmware reaches for it. A page that is gone is a refusal, never the
//! end. It stays gone: to the firmware it is ours, so each attempt takes pages of RAM that nobody has used.

use super::code::{FAIL_UNCHANGED, INVALID_ADDRESS, INVALID_PARAMETER, UNSUPPORTED_CALL};
use super::{NOT_TAKEN, Report, result};
use crate::attest::{self, field};
use crate::entry::{self, VMM_COMMUNICATION};
use crate::ghcb::{self, Moment, State};
use crate::page::{PAGE_SIZE, Page};
use crate::svsm::{Registers, SUCCESS, calling_area, protocol};
use crate::vtpm::{CMD_PAGES, SEND_COMMAND};
use core::fmt::{self, Display};

/// RAM behind the image, identity-mapped.
const FRESH: u64 = 0x400_0000;
/// Pages that one attempt may use.
const EACH: u64 = 8;

/// TPM2_GetCapability of one TPM property.
const COMMAND: [u8; 22] = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7A, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1];

/// From here bytes go to fresh pages.
static STAGE: Page = Page::new();

/// How a page goes.
#[derive(Clone, Copy)]
enum Loss {
    Before,
    At(Moment),
}

const READ_OR_WRITE: [Loss; 2] = [Loss::Before, Loss::At(Moment::Access)];

impl Display for Loss {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => write!(out, "taken before"),
            Self::At(Moment::Access) => write!(out, "taken at the first access"),
            Self::At(Moment::Write) => write!(out, "taken at the first write"),
            Self::At(Moment::Instruction(after)) => write!(out, "taken at instruction {after}"),
        }
    }
}

/// Fresh pages, and the next of them.
struct Fresh(u64);

impl Fresh {
    /// Pages for an attempt.
    fn pages(&mut self) -> u64 {
        let first = FRESH + self.0 * EACH * PAGE_SIZE as u64;
        self.0 += 1;
        first
    }
}

/// Writes bytes to fresh pages.
fn put(gpa: u64, bytes: &[u8]) {
    STAGE.copy_in(0, bytes);
    // SAFETY: RAM that Rust knows nothing of.
    let _ = unsafe { entry::copy(gpa, STAGE.gpa(), bytes.len()) };
}

/// Reads a byte of a fresh page; the vector if that is not possible.
fn byte(gpa: u64) -> Result<u8, u64> {
    // SAFETY: what is written is a page of ours.
    unsafe { entry::copy(STAGE.gpa(), gpa, 1) }?;
    let mut byte = [0];
    STAGE.copy_out(0, &mut byte);
    Ok(byte[0])
}

fn lose(gpa: u64, loss: Loss) {
    let done = match loss {
        Loss::Before => ghcb::change_state(gpa, State::Shared),
        Loss::At(moment) => ghcb::take_at(gpa, moment),
    };
    assert!(done.is_ok(), "the host does not take pages");
}

pub(super) fn attempts<const N: usize>(report: &mut Report<N>) {
    let mut fresh = Fresh(0);
    remap(report, &mut fresh);
    lists(report, &mut fresh);
    rescinded(report, &mut fresh);
    validated(report, &mut fresh);
    create_vcpu(report, &mut fresh);
    attestation(report, &mut fresh);
    vtpm(report, &mut fresh);
    half_a_response(report, &mut fresh);
    vtpm_pages(report, &mut fresh);
}

fn remap<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    for loss in READ_OR_WRITE {
        let page = fresh.pages();
        lose(page, loss);
        report.call(format_args!("REMAP_CA to a page {loss}"), (protocol::CORE, 0), page, INVALID_ADDRESS);
    }
}

/// A list of one entry.
fn list(at: u64, entry: u64) {
    put(at, &1u64.to_le_bytes());
    put(at + 8, &entry.to_le_bytes());
}

fn pvalidate(at: u64) -> u64 {
    result(Registers::call(protocol::CORE, 1, at))
}

fn lists<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    for loss in [Loss::Before, Loss::At(Moment::Access), Loss::At(Moment::Write)] {
        let page = fresh.pages();
        let target = page + 0x1000;
        list(page, target);
        lose(page, loss);
        report.attempt(format_args!("PVALIDATE list in a page {loss}"), INVALID_ADDRESS, pvalidate(page));
        // At the write-back of `next` the entry has been done; before it nothing has.
        let gone = byte(target) == Err(VMM_COMMUNICATION);
        let done = u64::from(matches!(loss, Loss::At(Moment::Write)));
        report.attempt(format_args!("entries done of the list {loss}"), done, u64::from(gone));
    }
}

fn rescinded<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    let instructions = (0..3).map(|after| Loss::At(Moment::Instruction(after)));
    for loss in core::iter::once(Loss::Before).chain(instructions) {
        let page = fresh.pages();
        list(page, page + 0x1000);
        lose(page + 0x1000, loss);
        let name = format_args!("PVALIDATE, rescinding, of a page {loss}");
        report.attempt(name, INVALID_ADDRESS, pvalidate(page));
    }
    // Behind three RMPADJUST: PVALIDATE itself finds that the page is not validated.
    let page = fresh.pages();
    list(page, page + 0x1000);
    lose(page + 0x1000, Loss::At(Moment::Instruction(3)));
    report.attempt("PVALIDATE, rescinding, of a page taken at instruction 3", FAIL_UNCHANGED, pvalidate(page));
}

fn validated<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    // At PVALIDATE the host makes the page private again, without which it could not go on; what then is zeroed and
    // granted is validated.
    let losses = [
        (Loss::Before, SUCCESS),
        (Loss::At(Moment::Instruction(0)), SUCCESS),
        (Loss::At(Moment::Access), INVALID_ADDRESS),
        (Loss::At(Moment::Instruction(1)), INVALID_ADDRESS),
    ];
    for (loss, expected) in losses {
        let page = fresh.pages();
        let target = page + 0x1000;
        list(page, target);
        report.attempt("PVALIDATE, rescinding, of a page of ours", SUCCESS, pvalidate(page));
        list(page, target | 4);
        lose(target, loss);
        report.attempt(format_args!("PVALIDATE of a page {loss}"), expected, pvalidate(page));
        let accessible = byte(target) == Ok(0);
        let name = format_args!("the page {loss} is ours and zero only if that was said");
        report.attempt(name, u64::from(expected == SUCCESS), u64::from(accessible));
    }
}

/// Refused without a look at either page.
fn create_vcpu<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    let instructions = (0..4).map(|after| Loss::At(Moment::Instruction(after)));
    for loss in READ_OR_WRITE.into_iter().chain(instructions) {
        for (which, offset) in [("VMSA", 0x1000), ("calling area", 0x2000)] {
            let page = fresh.pages();
            lose(page + offset, loss);
            let registers =
                Registers { rax: protocol::CORE << 32 | 2, rcx: page + 0x1000, rdx: page + 0x2000, r8: 1, r9: 0 };
            let name = format_args!("CREATE_VCPU with its {which} {loss}");
            report.attempt(name, UNSUPPORTED_CALL, result(registers));
        }
    }
}

fn attestation<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    const VTPM_SERVICE: [u8; 16] =
        [0xEB, 0xF1, 0x76, 0xC4, 0x23, 0x01, 0xA5, 0x45, 0x96, 0x41, 0xB4, 0xE7, 0xDD, 0xE5, 0xBF, 0xE3];
    let places = [
        ("operation", 0),
        ("nonce", 0x1000),
        ("report", 0x2000),
        ("manifest", 0x3000),
        ("certificates", 0x4000),
        ("certificates' second page", 0x5000),
    ];
    for call in [0, 1] {
        for (place, offset) in places {
            for loss in READ_OR_WRITE {
                let page = fresh.pages();
                attest::request(VTPM_SERVICE, 0, &[0x5A; 64]);
                if call == 0 {
                    attest::OPERATION.write(field::GUID, 0);
                }
                attest::OPERATION.write(field::NONCE_GPA, page + 0x1000);
                attest::OPERATION.write(field::REPORT_GPA, page + 0x2000);
                attest::OPERATION.write(field::MANIFEST_GPA, page + 0x3000);
                attest::OPERATION.write(field::MANIFEST_SIZE, 0x1000);
                attest::OPERATION.write(field::CERTIFICATES_GPA, page + 0x4000);
                attest::OPERATION.write(field::CERTIFICATES_SIZE, 0x4000);
                let mut operation = [0; 0x58];
                attest::OPERATION.copy_out(0, &mut operation);
                put(page, &operation);
                put(page + 0x1000, &[0x5A; 64]);
                lose(page + offset, loss);
                let name = format_args!("attestation call {call} with its {place} {loss}");
                report.call(name, (protocol::ATTESTATION, call), page, INVALID_PARAMETER);
            }
        }
    }
}

fn request(at: u64) {
    put(at, &SEND_COMMAND.to_le_bytes());
    put(at + 4, &[0]);
    put(at + 5, &22u32.to_le_bytes());
    put(at + 9, &COMMAND);
}

fn vtpm<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    for (which, offset) in [("first", 0), ("second", 0x1000)] {
        for loss in READ_OR_WRITE {
            let page = fresh.pages();
            request(page + 0x800);
            lose(page + offset, loss);
            let name = format_args!("VTPM_CMD buffer whose {which} page is {loss}");
            report.call(name, (protocol::VTPM, 1), page + 0x800, INVALID_PARAMETER);
        }
    }
    for loss in [Loss::Before, Loss::At(Moment::Access), Loss::At(Moment::Write)] {
        let page = fresh.pages();
        request(page);
        lose(page, loss);
        report.call(format_args!("VTPM_CMD buffer in one page {loss}"), (protocol::VTPM, 1), page, INVALID_PARAMETER);
    }
}

/// A list and two pages, of which the command and its response need the first. The others are reached by nobody: that
/// one is gone is not seen.
fn vtpm_pages<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    const LOSSES: [Loss; 3] = [Loss::Before, Loss::At(Moment::Access), Loss::At(Moment::Write)];
    for (which, offset, expected) in
        [("list", 0, INVALID_PARAMETER), ("first page", 0x1000, INVALID_PARAMETER), ("second page", 0x2000, SUCCESS)]
    {
        for loss in LOSSES {
            let page = fresh.pages();
            put(page, &8u64.to_le_bytes());
            put(page + 8, &(COMMAND.len() as u64 | 2 << 32).to_le_bytes());
            put(page + 0x10, &(page + 0x1000).to_le_bytes());
            put(page + 0x18, &(page + 0x2000).to_le_bytes());
            put(page + 0x1000, &COMMAND);
            lose(page + offset, loss);
            let name = format_args!("VTPM_CMD by a list whose {which} is {loss}");
            report.call(name, (protocol::VTPM, CMD_PAGES), page, expected);
        }
    }
}

/// The command is executed, and the response is written up to the page that is gone.
fn half_a_response<const N: usize>(report: &mut Report<N>, fresh: &mut Fresh) {
    let page = fresh.pages();
    let buffer = page + 0xFF8;
    request(buffer);
    lose(page + 0x1000, Loss::At(Moment::Write));
    let name = "VTPM_CMD whose response reaches a page taken at the first write";
    report.call(name, (protocol::VTPM, 1), buffer, INVALID_PARAMETER);
    // u32 size, then the response's tag.
    let tag = [byte(buffer + 4), byte(buffer + 5)];
    report.attempt("the response is there up to that page", 1, u64::from(tag == [Ok(0x80), Ok(1)]));
    let second = byte(page + 0x1000);
    report.attempt("that page is not validated", VMM_COMMUNICATION, second.err().unwrap_or(0));
}

/// Our calling area is the host's: no call is taken, nothing is changed, and we run on.
pub(super) fn without_calling_area<const N: usize>(report: &mut Report<N>) {
    let area = calling_area().gpa();
    let run = |report: &mut Report<N>, name: &str| {
        let query = protocol::VTPM << 32;
        let mut registers = Registers { rax: query, rcx: 1, rdx: 2, r8: 3, r9: 4 };
        let got = match ghcb::run_vmpl0(&mut registers) {
            Ok(()) if [registers.rcx, registers.rdx, registers.r8, registers.r9] == [1, 2, 3, 4] => registers.rax,
            Ok(()) | Err(_) => NOT_TAKEN,
        };
        report.judge(name, query, got, true);
    };
    lose(area, Loss::Before);
    for _ in 0..3 {
        run(report, "a call through a calling area that is shared");
    }
    let reached = byte(area);
    report.judge("our own access to the calling area", VMM_COMMUNICATION, reached.err().unwrap_or(0), true);
    run(report, "a call through a calling area that is private and not validated");
    // What we write there, we write as the host would: the firmware looks at the private page.
    lose(area, Loss::Before);
    run(report, "a call through a calling area that is shared again");
}
