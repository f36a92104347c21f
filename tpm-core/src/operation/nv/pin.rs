//! PIN indices (Part 1, 34.2.8): their authValue can be used while pinCount is less than pinLimit.

use crate::data::tpm::Tpm;
use crate::wire::{Handle, HandleKind, NvAttributes, NvType};

/// TPMS_NV_PIN_COUNTER_PARAMETERS (Part 2, 13.3).
#[derive(Clone, Copy)]
struct Pin {
    count: u32,
    limit: u32,
}

impl Pin {
    fn of(number: u64) -> Self {
        let [count, limit] = [number >> 32, number & 0xffff_ffff].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Self { count, limit }
    }

    fn number(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.limit)
    }
}

impl Tpm {
    /// The type of a PIN index.
    pub(crate) fn pin_type(&self, h: Handle) -> Option<NvType> {
        if h.kind() != HandleKind::Nv {
            return None;
        }
        let nv_type = self.nv_index(h)?.public.attributes.nv_type()?;
        matches!(nv_type, NvType::PinFail | NvType::PinPass).then_some(nv_type)
    }

    fn pin(&self, h: Handle) -> Option<Pin> {
        let written = self.nv_index(h)?.public.attributes.has(NvAttributes::WRITTEN);
        written.then(|| Pin::of(self.persistent.nv.number(h)))
    }

    /// Whether the authValue may be used once more, by whatever kind of session: that of a PIN index not before it has
    /// been written, and while pinCount is less than pinLimit; any other always (Part 1, 34.2.6.6).
    pub(crate) fn pin_available(&self, h: Handle) -> bool {
        self.pin_type(h).is_none() || self.pin(h).is_some_and(|pin| pin.count < pin.limit)
    }

    /// The authValue of an index was used. PIN Fail counts failures, until a success; PIN Pass counts successes.
    pub(crate) fn count_pin(&mut self, h: Handle, success: bool) {
        let Some(nv_type) = self.pin_type(h) else { return };
        let Some(mut pin) = self.pin(h) else { return };
        pin.count = match (nv_type, success) {
            (NvType::PinFail, true) => 0,
            (NvType::PinPass, false) => return,
            _ => pin.count.saturating_add(1),
        };
        self.write_nv(h, 0, &pin.number().to_be_bytes());
    }
}
