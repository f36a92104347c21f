//! Assertions in policy sessions, and policies to be used later.

use super::object::ticket;
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::policy::{Step, assert as make};
use crate::differential::wire::Bytes;
use crate::differential::world::{Entity, Object, Policy, PolicyTicket, Session, World, rh};
use client::attributes::object as a;
use client::hash::Alg;
use client::sym::Sym;

/// Commands that policies allow.
const ALLOWED: &[u32] = &[
    cc::UNSEAL,
    cc::SIGN,
    cc::NV_WRITE,
    cc::NV_READ,
    cc::OBJECT_CHANGE_AUTH,
    cc::CERTIFY,
    cc::DUPLICATE,
    cc::MAC,
    cc::MAC_START,
    cc::ENCRYPT_DECRYPT_2,
    cc::NV_CHANGE_AUTH,
    cc::NV_UNDEFINE_SPACE_SPECIAL,
    cc::NV_INCREMENT,
    cc::CREATE_PRIMARY,
    cc::NV_DEFINE_SPACE,
    cc::POLICY_NV,
];

/// A random assertion.
fn step(world: &mut World, alg: Alg) -> Step {
    let size = if world.once_in(25) { world.rng.usize(0..65) } else { alg.size() };
    let digest = world.octets(size);
    match world.rng.u8(0..28) {
        0..3 => Step::AuthValue,
        3..5 => Step::Password,
        5..9 => Step::CommandCode(if world.once_in(12) { world.rng.u32(0x11f..0x1b0) } else { world.one_of(ALLOWED) }),
        9..12 => {
            let selection = super::selection(world);
            let digest = if world.once_in(4) { digest } else { vec![] };
            Step::Pcr(selection, digest)
        }
        12..14 => Step::Locality(if world.once_in(4) { world.rng.u8(..) } else { world.one_of(&[1, 3, 31, 9, 0, 32]) }),
        14..16 => Step::NvWritten(world.one_of(&[0, 1, 1, 0, 2])),
        16..18 => {
            let handle = world.one_of(&rh::AUTHORIZED);
            let n = world.one_of(&[0, 0, 8]);
            Step::Secret(handle, world.octets(n))
        }
        18 => Step::CpHash(digest),
        19 => Step::NameHash(digest),
        20 => Step::Template(digest),
        21 => Step::PhysicalPresence,
        22 => {
            let names =
                [0, 1].map(|_| world.object(|o| o.sequence.is_none()).map_or([vec![], vec![]], |o| o.entity.name));
            let [object, parent] = names;
            Step::Duplication(object, parent, world.one_of(&[0, 1, 1, 2]))
        }
        23 => {
            // resetCount and restartCount: all that both have in common
            let offset = world.one_of(&[16u16, 20, 16, 20, 24, 25]);
            let value = world.one_of(&[0u8, 1, 2]);
            let operation = world.rng.u16(0..13);
            Step::CounterTimer(vec![0, 0, 0, value], offset, operation)
        }
        24..26 => {
            let Some(index) = world.index(|_| true) else { return Step::AuthValue };
            let n = world.one_of(&[1, 8, 8, 4]);
            let operand = if world.rng.bool() { vec![0; n] } else { world.octets(n) };
            let offset = world.one_of(&[0, 0, 0, 1, 8]);
            let operation = world.rng.u16(0..13);
            Step::Nv(index.entity.handle[0], operand, offset, operation)
        }
        _ => {
            let count = world.one_of(&[2, 2, 2, 3, 8, 1, 9]);
            let known: Vec<_> = world.policies.iter().filter(|p| p.alg == alg).map(|p| p.digest.clone()).collect();
            let branch = |world: &mut World| {
                if known.is_empty() || world.once_in(4) {
                    let digest = world.octets(alg.size());
                    [digest.clone(), digest]
                } else {
                    world.one_of(&known)
                }
            };
            Step::Or((0..count).map(|_| branch(world)).collect())
        }
    }
}

pub(super) fn policy_session(world: &mut World) -> Option<Session> {
    let any = world.once_in(40);
    let found: Vec<Session> = world.sessions.iter().filter(|s| any || s.kind != Session::HMAC).cloned().collect();
    if found.is_empty() {
        let kind = world.one_of(&[Session::POLICY, Session::TRIAL]);
        return super::session::start(world, kind, Alg::Sha256, Sym::Null, &[]);
    }
    Some(world.one_of(&found))
}

pub(crate) fn assert(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    let step = step(world, session.alg);
    make(world, &session, &step);
}

