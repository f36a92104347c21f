//! TPM2_EncryptDecrypt2 (Part 3, 15.3): its data come first, so that they can be encrypted.

use super::cipher::{self, Answer, Request};
use crate::command::area::{User, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::sym::{BLOCK, Mode};
use crate::data::tpm::Tpm;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::Rc;
use crate::wire::{DhObject, Tpm2b};

pub(crate) struct EncryptDecrypt2;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! {
    pub(crate) struct Params<'a> {
        in_data: Tpm2b<'a, MAX_DIGEST_BUFFER>,
        decrypt: bool,
        mode: Option<Mode>,
        iv_in: Tpm2b<'a, BLOCK>,
    }
}

impl Command for EncryptDecrypt2 {
    const CODE: u32 = 0x193;
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
