//! The SVSM's structures, with the values that svsm-snp.md names.

use proptest::prelude::*;
use sha2::{Digest, Sha512};
use snp::PAGE_SIZE;
use snp::guid::Guid;
use snp::rmp::{PageSize, RmpError};
use snp::svsm::attestation::{
    AttestAnswer, AttestServices, AttestSingleService, VTPM_SERVICE, report_data, services_manifest,
};
use snp::svsm::core_protocol::{DepositEntry, ProtocolQuery, PvalidateEntry, PvalidateHead, room_for_entries};
use snp::svsm::vtpm::{
    COMMAND_MAX, FEATURES, PAGES_MAX, PLATFORM_COMMANDS, PageList, RESPONSE_MAX, call, parse_request, response_head,
};
use snp::svsm::{CallId, ResultCode, within_page};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn result_codes_have_their_values() {
    let codes = [
        (ResultCode::SUCCESS, 0),
        (ResultCode::INCOMPLETE, 0x8000_0000),
        (ResultCode::UNSUPPORTED_PROTOCOL, 0x8000_0001),
        (ResultCode::UNSUPPORTED_CALL, 0x8000_0002),
        (ResultCode::INVALID_ADDRESS, 0x8000_0003),
        (ResultCode::INVALID_FORMAT, 0x8000_0004),
        (ResultCode::INVALID_PARAMETER, 0x8000_0005),
        (ResultCode::INVALID_REQUEST, 0x8000_0006),
        (ResultCode::BUSY, 0x8000_0007),
        (ResultCode::REPORT_FAILED, 0x8000_1000),
        (ResultCode::from_rmp(RmpError::Input), 0x8000_1001),
        (ResultCode::from_rmp(RmpError::Permission), 0x8000_1002),
        (ResultCode::from_rmp(RmpError::InUse), 0x8000_1003),
        (ResultCode::from_rmp(RmpError::SizeMismatch), 0x8000_1006),
        (ResultCode::FAIL_UNCHANGED, 0x8000_1010),
    ];
    codes.into_iter().for_each(|(code, rax)| assert_eq!(code.rax(), rax));
}

#[test]
fn registers_are_split() {
    assert_eq!(CallId::from_rax(0x0000_0002_0000_0001), CallId { protocol: 2, call: 1 });
    let query = ProtocolQuery::from_rcx(1 << 32 | 1);
    assert_eq!((query, query.answer(1, 1)), (ProtocolQuery { protocol: 1, version: 1 }, 1 << 32 | 1));
    assert_eq!(ProtocolQuery { protocol: 0, version: 2 }.answer(1, 1), 0);
    assert_eq!(ProtocolQuery { protocol: 0, version: 0 }.answer(1, 1), 0);
}

#[test]
fn a_structure_stays_in_its_page() {
    for (gpa, len, expected) in [
        (0, 4096, true),
        (1, 4096, false),
        (0, 4097, false),
        (0, 0, false),
        (4095, 1, true),
        (4095, 2, false),
        (u64::MAX, 1, true),
        (u64::MAX, 2, false),
        (0x1FC0, 0x40, true),
        (0x1FC1, 0x40, false),
        (0, u64::MAX, false),
    ] {
        assert_eq!(within_page(gpa, len), expected, "{gpa:#x}, {len:#x}");
    }
}

/// At every offset of a page, the count that just fits and the next one.
#[test]
fn a_pvalidate_list_stays_in_its_page() {
    let head = |count: u16, next: u16, reserved: u8| {
        let bytes = [count.to_le_bytes(), next.to_le_bytes(), [reserved, 0], [0, 0]].concat();
        PvalidateHead::read_from_bytes(&bytes).unwrap()
    };
    let bad = Err(ResultCode::INVALID_PARAMETER);
    for offset in (0..PAGE_SIZE).step_by(8) {
        let gpa = 0x7000 + offset as u64;
        let room = u16::try_from((4096 - offset - 8) / 8).unwrap();
        assert_eq!(head(room + 1, 0, 0).check(gpa), bad, "offset {offset:#x}");
        if room > 0 {
            assert_eq!(head(room, room - 1, 0).check(gpa), Ok(()), "offset {offset:#x}");
            assert_eq!(head(room, room, 0).check(gpa), bad);
        }
        assert_eq!(head(1, 0, 0).check(gpa + 4), bad);
    }
    assert_eq!(head(0, 0, 0).check(0x7000), bad);
    assert_eq!(head(1, 0, 1).check(0x7000), bad);
    assert_eq!(head(510, 0, 0).check(0x7008), Ok(()), "the calling area holds 510 entries");
    assert_eq!(head(511, 0, 0).check(0x7008), bad);
}

