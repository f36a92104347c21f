//! NV Indices whose contents the platform has: by all commands as others of the platform's that are written and locked.
#![allow(clippy::cast_possible_truncation, reason = "lengths of test data")]

use crate::harness::Fixture;
use crate::harness::nv::{a, attributes, define_as, public};
use client::codes::{ATTRIBUTES, HANDLE, NULL, NV_AUTHORIZATION, NV_DEFINED, NV_LOCKED, NV_RANGE};
use client::codes::{NV_SPACE, NV_UNAVAILABLE, OWNER, PLATFORM, VALUE, handle, param};
use client::session::{Kind, Outcome, Session};
use client::tpm2b;
use sha2::{Digest, Sha256};
use tpm_core::profile::{MAX_NV_INDEX_SIZE, MAX_PROVIDED_INDICES, NV_BUFFER_MAX};
use tpm_core::{Failure, cc};

const INDEX: u32 = 0x01c0_0002;
/// As [`tpm_core::Tpm::platform_index`] defines one, when it has written and locked it.
const LOCKED: u32 = a::PPWRITE
    | a::WRITELOCKED
    | a::WRITEDEFINE
    | a::PPREAD
    | a::OWNERREAD
    | a::AUTHREAD
    | a::NO_DA
    | a::WRITTEN
    | a::PLATFORMCREATE;

/// Longer than an index that can be defined, and than one answer.
fn long() -> Vec<u8> {
    (0..MAX_NV_INDEX_SIZE + 100).map(|n| (n * 7 % 251) as u8).collect()
}

fn provide(tpm: &mut Fixture, index: u32, contents: &[u8]) {
    tpm.tpm.provide_index(index, contents.len() as u16).unwrap();
    tpm.provided.0.insert(index, contents.to_vec());
}

fn with_long() -> Fixture {
    let mut tpm = Fixture::new();
    provide(&mut tpm, INDEX, &long());
    tpm
}

fn read(tpm: &mut Fixture, by: u32, size: u16, offset: u16) -> Outcome {
    let parameters = [size.to_be_bytes(), offset.to_be_bytes()].concat();
    tpm.with(cc::NV_READ, &[by, INDEX], &[b""], &parameters).map(|reply| reply[2..].to_vec())
}

/// TPM_CAP_HANDLES of NV Indices.
fn listed(tpm: &mut Fixture) -> Vec<u32> {
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 64]).unwrap();
    reply[9..].chunks(4).map(|h| u32::from_be_bytes(h.try_into().unwrap())).collect()
}

fn property(tpm: &mut Fixture, pt: u32) -> u32 {
    let asked = [&[0, 0, 0, 6][..], &pt.to_be_bytes(), &[0, 0, 0, 1]].concat();
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &asked).unwrap();
    u32::from_be_bytes(reply[reply.len() - 4..].try_into().unwrap())
}

/// Octets of NV memory that are free (TPM_CAP_VENDOR_PROPERTY).
fn free(tpm: &mut Fixture) -> u32 {
    let reply = tpm.run(cc::GET_CAPABILITY, &[], &[], &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    u32::from_be_bytes(reply[reply.len() - 4..].try_into().unwrap())
}

#[test]
fn it_is_read_in_parts_by_owner_platform_and_the_empty_password() {
    let (mut tpm, all) = (with_long(), long());
    for by in [INDEX, OWNER, PLATFORM] {
        let mut found = Vec::new();
        while found.len() < all.len() {
            let size = (all.len() - found.len()).min(NV_BUFFER_MAX) as u16;
            found.extend(read(&mut tpm, by, size, found.len() as u16).unwrap());
        }
        assert_eq!(found, all);
    }
    let end = all.len() as u16;
    assert_eq!(read(&mut tpm, INDEX, 0, end), Ok(vec![]));
    assert_eq!(read(&mut tpm, INDEX, 2, end - 1), Err(NV_RANGE));
    assert_eq!(read(&mut tpm, INDEX, 0, end + 1), Err(param(2, VALUE)));
    assert_eq!(read(&mut tpm, INDEX, NV_BUFFER_MAX as u16 + 1, 0), Err(param(1, VALUE)));
}

#[test]
fn its_public_area_and_name_are_those_of_a_locked_index_of_its_size() {
    let mut tpm = with_long();
    let wanted = public(INDEX, LOCKED, &[], long().len() as u16);
    let name = [&[0, 0xb][..], &Sha256::digest(&wanted)].concat();
    let reply = tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]).unwrap();
    assert_eq!(reply, [tpm2b(&wanted), tpm2b(&name)].concat());
    tpm.tpm.platform_index(INDEX + 1, b"in NV memory").unwrap();
    assert_eq!(attributes(&mut tpm, INDEX + 1), LOCKED);
}

