//! Who the TPM is: endorsement and attestation keys, seeds, and what a new identity leaves alone.

use crate::helper::{AK, EK, GUEST_SECRET, Helper, MISSING, SRK};
use client::attributes::object as a;
use client::codes::{ENDORSEMENT, OWNER, PLATFORM};
use client::command::{handle_of, take_2b};
use client::hash::Alg;
use client::policy::PolicyDigest;
use client::session::{Kind, Session, execute};
use client::template::{creation, rsa_storage, sealed};
use client::{cc, tpm2b};
use tpm_core::{EkTemplate, MAX_EK_PUBLIC, Tpm};

#[test]
fn the_attestation_key_is_kept_at_its_handle_and_the_endorsement_key_nowhere() {
    let (mut tpm, _) = Helper::new();
    assert_eq!((tpm.public(AK), tpm.public(EK)), (Err(MISSING), Err(MISSING)));
    let ak = tpm.make_ak();
    let ek = tpm.ek();
    assert_eq!(tpm.public(AK), Ok(ak.clone()));
    assert_eq!(tpm.public(EK), Err(MISSING));
    for public in [&ak, &ek] {
        let modulus = &public[public.len() - 256..];
        assert!(modulus[0] & 0x80 != 0 && public[public.len() - 258..][..2] == [1, 0], "a modulus of 2048 bits");
    }
    assert_ne!(ak, ek);
}

#[test]
fn the_same_seeds_make_the_same_keys_after_a_reset_after_clear_and_in_another_process() {
    let (mut tpm, machine) = Helper::new();
    let keys = (tpm.make_ak(), tpm.ek());
    tpm.restart();
    assert_eq!(tpm.public(AK), Ok(keys.0.clone()), "it is persistent");
    assert_eq!((tpm.make_ak(), tpm.ek()), keys);
    tpm.with(cc::CLEAR, &[PLATFORM], &[b""], &[]).unwrap();
    assert_eq!(tpm.public(AK), Err(MISSING));
    tpm.restart();
    assert_eq!((tpm.make_ak(), tpm.ek()), keys);
    let mut other = Helper::of(machine.new_engine());
    other.start();
    assert_ne!(other.ek(), keys.1, "a new TPM");
    let blob = {
        tpm.restart();
        machine.blob()
    };
    other.engine.reset(Some(&blob)).unwrap();
    other.start();
    assert_eq!(other.public(AK), Ok(keys.0.clone()));
    assert_eq!((other.make_ak(), other.ek()), keys);
}

/// The paravisor needs no command, and no start, to know its endorsement key.
#[test]
fn the_endorsement_key_of_the_template_is_the_one_that_the_engine_derives_without_a_command() {
    let (mut tpm, machine) = Helper::new();
    let ek = tpm.ek();
    let blob = machine.blob();
    let length = u32::from_be_bytes(blob[..4].try_into().unwrap());
    let (mut entropy, mut clock) = (client::platform::CountedEntropy::default(), client::platform::ManualClock(0));
    let hooks = &mut tpm_core::Hooks { entropy: &mut entropy, clock: &mut clock };
    let mut same = Box::new(Tpm::blank());
    same.import(&blob[4..][..usize::try_from(length).unwrap()], hooks).unwrap();
    let mut public = [0; MAX_EK_PUBLIC];
    let length = same.endorsement_key(EkTemplate::Rsa2048, &mut public).unwrap();
    assert_eq!(public[..length], ek);
}

#[test]
fn new_seeds_make_other_keys_and_leave_what_is_the_owners() {
    let (mut tpm, machine) = Helper::new();
    let (ak, ek) = (tpm.make_ak(), tpm.ek());
    let srk = tpm.keep(OWNER, &rsa_storage(), SRK);
    let made = tpm.with(cc::CREATE, &[SRK], &[b""], &creation(b"", b"the owner's", &sealed())).unwrap();
    let mut rest = &*made;
    let areas = [take_2b(&mut rest), take_2b(&mut rest)].map(tpm2b);
    let of_platform = tpm.primary(PLATFORM, &rsa_storage());
    let platforms = tpm.public(of_platform).unwrap();
    tpm.refresh_seeds();
    assert_eq!(tpm.public(AK), Err(MISSING));
    assert_eq!(tpm.public(of_platform), Err(0x910), "TPM_RC_REFERENCE_H0");
    // In another process, too.
    let mut tpm = Helper::of(machine.new_engine_of_blob());
    tpm.start();
    assert_eq!(tpm.public(SRK), Ok(srk.clone()));
    let again = tpm.primary(OWNER, &rsa_storage());
    assert_eq!(tpm.public(again), Ok(srk));
    tpm.flush(again);
    let loaded = handle_of(&tpm.with(cc::LOAD, &[SRK], &[b""], &areas.concat()).unwrap());
    assert_eq!(tpm.with(cc::UNSEAL, &[loaded], &[b""], &[]), Ok(tpm2b(b"the owner's")));
    let of_platform = tpm.primary(PLATFORM, &rsa_storage());
    assert_ne!(tpm.public(of_platform), Ok(platforms));
    tpm.flush(of_platform);
    let (new_ak, new_ek) = (tpm.make_ak(), tpm.ek());
    assert!(new_ak != ak && new_ek != ek);
    tpm.restart();
    assert_eq!((tpm.make_ak(), tpm.ek()), (new_ak, new_ek), "from now on");
}