#[test]
fn pvalidate_entries_are_decoded() {
    let entry = |bits| PvalidateEntry::decode(bits);
    assert_eq!(
        entry(0x12_3004),
        Ok(PvalidateEntry { gpa: 0x12_3000, size: PageSize::Size4K, validate: true, ignore_carry: false })
    );
    assert_eq!(
        entry(0x40_0009),
        Ok(PvalidateEntry { gpa: 0x40_0000, size: PageSize::Size2M, validate: false, ignore_carry: true })
    );
    for low in 0..0x1000 {
        let valid = low & 2 == 0 && low & 0xFF0 == 0;
        assert_eq!(entry(0x40_0000 | low).is_ok(), valid, "{low:#x}");
    }
    assert_eq!(entry(0x12_3001), Err(ResultCode::INVALID_PARAMETER), "a 2 MiB page that is not aligned");
}

#[test]
fn deposit_entries_are_decoded() {
    let entry = |bits| DepositEntry::decode(bits);
    assert_eq!(entry(0x12_3000), Ok(DepositEntry { gpa: 0x12_3000, size: PageSize::Size4K }));
    assert_eq!(entry(0x40_0001), Ok(DepositEntry { gpa: 0x40_0000, size: PageSize::Size2M }));
    for low in 0..0x1000 {
        assert_eq!(entry(0x40_0000 | low).is_ok(), low < 2, "{low:#x}");
    }
    assert_eq!(entry(0x12_3001), Err(ResultCode::INVALID_PARAMETER), "a 2 MiB page that is not aligned");
}

#[test]
fn a_list_has_room_up_to_the_end_of_its_page() {
    let rooms = [0x7000, 0x7008, 0x7ff0, 0x7ff8, 0x7001, 0x7004].map(room_for_entries);
    assert_eq!(rooms, [511, 510, 1, 0, 0, 0]);
}

/// SVSM specification, result codes: bits 29:0 are the pages, and bit 30 says what they are.
#[test]
fn the_code_that_asks_for_memory_has_the_pages_in_it() {
    assert_eq!(ResultCode::memory_wanted(0x41).rax(), 0x4000_0041);
    assert_eq!(ResultCode::memory_wanted(u32::MAX).rax(), 0x7FFF_FFFF);
}

fn operation() -> AttestServices {
    let mut operation = AttestServices::read_from_bytes(&[0; 0x40]).unwrap();
    operation.report_gpa.set(0x1000);
    operation.report_size.set(0x4A0);
    operation.nonce_gpa.set(0x2000);
    operation.nonce_size.set(64);
    operation.manifest_gpa.set(0x3000);
    operation.manifest_size.set(0x1000);
    operation
}

/// The reserved bytes of both structures, each alone.
#[test]
fn reserved_bytes_of_attestation_operations_must_be_zero() {
    let single = [operation().as_bytes(), &[0; 0x18]].concat();
    let reserved: Vec<usize> =
        (0x0C..0x10).chain(0x1A..0x20).chain(0x2C..0x30).chain(0x3C..0x40).chain(0x54..0x58).collect();
    for offset in 0..0x58 {
        let mut bytes = single.clone();
        bytes[offset] ^= 0x80;
        let got = AttestSingleService::read_from_bytes(&bytes).unwrap().check();
        if reserved.contains(&offset) {
            assert_eq!(got, Err(ResultCode::INVALID_PARAMETER), "offset {offset:#x}");
        }
    }
    assert_eq!(AttestSingleService::read_from_bytes(&single).unwrap().check(), Ok(()));
}

/// A nonce that is a byte shorter or longer would give its REPORT_DATA to another manifest.
#[test]
fn a_nonce_has_64_bytes() {
    for size in 0..=u16::MAX {
        let expected = if size == 64 { Ok(()) } else { Err(ResultCode::INVALID_PARAMETER) };
        let mut operation = operation();
        operation.nonce_size.set(size);
        assert_eq!(operation.check(), expected, "{size} bytes");
    }
}

