//! TPM2_Quote (Part 3, 18.4).

use super::Answer;
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Attested, Data, DhObject, Nullable, PcrSelection, SigScheme};

pub(crate) struct Quote;

handles! { pub(crate) struct Handles { sign_handle: User<Nullable<DhObject>> } }
params! { pub(crate) struct Params<'a> { qualifying_data: Data<'a>, in_scheme: SigScheme, pcr_select: PcrSelection } }

impl Command for Quote {
    const CODE: u32 = 0x158;
    const CLOCK: bool = true;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `KEY` at `sign_handle`: no signing key
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key; or
    ///   there is no hash for pcrDigest: TPM_RH_NULL and no scheme, or an ML-DSA key without nameAlg
    /// - `VALUE`: the key is too small for the scheme's digest
    ///
    /// PCR that are not allocated count as not selected.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        let hash = signer.hash.ok_or(Fmt1::SCHEME.at(Params::in_scheme))?;
        let pcrs = &tpm.ram.pcrs;
        let (pcr_digest, pcr_select) = (pcrs.digest(hash, &p.pcr_select), pcrs.allocated_of(p.pcr_select));
        Answer::of(tpm.attest(&signer, p.qualifying_data, Attested::Quote { pcr_select, pcr_digest })?)
    }
}
