//! Policies as lists of assertions, and how a session comes to satisfy one.

use super::cc;
use super::command::Command;
use super::generate::session::start;
use super::wire::{Bytes, Two};
use super::world::{Entity, Policy, Session, World};
use client::sym::Sym;

/// An assertion that can be made again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    AuthValue,
    Password,
    CommandCode(u32),
    /// a selection, and a digest that may be empty
    Pcr(Vec<u8>, Vec<u8>),
    Locality(u8),
    NvWritten(u8),
    /// the hierarchy whose authorization is known
    Secret(u32, Vec<u8>),
    /// names of the source and the new parent, and whether the former counts
    Duplication(Two<Vec<u8>>, Two<Vec<u8>>, u8),
    CpHash(Vec<u8>),
    NameHash(Vec<u8>),
    Template(Vec<u8>),
    CounterTimer(Vec<u8>, u16, u16),
    PhysicalPresence,
    /// the index's handle, operand, offset and operation
    Nv(u32, Vec<u8>, u16, u16),
    Or(Vec<Two<Vec<u8>>>),
    /// something that is not made again
    Other,
}

/// The command of an assertion.
pub(crate) fn command(world: &mut World, session: &Session, step: &Step) -> Option<Command> {
    let entity = Entity::each(session.handle);
    let one = |code| Command::new(code).handle(&entity);
    Some(match step {
        Step::AuthValue => one(cc::POLICY_AUTH_VALUE),
        Step::Password => one(cc::POLICY_PASSWORD),
        Step::PhysicalPresence => one(cc::POLICY_PHYSICAL_PRESENCE),
        Step::CommandCode(code) => one(cc::POLICY_COMMAND_CODE).params(Bytes::new().u32(*code)),
        Step::Pcr(selection, digest) => one(cc::POLICY_PCR).params(Bytes::new().sized(digest).raw(selection)),
        Step::Locality(locality) => one(cc::POLICY_LOCALITY).params(Bytes::new().u8(*locality)),
        Step::NvWritten(written) => one(cc::POLICY_NV_WRITTEN).params(Bytes::new().u8(*written)),
        Step::CpHash(digest) => one(cc::POLICY_CP_HASH).params(Bytes::new().sized(digest)),
        Step::NameHash(digest) => one(cc::POLICY_NAME_HASH).params(Bytes::new().sized(digest)),
        Step::Template(digest) => one(cc::POLICY_TEMPLATE).params(Bytes::new().sized(digest)),
        Step::Duplication(object, parent, include) => {
            one(cc::POLICY_DUPLICATION_SELECT).params(Bytes::new().each_sized(object).each_sized(parent).u8(*include))
        }
        Step::CounterTimer(operand, offset, operation) => {
            one(cc::POLICY_COUNTER_TIMER).params(Bytes::new().sized(operand).u16(*offset).u16(*operation))
        }
        Step::Secret(handle, reference) => Command::new(cc::POLICY_SECRET)
            .auth(&world.permanent(*handle))
            .handle(&entity)
            .params(Bytes::new().sized(&[]).sized(&[]).sized(reference).u32(0)),
        Step::Nv(handle, operand, offset, operation) => {
            let index = world.indices.iter().find(|i| i.entity.handle[0] == *handle && i.common).cloned()?;
            let index = if index.stale { world.refresh(&index)? } else { index };
            let authorizing =
                if index.attributes & 1 << 18 != 0 { index.entity.clone() } else { world.permanent(0x4000_0001) };
            Command::new(cc::POLICY_NV)
                .auth(&authorizing)
                .handle(&index.entity)
                .handle(&entity)
                .params(Bytes::new().sized(operand).u16(*offset).u16(*operation))
        }
        Step::Or(digests) => {
            let start = Bytes::new().u32(u32::try_from(digests.len()).expect("few"));
            one(cc::POLICY_OR).params(digests.iter().fold(start, Bytes::each_sized))
        }
        Step::Other => return None,
    })
}

/// Makes an assertion in a session.
pub(crate) fn assert(world: &mut World, session: &Session, step: &Step) -> bool {
    let Some(command) = command(world, session, step) else { return false };
    let common = command.params.is_common()
        && command.handles.iter().all(|h| h.name[0] == h.name[1] || h.handle == session.handle);
    let done = world.send(command).is_some();
    if done && let Some(session) = world.session_mut(session.handle) {
        if *step == Step::Password || *step == Step::AuthValue {
            session.steps.retain(|s| *s != Step::Password && *s != Step::AuthValue);
        }
        session.steps.push(step.clone());
        session.common &= common;
    }
    done
}

/// A policy session in which the policy has been satisfied, as far as assertions do it.
pub(crate) fn satisfy(world: &mut World, policy: usize, command: &Command, used: &[Two<u32>]) -> Option<Session> {
    let policy = world.policies.get(policy)?.clone();
    let fits = |s: &&Session| {
        s.kind == Session::POLICY && s.alg == policy.alg && s.steps == policy.steps && !used.contains(&s.handle)
    };
    if let Some(found) = world.sessions.iter().find(fits) {
        return Some(found.clone());
    }
    world.busy = true;
    let session = policy_session(world, &policy, used);
    let _ = command;
    world.busy = false;
    session
}

fn policy_session(world: &mut World, policy: &Policy, used: &[Two<u32>]) -> Option<Session> {
    let free = |s: &&Session| s.kind == Session::POLICY && s.alg == policy.alg && !used.contains(&s.handle);
    let session = if let Some(found) = world.sessions.iter().find(free).cloned() {
        if !found.steps.is_empty() {
            world.send(Command::new(cc::POLICY_RESTART).handle(&Entity::each(found.handle)))?;
            let known = world.session_mut(found.handle)?;
            known.steps.clear();
            known.common = true;
        }
        found
    } else {
        let sym = if world.once_in(3) { Sym::Aes128 } else { Sym::Null };
        start(world, Session::POLICY, policy.alg, sym, used)?
    };
    for step in &policy.steps {
        if !assert(world, &session, step) {
            return None;
        }
    }
    world.session(session.handle).cloned()
}
