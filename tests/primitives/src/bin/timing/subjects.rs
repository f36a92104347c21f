//! What is measured, and in which two classes.

use anyhow::{Context, Result, anyhow, ensure};
use client::area::{Entry, How, Turn, marshal};
use client::attributes::session::CONTINUE;
use client::codes::{AUTH_FAIL, BAD_AUTH, OWNER, session as at_session};
use client::command::response_code;
use client::hash::Alg;
use client::platform::{CountedEntropy, ManualClock};
use client::session::{Session, Start, Transport};
use client::{cc, tpm2b};
use core::hint::black_box;
use num_bigint::BigUint;
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::{Hooks, Locality, Tpm};
use tpm_crypto::drbg::Drbg;
use tpm_crypto::ecc::{Curve, Scalar, Signature};
use tpm_crypto::hash::{HashAlg, digest};
use tpm_crypto::hmac::{hmac, verify};
use tpm_crypto::primary::{Derivation, VERSION};
use tpm_crypto::rsa::RsaPrivate;
use tpm_crypto::rsa::padding::CryptScheme;

/// What is expected of the times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The classes take the same time.
    Equal,
    /// They must not: it shows that a difference is seen.
    Control,
    /// The measuring side sees the class anyhow.
    Public,
}

/// An operation with inputs.
pub(crate) trait Subject {
    /// Chooses what [`Subject::run`] will do.
    fn prepare(&mut self, class: usize, input: usize);
    /// What is measured.
    fn run(&mut self);
    /// The class, if the run has chosen it.
    fn class(&mut self) -> Option<usize> {
        None
    }
}

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) make: fn() -> Result<Box<dyn Subject>>,
}

pub(crate) const SUBJECTS: &[Row] = &[
    Row { name: "control: a comparison that ends early", kind: Kind::Control, make: early },
    Row { name: "OAEP: first octet, hash of the label", kind: Kind::Equal, make: || oaep(Fault::First, Fault::Label) },
    Row {
        name: "OAEP: hash of the label, no separator",
        kind: Kind::Equal,
        make: || oaep(Fault::Label, Fault::Separator),
    },
    Row { name: "OAEP: padding, no separator", kind: Kind::Equal, make: || oaep(Fault::Padding, Fault::Separator) },
    Row { name: "OAEP: good, hash of the label", kind: Kind::Public, make: || oaep(Fault::None, Fault::Label) },
    Row { name: "RSAES: first octet, second octet", kind: Kind::Equal, make: || rsaes(Fault::First, Fault::Label) },
    Row {
        name: "RSAES: second octet, no separator",
        kind: Kind::Equal,
        make: || rsaes(Fault::Label, Fault::Separator),
    },
    Row {
        name: "RSAES: short padding, no separator",
        kind: Kind::Equal,
        make: || rsaes(Fault::Padding, Fault::Separator),
    },
    Row { name: "RSAES: good, second octet", kind: Kind::Public, make: || rsaes(Fault::None, Fault::Label) },
    Row { name: "ECDSA P-256: nonces with 4 zero bits, others", kind: Kind::Equal, make: || sign(Curve::NistP256) },
    Row { name: "ECDSA P-384: nonces with 4 zero bits, others", kind: Kind::Equal, make: || sign(Curve::NistP384) },
    Row { name: "P-256 base point: scalars of few digits, others", kind: Kind::Equal, make: || base(Curve::NistP256) },
    Row { name: "P-384 base point: scalars of few digits, others", kind: Kind::Equal, make: || base(Curve::NistP384) },
    Row { name: "HMAC verify: first octet, last octet", kind: Kind::Equal, make: mac },
    Row { name: "password of a command: first octet, last octet", kind: Kind::Equal, make: || command(password) },
    Row { name: "HMAC of a command: first octet, last octet", kind: Kind::Equal, make: || command(session) },
];

/// Operations that are too short for the clock are repeated in a sample.
const REPEATED: usize = 16;
const INPUTS: usize = super::INPUTS;

fn random(of: &[u8], bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    let mut drbg = Drbg::new(&digest(HashAlg::Sha512, &[of]).as_slice()[..48], b"", b"timing").expect("48 bytes");
    drbg.generate(&mut out, &[]).expect("a short request");
    out
}

/// A secret of 64 octets, compared octet by octet up to the first difference.
struct Early {
    secret: Vec<u8>,
    guesses: [Vec<u8>; 2],
    class: usize,
}

fn early() -> Result<Box<dyn Subject>> {
    let secret = random(b"secret", 64);
    let guesses = ends(&secret);
    Ok(Box::new(Early { secret, guesses, class: 0 }))
}

