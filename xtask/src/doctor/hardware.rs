//! What this computer would be as a host of real SEV-SNP guests.

use raw_cpuid::CpuId;
use std::fs;
use std::path::Path;

/// Features of the processor (CPUID Fn8000_001F).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encryption {
    /// SEV.
    pub sev: bool,
    /// SEV-ES.
    pub sev_es: bool,
    /// SEV-SNP.
    pub snp: bool,
    /// VMPLs.
    pub vmpl: bool,
    /// The position of the C-bit.
    pub c_bit: u8,
}

/// As a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The processor's name.
    pub processor: String,
    /// It is shown by a hypervisor: this is a virtual machine.
    pub virtual_machine: bool,
    /// What it says of memory encryption.
    pub encryption: Encryption,
    /// The kernel's release.
    pub kernel: String,
    /// `/dev/kvm` can be used.
    pub kvm: bool,
    /// `/dev/sev` is there.
    pub sev: bool,
    /// What kvm_amd's parameters `sev`, `sev_es` and `sev_snp` say; nothing if they are not there.
    pub parameters: [Option<bool>; 3],
}

/// kvm_amd's parameters.
pub const PARAMETERS: [&str; 3] = ["sev", "sev_es", "sev_snp"];

impl Host {
    /// Looks.
    pub fn look() -> Self {
        let cpuid = CpuId::new();
        let brand = cpuid.get_processor_brand_string().map(|brand| brand.as_str().trim().to_owned());
        let encryption = cpuid.get_memory_encryption_info().map(|info| Encryption {
            sev: info.has_sev(),
            sev_es: info.has_sev_es(),
            snp: info.has_sev_snp(),
            vmpl: info.has_vmpl(),
            c_bit: info.c_bit_position(),
        });
        Self {
            processor: brand.unwrap_or_default(),
            virtual_machine: cpuid.get_feature_info().is_some_and(|features| features.has_hypervisor()),
            encryption: encryption.unwrap_or_default(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            kvm: fs::File::options().read(true).write(true).open("/dev/kvm").is_ok(),
            sev: Path::new("/dev/sev").exists(),
            parameters: PARAMETERS.map(parameter),
        }
    }

    /// Why it cannot launch SEV-SNP guests as it is; nothing if nothing is known against it.
    pub fn against(&self) -> Vec<String> {
        let mut against = Vec::new();
        if !self.encryption.snp {
            against.push("the processor does not show SEV-SNP (CPUID 8000001F, EAX bit 4)".to_owned());
        } else if !self.encryption.vmpl {
            against.push("the processor does not show VMPLs (CPUID 8000001F, EAX bit 5)".to_owned());
        }
        if !self.kvm {
            against.push("/dev/kvm cannot be used".to_owned());
        }
        if !self.sev {
            against.push("there is no /dev/sev: no driver of the secure processor".to_owned());
        }
        match self.parameters[2] {
            Some(true) => {}
            Some(false) => against.push("kvm_amd has sev_snp=N: firmware settings, IOMMU or the kernel".to_owned()),
            None => against.push(
                "kvm_amd has no parameter sev_snp: it is not loaded, or the kernel is older than 6.11".to_owned(),
            ),
        }
        against
    }
}

fn parameter(name: &str) -> Option<bool> {
    let text = fs::read_to_string(Path::new("/sys/module/kvm_amd/parameters").join(name)).ok()?;
    Some(matches!(text.trim(), "Y" | "1"))
}

#[cfg(test)]
mod tests {
    use super::{Encryption, Host};

    /// An EPYC host on which everything is switched on.
    pub(crate) fn epyc() -> Host {
        Host {
            processor: "AMD EPYC 7763".into(),
            virtual_machine: false,
            encryption: Encryption { sev: true, sev_es: true, snp: true, vmpl: true, c_bit: 51 },
            kernel: "6.16.0-svsm".into(),
            kvm: true,
            sev: true,
            parameters: [Some(true); 3],
        }
    }

    #[test]
    fn a_host_that_has_all_is_told_from_one_where_something_is_off() {
        assert_eq!(epyc().against(), <[String; 0]>::default());
        let said = |change: fn(&mut Host)| {
            let mut host = epyc();
            change(&mut host);
            host.against().join("; ")
        };
        assert!(said(|host| host.encryption.snp = false).starts_with("the processor does not show SEV-SNP"));
        assert!(said(|host| host.encryption.vmpl = false).contains("VMPLs"));
        assert!(said(|host| host.kvm = false).contains("/dev/kvm"));
        assert!(said(|host| host.sev = false).contains("/dev/sev"));
        assert!(said(|host| host.parameters[2] = Some(false)).contains("sev_snp=N"));
        assert!(said(|host| host.parameters[2] = None).contains("no parameter"));
        assert_eq!(Host::default().against().len(), 4);
    }
}
