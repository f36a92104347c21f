//! Context management.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::explained;
use crate::differential::wire::{Bytes, Two};
use crate::differential::world::{Entity, Saved, World, rh};

fn handle_octets(handle: Two<u32>) -> Bytes {
    Bytes::new().each(&handle.map(|h| h.to_be_bytes().to_vec()))
}

/// TPM2_FlushContext without damage.
pub(crate) fn flush(world: &mut World, handle: Two<u32>) {
    let _ = world.send(Command::new(cc::FLUSH_CONTEXT).params(handle_octets(handle)).plain());
    world.objects.retain(|o| o.entity.handle != handle);
    world.sessions.retain(|s| s.handle != handle);
}

/// Asks what is loaded, and flushes what is not known. What a damaged command has made persistent elsewhere, or of
/// another object, is forgotten.
pub(crate) fn find_ourselves(world: &mut World) {
    let persistent = world.objects.iter().filter(|o| o.is_persistent()).map(|o| o.entity.clone());
    for entity in persistent.collect::<Vec<_>>() {
        if world.is_another(&entity) {
            world.objects.retain(|o| o.entity.handle != entity.handle);
        }
    }
    for first in [0x8000_0000u32, 0x0200_0000] {
        let params = Bytes::new().u32(1).u32(first).u32(64);
        let Some(mut reply) = world.send(Command::new(cc::GET_CAPABILITY).params(params).plain()) else { return };
        let _head = reply.octets(5);
        let counts = reply.octets(4).map(|count| count.try_into().map_or(0, u32::from_be_bytes));
        if let Some(why) = explained::explain_handles(world.maker, counts, &world.tally.trail) {
            world.tally.note_explained(why);
            world.stop = true;
            return;
        }
        if counts[0] != counts[1] {
            return world.same("GetCapability: handles that are loaded", &counts.map(|n| n.to_be_bytes().to_vec()));
        }
        let handles: Vec<Two<u32>> = (0..counts[0])
            .map(|_| reply.octets(4).map(|handle| handle.try_into().map_or(0, u32::from_be_bytes)))
            .collect();
        if first == 0x8000_0000 {
            world.objects.retain(|o| o.is_persistent() || handles.contains(&o.entity.handle));
        } else {
            world.sessions.retain(|s| handles.contains(&s.handle));
        }
        let known: Vec<Two<u32>> =
            world.objects.iter().map(|o| o.entity.handle).chain(world.sessions.iter().map(|s| s.handle)).collect();
        // Handles may be in another order on the two sides: those that only one side knows are paired in theirs.
        let unknown = |side: usize| {
            let handles = handles.iter().map(move |two| two[side]);
            handles.filter(|handle| !known.iter().any(|two| two[side] == *handle)).collect::<Vec<u32>>()
        };
        for (ours, theirs) in unknown(0).into_iter().zip(unknown(1)) {
            flush(world, [ours, theirs]);
        }
    }
}

pub(crate) fn flush_session(world: &mut World) {
    if world.sessions.is_empty() {
        return;
    }
    let sessions = world.sessions.clone();
    let one = world.one_of(&sessions);
    flush_any(world, one.handle);
}

pub(crate) fn flush_object(world: &mut World) {
    if let Some(one) = world.object(|o| !o.is_persistent()) {
        flush_any(world, one.entity.handle);
    }
}

fn flush_any(world: &mut World, handle: Two<u32>) {
    if world.send(Command::new(cc::FLUSH_CONTEXT).params(handle_octets(handle))).is_some() {
        world.objects.retain(|o| o.entity.handle != handle);
        world.sessions.retain(|s| s.handle != handle);
    }
}

pub(crate) fn save(world: &mut World) {
    let (handle, saved) = if world.rng.bool() {
        let Some(object) = world.object(|o| !o.is_persistent()) else { return };
        (object.entity.handle, Saved::Object(Box::new(object)))
    } else {
        if world.sessions.is_empty() {
            return;
        }
        let sessions = world.sessions.clone();
        let session = world.one_of(&sessions);
        (session.handle, Saved::Session(Box::new(session)))
    };
    let Some(mut reply) = world.send(Command::new(cc::CONTEXT_SAVE).handle(&Entity::each(handle))) else { return };
    if let Saved::Session(_) = saved {
        world.sessions.retain(|s| s.handle != handle);
    }
    if world.saved.len() >= 8 {
        let n = world.rng.usize(0..world.saved.len());
        if let (_, Saved::Session(session)) = world.saved.remove(n) {
            flush(world, session.handle);
        }
    }
    world.saved.push((reply.rest(), saved));
}

