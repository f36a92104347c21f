//! Part 3, 22: PCR commands, with the PCR attributes of the PC Client Platform TPM Profile.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use client::codes::{
    AUTH_MISSING, AUTH_TYPE, BAD_AUTH, HASH, LOCALITY, NULL, OWNER, PCR, PLATFORM, SIZE, TYPE, VALUE, handle, param,
    plain, session,
};
use client::names::alg;
use client::session::Outcome;
use client::tpm2b;
use sha2::{Digest, Sha256, Sha384};
use tpm_core::cc;

/// pcrUpdateCounter after TPM Reset: 20 PCR count, and TPM2_Startup has set them all.
const FIRST_COUNT: u32 = 20;

/// TPML_PCR_SELECTION.
fn selection(banks: &[(u16, u32)]) -> Vec<u8> {
    let mut out = (banks.len() as u32).to_be_bytes().to_vec();
    for (alg, map) in banks {
        out.extend(alg.to_be_bytes());
        out.push(3);
        out.extend(&map.to_le_bytes()[..3]);
    }
    out
}

/// TPML_DIGEST_VALUES.
fn digests(values: &[(u16, &[u8])]) -> Vec<u8> {
    let mut out = (values.len() as u32).to_be_bytes().to_vec();
    values.iter().for_each(|(alg, digest)| out.extend([&alg.to_be_bytes(), *digest].concat()));
    out
}

fn extend(tpm: &mut Fixture, pcr: u32, values: &[(u16, &[u8])]) -> Outcome {
    tpm.with(cc::PCR_EXTEND, &[pcr], &[b""], &digests(values))
}

/// The value of one PCR; None if it is not allocated.
fn read(tpm: &mut Fixture, alg: u16, pcr: u32) -> Option<Vec<u8>> {
    let reply = tpm.run(cc::PCR_READ, &[], &[], &selection(&[(alg, 1 << pcr)])).unwrap();
    let values = &reply[4 + 4 + 6..];
    (values[..4] != [0; 4]).then(|| values[6..].to_vec())
}

fn update_counter(tpm: &mut Fixture) -> u32 {
    let reply = tpm.run(cc::PCR_READ, &[], &[], &selection(&[])).unwrap();
    u32::from_be_bytes(reply[..4].try_into().unwrap())
}

#[test]
fn pcr_0_to_16_and_23_start_as_zeros_17_to_22_as_ones() {
    let mut tpm = Fixture::new();
    for pcr in 0..24 {
        let start = if (17..=22).contains(&pcr) { 0xff } else { 0 };
        for (alg, size) in [(alg::SHA1, 20), (alg::SHA256, 32), (alg::SHA384, 48), (alg::SHA512, 64)] {
            assert_eq!(read(&mut tpm, alg, pcr), Some(vec![start; size]), "PCR {pcr} of bank {alg:#x}");
        }
    }
}

#[test]
fn extend_hashes_the_old_value_and_the_digest_in_each_bank_that_is_named() {
    let mut tpm = Fixture::new();
    assert_eq!(extend(&mut tpm, 7, &[(alg::SHA256, &[1; 32]), (alg::SHA384, &[2; 48])]), Ok(vec![]));
    let sha256 = Sha256::digest([[0; 32], [1; 32]].concat()).to_vec();
    assert_eq!(read(&mut tpm, alg::SHA256, 7), Some(sha256.clone()));
    assert_eq!(read(&mut tpm, alg::SHA384, 7), Some(Sha384::digest([[0; 48], [2; 48]].concat()).to_vec()));
    assert_eq!(read(&mut tpm, alg::SHA1, 7), Some(vec![0; 20]), "a bank that is not named");
    assert_eq!(extend(&mut tpm, 7, &[(alg::SHA256, &[3; 32])]), Ok(vec![]));
    assert_eq!(read(&mut tpm, alg::SHA256, 7), Some(Sha256::digest([sha256, vec![3; 32]].concat()).to_vec()));
}

#[test]
fn extend_with_rh_null_or_without_digests_does_nothing() {
    let mut tpm = Fixture::new();
    assert_eq!(extend(&mut tpm, NULL, &[(alg::SHA256, &[1; 32])]), Ok(vec![]));
    assert_eq!(extend(&mut tpm, 0, &[]), Ok(vec![]));
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT);
}

