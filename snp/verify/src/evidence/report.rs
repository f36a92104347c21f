//! An attestation report's fields (SEV-SNP firmware ABI, table "ATTESTATION_REPORT"), read where they stand.

use crate::chip::Generation;
use anyhow::{Result, ensure};

/// Bytes of a report of any version.
pub const SIZE: usize = 0x4A0;
/// What is signed.
pub const SIGNED: usize = 0x2A0;
/// Versions that are read.
pub const VERSIONS: core::ops::RangeInclusive<u32> = 2..=5;

/// The key that has signed a report: SIGNING_KEY of its key information.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKey {
    /// The chip's.
    Vcek,
    /// The cloud provider's.
    Vlek,
    /// None, or a value that is reserved.
    Other(u32),
}

/// A report of the right length.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a>(&'a [u8; SIZE]);

impl<'a> Report<'a> {
    /// Takes `bytes` for a report.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        ensure!(bytes.len() == SIZE, "{} bytes, not {SIZE}", bytes.len());
        Ok(Self(bytes.try_into()?))
    }

    /// The bytes from `at` on, which must lie in a report.
    const fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = self.0[at + i];
            i += 1;
        }
        bytes
    }

    const fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    const fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    /// All bytes.
    pub const fn bytes(&self) -> &'a [u8; SIZE] {
        self.0
    }

    /// VERSION.
    pub const fn version(&self) -> u32 {
        self.u32(0)
    }

    /// GUEST_SVN.
    pub const fn guest_svn(&self) -> u32 {
        self.u32(0x04)
    }

    /// POLICY.
    pub const fn policy(&self) -> u64 {
        self.u64(0x08)
    }

    /// FAMILY_ID.
    pub const fn family_id(&self) -> [u8; 16] {
        self.array(0x10)
    }

    /// IMAGE_ID.
    pub const fn image_id(&self) -> [u8; 16] {
        self.array(0x20)
    }

    /// VMPL.
    pub const fn vmpl(&self) -> u32 {
        self.u32(0x30)
    }

    /// SIGNATURE_ALGO.
    pub const fn signature_algorithm(&self) -> u32 {
        self.u32(0x34)
    }

    /// CURRENT_TCB.
    pub const fn current_tcb(&self) -> [u8; 8] {
        self.array(0x38)
    }

    /// PLATFORM_INFO.
    pub const fn platform_info(&self) -> u64 {
        self.u64(0x40)
    }

    /// SIGNING_KEY.
    pub const fn signing_key(&self) -> SigningKey {
        match self.u32(0x48) >> 2 & 7 {
            0 => SigningKey::Vcek,
            1 => SigningKey::Vlek,
            other => SigningKey::Other(other),
        }
    }

    /// REPORT_DATA.
    pub const fn report_data(&self) -> [u8; 64] {
        self.array(0x50)
    }

    /// MEASUREMENT.
    pub const fn measurement(&self) -> [u8; 48] {
        self.array(0x90)
    }

    /// HOST_DATA.
    pub const fn host_data(&self) -> [u8; 32] {
        self.array(0xC0)
    }

    /// ID_KEY_DIGEST; zeros without an ID block.
    pub const fn id_key_digest(&self) -> [u8; 48] {
        self.array(0xE0)
    }

    /// AUTHOR_KEY_DIGEST; zeros without an author key.
    pub const fn author_key_digest(&self) -> [u8; 48] {
        self.array(0x110)
    }

    /// REPORTED_TCB.
    pub const fn reported_tcb(&self) -> [u8; 8] {
        self.array(0x180)
    }

    /// Family, model and stepping; from version 3 on.
    pub const fn cpu(&self) -> Option<(u8, u8, u8)> {
        if self.version() < 3 { None } else { Some((self.0[0x188], self.0[0x189], self.0[0x18A])) }
    }

    /// The generation of that processor; nothing if the report does not say it, or it is unknown.
    pub const fn generation(&self) -> Option<Generation> {
        match self.cpu() {
            Some((family, model, _)) => Generation::of_cpu(family, model),
            None => None,
        }
    }

    /// CHIP_ID; zeros where the host masks it.
    pub const fn chip_id(&self) -> [u8; 64] {
        self.array(0x1A0)
    }

    /// COMMITTED_TCB.
    pub const fn committed_tcb(&self) -> [u8; 8] {
        self.array(0x1E0)
    }

    /// LAUNCH_TCB.
    pub const fn launch_tcb(&self) -> [u8; 8] {
        self.array(0x1F0)
    }

    /// LAUNCH_MIT_VECTOR; from version 5 on.
    pub const fn launch_mitigations(&self) -> Option<u64> {
        if self.version() < 5 { None } else { Some(self.u64(0x1F8)) }
    }

    /// CURRENT_MIT_VECTOR; from version 5 on.
    pub const fn current_mitigations(&self) -> Option<u64> {
        if self.version() < 5 { None } else { Some(self.u64(0x200)) }
    }

    /// The bytes that this version reserves; all must be zero.
    pub fn reserved(&self) -> impl Iterator<Item = u8> {
        let cpu = if self.version() < 3 { 0x188 } else { 0x18B };
        let end = if self.version() < 5 { 0x1F8 } else { 0x208 };
        [0x4C..0x50, cpu..0x1A0, 0x1EB..0x1EC, 0x1EF..0x1F0, end..SIGNED].into_iter().flatten().map(|at| self.0[at])
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, SIZE, SigningKey};
    use crate::chip::{Generation, Levels, Tcb};

    #[test]
    fn each_version_has_the_fields_that_it_has() {
        let mut bytes = [0; SIZE];
        bytes[0x188..0x18B].copy_from_slice(&[0x1A, 0x02, 0x01]);
        bytes[0x1F8] = 7;
        bytes[0x200] = 9;
        let fields = |version| {
            bytes[0] = version;
            let report = Report::new(&bytes).unwrap();
            let reserved = report.reserved().filter(|byte| *byte != 0).count();
            (report.generation(), report.launch_mitigations(), report.current_mitigations(), reserved)
        };
        let found = [2, 3, 4, 5].map(fields);
        let turin = Some(Generation::Turin);
        let none = (turin, None, None, 2);
        assert_eq!(found, [(None, None, None, 5), none, none, (turin, Some(7), Some(9), 0)]);
    }

    #[test]
    fn turin_has_another_layout_of_levels() {
        let bytes = [1, 2, 3, 4, 0, 0, 5, 6];
        let old = Levels { fmc: None, tcb: Tcb { boot_loader: 1, tee: 2, snp: 5, microcode: 6 } };
        let new = Levels { fmc: Some(1), tcb: Tcb { boot_loader: 2, tee: 3, snp: 4, microcode: 6 } };
        assert_eq!(Levels::read(bytes, Generation::Milan), old);
        assert_eq!(Levels::read(bytes, Generation::Genoa), old);
        assert_eq!(Levels::read(bytes, Generation::Turin), new);
        assert_eq!(new.to_string(), "FMC 1, boot loader 2, TEE 3, SNP 4, microcode 6");
    }

    #[test]
    fn the_key_that_has_signed_is_named() {
        let mut bytes = [0; SIZE];
        for (value, key) in [(0, SigningKey::Vcek), (4, SigningKey::Vlek), (0x1C, SigningKey::Other(7))] {
            bytes[0x48] = value;
            assert_eq!(Report::new(&bytes).unwrap().signing_key(), key);
        }
        assert!(Report::new(&bytes[1..]).is_err());
    }
}
