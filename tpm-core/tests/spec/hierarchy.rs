//! Part 3, 24: Hierarchy Commands (TPM2_CreatePrimary is in primary.rs), and what a disabled hierarchy means.

use crate::harness::Fixture;
use crate::harness::keys::ecc_storage;
use client::codes::{
    ACT_0, AUTH_FAIL, AUTH_MISSING, AUTH_TYPE, AUTH_UNAVAILABLE, BAD_AUTH, DISABLED, ENDORSEMENT, HANDLE, HASH,
    HIERARCHY, INSUFFICIENT, INTEGRITY, LOCKOUT_HIERARCHY, NULL, OWNER, PLATFORM, PLATFORM_NV, READ_ONLY, SIZE, VALUE,
    handle, param, plain, reference_h, session,
};
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;
use tpm_wire::pt;

const INDEX: u32 = 0x0150_0000;
const PLATFORM_INDEX: u32 = 0x01c0_0000;
const SHA256: [u8; 2] = [0, 0xb];
const ALG_NULL: [u8; 2] = [0, 0x10];

/// TPMA_NV: owner, platform and authValue may read and write, no dictionary-attack protection.
const OPEN: u32 = 0x0207_0007;
const PLATFORMCREATE: u32 = 1 << 30;

fn run(tpm: &mut Fixture, code: u32, by: u32, params: &[u8]) -> Outcome {
    tpm.with(code, &[by], &[b""], params)
}

fn control(tpm: &mut Fixture, by: u32, enable: u32, state: u8) -> Outcome {
    run(tpm, cc::HIERARCHY_CONTROL, by, &[&enable.to_be_bytes()[..], &[state]].concat())
}

fn change_auth(tpm: &mut Fixture, h: u32, old: &[u8], new: &[u8]) -> Outcome {
    tpm.with(cc::HIERARCHY_CHANGE_AUTH, &[h], &[old], &tpm2b(new))
}

fn set_policy(tpm: &mut Fixture, h: u32, digest: &[u8], alg: [u8; 2]) -> Outcome {
    run(tpm, cc::SET_PRIMARY_POLICY, h, &[&tpm2b(digest)[..], &alg].concat())
}

fn define(tpm: &mut Fixture, by: u32, index: u32, attributes: u32) -> Outcome {
    let public = [&index.to_be_bytes()[..], &SHA256, &attributes.to_be_bytes(), &[0, 0, 0, 8]].concat();
    tpm.with(cc::NV_DEFINE_SPACE, &[by], &[b""], &[tpm2b(b""), tpm2b(&public)].concat())
}

fn write(tpm: &mut Fixture, by: u32, index: u32) -> Outcome {
    tpm.with(cc::NV_WRITE, &[by, index], &[b""], &[&tpm2b(b"8 octets")[..], &[0, 0]].concat())
}

fn read(tpm: &mut Fixture, by: u32, index: u32) -> Outcome {
    tpm.with(cc::NV_READ, &[by, index], &[b""], &[0, 8, 0, 0])
}

fn capability(tpm: &mut Fixture, group: u32, first: u32, count: u32) -> Vec<u8> {
    tpm.run(cc::GET_CAPABILITY, &[], &[], &[group, first, count].map(u32::to_be_bytes).concat()).unwrap()[9..].to_vec()
}

fn property(tpm: &mut Fixture, pt: u32) -> u32 {
    u32::from_be_bytes(capability(tpm, 6, pt, 1)[4..8].try_into().unwrap())
}

fn enables(tpm: &mut Fixture) -> u32 {
    property(tpm, 0x201) & 0x1f
}

/// The authPolicy of a hierarchy.
fn policy(tpm: &mut Fixture, h: u32) -> Vec<u8> {
    capability(tpm, 9, h, 1)[4..].to_vec()
}

// TPM2_HierarchyControl

#[test]
fn each_enable_has_those_who_may_change_it() {
    for (enable, bit, own) in [(OWNER, 2, Some(OWNER)), (ENDORSEMENT, 4, Some(ENDORSEMENT)), (PLATFORM_NV, 8, None)] {
        let mut tpm = Fixture::new();
        for by in [PLATFORM].into_iter().chain(own) {
            assert_eq!(control(&mut tpm, by, enable, 0), Ok(vec![]));
            assert_eq!(enables(&mut tpm), 0xf ^ bit);
            assert_eq!(control(&mut tpm, PLATFORM, enable, 1), Ok(vec![]));
            assert_eq!(enables(&mut tpm), 0xf);
            assert_eq!(control(&mut tpm, by, enable, 1), Ok(vec![]), "already SET");
        }
    }
}

