//! The TPM that a client finds: our server's, or a booted firmware's, with what lies beside it.

use crate::Kit;
use crate::trace::{Ears, Heard};
use anyhow::{Context, Result, ensure};
use booted::azure::client::pem;
use conformance::PROFILE;
use conformance::servers::{Server, Servers};
use fs_err as fs;
use host::boot::{self, Built};
use host::collect;
use host::psp::Identity;
use host::qemu::Folder;
use std::path::Path;
use std::process::Command;
use tpm_codes::profile::FULL;

/// Where a client finds its TPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `quoin-tpm`, provisioned: the CA's certificate is `ca/ca.pem`.
    Server,
    /// The same with the profile that users get who name none.
    DefaultServer,
    /// The firmware's, through the relay. `evidence/` is what it has given before, `chain/` the development chain.
    Firmware,
    /// The same with Azure's personality, without evidence.
    Azure,
}

impl Place {
    /// For the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::DefaultServer => "server, default profile",
            Self::Firmware => "firmware",
            Self::Azure => "firmware, as Azure's",
        }
    }
}

/// A TPM, and a folder to work in.
#[derive(Debug)]
pub struct Tpm<'a> {
    /// What tpm2-tss calls it.
    pub tcti: &'a str,
    /// Where scripts work.
    pub folder: &'a Path,
    /// What was said to it.
    pub heard: &'a Heard,
}

impl Tpm<'_> {
    /// Its port, where its own bytes go in and out.
    pub fn port(&self) -> &str {
        self.tcti.rsplit('=').next().unwrap_or_default()
    }
}

/// Has `work` done with a new TPM.
pub fn with<T>(kit: &Kit<'_>, place: Place, work: impl FnMut(&Tpm<'_>) -> Result<T>) -> Result<T> {
    match place {
        Place::Server => server(&servers(kit)?, work),
        Place::DefaultServer => server(&quoin(kit, FULL.name)?, work),
        Place::Firmware => firmware(kit, kit.built, true, work),
        Place::Azure => firmware(kit, &boot::build_azure()?, false, work),
    }
}

/// Our servers, of the profile that all clients can judge.
pub fn servers(kit: &Kit<'_>) -> Result<Servers> {
    quoin(kit, PROFILE)
}

fn quoin(kit: &Kit<'_>, profile: &str) -> Result<Servers> {
    Ok(Servers::quoin((kit.server)(profile)?, profile))
}

fn server<T>(servers: &Servers, mut work: impl FnMut(&Tpm<'_>) -> Result<T>) -> Result<T> {
    let folder = Folder::new()?;
    let state = folder.path().join("tpm");
    servers.provision(&state, &folder.path().join("ca"))?;
    let server: Server = servers.start_with(&state)?;
    server.startup()?;
    let heard = Heard::Trace(server.trace());
    work(&Tpm { tcti: &server.tcti(), folder: folder.path(), heard: &heard })
}

fn firmware<T>(kit: &Kit<'_>, built: &Built, evidence: bool, mut work: impl FnMut(&Tpm<'_>) -> Result<T>) -> Result<T> {
    let mut qemu = boot::start(built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let (mut relay, folder) = (qemu.relay()?, Folder::new()?);
    if evidence {
        let gathered = collect::gather(&mut relay, &built.image.launch.digest)
            .with_context(|| format!("collecting evidence failed\n{}", qemu.last_lines()))?;
        let at = folder.path().join("evidence");
        gathered.write(&at)?;
        fs::write(at.join("nonce.hex"), quoin_verify::digest::hex(&gathered.quote_nonce))?;
    }
    chain(folder.path())?;
    let ears = Ears::default();
    let heard = Heard::Ears(ears.clone());
    let mut done = None;
    (kit.serve)(relay, Box::new(ears), &mut |tcti| {
        done = Some(work(&Tpm { tcti, folder: folder.path(), heard: &heard }));
        Ok(())
    })?;
    done.context("nothing was done with the firmware's TPM")?
}

/// The development chain, each certificate in both forms, as AMD's and Azure's services give it (`chain.pem` is the
/// ASK's and then the ARK's), and as a host gives it (`certificates.bin`).
fn chain(folder: &Path) -> Result<()> {
    let identity = Identity::development();
    let at = folder.join("chain");
    fs::create_dir(&at)?;
    fs::write(at.join("certificates.bin"), identity.certificate_table())?;
    let Identity { ark, ask, vcek, .. } = identity;
    for (name, der) in [("ark", &ark), ("ask", &ask), ("vcek", &vcek)] {
        fs::write(at.join(format!("{name}.der")), der)?;
        fs::write(at.join(format!("{name}.pem")), pem(der)?)?;
    }
    Ok(fs::write(at.join("chain.pem"), [pem(&ask)?, pem(&ark)?].concat())?)
}

/// What tools of tpm2-tools without a resource manager have left in the TPM. Nobody counts these commands.
pub fn clean(tpm: &Tpm<'_>) -> Result<()> {
    for kind in ["-t", "-l", "-s"] {
        let mut flush = Command::new("tpm2_flushcontext");
        let output =
            flush.arg(kind).env("TPM2TOOLS_TCTI", tpm.tcti).output().context("cannot start tpm2_flushcontext")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
