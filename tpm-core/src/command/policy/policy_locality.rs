//! TPM2_PolicyLocality (Part 3, 23.8).

use crate::command::area::{Empty, handles, params};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::data::tpm::Tpm;
use crate::rc::{Fmt1, Rc};
use crate::wire::{HandleType, LocalityAttributes, Marshal, ShPolicy};

pub(crate) struct PolicyLocality;

handles! { pub(crate) struct Handles { session: ShPolicy } }
params! { pub(crate) struct Params { locality: LocalityAttributes } }

/// Localities 0 to 4, each a bit; from 32 on the number of an extended one.
const ALL: u8 = 0x1f;

impl Command for PolicyLocality {
    const CODE: u32 = 0x16f;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Empty;

    /// Unless the session is a trial:
    /// - `RANGE` at `locality`: none, or none that an earlier TPM2_PolicyLocality left
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params) -> Result<Empty, Rc> {
        let session = tpm.policy_session(h.session.handle())?;
        if !session.is_trial() {
            let left = remaining(session.policy.locality, p.locality.0).ok_or(Fmt1::RANGE.at(Params::locality))?;
            session.policy.locality = Some(left);
        }
        session.policy.extend(session.hash, Self::CODE, |w| p.locality.marshal(w));
        Ok(Empty)
    }
}

/// What is left of the localities so far: of the normal ones those in both, of the extended ones the one that is the
/// same.
fn remaining(old: Option<u8>, new: u8) -> Option<u8> {
    if new > ALL {
        return old.is_none_or(|old| old == new).then_some(new);
    }
    let old = old.unwrap_or(ALL);
    (old <= ALL && old & new != 0).then_some(old & new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localities_only_become_fewer() {
        assert_eq!(remaining(None, 0), None);
        assert_eq!(remaining(None, 0b1_0010), Some(0b1_0010));
        assert_eq!(remaining(Some(0b1_0010), 0b0_0110), Some(0b0_0010));
        assert_eq!(remaining(Some(0b1_0010), 0b0_0100), None);
        assert_eq!(remaining(None, 40), Some(40));
        assert_eq!(remaining(Some(40), 40), Some(40));
        assert_eq!(remaining(Some(40), 41), None);
        assert_eq!(remaining(Some(40), 1), None);
        assert_eq!(remaining(Some(1), 40), None);
        assert_eq!(remaining(None, 0x20), Some(0x20));
    }
}
