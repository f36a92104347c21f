//! What is measured: every command of the table, with what must be loaded for it.

use client::attributes::object as a;
use client::codes::{COMMAND_CODE, NULL, OWNER};
use client::command::{Rest, response_code};
use client::session::{Kind as SessionKind, Start};
use client::template::{self, AES_128_CFB, NONE, Template, creation};
use client::{cc, tpm2b};
use peer::tpm::{Tpm, command};

/// A command to be measured.
pub(crate) struct Case {
    /// what it is called in the table
    pub(crate) name: &'static str,
    /// how its times are summed up, and how fast it must be
    pub(crate) kind: Kind,
    /// what lasts is saved with every command, ours to memory as libtpms' always
    pub(crate) kept: bool,
    /// loads what it needs into a TPM
    pub(crate) prepare: fn(&mut Tpm<'_>) -> Prepared,
}

/// What kind of command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// takes much the same time every time
    Ordinary,
    /// an operation with a P-256 key for which libtpms has no fast curve
    Curve,
    /// a prime search: its time varies by far, so that the mean counts
    Search,
}

/// A command that is ready to be sent.
pub(crate) struct Prepared {
    /// its octets
    pub(crate) command: Vec<u8>,
    /// the response code
    pub(crate) expected: u32,
    /// it loads something, to be flushed before the next
    pub(crate) loads: bool,
    /// where four octets stand that are to be others every time
    pub(crate) counter: Option<usize>,
}

impl Prepared {
    fn new(command: Vec<u8>) -> Self {
        Self { command, expected: 0, loads: false, counter: None }
    }

    fn loading(command: Vec<u8>) -> Self {
        Self { loads: true, ..Self::new(command) }
    }
}

const fn case(name: &'static str, prepare: fn(&mut Tpm<'_>) -> Prepared) -> Case {
    Case { name, kind: Kind::Ordinary, kept: false, prepare }
}

const fn kept(name: &'static str, prepare: fn(&mut Tpm<'_>) -> Prepared) -> Case {
    Case { name, kind: Kind::Ordinary, kept: true, prepare }
}

const fn curve(name: &'static str, prepare: fn(&mut Tpm<'_>) -> Prepared) -> Case {
    Case { name, kind: Kind::Curve, kept: false, prepare }
}

const fn search(name: &'static str, prepare: fn(&mut Tpm<'_>) -> Prepared) -> Case {
    Case { name, kind: Kind::Search, kept: false, prepare }
}

