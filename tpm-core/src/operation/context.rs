//! Protection of saved contexts (Part 1, 27.3): encrypted and authenticated with the proof of their hierarchy.
//!
//! contextBlob is TPM2B_DIGEST integrity ‖ IV ‖ encrypted octets. The integrity HMAC covers what must not change
//! between saving and loading: totalResetCount, for stClear objects clearCount, sequence, savedHandle, hierarchy, and
//! the octets behind it.

use crate::crypto::hash::Digest;
use crate::crypto::hmac::Hmac;
use crate::crypto::kdf;
use crate::crypto::sym::{BLOCK, Cipher, Mode, SymAlg};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::profile::MAX_CONTEXT_SIZE;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{Buffer, Context, Handle, INTERNAL_HASH, Marshal, Reader, Writer};

/// What a context holds, in the clear.
pub(crate) type Contents = Secret<MAX_CONTEXT_SIZE>;

/// What a context's key and integrity depend on.
pub(crate) struct Label {
    /// sequence
    pub(crate) sequence: u64,
    /// savedHandle
    pub(crate) saved_handle: Handle,
    /// hierarchy
    pub(crate) hierarchy: Handle,
}

/// The octets that `f` marshals.
pub(crate) fn contents(f: impl FnOnce(&mut Writer<'_>)) -> Result<Contents, Rc> {
    let mut contents = Contents::zeroed(MAX_CONTEXT_SIZE).map_err(|_| Fault::Capacity)?;
    let mut w = Writer::new(contents.as_mut_slice());
    f(&mut w);
    let (len, fits) = (w.len(), w.fits());
    contents.truncate(len);
    if fits { Ok(contents) } else { Err(Fault::Capacity.into()) }
}

impl Tpm {
    /// A saved context.
    pub(crate) fn seal_context(&mut self, label: &Label, mut contents: Contents) -> Result<Context, Rc> {
        let mut iv = [0; BLOCK];
        self.random(&mut iv)?;
        let mut running = iv;
        let cipher = self.context_cipher(label)?;
        cipher.encrypt(Mode::Cfb, &mut running, contents.as_mut_slice()).map_err(|_| Fault::Cipher)?;
        let mut hmac = self.context_hmac(label);
        [&iv, contents.as_slice()].iter().for_each(|part| hmac.update(part));
        let integrity = hmac.finish();
        let blob = Buffer::of(|w| {
            integrity.marshal(w);
            w.put(&iv);
            w.put(contents.as_slice());
        });
        let Label { sequence, saved_handle, hierarchy } = *label;
        Ok(Context { sequence, saved_handle, hierarchy, blob: blob.map_err(|_| Fault::Capacity)? })
    }

    /// What a saved context holds.
    ///
    /// - `SIZE`, `INSUFFICIENT`: no such structure
    /// - `INTEGRITY`: not saved by this TPM in this hierarchy since TPM Reset (for stClear: TPM Restart)
    pub(crate) fn open_context(&self, context: &Context) -> Result<Contents, Rc> {
        let label =
            Label { sequence: context.sequence, saved_handle: context.saved_handle, hierarchy: context.hierarchy };
        let mut r = Reader::new(context.blob.as_slice());
        let integrity: Digest = r.get().map_err(Fmt1::plain)?;
        if integrity.len() != INTERNAL_HASH.digest_size() || r.rest().len() < BLOCK {
            return Err(Fmt1::SIZE.plain());
        }
        if !self.context_hmac(&label).chain(r.rest()).verify(integrity.as_slice()) {
            return Err(Fmt1::INTEGRITY.plain());
        }
        let mut iv = [0; BLOCK];
        iv.copy_from_slice(r.take(BLOCK).map_err(Fmt1::plain)?);
        let mut contents = Contents::from_slice(r.rest()).map_err(|_| Fmt1::SIZE.plain())?;
        let cipher = self.context_cipher(&label)?;
        cipher.decrypt(Mode::Cfb, &mut iv, contents.as_mut_slice()).map_err(|_| Fault::Cipher)?;
        Ok(contents)
    }

    fn context_cipher(&self, label: &Label) -> Result<Cipher, Rc> {
        let proof = self.proof(label.hierarchy).as_slice();
        let mut key = Secret::<32>::zeroed(32).map_err(|_| Fault::Capacity)?;
        let (sequence, handle) = (label.sequence.to_be_bytes(), label.saved_handle.0.to_be_bytes());
        kdf::kdfa(INTERNAL_HASH, proof, b"CONTEXT", &sequence, &handle, key.as_mut_slice());
        Cipher::new(SymAlg::Aes, key.as_slice()).map_err(|_| Fault::Cipher.into())
    }

    fn context_hmac(&self, label: &Label) -> Hmac {
        let mut hmac = Hmac::new(INTERNAL_HASH, self.proof(label.hierarchy).as_slice());
        hmac.update(&self.persistent.total_reset_count.to_be_bytes());
        if label.saved_handle == Handle::SAVED_ST_CLEAR {
            hmac.update(&self.reset.clear_count.to_be_bytes());
        }
        hmac.update(&label.sequence.to_be_bytes());
        hmac.update(&label.saved_handle.0.to_be_bytes());
        hmac.update(&label.hierarchy.0.to_be_bytes());
        hmac
    }
}
