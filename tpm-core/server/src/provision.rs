//! `quoin-tpm provision`: certificates for the TPM in a folder, as its manufacturer puts them there.
//!
//! | module | is |
//! |---|---|
//! | `keys` | which keys, by which templates, at which handles |
//! | `caller` | the commands |
//! | `authority` | who signs |
//! | `token`, `uri` | a key in a token, and its name (PKCS #11) |
//! | `certificate` | what is signed |
//! | `intermediate` | an authority below the one that signs |

mod authority;
mod caller;
mod certificate;
mod intermediate;
mod keys;
mod token;
mod uri;

use crate::engine::Engine;
use anyhow::{Context, Result, bail, ensure};
use authority::Authority;
pub(crate) use authority::KeyPlace;
use caller::{Caller, ENDORSEMENT, Index, Refused};
use certificate::Issuer;
use clap::builder::PossibleValuesParser;
pub use intermediate::certify;
use keys::{KEYS, Key, Purpose};
use std::path::{Path, PathBuf};
use tpm_codes::AlgId;
use tpm_core::profile::PROFILE;
use x509_cert::Certificate;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

/// Who signs.
#[derive(Debug, Clone, clap::Args)]
pub struct AuthorityArgs {
    /// The private key of the CA that signs, P-256, P-384 or RSA: a file in PKCS #8 and PEM, or a key in a token by its
    /// URI, `pkcs11:token=LABEL;object=LABEL?module-path=FILE&pin-source=FILE` (RFC 7512; without module-path those
    /// that p11-kit knows; pin-value=PIN is seen by whoever sees this computer's processes).
    #[arg(long, value_name = "FILE|URI", requires = "ca_certificate", conflicts_with = "development_ca")]
    ca_key: Option<KeyPlace>,
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
    /// None for keys without certificates.
    issuer: Option<Issuer<'a>>,
    replace: bool,
    lock: bool,
    /// Endorsement keys become persistent, too.
    kept: bool,
}

/// What a new TPM shall have; its endorsement keys are persistent.
pub(crate) struct Order {
    keys: Vec<&'static Key>,
    authority: Option<Authority>,
    url: Option<String>,
    machine: Option<String>,
    lock: bool,
}

impl Order {
    /// Keys that the engine's profile has algorithms for, of these.
    pub(crate) fn keys(names: &[&str]) -> Result<Self> {
        let keys: Vec<_> = KEYS.iter().filter(|key| names.contains(&key.name) && key.is_offered()).collect();
        ensure!(!keys.is_empty(), "the profile {} has no algorithms for any of these keys", PROFILE.name);
        Ok(Self { keys, authority: None, url: None, machine: None, lock: false })
    }

    /// And certificates.
    pub(crate) fn certificates(names: &[&str], authority: Authority, url: Option<&str>, lock: bool) -> Result<Self> {
        Ok(Self { authority: Some(authority), url: url.map(str::to_owned), lock, ..Self::keys(names)? })
    }

    /// In certificates of endorsement keys is the name of a virtual machine.
    pub(crate) fn for_machine(self, name: Option<&str>) -> Self {
        Self { machine: name.map(str::to_owned), ..self }
    }

    /// A line for each key.
    pub(crate) fn fulfil(&self, engine: &mut Engine) -> Result<Vec<String>> {
        let Self { keys, authority, url, machine, lock } = self;
        let (url, machine) = (url.as_deref(), machine.as_deref());
        let issuer = authority.as_ref().map(|authority| Issuer { authority, url, machine });
        Wanted { issuer, replace: false, lock: *lock, kept: true }.make(engine, keys)
    }
}

/// All PCR in these banks, and none in the others, from the next `_TPM_Init` on.
pub(crate) fn allocate(engine: &mut Engine, banks: &[AlgId]) -> Result<()> {
    Caller(engine).allocate(banks)
}

impl AuthorityArgs {
    /// An operator's.
    pub(crate) fn operator(key: KeyPlace, certificate: PathBuf) -> Self {
        Self { ca_key: Some(key), ca_certificate: Some(certificate), development_ca: None, issuer_url: None }
    }

    /// One for development, in a folder.
    pub(crate) fn development(folder: PathBuf) -> Self {
        Self { ca_key: None, ca_certificate: None, development_ca: Some(folder), issuer_url: None }
    }

