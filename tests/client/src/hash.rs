//! Hashing, and what is made of it: HMAC, KDFa and KDFe (Part 1, 8.4.10), the HMAC of a session (Part 1, 16.6).

use sha2::Digest;

/// A hash algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Alg {
    /// SHA-1
    Sha1,
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().fold(D::new(), |hash, part| hash.chain_update(part)).finalize().to_vec()
}

impl Alg {
    /// Each.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// TPM_ALG_ID
    #[must_use]
    pub const fn id(self) -> u16 {
        [0x04, 0x0b, 0x0c, 0x0d][self as usize]
    }

    /// octets of a digest
    #[must_use]
    pub const fn size(self) -> usize {
        [20, 32, 48, 64][self as usize]
    }

    /// The digest of the parts in a row.
    #[must_use]
    pub fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => digest::<sha1::Sha1>(parts),
            Self::Sha256 => digest::<sha2::Sha256>(parts),
            Self::Sha384 => digest::<sha2::Sha384>(parts),
            Self::Sha512 => digest::<sha2::Sha512>(parts),
        }
    }

    /// RFC 2104.
    #[must_use]
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let block = if self.size() > 32 { 128 } else { 64 };
        let mut padded = if key.len() > block { self.hash(&[key]) } else { key.to_vec() };
        padded.resize(block, 0);
        let with = |pad: u8| padded.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
        let inner = self.hash(&[&with(0x36), &parts.concat()]);
        self.hash(&[&with(0x5c), &inner])
    }

    /// KDFe for a digest's octets; the label without its zero.
    #[must_use]
    pub fn kdfe(self, z: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Vec<u8> {
        self.hash(&[&[0, 0, 0, 1], z, label, &[0], u, v])
    }

    /// KDFa for whole octets; the label without its zero.
    #[must_use]
    pub fn kdfa(self, key: &[u8], label: &[u8], u: &[u8], v: &[u8], octets: usize) -> Vec<u8> {
        let bits = (octets as u32 * 8).to_be_bytes();
        let mut out = Vec::new();
        let mut counter = 0u32;
        while out.len() < octets {
            counter += 1;
            out.extend(self.hmac(key, &[&counter.to_be_bytes(), label, &[0], u, v, &bits]));
        }
        out.truncate(octets);
        out
    }

    /// sessionKey: of the authValue of what the session is bound to, and the salt (Part 1, 17.6.8).
    #[must_use]
    pub fn session_key(self, secret: &[u8], nonce_tpm: &[u8], nonce_caller: &[u8]) -> Vec<u8> {
        self.kdfa(secret, b"ATH", nonce_tpm, nonce_caller, self.size())
    }

    /// cpHash.
    #[must_use]
    pub fn cp_hash(self, code: u32, names: &[u8], parameters: &[u8]) -> Vec<u8> {
        self.hash(&[&code.to_be_bytes(), names, parameters])
    }

    /// rpHash of a successful command.
    #[must_use]
    pub fn rp_hash(self, code: u32, parameters: &[u8]) -> Vec<u8> {
        self.hash(&[&[0; 4], &code.to_be_bytes(), parameters])
    }
}

#[cfg(test)]
mod tests {
    use super::Alg;
    use crate::command::hex;

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        let mac = Alg::Sha256.hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex(&mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
