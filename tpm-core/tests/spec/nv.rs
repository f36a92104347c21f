//! Part 3, 31: NV commands, with password authorizations; other sessions are in sessions_use.rs.

use crate::harness::Fixture;
use crate::harness::nv::{
    INDEX, OTHER, PIN, a, act, attributes, count, define, define_as, extend, public, read, set_bits, write,
};
use client::codes::{
    ATTRIBUTES, AUTH_FAIL, AUTH_MISSING, AUTH_TYPE, AUTH_UNAVAILABLE, BAD_AUTH, HANDLE, HASH, INSUFFICIENT, LOCKOUT,
    NV_AUTHORIZATION, NV_DEFINED, NV_LOCKED, NV_RANGE, NV_SPACE, NV_UNINITIALIZED, OWNER, PLATFORM, RESERVED_BITS,
    SELECTOR, SIZE, VALUE, handle, param, plain, session,
};
use client::tpm2b;
use sha2::{Digest, Sha256};
use tpm_core::cc;

#[test]
fn what_is_written_is_read() {
    let mut tpm = Fixture::new();
    assert_eq!(define(&mut tpm, INDEX, a::AUTH | a::OWNERREAD | a::OWNERWRITE, 8), Ok(vec![]));
    assert_eq!(write(&mut tpm, INDEX, INDEX, b"abc", 2), Ok(vec![]));
    assert_eq!(
        read(&mut tpm, INDEX, INDEX, 8, 0).unwrap(),
        [0xff, 0xff, b'a', b'b', b'c', 0xff, 0xff, 0xff],
        "ones where nothing was written"
    );
    assert_eq!(write(&mut tpm, OWNER, INDEX, b"XY", 0), Ok(vec![]));
    assert_eq!(read(&mut tpm, OWNER, INDEX, 4, 1).unwrap(), *b"Yabc");
    assert_eq!(read(&mut tpm, OWNER, INDEX, 0, 8).unwrap(), []);
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, OWNER, INDEX, 4, 1).unwrap(), *b"Yabc");
}

#[test]
fn an_empty_write_counts_as_written() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH, 2).unwrap();
    assert_eq!(write(&mut tpm, INDEX, INDEX, b"", 2), Ok(vec![]));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 2, 0).unwrap(), [0xff, 0xff]);
    define(&mut tpm, OTHER, a::AUTH, 0).unwrap();
    assert_eq!(write(&mut tpm, OTHER, OTHER, b"", 0), Ok(vec![]), "an index without contents");
}

#[test]
fn read_public_gives_public_area_and_name() {
    let mut tpm = Fixture::new();
    let area = public(INDEX, a::AUTH, &[7; 32], 8);
    define_as(&mut tpm, OWNER, b"", &area).unwrap();
    let name = |area: &[u8]| [&[0, 0xb][..], &Sha256::digest(area)].concat();
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]), Ok([tpm2b(&area), tpm2b(&name(&area))].concat()));
    tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b""], &[0, 1, 9, 0, 0]).unwrap();
    let written = public(INDEX, a::AUTH | a::WRITTEN, &[7; 32], 8);
    assert_eq!(
        tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]),
        Ok([tpm2b(&written), tpm2b(&name(&written))].concat()),
        "writing changes the Name"
    );
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC, &[OTHER], &[], &[]), Err(handle(1, HANDLE)));
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC, &[OWNER], &[], &[]), Err(handle(1, VALUE)));
}

#[test]
fn define_refuses_what_does_not_unmarshal() {
    let mut tpm = Fixture::new();
    let good = public(INDEX, a::AUTH, &[], 8);
    assert_eq!(define_as(&mut tpm, INDEX, b"", &good), Err(handle(1, VALUE)), "neither owner nor platform");
    assert_eq!(define_as(&mut tpm, OWNER, &[1; 65], &good), Err(param(1, SIZE)));
    assert_eq!(define_as(&mut tpm, OWNER, b"", &[]), Err(param(2, SIZE)));
    assert_eq!(define_as(&mut tpm, OWNER, b"", &[&good[..], &[0]].concat()), Err(param(2, SIZE)), "an octet more");
    assert_eq!(
        define_as(&mut tpm, OWNER, b"", &public(0x8150_0000, a::AUTH, &[], 8)),
        Err(param(2, VALUE)),
        "no NV handle"
    );
    let sm4 = [&good[..4], &[0, 0x13], &good[6..]].concat();
    assert_eq!(define_as(&mut tpm, OWNER, b"", &sm4), Err(param(2, HASH)));
    for reserved in [8, 9, 20, 21, 22, 23, 24] {
        assert_eq!(define(&mut tpm, INDEX, a::AUTH | 1 << reserved, 8), Err(param(2, RESERVED_BITS)), "bit {reserved}");
    }
    assert_eq!(define(&mut tpm, INDEX, a::AUTH, 4097), Err(param(2, SIZE)), "more than NV_INDEX_MAX");
    assert_eq!(define(&mut tpm, INDEX, a::AUTH, 4096), Ok(vec![]));
}

#[test]
fn define_checks_the_sizes_of_policy_and_authorization() {
    let mut tpm = Fixture::new();
    for size in [1, 31, 33, 64] {
        assert_eq!(define_as(&mut tpm, OWNER, b"", &public(INDEX, a::AUTH, &vec![1; size], 8)), Err(param(2, SIZE)));
    }
    assert_eq!(define_as(&mut tpm, OWNER, &[1; 33], &public(INDEX, a::AUTH, &[], 8)), Err(param(1, SIZE)));
    let trailing = [&[1; 32][..], &[0; 20]].concat();
    assert_eq!(
        define_as(&mut tpm, OWNER, &trailing, &public(INDEX, a::AUTH, &[1; 32], 8)),
        Ok(vec![]),
        "zeros at the end do not count"
    );
    assert_eq!(tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[&[1; 32]], &[0, 0, 0, 0]), Ok(vec![]));
}

