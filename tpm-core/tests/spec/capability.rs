//! TPM2_GetCapability (Part 3, 30.2).
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{
    ACT_0, ACT_A, AUTH_MISSING, COMMAND_CODE, CURVE, ENDORSEMENT, HANDLE, HASH, INSUFFICIENT, KDF, LOCKOUT_HIERARCHY,
    MODE, NULL, OWNER, PLATFORM, PW, SCHEME, SELECTOR, SIZE, SYMMETRIC, TYPE, VALUE, handle, param, plain,
};
use client::names::alg;
use client::names::cap;
use client::session::{Kind, Outcome, Session};
use client::tpm2b;
use proptest::prelude::{ProptestConfig, proptest};
use tpm_core::cc;
use tpm_core::profile::{PROFILE, PROFILES};
use tpm_wire::pt;

fn raw(tpm: &mut Fixture, capability: u32, property: u32, count: u32) -> Outcome {
    tpm.run(cc::GET_CAPABILITY, &[], &[], &[capability, property, count].map(u32::to_be_bytes).concat())
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
    let (_, elements) = page(tpm, cap::TPM_PROPERTIES, pt, 1, 8);
    assert_eq!(number(&elements[0][..4]), pt);
    number(&elements[0][4..])
}

#[test]
fn unknown_groups_are_refused() {
    let mut tpm = Fixture::new();
    for capability in [11, 12, 13, 0xff, 0x101, u32::MAX] {
        assert_eq!(raw(&mut tpm, capability, 0, 1), Err(param(1, VALUE)));
    }
}

#[test]
fn a_list_goes_on_where_the_page_ended() {
    let mut tpm = Fixture::new();
    for (capability, first, size, key) in [
        (cap::ALGS, 0, 6, 2),
        (cap::COMMANDS, 0, 4, 4),
        (cap::TPM_PROPERTIES, 0, 8, 4),
        (cap::PCR_PROPERTIES, 0, 8, 4),
        (cap::ECC_CURVES, 0, 2, 2),
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
    let (_, all) = page(&mut tpm, cap::ALGS, 0, 100, 6);
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
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 0, 100), (false, (0..24).collect()));
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 20, 2), (true, vec![20, 21]));
    assert_eq!(
        numbers(&mut tpm, cap::HANDLES, 0x4000_0000, 100),
        (false, vec![OWNER, NULL, PW, LOCKOUT_HIERARCHY, ENDORSEMENT, PLATFORM, 0x4000_000d, ACT_0, ACT_A])
    );
    for none in [0x0100_0000, 0x0200_0000, 0x0300_0000, 0x8000_0000, 0x8100_0000] {
        assert_eq!(numbers(&mut tpm, cap::HANDLES, none, 100), (false, vec![]), "{none:#x}");
    }
    for unknown in [0x0400_0000, 0x4100_0000, 0x9000_0000, 0xff00_0000] {
        assert_eq!(raw(&mut tpm, cap::HANDLES, unknown, 1), Err(param(2, HANDLE)), "{unknown:#x}");
    }
}

/// Part 3, 30.2.1: loaded sessions have "a handle type of either TPM_HT_HMAC_SESSION or TPM_HT_POLICY_SESSION", saved
/// ones "TPM_HT_HMAC_SESSION […] because the TPM does not track the session type of saved sessions".
#[test]
fn sessions_are_listed_with_their_types_while_they_are_loaded() {
    let mut tpm = Fixture::new();
    let [hmac, policy, trial, saved] =
        [Kind::Hmac, Kind::Policy, Kind::Trial, Kind::Policy].map(|kind| Session::plain(&mut tpm, kind).handle);
    assert_eq!([hmac, policy, trial, saved], [0x0200_0000, 0x0300_0001, 0x0300_0002, 0x0300_0003]);
    tpm.run(cc::CONTEXT_SAVE, &[saved], &[], &[]).unwrap();
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 0x0200_0000, 100), (false, vec![hmac, policy, trial]));
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 0x0200_0001, 1), (true, vec![policy]));
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 0x0300_0000, 100), (false, vec![0x0200_0003]));
    assert_eq!([0x203, 0x204].map(|pt| property(&mut tpm, pt)), [3, 5], "loaded, and room for more");
    assert_eq!([0x205, 0x206].map(|pt| property(&mut tpm, pt)), [4, 60], "active, and handles for more");
}

