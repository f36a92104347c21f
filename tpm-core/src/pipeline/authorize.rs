//! Are the authorizations of the command's handles good? (Part 1, 19; Part 3, 5.6)

use super::{Call, SessionUse, at_session, cp_hash};
use crate::command::CommandInfo;
use crate::command::area::Role;
use crate::crypto::hash::{Digest, Hasher};
use crate::crypto::hmac::Hmac;
use crate::policy::BoundHash;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::session::{Binding, Session, SessionType};
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleKind, NvAttributes, ObjectAttributes, SessionAttributes};

/// Checks every session of the command, in order.
///
/// - `LOCKOUT`: the entity is protected and the TPM is in lockout mode
/// - `AUTH_UNAVAILABLE`: the entity cannot be authorized in this way
/// - `AUTH_TYPE`: the role needs a policy session
/// - what [`check_policy`] says, at the session
/// - `AUTH_FAIL`, `BAD_AUTH` at the session: wrong password or HMAC, with and without consequence for dictionary-attack protection
pub(super) fn authorize(tpm: &mut Tpm, info: &CommandInfo, call: &Call, parameters: &[u8]) -> Result<(), Rc> {
    let roles = call.handles.iter().zip(info.roles).filter(|(_, r)| **r != Role::None).map(|(_, r)| *r);
    let mut roles = roles.fuse();
    for (index, one) in call.sessions.iter().enumerate() {
        match one.authorizes {
            Some(h) => authorize_handle(tpm, call, index, one, h, roles.next().unwrap_or(Role::User), parameters)?,
            None => check_hmac(tpm, call, index, one, parameters)?,
        }
    }
    Ok(())
}

/// Checks a session that authorizes a handle, and counts that where the authValue is a PIN.
fn authorize_handle(
    tpm: &mut Tpm,
    call: &Call,
    index: usize,
    one: &SessionUse,
    h: Handle,
    role: Role,
    parameters: &[u8],
) -> Result<(), Rc> {
    check_admission(tpm, call, index, one, h, role, parameters)?;
    let session = tpm.ram.sessions.get(one.handle);
    let password = one.is_password() || session.is_some_and(|s| s.policy.password);
    let auth_used =
        password || session.is_some_and(|s| if s.kind == SessionType::Hmac { !one.bound } else { s.policy.auth_value });
    let outcome =
        if password { check_password(tpm, index, h, one) } else { check_hmac(tpm, call, index, one, parameters) };
    if auth_used {
        tpm.count_pin(h, outcome.is_ok());
    }
    outcome
}

/// Everything but the authValue itself.
fn check_admission(
    tpm: &mut Tpm,
    call: &Call,
    index: usize,
    one: &SessionUse,
    h: Handle,
    role: Role,
    parameters: &[u8],
) -> Result<(), Rc> {
    let session = tpm.ram.sessions.get(one.handle);
    let policy = session.is_some_and(|s| s.kind != SessionType::Hmac);
    let uses_auth_value = !policy || session.is_some_and(|s| s.policy.auth_value || s.policy.password);
    if uses_auth_value {
        if h == Handle::LOCKOUT {
            tpm.check_lockout(true)?;
        } else if tpm.is_da_protected(h) || session.and_then(|s| s.binding).is_some_and(|b| b.da_protected) {
            tpm.check_lockout(false)?;
            tpm.da_use();
        }
    }
    if !policy {
        if needs_policy(tpm, call, h, role) {
            return Err(Rc::AUTH_TYPE);
        }
        if !auth_value_available(tpm, call, h, role) {
            return Err(Rc::AUTH_UNAVAILABLE);
        }
    }
    if policy { check_policy(tpm, call, index, one, h, role, parameters) } else { Ok(()) }
}

