//! Parameter encryption (Part 1, 18).

use super::sessions::at_session;
use crate::command::call::{Call, SessionUse};
use crate::crypto::sym;
use crate::crypto::{hash::HashAlg, kdf, sym::Cipher};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::profile::MAX_COMMAND_SIZE;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{SessionAttributes, SymDef, SymDefObject};

/// The nonces in the order of the direction: the newer one first.
struct Nonces<'a> {
    newer: &'a [u8],
    older: &'a [u8],
}

enum Direction {
    Encrypt,
    Decrypt,
}

/// The session with which the first parameter is encrypted, and its place.
pub(super) fn decrypting<'c>(call: &'c Call<'_>) -> Option<(usize, &'c SessionUse<'c>)> {
    session_with(call, SessionAttributes::DECRYPT)
}

/// The parameters with the first one decrypted into `plain`.
///
/// - `SIZE` at the session: the first parameter's size field is missing or larger than what follows
pub(super) fn decrypt<'p>(
    tpm: &Tpm,
    (index, one): (usize, &SessionUse<'_>),
    parameters: &[u8],
    plain: &'p mut [u8; MAX_COMMAND_SIZE],
) -> Result<&'p [u8], Rc> {
    let plain = plain.get_mut(..parameters.len()).ok_or(Rc::COMMAND_SIZE)?;
    plain.copy_from_slice(parameters);
    let first = sized_contents(plain).map_err(|e| at_session(e, index))?;
    let session = tpm.ram.sessions.get(one.handle).ok_or(Rc::reference_s(index))?;
    let nonces = Nonces { newer: one.nonce_caller, older: session.nonce_tpm.as_slice() };
    let key = session_value(tpm, one)?;
    apply(session.symmetric, session.hash, &key, &nonces, &Direction::Decrypt, first).map_err(|()| Fault::Cipher)?;
    Ok(plain)
}

/// Encrypts the first response parameter in place. `nonce_tpm` is the one that goes with this response.
pub(super) fn encrypt(tpm: &Tpm, call: &Call<'_>, parameters: &mut [u8]) -> Result<(), Rc> {
    let Some((_, one)) = session_with(call, SessionAttributes::ENCRYPT) else { return Ok(()) };
    let first = sized_contents(parameters).map_err(Fmt1::plain)?;
    let Some(session) = tpm.ram.sessions.get(one.handle) else { return Err(Fault::NoSession.into()) };
    let nonces = Nonces { newer: session.nonce_tpm.as_slice(), older: one.nonce_caller };
    let key = session_value(tpm, one)?;
    apply(session.symmetric, session.hash, &key, &nonces, &Direction::Encrypt, first).map_err(|()| Fault::Cipher.into())
}

fn session_with<'c>(call: &'c Call<'_>, purpose: SessionAttributes) -> Option<(usize, &'c SessionUse<'c>)> {
    call.sessions.iter().enumerate().find(|(_, s)| s.attributes.has(purpose))
}

/// sessionValue: sessionKey ‖ authValue of the entity that the session authorizes (Part 1, 18.1).
fn session_value(tpm: &Tpm, one: &SessionUse<'_>) -> Result<Secret<128>, Rc> {
    let mut value = Secret::new();
    let session = tpm.ram.sessions.get(one.handle).ok_or(Fault::NoSession)?;
    value.extend(session.key.as_slice()).map_err(|_| Fault::Capacity)?;
    if let Some(h) = one.authorizes {
        value.extend(tpm.auth_value(h)).map_err(|_| Fault::Capacity)?;
    }
    Ok(value)
}

/// The octets of the TPM2B at the front. An empty one is accepted: there is nothing to decrypt.
fn sized_contents(parameters: &mut [u8]) -> Result<&mut [u8], Fmt1> {
    let (size, rest) = parameters.split_first_chunk_mut::<2>().ok_or(Fmt1::INSUFFICIENT)?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*size))).ok_or(Fmt1::SIZE)
}

fn apply(
    symmetric: SymDef,
    hash: HashAlg,
    key: &Secret<128>,
    nonces: &Nonces<'_>,
    direction: &Direction,
    data: &mut [u8],
) -> Result<(), ()> {
    match symmetric {
        SymDef::Null => Err(()),
        // The mask is made with authHash, whatever hash the definition names.
        SymDef::Xor(_) => {
            sym::xor_obfuscate(hash, key.as_slice(), nonces.newer, nonces.older, data);
            Ok(())
        }
        SymDef::Block(cipher) => cfb(cipher, hash, key, nonces, direction, data),
    }
}

/// Part 1, 18.3: key ‖ IV = KDFa(authHash, sessionValue, "CFB", nonceNewer, nonceOlder).
fn cfb(
    cipher: SymDefObject,
    hash: HashAlg,
    key: &Secret<128>,
    nonces: &Nonces<'_>,
    direction: &Direction,
    data: &mut [u8],
) -> Result<(), ()> {
    let key_size = cipher.key_size();
    let block = cipher.alg.block_size();
    let mut material = Secret::<{ sym::MAX_KEY + sym::BLOCK }>::zeroed(key_size + block).map_err(drop)?;
    kdf::kdfa(hash, key.as_slice(), b"CFB", nonces.newer, nonces.older, material.as_mut_slice());
    let (cipher_key, iv) = material.as_mut_slice().split_at_mut_checked(key_size).ok_or(())?;
    let engine = Cipher::new(cipher.alg, cipher_key).map_err(drop)?;
    match direction {
        Direction::Encrypt => engine.encrypt(sym::Mode::Cfb, iv, data),
        Direction::Decrypt => engine.decrypt(sym::Mode::Cfb, iv, data),
    }
    .map_err(drop)
}