#[test]
fn hierarchy_control_refuses_others_authorizations() {
    let mut tpm = Fixture::new();
    for (by, enable) in [
        (OWNER, ENDORSEMENT),
        (OWNER, PLATFORM),
        (OWNER, PLATFORM_NV),
        (ENDORSEMENT, OWNER),
        (ENDORSEMENT, PLATFORM),
        (ENDORSEMENT, PLATFORM_NV),
    ] {
        for state in [0, 1] {
            assert_eq!(control(&mut tpm, by, enable, state), Err(AUTH_TYPE), "{by:#x} {enable:#x}");
        }
    }
    assert_eq!(enables(&mut tpm), 0xf);
    for by in [LOCKOUT_HIERARCHY, NULL, PLATFORM_NV, ACT_0, INDEX] {
        assert_eq!(control(&mut tpm, by, OWNER, 0), Err(handle(1, VALUE)));
    }
    for enable in [NULL, LOCKOUT_HIERARCHY, 0] {
        assert_eq!(control(&mut tpm, PLATFORM, enable, 0), Err(param(1, VALUE)));
    }
    assert_eq!(control(&mut tpm, PLATFORM, OWNER, 2), Err(param(2, VALUE)));
    assert_eq!(run(&mut tpm, cc::HIERARCHY_CONTROL, PLATFORM, &OWNER.to_be_bytes()), Err(param(2, INSUFFICIENT)));
}

#[test]
fn tn_f_10822_a_disabled_hierarchy_cannot_enable_itself() {
    let mut tpm = Fixture::new();
    for h in [OWNER, ENDORSEMENT] {
        assert_eq!(control(&mut tpm, h, h, 0), Ok(vec![]));
        assert_eq!(control(&mut tpm, h, h, 1), Err(handle(1, HIERARCHY)));
        assert_eq!(control(&mut tpm, h, h, 0), Err(handle(1, HIERARCHY)));
    }
    assert_eq!(enables(&mut tpm), 0x9);
}

#[test]
fn the_platform_is_off_until_the_next_startup_of_any_kind() {
    for (shutdown, startup) in [(None, 0), (Some(0), 0), (Some(1), 0), (Some(1), 1)] {
        let mut tpm = Fixture::new();
        assert_eq!(control(&mut tpm, PLATFORM, OWNER, 0), Ok(vec![]));
        assert_eq!(control(&mut tpm, PLATFORM, PLATFORM, 0), Ok(vec![]));
        assert_eq!(enables(&mut tpm), 0xc);
        assert_eq!(control(&mut tpm, PLATFORM, PLATFORM, 1), Err(handle(1, HIERARCHY)));
        assert_eq!(change_auth(&mut tpm, PLATFORM, b"", b"x"), Err(handle(1, HIERARCHY)));
        assert_eq!(run(&mut tpm, cc::CLEAR, PLATFORM, &[]), Err(handle(1, HIERARCHY)));
        assert_eq!(
            run(&mut tpm, cc::ACT_SET_TIMEOUT, ACT_0, &[0, 0, 0, 1]),
            Err(AUTH_UNAVAILABLE),
            "platformAuth for an ACT"
        );
        tpm.restart(shutdown, startup);
        assert_eq!(enables(&mut tpm), if startup == 1 { 0xd } else { 0xf }, "only TPM Resume keeps the others");
    }
}

#[test]
fn nothing_of_a_disabled_hierarchy_can_be_used() {
    let mut tpm = Fixture::new();
    define(&mut tpm, OWNER, INDEX, OPEN).unwrap();
    define(&mut tpm, PLATFORM, PLATFORM_INDEX, OPEN | PLATFORMCREATE).unwrap();
    write(&mut tpm, INDEX, INDEX).unwrap();
    write(&mut tpm, PLATFORM_INDEX, PLATFORM_INDEX).unwrap();
    control(&mut tpm, OWNER, OWNER, 0).unwrap();
    assert_eq!(read(&mut tpm, INDEX, INDEX), Err(handle(1, HANDLE)));
    assert_eq!(read(&mut tpm, PLATFORM, INDEX), Err(handle(2, HANDLE)));
    assert_eq!(change_auth(&mut tpm, OWNER, b"", b""), Err(handle(1, HIERARCHY)));
    assert_eq!(set_policy(&mut tpm, OWNER, &[], ALG_NULL), Err(handle(1, HIERARCHY)));
    assert!(read(&mut tpm, PLATFORM_INDEX, PLATFORM_INDEX).is_ok());
    control(&mut tpm, PLATFORM, PLATFORM_NV, 0).unwrap();
    assert_eq!(read(&mut tpm, PLATFORM, PLATFORM_INDEX), Err(handle(2, HANDLE)));
    control(&mut tpm, PLATFORM, OWNER, 1).unwrap();
    control(&mut tpm, PLATFORM, PLATFORM_NV, 1).unwrap();
    assert!(read(&mut tpm, PLATFORM_INDEX, PLATFORM_INDEX).is_ok(), "only hidden");
    assert!(read(&mut tpm, INDEX, INDEX).is_ok());
}

// TPM2_SetPrimaryPolicy