#[test]
fn each_type_has_its_size() {
    let mut tpm = Fixture::new();
    for (kind, good) in [(a::COUNTER, 8), (a::BITS, 8), (a::EXTEND, 32)] {
        for size in [0, 7, 9, 31, 33] {
            assert_eq!(define(&mut tpm, INDEX, a::AUTH | kind, size), Err(param(2, SIZE)), "{kind:#x} of {size}");
        }
        assert_eq!(define(&mut tpm, INDEX, a::AUTH | kind, good), Ok(vec![]));
        assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX), Ok(vec![]));
    }
    assert_eq!(define(&mut tpm, INDEX, a::AUTH | a::WRITEALL, 2049), Err(param(2, SIZE)), "cannot be written at once");
    assert_eq!(define(&mut tpm, INDEX, a::AUTH | a::WRITEALL, 2048), Ok(vec![]));
}

#[test]
fn attributes_must_go_together() {
    let mut tpm = Fixture::new();
    let bad = [
        a::AUTH | a::WRITTEN,
        a::AUTH | a::WRITELOCKED,
        a::AUTH | a::READLOCKED,
        a::AUTHWRITE,
        a::OWNERREAD | a::AUTHREAD,
        a::AUTH | a::CLEAR_STCLEAR | a::WRITEDEFINE,
        a::AUTH | a::CLEAR_STCLEAR | a::COUNTER,
        a::AUTH | a::POLICY_DELETE,
        a::AUTH | 3 << 4,
        a::AUTH | 15 << 4,
        a::AUTH | a::PIN_FAIL,
        a::AUTH | a::PIN_PASS,
        PIN | a::PIN_PASS | a::GLOBALLOCK,
        PIN | a::PIN_PASS | a::WRITEDEFINE,
        PIN & !a::NO_DA | a::PIN_FAIL,
        PIN | a::PIN_FAIL | a::GLOBALLOCK,
        PIN | a::PIN_FAIL | a::WRITEDEFINE,
    ];
    for attributes in bad {
        assert_eq!(define(&mut tpm, INDEX, attributes, 8), Err(param(2, ATTRIBUTES)), "{attributes:#x}");
    }
    for access in [a::PPWRITE | a::PPREAD, a::OWNERWRITE | a::OWNERREAD, a::POLICYWRITE | a::POLICYREAD] {
        assert_eq!(define(&mut tpm, INDEX, access, 8), Ok(vec![]));
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
    }
}

#[test]
fn platformcreate_tells_who_defines() {
    let mut tpm = Fixture::new();
    assert_eq!(
        define_as(&mut tpm, OWNER, b"", &public(INDEX, a::AUTH | a::PLATFORMCREATE, &[], 8)),
        Err(handle(1, ATTRIBUTES))
    );
    assert_eq!(define_as(&mut tpm, PLATFORM, b"", &public(INDEX, a::AUTH, &[], 8)), Err(handle(1, ATTRIBUTES)));
    assert_eq!(define(&mut tpm, INDEX, a::AUTH | a::PLATFORMCREATE, 8), Ok(vec![]));
    assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX), Err(NV_AUTHORIZATION));
    assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, PLATFORM, INDEX), Ok(vec![]));
    define(&mut tpm, INDEX, a::AUTH, 8).unwrap();
    assert_eq!(
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, PLATFORM, INDEX),
        Ok(vec![]),
        "the platform deletes what is the owner's"
    );
    assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX), Err(handle(2, HANDLE)));
    assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, INDEX, INDEX), Err(handle(1, VALUE)));
    // HIERARCHY of TPM2_NV_DefineSpace needs phEnableNV CLEAR: in hierarchy tests.
}

#[test]
fn space_and_handles_run_out() {
    let mut tpm = Fixture::new();
    assert_eq!(define(&mut tpm, INDEX, a::AUTH, 8), Ok(vec![]));
    assert_eq!(define(&mut tpm, INDEX, a::AUTH, 8), Err(NV_DEFINED));
    for n in 1..16 {
        assert_eq!(define(&mut tpm, INDEX + n, a::AUTH, 4096), Ok(vec![]));
    }
    assert_eq!(define(&mut tpm, INDEX + 16, a::AUTH, 4096), Err(NV_SPACE));
    assert_eq!(define(&mut tpm, INDEX + 16, a::AUTH, 4088), Ok(vec![]), "to the last octet");
    assert_eq!(define(&mut tpm, INDEX + 17, a::AUTH, 1), Err(NV_SPACE));
    for n in 17..256 {
        assert_eq!(define(&mut tpm, INDEX + n, a::AUTH, 0), Ok(vec![]));
    }
    assert_eq!(define(&mut tpm, INDEX + 256, a::AUTH, 0), Err(NV_SPACE), "MAX_NV_INDICES");
}

