//! Asymmetric keys that are the same on both sides, so that what one TPM makes can be given to the other: ciphertexts,
//! signatures, duplicates, credentials.

use super::object::{self, Template, sensitive_of, ticket};
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::{Bytes, Two, both};
use crate::differential::world::{Blob, Entity, Object, World, rh};
use client::attributes::object as a;
use client::command::octets;
use client::hash::Alg;

/// An RSA-2048 key that is for this alone: its modulus,
const MODULUS: &str = "\
    c3958c1a2c625e7c915d7c877e1c386c5645d3ecd111c13f67e5ee00982d4669cb0e67a995fe6b32df718f7038ea2a88547ae20b5f1bf07c\
    fa86b55e80b1aeb9d788722102c19161e48ea804e76d6bd440cc8776d1b538fcf02e8f73dd9255fbbeb58867188f9c084f335b268de6b762\
    986dd71cb5e2d2fd2fe14c670f2994c137cc488488a5bca49e1dc9873c59e743f981f409b11a49026e22c7d6afcaff0457a519bc426473af\
    4426e8c0f5318a0a3133256ef9a2132a214a8375c89645a1aae2c6e14fd2d6eb5e2e7c864d601c888024c7aa2003466bcf06b5f9fc37002d\
    d61544ef6fa3da7b20975de069bf6ae3cdae070a97deaa75e5ea24daf4c74737";
/// and one of its primes.
const PRIME: &str = "\
    ec814e466818cd7c73b3c85985538abec7c65a015d01554cd8697267b3a0007e375e072b11044191be3026ea417e3ba1e5c897e606fc6bed\
    e464e92b9cf985c0f4049f7382c6a611836eed5cd48a9063e25ee9d7b6047ec6953ba386bd83b0b054e802704ed17bdf114e36f1fea7c9d5\
    cf00a47e59c7e9d48126f2d0c161f949";
/// A P-256 key that is for this alone: its scalar,
const SCALAR: &str = "93a50a78209a94b5b424aad3eae12b91fecdc4b7053a5aaf9f73518203e84991";
/// and its point.
const X: &str = "0f575729eebc279323d050600a4c27221917e75e0eb9aee620cdafa6e734bd9f";
/// The same.
const Y: &str = "0037709f226dee35dc59ff97e7cc8130fd744370e038b3853f3c003bb505ea36";

const RSA: u16 = 1;
const ECC: u16 = 0x23;
const NULL: [u8; 2] = [0, 0x10];
const AES_128_CFB: [u8; 6] = [0, 6, 0, 128, 0, 0x43];

/// unique and the private value of the known key.
fn material(kind: u16) -> (Vec<u8>, Vec<u8>) {
    let unique = if kind == RSA {
        Bytes::new().sized(&octets(MODULUS))
    } else {
        Bytes::new().sized(&octets(X)).sized(&octets(Y))
    };
    let [unique, _] = unique.0;
    (unique, octets(if kind == RSA { PRIME } else { SCALAR }))
}

/// The known key that this sequence may use: each costs more than all else.
fn kind(world: &World) -> Option<u16> {
    if world.ecc {
        Some(ECC)
    } else if world.rsa {
        Some(RSA)
    } else {
        None
    }
}

fn template(world: &mut World, kind: u16, attributes: u32, parms: Vec<u8>) -> Template {
    Template {
        kind,
        name_alg: world.one_of(&[0xb, 0xb, 0xb, 0xc, 4]),
        attributes,
        policy: None,
        parms,
        unique: material(kind).0,
        data: 0,
    }
}

