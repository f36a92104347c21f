//! TPM2_StartAuthSession.

use super::known::Salt;
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::{Bytes, Two, both};
use crate::differential::world::{Entity, Session, Subject, World, rh};
use client::hash::Alg;
use client::sym::Sym;

/// A session that is neither bound nor salted.
pub(crate) fn start(world: &mut World, kind: u8, alg: Alg, sym: Sym, used: &[Two<u32>]) -> Option<Session> {
    begin(world, kind, alg, sym, &Entity::of(rh::NULL), None, used)
}

fn begin(
    world: &mut World,
    kind: u8,
    alg: Alg,
    sym: Sym,
    bind: &Entity,
    salt: Option<Salt>,
    used: &[Two<u32>],
) -> Option<Session> {
    // libtpms has three slots.
    while world.sessions.len() >= 3 {
        let free: Vec<Two<u32>> = world.sessions.iter().map(|s| s.handle).filter(|h| !used.contains(h)).collect();
        if free.is_empty() {
            return None;
        }
        let one = world.one_of(&free);
        super::context::flush(world, one);
        if world.stop {
            return None;
        }
    }
    // Where sessions are not what sequences are about, nothing of them is wrong.
    let odd = world.subject == Subject::All;
    let n = if odd && world.once_in(30) { world.rng.usize(0..40) } else { 16 };
    let nonce_caller = world.octets(n);
    let kind = if odd && world.once_in(100) { world.rng.u8(..) } else { kind };
    let (key, secret, salt) = match salt {
        Some(salt) => salt,
        None if odd && world.once_in(60) => (Entity::of(rh::NULL), both(world.octets(8)), both(vec![])),
        None => (Entity::of(rh::NULL), both(vec![]), both(vec![])),
    };
    let salted = key.handle[0] != rh::NULL;
    let params = Bytes::new().sized(&nonce_caller).each_sized(&secret).u8(kind).raw(&sym.wire(alg)).u16(alg.id());
    let command = Command::new(cc::START_AUTH_SESSION).handle(&key).handle(bind).params(params);
    let mut reply = world.send(if odd { command } else { command.plain() })?;
    let nonce = reply.sized();
    let bound = bind.handle[0] != rh::NULL;
    let key = [0, 1].map(|side| {
        let from = [&bind.auth[..], &salt[side]].concat();
        if bound || salted { alg.session_key(&from, &nonce[side], &nonce_caller) } else { vec![] }
    });
    let session = Session {
        handle: reply.handle,
        kind,
        alg,
        sym,
        nonce,
        key,
        bind: bound.then(|| (bind.name.clone(), bind.auth.clone())),
        steps: vec![],
        common: true,
    };
    world.sessions.retain(|s| s.handle != session.handle);
    world.sessions.push(session.clone());
    Some(session)
}

/// An HMAC session that is neither bound nor salted.
pub(crate) fn start_hmac(world: &mut World) {
    // wolfTPM leaves out what is longer than its mask where XOR should encrypt it.
    let sym = world.one_of(&[Sym::Null, Sym::Aes128, Sym::Aes128, Sym::Aes256]);
    let alg = world.one_of(&[Alg::Sha256, Alg::Sha384]);
    start(world, Session::HMAC, alg, sym, &[]);
}

/// Any session, often bound to something.
pub(crate) fn start_any(world: &mut World) {
    let kind = world.one_of(&[Session::HMAC, Session::HMAC, Session::POLICY, Session::POLICY, Session::TRIAL]);
    let alg = world.one_of(&[Alg::Sha1, Alg::Sha256, Alg::Sha256, Alg::Sha256, Alg::Sha384, Alg::Sha512]);
    let sym = world.one_of(&Sym::ALL);
    let bind = match world.rng.u8(0..6) {
        0 => world.hierarchy(),
        1 => world.object(|o| o.sequence.is_none()).map_or(Entity::of(rh::NULL), |o| o.entity),
        2 => world.index(|_| true).map_or(Entity::of(rh::NULL), |i| i.entity),
        _ => Entity::of(rh::NULL),
    };
    let salt = if world.once_in(3) { super::known::salt(world) } else { None };
    if !world.stop {
        begin(world, kind, alg, sym, &bind, salt, &[bind.handle]);
    }
}