/// Every case.
pub(crate) const CASES: &[Case] = &[
    case("floor (bad command code)", |_| Prepared {
        expected: COMMAND_CODE,
        ..Prepared::new(command(0xff, &[], &[], &[]))
    }),
    case("GetRandom(32)", |_| Prepared::new(command(cc::GET_RANDOM, &[], &[], &[&[0, 32]]))),
    case("PCR_Read", |_| Prepared::new(command(cc::PCR_READ, &[], &[], &[PCRS]))),
    case("PCR_Extend", |_| pcr_extend()),
    case("Hash(1 KiB)", |_| Prepared::new(command(cc::HASH, &[], &[], &[&tpm2b(&[7; 1024]), SHA256, &OWNER_OCTETS]))),
    case("NV_Read 32 B", |tpm| {
        indices(tpm, 1);
        nv_read(tpm)
    }),
    case("NV_Write 32 B", |tpm| {
        indices(tpm, 1);
        Prepared::new(nv_write())
    }),
    case("HMAC(256 B)", |tpm| {
        let key = primary(tpm, &hmac_key(), b"");
        Prepared::new(command(cc::MAC, &[key], &[b""], &[&tpm2b(&[7; 256]), SHA256]))
    }),
    case("Unseal", |tpm| {
        let sealed = primary(tpm, &template::sealed().with(a::NO_DA), &[7; 32]);
        Prepared::new(command(cc::UNSEAL, &[sealed], &[b""], &[]))
    }),
    case("EncryptDecrypt2(1 KiB)", |tpm| {
        let key = primary(tpm, &aes_key(), b"");
        let parameters: [&[u8]; 3] = [&tpm2b(&[7; 1024]), &[0, 0, 0x43], &tpm2b(&[7; 16])];
        Prepared::new(command(cc::ENCRYPT_DECRYPT_2, &[key], &[b""], &parameters))
    }),
    case("StartAuthSession HMAC", |_| Prepared::loading(start_session(NULL, b"", SessionKind::Hmac))),
    case("StartAuthSession policy", |_| Prepared::loading(start_session(NULL, b"", SessionKind::Policy))),
    case("StartAuthSession salted ECC", |tpm| {
        let key = primary(tpm, &template::ecc_storage(), b"");
        let points = tpm.ok(&command(cc::ECDH_KEY_GEN, &[key], &[], &[]));
        let salt = second_point(&points);
        Prepared::loading(start_session(key, salt, SessionKind::Hmac))
    }),
    case("StartAuthSession salted RSA", |tpm| {
        let key = primary(tpm, &template::rsa_storage(), b"");
        let parameters: [&[u8]; 3] = [&tpm2b(&[7; 20]), &[0, 0x17, 0, 0xb], &tpm2b(b"SECRET\0")];
        let salt = tpm.ok(&command(cc::RSA_ENCRYPT, &[key], &[], &parameters))[2..].to_vec();
        Prepared::loading(start_session(key, &salt, SessionKind::Hmac))
    }),
    case("PolicyPCR", |tpm| {
        let session = tpm.load(&start_session(NULL, b"", SessionKind::Trial));
        Prepared::new(command(cc::POLICY_PCR, &[session], &[], &[&[0, 0], PCRS]))
    }),
    case("ReadPublic", |tpm| {
        let key = primary(tpm, &template::ecc_storage(), b"");
        Prepared::new(command(cc::READ_PUBLIC, &[key], &[], &[]))
    }),
    case("ContextSave", |tpm| {
        let key = primary(tpm, &template::ecc_storage(), b"");
        Prepared::new(command(cc::CONTEXT_SAVE, &[key], &[], &[]))
    }),
    case("ContextLoad", |tpm| {
        let key = primary(tpm, &template::ecc_storage(), b"");
        let context = tpm.ok(&command(cc::CONTEXT_SAVE, &[key], &[], &[]));
        Prepared::loading(command(cc::CONTEXT_LOAD, &[], &[], &[&context]))
    }),
    curve("Sign ECDSA P-256", |tpm| sign(tpm, &ecc_signing())),
    case("Sign ECDSA P-384", |tpm| sign(tpm, &ecc_signing_384())),
    case("Quote P-256", |tpm| quote(tpm, &ecc_signing())),
    case("Quote RSA-2048", |tpm| quote(tpm, &rsa_signing())),
    case("Sign RSASSA 2048", |tpm| sign(tpm, &rsa_signing())),
    case("Sign RSASSA 3072", |tpm| sign(tpm, &rsa_signing_3072())),
    case("RSA_Decrypt OAEP 2048", |tpm| {
        let key = primary(tpm, &rsa_decryption(), b"");
        let parameters: [&[u8]; 3] = [&tpm2b(&[7; 32]), NONE, &[0, 0]];
        let text = tpm.ok(&command(cc::RSA_ENCRYPT, &[key], &[], &parameters));
        Prepared::new(command(cc::RSA_DECRYPT, &[key], &[b""], &[&text, NONE, &[0, 0]]))
    }),
    case("VerifySignature P-256", |tpm| verify(tpm, &ecc_signing())),
    case("VerifySignature RSA-2048", |tpm| verify(tpm, &rsa_signing())),
    case("ECDH_KeyGen P-256", |tpm| {
        let key = primary(tpm, &ecc_exchange(), b"");
        Prepared::new(command(cc::ECDH_KEY_GEN, &[key], &[], &[]))
    }),
    case("ECDH_ZGen P-256", |tpm| {
        let key = primary(tpm, &ecc_exchange(), b"");
        let points = tpm.ok(&command(cc::ECDH_KEY_GEN, &[key], &[], &[]));
        let point = tpm2b(second_point(&points));
        Prepared::new(command(cc::ECDH_ZGEN, &[key], &[b""], &[&point]))
    }),
    curve("CreatePrimary P-256", |_| {
        Prepared::loading(create(cc::CREATE_PRIMARY, OWNER, &template::ecc_storage(), b""))
    }),
    case("Create P-256", |tpm| create_child(tpm, &ecc_signing())),
    case("Create P-384", |tpm| create_child(tpm, &ecc_signing_384())),
    case("Load P-256", |tpm| load_child(tpm, &ecc_signing())),
    case("Load RSA-2048", |tpm| load_child(tpm, &rsa_signing())),
    search("CreatePrimary RSA-2048", |_| {
        // The user's octets in unique, behind which stand outsideInfo and creationPCR: another key every time.
        let template = Template { unique: tpm2b(&[0; 4]), ..template::rsa_storage() };
        let command = create(cc::CREATE_PRIMARY, OWNER, &template, b"");
        Prepared { counter: command.len().checked_sub(6 + 4), ..Prepared::loading(command) }
    }),
    search("Create RSA-2048", |tpm| create_child(tpm, &rsa_signing())),
    // What changes nothing that lasts is not to take longer where more does.
    kept("PCR_Extend, 0 indices", |tpm| {
        indices(tpm, 0);
        pcr_extend()
    }),
    kept("PCR_Extend, 64 indices", |tpm| {
        indices(tpm, 64);
        pcr_extend()
    }),
    kept("PCR_Extend, 256 indices", |tpm| {
        indices(tpm, 256);
        pcr_extend()
    }),
    kept("NV_Read, 1 index", |tpm| {
        indices(tpm, 1);
        nv_read(tpm)
    }),
    kept("NV_Read, 64 indices", |tpm| {
        indices(tpm, 64);
        nv_read(tpm)
    }),
    kept("NV_Read, 256 indices", |tpm| {
        indices(tpm, 256);
        nv_read(tpm)
    }),
];