#[test]
fn buffers_are_page_aligned_and_nonces_stay_in_a_page() {
    let verdict = |change: fn(&mut AttestServices)| {
        let mut operation = operation();
        change(&mut operation);
        operation.check()
    };
    let bad = Err(ResultCode::INVALID_PARAMETER);
    assert_eq!(verdict(|_| ()), Ok(()));
    assert_eq!(verdict(|op| op.report_gpa.set(0x1008)), bad);
    assert_eq!(verdict(|op| op.manifest_gpa.set(0x3001)), bad);
    assert_eq!(verdict(|op| op.certificates_gpa.set(0x4001)), Ok(()), "no certificates are wanted");
    assert_eq!(verdict(|op| (op.certificates_gpa.set(0x4001), op.certificates_size.set(1)).0), bad);
    assert_eq!(verdict(|op| op.nonce_gpa.set(0x2FC0)), Ok(()));
    assert_eq!(verdict(|op| op.nonce_gpa.set(0x2FC1)), bad);
}

#[test]
fn answers_must_fit_the_buffers() {
    let answer = AttestAnswer { report: 0x4A0, manifest: 0x1000, certificates: 0x2000 };
    let mut operation = operation();
    assert_eq!(answer.fits(&operation), ResultCode::SUCCESS, "no certificates are wanted");
    operation.certificates_size.set(0x1FFF);
    assert_eq!(answer.fits(&operation), ResultCode::INVALID_PARAMETER);
    operation.certificates_size.set(0x2000);
    assert_eq!(answer.fits(&operation), ResultCode::SUCCESS);
    for short in [AttestAnswer { report: 0x4A1, ..answer }, AttestAnswer { manifest: 0x1001, ..answer }] {
        assert_eq!(short.fits(&operation), ResultCode::INVALID_PARAMETER);
    }
}

#[test]
fn the_services_manifest_lists_each_service() {
    let mut out = [0xEE; 256];
    let other = Guid::from_bytes([7; 16]);
    let len = services_manifest(&[(VTPM_SERVICE, b"public"), (other, b"x")], &mut out);
    assert_eq!(len, Some(24 + 48 + 7));
    let guid = [0xbb, 0x9e, 0x84, 0x63, 0x92, 0x3d, 0x70, 0x46, 0xa1, 0xff, 0x58, 0xf9, 0xc9, 0x4b, 0x87, 0xbb];
    assert_eq!(out[..24], [&guid[..], &[79, 0, 0, 0, 2, 0, 0, 0]].concat());
    assert_eq!(out[24..48], [&VTPM_SERVICE.to_bytes()[..], &[72, 0, 0, 0, 6, 0, 0, 0]].concat());
    assert_eq!(out[48..72], [&[7; 16][..], &[78, 0, 0, 0, 1, 0, 0, 0]].concat());
    assert_eq!((&out[72..79], out[79]), (&b"publicx"[..], 0xEE));
    for short in 0..79 {
        assert_eq!(services_manifest(&[(VTPM_SERVICE, b"public"), (other, b"x")], &mut out[..short]), None);
    }
}

#[test]
fn report_data_is_the_hash_of_nonce_and_manifest() {
    let both = [[b'n'; 64].as_slice(), b"manifest"].concat();
    assert_eq!(report_data(&[b'n'; 64], b"manifest")[..], Sha512::digest(both)[..]);
}

/// Every size up to the page, and those beyond.
#[test]
fn vtpm_requests_of_every_size_are_judged() {
    for size in (0..=4096).chain([0x1_0000, 0x7FFF_FFFF, u32::MAX]) {
        let mut page = [0x5A; PAGE_SIZE];
        page[..9].copy_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0, 0]);
        page[5..9].copy_from_slice(&size.to_le_bytes());
        match parse_request(&page) {
            Ok(command) => assert!(command.len() == size as usize && size as usize <= COMMAND_MAX),
            Err(code) => {
                assert!(code == ResultCode::INVALID_PARAMETER && size as usize > COMMAND_MAX)
            }
        }
    }
    assert_eq!((COMMAND_MAX, RESPONSE_MAX, PLATFORM_COMMANDS), (4087, 4092, 0x100));
}