/// Whether only a policy session will do: the DUP role, the ADMIN role of an object with adminWithPolicy or of an NV Index, and PCR that have a policy.
fn needs_policy(tpm: &Tpm, _call: &Call, h: Handle, role: Role) -> bool {
    match role {
        Role::Dup => true,
        Role::Admin if h.is_object() => tpm.object(h).is_some_and(|o| o.has(ObjectAttributes::ADMIN_WITH_POLICY)),
        Role::Admin => h.kind() == HandleKind::Nv,
        Role::User | Role::None => h.kind() == HandleKind::Pcr && tpm.auth_policy(h).is_some(),
    }
}

/// Whether the authValue may authorize: not for an object without userWithAuth in the USER role, one without sensitive area, or an NV Index
/// whose attributes say otherwise or whose pinCount has reached pinLimit (Part 1, 19.3 and 37.2.8).
fn auth_value_available(tpm: &Tpm, call: &Call, h: Handle, role: Role) -> bool {
    match h.kind() {
        HandleKind::Transient if tpm.ram.sequence(h).is_some() => true,
        HandleKind::Transient | HandleKind::Persistent => tpm.object(h).is_some_and(|o| match role {
            Role::User => {
                o.has(ObjectAttributes::USER_WITH_AUTH)
                    && (o.sensitive.is_some() || !o.public.object_type().is_asymmetric())
            }
            Role::Admin => !o.has(ObjectAttributes::ADMIN_WITH_POLICY),
            Role::Dup | Role::None => false,
        }),
        HandleKind::Nv if !writes_nv(call.code) && tpm.pin_type(h).is_some() => tpm.pin_available(h),
        HandleKind::Nv => tpm.nv_index(h).is_some_and(|i| {
            let needed = if writes_nv(call.code) { NvAttributes::AUTHWRITE } else { NvAttributes::AUTHREAD };
            i.public.attributes.has(needed)
        }),
        _ => true,
    }
}

/// Whether the command writes or locks an index for writing (TPMA_NV AUTHWRITE and POLICYWRITE apply, otherwise AUTHREAD and POLICYREAD).
pub(crate) const fn writes_nv(code: u32) -> bool {
    // NV_Increment, NV_SetBits, NV_Extend, NV_Write, NV_WriteLock
    matches!(code, 0x134 | 0x135 | 0x136 | 0x137 | 0x138)
}

fn check_password(tpm: &mut Tpm, index: usize, h: Handle, one: &SessionUse) -> Result<(), Rc> {
    let mut given = one.hmac.duplicate();
    given.trim_trailing_zeros();
    if tpm.auth_value(h).ct_eq(given.as_slice()) { Ok(()) } else { Err(failed(tpm, index, Some(h), None)) }
}

/// An authorization failed: counts it where it counts.
fn failed(tpm: &mut Tpm, index: usize, h: Option<Handle>, binding: Option<Binding>) -> Rc {
    if h == Some(Handle::LOCKOUT) || binding.is_some_and(|b| b.lockout) {
        tpm.lockout_failure();
        return at_session(Fmt1::AUTH_FAIL, index);
    }
    if h.is_some_and(|h| tpm.is_da_protected(h)) || binding.is_some_and(|b| b.da_protected) {
        tpm.da_failure();
        return at_session(Fmt1::AUTH_FAIL, index);
    }
    at_session(Fmt1::BAD_AUTH, index)
}

/// The entity as a session is bound to it.
pub(crate) fn bound_entity(tpm: &Tpm, h: Handle) -> Digest {
    let auth = tpm.auth_value(h);
    let name = tpm.name_of(h);
    let length = [u8::try_from(name.len()).unwrap_or(u8::MAX)];
    Hasher::new(crate::profile::INTERNAL_HASH).chain(&length).chain(name.as_slice()).chain(auth.as_slice()).finish()
}

/// Notes which sessions are bound to what they authorize: the response's HMAC goes by that, whatever the action changes. A session that has been
/// used for audit is bound no longer.
pub(super) fn note_bindings(tpm: &Tpm, call: &mut Call) {
    for one in &mut call.sessions {
        let session = tpm.ram.sessions.get(one.handle).filter(|s| s.audit.is_none());
        let binding = session.and_then(|s| s.binding);
        one.bound = one.authorizes.zip(binding).is_some_and(|(h, b)| b.entity == bound_entity(tpm, h));
    }
}

