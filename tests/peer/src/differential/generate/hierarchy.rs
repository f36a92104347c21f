//! Hierarchies, dictionary attacks, clock, physical presence.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::policy::Step;
use crate::differential::wire::Bytes;
use crate::differential::world::{Entity, World, rh};
use client::hash::Alg;

pub(crate) fn change_auth(world: &mut World) {
    let handle = world.one_of(&rh::AUTHORIZED);
    let entity = world.permanent(handle);
    let value = world.auth_value();
    let command = Command::new(cc::HIERARCHY_CHANGE_AUTH).auth(&entity).params(Bytes::new().sized(&value));
    if world.send(command).is_some() {
        world.auths.iter_mut().filter(|(known, ..)| *known == handle).for_each(|known| known.1.clone_from(&value));
    }
}

pub(crate) fn set_policy(world: &mut World) {
    let handle = world.one_of(&rh::AUTHORIZED);
    let entity = world.permanent(handle);
    let (policy, params) = if world.policies.is_empty() || world.once_in(3) {
        let params =
            if world.once_in(3) { Bytes::new().sized(&[1; 20]).u16(0xb) } else { Bytes::new().sized(&[]).u16(0x10) };
        (None, params)
    } else {
        let n = world.rng.usize(0..world.policies.len());
        let policy = &world.policies[n];
        (Some(n), Bytes::new().each_sized(&policy.digest).u16(policy.alg.id()))
    };
    if world.send(Command::new(cc::SET_PRIMARY_POLICY).auth(&entity).params(params)).is_some() {
        world.auths.iter_mut().filter(|(known, ..)| *known == handle).for_each(|known| known.2 = policy);
    }
}

pub(crate) fn control(world: &mut World) {
    let handle = world.one_of(&[rh::PLATFORM, rh::PLATFORM, rh::OWNER, rh::ENDORSEMENT]);
    let auth = world.permanent(handle);
    let enable = world.one_of(&[rh::OWNER, rh::ENDORSEMENT, rh::PLATFORM_NV, rh::PLATFORM, rh::NULL]);
    let state = world.rng.u8(0..2);
    if enable == rh::PLATFORM && state == 0 && !world.once_in(5) {
        return;
    }
    let params = Bytes::new().u32(enable).u8(state);
    if world.send(Command::new(cc::HIERARCHY_CONTROL).auth(&auth).params(params)).is_some() && state == 0 {
        world.objects.retain(|o| o.hierarchy != enable);
        // It does not stay so for long.
        let platform = world.permanent(rh::PLATFORM);
        if world.rng.bool() {
            let params = Bytes::new().u32(enable).u8(1);
            world.send(Command::new(cc::HIERARCHY_CONTROL).auth(&platform).params(params));
        }
    }
}

/// The parameters of lockout that both understand in the same way whatever the time.
pub(crate) fn usual_lockout(world: &mut World) {
    let lockout = world.permanent(rh::LOCKOUT);
    let params = Bytes::new().u32(100).u32(1_000_000).u32(1_000_000);
    // By password: nothing shall go wrong with it.
    let busy = core::mem::replace(&mut world.busy, true);
    world.send(Command::new(cc::DICTIONARY_ATTACK_PARAMETERS).auth(&lockout).params(params).plain());
    world.busy = busy;
}

pub(crate) fn clear(world: &mut World) {
    let handle = world.one_of(&[rh::PLATFORM, rh::LOCKOUT]);
    let auth = world.permanent(handle);
    world.send(Command::new(cc::CLEAR).auth(&auth));
}

/// What TPM2_Clear takes. The parameters of lockout are each TPM's own after it, and made the same again.
pub(crate) fn forget_cleared(world: &mut World) {
    world.objects.retain(|o| o.hierarchy == rh::PLATFORM || o.hierarchy == rh::NULL);
    for known in &mut world.auths {
        if known.0 != rh::PLATFORM {
            (known.1, known.2) = (vec![], None);
        }
    }
    world.indices.retain(|i| i.attributes & 1 << 30 != 0);
    usual_lockout(world);
}

pub(crate) fn clear_control(world: &mut World) {
    let handle = world.one_of(&[rh::PLATFORM, rh::PLATFORM, rh::LOCKOUT]);
    let auth = world.permanent(handle);
    let disable = world.one_of(&[0, 0, 1]);
    world.send(Command::new(cc::CLEAR_CONTROL).auth(&auth).params(Bytes::new().u8(disable)));
}

/// TPM2_ChangePPS and TPM2_ChangeEPS.
pub(crate) fn change_seed(world: &mut World) {
    let auth = world.permanent(rh::PLATFORM);
    let (code, handle) = world.one_of(&[(cc::CHANGE_PPS, rh::PLATFORM), (cc::CHANGE_EPS, rh::ENDORSEMENT)]);
    if world.send(Command::new(code).auth(&auth)).is_some() {
        world.objects.retain(|o| o.hierarchy != handle);
        for known in &mut world.auths {
            if known.0 == handle && handle == rh::ENDORSEMENT {
                (known.1, known.2) = (vec![], None);
            }
            if known.0 == handle && handle == rh::PLATFORM {
                known.2 = None;
            }
        }
    }
}

