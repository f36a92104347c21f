//! The response: audit, encryption, nonces, HMACs (Part 1, 15 and 16; Part 3, 5.8 and 5.9).

use super::digest::{cp_hash, rp_hash};
use super::{authorize, parameter};
use crate::command::call::{Call, SessionUse};
use crate::command::interface::CommandInfo;
use crate::crypto::hash::{Digest, HashAlg, digest};
use crate::crypto::hmac::hmac;
use crate::data::policy::PolicyState;
use crate::data::session::SessionType;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::Rc;
use crate::wire::{Handle, Marshal, SessionAttributes, Writer, st};

const HEADER: usize = 10;

/// An error response: header only.
pub(super) fn error(rc: Rc, response: &mut [u8]) -> usize {
    let mut w = Writer::new(response);
    w.put(&rc.response());
    if w.fits() { w.len() } else { 0 }
}

/// Where the response parameters start.
pub(super) fn parameters_start(info: &CommandInfo, call: &Call<'_>) -> usize {
    let handle = if info.reply_handle { 4 } else { 0 };
    let size = if call.sessions.is_empty() { 0 } else { 4 };
    HEADER + handle + size
}

/// Octets that the transport's buffer has for response parameters, when the rest is as long as it can be.
pub(super) fn room(tpm: &Tpm, info: &CommandInfo, call: &Call<'_>) -> usize {
    let of_session = |one: &SessionUse<'_>| {
        // Nonce and HMAC with their sizes, and the attributes between them.
        let session = if one.is_password() { None } else { tpm.ram.sessions.get(one.handle) };
        session.map_or(5, |s| s.nonce_tpm.len().saturating_add(s.hash.digest_size()).saturating_add(5))
    };
    let sessions = call.sessions.iter().map(of_session).fold(0, usize::saturating_add);
    tpm.ram.buffer_size.saturating_sub(parameters_start(info, call)).saturating_sub(sessions)
}

/// cpHash for each kind of audit that the command is subject to, taken before the action changes any Name or what is
/// audited.
pub(super) struct AuditHashes {
    /// in the algorithm of the audit session
    session: Option<Digest>,
    /// in the algorithm of command audit
    command: Option<(HashAlg, Digest)>,
}

pub(super) fn audit_cp_hashes(tpm: &Tpm, call: &Call<'_>, parameters: &[u8]) -> AuditHashes {
    let session = audit_session(call).and_then(|one| tpm.ram.sessions.get(one.handle));
    let audit = &tpm.persistent.audit;
    if session.is_none() && !audit.commands.has(call.code) {
        return AuditHashes { session: None, command: None };
    }
    AuditHashes {
        session: session.map(|s| cp_hash(tpm, s.hash, call, parameters)),
        command: audit.commands.has(call.code).then(|| (audit.alg, cp_hash(tpm, audit.alg, call, parameters))),
    }
}

fn audit_session<'c>(call: &'c Call<'_>) -> Option<&'c SessionUse<'c>> {
    call.sessions.iter().find(|s| s.attributes.has(SessionAttributes::AUDIT))
}

/// Completes the response around parameters that the action has already written to the tail.
pub(super) fn success(
    tpm: &mut Tpm,
    info: &CommandInfo,
    call: &Call<'_>,
    audit: AuditHashes,
    handle: Option<Handle>,
    (head, tail): (&mut [u8], &mut [u8]),
    len: usize,
) -> Result<usize, Rc> {
    let parameters = tail.get_mut(..len).ok_or(Fault::Response)?;
    roll_nonces(tpm, call)?;
    parameter::encrypt(tpm, call, parameters)?;
    update_session_audit(tpm, info, call, audit.session, parameters);
    if let Some((hash, cp_hash)) = audit.command {
        tpm.audit_command(hash, &cp_hash, &rp_hash(hash, call, parameters));
    }
    let (parameters, rest) = tail.split_at_mut_checked(len).ok_or(Fault::Response)?;
    let sessions = write_sessions(tpm, call, parameters, Writer::new(rest))?;
    end_sessions(tpm, call);
    tpm.ram.flush_complete_sequences(&call.handles);
    let total = head.len().saturating_add(len).saturating_add(sessions);
    let mut w = Writer::new(head);
    (if call.sessions.is_empty() { st::NO_SESSIONS } else { st::SESSIONS }).marshal(&mut w);
    u32::try_from(total).map_err(|_| Fault::Capacity)?.marshal(&mut w);
    0u32.marshal(&mut w);
    if info.reply_handle {
        handle.ok_or(Fault::NoResponseHandle)?.marshal(&mut w);
    }
    if !call.sessions.is_empty() {
        u32::try_from(len).map_err(|_| Fault::Capacity)?.marshal(&mut w);
    }
    Ok(total)
}

