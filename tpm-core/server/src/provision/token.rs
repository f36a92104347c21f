//! A CA's private key in a token: each of its signatures is verified by the key in the CA's certificate.

use super::uri::Uri;
use anyhow::{Context, Result, anyhow, bail, ensure};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use rsa::pkcs1v15;
use rsa::signature::{self, Keypair, Signer, Verifier};
use sha2::{Digest, Sha256, Sha384};
use std::path::Path;
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DecodePublicKey, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SignatureBitStringEncoding,
};

/// The module of p11-kit, which knows those that the system has.
const ANY_MODULE: &str = "p11-kit-proxy.so";
/// What is signed to see whether the key is that of the certificate: no certificate, nor a part of one.
const PROBE: &[u8] = b"quoin-tpm asks whether this key is that of the CA's certificate";

/// Keys of a kind, as those know them who verify.
pub(super) trait Scheme:
    Clone + DecodePublicKey + EncodePublicKey + DynSignatureAlgorithmIdentifier + Verifier<Self::Signature>
{
    /// As it is in a certificate.
    type Signature: SignatureBitStringEncoding;
    /// CKA_KEY_TYPE.
    const KIND: KeyType;
    /// How a token is asked, and for what. ECDSA is asked for by the digest: not all tokens have hashes.
    fn ask(message: &[u8]) -> (Mechanism<'static>, Vec<u8>);
    /// Of what a token has answered.
    fn signature(answer: &[u8]) -> signature::Result<Self::Signature>;
}

impl Scheme for p256::ecdsa::VerifyingKey {
    type Signature = p256::ecdsa::DerSignature;
    const KIND: KeyType = KeyType::EC;

    fn ask(message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
        (Mechanism::Ecdsa, Sha256::digest(message).to_vec())
    }

    fn signature(answer: &[u8]) -> signature::Result<Self::Signature> {
        Ok(p256::ecdsa::Signature::from_slice(answer)?.to_der())
    }
}

impl Scheme for p384::ecdsa::VerifyingKey {
    type Signature = p384::ecdsa::DerSignature;
    const KIND: KeyType = KeyType::EC;

    fn ask(message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
        (Mechanism::Ecdsa, Sha384::digest(message).to_vec())
    }

    fn signature(answer: &[u8]) -> signature::Result<Self::Signature> {
        Ok(p384::ecdsa::Signature::from_slice(answer)?.to_der())
    }
}

impl Scheme for pkcs1v15::VerifyingKey<Sha256> {
    type Signature = pkcs1v15::Signature;
    const KIND: KeyType = KeyType::RSA;

    fn ask(message: &[u8]) -> (Mechanism<'static>, Vec<u8>) {
        (Mechanism::Sha256RsaPkcs, message.to_vec())
    }

    fn signature(answer: &[u8]) -> signature::Result<Self::Signature> {
        answer.try_into()
    }
}

/// A key in a token, and the public key that its certificate has.
pub(super) struct OnToken<V> {
    key: TokenKey,
    public: V,
}

impl<V: Scheme> OnToken<V> {
    pub(super) fn of(key: TokenKey, public: V) -> Result<Self> {
        ensure!(key.kind == V::KIND, "the private key is another's: its kind is {}", key.kind);
        let pair = Self { key, public };
        pair.try_sign(PROBE).map_err(told)?;
        Ok(pair)
    }
}

/// Why there is no signature, which `signature::Error` keeps as its source.
pub(super) fn told(error: signature::Error) -> anyhow::Error {
    match core::error::Error::source(&error) {
        Some(source) => anyhow!("{source}"),
        None => anyhow!(error),
    }
}

impl<V: Scheme> Keypair for OnToken<V> {
    type VerifyingKey = V;

    fn verifying_key(&self) -> V {
        self.public.clone()
    }
}

impl<V: Scheme> DynSignatureAlgorithmIdentifier for OnToken<V> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        self.public.signature_algorithm_identifier()
    }
}

impl<V: Scheme> Signer<V::Signature> for OnToken<V> {
    fn try_sign(&self, message: &[u8]) -> signature::Result<V::Signature> {
        let (mechanism, asked) = V::ask(message);
        let answer = self.key.sign(&mechanism, &asked).map_err(signature::Error::from_source)?;
        let signature = V::signature(&answer);
        let signature = signature.and_then(|signature| self.public.verify(message, &signature).map(|()| signature));
        signature.map_err(|_| signature::Error::from_source("the private key is another's: it signs, and not for it"))
    }
}

/// A private key that may sign, in a session that may use it.
pub(super) struct TokenKey {
    session: Session,
    key: ObjectHandle,
    kind: KeyType,
}