/// parms of an unrestricted key that signs, or decrypts.
fn unrestricted(world: &mut World, kind: u16, signs: bool) -> Vec<u8> {
    let ecdaa = vec![0, 0x1a, 0, 0xb, 0, 0];
    let scheme: Vec<u8> = match (kind, signs) {
        (RSA, true) => {
            world.one_of(&[vec![0, 0x14, 0, 0xb], vec![0, 0x14, 0, 0xb], vec![0, 0x16, 0, 0xb], NULL.to_vec()])
        }
        (RSA, false) => world.one_of(&[NULL.to_vec(), NULL.to_vec(), vec![0, 0x17, 0, 0xb], vec![0, 0x15]]),
        (_, true) => {
            world.one_of(&[vec![0, 0x18, 0, 0xb], vec![0, 0x18, 0, 0xb], ecdaa, vec![0, 0x1c, 0, 0xb], NULL.to_vec()])
        }
        (_, false) => world.one_of(&[NULL.to_vec(), NULL.to_vec(), NULL.to_vec(), vec![0, 0x19, 0, 0xb]]),
    };
    let end: &[u8] = if kind == RSA { &[8, 0, 0, 0, 0, 0] } else { &[0, 3, 0, 0x10] };
    [&NULL[..], &scheme, end].concat()
}

/// TPM2_LoadExternal of both areas.
pub(crate) fn external(world: &mut World) {
    let Some(kind) = kind(world) else { return };
    let signs = world.rng.bool();
    let both_uses = world.once_in(6);
    let parms = if both_uses {
        let end: &[u8] = if kind == RSA { &[8, 0, 0, 0, 0, 0] } else { &[0, 3, 0, 0x10] };
        [&NULL[..], &NULL, end].concat()
    } else {
        unrestricted(world, kind, signs)
    };
    let uses = if both_uses {
        a::SIGN | a::DECRYPT
    } else if signs {
        a::SIGN
    } else {
        a::DECRYPT
    };
    let x509 = if uses & a::SIGN != 0 && world.rng.bool() { a::X509_SIGN } else { 0 };
    let no_da = if world.rng.bool() { a::NO_DA } else { 0 };
    let t = template(world, kind, uses | x509 | a::USER | no_da, parms);
    let auth = world.auth_value();
    let sensitive = sensitive_of(kind, &auth, &[], &material(kind).1);
    let public = t.bytes(world);
    let params = Bytes::new().sized(&sensitive).each_sized(&public.0).u32(rh::NULL);
    let Some(mut reply) = world.send(Command::new(cc::LOAD_EXTERNAL).params(params).equal()) else { return };
    let mut known = object::object(&t, &auth, rh::NULL);
    known.common = true;
    known.public = public.0;
    let name = reply.sized();
    object::loaded(world, known, reply.handle, name);
}

/// A storage key that both have: TPM2_Import in the clear, TPM2_Load.
pub(crate) fn parent(world: &mut World) {
    let Some(kind) = kind(world) else { return };
    let Some(target) = object::parent(world) else { return object::create_primary(world) };
    let end: &[u8] = if kind == RSA { &[0, 0x10, 8, 0, 0, 0, 0, 0] } else { &[0, 0x10, 0, 3, 0, 0x10] };
    let parms = [&AES_128_CFB[..], end].concat();
    let attributes = a::RESTRICTED | a::DECRYPT | a::USER | if world.rng.bool() { a::NO_DA } else { 0 };
    let mut t = template(world, kind, attributes, parms);
    t.name_alg = world.one_of(&[0xb, 0xb, 0xb, 0xc]);
    let auth = world.auth_value();
    let seed = world.octets(if t.name_alg == 0xc { 48 } else { 32 });
    import_clear(world, &target, &t, &auth, &seed, &material(kind).1);
}

/// A key or data that both have and that can be duplicated, by the policy that every sequence begins with.
pub(crate) fn duplicable(world: &mut World) {
    let Some(target) = object::parent(world) else { return object::create_primary(world) };
    let (parms, size) = world.one_of(&[(vec![0, 5, 0, 0xb], 32), (NULL.to_vec(), 16)]);
    let key = world.octets(size);
    let seed = world.octets(32);
    let signs = if parms.len() > 2 { a::SIGN } else { 0 };
    let encrypted = if world.once_in(4) { a::ENCRYPTED_DUPLICATION } else { 0 };
    let unique = Alg::Sha256.hash(&[&seed, &key]);
    let [unique, _] = Bytes::new().sized(&unique).0;
    let attributes = a::USER | signs | encrypted | if world.rng.bool() { a::NO_DA } else { 0 };
    let t = Template { kind: 8, name_alg: 0xb, attributes, policy: Some(object::DUPLICATION), parms, unique, data: 0 };
    let auth = world.auth_value();
    import_clear(world, &target, &t, &auth, &seed, &key);
}

