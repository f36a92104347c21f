//! Start, end, and self-tests.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::explained::USED_THERE;
use crate::differential::wire::Bytes;
use crate::differential::world::{Subject, World, rh};

/// What every sequence begins with.
pub(crate) fn begin(world: &mut World) {
    world.send(Command::new(cc::STARTUP).params(Bytes::new().u16(0)).plain());
    super::hierarchy::usual_lockout(world);
    if world.subject == Subject::All {
        super::policy::usual(world);
    }
}

pub(crate) fn startup_again(world: &mut World) {
    let su = world.rng.u16(0..3);
    world.send(Command::new(cc::STARTUP).params(Bytes::new().u16(su)));
}

/// TPM Reset after TPM2_Shutdown(CLEAR).
pub(crate) fn reset(world: &mut World) {
    again(world, Some(0), 0);
}

/// The platform measures a dynamic root of trust, for which libtpms needs a slot.
pub(crate) fn dynamic_root(world: &mut World) {
    if !world.platform {
        return;
    }
    world.make_slots(1, &[]);
    if world.stop {
        return;
    }
    let n = world.rng.usize(0..100);
    let root = world.octets(n);
    world.tpms.iter_mut().for_each(|tpm| tpm.hash(&[&root[..n / 2], &root[n / 2..]]));
    let params = Bytes::new().raw(&[0, 0, 0, 2, 0, 4, 3, 0, 0, 0x7e, 0, 0x0b, 3, 0, 0, 0x02]);
    world.send(Command::new(cc::PCR_READ).params(params).plain().equal());
}

/// TPM2_Shutdown or none, the loss of power, TPM2_Startup.
pub(crate) fn restart(world: &mut World) {
    let shutdown = world.one_of(&[Some(0u16), Some(1), Some(1), None]);
    let startup = world.one_of(&[0u16, 0, 1, 1]);
    again(world, shutdown, startup);
}

fn again(world: &mut World, shutdown: Option<u16>, startup: u16) {
    if !world.platform {
        return;
    }
    let shut_before = core::mem::take(&mut world.shut);
    if let Some(su) = shutdown {
        world.send(Command::new(cc::SHUTDOWN).params(Bytes::new().u16(su)).plain());
    }
    if world.stop {
        return;
    }
    let presence = world.presence;
    let root = world.once_in(4).then(|| world.octets(40));
    world.tpms.iter_mut().for_each(|tpm| {
        tpm.power_cycle();
        tpm.set_physical_presence(presence);
        if let Some(root) = &root {
            tpm.hash(&[&root[..7], &root[7..]]);
        }
    });
    world.forget_volatile();
    let locality = world.locality;
    world.locality = 0;
    let startup = if world.send(Command::new(cc::STARTUP).params(Bytes::new().u16(startup)).plain()).is_some() {
        startup
    } else {
        world.send(Command::new(cc::STARTUP).params(Bytes::new().u16(0)).plain());
        forget_tries(world);
        0
    };
    if startup == 0 && shutdown.is_none() && shut_before && world.used_there {
        world.tally.note_explained(USED_THERE);
        world.tally.resynchronised += 1;
        world.stop = true;
        return;
    }
    if shutdown.is_none() && (shut_before || world.few_tries_since || world.used_there) {
        forget_tries(world);
    }
    world.used_there = false;
    if shutdown.is_some() {
        world.few_tries_since = world.few_tries;
    }
    world.shut = false;
    world.locality = locality;
    world.indices.iter_mut().for_each(|i| i.stale = true);
    if startup == 0 {
        // Platform authorization does not survive TPM Reset and TPM Restart.
        world.auths.iter_mut().filter(|(handle, ..)| *handle == rh::PLATFORM).for_each(|known| {
            (known.1, known.2) = (vec![], None);
        });
    }
}

/// Four cases in which libtpms counts another number of failed tries at TPM2_Startup, so that none is left for the two
/// to agree again: where TPM2_Startup(STATE) was refused after an unorderly shutdown, it forgets that a protected
/// object was in use; where a TPM2_Shutdown no longer counts, it remembers what was in use before that; where the tries
/// were used up, or no time was to pass until they are forgotten, it does not note the next use; and it notes a use by
/// a command that we refuse before that.
fn forget_tries(world: &mut World) {
    let lockout = world.permanent(rh::LOCKOUT);
    if world.send(Command::new(cc::DICTIONARY_ATTACK_LOCK_RESET).auth(&lockout).plain()).is_none() {
        world.stop = true;
    }
}

pub(crate) fn test(world: &mut World) {
    match world.rng.u8(0..4) {
        // This one takes long.
        0 if world.once_in(20) => {
            let full = world.rng.u8(0..2);
            world.send(Command::new(cc::SELF_TEST).params(Bytes::new().u8(full)))
        }
        0 | 1 => world.send(Command::new(cc::INCREMENTAL_SELF_TEST).params(Bytes::new().u32(1).u16(0xb))),
        2 => world.send(Command::new(cc::GET_TEST_RESULT)),
        _ => world.send(Command::new(cc::SHUTDOWN).params(Bytes::new().u16(1))),
    };
}

pub(crate) fn locality(world: &mut World) {
    if world.platform {
        world.locality = world.one_of(&[0, 0, 0, 1, 3, 4, 2]);
    }
}