impl TokenKey {
    /// The one key that a URI names.
    pub(super) fn open(uri: &Uri) -> Result<Self> {
        let session = logged_in(uri)?;
        let key = only(&session, uri)?;
        let asked = [AttributeType::KeyType, AttributeType::Sign, AttributeType::AlwaysAuthenticate];
        let told = session.get_attributes(key, &asked).map_err(plain).context("the token does not describe the key")?;
        ensure!(told.contains(&Attribute::Sign(true)), "the key is not for signing (CKA_SIGN)");
        ensure!(
            !told.contains(&Attribute::AlwaysAuthenticate(true)),
            "the token wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE), and is not told it twice"
        );
        let kind = told.iter().find_map(|one| if let Attribute::KeyType(kind) = one { Some(*kind) } else { None });
        Ok(Self { session, key, kind: kind.context("the token does not say of what kind the key is")? })
    }

    fn sign(&self, mechanism: &Mechanism<'_>, message: &[u8]) -> Result<Vec<u8>, String> {
        self.session.sign(mechanism, self.key, message).map_err(|error| format!("the token does not sign: {error}"))
    }
}

/// What a module has said, as an error with its reason.
fn plain(error: Error) -> anyhow::Error {
    anyhow!(error)
}

/// A session with the one token that a URI names, in which private keys are seen.
fn logged_in(uri: &Uri) -> Result<Session> {
    let module = uri.module.as_deref().unwrap_or(Path::new(ANY_MODULE));
    let loaded = Pkcs11::new(module).map_err(plain);
    let context = loaded.with_context(|| {
        let hint = if uri.module.is_none() { " (install p11-kit, or name another: ?module-path=FILE)" } else { "" };
        format!("there is no PKCS #11 module {}{hint}", module.display())
    })?;
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    context.initialize(args).map_err(plain).context("the PKCS #11 module does not start")?;
    let slot = token(&context, uri)?;
    let session = context.open_ro_session(slot).map_err(plain).context("the token gives no session")?;
    let token = context.get_token_info(slot).map_err(plain)?;
    match uri.pin()? {
        Some(pin) => session.login(UserType::User, Some(&pin)).map_err(refused)?,
        None => ensure!(
            !token.login_required(),
            "the token wants a PIN (?pin-source=FILE, or ?pin-value=PIN where nobody else sees it)"
        ),
    }
    Ok(session)
}

/// Why a PIN was not taken.
fn refused(error: Error) -> anyhow::Error {
    match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            anyhow!("the PIN is wrong; it was tried once")
        }
        Error::Pkcs11(RvError::PinLocked, _) => anyhow!("the token is locked: its PIN was wrong too often"),
        Error::Pkcs11(RvError::UserPinNotInitialized, _) => anyhow!("the token has no PIN yet"),
        other => plain(other).context("the token does not take the PIN"),
    }
}

/// The one that a URI names.
fn token(context: &Pkcs11, uri: &Uri) -> Result<Slot> {
    let slots = context.get_slots_with_initialized_token().map_err(plain).context("there are no tokens")?;
    let library = context.get_library_info().map_err(plain)?;
    let mut found = Vec::new();
    for slot in slots {
        let token = context.get_token_info(slot).map_err(plain)?;
        let place = context.get_slot_info(slot).map_err(plain)?;
        let version = library.library_version();
        let of = |name: &str| {
            Some(match name {
                "library-description" => library.library_description().to_owned(),
                "library-manufacturer" => library.manufacturer_id().to_owned(),
                "library-version" => format!("{}.{}", version.major(), version.minor()),
                "manufacturer" => token.manufacturer_id().to_owned(),
                "model" => token.model().to_owned(),
                "serial" => token.serial_number().to_owned(),
                "slot-description" => place.slot_description().to_owned(),
                "slot-id" => slot.id().to_string(),
                "slot-manufacturer" => place.manufacturer_id().to_owned(),
                "token" => token.label().to_owned(),
                _ => return None,
            })
        };
        if uri.is_at(of) {
            found.push(slot);
        }
    }
    match *found {
        [slot] => Ok(slot),
        [] => bail!("there is no such token"),
        _ => bail!("{} tokens are meant: token=LABEL or serial=NUMBER tells one of them", found.len()),
    }
}

/// The one private key that a URI names.
fn only(session: &Session, uri: &Uri) -> Result<ObjectHandle> {
    let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    wanted.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
    wanted.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
    let found = session.find_objects(&wanted).map_err(plain).context("the token cannot be searched")?;
    match *found {
        [key] => Ok(key),
        [] => bail!("there is no such private key in the token"),
        _ => bail!("{} private keys are meant: id=%01 beside object=LABEL tells one of them", found.len()),
    }
}