#[test]
fn extend_refuses_what_does_not_unmarshal() {
    let mut tpm = Fixture::new();
    assert_eq!(extend(&mut tpm, 24, &[]), Err(handle(1, VALUE)));
    assert_eq!(extend(&mut tpm, OWNER, &[]), Err(handle(1, VALUE)));
    assert_eq!(extend(&mut tpm, 0, &[(0x13, &[0; 32])]), Err(param(1, HASH)), "SM4 is no hash");
    assert_eq!(extend(&mut tpm, 0, &[(alg::SHA1, &[0; 20][..]); 9]), Err(param(1, SIZE)), "more digests than hashes");
    assert_eq!(tpm.run(cc::PCR_EXTEND, &[0], &[], &digests(&[])), Err(AUTH_MISSING));
}

#[test]
fn tn_f_4378_each_pcr_can_be_extended_at_its_localities_only() {
    let mut tpm = Fixture::new();
    let may = |pcr: u32, locality: u8| match pcr {
        0..=16 | 23 => true,
        17 | 18 => locality >= 2,
        19 => locality == 2 || locality == 3,
        20 => (1..=3).contains(&locality),
        _ => locality == 2,
    };
    for pcr in 0..24 {
        for locality in 0..5 {
            tpm.locality = locality;
            let expected = if may(pcr, locality) { Ok(vec![]) } else { Err(LOCALITY) };
            assert_eq!(extend(&mut tpm, pcr, &[(alg::SHA256, &[1; 32])]), expected, "PCR {pcr} at locality {locality}");
            assert_eq!(
                tpm.with(cc::PCR_EVENT, &[pcr], &[b""], &tpm2b(b"x")).map(drop),
                expected.map(drop),
                "PCR {pcr} at locality {locality}"
            );
        }
    }
    tpm.locality = 32;
    assert_eq!(extend(&mut tpm, 0, &[]), Err(LOCALITY), "an extended locality");
}

#[test]
fn tn_f_5721_each_pcr_can_be_reset_at_its_localities_only() {
    let mut tpm = Fixture::new();
    let may = |pcr: u32, locality: u8| match pcr {
        16 | 23 => locality < 4,
        20..=22 => locality == 2,
        // at locality 4 only a D-RTM event resets
        _ => false,
    };
    for pcr in 0..24 {
        for locality in 0..5 {
            tpm.locality = locality;
            let expected = if may(pcr, locality) { Ok(vec![]) } else { Err(LOCALITY) };
            assert_eq!(tpm.with(cc::PCR_RESET, &[pcr], &[b""], &[]), expected, "PCR {pcr} at locality {locality}");
        }
        if matches!(pcr, 16 | 20..=23) {
            assert_eq!(read(&mut tpm, alg::SHA256, pcr), Some(vec![0; 32]), "PCR {pcr}: zeros, not its first value");
        }
    }
    assert_eq!(tpm.with(cc::PCR_RESET, &[NULL], &[b""], &[]), Err(handle(1, VALUE)));
}

#[test]
fn the_update_counter_counts_each_bank_but_not_the_debug_and_application_pcr() {
    let mut tpm = Fixture::new();
    extend(&mut tpm, 0, &[(alg::SHA256, &[1; 32])]).unwrap();
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT + 1);
    extend(&mut tpm, 0, &[(alg::SHA256, &[1; 32]), (alg::SHA1, &[1; 20])]).unwrap();
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT + 3);
    tpm.locality = 2;
    for pcr in [16, 21, 22, 23] {
        extend(&mut tpm, pcr, &[(alg::SHA256, &[1; 32])]).unwrap();
        tpm.with(cc::PCR_RESET, &[pcr], &[b""], &[]).unwrap();
    }
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT + 3, "TPM_PT_PCR_NO_INCREMENT");
    tpm.with(cc::PCR_RESET, &[20], &[b""], &[]).unwrap();
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT + 4);
}

