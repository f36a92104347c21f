//! Are the authorizations of the command's handles good? (Part 1, 16; Part 3, 5.6)

use super::digest::cp_hash;
use super::sessions::at_session;
use crate::command::area::Role;
use crate::command::call::{Call, SessionUse};
use crate::command::interface::{CommandInfo, IndexUse, KeyParameter};
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::data::policy::BoundHash;
use crate::data::session::{Binding, Session, SessionType};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::{Fmt1, Rc};
use crate::secret::{Secret, ct_eq, without_trailing_zeros};
use crate::wire::{Handle, HandleKind, NvAttributes, ObjectAttributes, SessionAttributes};

/// Checks every session of the command, in order.
///
/// - `HANDLE` at the session: a password that authorizes no handle
/// - `ATTRIBUTES` at the session: a trial session, which is good for nothing but policies
/// - `LOCKOUT`: the session is bound to a protected entity, and the TPM is in lockout mode
/// - what `authorize_handle` says of a session that authorizes
/// - `ATTRIBUTES` at the session: it neither authorizes, decrypts, encrypts nor audits
/// - `AUTH_FAIL`, `BAD_AUTH` at the session: its HMAC is wrong, with and without consequence for dictionary-attack
///   protection
pub(super) fn authorize(tpm: &mut Tpm, info: &CommandInfo, call: &Call<'_>, parameters: &[u8]) -> Result<(), Rc> {
    let mut roles = info.roles.iter().copied().filter(|role| *role != Role::None);
    for (index, one) in call.sessions.iter().enumerate() {
        let check = Check { info, call, index, one, role: roles.next().unwrap_or(Role::None), parameters };
        check_session(tpm, &check)?;
        match one.authorizes {
            Some(h) => authorize_handle(tpm, &check, h)?,
            None if one.attributes.any(PURPOSES) => check_hmac(tpm, &check)?,
            None => return Err(check.at(Fmt1::ATTRIBUTES)),
        }
    }
    Ok(())
}

/// What a session that does not authorize may be good for.
const PURPOSES: SessionAttributes =
    SessionAttributes::DECRYPT.with(SessionAttributes::ENCRYPT).with(SessionAttributes::AUDIT);

/// A session of the command that is being checked.
struct Check<'a> {
    info: &'a CommandInfo,
    call: &'a Call<'a>,
    index: usize,
    one: &'a SessionUse<'a>,
    /// the role of the handle that it authorizes
    role: Role,
    /// the parameters as received
    parameters: &'a [u8],
}

impl Check<'_> {
    fn at(&self, code: Fmt1) -> Rc {
        at_session(code, self.index)
    }

    fn cp_hash(&self, tpm: &Tpm, alg: HashAlg) -> Digest {
        cp_hash(tpm, alg, self.call, self.parameters)
    }
}

fn check_session(tpm: &mut Tpm, check: &Check<'_>) -> Result<(), Rc> {
    if check.one.is_password() {
        return if check.one.authorizes.is_some() { Ok(()) } else { Err(check.at(Fmt1::HANDLE)) };
    }
    let session = tpm.ram.sessions.get(check.one.handle).ok_or(Rc::reference_s(check.index))?;
    if session.is_trial() {
        return Err(check.at(Fmt1::ATTRIBUTES));
    }
    match session.binding {
        Some(Binding { lockout: true, .. }) => tpm.check_lockout(true),
        Some(Binding { da_protected: true, .. }) => tpm.check_lockout(false),
        _ => Ok(()),
    }
}

