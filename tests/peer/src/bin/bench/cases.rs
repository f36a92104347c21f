//! What is measured: every command of the table, with what must be loaded for it.

use crate::wire::{Tpm, code, command, parameters, response_code, split_2b, tpm2b};

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
    case("floor (bad command code)", |_| Prepared { expected: 0x143, ..Prepared::new(command(0xff, &[], &[], &[])) }),
    case("GetRandom(32)", |_| Prepared::new(command(code::GET_RANDOM, &[], &[], &[&[0, 32]]))),
    case("PCR_Read", |_| Prepared::new(command(code::PCR_READ, &[], &[], &[PCRS]))),
    case("PCR_Extend", |_| pcr_extend()),
    case("Hash(1 KiB)", |_| Prepared::new(command(code::HASH, &[], &[], &[&tpm2b(&[7; 1024]), SHA256, &OWNER_OCTETS]))),
    case("NV_Read 32 B", |tpm| {
        indices(tpm, 1);
        nv_read(tpm)
    }),
    case("NV_Write 32 B", |tpm| {
        indices(tpm, 1);
        Prepared::new(nv_write())
    }),
    case("HMAC(256 B)", |tpm| {
        let key = primary(tpm, HMAC_KEY, b"");
        Prepared::new(command(code::HMAC, &[key], &[b""], &[&tpm2b(&[7; 256]), SHA256]))
    }),
    case("Unseal", |tpm| {
        let sealed = primary(tpm, SEALED, &[7; 32]);
        Prepared::new(command(code::UNSEAL, &[sealed], &[b""], &[]))
    }),
    case("EncryptDecrypt2(1 KiB)", |tpm| {
        let key = primary(tpm, AES_KEY, b"");
        let parameters: [&[u8]; 3] = [&tpm2b(&[7; 1024]), &[0, 0, 0x43], &tpm2b(&[7; 16])];
        Prepared::new(command(code::ENCRYPT_DECRYPT_2, &[key], &[b""], &parameters))
    }),
    case("StartAuthSession HMAC", |_| Prepared::loading(start_session(NULL, b"", HMAC))),
    case("StartAuthSession policy", |_| Prepared::loading(start_session(NULL, b"", POLICY))),
    case("StartAuthSession salted ECC", |tpm| {
        let key = primary(tpm, ECC_STORAGE, b"");
        let points = tpm.ok(&command(code::ECDH_KEY_GEN, &[key], &[], &[]));
        let salt = split_2b(points).1[2..].to_vec();
        Prepared::loading(start_session(key, &salt, HMAC))
    }),
    case("StartAuthSession salted RSA", |tpm| {
        let key = primary(tpm, RSA_STORAGE, b"");
        let parameters: [&[u8]; 3] = [&tpm2b(&[7; 20]), &[0, 0x17, 0, 0xb], &tpm2b(b"SECRET\0")];
        let salt = tpm.ok(&command(code::RSA_ENCRYPT, &[key], &[], &parameters))[2..].to_vec();
        Prepared::loading(start_session(key, &salt, HMAC))
    }),
    case("PolicyPCR", |tpm| {
        let (session, _) = tpm.load(&start_session(NULL, b"", TRIAL));
        Prepared::new(command(code::POLICY_PCR, &[session], &[], &[&[0, 0], PCRS]))
    }),
    case("ReadPublic", |tpm| {
        let key = primary(tpm, ECC_STORAGE, b"");
        Prepared::new(command(code::READ_PUBLIC, &[key], &[], &[]))
    }),
    case("ContextSave", |tpm| {
        let key = primary(tpm, ECC_STORAGE, b"");
        Prepared::new(command(code::CONTEXT_SAVE, &[key], &[], &[]))
    }),
    case("ContextLoad", |tpm| {
        let key = primary(tpm, ECC_STORAGE, b"");
        let context = tpm.ok(&command(code::CONTEXT_SAVE, &[key], &[], &[])).to_vec();
        Prepared::loading(command(code::CONTEXT_LOAD, &[], &[], &[&context]))
    }),
    curve("Sign ECDSA P-256", |tpm| sign(tpm, ECC_SIGNING)),
    case("Sign ECDSA P-384", |tpm| sign(tpm, ECC_SIGNING_384)),
    case("Quote P-256", |tpm| quote(tpm, ECC_SIGNING)),
    case("Quote RSA-2048", |tpm| quote(tpm, RSA_SIGNING)),
    case("Sign RSASSA 2048", |tpm| sign(tpm, RSA_SIGNING)),
    case("Sign RSASSA 3072", |tpm| sign(tpm, RSA_SIGNING_3072)),
    case("RSA_Decrypt OAEP 2048", |tpm| {
        let key = primary(tpm, RSA_DECRYPTION, b"");
        let parameters: [&[u8]; 3] = [&tpm2b(&[7; 32]), NONE, &[0, 0]];
        let text = tpm.ok(&command(code::RSA_ENCRYPT, &[key], &[], &parameters)).to_vec();
        Prepared::new(command(code::RSA_DECRYPT, &[key], &[b""], &[&text, NONE, &[0, 0]]))
    }),
    case("VerifySignature P-256", |tpm| verify(tpm, ECC_SIGNING)),
    case("VerifySignature RSA-2048", |tpm| verify(tpm, RSA_SIGNING)),
    case("ECDH_KeyGen P-256", |tpm| {
        let key = primary(tpm, ECC_EXCHANGE, b"");
        Prepared::new(command(code::ECDH_KEY_GEN, &[key], &[], &[]))
    }),
    case("ECDH_ZGen P-256", |tpm| {
        let key = primary(tpm, ECC_EXCHANGE, b"");
        let points = tpm.ok(&command(code::ECDH_KEY_GEN, &[key], &[], &[]));
        let point = split_2b(points).1.to_vec();
        Prepared::new(command(code::ECDH_Z_GEN, &[key], &[b""], &[&point]))
    }),
    curve("CreatePrimary P-256", |_| Prepared::loading(create(code::CREATE_PRIMARY, OWNER, ECC_STORAGE, b""))),
    case("Create P-256", |tpm| create_child(tpm, ECC_SIGNING)),
    case("Create P-384", |tpm| create_child(tpm, ECC_SIGNING_384)),
    case("Load P-256", |tpm| load_child(tpm, ECC_SIGNING)),
    case("Load RSA-2048", |tpm| load_child(tpm, RSA_SIGNING)),
    search("CreatePrimary RSA-2048", |_| {
        // The user's octets in unique, behind which stand outsideInfo and creationPCR: another key every time.
        let (_, template) = RSA_STORAGE.split_last().expect("a template");
        let unique = tpm2b(&[0; 4]);
        let template: Vec<&[u8]> = template.iter().copied().chain([&unique[..]]).collect();
        let command = create(code::CREATE_PRIMARY, OWNER, &template, b"");
        Prepared { counter: command.len().checked_sub(6 + 4), ..Prepared::loading(command) }
    }),
    search("Create RSA-2048", |tpm| create_child(tpm, RSA_SIGNING)),
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

