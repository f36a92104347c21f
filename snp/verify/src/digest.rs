//! The launch digest of an IGVM file, as QEMU and KVM have the AMD secure processor compute it (SNP firmware ABI,
//! `SNP_LAUNCH_UPDATE`).
//!
//! Written from the specification and sharing nothing with the machine's loader: that both give the same digest is a
//! test of both. What a host makes of a directive is no matter of the specification: docs/boot.md, "What a loader
//! does", says which host's rules these are.

use anyhow::{Context, Result, bail, ensure};
use igvm::snp_defs::SevVmsa;
use igvm::{IgvmDirectiveHeader, IgvmFile, IsolationType};
use igvm_defs::{IgvmPageDataFlags, IgvmPageDataType};
use sha2::{Digest, Sha384};
use std::collections::HashMap;
use zerocopy::IntoBytes;

/// A launch digest, as it stands in MEASUREMENT of an attestation report.
pub type LaunchDigest = [u8; 48];

const PAGE: usize = 4096;
/// Bytes of a large page.
const LARGE_PAGE: u64 = 2 * 1024 * 1024;
/// No parameter area is larger, in bytes.
const MAX_AREA: u64 = 1 << 30;
/// Where KVM measures every VMSA.
const VMSA_GPA: u64 = 0xFFFF_FFFF_F000;

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
    /// Register states: as many vCPUs the host must give the guest, no more and no less.
    pub processors: u32,
    /// A parameter area is inserted behind page data. The digest is that of the file's order; QEMU inserts before the
    /// last run of pages is launched.
    pub insert_behind_pages: bool,
}

/// What of a launch is the host's and not the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Pages of data without contents are launched as zero pages (3), not as normal pages full of zeros (1). QEMU on
    /// KVM does not.
    pub native_zero: bool,
}

impl Host {
    /// QEMU on KVM, with as many vCPUs as the file has register states.
    pub const QEMU: Self = Self { native_zero: false };
}

/// Measures an IGVM file as [`Host::QEMU`] does.
pub fn measure(file: &[u8]) -> Result<Launch> {
    measure_on(file, Host::QEMU)
}

/// Measures an IGVM file as `host` does.
pub fn measure_on(file: &[u8], host: Host) -> Result<Launch> {
    // The igvm crate takes the first directive for granted where the file has none.
    let file =
        IgvmFile::new_from_binary(file, Some(IsolationType::Snp)).context("this is no valid IGVM file for SEV-SNP")?;
    let policy = file.initializations().iter().find_map(|header| match header {
        igvm::IgvmInitializationHeader::GuestPolicy { policy, .. } => Some(*policy),
        _ => None,
    });
    let mut measurement = Measurement::new(host);
    for directive in file.directives() {
        measurement.directive(directive)?;
    }
    ensure!(measurement.processors > 0, "the file has no VMSA, so nothing could start");
    if let Some(expected) = measurement.id_block {
        ensure!(
            expected == measurement.digest,
            "the file's ID block is for the launch digest {}, but it is {}",
            hex(&expected),
            hex(&measurement.digest)
        );
    }
    Ok(Launch {
        digest: measurement.digest,
        pages: measurement.pages,
        processors: measurement.processors,
        policy: policy.context("the file has no guest policy")?,
        insert_behind_pages: measurement.insert_behind_pages,
    })
}

struct Measurement {
    host: Host,
    digest: LaunchDigest,
    pages: usize,
    processors: u32,
    parameter_areas: HashMap<u32, u64>,
    id_block: Option<LaunchDigest>,
    page_data: bool,
    insert_behind_pages: bool,
}

impl Measurement {
    fn new(host: Host) -> Self {
        Self {
            host,
            digest: [0; 48],
            pages: 0,
            processors: 0,
            parameter_areas: HashMap::new(),
            id_block: None,
            page_data: false,
            insert_behind_pages: false,
        }
    }