#[test]
fn a_policy_has_the_size_of_its_algorithm() {
    let mut tpm = Fixture::new();
    for h in [OWNER, ENDORSEMENT, PLATFORM, LOCKOUT_HIERARCHY, ACT_0, ACT_0 + 0xa] {
        assert_eq!(policy(&mut tpm, h), ALG_NULL);
        assert_eq!(set_policy(&mut tpm, h, &[7; 32], SHA256), Ok(vec![]));
        assert_eq!(policy(&mut tpm, h), [&SHA256[..], &[7; 32]].concat());
        for (size, alg) in [(31, SHA256), (33, SHA256), (0, SHA256), (48, SHA256), (32, ALG_NULL)] {
            assert_eq!(set_policy(&mut tpm, h, &vec![8; size], alg), Err(param(1, SIZE)), "{size} {alg:?}");
        }
        assert_eq!(policy(&mut tpm, h), [&SHA256[..], &[7; 32]].concat(), "refused, and unchanged");
        assert_eq!(set_policy(&mut tpm, h, &[], ALG_NULL), Ok(vec![]));
        assert_eq!(policy(&mut tpm, h), ALG_NULL);
    }
}

#[test]
fn set_primary_policy_refuses_what_has_none() {
    let mut tpm = Fixture::new();
    for h in [NULL, PLATFORM_NV, ACT_0 + 1, ACT_0 + 0x10, 0] {
        assert_eq!(set_policy(&mut tpm, h, &[], ALG_NULL), Err(handle(1, VALUE)), "{h:#x}");
    }
    assert_eq!(set_policy(&mut tpm, OWNER, &[7; 32], [0, 1]), Err(param(2, HASH)));
    assert_eq!(run(&mut tpm, cc::SET_PRIMARY_POLICY, OWNER, &tpm2b(&[7; 65])), Err(param(1, SIZE)));
    assert_eq!(tpm.run(cc::SET_PRIMARY_POLICY, &[OWNER], &[], &[0, 0, 0, 0x10]), Err(AUTH_MISSING));
}

#[test]
fn the_platforms_policy_is_gone_after_a_reset_the_others_stay() {
    for (shutdown, startup, kept) in [(None, 0, false), (Some(1), 0, false), (Some(1), 1, true)] {
        let mut tpm = Fixture::new();
        for h in [OWNER, PLATFORM, ACT_0] {
            set_policy(&mut tpm, h, &[7; 32], SHA256).unwrap();
        }
        tpm.restart(shutdown, startup);
        assert_eq!(policy(&mut tpm, OWNER).len(), 34);
        for h in [PLATFORM, ACT_0] {
            assert_eq!(policy(&mut tpm, h).len() == 34, kept);
        }
    }
}

// TPM2_HierarchyChangeAuth

#[test]
fn auth_values_change_and_lose_trailing_zeros() {
    for (h, bit) in [(OWNER, 1), (ENDORSEMENT, 2), (LOCKOUT_HIERARCHY, 4), (PLATFORM, 0)] {
        let mut tpm = Fixture::new();
        assert_eq!(change_auth(&mut tpm, h, b"", b"new\0\0"), Ok(vec![]));
        assert_eq!(property(&mut tpm, pt::PERMANENT) & 7, bit, "TPM_PT_PERMANENT");
        let wrong = if h == LOCKOUT_HIERARCHY { AUTH_FAIL } else { BAD_AUTH };
        assert_eq!(change_auth(&mut tpm, h, b"new", &[7; 32]), Ok(vec![]));
        assert_eq!(change_auth(&mut tpm, h, &[7; 32], b"\0\0"), Ok(vec![]));
        assert_eq!(property(&mut tpm, pt::PERMANENT) & 7, 0, "empty again");
        change_auth(&mut tpm, h, b"", b"last").unwrap();
        assert_eq!(change_auth(&mut tpm, h, b"", b""), Err(session(1, wrong)));
    }
}

/// Part 3, 24.8.1: "no larger than the digest produced by the hash algorithm used for context integrity", which
/// TPM_PT_CONTEXT_HASH says is SHA-256.
#[test]
fn change_auth_refuses_what_is_too_long_and_what_has_no_auth_value() {
    let mut tpm = Fixture::new();
    for (h, n) in [OWNER, ENDORSEMENT, PLATFORM, LOCKOUT_HIERARCHY].into_iter().zip([33, 48, 64, 65]) {
        assert_eq!(change_auth(&mut tpm, h, b"", &vec![7; n]), Err(param(1, SIZE)), "{n}");
    }
    let padded = [&[7; 32][..], &[0; 32]].concat();
    assert_eq!(change_auth(&mut tpm, OWNER, b"", &padded), Ok(vec![]), "trailing zeros do not count");
    assert_eq!(change_auth(&mut tpm, OWNER, &[7; 32], b""), Ok(vec![]));
    for h in [NULL, PLATFORM_NV, ACT_0, INDEX] {
        assert_eq!(change_auth(&mut tpm, h, b"", b"x"), Err(handle(1, VALUE)));
    }
    assert_eq!(tpm.run(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &[], &tpm2b(b"x")), Err(AUTH_MISSING));
}

