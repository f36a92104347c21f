//! Reports, certificate tables and chains, with the committed mock chain of the software SEV-SNP machine and reports
//! signed here.

use p384::ecdsa::signature::hazmat::PrehashSigner;
use p384::ecdsa::{Signature, SigningKey};
use proptest::prelude::*;
use sha2::{Digest, Sha384};
use snp::message::MessageError;
use snp::message::certificates::{self, BadTable, CertificateTable};
use snp::message::report::parse_response;
use snp::report::{REPORT_SIZE, Report, SIGNED_SIZE, SignatureError, TcbLayout, TcbVersion};
use snp::rmp::Vmpl;
use snp::verify::{ChainError, ReportError, Role, Vcek, verify_chain};

const ARK: &[u8] = include_bytes!("../../tests/machine/psp/ark.der");
const ASK: &[u8] = include_bytes!("../../tests/machine/psp/ask.der");
const VCEK: &[u8] = include_bytes!("../../tests/machine/psp/vcek.der");
const SCALAR: &[u8; 48] = include_bytes!("../../tests/machine/psp/vcek.scalar");
const CHIP_ID: &[u8; 64] = b"Quoin mock PSP: development only, the private key is public.    ";
const TCB: [u8; 8] = [4, 0, 0, 0, 0, 0, 24, 219];
/// November 2026, within the mock certificates' validity.
const NOW: u64 = 1_795_000_000;

type Bytes = [u8; REPORT_SIZE];

/// A version 3 report of the mock chip, changed, and then signed.
fn signed_report(change: impl FnOnce(&mut Bytes)) -> Report {
    let mut bytes = [0; REPORT_SIZE];
    bytes[0] = 3;
    bytes[0x34] = 1;
    bytes[0x50..0x90].fill(0xD4);
    bytes[0x90..0xC0].fill(0xAB);
    bytes[0x180..0x188].copy_from_slice(&TCB);
    bytes[0x1A0..0x1E0].copy_from_slice(CHIP_ID);
    change(&mut bytes);
    let key = SigningKey::from_slice(SCALAR).expect("the committed scalar");
    let signature: Signature = key.sign_prehash(&Sha384::digest(&bytes[..0x2A0])).expect("signs");
    let (r, s) = signature.split_bytes();
    for (at, scalar) in [(0x2A0, r), (0x2E8, s)] {
        bytes[at..at + 48].copy_from_slice(&scalar);
        bytes[at..at + 48].reverse();
    }
    Report::parse(&bytes).expect("long enough")
}

fn chip() -> Vcek {
    verify_chain(ARK, ARK, ASK, VCEK, NOW).expect("the committed chain")
}

#[test]
fn a_report_under_the_committed_chain_is_verified() {
    let chip = chip();
    assert_eq!(chip.verify_report(&signed_report(|_| ())), Ok(()));
    assert_eq!((chip.key().len(), chip.tcb()), (97, TcbVersion(TCB).parts(TcbLayout::Milan)));
}

/// A bit in every byte of the report, its signature included.
#[test]
fn a_flipped_bit_in_each_byte_of_a_report_is_refused() {
    let chip = chip();
    let report = signed_report(|_| ());
    let bytes: Bytes = zerocopy::transmute!(report);
    for bit in (0..8 * REPORT_SIZE).filter(|bit| bit % 8 == bit / 8 % 8) {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let got = chip.verify_report(&Report::parse(&flipped).expect("long enough"));
        assert!(matches!(got, Err(ReportError::Signature(_))), "bit {bit}: {got:?}");
    }
}

#[test]
fn the_form_of_the_signature_is_checked() {
    let key = chip().key().to_vec();
    let verdict = |offset: usize, value: u8| {
        let mut bytes: Bytes = zerocopy::transmute!(signed_report(|_| ()));
        bytes[offset] = value;
        Report::parse(&bytes).expect("long enough").verify(&key)
    };
    for offset in [0x2A0 + 48, 0x2A0 + 71, 0x2E8 + 48, 0x2E8 + 71, 0x330, REPORT_SIZE - 1] {
        assert_eq!(verdict(offset, 1), Err(SignatureError::Form), "offset {offset:#x}");
    }
    assert_eq!(verdict(0x34, 2), Err(SignatureError::Algorithm(2)));
    assert_eq!(verdict(0x50, 0), Err(SignatureError::Wrong));
    assert_eq!(signed_report(|_| ()).verify(&[4; 97]), Err(SignatureError::Key));
}