/// Checks a session that authorizes a handle, and counts that where the authValue is a PIN.
///
/// - `PP` at the session: the platform's authorization, for a command that needs physical presence
/// - `LOCKOUT`: authValue is needed, the entity is protected, and the TPM is in lockout mode
/// - `AUTH_TYPE`: the role needs a policy session
/// - `AUTH_UNAVAILABLE`: the entity cannot be authorized in this way
/// - what [`check_policy`] says
/// - `NV_UNINITIALIZED`: an index that has not been written is to be read by its own authorization
/// - `AUTH_FAIL`, `BAD_AUTH` at the session: wrong password or HMAC, with and without consequence for dictionary-attack
///   protection
fn authorize_handle(tpm: &mut Tpm, check: &Check<'_>, h: Handle) -> Result<(), Rc> {
    if h == Handle::PLATFORM && !tpm.ram.physical_presence && tpm.persistent.presence.has(check.call.code) {
        return Err(check.at(Fmt1::PP));
    }
    let session = tpm.ram.sessions.get(check.one.handle);
    let policy = session.is_some_and(|s| s.kind != SessionType::Hmac);
    let password = check.one.is_password() || session.is_some_and(|s| s.policy.password);
    let auth_used = session.is_none_or(|s| uses_auth_value(s, check.one));
    if auth_used {
        if h == Handle::LOCKOUT {
            tpm.check_lockout(true)?;
        } else if tpm.is_da_protected(h) {
            tpm.check_lockout(false)?;
        }
    }
    if policy {
        check_policy(tpm, check, h)?;
    } else if needs_policy(tpm, h, check.role) {
        return Err(Rc::AUTH_TYPE);
    } else if !auth_value_available(tpm, check, h) {
        return Err(Rc::AUTH_UNAVAILABLE);
    }
    if reads_unwritten(tpm, check, h) {
        return Err(Rc::NV_UNINITIALIZED);
    }
    let outcome = if password { check_password(tpm, check, h) } else { check_hmac(tpm, check) };
    if auth_used {
        tpm.count_pin(h, outcome.is_ok());
    }
    outcome
}

/// Whether only a policy session will do (Part 1, 16.2): for the DUP role; for the ADMIN role, but of an object without
/// adminWithPolicy or a sequence object; for a PCR that has a policy.
fn needs_policy(tpm: &Tpm, h: Handle, role: Role) -> bool {
    match role {
        Role::Dup => true,
        Role::Admin if tpm.ram.sequence(h).is_some() => false,
        Role::Admin => tpm.object(h).is_none_or(|o| o.has(ObjectAttributes::ADMIN_WITH_POLICY)),
        Role::User | Role::None => h.kind() == HandleKind::Pcr && tpm.auth_policy(h).is_some(),
    }
}

/// Whether the authValue may authorize: not for an object without userWithAuth in the USER role, one without sensitive
/// area, or an NV Index that says otherwise (Part 1, 16.6.17).
fn auth_value_available(tpm: &Tpm, check: &Check<'_>, h: Handle) -> bool {
    match h.kind() {
        HandleKind::Transient if tpm.ram.sequence(h).is_some() => true,
        HandleKind::Transient | HandleKind::Persistent => tpm.object(h).is_some_and(|o| {
            let admin = check.role == Role::Admin && !o.has(ObjectAttributes::ADMIN_WITH_POLICY);
            o.sensitive.is_some() && (o.has(ObjectAttributes::USER_WITH_AUTH) || admin)
        }),
        HandleKind::Nv => tpm.pin_available(h) && index_admits_auth_value(tpm, check, h),
        _ => h.act_position().is_none() || tpm.clear.platform_enabled,
    }
}

/// Whether the attributes of an index admit its authValue. In TPM2_PolicySecret that of a PIN index is not for reading
/// (Part 3, 23.4.1).
fn index_admits_auth_value(tpm: &Tpm, check: &Check<'_>, h: Handle) -> bool {
    let needed = if check.info.index == IndexUse::Writes { NvAttributes::AUTHWRITE } else { NvAttributes::AUTHREAD };
    let pin = check.info.proves_secret && tpm.pin_type(h).is_some();
    pin || tpm.nv_index(h).is_some_and(|i| i.public.attributes.has(needed))
}

/// Whether the contents of an index are asked for that has none: that is told before its authValue is looked at, and
/// counts nowhere (Part 3, 31.1). A trial policy does not look at them.
fn reads_unwritten(tpm: &Tpm, check: &Check<'_>, h: Handle) -> bool {
    let handles = &check.call.handles;
    // As authHandle and as nvIndex: another index may not authorize.
    let own = || handles.iter().filter(|other| **other == h).nth(1).is_some();
    let unwritten = || tpm.nv_index(h).is_some_and(|i| !i.public.attributes.has(NvAttributes::WRITTEN));
    let trial = || handles.iter().filter_map(|h| tpm.ram.sessions.get(*h)).any(Session::is_trial);
    check.info.index == IndexUse::Reads && own() && unwritten() && !trial()
}

