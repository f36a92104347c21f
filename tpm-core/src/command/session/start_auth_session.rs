//! TPM2_StartAuthSession (Part 3, 11.1).

use crate::command::area::{WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::kdf;
use crate::crypto::sym::Mode;
use crate::data::policy::PolicyState;
use crate::data::session::{Binding, Session, SessionType};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::exchange::{Seed, Use};
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{
    DhEntity, DhObject, EncryptedSecret2b, Handle, HandleKind, HandleType, Nullable, NvType, ObjectAttributes as A,
    SymDef,
};

pub(crate) struct StartAuthSession;

handles! { pub(crate) struct Handles { tpm_key: Nullable<DhObject>, bind: Nullable<DhEntity> } }
params! {
    pub(crate) struct Params<'a> {
        nonce_caller: Digest,
        encrypted_salt: EncryptedSecret2b<'a>,
        session_type: SessionType,
        symmetric: SymDef,
        auth_hash: HashAlg,
    }
}

impl Command for StartAuthSession {
    const CODE: u32 = 0x176;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = WithHandle<Digest>;

    /// - `SIZE` at `nonce_caller`: fewer than 16 octets, or more than a digest of `auth_hash`
    /// - what [`salt`] says
    /// - `HANDLE` at `bind`: an object without sensitive area, or a PIN Index
    /// - `MODE` at `symmetric`: a block cipher not in CFB mode
    /// - `SESSION_MEMORY`, `SESSION_HANDLES`, `CONTEXT_GAP`: no room
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<WithHandle<Digest>, Rc> {
        if p.nonce_caller.len() < 16 || p.nonce_caller.len() > p.auth_hash.digest_size() {
            return Err(Fmt1::SIZE.at(Params::nonce_caller));
        }
        let salt = salt(tpm, h.tpm_key.0, p.encrypted_salt.0)?;
        let bind = h.bind.0.map(HandleType::handle);
        if bind.is_some_and(|b| !can_bind(tpm, b)) {
            return Err(Fmt1::HANDLE.at(Handles::bind));
        }
        if matches!(p.symmetric, SymDef::Block(cipher) if cipher.mode != Some(Mode::Cfb)) {
            return Err(Fmt1::MODE.at(Params::symmetric));
        }
        tpm.ram.sessions.room()?;
        let nonce_tpm = tpm.random_digest(p.nonce_caller.len())?;
        let key = session_key(tpm, &p, bind, &salt, &nonce_tpm)?;
        let session = Session {
            kind: p.session_type,
            hash: p.auth_hash,
            symmetric: p.symmetric,
            nonce_tpm,
            key,
            binding: bind.map(|b| binding(tpm, b)),
            audit: None,
            policy: PolicyState::new(p.auth_hash, tpm.ram.now()),
        };
        Ok(WithHandle(tpm.ram.sessions.start(session)?, nonce_tpm))
    }
}

/// The salt; empty without tpmKey.
///
/// - `VALUE` at `encrypted_salt`: there is one without tpmKey, or none with it
/// - `KEY` at `tpm_key`: no asymmetric key
/// - `HANDLE` at `tpm_key`: only its public area is loaded
/// - `ATTRIBUTES` at `tpm_key`: it does not decrypt
/// - `VALUE` at `encrypted_salt`: the key does not give a salt from it
fn salt(tpm: &mut Tpm, key: Option<DhObject>, encrypted: &[u8]) -> Result<Seed, Rc> {
    let Some(handle) = key.map(HandleType::handle) else {
        return if encrypted.is_empty() { Ok(Seed::new()) } else { Err(Fmt1::VALUE.at(Params::encrypted_salt)) };
    };
    let key = tpm.object(handle).filter(|k| k.public.object_type().is_asymmetric());
    let key = key.ok_or(Fmt1::KEY.at(Handles::tpm_key))?;
    if encrypted.is_empty() {
        return Err(Fmt1::VALUE.at(Params::encrypted_salt));
    }
    if key.sensitive.is_none() {
        return Err(Fmt1::HANDLE.at(Handles::tpm_key));
    }
    if !key.has(A::DECRYPT) {
        return Err(Fmt1::ATTRIBUTES.at(Handles::tpm_key));
    }
    let salt = tpm.open_secret(handle, Use::Secret, encrypted);
    salt.map_err(|e| e.instead(Fmt1::VALUE.at(Params::encrypted_salt)))
}

fn can_bind(tpm: &Tpm, bind: Handle) -> bool {
    match bind.kind() {
        HandleKind::Transient | HandleKind::Persistent => tpm.object(bind).is_none_or(|o| o.sensitive.is_some()),
        HandleKind::Nv => tpm
            .nv_index(bind)
            .is_some_and(|i| !matches!(i.public.attributes.nv_type(), Some(NvType::PinFail | NvType::PinPass))),
        _ => true,
    }
}

/// sessionKey (Part 1, 16.6.8): KDFa(authHash, authValue ‖ salt, "ATH", nonceTPM, nonceCaller); empty if neither bound
/// nor salted.
fn session_key(
    tpm: &Tpm,
    p: &Params<'_>,
    bind: Option<Handle>,
    salt: &Seed,
    nonce_tpm: &Digest,
) -> Result<Secret<64>, Rc> {
    if bind.is_none() && salt.is_empty() {
        return Ok(Secret::new());
    }
    let mut secret = Secret::<128>::new();
    if let Some(bind) = bind {
        secret.extend(tpm.auth_value(bind)).map_err(|_| Fault::Capacity)?;
    }
    secret.extend(salt.as_slice()).map_err(|_| Fault::Capacity)?;
    let mut key = Secret::zeroed(p.auth_hash.digest_size()).map_err(|_| Fault::Capacity)?;
    let (newer, older) = (nonce_tpm.as_slice(), p.nonce_caller.as_slice());
    kdf::kdfa(p.auth_hash, secret.as_slice(), b"ATH", newer, older, key.as_mut_slice());
    Ok(key)
}

/// A policy session authorizes nothing by being bound, but its failures count if the entity is protected (Part 1,
/// 16.8.7).
fn binding(tpm: &Tpm, bind: Handle) -> Binding {
    Binding {
        entity: tpm.bound_entity(bind),
        da_protected: tpm.is_da_protected(bind),
        lockout: bind == Handle::LOCKOUT,
    }
}