#[test]
fn a_report_of_another_chip_tcb_or_key_is_refused() {
    let verdict = |change: fn(&mut Bytes)| chip().verify_report(&signed_report(change));
    assert_eq!(verdict(|bytes| bytes[0x1A0] ^= 1), Err(ReportError::ChipId));
    assert_eq!(verdict(|bytes| bytes[0x1A0..0x1E0].fill(0)), Err(ReportError::ChipId));
    assert_eq!(verdict(|bytes| bytes[0x48] = 1 << 2), Err(ReportError::SigningKey(1)));
    for (part, offset) in [("boot loader", 0x180), ("TEE", 0x181), ("SNP", 0x186), ("microcode", 0x187)] {
        let got = chip().verify_report(&signed_report(|bytes| bytes[offset] += 1));
        assert!(matches!(got, Err(ReportError::Tcb { .. })), "{part}");
    }
}

#[test]
fn only_the_trusted_root_and_the_right_places_are_accepted() {
    let verdict = |root, ark, ask, vcek| verify_chain(root, ark, ask, vcek, NOW).map(drop);
    assert_eq!(verdict(ASK, ARK, ASK, VCEK), Err(ChainError::Root));
    assert_eq!(verdict(ASK, ASK, ASK, VCEK), Err(ChainError::Issuer(Role::Ark)));
    assert_eq!(verdict(ARK, ARK, VCEK, VCEK), Err(ChainError::Issuer(Role::Ask)));
    assert_eq!(verdict(ARK, ARK, ASK, ASK), Err(ChainError::Issuer(Role::Vcek)));
    assert_eq!(verdict(ARK, ARK, ARK, VCEK), Err(ChainError::Issuer(Role::Vcek)));
    assert_eq!(verdict(ARK, ARK, ASK, &VCEK[1..]), Err(ChainError::Form(Role::Vcek)));
}

#[test]
fn certificates_are_valid_in_their_time_only() {
    assert_eq!(verify_chain(ARK, ARK, ASK, VCEK, 0), Err(ChainError::Time(Role::Ark)));
    assert!(matches!(verify_chain(ARK, ARK, ASK, VCEK, 1 << 40), Err(ChainError::Time(Role::Ark))));
}

/// A bit in every byte of ASK and VCEK.
#[test]
fn each_flipped_byte_of_a_certificate_is_refused() {
    for (role, der) in [(Role::Ask, ASK), (Role::Vcek, VCEK)] {
        for index in 0..der.len() {
            let mut flipped = der.to_vec();
            flipped[index] ^= 1 << (index % 8);
            let got = match role {
                Role::Ask => verify_chain(ARK, ARK, &flipped, VCEK, NOW),
                _ => verify_chain(ARK, ARK, ASK, &flipped, NOW),
            };
            assert!(got.is_err(), "{role:?}, byte {index}");
        }
    }
}

/// PSP-10: a verified answer is still compared with the question.
#[test]
fn answers_that_do_not_fit_the_request_are_refused() {
    let report_data = [0xD4; 64];
    let answer = |change: fn(&mut Vec<u8>)| {
        let mut payload = vec![0; 0x20];
        payload[4..8].copy_from_slice(&0x4A0_u32.to_le_bytes());
        let report: Bytes = zerocopy::transmute!(signed_report(|_| ()));
        payload.extend(report);
        change(&mut payload);
        parse_response(&payload, &report_data, Vmpl::Vmpl0).map(drop)
    };
    assert_eq!(answer(|_| ()), Ok(()));
    assert_eq!(answer(|payload| payload.push(0)), Ok(()), "later firmware may append");
    assert_eq!(answer(|payload| payload[0] = 0x16), Err(MessageError::Status(0x16)));
    assert_eq!(answer(|payload| payload[0] = 0x27), Err(MessageError::Status(0x27)));
    assert_eq!(answer(|payload| payload[4] += 1), Err(MessageError::AnswerSize(0x4C0)));
    assert_eq!(answer(|payload| payload.truncate(0x4BF)), Err(MessageError::AnswerSize(0x4BF)));
    assert_eq!(answer(|payload| payload.truncate(0x1F)), Err(MessageError::AnswerSize(0x1F)));
    assert_eq!(answer(|payload| payload[0x20] = 1), Err(MessageError::Mismatch), "version 1");
    assert_eq!(answer(|payload| payload[0x20 + 0x30] = 1), Err(MessageError::Mismatch), "VMPL 1");
    for index in 0..64 {
        let mut other = report_data;
        other[index] ^= 0x80;
        let payload =
            [&[0; 4][..], &0x4A0_u32.to_le_bytes(), &[0; 24], &zerocopy::transmute!(signed_report(|_| ())) as &Bytes]
                .concat();
        let got = parse_response(&payload, &other, Vmpl::Vmpl0);
        assert_eq!(got.map(drop), Err(MessageError::Mismatch), "report data {index}");
    }
}

