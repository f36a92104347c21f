//! The page protocol against a host that lies. The page is [`common::shared::Shared`], which panics when a byte is read
//! twice.

mod common {
    pub(crate) mod bytes;
    pub(crate) mod psp;
    pub(crate) mod shared;
}

use common::bytes::{put, u16_at, u64_at};
use common::psp::{KEY, MockPsp, hash};
use common::shared::Shared;
use proptest::prelude::*;
use snp::PAGE_SIZE;
use snp::ghcb::call::{ApCreation, GuestRequestPages, GuestRequestResult, PSC_MAX, PageStateEntry, Width};
use snp::ghcb::doorbell::{self, Events, Presented};
use snp::ghcb::msr::{PageState, feature};
use snp::ghcb::page::Field;
use snp::ghcb::{Exception, Ghcb, GhcbError, Hypervisor, SharedMemory};
use snp::message::header::RequestType;
use snp::message::{Channel, GhcbTransport, MessageError, Vmpck};
use snp::rmp::{PageSize, Vmpl};

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

const GPA: u64 = 0x80_0004_5000;

/// A host that acts on the page.
struct Host<F> {
    page: Shared,
    act: F,
}

impl<F: FnMut(&mut [u8])> Hypervisor for Host<F> {
    fn msr_call(&mut self, request: u64) -> u64 {
        assert_eq!(request, GPA | 0x012, "only the registration is expected");
        GPA | 0x013
    }

    fn page_call(&mut self, ghcb_gpa: u64) {
        assert_eq!(ghcb_gpa, GPA);
        self.page.host(|bytes| (self.act)(bytes));
    }
}

fn ghcb<F: FnMut(&mut [u8])>(act: F) -> Ghcb<Host<F>, Shared> {
    let page = Shared::new(PAGE_SIZE);
    Ghcb::register(Host { page: page.clone(), act }, page, GPA).expect("the mock registers")
}

fn is_valid(page: &[u8], offset: usize) -> bool {
    let bit = offset / 8;
    page[0x3F0 + bit / 8] & 1 << (bit % 8) != 0
}

fn set(page: &mut [u8], offset: usize, value: u64) {
    put(page, offset, &value.to_le_bytes());
    let bit = offset / 8;
    page[0x3F0 + bit / 8] |= 1 << (bit % 8);
}

/// The host's answer as KVM gives it: bitmap cleared, then what is answered.
fn answer(page: &mut [u8], fields: &[(usize, u64)]) {
    page[0x3F0..0x400].fill(0);
    set(page, 0x398, 0);
    set(page, 0x3A0, 0);
    fields.iter().for_each(|(offset, value)| set(page, *offset, *value));
}

const RAX: usize = 0x1F8;
const RCX: usize = 0x308;
const RDX: usize = 0x310;
const RBX: usize = 0x318;
const INFO1: usize = 0x398;
const INFO2: usize = 0x3A0;
const SCRATCH: usize = 0x3A8;

/// The requests as an object, so that one table serves all tests.
trait Requests {
    fn call(&mut self, name: &str) -> Result<(), GhcbError>;
}

impl<F: FnMut(&mut [u8])> Requests for Ghcb<Host<F>, Shared> {
    fn call(&mut self, name: &str) -> Result<(), GhcbError> {
        match name {
            "out" => self.io_out(0x3F8, Width::Byte, 0xFFFF_FF41),
            "in" => self.io_in(0x3FD, Width::Byte).map(drop),
            "in dword" => self.io_in(0xCFC, Width::Dword).map(drop),
            "mmio read" => self.mmio_read(0x7F_F000_0014, Width::Byte).map(drop),
            "mmio write" => self.mmio_write(0x7F_F000_0016, Width::Word, 0xFFFF_1234),
            "rdmsr" => self.rdmsr(0x1B).map(drop),
            "wrmsr" => self.wrmsr(0x1B, 0x1122_3344_5566_7788),
            "cpuid" => self.cpuid(0xD, 1, 7).map(drop),
            "psc" => self.page_state_change(&[entry(0)]),
            "guest request" => self.guest_request(pages(None)).map(drop),
            "extended" => self.guest_request(pages(Some((0x9000, 4)))).map(drop),
            "ap create" => self.ap_create(ApCreation::OnInit, Vmpl::Vmpl2, 5, 0x7000, 1),
            "run" => self.run_vmpl(Vmpl::Vmpl2),
            "features" => self.features(0).map(drop),
            "doorbell" => self.set_doorbell(0x8000),
            "signal" => self.signal(7),
            "eoi" => self.specific_eoi(Vmpl::Vmpl2, 0x33),
            other => unreachable!("{other}"),
        }
    }
}

