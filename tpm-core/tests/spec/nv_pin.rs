//! PIN Pass and PIN Fail indices (Part 1, 34.2.8): what a use of their authValue counts.

use crate::harness::Fixture;
use crate::harness::nv::{INDEX, OTHER, PIN, a, act, define, define_as, public, read, write};
use client::codes::{
    AUTH_FAIL, AUTH_UNAVAILABLE, BAD_AUTH, LOCKOUT, NV_AUTHORIZATION, NV_RANGE, OWNER, param, session,
};
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;

const PIN_FAIL: u32 = PIN | a::PIN_FAIL;
const PIN_PASS: u32 = PIN | a::PIN_PASS;

/// The owner sets pinCount and pinLimit.
fn set(tpm: &mut Fixture, index: u32, count: u32, limit: u32) {
    let data = [count.to_be_bytes(), limit.to_be_bytes()].concat();
    assert_eq!(write(tpm, OWNER, index, &data, 0), Ok(vec![]));
}

/// pinCount, as the owner sees it.
fn pin_count(tpm: &mut Fixture, index: u32) -> u32 {
    u32::from_be_bytes(read(tpm, OWNER, index, 4, 0).unwrap().try_into().unwrap())
}

/// TPM2_NV_Read of the index with this as its authValue.
fn try_pin(tpm: &mut Fixture, index: u32, pin: &[u8]) -> Outcome {
    tpm.with(cc::NV_READ, &[index, index], &[pin], &[0, 0, 0, 0]).map(|_| vec![])
}

#[test]
fn pin_fail_counts_failures_until_a_success() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_FAIL, 8).unwrap();
    set(&mut tpm, INDEX, 0, 3);
    for n in 1..=2 {
        assert_eq!(try_pin(&mut tpm, INDEX, b"no"), Err(session(1, BAD_AUTH)), "without consequence for others");
        assert_eq!(pin_count(&mut tpm, INDEX), n);
    }
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Ok(vec![]));
    assert_eq!(pin_count(&mut tpm, INDEX), 0, "a success resets it");
    for _ in 0..3 {
        assert_eq!(try_pin(&mut tpm, INDEX, b"no"), Err(session(1, BAD_AUTH)));
    }
    for _ in 0..2 {
        assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Err(AUTH_UNAVAILABLE), "pinLimit is reached");
    }
    assert_eq!(pin_count(&mut tpm, INDEX), 3, "a use that was not admitted does not count");
    tpm.restart(None, 0);
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Err(AUTH_UNAVAILABLE), "a power cycle does not help");
    set(&mut tpm, INDEX, 2, 3);
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Ok(vec![]));
}

#[test]
fn pin_pass_counts_successes() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_PASS, 8).unwrap();
    set(&mut tpm, INDEX, 0, 2);
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Ok(vec![]));
    assert_eq!(pin_count(&mut tpm, INDEX), 1);
    for _ in 0..4 {
        assert_eq!(try_pin(&mut tpm, INDEX, b"no"), Err(session(1, BAD_AUTH)));
    }
    assert_eq!(pin_count(&mut tpm, INDEX), 1, "failures do not count");
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Ok(vec![]));
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Err(AUTH_UNAVAILABLE));
    assert_eq!(try_pin(&mut tpm, INDEX, b"no"), Err(AUTH_UNAVAILABLE), "no word on whether it would be right");
    assert_eq!(pin_count(&mut tpm, INDEX), 2);
}

#[test]
fn a_use_counts_even_if_the_command_fails() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_PASS, 8).unwrap();
    set(&mut tpm, INDEX, 0, 9);
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"pw"], &[0, 9, 0, 0]), Err(NV_RANGE));
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, INDEX], &[b"pw"], &[0, 0, 0, 9]), Err(param(2, client::codes::VALUE)));
    assert_eq!(pin_count(&mut tpm, INDEX), 2);
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    assert_eq!(tpm.with(cc::NV_READ, &[INDEX, OTHER], &[b"pw"], &[0; 4]), Err(NV_AUTHORIZATION));
    assert_eq!(pin_count(&mut tpm, INDEX), 3);
}

