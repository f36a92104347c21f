//! Non-volatile storage.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::explained;
use crate::differential::wire::Bytes;
use crate::differential::world::{Entity, Index, World, rh};

/// TPMA_NV
mod a {
    pub(super) const PPWRITE: u32 = 1;
    pub(super) const OWNERWRITE: u32 = 1 << 1;
    pub(super) const AUTHWRITE: u32 = 1 << 2;
    pub(super) const POLICYWRITE: u32 = 1 << 3;
    pub(super) const POLICY_DELETE: u32 = 1 << 10;
    pub(super) const WRITEDEFINE: u32 = 1 << 13;
    pub(super) const WRITE_STCLEAR: u32 = 1 << 14;
    pub(super) const GLOBALLOCK: u32 = 1 << 15;
    pub(super) const PPREAD: u32 = 1 << 16;
    pub(super) const OWNERREAD: u32 = 1 << 17;
    pub(super) const AUTHREAD: u32 = 1 << 18;
    pub(super) const POLICYREAD: u32 = 1 << 19;
    pub(super) const NO_DA: u32 = 1 << 25;
    pub(super) const ORDERLY: u32 = 1 << 26;
    pub(super) const CLEAR_STCLEAR: u32 = 1 << 27;
    pub(super) const READ_STCLEAR: u32 = 1 << 31;
    pub(super) const PLATFORMCREATE: u32 = 1 << 30;
}

/// TPM_NT
mod nt {
    pub(super) const COUNTER: u32 = 1;
    pub(super) const BITS: u32 = 2;
    pub(super) const EXTEND: u32 = 4;
    pub(super) const PIN_FAIL: u32 = 8;
    pub(super) const PIN_PASS: u32 = 9;
}

const fn kind(index: &Index) -> u32 {
    index.attributes >> 4 & 15
}

/// TPMA_NV of an Index of this type: mostly such that it can be defined and used.
fn attributes_of(world: &mut World, kind: u32, platform: bool) -> u32 {
    let mut attributes = kind << 4;
    for (bits, odds) in [
        (a::AUTHWRITE | a::AUTHREAD, 2),
        (a::OWNERWRITE | a::OWNERREAD, 2),
        (a::PPWRITE, 4),
        (a::PPREAD, 4),
        (a::POLICYREAD, 5),
        (a::POLICYWRITE, 5),
        (a::NO_DA, 2),
        (a::ORDERLY, 5),
        (a::CLEAR_STCLEAR, 12),
        (a::WRITEDEFINE, 8),
        (a::WRITE_STCLEAR, 5),
        (a::READ_STCLEAR, 5),
        (a::GLOBALLOCK, 6),
    ] {
        if world.once_in(odds) {
            attributes |= bits;
        }
    }
    if attributes & (a::AUTHWRITE | a::OWNERWRITE | a::PPWRITE | a::POLICYWRITE) == 0 && !world.once_in(12) {
        attributes |= a::AUTHWRITE;
    }
    if attributes & (a::AUTHREAD | a::OWNERREAD | a::PPREAD | a::POLICYREAD) == 0 && !world.once_in(12) {
        attributes |= a::OWNERREAD;
    }
    if kind == nt::COUNTER && !world.once_in(10) {
        attributes &= !a::CLEAR_STCLEAR;
    }
    if (kind == nt::PIN_FAIL || kind == nt::PIN_PASS) && !world.once_in(10) {
        attributes &= !(a::AUTHWRITE | a::GLOBALLOCK | a::WRITEDEFINE);
        attributes |= a::OWNERWRITE | a::AUTHREAD;
        if kind == nt::PIN_FAIL {
            attributes |= a::NO_DA;
        }
    }
    if platform && !world.once_in(15) {
        attributes |= a::PLATFORMCREATE;
        if world.once_in(4) {
            attributes |= a::POLICY_DELETE;
        }
    }
    if world.once_in(12) {
        attributes ^= 1 << world.rng.u32(0..32);
    }
    attributes
}

