//! D-RTM events, and the bit that tells of them.

use crate::rig::Rig;
use tpm_crb::registers::{
    BEEN_SEIZED, DATA_BUFFER, HASH_DATA, HASH_END, HASH_START, LOC_CTRL, LOC_STATE, LOC_STS, REQUEST_ACCESS,
    RESET_ESTABLISHMENT, SEIZE,
};
use tpm_crb::{Config, Localities, State};

const ESTABLISHED: u32 = 1;

fn all() -> Rig {
    Rig::new(Config { localities: Localities::All, ..Config::default() })
}

#[test]
fn locality_4_measures_what_it_writes() {
    let mut rig = all();
    rig.set(4, LOC_CTRL, HASH_START);
    assert_eq!(rig.active(), Some(4));
    for part in [b"one, ".as_slice(), b"two, ", b"three"] {
        let _ = rig.write(4, DATA_BUFFER, part);
        rig.set(4, LOC_CTRL, HASH_DATA);
    }
    assert_eq!(rig.get(0, LOC_STATE) & ESTABLISHED, 1, "not before its end");
    rig.set(4, LOC_CTRL, HASH_END);
    assert_eq!(rig.engine.events, [b"one, two, three"]);
    assert_eq!((rig.engine.ended, rig.active(), rig.get(0, LOC_STATE) & ESTABLISHED), (1, None, 0));
}

#[test]
fn the_platform_measures_where_no_guest_reaches_locality_4() {
    let mut rig = Rig::owned(Config { localities: Localities::ZeroToThree, ..Config::default() });
    rig.bring(State::Reception, b"lost");
    rig.set(3, LOC_CTRL, REQUEST_ACCESS);
    rig.device.hash_start(&mut rig.engine);
    rig.set(3, LOC_CTRL, SEIZE);
    assert_eq!((rig.active(), rig.get(0, LOC_STS)), (Some(4), BEEN_SEIZED));
    rig.device.hash_data(&mut rig.engine, &[7; 10_000]);
    rig.device.hash_end(&mut rig.engine);
    assert_eq!(rig.engine.events, [vec![7; 10_000]]);
    assert_eq!((rig.active(), rig.get(0, LOC_STATE) & ESTABLISHED), (Some(3), 0), "who waited is next");
}

#[test]
fn without_a_start_there_is_no_event() {
    let mut rig = all();
    for bits in [HASH_DATA, HASH_END] {
        let _ = rig.write(4, DATA_BUFFER, b"data");
        rig.set(4, LOC_CTRL, bits);
    }
    rig.device.hash_data(&mut rig.engine, b"data");
    rig.device.hash_end(&mut rig.engine);
    assert_eq!((rig.engine.events.len(), rig.engine.ended, rig.get(0, LOC_STATE)), (0, 0, 0x81));
    // Bits of locality 4 mean something else in the others.
    for bits in [HASH_START, HASH_DATA, HASH_END] {
        rig.set(2, LOC_CTRL, bits);
    }
    assert_eq!(rig.engine.events.len(), 0);
    // A second start forgets the first.
    rig.set(4, LOC_CTRL, HASH_START);
    let _ = rig.write(4, DATA_BUFFER, b"first");
    rig.set(4, LOC_CTRL, HASH_START);
    let _ = rig.write(4, DATA_BUFFER, b"2nd");
    rig.set(4, LOC_CTRL, HASH_DATA);
    rig.set(4, LOC_CTRL, HASH_END);
    assert_eq!(rig.engine.events, [b"".as_slice(), b"2nd"]);
}

#[test]
fn established_is_reset_by_localities_3_and_4_and_by_no_reset_of_the_platform() {
    for locality in 0..5 {
        let mut rig = all();
        rig.device.hash_start(&mut rig.engine);
        rig.device.hash_end(&mut rig.engine);
        rig.device.reset(&mut rig.engine);
        assert_eq!(rig.get(0, LOC_STATE), 0x80);
        rig.set(locality, LOC_CTRL, RESET_ESTABLISHMENT);
        assert_eq!(rig.get(0, LOC_STATE), 0x80 | u32::from(locality >= 3), "{locality}");
    }
}
