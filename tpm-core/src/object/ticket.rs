//! Tickets (Part 1, 11.4.6.3; Part 2, 10.7): the TPM's word, to itself, that it has done something.

use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::hmac::Hmac;
use crate::profile::INTERNAL_HASH;
use crate::tpm::Tpm;
use crate::wire::{GENERATED_VALUE, Handle, Ticket, st};

/// Whether what begins with this block is none of the TPM's own structures, so that a ticket for it may be given (Part 3, 17.8). Four octets tell: after
/// fewer the rest could still make it one.
pub(crate) fn is_safe_to_sign(first_block: &[u8]) -> bool {
    first_block.len() >= 4 && !first_block.starts_with(&GENERATED_VALUE.to_be_bytes())
}

impl Tpm {
    /// A ticket of a hierarchy: HMAC(proof, tag ‖ parts).
    pub(crate) fn ticket(&self, tag: u16, hierarchy: Handle, parts: &[&[u8]]) -> Ticket {
        Ticket { tag, hierarchy, digest: self.ticket_digest(tag, hierarchy, parts) }
    }

    /// Whether this TPM made the ticket, over these parts and while the hierarchy had its present proof. Never true of a NULL Ticket.
    pub(crate) fn check_ticket(&self, ticket: &Ticket, parts: &[&[u8]]) -> bool {
        self.ticket_digest(ticket.tag, ticket.hierarchy, parts) == ticket.digest
    }

    /// TPMT_TK_HASHCHECK: the TPM made this digest with this hash, of data that does not look like a structure of its own. The hash is part of
    /// it, so that a ticket for one hash is not good for another with digests of the same size.
    pub(crate) fn hash_check(&self, hierarchy: Handle, hash: HashAlg, digest: &Digest) -> Ticket {
        self.ticket(st::HASHCHECK, hierarchy, &[&hash.id().to_be_bytes(), digest.as_slice()])
    }

    /// Whether a TPMT_TK_HASHCHECK is one that `hash_check` makes.
    pub(crate) fn is_hash_checked(&self, ticket: &Ticket, hash: HashAlg, digest: &Digest) -> bool {
        self.check_ticket(ticket, &[&hash.id().to_be_bytes(), digest.as_slice()])
    }

    fn ticket_digest(&self, tag: u16, hierarchy: Handle, parts: &[&[u8]]) -> Digest {
        let mut hmac = Hmac::new(INTERNAL_HASH, self.proof(hierarchy).as_slice());
        hmac.update(&tag.to_be_bytes());
        parts.iter().for_each(|part| hmac.update(part));
        hmac.finish()
    }
}