/// And no command but TPM2_NV_UndefineSpace by the platform changes it.
#[test]
fn nobody_writes_locks_or_deletes_it_but_the_platform() {
    let mut tpm = with_long();
    let before = tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]);
    for by in [OWNER, PLATFORM] {
        let data = [&tpm2b(b"x")[..], &[0, 0]].concat();
        assert_eq!(tpm.with(cc::NV_WRITE, &[by, INDEX], &[b""], &data), Err(NV_LOCKED));
        assert_eq!(tpm.with(cc::NV_EXTEND, &[by, INDEX], &[b""], &tpm2b(b"x")), Err(NV_LOCKED));
        assert_eq!(tpm.with(cc::NV_INCREMENT, &[by, INDEX], &[b""], &[]), Err(NV_LOCKED));
        assert_eq!(tpm.with(cc::NV_SET_BITS, &[by, INDEX], &[b""], &[0; 8]), Err(NV_LOCKED));
        assert_eq!(tpm.with(cc::NV_WRITE_LOCK, &[by, INDEX], &[b""], &[]), Ok(vec![]), "it is locked");
        assert_eq!(tpm.with(cc::NV_READ_LOCK, &[by, INDEX], &[b""], &[]), Err(handle(2, ATTRIBUTES)));
        assert_eq!(tpm.with(cc::NV_GLOBAL_WRITE_LOCK, &[by], &[b""], &[]), Ok(vec![]));
    }
    assert_eq!(tpm.with(cc::NV_UNDEFINE_SPACE, &[OWNER, INDEX], &[b""], &[]), Err(NV_AUTHORIZATION));
    assert!(tpm.with(cc::NV_CHANGE_AUTH, &[INDEX], &[b""], &tpm2b(b"new")).is_err(), "it has no policy");
    tpm.restart(Some(0), 0);
    tpm.restart(None, 0);
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]), before);
    assert_eq!(read(&mut tpm, INDEX, 4, 0).unwrap(), long()[..4]);
    tpm.with(cc::NV_UNDEFINE_SPACE, &[PLATFORM, INDEX], &[b""], &[]).unwrap();
    assert_eq!(tpm.run(cc::NV_READ_PUBLIC, &[INDEX], &[], &[]), Err(handle(1, HANDLE)));
    assert!(!tpm.tpm.has_provided_index(INDEX));
}

#[test]
fn a_handle_is_of_one_index_only() {
    let mut tpm = with_long();
    let taken = public(INDEX, a::OWNERWRITE | a::OWNERREAD, &[], 4);
    assert_eq!(define_as(&mut tpm, OWNER, b"", &taken), Err(NV_DEFINED));
    assert_eq!(tpm.tpm.platform_index(INDEX, b"another"), Err(Failure));
    assert!(!tpm.tpm.has_platform_index(INDEX));
    tpm.tpm.remove_platform_index(INDEX);
    assert_eq!(tpm.tpm.index_contents(INDEX), None);
    assert_eq!(read(&mut tpm, INDEX, 4, 0).unwrap(), long()[..4]);
    define_as(&mut tpm, OWNER, b"", &public(INDEX + 1, a::OWNERWRITE | a::OWNERREAD, &[], 4)).unwrap();
    assert_eq!(tpm.tpm.provide_index(INDEX + 1, 4), Err(Failure));
    tpm.tpm.remove_provided_index(INDEX + 1);
    assert_eq!(tpm.tpm.provide_index(0x8100_0001, 4), Err(Failure));
    assert_eq!(listed(&mut tpm), [INDEX, INDEX + 1]);
}

/// The owner has all NV memory and as many indices as without.
#[test]
fn it_takes_nothing_of_nv_memory() {
    let mut tpm = Fixture::new();
    let (octets, before) = (free(&mut tpm), property(&mut tpm, 0x202));
    for number in 0..MAX_PROVIDED_INDICES as u32 {
        provide(&mut tpm, INDEX + 2 * number, &long());
    }
    assert_eq!(tpm.tpm.provide_index(INDEX + 1, 4), Err(Failure), "no more than these");
    provide(&mut tpm, INDEX + 2, b"another size");
    assert_eq!((free(&mut tpm), property(&mut tpm, 0x202)), (octets, before + MAX_PROVIDED_INDICES as u32));
    let mut left = octets as usize;
    for number in 0.. {
        let size = left.min(1024);
        let wanted = public(0x0150_0000 + number, a::OWNERWRITE | a::OWNERREAD, &[], size as u16);
        let defined = define_as(&mut tpm, OWNER, b"", &wanted);
        if left == 0 {
            break;
        }
        assert_eq!(defined, Ok(vec![]));
        left -= size;
    }
    let more = public(0x0151_0000, a::OWNERWRITE | a::OWNERREAD, &[], 1);
    assert_eq!(define_as(&mut tpm, OWNER, b"", &more), Err(NV_SPACE));
}

#[test]
fn handles_are_listed_in_order() {
    let mut tpm = Fixture::new();
    for index in [0x0150_0003, 0x0150_0001] {
        define_as(&mut tpm, OWNER, b"", &public(index, a::OWNERWRITE | a::OWNERREAD, &[], 4)).unwrap();
    }
    for index in [0x0150_0004, 0x0150_0000, 0x0150_0002] {
        provide(&mut tpm, index, b"");
    }
    assert_eq!(listed(&mut tpm), (0x0150_0000..0x0150_0005).collect::<Vec<_>>());
}

