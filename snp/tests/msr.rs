//! The MSR protocol against a host that lies.

use proptest::prelude::*;
use snp::ghcb::msr::{self, PageState, feature};
use snp::ghcb::{GhcbError, Hypervisor};
use snp::rmp::Vmpl;

/// A host that answers what the test says, and keeps the requests.
struct Host<F> {
    requests: Vec<u64>,
    answer: F,
}

impl<F: FnMut(u64) -> u64> Hypervisor for Host<F> {
    fn msr_call(&mut self, request: u64) -> u64 {
        self.requests.push(request);
        (self.answer)(request)
    }

    fn page_call(&mut self, _ghcb_gpa: u64) {
        unreachable!("the MSR protocol uses no page");
    }
}

fn host<F: FnMut(u64) -> u64>(answer: F) -> Host<F> {
    Host { requests: Vec::new(), answer }
}

const GPA: u64 = 0x80_0012_3000;

#[test]
fn requests_have_the_words_of_the_specification() {
    let mut log = host(|_| 0);
    let _ = msr::negotiate(&mut log, 51);
    let _ = msr::cpuid(&mut log, 0x8000_001F);
    let _ = msr::register_ghcb(&mut log, GPA);
    let _ = msr::page_state_change(&mut log, GPA, PageState::Private);
    let _ = msr::page_state_change(&mut log, GPA, PageState::Shared);
    let _ = msr::run_vmpl(&mut log, Vmpl::Vmpl2);
    let _ = msr::features(&mut log, 0);
    assert_eq!(
        log.requests,
        [
            0x002,
            0x8000_001F_0000_0004,
            0x80_0012_3012,
            0x0010_0080_0012_3014,
            0x0020_0080_0012_3014,
            0x0000_0002_0000_0016,
            0x080
        ]
    );
    assert_eq!(msr::termination(1, 3), 0x3_1100);
    assert_eq!(msr::termination(0xFF, 0xFF), 0xFF_F100, "a set has four bits");
}

/// All pairs of versions of a byte each, and the extremes of 16 bits.
#[test]
fn only_hosts_that_take_version_2_are_accepted() {
    let versions = || (0..=255_u16).chain([256, 258, 0x7FFF, 0xFFFE, 0xFFFF]);
    for (max, min) in versions().flat_map(|max| versions().map(move |min| (max, min))) {
        let word = u64::from(max) << 48 | u64::from(min) << 32 | 51 << 24 | 1;
        let got = msr::negotiate(&mut host(|_| word), 51);
        let expected = if min <= 2 && max >= 2 { Ok(()) } else { Err(GhcbError::Version { min, max }) };
        assert_eq!(got.map(drop), expected);
    }
}

#[test]
fn the_c_bit_must_be_that_of_the_cpuid_page() {
    for c_bit in 0..=255 {
        let word = 2 << 48 | 2 << 32 | u64::from(c_bit) << 24 | 1;
        let got = msr::negotiate(&mut host(|_| word), 51).map(|information| information.c_bit);
        assert_eq!(got, if c_bit == 51 { Ok(51) } else { Err(GhcbError::CBit(c_bit)) });
    }
}

/// All 64 single-bit flips of the answer.
#[test]
fn registration_must_be_echoed_exactly() {
    assert_eq!(msr::register_ghcb(&mut host(|request| request + 1), GPA), Ok(()));
    for bit in 0..64 {
        let got = msr::register_ghcb(&mut host(|request| (request + 1) ^ 1 << bit), GPA);
        assert!(matches!(got, Err(GhcbError::MsrAnswer(_))), "bit {bit}");
    }
    for offset in 1..0x1000 {
        let mut silent = host(|request| request + 1);
        assert_eq!(msr::register_ghcb(&mut silent, GPA + offset), Err(GhcbError::Argument));
        assert!(silent.requests.is_empty());
    }
}