const OWNER: u32 = 0x4000_0001;
const OWNER_OCTETS: [u8; 4] = OWNER.to_be_bytes();
const NULL: u32 = 0x4000_0007;
const INDEX: u32 = 0x0180_0100;
const SHA256: &[u8] = &[0, 0xb];
const NONE: &[u8] = &[0, 0x10];
/// PCR 0 to 7 of the SHA-256 bank.
const PCRS: &[u8] = &[0, 0, 0, 1, 0, 0xb, 3, 0xff, 0, 0];
/// A ticket that says nothing of where a digest comes from.
const NO_TICKET: &[u8] = &[0x80, 0x24, 0x40, 0, 0, 7, 0, 0];

/// TPM_SE
const HMAC: u8 = 0;
const POLICY: u8 = 1;
const TRIAL: u8 = 3;

/// TPMT_PUBLIC, in the order type, nameAlg, objectAttributes, authPolicy, parameters, unique. All with fixedTPM,
/// fixedParent, userWithAuth and noDA.
const ECC_STORAGE: &[&[u8]] = &[&[0, 0x23, 0, 0xb, 0, 3, 4, 0x72, 0, 0], AES_CFB, NONE, &[0, 3], NONE, &[0; 4]];
const RSA_STORAGE: &[&[u8]] = &[&[0, 1, 0, 0xb, 0, 3, 4, 0x72, 0, 0], AES_CFB, NONE, &[8, 0, 0, 0, 0, 0], &[0; 2]];
const ECC_SIGNING: &[&[u8]] = &[&[0, 0x23, 0, 0xb, 0, 4, 4, 0x72, 0, 0], NONE, &[0, 0x18, 0, 0xb, 0, 3], NONE, &[0; 4]];
const ECC_SIGNING_384: &[&[u8]] =
    &[&[0, 0x23, 0, 0xb, 0, 4, 4, 0x72, 0, 0], NONE, &[0, 0x18, 0, 0xb, 0, 4], NONE, &[0; 4]];
const ECC_EXCHANGE: &[&[u8]] = &[&[0, 0x23, 0, 0xb, 0, 2, 4, 0x72, 0, 0], NONE, NONE, &[0, 3], NONE, &[0; 4]];
const RSA_SIGNING: &[&[u8]] =
    &[&[0, 1, 0, 0xb, 0, 4, 4, 0x72, 0, 0], NONE, &[0, 0x14, 0, 0xb], &[8, 0, 0, 0, 0, 0], &[0; 2]];
const RSA_SIGNING_3072: &[&[u8]] =
    &[&[0, 1, 0, 0xb, 0, 4, 4, 0x72, 0, 0], NONE, &[0, 0x14, 0, 0xb], &[12, 0, 0, 0, 0, 0], &[0; 2]];
const RSA_DECRYPTION: &[&[u8]] =
    &[&[0, 1, 0, 0xb, 0, 2, 4, 0x72, 0, 0], NONE, &[0, 0x17, 0, 0xb], &[8, 0, 0, 0, 0, 0], &[0; 2]];
