//! Objects: templates, creation, loading, duplication, credentials.

use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::{Bytes, Reply, Two, both};
use crate::differential::world::{Blob, Entity, Object, Subject, World, rh};
use client::attributes::object as a;
use client::hash::Alg;

const RSA: u16 = 1;
const KEYED_HASH: u16 = 8;
const ECC: u16 = 0x23;
const SYM_CIPHER: u16 = 0x25;
const AES_128_CFB: [u8; 6] = [0, 6, 0, 128, 0, 0x43];
const NULL: [u8; 2] = [0, 0x10];
/// XOR with SHA-256, KDF1_SP800_108
const XOR_SHA256: [u8; 6] = [0, 0xa, 0, 0xb, 0, 0x22];
/// The policy of objects that can be duplicated, in the list that every sequence begins with.
pub(crate) const DUPLICATION: usize = 1;

/// A template (TPMT_PUBLIC), and what it says.
pub(crate) struct Template {
    pub(crate) kind: u16,
    pub(crate) name_alg: u16,
    pub(crate) attributes: u32,
    pub(crate) policy: Option<usize>,
    pub(crate) parms: Vec<u8>,
    pub(crate) unique: Vec<u8>,
    /// wants data in TPMS_SENSITIVE_CREATE
    pub(crate) data: usize,
}

impl Template {
    pub(crate) fn bytes(&self, world: &World) -> Bytes {
        let head = Bytes::new().u16(self.kind).u16(self.name_alg).u32(self.attributes);
        match self.policy.and_then(|n| world.policies.get(n)) {
            Some(policy) => head.each_sized(&policy.digest),
            None => head.sized(&[]),
        }
        .raw(&self.parms)
        .raw(&self.unique)
    }
}

fn hmac_scheme(world: &mut World) -> Vec<u8> {
    match world.rng.u8(0..6) {
        0 => NULL.to_vec(),
        1 => vec![0, 5, 0, 4],
        2 => vec![0, 5, 0, 0x0c],
        _ => vec![0, 5, 0, 0x0b],
    }
}

/// A key, or data, of any cheap sort. `parent`: wants one that can have children.
fn template(world: &mut World, parent: bool) -> Template {
    let fixed = a::FIXED_TPM | a::FIXED_PARENT;
    let mut t = Template {
        kind: KEYED_HASH,
        name_alg: 0xb,
        attributes: fixed | a::ORIGIN | a::USER,
        policy: None,
        parms: vec![],
        unique: vec![0, 0],
        data: 0,
    };
    choose_sort(world, parent, &mut t);
    t.name_alg = world.one_of(&[0xb, 0xb, 0xb, 0xb, 0xc, 4, 0xd]);
    if world.once_in(2) {
        t.attributes |= a::NO_DA;
    }
    if world.once_in(3) {
        t.attributes &= !(a::FIXED_TPM | a::FIXED_PARENT);
        if world.once_in(6) {
            t.attributes |= a::ENCRYPTED_DUPLICATION;
        }
    }
    if world.once_in(20) {
        t.attributes |= a::ST_CLEAR;
    }
    if world.once_in(4) {
        choose_policy(world, &mut t);
    }
    if world.once_in(10) {
        spoil(world, &mut t);
    }
    t
}

/// What it is: its type and parameters, and the attributes that go with them.
fn choose_sort(world: &mut World, parent: bool, t: &mut Template) {
    let sort =
        if parent { world.one_of(&[0, 0, 0, 0, 0, 1, 7]) } else { world.one_of(&[0, 2, 2, 2, 3, 3, 4, 5, 5, 6, 8]) };
    match sort {
        // derivation parent
        1 => {
            t.attributes |= a::RESTRICTED | a::DECRYPT;
            t.parms = XOR_SHA256.to_vec();
        }
        2 => hmac_key(world, t),
        // sealed data
        3 => {
            t.attributes &= !a::ORIGIN;
            t.parms = NULL.to_vec();
            t.data = world.one_of(&[1, 16, 32, 64, 128]);
        }
        // XOR key
        4 => {
            t.attributes |= a::DECRYPT;
            t.parms = XOR_SHA256.to_vec();
        }
        5 | 6 => cipher_key(world, t),
        // ECC storage
        7 if world.ecc && world.once_in(4) => {
            t.kind = ECC;
            t.attributes |= a::RESTRICTED | a::DECRYPT;
            t.parms = [&AES_128_CFB[..], &NULL, &[0, 3], &NULL].concat();
            t.unique = vec![0; 4];
        }
        8 if world.ecc && world.once_in(4) => ecc_key(world, t),
        // symmetric parent
        _ => {
            t.kind = SYM_CIPHER;
            t.attributes |= a::RESTRICTED | a::DECRYPT;
            t.parms = AES_128_CFB.to_vec();
        }
    }
}