/// With the first octet wrong, and with the last.
fn ends(right: &[u8]) -> [Vec<u8>; 2] {
    let wrong = |at: usize| {
        let mut wrong = right.to_vec();
        wrong[at] ^= 1;
        wrong
    };
    [wrong(0), wrong(right.len() - 1)]
}

impl Subject for Early {
    fn prepare(&mut self, class: usize, _input: usize) {
        self.class = class;
    }

    fn run(&mut self) {
        for _ in 0..REPEATED {
            let pairs = black_box(&self.secret).iter().zip(black_box(&self.guesses[self.class]));
            black_box(pairs.take_while(|(a, b)| black_box(a) == black_box(b)).count());
        }
    }
}

/// What is wrong with a message's padding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    First,
    /// the label's hash of OAEP; the second octet of RSAES
    Label,
    /// not zero in OAEP; too short in RSAES
    Padding,
    Separator,
}

struct Decrypt {
    key: RsaPrivate,
    rng: Drbg,
    scheme: CryptScheme<'static>,
    ciphertexts: [Vec<Vec<u8>>; 2],
    now: (usize, usize),
}

const KEY_BYTES: usize = 128;

fn decrypt(scheme: CryptScheme<'static>, blocks: [Vec<Vec<u8>>; 2], faults: [Fault; 2]) -> Result<Box<dyn Subject>> {
    let derivation = Derivation::new(VERSION, &[3; 64], &[4; 32]).map_err(|error| anyhow!("{error:?}"))?;
    let key = derivation.rsa(1024, 0).map_err(|error| anyhow!("{error:?}"))?;
    let mut rng = blinding(0);
    for (blocks, fault) in blocks.iter().zip(faults) {
        // One is enough: they are made alike, and under valgrind this takes time.
        if let Some(block) = blocks.first() {
            let mut sent = block.clone();
            key.public().raw(&mut sent).map_err(|error| anyhow!("{error:?}"))?;
            ensure!(key.decrypt(&mut rng, scheme, &sent).is_ok() == (fault == Fault::None), "the fault is not one");
        }
    }
    let encrypt = |block: Vec<u8>| {
        let mut sent = block;
        key.public().raw(&mut sent).expect("below the modulus");
        sent
    };
    let ciphertexts = blocks.map(|blocks| blocks.into_iter().map(encrypt).collect());
    Ok(Box::new(Decrypt { key, rng, scheme, ciphertexts, now: (0, 0) }))
}

/// The same for both classes of an input.
fn blinding(input: usize) -> Drbg {
    Drbg::new(&digest(HashAlg::Sha512, &[b"blinding", &input.to_be_bytes()]).as_slice()[..48], b"", b"")
        .expect("48 bytes")
}

impl Subject for Decrypt {
    fn prepare(&mut self, class: usize, input: usize) {
        self.now = (class, input);
        self.rng = blinding(input);
    }

    fn run(&mut self) {
        let (class, input) = self.now;
        black_box(self.key.decrypt(&mut self.rng, self.scheme, &self.ciphertexts[class][input]).is_ok());
    }
}

fn mgf1_xor(seed: &[u8], data: &mut [u8]) {
    for (counter, chunk) in (0_u32..).zip(data.chunks_mut(32)) {
        let mask = digest(HashAlg::Sha256, &[seed, &counter.to_be_bytes()]);
        chunk.iter_mut().zip(mask.as_slice()).for_each(|(to, mask)| *to ^= mask);
    }
}

fn oaep(one: Fault, other: Fault) -> Result<Box<dyn Subject>> {
    let block = |fault: Fault, input: usize| {
        let numbered = input.to_be_bytes();
        let (message, seed) =
            (random(&[b"message", &numbered[..]].concat(), 16), random(&[b"seed", &numbered[..]].concat(), 32));
        let mut data = digest(HashAlg::Sha256, &[b""]).as_slice().to_vec();
        data[5] ^= u8::from(fault == Fault::Label);
        data.resize(KEY_BYTES - 1 - 32 - 17, 0);
        data[33] = if fault == Fault::Padding { 2 } else { 0 };
        data.push(u8::from(fault != Fault::Separator));
        data.extend(if fault == Fault::Separator { vec![0; 16] } else { message });
        mgf1_xor(&seed, &mut data);
        let mut masked = seed;
        mgf1_xor(&data, &mut masked);
        [vec![u8::from(fault == Fault::First)], masked, data].concat()
    };
    let blocks = [one, other].map(|fault| (0..INPUTS).map(|input| block(fault, input)).collect());
    decrypt(CryptScheme::Oaep(HashAlg::Sha256, b""), blocks, [one, other])
}

