//! What a record that was opened holds: a TPM, one that waits for its receipt, or where it has gone. (How the firmware
//! tells them is in `migration::disk`.)

use crate::file::Refused;
use crate::inside::{Fact, Inside};
use crate::key::hex;
use anyhow::Result;
use migration::{Pending, Tombstone};
use sealed::{Beside, Kind, Section};

/// What is in an opened record.
pub(crate) enum Contents {
    /// A TPM that lives there.
    Lives(Inside),
    /// A TPM that has come, and is dead until its source says that it is.
    Waits(Inside, Pending),
    /// Nothing but where the TPM went.
    Moved(Tombstone),
}

impl Contents {
    /// What a record of this kind holds, with these sections.
    pub(crate) fn open(kind: Option<Kind>, beside: &Beside, tpm: &[u8]) -> Result<Self> {
        let no_contents = |_| Refused::Contents;
        match (beside.get(Section::Handover), kind == Some(Kind::Moved)) {
            (None, false) => Inside::open(tpm).map(Self::Lives),
            (Some(octets), false) => {
                let pending = Pending::parse(octets).map_err(no_contents)?;
                Ok(Self::Waits(Inside::open_whole(tpm)?, pending))
            }
            (Some(octets), true) if tpm.is_empty() => Ok(Self::Moved(Tombstone::parse(octets).map_err(no_contents)?)),
            (_, true) => Err(Refused::Contents.into()),
        }
    }

    /// Its TPM, if one is there.
    pub(crate) fn inside(&self) -> Option<&Inside> {
        match self {
            Self::Lives(inside) | Self::Waits(inside, _) => Some(inside),
            Self::Moved(_) => None,
        }
    }

    /// What may be seen, and the handles of NV Indices. Of a tombstone its receipt is a secret.
    pub(crate) fn facts(&mut self) -> Result<(Vec<Fact>, Vec<u32>)> {
        let fact = |what: &str, said: String| (what.to_owned(), said);
        match self {
            Self::Lives(inside) => inside.facts(),
            Self::Waits(inside, pending) => {
                let (inside, indices) = inside.facts()?;
                let mut facts = vec![
                    fact(
                        "handover",
                        "the TPM waits here for the receipt of the firmware from which it comes".to_owned(),
                    ),
                    fact("last epoch there", pending.epoch.to_string()),
                    fact("measurement of that firmware", hex(&pending.from)),
                    fact("promise of the receipt", hex(&pending.promise)),
                ];
                facts.extend(inside);
                Ok((facts, indices))
            }
            Self::Moved(tombstone) => {
                let facts = vec![
                    fact("handover", "the TPM has moved from here".to_owned()),
                    fact("last epoch here", tombstone.epoch.to_string()),
                    fact("measurement of the firmware that has it", hex(&tombstone.to)),
                    fact("chip of that firmware", hex(&tombstone.chip)),
                ];
                Ok((facts, Vec::new()))
            }
        }
    }

    /// What `check` says of it.
    pub(crate) const fn verdict(&self) -> &'static str {
        match self {
            Self::Lives(_) => "a TPM is made of it",
            Self::Waits(..) => "a TPM is made of it, once its receipt has come",
            Self::Moved(_) => "the TPM has moved: there is none to be made of it",
        }
    }
}