fn hmac_key(world: &mut World, t: &mut Template) {
    t.attributes |= a::SIGN;
    t.parms = hmac_scheme(world);
    if world.once_in(4) && t.parms.len() > 2 {
        t.attributes |= a::RESTRICTED;
    }
    if world.once_in(3) {
        t.attributes &= !a::ORIGIN;
        t.data = 16;
    }
}

fn cipher_key(world: &mut World, t: &mut Template) {
    t.kind = SYM_CIPHER;
    t.attributes |= world.one_of(&[a::SIGN | a::DECRYPT, a::DECRYPT, a::SIGN]);
    let bits = world.one_of(&[128u16, 128, 256]);
    let mode = world.one_of(&[0x10u16, 0x40, 0x41, 0x42, 0x43, 0x44, 0x3f]);
    let alg = world.one_of(&[6u16, 6, 6, 0x26]);
    t.parms = [alg.to_be_bytes(), bits.to_be_bytes(), mode.to_be_bytes()].concat();
    if world.once_in(3) {
        t.attributes &= !a::ORIGIN;
        t.data = usize::from(bits / 8);
    }
}

/// One that signs, or that agrees on secrets.
fn ecc_key(world: &mut World, t: &mut Template) {
    t.kind = ECC;
    let curve = world.one_of(&[3u8, 3, 3, 4]);
    if world.rng.bool() {
        t.attributes |= a::SIGN;
        t.parms = [&NULL[..], &[0, 0x18, 0, 0xb, 0, curve], &NULL].concat();
    } else {
        t.attributes |= a::DECRYPT;
        t.parms = [&NULL[..], &NULL, &[0, curve], &NULL].concat();
    }
    t.unique = vec![0; 4];
}

/// A known policy of the template's hash.
fn choose_policy(world: &mut World, t: &mut Template) {
    let fits: Vec<usize> = (0..world.policies.len())
        .filter(|n| world.policies[*n].alg.id() == t.name_alg || n % 5 == 4 && t.attributes & 3 == 3)
        .collect();
    if fits.is_empty() {
        return;
    }
    t.policy = Some(world.one_of(&fits));
    match world.rng.u8(0..4) {
        0 => t.attributes = t.attributes & !a::USER | a::ADMIN_POLICY,
        1 => t.attributes |= a::ADMIN_POLICY,
        2 => t.attributes &= !a::USER,
        _ => {}
    }
}

/// One thing about the template is wrong, or at least another.
fn spoil(world: &mut World, t: &mut Template) {
    match world.rng.u8(0..10) {
        0..4 => {
            let bits = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 16, 17, 18, 31];
            t.attributes ^= 1u32 << world.one_of(&bits);
        }
        4 => t.name_alg = world.one_of(&[0, 0x10, 0x2f, 4, 0xd, 0xc]),
        5 => t.kind = world.one_of(&[RSA, KEYED_HASH, ECC, SYM_CIPHER, 0x10, 0]),
        6 => t.data = world.one_of(&[0, 1, 16, 129, 160]),
        7 => {
            if let Some(octet) = t.parms.last_mut() {
                *octet ^= 1 << world.rng.u32(0..8);
            }
        }
        8 => {
            let n = world.rng.usize(0..t.parms.len());
            t.parms[n] ^= 1 << world.rng.u32(0..8);
        }
        _ => {
            let n = world.one_of(&[1, 16, 32, 64]);
            let octets = world.octets(n);
            t.unique = Bytes::new().sized(&octets).0[0].clone();
        }
    }
}

