//! All clients.

use crate::go::{self, Go};
use crate::place::{self, Place, Tpm};
use crate::{Kit, Ready, scripts};
use anyhow::{Context, Result};
use booted::azure::client as azure_client;
use fs_err as fs;
use host::fetch::ensure_packages;
use host::{debian, workspace};
use std::path::PathBuf;
use std::process::Command;

/// What a step does.
#[derive(Debug, Clone, Copy)]
pub enum Does {
    /// A script of the client's.
    Script(&'static str),
    /// Ours, by rules that we have read.
    Ours(fn(&Tpm<'_>) -> Result<()>),
}

/// A step: its name, and what it does.
pub type Step = (&'static str, Does);

/// How a client runs.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// Steps with one TPM.
    Steps(Place, &'static [Step]),
    /// Cases of a suite of `cargo xtask conformance`, by what their names begin with.
    Conformance(&'static str, &'static str),
    /// A suite of `cargo xtask test`.
    Suite(&'static str),
}

/// When a client runs without being named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every run of `cargo xtask test`: it needs no more than that has.
    Always,
    /// When all clients do.
    All,
    /// Only when it is named: it takes long, or has a suite that is run by itself.
    Named,
}

/// A program or library by others.
#[derive(Debug)]
pub struct Client {
    /// Its name.
    pub name: &'static str,
    /// How it runs.
    pub how: How,
    /// Installs and builds what it needs.
    pub prepare: fn(&Kit<'_>) -> Result<Ready>,
    /// When it runs.
    pub when: When,
}

impl Client {
    /// The TPM or the evidence that it judges, for the table.
    pub fn against(&self) -> &'static str {
        match self.how {
            How::Steps(place, _) => place.name(),
            How::Conformance("measured-boot", _) => "server, by QEMU",
            How::Conformance(..) => Place::Server.name(),
            How::Suite(_) => "its suite",
        }
    }

    /// By what it is chosen: no two are called the same.
    pub fn full_name(&self) -> String {
        format!("{}, {}", self.name, self.against())
    }
}

/// The names of all clients.
pub fn names() -> Vec<String> {
    CLIENTS.iter().map(Client::full_name).collect()
}

const fn steps(
    name: &'static str,
    place: Place,
    steps: &'static [Step],
    prepare: fn(&Kit<'_>) -> Result<Ready>,
    when: When,
) -> Client {
    Client { name, how: How::Steps(place, steps), prepare, when }
}

/// In the order of the page.
pub static CLIENTS: &[Client] = &[
    steps("tpm2-tools", Place::Firmware, scripts::TOOLS, tools, When::Always),
    steps("tpm2-tools", Place::Azure, scripts::AZURE_TOOLS, tools, When::Always),
    conformance("tpm2-tools", "certificates", "tpm2-tools", tools, When::All),
    conformance("OpenSSL", "certificates", "openssl", openssl, When::All),
    conformance("FAPI", "certificates", "fapi", fapi, When::All),
    steps("FAPI", Place::DefaultServer, scripts::FAPI_SERVER, fapi, When::All),
    steps("FAPI", Place::Firmware, scripts::FAPI, fapi, When::All),
    conformance("keylime", "keylime", "keylime", keylime, When::All),
    steps("keylime", Place::Firmware, scripts::KEYLIME, keylime, When::All),
    steps("go-attestation", Place::Server, scripts::GO_SERVER, go_attestation, When::All),
    steps("go-attestation", Place::Firmware, scripts::GO_FIRMWARE, go_attestation, When::All),
    steps("go-sev-guest", Place::Firmware, scripts::GO_SEV_GUEST, go_sev_guest, When::All),
    steps("go-sev-guest", Place::Azure, scripts::GO_SEV_GUEST_AZURE, go_sev_guest, When::All),
    steps("crate sev", Place::Firmware, scripts::SEV, sev, When::All),
    steps("snpguest", Place::Firmware, scripts::SNPGUEST, snpguest, When::All),
    steps("snpguest", Place::Azure, scripts::SNPGUEST_AZURE, snpguest, When::All),
    steps("az-snp-vtpm", Place::Azure, scripts::AZ_SNP_VTPM, az_snp_vtpm, When::All),
    steps("Azure's attestation tools, by their rules", Place::Azure, scripts::AZURE_RULES, rules, When::Always),
    steps("systemd", Place::Server, scripts::SYSTEMD, systemd, When::All),
    conformance("clevis", "clients", "clevis", clevis, When::All),
    conformance("tpm2-openssl", "clients", "openssl", tpm2_openssl, When::All),
    conformance("tpm2-pkcs11", "clients", "pkcs11", tpm2_pkcs11, When::All),
    conformance("SoftHSM, for the CA's key", "pkcs11", "", softhsm, When::All),
    conformance("libvirt, backend external", "libvirt", "external", libvirt, When::All),
    conformance("libvirt, backend emulator", "libvirt", "emulator", libvirt, When::All),
    conformance("OVMF and Linux with IMA", "measured-boot", "", linux, When::Named),
];

const fn conformance(
    name: &'static str,
    suite: &'static str,
    part: &'static str,
    prepare: fn(&Kit<'_>) -> Result<Ready>,
    when: When,
) -> Client {
    Client { name, how: How::Conformance(suite, part), prepare, when }
}

/// Debian's packages, and the version of the first.
fn installed(packages: &[&'static str]) -> Result<Ready> {
    ensure_packages(packages)?;
    let of = packages.first().context("no package")?;
    let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", of]).output()?;
    let version = String::from_utf8(output.stdout)?;
    // Of `1:5.4-1+b2` what its authors call it.
    let version = version.rsplit(':').next().unwrap_or_default();
    let version = version.rsplit_once('-').map_or(version, |(upstream, _)| upstream).to_owned();
    Ok(Ready { version, ..Ready::default() })
}

fn tools(_: &Kit<'_>) -> Result<Ready> {
    debian::ensure(&booted::tools::PROGRAMS)?;
    installed(&["tpm2-tools", "openssl"])
}

fn openssl(_: &Kit<'_>) -> Result<Ready> {
    installed(&["openssl", "tpm2-tools"])
}

fn fapi(kit: &Kit<'_>) -> Result<Ready> {
    let [libraries, profiles] = conformance::fapi(place::servers(kit)?)?;
    let described = fs::read_to_string(libraries.join("pkgconfig/tss2-fapi.pc"))?;
    let version = described.lines().find_map(|line| line.strip_prefix("Version: "));
    let version = version.context("FAPI does not say its version")?.to_owned();
    let variables = vec![("FAPI_LIBRARIES", libraries.into_os_string()), ("PROFILES", profiles.into_os_string())];
    let functions = [conformance::certificates::FUNCTIONS, scripts::FAPI_AGAIN].join("\n");
    Ok(Ready { version, variables, functions })
}

fn keylime(kit: &Kit<'_>) -> Result<Ready> {
    let functions = conformance::keylime(place::servers(kit)?)?;
    Ok(Ready { version: conformance::keylime::VERSION.to_owned(), functions, ..Ready::default() })
}

fn go_attestation(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    let go = Go::fetch()?;
    go.attestation()?;
    let program = go.bin().join("go-attestation").into_os_string();
    let variables = vec![("GO_ATTESTATION", program)];
    Ok(Ready { version: go.version(go::ATTESTATION)?, variables, ..Ready::default() })
}

fn go_sev_guest(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    let go = Go::fetch()?;
    go.check()?;
    // No roots but those that are given, nothing from the network, and a guest policy that allows SMT.
    let functions = "CHAIN=$PWD/chain/chain.pem
        by_amd() { \"$GO_CHECK\" -network=false -product_name Milan-B1 \"$@\"; }
        check() { by_amd -product_key_path \"$CHAIN\" -guest_policy 0x30000 \"$@\"; }"
        .to_owned();
    let variables = vec![("GO_CHECK", go.bin().join("go-sev-guest-check").into_os_string())];
    Ok(Ready { version: go.version(go::SEV_GUEST)?, variables, functions })
}

/// It is linked into this program: its version is that of the lock file.
fn sev(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    let lock = fs::read_to_string(workspace::root()?.join("Cargo.lock"))?;
    let (_, package) = lock.split_once("name = \"sev\"\nversion = \"").context("the lock file does not have it")?;
    let version = package.split('"').next().unwrap_or_default().to_owned();
    Ok(Ready { version, ..Ready::default() })
}

fn snpguest(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    let variables = vec![("SNPGUEST", (kit.snpguest)()?.into_os_string())];
    Ok(Ready { version: kit.snpguest_version.to_owned(), variables, ..Ready::default() })
}

fn az_snp_vtpm(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    let folder: PathBuf = azure_client::build()?;
    let program = folder.join(azure_client::PROGRAM).into_os_string();
    let variables = vec![("AZURE_CLIENT", program), ("LD_LIBRARY_PATH", folder.into_os_string())];
    Ok(Ready { version: azure_client::VERSION.to_owned(), variables, ..Ready::default() })
}

fn rules(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    Ok(Ready { version: String::from("of August 2026"), ..Ready::default() })
}

fn systemd(kit: &Kit<'_>) -> Result<Ready> {
    tools(kit)?;
    installed(&["systemd", "cryptsetup-bin"])
}

fn clevis(_: &Kit<'_>) -> Result<Ready> {
    installed(&["clevis-tpm2"])
}

fn tpm2_openssl(_: &Kit<'_>) -> Result<Ready> {
    installed(&["tpm2-openssl"])
}

fn tpm2_pkcs11(_: &Kit<'_>) -> Result<Ready> {
    installed(&["libtpm2-pkcs11-1"])
}

fn softhsm(_: &Kit<'_>) -> Result<Ready> {
    installed(&["softhsm2"])
}

fn libvirt(_: &Kit<'_>) -> Result<Ready> {
    installed(&["libvirt-daemon", "libvirt-clients"])
}

fn linux(_: &Kit<'_>) -> Result<Ready> {
    let ovmf = installed(&["ovmf"])?.version;
    let kernel = installed(&["qemu-system-x86"])?.version;
    Ok(Ready { version: format!("{ovmf}, QEMU {kernel}"), ..Ready::default() })
}

#[cfg(test)]
mod tests {
    use super::names;
    use std::collections::BTreeSet;

    #[test]
    fn no_client_is_there_twice() {
        let all = names();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