#[test]
fn tcb_parts_follow_the_product() {
    let tcb = TcbVersion([1, 2, 3, 4, 5, 6, 7, 8]);
    let milan = tcb.parts(TcbLayout::Milan);
    assert_eq!((milan.fmc, milan.boot_loader, milan.tee, milan.snp, milan.microcode), (None, 1, 2, 7, 8));
    let turin = tcb.parts(TcbLayout::Turin);
    assert_eq!((turin.fmc, turin.boot_loader, turin.tee, turin.snp, turin.microcode), (Some(1), 2, 3, 4, 8));
}

#[test]
fn the_signature_covers_what_stands_before_it() {
    assert_eq!(signed_report(|_| ()).signed_bytes().len(), 0x2A0);
    assert_eq!(SIGNED_SIZE, 0x2A0);
}

/// A table of the three mock certificates, as the host writes it: GUIDs in the order of their text.
fn table() -> Vec<u8> {
    let guids = [
        0x63da758d_e664_4564_adc5_f4b93be8accd_u128,
        0x4ab7b379_bbac_4fe4_a02f_05aef327c782,
        0xc0b406a4_a803_4952_9743_3fb6014cd0ae,
    ];
    let mut head = Vec::new();
    let mut data = Vec::<u8>::new();
    for (guid, der) in guids.into_iter().zip([VCEK, ASK, ARK]) {
        head.extend(guid.to_be_bytes());
        head.extend(u32::try_from(96 + data.len()).unwrap().to_le_bytes());
        head.extend(u32::try_from(der.len()).unwrap().to_le_bytes());
        data.extend(der);
    }
    head.resize(96, 0);
    head.extend(data);
    head
}

#[test]
fn certificates_are_found_by_kind() {
    let mut buffer = table();
    let used = buffer.len();
    buffer.resize(8192, 0xEE);
    let table = CertificateTable::parse(&buffer).expect("well formed");
    assert_eq!(table.find(certificates::VCEK), Some(VCEK));
    assert_eq!(table.find(certificates::ASK), Some(ASK));
    assert_eq!(table.find(certificates::ARK), Some(ARK));
    assert_eq!((table.find(certificates::VLEK), table.used(), table.iter().count()), (None, used, 3));
}

/// Every length to which the host may cut the buffer.
#[test]
fn a_truncated_certificate_table_is_refused() {
    let buffer = table();
    for len in 0..buffer.len() {
        assert_eq!(CertificateTable::parse(&buffer[..len]).map(drop), Err(BadTable), "{len} bytes");
    }
}

#[test]
fn a_zero_table_has_no_certificates_and_an_endless_one_is_refused() {
    let empty = CertificateTable::parse(&[0; 24]).expect("none");
    assert_eq!((empty.iter().count(), empty.used()), (0, 0));
    let mut entry = [0; 24];
    entry[0] = 1;
    assert_eq!(CertificateTable::parse(&entry.repeat(1000)).map(drop), Err(BadTable));
    for (offset, length) in [(u32::MAX, 1), (1, u32::MAX), (u32::MAX, u32::MAX), (48, 1)] {
        let mut wild = [entry, [0; 24]].concat();
        wild[16..20].copy_from_slice(&u32::to_le_bytes(offset));
        wild[20..24].copy_from_slice(&u32::to_le_bytes(length));
        assert_eq!(CertificateTable::parse(&wild).map(drop), Err(BadTable));
    }
}

proptest! {
    /// No bytes make the parsers panic.
    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(table) = CertificateTable::parse(&bytes) {
            prop_assert!(table.used() <= bytes.len());
        }
        prop_assert!(verify_chain(&bytes, &bytes, ASK, VCEK, NOW).is_err());
        prop_assert!(parse_response(&bytes, &[1; 64], Vmpl::Vmpl0).is_err());
    }
}
