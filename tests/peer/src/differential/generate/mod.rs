//! What is done next: each function sends one or a few commands.

pub(crate) mod attest;
pub(crate) mod capability;
pub(crate) mod context;
pub(crate) mod hierarchy;
pub(crate) mod key;
pub(crate) mod known;
pub(crate) mod later;
pub(crate) mod lattice;
pub(crate) mod nv;
pub(crate) mod object;
pub(crate) mod pcr;
pub(crate) mod policy;
pub(crate) mod sequence;
pub(crate) mod session;
pub(crate) mod startup;

use super::world::{Subject, World};

type Action = fn(&mut World);

/// What is done how often.
const ACTIONS: &[(u32, Action)] = &[
    (14, object::create_primary),
    (20, object::create),
    (30, object::load),
    (10, object::create_loaded),
    (30, object::load_external),
    (22, object::read_public),
    (10, object::change_auth),
    (25, object::unseal),
    (4, object::make_credential),
    (8, object::duplicate),
    (8, object::import),
    (3, object::rewrap),
    (4, object::ecc),
    (30, key::sign),
    (30, key::verify),
    (30, key::hash),
    (30, key::hmac),
    (40, key::encrypt_decrypt),
    (8, key::rsa_encrypt),
    (6, known::ecdh),
    (6, known::external),
    (8, known::parent),
    (10, known::duplicable),
    (14, known::duplicate),
    (8, known::credential),
    (5, known::rsa),
    (8, known::two_phases),
    (3, known::certify_x509),
    (6, hierarchy::by_policy),
    (1, key::ephemeral),
    (8, key::ecc_parameters),
    (15, key::random),
    (10, key::test_parms),
    (45, sequence::start),
    (90, sequence::update),
    (45, sequence::complete),
    (15, attest::certify),
    (10, attest::certify_creation),
    (15, attest::quote),
    (10, attest::time),
    (10, attest::nv),
    (8, attest::session_audit),
    (6, attest::command_audit),
    (5, attest::audit_status),
    (40, pcr::extend),
    (15, pcr::event),
    (50, pcr::read),
    (15, pcr::reset),
    (2, pcr::allocate),
    (8, pcr::auth),
    (60, policy::assert),
    (20, later::assert),
    (4, later::ecc),
    (1, later::read_only),
    (3, later::timer),
    (25, policy::digest),
    (15, policy::learn),
    (12, policy::signed),
    (12, policy::secret),
    (8, policy::ticket_again),
    (8, policy::authorize),
    (6, policy::authorize_nv),
    (10, policy::restart),
    (35, session::start_any),
    (10, context::flush_session),
    (10, context::flush_object),
    (35, context::save),
    (35, context::load),
    (14, context::evict),
    (45, nv::define),
    (60, nv::write),
    (60, nv::read),
    (30, nv::increment),
    (30, nv::extend),
    (25, nv::set_bits),
    (14, nv::lock),
    (3, nv::global_lock),
    (15, nv::change_auth),
    (18, nv::undefine),
    (30, nv::public),
    (8, hierarchy::change_auth),
    (6, hierarchy::set_policy),
    (3, hierarchy::control),
    (2, hierarchy::clear),
    (3, hierarchy::clear_control),
    (1, hierarchy::change_seed),
    (8, hierarchy::lock_reset),
    (5, hierarchy::lockout_parameters),
    (6, hierarchy::clock),
    (3, hierarchy::presence),
    (40, capability::get),
    (15, capability::state),
    (3, startup::test),
    (1, startup::restart),
    (2, startup::dynamic_root),
    (1, startup::startup_again),
    (4, startup::locality),
];

/// What is done where both TPMs have algorithms on lattices.
const LATTICES: &[(u32, Action)] = &[
    (12, lattice::create),
    (14, lattice::exchange),
    (40, lattice::encapsulate),
    (30, lattice::sign_digest),
    (40, lattice::message),
    (6, lattice::begin),
];

/// What keys on lattices want beside them.
const BESIDE: &[(u32, Action)] = &[
    (6, lattice::load),
    (3, lattice::beside),
    (3, object::read_public),
    (6, key::hash),
    (3, sequence::update),
    (2, context::flush_object),
    (6, session::start_hmac),
    (2, context::flush_session),
];

/// Does something.
pub(crate) fn step(world: &mut World) {
    let lattices = if lattice::is_common(world) { LATTICES } else { &[] };
    let others = if world.subject == Subject::Lattices { BESIDE } else { ACTIONS };
    let all: u32 = lattices.iter().chain(others).map(|(weight, _)| weight).sum();
    let mut at = world.rng.u32(0..all);
    for (weight, action) in lattices.iter().chain(others) {
        if at < *weight {
            return action(world);
        }
        at -= weight;
    }
}

/// Does one thing after the other, all of them equally often.
pub(crate) fn by_turns(world: &mut World, step: u64) {
    let all: Vec<Action> = ACTIONS.iter().chain(LATTICES).map(|(_, action)| *action).collect();
    all[usize::try_from(step).expect("few") % all.len()](world);
}

/// TPML_PCR_SELECTION of a few PCR.
pub(crate) fn selection(world: &mut World) -> Vec<u8> {
    let count = world.one_of(&[1, 1, 1, 2, 0, 3]);
    let mut out = vec![0, 0, 0, count];
    for _ in 0..count {
        let alg: u16 = if world.once_in(40) {
            world.one_of(&[0, 0x10, 5, 0x23, 0x2f, 0x43, 0xffff])
        } else {
            world.one_of(&[4, 0xb, 0xb, 0xc, 0xd])
        };
        out.extend(alg.to_be_bytes());
        if world.once_in(40) {
            let n = world.rng.u8(0..6);
            out.push(n);
            let bits = world.octets(n.into());
            out.extend(bits);
        } else {
            let bit = world.one_of(&[0u32, 7, 10, 16, 17, 23]);
            let bits = 1u32 << bit | if world.once_in(3) { 1 << world.rng.u32(0..24) } else { 0 };
            out.push(3);
            out.extend(&bits.to_le_bytes()[..3]);
        }
    }
    out
}
