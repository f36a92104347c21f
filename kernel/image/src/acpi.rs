//! ACPI tables of our own for a guest on a PC of QEMU's (machine type q35). They are measured; the host's tables, whose
//! code would run in the guest's kernel, never reach it.

use acpi_tables::fadt::FADTBuilder;
use acpi_tables::madt::{EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, aml};

const OEM: [u8; 6] = *b"QUOIN ";
const TABLE: [u8; 8] = *b"QUOINVM ";
/// Interrupt source override (ACPI 6.5, 5.2.12.5): bus 0, IRQ 0 is interrupt 2; IRQ 9, that of ACPI, is level-triggered
/// and active high.
const OVERRIDES: [[u8; 10]; 2] = [[2, 10, 0, 0, 2, 0, 0, 0, 0, 0], [2, 10, 0, 9, 9, 0, 0, 0, 0x0D, 0]];

/// The first APIC id that no local APIC has but in x2APIC mode: in the other it means all of them.
const X2APIC: u8 = 255;

/// Where a host's TPM has its registers (TCG PC Client Platform TPM Profile), and the control area in them.
const CRB: u32 = 0xFED4_0000;
const CRB_CONTROL_AREA: u64 = CRB as u64 + 0x40;
/// Of TPM2's start methods: a Command Response Buffer.
const START_BY_CRB: u32 = 7;

/// All tables as they lie from `gpa` on, the RSDP first; `vcpus` processors with the APIC ids 0 and up; `crb`: with the
/// registers of a host's TPM.
pub fn tables(gpa: u64, vcpus: u16, crb: bool) -> Vec<u8> {
    let mut bytes = vec![0; Rsdp::len()];
    let mut place = |table: Vec<u8>| {
        let at = gpa + bytes.len() as u64;
        bytes.extend(table);
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        at
    };
    let dsdt = place(dsdt(crb));
    let fadt = place(fadt(dsdt));
    let madt = place(madt(vcpus));
    let tpm2 = crb.then(|| place(tpm2()));
    let mut xsdt = XSDT::new(OEM, TABLE, 1);
    for table in [fadt, madt].into_iter().chain(tpm2) {
        xsdt.add_entry(table);
    }
    let xsdt = place(octets(&xsdt));
    bytes[..Rsdp::len()].copy_from_slice(&octets(&Rsdp::new(OEM, xsdt)));
    bytes
}

fn octets(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// Power management at 0x600, where QEMU's firmware puts it; no SMI command, so that ACPI mode is on for good.
fn fadt(dsdt: u64) -> Vec<u8> {
    let mut fadt = FADTBuilder::new(OEM, TABLE, 1).dsdt_64(dsdt);
    fadt.sci_int = 9.into();
    (fadt.pm1a_evt_blk, fadt.pm1_evt_len) = (0x600.into(), 4);
    (fadt.pm1a_cnt_blk, fadt.pm1_cnt_len) = (0x604.into(), 2);
    (fadt.pm_tmr_blk, fadt.pm_tmr_len) = (0x608.into(), 4);
    (fadt.gpe0_blk, fadt.gpe0_blk_len) = (0x620.into(), 16);
    // No power or sleep button, WBINVD works; legacy devices and an 8042.
    fadt.flags = 0x35.into();
    fadt.iapc_boot_arch = 3.into();
    octets(&fadt.finalize())
}

fn madt(vcpus: u16) -> Vec<u8> {
    let mut madt = MADT::new(OEM, TABLE, 1, LocalInterruptController::Address(0xFEE0_0000));
    for id in (0..X2APIC).filter(|id| u16::from(*id) < vcpus) {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, 0xFEC0_0000, 0));
    // The crate has no structure for overrides: they go behind its table, whose length and checksum are made anew.
    let crate_made = octets(&madt);
    let mut table = Sdt::new(*b"APIC", 36, 1, OEM, TABLE, 1);
    table.append_slice(&crate_made[36..]);
    // PCAT_COMPAT: there is an 8259, too.
    table.write_u32(40, 1);
    OVERRIDES.iter().for_each(|entry| table.append_slice(entry));
    // Processor local x2APIC (5.2.12.12): type, length, reserved, id, enabled, UID. The crate has none of these,
    // either.
    for id in (u16::from(X2APIC)..vcpus).map(|id| u32::from(id).to_le_bytes()) {
        table.append_slice(&[&[9, 16, 0, 0][..], &id, &1_u32.to_le_bytes(), &id].concat());
    }
    table.update_checksum();
    table.as_slice().to_vec()
}

/// TCG ACPI Specification, table TPM2, revision 4: of a client, without parameters of the start method or a log.
fn tpm2() -> Vec<u8> {
    let mut tpm2 = Sdt::new(*b"TPM2", 76, 4, OEM, TABLE, 1);
    tpm2.write_u64(40, CRB_CONTROL_AREA);
    tpm2.write_u32(48, START_BY_CRB);
    tpm2.update_checksum();
    tpm2.as_slice().to_vec()
}

