//! ML-KEM and ML-DSA, and the commands that version 185 brought: sent where both TPMs have them. Keys are each TPM's
//! own; the public area of each is loaded into the other, so that ciphertexts and signatures go across.

use super::known::own_scheme;
use super::object::{self, Template};
use super::sequence;
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::{Bytes, Reply, Two};
use crate::differential::world::{Entity, Object, World, rh};
use client::attributes::object as a;
use client::hash::Alg;

const KEYED_HASH: u16 = 8;
const ECC: u16 = 0x23;
const ML_KEM: u16 = 0xa0;
const ML_DSA: u16 = 0xa1;
const HASH_ML_DSA: u16 = 0xa2;
const KINDS: [u16; 3] = [ML_KEM, ML_DSA, HASH_ML_DSA];
/// The commands of this subject, which damage makes of each other.
pub(crate) const COMMANDS: [u32; 16] = [
    cc::CREATE_PRIMARY,
    cc::CREATE,
    cc::LOAD,
    cc::LOAD_EXTERNAL,
    cc::READ_PUBLIC,
    cc::FLUSH_CONTEXT,
    cc::HASH,
    cc::SEQUENCE_UPDATE,
    cc::ENCAPSULATE,
    cc::DECAPSULATE,
    cc::SIGN_DIGEST,
    cc::VERIFY_DIGEST_SIGNATURE,
    cc::SIGN_SEQUENCE_START,
    cc::SIGN_SEQUENCE_COMPLETE,
    cc::VERIFY_SEQUENCE_START,
    cc::VERIFY_SEQUENCE_COMPLETE,
];
/// TPMT_TK_HASHCHECK that says nothing.
const NO_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

/// Whether both TPMs have one of the algorithms.
pub(crate) fn is_common(world: &World) -> bool {
    KINDS.iter().any(|kind| world.commands.1.contains(kind))
}

fn have(world: &World, codes: &[u32]) -> bool {
    codes.iter().all(|code| world.tally.common.contains(code))
}

/// A template of a kind that both have: mostly the small parameter sets.
fn template(world: &mut World) -> Option<Template> {
    let kinds: Vec<u16> = KINDS.into_iter().filter(|kind| world.commands.1.contains(kind)).collect();
    if kinds.is_empty() {
        return None;
    }
    let kind = world.one_of(&kinds);
    let set = if world.once_in(25) { world.one_of(&[0, 4, 0xff]) } else { world.one_of(&[1, 1, 1, 2, 2, 3]) };
    let restricted = world.once_in(4);
    let parms = match kind {
        ML_KEM if restricted => vec![0, 6, 0, 128, 0, 0x43, 0, set],
        ML_KEM => vec![0, 0x10, 0, set],
        ML_DSA => vec![0, set, world.one_of(&[0, 0, 0, 0, 1])],
        _ => vec![0, set, 0, world.one_of(&[0xb, 0xb, 0xb, 0xc, 0xd])],
    };
    let use_bit = if kind == ML_KEM { a::DECRYPT } else { a::SIGN };
    let mut attributes = a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN | a::USER | a::NO_DA | use_bit;
    if restricted {
        attributes |= a::RESTRICTED;
    }
    if kind != ML_KEM && world.once_in(12) {
        attributes |= a::X509_SIGN;
    }
    let name_alg = world.one_of(&[0xb, 0xb, 0xb, 0xc]);
    let mut t = Template { kind, name_alg, attributes, policy: None, parms, unique: vec![0, 0], data: 0 };
    if world.once_in(10) {
        spoil(world, &mut t);
    }
    Some(t)
}