const NAMES: [&str; 17] = [
    "out",
    "in",
    "in dword",
    "mmio read",
    "mmio write",
    "rdmsr",
    "wrmsr",
    "cpuid",
    "psc",
    "guest request",
    "extended",
    "ap create",
    "run",
    "features",
    "doorbell",
    "signal",
    "eoi",
];

fn entry(index: u64) -> PageStateEntry {
    PageStateEntry { gpa: 0x10_0000 + 0x1000 * index, size: PageSize::Size4K, state: PageState::Private }
}

fn pages(certificates: Option<(u64, u64)>) -> GuestRequestPages {
    GuestRequestPages { request: 0x5000, answer: 0x6000, certificates }
}

/// All fields as an honest host might return them, so that every request succeeds.
fn honest(page: &mut [u8]) {
    answer(page, &[(RAX, 0xA1), (RBX, 0xB2), (RCX, 0xC3), (RDX, 0xD4)]);
    if u64_at(page, 0x390) == 0x8000_0010 {
        let end = u16_at(page, 0x802);
        put(page, 0x800, &(end + 1).to_le_bytes());
    }
    if u64_at(page, 0x390) == 0x8000_0014 {
        set(page, INFO2, 0x8000);
    }
}

/// What takes shared memory or a host by reference gets the same.
#[test]
fn references_stand_for_what_they_refer_to() {
    fn through(mut memory: impl SharedMemory) -> (usize, bool, [u8; 4]) {
        memory.write(2, &[5, 6, 7]);
        let mut read = [9; 4];
        memory.read(1, &mut read);
        assert_eq!((memory.exchange(8, 7), memory.exchange(8, 0)), (0, 7));
        (memory.len(), memory.is_empty(), read)
    }
    assert_eq!(through(Shared::new(16)), (16, false, [0, 5, 6, 7]));
    assert_eq!(through(&mut Shared::new(16)), (16, false, [0, 5, 6, 7]));
    assert!(Shared::new(0).is_empty());
    let mut host = Host { page: Shared::new(PAGE_SIZE), act: honest };
    let mut page = host.page.clone();
    let mut ghcb = Ghcb::register(&mut host, &mut page, GPA).expect("the mock registers");
    assert_eq!((ghcb.gpa(), ghcb.features(0)), (GPA, Ok(0)));
    let short = Shared::new(PAGE_SIZE - 1);
    let refused = Ghcb::register(Host { page: short.clone(), act: honest }, short, GPA);
    assert_eq!(refused.err(), Some(GhcbError::Argument));
}

#[test]
fn an_honest_host_is_believed() {
    for name in NAMES {
        assert_eq!(ghcb(honest).call(name), Ok(()), "{name}");
    }
}

/// Name, SW_EXITCODE, SW_EXITINFO1, SW_EXITINFO2, further fields with their values.
type Inputs<'t> = (&'t str, u64, u64, u64, &'t [(usize, u64)]);