pub(crate) fn digest(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    let Some(session) = world.session(session.handle).cloned() else { return };
    let command = Command::new(cc::POLICY_GET_DIGEST).handle(&Entity::each(session.handle)).equal_if(session.common);
    let Some(mut reply) = world.send(command) else { return };
    if !session.steps.contains(&Step::Other) && session.steps.len() <= 4 && world.policies.len() < 24 {
        world.policies.push(Policy { alg: session.alg, digest: reply.sized(), steps: session.steps });
    }
}

/// A policy of these assertions, by a trial session.
pub(crate) fn learn_steps(world: &mut World, alg: Alg, steps: &[Step]) {
    let Some(session) = super::session::start(world, Session::TRIAL, alg, Sym::Null, &[]) else { return };
    for step in steps {
        if !make(world, &session, step) {
            return;
        }
    }
    let Some(session) = world.session(session.handle).cloned() else { return };
    let command = Command::new(cc::POLICY_GET_DIGEST).handle(&Entity::each(session.handle)).equal_if(session.common);
    if let Some(mut reply) = world.send(command.plain()) {
        world.policies.push(Policy { alg, digest: reply.sized(), steps: steps.to_vec() });
    }
    super::context::flush(world, session.handle);
}

pub(crate) fn learn(world: &mut World) {
    if world.policies.len() >= 24 {
        return;
    }
    let alg = world.one_of(&[Alg::Sha256, Alg::Sha256, Alg::Sha256, Alg::Sha1, Alg::Sha384]);
    let n = world.one_of(&[1, 1, 2, 2, 3]);
    let steps: Vec<Step> = (0..n).map(|_| step(world, alg)).collect();
    learn_steps(world, alg, &steps);
}

/// The policies that every sequence starts with.
pub(crate) fn usual(world: &mut World) {
    for steps in [
        vec![Step::AuthValue],
        vec![Step::CommandCode(cc::DUPLICATE)],
        vec![Step::CommandCode(cc::NV_UNDEFINE_SPACE_SPECIAL)],
        vec![Step::CommandCode(cc::OBJECT_CHANGE_AUTH), Step::AuthValue],
        vec![Step::Password],
        vec![Step::CommandCode(cc::NV_CHANGE_AUTH)],
        vec![Step::Pcr(vec![0, 0, 0, 1, 0, 0xb, 3, 1, 0, 0], vec![]), Step::Password],
    ] {
        learn_steps(world, Alg::Sha256, &steps);
    }
}

/// Something that is not in the list of steps was asserted.
pub(super) fn other(world: &mut World, session: &Session, common: bool) {
    if let Some(session) = world.session_mut(session.handle) {
        session.steps.push(Step::Other);
        session.common &= common;
    }
}

/// A key that signs what it is given, of any type.
fn signing_key(world: &mut World) -> Option<Object> {
    world.object(|o| {
        matches!(o.kind, 1 | 8 | 0x23) && o.has(a::SIGN) && !o.has(a::RESTRICTED) && o.private && o.sequence.is_none()
    })
}

/// Keeps a ticket that both have given: libtpms gives one for an external key that is in no hierarchy, we a NULL
/// Ticket.
fn keep_ticket(world: &mut World, ticket: PolicyTicket) {
    let [ours, theirs] = ticket.0.each_ref().map(Vec::is_empty);
    if ours == theirs {
        world.tickets.push(ticket);
    }
}

/// TPM2_PolicySigned with a key, whose signature comes from TPM2_Sign or TPM2_HMAC of the key itself.
pub(crate) fn signed(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    let Some(session) = world.session(session.handle).cloned() else { return };
    let Some(key) = signing_key(world) else { return };
    let with_nonce = world.rng.bool();
    let n = world.one_of(&[0, 0, 32, 31]);
    let cp_hash = if n == 0 { vec![] } else { world.octets(n) };
    let reference = if world.rng.bool() { world.octets(8) } else { vec![] };
    let expiration = world.one_of(&[0u32, 0, 0x1000_0000, 0xf000_0000]);
    let nonce = if with_nonce { session.nonce.clone() } else { [vec![], vec![]] };
    // aHash
    let to_sign = Bytes::new().each(&nonce).u32(expiration).raw(&cp_hash).raw(&reference);
    let digest = to_sign.0.map(|octets| Alg::Sha256.hash(&[&octets]));
    let Some(signature) = super::known::signature(world, &key, &digest) else { return };
    let params = Bytes::new().each_sized(&nonce).sized(&cp_hash).sized(&reference).u32(expiration).each(&signature);
    let command = Command::new(cc::POLICY_SIGNED).handle(&key.entity).handle(&Entity::each(session.handle));
    let Some(mut reply) = world.send(command.params(params)) else { return };
    other(world, &session, key.entity.name[0] == key.entity.name[1]);
    let timeout = reply.sized();
    let ticket = ticket(&mut reply);
    keep_ticket(world, (timeout, cp_hash, reference, key.entity.name, ticket));
}

