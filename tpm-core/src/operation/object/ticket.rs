//! Tickets (Part 1, 8.4.6.3; Part 2, 10.7): the TPM's word, to itself, that it has done something.

use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::crypto::hmac::Hmac;
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::wire::{AlgId, Handle, INTERNAL_HASH, Name, Ticket, TkVerified, st};

impl Tpm {
    /// A ticket of a hierarchy: HMAC(proof, tag ‖ parts).
    pub(crate) fn ticket(&self, tag: u16, hierarchy: Handle, parts: &[&[u8]]) -> Ticket {
        Ticket { tag, hierarchy, digest: self.ticket_digest(tag, hierarchy, parts) }
    }

    /// Whether this TPM made the ticket, over these parts and while the hierarchy had its present proof. Never true of
    /// a NULL Ticket.
    pub(crate) fn check_ticket(&self, ticket: &Ticket, parts: &[&[u8]]) -> bool {
        self.ticket_digest(ticket.tag, ticket.hierarchy, parts) == ticket.digest
    }

    /// TPMT_TK_HASHCHECK: the TPM made this digest with this hash, of data that does not look like a structure of its
    /// own. The hash is part of it, so that a ticket for one hash is not good for another with digests of the same
    /// size.
    pub(crate) fn hash_check(&self, hierarchy: Handle, hash: HashAlg, digest: &Digest) -> Ticket {
        self.ticket(st::HASHCHECK, hierarchy, &[&hash.id().to_be_bytes(), digest.as_slice()])
    }

    /// Whether a TPMT_TK_HASHCHECK is one that `hash_check` makes.
    pub(crate) fn is_hash_checked(&self, ticket: &Ticket, hash: HashAlg, digest: &Digest) -> bool {
        self.check_ticket(ticket, &[&hash.id().to_be_bytes(), digest.as_slice()])
    }

    /// TPMT_TK_VERIFIED: the key has signed what this is the digest of. With TPM_ST_VERIFIED it is a digest of any
    /// hash, with TPM_ST_DIGEST_VERIFIED one of the hash that the metadata names, with TPM_ST_MESSAGE_VERIFIED ours of
    /// the message. A NULL Ticket if the key is in the NULL hierarchy or has no Name.
    pub(crate) fn verified(&self, key: &Object, tag: u16, digest: &Digest, hash: Option<HashAlg>) -> TkVerified {
        if key.hierarchy == Handle::NULL || key.name.is_empty() {
            return TkVerified::null(tag);
        }
        let metadata = hash.map(|hash| AlgId(hash.id()));
        let octets = metadata.map(|alg| alg.0.to_be_bytes());
        let parts = [digest.as_slice(), key.name.as_slice(), octets.as_slice().as_flattened()];
        TkVerified { metadata, ticket: self.ticket(tag, key.hierarchy, &parts) }
    }

    /// Whether [`Tpm::verified`] made the ticket for the key with this Name, because of this message, of which
    /// TPM_ST_VERIFIED means the digest with nameAlg.
    pub(crate) fn is_verified(&self, ticket: &TkVerified, key: &Name, name_alg: HashAlg, message: &[&[u8]]) -> bool {
        let hash = match (ticket.ticket.tag, ticket.metadata) {
            (st::VERIFIED, _) => Some(name_alg),
            (st::MESSAGE_VERIFIED, _) => Some(INTERNAL_HASH),
            (_, metadata) => metadata.and_then(|alg| HashAlg::from_id(alg.0)),
        };
        hash.is_some_and(|hash| {
            let digest = message.iter().fold(Hasher::new(hash), |hasher, part| hasher.chain(part)).finish();
            let octets = ticket.metadata.map(|alg| alg.0.to_be_bytes());
            self.check_ticket(&ticket.ticket, &[digest.as_slice(), key.as_slice(), octets.as_slice().as_flattened()])
        })
    }

    fn ticket_digest(&self, tag: u16, hierarchy: Handle, parts: &[&[u8]]) -> Digest {
        let mut hmac = Hmac::new(INTERNAL_HASH, self.proof(hierarchy).as_slice());
        hmac.update(&tag.to_be_bytes());
        parts.iter().for_each(|part| hmac.update(part));
        hmac.finish()
    }
}