#[test]
fn the_platforms_auth_is_gone_after_a_reset() {
    for (shutdown, startup, old) in [(None, 0, &b""[..]), (Some(1), 0, b""), (Some(1), 1, b"platform")] {
        let mut tpm = Fixture::new();
        change_auth(&mut tpm, PLATFORM, b"", b"platform").unwrap();
        change_auth(&mut tpm, OWNER, b"", b"owner").unwrap();
        tpm.restart(shutdown, startup);
        assert_eq!(change_auth(&mut tpm, PLATFORM, old, b""), Ok(vec![]));
        assert_eq!(change_auth(&mut tpm, OWNER, b"owner", b""), Ok(vec![]));
    }
}

// TPM2_Clear, TPM2_ClearControl

#[test]
fn tn_f_4373_clear_needs_an_authorization() {
    let mut tpm = Fixture::new();
    for h in [LOCKOUT_HIERARCHY, PLATFORM] {
        assert_eq!(tpm.run(cc::CLEAR, &[h], &[], &[]), Err(AUTH_MISSING));
    }
    change_auth(&mut tpm, LOCKOUT_HIERARCHY, b"", b"lock").unwrap();
    change_auth(&mut tpm, PLATFORM, b"", b"platform").unwrap();
    assert_eq!(run(&mut tpm, cc::CLEAR, PLATFORM, &[]), Err(session(1, BAD_AUTH)));
    assert_eq!(run(&mut tpm, cc::CLEAR, LOCKOUT_HIERARCHY, &[]), Err(session(1, AUTH_FAIL)));
    for h in [OWNER, ENDORSEMENT, NULL] {
        assert_eq!(run(&mut tpm, cc::CLEAR, h, &[]), Err(handle(1, VALUE)));
    }
}

#[test]
fn tn_f_10821_clear_deletes_what_is_the_owners() {
    for by in [LOCKOUT_HIERARCHY, PLATFORM] {
        let mut tpm = Fixture::new();
        define(&mut tpm, OWNER, INDEX, OPEN).unwrap();
        define(&mut tpm, PLATFORM, PLATFORM_INDEX, OPEN | PLATFORMCREATE).unwrap();
        write(&mut tpm, PLATFORM_INDEX, PLATFORM_INDEX).unwrap();
        for h in [OWNER, ENDORSEMENT, LOCKOUT_HIERARCHY, PLATFORM] {
            set_policy(&mut tpm, h, &[7; 32], SHA256).unwrap();
        }
        control(&mut tpm, OWNER, OWNER, 0).unwrap();
        control(&mut tpm, ENDORSEMENT, ENDORSEMENT, 0).unwrap();
        assert_eq!(run(&mut tpm, cc::CLEAR, by, &[]), Ok(vec![]));
        assert_eq!(enables(&mut tpm), 0xf, "storage and endorsement are enabled");
        for h in [OWNER, ENDORSEMENT, LOCKOUT_HIERARCHY] {
            assert_eq!(policy(&mut tpm, h), ALG_NULL);
        }
        assert_eq!(policy(&mut tpm, PLATFORM).len(), 34, "the platform's stays");
        assert_eq!(read(&mut tpm, INDEX, INDEX), Err(handle(1, HANDLE)));
        assert!(read(&mut tpm, PLATFORM_INDEX, PLATFORM_INDEX).is_ok());
        assert_eq!(property(&mut tpm, 0x202), 1, "TPM_PT_HR_NV_INDEX");
    }
}

#[test]
fn clear_resets_auth_values_dictionary_attack_protection_and_clock() {
    let mut tpm = Fixture::new();
    tpm.restart(None, 0);
    tpm.clock.0 = 5000;
    for h in [OWNER, ENDORSEMENT, LOCKOUT_HIERARCHY, PLATFORM] {
        change_auth(&mut tpm, h, b"", b"auth").unwrap();
    }
    tpm.with(
        cc::DICTIONARY_ATTACK_PARAMETERS,
        &[LOCKOUT_HIERARCHY],
        &[b"auth"],
        &[5, 6, 7].map(u32::to_be_bytes).concat(),
    )
    .unwrap();
    assert_eq!(tpm.with(cc::CLEAR, &[LOCKOUT_HIERARCHY], &[b"auth"], &[]), Ok(vec![]));
    for h in [OWNER, ENDORSEMENT, LOCKOUT_HIERARCHY] {
        assert_eq!(change_auth(&mut tpm, h, b"", b""), Ok(vec![]), "{h:#x}");
    }
    assert_eq!(change_auth(&mut tpm, PLATFORM, b"auth", b""), Ok(vec![]), "the platform's stays");
    assert_eq!([0x20e, 0x20f, 0x210, 0x211].map(|pt| property(&mut tpm, pt)), [0, 32, 7200, 86400]);
    let clock = tpm.run(cc::READ_CLOCK, &[], &[], &[]).unwrap();
    assert_eq!(clock[..8], 5000u64.to_be_bytes(), "time goes on");
    assert_eq!(
        clock[8..],
        [0; 16].into_iter().chain([1]).collect::<Vec<u8>>(),
        "clock, resetCount, restartCount; safe"
    );
}

