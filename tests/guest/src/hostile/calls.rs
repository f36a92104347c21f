//! Calls that do not exist, sizes that do not fit, structures that are malformed.

use super::addresses::attest_with;
use super::code::{FAIL_UNCHANGED, INVALID_PARAMETER, UNSUPPORTED_CALL, UNSUPPORTED_PROTOCOL};
use super::{NOT_TAKEN, Report, result};
use crate::attest::{self, field};
use crate::page::PAGE_SIZE;
use crate::svsm::{self, Registers, SUCCESS, calling_area, protocol};
use crate::vtpm::{self, MAX_COMMAND, SEND_COMMAND};

/// TPM2_GetCapability of one TPM property.
const COMMAND: [u8; 22] = [0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7A, 0, 0, 0, 6, 0, 0, 1, 5, 0, 0, 0, 1];
const TPM_RC_INSUFFICIENT: u64 = 0x09A;
const TPM_RC_COMMAND_SIZE: u64 = 0x142;
const VTPM_CMD: (u64, u64) = (protocol::VTPM, 1);

pub(super) fn attempts<const N: usize>(report: &mut Report<N>) {
    unknown(report);
    vtpm_sizes(report);
    vtpm_requests(report);
    stale_bytes(report);
    pvalidate_lists(report);
    attestation(report);
    without_pending(report);
}

fn unknown<const N: usize>(report: &mut Report<N>) {
    for protocol in [3, 4, 5, 0x7FFF_FFFF, 0xFFFF_FFFF] {
        for call in [0, 1, 0xFFFF_FFFF] {
            report.call(
                format_args!("protocol {protocol:#x}, call {call:#x}"),
                (protocol, call),
                0,
                UNSUPPORTED_PROTOCOL,
            );
        }
    }
    let calls = [
        (protocol::CORE, [7, 8, 0xFFFF_FFFF]),
        (protocol::ATTESTATION, [2, 3, 0xFFFF_FFFF]),
        (protocol::VTPM, [2, 8, 0xFFFF_FFFF]),
    ];
    for (protocol, calls) in calls {
        for call in calls {
            report.call(
                format_args!("protocol {protocol}, unknown call {call:#x}"),
                (protocol, call),
                0,
                UNSUPPORTED_CALL,
            );
        }
    }
}

/// Sizes of a request: those that fit reach the TPM, whose answer is that they are not the command's own.
fn vtpm_sizes<const N: usize>(report: &mut Report<N>) {
    for size in [0, 1, 9, 10, 21, 23, MAX_COMMAND - 1, MAX_COMMAND] {
        vtpm::request(SEND_COMMAND, 0, u32::try_from(size).unwrap_or(0), &COMMAND);
        let rax = result(Registers::call(protocol::VTPM, 1, vtpm::BUFFER.gpa()));
        let got = if rax == SUCCESS { response_code() } else { rax };
        // Below ten bytes there is no header.
        let expected = if size < 10 { TPM_RC_INSUFFICIENT } else { TPM_RC_COMMAND_SIZE };
        report.attempt(format_args!("VTPM_CMD of size {size}, which is not the command's"), expected, got);
    }
    for size in [4088, 4096, 0x7FFF_FFFF, 0xFFFF_FFF7, 0xFFFF_FFFF] {
        vtpm::request(SEND_COMMAND, 0, size, &COMMAND);
        report.call(format_args!("VTPM_CMD of size {size}"), VTPM_CMD, vtpm::BUFFER.gpa(), INVALID_PARAMETER);
    }
}