#[test]
fn event_answers_with_the_digests_that_it_extends() {
    let mut tpm = Fixture::new();
    let reply = tpm.with(cc::PCR_EVENT, &[3], &[b""], &tpm2b(b"event")).unwrap();
    let sha256 = Sha256::digest(b"event");
    assert_eq!(reply[..6], [0, 0, 0, 4, 0, 4], "four banks, SHA-1 first");
    assert_eq!(reply[26..60], [&[0, 0xb][..], &sha256].concat());
    assert_eq!(reply.len(), 4 + (2 + 20) + (2 + 32) + (2 + 48) + (2 + 64));
    assert_eq!(read(&mut tpm, alg::SHA256, 3), Some(Sha256::digest([&[0; 32][..], &sha256].concat()).to_vec()));
    assert_eq!(tpm.with(cc::PCR_EVENT, &[NULL], &[b""], &tpm2b(b"event")), Ok(reply), "the digests alone");
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT + 4);
    assert!(tpm.with(cc::PCR_EVENT, &[3], &[b""], &tpm2b(&[0; 1024])).is_ok());
    assert_eq!(tpm.with(cc::PCR_EVENT, &[3], &[b""], &tpm2b(&[0; 1025])), Err(param(1, SIZE)));
}

#[test]
fn read_gives_eight_digests_at_most_and_says_which() {
    let mut tpm = Fixture::new();
    let reply =
        tpm.run(cc::PCR_READ, &[], &[], &selection(&[(alg::SHA1, 0x00_000f), (alg::SHA256, 0xff_ffff)])).unwrap();
    assert_eq!(reply[4..20], selection(&[(alg::SHA1, 0xf), (alg::SHA256, 0xf)]));
    assert_eq!(reply[20..24], 8u32.to_be_bytes());
    let rest = tpm.run(cc::PCR_READ, &[], &[], &selection(&[(alg::SHA256, 0xff_fff0)])).unwrap();
    assert_eq!(rest[4..14], selection(&[(alg::SHA256, 0xff0)]));
    assert_eq!(tpm.run(cc::PCR_READ, &[], &[], &selection(&[])).unwrap()[4..], [0; 8]);
}

#[test]
fn read_refuses_what_does_not_unmarshal() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::PCR_READ, &[], &[], &selection(&[(0x13, 1)])), Err(param(1, HASH)));
    assert_eq!(
        tpm.run(cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 4, 0, 0, 0, 0]),
        Err(param(1, VALUE)),
        "sizeofSelect"
    );
    assert_eq!(tpm.run(cc::PCR_READ, &[], &[], &selection(&[(alg::SHA1, 1); 9])), Err(param(1, SIZE)));
}

#[test]
fn an_allocation_takes_effect_at_the_next_init() {
    let mut tpm = Fixture::new();
    let reply = tpm
        .with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SHA1, 0), (alg::SHA256, 0x00_ffff)]))
        .unwrap();
    let needed = 16 * 32 + 24 * (48 + 64);
    assert_eq!(
        reply,
        [&[1u8][..], &24u32.to_be_bytes(), &u32::to_be_bytes(needed), &u32::to_be_bytes(24 * (20 + 32 + 48 + 64 + 32))]
            .concat()
    );
    assert_eq!(read(&mut tpm, alg::SHA1, 0), Some(vec![0; 20]), "still the old one");
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, alg::SHA1, 0), None);
    assert_eq!(read(&mut tpm, alg::SHA256, 15), Some(vec![0; 32]));
    assert_eq!(read(&mut tpm, alg::SHA256, 16), None);
    assert_eq!(read(&mut tpm, alg::SHA512, 23), Some(vec![0; 64]), "a bank that was not named");
    assert_eq!(extend(&mut tpm, 0, &[(alg::SHA1, &[1; 20])]), Ok(vec![]), "nothing to extend");
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT);
    assert_eq!(
        tpm.with(cc::PCR_EVENT, &[16], &[b""], &tpm2b(b"x")).unwrap()[..6],
        [0, 0, 0, 2, 0, 0xc],
        "the banks that have PCR 16"
    );
}