/// Handles that differ in their lowest octets, in their highest, and in all, in no order.
#[test]
fn each_of_as_many_indices_as_there_can_be_is_found() {
    let handles: Vec<u32> = (0..256_u32)
        .map(|n| match n * 89 % 256 {
            n @ ..100 => INDEX + n,
            n @ 100..200 => 0x0100_0007 + (n << 16),
            n => 0x01ff_ffff - n * n * 7,
        })
        .collect();
    let mut tpm = Fixture::new();
    let mut defined = std::collections::BTreeMap::new();
    let compare = |tpm: &mut Fixture, defined: &std::collections::BTreeMap<u32, u8>| {
        let known: Vec<u32> = defined.keys().copied().collect();
        let (mut listed, mut first) = (Vec::new(), 0x0100_0000_u32);
        loop {
            let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[1, first, 100].map(u32::to_be_bytes).concat()).unwrap();
            listed.extend(reply[9..].chunks(4).map(|h| u32::from_be_bytes(h.try_into().unwrap())));
            if reply[0] == 0 {
                break;
            }
            first = listed.last().unwrap() + 1;
        }
        assert_eq!(listed, known, "TPM2_GetCapability, ascending");
        for handle in &handles {
            let read = tpm.with(cc::NV_READ, &[*handle, *handle], &[b"pw"], &[0, 1, 0, 0]);
            let wanted = defined.get(handle).map(|octet| vec![0, 1, *octet]);
            assert_eq!(read.ok(), wanted, "{handle:#x}");
            assert!(tpm.run(cc::NV_READ_PUBLIC, &[handle ^ 0x800], &[], &[]).is_err(), "beside {handle:#x}");
        }
    };
    for (n, handle) in (0..=u8::MAX).zip(&handles) {
        assert_eq!(define(&mut tpm, *handle, a::AUTH, 1), Ok(vec![]), "{handle:#x}");
        write(&mut tpm, *handle, *handle, &[n], 0).unwrap();
        defined.insert(*handle, n);
        if [0, 1, 2, 3, 63, 64, 127, 128, 254, 255].contains(&n) {
            compare(&mut tpm, &defined);
        }
    }
    assert_eq!(define(&mut tpm, 0x01ff_ffff, a::AUTH, 1), Err(NV_SPACE));
    for handle in handles.iter().step_by(2) {
        assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, *handle), Ok(vec![]));
        defined.remove(handle);
    }
    compare(&mut tpm, &defined);
}

#[test]
fn undefining_moves_no_contents_of_others() {
    let mut tpm = Fixture::new();
    for n in 0..4u8 {
        define(&mut tpm, INDEX + u32::from(n), a::AUTH, 16).unwrap();
        write(&mut tpm, INDEX + u32::from(n), INDEX + u32::from(n), &[n; 16], 0).unwrap();
    }
    act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX + 1).unwrap();
    define(&mut tpm, INDEX + 1, a::AUTH, 4).unwrap();
    write(&mut tpm, INDEX + 1, INDEX + 1, &[9; 4], 0).unwrap();
    for n in [0, 2, 3] {
        assert_eq!(read(&mut tpm, INDEX + u32::from(n), INDEX + u32::from(n), 16, 0).unwrap(), [n; 16]);
    }
    assert_eq!(read(&mut tpm, INDEX + 1, INDEX + 1, 4, 0).unwrap(), [9; 4]);
}

#[test]
fn ranges_of_write_and_read() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH, 8).unwrap();
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_UNINITIALIZED));
    assert_eq!(write(&mut tpm, INDEX, INDEX, b"", 9), Err(param(2, VALUE)));
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 9], 0), Err(NV_RANGE));
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 2], 7), Err(NV_RANGE));
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 2049], 0), Err(param(1, SIZE)), "more than NV_BUFFER_MAX");
    assert_eq!(attributes(&mut tpm, INDEX) & a::WRITTEN, 0, "a write that failed wrote nothing");
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 8], 0), Ok(vec![]));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 2049, 0), Err(param(1, VALUE)));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 0, 9), Err(param(2, VALUE)));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 9, 0), Err(NV_RANGE));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 1, 8), Err(NV_RANGE));
    define(&mut tpm, OTHER, a::AUTH | a::WRITEALL, 8).unwrap();
    assert_eq!(write(&mut tpm, OTHER, OTHER, &[1; 7], 0), Err(NV_RANGE), "TPMA_NV_WRITEALL");
    assert_eq!(write(&mut tpm, OTHER, OTHER, &[1; 8], 0), Ok(vec![]));
}

#[test]
fn attributes_say_who_may_write_and_read() {
    let mut tpm = Fixture::new();
    let cases = [
        (a::AUTHWRITE | a::AUTHREAD, INDEX),
        (a::OWNERWRITE | a::OWNERREAD, OWNER),
        (a::PPWRITE | a::PPREAD, PLATFORM),
    ];
    for (attributes, who) in cases {
        define(&mut tpm, INDEX, attributes, 8).unwrap();
        for by in [INDEX, OWNER, PLATFORM] {
            let refused = if by == INDEX { AUTH_UNAVAILABLE } else { NV_AUTHORIZATION };
            let expected = if by == who { Ok(vec![]) } else { Err(refused) };
            assert_eq!(write(&mut tpm, by, INDEX, &[1; 8], 0), expected, "{attributes:#x} by {by:#x}");
        }
        for by in [INDEX, OWNER, PLATFORM] {
            let refused = if by == INDEX { AUTH_UNAVAILABLE } else { NV_AUTHORIZATION };
            let expected = if by == who { Ok(vec![1; 8]) } else { Err(refused) };
            assert_eq!(read(&mut tpm, by, INDEX, 8, 0), expected, "{attributes:#x} by {by:#x}");
        }
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
    }
}