fn rsaes(one: Fault, other: Fault) -> Result<Box<dyn Subject>> {
    let block = |fault: Fault, input: usize| {
        let mut block: Vec<u8> = random(&[b"padding", &input.to_be_bytes()[..]].concat(), KEY_BYTES);
        block.iter_mut().for_each(|byte| *byte |= 1);
        block[0] = u8::from(fault == Fault::First);
        block[1] = if fault == Fault::Label { 1 } else { 2 };
        match fault {
            Fault::Separator => {}
            Fault::Padding => block[6] = 0,
            _ => block[KEY_BYTES - 17] = 0,
        }
        block
    };
    let blocks = [one, other].map(|fault| (0..INPUTS).map(|input| block(fault, input)).collect());
    decrypt(CryptScheme::Rsaes, blocks, [one, other])
}

/// ECDSA; the class is whether the nonce began with four zero bits, as its holder can tell from the signature.
struct Sign {
    curve: Curve,
    d: Scalar,
    rng: Drbg,
    order: BigUint,
    signature: Option<Signature>,
}

const SIGNED: [u8; 32] = [0x5a; 32];

fn sign(curve: Curve) -> Result<Box<dyn Subject>> {
    let (d, _) = curve.generate(&mut blinding(1)).map_err(|error| anyhow!("{error:?}"))?;
    let order = BigUint::from_bytes_be(curve.parameters().n);
    Ok(Box::new(Sign { curve, d, rng: blinding(2), order, signature: None }))
}

impl Subject for Sign {
    /// The first nonce is looked for, so that counted runs are of both classes; then they come as they come.
    fn prepare(&mut self, class: usize, input: usize) {
        if self.signature.is_none() {
            for seed in ((1 + input) << 16).. {
                self.rng = blinding(seed);
                self.run();
                if self.class() == Some(class) {
                    self.rng = blinding(seed);
                    break;
                }
            }
        }
    }

    fn run(&mut self) {
        self.signature = self.curve.ecdsa_sign(self.d.as_slice(), &SIGNED, &mut self.rng).ok();
    }

    fn class(&mut self) -> Option<usize> {
        let signature = self.signature.as_ref()?;
        let number = BigUint::from_bytes_be;
        let (r, s) = (number(signature.r.as_slice()), number(signature.s.as_slice()));
        // s = (h + r d) / k
        let nonce = (number(&SIGNED) + r * number(self.d.as_slice())) * s.modinv(&self.order)? % &self.order;
        Some(usize::from(nonce.bits() + 4 > self.order.bits()))
    }
}

/// Multiples of a base point, by its table: scalars of which most digits are zero, so that most look-ups choose
/// nothing, and any.
struct Base {
    curve: Curve,
    scalars: [Vec<Vec<u8>>; 2],
    now: (usize, usize),
}

fn base(curve: Curve) -> Result<Box<dyn Subject>> {
    let any = |input: usize| {
        let mut scalar = random(&[b"scalar", &input.to_be_bytes()[..]].concat(), curve.size());
        scalar[0] &= 0x7f;
        scalar
    };
    let few = |input: usize| {
        let mut scalar = any(input);
        let last = scalar.len() - 1;
        scalar.iter_mut().enumerate().for_each(|(i, byte)| *byte &= if i % 16 == 3 || i == last { 0x1f } else { 0 });
        scalar[last] |= 1;
        scalar
    };
    let scalars = [(0..INPUTS).map(few).collect(), (0..INPUTS).map(any).collect()];
    Ok(Box::new(Base { curve, scalars, now: (0, 0) }))
}

impl Subject for Base {
    fn prepare(&mut self, class: usize, input: usize) {
        self.now = (class, input);
    }

    fn run(&mut self) {
        let (class, input) = self.now;
        black_box(self.curve.public(black_box(&self.scalars[class][input])).is_ok());
    }
}

struct Mac {
    macs: [Vec<u8>; 2],
    class: usize,
}

fn mac() -> Result<Box<dyn Subject>> {
    let right = hmac(HashAlg::Sha256, b"key", &[b"message"]);
    Ok(Box::new(Mac { macs: ends(right.as_slice()), class: 0 }))
}

impl Subject for Mac {
    fn prepare(&mut self, class: usize, _input: usize) {
        self.class = class;
    }