/// TPM2_PolicySecret with all its parameters.
pub(crate) fn secret(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    let entity = match world.rng.u8(0..4) {
        0 => world.object(|o| o.private && o.sequence.is_none()).map(|o| o.entity),
        1 => world.index(|_| true).map(|i| i.entity),
        2 => Some(world.pcr()),
        _ => None,
    };
    let entity = match entity {
        Some(entity) => entity,
        None => world.hierarchy(),
    };
    let Some(session) = world.session(session.handle).cloned() else { return };
    let nonce = if world.rng.bool() { session.nonce.clone() } else { [vec![], vec![]] };
    let n = world.one_of(&[0, 0, 0, 32, 31]);
    let cp_hash = world.octets(n);
    let reference = if world.rng.bool() { world.octets(8) } else { vec![] };
    let expiration = world.one_of(&[0u32, 0, 0x1000_0000, 0xf000_0000]);
    let params = Bytes::new().each_sized(&nonce).sized(&cp_hash).sized(&reference).u32(expiration);
    let command = Command::new(cc::POLICY_SECRET).auth(&entity).handle(&Entity::each(session.handle));
    let Some(mut reply) = world.send(command.params(params)) else { return };
    other(world, &session, entity.name[0] == entity.name[1]);
    let timeout = reply.sized();
    let ticket = ticket(&mut reply);
    keep_ticket(world, (timeout, cp_hash, reference, entity.name, ticket));
}

/// TPM2_PolicyTicket with what TPM2_PolicySigned or TPM2_PolicySecret gave.
pub(crate) fn ticket_again(world: &mut World) {
    if world.tickets.is_empty() {
        return;
    }
    let tickets = world.tickets.clone();
    let (timeout, cp_hash, reference, name, ticket) = world.one_of(&tickets);
    let Some(session) = policy_session(world) else { return };
    let params = Bytes::new().each_sized(&timeout).sized(&cp_hash).sized(&reference).each_sized(&name).each(&ticket);
    let command = Command::new(cc::POLICY_TICKET).handle(&Entity::each(session.handle)).params(params);
    if world.send(command).is_some() {
        other(world, &session, name[0] == name[1]);
    }
}

/// TPM2_PolicyAuthorize with a ticket of TPM2_VerifySignature.
pub(crate) fn authorize(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    let Some(session) = world.session(session.handle).cloned() else { return };
    let handle = Entity::each(session.handle);
    let Some(key) = signing_key(world) else { return };
    let Some(mut reply) = world.send(Command::new(cc::POLICY_GET_DIGEST).handle(&handle)) else { return };
    let approved = reply.sized();
    let reference = if world.rng.bool() { world.octets(8) } else { vec![] };
    let digest = [0, 1].map(|side| Alg::Sha256.hash(&[&approved[side], &reference]));
    let Some(signature) = super::known::signature(world, &key, &digest) else { return };
    let Some(ticket) = super::known::verified(world, &key, &digest, &signature) else { return };
    let params = Bytes::new().each_sized(&approved).sized(&reference).each_sized(&key.entity.name).each(&ticket);
    if world.send(Command::new(cc::POLICY_AUTHORIZE).handle(&handle).params(params)).is_some() {
        other(world, &session, key.entity.name[0] == key.entity.name[1]);
    }
}

pub(crate) fn authorize_nv(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    let Some(index) = world.index(|i| i.attributes >> 4 & 15 == 0 && i.size >= 34) else { return };
    let auth = super::nv::authorizing(world, &index, true);
    let handle = Entity::each(session.handle);
    if world.rng.bool() {
        let known = world.policies.clone();
        if !known.is_empty() {
            let policy = world.one_of(&known);
            let content = Bytes::new().u16(policy.alg.id()).each(&policy.digest);
            let writer = super::nv::authorizing(world, &index, false);
            let params = Bytes::new().each_sized(&content.0).u16(0);
            world.send(Command::new(cc::NV_WRITE).auth(&writer).handle(&index.entity).params(params));
            world.touched(index.entity.handle[0]);
            for step in &policy.steps {
                make(world, &session, step);
            }
        }
    }
    let Some(index) = world.index(|i| i.entity.handle == index.entity.handle) else { return };
    let command = Command::new(cc::POLICY_AUTHORIZE_NV).auth(&auth).handle(&index.entity).handle(&handle);
    if world.send(command).is_some() {
        other(world, &session, index.entity.name[0] == index.entity.name[1]);
    }
}

pub(crate) fn restart(world: &mut World) {
    let Some(session) = policy_session(world) else { return };
    if world.send(Command::new(cc::POLICY_RESTART).handle(&Entity::each(session.handle))).is_some()
        && let Some(session) = world.session_mut(session.handle)
    {
        session.steps.clear();
        session.common = true;
    }
}