/// TPM2B_SENSITIVE_CREATE.
fn sensitive(auth: &[u8], data: &[u8]) -> Bytes {
    let inner = Bytes::new().sized(auth).sized(data);
    Bytes::new().each_sized(&inner.0)
}

pub(crate) fn object(t: &Template, auth: &[u8], hierarchy: u32) -> Object {
    let mut entity = Entity::each([0, 0]);
    entity.auth = auth.to_vec();
    entity.policy = t.policy;
    entity.policy_only = t.policy.is_some() && t.attributes & a::USER == 0;
    Object {
        entity,
        public: both(vec![]),
        kind: t.kind,
        attributes: t.attributes,
        hierarchy,
        sequence: None,
        private: true,
        creation: None,
        // With a secret from the caller the key is the same on both sides.
        common: t.data > 0 && t.attributes & a::ORIGIN == 0,
        of: None,
    }
}

/// outsideInfo and creationPCR.
fn creation(world: &mut World) -> Vec<u8> {
    if world.subject == Subject::Lattices {
        return vec![0; 6];
    }
    let n = world.one_of(&[0, 0, 0, 20]);
    let info = world.octets(n);
    let pcr = if world.once_in(4) { super::selection(world) } else { vec![0; 4] };
    Bytes::new().sized(&info).raw(&pcr).0[0].clone()
}

/// The object is loaded now.
pub(crate) fn loaded(world: &mut World, mut object: Object, handle: Two<u32>, name: Two<Vec<u8>>) {
    object.entity.handle = handle;
    object.entity.name = name;
    world.objects.retain(|o| o.entity.handle != handle);
    world.objects.push(object);
}

pub(crate) fn create_primary(world: &mut World) {
    let parent = !world.once_in(3);
    let t = template(world, parent);
    create_primary_of(world, &t);
}

pub(super) fn create_primary_of(world: &mut World, t: &Template) {
    let (auth, hierarchy) = (world.auth_value(), world.hierarchy());
    let data = world.octets(t.data);
    let creation = creation(world);
    let public = t.bytes(world);
    let params = Bytes::new().each(&sensitive(&auth, &data).0).each_sized(&public.0).raw(&creation);
    let Some(mut reply) = world.send(Command::new(cc::CREATE_PRIMARY).auth(&hierarchy).params(params)) else { return };
    let mut object = object(t, &auth, hierarchy.handle[0]);
    object.is_made(reply.sized());
    let _creation_data = reply.sized();
    let hash = reply.sized();
    let ticket = ticket(&mut reply);
    let name = reply.sized();
    object.creation = Some((hash, ticket));
    loaded(world, object, reply.handle, name);
}

/// A ticket: tag, hierarchy, digest.
pub(crate) fn ticket(reply: &mut Reply) -> Two<Vec<u8>> {
    let head = reply.octets(6);
    let digest = reply.sized();
    Bytes::new().each(&head).each_sized(&digest).0
}

/// A loaded parent that is not a derivation parent, if there is one.
pub(crate) fn parent(world: &mut World) -> Option<Object> {
    world.object(|o| o.is_parent() && o.kind != KEYED_HASH)
}

pub(crate) fn create(world: &mut World) {
    let Some(parent) = parent(world) else { return create_primary(world) };
    let is_parent = world.once_in(4);
    let mut t = template(world, is_parent);
    if !parent.has(a::FIXED_TPM) && !world.once_in(10) {
        t.attributes &= !a::FIXED_TPM;
    }
    create_of(world, &parent, &t);
}

pub(super) fn create_of(world: &mut World, parent: &Object, t: &Template) {
    let auth = world.auth_value();
    let data = world.octets(t.data);
    let creation = creation(world);
    let public = t.bytes(world);
    let params = Bytes::new().each(&sensitive(&auth, &data).0).each_sized(&public.0).raw(&creation);
    let Some(mut reply) = world.send(Command::new(cc::CREATE).auth(&parent.entity).params(params)) else { return };
    let mut object = object(t, &auth, parent.hierarchy);
    let private = reply.sized();
    object.is_made(reply.sized());
    let _creation_data = reply.sized();
    let hash = reply.sized();
    object.creation = Some((hash, ticket(&mut reply)));
    keep(world, Blob { private, parent: parent.entity.name.clone(), object });
}

