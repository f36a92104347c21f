//! TPM2_CertifyX509 (Part 3, 18.8): adds to the parts of a certificate that the caller gives those that the TPM vouches
//! for, and signs it.

use super::der::{self, Element, Elements};
use crate::command::area::{Admin, User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::Command;
use crate::crypto::ecc::Curve;
use crate::crypto::hash::{Digest, HashAlg, Hasher};
use crate::data::object::Object;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::sign::Signer;
use crate::profile::MAX_DIGEST_BUFFER;
use crate::rc::{Fmt1, Rc};
use crate::wire::{
    AlgId, Buffer, Data, DhObject, Handle, INTERNAL_HASH, Nullable, ObjectAttributes as A, Parms, Scheme, SigScheme,
    Signature, Tpm2b, Unique, Writer,
};

pub(crate) struct CertifyX509;

handles! { pub(crate) struct Handles { object_handle: Admin<DhObject>, sign_handle: User<Nullable<DhObject>> } }
params! { pub(crate) struct Params<'a> { reserved: Data<'a>, in_scheme: SigScheme, partial_certificate: Tpm2b<'a, MAX_DIGEST_BUFFER> } }
reply! { pub(crate) struct Answer { added_to_certificate: Der, tbs_digest: Digest, signature: Signature } }

/// TPM2B_MAX_BUFFER with DER.
type Der = Buffer<MAX_DIGEST_BUFFER>;

/// The longest serialNumber (RFC 5280, 4.1.2.2).
const SERIAL_NUMBER_MAX: usize = 20;

impl Command for CertifyX509 {
    const CODE: u32 = 0x197;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `SIZE` at `reserved`: not empty
    /// - `KEY` at `sign_handle`: no signing key, or TPM_RH_NULL
    /// - `SCHEME` at `in_scheme`: neither key nor command has a scheme, they differ, or it does not suit the key; or
    ///   ML-DSA, which signs no digest
    /// - `SEQUENCE`: the object is a sequence object
    /// - `ASYMMETRIC` at `object_handle`: a certificate cannot hold such a key
    /// - what [`Partial::read`] says, at `partial_certificate`
    /// - `SCHEME` at `sign_handle`: there is no AlgorithmIdentifier, and the TPM does not know one for the scheme
    /// - what [`check_extensions`] says, `ATTRIBUTES` at `object_handle` and others at `partial_certificate`
    /// - `VALUE`: the key is too small for the scheme's digest
    fn run<'t>(tpm: &'t mut Tpm, _call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        if !p.reserved.0.is_empty() {
            return Err(Fmt1::SIZE.at(Params::reserved));
        }
        let signer = tpm.signer(h.sign_handle.handle(), p.in_scheme.0, Handles::sign_handle, Params::in_scheme)?;
        if signer.is_null() {
            return Err(Fmt1::KEY.at(Handles::sign_handle));
        }
        let hash = signer.scheme.hash().ok_or(Fmt1::SCHEME.at(Params::in_scheme))?;
        let (added_to_certificate, tbs_digest) =
            certificate(tpm, &signer, hash, h.object_handle.handle(), p.partial_certificate.0)?;
        let signature = tpm.sign(&signer, tbs_digest.as_slice())?;
        Ok(Answer { added_to_certificate, tbs_digest, signature })
    }
}

/// addedToCertificate, and the digest over all of TBSCertificate.
fn certificate(tpm: &Tpm, signer: &Signer, hash: HashAlg, object: Handle, partial: &[u8]) -> Result<(Der, Digest), Rc> {
    let object = tpm.object(object).ok_or(Rc::SEQUENCE)?;
    let key = tpm.object(signer.key).ok_or(Rc::reference_h(1))?;
    let mut spki = [0; MAX_DIGEST_BUFFER];
    let spki = encode(&mut spki, |w| public_key(w, object)).ok_or(Fmt1::ASYMMETRIC.at(Handles::object_handle))?;
    let partial = Partial::read(partial).map_err(|e| e.at(Params::partial_certificate))?;
    let mut made = [0; 128];
    let algorithm = match partial.signature {
        Some(given) => given,
        None => encode(&mut made, |w| signature_algorithm(w, key, signer.scheme))
            .ok_or(Fmt1::SCHEME.at(Handles::sign_handle))?,
    };
    check_extensions(object.public.attributes, partial.extensions).map_err(|e| match e {
        Fmt1::ATTRIBUTES => e.at(Handles::object_handle),
        _ => e.at(Params::partial_certificate),
    })?;
    let rest = [algorithm, partial.issuer, partial.validity, partial.subject, spki, partial.extensions];
    let serial = serial_number(key, object, &rest).ok_or(Fault::Capacity)?;
    let mut front = [0; 32];
    let front = encode(&mut front, |w| version_and_serial(w, &serial)).ok_or(Fault::Capacity)?;
    let mut hasher = Hasher::new(hash);
    let mut head = [0; 8];
    let len = rest.iter().fold(front.len(), |len, part| len.saturating_add(part.len()));
    let head = encode(&mut head, |w| {
        der::header(w, der::SEQUENCE, len);
        Some(())
    })
    .ok_or(Fault::Capacity)?;
    [head, front].into_iter().chain(rest).for_each(|part| hasher.update(part));
    let added = Der::of(|w| {
        der::element(w, der::SEQUENCE, &|w| {
            w.put(front);
            if partial.signature.is_none() {
                w.put(algorithm);
            }
            w.put(spki);
        });
    });
    Ok((added.map_err(|_| Fault::Capacity)?, hasher.finish()))
}

/// What `f` writes, unless it gives up or there is no room.
fn encode(buffer: &mut [u8], f: impl FnOnce(&mut Writer<'_>) -> Option<()>) -> Option<&[u8]> {
    let mut w = Writer::new(buffer);
    f(&mut w)?;
    let len = w.len();
    buffer.get(..len)
}

/// partialCertificate: what the caller gives, each part as DER.
struct Partial<'a> {
    signature: Option<&'a [u8]>,
    issuer: &'a [u8],
    validity: &'a [u8],
    subject: &'a [u8],
    extensions: &'a [u8],
}

impl<'a> Partial<'a> {
    /// - `VALUE`: empty; or not three or four SEQUENCE and one \[3\]
    /// - `SIZE`: not one SEQUENCE of just that size
    fn read(octets: &'a [u8]) -> Result<Self, Fmt1> {
        if octets.is_empty() {
            return Err(Fmt1::VALUE);
        }
        let contents = match der::read(octets) {
            Some((Element { tag: der::SEQUENCE, value, .. }, [])) => value,
            _ => return Err(Fmt1::SIZE),
        };
        let mut sequences = heapless::Vec::<&[u8], 4>::new();
        let mut extensions = None;
        for element in Elements(contents) {
            let element = element.map_err(|()| Fmt1::VALUE)?;
            match element.tag {
                der::SEQUENCE => sequences.push(element.whole).map_err(|_| Fmt1::VALUE)?,
                EXTENSIONS if extensions.is_none() => extensions = Some(element.whole),
                _ => return Err(Fmt1::VALUE),
            }
        }
        let extensions = extensions.ok_or(Fmt1::VALUE)?;
        match *sequences {
            [issuer, validity, subject] => Ok(Self { signature: None, issuer, validity, subject, extensions }),
            [signature, issuer, validity, subject] => {
                Ok(Self { signature: Some(signature), issuer, validity, subject, extensions })
            }
            _ => Err(Fmt1::VALUE),
        }
    }
}

const EXTENSIONS: u8 = der::context(3);
/// 2.23.133.10.1.1.1: TPMA_OBJECT of the certified key (TCG)
const TPMA_OBJECT: &[u8] = &[0x67, 0x81, 0x05, 0x0a, 0x01, 0x01, 0x01];
/// 2.5.29.15: keyUsage (RFC 5280, 4.2.1.3)
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];

