//! The launch digest of an IGVM file, as the AMD secure processor computes it (SNP firmware ABI, `SNP_LAUNCH_UPDATE`).
//!
//! Written from the specification and sharing nothing with the machine's loader: that both give the same digest is a test of both.

use anyhow::{Context, Result, bail, ensure};
use igvm::snp_defs::SevVmsa;
use igvm::{IgvmDirectiveHeader, IgvmFile, IsolationType};
use igvm_defs::IgvmPageDataType;
use sha2::{Digest, Sha384};
use std::collections::HashMap;
use zerocopy::IntoBytes;

/// A launch digest, as it stands in MEASUREMENT of an attestation report.
pub type LaunchDigest = [u8; 48];

const PAGE: usize = 4096;

/// PAGE_TYPE of `PAGE_INFO`.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum PageType {
    Normal = 1,
    Vmsa = 2,
    Zero = 3,
    Unmeasured = 4,
    Secrets = 5,
    Cpuid = 6,
}

/// What a launch of `file` measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The launch digest.
    pub digest: LaunchDigest,
    /// How many pages went into it.
    pub pages: usize,
    /// The guest policy.
    pub policy: u64,
}

/// Measures an IGVM file.
pub fn measure(file: &[u8]) -> Result<Launch> {
    // The igvm crate takes the first directive for granted where the file has none.
    let file =
        IgvmFile::new_from_binary(file, Some(IsolationType::Snp)).context("this is no valid IGVM file for SEV-SNP")?;
    let policy = file.initializations().iter().find_map(|header| match header {
        igvm::IgvmInitializationHeader::GuestPolicy { policy, .. } => Some(*policy),
        _ => None,
    });
    let mut measurement = Measurement::default();
    for directive in file.directives() {
        measurement.directive(directive)?;
    }
    ensure!(measurement.finished, "the file has no VMSA, so nothing could start");
    Ok(Launch {
        digest: measurement.digest,
        pages: measurement.pages,
        policy: policy.context("the file has no guest policy")?,
    })
}

struct Measurement {
    digest: LaunchDigest,
    pages: usize,
    finished: bool,
    parameter_areas: HashMap<u32, u64>,
}

impl Default for Measurement {
    fn default() -> Self {
        Self { digest: [0; 48], pages: 0, finished: false, parameter_areas: HashMap::new() }
    }
}

impl Measurement {
    fn directive(&mut self, directive: &IgvmDirectiveHeader) -> Result<()> {
        ensure!(!self.finished, "the file goes on after the VMSA, which must be the last page of a launch");
        match directive {
            IgvmDirectiveHeader::PageData { gpa, flags, data_type, data, .. } => {
                ensure!(
                    !flags.is_2mb_page() && !flags.shared(),
                    "the page at {gpa:#x} has flags that this measurement does not know"
                );
                match *data_type {
                    IgvmPageDataType::SECRETS => self.page(PageType::Secrets, *gpa, None),
                    IgvmPageDataType::CPUID_DATA => self.page(PageType::Cpuid, *gpa, None),
                    IgvmPageDataType::NORMAL if flags.unmeasured() => self.page(PageType::Unmeasured, *gpa, None),
                    IgvmPageDataType::NORMAL => self.page(PageType::Normal, *gpa, Some(data)),
                    other => bail!("the page at {gpa:#x} has type {other:?}, which SEV-SNP does not have"),
                }
            }
            IgvmDirectiveHeader::RequiredMemory { gpa, number_of_bytes, .. } => {
                self.pages(PageType::Zero, *gpa, u64::from(*number_of_bytes));
            }
            IgvmDirectiveHeader::ParameterArea { number_of_bytes, parameter_area_index, .. } => {
                self.parameter_areas.insert(*parameter_area_index, *number_of_bytes);
            }
            IgvmDirectiveHeader::ParameterInsert(insert) => {
                let size = self.parameter_areas.get(&insert.parameter_area_index).copied();
                self.pages(
                    PageType::Unmeasured,
                    insert.gpa,
                    size.context("a parameter area is inserted that does not exist")?,
                );
            }
            IgvmDirectiveHeader::SnpVpContext { gpa, vmsa, .. } => self.vmsa(*gpa, vmsa),
            IgvmDirectiveHeader::MemoryMap(_) => {}
            other => bail!("the launch digest of this directive is not defined here: {other}"),
        }
        Ok(())
    }

    fn vmsa(&mut self, gpa: u64, vmsa: &SevVmsa) {
        self.page(PageType::Vmsa, gpa, Some(vmsa.as_bytes()));
        self.finished = true;
    }

    fn pages(&mut self, page_type: PageType, gpa: u64, size: u64) {
        for gpa in (gpa..gpa + size).step_by(PAGE) {
            self.page(page_type, gpa, None);
        }
    }

    /// One `PAGE_INFO`: DIGEST_CUR, CONTENTS, LENGTH, PAGE_TYPE, IMI_PAGE, reserved, VMPL3_PERMS to VMPL1_PERMS, GPA.
    fn page(&mut self, page_type: PageType, gpa: u64, contents: Option<&[u8]>) {
        let contents = contents.map_or([0; 48], |bytes| {
            let mut page = [0; PAGE];
            page[..bytes.len()].copy_from_slice(bytes);
            Sha384::digest(page).into()
        });
        let hash = Sha384::new()
            .chain_update(self.digest)
            .chain_update(contents)
            .chain_update([0x70, 0, page_type as u8, 0, 0, 0, 0, 0])
            .chain_update(gpa.to_le_bytes());
        self.digest = hash.finalize().into();
        self.pages += 1;
    }
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Measurement, PageType, hex, measure};
    use sha2::{Digest, Sha384};

    /// The record is 0x70 bytes, each field at the offset that the SNP ABI gives it.
    #[test]
    fn one_page_is_one_record() {
        let mut record = [0_u8; 0x70];
        record[48..96].copy_from_slice(&Sha384::digest([7; 4096]));
        record[96] = 0x70;
        record[98] = 1;
        record[104..].copy_from_slice(&0x1234_5000_u64.to_le_bytes());
        let mut measurement = Measurement::default();
        measurement.page(PageType::Normal, 0x1234_5000, Some(&[7; 4096]));
        assert_eq!(measurement.digest.as_slice(), &Sha384::digest(record)[..]);

        record[..48].copy_from_slice(&measurement.digest);
        record[48..96].fill(0);
        record[98] = 3;
        record[104..].copy_from_slice(&0x8000_u64.to_le_bytes());
        measurement.pages(PageType::Zero, 0x8000, 4096);
        assert_eq!(measurement.digest.as_slice(), &Sha384::digest(record)[..]);
        assert_eq!(measurement.pages, 2);
    }

    #[test]
    fn short_contents_are_padded_with_zeros() {
        let mut padded = [0; 4096];
        padded[0] = 9;
        let (mut short, mut long) = (Measurement::default(), Measurement::default());
        short.page(PageType::Normal, 0, Some(&[9]));
        long.page(PageType::Normal, 0, Some(&padded));
        assert_eq!(short.digest, long.digest);
    }

    #[test]
    fn what_is_no_igvm_file_is_refused() {
        assert!(measure(b"").is_err());
        assert!(measure(&[0; 4096]).is_err());
    }

    #[test]
    fn hexadecimal_has_two_digits_a_byte() {
        assert_eq!(hex(&[0, 0x0F, 0xFF]), "000fff");
    }
}