#[test]
fn each_bit_flip_of_an_answer_without_data_is_refused() {
    for bit in 0..64 {
        let run = msr::run_vmpl(&mut host(|_| 0x017 ^ 1 << bit), Vmpl::Vmpl2);
        assert!(matches!(run, Err(GhcbError::MsrAnswer(_))), "run VMPL, bit {bit}");
        let change = msr::page_state_change(&mut host(|_| 0x015 ^ 1 << bit), GPA, PageState::Private);
        assert!(change.is_err(), "page state change, bit {bit}");
    }
    assert_eq!(msr::run_vmpl(&mut host(|_| 0x017), Vmpl::Vmpl2), Ok(()));
    assert_eq!(msr::page_state_change(&mut host(|_| 0x015), GPA, PageState::Private), Ok(()));
    assert_eq!(
        msr::page_state_change(&mut host(|_| 5 << 32 | 0x015), GPA, PageState::Private),
        Err(GhcbError::PageStateChange(5 << 20))
    );
}

#[test]
fn a_page_that_the_word_has_no_room_for_is_not_asked_about() {
    for gpa in [GPA + 1, GPA + 0x800, GPA | 0xFFF, 1 << 52, GPA | 1 << 63] {
        let mut silent = host(|_| 0x015);
        assert_eq!(msr::page_state_change(&mut silent, gpa, PageState::Shared), Err(GhcbError::Argument), "{gpa:#x}");
        assert!(silent.requests.is_empty());
    }
    let last = (1 << 52) - 0x1000;
    assert_eq!(msr::page_state_change(&mut host(|_| 0x015), last, PageState::Shared), Ok(()));
}

/// GHCB specification, 4.1.1, table 7.
#[test]
fn features_have_the_bits_of_the_specification() {
    use feature::{
        AP_CREATION, APIC_ID_LIST, MULTI_VMPL, PAGE_STATE_CHANGE, RESTRICTED_INJECTION, RESTRICTED_INJECTION_TIMER, SNP,
    };
    let from_bit_0 = [
        SNP,
        AP_CREATION,
        RESTRICTED_INJECTION,
        RESTRICTED_INJECTION_TIMER,
        APIC_ID_LIST,
        MULTI_VMPL,
        PAGE_STATE_CHANGE,
    ];
    assert_eq!(from_bit_0, [1, 2, 4, 8, 16, 32, 64]);
}

/// Every combination of the first seven features.
#[test]
fn missing_features_are_named() {
    for features in 0..128 {
        let got = msr::features(&mut host(|_| features << 12 | 0x081), feature::NEEDED);
        let missing = 0b11 & !features;
        assert_eq!(got, if missing == 0 { Ok(features) } else { Err(GhcbError::Features(missing)) });
    }
}

#[test]
fn cpuid_asks_for_each_register_and_checks_which_one_came() {
    let mut honest = host(|request| (0xAA00 + ((request & 0xC000_0000) >> 30)) << 32 | request & 0xC000_0000 | 5);
    let got = msr::cpuid(&mut honest, 1).expect("an honest host");
    assert_eq!([got.eax, got.ebx, got.ecx, got.edx], [0xAA00, 0xAA01, 0xAA02, 0xAA03]);
    assert_eq!(msr::cpuid(&mut host(|_| 5), 1), Err(GhcbError::MsrAnswer(5)), "EAX for all four registers");
}

proptest! {
    /// No answer makes any request panic, and an answer of the wrong kind is refused.
    #[test]
    fn random_answers_are_survived(word in any::<u64>(), kind in 0..0x120_u64) {
        let word = word & !0xFFF | kind;
        let refused = |kinds: u64, result: Result<(), GhcbError>| kind == kinds || result.is_err();
        prop_assert!(refused(0x001, msr::negotiate(&mut host(|_| word), 51).map(drop)));
        prop_assert!(refused(0x005, msr::cpuid(&mut host(|_| word), 0).map(drop)));
        prop_assert!(refused(0x013, msr::register_ghcb(&mut host(|_| word), GPA)));
        prop_assert!(refused(0x015, msr::page_state_change(&mut host(|_| word), GPA, PageState::Shared)));
        prop_assert!(refused(0x017, msr::run_vmpl(&mut host(|_| word), Vmpl::Vmpl2)));
        prop_assert!(refused(0x081, msr::features(&mut host(|_| word), 0).map(drop)));
    }
}
