//! `quoin-tpm provision`: certificates for the TPM in a folder, as its manufacturer puts them there.
//!
//! | module | is |
//! |---|---|
//! | `keys` | which keys, by which templates, at which handles |
//! | `caller` | the commands |
//! | `authority` | who signs |
//! | `certificate` | what is signed |

mod authority;
mod caller;
mod certificate;
mod keys;

use crate::engine::Engine;
use anyhow::{Context, Result, bail, ensure};
use authority::Authority;
use caller::{Caller, ENDORSEMENT, Refused};
use certificate::Issuer;
use clap::builder::PossibleValuesParser;
use keys::{KEYS, Key, Purpose};
use std::path::{Path, PathBuf};
use tpm_core::profile::PROFILE;
use x509_cert::serial_number::SerialNumber;

/// Who signs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AuthorityArgs {
    /// The private key of the CA that signs, in PKCS #8 and PEM: P-256, P-384 or RSA.
    #[arg(long, value_name = "FILE", requires = "ca_certificate", conflicts_with = "development_ca")]
    ca_key: Option<PathBuf>,
    /// The certificate of that CA, in PEM. Certificates are valid from now on and as long as it is.
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca_certificate: Option<PathBuf>,
    /// Sign with the development CA in this folder, which is made if it is not there: ca-key.pem, which only you may
    /// read, and ca.pem for those who verify. It says "development" in its name.
    #[arg(long, value_name = "DIR")]
    development_ca: Option<PathBuf>,
    /// Where those who verify find the CA's certificate (authorityInfoAccess). FAPI of tpm2-tss wants it.
    #[arg(long, value_name = "URL")]
    issuer_url: Option<String>,
}

/// Give the TPM in a folder certificates of its endorsement keys, its attestation key and its device identity.
///
/// As a TPM's manufacturer does: X.509 in DER, in NV Indices of the platform, where clients look for them (TCG EK
/// Credential Profile 2.6; "TPM 2.0 Keys for Device Identity and Attestation" 1.0). Keys that the engine's profile has
/// no algorithms for get none. IAK and IDevID become persistent; endorsement keys are made by clients when they want
/// them. What is there already stays. Nothing is changed if anything fails, or while a server has the TPM.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the TPM, as for the server: if it is not there or empty, a new TPM is made.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    #[command(flatten)]
    authority: AuthorityArgs,
    /// Make a certificate for this key alone; may be given more than once.
    #[arg(long = "key", value_name = "NAME", value_parser = PossibleValuesParser::new(KEYS.iter().map(|key| key.name)))]
    names: Vec<String>,
    /// Make certificates anew that are there.
    #[arg(long)]
    replace: bool,
    /// Lock the NV Indices: they cannot be written any more, but the platform can still undefine them.
    #[arg(long)]
    lock: bool,
}

/// What shall be.
struct Wanted<'a> {
    issuer: Issuer<'a>,
    replace: bool,
    lock: bool,
    /// Endorsement keys become persistent, too.
    kept: bool,
}