/// The PCI root with its windows, how to power off, and where the CRB is.
fn dsdt(crb: bool) -> Vec<u8> {
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, 1);
    let bus = aml::AddressSpace::new_bus_number(0_u16, 255);
    let configuration = aml::IO::new(0xCF8, 0xCF8, 1, 8);
    let ports = [(0_u16, 0xCF7), (0xD00, 0xFFFF)].map(|(first, last)| aml::AddressSpace::new_io(first, last, None));
    let uncached = aml::AddressSpaceCacheable::NotCacheable;
    let memory = aml::AddressSpace::new_memory(uncached, true, 0xE000_0000_u32, 0xFEBF_FFFF, None);
    let windows = aml::ResourceTemplate::new(vec![&bus, &configuration, &ports[0], &ports[1], &memory]);
    let names = [
        aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0A03")),
        aml::Name::new("_UID".into(), &aml::ZERO),
        aml::Name::new("_CRS".into(), &windows),
    ];
    let pci = aml::Device::new("PCI0".into(), names.iter().map(|name| name as &dyn Aml).collect());
    let registers = aml::Memory32Fixed::new(true, CRB, 0x1000);
    let registers = aml::ResourceTemplate::new(vec![&registers]);
    let names = [aml::Name::new("_HID".into(), &"MSFT0101"), aml::Name::new("_CRS".into(), &registers)];
    let tpm = aml::Device::new("TPM0".into(), names.iter().map(|name| name as &dyn Aml).collect());
    let devices: Vec<&dyn Aml> = if crb { vec![&pci, &tpm] } else { vec![&pci] };
    let zeros: Vec<&dyn Aml> = vec![&aml::ZERO; 4];
    let power_off = aml::Name::new("_S5_".into(), &aml::Package::new(zeros));
    for object in [&aml::Scope::new("_SB_".into(), devices) as &dyn Aml, &power_off] {
        dsdt.append_slice(&octets(object));
    }
    dsdt.update_checksum();
    dsdt.as_slice().to_vec()
}

#[cfg(test)]
mod tests {
    use super::tables;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn table(bytes: &[u8], base: u64, gpa: u64) -> &[u8] {
        let at = usize::try_from(gpa - base).unwrap();
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        &bytes[at..at + len as usize]
    }

    fn address(bytes: &[u8]) -> u64 {
        u64::from_le_bytes(bytes[..8].try_into().unwrap())
    }

    #[test]
    fn every_table_is_found_from_the_rsdp_and_has_its_checksum() {
        let base = 0x20_C000;
        let bytes = tables(base, 2, false);
        assert!(bytes.starts_with(b"RSD PTR ") && sum(&bytes[..20]) == 0 && sum(&bytes[..36]) == 0);
        let xsdt = table(&bytes, base, address(&bytes[24..]));
        let entries: Vec<_> = xsdt[36..].chunks(8).map(|entry| table(&bytes, base, address(entry))).collect();
        let dsdt = table(&bytes, base, address(&entries[0][140..]));
        let names: Vec<_> = [xsdt, entries[0], entries[1], dsdt].iter().map(|t| (&t[..4], sum(t))).collect();
        assert_eq!(names, [(&b"XSDT"[..], 0), (&b"FACP"[..], 0), (&b"APIC"[..], 0), (&b"DSDT"[..], 0)]);
        assert_eq!(entries[1].len(), 44 + 2 * 8 + 12 + 2 * 10, "two processors, an IO-APIC, two overrides");
    }

    #[test]
    fn a_hosts_tpm_has_a_table_and_a_device() {
        let base = 0x20_C000;
        let bytes = tables(base, 1, true);
        let xsdt = table(&bytes, base, address(&bytes[24..]));
        let tpm2 = table(&bytes, base, address(&xsdt[36 + 16..]));
        assert_eq!((&tpm2[..4], tpm2.len(), tpm2[8], sum(tpm2), sum(xsdt)), (&b"TPM2"[..], 76, 4, 0, 0));
        assert_eq!((address(&tpm2[40..]), &tpm2[48..52]), (0xFED4_0040, &[7, 0, 0, 0][..]));
        let with = |crb| super::dsdt(crb).windows(8).any(|eight| eight == b"MSFT0101");
        assert!(with(true) && !with(false));
    }

    #[test]
    fn processor_255_is_an_x2apic() {
        let madt = super::madt(256);
        assert_eq!((madt.len(), sum(&madt)), (44 + 255 * 8 + 12 + 2 * 10 + 16, 0));
        assert_eq!(madt[madt.len() - 16..], [9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0]);
        assert_eq!(super::madt(255).len(), madt.len() - 16);
    }
}
