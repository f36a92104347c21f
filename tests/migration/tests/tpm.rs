//! A TPM of the engine's on both sides: what was there is there.

use client::attributes::{nv, session as attr};
use client::cc;
use client::codes::{NULL, OWNER};
use client::command::{Rest, with_passwords};
use client::hash::Alg;
use client::session::{Auth, Kind, Session, Start, Transport, execute, name};
use client::sym::Sym;
use client::template::{creation, ecc_storage, sealed};
use client::tpm2b;
use moves::scene::{EPOCH, OLD};
use moves::tpm::{Platform, moved};
use tpm_core::EkTemplate;

const INDEX: u32 = 0x0180_0001;
const PERSISTENT: u32 = 0x8100_0001;
/// TPMA_NV.
const COUNTER: u32 = nv::OWNERWRITE | nv::COUNTER | nv::OWNERREAD | nv::AUTH;

fn run(tpm: &mut Platform, code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[u8]) -> Vec<u8> {
    let response = tpm.transmit(&with_passwords(code, handles, passwords, parameters));
    assert_eq!(client::command::response_code(&response), 0, "command {code:#x}");
    client::command::body(code, &response, !passwords.is_empty())
}

fn ek(tpm: &Platform) -> Vec<u8> {
    let mut out = [0; tpm_core::MAX_EK_PUBLIC];
    let len = tpm.tpm.endorsement_key(EkTemplate::EccP256, &mut out).unwrap();
    out[..len].to_vec()
}

fn pcr(tpm: &mut Platform) -> Vec<u8> {
    run(tpm, cc::PCR_READ, &[], &[], &[0, 0, 0, 1, 0, 0xb, 3, 0, 4, 0])
}

fn counter(tpm: &mut Platform) -> Vec<u8> {
    run(tpm, cc::NV_READ, &[OWNER, INDEX], &[b""], &[0, 8, 0, 0])
}

/// TPMS_TIME_INFO: time₈, clock₈, resetCount₄, restartCount₄, safe₁.
fn clock(tpm: &mut Platform) -> (u64, [u8; 9]) {
    let reply = run(tpm, cc::READ_CLOCK, &[], &[], &[]);
    (u64::from_be_bytes(reply[8..16].try_into().unwrap()), reply[16..25].try_into().unwrap())
}

/// Whatever a caller has begun with the TPM it goes on with: a salted session that encrypts, with its nonces.
#[test]
fn keys_objects_pcrs_sessions_and_counters_are_the_same_after_it() {
    let mut tpm = Platform::manufacture(0);
    run(&mut tpm, cc::STARTUP, &[], &[], &[0, 0]);
    run(&mut tpm, cc::SHUTDOWN, &[], &[], &[0, 0]);
    let endorsement = ek(&tpm);
    run(&mut tpm, cc::PCR_EXTEND, &[10], &[b""], &[&[0, 0, 0, 1, 0, 0xb][..], &[7; 32]].concat());
    let public = [&INDEX.to_be_bytes()[..], &[0, 0xb], &COUNTER.to_be_bytes(), &[0, 0], &[0, 8]].concat();
    run(&mut tpm, cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b"pw"), tpm2b(&public)].concat());
    for _ in 0..3 {
        run(&mut tpm, cc::NV_INCREMENT, &[OWNER, INDEX], &[b""], &[]);
    }
    let primary = run(&mut tpm, cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", b"", &ecc_storage()));
    let parent = client::command::handle_of(&primary);
    run(&mut tpm, cc::EVICT_CONTROL, &[OWNER, parent], &[b""], &PERSISTENT.to_be_bytes());
    let created = run(&mut tpm, cc::CREATE, &[parent], &[b""], &creation(b"pw", b"the secret", &sealed()));
    let mut rest = Rest(&created);
    let (private, public) = (rest.sized().unwrap().to_vec(), rest.sized().unwrap().to_vec());
    let child = [tpm2b(&private), tpm2b(&public)].concat();
    let child = client::command::handle_of(&run(&mut tpm, cc::LOAD, &[parent], &[b""], &child));
    let start = Start { kind: Kind::Hmac, sym: Sym::Aes128, alg: Alg::Sha256, bind: (NULL, &[]), ..Start::default() };
    let mut session = Session::start(&mut tpm, &start);
    let mut unseal = |tpm: &mut Platform| {
        let auths: Vec<Auth<'_>> = vec![session.auth(attr::ENCRYPT, b"pw").into()];
        execute(tpm, cc::UNSEAL, &[child], auths, &[], |_| ())
    };
    assert_eq!(unseal(&mut tpm), Ok(tpm2b(b"the secret")));
    tpm.clock.0 = 123_456;
    tpm.transmit(&client::command(cc::GET_RANDOM, &[], &[], &[0, 1]));

    let before = (pcr(&mut tpm), counter(&mut tpm), name(&mut tpm, PERSISTENT), name(&mut tpm, child));
    let (clock_before, counts) = clock(&mut tpm);
    let moved = moved(tpm).unwrap();
    let mut tpm = moved.platform;
    assert_eq!((moved.tombstone.epoch, moved.arrival.from), (EPOCH, OLD));

    assert_eq!(ek(&tpm), endorsement);
    let after = (pcr(&mut tpm), counter(&mut tpm), name(&mut tpm, PERSISTENT), name(&mut tpm, child));
    assert_eq!(after, before);
    let (clock_after, counts_after) = clock(&mut tpm);
    assert_eq!(counts_after, counts, "resetCount, restartCount, safe");
    assert!((clock_before..clock_before + 10).contains(&clock_after), "{clock_before}, {clock_after}");
    assert_eq!(unseal(&mut tpm), Ok(tpm2b(b"the secret")), "the session goes on with its nonces");
    run(&mut tpm, cc::NV_INCREMENT, &[OWNER, INDEX], &[b""], &[]);
    assert_eq!(counter(&mut tpm)[2..], 4_u64.to_be_bytes());
    // The random numbers are others.
    assert!(moved.octets > 1000);
}
