//! Hash, HMAC and event sequences.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::{Bytes, Two, both};
use crate::differential::world::{Entity, Object, World, rh};
use client::attributes::object as a;
use client::hash::Alg;

pub(crate) fn start(world: &mut World) {
    let auth = world.auth_value();
    let mut alg = if world.once_in(25) { world.one_of(&[0, 5, 0x2f, 0x43]) } else { world.one_of(&Alg::ALL).id() };
    let key = world.object(|o| o.kind == 8 && o.has(a::SIGN) && !o.has(a::RESTRICTED) && o.sequence.is_none());
    let (code, common, command) = match key {
        Some(key) if world.rng.bool() => (cc::MAC_START, key.common, Command::new(cc::MAC_START).auth(&key.entity)),
        _ => {
            if world.once_in(4) {
                alg = 0x10;
            }
            (cc::HASH_SEQUENCE_START, true, Command::new(cc::HASH_SEQUENCE_START))
        }
    };
    let Some(reply) = world.send(command.params(Bytes::new().sized(&auth).u16(alg))) else { return };
    let code = if alg == 0x10 && code == cc::HASH_SEQUENCE_START { cc::EVENT_SEQUENCE_COMPLETE } else { code };
    begun(world, reply.handle, auth, code, common);
}

/// A sequence that has begun, by the command that says what it is.
pub(super) fn begun(world: &mut World, handle: Two<u32>, auth: Vec<u8>, code: u32, common: bool) -> Entity {
    let mut entity = Entity::each(handle);
    entity.name = both(vec![]);
    entity.auth = auth;
    let object = Object {
        entity: entity.clone(),
        public: both(vec![]),
        kind: 0,
        attributes: 0,
        hierarchy: rh::NULL,
        sequence: Some(code),
        private: true,
        creation: None,
        common,
        of: None,
    };
    world.objects.retain(|o| o.entity.handle != handle);
    world.objects.push(object);
    entity
}

pub(crate) fn update(world: &mut World) {
    let Some(sequence) = world.object(|o| o.sequence.is_some()) else { return };
    let n = world.one_of(&[0, 1, 3, 32, 64, 65, 500, 1024]);
    let mut data = world.octets(n);
    if n >= 4 && world.once_in(10) {
        data[..4].copy_from_slice(&[0xff, b'T', b'C', b'G']);
    }
    world.send(Command::new(cc::SEQUENCE_UPDATE).auth(&sequence.entity).params(Bytes::new().sized(&data)));
}

pub(crate) fn complete(world: &mut World) {
    let of_message = [cc::SIGN_SEQUENCE_COMPLETE, cc::VERIFY_SEQUENCE_COMPLETE];
    let Some(sequence) = world.object(|o| o.sequence.is_some_and(|code| !of_message.contains(&code))) else { return };
    let n = world.one_of(&[0, 1, 32, 200]);
    let data = world.octets(n);
    let event = sequence.sequence == Some(cc::EVENT_SEQUENCE_COMPLETE);
    let command = if event != world.once_in(20) {
        let pcr = if world.once_in(3) { Entity::of(rh::NULL) } else { world.pcr() };
        Command::new(cc::EVENT_SEQUENCE_COMPLETE)
            .auth(&pcr)
            .auth(&sequence.entity)
            .params(Bytes::new().sized(&data))
            .equal()
    } else {
        let hierarchy = world.one_of(&[rh::OWNER, rh::NULL, rh::PLATFORM, rh::ENDORSEMENT]);
        Command::new(cc::SEQUENCE_COMPLETE).auth(&sequence.entity).params(Bytes::new().sized(&data).u32(hierarchy))
    };
    let code = command.code;
    let Some(mut reply) = world.send(command) else { return };
    world.objects.retain(|o| o.entity.handle != sequence.entity.handle);
    if code == cc::SEQUENCE_COMPLETE {
        let digest = reply.sized();
        if sequence.common {
            world.same("SequenceComplete: digests differ", &digest);
        }
    }
}