#[test]
fn one_index_does_not_authorize_another() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::COUNTER, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    assert_eq!(write(&mut tpm, OTHER, INDEX, &[0; 8], 0), Err(NV_AUTHORIZATION));
    assert_eq!(read(&mut tpm, OTHER, INDEX, 8, 0), Err(NV_AUTHORIZATION));
    assert_eq!(act(&mut tpm, cc::NV_INCREMENT, OTHER, INDEX), Err(NV_AUTHORIZATION));
    assert_eq!(extend(&mut tpm, OTHER, INDEX, b""), Err(NV_AUTHORIZATION));
    assert_eq!(set_bits(&mut tpm, OTHER, INDEX, 1), Err(NV_AUTHORIZATION));
    assert_eq!(act(&mut tpm, cc::NV_WRITE_LOCK, OTHER, INDEX), Err(NV_AUTHORIZATION));
    assert_eq!(act(&mut tpm, cc::NV_READ_LOCK, OTHER, INDEX), Err(NV_AUTHORIZATION));
}

#[test]
fn each_command_is_for_its_type() {
    let mut tpm = Fixture::new();
    let kinds = [
        (0, 8, cc::NV_WRITE),
        (a::COUNTER, 8, cc::NV_INCREMENT),
        (a::BITS, 8, cc::NV_SET_BITS),
        (a::EXTEND, 32, cc::NV_EXTEND),
    ];
    for (kind, size, its_own) in kinds {
        define(&mut tpm, INDEX, a::AUTH | kind, size).unwrap();
        for code in [cc::NV_WRITE, cc::NV_INCREMENT, cc::NV_SET_BITS, cc::NV_EXTEND] {
            let outcome = match code {
                cc::NV_WRITE => write(&mut tpm, INDEX, INDEX, &[0; 8], 0),
                cc::NV_INCREMENT => act(&mut tpm, cc::NV_INCREMENT, INDEX, INDEX),
                cc::NV_SET_BITS => set_bits(&mut tpm, INDEX, INDEX, 1),
                _ => extend(&mut tpm, INDEX, INDEX, b"x"),
            };
            let expected = match code {
                _ if code == its_own => Ok(vec![]),
                cc::NV_WRITE => Err(plain(ATTRIBUTES)),
                _ => Err(handle(2, ATTRIBUTES)),
            };
            assert_eq!(outcome, expected, "command {code:#x}, type {kind:#x}");
        }
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
    }
}

#[test]
fn a_counter_starts_above_all_counters_that_ever_were() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::COUNTER, 8).unwrap();
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_UNINITIALIZED));
    for n in 1..=5 {
        assert_eq!(act(&mut tpm, cc::NV_INCREMENT, INDEX, INDEX), Ok(vec![]));
        assert_eq!(count(&mut tpm, INDEX), n);
    }
    define(&mut tpm, OTHER, a::AUTH | a::COUNTER, 8).unwrap();
    act(&mut tpm, cc::NV_INCREMENT, OTHER, OTHER).unwrap();
    assert_eq!(count(&mut tpm, OTHER), 6, "above one that is there");
    act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, OTHER).unwrap();
    tpm.restart(None, 0);
    define(&mut tpm, OTHER, a::AUTH | a::COUNTER | a::ORDERLY, 8).unwrap();
    act(&mut tpm, cc::NV_INCREMENT, OTHER, OTHER).unwrap();
    assert_eq!(count(&mut tpm, OTHER), 7, "above one that was deleted");
    tpm.restart(Some(0), 0);
    assert_eq!(count(&mut tpm, OTHER), 7, "TPM2_Shutdown saves an orderly counter");
    assert_eq!(count(&mut tpm, INDEX), 5);
}

#[test]
fn bits_are_only_set() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::BITS, 8).unwrap();
    assert_eq!(set_bits(&mut tpm, INDEX, INDEX, 0), Ok(vec![]));
    assert_eq!(count(&mut tpm, INDEX), 0, "written, although nothing was set");
    set_bits(&mut tpm, INDEX, INDEX, 0x8000_0000_0000_0001).unwrap();
    set_bits(&mut tpm, INDEX, INDEX, 0x10).unwrap();
    assert_eq!(count(&mut tpm, INDEX), 0x8000_0000_0000_0011);
}

#[test]
fn an_extend_index_works_like_a_pcr() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::EXTEND | a::CLEAR_STCLEAR, 32).unwrap();
    let once = Sha256::digest([&[0; 32][..], b"one"].concat()).to_vec();
    for _ in 0..2 {
        assert_eq!(extend(&mut tpm, INDEX, INDEX, b"one"), Ok(vec![]));
        assert_eq!(read(&mut tpm, INDEX, INDEX, 32, 0).unwrap(), once);
        assert_eq!(extend(&mut tpm, INDEX, INDEX, b""), Ok(vec![]));
        assert_eq!(read(&mut tpm, INDEX, INDEX, 32, 0).unwrap(), Sha256::digest(&once).to_vec());
        tpm.restart(None, 0);
        assert_eq!(read(&mut tpm, INDEX, INDEX, 32, 0), Err(NV_UNINITIALIZED), "TPMA_NV_CLEAR_STCLEAR");
    }
    assert_eq!(extend(&mut tpm, INDEX, INDEX, &[0; 2049]), Err(param(1, SIZE)));
}

#[test]
fn a_write_lock_holds_until_the_next_start() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::WRITE_STCLEAR, 8).unwrap();
    assert_eq!(act(&mut tpm, cc::NV_WRITE_LOCK, INDEX, INDEX), Ok(vec![]));
    assert_eq!(act(&mut tpm, cc::NV_WRITE_LOCK, INDEX, INDEX), Ok(vec![]), "again");
    assert_eq!(attributes(&mut tpm, INDEX) & a::WRITELOCKED, a::WRITELOCKED);
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 8], 0), Err(NV_LOCKED));
    tpm.restart(Some(1), 1);
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 8], 0), Err(NV_LOCKED), "TPM Resume");
    tpm.restart(Some(1), 0);
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[0; 8], 0), Ok(vec![]), "TPM Restart");
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    assert_eq!(act(&mut tpm, cc::NV_WRITE_LOCK, OTHER, OTHER), Err(handle(2, ATTRIBUTES)));
}