fn check_password(tpm: &mut Tpm, check: &Check<'_>, h: Handle) -> Result<(), Rc> {
    note_use(tpm, check);
    let given = without_trailing_zeros(check.one.hmac);
    if ct_eq(tpm.auth_value(h), given) { Ok(()) } else { Err(failed(tpm, check)) }
}

/// What a wrong password or HMAC would be a guess at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stake {
    /// lockoutAuth
    Lockout,
    /// an authValue under dictionary-attack protection
    Protected,
    /// neither
    Nothing,
}

/// The authValue of what the session authorizes, if that is used, and that of what it is bound to: everything is then
/// at stake.
fn stake(tpm: &Tpm, check: &Check<'_>) -> Stake {
    let session = tpm.ram.sessions.get(check.one.handle);
    let binding = session.and_then(|s| s.binding);
    let used = check.one.authorizes.filter(|_| session.is_none_or(|s| uses_auth_value(s, check.one)));
    if used == Some(Handle::LOCKOUT) || binding.is_some_and(|b| b.lockout) {
        Stake::Lockout
    } else if used.is_some_and(|h| tpm.is_da_protected(h)) || binding.is_some_and(|b| b.da_protected) {
        Stake::Protected
    } else {
        Stake::Nothing
    }
}

/// A password or HMAC is about to be compared. A command that was refused before that has used nothing.
fn note_use(tpm: &mut Tpm, check: &Check<'_>) {
    if stake(tpm, check) == Stake::Protected {
        tpm.da_use();
    }
}

/// An authorization failed: counts it where it counts.
fn failed(tpm: &mut Tpm, check: &Check<'_>) -> Rc {
    match stake(tpm, check) {
        Stake::Lockout => tpm.lockout_failure(),
        Stake::Protected => tpm.da_failure(),
        Stake::Nothing => return check.at(Fmt1::BAD_AUTH),
    }
    check.at(Fmt1::AUTH_FAIL)
}

/// Notes which sessions are bound to what they authorize: the response's HMAC goes by that, whatever the action
/// changes. A session that has been used for audit is bound no longer.
pub(super) fn note_bindings(tpm: &Tpm, call: &mut Call<'_>) {
    for one in &mut call.sessions {
        let session = tpm.ram.sessions.get(one.handle).filter(|s| s.audit.is_none());
        let binding = session.and_then(|s| s.binding);
        one.bound = one.authorizes.zip(binding).is_some_and(|(h, b)| b.entity == tpm.bound_entity(h));
    }
}

/// Whether the authValue of what the session authorizes is at stake: not if an HMAC session is bound to it, and in a
/// policy session only if the policy says so.
fn uses_auth_value(session: &Session, one: &SessionUse<'_>) -> bool {
    match session.kind {
        SessionType::Hmac => !one.bound,
        SessionType::Policy | SessionType::Trial => session.policy.auth_value || session.policy.password,
    }
}

/// Key of a session's HMAC (Part 1, 16.6.5): sessionKey, then the authValue of the entity if that is at stake.
pub(super) fn hmac_key(tpm: &Tpm, session: &Session, one: &SessionUse<'_>) -> Result<Secret<128>, Rc> {
    let mut key = Secret::new();
    key.extend(session.key.as_slice()).map_err(|_| Fault::Capacity)?;
    if let Some(h) = one.authorizes.filter(|_| uses_auth_value(session, one)) {
        key.extend(tpm.auth_value(h)).map_err(|_| Fault::Capacity)?;
    }
    Ok(key)
}

/// The nonceTPM of the sessions for decryption and encryption, which the HMAC of the first session covers if that
/// authorizes and they are others (Part 1, 16.6.5).
fn companion_nonces(tpm: &Tpm, check: &Check<'_>, hmac: &mut Hmac) {
    if check.index != 0 || check.one.authorizes.is_none() {
        return;
    }
    let sessions = &check.call.sessions;
    let position = |purpose| sessions.iter().position(|s| s.attributes.has(purpose));
    let decrypt = position(SessionAttributes::DECRYPT);
    let encrypt = position(SessionAttributes::ENCRYPT).filter(|e| Some(*e) != decrypt);
    for other in [decrypt, encrypt].into_iter().flatten().filter(|i| *i != 0) {
        if let Some(session) = sessions.get(other).and_then(|s| tpm.ram.sessions.get(s.handle)) {
            hmac.update(session.nonce_tpm.as_slice());
        }
    }
}