/// TPM2_Import in the clear under a parent, and TPM2_Load.
fn import_clear(world: &mut World, target: &Object, t: &Template, auth: &[u8], seed: &[u8], key: &[u8]) {
    let sensitive = sensitive_of(t.kind, auth, seed, key);
    let [private, _] = Bytes::new().sized(&sensitive).0;
    let public = t.bytes(world);
    let params = Bytes::new().sized(&[]).each_sized(&public.0).sized(&private).sized(&[]).raw(&NULL);
    let Some(mut reply) = world.send(Command::new(cc::IMPORT).auth(&target.entity).params(params)) else { return };
    let private = reply.sized();
    let mut known = object::object(t, auth, target.hierarchy);
    known.entity.policy_only = false;
    known.common = true;
    known.public = public.0;
    load(world, Blob { private, parent: target.entity.name.clone(), object: known }, target);
}

fn load(world: &mut World, blob: Blob, parent: &Object) {
    let params = Bytes::new().each_sized(&blob.private).each_sized(&blob.object.public);
    object::keep(world, blob.clone());
    let Some(mut reply) = world.send(Command::new(cc::LOAD).auth(&parent.entity).params(params)) else { return };
    let name = reply.sized();
    let mut object = blob.object;
    object.hierarchy = parent.hierarchy;
    object::loaded(world, object, reply.handle, name);
}

/// Values that one TPM made are given to both, if they mean the same to both; now and then each gets its own.
pub(super) fn exchanged<const N: usize>(
    world: &mut World,
    common: bool,
    values: [Two<Vec<u8>>; N],
) -> [Two<Vec<u8>>; N] {
    match world.rng.u8(0..3) {
        side @ 0..2 if common => values.map(|two| both(two[usize::from(side)].clone())),
        _ => values,
    }
}

/// Whether the object is the same on both sides, with its name.
pub(super) fn is_same(object: &Object) -> bool {
    object.common && object.entity.name[0] == object.entity.name[1]
}

/// TPM2_RSA_Encrypt and TPM2_RSA_Decrypt of what came of it.
pub(crate) fn rsa(world: &mut World) {
    let Some(key) = world.object(|o| o.kind == RSA && o.private && o.has(a::DECRYPT) && !o.has(a::RESTRICTED)) else {
        return external(world);
    };
    let own = own_scheme(&key);
    let choices = [NULL.to_vec(), vec![0, 0x15], vec![0, 0x17, 0, 0xb], vec![0, 0x17, 0, 4]];
    let scheme = if own == NULL { world.one_of(&choices) } else { NULL.to_vec() };
    let raw = own == NULL && scheme == NULL;
    let n = if raw { 256 } else { world.one_of(&[0, 1, 32, 190, 214, 245]) };
    let mut message = world.octets(n);
    if raw {
        message[0] = 0;
    }
    let label: Vec<u8> = if world.once_in(3) && !raw { b"label\0".to_vec() } else { vec![] };
    let params = Bytes::new().sized(&message).raw(&scheme).sized(&label);
    let Some(mut reply) = world.send(Command::new(cc::RSA_ENCRYPT).handle(&key.entity).params(params)) else { return };
    let sent = [reply.sized()];
    let [sent] = exchanged(world, is_same(&key), sent);
    let params = Bytes::new().each_sized(&sent).raw(&scheme).sized(&label);
    world.send(Command::new(cc::RSA_DECRYPT).auth(&key.entity).params(params).equal());
}

/// The scheme in an RSA or ECC key without symmetric algorithm.
pub(super) fn own_scheme(key: &Object) -> Vec<u8> {
    let [public, _] = &key.public;
    let policy = public.get(8..10).map_or(0, |size| usize::from(u16::from_be_bytes([size[0], size[1]])));
    let at = 10 + policy + 2;
    let Some(scheme) = public.get(at..at + 2) else { return NULL.to_vec() };
    let more = if matches!(scheme, [0, 0x10 | 0x15]) { 2 } else { 4 };
    public.get(at..at + more).unwrap_or(&NULL).to_vec()
}

