//! The authorization area of a command (Part 1, 18; Part 3, 5.5).

use super::{at_session, header::Header};
use crate::command::CommandInfo;
use crate::command::area::{Handles, Role};
use crate::crypto::hash::Digest;
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::tpm::Tpm;
use crate::wire::{Handle, HandleType, Reader, SessionAttributes, ShAuthSession, SymDef};
use heapless::Vec;

/// Sessions a command can have (TPM_PT_... MAX_SESSION_NUM).
pub(crate) const MAX_SESSIONS: usize = 3;

/// TPMS_AUTH_COMMAND (Part 2, 10.13.2), and what it authorizes.
pub(crate) struct SessionUse {
    /// sessionHandle
    pub(crate) handle: Handle,
    /// nonceCaller
    pub(crate) nonce_caller: Digest,
    /// sessionAttributes
    pub(crate) attributes: SessionAttributes,
    /// hmac, or the password
    pub(crate) hmac: Secret<64>,
    /// the handle that this session authorizes
    pub(crate) authorizes: Option<Handle>,
    /// the session is bound to that entity, as it was before the action
    pub(crate) bound: bool,
}

/// The sessions of a command, in order.
pub(crate) type SessionUses = Vec<SessionUse, MAX_SESSIONS>;

impl SessionUse {
    /// Whether a password authorization.
    pub(crate) fn is_password(&self) -> bool {
        self.handle == Handle::PW
    }
}

/// Reads the authorization area and checks what does not depend on authorizations.
///
/// - `AUTH_MISSING`: a handle needs an authorization and there is none
/// - `AUTH_CONTEXT`: the command admits no sessions
/// - `AUTHSIZE`: authorizationSize does not fit the octets
/// - what `check` says, at the session
pub(super) fn parse(
    tpm: &Tpm,
    info: &CommandInfo,
    header: &Header<'_>,
    handles: &Handles,
    body: &mut Reader<'_>,
) -> Result<SessionUses, Rc> {
    let mut uses = SessionUses::new();
    if header.sessions {
        if !info.sessions {
            return Err(Rc::AUTH_CONTEXT);
        }
        let size: u32 = body.get().map_err(|_| Rc::AUTHSIZE)?;
        let area =
            usize::try_from(size).ok().filter(|n| *n >= 9).and_then(|n| body.take(n).ok()).ok_or(Rc::AUTHSIZE)?;
        let mut area = Reader::new(area);
        while !area.is_empty() {
            let index = uses.len();
            let one = read(&mut area).map_err(|e| at_session(e, index))?;
            uses.push(one).map_err(|_| at_session(Fmt1::SIZE, index))?;
            check(tpm, info, &uses, index)?;
        }
    }
    let needing = info.roles.iter().zip(handles).filter(|(role, _)| **role != Role::None).map(|(_, h)| *h);
    let mut uses_iter = uses.iter_mut();
    for h in needing {
        uses_iter.next().ok_or(Rc::AUTH_MISSING)?.authorizes = Some(h);
    }
    for (index, one) in uses.iter().enumerate().filter(|(_, u)| u.authorizes.is_none()) {
        unassociated(one).map_err(|e| at_session(e, index))?;
    }
    Ok(uses)
}

fn read(r: &mut Reader<'_>) -> Result<SessionUse, Fmt1> {
    let handle = r.get::<ShAuthSession>().map_err(|e| if e == Fmt1::VALUE { Fmt1::HANDLE } else { e })?.handle();
    Ok(SessionUse {
        handle,
        nonce_caller: r.get()?,
        attributes: r.get()?,
        hmac: r.get()?,
        authorizes: None,
        bound: false,
    })
}

/// A session that authorizes nothing must be good for something, and cannot be a password.
///
/// - `HANDLE`: a password that authorizes no handle
/// - `ATTRIBUTES`: neither for decryption, encryption nor audit
fn unassociated(one: &SessionUse) -> Result<(), Fmt1> {
    let purposes = SessionAttributes::DECRYPT.with(SessionAttributes::ENCRYPT).with(SessionAttributes::AUDIT);
    if one.is_password() {
        return Err(Fmt1::HANDLE);
    }
    if one.attributes.any(purposes) { Ok(()) } else { Err(Fmt1::ATTRIBUTES) }
}

fn check(tpm: &Tpm, info: &CommandInfo, uses: &SessionUses, index: usize) -> Result<(), Rc> {
    let (one, before) = match uses.split_last() {
        Some((one, before)) => (one, before),
        None => return Ok(()),
    };
    if one.is_password() {
        return check_password(one).map_err(|e| at_session(e, index));
    }
    let session = tpm.ram.sessions.get(one.handle).ok_or(Rc::reference_s(index))?;
    check_attributes(info, one, before, session.symmetric).map_err(|e| at_session(e, index))?;
    let audits = one.attributes.has(SessionAttributes::AUDIT);
    if audits
        && one.attributes.has(SessionAttributes::AUDIT_EXCLUSIVE)
        && !one.attributes.has(SessionAttributes::AUDIT_RESET)
    {
        let fresh = session.audit.is_none();
        if !fresh && tpm.ram.exclusive_audit != Some(one.handle) {
            return Err(Rc::EXCLUSIVE);
        }
    }
    Ok(())
}

/// - `NONCE`: a password has no nonce
/// - `ATTRIBUTES`: a password serves neither encryption nor audit
fn check_password(one: &SessionUse) -> Result<(), Fmt1> {
    if !one.nonce_caller.is_empty() {
        return Err(Fmt1::NONCE);
    }
    if one.attributes.without(SessionAttributes::CONTINUE_SESSION) != SessionAttributes(0) {
        return Err(Fmt1::ATTRIBUTES);
    }
    Ok(())
}

/// - `HANDLE`: the session occurs twice
/// - `ATTRIBUTES`: auditExclusive or auditReset without audit; a second session for decryption, encryption or audit; audit by a policy
///   session; no parameter that could be encrypted
/// - `SYMMETRIC`: the session has no algorithm for encryption
fn check_attributes(
    info: &CommandInfo,
    one: &SessionUse,
    before: &[SessionUse],
    symmetric: SymDef,
) -> Result<(), Fmt1> {
    use SessionAttributes as A;
    if before.iter().any(|b| b.handle == one.handle) {
        return Err(Fmt1::HANDLE);
    }
    let audits = one.attributes.has(A::AUDIT);
    if !audits && one.attributes.any(A::AUDIT_EXCLUSIVE.with(A::AUDIT_RESET)) {
        return Err(Fmt1::ATTRIBUTES);
    }
    if audits && one.handle.kind() != crate::wire::HandleKind::HmacSession {
        return Err(Fmt1::ATTRIBUTES);
    }
    for purpose in [A::DECRYPT, A::ENCRYPT, A::AUDIT] {
        if one.attributes.has(purpose) && before.iter().any(|b| b.attributes.has(purpose)) {
            return Err(Fmt1::ATTRIBUTES);
        }
    }
    let encrypts = one.attributes.any(A::DECRYPT.with(A::ENCRYPT));
    if encrypts && symmetric == SymDef::Null {
        return Err(Fmt1::SYMMETRIC);
    }
    if one.attributes.has(A::DECRYPT) && !info.decrypt || one.attributes.has(A::ENCRYPT) && !info.encrypt {
        return Err(Fmt1::ATTRIBUTES);
    }
    Ok(())
}
