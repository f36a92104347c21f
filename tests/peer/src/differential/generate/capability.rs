//! TPM2_GetCapability.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::Bytes;
use crate::differential::world::World;

/// Flags, and what dictionary attacks have come to: the same on both sides at any time.
pub(crate) fn state(world: &mut World) {
    for (property, count) in [(0x200u32, 2u32), (0x20e, 4)] {
        let params = Bytes::new().u32(6).u32(property).u32(count);
        world.send(Command::new(cc::GET_CAPABILITY).params(params).plain().equal());
    }
}

pub(crate) fn get(world: &mut World) {
    let (capability, property, equal) = match world.rng.u8(0..14) {
        0 => (0u32, world.rng.u32(0..0x30), false),
        1 | 2 => (1, world.one_of(&[0x8000_0000u32, 0x8000_0001, 0x80ff_ffff]), true),
        3 => (1, world.one_of(&[0x8100_0000u32, 0x8180_0000, 0x8180_0001]), true),
        4 | 5 => (1, world.one_of(&[0x0100_0000u32, 0x0150_0002, 0x0150_0008]), true),
        6 => (1, world.one_of(&[0x0200_0000u32, 0x0300_0000]), false),
        7 => (1, world.one_of(&[0u32, 10, 30]), true),
        8 => (1, world.one_of(&[0x4000_0000u32, 0x4000_0110, 0x0500_0000, 0xff00_0000, 0x9000_0000]), false),
        9 => (2, world.rng.u32(0x11f..0x1a0), false),
        10 => (5, world.one_of(&[0u32, 0, 1]), true),
        11 => (6, world.one_of(&[0x100u32, 0x200, 0x201, 0x20a, 0x300]), false),
        12 => (world.one_of(&[7u32, 8]), world.rng.u32(0..0x12), false),
        _ => (world.one_of(&[3u32, 4, 9, 0x0a, 0x0b, 0xffff]), 0, false),
    };
    let count = if capability == 5 || world.rng.bool() { 64 } else { world.rng.u32(0..4) };
    let params = Bytes::new().u32(capability).u32(property).u32(count);
    // Where a persistent object is used, a slot is taken for it: only the number of all transient objects is the same.
    let equal = equal && (property >> 24 != 0x80 || property == 0x8000_0000 && count == 64);
    world.send(Command::new(cc::GET_CAPABILITY).params(params).equal_if(equal));
}