#[test]
fn sm3_is_a_bank_that_can_be_allocated() {
    let mut tpm = Fixture::new();
    assert_eq!(read(&mut tpm, alg::SM3, 0), None);
    let reply = tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SM3, 0xff_ffff)])).unwrap();
    assert_eq!(reply[5..9], reply[9..13], "all that there is");
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, alg::SM3, 0), Some(vec![0; 32]));
    assert_eq!(tpm.with(cc::PCR_EVENT, &[NULL], &[b""], &tpm2b(b"x")).unwrap()[..4], [0, 0, 0, 5]);
}

#[test]
fn of_a_bank_named_twice_the_last_allocation_counts() {
    let mut tpm = Fixture::new();
    assert!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SHA1, 0), (alg::SHA1, 1)])).is_ok());
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, alg::SHA1, 0), Some(vec![0; 20]));
    assert_eq!(read(&mut tpm, alg::SHA1, 1), None);
}

/// Part 3, 22.5.1: each TPM2_PCR_Allocate before _TPM_Init overwrites the stored one, and the banks that it does not
/// list stay as they are.
#[test]
fn a_second_allocation_overwrites_the_first() {
    let mut tpm = Fixture::new();
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SHA384, 0)])).unwrap();
    let reply = tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SHA512, 0)])).unwrap();
    assert_eq!(reply[5..9], u32::to_be_bytes(24 * (20 + 32 + 48)), "sizeNeeded");
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, alg::SHA384, 0), Some(vec![0; 48]), "of the first nothing is left");
    assert_eq!(read(&mut tpm, alg::SHA512, 0), None);
    // One that is refused overwrites nothing; the last one may take all back.
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SHA384, 0)])).unwrap();
    let refused = selection(&[(alg::SHA1, 0), (alg::SHA256, 0), (alg::SHA384, 0)]);
    assert_eq!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &refused), Err(PCR));
    tpm.restart(None, 0);
    assert_eq!((read(&mut tpm, alg::SHA384, 0), read(&mut tpm, alg::SHA512, 0)), (None, None));
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[(alg::SHA384, 0xff_ffff)])).unwrap();
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[])).unwrap();
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, alg::SHA384, 0), None);
}

#[test]
fn an_allocation_must_leave_pcr_0_and_17() {
    let mut tpm = Fixture::new();
    let none = |pcr: u32| [alg::SHA1, alg::SHA256, alg::SHA384, alg::SHA512].map(|alg| (alg, 0xff_ffff & !(1 << pcr)));
    assert_eq!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&none(0))), Err(PCR));
    assert_eq!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&none(17))), Err(PCR));
    assert!(tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&none(1))).is_ok());
    assert_eq!(tpm.with(cc::PCR_ALLOCATE, &[OWNER], &[b""], &selection(&[])), Err(handle(1, VALUE)));
}

#[test]
fn after_an_allocation_the_state_cannot_be_saved() {
    let mut tpm = Fixture::new();
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[])).unwrap();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Err(param(1, TYPE)));
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 0]), Ok(vec![]));
    tpm.restart(None, 0);
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
}

#[test]
fn resume_preserves_pcr_0_to_15_and_the_counter() {
    let mut tpm = Fixture::new();
    extend(&mut tpm, 15, &[(alg::SHA256, &[1; 32])]).unwrap();
    extend(&mut tpm, 16, &[(alg::SHA256, &[1; 32])]).unwrap();
    let saved = read(&mut tpm, alg::SHA256, 15);
    tpm.restart(Some(1), 1);
    assert_eq!(read(&mut tpm, alg::SHA256, 15), saved);
    assert_eq!(read(&mut tpm, alg::SHA256, 16), Some(vec![0; 32]));
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT + 1 + 4, "PCR 17 to 20 have changed by the start");
    tpm.restart(Some(1), 0);
    assert_eq!(read(&mut tpm, alg::SHA256, 15), Some(vec![0; 32]), "TPM Restart");
    assert_eq!(update_counter(&mut tpm), 2 * FIRST_COUNT + 1 + 4, "so a policy that was saved before does not hold");
    tpm.restart(None, 0);
    assert_eq!(update_counter(&mut tpm), FIRST_COUNT, "TPM Reset");
}

