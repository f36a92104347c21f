//! Use of keys, digests and random numbers.

use super::object::ticket;
use crate::differential::cc;
use crate::differential::command::Command;
use crate::differential::wire::{Bytes, both};
use crate::differential::world::{Object, Signature, World, rh};
use client::attributes::object as a;
use client::hash::Alg;

const NULL: [u8; 2] = [0, 0x10];
/// TPMT_TK_HASHCHECK that says nothing.
const NO_TICKET: [u8; 8] = [0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

/// A key that signs: cheap ones more often.
fn signing_key(world: &mut World) -> Option<Object> {
    let ecc = world.once_in(6);
    world.object(|o| o.has(a::SIGN) && o.private && o.kind != 0x25 && o.sequence.is_none() && (ecc || o.kind == 8))
}

/// TPMT_SIG_SCHEME that a key of this type takes.
pub(crate) fn scheme(world: &mut World, kind: u16) -> Vec<u8> {
    match (kind, world.rng.u8(0..8)) {
        (_, 0..3) => NULL.to_vec(),
        (8, 3..7) => vec![0, 5, 0, 0x0b],
        (0x23, 3..7) => vec![0, 0x18, 0, 0x0b],
        (1, 3..7) => vec![0, 0x14, 0, 0x0b],
        _ => {
            let alg = world.one_of(&[5u16, 0x14, 0x16, 0x18, 0x1a, 0x1c, 0x15]);
            let hash = world.one_of(&[4u16, 0xb, 0xc, 0xd, 0x10]);
            let mut out = [alg.to_be_bytes(), hash.to_be_bytes()].concat();
            if alg == 0x1a {
                out.extend([0, 1]);
            }
            out
        }
    }
}

pub(crate) fn sign(world: &mut World) {
    let Some(key) = signing_key(world) else { return };
    let scheme = scheme(world, key.kind);
    let (digest, ticket) = if key.has(a::RESTRICTED) && !world.hashed.is_empty() {
        let hashed = world.hashed.clone();
        let (_, digest, ticket) = world.one_of(&hashed);
        (digest, Bytes::new().each(&ticket))
    } else {
        let n = if world.once_in(8) { world.rng.usize(0..65) } else { 32 };
        (world.octets(n), Bytes::new().raw(&NO_TICKET))
    };
    let params = Bytes::new().sized(&digest).raw(&scheme).each(&ticket.0);
    let equal = key.common && key.kind == 8;
    let Some(mut reply) = world.send(Command::new(cc::SIGN).auth(&key.entity).params(params).equal_if(equal)) else {
        return;
    };
    if world.signatures.len() >= 6 {
        world.signatures.remove(0);
    }
    world.signatures.push(Signature { key: key.entity.name, digest, signature: reply.rest() });
}

pub(crate) fn verify(world: &mut World) {
    let known: Vec<Signature> = world.signatures.clone();
    let loaded: Vec<(Object, Signature)> = known
        .iter()
        .filter_map(|s| Some((world.objects.iter().find(|o| o.entity.name == s.key)?.clone(), s.clone())))
        .collect();
    let (key, signature) = if loaded.is_empty() || world.once_in(20) {
        let Some(key) = world.object(|o| o.has(a::SIGN) && o.kind == 8) else { return };
        let octets = world.octets(32);
        let signature = Bytes::new().raw(&[0, 5, 0, 0xb]).raw(&octets).0;
        (key, Signature { key: [vec![], vec![]], digest: octets, signature })
    } else {
        world.one_of(&loaded)
    };
    if key.kind == 0x23 && !world.once_in(4) {
        return;
    }
    let digest = if world.once_in(20) { world.octets(32) } else { signature.digest };
    let signature = match world.rng.usize(0..3) {
        side @ 0..2 if key.common && key.entity.name[0] == key.entity.name[1] => {
            both(signature.signature[side].clone())
        }
        _ => signature.signature,
    };
    let params = Bytes::new().sized(&digest).each(&signature);
    world.send(Command::new(cc::VERIFY_SIGNATURE).handle(&key.entity).params(params));
}

pub(crate) fn hash(world: &mut World) {
    let n = world.one_of(&[0, 1, 3, 4, 32, 100, 1024, 1025]);
    let mut data = world.octets(n);
    if world.once_in(20) && n > 3 {
        data[..4].copy_from_slice(&[0xff, b'T', b'C', b'G']);
    }
    let alg = world.one_of(&Alg::ALL);
    let id = if world.once_in(20) { world.one_of(&[0, 0x10, 5, 0x2f, 0x43]) } else { alg.id() };
    let hierarchy = world.one_of(&[rh::OWNER, rh::ENDORSEMENT, rh::PLATFORM, rh::NULL]);
    let params = Bytes::new().sized(&data).u16(id).u32(hierarchy);
    let Some(mut reply) = world.send(Command::new(cc::HASH).params(params)) else { return };
    let digest = reply.sized();
    world.same("Hash: digests differ", &digest);
    let ticket = ticket(&mut reply);
    if world.hashed.len() >= 6 {
        world.hashed.remove(0);
    }
    let [digest, _] = digest;
    world.hashed.push((alg, digest, ticket));
}

pub(crate) fn hmac(world: &mut World) {
    let Some(key) = world.object(|o| o.kind == 8 && o.has(a::SIGN) && o.sequence.is_none()) else { return };
    let n = world.one_of(&[0, 1, 32, 300, 1024]);
    let data = world.octets(n);
    let alg = world.one_of(&[0x10u16, 0x10, 0xb, 0xb, 4, 0xc, 0xd]);
    let params = Bytes::new().sized(&data).u16(alg);
    world.send(Command::new(cc::MAC).auth(&key.entity).params(params).equal_if(key.common));
}

pub(crate) fn encrypt_decrypt(world: &mut World) {
    let Some(key) = world.object(|o| o.kind == 0x25 && !o.has(a::RESTRICTED)) else { return };
    let n = world.one_of(&[0, 1, 15, 16, 16, 32, 33, 48, 1024]);
    let data = world.octets(n);
    let decrypt = world.rng.u8(0..2);
    let mode = world.one_of(&[0x10u16, 0x10, 0x10, 0x40, 0x41, 0x42, 0x43, 0x44, 0x3f]);
    let size = world.one_of(&[16, 16, 16, 16, 16, 0, 8]);
    let iv = world.octets(size);
    let (code, params) = if world.rng.bool() {
        (cc::ENCRYPT_DECRYPT, Bytes::new().u8(decrypt).u16(mode).sized(&iv).sized(&data))
    } else {
        (cc::ENCRYPT_DECRYPT_2, Bytes::new().sized(&data).u8(decrypt).u16(mode).sized(&iv))
    };
    world.send(Command::new(code).auth(&key.entity).params(params).equal_if(key.common));
}

pub(crate) fn rsa_encrypt(world: &mut World) {
    let Some(key) = world.object(|o| o.kind == 1) else { return };
    let scheme: Vec<u8> =
        world.one_of(&[vec![0, 0x10], vec![0, 0x15], vec![0, 0x17, 0, 0xb], vec![0, 0x14, 0, 0xb], vec![0, 5]]);
    let n = world.one_of(&[0, 16, 16, 190, 190, 256]);
    let mut message = world.octets(n);
    if n == 256 {
        message[0] = world.one_of(&[0, 0xff]);
    }
    let label: Vec<u8> = world.one_of(&[vec![], vec![], b"label\0".to_vec(), b"label".to_vec()]);
    let params = Bytes::new().sized(&message).raw(&scheme).sized(&label);
    world.send(Command::new(cc::RSA_ENCRYPT).handle(&key.entity).params(params));
}

pub(crate) fn ephemeral(world: &mut World) {
    if !world.ecc {
        return;
    }
    if world.rng.bool() {
        let curve = world.one_of(&[3u16, 3, 0, 9]);
        world.send(Command::new(cc::EC_EPHEMERAL).params(Bytes::new().u16(curve)));
    } else if let Some(key) = world.object(|o| o.kind == 0x23 && o.has(a::SIGN)) {
        world.send(Command::new(cc::COMMIT).auth(&key.entity).params(Bytes::new().sized(&[]).sized(&[]).sized(&[])));
    }
}

pub(crate) fn ecc_parameters(world: &mut World) {
    let curve = world.one_of(&[3u16, 4, 5, 0x10, 0, 6, 0xffff, 0x30]);
    world.send(Command::new(cc::ECC_PARAMETERS).params(Bytes::new().u16(curve)).equal());
}

pub(crate) fn random(world: &mut World) {
    if world.rng.bool() {
        let n = world.rng.u16(0..80);
        world.send(Command::new(cc::GET_RANDOM).params(Bytes::new().u16(n)));
    } else {
        let n = world.one_of(&[0, 1, 32, 128, 129]);
        let data = world.octets(n);
        world.send(Command::new(cc::STIR_RANDOM).params(Bytes::new().sized(&data)));
    }
}

/// TPM2_TestParms of what there is on both sides, and of nonsense.
pub(crate) fn test_parms(world: &mut World) {
    let parms: Vec<u8> = match world.rng.u8(0..6) {
        0 => vec![0, 8, 0, 5, 0, 0xb],
        1 => vec![0, 8, 0, 0x10],
        2 => vec![0, 0x25, 0, 6, 0, 128, 0, 0x43],
        3 => vec![0, 0x23, 0, 0x10, 0, 0x18, 0, 0xb, 0, 3, 0, 0x10],
        4 => vec![0, 1, 0, 0x10, 0, 0x14, 0, 0xb, 8, 0, 0, 0, 0, 0],
        _ => vec![0, 0x25, 0, 6, 1, 0, 0, 0x40],
    };
    world.send(Command::new(cc::TEST_PARMS).params(Bytes::new().raw(&parms)));
}