#[test]
fn every_command_that_writes_minds_the_write_lock() {
    let mut tpm = Fixture::new();
    for (kind, size) in [(0, 8), (a::COUNTER, 8), (a::BITS, 8), (a::EXTEND, 32)] {
        define(&mut tpm, INDEX, a::AUTH | a::WRITE_STCLEAR | kind, size).unwrap();
        act(&mut tpm, cc::NV_WRITE_LOCK, INDEX, INDEX).unwrap();
        assert_eq!(write(&mut tpm, INDEX, INDEX, b"", 0), Err(NV_LOCKED));
        assert_eq!(act(&mut tpm, cc::NV_INCREMENT, INDEX, INDEX), Err(NV_LOCKED));
        assert_eq!(set_bits(&mut tpm, INDEX, INDEX, 1), Err(NV_LOCKED));
        assert_eq!(extend(&mut tpm, INDEX, INDEX, b""), Err(NV_LOCKED));
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX).unwrap();
    }
}

#[test]
fn writedefine_locks_for_ever_what_has_been_written() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::WRITEDEFINE, 8).unwrap();
    act(&mut tpm, cc::NV_WRITE_LOCK, INDEX, INDEX).unwrap();
    tpm.restart(None, 0);
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[1; 8], 0), Ok(vec![]), "it had not been written");
    act(&mut tpm, cc::NV_WRITE_LOCK, INDEX, INDEX).unwrap();
    tpm.restart(None, 0);
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[2; 8], 0), Err(NV_LOCKED));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0).unwrap(), [1; 8]);
}

#[test]
fn a_read_lock_holds_until_the_next_start() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::READ_STCLEAR, 8).unwrap();
    assert_eq!(act(&mut tpm, cc::NV_READ_LOCK, INDEX, INDEX), Ok(vec![]), "before it is written");
    write(&mut tpm, INDEX, INDEX, &[1; 8], 0).unwrap();
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_LOCKED));
    assert_eq!(act(&mut tpm, cc::NV_READ_LOCK, INDEX, INDEX), Ok(vec![]), "again");
    tpm.restart(Some(1), 1);
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_LOCKED), "TPM Resume");
    tpm.restart(None, 0);
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0).unwrap(), [1; 8], "TPM Reset");
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    assert_eq!(act(&mut tpm, cc::NV_READ_LOCK, OTHER, OTHER), Err(handle(2, ATTRIBUTES)));
}

#[test]
fn stclear_and_orderly_indices_forget() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::CLEAR_STCLEAR, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH | a::ORDERLY, 8).unwrap();
    let write_both = |tpm: &mut Fixture| {
        write(tpm, INDEX, INDEX, &[1; 8], 0).unwrap();
        write(tpm, OTHER, OTHER, &[2; 8], 0).unwrap();
    };
    write_both(&mut tpm);
    tpm.restart(Some(1), 1);
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0).unwrap(), [1; 8], "TPM Resume");
    tpm.restart(Some(0), 0);
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_UNINITIALIZED), "TPM Reset");
    assert_eq!(read(&mut tpm, OTHER, OTHER, 8, 0), Err(NV_UNINITIALIZED), "TPM Reset, in spite of TPM2_Shutdown");
    write_both(&mut tpm);
    tpm.restart(Some(1), 0);
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_UNINITIALIZED), "TPM Restart");
    assert_eq!(read(&mut tpm, OTHER, OTHER, 8, 0).unwrap(), [2; 8], "TPM Restart");
}

#[test]
fn wrong_passwords_count_unless_no_da() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    let guess = |tpm: &mut Fixture, index: u32, password: &[u8]| {
        tpm.with(cc::NV_WRITE, &[index, index], &[password], &[0, 0, 0, 0])
    };
    for _ in 0..40 {
        assert_eq!(guess(&mut tpm, OTHER, b"no"), Err(session(1, BAD_AUTH)));
    }
    for _ in 0..32 {
        assert_eq!(guess(&mut tpm, INDEX, b"no"), Err(session(1, AUTH_FAIL)));
    }
    assert_eq!(guess(&mut tpm, INDEX, b"pw"), Err(LOCKOUT), "even with the right one");
    assert_eq!(guess(&mut tpm, OTHER, b"pw"), Ok(vec![]));
    tpm.clock.0 += 7_200_000;
    assert_eq!(guess(&mut tpm, INDEX, b"pw"), Ok(vec![]), "one try is forgotten after recoveryTime");
    assert_eq!(guess(&mut tpm, INDEX, b"pw\0\0"), Ok(vec![]), "zeros at the end do not count");
    assert_eq!(guess(&mut tpm, INDEX, b"p"), Err(session(1, AUTH_FAIL)));
    assert_eq!(guess(&mut tpm, INDEX, b"pw"), Err(LOCKOUT));
}

#[test]
fn failed_tries_survive_a_power_cycle_and_a_disorderly_one_counts() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8).unwrap();
    for _ in 0..16 {
        assert!(tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b"no"], &[0, 0, 0, 0]).is_err());
        tpm.restart(None, 0);
    }
    assert_eq!(write(&mut tpm, INDEX, INDEX, b"", 0), Err(LOCKOUT), "CVE-2020-26933");
}

