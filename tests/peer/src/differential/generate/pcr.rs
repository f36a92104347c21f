//! PCR.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::Bytes;
use crate::differential::world::{World, rh};
use client::hash::Alg;

pub(crate) fn extend(world: &mut World) {
    let pcr = if world.once_in(20) { crate::differential::world::Entity::of(rh::NULL) } else { world.pcr() };
    let count = world.one_of(&[1u32, 1, 1, 2, 0, 4]);
    let mut params = Bytes::new().u32(count);
    for _ in 0..count {
        let alg = world.one_of(&Alg::ALL);
        let digest = world.octets(alg.size());
        params = params.u16(alg.id()).raw(&digest);
    }
    world.send(Command::new(cc::PCR_EXTEND).auth(&pcr).params(params));
}

pub(crate) fn event(world: &mut World) {
    let pcr = if world.once_in(10) { crate::differential::world::Entity::of(rh::NULL) } else { world.pcr() };
    let n = world.one_of(&[0, 1, 100, 1024, 1025]);
    let data = world.octets(n);
    world.send(Command::new(cc::PCR_EVENT).auth(&pcr).params(Bytes::new().sized(&data)).equal());
}

pub(crate) fn read(world: &mut World) {
    let selection = super::selection(world);
    world.send(Command::new(cc::PCR_READ).params(Bytes::new().raw(&selection)).equal());
}

pub(crate) fn reset(world: &mut World) {
    let pcr = world.pcr();
    world.send(Command::new(cc::PCR_RESET).auth(&pcr));
}

pub(crate) fn allocate(world: &mut World) {
    let platform = world.permanent(rh::PLATFORM);
    let mut params = Bytes::new();
    let algs: Vec<u16> = world.one_of(&[vec![4, 0xb], vec![0xb], vec![0xc, 0xb], vec![4, 0xb, 0xc, 0xd]]);
    params = params.u32(u32::try_from(algs.len()).expect("few"));
    for alg in algs {
        let all = !world.once_in(3);
        params = params.u16(alg).u8(3).raw(&if all { [0xff; 3] } else { [0; 3] });
    }
    let Some(mut reply) = world.send(Command::new(cc::PCR_ALLOCATE).auth(&platform).params(params)) else { return };
    let success = reply.octets(1);
    world.same("PCR_Allocate: allocationSuccess differs", &success);
    super::startup::reset(world);
}

/// Authorization of PCR.
pub(crate) fn auth(world: &mut World) {
    if world.rng.bool() {
        let pcr = world.pcr();
        let value = world.auth_value();
        world.send(Command::new(cc::PCR_SET_AUTH_VALUE).auth(&pcr).params(Bytes::new().sized(&value)));
    } else {
        let platform = world.permanent(rh::PLATFORM);
        let (alg, size) = world.one_of(&[(0xbu16, 32), (0x10, 0), (4, 20), (0xb, 20)]);
        let digest = world.octets(size);
        let pcr = world.pcr();
        let params = Bytes::new().sized(&digest).u16(alg).u32(pcr.handle[0]);
        world.send(Command::new(cc::PCR_SET_AUTH_POLICY).auth(&platform).params(params));
    }
}