/// Key of a session's HMAC (Part 1, 19.6.5): sessionKey, then the authValue of the entity unless an HMAC session is bound to it, or if a policy says so.
pub(super) fn hmac_key(tpm: &Tpm, session: &Session, one: &SessionUse) -> Result<Secret<128>, Rc> {
    let mut key = Secret::new();
    key.extend(session.key.as_slice()).map_err(|_| Rc::FAILURE)?;
    let includes_auth = match session.kind {
        SessionType::Hmac => !one.bound,
        SessionType::Policy | SessionType::Trial => session.policy.auth_value,
    };
    if let Some(h) = one.authorizes.filter(|_| includes_auth) {
        key.extend(tpm.auth_value(h).as_slice()).map_err(|_| Rc::FAILURE)?;
    }
    Ok(key)
}

/// The nonceTPM of the sessions for decryption and encryption, which the first session's HMAC covers when they are others (Part 1, 19.6.5).
fn companion_nonces(tpm: &Tpm, call: &Call, index: usize, mut hmac: Hmac) -> Hmac {
    if index != 0 {
        return hmac;
    }
    let position = |purpose| call.sessions.iter().position(|s| s.attributes.has(purpose));
    let decrypt = position(SessionAttributes::DECRYPT);
    let encrypt = position(SessionAttributes::ENCRYPT).filter(|e| Some(*e) != decrypt);
    for other in [decrypt, encrypt].into_iter().flatten().filter(|i| *i != 0) {
        if let Some(session) = call.sessions.get(other).and_then(|s| tpm.ram.sessions.get(s.handle)) {
            hmac.update(session.nonce_tpm.as_slice());
        }
    }
    hmac
}

fn check_hmac(tpm: &mut Tpm, call: &Call, index: usize, one: &SessionUse, parameters: &[u8]) -> Result<(), Rc> {
    let session = tpm.ram.sessions.get(one.handle).ok_or(Rc::reference_s(index))?;
    let key = hmac_key(tpm, session, one)?;
    let unkeyed_policy = session.kind != SessionType::Hmac && !session.policy.auth_value && session.key.is_empty();
    let good = if unkeyed_policy && one.hmac.is_empty() {
        true
    } else {
        let hash = cp_hash(tpm, session.hash, call, parameters);
        let hmac = Hmac::new(session.hash, key.as_slice())
            .chain(hash.as_slice())
            .chain(one.nonce_caller.as_slice())
            .chain(session.nonce_tpm.as_slice());
        companion_nonces(tpm, call, index, hmac).chain(&[one.attributes.0]).verify(one.hmac.as_slice())
    };
    let binding = session.binding;
    if good { Ok(()) } else { Err(failed(tpm, index, one.authorizes, binding)) }
}