#[test]
fn a_disorderly_reset_counts_only_if_a_protected_value_was_used() {
    let mut tpm = Fixture::new();
    let failed_tries = |tpm: &mut Fixture| {
        tpm.run(cc::GET_CAPABILITY, &[], &[], &[0, 0, 0, 6, 0, 0, 2, 0x0e, 0, 0, 0, 1]).unwrap()[16]
    };
    define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    for _ in 0..3 {
        write(&mut tpm, OTHER, OTHER, b"", 0).unwrap();
        tpm.restart(None, 0);
    }
    assert_eq!(failed_tries(&mut tpm), 0);
    write(&mut tpm, INDEX, INDEX, b"", 0).unwrap();
    tpm.restart(Some(0), 0);
    assert_eq!(failed_tries(&mut tpm), 0, "after TPM2_Shutdown");
    write(&mut tpm, INDEX, INDEX, b"", 0).unwrap();
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 1);
    assert_eq!(tpm.run(cc::SHUTDOWN, &[], &[], &[0, 0]), Ok(vec![]));
    tpm.with(cc::NV_WRITE, &[INDEX, INDEX], &[b"no"], &[0, 0, 0, 0]).unwrap_err();
    tpm.restart(None, 0);
    assert_eq!(failed_tries(&mut tpm), 3, "the failed try, and its use after TPM2_Shutdown");
}

#[test]
fn undefined_indices_and_missing_authorizations() {
    let mut tpm = Fixture::new();
    assert_eq!(write(&mut tpm, OWNER, INDEX, b"", 0), Err(handle(2, HANDLE)));
    assert_eq!(write(&mut tpm, INDEX, INDEX, b"", 0), Err(handle(1, HANDLE)));
    assert_eq!(tpm.with(cc::NV_READ, &[PLATFORM, OWNER], &[b""], &[0; 4]), Err(handle(2, VALUE)));
    define(&mut tpm, INDEX, a::AUTH, 8).unwrap();
    for code in [
        cc::NV_UNDEFINE_SPACE,
        cc::NV_INCREMENT,
        cc::NV_SET_BITS,
        cc::NV_EXTEND,
        cc::NV_WRITE,
        cc::NV_WRITE_LOCK,
        cc::NV_READ,
        cc::NV_READ_LOCK,
    ] {
        assert_eq!(tpm.run(code, &[OWNER, INDEX], &[], &[0; 4]), Err(AUTH_MISSING), "command {code:#x}");
    }
}

#[test]
fn define_checks_in_the_order_of_the_specification() {
    let mut tpm = Fixture::new();
    let all_wrong = a::PLATFORMCREATE | a::POLICY_DELETE | a::WRITEALL | a::WRITTEN | 15 << 4;
    let mut refused = |auth: &[u8], attributes: u32, policy: &[u8], size: u16| {
        define_as(&mut tpm, OWNER, auth, &public(INDEX, attributes, policy, size)).unwrap_err()
    };
    let good = a::AUTHWRITE | a::AUTHREAD;
    assert_eq!(refused(&[1; 33], all_wrong, &[1; 31], 2049), param(2, SIZE), "authPolicy");
    assert_eq!(refused(&[1; 33], all_wrong, &[1; 32], 2049), param(1, SIZE), "auth");
    assert_eq!(refused(b"", all_wrong, b"", 2049), param(2, ATTRIBUTES), "the type");
    assert_eq!(refused(b"", all_wrong & !(15 << 4) | a::BITS, b"", 2049), param(2, SIZE), "its size");
    assert_eq!(refused(b"", all_wrong & !(15 << 4), b"", 2049), param(2, ATTRIBUTES), "TPMA_NV_WRITTEN");
    let rest = good | a::PLATFORMCREATE | a::POLICY_DELETE | a::WRITEALL;
    assert_eq!(refused(b"", rest, b"", 2049), handle(1, ATTRIBUTES), "TPMA_NV_PLATFORMCREATE");
    assert_eq!(refused(b"", rest & !a::PLATFORMCREATE, b"", 2049), param(2, ATTRIBUTES), "TPMA_NV_POLICY_DELETE");
    assert_eq!(refused(b"", good | a::WRITEALL, b"", 2049), param(2, SIZE), "TPMA_NV_WRITEALL");
}

#[test]
fn tn_f_4748_the_policy_must_have_the_size_of_name_alg() {
    let mut tpm = Fixture::new();
    for (alg, size) in [(4u16, 20), (0xb, 32), (0xc, 48), (0xd, 64)] {
        for policy in [20, 32, 48, 64] {
            let mut area = public(INDEX, a::AUTH, &vec![1; policy], 8);
            area[4..6].copy_from_slice(&alg.to_be_bytes());
            let expected = if policy == size { Ok(vec![]) } else { Err(param(2, SIZE)) };
            assert_eq!(define_as(&mut tpm, OWNER, b"", &area), expected, "{policy} octets for {alg:#x}");
            let _ = act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX);
        }
    }
}

