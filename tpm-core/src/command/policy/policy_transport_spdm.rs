//! TPM2_PolicyTransportSPDM (Part 3, 23.25).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::hash::{Digest, Hasher};
use crate::data::tpm::Tpm;
use crate::operation::policy::name_alg_of;
use crate::rc::{At, Fmt1, Rc};
use crate::wire::{HandleType, Name, ShPolicy};

pub(crate) struct PolicyTransportSpdm;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { req_key_name: Name, tpm_key_name: Name } }

impl Command for PolicyTransportSpdm {
    const CODE: u32 = 0x1a1;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `VALUE`: this was demanded before
    /// - `SIZE`, `HASH` at `req_key_name`, then at `tpm_key_name`: neither empty nor the Name of a key
    ///
    /// No command reaches this TPM through SPDM, so the session serves for computing policies and never authorizes
    /// (`CHANNEL`).
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            if session.policy.secure_channel {
                return Err(Fmt1::VALUE.plain());
            }
            check_name(&p.req_key_name, Params::req_key_name)?;
            check_name(&p.tpm_key_name, Params::tpm_key_name)?;
        }
        let mut keys = Digest::EMPTY;
        if !p.req_key_name.is_empty() || !p.tpm_key_name.is_empty() {
            let mut hasher = Hasher::new(session.hash);
            for name in [&p.req_key_name, &p.tpm_key_name] {
                hasher.update(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
                hasher.update(name.as_slice());
            }
            keys = hasher.finish();
        }
        session.policy.extend(session.hash, Self::CODE, |w| w.put(keys.as_slice()));
        session.policy.secure_channel = true;
        Ok(Empty)
    }
}

fn check_name(name: &Name, at: At) -> Result<(), Rc> {
    if name.is_empty() { Ok(()) } else { name_alg_of(name, at).map(drop) }
}