/// TPMA_X509_KEY_USAGE (Part 2, 8.13), which is a BIT STRING from its most significant bit on.
mod usage {
    /// all that are defined
    pub(super) const ALL: u32 = 0xff80_0000;
    /// digitalSignature, keyCertSign, cRLSign
    pub(super) const SIGN: u32 = 1 << 31 | 1 << 26 | 1 << 25;
    /// nonRepudiation
    pub(super) const NON_REPUDIATION: u32 = 1 << 30;
    /// keyEncipherment
    pub(super) const KEY_ENCIPHERMENT: u32 = 1 << 29;
    /// keyEncipherment, dataEncipherment, keyAgreement, encipherOnly, decipherOnly
    pub(super) const DECRYPT: u32 = 1 << 29 | 1 << 28 | 1 << 27 | 1 << 24 | 1 << 23;
}

/// The extensions must not say of the key what is not true.
///
/// - `VALUE`: no list of extensions, or an extension of interest without BIT STRING; no keyUsage
/// - `ATTRIBUTES`: not the key's TPMA_OBJECT, or a use that the key's attributes do not admit
/// - `RESERVED_BITS`: an unknown use
fn check_extensions(attributes: A, extensions: &[u8]) -> Result<(), Fmt1> {
    let list = der::read(extensions).and_then(|(e, _)| der::read(e.value)).map(|(e, _)| e);
    let list = list.filter(|e| e.tag == der::SEQUENCE).ok_or(Fmt1::VALUE)?.value;
    if extension(list, TPMA_OBJECT)?.is_some_and(|stated| stated != attributes.0) {
        return Err(Fmt1::ATTRIBUTES);
    }
    let usage = extension(list, KEY_USAGE)?.ok_or(Fmt1::VALUE)?;
    if usage & !usage::ALL != 0 {
        return Err(Fmt1::RESERVED_BITS);
    }
    let needs = [
        (usage::SIGN, A::SIGN),
        (usage::DECRYPT, A::DECRYPT),
        (usage::NON_REPUDIATION, A::FIXED_TPM),
        (usage::KEY_ENCIPHERMENT, A::RESTRICTED),
    ];
    let admitted = needs.into_iter().all(|(uses, needed)| usage & uses == 0 || attributes.has(needed));
    if admitted { Ok(()) } else { Err(Fmt1::ATTRIBUTES) }
}