const OWNER_OCTETS: [u8; 4] = OWNER.to_be_bytes();
const INDEX: u32 = 0x0180_0100;
const SHA256: &[u8] = &[0, 0xb];
/// PCR 0 to 7 of the SHA-256 bank.
const PCRS: &[u8] = &[0, 0, 0, 1, 0, 0xb, 3, 0xff, 0, 0];
/// A ticket that says nothing of where a digest comes from.
const NO_TICKET: &[u8] = &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

fn hmac_key() -> Template {
    template::hmac_key().with(a::NO_DA)
}

fn aes_key() -> Template {
    Template { parms: AES_128_CFB.to_vec(), ..template::aes_key().with(a::NO_DA) }
}

fn ecc_signing() -> Template {
    template::ecc_signing().with(a::NO_DA)
}

fn ecc_signing_384() -> Template {
    Template { parms: [NONE, &[0, 0x18, 0, 0xb], &[0, 4], NONE].concat(), ..ecc_signing() }
}

/// For TPM2_ECDH_ZGen, and nothing else.
fn ecc_exchange() -> Template {
    let parms = [NONE, NONE, &[0, 3], NONE].concat();
    Template { parms, ..ecc_signing().without(a::SIGN).with(a::DECRYPT) }
}

/// An RSA key for one use, with this scheme, SHA-256.
fn rsa(attributes: u32, scheme: u8, bits: u16) -> Template {
    let parms = [NONE, &[0, scheme, 0, 0xb], &bits.to_be_bytes(), &[0; 4]].concat();
    Template { parms, ..template::rsa_any().without(a::SIGN | a::DECRYPT).with(a::NO_DA | attributes) }
}

fn rsa_signing() -> Template {
    rsa(a::SIGN, 0x14, 2048)
}

fn rsa_signing_3072() -> Template {
    rsa(a::SIGN, 0x14, 3072)
}

fn rsa_decryption() -> Template {
    rsa(a::DECRYPT, 0x17, 2048)
}

/// TPM2_Create or TPM2_CreatePrimary, with data to seal.
fn create(code: u32, parent: u32, template: &Template, data: &[u8]) -> Vec<u8> {
    command(code, &[parent], &[b""], &[&creation(b"", data, template)])
}

fn primary(tpm: &mut Tpm<'_>, template: &Template, data: &[u8]) -> u32 {
    tpm.load(&create(cc::CREATE_PRIMARY, OWNER, template, data))
}

