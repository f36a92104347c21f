//! Linux as a guest: kernel, initrd and command line as measured regions, entered by the 64-bit boot protocol (Linux,
//! Documentation/arch/x86/boot.rst).
//!
//! Nothing stands between firmware and kernel: the firmware writes the memory map into `boot_params`, and makes the
//! page tables.

use super::acpi;
use super::elf::PAGE;
use super::guest::{Entry, Event, Guest, Interrupts, Kind, Measure, Personality, Region, Validation, memory_type};
use super::settings::Settings;
use anyhow::{Context, Result, ensure};
use core::mem::{offset_of, size_of};
use linux_loader::loader::bootparam::{boot_params, setup_header};
use vm_memory::ByteValued;

/// What is booted.
#[derive(Debug)]
pub struct Linux {
    /// A bzImage or vmlinuz.
    pub kernel: Vec<u8>,
    /// The initial file system, if there is one.
    pub initrd: Option<Vec<u8>>,
    /// The kernel's command line.
    pub command_line: String,
    /// Processors in the ACPI tables.
    pub vcpus: u16,
    /// Whether the ACPI tables name the CRB of a host's TPM: for a test of that device, since nobody trusts it.
    pub crb: bool,
}

/// Where the small pieces lie.
const BASE: u64 = 0x20_0000;
const BOOT_PARAMS: u64 = BASE;
const COMMAND_LINE: u64 = BASE + 0x1000;
const SETUP_DATA: u64 = BASE + 0x2000;
const CC_BLOB: u64 = SETUP_DATA + 0x100;
const CPUID: u64 = BASE + 0x3000;
const SECRETS: u64 = BASE + 0x4000;
const CALLING_AREA: u64 = BASE + 0x5000;
const PAGE_TABLES: u64 = BASE + 0x6000;
const ACPI: u64 = BASE + 0xC000;
/// Four page directories, the level above, the one above that.
const PAGE_TABLES_SIZE: u64 = 6 * PAGE;

/// Where the setup header lies in a kernel's file, and what it must be.
const HEADER_AT: usize = 0x1F1;
const HEADER_MAGIC: u32 = 0x5372_6448;
/// The 64-bit entry, behind the protected-mode kernel's first octet.
const ENTRY_64: u64 = 0x200;
/// XLF_KERNEL_64; LOADED_HIGH; a boot loader without a number of its own.
const XLF_KERNEL_64: u16 = 1;
const LOADED_HIGH: u8 = 1;
const LOADER_UNDEFINED: u8 = 0xFF;
/// SETUP_CC_BLOB.
const SETUP_CC_BLOB: u32 = 7;
/// Of large pages; kernels and their surroundings are aligned to it.
const LARGE_PAGE: u64 = 0x20_0000;
/// EV_IPL, and the PCRs that GRUB uses: 8 for command lines, 9 for files.
const EV_IPL: u32 = 13;
const PCR_COMMAND_LINE: u32 = 8;
const PCR_FILES: u32 = 9;
/// What may follow the name in an event (`kernel::measure::MAX_CONTENTS`), the final zero included.
const MAX_COMMAND_LINE: usize = 2048;

impl Linux {
    /// The guest.
    pub fn guest(&self) -> Result<Guest> {
        let header = header(&self.kernel)?;
        let load = header.pref_address;
        let setup_size = (u64::from(header.setup_sects.max(1)) + 1) * 512;
        let whole = setup_size + u64::from(header.syssize) * 16;
        ensure!(
            setup_size < self.kernel.len() as u64 && whole <= self.kernel.len() as u64,
            "the kernel's file is cut off: it has {} of {whole} bytes",
            self.kernel.len()
        );
        let limit = self.command_line.len().max(header.cmdline_size as usize + 1);
        ensure!(
            self.command_line.len() < MAX_COMMAND_LINE && limit == header.cmdline_size as usize + 1,
            "the command line has {} characters: at most {} are possible",
            self.command_line.len(),
            (MAX_COMMAND_LINE - 1).min(header.cmdline_size as usize)
        );
        ensure!(
            load >= BASE + LARGE_PAGE && load + u64::from(header.init_size) < 1 << 32,
            "the kernel wants to lie at {load:#x}, which is not between 4 MiB and 4 GiB"
        );
        let initrd_at = (load + u64::from(header.init_size)).next_multiple_of(LARGE_PAGE);
        let initrd_size = self.initrd.as_ref().map_or(0, |initrd| initrd.len() as u64);
        let initrd_last = header.initrd_addr_max;
        ensure!(
            initrd_at + initrd_size <= u64::from(initrd_last) + 1,
            "an initrd of {initrd_size} bytes does not fit below {initrd_last:#x}"
        );
        let mut regions = self.small_regions(header, initrd_at, initrd_size)?;
        // The whole file, so that its digest is the one that everybody computes: its setup code, which nobody runs,
        // lies before the kernel.
        let file = Region::measured(load - setup_size, memory_type::RAM, self.kernel.clone());
        regions.push(file.with_event(event(PCR_FILES, "kernel", false)));
        if let Some(initrd) = &self.initrd {
            let region = Region::measured(initrd_at, memory_type::RAM, initrd.clone());
            regions.push(region.with_event(event(PCR_FILES, "initrd", false)));
        }
        Ok(Guest {
            entry: Entry::Long64,
            registers: [load + ENTRY_64, 0, BOOT_PARAMS, 0],
            validation: Validation::Everything,
            measure: Measure::OperatingSystem,
            processors: self.vcpus.into(),
            from_file: 0,
            mixed_blocks: 0,
            interrupts: Interrupts::default(),
            personality: Personality::default(),
            settings: Settings::default(),
            regions,
        })
    }

