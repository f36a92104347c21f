//! Makes a throw-away ARK → ASK → VCEK chain, for two chips, with the names and extensions of AMD's (AMD 57230,
//! "Versioned Chip Endorsement Key Certificate and KDS Interface Specification"): `cargo run -p host --example
//! psp-identity -- tests/machine/psp`. The root's digests that it prints are what `DEVELOPMENT_ROOT_SHA256` of the
//! verifier and `DEVELOPMENT` of the crate `migration` must then be.

use anyhow::{Context, Result};
use core::str::FromStr;
use host::psp::{Identity, TCB};
use p384::SecretKey;
use quoin_verify::chip::Tcb;
use quoin_verify::digest::hex;
use rand_core::OsRng;
use rsa::{RsaPrivateKey, pss::SigningKey};
use sha2::{Digest, Sha256, Sha384};
use std::{env, fs, path::Path};
use x509_cert::{
    builder::{Builder, CertificateBuilder, Profile},
    der::{
        self, DateTime, Decode, Encode, Length, Writer,
        asn1::{Ia5String, ObjectIdentifier, OctetString},
        flagset::FlagSet,
        oid::AssociatedOid,
    },
    ext::{
        AsExtension, Extension,
        pkix::{
            BasicConstraints, CrlDistributionPoints, KeyUsage, KeyUsages,
            crl::dp::DistributionPoint,
            name::{DistributionPointName, GeneralName},
        },
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{EncodePublicKey, SubjectPublicKeyInfoOwned},
    time::{Time, Validity},
};

/// Bits of the ARK's and ASK's RSA modulus.
const CA_BITS: usize = 4096;
/// Salt of RSASSA-PSS: as long as SHA-384's digest.
const SALT: usize = 48;
const CRL: &str = "https://kdsintf.amd.com/vcek/v1/Milan/crl";
const NOT_BEFORE: &str = "2025-01-01T00:00:00Z";
const NOT_AFTER: &str = "2049-12-31T23:59:59Z";

fn main() -> Result<()> {
    let folder = env::args().nth(1).context("usage: psp-identity DIR, the folder that takes certificates and key")?;
    let chips = generate()?;
    write(&chips, Path::new(&folder))?;
    let [Identity { ark, .. }, _] = &chips;
    println!("SHA-256 {}\nSHA-384 {}", hex(&Sha256::digest(ark)), hex(&Sha384::digest(ark)));
    Ok(())
}

/// Makes two chips under one new root; the ARK's and ASK's private keys are forgotten.
fn generate() -> Result<[Identity; 2]> {
    let ark_key = RsaPrivateKey::new(&mut OsRng, CA_BITS)?;
    let ask_key = RsaPrivateKey::new(&mut OsRng, CA_BITS)?;
    let ark = Template {
        subject: "ARK-Milan",
        issuer: "ARK-Milan",
        serial: b"quoin mock ark",
        extensions: authority_extensions(None, KeyUsages::KeyCertSign | KeyUsages::CRLSign)?,
    };
    let ask = Template {
        subject: "SEV-Milan",
        issuer: "ARK-Milan",
        serial: b"quoin mock ask",
        extensions: authority_extensions(Some(0), KeyUsages::KeyCertSign.into())?,
    };
    let (ark, ask) = (ark.sign(&ark_key.to_public_key(), &ark_key)?, ask.sign(&ask_key.to_public_key(), &ark_key)?);
    let chip = |chip_id: [u8; 64], serial| {
        let vcek_key = SecretKey::random(&mut OsRng);
        let vcek =
            Template { subject: "SEV-VCEK", issuer: "SEV-Milan", serial, extensions: vcek_extensions(TCB, &chip_id)? };
        let vcek = vcek.sign(&vcek_key.public_key(), &ask_key)?;
        let vcek_scalar = vcek_key.to_bytes().into();
        Ok::<_, anyhow::Error>(Identity { vcek_scalar, chip_id, tcb: TCB, ark: ark.clone(), ask: ask.clone(), vcek })
    };
    Ok([
        chip(Identity::development().chip_id, b"quoin mock vcek")?,
        chip(Identity::another().chip_id, b"quoin mock vcek 2")?,
    ])
}

/// Writes what [`Identity::development`] and [`Identity::another`] include.
fn write([one, other]: &[Identity; 2], dir: &Path) -> Result<()> {
    let files: [(&str, &[u8]); 6] = [
        ("ark.der", &one.ark),
        ("ask.der", &one.ask),
        ("vcek.der", &one.vcek),
        ("vcek.scalar", &one.vcek_scalar),
        ("another.der", &other.vcek),
        ("another.scalar", &other.vcek_scalar),
    ];
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What a certificate says besides its key.
struct Template {
    subject: &'static str,
    issuer: &'static str,
    serial: &'static [u8],
    extensions: Vec<Extension>,
}

impl Template {
    fn sign(&self, key: &impl EncodePublicKey, issuer: &RsaPrivateKey) -> Result<Vec<u8>> {
        let time = |text| DateTime::from_str(text).map(|time| Time::GeneralTime(time.into()));
        let validity = Validity { not_before: time(NOT_BEFORE)?, not_after: time(NOT_AFTER)? };
        let public = SubjectPublicKeyInfoOwned::from_der(key.to_public_key_der()?.as_bytes())?;
        let serial = SerialNumber::new(self.serial)?;
        let signer = SigningKey::<Sha384>::new_with_salt_len(issuer.clone(), SALT);
        // The builder shall add no extension of its own: a VCEK has none but AMD's.
        let profile = Profile::Manual { issuer: Some(name(self.issuer)?) };
        let mut builder = CertificateBuilder::new(profile, serial, validity, name(self.subject)?, public, &signer)?;
        for extension in &self.extensions {
            builder.add_extension(&Ready(extension))?;
        }
        Ok(builder.build_with_rng::<rsa::pss::Signature>(&mut OsRng)?.to_der()?)
    }
}

/// An extension that is made already, as the builder wants it.
struct Ready<'a>(&'a Extension);

impl AssociatedOid for Ready<'_> {
    // AMD's arc; the extension's own OID is in the extension.
    const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1");
}

