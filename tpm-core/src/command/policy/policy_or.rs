//! TPM2_PolicyOR (Part 3, 23.6).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{DigestList, HandleType, Reader, ShPolicy, Unmarshal};

pub(crate) struct PolicyOr;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { hashes: OrList } }

/// TPML_DIGEST of at least two digests.
pub(crate) struct OrList(DigestList);

impl Unmarshal<'_> for OrList {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let count: u32 = r.clone().get()?;
        if count < 2 { Err(Fmt1::SIZE) } else { r.get().map(Self) }
    }
}

impl Command for PolicyOr {
    const CODE: u32 = 0x171;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `hashes`: fewer than two digests, or more than eight
    /// - `VALUE` at `hashes`: policyDigest is not among them, and the session is not a trial
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let hashes = &p.hashes.0.0;
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() && !hashes.contains(&session.policy.digest) {
            return Err(Fmt1::VALUE.at(Params::hashes));
        }
        session.policy.forget_digest(session.hash);
        session.policy.extend(session.hash, Self::CODE, |w| hashes.iter().for_each(|d| w.put(d.as_slice())));
        Ok(Empty)
    }
}