/// One thing about the template is wrong, or at least another.
fn spoil(world: &mut World, t: &mut Template) {
    match world.rng.u8(0..4) {
        0 => t.attributes ^= world.one_of(&[a::SIGN, a::DECRYPT, a::RESTRICTED, a::X509_SIGN, a::FIXED_PARENT]),
        1 => t.name_alg = world.one_of(&[0, 0x10, 4, 0xd]),
        2 if t.kind == HASH_ML_DSA => t.parms[3] = world.one_of(&[0, 4, 0x10, 0x2f, 0x27]),
        2 if t.kind == ML_KEM => t.parms[1] = world.one_of(&[0x10, 6, 0x26, 0x0a]),
        2 => t.parms[2] = world.one_of(&[1, 2, 0xff]),
        _ => {
            let n = world.one_of(&[1, 16, 32]);
            t.unique = Bytes::new().sized(&world.octets(n)).0[0].clone();
        }
    }
}

/// A key that is not on lattices: for storage, for HMACs, for signatures, or for DHKEM.
pub(crate) fn beside(world: &mut World) {
    let fixed = a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN | a::USER | a::NO_DA;
    let (kind, uses, parms, unique) = match world.rng.u8(0..6) {
        0..2 => (0x25, a::RESTRICTED | a::DECRYPT, vec![0, 6, 0, 128, 0, 0x43], vec![0; 2]),
        2 => (KEYED_HASH, a::SIGN, vec![0, 5, 0, 0xb], vec![0; 2]),
        3 => (ECC, a::SIGN, vec![0, 0x10, 0, 0x18, 0, 0xb, 0, 3, 0, 0x10], vec![0; 4]),
        _ => (ECC, a::DECRYPT, vec![0, 0x10, 0, 0x10, 0, 3, 0, 0x1f, 0, 0xb], vec![0; 4]),
    };
    let attributes = fixed | uses;
    let t = Template { kind, name_alg: 0xb, attributes, policy: None, parms, unique, data: 0 };
    object::create_primary_of(world, &t);
}

/// TPM2_CreatePrimary, or TPM2_Create below what there is.
pub(crate) fn create(world: &mut World) {
    let Some(t) = template(world) else { return };
    match object::parent(world) {
        Some(parent) if world.once_in(3) => object::create_of(world, &parent, &t),
        _ => object::create_primary_of(world, &t),
    }
}

/// TPM2_Load of what was created.
pub(crate) fn load(world: &mut World) {
    let loads = world.blobs.iter().any(|blob| world.objects.iter().any(|o| o.entity.name == blob.parent));
    if loads { object::load(world) } else { create(world) }
}

/// Whether the last command went out as it was meant.
fn is_sound(world: &World) -> bool {
    !world.stop && world.tally.trail.last().is_some_and(|case| !case.damaged)
}

const fn swapped(two: &Two<Vec<u8>>) -> Two<&Vec<u8>> {
    [&two[1], &two[0]]
}

/// TPM2_LoadExternal of the other side's public area.
pub(crate) fn exchange(world: &mut World) {
    let goes = |o: &Object| KINDS.contains(&o.kind) || o.kind == ECC;
    let Some(key) = world.object(|o| goes(o) && o.private && o.sequence.is_none()) else {
        return create(world);
    };
    if key.public.iter().any(Vec::is_empty) {
        return;
    }
    let public = swapped(&key.public).map(Clone::clone);
    let attributes = a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN | a::ENCRYPTED_DUPLICATION;
    let public = public.map(|octets| without(octets, if world.once_in(20) { 0 } else { attributes }));
    let hierarchy = world.one_of(&[rh::OWNER, rh::OWNER, rh::NULL, rh::ENDORSEMENT]);
    let params = Bytes::new().sized(&[]).each_sized(&public).u32(hierarchy);
    let Some(mut reply) = world.send(Command::new(cc::LOAD_EXTERNAL).params(params)) else { return };
    let name = reply.sized();
    let mut entity = Entity::each(reply.handle);
    entity.public_only = true;
    let of = is_sound(world).then_some(key.entity.name);
    let (hierarchy, private, creation, common) = (hierarchy, false, None, false);
    let external = Object { entity, public, hierarchy, private, creation, common, of, ..key };
    object::loaded(world, external, reply.handle, name);
}

/// A public area without some of its attributes.
fn without(mut public: Vec<u8>, bits: u32) -> Vec<u8> {
    if let Some(four) = public.get_mut(4..8).and_then(|four| <&mut [u8; 4]>::try_from(four).ok()) {
        *four = (u32::from_be_bytes(*four) & !bits).to_be_bytes();
    }
    public
}