    /// The guest by the 32-bit boot protocol, as a host starts it that has no firmware: the kernel makes page tables of
    /// its own.
    pub fn guest_of_32_bits(&self) -> Result<Guest> {
        let mut guest = self.guest()?;
        guest.entry = Entry::Protected32;
        guest.registers = [guest.registers[0] - ENTRY_64, 0, BOOT_PARAMS, 0];
        Ok(guest)
    }

    fn small_regions(&self, header: setup_header, initrd_at: u64, initrd_size: u64) -> Result<Vec<Region>> {
        let params = boot_params(header, initrd_at, initrd_size)?;
        let mut text = self.command_line.clone().into_bytes();
        text.push(0);
        let mut map = Region::prepared(
            BOOT_PARAMS + offset_of!(boot_params, e820_table) as u64,
            size_of_val(&params.e820_table) as u64,
            Kind::E820,
        );
        map.aux = BOOT_PARAMS + offset_of!(boot_params, e820_entries) as u64;
        // The zero that ends the command line is not measured: nobody else's digest has it.
        let mut command_line = Region::measured(COMMAND_LINE, memory_type::RAM, text);
        command_line.size -= 1;
        Ok(vec![
            Region::measured(BOOT_PARAMS, memory_type::RAM, params.as_slice().to_vec()),
            map,
            command_line.with_event(event(PCR_COMMAND_LINE, "kernel_cmdline: ", true)),
            Region::measured(SETUP_DATA, memory_type::RESERVED, setup_data()),
            Region::prepared(CPUID, PAGE, Kind::Cpuid),
            Region::prepared(SECRETS, PAGE, Kind::Secrets),
            Region::prepared(CALLING_AREA, PAGE, Kind::CallingArea),
            Region::prepared(PAGE_TABLES, PAGE_TABLES_SIZE, Kind::PageTables),
            Region::measured(ACPI, memory_type::ACPI, acpi::tables(ACPI, self.vcpus, self.crb)),
        ])
    }
}

fn event(pcr: u32, name: &str, with_contents: bool) -> Event {
    Event { pcr, event_type: EV_IPL, name: name.to_owned(), with_contents }
}

/// The header of a kernel that can be entered in 64-bit mode.
fn header(kernel: &[u8]) -> Result<setup_header> {
    let bytes =
        kernel.get(HEADER_AT..HEADER_AT + size_of::<setup_header>()).context("the kernel's file is too short")?;
    let mut header = *setup_header::from_slice(bytes).context("the kernel's header cannot be read")?;
    let (magic, version, flags) = (header.header, header.version, header.xloadflags);
    ensure!(magic == HEADER_MAGIC, "the kernel's file is no bzImage");
    ensure!(
        version >= 0x20C && flags & XLF_KERNEL_64 != 0,
        "the kernel has no 64-bit entry (boot protocol {version:#x})"
    );
    // What the header of this file ends with: the octet behind the jump says how far it goes; nothing that is read here
    // lies behind that.
    header.type_of_loader = LOADER_UNDEFINED;
    Ok(header)
}

fn boot_params(mut header: setup_header, initrd_at: u64, initrd_size: u64) -> Result<boot_params> {
    header.loadflags |= LOADED_HIGH;
    header.cmd_line_ptr = u32::try_from(COMMAND_LINE)?;
    header.setup_data = SETUP_DATA;
    header.code32_start = u32::try_from(header.pref_address)?;
    if initrd_size > 0 {
        (header.ramdisk_image, header.ramdisk_size) = (u32::try_from(initrd_at)?, u32::try_from(initrd_size)?);
    }
    Ok(boot_params { hdr: header, acpi_rsdp_addr: ACPI, ..Default::default() })
}

