//! TPM2_GetCapability (Part 3, 30.2).

mod harness;
use harness::codes::{HANDLE, OWNER, PLATFORM, VALUE, param};
use harness::{Fixture, Outcome, tpm2b};
use proptest::prelude::{ProptestConfig, proptest};

const GET_CAPABILITY: u32 = 0x17a;
const ALGS: u32 = 0;
const HANDLES: u32 = 1;
const COMMANDS: u32 = 2;
const PP_COMMANDS: u32 = 3;
const AUDIT_COMMANDS: u32 = 4;
const PCRS: u32 = 5;
const TPM_PROPERTIES: u32 = 6;
const PCR_PROPERTIES: u32 = 7;
const ECC_CURVES: u32 = 8;
const AUTH_POLICIES: u32 = 9;
const ACT: u32 = 10;

fn raw(tpm: &mut Fixture, capability: u32, property: u32, count: u32) -> Outcome {
    tpm.run(GET_CAPABILITY, &[], &[], &[capability, property, count].map(u32::to_be_bytes).concat())
}

/// moreData and the elements, each of `size` octets.
fn page(tpm: &mut Fixture, capability: u32, property: u32, count: u32, size: usize) -> (bool, Vec<Vec<u8>>) {
    let reply = raw(tpm, capability, property, count).unwrap();
    assert_eq!(reply[1..5], capability.to_be_bytes());
    let elements: Vec<_> = reply[9..].chunks(size).map(<[u8]>::to_vec).collect();
    assert_eq!(reply[5..9], (elements.len() as u32).to_be_bytes());
    assert!(reply.len() - 1 <= 1024, "MAX_CAP_BUFFER");
    (reply[0] == 1, elements)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

fn numbers(tpm: &mut Fixture, capability: u32, property: u32, count: u32) -> (bool, Vec<u32>) {
    let (more, elements) = page(tpm, capability, property, count, 4);
    (more, elements.iter().map(|e| number(e)).collect())
}

/// The value of a TPM_PT.
fn property(tpm: &mut Fixture, pt: u32) -> u32 {
    let (_, elements) = page(tpm, TPM_PROPERTIES, pt, 1, 8);
    assert_eq!(number(&elements[0][..4]), pt);
    number(&elements[0][4..])
}

#[test]
fn unknown_groups_are_refused() {
    let mut tpm = Fixture::new();
    for capability in [11, 12, 0xff, 0x100, u32::MAX] {
        assert_eq!(raw(&mut tpm, capability, 0, 1), Err(param(1, VALUE)));
    }
}

#[test]
fn a_list_goes_on_where_the_page_ended() {
    let mut tpm = Fixture::new();
    for (capability, first, size, key) in [
        (ALGS, 0, 6, 2),
        (COMMANDS, 0, 4, 4),
        (TPM_PROPERTIES, 0, 8, 4),
        (PCR_PROPERTIES, 0, 8, 4),
        (ECC_CURVES, 0, 2, 2),
    ] {
        let (more, all) = page(&mut tpm, capability, first, 1000, size);
        assert!(!more && all.len() > 1);
        let mut walked: Vec<Vec<u8>> = Vec::new();
        let mut next = first;
        loop {
            let (more, one) = page(&mut tpm, capability, next, 1, size);
            walked.extend(one);
            if !more {
                break;
            }
            next = (number(&walked.last().unwrap()[..key]) & 0xffff) + 1;
        }
        assert_eq!(walked, all, "capability {capability}");
        assert_eq!(page(&mut tpm, capability, first, 0, size), (true, vec![]));
    }
}

#[test]
fn algorithms_come_with_their_attributes() {
    let mut tpm = Fixture::new();
    let (_, all) = page(&mut tpm, ALGS, 0, 100, 6);
    let has = |id: u16, attributes: u32| all.contains(&[&id.to_be_bytes()[..], &attributes.to_be_bytes()].concat());
    assert!(has(0x1, 0x9), "RSA: asymmetric, object");
    assert!(has(0x23, 0x9), "ECC");
    assert!(has(0x8, 0x30c), "KEYEDHASH: hash, object, signing, encrypting");
    assert!(has(0x6, 0x2), "AES: symmetric");
    assert!(has(0x43, 0x202), "CFB: symmetric, encrypting");
    assert!(has(0x18, 0x101), "ECDSA: asymmetric, signing");
    assert!(has(0x26, 0x2) && has(0x13, 0x2), "Camellia and SM4");
    assert!(has(0x3f, 0x102), "CMAC: symmetric, signing");
    assert!(has(0xa0, 0x209), "ML-KEM: asymmetric, object, encrypting");
    assert!(has(0xa1, 0x109) && has(0xa2, 0x109), "ML-DSA: asymmetric, object, signing");
    for hash in [0x4, 0xb, 0xc, 0xd, 0x12, 0x27, 0x28, 0x29] {
        assert!(has(hash, 0x4));
    }
    assert!(!all.iter().any(|a| a[..2] == [0, 0x10]), "TPM_ALG_NULL is no algorithm");
}

#[test]
fn handles_of_every_type_are_listed_from_the_first() {
    let mut tpm = Fixture::new();
    assert_eq!(numbers(&mut tpm, HANDLES, 0, 100), (false, (0..24).collect()));
    assert_eq!(numbers(&mut tpm, HANDLES, 20, 2), (true, vec![20, 21]));
    assert_eq!(
        numbers(&mut tpm, HANDLES, 0x4000_0000, 100),
        (false, vec![0x4000_0001, 0x4000_0007, 0x4000_0009, 0x4000_000a, 0x4000_000b, 0x4000_000c, 0x4000_000d])
    );
    for none in [0x0100_0000, 0x0200_0000, 0x0300_0000, 0x8000_0000, 0x8100_0000] {
        assert_eq!(numbers(&mut tpm, HANDLES, none, 100), (false, vec![]), "{none:#x}");
    }
    for unknown in [0x0400_0000, 0x4100_0000, 0x9000_0000, 0xff00_0000] {
        assert_eq!(raw(&mut tpm, HANDLES, unknown, 1), Err(param(2, HANDLE)), "{unknown:#x}");
    }
}

#[test]
fn nv_indices_are_listed_in_order() {
    let mut tpm = Fixture::new();
    for index in [0x0150_0002u32, 0x0150_0000, 0x01c0_0001] {
        let public = [&index.to_be_bytes()[..], &[0, 0xb, 0, 4, 0, 4, 0, 0, 0, 8]].concat();
        assert_eq!(tpm.with(0x12a, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat()), Ok(vec![]));
    }
    assert_eq!(numbers(&mut tpm, HANDLES, 0x0100_0000, 100), (false, vec![0x0150_0000, 0x0150_0002, 0x01c0_0001]));
    assert_eq!(numbers(&mut tpm, HANDLES, 0x0150_0001, 1), (true, vec![0x0150_0002]));
    assert_eq!(property(&mut tpm, 0x202), 3, "TPM_PT_HR_NV_INDEX");
}

/// Code and TPMA_CC (Part 2, 8.9): nv 0x400000, extensive 0x800000, flushed 0x1000000, cHandles from bit 25, rHandle 0x10000000.
const ATTRIBUTES: [u32; 32] = [
    0x0440_0122, // NV_UndefineSpace
    0x0240_012a, // NV_DefineSpace
    0x0240_012b, // PCR_Allocate
    0x0440_0134, // NV_Increment
    0x0440_0135, // NV_SetBits
    0x0440_0136, // NV_Extend
    0x0440_0137, // NV_Write
    0x0440_0138, // NV_WriteLock
    0x0240_013c, // PCR_Event
    0x0240_013d, // PCR_Reset
    0x0040_0143, // SelfTest
    0x0040_0144, // Startup
    0x0040_0145, // Shutdown
    0x0040_0146, // StirRandom
    0x0440_014e, // NV_Read
    0x0440_014f, // NV_ReadLock
    0x0400_0151, // PolicySecret
    0x0200_0155, // HMAC
    0x0200_0169, // NV_ReadPublic
    0x0200_016b, // PolicyAuthValue
    0x0200_016c, // PolicyCommandCode
    0x0200_0171, // PolicyOR
    0x0000_017a, // GetCapability
    0x0000_017b, // GetRandom
    0x0000_017c, // GetTestResult
    0x0000_017d, // Hash
    0x0000_017e, // PCR_Read
    0x0200_017f, // PolicyPCR
    0x0200_0180, // PolicyRestart
    0x0240_0182, // PCR_Extend
    0x0200_0189, // PolicyGetDigest
    0x0200_018c, // PolicyPassword
];

#[test]
fn commands_have_the_attributes_of_the_specification() {
    let mut tpm = Fixture::new();
    let (_, all) = numbers(&mut tpm, COMMANDS, 0, 1000);
    for attributes in ATTRIBUTES {
        assert!(all.contains(&attributes), "{attributes:#010x}");
    }
    assert!(all.is_sorted_by_key(|a| a & 0xffff));
    let total = property(&mut tpm, 0x129);
    assert_eq!(total as usize, all.len(), "TPM_PT_TOTAL_COMMANDS");
    assert_eq!(property(&mut tpm, 0x12a) + property(&mut tpm, 0x12b), total, "library and vendor commands");
    assert_eq!(numbers(&mut tpm, COMMANDS, 0x17e, 1), (true, vec![0x17e]));
}

#[test]
fn pp_and_audited_commands_are_subsets_of_the_commands() {
    let mut tpm = Fixture::new();
    let (_, all) = numbers(&mut tpm, COMMANDS, 0, 1000);
    for list in [PP_COMMANDS, AUDIT_COMMANDS] {
        let (more, codes) = numbers(&mut tpm, list, 0, 1000);
        assert!(!more && codes.iter().all(|code| all.iter().any(|a| a & 0xffff == *code)));
    }
}

#[test]
fn the_pcr_allocation_comes_as_a_whole() {
    let mut tpm = Fixture::new();
    let all = [
        &[0u8; 4][..],
        &[5, 0, 0, 0, 5],
        &[
            0, 4, 3, 255, 255, 255, 0, 11, 3, 255, 255, 255, 0, 12, 3, 255, 255, 255, 0, 13, 3, 255, 255, 255, 0, 18,
            3, 0, 0, 0,
        ],
    ]
    .concat();
    assert_eq!(raw(&mut tpm, PCRS, 0, 1), Ok(all));
    assert_eq!(raw(&mut tpm, PCRS, 0, 0), Ok(vec![1, 0, 0, 0, 5, 0, 0, 0, 0]));
    assert_eq!(raw(&mut tpm, PCRS, 1, 1), Err(param(2, VALUE)));
}

#[test]
fn pcr_properties_are_those_of_the_profile() {
    let mut tpm = Fixture::new();
    let (_, all) = page(&mut tpm, PCR_PROPERTIES, 0, 100, 8);
    let map = |pt: u32| {
        let found = all.iter().find(|e| number(&e[..4]) == pt).unwrap_or_else(|| panic!("TPM_PT_PCR {pt:#x}"));
        assert_eq!(found[4], 3);
        u32::from_le_bytes([found[5], found[6], found[7], 0])
    };
    assert_eq!(map(0x00), 0x00_ffff, "SAVE");
    assert_eq!(map(0x01), 0x81_ffff, "EXTEND_L0");
    assert_eq!(map(0x02), 0x81_0000, "RESET_L0");
    assert_eq!(map(0x05), 0xff_ffff, "EXTEND_L2");
    assert_eq!(map(0x06), 0xf1_0000, "RESET_L2");
    assert_eq!(map(0x0a), 0x9f_0000, "RESET_L4");
    assert_eq!(map(0x11), 0xe1_0000, "NO_INCREMENT");
    assert_eq!(map(0x12), 0x7e_0000, "DRTM_RESET");
    assert_eq!(map(0x13), 0, "POLICY");
    assert_eq!(map(0x14), 0, "AUTH");
}

#[test]
fn fixed_properties_say_what_this_tpm_is() {
    let mut tpm = Fixture::new();
    let expected: [(u32, u32); 19] = [
        (0x100, 0x322e_3000), // family "2.0"
        (0x101, 0),
        (0x102, 185),
        (0x10d, 1024), // input buffer
        (0x112, 24),   // PCR
        (0x113, 3),    // PCR select
        (0x114, 0xffff),
        (0x116, 0),
        (0x11b, 6),    // AES
        (0x11e, 8192), // command
        (0x11f, 8192), // response
        (0x120, 64),   // digest
        (0x123, 1),    // PC Client
        (0x12b, 0),    // no vendor commands
        (0x12c, 2048), // NV buffer
        (0x12d, 0),    // modes
        (0x12e, 1024), // capability buffer
        (0x117, 4096), // NV Index
        (0x131, 0x7f), // ML-KEM and ML-DSA parameter sets, external mu
    ];
    for (pt, value) in expected {
        assert_eq!(property(&mut tpm, pt), value, "TPM_PT {pt:#x}");
    }
    let (_, all) = page(&mut tpm, TPM_PROPERTIES, 0, 127, 8);
    let tags: Vec<u32> = all.iter().map(|e| number(&e[..4])).collect();
    let without_gap = (0x100..=0x12e).filter(|pt| *pt != 0x115).chain([0x131]).chain(0x200..=0x214);
    assert_eq!(tags, without_gap.collect::<Vec<_>>());
    assert_eq!(page(&mut tpm, TPM_PROPERTIES, 0x115, 1, 8).1[0][..4], 0x116u32.to_be_bytes(), "a gap is stepped over");
    assert_eq!(page(&mut tpm, TPM_PROPERTIES, 0x215, 9, 8), (false, vec![]));
}

#[test]
fn variable_properties_follow_the_state() {
    let mut tpm = Fixture::new();
    assert_eq!(property(&mut tpm, 0x200), 0x400, "PERMANENT: tpmGeneratedEPS");
    assert_eq!(property(&mut tpm, 0x201), 0x8000_000f, "STARTUP_CLEAR: all hierarchies, orderly");
    assert_eq!((property(&mut tpm, 0x203), property(&mut tpm, 0x204)), (0, 8), "loaded sessions");
    assert_eq!((property(&mut tpm, 0x205), property(&mut tpm, 0x206)), (0, 64), "active sessions");
    assert_eq!(property(&mut tpm, 0x207), 8, "free transient slots");
    assert_eq!((property(&mut tpm, 0x208), property(&mut tpm, 0x209)), (0, 24), "persistent objects");
    assert_eq!((property(&mut tpm, 0x20a), property(&mut tpm, 0x20b)), (0, 256), "counters");
    assert_eq!(
        [0x20e, 0x20f, 0x210, 0x211].map(|pt| property(&mut tpm, pt)),
        [0, 32, 7200, 86400],
        "dictionary-attack protection"
    );
    let counter = [&0x0150_0000u32.to_be_bytes()[..], &[0, 0xb, 0, 4, 0, 0x14, 0, 0, 0, 8]].concat();
    tpm.with(0x12a, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&counter)].concat()).unwrap();
    assert_eq!((property(&mut tpm, 0x20a), property(&mut tpm, 0x20b)), (1, 255));
    tpm.with(0x134, &[0x0150_0000, 0x0150_0000], &[b"no"], &[]).unwrap_err();
    assert_eq!(property(&mut tpm, 0x20e), 1, "LOCKOUT_COUNTER");
    tpm.restart(None, 0);
    assert_eq!(property(&mut tpm, 0x201), 0x0000_000f, "STARTUP_CLEAR: not orderly");
    tpm.restart(Some(0), 0);
    assert_eq!(property(&mut tpm, 0x201), 0x8000_000f);
}