#[test]
fn a_nv_counter_is_never_lower_than_one_that_was_cleared() {
    let mut tpm = Fixture::new();
    let counter = OPEN | 0x10;
    define(&mut tpm, OWNER, INDEX, counter).unwrap();
    for _ in 0..3 {
        tpm.with(cc::NV_INCREMENT, &[INDEX, INDEX], &[b""], &[]).unwrap();
    }
    run(&mut tpm, cc::CLEAR, PLATFORM, &[]).unwrap();
    define(&mut tpm, OWNER, INDEX, counter).unwrap();
    tpm.with(cc::NV_INCREMENT, &[INDEX, INDEX], &[b""], &[]).unwrap();
    assert_eq!(read(&mut tpm, INDEX, INDEX).unwrap()[2..], 4u64.to_be_bytes());
}

#[test]
fn clear_control_disables_clear_and_only_the_platform_enables_it() {
    for by in [LOCKOUT_HIERARCHY, PLATFORM] {
        let mut tpm = Fixture::new();
        assert_eq!(run(&mut tpm, cc::CLEAR_CONTROL, by, &[1]), Ok(vec![]));
        assert_eq!(property(&mut tpm, pt::PERMANENT) & 0x100, 0x100, "disableClear");
        tpm.restart(None, 0);
        for clearer in [LOCKOUT_HIERARCHY, PLATFORM] {
            assert_eq!(run(&mut tpm, cc::CLEAR, clearer, &[]), Err(DISABLED));
        }
        assert_eq!(run(&mut tpm, cc::CLEAR_CONTROL, LOCKOUT_HIERARCHY, &[0]), Err(0x080 | AUTH_FAIL));
        assert_eq!(property(&mut tpm, pt::PERMANENT) & 0x100, 0x100);
        assert_eq!(run(&mut tpm, cc::CLEAR_CONTROL, PLATFORM, &[0]), Ok(vec![]));
        assert_eq!(run(&mut tpm, cc::CLEAR, LOCKOUT_HIERARCHY, &[]), Ok(vec![]));
        assert_eq!(run(&mut tpm, cc::CLEAR_CONTROL, by, &[2]), Err(param(1, VALUE)));
        assert_eq!(run(&mut tpm, cc::CLEAR_CONTROL, OWNER, &[1]), Err(handle(1, VALUE)));
        assert_eq!(tpm.run(cc::CLEAR_CONTROL, &[by], &[], &[1]), Err(AUTH_MISSING));
    }
}

// TPM2_ChangePPS, TPM2_ChangeEPS

#[test]
fn a_new_platform_seed_resets_the_policy_but_not_the_auth_value_and_no_index() {
    let mut tpm = Fixture::new();
    define(&mut tpm, PLATFORM, PLATFORM_INDEX, OPEN | PLATFORMCREATE).unwrap();
    set_policy(&mut tpm, PLATFORM, &[7; 32], SHA256).unwrap();
    set_policy(&mut tpm, OWNER, &[7; 32], SHA256).unwrap();
    change_auth(&mut tpm, PLATFORM, b"", b"p").unwrap();
    assert_eq!(tpm.with(cc::CHANGE_PPS, &[PLATFORM], &[b"p"], &[]), Ok(vec![]));
    assert_eq!(policy(&mut tpm, PLATFORM), ALG_NULL);
    assert_eq!(policy(&mut tpm, OWNER).len(), 34);
    assert!(write(&mut tpm, PLATFORM_INDEX, PLATFORM_INDEX).is_ok());
    assert_eq!(change_auth(&mut tpm, PLATFORM, b"p", b""), Ok(vec![]));
}

#[test]
fn a_new_endorsement_seed_makes_the_hierarchy_as_new() {
    let mut tpm = Fixture::new();
    define(&mut tpm, OWNER, INDEX, OPEN).unwrap();
    set_policy(&mut tpm, ENDORSEMENT, &[7; 32], SHA256).unwrap();
    change_auth(&mut tpm, ENDORSEMENT, b"", b"e").unwrap();
    change_auth(&mut tpm, OWNER, b"", b"o").unwrap();
    tpm.with(cc::HIERARCHY_CONTROL, &[ENDORSEMENT], &[b"e"], &[&ENDORSEMENT.to_be_bytes()[..], &[0]].concat()).unwrap();
    assert_eq!(run(&mut tpm, cc::CHANGE_EPS, PLATFORM, &[]), Ok(vec![]));
    assert_eq!(enables(&mut tpm), 0xf);
    assert_eq!(policy(&mut tpm, ENDORSEMENT), ALG_NULL);
    assert_eq!(change_auth(&mut tpm, ENDORSEMENT, b"", b""), Ok(vec![]));
    assert_eq!(change_auth(&mut tpm, OWNER, b"o", b""), Ok(vec![]), "the owner's stays");
    assert!(write(&mut tpm, INDEX, INDEX).is_ok());
}

