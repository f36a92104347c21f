//! TPM2_EncryptDecrypt (Part 3, 15.2).

use super::cipher::{self, Answer, Request};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::sym::{BLOCK, Mode};
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::Rc;
use crate::wire::{DhObject, Tpm2b};

pub(crate) struct EncryptDecrypt;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! {
    pub(crate) struct Params<'a> {
        decrypt: bool,
        mode: Option<Mode>,
        iv_in: Tpm2b<'a, BLOCK>,
        in_data: Tpm2b<'a, MAX_DIGEST_BUFFER>,
    }
}

impl Command for EncryptDecrypt {
    const CODE: u32 = 0x164;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - what [`cipher::run`] says
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let request = Request {
            key: Handles::key,
            decrypt: p.decrypt,
            mode: (p.mode, Params::mode),
            iv_in: (p.iv_in.0, Params::iv_in),
            in_data: (p.in_data.0, Params::in_data),
        };
        cipher::run(tpm.object(h.key.handle()), &request)
    }
}
