//! Commands that came after revision 1.59: sent where both TPMs have them.

use super::policy::{other, policy_session};
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::Bytes;
use crate::differential::world::{Entity, World, rh};
use client::attributes::object as a;

/// Whether both TPMs have a command.
pub(super) fn is_common(world: &World, code: u32) -> bool {
    world.tally.common.contains(&code)
}

/// An assertion that only later revisions have.
pub(crate) fn assert(world: &mut World) {
    let codes = [cc::POLICY_CAPABILITY, cc::POLICY_PARAMETERS, cc::POLICY_TRANSPORT_SPDM, cc::POLICY_AC_SEND_SELECT];
    let code = world.one_of(&codes);
    if !is_common(world, code) {
        return;
    }
    let Some(session) = policy_session(world) else { return };
    let params = match code {
        cc::POLICY_CAPABILITY => capability(world),
        cc::POLICY_PARAMETERS => {
            let n = if world.once_in(20) { world.rng.usize(0..65) } else { session.alg.size() };
            Bytes::new().sized(&world.octets(n))
        }
        cc::POLICY_TRANSPORT_SPDM => {
            let names = [(); 2].map(|()| name(world));
            names.iter().fold(Bytes::new(), |params, name| params.sized(name))
        }
        _ => {
            let names = [(); 3].map(|()| name(world));
            names.iter().fold(Bytes::new(), |params, name| params.sized(name)).u8(world.one_of(&[0, 1, 1, 0, 2]))
        }
    };
    if world.send(Command::new(code).handle(&Entity::each(session.handle)).params(params)).is_some() {
        other(world, &session, true);
    }
}

/// A Name, or none.
fn name(world: &mut World) -> Vec<u8> {
    match world.rng.u8(0..4) {
        0 => vec![],
        1 => [vec![0, 4], world.octets(20)].concat(),
        2 => [vec![0, 0x0c], world.octets(48)].concat(),
        _ => [vec![0, 0x0b], world.octets(32)].concat(),
    }
}

/// Parameters of TPM2_PolicyCapability, mostly of something that both TPMs say alike.
fn capability(world: &mut World) -> Bytes {
    let index = world.index(|_| true).map_or(0x0150_0000, |index| index.entity.handle[0]);
    let known: [(u32, u32, Vec<u8>, u16); 10] = [
        (0, 0x0b, vec![0, 0x0b, 0, 0, 0, 4], 0),
        (1, index, index.to_be_bytes().to_vec(), 0),
        (1, 0x8100_0000, vec![0x81, 0, 0, 0], 0),
        (3, cc::CLEAR, cc::CLEAR.to_be_bytes().to_vec(), 0),
        (4, cc::CREATE, cc::CREATE.to_be_bytes().to_vec(), 0),
        (6, 0x100, b"2.0\0".to_vec(), 4),
        (6, 0x20e, vec![0, 0, 0, 0], 4),
        (8, 3, vec![0, 3], 0),
        (2, cc::GET_RANDOM, vec![0, 0], 2),
        (9, rh::OWNER, vec![0x40, 0, 0, 1], 0),
    ];
    let (capability, property, mut operand, mut offset) = world.one_of(&known);
    match world.rng.u8(0..8) {
        0 => operand = world.octets(1),
        1 => offset = world.rng.u16(0..12),
        2 => operand.truncate(world.rng.usize(0..5)),
        _ => {}
    }
    let property = if world.once_in(15) { world.rng.u32(0..0x200) } else { property };
    let capability = if world.once_in(25) { world.rng.u32(0..0x0b) } else { capability };
    let operation = if world.once_in(3) { world.rng.u16(0..13) } else { 0 };
    Bytes::new().sized(&operand).u16(offset).u16(operation).u32(capability).u32(property)
}

/// TPM2_ECC_Encrypt and TPM2_ECC_Decrypt of what came of it.
pub(crate) fn ecc(world: &mut World) {
    if !world.ecc || !is_common(world, cc::ECC_ENCRYPT) {
        return;
    }
    let Some(key) = world.object(|o| o.kind == 0x23 && o.private && o.has(a::DECRYPT) && !o.has(a::RESTRICTED)) else {
        return super::known::external(world);
    };
    let n = world.one_of(&[0, 1, 20, 32, 64, 200]);
    let message = world.octets(n);
    let scheme: Vec<u8> =
        world.one_of(&[vec![0, 0x21, 0, 0x0b], vec![0, 0x21, 0, 4], vec![0, 0x21, 0, 0x0c], vec![0, 0x20, 0, 0x0b]]);
    let params = Bytes::new().sized(&message).raw(&scheme);
    let Some(mut reply) = world.send(Command::new(cc::ECC_ENCRYPT).handle(&key.entity).params(params)) else { return };
    let made = [reply.sized(), reply.sized(), reply.sized()];
    let common = super::known::is_same(&key);
    let made = super::known::exchanged(world, common, made);
    let params = made.iter().fold(Bytes::new(), Bytes::each_sized).raw(&scheme);
    world.send(Command::new(cc::ECC_DECRYPT).auth(&key.entity).params(params).equal());
}

/// A few commands in read-only mode.
pub(crate) fn read_only(world: &mut World) {
    if !is_common(world, cc::READ_ONLY_CONTROL) {
        return;
    }
    let platform = world.permanent(rh::PLATFORM);
    if world.send(Command::new(cc::READ_ONLY_CONTROL).auth(&platform).params(Bytes::new().u8(1))).is_none() {
        return;
    }
    for _ in 0..world.rng.u32(1..12) {
        super::step(world);
    }
    let platform = world.permanent(rh::PLATFORM);
    let busy = core::mem::replace(&mut world.busy, true);
    let end = Command::new(cc::READ_ONLY_CONTROL).auth(&platform).params(Bytes::new().u8(0)).plain();
    world.stop |= world.send(end).is_none();
    world.busy = busy;
}

/// TPM2_ACT_SetTimeout, with no time that is over soon.
pub(crate) fn timer(world: &mut World) {
    if !is_common(world, cc::ACT_SET_TIMEOUT) {
        return;
    }
    let handle = world.one_of(&[0x4000_0110, 0x4000_011a, 0x4000_0111]);
    let auth = Entity { policy: None, ..world.permanent(rh::PLATFORM) };
    let entity = Entity { auth: auth.auth, ..Entity::of(handle) };
    let timeout = world.one_of(&[0u32, u32::MAX, 1 << 30, 1 << 20]);
    world.send(Command::new(cc::ACT_SET_TIMEOUT).auth(&entity).params(Bytes::new().u32(timeout)));
}