impl AuthorityArgs {
    fn open(&self) -> Result<Authority> {
        match (&self.ca_key, &self.ca_certificate, &self.development_ca) {
            (Some(key), Some(certificate), None) => Authority::open(key, certificate),
            (None, None, Some(folder)) => Authority::development(folder),
            _ => bail!("who signs? --ca-key FILE with --ca-certificate FILE, or --development-ca DIR"),
        }
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> Result<()> {
    let chosen = choose(&args.names)?;
    let authority = args.authority.open()?;
    let url = args.authority.issuer_url.as_deref();
    let wanted =
        Wanted { issuer: Issuer { authority: &authority, url }, replace: args.replace, lock: args.lock, kept: false };
    let said = at_the_factory(&args.state, |engine| wanted.make(engine, &chosen))?;
    println!("signed by {}", authority.name());
    said.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// The keys of these names that the engine can make; all, if there are no names.
fn choose(names: &[String]) -> Result<Vec<&'static Key>> {
    let named = |key: &&Key| names.is_empty() || names.iter().any(|name| name == key.name);
    let chosen: Vec<&Key> = KEYS.iter().filter(named).collect();
    if let Some(key) = chosen.iter().find(|key| !names.is_empty() && !key.is_offered()) {
        bail!("the profile {} has no algorithms for {}", PROFILE.name, key.title);
    }
    Ok(chosen.into_iter().filter(|key| key.is_offered()).collect())
}

/// Starts the TPM of a folder, lets `work` be done, and saves it if that went well.
fn at_the_factory<T>(state: &Path, work: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
    let mut engine = Engine::new(None, Some(state)).context("there is no TPM")?.held();
    crate::start(&mut engine)?;
    let done = work(&mut engine).context("nothing was changed")?;
    engine.commit()?;
    Ok(done)
}

impl Wanted<'_> {
    /// A line for each key.
    fn make(&self, engine: &mut Engine, keys: &[&Key]) -> Result<Vec<String>> {
        let mut caller = Caller(engine);
        let mut ek_serial = None;
        let mut said = Vec::new();
        for key in keys {
            let line = self.one(&mut caller, key, &mut ek_serial).with_context(|| key.title)?;
            said.push(format!("{:<8} {:<20} certificate at {:#010x}, {}", line.0, key.title, key.index, line.1));
        }
        Ok(said)
    }

    /// What was done, and how long the certificate is.
    fn one(
        &self,
        caller: &mut Caller<'_>,
        key: &Key,
        ek_serial: &mut Option<SerialNumber>,
    ) -> Result<(&'static str, String)> {
        let public = made(caller, key, self.kept)?;
        let spki = certificate::public_key(&public)?;
        let known = caller.index(key.index)?;
        let is_there = known.is_some();
        if let Some(known) = known.filter(|_| !self.replace) {
            let octets = caller.read(key.index, &known)?;
            let octets = octets.with_context(|| format!("NV Index {:#x} was never written (--replace)", key.index))?;
            let found = certificate::parse(&octets)
                .with_context(|| format!("in NV Index {:#x} is something else (--replace)", key.index))?;
            let tbs = found.tbs_certificate();
            ensure!(
                *tbs.subject_public_key_info() == spki,
                "the certificate that is there is of another key (--replace makes it anew)"
            );
            remember(key, ek_serial, tbs.serial_number());
            let by = if self.issuer.authority.is_issuer(&found) { "" } else { ", of another CA (--replace)" };
            return Ok(("is there", format!("{} octets{by}", octets.len())));
        }
        let octets = match key.purpose {
            Purpose::Endorsement => self.issuer.endorsement(spki)?,
            Purpose::Attestation | Purpose::Identity => {
                let serial = match ek_serial {
                    Some(serial) => serial.clone(),
                    None => any_ek_serial(caller)?,
                };
                self.issuer.device(key, spki, &serial)?
            }
        };
        remember(key, ek_serial, certificate::parse(&octets)?.tbs_certificate().serial_number());
        if is_there {
            caller.undefine(key.index)?;
        }
        caller.write(key.index, &octets)?;
        if self.lock {
            caller.lock(key.index)?;
        }
        Ok((if is_there { "replaced" } else { "made" }, format!("{} octets", octets.len())))
    }
}

/// The serial number of the first EK certificate goes into those of IAK and IDevID.
fn remember(key: &Key, ek_serial: &mut Option<SerialNumber>, serial: &SerialNumber) {
    if key.purpose == Purpose::Endorsement && ek_serial.is_none() {
        *ek_serial = Some(serial.clone());
    }
}

/// That of the first EK certificate in the TPM.
fn any_ek_serial(caller: &mut Caller<'_>) -> Result<SerialNumber> {
    for key in KEYS.iter().filter(|key| key.purpose == Purpose::Endorsement) {
        let Some(known) = caller.index(key.index)? else { continue };
        if let Some(octets) = caller.read(key.index, &known)? {
            return Ok(certificate::parse(&octets)?.tbs_certificate().serial_number().clone());
        }
    }
    bail!("its certificate names that of an endorsement key, and there is none yet: make one with it (--key rsa2048)")
}

/// TPMT_PUBLIC of the key; IAK and IDevID are persistent afterwards, and all others that shall be `kept`.
fn made(caller: &mut Caller<'_>, key: &Key, kept: bool) -> Result<Vec<u8>> {
    let (object, public) = caller.create_primary(ENDORSEMENT, &key.template()).map_err(|error| {
        owned(error, "the endorsement hierarchy has a password: certificates are made before the TPM has an owner")
    })?;
    if kept || key.purpose != Purpose::Endorsement {
        keep(caller, key, object, &public)?;
    }
    caller.flush(object)?;
    Ok(public)
}

/// Makes it persistent, if it is not.
fn keep(caller: &mut Caller<'_>, key: &Key, object: u32, public: &[u8]) -> Result<()> {
    match caller.public(key.handle)? {
        Some(found) if found == public => Ok(()),
        Some(_) => bail!("another key is at {:#x}", key.handle),
        None => caller.evict(object, key.handle).map_err(|error| {
            owned(error, "the owner hierarchy has a password: keys are made persistent before the TPM has an owner")
        }),
    }
}

/// An error with its reason, if it is that a password is not empty.
fn owned(error: anyhow::Error, reason: &'static str) -> anyhow::Error {
    if error.downcast_ref::<Refused>().is_some_and(Refused::is_password) { error.context(reason) } else { error }
}

#[cfg(test)]
mod tests;