#[test]
fn only_the_platform_changes_seeds() {
    let mut tpm = Fixture::new();
    for code in [cc::CHANGE_EPS, cc::CHANGE_PPS] {
        for h in [OWNER, ENDORSEMENT, LOCKOUT_HIERARCHY, NULL] {
            assert_eq!(run(&mut tpm, code, h, &[]), Err(handle(1, VALUE)));
        }
        assert_eq!(tpm.run(code, &[PLATFORM], &[], &[]), Err(AUTH_MISSING));
        assert_eq!(run(&mut tpm, code, PLATFORM, &[0]), Err(plain(SIZE)), "SIZE: nothing may follow");
    }
}

// What becomes of objects

const HIERARCHIES: [u32; 4] = [OWNER, ENDORSEMENT, PLATFORM, NULL];

/// A primary key in each hierarchy: its handle and its saved context; those of all but the NULL hierarchy are
/// persistent too.
struct Keys {
    loaded: [u32; 4],
    contexts: [Vec<u8>; 4],
    persistent: [u32; 3],
    names: [Vec<u8>; 4],
}

impl Keys {
    fn new(tpm: &mut Fixture) -> Self {
        let loaded = HIERARCHIES.map(|h| tpm.primary(h, &ecc_storage()).0);
        let names = loaded.map(|h| tpm.name(h));
        let contexts = loaded.map(|h| tpm.run(cc::CONTEXT_SAVE, &[h], &[], &[]).unwrap());
        let persistent: [u32; 3] = [0x8100_0001, 0x8101_0001, 0x8180_0001];
        for (i, by) in [OWNER, OWNER, PLATFORM].into_iter().enumerate() {
            let persistent = persistent[i].to_be_bytes();
            assert_eq!(tpm.with(cc::EVICT_CONTROL, &[by, loaded[i]], &[b""], &persistent), Ok(vec![]));
        }
        Self { loaded, contexts, persistent, names }
    }

    /// Whether the keys of each hierarchy are still loaded, can be loaded again, are still persistent, and would be the
    /// same if made anew.
    fn state(&self, tpm: &mut Fixture, hierarchy: u32) -> [bool; 4] {
        let i = HIERARCHIES.iter().position(|h| *h == hierarchy).unwrap();
        let loaded = tpm.run(cc::READ_PUBLIC, &[self.loaded[i]], &[], &[]).is_ok();
        let again = tpm.run(cc::CONTEXT_LOAD, &[], &[], &self.contexts[i]);
        assert!(again.is_ok() || again == Err(param(1, INTEGRITY)));
        if let Ok(reply) = &again {
            tpm.flush(crate::harness::keys::handle_of(reply)).unwrap();
        }
        let persistent = self.persistent.get(i).is_some_and(|h| tpm.run(cc::READ_PUBLIC, &[*h], &[], &[]).is_ok());
        let anew = tpm.primary(hierarchy, &ecc_storage()).0;
        let same = tpm.name(anew) == self.names[i];
        tpm.flush(anew).unwrap();
        [loaded, again.is_ok(), persistent, same]
    }
}

const GONE: [bool; 4] = [false; 4];
const THERE: [bool; 4] = [true; 4];
const THERE_NULL: [bool; 4] = [true, true, false, true];

#[test]
fn tn_f_10821_clear_deletes_objects_of_owner_and_endorsement() {
    let mut tpm = Fixture::new();
    let keys = Keys::new(&mut tpm);
    run(&mut tpm, cc::CLEAR, LOCKOUT_HIERARCHY, &[]).unwrap();
    assert_eq!(keys.state(&mut tpm, OWNER), GONE);
    assert_eq!(keys.state(&mut tpm, ENDORSEMENT), [false, false, false, true], "the EPS stays");
    assert_eq!(keys.state(&mut tpm, PLATFORM), THERE);
    assert_eq!(keys.state(&mut tpm, NULL), THERE_NULL);
}

#[test]
fn new_seeds_end_the_objects_of_their_hierarchy() {
    for (code, hierarchy) in [(cc::CHANGE_EPS, ENDORSEMENT), (cc::CHANGE_PPS, PLATFORM)] {
        let mut tpm = Fixture::new();
        let keys = Keys::new(&mut tpm);
        run(&mut tpm, code, PLATFORM, &[]).unwrap();
        for h in HIERARCHIES {
            let expected = if h == hierarchy {
                GONE
            } else if h == NULL {
                THERE_NULL
            } else {
                THERE
            };
            assert_eq!(keys.state(&mut tpm, h), expected, "{code:#x} {h:#x}");
        }
    }
}