pub(crate) fn define(world: &mut World) {
    let platform = world.once_in(3);
    let hierarchy = if platform { rh::PLATFORM } else { rh::OWNER };
    let hierarchy = if world.once_in(25) { rh::ENDORSEMENT } else { hierarchy };
    let auth = world.permanent(hierarchy);
    let value = world.auth_value();
    let base = if world.once_in(40) { 0x0140_0000 } else { 0x0150_0000 };
    let handle = base + world.rng.u32(0..8);
    let kind = world.one_of(&[0, 0, 0, nt::COUNTER, nt::BITS, nt::EXTEND, nt::PIN_FAIL, nt::PIN_PASS, 0, 3]);
    let name_alg = world.one_of(&[0xbu16, 0xb, 0xb, 4, 0xc, 0xd]);
    let digest_size = match name_alg {
        4 => 20,
        0xc => 48,
        0xd => 64,
        _ => 32,
    };
    let size = match kind {
        0 => world.one_of(&[0u16, 1, 8, 34, 64, 100, 500, 2048]),
        nt::EXTEND => digest_size,
        _ => 8,
    };
    let attributes = attributes_of(world, kind, platform);
    // libtpms has 512 octets of RAM for orderly Indices.
    let size = if attributes & a::ORDERLY != 0 && size > 34 { 34 } else { size };
    let fits: Vec<usize> = (0..world.policies.len()).filter(|n| world.policies[*n].alg.id() == name_alg).collect();
    let policy = if fits.is_empty() || world.once_in(2) { None } else { Some(world.one_of(&fits)) };
    let head = Bytes::new().u32(handle).u16(name_alg).u32(attributes);
    let public = match policy.and_then(|n| world.policies.get(n).cloned()) {
        Some(policy) => head.each_sized(&policy.digest),
        None if world.once_in(20) => head.sized(&[7; 20]),
        None => head.sized(&[]),
    }
    .u16(size);
    let later = world.once_in(4) && super::later::is_common(world, cc::NV_DEFINE_SPACE_2);
    // TPM2B_NV_PUBLIC_2 begins with the handle's type.
    let ht = if world.once_in(20) { world.rng.u8(..) } else { 1 };
    let (code, public) = if later {
        (cc::NV_DEFINE_SPACE_2, Bytes::new().u8(ht).each(&public.0))
    } else {
        (cc::NV_DEFINE_SPACE, public)
    };
    let params = Bytes::new().sized(&value).each_sized(&public.0);
    if world.send(Command::new(code).auth(&auth).params(params)).is_none() {
        return;
    }
    let mut entity = Entity::of(handle);
    entity.auth = value;
    entity.policy = policy;
    world.indices.retain(|i| i.entity.handle != [handle; 2]);
    world.indices.push(Index { entity, attributes, size, stale: true });
}

/// TPM2_NV_ReadPublic: the Index with its name.
pub(crate) fn read_public(world: &mut World, index: &Index) -> Option<Index> {
    let command = Command::new(cc::NV_READ_PUBLIC).handle(&index.entity);
    let mut reply = world.send(command.plain())?;
    let public = reply.sized();
    let name = reply.sized();
    let common =
        world.policies.get(index.entity.policy.unwrap_or(usize::MAX)).is_none_or(|p| p.digest[0] == p.digest[1]);
    if common && !world.unsure {
        if let Some(why) = explained::explain_lock(world.maker, &public) {
            world.tally.note_explained(why);
            world.stop = true;
            return None;
        }
        world.same("NV_ReadPublic: answers differ", &public);
    }
    let known = world.indices.iter_mut().find(|i| i.entity.handle == index.entity.handle)?;
    if public[0].len() >= 10 {
        known.attributes = u32::from_be_bytes(public[0][6..10].try_into().expect("four"));
    }
    known.entity.name = name;
    known.stale = false;
    Some(known.clone())
}

pub(crate) fn public(world: &mut World) {
    if let Some(index) = world.index(|_| true) {
        let common =
            world.policies.get(index.entity.policy.unwrap_or(usize::MAX)).is_none_or(|p| p.digest[0] == p.digest[1]);
        let later = world.once_in(4) && super::later::is_common(world, cc::NV_READ_PUBLIC_2);
        let code = if later { cc::NV_READ_PUBLIC_2 } else { cc::NV_READ_PUBLIC };
        world.send(Command::new(code).handle(&index.entity).equal_if(common && !world.unsure));
    }
}

/// Who authorizes reading, or else writing: what the attributes allow, or once in a while any.
pub(crate) fn authorizing(world: &mut World, index: &Index, read: bool) -> Entity {
    let bits = if read { index.attributes >> 16 } else { index.attributes };
    let mut ways: Vec<u32> = (0..4).filter(|n| bits & 1 << n != 0).collect();
    if ways.is_empty() || world.once_in(15) {
        ways = vec![0, 1, 2, 3];
    }
    match world.one_of(&ways) {
        0 => world.permanent(rh::PLATFORM),
        1 => world.permanent(rh::OWNER),
        2 => Entity { policy: None, ..index.entity.clone() },
        _ => Entity { policy_only: index.entity.policy.is_some(), ..index.entity.clone() },
    }
}

/// A size and an offset, most often inside.
pub(crate) fn range(world: &mut World, index: &Index) -> (u16, u16) {
    if world.once_in(10) {
        return (world.one_of(&[0, 1, 8, 1024]), world.one_of(&[0, 1, 0xffff, 8]));
    }
    let offset = if world.once_in(3) { world.rng.u16(0..=index.size) } else { 0 };
    let left = index.size - offset;
    (if world.rng.bool() { left } else { world.rng.u16(0..=left) }.min(1024), offset)
}

