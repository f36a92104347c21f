//! TPM2_HMAC_Start and TPM2_MAC_Start (Part 3, 17.2 and 17.3), which have one command code: the latter with every kind
//! of key.

use crate::command::area::{Empty, User, WithHandle, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::command::symmetric::mac;
use crate::data::object::{Sequence, Work};
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{Auth, DhObject, MacScheme};

pub(crate) struct MacStart;

handles! { pub(crate) struct Handles { key: User<DhObject> } }
params! { pub(crate) struct Params { auth: Auth, in_scheme: Option<MacScheme> } }

impl Command for MacStart {
    const CODE: u32 = 0x15b;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = WithHandle<Empty>;

    /// - what [`mac::choose`] says
    /// - `OBJECT_MEMORY`: no free slot
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<WithHandle<Empty>, Rc> {
        let key = mac::choose(tpm.object(h.key.handle()), p.in_scheme, Handles::key, Params::in_scheme)?;
        let mac = key.start().ok_or(Fmt1::KEY.at(Handles::key))?;
        let handle = tpm.ram.load_sequence(Sequence::new(p.auth, Work::Mac(mac)))?;
        Ok(WithHandle(handle, Empty))
    }
}
