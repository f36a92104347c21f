//! TPM2_SetCommandCodeAuditStatus (Part 3, 21.2).

use crate::command::area::{Empty, User, handles, params};
use crate::command::call::Call;
use crate::command::interface::{Audit, Command, Presence, ReadOnly};
use crate::crypto::hash::HashAlg;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{List, MAX_CAP_ELEMENTS, RhProvision};

pub(crate) struct SetCommandCodeAuditStatus;

/// TPML_CC (Part 2, 10.9.1).
type CodeList = List<u32, MAX_CAP_ELEMENTS>;

handles! { #[expect(dead_code, reason = "one handle only authorizes")] pub(crate) struct Handles { auth: User<RhProvision> } }
params! { pub(crate) struct Params { audit_alg: Option<HashAlg>, set_list: CodeList, clear_list: CodeList } }

impl Command for SetCommandCodeAuditStatus {
    const CODE: u32 = 0x140;
    const AUDIT: Audit = Audit::Always;
    const NV: bool = true;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// - `VALUE` at `audit_alg`: another algorithm together with changes of the list
    ///
    /// Another algorithm empties the log. Commands that are not implemented are passed over.
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, _h: Handles, p: Params) -> Result<Empty, Rc> {
        if let Some(alg) = p.audit_alg.filter(|alg| *alg != tpm.persistent.audit.alg) {
            if !p.set_list.0.is_empty() || !p.clear_list.0.is_empty() {
                return Err(Fmt1::VALUE.at(Params::audit_alg));
            }
            tpm.persistent.change().audit.alg = alg;
            tpm.reset.change().audit_digest = None;
            return Ok(Empty);
        }
        let lists = tpm.persistent.change();
        p.set_list.0.iter().for_each(|code| lists.list_audit(*code, true));
        p.clear_list.0.iter().for_each(|code| lists.list_audit(*code, false));
        Ok(Empty)
    }
}