pub(crate) fn write(world: &mut World) {
    let Some(index) = world.index(|i| !matches!(kind(i), nt::COUNTER | nt::BITS | nt::EXTEND)) else { return };
    let auth = authorizing(world, &index, false);
    let (size, offset) = range(world, &index);
    let mut data = world.octets(usize::from(size.min(1024)));
    if kind(&index) >= nt::PIN_FAIL && !world.once_in(10) {
        let (count, limit) = (world.rng.u8(0..3), world.rng.u8(0..5));
        data = vec![0, 0, 0, count, 0, 0, 0, limit];
    }
    let offset = if kind(&index) >= nt::PIN_FAIL && !world.once_in(20) { 0 } else { offset };
    let params = Bytes::new().sized(&data).u16(offset);
    world.send(Command::new(cc::NV_WRITE).auth(&auth).handle(&index.entity).params(params));
    world.touched(index.entity.handle[0]);
}

pub(crate) fn read(world: &mut World) {
    let Some(index) = world.index(|_| true) else { return };
    let auth = authorizing(world, &index, true);
    let (size, offset) = range(world, &index);
    let command =
        Command::new(cc::NV_READ).auth(&auth).handle(&index.entity).params(Bytes::new().u16(size).u16(offset));
    world.send(command.equal_if(kind(&index) != nt::COUNTER && index.size != 34 && !world.unsure));
}

/// A command of a special type of Index.
fn special(world: &mut World, code: u32, wanted: u32, params: Bytes) {
    let Some(index) = world.index(|i| kind(i) == wanted) else { return };
    let auth = authorizing(world, &index, false);
    world.send(Command::new(code).auth(&auth).handle(&index.entity).params(params));
    world.touched(index.entity.handle[0]);
}

pub(crate) fn increment(world: &mut World) {
    special(world, cc::NV_INCREMENT, nt::COUNTER, Bytes::new());
}

pub(crate) fn extend(world: &mut World) {
    let n = world.one_of(&[0, 1, 32, 500, 1024]);
    let data = world.octets(n);
    special(world, cc::NV_EXTEND, nt::EXTEND, Bytes::new().sized(&data));
}

pub(crate) fn set_bits(world: &mut World) {
    let bits = 1 << world.rng.u32(0..64);
    special(world, cc::NV_SET_BITS, nt::BITS, Bytes::new().u64(bits));
}

pub(crate) fn lock(world: &mut World) {
    let read = world.rng.bool();
    let bits = if read { a::READ_STCLEAR } else { a::WRITE_STCLEAR | a::WRITEDEFINE };
    let Some(index) = world.index(|i| i.attributes & bits != 0) else { return };
    let auth = authorizing(world, &index, read);
    let code = if read { cc::NV_READ_LOCK } else { cc::NV_WRITE_LOCK };
    world.send(Command::new(code).auth(&auth).handle(&index.entity));
    world.touched(index.entity.handle[0]);
}

pub(crate) fn global_lock(world: &mut World) {
    let handle = world.one_of(&[rh::OWNER, rh::PLATFORM]);
    let auth = world.permanent(handle);
    world.send(Command::new(cc::NV_GLOBAL_WRITE_LOCK).auth(&auth));
    world.indices.iter_mut().for_each(|i| i.stale = true);
}

pub(crate) fn change_auth(world: &mut World) {
    let Some(index) = world.index(|i| i.entity.policy.is_some()) else { return };
    let value = world.auth_value();
    let entity = Entity { policy_only: index.entity.policy.is_some(), ..index.entity.clone() };
    let command = Command::new(cc::NV_CHANGE_AUTH).auth(&entity).params(Bytes::new().sized(&value));
    if world.send(command).is_some()
        && let Some(known) = world.indices.iter_mut().find(|i| i.entity.handle == index.entity.handle)
    {
        known.entity.auth = value;
    }
}

pub(crate) fn undefine(world: &mut World) {
    let Some(index) = world.index(|_| true) else { return };
    let platform = index.attributes & a::PLATFORMCREATE != 0;
    let special = (index.attributes & a::POLICY_DELETE != 0) != world.once_in(12);
    let done = if special {
        let entity = Entity { policy_only: index.entity.policy.is_some(), ..index.entity.clone() };
        let auth = world.permanent(rh::PLATFORM);
        world.send(Command::new(cc::NV_UNDEFINE_SPACE_SPECIAL).auth(&entity).auth(&auth))
    } else {
        let auth = world.permanent(if platform { rh::PLATFORM } else { rh::OWNER });
        world.send(Command::new(cc::NV_UNDEFINE_SPACE).auth(&auth).handle(&index.entity))
    };
    if done.is_some() {
        world.indices.retain(|i| i.entity.handle != index.entity.handle);
    }
}