#[test]
fn nv_indices_are_listed_in_order() {
    let mut tpm = Fixture::new();
    for index in [0x0150_0002u32, 0x0150_0000, 0x01c0_0001] {
        let public = [&index.to_be_bytes()[..], &[0, 0xb, 0, 4, 0, 4, 0, 0, 0, 8]].concat();
        assert_eq!(tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat()), Ok(vec![]));
    }
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 0x0100_0000, 100), (false, vec![0x0150_0000, 0x0150_0002, 0x01c0_0001]));
    assert_eq!(numbers(&mut tpm, cap::HANDLES, 0x0150_0001, 1), (true, vec![0x0150_0002]));
    assert_eq!(property(&mut tpm, pt::HR_NV_INDEX), 3, "TPM_PT_HR_NV_INDEX");
}

/// Code and TPMA_CC (Part 2, 8.9) of every command of the specification up to 1.83 but those that need hardware: nv
/// 0x400000, extensive 0x800000, flushed 0x1000000, cHandles from bit 25, rHandle 0x10000000.
#[rustfmt::skip]
const ATTRIBUTES: [u32; 121] = [
    0x0440_011f, 0x0440_0120, 0x02c0_0121, 0x0440_0122, 0x02c0_0124, 0x02c0_0125, 0x02c0_0126, 0x0240_0127,
    0x0240_0128, 0x0240_0129, 0x0240_012a, 0x0240_012b, 0x0240_012c, 0x0240_012d, 0x0240_012e, 0x0200_0130,
    0x1200_0131, 0x0240_0132, 0x0440_0133, 0x0440_0134, 0x0440_0135, 0x0440_0136, 0x0440_0137, 0x0440_0138,
    0x0240_0139, 0x0240_013a, 0x0240_013b, 0x0240_013c, 0x0240_013d, 0x0300_013e, 0x0240_013f, 0x0240_0140,
    0x0040_0142, 0x0040_0143, 0x0040_0144, 0x0040_0145, 0x0040_0146, 0x0400_0147, 0x0400_0148, 0x0600_0149,
    0x0400_014a, 0x0400_014b, 0x0400_014c, 0x0600_014d, 0x0400_014e, 0x0440_014f, 0x0400_0150, 0x0400_0151,
    0x0400_0152, 0x0200_0153, 0x0200_0154, 0x0200_0155, 0x0200_0156, 0x1200_0157, 0x0200_0158, 0x0200_0159,
    0x1200_015b, 0x0200_015c, 0x0200_015d, 0x0200_015e, 0x0400_0160, 0x1000_0161, 0x0200_0162, 0x0200_0163,
    0x0200_0164, 0x0000_0165, 0x1000_0167, 0x0200_0168, 0x0200_0169, 0x0200_016a, 0x0200_016b, 0x0200_016c,
    0x0200_016d, 0x0200_016e, 0x0200_016f, 0x0200_0170, 0x0200_0171, 0x0200_0172, 0x0200_0173, 0x0200_0174,
    0x1400_0176, 0x0200_0177, 0x0000_0178, 0x0000_017a, 0x0000_017b, 0x0000_017c, 0x0000_017d, 0x0000_017e,
    0x0200_017f, 0x0200_0180, 0x0000_0181, 0x0240_0182, 0x0200_0183, 0x0600_0184, 0x0540_0185, 0x1000_0186,
    0x0200_0187, 0x0200_0188, 0x0200_0189, 0x0000_018a, 0x0200_018b, 0x0200_018c, 0x0200_018d, 0x0000_018e,
    0x0200_018f, 0x0200_0190, 0x1200_0191, 0x0600_0192, 0x0200_0193, 0x0200_0196, 0x0400_0197, 0x0200_0198,
    0x0200_0199, 0x0200_019a, 0x0200_019b, 0x0200_019c, 0x0240_019d, 0x0200_019e, 0x0240_019f, 0x0240_01a0,
    0x0200_01a1,
];