#[test]
fn only_undefine_space_special_deletes_what_has_policy_delete() {
    let mut tpm = Fixture::new();
    let attributes = a::AUTH | a::PLATFORMCREATE | a::POLICY_DELETE;
    assert_eq!(define_as(&mut tpm, PLATFORM, b"pw", &public(INDEX, attributes, &[7; 32], 8)), Ok(vec![]));
    assert_eq!(
        act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX),
        Err(handle(2, ATTRIBUTES)),
        "before NV_AUTHORIZATION"
    );
    assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, PLATFORM, INDEX), Err(handle(2, ATTRIBUTES)));
    let special = |tpm: &mut Fixture, index: u32, platform: u32, auths: &[&[u8]]| {
        tpm.with(cc::NV_UNDEFINE_SPACE_SPECIAL, &[index, platform], auths, &[])
    };
    assert_eq!(special(&mut tpm, INDEX, PLATFORM, &[b"pw", b""]), Err(AUTH_TYPE), "the ADMIN role needs a policy");
    assert_eq!(special(&mut tpm, INDEX, PLATFORM, &[b"pw"]), Err(AUTH_MISSING));
    assert_eq!(special(&mut tpm, INDEX, OWNER, &[b"pw", b""]), Err(handle(2, VALUE)));
    assert_eq!(special(&mut tpm, OTHER, PLATFORM, &[b"pw", b""]), Err(handle(1, HANDLE)));
    // Success and ATTRIBUTES need a policy session: nv_policy.rs.
}

#[test]
fn change_auth_needs_a_policy() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH, 8).unwrap();
    assert_eq!(tpm.with(cc::NV_CHANGE_AUTH, &[INDEX], &[b"pw"], &tpm2b(b"new")), Err(AUTH_TYPE));
    assert_eq!(tpm.with(cc::NV_CHANGE_AUTH, &[OTHER], &[b"pw"], &tpm2b(b"new")), Err(handle(1, HANDLE)));
    assert_eq!(tpm.with(cc::NV_CHANGE_AUTH, &[OWNER], &[b""], &tpm2b(b"new")), Err(handle(1, VALUE)));
    assert_eq!(tpm.run(cc::NV_CHANGE_AUTH, &[INDEX], &[], &tpm2b(b"new")), Err(AUTH_MISSING));
    // Success and SIZE need a policy session: nv_policy.rs.
}

#[test]
fn tn_the_global_lock_locks_what_has_globallock_until_the_next_start() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::GLOBALLOCK, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH | a::GLOBALLOCK | a::WRITEDEFINE | a::ORDERLY, 8).unwrap();
    define(&mut tpm, OTHER + 1, a::AUTH, 8).unwrap();
    let lock = |tpm: &mut Fixture, by: u32| tpm.with(cc::NV_GLOBAL_WRITE_LOCK, &[by], &[b""], &[]);
    for by in [OWNER, PLATFORM] {
        assert_eq!(lock(&mut tpm, by), Ok(vec![]));
    }
    let attempts = |tpm: &mut Fixture| [INDEX, OTHER, OTHER + 1].map(|index| write(tpm, index, index, &[1; 8], 0));
    assert_eq!(attempts(&mut tpm), [Err(NV_LOCKED), Err(NV_LOCKED), Ok(vec![])]);
    tpm.restart(Some(1), 1);
    assert_eq!(attempts(&mut tpm), [Err(NV_LOCKED), Err(NV_LOCKED), Ok(vec![])], "TPM Resume");
    tpm.restart(Some(1), 0);
    assert_eq!(attempts(&mut tpm), [Ok(vec![]), Ok(vec![]), Ok(vec![])], "TPM Restart: none had been written");
    lock(&mut tpm, OWNER).unwrap();
    tpm.restart(Some(1), 0);
    assert_eq!(attempts(&mut tpm), [Ok(vec![]), Err(NV_LOCKED), Ok(vec![])], "TPMA_NV_WRITEDEFINE, written");
    assert_eq!(lock(&mut tpm, INDEX), Err(handle(1, VALUE)));
    assert_eq!(tpm.with(cc::NV_GLOBAL_WRITE_LOCK, &[OWNER], &[b"no"], &[]), Err(session(1, BAD_AUTH)));
    assert_eq!(tpm.run(cc::NV_GLOBAL_WRITE_LOCK, &[OWNER], &[], &[]), Err(AUTH_MISSING));
}

/// TPM2B_NV_PUBLIC_2.
fn public_2(handle_type: u8, area: &[u8]) -> Vec<u8> {
    tpm2b(&[&[handle_type][..], area].concat())
}

#[test]
fn define_space_2_and_read_public_2_tell_the_type_of_the_handle() {
    let mut tpm = Fixture::new();
    let area = public(INDEX, a::AUTH, &[7; 32], 8);
    let define_2 = |tpm: &mut Fixture, public: &[u8]| {
        tpm.with(cc::NV_DEFINE_SPACE_2, &[OWNER], &[b""], &[tpm2b(b"pw"), public.to_vec()].concat())
    };
    assert_eq!(define_2(&mut tpm, &public_2(1, &area)), Ok(vec![]));
    let name = [&[0, 0xb][..], &Sha256::digest(&area)].concat();
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC_2, &[INDEX], &[], &[]), Ok([public_2(1, &area), tpm2b(&name)].concat()));
    assert_eq!(
        tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]),
        Ok([tpm2b(&area), tpm2b(&name)].concat()),
        "the same index"
    );
    assert_eq!(write(&mut tpm, INDEX, INDEX, &[1; 8], 0), Ok(vec![]), "with its authValue");
    assert_eq!(define_2(&mut tpm, &public_2(1, &area)), Err(NV_DEFINED));
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC_2, &[OTHER], &[], &[]), Err(handle(1, HANDLE)));
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC_2, &[OWNER], &[], &[]), Err(handle(1, VALUE)));
}