/// The BIT STRING in the OCTET STRING of the extension with this identifier.
fn extension(list: &[u8], id: &[u8]) -> Result<Option<u32>, Fmt1> {
    for element in Elements(list) {
        let element = element.ok().filter(|e| e.tag == der::SEQUENCE).ok_or(Fmt1::VALUE)?;
        if der::starts_with_oid(element.value, id) {
            let value = Elements(element.value).flatten().find(|e| e.tag == der::OCTET_STRING).map(|e| e.value);
            let bits = value.and_then(der::read).filter(|(e, _)| e.tag == der::BIT_STRING);
            return bits.and_then(|(e, _)| der::bits(e.value)).map(Some).ok_or(Fmt1::VALUE);
        }
    }
    Ok(None)
}

/// A number which depends on all that the certificate says, in place of a counter.
fn serial_number(key: &Object, object: &Object, parts: &[&[u8]]) -> Option<heapless::Vec<u8, SERIAL_NUMBER_MAX>> {
    let mut hasher = Hasher::new(key.public.name_alg.unwrap_or(INTERNAL_HASH));
    parts.iter().for_each(|part| hasher.update(part));
    let digest = hasher.chain(key.name.as_slice()).chain(object.name.as_slice()).finish();
    heapless::Vec::from_slice(digest.as_slice().get(..SERIAL_NUMBER_MAX)?).ok()
}

/// Version 3, and the serial number.
fn version_and_serial(w: &mut Writer<'_>, serial: &[u8]) -> Option<()> {
    der::element(w, der::context(0), &|w| der::integer(w, &[2]));
    der::integer(w, serial);
    Some(())
}

const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// Identifiers of a hash, of RSASSA with it and of ECDSA with it.
struct HashIds {
    hash: AlgId,
    id: &'static [u8],
    rsassa: &'static [u8],
    ecdsa: &'static [u8],
}

/// Of TPM_ALG_ID: not all need be implemented.
const HASHES: [HashIds; 8] = [
    HashIds {
        hash: AlgId::SHA1,
        id: &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
        rsassa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
    },
    HashIds {
        hash: AlgId::SHA256,
        id: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        rsassa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
    },
    HashIds {
        hash: AlgId::SHA384,
        id: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        rsassa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
    },
    HashIds {
        hash: AlgId::SHA512,
        id: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        rsassa: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        ecdsa: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
    },
    HashIds {
        hash: AlgId::SM3,
        id: &[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x11],
        rsassa: &[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x78],
        ecdsa: &[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x75],
    },
    HashIds {
        hash: AlgId::SHA3_256,
        id: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08],
        rsassa: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x0e],
        ecdsa: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x0a],
    },
    HashIds {
        hash: AlgId::SHA3_384,
        id: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09],
        rsassa: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x0f],
        ecdsa: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x0b],
    },
    HashIds {
        hash: AlgId::SHA3_512,
        id: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a],
        rsassa: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x10],
        ecdsa: &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x0c],
    },
];