fn create_child(tpm: &mut Tpm<'_>, template: &Template) -> Prepared {
    let parent = primary(tpm, &template::ecc_storage(), b"");
    Prepared::new(create(cc::CREATE, parent, template, b""))
}

fn load_child(tpm: &mut Tpm<'_>, template: &Template) -> Prepared {
    let parent = primary(tpm, &template::ecc_storage(), b"");
    let created = tpm.ok(&create(cc::CREATE, parent, template, b""));
    let mut rest = Rest(&created);
    let [private, public] = [(); 2].map(|()| tpm2b(rest.sized().expect("an area")));
    Prepared::loading(command(cc::LOAD, &[parent], &[b""], &[&private, &public]))
}

/// pubPoint of TPM2_ECDH_KeyGen, behind zPoint.
fn second_point(points: &[u8]) -> &[u8] {
    let mut rest = Rest(points);
    rest.sized().expect("zPoint");
    rest.sized().expect("pubPoint")
}

fn sign_command(key: u32) -> Vec<u8> {
    command(cc::SIGN, &[key], &[b""], &[&tpm2b(&[7; 32]), NONE, NO_TICKET])
}

fn sign(tpm: &mut Tpm<'_>, template: &Template) -> Prepared {
    let key = primary(tpm, template, b"");
    Prepared::new(sign_command(key))
}

fn quote(tpm: &mut Tpm<'_>, template: &Template) -> Prepared {
    let key = primary(tpm, template, b"");
    Prepared::new(command(cc::QUOTE, &[key], &[b""], &[&tpm2b(&[7; 20]), NONE, PCRS]))
}

fn verify(tpm: &mut Tpm<'_>, template: &Template) -> Prepared {
    let key = primary(tpm, template, b"");
    let signature = tpm.ok(&sign_command(key));
    Prepared::new(command(cc::VERIFY_SIGNATURE, &[key], &[], &[&tpm2b(&[7; 32]), &signature]))
}

fn start_session(key: u32, salt: &[u8], kind: SessionKind) -> Vec<u8> {
    let start = Start { kind, salt: (key, salt, b""), ..Start::default() };
    let (handles, parameters) = start.request(&[7; 32]);
    command(cc::START_AUTH_SESSION, &handles, &[], &[&parameters])
}

fn pcr_extend() -> Prepared {
    Prepared::new(command(cc::PCR_EXTEND, &[16], &[b""], &[&[0, 0, 0, 1], SHA256, &[7; 32]]))
}

/// Exactly so many NV Indices of 32 octets, for those who know their empty authValue. They stay. The last handle is
/// [`INDEX`].
fn indices(tpm: &mut Tpm<'_>, count: u32) {
    for handle in (0..count).map(|n| INDEX - n) {
        let public = [&handle.to_be_bytes()[..], SHA256, &[2, 4, 0, 4, 0, 0, 0, 32]].concat();
        tpm.execute(&command(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[&[0, 0], &tpm2b(&public)]));
    }
    let undefine = |n| command(cc::NV_UNDEFINE_SPACE, &[OWNER, INDEX - n], &[b""], &[]);
    let mut beyond = count..;
    while beyond.next().is_some_and(|n| response_code(tpm.execute(&undefine(n))) == 0) {}
    assert_eq!(defined(tpm), count, "NV Indices");
}

/// TPM_PT_HR_NV_INDEX.
fn defined(tpm: &mut Tpm<'_>) -> u32 {
    let properties = tpm.ok(&command(cc::GET_CAPABILITY, &[], &[], &[&[0, 0, 0, 6, 0, 0, 2, 2, 0, 0, 0, 1]]));
    u32::from_be_bytes(*properties.last_chunk().expect("a property"))
}

fn nv_read(tpm: &mut Tpm<'_>) -> Prepared {
    tpm.ok(&nv_write());
    Prepared::new(command(cc::NV_READ, &[INDEX, INDEX], &[b""], &[&[0, 32, 0, 0]]))
}

fn nv_write() -> Vec<u8> {
    command(cc::NV_WRITE, &[INDEX, INDEX], &[b""], &[&tpm2b(&[7; 32]), &[0, 0]])
}