pub(crate) fn keep(world: &mut World, blob: Blob) {
    if world.blobs.len() >= 10 {
        let n = world.rng.usize(0..world.blobs.len());
        world.blobs.remove(n);
    }
    world.blobs.push(blob);
}

pub(crate) fn load(world: &mut World) {
    if world.blobs.is_empty() {
        return create(world);
    }
    let blobs = world.blobs.clone();
    let any = world.once_in(20);
    let fits: Vec<Blob> =
        blobs.into_iter().filter(|b| any || world.objects.iter().any(|o| o.entity.name == b.parent)).collect();
    if fits.is_empty() {
        return create(world);
    }
    let blob = world.one_of(&fits);
    let Some(parent) = world.objects.iter().find(|o| o.entity.name == blob.parent).cloned().or_else(|| parent(world))
    else {
        return;
    };
    let params = Bytes::new().each_sized(&blob.private).each_sized(&blob.object.public);
    let Some(mut reply) = world.send(Command::new(cc::LOAD).auth(&parent.entity).params(params)) else { return };
    let name = reply.sized();
    let mut object = blob.object;
    object.hierarchy = parent.hierarchy;
    loaded(world, object, reply.handle, name);
}

pub(crate) fn create_loaded(world: &mut World) {
    let parent = world.object(Object::is_parent);
    let (parent, hierarchy, derived) = match parent {
        Some(parent) if !world.once_in(3) => {
            let derived = parent.kind == KEYED_HASH;
            (parent.entity, parent.hierarchy, derived)
        }
        _ => {
            let hierarchy = world.hierarchy();
            let handle = hierarchy.handle[0];
            (hierarchy, handle, false)
        }
    };
    let is_parent = world.once_in(4);
    let mut t = template(world, is_parent);
    if derived && !world.once_in(5) {
        t.attributes &= !(a::ORIGIN | a::FIXED_TPM);
        t.attributes |= a::FIXED_PARENT;
        t.data = 0;
    }
    let auth = world.auth_value();
    let data = world.octets(t.data);
    if derived && !world.once_in(5) {
        let label = world.octets(8);
        t.unique = Bytes::new().sized(&label).sized(b"context").0[0].clone();
    }
    let public = t.bytes(world);
    let params = Bytes::new().each(&sensitive(&auth, &data).0).each_sized(&public.0);
    let Some(mut reply) = world.send(Command::new(cc::CREATE_LOADED).auth(&parent).params(params)) else { return };
    let mut object = object(&t, &auth, hierarchy);
    let _private = reply.sized();
    object.is_made(reply.sized());
    object.common &= !derived;
    let name = reply.sized();
    loaded(world, object, reply.handle, name);
}

/// A modulus of RSA-2048: any odd number of that size does for a public key.
const MODULUS: [u8; 256] = {
    let mut n = [0xc5; 256];
    n[255] = 0x1b;
    n
};
/// The generator of P-256, as a public key.
const P256: [&[u8]; 2] = [
    &[
        0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03,
        0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
    ],
    &[
        0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
        0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
    ],
];

