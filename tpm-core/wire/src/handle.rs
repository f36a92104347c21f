//! Handles (Part 2, 7) and the interface types that restrict them (Part 2, 9).

use super::{Marshal, Reader, Unmarshal, Writer};
use crate::profile::{ACTS, MAX_ACTIVE_SESSIONS, MAX_LOADED_OBJECTS};
use crate::rc::Fmt1;

/// TPM_HANDLE: any handle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Handle(pub u32);

/// TPM_HT: the most significant octet of a handle (Part 2, 7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandleKind {
    /// PCR
    Pcr,
    /// NV Index
    Nv,
    /// HMAC session
    HmacSession,
    /// policy or trial session
    PolicySession,
    /// permanent value
    Permanent,
    /// transient object
    Transient,
    /// persistent object
    Persistent,
    /// none of these
    Other,
}

impl Handle {
    /// TPM_RH_OWNER
    pub const OWNER: Self = Self(0x4000_0001);
    /// TPM_RH_NULL
    pub const NULL: Self = Self(0x4000_0007);
    /// TPM_RS_PW
    pub const PW: Self = Self(0x4000_0009);
    /// TPM_RH_LOCKOUT
    pub const LOCKOUT: Self = Self(0x4000_000a);
    /// TPM_RH_ENDORSEMENT
    pub const ENDORSEMENT: Self = Self(0x4000_000b);
    /// TPM_RH_PLATFORM
    pub const PLATFORM: Self = Self(0x4000_000c);
    /// TPM_RH_PLATFORM_NV
    pub const PLATFORM_NV: Self = Self(0x4000_000d);
    /// TPM_RH_ACT_0
    pub const ACT_FIRST: Self = Self(0x4000_0110);
    /// savedHandle of an Ordinary Object.
    pub const SAVED_OBJECT: Self = Self(0x8000_0000);
    /// savedHandle of a sequence object.
    pub const SAVED_SEQUENCE: Self = Self(0x8000_0001);
    /// savedHandle of an object with stClear.
    pub const SAVED_ST_CLEAR: Self = Self(0x8000_0002);
    /// First handle of an HMAC session.
    pub const HMAC_SESSION_FIRST: Self = Self(0x0200_0000);
    /// First handle of a policy session.
    pub const POLICY_SESSION_FIRST: Self = Self(0x0300_0000);
    /// First handle of a transient object.
    pub const TRANSIENT_FIRST: Self = Self(0x8000_0000);
    /// First handle of a persistent object of the platform.
    pub const PLATFORM_PERSISTENT: Self = Self(0x8180_0000);

    /// TPM_RH_ACT_0 to TPM_RH_ACT_F.
    pub const fn act(n: u8) -> Self {
        Self(Self::ACT_FIRST.0 | (n & 0xf) as u32)
    }

    /// The position of the ACT with this handle among those that there are.
    #[must_use]
    pub fn act_position(self) -> Option<usize> {
        if self.kind() != HandleKind::Permanent {
            return None;
        }
        ACTS.iter().position(|n| Self::act(*n) == self)
    }

    /// What the most significant octet says.
    #[inline]
    pub const fn kind(self) -> HandleKind {
        match self.0 >> 24 {
            0x00 => HandleKind::Pcr,
            0x01 => HandleKind::Nv,
            0x02 => HandleKind::HmacSession,
            0x03 => HandleKind::PolicySession,
            0x40 => HandleKind::Permanent,
            0x80 => HandleKind::Transient,
            0x81 => HandleKind::Persistent,
            _ => HandleKind::Other,
        }
    }

    /// The 24 bits below the most significant octet.
    pub const fn index(self) -> u32 {
        self.0 & 0x00ff_ffff
    }

    /// Whether a transient object, up to TRANSIENT_LAST.
    const fn is_transient(self) -> bool {
        matches!(self.kind(), HandleKind::Transient) && (self.index() as usize) < MAX_LOADED_OBJECTS
    }

    /// Whether a transient or persistent object.
    pub const fn is_object(self) -> bool {
        self.is_transient() || matches!(self.kind(), HandleKind::Persistent)
    }

    /// Whether an HMAC, policy or trial session, up to HMAC_SESSION_LAST and POLICY_SESSION_LAST.
    pub const fn is_session(self) -> bool {
        matches!(self.kind(), HandleKind::HmacSession | HandleKind::PolicySession)
            && (self.index() as usize) < MAX_ACTIVE_SESSIONS
    }
}

impl Unmarshal<'_> for Handle {
    #[inline]
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        r.get().map(Self)
    }
}

impl Marshal for Handle {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
    }
}

/// A handle which an interface type restricts.
pub trait HandleType: Sized + Copy {
    /// VALUE if the type does not admit the handle.
    fn from_handle(h: Handle) -> Result<Self, Fmt1>;
    /// The handle.
    fn handle(self) -> Handle;
}

