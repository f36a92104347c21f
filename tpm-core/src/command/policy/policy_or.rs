//! TPM2_PolicyOR (Part 3, 23.6).

use crate::command::Command;
use crate::command::area::{Empty, handles, params};
use crate::crypto::hash::Digest;
use crate::pipeline::Call;
use crate::rc::{Fmt1, Rc};
use crate::session::SessionType;
use crate::tpm::Tpm;
use crate::wire::{DigestList, HandleType, ShPolicy};

pub(crate) struct PolicyOr;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { hashes: DigestList } }

impl Command for PolicyOr {
    const CODE: u32 = 0x171;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `SIZE` at `hashes`: fewer than two digests (more than eight do not unmarshal)
    /// - `VALUE` at `hashes`: policyDigest is not among them, and the session is not a trial
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        if p.hashes.0.len() < 2 {
            return Err(Fmt1::SIZE.at(Params::hashes));
        }
        let session = tpm.policy_session(h.session.handle())?;
        if session.kind != SessionType::Trial && !p.hashes.0.contains(&session.policy.digest) {
            return Err(Fmt1::VALUE.at(Params::hashes));
        }
        session.policy.digest = Digest::zero(session.hash);
        session.policy.extend(session.hash, Self::CODE, |w| p.hashes.0.iter().for_each(|d| w.put(d.as_slice())));
        Ok(Empty)
    }
}