/// Without a key, an empty HMAC does as well.
fn check_hmac(tpm: &mut Tpm, check: &Check<'_>) -> Result<(), Rc> {
    note_use(tpm, check);
    let one = check.one;
    let session = tpm.ram.sessions.get(one.handle).ok_or(Rc::reference_s(check.index))?;
    let key = hmac_key(tpm, session, one)?;
    if key.is_empty() && one.hmac.is_empty() {
        return Ok(());
    }
    let cp_hash = check.cp_hash(tpm, session.hash);
    let mut hmac = Hmac::new(session.hash, key.as_slice());
    for part in [cp_hash.as_slice(), one.nonce_caller, session.nonce_tpm.as_slice()] {
        hmac.update(part);
    }
    companion_nonces(tpm, check, &mut hmac);
    hmac.update(&[one.attributes.0]);
    if hmac.verify(one.hmac) { Ok(()) } else { Err(failed(tpm, check)) }
}

/// The checks of a policy session at its use (Part 1, 16.7.8), in the order of the reference.
///
/// - `AUTH_UNAVAILABLE`: the entity has no policy, or an NV Index does not admit it for this command
/// - `MODE` at the session: TPM2_PolicySecret, which proves knowledge of an authValue, and the policy asks for none
/// - `PCR_CHANGED`: a PCR has changed since TPM2_PolicyPCR
/// - `POLICY_FAIL` at the session: another policyDigest, another algorithm
/// - `EXPIRED` at the session: it has timed out, or began before the last _TPM_Init
/// - `POLICY_CC` at the session: another command
/// - `POLICY_FAIL` at the session: no command code, which the ADMIN and DUP roles need
/// - `LOCALITY`: another locality
/// - `PP` at the session: physical presence is not asserted
/// - `POLICY_FAIL` at the session: another cpHash, nameHash, template or parameters; no NV Index, or one that has (not)
///   been written
/// - `CHANNEL` at the session: no secure channel
/// - `AUTH_UNAVAILABLE`: the policy asks for a PIN that cannot be used, or, in TPM2_PolicySecret, for an authValue that
///   could not prove it without a policy
fn check_policy(tpm: &Tpm, check: &Check<'_>, h: Handle) -> Result<(), Rc> {
    let session = tpm.ram.sessions.get(check.one.handle).ok_or(Rc::reference_s(check.index))?;
    let policy = &session.policy;
    let asks = policy.auth_value || policy.password;
    if !policy_available(tpm, check, h) {
        return Err(Rc::AUTH_UNAVAILABLE);
    }
    if check.info.proves_secret && !asks {
        return Err(check.at(Fmt1::MODE));
    }
    if policy.pcr_counter.is_some_and(|c| c != tpm.reset.pcr_update_counter) {
        return Err(Rc::PCR_CHANGED);
    }
    if tpm.auth_policy(h).is_none_or(|(alg, digest)| alg != session.hash || digest != policy.digest) {
        return Err(check.at(Fmt1::POLICY_FAIL));
    }
    if policy.is_over(policy.timeout_ms, tpm.ram.now()) {
        return Err(check.at(Fmt1::EXPIRED));
    }
    check_command(tpm, check, session)?;
    check_bound_hash(tpm, check, session)?;
    let written = tpm.nv_index(h).map(|i| i.public.attributes.has(NvAttributes::WRITTEN));
    if policy.nv_written.is_some_and(|demanded| written != Some(demanded)) {
        return Err(check.at(Fmt1::POLICY_FAIL));
    }
    if policy.secure_channel {
        return Err(check.at(Fmt1::CHANNEL));
    }
    // userWithAuth of an object and TPMA_NV_AUTHREAD of an index count in a policy session, too, where an authValue is
    // to be proven (Part 3, 23.4.1). Choice: not TPMA_NV_AUTHREAD with TPM2_PolicyAuthValue, since FAPI makes indices
    // without it, and 5.6 names passwords and HMAC sessions alone.
    let spared = h.kind() == HandleKind::Nv && !policy.password;
    let unproven = check.info.proves_secret && !spared && !auth_value_available(tpm, check, h);
    if asks && (unproven || !tpm.pin_available(h)) { Err(Rc::AUTH_UNAVAILABLE) } else { Ok(()) }
}