#[test]
fn curves_policies_and_timers() {
    let mut tpm = Fixture::new();
    assert_eq!(page(&mut tpm, ECC_CURVES, 0, 100, 2), (false, [2, 3, 4, 5, 16, 32].map(|id| vec![0, id]).to_vec()));
    assert_eq!(page(&mut tpm, ECC_CURVES, 6, 100, 2), (false, vec![vec![0, 16], vec![0, 32]]));
    let unset = |h: u32| [&h.to_be_bytes()[..], &[0, 0x10]].concat();
    let (more, policies) = page(&mut tpm, AUTH_POLICIES, OWNER, 100, 6);
    assert_eq!((more, policies), (false, [OWNER, 0x4000_000a, 0x4000_000b, PLATFORM].map(unset).to_vec()));
    assert_eq!(page(&mut tpm, AUTH_POLICIES, 0x4000_000b, 1, 6), (true, vec![unset(0x4000_000b)]));
    assert_eq!(raw(&mut tpm, AUTH_POLICIES, 0, 1), Err(param(2, VALUE)));
    assert_eq!(page(&mut tpm, ACT, 0x4000_0110, 16, 12), (false, vec![]));
    for no_act in [0, 0x4000_010f, 0x4000_0120] {
        assert_eq!(raw(&mut tpm, ACT, no_act, 1), Err(param(2, VALUE)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_request_is_answered_within_the_buffer(capability in 0u32..12, property: u32, count: u32) {
        let mut tpm = Fixture::new();
        if let Ok(reply) = raw(&mut tpm, capability, property, count) {
            assert!(reply.len() <= 1 + 1024);
        }
    }
}