/// TPM2_LoadExternal of a public key, or of a symmetric one with its sensitive area: the same key on both sides.
pub(crate) fn load_external(world: &mut World) {
    let auth = world.auth_value();
    let mut t = template(world, false);
    t.attributes &= !(a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN | a::ENCRYPTED_DUPLICATION);
    let mut hierarchy = rh::NULL;
    let mut private = Vec::new();
    let sort = world.rng.u8(0..10);
    if sort < 2 {
        let sort = if world.ecc { sort } else { 0 };
        t.kind = if sort == 0 { RSA } else { ECC };
        let signs = world.rng.bool();
        t.attributes =
            t.attributes & !(a::RESTRICTED | a::DECRYPT | a::SIGN) | if signs { a::SIGN } else { a::DECRYPT };
        if sort == 0 {
            let scheme = if signs {
                [0, 0x14, 0, 0xb].to_vec()
            } else {
                world.one_of(&[vec![0, 0x15], vec![0, 0x17, 0, 0xb], NULL.to_vec()])
            };
            t.parms = [&NULL[..], &scheme, &[8, 0, 0, 0, 0, 0]].concat();
            t.unique = Bytes::new().sized(&MODULUS).0[0].clone();
        } else {
            let scheme: &[u8] = if signs { &[0, 0x18, 0, 0xb] } else { &NULL };
            t.parms = [&NULL[..], scheme, &[0, 3], &NULL].concat();
            t.unique = Bytes::new().sized(P256[0]).sized(P256[1]).0[0].clone();
        }
        hierarchy = world.one_of(&[rh::OWNER, rh::ENDORSEMENT, rh::PLATFORM, rh::NULL, rh::LOCKOUT]);
    } else if t.kind == KEYED_HASH || t.kind == SYM_CIPHER {
        let hash = Alg::ALL.into_iter().find(|alg| alg.id() == t.name_alg).unwrap_or(Alg::Sha256);
        let bits =
            if t.kind == SYM_CIPHER && t.parms.len() >= 4 { u16::from_be_bytes([t.parms[2], t.parms[3]]) } else { 128 };
        let key = world.octets(usize::from(bits / 8).min(64));
        let seed_size = if world.once_in(15) { 16 } else { hash.size() };
        let seed = world.octets(seed_size);
        let unique = if world.once_in(25) { world.octets(hash.size()) } else { hash.hash(&[&seed, &key]) };
        t.unique = Bytes::new().sized(&unique).0[0].clone();
        if !world.once_in(12) {
            private = sensitive_of(t.kind, &auth, &seed, &key);
        }
        if world.once_in(20) {
            hierarchy = rh::OWNER;
        }
    }
    if world.once_in(15) {
        spoil(world, &mut t);
    }
    let public = t.bytes(world);
    let params = Bytes::new().sized(&private).each_sized(&public.0).u32(hierarchy);
    let Some(mut reply) = world.send(Command::new(cc::LOAD_EXTERNAL).params(params).equal_if(public.is_common()))
    else {
        return;
    };
    let mut object = object(&t, &auth, hierarchy);
    object.private = !private.is_empty();
    object.entity.public_only = private.is_empty();
    object.common = true;
    object.public = public.0;
    let name = reply.sized();
    loaded(world, object, reply.handle, name);
}

/// TPMT_SENSITIVE.
pub(crate) fn sensitive_of(kind: u16, auth: &[u8], seed: &[u8], key: &[u8]) -> Vec<u8> {
    let [sensitive, _] = Bytes::new().u16(kind).sized(auth).sized(seed).sized(key).0;
    sensitive
}

/// The public area of the known RSA key, loaded to encrypt with OAEP.
pub(crate) fn external_rsa(world: &mut World, alg: Alg, modulus: &[u8]) -> Option<Object> {
    let [unique, _] = Bytes::new().sized(modulus).0;
    let parms = [&NULL[..], &NULL, &[8, 0, 0, 0, 0, 0]].concat();
    let attributes = a::DECRYPT | a::USER;
    let t = Template { kind: RSA, name_alg: alg.id(), attributes, policy: None, parms, unique, data: 0 };
    let public = t.bytes(world);
    let is_it = |o: &&Object| o.kind == RSA && !o.private && o.public == public.0;
    if let Some(known) = world.objects.iter().find(is_it) {
        return Some(known.clone());
    }
    let params = Bytes::new().sized(&[]).each_sized(&public.0).u32(rh::OWNER);
    let mut reply = world.send(Command::new(cc::LOAD_EXTERNAL).params(params).equal().plain())?;
    let mut known = object(&t, &[], rh::OWNER);
    (known.private, known.entity.public_only, known.common) = (false, true, true);
    known.public = public.0;
    let name = reply.sized();
    let handle = reply.handle;
    loaded(world, known, handle, name);
    world.objects.iter().find(|o| o.entity.handle == handle).cloned()
}

/// The x coordinate of an ECC key.
pub(crate) fn ecc_x(public: &[u8]) -> Vec<u8> {
    let Some(end) = public.len().checked_sub(68) else { return vec![] };
    public[end + 2..end + 34].to_vec()
}