#[test]
fn other_commands_and_localities_are_refused() {
    let judge = |command: u32, locality: u8| {
        let mut page = [0; PAGE_SIZE];
        page[..4].copy_from_slice(&command.to_le_bytes());
        page[4] = locality;
        parse_request(&page).map(<[u8]>::len)
    };
    assert_eq!(judge(8, 0), Ok(0));
    for locality in 1..=255 {
        assert_eq!(judge(8, locality), Err(ResultCode::INVALID_PARAMETER));
    }
    for command in (0..=0x1_0000).chain([u32::MAX]).filter(|command| *command != 8) {
        let expected =
            if (1..=21).contains(&command) { ResultCode::UNSUPPORTED_CALL } else { ResultCode::INVALID_PARAMETER };
        assert_eq!(judge(command, 0), Err(expected), "{command}");
    }
}

/// A list of `count` pages that are all right, as its bytes are in memory.
fn page_list(size: u32, count: u16) -> [u8; 0x90] {
    let mut bytes = [0; 0x90];
    bytes[0] = 8;
    bytes[8..0xC].copy_from_slice(&size.to_le_bytes());
    bytes[0xC..0xE].copy_from_slice(&count.to_le_bytes());
    for (at, entry) in bytes[0x10..].chunks_mut(8).enumerate().take(count.into()) {
        entry.copy_from_slice(&(0x10_0000 + at as u64 * 0x1000).to_le_bytes());
    }
    bytes
}

fn judged(bytes: &[u8; 0x90]) -> Result<(usize, Vec<u64>), ResultCode> {
    let list = PageList::read_from_bytes(bytes).unwrap();
    list.check(0x20_0000).map(|(size, pages)| (size, pages.iter().map(|gpa| gpa.get()).collect()))
}

#[test]
fn lists_of_every_count_and_size_are_judged() {
    assert_eq!((FEATURES, call::CMD_PAGES, PAGES_MAX), (1 << 63, 0x8000_0001, 16));
    for count in (0..=16).chain([17, 255, 256, u16::MAX]) {
        for size in [0, 1, 4095, 4096, 4097, 8192, 8193, 65_536, 65_537, u32::MAX] {
            let judged = judged(&page_list(size, count));
            if (1..=16).contains(&count) && size <= u32::from(count) * 4096 {
                let pages = (0..u64::from(count)).map(|at| 0x10_0000 + at * 0x1000).collect();
                assert_eq!(judged, Ok((size as usize, pages)));
            } else {
                assert_eq!(judged, Err(ResultCode::INVALID_PARAMETER), "{count} pages, {size} bytes");
            }
        }
    }
}

/// Each bit of a list that is right: only the size, and the addresses as long as the pages are different ones, can be
/// others.
#[test]
fn every_flipped_bit_of_a_list_is_judged() {
    let right = page_list(100, 3);
    assert!(judged(&right).is_ok());
    for bit in 0..right.len() * 8 {
        let mut list = right;
        list[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit {
            // 9, 10 and 12 are commands of the simulator's.
            0..=2 => Err(ResultCode::UNSUPPORTED_CALL),
            // 100 and another bit up to that of 8,192.
            0x40..=0x4D => Ok(()),
            // Each of the first two bits of a page number makes a page another one of the list.
            0x80..0x140 if !matches!(bit - 0x80, 12 | 13 | 0x4C | 0x8D) && bit % 64 >= 12 => Ok(()),
            _ => Err(ResultCode::INVALID_PARAMETER),
        };
        assert_eq!(judged(&list).map(drop), expected, "bit {bit:#x}");
    }
}

#[test]
fn responses_are_headed_by_their_size() {
    assert_eq!(response_head(0x1234 & 0xFFF), Some([0x34, 2, 0, 0]));
    assert_eq!((response_head(4092), response_head(4093)), (Some([0xFC, 0xF, 0, 0]), None));
}

proptest! {
    /// Nothing that a guest writes makes a parser panic.
    #[test]
    fn random_structures_are_survived(bytes in prop::collection::vec(any::<u8>(), PAGE_SIZE), gpa: u64, len: u64) {
        let page: snp::Page = bytes.clone().try_into().unwrap();
        let _ = parse_request(&page);
        let _ = PageList::read_from_prefix(&bytes).unwrap().0.check(gpa);
        let _ = AttestSingleService::read_from_prefix(&bytes).unwrap().0.check();
        let _ = PvalidateHead::read_from_prefix(&bytes).unwrap().0.check(gpa);
        let _ = PvalidateEntry::decode(gpa);
        prop_assert!(!within_page(gpa, len) || gpa / 4096 == (gpa + (len - 1)) / 4096);
    }
}
