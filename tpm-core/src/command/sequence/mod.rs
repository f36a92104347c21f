//! Part 3, 17: Hash/HMAC/Event Sequences.

pub(crate) mod event_sequence_complete;
pub(crate) mod hash_sequence_start;
pub(crate) mod mac_start;
pub(crate) mod sequence_complete;
pub(crate) mod sequence_update;
pub(crate) mod sign_sequence_start;
pub(crate) mod verify_sequence_start;

use crate::object::message::{Context, Message, takes_context};
use crate::object::{Object, Sequence, Work};
use crate::rc::{At, Fmt1, Rc};
use crate::wire::Auth;

/// Where a command that starts a message has its parts.
struct Positions {
    key: At,
    auth: At,
    context: At,
}

/// A sequence for a message that is signed or verified.
///
/// - `KEY` at the key: no signing key
/// - `SCHEME`, `KEY` at the key: what [`Message::new`] says
/// - `SIZE` at the authValue: longer than digests of the key's nameAlg
/// - `VALUE` at the context: not empty, and the scheme has no use for it
fn message(signs: bool, key: Option<&Object>, auth: Auth, context: Context, at: &Positions) -> Result<Sequence, Rc> {
    let key = key.filter(|key| key.can_sign()).ok_or(Fmt1::KEY.at(at.key))?;
    if key.public.name_alg.is_some_and(|alg| auth.len() > alg.digest_size()) {
        return Err(Fmt1::SIZE.at(at.auth));
    }
    let useless = !context.is_empty() && !takes_context(key);
    let message = Message::new(signs, key, context).map_err(|e| e.at(at.key))?;
    if useless { Err(Fmt1::VALUE.at(at.context)) } else { Ok(Sequence::new(auth, Work::Message(message))) }
}
