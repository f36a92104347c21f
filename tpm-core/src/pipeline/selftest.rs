//! Which self-tests come before a command.

use crate::command::call::Call;
use crate::command::interface::{Brings, CommandInfo};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::wire::{AlgId, Reader};

impl Tpm {
    /// Before a command is authorized: everything that is quickly tested.
    ///
    /// A fault if a test failed.
    pub(super) fn test_before(&mut self, info: &CommandInfo) -> Result<(), Fault> {
        if self.ram.fault.is_some() || info.untested { Ok(()) } else { self.test_quick() }
    }

    /// Before the action: the algorithms of the keys that the command uses or brings.
    ///
    /// A fault if a test failed.
    pub(super) fn test_keys_before(&mut self, info: &CommandInfo, call: &Call, parameters: &[u8]) -> Result<(), Fault> {
        for h in &call.handles {
            if let Some(object) = self.object(*h) {
                self.test_keys_of(object.public.object_type().id())?;
            }
        }
        brought_type(info.brings, parameters).map_or(Ok(()), |alg| self.test_keys_of(alg))
    }
}

/// The type of the key that the parameters bring.
fn brought_type(brings: Brings, parameters: &[u8]) -> Option<AlgId> {
    match brings {
        Brings::Nothing => None,
        Brings::Ecc => Some(AlgId::ECC),
        Brings::Public | Brings::Template => {
            let mut r = Reader::new(parameters);
            let first: u16 = r.get().ok()?;
            r.take(first.into()).ok()?;
            let _size: u16 = r.get().ok()?;
            r.get().ok()
        }
    }
}