    fn run(&mut self) {
        for _ in 0..REPEATED {
            black_box(verify(HashAlg::Sha256, black_box(b"key"), &[b"message"], black_box(&self.macs[self.class])));
        }
    }
}

/// A TPM whose owner has an authorization value, and commands that do not know it.
struct Commands {
    tpm: Box<Tpm>,
    entropy: CountedEntropy,
    response: [u8; MAX_RESPONSE_SIZE],
    requests: [Vec<u8>; 2],
    /// what is sent: of both classes at one address, for addresses have times of their own
    request: Vec<u8>,
}

impl Transport for Commands {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut ManualClock(0) };
        let length = self.tpm.execute(&mut hooks, Locality::ZERO, request, &mut self.response);
        self.response[..length].to_vec()
    }
}

fn owner_auth() -> Vec<u8> {
    random(b"owner", 32)
}

/// TPM2_HierarchyChangeAuth of the owner to what it is, with one authorization.
fn change_auth(authorization: Entry<'_>) -> Vec<u8> {
    let name = OWNER.to_be_bytes();
    marshal(cc::HIERARCHY_CHANGE_AUTH, &[OWNER], &name, true, &[authorization], &tpm2b(&owner_auth()))
}

fn with_password(password: &[u8]) -> Vec<u8> {
    change_auth(Entry::Password(password))
}

/// The request that is right, and the two that are not, for a TPM whose owner's authorization is set.
type Requests = fn(&mut Commands) -> Result<Prepared>;
type Prepared = (Vec<u8>, [Vec<u8>; 2]);

fn password(_: &mut Commands) -> Result<Prepared> {
    let right = owner_auth();
    Ok((with_password(&right), ends(&right).map(|wrong| with_password(&wrong))))
}

/// An HMAC session that is neither bound nor salted. What fails changes neither its nonce nor it.
fn session(commands: &mut Commands) -> Result<Prepared> {
    let session = Session::start(commands, &Start::default());
    let (nonce, auth) = (random(b"nonce", 32), owner_auth());
    let cp_hash = Alg::Sha256.cp_hash(cc::HIERARCHY_CHANGE_AUTH, &OWNER.to_be_bytes(), &tpm2b(&auth));
    let right = Alg::Sha256.hmac(&auth, &[&cp_hash, &nonce, &session.nonce_tpm, &[CONTINUE]]);
    let with = |mac: &[u8]| {
        change_auth(Entry::Session(Turn {
            session: session.known(),
            nonce_caller: &nonce,
            attributes: CONTINUE,
            hmac_auth: &auth,
            hmac_auth_after: &auth,
            crypt_auth: &[],
            how: &How::Raw(mac.to_vec()),
        }))
    };
    Ok((with(&right), ends(&right).map(|wrong| with(&wrong))))
}

fn command(requests: Requests) -> Result<Box<dyn Subject>> {
    let (mut commands, (_, wrong)) = set_up(requests)?;
    let answers = wrong.each_ref().map(|request| response_code(&commands.transmit(request)));
    let refused = [at_session(1, BAD_AUTH), at_session(1, AUTH_FAIL)];
    ensure!(answers[0] == answers[1] && refused.contains(&answers[0]), "{answers:x?}");
    commands.requests = wrong;
    let (mut other, (right, _)) = set_up(requests)?;
    let answer = other.transmit(&right);
    ensure!(response_code(&answer) == 0, "what should be right is not: {answer:02x?}");
    Ok(Box::new(commands))
}

fn set_up(requests: Requests) -> Result<(Commands, Prepared)> {
    let mut entropy = CountedEntropy::default();
    let mut tpm = Box::new(Tpm::blank());
    tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut ManualClock(0) }).ok().context("no TPM")?;
    let requests_of_none = [Vec::new(), Vec::new()];
    let mut commands =
        Commands { tpm, entropy, response: [0; MAX_RESPONSE_SIZE], requests: requests_of_none, request: Vec::new() };
    for request in [client::command(cc::STARTUP, &[], &[], &[0, 0]), with_password(b"")] {
        let answer = commands.transmit(&request);
        ensure!(response_code(&answer) == 0, "{answer:02x?}");
    }
    let requests = requests(&mut commands)?;
    Ok((commands, requests))
}

impl Subject for Commands {
    fn prepare(&mut self, class: usize, _input: usize) {
        self.request.clone_from(&self.requests[class]);
    }

    fn run(&mut self) {
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut ManualClock(0) };
        black_box(self.tpm.execute(&mut hooks, Locality::ZERO, &self.request, &mut self.response));
    }
}
