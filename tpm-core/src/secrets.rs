//! No type that holds a secret can be printed, copied unseen, or compared in a time that depends on it.

use static_assertions::assert_not_impl_any;
use zeroize::Zeroizing;

use crate::command::call::{Call, SessionUse};
use crate::crypto::cmac::Cmac;
use crate::crypto::drbg::Drbg;
use crate::crypto::hmac::Hmac;
use crate::crypto::rsa::RsaPrivate;
use crate::crypto::sym::Cipher;
use crate::data::tpm::Tpm;
use crate::data::{commit, nv, object, session, state};
use crate::operation::object::{create, protect};
use crate::secret::Secret;
use crate::{secret, wire};

macro_rules! secret { ($($t:ty),* $(,)?) => { $(assert_not_impl_any!($t: core::fmt::Debug, core::fmt::Display, Clone, PartialEq);)* } }

// authValues, seeds, proofs, session keys, sealed data, private scalars and primes, nonces of commitments, contexts,
// shared secrets: all of them are this.
secret!(Secret<1>, Secret<32>, Secret<64>, Secret<{ crate::profile::MAX_CONTEXT_SIZE }>);
secret!(Drbg, Hmac, Cmac, Cipher, RsaPrivate);
secret!(wire::Auth, wire::Sensitive, wire::SensitiveComposite, wire::OptionalSensitive);
secret!(object::Object, object::Slot, object::PersistentObjects);
secret!(object::sequence::Sequence, object::sequence::Work, object::sequence::Mac, object::message::Message);
secret!(create::Derived, create::Primary<'static>, create::Fresh<'static>);
secret!(protect::Wrapping<'static>, protect::InnerWrapper<'static>);
secret!(session::Session, session::Sessions, Call, SessionUse);
secret!(nv::NvIndex, nv::NvMemory);
secret!(commit::Commit, secret::Seed, state::Persistent, state::StateReset, state::StateClear, state::Ram, Tpm);

/// The control: a type of which the same assertion would not hold. That it does not compile, the documentation of
/// [`Secret`] tests.
#[test]
fn other_types_can_be_copied_and_compared() {
    fn usable<T: core::fmt::Debug + Clone + PartialEq>() {}
    usable::<crate::crypto::hash::Digest>();
    usable::<Zeroizing<[u8; 4]>>();
}
