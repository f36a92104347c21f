//! APIC protocol (protocol 3): calls, and the registers of an x2APIC by their MSRs (APM volume 2, 16.11).

use crate::bits::{byte_at, high32};

/// Call numbers.
pub mod call {
    /// SVSM_APIC_QUERY_FEATURES: RCX = features.
    pub const QUERY_FEATURES: u32 = 0;
    /// SVSM_APIC_CONFIGURE: RCX = what to do.
    pub const CONFIGURE: u32 = 1;
    /// SVSM_APIC_READ_REGISTER: RCX = register, RDX = value.
    pub const READ_REGISTER: u32 = 2;
    /// SVSM_APIC_WRITE_REGISTER: RCX = register, RDX = value.
    pub const WRITE_REGISTER: u32 = 3;
    /// SVSM_APIC_CONFIGURE_VECTOR: RCX = [`super::VectorConfig`].
    pub const CONFIGURE_VECTOR: u32 = 4;
}

/// RCX of CONFIGURE.
pub mod configure {
    /// Is emulation still wanted on this vCPU?
    pub const QUERY: u64 = 0;
    /// One less that wants it.
    pub const DEREGISTER: u64 = 1;
    /// One more.
    pub const REGISTER: u64 = 2;
}

/// Registers.
#[expect(missing_docs, reason = "the names are the manual's")]
pub mod register {
    pub const ID: u64 = 0x802;
    pub const TPR: u64 = 0x808;
    pub const PPR: u64 = 0x80A;
    pub const EOI: u64 = 0x80B;
    pub const LDR: u64 = 0x80D;
    /// The first of eight, as those of TMR and IRR.
    pub const ISR: u64 = 0x810;
    pub const TMR: u64 = 0x818;
    pub const IRR: u64 = 0x820;
    pub const ICR: u64 = 0x830;
    pub const SELF_IPI: u64 = 0x83F;
}

/// RCX of CONFIGURE_VECTOR: bits 7:0 vector, 8 may the host raise it, 9 all vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorConfig {
    /// `None`: all.
    pub vector: Option<u8>,
    /// Whether the host may.
    pub allowed: bool,
}

impl VectorConfig {
    /// `None`: a reserved bit is set.
    #[must_use]
    pub const fn decode(rcx: u64) -> Option<Self> {
        if rcx >> 10 != 0 {
            return None;
        }
        let vector = if rcx & 1 << 9 != 0 { None } else { Some(byte_at(rcx, 0)) };
        Some(Self { vector, allowed: rcx & 1 << 8 != 0 })
    }
}

/// Whom an interrupt command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The APIC with this id; 0xFFFFFFFF: every one.
    Physical(u32),
    /// Those of a cluster (bits 31:16) whose bit is set (bits 15:0).
    Logical(u32),
    /// The sender.
    Itself,
    /// Every one.
    All,
    /// Every one but the sender.
    Others,
}

impl Destination {
    /// Whether the APIC `id` gets what the one with the id `from` has sent.
    #[must_use]
    pub const fn is(self, id: u32, from: u32) -> bool {
        const EVERYBODY: u32 = u32::MAX;
        match self {
            Self::Physical(EVERYBODY) | Self::Logical(EVERYBODY) | Self::All => true,
            Self::Physical(wanted) => id == wanted,
            Self::Logical(set) => set >> 16 == id >> 4 && set & 1 << (id & 15) != 0,
            Self::Itself => id == from,
            Self::Others => id != from,
        }
    }
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An interrupt.
    Fixed(u8),
    /// An NMI.
    Nmi,
}

/// An interrupt command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// What.
    pub message: Message,
    /// To whom.
    pub destination: Destination,
}

impl Command {
    /// Bits 7:0 vector, 10:8 type, 11 logical, 12 pending, 14 assert, 15 level, 17:16 remote read, 19:18 shorthand,
    /// 63:32 destination. `None`: a type other than fixed and NMI, or a bit that is reserved in an x2APIC.
    #[must_use]
    pub const fn decode(icr: u64) -> Option<Self> {
        const RESERVED: u64 = 0xFFF0_0000 | 3 << 16 | 1 << 13 | 1 << 12;
        if icr & RESERVED != 0 {
            return None;
        }
        let message = match icr >> 8 & 7 {
            0 => Message::Fixed(byte_at(icr, 0)),
            4 => Message::Nmi,
            _ => return None,
        };
        let destination = match (icr >> 18 & 3, icr & 1 << 11 != 0) {
            (0, false) => Destination::Physical(high32(icr)),
            (0, true) => Destination::Logical(high32(icr)),
            (1, _) => Destination::Itself,
            (2, _) => Destination::All,
            _ => Destination::Others,
        };
        Some(Self { message, destination })
    }
}

/// The logical id of an APIC: its cluster, and a bit in it.
#[must_use]
pub const fn logical_id(id: u32) -> u32 {
    (id >> 4) << 16 | 1 << (id & 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_an_x2apic() {
        let of = |icr| Command::decode(icr).map(|command| (command.message, command.destination));
        assert_eq!(of(9 << 32 | 0x4041), Some((Message::Fixed(0x41), Destination::Physical(9))));
        assert_eq!(of(9 << 32 | 0x0C00), Some((Message::Nmi, Destination::Logical(9))));
        assert_eq!(of(9 << 32 | 1 << 18 | 0x30), Some((Message::Fixed(0x30), Destination::Itself)));
        assert_eq!(of(2 << 18 | 0x430), Some((Message::Nmi, Destination::All)));
        assert_eq!(of(3 << 18 | 0x830), Some((Message::Fixed(0x30), Destination::Others)));
        for kind in [1, 2, 3, 5, 6, 7] {
            assert_eq!(of(kind << 8 | 0x30), None, "type {kind}");
        }
        for bit in [12, 13, 16, 17].into_iter().chain(20..32) {
            assert_eq!(of(1 << bit | 0x30), None, "bit {bit}");
        }
    }

    #[test]
    fn destinations() {
        for id in [0, 3, 15, 16, 0x47] {
            assert!(Destination::Logical(logical_id(id)).is(id, 9), "{id}");
            assert!(Destination::Logical(u32::MAX).is(id, 9) && Destination::Physical(u32::MAX).is(id, 9));
            assert!(Destination::All.is(id, id) && !Destination::Others.is(id, id) && Destination::Itself.is(id, id));
            assert!(Destination::Others.is(id, 9) && !Destination::Itself.is(id, 9));
            assert!(!Destination::Logical(logical_id(id)).is(id + 1, 9) && !Destination::Physical(id).is(id + 16, 9));
            assert!(!Destination::Logical(logical_id(id)).is(id + 16, 9) && Destination::Physical(id).is(id, 9));
        }
        assert!(Destination::Logical(0x1_0005).is(16, 0) && !Destination::Logical(0x1_0005).is(17, 0));
    }

    #[test]
    fn vectors_are_configured_alone_or_all() {
        assert_eq!(VectorConfig::decode(0x123), Some(VectorConfig { vector: Some(0x23), allowed: true }));
        assert_eq!(VectorConfig::decode(0x2FF), Some(VectorConfig { vector: None, allowed: false }));
        assert!((10..64).all(|bit| VectorConfig::decode(1 << bit | 0x123).is_none()));
    }
}