pub(crate) fn load(world: &mut World) {
    if world.saved.is_empty() {
        return;
    }
    let n = world.rng.usize(0..world.saved.len());
    let (context, saved) = world.saved[n].clone();
    if matches!(saved, Saved::Session(_)) && world.sessions.len() >= 3 {
        let sessions = world.sessions.clone();
        let one = world.one_of(&sessions);
        flush(world, one.handle);
    }
    let context = damaged(world, context);
    let Some(reply) = world.send(Command::new(cc::CONTEXT_LOAD).params(Bytes::new().each(&context))) else { return };
    match saved {
        Saved::Object(object) => {
            let mut object = *object;
            object.entity.handle = reply.handle;
            world.objects.retain(|o| o.entity.handle != reply.handle);
            world.objects.push(object);
        }
        Saved::Session(session) => {
            if !world.once_in(10) {
                world.saved.remove(n);
            }
            world.sessions.retain(|s| s.handle != reply.handle);
            world.sessions.push(*session);
        }
    }
}

/// Once in a while a bit of both is another, at the same place from the front or the end.
fn damaged(world: &mut World, mut octets: Two<Vec<u8>>) -> Two<Vec<u8>> {
    if world.once_in(20) {
        let at = world.rng.usize(..);
        let front = world.rng.bool();
        let size = octets[0].len().min(octets[1].len()).max(1);
        for side in &mut octets {
            let n = if front { at % size.min(16) } else { (side.len() - 1).saturating_sub(at % size.min(32)) };
            if let Some(octet) = side.get_mut(n) {
                *octet ^= 1 << (at % 8);
            }
        }
    }
    octets
}

/// TPM2_EvictControl: makes an object persistent, or removes it.
pub(crate) fn evict(world: &mut World) {
    let auth = world.hierarchy();
    let persistent = world.objects.iter().filter(|o| o.is_persistent()).count();
    if world.rng.bool() && persistent < 5 {
        let Some(object) = world.object(|o| !o.is_persistent() && o.sequence.is_none() && o.hierarchy != rh::NULL)
        else {
            return;
        };
        // A difference, after which the sequence ends.
        if !object.private && !world.once_in(40) {
            return;
        }
        let auth = if world.once_in(10) {
            auth
        } else {
            world.permanent(if object.hierarchy == rh::PLATFORM { rh::PLATFORM } else { rh::OWNER })
        };
        let base = if auth.handle[0] == rh::PLATFORM { 0x8180_0000 } else { 0x8100_0000 };
        let base =
            if world.once_in(20) { world.one_of(&[0x8000_0000, 0x8100_0000, 0x8180_0000, 0x817f_fffd]) } else { base };
        let to = base + world.rng.u32(0..4);
        let command = Command::new(cc::EVICT_CONTROL).auth(&auth).handle(&object.entity).params(Bytes::new().u32(to));
        if world.send(command).is_some() {
            let mut object = object;
            object.entity.handle = [to, to];
            object.sequence = None;
            world.objects.retain(|o| o.entity.handle != [to, to]);
            world.objects.push(object);
        }
    } else {
        let Some(object) = world.object(super::super::world::Object::is_persistent) else { return };
        let platform = object.entity.handle[0] >= 0x8180_0000;
        let auth =
            if world.once_in(10) { auth } else { world.permanent(if platform { rh::PLATFORM } else { rh::OWNER }) };
        let handle = if world.once_in(20) { [0x8100_0000; 2] } else { object.entity.handle };
        let command = Command::new(cc::EVICT_CONTROL).auth(&auth).handle(&object.entity).params(handle_octets(handle));
        if world.send(command).is_some() {
            world.objects.retain(|o| o.entity.handle != object.entity.handle);
        }
    }
}