/// TPM2_MakeCredential with a storage key that both have, and TPM2_ActivateCredential.
pub(crate) fn credential(world: &mut World) {
    let asymmetric = |o: &Object| o.is_parent() && matches!(o.kind, RSA | ECC);
    let Some(key) = world.object(asymmetric) else { return parent(world) };
    let Some(object) = world.object(|o| o.private && o.sequence.is_none()) else { return };
    let n = world.one_of(&[0, 16, 16, 32, 33]);
    let credential = world.octets(n);
    let params = Bytes::new().sized(&credential).each_sized(&object.entity.name);
    let Some(mut reply) = world.send(Command::new(cc::MAKE_CREDENTIAL).handle(&key.entity).params(params)) else {
        return;
    };
    let made = [reply.sized(), reply.sized()];
    let common = is_same(&key) && object.entity.name[0] == object.entity.name[1];
    let [blob, secret] = exchanged(world, common, made);
    let params = Bytes::new().each_sized(&blob).each_sized(&secret);
    world.send(Command::new(cc::ACTIVATE_CREDENTIAL).auth(&object.entity).auth(&key.entity).params(params).equal());
}

/// TPM2_Duplicate to a new parent that both have, perhaps TPM2_Rewrap to another, TPM2_Import and TPM2_Load.
pub(crate) fn duplicate(world: &mut World) {
    let Some(object) = world.object(|o| {
        o.entity.policy == Some(object::DUPLICATION) && !o.has(a::FIXED_PARENT) && o.private && o.sequence.is_none()
    }) else {
        return duplicable(world);
    };
    let asymmetric = |o: &Object| o.is_parent() && matches!(o.kind, RSA | ECC);
    let Some(new_parent) = world.object(asymmetric) else { return parent(world) };
    let inner = object.has(a::ENCRYPTED_DUPLICATION) || world.once_in(3);
    let (key, sym): (Vec<u8>, &[u8]) = match inner {
        true if world.rng.bool() => (world.octets(16), &AES_128_CFB),
        true => (vec![], &AES_128_CFB),
        false => (vec![], &NULL),
    };
    let params = Bytes::new().sized(&key).raw(sym);
    let only = Entity { policy_only: true, ..object.entity.clone() };
    let command = Command::new(cc::DUPLICATE).auth(&only).handle(&new_parent.entity).params(params);
    let Some(mut reply) = world.send(command) else { return };
    let out_key = reply.sized();
    let used = if key.is_empty() { out_key } else { both(key) };
    let made = [used, reply.sized(), reply.sized()];
    let [used, private, secret] = exchanged(world, is_same(&object) && is_same(&new_parent), made);
    if !inner && world.once_in(2) {
        rewrap(world, &object, &new_parent, &private, &secret);
    }
    let import =
        Bytes::new().each_sized(&used).each_sized(&object.public).each_sized(&private).each_sized(&secret).raw(sym);
    let Some(mut reply) = world.send(Command::new(cc::IMPORT).auth(&new_parent.entity).params(import)) else { return };
    let private = reply.sized();
    load(world, Blob { private, parent: new_parent.entity.name.clone(), object }, &new_parent);
}

/// TPM2_Rewrap of a duplicate from one storage key to itself or another, or to none.
fn rewrap(world: &mut World, object: &Object, old: &Object, private: &Two<Vec<u8>>, secret: &Two<Vec<u8>>) {
    let new = world.object(|o| o.is_parent() && matches!(o.kind, RSA | ECC)).map(|o| o.entity);
    let new = if world.once_in(4) { None } else { new }.unwrap_or_else(|| Entity::of(rh::NULL));
    let params = Bytes::new().each_sized(private).each_sized(&object.entity.name).each_sized(secret);
    world.send(Command::new(cc::REWRAP).auth(&old.entity).handle(&new).params(params));
}

/// TPM2_Commit and an ECDAA signature, or TPM2_EC_Ephemeral and TPM2_ZGen_2Phase.
pub(crate) fn two_phases(world: &mut World) {
    if !world.ecc {
        return;
    }
    if world.rng.bool() {
        ecdaa(world);
    } else {
        z_gen(world);
    }
}

