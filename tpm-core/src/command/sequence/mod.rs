//! Part 3, 17: Hash/HMAC/Event Sequences.

pub(crate) mod event_sequence_complete;
pub(crate) mod hash_sequence_start;
pub(crate) mod mac_start;
pub(crate) mod sequence_complete;
pub(crate) mod sequence_update;
pub(crate) mod sign_sequence_start;
pub(crate) mod verify_sequence_start;

use crate::data::object::message::{Context, Message};
use crate::data::object::{Object, Sequence, Work};
use crate::operation::object::message::takes_context;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{Auth, Scheme};

/// Where a command that starts a message has its parts.
struct Positions {
    key: At,
    auth: At,
    context: At,
}

/// A sequence for a message that is signed or verified.
///
/// - `KEY` at the key: no signing key
/// - `SIZE` at the authValue: longer than digests of the key's nameAlg
/// - `SCHEME`, `KEY` at the key: what [`Message::new`] says; `SCHEME` also for ECDAA, if it is to be verified
/// - `VALUE` at the context: not empty, and the scheme has no use for it
/// - `SIZE` at the context: the scheme takes a count of TPM2_Commit, and this is not one
fn message(signs: bool, key: Option<&Object>, auth: Auth, context: Context, at: &Positions) -> Result<Sequence, Rc> {
    let key = key.filter(|key| key.can_sign()).ok_or(Fmt1::KEY.at(at.key))?;
    if key.public.name_alg.is_some_and(|alg| auth.len() > alg.digest_size()) {
        return Err(Fmt1::SIZE.at(at.auth));
    }
    let scheme = if takes_context(key) { Ok(Scheme::Null) } else { key.scheme_with(context.as_slice()) };
    if matches!(key.own_scheme(), Scheme::Ecdaa(..)) && !signs {
        return Err(Fmt1::SCHEME.at(at.key));
    }
    let message = Message::new(signs, key, context).map_err(|e| e.at(at.key))?;
    scheme.map_err(|e| if e == Fmt1::SCHEME { e.at(at.key) } else { e.at(at.context) })?;
    Ok(Sequence::new(auth, Work::Message(message)))
}