/// Part 3, 31.16: contents, and with size and offset zero the digest of all of it.
#[test]
fn it_is_certified() {
    let (mut tpm, all) = (with_long(), long());
    let mut certify = |size: u16, offset: u16| {
        let ends = [size.to_be_bytes(), offset.to_be_bytes()].concat();
        // By nobody, with SHA-256 as RSASSA's hash.
        let parameters = [&tpm2b(b"q")[..], &[0, 0x14, 0, 0xb], &ends].concat();
        tpm.with(cc::NV_CERTIFY, &[NULL, INDEX, INDEX], &[b"", b""], &parameters)
    };
    let part = certify(20, 4_000.min(all.len() as u16 - 20)).unwrap();
    let start = 4_000.min(all.len() - 20);
    assert!(part.windows(22).any(|w| w == tpm2b(&all[start..start + 20])), "{part:x?}");
    let digest = certify(0, 0).unwrap();
    assert!(digest.windows(34).any(|w| w == tpm2b(&Sha256::digest(&all))), "{digest:x?}");
    assert_eq!(certify(2, all.len() as u16 - 1), Err(NV_RANGE));
}

/// Part 3, 23.9: its contents are compared.
#[test]
fn a_policy_asks_for_its_contents() {
    let (mut tpm, all) = (with_long(), long());
    for (operand, wanted) in [(&all[10..14], true), (&all[11..15], false)] {
        let session = Session::plain(&mut tpm, Kind::Policy);
        let parameters = [&tpm2b(operand)[..], &[0, 10], &[0, 0]].concat();
        let held = tpm.with(cc::POLICY_NV, &[INDEX, INDEX, session.handle], &[b""], &parameters);
        assert_eq!(held.is_ok(), wanted);
        tpm.run(cc::FLUSH_CONTEXT, &[], &[], &session.handle.to_be_bytes()).unwrap();
    }
}

/// The platform has not what it said that it has: nothing is made up, and the TPM goes on.
#[test]
fn without_contents_of_its_size_it_is_unavailable() {
    for contents in [None, Some(long()[1..].to_vec()), Some([&long()[..], &[0]].concat())] {
        let mut tpm = with_long();
        tpm.provided.0.remove(&INDEX);
        // So that the platform provides something at all.
        tpm.provided.0.insert(1, Vec::new());
        tpm.provided.0.extend(contents.map(|contents| (INDEX, contents)));
        assert_eq!(read(&mut tpm, INDEX, 4, 0), Err(NV_UNAVAILABLE));
        let parameters = [&tpm2b(b"")[..], &[0, 0x14, 0, 0xb], &[0; 4]].concat();
        let certified = tpm.with(cc::NV_CERTIFY, &[NULL, INDEX, INDEX], &[b"", b""], &parameters);
        assert_eq!(certified, Err(NV_UNAVAILABLE));
        let session = Session::plain(&mut tpm, Kind::Policy);
        let handles = [INDEX, INDEX, session.handle];
        let parameters = [&tpm2b(&[0; 4])[..], &[0, 0], &[0, 0]].concat();
        assert_eq!(tpm.with(cc::POLICY_NV, &handles, &[b""], &parameters), Err(NV_UNAVAILABLE));
        assert_eq!(tpm.with(cc::POLICY_AUTHORIZE_NV, &handles, &[b""], &[]), Err(NV_UNAVAILABLE));
        assert_eq!(tpm.tpm.fault(), None);
    }
}

/// phEnableNV hides it, as all of the platform's (Part 1, 34.2.1).
#[test]
fn it_is_hidden_with_the_platforms_others() {
    let mut tpm = with_long();
    let disable = [&0x4000_000d_u32.to_be_bytes()[..], &[0]].concat();
    tpm.with(cc::HIERARCHY_CONTROL, &[PLATFORM], &[b""], &disable).unwrap();
    assert_eq!(read(&mut tpm, INDEX, 4, 0), Err(handle(1, HANDLE)));
}

#[test]
fn it_is_no_part_of_the_state() {
    use tpm_core::{Hooks, StateForm};
    let mut tpm = Fixture::new();
    let state = client::platform::export(&tpm.tpm, StateForm::Whole);
    provide(&mut tpm, INDEX, &long());
    assert_eq!(client::platform::export(&tpm.tpm, StateForm::Whole), state);
    tpm.tpm.import(&state, &mut Hooks { entropy: &mut tpm.entropy, clock: &mut tpm.clock }).unwrap();
    assert_eq!(read(&mut tpm, INDEX, 4, 0), Err(handle(1, HANDLE)));
    provide(&mut tpm, INDEX, &long());
    assert_eq!(read(&mut tpm, INDEX, 4, 0).unwrap(), long()[..4]);
}
