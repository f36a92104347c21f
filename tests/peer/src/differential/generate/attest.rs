//! Attestation and audit.

use super::key::scheme;
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::Bytes;
use crate::differential::world::{Entity, Session, World, rh};

/// A key, the scheme for it, and qualifyingData.
fn signer(world: &mut World) -> (Entity, Vec<u8>, Vec<u8>) {
    let key = world.signer();
    let kind = world.objects.iter().find(|o| o.entity.handle == key.handle).map_or(0, |o| o.kind);
    let n = world.one_of(&[0, 16, 32, 64]);
    (key, scheme(world, kind), world.octets(n))
}

pub(crate) fn certify(world: &mut World) {
    let Some(object) = world.object(|o| o.sequence.is_none()) else { return };
    let (key, scheme, data) = signer(world);
    let params = Bytes::new().sized(&data).raw(&scheme);
    world.send(Command::new(cc::CERTIFY).auth(&object.entity).auth(&key).params(params));
}

pub(crate) fn certify_creation(world: &mut World) {
    let Some(object) = world.object(|o| o.creation.is_some()) else { return };
    let Some((hash, ticket)) = object.creation.clone() else { return };
    let (key, scheme, data) = signer(world);
    let params = Bytes::new().sized(&data).each_sized(&hash).raw(&scheme).each(&ticket);
    world.send(Command::new(cc::CERTIFY_CREATION).auth(&key).handle(&object.entity).params(params));
}

pub(crate) fn quote(world: &mut World) {
    let (key, scheme, data) = signer(world);
    // A difference, after which the sequence ends.
    if key.handle[0] == rh::NULL && !world.once_in(40) {
        return;
    }
    let selection = super::selection(world);
    let params = Bytes::new().sized(&data).raw(&scheme).raw(&selection);
    world.send(Command::new(cc::QUOTE).auth(&key).params(params));
}

pub(crate) fn time(world: &mut World) {
    let (key, scheme, data) = signer(world);
    let privacy = world.permanent(rh::ENDORSEMENT);
    let params = Bytes::new().sized(&data).raw(&scheme);
    world.send(Command::new(cc::GET_TIME).auth(&privacy).auth(&key).params(params));
}

pub(crate) fn nv(world: &mut World) {
    let Some(index) = world.index(|_| true) else { return };
    let (key, scheme, data) = signer(world);
    let auth = super::nv::authorizing(world, &index, true);
    let (size, offset) = super::nv::range(world, &index);
    if key.handle[0] == rh::NULL && (size, offset) == (0, 0) && !world.once_in(40) {
        return;
    }
    let params = Bytes::new().sized(&data).raw(&scheme).u16(size).u16(offset);
    world.send(Command::new(cc::NV_CERTIFY).auth(&key).auth(&auth).handle(&index.entity).params(params));
    world.touched(index.entity.handle[0]);
}

pub(crate) fn session_audit(world: &mut World) {
    let sessions: Vec<Session> = world.sessions.clone();
    if sessions.is_empty() {
        return;
    }
    let session = world.one_of(&sessions);
    let (key, scheme, data) = signer(world);
    let privacy = world.permanent(rh::ENDORSEMENT);
    let params = Bytes::new().sized(&data).raw(&scheme);
    let command = Command::new(cc::GET_SESSION_AUDIT_DIGEST);
    world.send(command.auth(&privacy).auth(&key).handle(&Entity::each(session.handle)).params(params));
}

pub(crate) fn command_audit(world: &mut World) {
    let (key, scheme, data) = signer(world);
    let privacy = world.permanent(rh::ENDORSEMENT);
    let params = Bytes::new().sized(&data).raw(&scheme);
    world.send(Command::new(cc::GET_COMMAND_AUDIT_DIGEST).auth(&privacy).auth(&key).params(params));
}

pub(crate) fn audit_status(world: &mut World) {
    let handle = world.one_of(&[rh::OWNER, rh::PLATFORM, rh::PLATFORM, rh::ENDORSEMENT]);
    let auth = world.permanent(handle);
    let alg = world.one_of(&[0x10u16, 0x10, 0x10, 0xb, 4, 0x2f]);
    let (set, clear) = if alg == 0x10 { (world.rng.u8(0..3), world.rng.u8(0..3)) } else { (0, world.rng.u8(0..2) / 2) };
    let mut list = |n: u8| {
        let start = Bytes::new().u32(n.into());
        (0..n).fold(start, |list, _| list.u32(world.one_of(cc::ALL).0))
    };
    let (set, clear) = (list(set), list(clear));
    let params = Bytes::new().u16(alg).each(&set.0).each(&clear.0);
    world.send(Command::new(cc::SET_COMMAND_CODE_AUDIT_STATUS).auth(&auth).params(params));
}
