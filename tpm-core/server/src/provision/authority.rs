//! Who signs certificates: an operator's CA, or one for development.

use super::token::{OnToken, TokenKey};
use super::uri::Uri;
use anyhow::{Context, Result, bail, ensure};
use core::str::FromStr;
use der::asn1::OctetString;
use der::{DecodePem, Encode, EncodePem};
use p384::elliptic_curve::Generate;
use rsa::pkcs1v15;
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, LineEnding};
use rsa::signature::Keypair;
use sha2::Sha256;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use x509_cert::Certificate;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};

const KEY: &str = "ca-key.pem";
const CERTIFICATE: &str = "ca.pem";
/// What everybody sees who looks at a certificate.
const DEVELOPMENT: &str = "CN=Quoin development CA: its certificates prove nothing,O=development only";

/// A CA's private key, or the way to it.
enum Signer {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Rsa(Box<pkcs1v15::SigningKey<Sha256>>),
    TokenP256(OnToken<p256::ecdsa::VerifyingKey>),
    TokenP384(OnToken<p384::ecdsa::VerifyingKey>),
    TokenRsa(OnToken<pkcs1v15::VerifyingKey<Sha256>>),
}

/// Where an operator's private key is.
#[derive(Debug, Clone)]
pub(crate) enum KeyPlace {
    /// PKCS #8 in PEM.
    File(PathBuf),
    /// A token.
    Token(Uri),
}

impl FromStr for KeyPlace {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if Uri::is_one(text) { Uri::parse(text).map(Self::Token) } else { Ok(Self::File(text.into())) }
    }
}

/// A CA.
pub(crate) struct Authority {
    key: Signer,
    certificate: Certificate,
    key_identifier: OctetString,
}

/// What a certificate says, besides what every one does.
pub(super) struct Form {
    pub(super) subject: Name,
    pub(super) extensions: Vec<Extension>,
}

/// Who issues it.
struct Issued {
    issuer: Name,
    form: Form,
}

impl BuilderProfile for Issued {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.form.subject.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuers_key: SubjectPublicKeyInfoRef<'_>,
        _certificate: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        Ok(self.form.extensions.clone())
    }
}

impl Authority {
    /// An operator's: a private key, and a certificate in PEM.
    pub(crate) fn open(key: &KeyPlace, certificate: &Path) -> Result<Self> {
        let context = || format!("{} is no certificate of a CA", certificate.display());
        let parsed = Certificate::from_pem(first(&read(certificate)?)).map_err(anyhow::Error::msg);
        let parsed = parsed.with_context(context)?;
        // Before a token is asked for anything.
        signs_certificates(parsed.tbs_certificate()).with_context(context)?;
        let signer = match key {
            KeyPlace::Token(uri) => Signer::in_token(uri, &parsed).context("no key of a CA is in a token")?,
            KeyPlace::File(file) => {
                Signer::parse(&read(file)?).with_context(|| format!("{} is no key of a CA", file.display()))?
            }
        };
        Self::of(signer, parsed).with_context(context)
    }