const HMAC_KEY: &[&[u8]] = &[&[0, 8, 0, 0xb, 0, 4, 4, 0x72, 0, 0], &[0, 5, 0, 0xb], &[0; 2]];
const SEALED: &[&[u8]] = &[&[0, 8, 0, 0xb, 0, 0, 4, 0x52, 0, 0], NONE, &[0; 2]];
const AES_KEY: &[&[u8]] = &[&[0, 0x25, 0, 0xb, 0, 6, 4, 0x72, 0, 0], AES_CFB, &[0; 2]];
const AES_CFB: &[u8] = &[0, 6, 0, 128, 0, 0x43];

/// TPM2_Create or TPM2_CreatePrimary, with data to seal.
fn create(code: u32, parent: u32, template: &[&[u8]], data: &[u8]) -> Vec<u8> {
    let sensitive = tpm2b(&[&[0, 0], &tpm2b(data)[..]].concat());
    command(code, &[parent], &[b""], &[&sensitive, &tpm2b(&template.concat()), &[0; 6]])
}

fn primary(tpm: &mut Tpm<'_>, template: &[&[u8]], data: &[u8]) -> u32 {
    tpm.load(&create(code::CREATE_PRIMARY, OWNER, template, data)).0
}

fn create_child(tpm: &mut Tpm<'_>, template: &[&[u8]]) -> Prepared {
    let parent = primary(tpm, ECC_STORAGE, b"");
    Prepared::new(create(code::CREATE, parent, template, b""))
}

fn load_child(tpm: &mut Tpm<'_>, template: &[&[u8]]) -> Prepared {
    let parent = primary(tpm, ECC_STORAGE, b"");
    let created = parameters(tpm.ok(&create(code::CREATE, parent, template, b"")));
    let (private, rest) = split_2b(created);
    let public = split_2b(rest).0;
    Prepared::loading(command(code::LOAD, &[parent], &[b""], &[private, public]))
}

fn sign_command(key: u32) -> Vec<u8> {
    command(code::SIGN, &[key], &[b""], &[&tpm2b(&[7; 32]), NONE, NO_TICKET])
}

fn sign(tpm: &mut Tpm<'_>, template: &[&[u8]]) -> Prepared {
    let key = primary(tpm, template, b"");
    Prepared::new(sign_command(key))
}

fn quote(tpm: &mut Tpm<'_>, template: &[&[u8]]) -> Prepared {
    let key = primary(tpm, template, b"");
    Prepared::new(command(code::QUOTE, &[key], &[b""], &[&tpm2b(&[7; 20]), NONE, PCRS]))
}

fn verify(tpm: &mut Tpm<'_>, template: &[&[u8]]) -> Prepared {
    let key = primary(tpm, template, b"");
    let signature = parameters(tpm.ok(&sign_command(key))).to_vec();
    Prepared::new(command(code::VERIFY_SIGNATURE, &[key], &[], &[&tpm2b(&[7; 32]), &signature]))
}

fn start_session(key: u32, salt: &[u8], kind: u8) -> Vec<u8> {
    let parameters: [&[u8]; 5] = [&tpm2b(&[7; 32]), &tpm2b(salt), &[kind], NONE, SHA256];
    command(code::START_AUTH_SESSION, &[key, NULL], &[], &parameters)
}

fn pcr_extend() -> Prepared {
    Prepared::new(command(code::PCR_EXTEND, &[16], &[b""], &[&[0, 0, 0, 1], SHA256, &[7; 32]]))
}

/// Exactly so many NV Indices of 32 octets, for those who know their empty authValue. They stay. The last handle is
/// [`INDEX`].
fn indices(tpm: &mut Tpm<'_>, count: u32) {
    for handle in (0..count).map(|n| INDEX - n) {
        let public = [&handle.to_be_bytes()[..], SHA256, &[2, 4, 0, 4, 0, 0, 0, 32]].concat();
        tpm.execute(&command(code::NV_DEFINE_SPACE, &[OWNER], &[b""], &[&[0, 0], &tpm2b(&public)]));
    }
    let undefine = |n| command(code::NV_UNDEFINE_SPACE, &[OWNER, INDEX - n], &[b""], &[]);
    let mut beyond = count..;
    while beyond.next().is_some_and(|n| response_code(tpm.execute(&undefine(n))) == 0) {}
    assert_eq!(defined(tpm), count, "NV Indices");
}

/// TPM_PT_HR_NV_INDEX.
fn defined(tpm: &mut Tpm<'_>) -> u32 {
    let properties = tpm.ok(&command(code::GET_CAPABILITY, &[], &[], &[&[0, 0, 0, 6, 0, 0, 2, 2, 0, 0, 0, 1]]));
    u32::from_be_bytes(*properties.last_chunk().expect("a property"))
}

fn nv_read(tpm: &mut Tpm<'_>) -> Prepared {
    tpm.ok(&nv_write());
    Prepared::new(command(code::NV_READ, &[INDEX, INDEX], &[b""], &[&[0, 32, 0, 0]]))
}

fn nv_write() -> Vec<u8> {
    command(code::NV_WRITE, &[INDEX, INDEX], &[b""], &[&tpm2b(&[7; 32]), &[0, 0]])
}