    fn directive(&mut self, directive: &IgvmDirectiveHeader) -> Result<()> {
        let after =
            matches!(directive, IgvmDirectiveHeader::SnpIdBlock { .. } | IgvmDirectiveHeader::SnpVpContext { .. });
        ensure!(
            self.processors == 0 || after,
            "the file goes on after a VMSA: VMSAs must be the last pages of a launch"
        );
        match directive {
            IgvmDirectiveHeader::PageData { gpa, flags, data_type, data, .. } => {
                self.page_data = true;
                self.page_data(*gpa, *flags, *data_type, data)?;
            }
            // Set aside as private memory: neither validated nor measured.
            IgvmDirectiveHeader::RequiredMemory { .. } => {}
            IgvmDirectiveHeader::ParameterArea { number_of_bytes, parameter_area_index, .. } => {
                self.parameter_areas.insert(*parameter_area_index, *number_of_bytes);
            }
            IgvmDirectiveHeader::ParameterInsert(insert) => {
                let size = self.parameter_areas.get(&insert.parameter_area_index).copied();
                let size = size.context("a parameter area is inserted that does not exist")?;
                self.insert_behind_pages |= self.page_data;
                let end = insert.gpa.checked_add(size).filter(|_| size <= MAX_AREA);
                let end = end.with_context(|| format!("a parameter area of {size} bytes at {:#x}", insert.gpa))?;
                (insert.gpa..end).step_by(PAGE).for_each(|gpa| self.page(PageType::Unmeasured, gpa, None));
            }
            IgvmDirectiveHeader::SnpVpContext { gpa, vp_index, vmsa, .. } => self.vmsa(*gpa, *vp_index, vmsa)?,
            IgvmDirectiveHeader::SnpIdBlock { ld, .. } => self.id_block = Some(*ld),
            // What the host writes into a parameter area.
            IgvmDirectiveHeader::MemoryMap(_)
            | IgvmDirectiveHeader::VpCount(_)
            | IgvmDirectiveHeader::EnvironmentInfo(_)
            | IgvmDirectiveHeader::Madt(_) => {}
            other => bail!("QEMU launches no file with this directive: {other}"),
        }
        Ok(())
    }

    fn page_data(
        &mut self,
        gpa: u64,
        flags: IgvmPageDataFlags,
        data_type: IgvmPageDataType,
        data: &[u8],
    ) -> Result<()> {
        ensure!(!flags.shared(), "the page at {gpa:#x} is shared, which the launch of an SEV-SNP guest cannot make");
        ensure!(
            !flags.is_2mb_page() || data.is_empty(),
            "the page at {gpa:#x} has 2 MiB of contents, which the igvm crate does not read"
        );
        let page_type = match data_type {
            IgvmPageDataType::SECRETS => PageType::Secrets,
            IgvmPageDataType::CPUID_DATA | IgvmPageDataType::CPUID_XF => PageType::Cpuid,
            IgvmPageDataType::NORMAL if flags.unmeasured() => PageType::Unmeasured,
            IgvmPageDataType::NORMAL if data.is_empty() && self.host.native_zero => PageType::Zero,
            IgvmPageDataType::NORMAL => PageType::Normal,
            other => bail!("the page at {gpa:#x} has type {other:?}, which SEV-SNP does not have"),
        };
        let size = if flags.is_2mb_page() { LARGE_PAGE } else { PAGE as u64 };
        let end = gpa.checked_add(size).with_context(|| format!("the page at {gpa:#x} ends nowhere"))?;
        for gpa in (gpa..end).step_by(PAGE) {
            self.page(page_type, gpa, matches!(page_type, PageType::Normal).then_some(data));
        }
        Ok(())
    }