/// The public area of a key as the other side has it loaded.
fn across(world: &mut World, key: &Object) -> Option<Object> {
    let found = world.objects.iter().find(|o| o.of.as_ref() == Some(&key.entity.name)).cloned();
    found.filter(|_| !world.once_in(4))
}

/// TPM2_Encapsulate and TPM2_Decapsulate, on one side or across.
pub(crate) fn encapsulate(world: &mut World) {
    if !have(world, &[cc::ENCAPSULATE, cc::DECAPSULATE]) {
        return;
    }
    let takes = |o: &Object| o.kind == ML_KEM || o.kind == ECC && o.has(a::DECRYPT);
    let Some(key) = world.object(|o| takes(o) && o.private) else { return create(world) };
    let other = across(world, &key);
    let public = other.as_ref().unwrap_or(&key).entity.clone();
    let Some(mut reply) = world.send(Command::new(cc::ENCAPSULATE).handle(&public)) else { return };
    let mut sound = is_sound(world);
    let (mut secret, mut sent) = (reply.sized(), reply.sized());
    if other.is_some() {
        secret.swap(0, 1);
        sent.swap(0, 1);
    }
    if world.once_in(8) {
        sound = false;
        let n = world.rng.usize(..);
        match world.rng.u8(0..4) {
            0 => sent.iter_mut().for_each(|octets| octets.truncate(n % 1600)),
            1 => sent.iter_mut().for_each(|octets| octets.push(0)),
            _ => sent.iter_mut().filter(|octets| !octets.is_empty()).for_each(|octets| {
                let at = n % octets.len();
                octets[at] ^= 1;
            }),
        }
    }
    let params = Bytes::new().each_sized(&sent);
    let command = Command::new(cc::DECAPSULATE).auth(&key.entity).params(params);
    let Some(mut reply) = world.send(command) else { return };
    let [ours, theirs] = reply.sized();
    if sound && is_sound(world) {
        let [for_ours, for_theirs] = secret;
        world.same("Decapsulate: not the secret of Encapsulate", &[ours, for_ours]);
        world.same("Decapsulate: not the secret of Encapsulate", &[theirs, for_theirs]);
    }
}

/// A key that signs, mostly one on lattices.
fn signer(world: &mut World) -> Option<Object> {
    let any = world.once_in(6);
    world.object(|o| o.has(a::SIGN) && o.private && o.sequence.is_none() && (any || KINDS.contains(&o.kind)))
}

/// A context for a signature: most often none.
fn context(world: &mut World, key: &Object) -> Vec<u8> {
    let takes = KINDS.contains(&key.kind);
    let n = match world.rng.u8(0..8) {
        0..3 if takes => world.one_of(&[1, 8, 32, 255]),
        3 => world.one_of(&[1, 255, 256]),
        _ => 0,
    };
    world.octets(n)
}

/// The hash that a signature by the key is of.
fn hash_of(key: &Object) -> Option<Alg> {
    let [public, _] = &key.public;
    let at = match key.kind {
        HASH_ML_DSA => public.len().checked_sub(2 + unique_size(public)?)?.checked_sub(2)?,
        KEYED_HASH | 1 | ECC => {
            let scheme = own_scheme(key);
            return Alg::ALL.into_iter().find(|alg| scheme.get(2..4) == Some(&alg.id().to_be_bytes()));
        }
        _ => return None,
    };
    Alg::ALL.into_iter().find(|alg| public.get(at..at + 2) == Some(&alg.id().to_be_bytes()))
}

/// Octets of the public key at the end of a public area of HASH_MLDSA.
fn unique_size(public: &[u8]) -> Option<usize> {
    [1312, 1952, 2592].into_iter().find(|size| {
        public.len().checked_sub(2 + size).and_then(|at| public.get(at..at + 2))
            == Some(&u16::try_from(*size).unwrap_or_default().to_be_bytes()[..])
    })
}