/// The inputs of each request: exit code, infos, valid fields with their values (GHCB specification, table 6).
#[test]
fn requests_set_exactly_the_fields_of_the_specification() {
    let expected: [Inputs; 17] = [
        ("out", 0x7B, 0x03F8_0010, 0, &[(RAX, 0x41)]),
        ("in", 0x7B, 0x03FD_0011, 0, &[(RAX, 0)]),
        ("in dword", 0x7B, 0x0CFC_0041, 0, &[(RAX, 0)]),
        ("mmio read", 0x8000_0001, 0x7F_F000_0014, 1, &[(SCRATCH, GPA + 0x800)]),
        ("mmio write", 0x8000_0002, 0x7F_F000_0016, 2, &[(SCRATCH, GPA + 0x800)]),
        ("rdmsr", 0x7C, 0, 0, &[(RCX, 0x1B)]),
        ("wrmsr", 0x7C, 1, 0, &[(RCX, 0x1B), (RAX, 0x5566_7788), (RDX, 0x1122_3344)]),
        ("cpuid", 0x72, 0, 0, &[(RAX, 0xD), (RCX, 1), (0x3E8, 7)]),
        ("psc", 0x8000_0010, 0, 0, &[(SCRATCH, GPA + 0x800)]),
        ("guest request", 0x8000_0011, 0x5000, 0x6000, &[]),
        ("extended", 0x8000_0012, 0x5000, 0x6000, &[(RAX, 0x9000), (RBX, 4)]),
        ("ap create", 0x8000_0013, 5 << 32 | 2 << 16, 0x7000, &[(RAX, 1)]),
        ("run", 0x8000_0018, 2, 0, &[]),
        ("features", 0x8000_FFFD, 0, 0, &[]),
        ("doorbell", 0x8000_0014, 1, 0x8000, &[]),
        ("signal", 0x8000_0015, 7 << 32 | 0x50, 0, &[]),
        ("eoi", 0x8000_001D, 2 << 16 | 0x33, 0, &[]),
    ];
    for (name, code, info1, info2, fields) in expected {
        let check = |page: &mut [u8]| {
            let always = [(0x390, code), (INFO1, info1), (INFO2, info2)];
            let all: Vec<_> = always.iter().chain(fields).collect();
            all.iter().for_each(|(offset, value)| assert_eq!(u64_at(page, *offset), *value, "{name}: {offset:#x}"));
            let valid = (0..0x400).step_by(8).filter(|offset| is_valid(page, *offset)).count();
            assert!(
                all.iter().all(|(offset, _)| is_valid(page, *offset)) && valid == all.len(),
                "{name}: valid bitmap"
            );
            assert_eq!((u16_at(page, 0xFFA), u32_at(page, 0xFFC)), (2, 0), "{name}: version, usage");
            honest(page);
        };
        ghcb(check).call(name).expect("the honest part answers");
    }
}

#[test]
fn values_come_from_the_fields_of_the_specification() {
    let mut ghcb = ghcb(|page| {
        answer(page, &[(RAX, 0xFFFF_FFFF_1234_5678), (RBX, 2), (RCX, 3), (RDX, 0xFFFF_FFFF_0000_0004)]);
    });
    assert_eq!(ghcb.io_in(1, Width::Byte), Ok(0x78));
    assert_eq!(ghcb.io_in(1, Width::Word), Ok(0x5678));
    assert_eq!(ghcb.io_in(1, Width::Dword), Ok(0x1234_5678));
    assert_eq!(ghcb.rdmsr(1), Ok(0x0000_0004_1234_5678));
    let registers = ghcb.cpuid(0, 0, 1).expect("answered");
    assert_eq!([registers.eax, registers.ebx, registers.ecx, registers.edx], [0x1234_5678, 2, 3, 4]);
}

/// A register's value is in the shared buffer, of as many octets as the access has; what else is there is no part of
/// it.
#[test]
fn registers_of_devices_go_by_the_shared_buffer() {
    let mut host = ghcb(|page| {
        assert_eq!(u32_at(page, 0x800), 0, "nothing of an earlier request");
        put(page, 0x800, &0x89AB_CDEF_u32.to_le_bytes());
        honest(page);
    });
    let widths = [(Width::Byte, 0xEF), (Width::Word, 0xCDEF), (Width::Dword, 0x89AB_CDEF)];
    widths.iter().for_each(|(width, value)| assert_eq!(host.mmio_read(8, *width), Ok(*value)));
    let mut host = ghcb(|page| {
        assert_eq!(u32_at(page, 0x800), 0x0102_0304);
        honest(page);
    });
    assert_eq!(host.mmio_write(8, Width::Dword, 0x0102_0304), Ok(()));
}