fn ecdaa(world: &mut World) {
    let Some(key) = world
        .object(|o| o.kind == ECC && o.private && o.has(a::SIGN) && matches!(own_scheme(o)[..], [0, 0x1a | 0x10, ..]))
    else {
        return external(world);
    };
    let params = match world.rng.u8(0..4) {
        0 => Bytes::new().sized(&point(X, Y)).sized(&[]).sized(&[]),
        1 => Bytes::new().sized(&point(X, Y)).sized(&[7; 20]).sized(&octets(Y)),
        _ => Bytes::new().sized(&[]).sized(&[]).sized(&[]),
    };
    let Some(mut reply) = world.send(Command::new(cc::COMMIT).auth(&key.entity).params(params)) else { return };
    let _points = [reply.sized(), reply.sized(), reply.sized()];
    let counter = reply.octets(2);
    let digest = world.octets(32);
    let head = Bytes::new().sized(&digest).raw(&[0, 0x1a, 0, 0xb]).each(&counter);
    let params = head.raw(&[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]);
    world.send(Command::new(cc::SIGN).auth(&key.entity).params(params));
}

/// TPMS_ECC_POINT
fn point(x: &str, y: &str) -> Vec<u8> {
    let [point, _] = Bytes::new().sized(&octets(x)).sized(&octets(y)).0;
    point
}

fn z_gen(world: &mut World) {
    let Some(key) = world.object(|o| o.kind == ECC && o.private && o.has(a::DECRYPT) && !o.has(a::RESTRICTED)) else {
        return external(world);
    };
    let Some(mut reply) = world.send(Command::new(cc::EC_EPHEMERAL).params(Bytes::new().u16(3))) else { return };
    let theirs = reply.sized();
    let counter = reply.octets(2);
    let scheme: u16 = match own_scheme(&key)[..] {
        [0, 0x19, ..] => 0x19,
        // Not ECMQV, with which libtpms goes into failure mode.
        _ => world.one_of(&[0x19, 0x19, 0x19, 0x1b]),
    };
    let known = Bytes::new().sized(&point(X, Y));
    let params = known.each_sized(&theirs).u16(scheme).each(&counter);
    world.send(Command::new(cc::ZGEN_2_PHASE).auth(&key.entity).params(params));
}

/// TPM2_ECDH_KeyGen and TPM2_ECDH_ZGen of its point, which may be the other side's.
pub(crate) fn ecdh(world: &mut World) {
    let Some(key) = world.object(|o| o.kind == ECC && o.private && o.has(a::DECRYPT) && !o.has(a::RESTRICTED)) else {
        return if world.ecc {
            external(world)
        };
    };
    let Some(mut reply) = world.send(Command::new(cc::ECDH_KEY_GEN).handle(&key.entity)) else { return };
    let (z, point) = (reply.sized(), reply.sized());
    let [point, z] = exchanged(world, is_same(&key), [point, z]);
    let command = Command::new(cc::ECDH_ZGEN).auth(&key.entity).params(Bytes::new().each_sized(&point));
    let same = point[0] == point[1];
    let Some(mut reply) = world.send(command.equal_if(same)) else { return };
    let out = reply.sized();
    if same && !world.stop {
        world.same("ECDH_ZGen: not the point of ECDH_KeyGen", &[out[0].clone(), z[0].clone()]);
    }
}

/// The key, what is encrypted to it, and that in the clear.
pub(crate) type Salt = (Entity, Two<Vec<u8>>, Two<Vec<u8>>);