#[test]
fn commands_have_the_attributes_of_the_specification() {
    let mut tpm = Fixture::new();
    let (_, all) = numbers(&mut tpm, cap::COMMANDS, 0, 1000);
    for attributes in ATTRIBUTES {
        let found = all.iter().find(|a| *a & 0xffff == attributes & 0xffff);
        assert_eq!(found, Some(&attributes), "{attributes:#010x}");
    }
    assert!(all.is_sorted_by_key(|a| a & 0xffff));
    let total = property(&mut tpm, pt::TOTAL_COMMANDS);
    assert_eq!(total as usize, all.len(), "TPM_PT_TOTAL_COMMANDS");
    assert_eq!(
        property(&mut tpm, pt::LIBRARY_COMMANDS) + property(&mut tpm, pt::VENDOR_COMMANDS),
        total,
        "library and vendor commands"
    );
    assert_eq!(numbers(&mut tpm, cap::COMMANDS, cc::PCR_READ, 1), (true, vec![cc::PCR_READ]));
}

#[test]
fn tn_tpma_cc_has_no_reserved_bits() {
    let mut tpm = Fixture::new();
    let (_, all) = numbers(&mut tpm, cap::COMMANDS, 0, 1000);
    let reserved = 0x003f_0000 | 0x2000_0000 | 0xc000_0000;
    assert!(all.iter().all(|a| a & reserved == 0));
    for (code, why) in [
        (0x12f, "FieldUpgradeStart"),
        (0x141, "FieldUpgradeData"),
        (0x179, "FirmwareRead"),
        (0x194, "AC_GetCapability"),
        (0x195, "AC_Send"),
    ] {
        assert!(all.iter().all(|a| a & 0xffff != code), "{why} needs hardware");
        assert_eq!(tpm.run(code, &[], &[], &[]), Err(COMMAND_CODE), "{why}: COMMAND_CODE");
    }
}

/// The handle of TPM2_FlushContext is a parameter, so cHandles is zero.
#[test]
fn tn_f_10830_flush_context_has_no_handles() {
    let mut tpm = Fixture::new();
    assert_eq!(numbers(&mut tpm, cap::COMMANDS, cc::FLUSH_CONTEXT, 1).1, [cc::FLUSH_CONTEXT]);
}

