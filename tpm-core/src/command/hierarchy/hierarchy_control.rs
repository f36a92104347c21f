//! TPM2_HierarchyControl (Part 3, 24.2).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Command, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::rc::Rc;
use crate::wire::{Handle, HandleType, RhBaseHierarchy, RhEnables};

pub(crate) struct HierarchyControl;

handles! { pub(crate) struct Handles { auth_handle: User<RhBaseHierarchy> } }
params! { pub(crate) struct Params { enable: RhEnables, state: bool } }

impl Command for HierarchyControl {
    const CODE: u32 = 0x121;
    const NV: bool = true;
    const EXTENSIVE: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `AUTH_TYPE`: this authorization cannot change that enable, or only the platform can SET it
    ///
    /// phEnable comes back with the next TPM2_Startup only: while it is CLEAR the platform authorizes nothing.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let (by, enable) = (h.auth_handle.handle(), p.enable.handle());
        let own = by == enable && (!p.state || tpm.hierarchy_enabled(enable));
        if by != Handle::PLATFORM && !own {
            return Err(Rc::AUTH_TYPE);
        }
        let selected = tpm.enable_mut(enable).ok_or(Fault::Handle)?;
        if *selected != p.state {
            *selected = p.state;
            if !p.state {
                tpm.flush_hierarchy(enable);
            }
            tpm.void_shutdown();
        }
        Ok(Empty)
    }
}
