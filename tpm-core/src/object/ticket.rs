//! Tickets (Part 1, 11.4.6.3; Part 2, 10.7): the TPM's word, to itself, that it has done something.

use crate::crypto::hash::Digest;
use crate::crypto::hmac::Hmac;
use crate::profile::INTERNAL_HASH;
use crate::tpm::Tpm;
use crate::wire::{Handle, Ticket};

impl Tpm {
    /// A ticket of a hierarchy: HMAC(proof, tag ‖ parts).
    pub(crate) fn ticket(&self, tag: u16, hierarchy: Handle, parts: &[&[u8]]) -> Ticket {
        Ticket { tag, hierarchy, digest: self.ticket_digest(tag, hierarchy, parts) }
    }

    /// Whether this TPM made the ticket, over these parts and while the hierarchy had its present proof. Never true of a NULL Ticket.
    #[allow(dead_code, reason = "TPM2_Sign and TPM2_CertifyCreation check tickets, and they are in other chapters")]
    pub(crate) fn check_ticket(&self, ticket: &Ticket, parts: &[&[u8]]) -> bool {
        self.ticket_digest(ticket.tag, ticket.hierarchy, parts) == ticket.digest
    }

    fn ticket_digest(&self, tag: u16, hierarchy: Handle, parts: &[&[u8]]) -> Digest {
        let mut hmac = Hmac::new(INTERNAL_HASH, self.proof(hierarchy).as_slice()).chain(&tag.to_be_bytes());
        parts.iter().for_each(|part| hmac.update(part));
        hmac.finish()
    }
}