/// A new nonceTPM for every session that is not a password.
fn roll_nonces(tpm: &mut Tpm, call: &Call<'_>) -> Result<(), Rc> {
    for one in call.sessions.iter().filter(|s| !s.is_password()) {
        let Some(size) = tpm.ram.sessions.get(one.handle).map(|s| s.nonce_tpm.len()) else { continue };
        let nonce = tpm.random_digest(size)?;
        if let Some(session) = tpm.ram.sessions.get_mut(one.handle) {
            session.nonce_tpm = nonce;
        }
    }
    Ok(())
}

/// Extends the audit session's digest (Part 1, 17.2) and keeps track of exclusivity: a command without this session
/// ends it, unless it is one that admits no sessions.
fn update_session_audit(
    tpm: &mut Tpm,
    info: &CommandInfo,
    call: &Call<'_>,
    cp_hash: Option<Digest>,
    parameters: &[u8],
) {
    let (Some(one), Some(cp_hash)) = (audit_session(call), cp_hash) else {
        if info.sessions {
            tpm.ram.exclusive_audit = None;
        }
        return;
    };
    let exclusive = tpm.ram.exclusive_audit;
    let Some(session) = tpm.ram.sessions.get_mut(one.handle) else { return };
    let first = session.audit.is_none() || one.attributes.has(SessionAttributes::AUDIT_RESET);
    let old = session.audit.filter(|_| !first).unwrap_or_else(|| Digest::zero(session.hash));
    let rp_hash = rp_hash(session.hash, call, parameters);
    session.audit = Some(digest(session.hash, &[old.as_slice(), cp_hash.as_slice(), rp_hash.as_slice()]));
    tpm.ram.exclusive_audit = if first || exclusive == Some(one.handle) { Some(one.handle) } else { None };
}

/// TPMS_AUTH_RESPONSE of each session (Part 2, 10.13.3).
fn write_sessions(tpm: &Tpm, call: &Call<'_>, parameters: &[u8], mut w: Writer<'_>) -> Result<usize, Rc> {
    for one in &call.sessions {
        let attributes = response_attributes(tpm, one);
        if one.is_password() {
            // An empty nonce and an empty HMAC.
            0u16.marshal(&mut w);
            attributes.marshal(&mut w);
            0u16.marshal(&mut w);
            continue;
        }
        let session = tpm.ram.sessions.get(one.handle).ok_or(Fault::NoSession)?;
        let hmac = response_hmac(tpm, call, one, parameters, attributes)?;
        session.nonce_tpm.marshal(&mut w);
        attributes.marshal(&mut w);
        hmac.marshal(&mut w);
    }
    if w.fits() { Ok(w.len()) } else { Err(Fault::Response.into()) }
}

fn response_attributes(tpm: &Tpm, one: &SessionUse<'_>) -> SessionAttributes {
    if one.is_password() {
        return one.attributes.with(SessionAttributes::CONTINUE_SESSION);
    }
    if !one.attributes.has(SessionAttributes::AUDIT) {
        return one.attributes;
    }
    // auditReset is always CLEAR in a response (Part 2, 8.4).
    let attributes = one.attributes.without(SessionAttributes::AUDIT_EXCLUSIVE).without(SessionAttributes::AUDIT_RESET);
    if tpm.ram.exclusive_audit == Some(one.handle) {
        attributes.with(SessionAttributes::AUDIT_EXCLUSIVE)
    } else {
        attributes
    }
}

fn response_hmac(
    tpm: &Tpm,
    call: &Call<'_>,
    one: &SessionUse<'_>,
    parameters: &[u8],
    attributes: SessionAttributes,
) -> Result<Digest, Rc> {
    let session = tpm.ram.sessions.get(one.handle).ok_or(Fault::NoSession)?;
    let key = authorize::hmac_key(tpm, session, one)?;
    let no_hmac = key.is_empty() && one.hmac.is_empty();
    if no_hmac || session.policy.password {
        return Ok(Digest::EMPTY);
    }
    let rp_hash = rp_hash(session.hash, call, parameters);
    let parts = [rp_hash.as_slice(), session.nonce_tpm.as_slice(), one.nonce_caller, &[attributes.0]];
    Ok(hmac(session.hash, key.as_slice(), &parts))
}

/// Flushes sessions without continueSession; a policy session that goes on starts anew with its nonceTPM (Part 1,
/// 16.6.18).
fn end_sessions(tpm: &mut Tpm, call: &Call<'_>) {
    let ram = &mut tpm.ram;
    for one in call.sessions.iter().filter(|s| !s.is_password()) {
        if !one.attributes.has(SessionAttributes::CONTINUE_SESSION) {
            ram.sessions.flush(one.handle);
            if ram.exclusive_audit == Some(one.handle) {
                ram.exclusive_audit = None;
            }
            continue;
        }
        let hash = ram.sessions.get(one.handle).filter(|s| s.kind == SessionType::Policy).map(|s| s.hash);
        let fresh = hash.map(|hash| PolicyState::new(hash, ram.now()));
        if let (Some(fresh), Some(session)) = (fresh, ram.sessions.get_mut(one.handle)) {
            session.policy = fresh;
        }
    }
}