/// The checks of a policy session at its use (Part 1, 19.7.11).
///
/// - `AUTH_UNAVAILABLE`: the entity has no policy, or an NV Index does not admit it for this command
/// - `POLICY_FAIL`: a trial session, another algorithm, another policyDigest, another cpHash, nameHash or template, no command code for
///   the ADMIN or DUP role, or an index that has (not) been written
/// - `EXPIRED`: the session has timed out
/// - `PCR_CHANGED`: a PCR has changed since TPM2_PolicyPCR
/// - `POLICY_CC`: another command
/// - `LOCALITY`: another locality
/// - `PP`: physical presence is not asserted
fn check_policy(
    tpm: &Tpm,
    call: &Call,
    index: usize,
    one: &SessionUse,
    h: Handle,
    role: Role,
    parameters: &[u8],
) -> Result<(), Rc> {
    let session = tpm.ram.sessions.get(one.handle).ok_or(Rc::reference_s(index))?;
    let policy = &session.policy;
    let fail = at_session(Fmt1::POLICY_FAIL, index);
    if session.kind == SessionType::Trial {
        return Err(fail);
    }
    let (alg, digest) = tpm.auth_policy(h).ok_or(Rc::AUTH_UNAVAILABLE)?;
    if !policy_available(tpm, call, h) {
        return Err(Rc::AUTH_UNAVAILABLE);
    }
    if alg != session.hash || digest != policy.digest {
        return Err(fail);
    }
    if policy.timeout_ms.is_some_and(|t| tpm.ram.time_ms >= t) {
        return Err(at_session(Fmt1::EXPIRED, index));
    }
    if policy.pcr_counter.is_some_and(|c| c != tpm.reset.pcr_update_counter) {
        return Err(Rc::PCR_CHANGED);
    }
    match policy.command_code {
        Some(code) if code != call.code => return Err(at_session(Fmt1::POLICY_CC, index)),
        None if matches!(role, Role::Admin | Role::Dup) => return Err(fail),
        _ => {}
    }
    if !policy.locality.is_none_or(|l| admits_locality(l, call)) {
        return Err(Rc::LOCALITY);
    }
    if policy.physical_presence && !tpm.ram.physical_presence {
        return Err(at_session(Fmt1::PP, index));
    }
    if policy.nv_written.is_some_and(|written| nv_written(tpm, h) != Some(written)) {
        return Err(fail);
    }
    check_bound_hash(tpm, session, call, parameters).map_err(|()| fail)
}

fn policy_available(tpm: &Tpm, call: &Call, h: Handle) -> bool {
    let Some(index) = tpm.nv_index(h) else { return true };
    // NV_UndefineSpaceSpecial and NV_ChangeAuth act on the index itself and need no POLICYREAD.
    if matches!(call.code, 0x11f | 0x13b) {
        return true;
    }
    index.public.attributes.has(if writes_nv(call.code) { NvAttributes::POLICYWRITE } else { NvAttributes::POLICYREAD })
}

fn admits_locality(policy: u8, call: &Call) -> bool {
    if policy < 32 {
        call.locality.get() < 5 && policy & call.locality.attribute() != 0
    } else {
        policy == call.locality.get()
    }
}

fn nv_written(tpm: &Tpm, h: Handle) -> Option<bool> {
    tpm.nv_index(h).map(|i| i.public.attributes.has(NvAttributes::WRITTEN))
}

/// The cpHash, nameHash, template hash or parameter hash to which the session is limited.
fn check_bound_hash(tpm: &Tpm, session: &Session, call: &Call, parameters: &[u8]) -> Result<(), ()> {
    let (expected, found) = match session.policy.bound_hash {
        None => return Ok(()),
        Some(BoundHash::CpHash(d)) => (d, cp_hash(tpm, session.hash, call, parameters)),
        Some(BoundHash::NameHash(d)) => {
            let mut hasher = Hasher::new(session.hash);
            call.handles.iter().for_each(|h| hasher.update(tpm.name_of(*h).as_slice()));
            (d, hasher.finish())
        }
        Some(BoundHash::Template(d)) => (d, template_hash(session, call, parameters).ok_or(())?),
        Some(BoundHash::Parameters(d)) => {
            (d, Hasher::new(session.hash).chain(&call.code.to_be_bytes()).chain(parameters).finish())
        }
    };
    if crate::secret::ct_eq(expected.as_slice(), found.as_slice()) { Ok(()) } else { Err(()) }
}

/// Hash of the second TPM2B of TPM2_Create, TPM2_CreatePrimary or TPM2_CreateLoaded: the template (Part 3, 23.21).
fn template_hash(session: &Session, call: &Call, parameters: &[u8]) -> Option<Digest> {
    if !matches!(call.code, 0x131 | 0x153 | 0x191) {
        return None;
    }
    let mut r = crate::wire::Reader::new(parameters);
    let sensitive: u16 = r.get().ok()?;
    r.take(sensitive.into()).ok()?;
    let size: u16 = r.get().ok()?;
    let template = r.take(size.into()).ok()?;
    Some(Hasher::new(session.hash).chain(template).finish())
}