#[test]
fn pp_and_audited_commands_are_subsets_of_the_commands() {
    let mut tpm = Fixture::new();
    let (_, all) = numbers(&mut tpm, cap::COMMANDS, 0, 1000);
    for list in [cap::PP_COMMANDS, cap::AUDIT_COMMANDS] {
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
    assert_eq!(raw(&mut tpm, cap::PCRS, 0, 1), Ok(all));
    assert_eq!(raw(&mut tpm, cap::PCRS, 0, 0), Ok(vec![1, 0, 0, 0, 5, 0, 0, 0, 0]));
    assert_eq!(raw(&mut tpm, cap::PCRS, 1, 1), Err(param(2, VALUE)));
}

#[test]
fn pcr_properties_are_those_of_the_profile() {
    let mut tpm = Fixture::new();
    let (_, all) = page(&mut tpm, cap::PCR_PROPERTIES, 0, 100, 8);
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
    assert_eq!(map(0x0a), 0x7e_0000, "RESET_L4: by a D-RTM event");
    assert_eq!(map(0x11), 0xe1_0000, "NO_INCREMENT");
    assert_eq!(map(0x12), 0x7e_0000, "DRTM_RESET");
    assert_eq!(map(0x13), 0x70_0000, "POLICY");
    assert_eq!(map(0x14), 0x70_0000, "AUTH");
}

#[test]
fn fixed_properties_say_what_this_tpm_is() {
    let mut tpm = Fixture::new();
    let expected: [(u32, u32); 20] = [
        (pt::FAMILY_INDICATOR, 0x322e_3000), // family "2.0"
        (pt::LEVEL, 0),
        (pt::REVISION, 185),
        (pt::ERRATA, 0),          // errata
        (pt::YEAR, 2026),         // year: clients want one
        (pt::INPUT_BUFFER, 1024), // input buffer
        (pt::PCR_COUNT, 24),      // PCR
        (pt::PCR_SELECT_MIN, 3),  // PCR select
        (pt::CONTEXT_GAP_MAX, 0xffff),
        (pt::NV_COUNTERS_MAX, 0),
        (pt::CONTEXT_SYM, 6),          // AES
        (pt::MAX_COMMAND_SIZE, 8192),  // command
        (pt::MAX_RESPONSE_SIZE, 8192), // response
        (pt::MAX_DIGEST, 64),          // digest
        (pt::PS_FAMILY_INDICATOR, 1),  // PC Client
        (pt::VENDOR_COMMANDS, 0),      // no vendor commands
        (pt::NV_BUFFER_MAX, 2048),     // NV buffer
        (pt::MODES, 0),                // modes
        (pt::MAX_CAP_BUFFER, 1024),    // capability buffer
        (pt::NV_INDEX_MAX, 4096),      // NV Index
    ];
    for (pt, value) in expected {
        assert_eq!(property(&mut tpm, pt), value, "TPM_PT {pt:#x}");
    }
    let tags = |tpm: &mut Fixture, first: u32| {
        let (more, all) = page(tpm, cap::TPM_PROPERTIES, first, 127, 8);
        assert!(!more);
        all.iter().map(|e| number(&e[..4])).collect::<Vec<_>>()
    };
    // What came later breaks clients that do not know it, so profiles for them do not list it.
    let last = if PROFILE.lists_later_properties { pt::ML_PARAMETER_SETS } else { pt::MAX_CAP_BUFFER };
    let fixed: Vec<_> = (pt::FAMILY_INDICATOR..=last).filter(|pt| *pt != 0x115).collect();
    assert_eq!(tags(&mut tpm, 0), fixed);
    assert_eq!(tags(&mut tpm, pt::FAMILY_INDICATOR), fixed, "a reply stays within the group");
    assert_eq!(tags(&mut tpm, last + 1), []);
    assert_eq!(tags(&mut tpm, 0x200), (0x200..=0x214).collect::<Vec<_>>());
    assert_eq!(tags(&mut tpm, 0x300), []);
    assert_eq!(tags(&mut tpm, u32::MAX), []);
    assert_eq!(
        page(&mut tpm, cap::TPM_PROPERTIES, 0x115, 1, 8).1[0][..4],
        0x116u32.to_be_bytes(),
        "a gap is stepped over"
    );
    assert_eq!(page(&mut tpm, cap::TPM_PROPERTIES, 0x215, 9, 8), (false, vec![]));
}

/// Part 2, 6.13 and 8.13: TPM_PT_FIRMWARE_SVN, TPM_PT_FIRMWARE_MAX_SVN and TPM_PT_ML_PARAMETER_SETS, by which clients
/// learn which keys there are.
#[test]
fn the_later_properties_are_listed_where_clients_may_know_them() {
    let mut tpm = Fixture::new();
    let listed = page(&mut tpm, cap::TPM_PROPERTIES, pt::FIRMWARE_SVN, 9, 8);
    let expected: &[[u32; 2]] = if PROFILE.lists_later_properties {
        &[[pt::FIRMWARE_SVN, 0], [pt::FIRMWARE_MAX_SVN, 0], [pt::ML_PARAMETER_SETS, 0x7f]]
    } else {
        &[]
    };
    assert_eq!(listed, (false, expected.iter().map(|pair| pair.map(u32::to_be_bytes).concat()).collect()));
    tpm.tpm.omit_later_properties();
    assert_eq!(page(&mut tpm, cap::TPM_PROPERTIES, pt::FIRMWARE_SVN, 9, 8), (false, vec![]));
    assert_eq!(property(&mut tpm, pt::MAX_CAP_BUFFER), 1024);
    let profiles = PROFILES.iter().filter(|profile| profile.lists_later_properties);
    assert!(profiles.map(|profile| profile.name).eq(["full", "no-legacy"]));
}

#[test]
fn variable_properties_follow_the_state() {
    let mut tpm = Fixture::new();
    assert_eq!(property(&mut tpm, pt::PERMANENT), 0x400, "PERMANENT: tpmGeneratedEPS");
    assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR), 0x8000_000f, "STARTUP_CLEAR: all hierarchies, orderly");
    assert_eq!((property(&mut tpm, pt::HR_LOADED), property(&mut tpm, pt::HR_LOADED_AVAIL)), (0, 8), "loaded sessions");
    assert_eq!(
        (property(&mut tpm, pt::HR_ACTIVE), property(&mut tpm, pt::HR_ACTIVE_AVAIL)),
        (0, 64),
        "active sessions"
    );
    assert_eq!(property(&mut tpm, pt::HR_TRANSIENT_AVAIL), 8, "free transient slots");
    assert_eq!(
        (property(&mut tpm, pt::HR_PERSISTENT), property(&mut tpm, pt::HR_PERSISTENT_AVAIL)),
        (0, 24),
        "persistent objects"
    );
    assert_eq!((property(&mut tpm, pt::NV_COUNTERS), property(&mut tpm, pt::NV_COUNTERS_AVAIL)), (0, 256), "counters");
    assert_eq!(
        [0x20e, 0x20f, 0x210, 0x211].map(|pt| property(&mut tpm, pt)),
        [0, 32, 7200, 86400],
        "dictionary-attack protection"
    );
    let counter = [&0x0150_0000u32.to_be_bytes()[..], &[0, 0xb, 0, 4, 0, 0x14, 0, 0, 0, 8]].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&counter)].concat()).unwrap();
    assert_eq!((property(&mut tpm, pt::NV_COUNTERS), property(&mut tpm, pt::NV_COUNTERS_AVAIL)), (1, 255));
    tpm.with(cc::NV_INCREMENT, &[0x0150_0000, 0x0150_0000], &[b"no"], &[]).unwrap_err();
    assert_eq!(property(&mut tpm, pt::LOCKOUT_COUNTER), 1, "LOCKOUT_COUNTER");
    tpm.restart(None, 0);
    assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR), 0x0000_000f, "STARTUP_CLEAR: not orderly");
    tpm.restart(Some(0), 0);
    assert_eq!(property(&mut tpm, pt::STARTUP_CLEAR), 0x8000_000f);
}