#[test]
fn define_space_2_refuses_other_types_and_what_does_not_unmarshal() {
    let mut tpm = Fixture::new();
    let mut refused = |public: &[u8]| {
        tpm.with(cc::NV_DEFINE_SPACE_2, &[OWNER], &[b""], &[tpm2b(b""), public.to_vec()].concat()).unwrap_err()
    };
    let area = public(INDEX, a::AUTH, &[], 8);
    let external = |index: u32, attributes: u64, size: u16| {
        [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &tpm2b(b""), &size.to_be_bytes()].concat()
    };
    assert_eq!(refused(&public_2(2, &area)), param(2, SELECTOR));
    assert_eq!(refused(&public_2(0x12, &area)), param(2, HANDLE), "permanent indices are not implemented");
    assert_eq!(refused(&public_2(0x11, &external(0x1100_0000, 6, 8))), param(2, HANDLE), "nor external ones");
    assert_eq!(refused(&public_2(0x11, &external(INDEX, 6, 8))), param(2, VALUE));
    assert_eq!(refused(&public_2(0x11, &external(0x1100_0000, 1 << 35, 8))), param(2, RESERVED_BITS));
    assert_eq!(refused(&public_2(0x11, &external(0x1100_0000, 6, 4097))), param(2, SIZE));
    assert_eq!(refused(&public_2(1, &external(0x1100_0000, 6, 8))), param(2, VALUE));
    assert_eq!(refused(&public_2(1, &[&area[..], &[0]].concat())), param(2, SIZE), "an octet more");
    assert_eq!(refused(&public_2(1, &area[..13])), param(2, INSUFFICIENT));
    assert_eq!(refused(&tpm2b(&[])), param(2, SIZE));
    assert_eq!(
        refused(&public_2(1, &public(INDEX, a::AUTH | a::BITS, &[], 7))),
        param(2, SIZE),
        "as TPM2_NV_DefineSpace"
    );
}

#[test]
fn a_hybrid_counter_skips_what_it_may_have_counted_without_shutdown() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::COUNTER | a::ORDERLY, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH | a::COUNTER, 8).unwrap();
    for _ in 0..3 {
        act(&mut tpm, cc::NV_INCREMENT, INDEX, INDEX).unwrap();
    }
    act(&mut tpm, cc::NV_INCREMENT, OTHER, OTHER).unwrap();
    tpm.restart(Some(0), 0);
    assert_eq!(count(&mut tpm, INDEX), 3, "TPM2_Shutdown saved it");
    tpm.restart(Some(1), 1);
    assert_eq!(count(&mut tpm, INDEX), 3);
    act(&mut tpm, cc::NV_INCREMENT, INDEX, INDEX).unwrap();
    tpm.restart(None, 0);
    assert_eq!(count(&mut tpm, INDEX), 0xff, "TPM_PT_ORDERLY_COUNT");
    act(&mut tpm, cc::NV_INCREMENT, INDEX, INDEX).unwrap();
    assert_eq!(count(&mut tpm, INDEX), 0x100, "greater than it ever was");
    tpm.restart(None, 0);
    assert_eq!(count(&mut tpm, INDEX), 0x1ff);
    assert_eq!(count(&mut tpm, OTHER), 4, "the other is always saved");
}

#[test]
fn an_orderly_index_in_ram_starts_as_zeros() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::ORDERLY, 4).unwrap();
    write(&mut tpm, INDEX, INDEX, &[9], 1).unwrap();
    assert_eq!(read(&mut tpm, INDEX, INDEX, 4, 0).unwrap(), [0, 9, 0, 0]);
}

#[test]
fn only_a_write_to_an_orderly_index_voids_a_shutdown() {
    let mut tpm = Fixture::new();
    define(&mut tpm, INDEX, a::AUTH | a::ORDERLY | a::WRITE_STCLEAR, 8).unwrap();
    define(&mut tpm, OTHER, a::AUTH, 8).unwrap();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    write(&mut tpm, OTHER, OTHER, &[1; 8], 0).unwrap();
    act(&mut tpm, cc::NV_WRITE_LOCK, INDEX, INDEX).unwrap();
    define(&mut tpm, OTHER + 1, a::AUTH, 8).unwrap();
    tpm.restart(None, 1);
    assert_eq!(read(&mut tpm, OTHER, OTHER, 8, 0).unwrap(), [1; 8]);
    tpm.restart(Some(1), 0);
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    write(&mut tpm, INDEX, INDEX, &[1; 8], 0).unwrap();
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Err(param(1, VALUE)));
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 0]), Ok(vec![]));
    assert_eq!(read(&mut tpm, INDEX, INDEX, 8, 0), Err(NV_UNINITIALIZED));
}

#[test]
fn tn_f_5835_reserved_bits_and_tn_f_4674_size_of_an_index() {
    let mut tpm = Fixture::new();
    for bit in [8, 9, 20, 21, 22, 23, 24] {
        assert_eq!(define(&mut tpm, INDEX, a::AUTH | 1 << bit, 8), Err(param(2, RESERVED_BITS)));
    }
    for size in [4097, u16::MAX] {
        assert_eq!(define(&mut tpm, INDEX, a::AUTH, size), Err(param(2, SIZE)));
    }
}

#[test]
fn tn_f_9188_the_owner_neither_defines_nor_deletes_for_the_platform() {
    let mut tpm = Fixture::new();
    let area = public(INDEX, a::AUTH | a::PLATFORMCREATE, &[], 8);
    assert_eq!(define_as(&mut tpm, OWNER, b"", &area), Err(handle(1, ATTRIBUTES)));
    define_as(&mut tpm, PLATFORM, b"", &area).unwrap();
    assert_eq!(act(&mut tpm, cc::NV_UNDEFINE_SPACE, OWNER, INDEX), Err(NV_AUTHORIZATION));
}