impl Encode for Ready<'_> {
    fn encoded_len(&self) -> der::Result<Length> {
        self.0.extn_value.encoded_len()
    }

    fn encode(&self, encoder: &mut impl Writer) -> der::Result<()> {
        self.0.extn_value.encode(encoder)
    }
}

impl AsExtension for Ready<'_> {
    fn critical(&self, _subject: &Name, _extensions: &[Extension]) -> bool {
        self.0.critical
    }

    fn to_extension(&self, _subject: &Name, _extensions: &[Extension]) -> der::Result<Extension> {
        Ok(self.0.clone())
    }
}

/// AMD's name with this common name; RFC 4514 text has the last component first.
fn name(common: &str) -> Result<Name> {
    let text = format!("CN={common},O=Advanced Micro Devices,ST=CA,L=Santa Clara,C=US,OU=Engineering");
    Ok(Name::from_str(&text)?)
}

fn authority_extensions(path_length: Option<u8>, usage: FlagSet<KeyUsages>) -> Result<Vec<Extension>> {
    let constraints = BasicConstraints { ca: true, path_len_constraint: path_length };
    let crl = GeneralName::UniformResourceIdentifier(Ia5String::new(CRL)?);
    let points = CrlDistributionPoints(vec![DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![crl])),
        reasons: None,
        crl_issuer: None,
    }]);
    let subject = Name::default();
    Ok(vec![
        constraints.to_extension(&subject, &[])?,
        KeyUsage(usage).to_extension(&subject, &[])?,
        points.to_extension(&subject, &[])?,
    ])
}

/// AMD's extensions of a Milan VCEK, all below 1.3.6.1.4.1.3704.1 and none critical.
fn vcek_extensions(tcb: Tcb, chip_id: &[u8; 64]) -> Result<Vec<Extension>> {
    let levels = [
        ("3.1", tcb.boot_loader),
        ("3.2", tcb.tee),
        ("3.3", tcb.snp),
        ("3.4", 0),
        ("3.5", 0),
        ("3.6", 0),
        ("3.7", 0),
        ("3.8", tcb.microcode),
    ];
    let mut extensions =
        vec![amd_extension("1", 0_u8.to_der()?)?, amd_extension("2", Ia5String::new("Milan-B0")?.to_der()?)?];
    for (suffix, level) in levels {
        extensions.push(amd_extension(suffix, level.to_der()?)?);
    }
    extensions.push(amd_extension("4", chip_id.to_vec())?);
    Ok(extensions)
}

fn amd_extension(suffix: &str, value: Vec<u8>) -> Result<Extension> {
    Ok(Extension {
        extn_id: ObjectIdentifier::new(&format!("1.3.6.1.4.1.3704.1.{suffix}"))?,
        critical: false,
        extn_value: OctetString::new(value)?,
    })
}