#[test]
fn curves_policies_and_timers() {
    let mut tpm = Fixture::new();
    assert_eq!(
        page(&mut tpm, cap::ECC_CURVES, 0, 100, 2),
        (false, [1, 2, 3, 4, 5, 16, 32].map(|id| vec![0, id]).to_vec())
    );
    assert_eq!(page(&mut tpm, cap::ECC_CURVES, 6, 100, 2), (false, vec![vec![0, 16], vec![0, 32]]));
    let unset = |h: u32| [&h.to_be_bytes()[..], &[0, 0x10]].concat();
    let (more, policies) = page(&mut tpm, cap::AUTH_POLICIES, OWNER, 100, 6);
    assert_eq!(
        (more, policies),
        (false, [OWNER, LOCKOUT_HIERARCHY, ENDORSEMENT, PLATFORM, ACT_0, ACT_A].map(unset).to_vec())
    );
    assert_eq!(page(&mut tpm, cap::AUTH_POLICIES, ENDORSEMENT, 1, 6), (true, vec![unset(ENDORSEMENT)]));
    assert_eq!(raw(&mut tpm, cap::AUTH_POLICIES, 0, 1), Err(param(2, VALUE)));
    let idle = |h: u32| [&h.to_be_bytes()[..], &[0; 8]].concat();
    assert_eq!(page(&mut tpm, cap::ACT, ACT_0, 16, 12), (false, vec![idle(ACT_0), idle(ACT_A)]));
    assert_eq!(page(&mut tpm, cap::ACT, ACT_0, 1, 12), (true, vec![idle(ACT_0)]));
    assert_eq!(page(&mut tpm, cap::ACT, ACT_0 + 1, 1, 12), (false, vec![idle(ACT_A)]));
    assert_eq!(page(&mut tpm, cap::ACT, ACT_A + 1, 9, 12), (false, vec![]));
    for no_act in [0, 0x4000_010f, 0x4000_0120] {
        assert_eq!(raw(&mut tpm, cap::ACT, no_act, 1), Err(param(2, VALUE)));
    }
}

#[test]
fn vendor_properties_tell_how_much_nv_is_free() {
    let mut tpm = Fixture::new();
    assert_eq!(numbers(&mut tpm, cap::VENDOR_PROPERTY, 0, 9), (false, vec![65536, 65536, 256, 256]));
    let public = [&0x0150_0000u32.to_be_bytes()[..], &[0, 0xb, 0, 4, 0, 4, 0, 0, 1, 0]].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat()).unwrap();
    assert_eq!(numbers(&mut tpm, cap::VENDOR_PROPERTY, 0, 9), (false, vec![65536 - 256, 65536, 255, 256]));
    assert_eq!(numbers(&mut tpm, cap::VENDOR_PROPERTY, 1, 1), (true, vec![65536]));
    assert_eq!(numbers(&mut tpm, cap::VENDOR_PROPERTY, 4, 9), (false, vec![]));
}

