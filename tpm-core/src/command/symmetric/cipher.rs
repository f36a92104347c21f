//! What TPM2_EncryptDecrypt and TPM2_EncryptDecrypt2 have in common: they differ in the order of their parameters.

use crate::command::area::reply;
use crate::crypto::sym::{BLOCK, Cipher, Mode};
use crate::data::object::Object;
use crate::fault::Fault;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{At, Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{Buffer, ObjectAttributes, Parms};

/// The parameters, and where each stands.
pub(super) struct Request<'a> {
    pub(super) key: At,
    pub(super) decrypt: bool,
    pub(super) mode: (Option<Mode>, At),
    pub(super) iv_in: (&'a [u8], At),
    pub(super) in_data: (&'a [u8], At),
}

reply! {
    /// outData and ivOut
    pub(crate) struct Answer { out_data: Secret<MAX_DIGEST_BUFFER>, iv_out: Buffer<BLOCK> }
}

/// - `KEY` at the key: no symmetric-cipher key
/// - `ATTRIBUTES` at the key: it is restricted, or has no `decrypt` (to decrypt) or `sign` (to encrypt)
/// - `MODE` at the key: its mode does not encrypt
/// - `MODE` at the mode: not the key's own, or none at all
/// - `SIZE` at the IV: not a block, or for ECB not empty
/// - `SIZE` at the data: not whole blocks, for CBC and ECB
pub(super) fn run(key: Option<&Object>, request: &Request<'_>) -> Result<Answer, Rc> {
    let no_key = Fmt1::KEY.at(request.key);
    let key = key.ok_or(no_key)?;
    let Parms::SymCipher(parms) = &key.public.parms else { return Err(no_key) };
    let needed = if request.decrypt { ObjectAttributes::DECRYPT } else { ObjectAttributes::SIGN };
    if key.has(ObjectAttributes::RESTRICTED) || !key.has(needed) {
        return Err(Fmt1::ATTRIBUTES.at(request.key));
    }
    if !parms.mode.is_none_or(Mode::encrypts) {
        return Err(Fmt1::MODE.at(request.key));
    }
    let (wanted, at) = request.mode;
    let mode = select_mode(parms.mode, wanted).ok_or(Fmt1::MODE.at(at))?;
    let (iv_in, at) = request.iv_in;
    if iv_in.len() != if mode == Mode::Ecb { 0 } else { parms.alg.block_size() } {
        return Err(Fmt1::SIZE.at(at));
    }
    let (in_data, at) = request.in_data;
    if mode.whole_blocks() && !in_data.len().is_multiple_of(parms.alg.block_size()) {
        return Err(Fmt1::SIZE.at(at));
    }
    let cipher = Cipher::new(parms.alg, key.symmetric_key().ok_or(no_key)?).map_err(|_| no_key)?;
    let mut iv_out = Buffer::from_slice(iv_in).map_err(|e| e.at(request.iv_in.1))?;
    let mut out_data = Secret::from_slice(in_data).map_err(|_| Fault::Capacity)?;
    let (iv, data) = (iv_out.as_mut_slice(), out_data.as_mut_slice());
    let done = if request.decrypt { cipher.decrypt(mode, iv, data) } else { cipher.encrypt(mode, iv, data) };
    done.map_err(|_| Fault::Cipher)?;
    Ok(Answer { out_data, iv_out })
}

/// The key's mode, or the command's if it has none; both may be given if they are the same.
fn select_mode(key: Option<Mode>, wanted: Option<Mode>) -> Option<Mode> {
    if key.is_some() && wanted.is_some() && key != wanted { None } else { key.or(wanted) }
}
