//! A root, and the key below it that signs chips' certificates.

use crate::Seeded;
use migration::chain::{Generation, Root};
use tpm_crypto::ecc::Point;
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::rsa::RsaPrivate;
use tpm_crypto::rsa::padding::SignScheme;

/// Where AMD stands: its two keys for one generation, and their certificates.
pub struct Authority {
    /// Whose chips.
    pub generation: Generation,
    name: &'static str,
    root: RsaPrivate,
    signer: RsaPrivate,
    /// The root's certificate, DER.
    pub ark: Vec<u8>,
    /// The signer's.
    pub ask: Vec<u8>,
}

/// What a certificate says of a chip, as AMD's do; what is in it may be wrong on purpose.
#[derive(Clone)]
pub struct Claims {
    /// HWID.
    pub id: Vec<u8>,
    /// TCB_VERSION, in its generation's layout.
    pub tcb: [u8; 8],
    /// CSP_ID, as a VLEK's has.
    pub provider: bool,
}

impl Authority {
    /// An authority with keys of a seed, which make it another than that of another seed.
    pub fn new(seed: &str, generation: Generation) -> Self {
        let key = |what: &str| {
            let mut candidates = Seeded::new(&format!("{seed}: {what}, candidates"));
            RsaPrivate::generate(4096, 0, &mut candidates, &mut Seeded::new("witnesses")).expect("a key")
        };
        let name = match generation {
            Generation::Milan => "Milan",
            Generation::Genoa => "Genoa",
            Generation::Turin => "Turin",
        };
        let (root, signer) = (key("root"), key("signer"));
        let (ark_name, ask_name) = (named(&format!("ARK-{name}")), named(&format!("SEV-{name}")));
        let ark = certificate(&ark_name, &ark_name, &rsa_info(&root), &[], &root);
        let ask = certificate(&ask_name, &ark_name, &rsa_info(&signer), &[], &root);
        Self { generation, name, root, signer, ark, ask }
    }

    /// What pins it.
    pub fn pinned(&self) -> Root {
        let sha384 = digest(HashAlg::Sha384, &[&self.ark]).as_slice().try_into().expect("48 octets");
        Root { sha384, generation: self.generation }
    }

    /// The certificate of a chip's key.
    pub fn certify(&self, key: &Point, claims: &Claims) -> Vec<u8> {
        let extensions = extensions(self.generation, claims);
        certificate(&named("SEV-VCEK"), &named(&format!("SEV-{}", self.name)), &ec_info(key), &extensions, &self.signer)
    }

    /// The same, signed by the root instead of the signer.
    pub fn certify_by_root(&self, key: &Point, claims: &Claims) -> Vec<u8> {
        let extensions = extensions(self.generation, claims);
        certificate(&named("SEV-VCEK"), &named(&format!("SEV-{}", self.name)), &ec_info(key), &extensions, &self.root)
    }
}

/// A value of a tag.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let len = u32::try_from(contents.len()).expect("a length").to_be_bytes();
    let head = match contents.len() {
        0..0x80 => vec![tag, len[3]],
        0x80..0x100 => vec![tag, 0x81, len[3]],
        _ => vec![tag, 0x82, len[2], len[3]],
    };
    [head, contents].concat()
}

fn unsigned(value: &[u8]) -> Vec<u8> {
    let value: Vec<u8> = value.iter().copied().skip_while(|octet| *octet == 0).collect();
    if value.first().is_none_or(|octet| octet >> 7 == 1) { tlv(2, &[&[0], &value]) } else { tlv(2, &[&value]) }
}

/// RSASSA-PSS with SHA-384 and a salt of 48 octets.
fn pss() -> Vec<u8> {
    let sha384 = tlv(0x30, &[&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], &[5, 0]]);
    let mgf1 = tlv(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8], &sha384]);
    let parameters = tlv(0x30, &[&tlv(0xa0, &[&sha384]), &tlv(0xa1, &[&mgf1]), &tlv(0xa2, &[&unsigned(&[48])])]);
    tlv(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], &parameters])
}

fn named(common: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[&[6, 3, 0x55, 4, 3], &tlv(12, &[common.as_bytes()])]);
    tlv(0x30, &[&tlv(0x31, &[&attribute])])
}

fn rsa_info(key: &RsaPrivate) -> Vec<u8> {
    let mut modulus = [0; 512];
    let modulus = key.public().modulus(&mut modulus).expect("512 octets");
    let public = tlv(0x30, &[&unsigned(modulus), &unsigned(&[1, 0, 1])]);
    let algorithm = tlv(0x30, &[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], &[5, 0]]);
    tlv(0x30, &[&algorithm, &tlv(3, &[&[0], &public])])
}

fn ec_info(key: &Point) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], &[6, 5, 0x2b, 0x81, 4, 0, 0x22]]);
    tlv(0x30, &[&algorithm, &tlv(3, &[&[0, 4], key.x().as_slice(), key.y().as_slice()])])
}

fn amd(suffix: &[u8], value: &[u8]) -> Vec<u8> {
    let oid = tlv(6, &[&[0x2b, 6, 1, 4, 1, 0x9c, 0x78, 1], suffix]);
    tlv(0x30, &[&oid, &tlv(4, &[value])])
}

fn extensions(generation: Generation, claims: &Claims) -> Vec<u8> {
    let [a, b, c, d, _, _, g, h] = claims.tcb;
    let levels: &[(u8, u8)] = match generation {
        Generation::Milan | Generation::Genoa => &[(1, a), (2, b), (3, g), (8, h)],
        Generation::Turin => &[(9, a), (1, b), (2, c), (3, d), (8, h)],
    };
    let levels: Vec<u8> = levels.iter().flat_map(|(number, level)| amd(&[3, *number], &unsigned(&[*level]))).collect();
    let id = if claims.id.is_empty() { Vec::new() } else { amd(&[4], &claims.id) };
    let provider = if claims.provider { amd(&[5], b"\x16\x04mock") } else { Vec::new() };
    let product = amd(&[2], &tlv(0x16, &[b"mock"]));
    [product, levels, id, provider].concat()
}

fn certificate(subject: &[u8], issuer: &[u8], info: &[u8], extensions: &[u8], key: &RsaPrivate) -> Vec<u8> {
    let validity = tlv(0x30, &[&tlv(23, &[b"250101000000Z"]), &tlv(23, &[b"491231235959Z"])]);
    let version = tlv(0xa0, &[&unsigned(&[2])]);
    let extensions = tlv(0xa3, &[&tlv(0x30, &[extensions])]);
    let signed = tlv(0x30, &[&version, &unsigned(&[7]), &pss(), issuer, &validity, subject, info, &extensions]);
    let hash = digest(HashAlg::Sha384, &[&signed]);
    let mut signature = [0; 512];
    let scheme = SignScheme::Rsapss(HashAlg::Sha384);
    key.sign(&mut Seeded::new("salt"), scheme, hash.as_slice(), &mut signature).expect("a signature");
    tlv(0x30, &[&signed, &pss(), &tlv(3, &[&[0], &signature])])
}