#[test]
fn an_extend_after_shutdown_cannot_be_undone_by_resume() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
    extend(&mut tpm, 0, &[(alg::SHA256, &[1; 32])]).unwrap();
    tpm.power_cycle();
    assert_eq!(
        tpm.run(cc::STARTUP, &[], &[], &[0, 1]),
        Err(param(1, VALUE)),
        "the saved state would not have the event"
    );
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    tpm.with(cc::PCR_EVENT, &[15], &[b""], &tpm2b(b"x")).unwrap();
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)));
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&[])).unwrap();
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)), "a new bank would be empty");
}

#[test]
fn an_extend_of_a_pcr_that_is_not_saved_leaves_the_shutdown_valid() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
    extend(&mut tpm, 16, &[(alg::SHA256, &[1; 32])]).unwrap();
    tpm.with(cc::PCR_RESET, &[23], &[b""], &[]).unwrap();
    extend(&mut tpm, NULL, &[]).unwrap();
    tpm.restart(None, 1);
    assert_eq!(read(&mut tpm, alg::SHA256, 16), Some(vec![0; 32]));
}

/// PCR 0 after `TPM2_Startup` and before any extend: zeros and the locality, if there was no H-CRTM.
fn first_value(locality: u8) -> Vec<u8> {
    [vec![0; 31], vec![locality]].concat()
}

/// PCR 0 after an H-CRTM event.
fn hcrtm_value(event: &[u8]) -> Vec<u8> {
    Sha256::digest([first_value(4), Sha256::digest(event).to_vec()].concat()).to_vec()
}

#[test]
fn pcr_0_starts_from_the_locality_of_startup() {
    for locality in [0, 3] {
        let mut tpm = Fixture::unstarted();
        tpm.locality = locality;
        assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
        assert_eq!(read(&mut tpm, alg::SHA256, 0), Some(first_value(locality)));
        assert_eq!(read(&mut tpm, alg::SHA1, 0).unwrap()[19], locality, "in every bank");
        assert_eq!(read(&mut tpm, alg::SHA256, 1), Some(vec![0; 32]));
    }
}

#[test]
fn an_hcrtm_event_before_startup_extends_pcr_0_from_locality_4() {
    for locality in [0, 3] {
        let mut tpm = Fixture::unstarted();
        tpm.tpm.hash_start();
        tpm.tpm.hash_data(b"boot ");
        tpm.tpm.hash_data(b"block");
        assert!(tpm.tpm.hash_end());
        tpm.locality = locality;
        assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
        assert_eq!(
            read(&mut tpm, alg::SHA256, 0),
            Some(hcrtm_value(b"boot block")),
            "whatever the locality of TPM2_Startup"
        );
        assert_eq!(read(&mut tpm, alg::SHA256, 17), Some(vec![0xff; 32]), "no D-RTM");
        assert_eq!(
            read(&mut tpm, alg::SHA384, 0),
            Some(Sha384::digest([&[0; 47][..], &[4], &Sha384::digest(b"boot block")].concat()).to_vec())
        );
    }
}

/// Part 3, 22.11: an event after TPM2_Startup increments pcrUpdateCounter. One before it is part of what TPM2_Startup
/// counts.
#[test]
fn an_hcrtm_event_before_a_tpm_restart_does_not_count_twice() {
    let [with, without] = [true, false].map(|event| {
        let mut tpm = Fixture::new();
        assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]), Ok(vec![]));
        tpm.power_cycle();
        if event {
            tpm.tpm.hash_start();
            assert!(tpm.tpm.hash_end());
        }
        assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
        update_counter(&mut tpm)
    });
    assert_eq!(with, without);
}

#[test]
fn a_drtm_event_after_startup_resets_pcr_17_to_22_and_extends_17() {
    let mut tpm = Fixture::new();
    extend(&mut tpm, 16, &[(alg::SHA256, &[1; 32])]).unwrap();
    let kept = read(&mut tpm, alg::SHA256, 16);
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"launch");
    assert!(tpm.tpm.hash_end());
    let launched = Sha256::digest([&[0; 32][..], &Sha256::digest(b"launch")].concat()).to_vec();
    assert_eq!(read(&mut tpm, alg::SHA256, 17), Some(launched));
    for pcr in 18..=22 {
        assert_eq!(read(&mut tpm, alg::SHA256, pcr), Some(vec![0; 32]), "PCR {pcr}");
    }
    assert_eq!(read(&mut tpm, alg::SHA256, 16), kept);
    assert_eq!(read(&mut tpm, alg::SHA256, 0), Some(vec![0; 32]));
    assert!(update_counter(&mut tpm) > FIRST_COUNT, "a policy over these PCR no longer holds");
}