/// TPM2_SignDigest, and TPM2_VerifyDigestSignature on one side or across.
pub(crate) fn sign_digest(world: &mut World) {
    if !have(world, &[cc::SIGN_DIGEST, cc::VERIFY_DIGEST_SIGNATURE]) {
        return;
    }
    let Some(key) = signer(world) else { return create(world) };
    let context = context(world, &key);
    let size = if world.once_in(15) { 31 } else { hash_of(&key).map_or(64, Alg::size) };
    let hashed: Vec<_> = world.hashed.iter().filter(|(alg, ..)| Some(*alg) == hash_of(&key)).cloned().collect();
    let (digest, validation) = if !hashed.is_empty() && (key.has(a::RESTRICTED) || world.once_in(6)) {
        let (_, digest, ticket) = world.one_of(&hashed);
        (digest, ticket)
    } else {
        (world.octets(size), Bytes::new().raw(&NO_TICKET).0)
    };
    let params = Bytes::new().sized(&context).sized(&digest).each(&validation);
    let Some(mut reply) = world.send(Command::new(cc::SIGN_DIGEST).auth(&key.entity).params(params)) else { return };
    let sound = is_sound(world);
    let mut signature = reply.rest();
    let other = across(world, &key);
    let wrong = spoiled(world, &mut signature);
    if other.is_some() {
        signature.swap(0, 1);
    }
    let public = other.unwrap_or(key).entity;
    let params = Bytes::new().sized(&context).sized(&digest).each(&signature);
    let Some(mut reply) = world.send(Command::new(cc::VERIFY_DIGEST_SIGNATURE).handle(&public).params(params)) else {
        return verified(world, sound && !wrong);
    };
    verified_tag(world, &mut reply);
}

/// A signature is not genuine, on both sides: whether it was spoiled.
fn spoiled(world: &mut World, signature: &mut Two<Vec<u8>>) -> bool {
    let wrong = world.once_in(8);
    if wrong {
        let n = world.rng.usize(..);
        for octets in signature.iter_mut().filter(|octets| octets.len() > 8) {
            let at = 6 + n % (octets.len() - 6);
            octets[at] ^= 1;
        }
    }
    wrong
}

/// Both TPMs refuse a signature that one of them has made: neither may.
fn verified(world: &mut World, genuine: bool) {
    let refused = world.tally.trail.last().is_some_and(|case| case.rc[0] & 0xbf == 0x9b && !case.damaged);
    if genuine && refused && !world.stop {
        world.same("a signature that was made is not genuine", &[vec![1], vec![0]]);
    }
}

/// The ticket's tag.
fn verified_tag(world: &mut World, reply: &mut Reply) {
    let tag = reply.octets(2);
    if is_sound(world) {
        world.same("TPMT_TK_VERIFIED: tags differ", &tag);
    }
}

/// A message is signed in a sequence, and verified in another, on one side or across.
pub(crate) fn message(world: &mut World) {
    let codes = [
        cc::SIGN_SEQUENCE_START,
        cc::SIGN_SEQUENCE_COMPLETE,
        cc::VERIFY_SEQUENCE_START,
        cc::VERIFY_SEQUENCE_COMPLETE,
        cc::SEQUENCE_UPDATE,
    ];
    if !have(world, &codes) {
        return;
    }
    let Some(key) = signer(world) else { return create(world) };
    let context = context(world, &key);
    let pieces: Vec<Vec<u8>> = (0..world.rng.usize(0..3))
        .map(|_| {
            let n = world.one_of(&[0, 1, 32, 500, 1024]);
            world.octets(n)
        })
        .collect();
    let last = world.one_of(&[0, 1, 32, 64, 1000]);
    let mut last = world.octets(last);
    if world.once_in(12) && last.len() > 4 {
        last[..4].copy_from_slice(&[0xff, b'T', b'C', b'G']);
    }
    let Some((mut signature, sound)) = sign(world, &key, &context, &pieces, &last) else { return };
    let wrong = spoiled(world, &mut signature);
    let other = across(world, &key);
    if other.is_some() {
        signature.swap(0, 1);
    }
    let public = other.unwrap_or(key).entity;
    let whole = [&pieces[..], &[last]].concat();
    verify(world, &public, &context, &whole, &signature, sound && !wrong);
}

