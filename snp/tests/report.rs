//! Reports and certificate tables, with the committed mock chain of the software SEV-SNP machine.

use proptest::prelude::*;
use snp::message::MessageError;
use snp::message::certificates::{self, BadTable, CertificateTable};
use snp::message::report::parse_response;
use snp::report::REPORT_SIZE;
use snp::rmp::Vmpl;

const ARK: &[u8] = include_bytes!("../../tests/machine/psp/ark.der");
const ASK: &[u8] = include_bytes!("../../tests/machine/psp/ask.der");
const VCEK: &[u8] = include_bytes!("../../tests/machine/psp/vcek.der");
const CHIP_ID: &[u8; 64] = b"Quoin mock PSP: development only, the private key is public.    ";
const TCB: [u8; 8] = [4, 0, 0, 0, 0, 0, 24, 219];

type Bytes = [u8; REPORT_SIZE];

/// A version 3 report of the mock chip.
fn report() -> Bytes {
    let mut bytes = [0; REPORT_SIZE];
    bytes[0] = 3;
    bytes[0x34] = 1;
    bytes[0x50..0x90].fill(0xD4);
    bytes[0x90..0xC0].fill(0xAB);
    bytes[0x180..0x188].copy_from_slice(&TCB);
    bytes[0x1A0..0x1E0].copy_from_slice(CHIP_ID);
    bytes
}

/// A verified answer is still compared with the question.
#[test]
fn answers_that_do_not_fit_the_request_are_refused() {
    let report_data = [0xD4; 64];
    let answer = |change: fn(&mut Vec<u8>)| {
        let mut payload = vec![0; 0x20];
        payload[4..8].copy_from_slice(&0x4A0_u32.to_le_bytes());
        payload.extend(report());
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
        let payload = [&[0; 4][..], &0x4A0_u32.to_le_bytes(), &[0; 24], &report()].concat();
        let got = parse_response(&payload, &other, Vmpl::Vmpl0);
        assert_eq!(got.map(drop), Err(MessageError::Mismatch), "report data {index}");
    }
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
        prop_assert!(parse_response(&bytes, &[1; 64], Vmpl::Vmpl0).is_err());
    }
}