macro_rules! handle_types {
    ($($(#[$m:meta])* $name:ident = |$h:ident| $test:expr;)*) => { $(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name(Handle);
        impl HandleType for $name {
            #[inline]
            fn from_handle($h: Handle) -> Result<Self, Fmt1> { if $test { Ok(Self($h)) } else { Err(Fmt1::VALUE) } }
            fn handle(self) -> Handle { self.0 }
        }
        impl Unmarshal<'_> for $name {
            #[inline]
            fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> { r.get().and_then(Self::from_handle) }
        }
    )* };
}

const OWNER_ENDORSEMENT_PLATFORM: [Handle; 3] = [Handle::OWNER, Handle::ENDORSEMENT, Handle::PLATFORM];

handle_types! {
    /// TPMI_DH_OBJECT (9.3)
    DhObject = |h| h.is_object();
    /// TPMI_DH_PARENT (9.4)
    DhParent = |h| h.is_object() || OWNER_ENDORSEMENT_PLATFORM.contains(&h) || h == Handle::NULL;
    /// TPMI_DH_PERSISTENT (9.5)
    DhPersistent = |h| h.kind() == HandleKind::Persistent;
    /// TPMI_DH_ENTITY (9.6)
    DhEntity = |h| OWNER_ENDORSEMENT_PLATFORM.contains(&h) || h == Handle::LOCKOUT || h.is_object() || h.kind() == HandleKind::Nv || is_pcr(h);
    /// TPMI_DH_PCR (9.7)
    DhPcr = |h| is_pcr(h);
    /// TPMI_SH_AUTH_SESSION (9.8)
    ShAuthSession = |h| h.is_session() || h == Handle::PW;
    /// TPMI_SH_HMAC (9.9)
    ShHmac = |h| h.is_session() && h.kind() == HandleKind::HmacSession;
    /// TPMI_SH_POLICY (9.10)
    ShPolicy = |h| h.is_session() && h.kind() == HandleKind::PolicySession;
    /// TPMI_DH_CONTEXT (9.11)
    DhContext = |h| h.is_session() || h.is_transient();
    /// TPMI_DH_SAVED (9.12): a session, an object, a sequence object, an object with stClear
    DhSaved = |h| h.is_session() || (Handle::SAVED_OBJECT..=Handle::SAVED_ST_CLEAR).contains(&h);
    /// TPMI_RH_HIERARCHY (9.13), with TPM_RH_NULL
    RhHierarchy = |h| OWNER_ENDORSEMENT_PLATFORM.contains(&h) || h == Handle::NULL;
    /// TPMI_RH_ENABLES (9.14)
    RhEnables = |h| OWNER_ENDORSEMENT_PLATFORM.contains(&h) || h == Handle::PLATFORM_NV;
    /// TPMI_RH_HIERARCHY_AUTH (9.15)
    RhHierarchyAuth = |h| OWNER_ENDORSEMENT_PLATFORM.contains(&h) || h == Handle::LOCKOUT;
    /// TPMI_RH_HIERARCHY_POLICY (9.16), of the ACT those that there are
    RhHierarchyPolicy = |h| OWNER_ENDORSEMENT_PLATFORM.contains(&h) || h == Handle::LOCKOUT || h.act_position().is_some();
    /// TPMI_RH_BASE_HIERARCHY
    RhBaseHierarchy = |h| OWNER_ENDORSEMENT_PLATFORM.contains(&h);
    /// TPMI_RH_PLATFORM (9.17)
    RhPlatform = |h| h == Handle::PLATFORM;
    /// TPMI_RH_ENDORSEMENT (9.19)
    RhEndorsement = |h| h == Handle::ENDORSEMENT;
    /// TPMI_RH_PROVISION (9.20)
    RhProvision = |h| h == Handle::OWNER || h == Handle::PLATFORM;
    /// TPMI_RH_CLEAR (9.21)
    RhClear = |h| h == Handle::LOCKOUT || h == Handle::PLATFORM;
    /// TPMI_RH_NV_AUTH (9.22)
    RhNvAuth = |h| h == Handle::OWNER || h == Handle::PLATFORM || h.kind() == HandleKind::Nv;
    /// TPMI_RH_LOCKOUT (9.23)
    RhLockout = |h| h == Handle::LOCKOUT;
    /// TPMI_RH_ACT: those that there are
    RhAct = |h| h.act_position().is_some();
    /// TPMI_RH_NV_INDEX (9.24)
    RhNvIndex = |h| h.kind() == HandleKind::Nv;
}

/// The number of PCR, whose handles are 0 to 23 (PC Client Platform TPM Profile).
pub const PCR_COUNT: u32 = 24;

fn is_pcr(h: Handle) -> bool {
    h.0 < PCR_COUNT
}

/// An interface type with a "+": TPM_RH_NULL is admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nullable<H>(pub Option<H>);

impl<H: HandleType> HandleType for Nullable<H> {
    fn from_handle(h: Handle) -> Result<Self, Fmt1> {
        if h == Handle::NULL { Ok(Self(None)) } else { H::from_handle(h).map(|h| Self(Some(h))) }
    }
    fn handle(self) -> Handle {
        self.0.map_or(Handle::NULL, H::handle)
    }
}

impl<H: HandleType> Unmarshal<'_> for Nullable<H> {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        r.get().and_then(Self::from_handle)
    }
}