#[test]
fn disabling_a_hierarchy_flushes_and_hides_its_objects() {
    for (i, hierarchy) in [OWNER, ENDORSEMENT, PLATFORM].into_iter().enumerate() {
        let mut tpm = Fixture::new();
        let keys = Keys::new(&mut tpm);
        control(&mut tpm, hierarchy, hierarchy, 0).unwrap();
        assert_eq!(tpm.run(cc::READ_PUBLIC, &[keys.loaded[i]], &[], &[]), Err(reference_h(0)), "flushed");
        assert_eq!(tpm.run(cc::READ_PUBLIC, &[keys.persistent[i]], &[], &[]), Err(handle(1, HANDLE)), "hidden");
        assert_eq!(tpm.run(cc::CONTEXT_LOAD, &[], &[], &keys.contexts[i]), Err(param(1, HIERARCHY)));
        assert_eq!(tpm.create_primary(hierarchy, &ecc_storage()), Err(handle(1, HIERARCHY)));
        for other in (0..4).filter(|o| *o != i) {
            assert!(tpm.run(cc::READ_PUBLIC, &[keys.loaded[other]], &[], &[]).is_ok());
        }
        if hierarchy == PLATFORM {
            tpm.restart(Some(1), 1);
        } else {
            control(&mut tpm, PLATFORM, hierarchy, 1).unwrap();
        }
        assert_eq!(keys.state(&mut tpm, hierarchy), [false, true, true, true], "all but what was flushed");
    }
}

// TPM2_ReadOnlyControl

/// Every command of the specification that is not admitted in read-only mode.
const REFUSED_READ_ONLY: [u32; 31] = [
    cc::NV_UNDEFINE_SPACE_SPECIAL,
    cc::EVICT_CONTROL,
    cc::HIERARCHY_CONTROL,
    cc::NV_UNDEFINE_SPACE,
    cc::CHANGE_EPS,
    cc::CHANGE_PPS,
    cc::CLEAR,
    cc::CLEAR_CONTROL,
    cc::CLOCK_SET,
    cc::HIERARCHY_CHANGE_AUTH,
    cc::NV_DEFINE_SPACE,
    cc::PCR_ALLOCATE,
    cc::PCR_SET_AUTH_POLICY,
    cc::PP_COMMANDS,
    cc::SET_PRIMARY_POLICY,
    0x12f,
    cc::CLOCK_RATE_ADJUST,
    cc::CREATE_PRIMARY,
    cc::NV_GLOBAL_WRITE_LOCK,
    cc::NV_INCREMENT,
    cc::DICTIONARY_ATTACK_PARAMETERS,
    cc::NV_CHANGE_AUTH,
    cc::SET_ALGORITHM_SET,
    cc::SET_COMMAND_CODE_AUDIT_STATUS,
    0x141,
    cc::OBJECT_CHANGE_AUTH,
    cc::CREATE,
    cc::PCR_SET_AUTH_VALUE,
    cc::CREATE_LOADED,
    cc::NV_DEFINE_SPACE_2,
    cc::SET_CAPABILITY,
];

#[test]
fn read_only_mode_refuses_before_anything_else_is_looked_at() {
    let mut tpm = Fixture::new();
    let commands: Vec<u32> =
        capability(&mut tpm, 2, 0, 254).chunks(4).map(|c| u32::from_be_bytes(c.try_into().unwrap()) & 0xffff).collect();
    assert_eq!(run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[1]), Ok(vec![]));
    assert_eq!(enables(&mut tpm), 0x1f, "TPMA_STARTUP_CLEAR.readOnly");
    for code in commands {
        let outcome = tpm.run(code, &[], &[], &[]);
        assert_eq!(outcome == Err(READ_ONLY), REFUSED_READ_ONLY.contains(&code), "command {code:#x}: {outcome:x?}");
    }
    assert_eq!(run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[0]), Ok(vec![]));
    assert_eq!(enables(&mut tpm), 0xf);
    assert_eq!(run(&mut tpm, cc::CLOCK_SET, OWNER, &99u64.to_be_bytes()), Ok(vec![]));
}

#[test]
fn in_read_only_mode_only_indices_that_do_not_outlive_it_are_written() {
    let mut tpm = Fixture::new();
    const ORDERLY: u32 = 1 << 26;
    const CLEAR_STCLEAR: u32 = 1 << 27;
    const LOCKS: u32 = 1 << 14 | 1 << 31;
    for (n, attributes) in [(0, 0), (1, ORDERLY), (2, CLEAR_STCLEAR), (3, ORDERLY | CLEAR_STCLEAR)] {
        define(&mut tpm, OWNER, INDEX + n, OPEN | LOCKS | attributes).unwrap();
        write(&mut tpm, INDEX + n, INDEX + n).unwrap();
    }
    run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[1]).unwrap();
    for index in INDEX..INDEX + 3 {
        assert_eq!(write(&mut tpm, index, index), Err(READ_ONLY));
        for lock in [cc::NV_WRITE_LOCK, cc::NV_READ_LOCK] {
            assert_eq!(tpm.with(lock, &[index, index], &[b""], &[]), Err(READ_ONLY));
        }
        assert!(read(&mut tpm, index, index).is_ok());
    }
    let index = INDEX + 3;
    assert!(write(&mut tpm, index, index).is_ok());
    for lock in [cc::NV_WRITE_LOCK, cc::NV_READ_LOCK] {
        assert_eq!(tpm.with(lock, &[index, index], &[b""], &[]), Ok(vec![]));
    }
}