fn response_code() -> u64 {
    let mut out = [0; PAGE_SIZE];
    match vtpm::response(&mut out) {
        [_, _, _, _, _, _, a, b, c, d, ..] => u64::from(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => NOT_TAKEN,
    }
}

fn vtpm_requests<const N: usize>(report: &mut Report<N>) {
    for locality in [1, 2, 3, 4, 5, 255] {
        vtpm::request(SEND_COMMAND, locality, 22, &COMMAND);
        report.call(format_args!("VTPM_CMD at locality {locality}"), VTPM_CMD, vtpm::BUFFER.gpa(), INVALID_PARAMETER);
    }
    let commands =
        [(0, INVALID_PARAMETER), (1, UNSUPPORTED_CALL), (9, UNSUPPORTED_CALL), (0xFFFF_FFFF, INVALID_PARAMETER)];
    for (command, expected) in commands {
        vtpm::request(command, 0, 22, &COMMAND);
        report.call(
            format_args!("VTPM_CMD with platform command {command:#x}"),
            VTPM_CMD,
            vtpm::BUFFER.gpa(),
            expected,
        );
    }
}

/// Behind the response there is what we had put there, or zeros.
fn stale_bytes<const N: usize>(report: &mut Report<N>) {
    vtpm::BUFFER.fill(0xEE);
    vtpm::request(SEND_COMMAND, 0, 22, &COMMAND);
    let rax = result(Registers::call(protocol::VTPM, 1, vtpm::BUFFER.gpa()));
    let mut out = [0; PAGE_SIZE];
    let end = (vtpm::response(&mut out).len() + 4).max(9 + COMMAND.len());
    vtpm::BUFFER.copy_out(0, &mut out);
    let stale = out[end..].iter().filter(|byte| ![0, 0xEE].contains(*byte)).count() as u64;
    report.attempt("bytes behind a response that are not ours", 0, stale | rax);
}

fn pvalidate_lists<const N: usize>(report: &mut Report<N>) {
    let own = attest::REPORT.gpa();
    let mut list = |name: &str, head: u64, entry: u64, expected: u64| {
        calling_area().write(8, head);
        calling_area().write(16, entry);
        report.call(format_args!("PVALIDATE {name}"), (protocol::CORE, 1), calling_area().gpa() + 8, expected);
    };
    list("with a count of 0", 0, own, INVALID_PARAMETER);
    list("with a count that the page does not hold", 511, own, INVALID_PARAMETER);
    list("with a count of 65535", 0xFFFF, own, INVALID_PARAMETER);
    list("with next at the count", 1 | 1 << 16, own, INVALID_PARAMETER);
    list("with next beyond the count", 1 | 0xFFFF << 16, own, INVALID_PARAMETER);
    for bit in 4..12 {
        list("with a reserved bit in an entry", 1, own | 1 << bit, INVALID_PARAMETER);
    }
    list("with page size 2", 1, own | 4 | 2, INVALID_PARAMETER);
    list("with page size 3", 1, own | 4 | 3, INVALID_PARAMETER);
    list("of a misaligned 2 MiB page", 1, ((own & !0x1F_FFFF) + 0x1000) | 5, INVALID_PARAMETER);
    list("of a page that is valid already", 1, own | 4, FAIL_UNCHANGED);
}

fn attestation<const N: usize>(report: &mut Report<N>) {
    attest_with(report, "ATTEST_SERVICES with a report size of 0", field::REPORT_SIZE, 0);
    attest_with(report, "ATTEST_SERVICES with a report size of 1183", field::REPORT_SIZE, 1183);
    attest_with(report, "ATTEST_SERVICES with a report size of 2^32-1", field::REPORT_SIZE, 0xFFFF_FFFF);
    attest_with(report, "ATTEST_SERVICES with a manifest size of 0", field::MANIFEST_SIZE, 0);
    attest_with(report, "ATTEST_SERVICES with a manifest size of 2^32-1", field::MANIFEST_SIZE, 0xFFFF_FFFF);
    attest_with(report, "ATTEST_SERVICES with a certificates size of 1", field::CERTIFICATES_SIZE, 1);
    attest_with(report, "ATTEST_SERVICES with a certificates size of 2^32-1", field::CERTIFICATES_SIZE, 0xFFFF_FFFF);
    for size in [0, 1, 63, 65, 0xFFFF] {
        attest_with(report, format_args!("ATTEST_SERVICES with a nonce size of {size}"), field::NONCE_SIZE, size);
    }
    for (name, at) in
        [("report", field::REPORT_SIZE), ("manifest", field::MANIFEST_SIZE), ("certificates", field::CERTIFICATES_SIZE)]
    {
        attest_with(
            report,
            format_args!("ATTEST_SERVICES with the reserved field after the {name} size"),
            at,
            4096 | 1 << 32,
        );
    }
    attest_with(
        report,
        "ATTEST_SERVICES with the reserved field after the nonce size",
        field::NONCE_SIZE,
        64 | 1 << 16,
    );

    let mut single = |name: &str, guid: [u8; 16], version: u32| {
        attest::request(guid, version, &[0x5A; 64]);
        report.call(
            format_args!("ATTEST_SINGLE_SERVICE of {name}"),
            (protocol::ATTESTATION, 1),
            attest::OPERATION.gpa(),
            INVALID_PARAMETER,
        );
    };
    single("a service that does not exist", [0x5A; 16], 0);
    single("the zero GUID", [0; 16], 0);
    single("the vTPM, manifest version 2^32-1", VTPM_SERVICE, 0xFFFF_FFFF);
}

/// c476f1eb-0123-45a5-9641-b4e7dde5bfe3, as it lies in memory.
const VTPM_SERVICE: [u8; 16] =
    [0xEB, 0xF1, 0x76, 0xC4, 0x23, 0x01, 0xA5, 0x45, 0x96, 0x41, 0xB4, 0xE7, 0xDD, 0xE5, 0xBF, 0xE3];

/// Without the pending byte nothing is called: not even RAX changes.
fn without_pending<const N: usize>(report: &mut Report<N>) {
    let query = protocol::VTPM << 32;
    let mut registers = Registers { rax: query, rcx: 1, rdx: 2, r8: 3, r9: 4 };
    let got = match svsm::run_without_pending(&mut registers) {
        Ok(()) if [registers.rcx, registers.rdx, registers.r8, registers.r9] == [1, 2, 3, 4] => registers.rax,
        Ok(()) | Err(_) => NOT_TAKEN,
    };
    report.attempt("VTPM_QUERY without the pending byte", query, got);
}
