//! Which locality has the TPM, and which want it.

/// The last of those that software asks for by TPM_LOC_CTRL; the next one is the hardware's.
pub(crate) const HARDWARE: u8 = 4;

/// Requests, and who was served.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Localities {
    /// The locality that has the TPM.
    pub(crate) active: Option<u8>,
    /// A bit for each that has asked and waits.
    pub(crate) waiting: u8,
    /// A bit for each from which the TPM was seized.
    pub(crate) seized: u8,
}

const fn bit(locality: u8) -> u8 {
    1u8.wrapping_shl(locality as u32)
}

impl Localities {
    pub(crate) fn has(&self, locality: u8) -> bool {
        self.active == Some(locality)
    }

    pub(crate) fn was_seized(&self, locality: u8) -> bool {
        self.seized & bit(locality) != 0
    }

    fn grant(&mut self, locality: u8) {
        self.active = Some(locality);
        self.waiting &= !bit(locality);
        self.seized &= !bit(locality);
    }

    /// requestAccess: at once if nobody has the TPM, else after whoever has it.
    pub(crate) fn request(&mut self, locality: u8) {
        match self.active {
            None => self.grant(locality),
            Some(active) if active == locality => (),
            Some(_) => self.waiting |= bit(locality),
        }
    }

    /// Whether [`Localities::seize`] would change anything.
    pub(crate) fn can_seize(&self, locality: u8) -> bool {
        self.active.is_none_or(|active| active < locality)
    }

    /// Seize, by a locality above the active one.
    pub(crate) fn seize(&mut self, locality: u8) {
        if !self.can_seize(locality) {
            return;
        }
        if let Some(active) = self.active {
            self.seized |= bit(active);
        }
        self.grant(locality);
    }

    /// Relinquish: the highest that waits is next. From a locality that waits: it does not any more.
    pub(crate) fn relinquish(&mut self, locality: u8) {
        self.waiting &= !bit(locality);
        if self.has(locality) {
            self.active = None;
            if let Some(next) = self.waiting.checked_ilog2().and_then(|next| u8::try_from(next).ok()) {
                self.grant(next);
            }
        }
    }
}