#[test]
fn before_it_is_written_a_pin_cannot_be_used() {
    let mut tpm = Fixture::new();
    for kind in [PIN_FAIL, PIN_PASS] {
        define(&mut tpm, INDEX, kind, 8).unwrap();
        assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Err(AUTH_UNAVAILABLE));
        set(&mut tpm, INDEX, 0, 0);
        assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Err(AUTH_UNAVAILABLE), "pinLimit is zero");
        set(&mut tpm, INDEX, 0, 1);
        assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Ok(vec![]));
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
    }
}

#[test]
fn the_pin_does_not_authorize_writing() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_FAIL, 8).unwrap();
    set(&mut tpm, INDEX, 1, 3);
    let write = tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b"pw"], &[&tpm2b(&[0; 8])[..], &[0, 0]].concat());
    assert_eq!(write, Err(AUTH_UNAVAILABLE), "there is no TPMA_NV_AUTHWRITE");
    assert_eq!(pin_count(&mut tpm, INDEX), 1, "so it was not used");
}

#[test]
fn other_uses_than_reading_count_as_well() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_PASS | a::READ_STCLEAR, 8).unwrap();
    set(&mut tpm, INDEX, 0, 9);
    assert_eq!(act(&mut tpm, cc::NV_READ_LOCK, INDEX, INDEX), Ok(vec![]));
    tpm.restart(None, 0);
    assert_eq!(pin_count(&mut tpm, INDEX), 1);
}

#[test]
fn tn_f_5278_a_pin_pass_index_without_no_da_is_under_dictionary_attack_protection() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_PASS & !a::NO_DA, 8).unwrap();
    define(&mut tpm, OTHER, PIN_PASS, 8).unwrap();
    set(&mut tpm, INDEX, 0, 9);
    set(&mut tpm, OTHER, 0, 9);
    for _ in 0..32 {
        assert_eq!(try_pin(&mut tpm, INDEX, b"no"), Err(session(1, AUTH_FAIL)));
    }
    assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), Err(LOCKOUT));
    assert_eq!(try_pin(&mut tpm, OTHER, b"pw"), Ok(vec![]), "TPMA_NV_NO_DA");
    assert_eq!(pin_count(&mut tpm, INDEX), 0);
}

#[test]
fn a_pin_index_has_eight_octets() {
    let mut tpm = Fixture::new();
    for kind in [PIN_FAIL, PIN_PASS] {
        for size in [0, 4, 7, 9, 16] {
            assert_eq!(define(&mut tpm, INDEX, kind, size), Err(param(2, client::codes::SIZE)));
        }
    }
    assert_eq!(define_as(&mut tpm, OWNER, b"", &public(INDEX, PIN_FAIL, &[], 8)), Ok(vec![]));
}

/// Part 1, 34.2.6.6: "Any octets not initialized by the first write will have a value of zero." A pinLimit of ones
/// would be none.
#[test]
fn what_the_first_write_of_a_pin_leaves_out_is_zero() {
    let mut tpm = Fixture::new();
    for attributes in [PIN_FAIL, PIN_PASS, PIN_FAIL | a::ORDERLY] {
        for (data, offset, contents) in [
            (&[][..], 0, [0; 8]),
            (&[0, 0, 0, 0], 0, [0; 8]),
            (&[7], 4, [0, 0, 0, 0, 7, 0, 0, 0]),
            (&[0, 0, 0, 7], 4, [0, 0, 0, 0, 0, 0, 0, 7]),
        ] {
            define(&mut tpm, INDEX, attributes, 8).unwrap();
            assert_eq!(write(&mut tpm, OWNER, INDEX, data, offset), Ok(vec![]));
            assert_eq!(read(&mut tpm, OWNER, INDEX, 8, 0), Ok(contents.to_vec()));
            let expected = if contents == [0; 8] { Err(AUTH_UNAVAILABLE) } else { Ok(vec![]) };
            assert_eq!(try_pin(&mut tpm, INDEX, b"pw"), expected, "{data:?}");
            act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
        }
    }
}

#[test]
fn a_count_in_ram_that_voids_a_shutdown() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, PIN_FAIL | a::ORDERLY, 8).unwrap();
    set(&mut tpm, INDEX, 0, 3);
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    assert_eq!(try_pin(&mut tpm, INDEX, b"no"), Err(session(1, BAD_AUTH)));
    tpm.power_cycle();
    assert_eq!(
        tpm.run(cc::STARTUP, &[], &[], &[0, 1]),
        Err(param(1, client::codes::VALUE)),
        "no resume with the old count"
    );
}
