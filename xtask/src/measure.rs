//! `cargo xtask measure`: the launch digest of an IGVM file.

use anyhow::{Context, Result};
use fs_err as fs;
use quoin_verify::digest::{self, Host, hex};
use quoin_verify::evidence::boot_log;
use std::path::PathBuf;

/// Options of `cargo xtask measure`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The IGVM file.
    file: PathBuf,
    /// vCPUs of the guest [default: those that the image is made for]. KVM measures the register state of each: the first one's is the file's, the others' are as
    /// QEMU resets them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    vcpus: Option<u32>,
    /// CPUID leaf 1, EAX, of the CPU model that QEMU shows (-cpu): it is in the register state of every vCPU but the
    /// first. EPYC-v4 0x800f12, EPYC-Rome 0x830f10, EPYC-Milan 0xa00f11, EPYC-Genoa 0xa10f10.
    #[arg(long, value_name = "HEX", value_parser = digest::cpu_signature)]
    cpu_signature: Option<u32>,
    /// Measures pages without contents as zero pages (type 3), as hosts other than KVM launch them, not as normal pages
    /// full of zeros.
    #[arg(long)]
    native_zero: bool,
    /// Prints a JSON object with the digest, the policy and the number of measured pages.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// `made_for`: the vCPUs that the image is made for.
    fn host(&self, made_for: u32) -> Result<Host> {
        let vcpus = self.vcpus.unwrap_or(made_for);
        Ok(Host { native_zero: self.native_zero, ..Host::with_vcpus(vcpus, self.cpu_signature)? })
    }
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let host = args.host(boot_log::processors(&bytes)?)?;
    let launch = digest::measure_on(&bytes, host).with_context(|| format!("cannot measure {}", args.file.display()))?;
    if launch.insert_behind_pages {
        eprintln!(
            "note: a parameter area is inserted behind page data: QEMU launches it before the last run of pages, and its digest is another"
        );
    }
    let digest = hex(&launch.digest);
    if args.json {
        println!("{{\"launch_digest\":\"{digest}\",\"policy\":\"{:#x}\",\"pages\":{}}}", launch.policy, launch.pages);
    } else {
        println!("{digest}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Args, Host};
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn host(line: &str) -> Result<Host, String> {
        host_for(1, line)
    }

    fn host_for(made_for: u32, line: &str) -> Result<Host, String> {
        let words = ["measure"].into_iter().chain(line.split_whitespace()).chain(["x.igvm"]);
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.args.host(made_for).map_err(|error| error.to_string())
    }

    #[test]
    fn one_vcpu_of_qemu_on_kvm_is_what_is_measured() {
        assert_eq!(host("").unwrap(), Host::ONE_VCPU);
        assert_eq!(host("--native-zero").unwrap(), Host { native_zero: true, ..Host::ONE_VCPU });
    }

    #[test]
    fn more_vcpus_need_the_signature_of_their_model() {
        let four = Host { vcpus: 4, cpu_signature: 0x00A0_0F11, native_zero: false };
        assert_eq!(host("--vcpus 4 --cpu-signature 0xa00f11").unwrap(), four);
        assert_eq!(host("--vcpus 4 --cpu-signature A00F11").unwrap(), four);
        assert_eq!(host_for(4, "--cpu-signature 0xa00f11").unwrap(), four);
        assert!(host_for(4, "").unwrap_err().contains("--cpu-signature"));
        assert!(host("--vcpus 2").unwrap_err().contains("--cpu-signature"));
        assert!(host("--vcpus 0").is_err());
        assert!(host("--vcpus 2 --cpu-signature 0x1234567890").unwrap_err().contains("hexadecimal"));
    }
}