pub(crate) fn read_public(world: &mut World) {
    if let Some(object) = world.object(|o| o.sequence.is_none()) {
        // An empty Name does not tell whether an authPolicy is one of each side's own.
        let [ours, theirs] = &object.entity.name;
        let equal = object.common && ours == theirs && !ours.is_empty();
        let Some(mut reply) = world.send(Command::new(cc::READ_PUBLIC).handle(&object.entity)) else { return };
        let (public, name) = (reply.sized(), reply.sized());
        if equal && name == object.entity.name && !world.stop {
            world.same("ReadPublic: public areas differ", &public);
        }
    }
}

pub(crate) fn change_auth(world: &mut World) {
    let Some(object) = world.object(|o| o.sequence.is_none() && o.private) else { return };
    let parents: Vec<Object> = world
        .blobs
        .iter()
        .filter(|b| b.object.public == object.public)
        .filter_map(|b| world.objects.iter().find(|o| o.entity.name == b.parent).cloned())
        .collect();
    let Some(parent) = (if parents.is_empty() { parent(world) } else { Some(world.one_of(&parents)) }) else { return };
    let auth = world.auth_value();
    let params = Bytes::new().sized(&auth);
    let command = Command::new(cc::OBJECT_CHANGE_AUTH).auth(&object.entity).handle(&parent.entity).params(params);
    let Some(mut reply) = world.send(command) else { return };
    let private = reply.sized();
    let mut changed = object.clone();
    changed.entity.auth = auth;
    keep(world, Blob { private, parent: parent.entity.name, object: changed });
}

pub(crate) fn unseal(world: &mut World) {
    let sealed =
        |o: &Object| o.kind == KEYED_HASH && o.attributes & (a::SIGN | a::DECRYPT) == 0 && o.sequence.is_none();
    if let Some(object) = world.object(sealed) {
        world.send(Command::new(cc::UNSEAL).auth(&object.entity).equal_if(object.common));
    }
}

pub(crate) fn make_credential(world: &mut World) {
    let Some(key) = world.object(|o| o.has(a::RESTRICTED | a::DECRYPT) && o.kind == ECC) else {
        if let Some(key) = world.object(|o| o.sequence.is_none()) {
            let params = Bytes::new().sized(&[1; 16]).sized(&[0; 34]);
            world.send(Command::new(cc::MAKE_CREDENTIAL).handle(&key.entity).params(params));
        }
        return;
    };
    let Some(object) = world.object(|o| o.sequence.is_none()) else { return };
    let credential = world.octets(16);
    let params = Bytes::new().sized(&credential).each_sized(&object.entity.name);
    let Some(mut reply) = world.send(Command::new(cc::MAKE_CREDENTIAL).handle(&key.entity).params(params)) else {
        return;
    };
    let (blob, secret) = (reply.sized(), reply.sized());
    let params = Bytes::new().each_sized(&blob).each_sized(&secret);
    world.send(Command::new(cc::ACTIVATE_CREDENTIAL).auth(&object.entity).auth(&key.entity).params(params).equal());
}

/// TPM2_Duplicate, most often to nowhere.
pub(crate) fn duplicate(world: &mut World) {
    let Some(object) = world.object(|o| !o.has(a::FIXED_PARENT) && o.sequence.is_none() && o.private) else { return };
    let new_parent = if world.once_in(3) { parent(world).map(|o| o.entity) } else { None };
    let new_parent = new_parent.unwrap_or_else(|| Entity::of(rh::NULL));
    let inner = world.once_in(2);
    let (key, sym): (Vec<u8>, &[u8]) = if inner {
        let key = if world.rng.bool() { world.octets(16) } else { vec![] };
        (key, &AES_128_CFB)
    } else {
        (vec![], &NULL)
    };
    let params = Bytes::new().sized(&key).raw(sym);
    let command = Command::new(cc::DUPLICATE).auth(&object.entity).handle(&new_parent).params(params);
    let Some(mut reply) = world.send(command) else { return };
    let out_key = reply.sized();
    let (private, secret) = (reply.sized(), reply.sized());
    let used = if key.is_empty() { out_key } else { both(key) };
    let Some(target) = parent(world) else { return };
    let import =
        Bytes::new().each_sized(&used).each_sized(&object.public).each_sized(&private).each_sized(&secret).raw(sym);
    let Some(mut reply) = world.send(Command::new(cc::IMPORT).auth(&target.entity).params(import)) else { return };
    let private = reply.sized();
    let mut object = object;
    object.common = false;
    keep(world, Blob { private, parent: target.entity.name, object });
}

