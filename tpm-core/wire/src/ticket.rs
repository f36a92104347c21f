//! Tickets (Part 2, 10.7).

use super::{AlgId, Handle, Marshal, Reader, Unmarshal, Writer};
use crate::rc::Fmt1;
use tpm_crypto::hash::Digest;

/// TPM_ST: structure tags (6.9).
pub mod st {
    /// TPM_ST_RSP_COMMAND
    pub const RSP_COMMAND: u16 = 0x00c4;
    /// TPM_ST_NO_SESSIONS
    pub const NO_SESSIONS: u16 = 0x8001;
    /// TPM_ST_SESSIONS
    pub const SESSIONS: u16 = 0x8002;
    /// TPM_ST_ATTEST_NV
    pub const ATTEST_NV: u16 = 0x8014;
    /// TPM_ST_ATTEST_COMMAND_AUDIT
    pub const ATTEST_COMMAND_AUDIT: u16 = 0x8015;
    /// TPM_ST_ATTEST_SESSION_AUDIT
    pub const ATTEST_SESSION_AUDIT: u16 = 0x8016;
    /// TPM_ST_ATTEST_CERTIFY
    pub const ATTEST_CERTIFY: u16 = 0x8017;
    /// TPM_ST_ATTEST_QUOTE
    pub const ATTEST_QUOTE: u16 = 0x8018;
    /// TPM_ST_ATTEST_TIME
    pub const ATTEST_TIME: u16 = 0x8019;
    /// TPM_ST_ATTEST_CREATION
    pub const ATTEST_CREATION: u16 = 0x801a;
    /// TPM_ST_ATTEST_NV_DIGEST
    pub const ATTEST_NV_DIGEST: u16 = 0x801c;
    /// TPM_ST_CREATION
    pub const CREATION: u16 = 0x8021;
    /// TPM_ST_VERIFIED
    pub const VERIFIED: u16 = 0x8022;
    /// TPM_ST_AUTH_SECRET
    pub const AUTH_SECRET: u16 = 0x8023;
    /// TPM_ST_HASHCHECK
    pub const HASHCHECK: u16 = 0x8024;
    /// TPM_ST_AUTH_SIGNED
    pub const AUTH_SIGNED: u16 = 0x8025;
    /// TPM_ST_MESSAGE_VERIFIED (1.85)
    pub const MESSAGE_VERIFIED: u16 = 0x8026;
    /// TPM_ST_DIGEST_VERIFIED (1.85)
    pub const DIGEST_VERIFIED: u16 = 0x8027;
}

/// TPMT_TK_CREATION, _AUTH and _HASHCHECK, which have one layout, and most of TPMT_TK_VERIFIED. A NULL ticket has
/// hierarchy TPM_RH_NULL and an empty digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// tag
    pub tag: u16,
    /// hierarchy
    pub hierarchy: Handle,
    /// digest
    pub digest: Digest,
}

impl Ticket {
    /// The NULL Ticket of this tag.
    pub fn null(tag: u16) -> Self {
        Self { tag, hierarchy: Handle::NULL, digest: Digest::default() }
    }
}

impl Marshal for Ticket {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.tag.marshal(w);
        self.hierarchy.marshal(w);
        self.digest.marshal(w);
    }
}

macro_rules! tickets {
    ($($(#[$m:meta])* $name:ident: [$($tag:ident),*];)*) => { $(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name(pub Ticket);
        impl Unmarshal<'_> for $name {
            fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
                let tag = r.get()?;
                if ![$(st::$tag),*].contains(&tag) { return Err(Fmt1::TAG); }
                let hierarchy = r.get::<super::RhHierarchy>().map(super::HandleType::handle)?;
                Ok(Self(Ticket { tag, hierarchy, digest: r.get()? }))
            }
        }
        impl Marshal for $name { fn marshal(&self, w: &mut Writer<'_>) { self.0.marshal(w); } }
    )* };
}

tickets! {
    /// TPMT_TK_CREATION (10.7.3)
    TkCreation: [CREATION];
    /// TPMT_TK_AUTH (10.7.5)
    TkAuth: [AUTH_SIGNED, AUTH_SECRET];
    /// TPMT_TK_HASHCHECK (10.7.6)
    TkHashcheck: [HASHCHECK];
}

/// TPMT_TK_VERIFIED (1.85: 10.6.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TkVerified {
    /// the hash of the digest of which a TPM_ST_DIGEST_VERIFIED tells; no other ticket has this, nor a NULL Ticket,
    /// which is three parts whatever its tag
    pub metadata: Option<AlgId>,
    /// the rest
    pub ticket: Ticket,
}

impl TkVerified {
    /// The NULL Ticket of this tag.
    pub fn null(tag: u16) -> Self {
        Self { metadata: None, ticket: Ticket::null(tag) }
    }
}

impl Marshal for TkVerified {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.ticket.tag.marshal(w);
        self.ticket.hierarchy.marshal(w);
        if let Some(metadata) = self.metadata {
            metadata.marshal(w);
        }
        self.ticket.digest.marshal(w);
    }
}

impl Unmarshal<'_> for TkVerified {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let tag = r.get()?;
        if ![st::VERIFIED, st::MESSAGE_VERIFIED, st::DIGEST_VERIFIED].contains(&tag) {
            return Err(Fmt1::TAG);
        }
        let hierarchy = r.get::<super::RhHierarchy>().map(super::HandleType::handle)?;
        let metadata = if tag == st::DIGEST_VERIFIED && hierarchy != Handle::NULL { Some(r.get()?) } else { None };
        Ok(Self { metadata, ticket: Ticket { tag, hierarchy, digest: r.get()? } })
    }
}