    /// The one in a folder, which is made if it is not there.
    pub(crate) fn development(folder: &Path) -> Result<Self> {
        let (key, certificate) = (folder.join(KEY), folder.join(CERTIFICATE));
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make the folder {}", folder.display())),
        }
        match (key.exists(), certificate.exists()) {
            (true, true) => {}
            (false, false) => {
                let (signer, made) = new_development().context("cannot make a development CA")?;
                let pem = match &signer {
                    Signer::P384(key) => key.to_pkcs8_pem(LineEnding::LF)?,
                    _ => bail!("a development CA has another key"),
                };
                create(&key, 0o600, pem.as_bytes())?;
                create(&certificate, 0o644, made.to_pem(LineEnding::LF).map_err(anyhow::Error::msg)?.as_bytes())?;
                log::info!("a development CA is made in {}", folder.display());
            }
            _ => bail!(
                "of {KEY} and {CERTIFICATE} only one is in {}: remove the folder, or put the other back",
                folder.display()
            ),
        }
        let mode = fs::metadata(&key)?.permissions().mode();
        ensure!(mode & 0o077 == 0, "others may read or write {}", key.display());
        Self::open(&KeyPlace::File(key), &certificate)
    }

    fn of(key: Signer, certificate: Certificate) -> Result<Self> {
        let tbs = certificate.tbs_certificate();
        ensure!(*tbs.subject_public_key_info() == key.public()?, "the private key is another's");
        let own: Option<(bool, SubjectKeyIdentifier)> = tbs.get_extension()?;
        let key_identifier = match own {
            Some((_, identifier)) => identifier.0,
            None => identifier(tbs.subject_public_key_info())?,
        };
        Ok(Self { key, certificate, key_identifier })
    }

    /// The name in what it issues.
    pub(crate) fn name(&self) -> String {
        self.certificate.tbs_certificate().subject().to_string()
    }

    /// keyIdentifier in hexadecimal digits.
    pub(super) fn key_identifier(&self) -> String {
        hex(self.key_identifier.as_bytes())
    }

    /// The extension that points to its key.
    pub(super) fn authority_key_identifier(&self) -> AuthorityKeyIdentifier {
        AuthorityKeyIdentifier { key_identifier: Some(self.key_identifier.clone()), ..Default::default() }
    }

    /// A certificate from now to the end of its own.
    pub(super) fn issue(&self, key: SubjectPublicKeyInfoOwned, serial: SerialNumber, form: Form) -> Result<Vec<u8>> {
        let own = self.certificate.tbs_certificate();
        let validity = Validity::new(now()?, own.validity().not_after);
        let issued = Issued { issuer: own.subject().clone(), form };
        Ok(self.key.sign(issued, serial, validity, key)?.to_der()?)
    }

    /// Its own certificate.
    pub(super) fn own(&self) -> Result<Vec<u8>> {
        Ok(self.certificate.to_der()?)
    }

    /// Whether it has issued a certificate, as far as names tell.
    pub(super) fn is_issuer(&self, certificate: &Certificate) -> bool {
        certificate.tbs_certificate().issuer() == self.certificate.tbs_certificate().subject()
    }
}

/// Refuses a certificate whose key may not sign others now.
fn signs_certificates(tbs: &TbsCertificate) -> Result<()> {
    let constraints: Option<(bool, BasicConstraints)> = tbs.get_extension()?;
    ensure!(constraints.is_some_and(|(_, constraints)| constraints.ca), "it says that it is none (CA:FALSE)");
    let usage: Option<(bool, KeyUsage)> = tbs.get_extension()?;
    ensure!(usage.is_none_or(|(_, usage)| usage.key_cert_sign()), "its key may not sign certificates (keyUsage)");
    let now = SystemTime::now();
    let Validity { not_before, not_after, .. } = tbs.validity();
    ensure!(not_before.to_system_time() <= now, "it is not valid yet");
    ensure!(now < not_after.to_system_time(), "it has expired");
    Ok(())
}

impl Signer {
    /// The key in a token whose certificate this is.
    fn in_token(uri: &Uri, certificate: &Certificate) -> Result<Self> {
        let public = certificate.tbs_certificate().subject_public_key_info().to_der()?;
        let key = TokenKey::open(uri)?;
        if let Ok(public) = p256::ecdsa::VerifyingKey::from_public_key_der(&public) {
            return OnToken::of(key, public).map(Self::TokenP256);
        }
        if let Ok(public) = p384::ecdsa::VerifyingKey::from_public_key_der(&public) {
            return OnToken::of(key, public).map(Self::TokenP384);
        }
        let public = pkcs1v15::VerifyingKey::from_public_key_der(&public);
        OnToken::of(key, public.context("neither P-256 nor P-384 nor RSA")?).map(Self::TokenRsa)
    }