#[test]
fn in_read_only_mode_no_pin_is_counted_by_policy_secret() {
    use crate::harness::nv::a;
    let mut tpm = Fixture::new();
    let attributes = a::PIN_PASS | a::AUTHREAD | a::OWNERREAD | a::OWNERWRITE | a::NO_DA;
    crate::harness::nv::define(&mut tpm, INDEX, attributes, 8).unwrap();
    crate::harness::nv::write(&mut tpm, OWNER, INDEX, &[0, 0, 0, 0, 0, 0, 0, 9], 0).unwrap();
    let start = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[1, 0, 0x10, 0, 0xb]].concat();
    let policy = crate::harness::keys::handle_of(&tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &start).unwrap());
    let assert =
        |tpm: &mut Fixture, h: u32, auth: &[u8]| tpm.with(cc::POLICY_SECRET, &[h, policy], &[auth], &[0; 10]).map(drop);
    assert_eq!(assert(&mut tpm, INDEX, b"pw"), Ok(()));
    run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[1]).unwrap();
    assert_eq!(assert(&mut tpm, INDEX, b"pw"), Err(READ_ONLY));
    assert_eq!(assert(&mut tpm, OWNER, b""), Ok(()));
}

/// Part 1, 42.2: READ_ONLY comes before authorization checks; 42.3: what is not permitted has no effect on the TPM's
/// state.
#[test]
fn what_read_only_mode_refuses_is_refused_before_its_authorization_and_counts_nothing() {
    use crate::harness::nv::a;
    const PIN: u32 = INDEX + 1;
    let mut tpm = Fixture::new();
    let attributes = a::PIN_FAIL | a::AUTHREAD | a::OWNERREAD | a::OWNERWRITE | a::NO_DA;
    crate::harness::nv::define(&mut tpm, PIN, attributes, 8).unwrap();
    crate::harness::nv::write(&mut tpm, OWNER, PIN, &[0, 0, 0, 1, 0, 0, 0, 9], 0).unwrap();
    // Under dictionary-attack protection.
    crate::harness::nv::define(&mut tpm, INDEX, a::AUTHREAD | a::AUTHWRITE | a::WRITE_STCLEAR | a::READ_STCLEAR, 8)
        .unwrap();
    let start = [&tpm2b(&[1; 16])[..], &tpm2b(b""), &[1, 0, 0x10, 0, 0xb]].concat();
    let policy = crate::harness::keys::handle_of(&tpm.run(cc::START_AUTH_SESSION, &[NULL, NULL], &[], &start).unwrap());
    run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[1]).unwrap();
    tpm.run(cc::SHUTDOWN, &[], &[], &[0, 1]).unwrap();
    for auth in [&b"pw"[..], b"no"] {
        assert_eq!(tpm.with(cc::POLICY_SECRET, &[PIN, policy], &[auth], &[0; 10]), Err(READ_ONLY), "TPM2_PolicySecret");
        let data = [&tpm2b(&[7; 8])[..], &[0, 0]].concat();
        for (code, params) in [
            (cc::NV_WRITE, &data[..]),
            (cc::NV_EXTEND, &[0, 0]),
            (cc::NV_SET_BITS, &[0; 8]),
            (cc::NV_WRITE_LOCK, &[]),
            (cc::NV_READ_LOCK, &[]),
        ] {
            assert_eq!(tpm.with(code, &[INDEX, INDEX], &[auth], params), Err(READ_ONLY), "command {code:#x}");
        }
    }
    assert_eq!(
        tpm.run(cc::POLICY_SECRET, &[PIN, policy], &[], &[0; 10]),
        Err(READ_ONLY),
        "nor is there an authorization to miss"
    );
    assert_eq!(crate::harness::nv::read(&mut tpm, OWNER, PIN, 8, 0), Ok(vec![0, 0, 0, 1, 0, 0, 0, 9]));
    let tries = capability(&mut tpm, 6, 0x20e, 1);
    assert_eq!(tries[tries.len() - 4..], [0; 4], "TPM_PT_LOCKOUT_COUNTER");
    tpm.power_cycle();
    assert_eq!(tpm.run(cc::STARTUP, &[], &[], &[0, 1]), Ok(vec![]), "the shutdown before them still counts");
}

#[test]
fn read_only_mode_ends_with_a_reset_and_is_the_platforms() {
    for (shutdown, startup, word) in [(None, 0, 0xf), (Some(1), 0, 0xf), (Some(1), 1, 0x1f)] {
        let mut tpm = Fixture::new();
        run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[1]).unwrap();
        tpm.restart(shutdown, startup);
        assert_eq!(enables(&mut tpm), word);
    }
    let mut tpm = Fixture::new();
    assert_eq!(run(&mut tpm, cc::READ_ONLY_CONTROL, OWNER, &[1]), Err(handle(1, VALUE)));
    assert_eq!(run(&mut tpm, cc::READ_ONLY_CONTROL, PLATFORM, &[2]), Err(param(1, VALUE)));
    assert_eq!(tpm.run(cc::READ_ONLY_CONTROL, &[PLATFORM], &[], &[1]), Err(AUTH_MISSING));
}