/// A `setup_data` node that leads to the confidential-computing blob, and the blob: where the secrets and CPUID pages
/// are.
fn setup_data() -> Vec<u8> {
    let mut node = [0_u64.to_le_bytes().as_slice(), &SETUP_CC_BLOB.to_le_bytes(), &4_u32.to_le_bytes()].concat();
    node.extend(u32::try_from(CC_BLOB).unwrap_or(0).to_le_bytes());
    node.resize(usize::try_from(CC_BLOB - SETUP_DATA).unwrap_or(0), 0);
    node.extend(b"AMDE\x01\0\0\0");
    for page in [SECRETS, CPUID] {
        node.extend(page.to_le_bytes());
        node.extend(4096_u32.to_le_bytes());
        node.extend([0; 4]);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::{BOOT_PARAMS, Linux, setup_header};
    use crate::guest::{Guest, Kind};
    use vm_memory::ByteValued;

    /// A file with a header and nothing that runs.
    fn kernel(change: impl FnOnce(&mut setup_header)) -> Vec<u8> {
        let mut header = setup_header {
            setup_sects: 7,
            header: super::HEADER_MAGIC,
            version: 0x20F,
            xloadflags: 1,
            cmdline_size: 2047,
            pref_address: 0x100_0000,
            init_size: 0x300_0000,
            initrd_addr_max: 0x7FFF_FFFF,
            syssize: 0x234,
            ..Default::default()
        };
        change(&mut header);
        let mut file = vec![0; 0x1F1];
        file.extend(header.as_slice());
        file.resize(0x1000, 0xC0);
        file.extend([0x90; 0x2345]);
        file
    }

    fn linux(kernel: Vec<u8>) -> Linux {
        Linux {
            kernel,
            initrd: Some(vec![7; 5000]),
            command_line: String::from("console=ttyS1 quiet"),
            vcpus: 1,
            crb: false,
        }
    }

    fn u32_at(page: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(page[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn kernel_initrd_and_command_line_lie_where_boot_params_says() {
        let guest = linux(kernel(|_| ())).guest().unwrap();
        let pages = guest.pages();
        let params = pages[&BOOT_PARAMS];
        assert_eq!(guest.registers[..1], [0x100_0200]);
        assert_eq!(pages[&0x100_0000][..4], [0x90; 4], "the protected-mode kernel is where it wants to be");
        let initrd = u64::from(u32_at(&params, 0x218));
        assert_eq!((initrd, u32_at(&params, 0x21C)), (0x400_0000, 5000));
        assert_eq!(pages[&initrd][0], 7);
        assert!(pages[&u64::from(u32_at(&params, 0x228))].starts_with(b"console=ttyS1 quiet\0"));
        assert_eq!(params[0x210], 0xFF);
    }

    #[test]
    fn what_is_measured_into_pcrs_has_the_digests_that_everybody_computes() {
        let linux = linux(kernel(|_| ()));
        let guest = linux.guest().unwrap();
        let measured: Vec<_> = guest.regions.iter().filter_map(|r| Some((r.event.clone()?, r))).collect();
        let of = |name: &str| measured.iter().find(|(event, _)| event.name == name).unwrap();
        let (event, region) = of("kernel");
        assert_eq!((event.pcr, &region.contents), (9, &linux.kernel));
        assert_eq!(region.size, linux.kernel.len() as u64);
        let (event, region) = of("kernel_cmdline: ");
        assert_eq!((event.pcr, region.size, event.with_contents), (8, 19, true));
    }

    #[test]
    fn the_firmware_writes_the_memory_map_into_boot_params() {
        let guest = linux(kernel(|_| ())).guest().unwrap();
        let map = guest.regions.iter().find(|region| region.kind == Kind::E820).unwrap();
        assert_eq!((map.gpa, map.size, map.aux), (BOOT_PARAMS + 0x2D0, 128 * 20, BOOT_PARAMS + 0x1E8));
        assert!(Guest::launch_params(Some(&guest)).is_ok());
    }

    #[test]
    fn what_cannot_be_booted_is_refused() {
        let refused = |linux: Linux| linux.guest().unwrap_err().to_string();
        assert!(refused(linux(vec![0; 100])).contains("too short"));
        assert!(refused(linux(kernel(|h| h.header = 0))).contains("no bzImage"));
        assert!(refused(linux(kernel(|h| h.xloadflags = 0))).contains("no 64-bit entry"));
        assert!(refused(linux(kernel(|h| h.pref_address = 0x10_0000))).contains("wants to lie"));
        assert!(refused(linux(kernel(|h| h.initrd_addr_max = 0x400_0000))).contains("does not fit"));
        let mut cut = kernel(|_| ());
        cut.truncate(0x3330);
        assert!(refused(linux(cut)).contains("has 13104 of 13120 bytes"));
        let mut long = linux(kernel(|_| ()));
        long.command_line = "x".repeat(2048);
        assert!(refused(long).contains("command line"));
    }
}
