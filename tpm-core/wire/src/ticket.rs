//! Tickets (Part 2, 10.7).

use super::{AlgId, Handle, Marshal, Reader, Unmarshal, Writer, st};
use crate::rc::Fmt1;
use tpm_crypto::hash::Digest;

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