/// Identifiers of curves.
const CURVES: [(Curve, &[u8]); 6] = [
    (Curve::NistP192, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01]),
    (Curve::NistP224, &[0x2b, 0x81, 0x04, 0x00, 0x21]),
    (Curve::NistP256, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
    (Curve::NistP384, &[0x2b, 0x81, 0x04, 0x00, 0x22]),
    (Curve::NistP521, &[0x2b, 0x81, 0x04, 0x00, 0x23]),
    (Curve::Sm2P256, &[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d]),
];

fn hash_ids(hash: HashAlg) -> Option<&'static HashIds> {
    HASHES.iter().find(|h| h.hash.0 == hash.id())
}

fn curve_id(curve: Curve) -> Option<&'static [u8]> {
    CURVES.iter().find(|(one, _)| *one == curve).map(|(_, oid)| *oid)
}

/// SubjectPublicKeyInfo (RFC 5280, 4.1.2.7); None if there is no form for such a key.
fn public_key(w: &mut Writer<'_>, object: &Object) -> Option<()> {
    match (&object.public.parms, &object.public.unique) {
        (Parms::Rsa(p), Unique::Rsa(n)) => {
            let exponent = if p.exponent == 0 { 0x1_0001 } else { p.exponent };
            der::element(w, der::SEQUENCE, &|w| {
                der::algorithm(w, RSA_ENCRYPTION);
                der::bit_string(w, &|w| {
                    der::element(w, der::SEQUENCE, &|w| {
                        der::integer(w, n.as_slice());
                        der::integer(w, &exponent.to_be_bytes());
                    });
                });
            });
        }
        (Parms::Ecc(p), Unique::Ecc(point)) => {
            let curve = curve_id(p.curve)?;
            der::element(w, der::SEQUENCE, &|w| {
                der::element(w, der::SEQUENCE, &|w| {
                    der::oid(w, EC_PUBLIC_KEY);
                    der::oid(w, curve);
                });
                der::bit_string(w, &|w| {
                    [&[4], point.x.as_slice(), point.y.as_slice()].into_iter().for_each(|part| w.put(part))
                });
            });
        }
        _ => return None,
    }
    Some(())
}

/// AlgorithmIdentifier of the signature (RFC 4055, RFC 5758); None if there is none.
fn signature_algorithm(w: &mut Writer<'_>, key: &Object, scheme: Scheme) -> Option<()> {
    let ids = hash_ids(scheme.hash()?)?;
    match (scheme, &key.public.unique) {
        (Scheme::Rsassa(_), _) => der::algorithm(w, ids.rsassa),
        // All parameters have their default values, and are left out.
        (Scheme::Rsapss(HashAlg::Sha1), _) => der::algorithm(w, RSASSA_PSS),
        (Scheme::Rsapss(hash), Unique::Rsa(n)) => pss_algorithm(w, ids, salt_size(hash, n.len())),
        (Scheme::Ecdsa(_), _) => der::element(w, der::SEQUENCE, &|w| der::oid(w, ids.ecdsa)),
        _ => return None,
    }
    Some(())
}

/// Octets of salt that the TPM uses: as many as the digest has, or as there is room for.
fn salt_size(hash: HashAlg, modulus: usize) -> u16 {
    let digest = hash.digest_size();
    u16::try_from(modulus.saturating_sub(digest + 2).min(digest)).unwrap_or(0)
}

fn pss_algorithm(w: &mut Writer<'_>, ids: &HashIds, salt: u16) {
    der::element(w, der::SEQUENCE, &|w| {
        der::oid(w, RSASSA_PSS);
        der::element(w, der::SEQUENCE, &|w| {
            der::element(w, der::context(0), &|w| der::algorithm(w, ids.id));
            der::element(w, der::context(1), &|w| {
                der::element(w, der::SEQUENCE, &|w| {
                    der::oid(w, MGF1);
                    der::algorithm(w, ids.id);
                });
            });
            der::element(w, der::context(2), &|w| der::integer(w, &salt.to_be_bytes()));
        });
    });
}