#[test]
fn persistent_handles_are_taken_freed_and_refused_by_their_codes() {
    let (mut tpm, _) = Helper::new();
    let key = tpm.primary(ENDORSEMENT, &crate::helper::ak_template());
    assert_eq!(tpm.evict(key, AK), Ok(vec![]));
    assert_eq!(tpm.evict(key, AK), Err(0x14c), "TPM_RC_NV_DEFINED");
    assert_eq!(tpm.evict(key, 0x8180_0003), Err(0x1cd), "TPM_RC_RANGE: the platform's range is not the owner's");
    assert_eq!(tpm.evict(AK, AK), Ok(vec![]));
    assert_eq!(tpm.evict(AK, AK), Err(0x28b), "the second handle");
    tpm.flush(key);
    assert_eq!(tpm.evict(key, AK), Err(0x911), "TPM_RC_REFERENCE_H1");
}

/// TPM2B_PUBLIC ‖ TPM2B_PRIVATE ‖ TPM2B_ENCRYPTED_SECRET, for a storage key that the host knows by its public area.
fn secret_for(storage_key: &[u8], data: &[u8]) -> Vec<u8> {
    let (mut host, _) = Helper::new();
    let storage = host.primary(OWNER, &rsa_storage());
    let mut template = sealed().without(a::FIXED);
    template.policy =
        PolicyDigest::new(Alg::Sha256).then(cc::POLICY_COMMAND_CODE, &[&cc::DUPLICATE.to_be_bytes()]).digest;
    let made = host.with(cc::CREATE, &[storage], &[b""], &creation(b"", data, &template)).unwrap();
    let mut rest = &*made;
    let (private, public) = (tpm2b(take_2b(&mut rest)), tpm2b(take_2b(&mut rest)));
    let object = handle_of(&host.with(cc::LOAD, &[storage], &[b""], &[&private[..], &public].concat()).unwrap());
    let guest = [&tpm2b(b"")[..], &tpm2b(storage_key), &OWNER.to_be_bytes()].concat();
    let guest = handle_of(&host.with(cc::LOAD_EXTERNAL, &[], &[], &guest).unwrap());
    let mut policy = Session::plain(&mut host, Kind::Policy);
    host.with(cc::POLICY_COMMAND_CODE, &[policy.handle], &[], &cc::DUPLICATE.to_be_bytes()).unwrap();
    let parameters = [&tpm2b(b"")[..], &[0, 0x10]].concat();
    let auths = vec![policy.with(0).into()];
    let reply = execute(&mut host, cc::DUPLICATE, &[object, guest], auths, &parameters, |_| ()).unwrap();
    let mut rest = &*reply;
    assert_eq!(take_2b(&mut rest), b"", "there is no inner wrapper");
    [&public[..], rest].concat()
}

#[test]
fn a_secret_of_the_hosts_is_imported_below_the_storage_key_and_kept() {
    let (mut tpm, _) = Helper::new();
    let srk = tpm.keep(OWNER, &rsa_storage(), SRK);
    let secret = secret_for(&srk, b"for this guest");
    let mut rest = &*secret;
    let public = tpm2b(take_2b(&mut rest));
    let import = |parts: &[u8]| [&tpm2b(b"")[..], &public, parts, &[0, 0x10]].concat();
    let private = tpm.with(cc::IMPORT, &[SRK], &[b""], &import(rest)).unwrap();
    let loaded = handle_of(&tpm.with(cc::LOAD, &[SRK], &[b""], &[&private[..], &public].concat()).unwrap());
    tpm.evict(loaded, GUEST_SECRET).unwrap();
    tpm.flush(loaded);
    tpm.restart();
    assert_eq!(tpm.with(cc::UNSEAL, &[GUEST_SECRET], &[b""], &[]), Ok(tpm2b(b"for this guest")));
    // Another guest's, and one that was changed.
    let (mut other, _) = Helper::new();
    other.keep(OWNER, &rsa_storage(), SRK);
    assert!(other.with(cc::IMPORT, &[SRK], &[b""], &import(rest)).is_err());
    let mut changed = rest.to_vec();
    changed[20] ^= 1;
    assert_eq!(tpm.with(cc::IMPORT, &[SRK], &[b""], &import(&changed)), Err(0x3df), "TPM_RC_INTEGRITY");
    assert_eq!(tpm.with(cc::IMPORT, &[0x8100_0009], &[b""], &import(rest)), Err(MISSING), "there is no such parent");
}

#[test]
fn a_guest_cannot_use_the_platform_hierarchy_once_it_is_disabled() {
    let (mut tpm, _) = Helper::new();
    tpm.define_platforms(b"password");
    let disable = [&PLATFORM.to_be_bytes()[..], &[0]].concat();
    tpm.with(cc::HIERARCHY_CONTROL, &[PLATFORM], &[b""], &disable).unwrap();
    for (code, parameters) in [(cc::CLEAR, vec![]), (cc::CLEAR_CONTROL, vec![0]), (cc::CHANGE_EPS, vec![])] {
        assert_eq!(tpm.with(code, &[PLATFORM], &[b""], &parameters), Err(0x185), "{code:#x}: TPM_RC_HIERARCHY");
    }
    assert_eq!(tpm.define(PLATFORM, 0x0140_0003, crate::helper::PLATFORMS, b"", 8), Err(0x185));
    // What the platform has defined stays readable where its attributes say so, and comes back with the platform.
    assert_eq!(tpm.read(crate::helper::REPORT), Err(crate::helper::UNWRITTEN));
    tpm.restart();
    assert_eq!(tpm.with(cc::CLEAR_CONTROL, &[PLATFORM], &[b""], &[0]), Ok(vec![]));
}