#[test]
fn tn_test_parms_tells_what_is_supported() {
    let mut tpm = Fixture::new();
    let mut test = |parms: &[u16]| {
        tpm.run(cc::TEST_PARMS, &[], &[], &parms.iter().flat_map(|p| p.to_be_bytes()).collect::<Vec<_>>())
    };
    for bits in [2048, 3072, 4096] {
        assert_eq!(test(&[1, alg::NULL, alg::NULL, bits, 0, 0]), Ok(vec![]));
    }
    assert_eq!(test(&[1, 6, 128, 0x43, alg::NULL, 2048, 0, 0]), Ok(vec![]), "a storage key");
    assert_eq!(test(&[1, alg::NULL, 0x14, 0xb, 2048, 1, 1]), Ok(vec![]), "RSASSA, 65537");
    for curve in [3, 4] {
        assert_eq!(test(&[0x23, alg::NULL, 0x18, 0xb, curve, alg::NULL]), Ok(vec![]));
    }
    assert_eq!(test(&[8, 5, 0xb]), Ok(vec![]), "HMAC");
    assert_eq!(test(&[0x25, 6, 256, 0x43]), Ok(vec![]), "AES-256");
    assert_eq!(test(&[0x99]), Err(param(1, TYPE)));
    assert_eq!(test(&[alg::NULL]), Err(param(1, TYPE)));
    assert_eq!(test(&[1, alg::NULL, alg::NULL, 2047, 0, 0]), Err(param(1, VALUE)), "key size");
    assert_eq!(test(&[1, 6, 129, 0x43, alg::NULL, 2048, 0, 0]), Err(param(1, VALUE)), "symmetric key size");
    assert_eq!(test(&[1, 0x99, alg::NULL, 2048, 0, 0]), Err(param(1, SYMMETRIC)));
    assert_eq!(test(&[0x23, alg::NULL, alg::NULL, 0x99, alg::NULL]), Err(param(1, CURVE)));
    assert_eq!(test(&[0x23, alg::NULL, 0x99, 3, alg::NULL]), Err(param(1, SCHEME)));
    assert_eq!(test(&[0x23, alg::NULL, 0x18, 0x99, 3, alg::NULL]), Err(param(1, HASH)));
    assert_eq!(test(&[0x23, alg::NULL, alg::NULL, 3, 0x99]), Err(param(1, KDF)));
    assert_eq!(test(&[0x25, 6, 128, 0x99]), Err(param(1, MODE)));
    assert_eq!(test(&[1, alg::NULL, alg::NULL, 2048, 0]), Err(param(1, INSUFFICIENT)));
    assert_eq!(test(&[8, 5, 0xb, 0]), Err(plain(SIZE)), "SIZE: nothing may follow");
}

#[test]
fn no_capability_can_be_set() {
    let mut tpm = Fixture::new();
    let mut set = |h: u32, data: &[u8]| tpm.with(cc::SET_CAPABILITY, &[h], &[b""], data);
    for h in [OWNER, ENDORSEMENT, PLATFORM, NULL] {
        for capability in [0u32, 6, 0xa, 0xc, 0x100] {
            assert_eq!(set(h, &tpm2b(&capability.to_be_bytes())), Err(param(1, SELECTOR)));
        }
        for unknown in [0xdu32, 0xff, 0x101, u32::MAX] {
            assert_eq!(set(h, &tpm2b(&unknown.to_be_bytes())), Err(param(1, VALUE)), "no TPM_CAP");
        }
    }
    assert_eq!(set(OWNER, &[0, 0]), Err(param(1, SIZE)));
    assert_eq!(set(OWNER, &[0]), Err(param(1, INSUFFICIENT)));
    assert_eq!(set(OWNER, &tpm2b(&[0; 3])), Err(param(1, INSUFFICIENT)));
    assert_eq!(set(LOCKOUT_HIERARCHY, &tpm2b(&[0; 4])), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(cc::SET_CAPABILITY, &[OWNER], &[], &tpm2b(&[0; 4])), Err(AUTH_MISSING));
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