/// What the policy demands of the command as a whole: its code, its locality, physical presence.
fn check_command(tpm: &Tpm, check: &Check<'_>, session: &Session) -> Result<(), Rc> {
    let policy = &session.policy;
    match policy.command_code {
        Some(code) if code != check.call.code => return Err(check.at(Fmt1::POLICY_CC)),
        None if matches!(check.role, Role::Admin | Role::Dup) => return Err(check.at(Fmt1::POLICY_FAIL)),
        _ => {}
    }
    if !policy.locality.is_none_or(|l| admits_locality(l, check.call)) {
        return Err(Rc::LOCALITY);
    }
    if policy.physical_presence && !tpm.ram.physical_presence { Err(check.at(Fmt1::PP)) } else { Ok(()) }
}

/// Whether the entity may be authorized by policy: a hierarchy or PCR that has one, an object with its sensitive area,
/// an NV Index whose attributes say so, but for the ADMIN role in any case (Part 1, 16.6.17).
fn policy_available(tpm: &Tpm, check: &Check<'_>, h: Handle) -> bool {
    match h.kind() {
        HandleKind::Transient | HandleKind::Persistent => tpm.object(h).is_some_and(|o| o.sensitive.is_some()),
        HandleKind::Nv => tpm.nv_index(h).is_some_and(|i| {
            let needed =
                if check.info.index == IndexUse::Writes { NvAttributes::POLICYWRITE } else { NvAttributes::POLICYREAD };
            let admitted = needs_policy(tpm, h, check.role) || i.public.attributes.has(needed);
            admitted && !i.public.auth_policy.is_empty()
        }),
        _ => tpm.auth_policy(h).is_some(),
    }
}

fn admits_locality(policy: u8, call: &Call<'_>) -> bool {
    if policy < 32 {
        call.locality.get() < 5 && policy & call.locality.attribute() != 0
    } else {
        policy == call.locality.get()
    }
}

/// - `POLICY_FAIL` at the session: not the cpHash, nameHash, template or parameters to which the session is limited
fn check_bound_hash(tpm: &Tpm, check: &Check<'_>, session: &Session) -> Result<(), Rc> {
    let (call, parameters) = (check.call, check.parameters);
    let fail = check.at(Fmt1::POLICY_FAIL);
    let (expected, found) = match session.policy.bound_hash {
        None => return Ok(()),
        Some(BoundHash::CpHash(d)) => (d, check.cp_hash(tpm, session.hash)),
        Some(BoundHash::NameHash(d)) => {
            let mut hasher = Hasher::new(session.hash);
            call.handles.iter().for_each(|h| hasher.update(tpm.name_of(*h).as_slice()));
            (d, hasher.finish())
        }
        Some(BoundHash::Template(d)) => (d, template_hash(session, check.info, parameters).ok_or(fail)?),
        Some(BoundHash::Parameters(d)) => {
            (d, Hasher::new(session.hash).chain(&call.code.to_be_bytes()).chain(parameters).finish())
        }
    };
    if expected == found { Ok(()) } else { Err(fail) }
}

/// Hash of the template, for a command that has one (Part 3, 23.21).
fn template_hash(session: &Session, info: &CommandInfo, parameters: &[u8]) -> Option<Digest> {
    if info.key_parameter != KeyParameter::Template {
        return None;
    }
    let mut r = crate::wire::Reader::new(parameters);
    let sensitive: u16 = r.get().ok()?;
    r.take(sensitive.into()).ok()?;
    let size: u16 = r.get().ok()?;
    let template = r.take(size.into()).ok()?;
    Some(Hasher::new(session.hash).chain(template).finish())
}