/// A sequence with its first pieces: whether all went well.
fn begin_with(
    world: &mut World,
    start: Command,
    auth: Vec<u8>,
    code: u32,
    pieces: &[Vec<u8>],
) -> Option<(Entity, bool)> {
    let reply = world.send(start)?;
    let mut sound = is_sound(world);
    let sequence = sequence::begun(world, reply.handle, auth, code, false);
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let params = Bytes::new().sized(piece);
        world.send(Command::new(cc::SEQUENCE_UPDATE).auth(&sequence).params(params))?;
        sound &= is_sound(world);
    }
    Some((sequence, sound))
}

fn sign(
    world: &mut World,
    key: &Object,
    context: &[u8],
    pieces: &[Vec<u8>],
    last: &[u8],
) -> Option<(Two<Vec<u8>>, bool)> {
    let auth = world.auth_value();
    let params = Bytes::new().sized(&auth).sized(context);
    let start = Command::new(cc::SIGN_SEQUENCE_START).handle(&key.entity).params(params);
    let (sequence, sound) = begin_with(world, start, auth, cc::SIGN_SEQUENCE_COMPLETE, pieces)?;
    let command = Command::new(cc::SIGN_SEQUENCE_COMPLETE).auth(&sequence).auth(&key.entity);
    let reply = world.send(command.params(Bytes::new().sized(last)));
    let signature = completed(world, &sequence, reply)?.rest();
    Some((signature, sound && is_sound(world)))
}

fn verify(
    world: &mut World,
    public: &Entity,
    context: &[u8],
    message: &[Vec<u8>],
    signature: &Two<Vec<u8>>,
    genuine: bool,
) {
    let auth = world.auth_value();
    let hint = if world.once_in(20) { world.octets(32) } else { vec![] };
    let params = Bytes::new().sized(&auth).sized(&hint).sized(context);
    let start = Command::new(cc::VERIFY_SEQUENCE_START).handle(public).params(params);
    let Some((sequence, sound)) = begin_with(world, start, auth, cc::VERIFY_SEQUENCE_COMPLETE, message) else { return };
    let command = Command::new(cc::VERIFY_SEQUENCE_COMPLETE).auth(&sequence).handle(public);
    let reply = world.send(command.params(Bytes::new().each(signature)));
    if reply.is_none() {
        verified(world, genuine && sound);
    }
    if let Some(mut reply) = completed(world, &sequence, reply) {
        verified_tag(world, &mut reply);
    }
}

/// A sequence that was completed is gone. One that could not be stays, but not in every TPM: it goes.
fn completed<T>(world: &mut World, sequence: &Entity, reply: Option<T>) -> Option<T> {
    if reply.is_none() {
        super::context::flush(world, sequence.handle);
    }
    world.objects.retain(|o| o.entity.handle != sequence.handle);
    reply
}

/// A sequence that is left to what comes.
pub(crate) fn begin(world: &mut World) {
    if !have(world, &[cc::SIGN_SEQUENCE_START, cc::VERIFY_SEQUENCE_START]) {
        return;
    }
    let Some(key) = world.object(|o| o.sequence.is_none()) else { return };
    let auth = world.auth_value();
    let context = context(world, &key);
    let (start, code) = if world.rng.bool() {
        (
            Command::new(cc::SIGN_SEQUENCE_START).params(Bytes::new().sized(&auth).sized(&context)),
            cc::SIGN_SEQUENCE_COMPLETE,
        )
    } else {
        let params = Bytes::new().sized(&auth).sized(&[]).sized(&context);
        (Command::new(cc::VERIFY_SEQUENCE_START).params(params), cc::VERIFY_SEQUENCE_COMPLETE)
    };
    begin_with(world, start.handle(&key.entity), auth, code, &[]);
}