/// A field whose valid bit the host has cleared is not used. The fields used are the result's two, and those that carry
/// the value.
#[test]
fn a_cleared_valid_bit_is_refused() {
    let used: [(&str, &[Field]); 6] = [
        ("run", &[]),
        ("in", &[Field::Rax]),
        ("rdmsr", &[Field::Rax, Field::Rdx]),
        ("cpuid", &[Field::Rax, Field::Rbx, Field::Rcx, Field::Rdx]),
        ("features", &[]),
        ("doorbell", &[]),
    ];
    for (name, fields) in used {
        for field in fields.iter().chain(&[Field::SwExitInfo1, Field::SwExitInfo2]) {
            let offset = field.offset();
            let got = ghcb(|page| {
                honest(page);
                page[0x3F0 + offset / 64] &= !(1 << (offset / 8 % 8));
            })
            .call(name);
            assert_eq!(got, Err(GhcbError::NotValid(*field)), "{name}");
        }
    }
}

#[test]
fn exit_results_are_decoded_and_unknown_ones_refused() {
    let unknown = |info1, info2| Err(GhcbError::UnknownResult { info1, info2 });
    let gp = 1 << 31 | 1 << 11 | 3 << 8 | 13;
    let ud = 1 << 31 | 3 << 8 | 6;
    let cases: [(u64, u64, Result<(), GhcbError>); 16] = [
        (0, 0, Ok(())),
        (0xFFFF_FFFF_0000_0000, 0, Ok(())),
        (1, 0x77 << 32 | gp, Err(GhcbError::Exception(Exception::GeneralProtection(0x77)))),
        (1, ud, Err(GhcbError::Exception(Exception::InvalidOpcode))),
        (1, 0, unknown(1, 0)),
        (1, gp & !(1 << 31), unknown(1, gp & !(1 << 31))),
        (1, gp & !(1 << 11), unknown(1, gp & !(1 << 11))),
        (1, ud | 1 << 11, unknown(1, ud | 1 << 11)),
        (1, gp & !0x700, unknown(1, gp & !0x700)),
        (1, gp & !0x700 | 4 << 8, unknown(1, gp & !0x700 | 4 << 8)),
        (1, 1 << 31 | 1 << 11 | 3 << 8 | 14, unknown(1, 1 << 31 | 1 << 11 | 3 << 8 | 14)),
        (1, 1 << 31 | 3 << 8 | 29, unknown(1, 1 << 31 | 3 << 8 | 29)),
        (2, 5, Err(GhcbError::Malformed(5))),
        (3, 0, unknown(3, 0)),
        (0x8000_0000, 0, unknown(0x8000_0000, 0)),
        (0xFFFF_FFFF, 9, unknown(0xFFFF_FFFF, 9)),
    ];
    for (info1, info2, expected) in cases {
        for name in NAMES.iter().filter(|name| !matches!(**name, "psc" | "doorbell")) {
            let got = ghcb(|page| {
                honest(page);
                set(page, INFO1, info1);
                set(page, INFO2, info2);
            })
            .call(name);
            assert_eq!(got, expected, "{name}: {info1:#x} {info2:#x}");
        }
    }
}

/// Only the page that was named is a doorbell page.
#[test]
fn another_doorbell_page_than_the_one_named_is_refused() {
    for answered in [0, 0x7000, 0x8001, 0x9000, u64::MAX] {
        let got = ghcb(|page| {
            honest(page);
            set(page, INFO2, answered);
        })
        .call("doorbell");
        assert_eq!(got, Err(GhcbError::Doorbell(answered)));
    }
    let unaligned = ghcb(|_| panic!("the host was asked")).set_doorbell(0x8008);
    assert_eq!(unaligned, Err(GhcbError::Argument));
}