    /// KVM measures every vCPU's state when the launch ends, at one address. A vCPU that has none in the file would be
    /// launched as QEMU resets it, at VMPL0, where it executes what lies at the reset vector: such a launch has another
    /// digest, which nobody must accept.
    fn vmsa(&mut self, gpa: u64, vp_index: u16, vmsa: &SevVmsa) -> Result<()> {
        ensure!(
            gpa == VMSA_GPA && u32::from(vp_index) == self.processors,
            "the VMSA is that of vCPU {vp_index} at {gpa:#x}: KVM measures that of vCPU {} at {VMSA_GPA:#x}",
            self.processors
        );
        ensure!(
            [0x30, 0x31].contains(&vmsa.cr0),
            "CR0 is {:#x} in the VMSA: KVM makes it 0x31 (protected mode) or 0x30",
            vmsa.cr0
        );
        self.page(PageType::Vmsa, gpa, Some(vmsa.as_bytes()));
        self.processors += 1;
        Ok(())
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
    use super::{Host, Measurement, PageType, hex, measure, measure_on};
    use crate::testing::{Header, igvm};
    use sha2::{Digest, Sha384};

    const NATIVE_ZERO: Host = Host { native_zero: true };

    /// The digest of records of page type, SHA-384 of the contents (zero where the type has none) and GPA.
    fn records(records: &[(u8, [u8; 48], u64)]) -> String {
        let digest = records.iter().fold([0; 48], |digest: [u8; 48], (page_type, contents, gpa)| {
            let mut record = [0_u8; 0x70];
            record[..48].copy_from_slice(&digest);
            record[48..96].copy_from_slice(contents);
            record[96] = 0x70;
            record[98] = *page_type;
            record[104..].copy_from_slice(&gpa.to_le_bytes());
            Sha384::digest(record).into()
        });
        hex(&digest)
    }

    fn sha(bytes: &[u8]) -> [u8; 48] {
        Sha384::digest(bytes).into()
    }

    fn on(host: Host, file: &[u8]) -> String {
        hex(&measure_on(file, host).unwrap().digest)
    }

    /// 4 KiB of the VMSA that [`Header::Vmsa`] puts into a file.
    fn vmsa() -> [u8; 48] {
        sha(&Header::VMSA)
    }

    const VMSA_GPA: u64 = 0xFFFF_FFFF_F000;

    /// The record is 0x70 bytes, each field at the offset that the SNP ABI gives it.
    #[test]
    fn one_page_is_one_record() {
        let mut measurement = Measurement::new(Host::QEMU);
        measurement.page(PageType::Normal, 0x1234_5000, Some(&[7; 4096]));
        assert_eq!(hex(&measurement.digest), records(&[(1, sha(&[7; 4096]), 0x1234_5000)]));
        measurement.page(PageType::Zero, 0x8000, None);
        let both = [(1, sha(&[7; 4096]), 0x1234_5000), (3, [0; 48], 0x8000)];
        assert_eq!((hex(&measurement.digest), measurement.pages), (records(&both), 2));
    }

    #[test]
    fn short_contents_are_padded_with_zeros() {
        let mut padded = [0; 4096];
        padded[0] = 9;
        let (mut short, mut long) = (Measurement::new(Host::QEMU), Measurement::new(Host::QEMU));
        short.page(PageType::Normal, 0, Some(&[9]));
        long.page(PageType::Normal, 0, Some(&padded));
        assert_eq!(short.digest, long.digest);
    }

    /// QEMU's loader only makes it private memory; COCONUT's igvmmeasure agrees.
    #[test]
    fn required_memory_is_not_measured() {
        let page = Header::Page { gpa: 0x80_0000_0000, kind: 0, flags: 0, data: Some(&[1; 4096]) };
        let required = Header::Required { gpa: 0x80_0000_0000, bytes: 0x80_0000 };
        let expected = records(&[(1, sha(&[1; 4096]), 0x80_0000_0000), (2, vmsa(), VMSA_GPA)]);
        assert_eq!(on(Host::QEMU, &igvm(&[required, page, Header::Vmsa])), expected);
        assert_eq!(on(NATIVE_ZERO, &igvm(&[page, required, Header::Vmsa])), expected);
        assert_eq!(on(Host::QEMU, &igvm(&[page, Header::Vmsa])), expected);
        assert_eq!(measure(&igvm(&[required, page, Header::Vmsa])).unwrap().pages, 2);
    }

    #[test]
    fn an_insert_behind_page_data_is_told() {
        let page = Header::Page { gpa: 0x1000, kind: 0, flags: 0, data: None };
        let (area, insert) = (Header::Area { bytes: 0x1000 }, Header::Insert { gpa: 0x5000 });
        let noted = |headers: &[Header<'_>]| measure(&igvm(headers)).unwrap().insert_behind_pages;
        assert!(noted(&[page, area, insert, Header::Vmsa]));
        assert!(noted(&[area, page, insert, page, Header::Vmsa]));
        assert!(!noted(&[area, insert, page, Header::Vmsa]));
    }

    /// KVM launches it as a normal page full of zeros, other hosts as a zero page: igvmmeasure's `--native-zero`.
    #[test]
    fn a_page_without_contents_is_of_the_type_that_the_host_uses() {
        let empty = Header::Page { gpa: 0x5000, kind: 0, flags: 0, data: None };
        let full = Header::Page { gpa: 0x6000, kind: 0, flags: 0, data: Some(&[0; 4096]) };
        let file = igvm(&[empty, full, Header::Vmsa]);
        let zeros = sha(&[0; 4096]);
        let last = (2, vmsa(), VMSA_GPA);
        assert_eq!(on(Host::QEMU, &file), records(&[(1, zeros, 0x5000), (1, zeros, 0x6000), last]));
        assert_eq!(on(NATIVE_ZERO, &file), records(&[(3, [0; 48], 0x5000), (1, zeros, 0x6000), last]));
    }

    #[test]
    fn pages_that_the_launcher_fills_are_measured_by_type_and_place() {
        let page = |kind, flags, gpa| Header::Page { gpa, kind, flags, data: None };
        // Secrets, CPUID in both forms, unmeasured, unmeasured by way of a parameter area of two pages, and 2 MiB.
        let file = igvm(&[
            page(1, 0, 0x1000),
            page(2, 0, 0x2000),
            page(3, 0, 0x3000),
            page(0, 2, 0x4000),
            Header::Area { bytes: 0x2000 },
            Header::Insert { gpa: 0x5000 },
            page(0, 1, 0x20_0000),
            Header::Vmsa,
        ]);
        let none = [0; 48];
        let mut expected =
            vec![(5, none, 0x1000), (6, none, 0x2000), (6, none, 0x3000), (4, none, 0x4000), (4, none, 0x5000)];
        expected.push((4, none, 0x6000));
        let zeros = sha(&[0; 4096]);
        expected.extend((0..512).map(|page| (1, zeros, 0x20_0000 + page * 0x1000)));
        expected.push((2, vmsa(), VMSA_GPA));
        assert_eq!(on(Host::QEMU, &file), records(&expected));
    }

    /// KVM's `snp_launch_update_vmsa` goes through all vCPUs; QEMU gives it the states of the file.
    #[test]
    fn each_vcpu_of_the_file_is_measured() {
        let launch = measure(&igvm(&[Header::Vmsa, Header::VmsaOf(1), Header::VmsaOf(2)])).unwrap();
        let one = (2, vmsa(), VMSA_GPA);
        assert_eq!((hex(&launch.digest), launch.processors), (records(&[one, one, one]), 3));
    }

    #[test]
    fn what_no_kvm_host_launches_is_refused() {
        let page = Header::Page { gpa: 0x1000, kind: 0, flags: 0, data: None };
        let says = |headers: &[Header<'_>]| format!("{:#}", measure(&igvm(headers)).unwrap_err());
        let full = Header::Page { gpa: 0x2000, kind: 0, flags: 0, data: Some(&[1; 4096]) };
        assert!(says(&[full]).contains("no VMSA"));
        assert!(says(&[Header::Vmsa, page]).contains("after a VMSA"));
        assert!(says(&[Header::Vmsa, Header::Vmsa]).contains("KVM measures that of vCPU 1"));
        assert!(says(&[Header::VmsaOf(1)]).contains("KVM measures that of vCPU 0"));
        assert!(says(&[Header::VmsaAt(0x1000), page]).contains("KVM measures that of vCPU 0"));
        let shared = Header::Page { gpa: 0x1000, kind: 0, flags: 4, data: None };
        assert!(says(&[shared, Header::Vmsa]).contains("is shared"));
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