/// TPM2_Import of a key in the clear.
pub(crate) fn import(world: &mut World) {
    let Some(target) = parent(world) else { return };
    let auth = world.auth_value();
    let mut t = template(world, false);
    t.attributes &= !(a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN);
    if t.kind != KEYED_HASH && t.kind != SYM_CIPHER {
        return;
    }
    let hash = Alg::ALL.into_iter().find(|alg| alg.id() == t.name_alg).unwrap_or(Alg::Sha256);
    let bits =
        if t.kind == SYM_CIPHER && t.parms.len() >= 4 { u16::from_be_bytes([t.parms[2], t.parms[3]]) } else { 128 };
    let key = world.octets(usize::from(bits / 8).min(64));
    let seed = world.octets(hash.size());
    let unique = if world.once_in(15) { world.octets(hash.size()) } else { hash.hash(&[&seed, &key]) };
    t.unique = Bytes::new().sized(&unique).0[0].clone();
    let sensitive = sensitive_of(t.kind, &auth, &seed, &key);
    let private = Bytes::new().sized(&sensitive).0[0].clone();
    let public = t.bytes(world);
    let params = Bytes::new().sized(&[]).each_sized(&public.0).sized(&private).sized(&[]).raw(&NULL);
    let Some(mut reply) = world.send(Command::new(cc::IMPORT).auth(&target.entity).params(params)) else { return };
    let private = reply.sized();
    let mut object = object(&t, &auth, target.hierarchy);
    object.public = public.0;
    object.common = true;
    keep(world, Blob { private, parent: target.entity.name, object });
}

/// TPM2_Rewrap of what was not wrapped.
pub(crate) fn rewrap(world: &mut World) {
    let (Some(old), Some(new)) = (parent(world), parent(world)) else { return };
    let Some(blob) = world.blobs.first().cloned() else { return };
    let old = if world.rng.bool() { Entity::of(rh::NULL) } else { old.entity };
    let n = world.one_of(&[0, 32]);
    let secret = world.octets(n);
    let params = Bytes::new().each_sized(&blob.private).each_sized(&both(vec![0, 0xb])).sized(&secret);
    world.send(Command::new(cc::REWRAP).auth(&old).handle(&new.entity).params(params));
}

/// A primary ECC key: a storage key, or one that signs.
pub(crate) fn ecc(world: &mut World) {
    if !world.ecc {
        return;
    }
    let fixed = a::FIXED_TPM | a::FIXED_PARENT | a::ORIGIN | a::USER | a::NO_DA;
    let storage = world.rng.bool();
    let (attributes, parms) = if storage {
        (fixed | a::RESTRICTED | a::DECRYPT, [&AES_128_CFB[..], &NULL, &[0, 3], &NULL].concat())
    } else {
        let restricted = if world.rng.bool() { a::RESTRICTED } else { 0 };
        (fixed | a::SIGN | restricted, [&NULL[..], &[0, 0x18, 0, 0xb, 0, 3], &NULL].concat())
    };
    let t = Template { kind: ECC, name_alg: 0xb, attributes, policy: None, parms, unique: vec![0; 4], data: 0 };
    let hierarchy = world.hierarchy();
    let public = t.bytes(world);
    let params = Bytes::new().each(&sensitive(&[], &[]).0).each_sized(&public.0).raw(&[0; 6]);
    let Some(mut reply) = world.send(Command::new(cc::CREATE_PRIMARY).auth(&hierarchy).params(params)) else { return };
    let mut object = object(&t, &[], hierarchy.handle[0]);
    object.public = reply.sized();
    let _creation_data = reply.sized();
    let hash = reply.sized();
    let ticket = ticket(&mut reply);
    let name = reply.sized();
    object.creation = Some((hash, ticket));
    loaded(world, object, reply.handle, name);
}