    /// The one that is named, or the one that `other` names.
    pub(crate) fn open_or(&self, other: impl FnOnce() -> Result<Self>) -> Result<Authority> {
        if self.ca_key.is_none() && self.development_ca.is_none() { other()?.open() } else { self.open() }
    }

    /// Where its certificate is fetched.
    pub(crate) fn url(&self) -> Option<&str> {
        self.issuer_url.as_deref()
    }

    fn open(&self) -> Result<Authority> {
        match (&self.ca_key, &self.ca_certificate, &self.development_ca) {
            (Some(key), Some(certificate), None) => Authority::open(key, certificate),
            (None, None, Some(folder)) => Authority::development(folder),
            _ => bail!(
                "who signs? --ca-key FILE (or a PKCS #11 URI) with --ca-certificate FILE, or --development-ca DIR"
            ),
        }
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &Args) -> Result<()> {
    let chosen = choose(&args.names)?;
    let authority = args.authority.open()?;
    let issuer = Issuer { authority: &authority, url: args.authority.url(), machine: None };
    let wanted = Wanted { issuer: Some(issuer), replace: args.replace, lock: args.lock, kept: false };
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
            let done = self.one(&mut caller, key, &mut ek_serial).with_context(|| key.title)?;
            said.push(format!("{:<8} {:<20} {}", done.0, key.title, done.1));
        }
        Ok(said)
    }

    /// What was done, and to what.
    fn one(
        &self,
        caller: &mut Caller<'_>,
        key: &Key,
        ek_serial: &mut Option<SerialNumber>,
    ) -> Result<(&'static str, String)> {
        let spki = certificate::public_key(&made(caller, key, self.kept)?)?;
        let Some(issuer) = &self.issuer else { return Ok(("made", format!("key at {:#010x}", key.handle))) };
        let known = caller.index(key.index)?;
        let (done, octets, note) = match &known {
            Some(known) if !self.replace => {
                let (octets, found) = found(caller, key, known, &spki)?;
                (
                    "is there",
                    octets,
                    if issuer.authority.is_issuer(&found) { "" } else { ", of another CA (--replace)" },
                )
            }
            _ => {
                let octets = issued(issuer, caller, key, spki, ek_serial.as_ref())?;
                if known.is_some() {
                    caller.undefine(key.index)?;
                }
                caller.write(key.index, &octets)?;
                if self.lock {
                    caller.lock(key.index)?;
                }
                (if known.is_some() { "replaced" } else { "made" }, octets, "")
            }
        };
        if key.purpose == Purpose::Endorsement && ek_serial.is_none() {
            *ek_serial = Some(certificate::parse(&octets)?.tbs_certificate().serial_number().clone());
        }
        Ok((done, format!("certificate at {:#010x}, {} octets{note}", key.index, octets.len())))
    }
}

/// The certificate that is there, which must be of the key.
fn found(
    caller: &mut Caller<'_>,
    key: &Key,
    known: &Index,
    spki: &SubjectPublicKeyInfoOwned,
) -> Result<(Vec<u8>, Certificate)> {
    let octets = caller.read(key.index, known)?;
    let octets = octets.with_context(|| format!("NV Index {:#x} was never written (--replace)", key.index))?;
    let found = certificate::parse(&octets)
        .with_context(|| format!("in NV Index {:#x} is something else (--replace)", key.index))?;
    ensure!(
        found.tbs_certificate().subject_public_key_info() == spki,
        "the certificate that is there is of another key (--replace makes it anew)"
    );
    Ok((octets, found))
}

/// A new certificate. Those of IAK and IDevID name the serial number of the first one of an endorsement key.
fn issued(
    issuer: &Issuer<'_>,
    caller: &mut Caller<'_>,
    key: &Key,
    spki: SubjectPublicKeyInfoOwned,
    ek_serial: Option<&SerialNumber>,
) -> Result<Vec<u8>> {
    if key.purpose == Purpose::Endorsement {
        return issuer.endorsement(spki);
    }
    let serial = match ek_serial {
        Some(serial) => serial.clone(),
        None => any_ek_serial(caller)?,
    };
    issuer.device(key, spki, &serial)
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
