//! The mock AMD secure processor's identity: who signs reports on the software SEV-SNP machine.
//!
//! The certificates and the VCEK's private key are committed in `tests/machine/psp` and thus known to everybody: a
//! report under them proves nothing but that the code works.
//! [`DEVELOPMENT_ROOT_SHA256`](quoin_verify::chip::DEVELOPMENT_ROOT_SHA256) lets `xtask verify` name that root and
//! refuse it unless asked to accept it.

use quoin_verify::chip::{ARK_GUID, ASK_GUID, TABLE_ENTRY, Tcb, VCEK_GUID};

/// Security patch levels of the mock processor, those of a Milan with current firmware.
pub const TCB: Tcb = Tcb { boot_loader: 4, tee: 0, snp: 24, microcode: 219 };

/// What makes a PSP: its chip's identity and key, and the certificates for them, in DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Private scalar of the VCEK, P-384, big-endian.
    pub vcek_scalar: [u8; 48],
    /// `CHIP_ID` of reports, and the VCEK certificate's HWID extension.
    pub chip_id: [u8; 64],
    /// `CURRENT_TCB` of reports, and the VCEK certificate's SPL extensions.
    pub tcb: Tcb,
    /// The AMD root key's certificate, signed by itself.
    pub ark: Vec<u8>,
    /// The AMD SEV key's certificate, signed by the ARK.
    pub ask: Vec<u8>,
    /// The versioned chip endorsement key's certificate, signed by the ASK.
    pub vcek: Vec<u8>,
}

impl Identity {
    /// The committed identity, whose private key everybody knows.
    pub fn development() -> Self {
        Self {
            vcek_scalar: *include_bytes!("../../machine/psp/vcek.scalar"),
            chip_id: chip_id(),
            tcb: TCB,
            ark: include_bytes!("../../machine/psp/ark.der").to_vec(),
            ask: include_bytes!("../../machine/psp/ask.der").to_vec(),
            vcek: include_bytes!("../../machine/psp/vcek.der").to_vec(),
        }
    }

    /// Another chip under the same root, whose private key everybody knows, too.
    pub fn another() -> Self {
        Self {
            vcek_scalar: *include_bytes!("../../machine/psp/another.scalar"),
            chip_id: *b"Quoin mock PSP, another one, of which the private key is public.",
            vcek: include_bytes!("../../machine/psp/another.der").to_vec(),
            ..Self::development()
        }
    }

    /// The GHCB certificate table (GHCB specification, "SNP Extended Guest Request"): entries of GUID in RFC 4122 byte
    /// order, offset and length, little-endian; an entry of zeros; the certificates.
    pub fn certificate_table(&self) -> Vec<u8> {
        let certificates = [(VCEK_GUID, &self.vcek), (ASK_GUID, &self.ask), (ARK_GUID, &self.ark)];
        let mut table = Vec::new();
        let mut data = Vec::<u8>::new();
        let header = TABLE_ENTRY * (certificates.len() + 1);
        for (guid, certificate) in certificates {
            table.extend(guid);
            table.extend(le_u32(header + data.len()));
            table.extend(le_u32(certificate.len()));
            data.extend(certificate);
        }
        table.resize(header, 0);
        table.extend(data);
        table
    }

    /// The fw_cfg file `opt/org.quoin/psp` (docs/boot.md): scalar, chip id, TCB, length of the certificate table,
    /// certificate table.
    pub fn fw_cfg_bundle(&self) -> Vec<u8> {
        let table = self.certificate_table();
        let mut bundle = Vec::new();
        bundle.extend(self.vcek_scalar);
        bundle.extend(self.chip_id);
        bundle.extend(self.tcb.to_bytes());
        bundle.extend(le_u32(table.len()));
        bundle.extend(table);
        bundle
    }
}

/// The mock chip's id: text, so that a hex dump shows what it is.
const fn chip_id() -> [u8; 64] {
    *b"Quoin mock PSP: development only, the private key is public.    "
}

/// Lengths here are those of a few certificates.
fn le_u32(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::Identity;
    use quoin_verify::chip::DEVELOPMENT_ROOT_SHA256;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_named_root_is_the_committed_one() {
        let digest: [u8; 32] = Sha256::digest(Identity::development().ark).into();
        assert_eq!(digest, DEVELOPMENT_ROOT_SHA256);
    }

    #[test]
    fn the_committed_scalars_are_the_vcek_certificates_keys() {
        for identity in [Identity::development(), Identity::another()] {
            let secret = p384::SecretKey::from_slice(&identity.vcek_scalar).unwrap();
            let point = secret.public_key().to_sec1_bytes();
            assert!(identity.vcek.windows(point.len()).any(|window| window == &*point));
            assert!(identity.vcek.windows(64).any(|window| window == identity.chip_id));
        }
    }

    #[test]
    fn the_certificate_table_points_at_each_certificate() {
        let identity = Identity::development();
        let table = identity.certificate_table();
        for (entry, certificate) in [&identity.vcek, &identity.ask, &identity.ark].into_iter().enumerate() {
            let number = |at: usize| u32::from_le_bytes(table[entry * 24 + at..][..4].try_into().unwrap()) as usize;
            assert_eq!(&table[number(16)..][..number(20)], certificate.as_slice());
        }
        assert_eq!(table[72..96], [0; 24]);
    }

    #[test]
    fn the_bundle_is_laid_out_as_the_boot_contract_says() {
        let identity = Identity::development();
        let bundle = identity.fw_cfg_bundle();
        assert_eq!(bundle[..48], identity.vcek_scalar);
        assert_eq!(bundle[48..112], identity.chip_id);
        assert_eq!(bundle[112..120], [4, 0, 0, 0, 0, 0, 24, 219]);
        assert_eq!(u32::from_le_bytes(bundle[120..124].try_into().unwrap()) as usize, bundle.len() - 124);
    }
}