/// Part 3, 22.1 and 22.11: the event extends one PCR in each bank, which counts once for each; what it resets before is
/// no command's reset.
#[test]
fn a_drtm_event_counts_once_for_each_bank() {
    let mut tpm = Fixture::new();
    let before = update_counter(&mut tpm);
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"launch");
    assert!(tpm.tpm.hash_end());
    assert_eq!(update_counter(&mut tpm), before + 4);
}

#[test]
fn an_event_needs_its_start_and_no_command_between() {
    let mut tpm = Fixture::new();
    tpm.tpm.hash_data(b"x");
    assert!(!tpm.tpm.hash_end(), "no _TPM_Hash_Start");
    tpm.tpm.hash_start();
    read(&mut tpm, alg::SHA256, 0);
    tpm.tpm.hash_data(b"x");
    assert!(!tpm.tpm.hash_end(), "a command came between");
    tpm.tpm.hash_start();
    tpm.tpm.hash_data(b"forgotten");
    tpm.tpm.hash_start();
    assert!(tpm.tpm.hash_end(), "an empty event");
    let empty = Sha256::digest([&[0; 32][..], &Sha256::digest(b"")].concat()).to_vec();
    assert_eq!(read(&mut tpm, alg::SHA256, 17), Some(empty));
    assert!(!tpm.tpm.hash_end(), "it is over");
    tpm.tpm.hash_start();
    tpm.power_cycle();
    assert!(!tpm.tpm.hash_end(), "_TPM_Init ends it");
}

#[test]
fn an_event_goes_only_to_banks_that_have_the_pcr() {
    let mut tpm = Fixture::new();
    let banks = [(alg::SHA1, 0xff_ffff), (alg::SHA256, 0xff_fffe), (alg::SHA384, 0xff_ffff), (alg::SHA512, 0xff_ffff)];
    tpm.with(cc::PCR_ALLOCATE, &[PLATFORM], &[b""], &selection(&banks)).unwrap();
    tpm.power_cycle();
    tpm.tpm.hash_start();
    assert!(tpm.tpm.hash_end());
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(read(&mut tpm, alg::SHA256, 0), None);
    assert!(read(&mut tpm, alg::SHA1, 0).is_some_and(|value| value != [0; 20]));
}

#[test]
fn tn_f_4745_pcr_20_to_22_have_an_auth_value_until_restart() {
    let mut tpm = Fixture::new();
    tpm.locality = 2;
    for pcr in (0..20).chain([23]) {
        assert_eq!(
            tpm.with(cc::PCR_SET_AUTH_VALUE, &[pcr], &[b""], &tpm2b(b"pw")),
            Err(plain(VALUE)),
            "PCR {pcr}: VALUE, no position"
        );
    }
    assert_eq!(tpm.with(cc::PCR_SET_AUTH_VALUE, &[20], &[b""], &tpm2b(b"pw\0\0")), Ok(vec![]));
    for pcr in 20..=22 {
        assert_eq!(extend(&mut tpm, pcr, &[]), Err(session(1, BAD_AUTH)), "tn F-4745: PCR {pcr}");
        assert_eq!(tpm.with(cc::PCR_RESET, &[pcr], &[b""], &[]), Err(session(1, BAD_AUTH)));
        assert_eq!(tpm.with(cc::PCR_EXTEND, &[pcr], &[b"pw"], &digests(&[])), Ok(vec![]));
    }
    assert_eq!(extend(&mut tpm, 23, &[]), Ok(vec![]), "all others have none");
    assert_eq!(tpm.with(cc::PCR_SET_AUTH_VALUE, &[21], &[b""], &tpm2b(b"")), Err(session(1, BAD_AUTH)));
    tpm.locality = 0;
    tpm.restart(Some(1), 1);
    tpm.locality = 2;
    assert_eq!(extend(&mut tpm, 20, &[]), Err(session(1, BAD_AUTH)), "TPM Resume");
    tpm.locality = 0;
    tpm.restart(Some(1), 0);
    tpm.locality = 2;
    assert_eq!(extend(&mut tpm, 20, &[]), Ok(vec![]), "TPM Restart");
}