/// What is pending is taken once, and "no further signal" with it; nothing else of the page is touched.
#[test]
fn events_leave_the_doorbell_page_when_they_are_taken() {
    let mut page = Shared::new(PAGE_SIZE);
    for word in [0, 0x0200_8041, 0xFFFF_FFFF_u32, 0x0000_0200, 0x0000_0100, 0x0700_0000, 0x0001_0000] {
        page.host(|bytes| {
            bytes.fill(0x5A);
            put(bytes, 0, &word.to_le_bytes());
        });
        let [vector, flags, _, vmpls] = word.to_le_bytes();
        let expected = Events { vector, nmi: flags & 1 != 0, machine_check: flags & 2 != 0, vmpls };
        assert_eq!(doorbell::take(&mut page), expected);
        page.host(|bytes| assert_eq!((u32_at(bytes, 0), bytes[4..].iter().all(|byte| *byte == 0x5A)), (0, true)));
        assert_eq!(doorbell::take(&mut page), Events::default());
    }
}

/// A vector alone, a level-triggered one, several, and none of another VMPL's.
#[test]
fn what_is_presented_leaves_the_page_of_its_vmpl() {
    let mut page = Shared::new(PAGE_SIZE);
    let mut take = |status: u32, irr: [u32; 7]| {
        page.host(|bytes| {
            bytes.fill(0xFF);
            put(bytes, 0x80, &status.to_le_bytes());
            irr.iter().enumerate().for_each(|(n, group)| put(bytes, 0x84 + 4 * n, &group.to_le_bytes()));
        });
        let presented = doorbell::take_presented(&mut page, Vmpl::Vmpl2);
        page.host(|bytes| assert!(bytes[..0x80].iter().chain(&bytes[0xA0..]).all(|byte| *byte == 0xFF)));
        assert_eq!(page.bytes()[0x80..0x84], [0; 4]);
        presented
    };
    let none = Presented::default();
    assert_eq!(take(0, [7; 7]), none);
    assert_eq!(take(0x23, [7; 7]), Presented { vectors: [0, 8, 0, 0, 0, 0, 0, 0], ..none });
    assert_eq!(take(0x423, [7; 7]), Presented { level: Some(0x23), ..none });
    assert_eq!(take(0x100, [7; 7]), Presented { nmi: true, ..none });
    let all = Presented { vectors: [1 << 31, 1, 2, 3, 4, 5, 6, 7 | 1 << 31], nmi: true, level: None };
    assert_eq!(take(1 << 31 | 0x41FF, [1, 2, 3, 4, 5, 6, 7]), all);
    assert_eq!(take(0x4000, [0; 7]), none);
}

#[test]
fn guest_request_results_are_told_apart() {
    use GuestRequestResult::{Busy, CertificatesTooSmall, Completed, FirmwareError, HypervisorError};
    let cases = [
        (None, 0, Completed),
        (None, 0x16, FirmwareError(0x16)),
        (None, 1 << 32, HypervisorError(1)),
        (None, 2 << 32, Busy),
        (None, 3 << 32, HypervisorError(3)),
        (Some((0x9000, 1)), 1 << 32, CertificatesTooSmall { pages: 0xB2 }),
        (Some((0x9000, 1)), 2 << 32 | 5, Busy),
        (Some((0x9000, 1)), 0, Completed),
    ];
    for (certificates, info2, expected) in cases {
        let mut ghcb = ghcb(|page| {
            honest(page);
            set(page, INFO2, info2);
        });
        assert_eq!(ghcb.guest_request(pages(certificates)), Ok(expected));
    }
}

#[test]
fn arguments_without_a_form_send_nothing() {
    let mut ghcb = ghcb(|_| panic!("the host was asked"));
    assert_eq!(ghcb.ap_create(ApCreation::OnInit, Vmpl::Vmpl2, 0, 0x7008, 1), Err(GhcbError::Argument));
    for (gpa, size) in [(0x1001, PageSize::Size4K), (0x1000, PageSize::Size2M), (1 << 52, PageSize::Size4K)] {
        let entry = PageStateEntry { gpa, size, state: PageState::Shared };
        assert_eq!(ghcb.page_state_change(&[entry]), Err(GhcbError::Argument));
    }
    assert_eq!(ghcb.page_state_change(&[]), Ok(()));
}

