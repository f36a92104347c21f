//! The authorization area of a command (Part 1, 15.6; Part 3, 5.5).

use super::header::Header;
use crate::command::area::Role;
use crate::command::call::{Call, SessionUse};
use crate::command::interface::CommandInfo;
use crate::crypto::hash::MAX_DIGEST;
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Nth, Rc};
use crate::wire::{HandleKind, HandleType, Reader, SessionAttributes, ShAuthSession, SymDef, Tpm2b};

/// Reads the authorization area and checks what does not depend on authorizations.
///
/// - `AUTH_CONTEXT`: the command admits no sessions
/// - `INSUFFICIENT`: authorizationSize is missing
/// - `AUTHSIZE`: it is too small for one session, larger than what follows, or larger than three sessions need (Part 3,
///   5.5)
/// - what `check` says, at the session
/// - `AUTH_MISSING`: a handle needs an authorization and there is none
pub(super) fn parse<'a>(
    tpm: &Tpm,
    info: &CommandInfo,
    header: &Header<'_>,
    body: &mut Reader<'a>,
    call: &mut Call<'a>,
) -> Result<(), Rc> {
    let uses = &mut call.sessions;
    if header.sessions {
        let mut area = Reader::new(area(body)?);
        if !info.sessions {
            return Err(Rc::AUTH_CONTEXT);
        }
        while !area.is_empty() {
            let index = uses.len();
            if uses.is_full() {
                return Err(Rc::AUTHSIZE);
            }
            let one = read(&mut area).map_err(|e| at_session(e, index))?;
            check(tpm, info, &one, uses, index)?;
            uses.push(one).map_err(|_| at_session(Fmt1::SIZE, index))?;
        }
    }
    let needing = info.roles.iter().zip(&call.handles).filter(|(role, _)| **role != Role::None).map(|(_, h)| *h);
    let mut uses = uses.iter_mut();
    for h in needing {
        uses.next().ok_or(Rc::AUTH_MISSING)?.authorizes = Some(h);
    }
    Ok(())
}

/// Octets of the smallest TPMS_AUTH_COMMAND.
const MIN_AUTH_SIZE: usize = 4 + 2 + 1 + 2;

/// The octets of the authorization area.
fn area<'a>(body: &mut Reader<'a>) -> Result<&'a [u8], Rc> {
    let size: u32 = body.get().map_err(Fmt1::plain)?;
    let size = usize::try_from(size).map_err(|_| Rc::AUTHSIZE)?;
    if size < MIN_AUTH_SIZE { Err(Rc::AUTHSIZE) } else { body.take(size).map_err(|_| Rc::AUTHSIZE) }
}

fn read<'a>(r: &mut Reader<'a>) -> Result<SessionUse<'a>, Fmt1> {
    let handle = r.get::<ShAuthSession>()?.handle();
    Ok(SessionUse {
        handle,
        nonce_caller: r.get::<Tpm2b<'_, MAX_DIGEST>>()?.0,
        attributes: r.get()?,
        hmac: r.get::<Tpm2b<'_, MAX_DIGEST>>()?.0,
        authorizes: None,
        bound: false,
    })
}

/// - `REFERENCE_S0` and following: the session is not loaded
/// - `HANDLE`: it is loaded, but not as a session of this type
/// - what `check_attributes` and `check_audit` say
fn check(
    tpm: &Tpm,
    info: &CommandInfo,
    one: &SessionUse<'_>,
    before: &[SessionUse<'_>],
    index: usize,
) -> Result<(), Rc> {
    if one.is_password() {
        return check_password(one).map_err(|e| at_session(e, index));
    }
    let sessions = &tpm.ram.sessions;
    let Some(session) = sessions.get(one.handle) else {
        let other = sessions.is_loaded_as_other_type(one.handle);
        return Err(if other { at_session(Fmt1::HANDLE, index) } else { Rc::reference_s(index) });
    };
    check_attributes(info, one, before, session.symmetric).map_err(|e| at_session(e, index))?;
    let exclusive = one.attributes.has(SessionAttributes::AUDIT.with(SessionAttributes::AUDIT_EXCLUSIVE))
        && !one.attributes.has(SessionAttributes::AUDIT_RESET);
    if exclusive && session.audit.is_some() && tpm.ram.exclusive_audit != Some(one.handle) {
        return Err(Rc::EXCLUSIVE);
    }
    Ok(())
}

/// - `ATTRIBUTES`: a password serves neither encryption nor audit
/// - `NONCE`: a password has no nonce
fn check_password(one: &SessionUse<'_>) -> Result<(), Fmt1> {
    if one.attributes.without(SessionAttributes::CONTINUE_SESSION) != SessionAttributes(0) {
        return Err(Fmt1::ATTRIBUTES);
    }
    if one.nonce_caller.is_empty() { Ok(()) } else { Err(Fmt1::NONCE) }
}

/// - `HANDLE`: the session occurs twice
/// - for decryption, then for encryption: `ATTRIBUTES`: no parameter that could be encrypted, or a second session for
///   that; `SYMMETRIC`: the session has no algorithm for it
/// - `ATTRIBUTES`: a second session for audit; audit by a policy session; auditExclusive or auditReset without audit
///   (Part 2, 8.4)
fn check_attributes(
    info: &CommandInfo,
    one: &SessionUse<'_>,
    before: &[SessionUse<'_>],
    symmetric: SymDef,
) -> Result<(), Fmt1> {
    use SessionAttributes as A;
    if before.iter().any(|b| b.handle == one.handle) {
        return Err(Fmt1::HANDLE);
    }
    let second = |purpose| before.iter().any(|b| b.attributes.has(purpose));
    for (purpose, possible) in [(A::DECRYPT, info.decrypt), (A::ENCRYPT, info.encrypt)] {
        if !one.attributes.has(purpose) {
            continue;
        }
        if !possible || second(purpose) {
            return Err(Fmt1::ATTRIBUTES);
        }
        if symmetric == SymDef::Null {
            return Err(Fmt1::SYMMETRIC);
        }
    }
    let audits = one.attributes.has(A::AUDIT);
    if audits && (second(A::AUDIT) || one.handle.kind() != HandleKind::HmacSession) {
        return Err(Fmt1::ATTRIBUTES);
    }
    if !audits && one.attributes.any(A::AUDIT_EXCLUSIVE.with(A::AUDIT_RESET)) {
        return Err(Fmt1::ATTRIBUTES);
    }
    Ok(())
}

/// A code at a session, for codes of format one; others stay as they are.
pub(super) fn at_session(code: Fmt1, index: usize) -> Rc {
    code.at(At::Session(Nth::of_index(index)))
}