#[test]
fn set_auth_value_refuses_what_does_not_unmarshal() {
    let mut tpm = Fixture::new();
    assert_eq!(tpm.with(cc::PCR_SET_AUTH_VALUE, &[24], &[b""], &tpm2b(b"")), Err(handle(1, VALUE)));
    assert_eq!(tpm.with(cc::PCR_SET_AUTH_VALUE, &[NULL], &[b""], &tpm2b(b"")), Err(handle(1, VALUE)));
    assert_eq!(tpm.with(cc::PCR_SET_AUTH_VALUE, &[20], &[b""], &tpm2b(&[1; 65])), Err(param(1, SIZE)));
    assert_eq!(tpm.run(cc::PCR_SET_AUTH_VALUE, &[20], &[], &tpm2b(b"")), Err(AUTH_MISSING));
}

#[test]
fn set_auth_value_voids_a_shutdown() {
    let mut tpm = Fixture::new();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    tpm.with(cc::PCR_SET_AUTH_VALUE, &[20], &[b""], &tpm2b(b"pw")).unwrap();
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)));
}

fn set_auth_policy(tpm: &mut Fixture, by: u32, policy: &[u8], alg: u16, pcr: u32) -> Outcome {
    tpm.with(
        cc::PCR_SET_AUTH_POLICY,
        &[by],
        &[b""],
        &[&tpm2b(policy)[..], &alg.to_be_bytes(), &pcr.to_be_bytes()].concat(),
    )
}

#[test]
fn pcr_with_a_policy_need_it() {
    let mut tpm = Fixture::new();
    tpm.locality = 2;
    assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[7; 32], alg::SHA256, 21), Ok(vec![]));
    for pcr in 20..=22 {
        assert_eq!(extend(&mut tpm, pcr, &[]), Err(AUTH_TYPE), "PCR {pcr}: a password will not do");
    }
    assert_eq!(tpm.with(cc::PCR_SET_AUTH_VALUE, &[22], &[b""], &tpm2b(b"")), Err(AUTH_TYPE));
    assert_eq!(extend(&mut tpm, 23, &[]), Ok(vec![]));
    tpm.locality = 0;
    tpm.restart(None, 0);
    tpm.locality = 2;
    assert_eq!(extend(&mut tpm, 20, &[]), Err(AUTH_TYPE), "it is persistent");
    assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[], 0x10, 20), Ok(vec![]));
    assert_eq!(extend(&mut tpm, 20, &[]), Ok(vec![]), "no policy");
}

#[test]
fn set_auth_policy_checks_its_parameters() {
    let mut tpm = Fixture::new();
    assert_eq!(set_auth_policy(&mut tpm, OWNER, &[7; 32], alg::SHA256, 20), Err(handle(1, VALUE)));
    for size in [0, 31, 33] {
        assert_eq!(
            set_auth_policy(&mut tpm, PLATFORM, &vec![7; size], alg::SHA256, 0),
            Err(param(1, SIZE)),
            "before the PCR"
        );
    }
    assert_eq!(
        set_auth_policy(&mut tpm, PLATFORM, &[7; 32], 0x10, 20),
        Err(param(1, SIZE)),
        "TPM_ALG_NULL has no digests"
    );
    assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[7; 65], alg::SHA256, 20), Err(param(1, SIZE)));
    assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[7; 32], 0x1234, 20), Err(param(2, HASH)));
    assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[7; 32], alg::SHA256, 24), Err(param(3, VALUE)));
    assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[7; 32], alg::SHA256, NULL), Err(param(3, VALUE)));
    for pcr in [0, 16, 19, 23] {
        assert_eq!(set_auth_policy(&mut tpm, PLATFORM, &[7; 32], alg::SHA256, pcr), Err(param(3, VALUE)), "PCR {pcr}");
    }
    let missing = tpm.run(cc::PCR_SET_AUTH_POLICY, &[PLATFORM], &[], &[]);
    assert_eq!(missing, Err(AUTH_MISSING));
}