/// A host that does `stop` entries at an exit. Returns what it did, in order.
fn change_with_stops(count: u64, mut stop: impl FnMut() -> u16) -> (Result<(), GhcbError>, Vec<u64>) {
    let entries: Vec<_> = (0..count).map(entry).collect();
    let mut done = Vec::new();
    let result = ghcb(|page| {
        let (current, end) = (u16_at(page, 0x800), u16_at(page, 0x802));
        assert_eq!(u32_at(page, 0x804), 0, "reserved");
        let next = current.saturating_add(stop()).min(end + 1);
        done.extend((current..next).map(|index| u64_at(page, 0x808 + 8 * usize::from(index))));
        answer(page, &[]);
        put(page, 0x800, &next.to_le_bytes());
        // What the host scribbles over entries is of no concern.
        page[0x808..0xFF0].fill(0xEE);
    })
    .page_state_change(&entries);
    (result, done)
}

fn encoded(count: u64) -> Vec<u64> {
    (0..count).map(|index| 1 << 52 | (0x10_0000 + 0x1000 * index)).collect()
}

/// Every length of list, every point at which the host stops first; longer lists too.
#[test]
fn page_state_changes_survive_every_stop_point() {
    for count in 1..=PSC_MAX as u64 {
        for first in 0..=u16::try_from(count).unwrap() {
            let mut stops = [first].into_iter();
            let (result, done) = change_with_stops(count, || stops.next().unwrap_or(u16::MAX));
            assert!(result == Ok(()) && done == encoded(count), "{count} entries, first stop after {first}");
        }
    }
    for count in [254, 506, 507, 1000] {
        let (result, done) = change_with_stops(count, || 1);
        assert!(result == Ok(()) && done == encoded(count), "{count} entries one by one");
    }
}

#[test]
fn a_host_that_makes_no_progress_is_given_up() {
    let mut exits = 0;
    let (result, done) = change_with_stops(3, || {
        exits += 1;
        u16::from(exits < 3)
    });
    assert_eq!((result, done.len()), (Err(GhcbError::PageStateHeader), 2));
    assert_eq!(exits, 2 + 513, "512 idle exits are borne: a 2 MiB page may take as many");
}

/// Current entry gone back or too far, last entry changed, reserved set, and an error in info 2.
#[test]
fn a_header_that_breaks_the_rules_is_refused() {
    let entries: Vec<_> = (0..10).map(entry).collect();
    let change = |header: [u16; 4], info2: u64| {
        let mut exits = 0;
        ghcb(|page| {
            exits += 1;
            assert!(exits <= 2, "a header that breaks the rules is not the last");
            answer(page, &[(INFO2, info2)]);
            let header = if exits == 1 { [5, 9, 0, 0] } else { header };
            header.iter().enumerate().for_each(|(index, word)| put(page, 0x800 + 2 * index, &word.to_le_bytes()));
        })
        .page_state_change(&entries)
    };
    assert_eq!(change([10, 9, 0, 0], 0), Ok(()));
    for header in [
        [4, 9, 0, 0],
        [0, 9, 0, 0],
        [11, 9, 0, 0],
        [u16::MAX, 9, 0, 0],
        [10, 10, 0, 0],
        [10, 8, 0, 0],
        [10, 9, 1, 0],
        [10, 9, 0, 0x8000],
    ] {
        assert_eq!(change(header, 0), Err(GhcbError::PageStateHeader), "{header:?}");
    }
    for info2 in [1, 1 << 32, 0x100_0000_0000] {
        assert_eq!(change([10, 9, 0, 0], info2), Err(GhcbError::PageStateChange(info2)));
    }
}

#[test]
fn entries_are_encoded_as_the_specification_says() {
    let mut seen = Vec::new();
    let entries = [
        PageStateEntry { gpa: 0x40_0000, size: PageSize::Size2M, state: PageState::Private },
        PageStateEntry { gpa: 0xF_FFFF_FFFF_F000, size: PageSize::Size4K, state: PageState::Shared },
    ];
    ghcb(|page| {
        seen = vec![u64_at(page, 0x808), u64_at(page, 0x810)];
        honest(page);
    })
    .page_state_change(&entries)
    .expect("done");
    assert_eq!(seen, [1 << 56 | 1 << 52 | 0x40_0000, 2 << 52 | 0xF_FFFF_FFFF_F000]);
}

