//! Every address that a call takes, at every place where it must not be.

use super::code::{INVALID_ADDRESS, INVALID_PARAMETER, UNSUPPORTED_CALL};
use super::{FIRMWARE, Report, result};
use crate::attest::{self, field};
use crate::entry;
use crate::page::{PAGE_SIZE, Page};
use crate::svsm::{Registers, SUCCESS, calling_area, protocol};
use crate::vtpm;
use core::fmt::Display;

const REMAP_CA: (u64, u64) = (protocol::CORE, 0);
const PVALIDATE: (u64, u64) = (protocol::CORE, 1);
const DELETE_VCPU: (u64, u64) = (protocol::CORE, 3);
const VTPM_CMD: (u64, u64) = (protocol::VTPM, 1);
const SERVICES: (u64, u64) = (protocol::ATTESTATION, 0);
const SINGLE: (u64, u64) = (protocol::ATTESTATION, 1);

/// A page of ours that is never put to use.
static SPARE: Page = Page::new();

/// Page-aligned addresses that are not the guest's private memory.
pub(super) fn forbidden() -> [(&'static str, u64); 16] {
    [
        ("null", 0),
        ("the firmware's first page", FIRMWARE.start),
        ("a page in the firmware's middle", FIRMWARE.start + 0x40_0000),
        ("the firmware's last page", FIRMWARE.end - 0x1000),
        ("the page before the firmware", FIRMWARE.start - 0x1000),
        ("the page after the firmware", FIRMWARE.end),
        ("the launch VMSA's address", 0xFFFF_FFFF_F000),
        ("our GHCB, which is shared", calling_area().gpa() + 0x1000),
        ("local APIC", 0xFEE0_0000),
        ("I/O APIC", 0xFEC0_0000),
        ("TPM's MMIO", 0xFED4_0000),
        ("HPET", 0xFED0_0000),
        ("VGA", 0xA_0000),
        ("our page with the C-bit", SPARE.gpa() | entry::c_bit()),
        ("our page with bit 63", SPARE.gpa() | 1 << 63),
        ("the last page of 2^64", 0xFFFF_FFFF_FFFF_F000),
    ]
}

pub(super) fn attempts<const N: usize>(report: &mut Report<N>) {
    core_calls(report);
    vtpm_buffer(report);
    attestation(report);
    every_firmware_page(report);
}

fn core_calls<const N: usize>(report: &mut Report<N>) {
    for (place, gpa) in forbidden() {
        report.call(format_args!("REMAP_CA to {place}"), REMAP_CA, gpa, INVALID_ADDRESS);
        report.call(format_args!("PVALIDATE list at {place}"), PVALIDATE, gpa, INVALID_ADDRESS);
        pvalidate_entry(report, format_args!("PVALIDATE of {place}"), gpa | 4);
        pvalidate_entry(report, format_args!("PVALIDATE, rescinding, of {place}"), gpa);
        create_vcpu(report, format_args!("CREATE_VCPU with its VMSA at {place}"), gpa, SPARE.gpa());
        create_vcpu(report, format_args!("CREATE_VCPU with its calling area at {place}"), SPARE.gpa(), gpa);
        report.call(format_args!("DELETE_VCPU of {place}"), DELETE_VCPU, gpa, INVALID_PARAMETER);
    }
    let spare = SPARE.gpa();
    for offset in [1, 8, 0x800, 0xFFF] {
        report.call(
            format_args!("REMAP_CA to a page of ours plus {offset:#x}"),
            REMAP_CA,
            spare + offset,
            INVALID_PARAMETER,
        );
        let name = format_args!("CREATE_VCPU with its VMSA misaligned by {offset:#x}");
        create_vcpu(report, name, spare + offset, calling_area().gpa());
    }
    for offset in [1, 2, 4, 7, 0xFFC] {
        report.call(
            format_args!("PVALIDATE list misaligned by {offset:#x}"),
            PVALIDATE,
            spare + offset,
            INVALID_PARAMETER,
        );
    }
    create_vcpu(report, "CREATE_VCPU with one page for both", spare, spare);
    create_vcpu(report, "CREATE_VCPU with the calling area as VMSA", calling_area().gpa(), spare);
    SPARE.fill(0);
    create_vcpu(report, "CREATE_VCPU with a VMSA of zeros", spare, attest::REPORT.gpa());
    fill_right_vmsa();
    create_vcpu(report, "CREATE_VCPU with a VMSA that is right", spare, attest::REPORT.gpa());
    report.call("DELETE_VCPU of a page that is no VMSA", DELETE_VCPU, spare, INVALID_PARAMETER);
}

/// A list of one entry in our calling area. Page 0 may be RAM of ours, and our shared page has states of its own: these
/// are no errors of address.
fn pvalidate_entry<const N: usize>(report: &mut Report<N>, name: impl Display, entry: u64) {
    let shared = calling_area().gpa() + 0x1000;
    if [0, shared].contains(&(entry & !0xFFF)) {
        return;
    }
    calling_area().write(8, 1);
    calling_area().write(16, entry);
    report.call(name, PVALIDATE, calling_area().gpa() + 8, INVALID_ADDRESS);
}

/// There is one vCPU, whatever the call names (docs/decisions.md).
fn create_vcpu<const N: usize>(report: &mut Report<N>, name: impl Display, vmsa: u64, area: u64) {
    let registers = Registers { rax: protocol::CORE << 32 | 2, rcx: vmsa, rdx: area, r8: 1, r9: 0 };
    report.attempt(name, UNSUPPORTED_CALL, result(registers));
}

/// A register state as the specification wants it: VMPL2, EFER.SVME, SEV_FEATURES 1.
fn fill_right_vmsa() {
    SPARE.copy_in(0xCA, &[2]);
    SPARE.write(0xD0, 0x1000);
    SPARE.write(0x3B0, 1);
}

fn vtpm_buffer<const N: usize>(report: &mut Report<N>) {
    for (place, gpa) in forbidden() {
        report.call(format_args!("VTPM_CMD buffer at {place}"), VTPM_CMD, gpa, INVALID_PARAMETER);
    }
    let crossings = [
        ("crossing into our shared page", calling_area().gpa() + 0x800),
        ("one byte into our shared page", calling_area().gpa() + 1),
        ("crossing out of our shared page", calling_area().gpa() + 0x1FFF),
        ("crossing into the firmware", FIRMWARE.start - 0x800),
        ("crossing out of the firmware", FIRMWARE.end - 1),
        ("wrapping at 2^64", u64::MAX - 0x7FF),
        ("at the last byte of 2^64", u64::MAX),
    ];
    for (place, gpa) in crossings {
        report.call(format_args!("VTPM_CMD buffer {place}"), VTPM_CMD, gpa, INVALID_PARAMETER);
    }
}

fn attestation<const N: usize>(report: &mut Report<N>) {
    for (place, gpa) in forbidden() {
        report.call(format_args!("ATTEST_SERVICES operation at {place}"), SERVICES, gpa, INVALID_PARAMETER);
        report.call(format_args!("ATTEST_SINGLE_SERVICE operation at {place}"), SINGLE, gpa, INVALID_PARAMETER);
        let fields = [
            ("report", field::REPORT_GPA),
            ("nonce", field::NONCE_GPA),
            ("manifest", field::MANIFEST_GPA),
            ("certificates", field::CERTIFICATES_GPA),
        ];
        for (name, field) in fields {
            attest_with(report, format_args!("ATTEST_SERVICES {name} at {place}"), field, gpa);
        }
    }
    let ours = attest::REPORT.gpa();
    attest_with(report, "ATTEST_SERVICES report misaligned", field::REPORT_GPA, ours + 8);
    attest_with(report, "ATTEST_SERVICES manifest misaligned", field::MANIFEST_GPA, attest::MANIFEST.gpa() + 0x800);
    attest_with(
        report,
        "ATTEST_SERVICES certificates misaligned",
        field::CERTIFICATES_GPA,
        attest::CERTIFICATES.gpa() + 1,
    );
    attest_with(report, "ATTEST_SERVICES nonce crossing a page", field::NONCE_GPA, attest::NONCE.gpa() + 0xFE0);
    attest_with(report, "ATTEST_SERVICES nonce wrapping at 2^64", field::NONCE_GPA, u64::MAX - 31);
    attest_with(
        report,
        "ATTEST_SERVICES manifest reaching into our shared page",
        field::MANIFEST_GPA,
        calling_area().gpa(),
    );
    let crossing = attest::OPERATION.gpa() + 0xFC8;
    report.call("ATTEST_SERVICES operation crossing a page", SERVICES, crossing, INVALID_PARAMETER);
    report.call("ATTEST_SINGLE_SERVICE operation crossing a page", SINGLE, crossing - 0x10, INVALID_PARAMETER);
}

/// A request that is right but for one field.
pub(super) fn attest_with<const N: usize>(report: &mut Report<N>, name: impl Display, field: usize, value: u64) {
    attest::request([0; 16], 0, &[0x5A; 64]);
    attest::OPERATION.write(field, value);
    report.call(name, SERVICES, attest::OPERATION.gpa(), INVALID_PARAMETER);
}

/// Wherever its secrets page, its VMSAs and its mailboxes are, they are among these.
fn every_firmware_page<const N: usize>(report: &mut Report<N>) {
    let mut got = INVALID_PARAMETER;
    for gpa in FIRMWARE.step_by(PAGE_SIZE) {
        let (protocol, call) = VTPM_CMD;
        let rax = result(Registers::call(protocol, call, gpa));
        if rax != INVALID_PARAMETER || !vtpm::is_alive() {
            got = rax;
        }
    }
    report.attempt("VTPM_CMD buffer at each of the firmware's 2048 pages", INVALID_PARAMETER, got);
    // And the way that is right still works.
    report.call("REMAP_CA to where it is", REMAP_CA, calling_area().gpa(), SUCCESS);
}