    fn parse(pem: &str) -> Result<Self> {
        ensure!(!pem.contains("BEGIN ENCRYPTED PRIVATE KEY"), "it is encrypted, which is not taken");
        ensure!(pem.contains("BEGIN PRIVATE KEY"), "no PKCS #8 in PEM (`openssl pkcs8 -topk8 -nocrypt` makes it)");
        if let Ok(key) = p256::ecdsa::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::P256(key));
        }
        if let Ok(key) = p384::ecdsa::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::P384(key));
        }
        let key = rsa::PrivateKey::from_pkcs8_pem(pem).context("neither P-256 nor P-384 nor RSA")?;
        Ok(Self::Rsa(Box::new(pkcs1v15::SigningKey::new(key))))
    }

    fn public(&self) -> Result<SubjectPublicKeyInfoOwned> {
        Ok(match self {
            Self::P256(key) => SubjectPublicKeyInfo::from_key(key.verifying_key())?,
            Self::P384(key) => SubjectPublicKeyInfo::from_key(key.verifying_key())?,
            Self::Rsa(key) => SubjectPublicKeyInfo::from_key(&key.verifying_key())?,
            Self::TokenP256(key) => SubjectPublicKeyInfo::from_key(&key.verifying_key())?,
            Self::TokenP384(key) => SubjectPublicKeyInfo::from_key(&key.verifying_key())?,
            Self::TokenRsa(key) => SubjectPublicKeyInfo::from_key(&key.verifying_key())?,
        })
    }

    fn sign(
        &self,
        issued: Issued,
        serial: SerialNumber,
        validity: Validity,
        key: SubjectPublicKeyInfoOwned,
    ) -> builder::Result<Certificate> {
        let unsigned = CertificateBuilder::new(issued, serial, validity, key)?;
        match self {
            Self::P256(key) => unsigned.build::<_, p256::ecdsa::DerSignature>(key),
            Self::P384(key) => unsigned.build::<_, p384::ecdsa::DerSignature>(key),
            Self::Rsa(key) => unsigned.build::<_, pkcs1v15::Signature>(&**key),
            Self::TokenP256(key) => unsigned.build::<_, p256::ecdsa::DerSignature>(key),
            Self::TokenP384(key) => unsigned.build::<_, p384::ecdsa::DerSignature>(key),
            Self::TokenRsa(key) => unsigned.build::<_, pkcs1v15::Signature>(key),
        }
    }
}

/// A CA for ever.
fn new_development() -> Result<(Signer, Certificate)> {
    let signer = Signer::P384(p384::ecdsa::SigningKey::try_generate()?);
    let subject: Name = DEVELOPMENT.parse()?;
    let key = signer.public()?;
    let constraints = BasicConstraints { ca: true, path_len_constraint: Some(1) };
    let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
    let own = SubjectKeyIdentifier(identifier(&key)?);
    let extensions = extensions(&subject, |list| {
        list.add(&constraints)?;
        list.add(&usage)?;
        list.add(&own)
    })?;
    let issued = Issued { issuer: subject.clone(), form: Form { subject, extensions } };
    let certificate = signer.sign(issued, serial()?, Validity::new(now()?, Time::INFINITY), key)?;
    Ok((signer, certificate))
}

/// Extensions of a certificate of `subject`, in their order.
pub(super) struct Extensions<'a> {
    subject: &'a Name,
    list: Vec<Extension>,
}

impl Extensions<'_> {
    pub(super) fn add<E: ToExtension<Error = der::Error>>(&mut self, extension: E) -> der::Result<()> {
        let made = extension.to_extension(self.subject, &self.list)?;
        self.list.push(made);
        Ok(())
    }
}

pub(super) fn extensions(
    subject: &Name,
    add: impl FnOnce(&mut Extensions<'_>) -> der::Result<()>,
) -> der::Result<Vec<Extension>> {
    let mut extensions = Extensions { subject, list: Vec::new() };
    add(&mut extensions)?;
    Ok(extensions.list)
}

/// The first method of RFC 5280, 4.2.1.2.
fn identifier(key: &SubjectPublicKeyInfoOwned) -> Result<OctetString> {
    let der = key.to_der()?;
    let key: SubjectPublicKeyInfoRef<'_> = der::Decode::from_der(&der)?;
    Ok(SubjectKeyIdentifier::try_from(key)?.0)
}

/// 16 octets, positive, without a zero in front.
pub(super) fn serial() -> Result<SerialNumber> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    octets[0] = octets[0] & 0x3f | 0x40;
    Ok(SerialNumber::new(&octets)?)
}

/// In whole seconds.
fn now() -> Result<Time> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    Ok(Time::try_from(SystemTime::UNIX_EPOCH + core::time::Duration::from_secs(since))?)
}

pub(super) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |text, octet| format!("{text}{octet:02x}"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The first of several certificates.
fn first(pem: &str) -> &[u8] {
    const END: &str = "-----END CERTIFICATE-----";
    let begin = pem.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
    let end = pem.find(END).map_or(pem.len(), |at| at + END.len());
    pem.get(begin..end).unwrap_or(pem).as_bytes()
}

/// A new file with what is to be in it.
fn create(path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))
}