pub(crate) fn lock_reset(world: &mut World) {
    let lockout = world.permanent(rh::LOCKOUT);
    world.send(Command::new(cc::DICTIONARY_ATTACK_LOCK_RESET).auth(&lockout));
}

pub(crate) fn lockout_parameters(world: &mut World) {
    let lockout = world.permanent(rh::LOCKOUT);
    let tries = world.one_of(&[100u32, 100, 3, 0, 1000]);
    let params = Bytes::new().u32(tries).u32(1_000_000).u32(1_000_000);
    world.send(Command::new(cc::DICTIONARY_ATTACK_PARAMETERS).auth(&lockout).params(params));
}

pub(crate) fn clock(world: &mut World) {
    let handle = world.one_of(&[rh::OWNER, rh::PLATFORM]);
    let auth = world.permanent(handle);
    match world.rng.u8(0..4) {
        0 => {
            world.send(Command::new(cc::READ_CLOCK));
        }
        1 => {
            // Never one that may be over by now on one side only.
            world.clock += 1 << 36;
            let value = world.one_of(&[world.clock, world.clock, u64::MAX]);
            world.send(Command::new(cc::CLOCK_SET).auth(&auth).params(Bytes::new().u64(value)));
        }
        2 => {
            let by = world.one_of(&[0u8, 1, 2, 3, 0xff, 0xfd, 4, 0xfc]);
            world.send(Command::new(cc::CLOCK_RATE_ADJUST).auth(&auth).params(Bytes::new().u8(by)));
        }
        _ => {
            let platform = world.permanent(rh::PLATFORM);
            let set = world.one_of(&[0u32, 0, 0, 1]);
            world.send(Command::new(cc::SET_ALGORITHM_SET).auth(&platform).params(Bytes::new().u32(set)));
        }
    }
}

pub(crate) fn presence(world: &mut World) {
    if world.platform && world.rng.bool() {
        world.presence = !world.presence;
        let asserted = world.presence;
        world.tpms.iter_mut().for_each(|tpm| tpm.set_physical_presence(asserted));
        return;
    }
    let platform = world.permanent(rh::PLATFORM);
    let (set, clear) = (world.rng.u32(0..2), world.rng.u32(0..2));
    let mut list = |n: u32| (0..n).fold(Bytes::new().u32(n), |list, _| list.u32(world.one_of(cc::ALL).0));
    let (set, clear) = (list(set), list(clear));
    let params = Bytes::new().each(&set.0).each(&clear.0);
    world.send(Command::new(cc::PP_COMMANDS).auth(&platform).params(params));
}

/// A command that a hierarchy's policy allows: the policy is made for it, set, and satisfied.
pub(crate) fn by_policy(world: &mut World) {
    let handle = world.one_of(&[rh::OWNER, rh::ENDORSEMENT, rh::PLATFORM]);
    let entity = world.permanent(handle);
    let alg = world.one_of(&[Alg::Sha256, Alg::Sha256, Alg::Sha1, Alg::Sha384]);
    let template = [&[0, 8, 0, 0xb, 0, 4, 4, 0x72, 0, 0, 0, 5, 0, 0xb][..], &[0, 0]].concat();
    let (command, own) = match world.rng.u8(0..3) {
        0 => {
            let params = Bytes::new().sized(&[0; 4]).sized(&template).raw(&[0; 6]);
            (Command::new(cc::CREATE_PRIMARY).params(params), Step::Template(alg.hash(&[&template])))
        }
        1 => {
            let params = Bytes::new().u8(0);
            let cp_hash = alg.hash(&[&cc::CLOCK_RATE_ADJUST.to_be_bytes(), &handle.to_be_bytes(), &[0]]);
            (Command::new(cc::CLOCK_RATE_ADJUST).params(params), Step::CpHash(cp_hash))
        }
        _ => {
            let params = Bytes::new().u8(0);
            (Command::new(cc::CLOCK_RATE_ADJUST).params(params), Step::NameHash(alg.hash(&[&handle.to_be_bytes()])))
        }
    };
    let more = [
        Step::AuthValue,
        Step::Password,
        Step::CommandCode(command.code),
        Step::Locality(1),
        Step::Secret(rh::ENDORSEMENT, vec![]),
        Step::Pcr(vec![0, 0, 0, 1, 0, 0xb, 3, 1, 0, 0], vec![]),
    ];
    let steps = if world.once_in(3) { vec![own] } else { vec![world.one_of(&more), own] };
    let known = world.policies.iter().position(|p| p.alg == alg && p.steps == steps);
    let policy = known.unwrap_or_else(|| {
        super::policy::learn_steps(world, alg, &steps);
        world.policies.len() - 1
    });
    if world.stop || world.policies[policy].steps != steps {
        return;
    }
    let known = &world.policies[policy];
    let params = Bytes::new().each_sized(&known.digest).u16(alg.id());
    if world.send(Command::new(cc::SET_PRIMARY_POLICY).auth(&entity).params(params)).is_none() {
        return;
    }
    world.auths.iter_mut().filter(|(known, ..)| *known == handle).for_each(|known| known.2 = Some(policy));
    let entity = Entity { policy_only: true, ..world.permanent(handle) };
    let creates = command.code == cc::CREATE_PRIMARY;
    if let Some(reply) = world.send(command.auth(&entity).plain())
        && creates
    {
        super::context::flush(world, reply.handle);
    }
}