/// The salt of a session: its secret as it is encrypted to a key, and in the clear.
pub(crate) fn salt(world: &mut World) -> Option<Salt> {
    let fits = |o: &Object| {
        matches!(o.kind, RSA | ECC)
            && o.private
            && o.has(a::DECRYPT)
            && (o.is_parent() || matches!(own_scheme(o)[..], [0, 0x10] | [0, 0x17, 0, 0xb]))
    };
    let key = world.object(fits)?;
    let [public, _] = &key.public;
    let alg = Alg::ALL.into_iter().find(|alg| public.get(2..4) == Some(&alg.id().to_be_bytes()))?;
    if key.kind == RSA {
        // What a caller does outside, a public key that both have does here.
        let public = object::external_rsa(world, alg, &octets(MODULUS))?;
        let salt = world.octets(alg.size());
        let scheme = [&[0, 0x17][..], &alg.id().to_be_bytes()].concat();
        let params = Bytes::new().sized(&salt).raw(&scheme).sized(b"SECRET\0");
        let reply = world.send(Command::new(cc::RSA_ENCRYPT).handle(&public.entity).params(params).plain());
        let mut reply = reply?;
        let [secret] = [reply.sized()];
        let [secret] = exchanged(world, true, [secret]);
        return Some((key.entity, secret, both(salt)));
    }
    let mut reply = world.send(Command::new(cc::ECDH_KEY_GEN).handle(&key.entity).plain())?;
    let (z, point) = (reply.sized(), reply.sized());
    let [z, point] = exchanged(world, is_same(&key), [z, point]);
    let x = |point: &[u8]| point.get(2..34).unwrap_or_default().to_vec();
    let own: Vec<u8> = x(&Bytes::new().sized(&octets(X)).0[0]);
    let salt = [0, 1].map(|side| {
        let party = if is_same(&key) { own.clone() } else { object::ecc_x(&key.public[side]) };
        alg.kdfe(&x(&z[side]), b"SECRET", &x(&point[side]), &party)
    });
    Some((key.entity, point, salt))
}

/// TPM2_CertifyX509 of a key by itself: libtpms 0.9.2 has the two handles swapped.
pub(crate) fn certify_x509(world: &mut World) {
    let Some(key) = world
        .object(|o| matches!(o.kind, RSA | ECC) && o.private && o.has(a::SIGN | a::X509_SIGN) && o.sequence.is_none())
    else {
        return external(world);
    };
    let usage = [&[0x30, 0x0e, 6, 3, 0x55, 0x1d, 0x0f, 1, 1, 0xff, 4, 4, 3, 2, 0][..], &[0x80]].concat();
    let validity = b"\x30\x1e\x17\x0d261126220000Z\x17\x0d361126220000Z";
    let extensions = [&[0xa3, 0x12, 0x30, 0x10][..], &usage].concat();
    let body = [&[0x30, 0][..], validity, &[0x30, 0], &extensions].concat();
    let partial = [&[0x30, u8::try_from(body.len()).expect("short")][..], &body].concat();
    let scheme: &[u8] = if own_scheme(&key) != NULL {
        &NULL
    } else if key.kind == RSA {
        &[0, 0x14, 0, 0xb]
    } else {
        &[0, 0x18, 0, 0xb]
    };
    let params = Bytes::new().sized(&[]).raw(scheme).sized(&partial);
    world.send(Command::new(cc::CERTIFY_X509).auth(&key.entity).auth(&key.entity).params(params));
}

/// A digest signed by a key with the usual scheme of its type; TPMT_SIGNATURE.
pub(crate) fn signature(world: &mut World, key: &Object, digest: &Two<Vec<u8>>) -> Option<Two<Vec<u8>>> {
    let scheme: &[u8] = match key.kind {
        RSA => &[0, 0x14, 0, 0xb],
        ECC => &[0, 0x18, 0, 0xb],
        _ => &[0, 5, 0, 0xb],
    };
    let params = Bytes::new().each_sized(digest).raw(scheme).raw(&[0x80, 0x24, 0x40, 0, 0, 7, 0, 0]);
    let mut reply = world.send(Command::new(cc::SIGN).auth(&key.entity).params(params))?;
    let made = [reply.rest()];
    let [signature] = exchanged(world, is_same(key) && digest[0] == digest[1], made);
    Some(signature)
}

/// TPM2_VerifySignature: the ticket.
pub(crate) fn verified(
    world: &mut World,
    key: &Object,
    digest: &Two<Vec<u8>>,
    signature: &Two<Vec<u8>>,
) -> Option<Two<Vec<u8>>> {
    let params = Bytes::new().each_sized(digest).each(signature);
    let mut reply = world.send(Command::new(cc::VERIFY_SIGNATURE).handle(&key.entity).params(params))?;
    Some(ticket(&mut reply))
}