#[test]
fn needed_features_are_checked_on_the_page_too() {
    let mut ghcb = ghcb(|page| answer(page, &[(INFO2, 0b11)]));
    assert_eq!(ghcb.features(feature::MULTI_VMPL), Err(GhcbError::Features(0b10_0000)));
    assert_eq!(ghcb.features(feature::NEEDED), Ok(0b11), "what upstream's KVM has");
}

/// Channel, transport and GHCB together; the host clears SW_EXITINFO2's valid bit after the PSP has answered (PSP-07),
/// then delivers the kept answer.
#[test]
fn a_malformed_exit_costs_neither_key_nor_sequence_number() {
    for malformed in 0..=5 {
        let (request, response) = (Shared::new(PAGE_SIZE), Shared::new(PAGE_SIZE));
        let (mut psp, mut kept, mut exits) = (MockPsp::new(0), None, 0);
        let mut ghcb = ghcb(|page| {
            assert_eq!((u64_at(page, INFO1), u64_at(page, INFO2)), (0x5000, 0x6000));
            exits += 1;
            let shown = request.bytes();
            let sealed = kept.get_or_insert_with(|| (shown.clone(), psp.serve(&shown).expect("in sequence")));
            assert!(sealed.0 == shown, "the repetition is not identical");
            response.host(|bytes| bytes.copy_from_slice(&sealed.1));
            answer(page, &[]);
            if exits <= malformed {
                page[0x3F0 + INFO2 / 64] &= !(1 << (INFO2 / 8 % 8));
            }
        });
        let mut transport = GhcbTransport {
            ghcb: &mut ghcb,
            request: &mut request.clone(),
            answer: &mut response.clone(),
            pages: pages(None),
        };
        let mut channel = Channel::new(Vmpck::take(&mut KEY.clone(), 0).expect("a key"), 0);
        let mut payload = [0; 64];
        let got = channel.request(&mut transport, RequestType::TscInfo, b"tsc", &mut payload);
        match malformed {
            0..=3 => assert!(got == Ok(64) && payload[..] == hash(b"tsc")),
            _ => assert_eq!(got, Err(MessageError::Burned)),
        }
    }
}

/// The host shows "completed" but leaves the previous answer in the page: it was zeroed before the exit.
#[test]
fn leftovers_in_the_answer_page_are_wiped_before_each_exit() {
    let (request, response) = (Shared::new(PAGE_SIZE), Shared::new(PAGE_SIZE));
    response.host(|bytes| bytes.fill(0xEE));
    let mut ghcb = ghcb(|page| {
        response.host(|bytes| assert!(bytes.iter().all(|byte| *byte == 0)));
        answer(page, &[]);
    });
    let mut transport = GhcbTransport {
        ghcb: &mut ghcb,
        request: &mut request.clone(),
        answer: &mut response.clone(),
        pages: pages(None),
    };
    let mut channel = Channel::new(Vmpck::take(&mut KEY.clone(), 0).expect("a key"), 0);
    assert_eq!(channel.request(&mut transport, RequestType::TscInfo, b"tsc", &mut [0; 64]), Err(MessageError::Burned));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    /// Whatever the whole page holds after the exit: no panic, no byte read twice, and no success unless result and
    /// valid bits say so.
    #[test]
    fn random_pages_are_survived(page in prop::collection::vec(any::<u8>(), PAGE_SIZE), all_valid: bool, info1 in prop::option::of(0..4_u64), name in prop::sample::select(&NAMES[..])) {
        let mut ok_result = false;
        let got = ghcb(|shared| {
            shared.copy_from_slice(&page);
            if all_valid {
                shared[0x3F0..0x400].fill(0xFF);
            }
            if let Some(info1) = info1 {
                put(shared, INFO1, &info1.to_le_bytes());
            }
            ok_result = u32_at(shared, INFO1) == 0 && is_valid(shared, INFO1) && is_valid(shared, INFO2);
        }).call(name);
        prop_assert!(got.is_err() || ok_result);
    }
}
