//! ML-DSA and ML-KEM by the firmware's TPM: their commands and responses go through a list of pages (docs/boot.md).
//! What the TPM signs, and what it encapsulates, is judged by implementations of FIPS 203 and 204 that are not the
//! engine's.

use super::{Totals, case};
use anyhow::{Context, Result, ensure};
use fips203::ml_kem_1024;
use fips203::traits::{Decaps as _, Encaps as _, KeyGen as _, SerDes as _};
use fips204::traits::{SerDes as _, Verifier as _};
use fips204::{ml_dsa_65, ml_dsa_87};
use host::boot::{self, Built};
use host::relay::Relay;

const STARTUP: u32 = 0x144;
const CREATE_PRIMARY: u32 = 0x131;
const LOAD_EXTERNAL: u32 = 0x167;
const GET_CAPABILITY: u32 = 0x17A;
const FLUSH_CONTEXT: u32 = 0x165;
const SIGN_SEQUENCE_COMPLETE: u32 = 0x1A4;
const ENCAPSULATE: u32 = 0x1A7;
const DECAPSULATE: u32 = 0x1A8;
const SIGN_SEQUENCE_START: u32 = 0x1AA;
const COMMAND_SIZE: u32 = 0x142;

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign.
const SIGN: u32 = 0x4_0072;
/// The same, and decrypt.
const DECRYPT: u32 = 0x2_0072;
/// TPM_ALG_ID, parameters.
const ML_DSA_65: (u16, &[u8]) = (0xA1, &[0, 2, 0]);
const ML_DSA_87: (u16, &[u8]) = (0xA1, &[0, 3, 0]);
const ML_KEM_1024: (u16, &[u8]) = (0xA0, &[0, 0x10, 0, 3]);
const OWNER: u32 = 0x4000_0001;
const NULL: u32 = 0x4000_0007;
/// Of nobody.
const PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
const MESSAGE: &[u8] = b"longer than a page";

/// Makes keys, signs, encapsulates and decapsulates.
pub fn run(built: &Built) -> Result<Totals> {
    let mut qemu = boot::start(built, "")?;
    boot::wait_for_guest(&mut qemu, &built.image, false)?;
    let mut relay = qemu.relay()?;
    let tpm = &mut Pages(&mut relay);
    let mut totals = case("TPM2_Startup by a list of pages", tpm.run(STARTUP, &[], 0, &[0, 0]).map(drop));
    totals += case("what each way carries is told by the properties of the TPM", sizes(tpm));
    totals += case(
        "ML-DSA-65 signs, and fips204 verifies",
        signs(tpm, ML_DSA_65, |public, message, signature| {
            let public = ml_dsa_65::PublicKey::try_from_bytes(public.try_into()?).map_err(anyhow::Error::msg)?;
            Ok(public.verify(message, &signature.try_into()?, b""))
        }),
    );
    totals += case(
        "ML-DSA-87 signs, and fips204 verifies",
        signs(tpm, ML_DSA_87, |public, message, signature| {
            let public = ml_dsa_87::PublicKey::try_from_bytes(public.try_into()?).map_err(anyhow::Error::msg)?;
            Ok(public.verify(message, &signature.try_into()?, b""))
        }),
    );
    totals += case("ML-KEM-1024 encapsulates and decapsulates, and so does fips203", exchanges(tpm));
    totals += case("fips203's key, loaded from outside: what the TPM encapsulates it decapsulates", of_others(tpm));
    totals += case("a signature by ML-DSA-87 in one page is TPM_RC_COMMAND_SIZE as ever", in_one_page(tpm));
    Ok(totals)
}

/// A TPM at the end of a list of pages.
struct Pages<'a, R>(&'a mut R);

impl<R: Relay> Pages<'_, R> {
    /// What follows the header of the answer, with parameterSize where there are passwords.
    fn run(&mut self, code: u32, handles: &[u32], passwords: usize, parameters: &[u8]) -> Result<Vec<u8>> {
        let answer = self.0.tpm_by_pages(&command(code, handles, passwords, parameters)?)?;
        let header = answer.first_chunk::<10>().context("no header")?;
        ensure!(header[6..] == [0; 4], "command {code:#x} has answered {:02x?}", header);
        ensure!(header[2..6] == u32::try_from(answer.len())?.to_be_bytes(), "{} octets: {header:02x?}", answer.len());
        Ok(answer[10..].to_vec())
    }

    /// A primary key: its handle, and the unique field of its public area.
    fn primary(&mut self, (kind, parameters): (u16, &[u8]), attributes: u32) -> Result<(u32, Vec<u8>)> {
        let template = public(kind, attributes, parameters, &[])?;
        let creation = [&[0, 4, 0, 0, 0, 0][..], &template, &[0, 0], &[0; 4]].concat();
        let made = self.run(CREATE_PRIMARY, &[OWNER], 1, &creation)?;
        let (handle, rest) = made.split_first_chunk::<4>().context("no handle")?;
        // parameterSize and the size of outPublic; type, nameAlg, attributes, an empty policy.
        let mut rest = rest.get(6 + 10 + parameters.len()..).context("no public area")?;
        Ok((u32::from_be_bytes(*handle), sized(&mut rest)?.to_vec()))
    }

    fn flush(&mut self, handle: u32) -> Result<()> {
        self.run(FLUSH_CONTEXT, &[], 0, &handle.to_be_bytes()).map(drop)
    }

    /// TPMT_SIGNATURE of the message behind parameterSize.
    fn sign(&mut self, key: u32) -> Result<Vec<u8>> {
        let (sequence, complete) = self.signing(key)?;
        self.run(SIGN_SEQUENCE_COMPLETE, &[sequence, key], 2, &complete)
    }

    /// A sequence, and the parameters of the command that completes it.
    fn signing(&mut self, key: u32) -> Result<(u32, Vec<u8>)> {
        let sequence = self.run(SIGN_SEQUENCE_START, &[key], 0, &[0; 4])?;
        let sequence = sequence.first_chunk().context("no sequence")?;
        Ok((u32::from_be_bytes(*sequence), [&u16::try_from(MESSAGE.len())?.to_be_bytes(), MESSAGE].concat()))
    }
}

fn command(code: u32, handles: &[u32], passwords: usize, parameters: &[u8]) -> Result<Vec<u8>> {
    let mut body: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
    if passwords > 0 {
        body.extend(u32::try_from(passwords * PASSWORD.len())?.to_be_bytes());
        body.extend(PASSWORD.repeat(passwords));
    }
    body.extend(parameters);
    let size = u32::try_from(10 + body.len())?.to_be_bytes();
    Ok([&[0x80, 1 + u8::from(passwords > 0)][..], &size, &code.to_be_bytes(), &body].concat())
}

/// TPM2B_PUBLIC with nameAlg SHA-256.
fn public(kind: u16, attributes: u32, parameters: &[u8], unique: &[u8]) -> Result<Vec<u8>> {
    let unique = [&u16::try_from(unique.len())?.to_be_bytes(), unique].concat();
    let area = [&kind.to_be_bytes()[..], &[0, 0xB], &attributes.to_be_bytes(), &[0, 0], parameters, &unique].concat();
    Ok([&u16::try_from(area.len())?.to_be_bytes(), &area[..]].concat())
}

/// A TPM2B's octets, taken from the front.
fn sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (size, rest) = bytes.split_first_chunk::<2>().context("no size")?;
    let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*size).into()).context("cut off")?;
    *bytes = rest;
    Ok(value)
}

/// TPM_PT_MAX_COMMAND_SIZE and _RESPONSE_SIZE by each way, and by the first again.
fn sizes(tpm: &mut Pages<'_, impl Relay>) -> Result<()> {
    let asked = command(GET_CAPABILITY, &[], 0, &[0, 0, 0, 6, 0, 0, 1, 0x1E, 0, 0, 0, 2])?;
    for (answer, told) in
        [(tpm.0.tpm(&asked)?, 4087_u32), (tpm.0.tpm_by_pages(&asked)?, 8192), (tpm.0.tpm(&asked)?, 4087)]
    {
        let values = [answer.get(23..27), answer.get(31..35)];
        ensure!(values == [Some(&told.to_be_bytes()[..]); 2], "{values:02x?} instead of {told}");
    }
    Ok(())
}

/// Whether a signature is one, by public key, message and itself.
type Verify = fn(&[u8], &[u8], &[u8]) -> Result<bool>;

fn signs(tpm: &mut Pages<'_, impl Relay>, kind: (u16, &[u8]), verify: Verify) -> Result<()> {
    let (key, public) = tpm.primary(kind, SIGN)?;
    let answer = tpm.sign(key)?;
    // parameterSize, sigAlg.
    ensure!(answer.get(4..6) == Some(&kind.0.to_be_bytes()), "sigAlg {:02x?}", answer.get(4..6));
    let signature = sized(&mut &answer[6..])?;
    ensure!(verify(&public, MESSAGE, signature)?, "the signature is not one");
    ensure!(!verify(&public, b"another message", signature)?, "whatever is verified");
    tpm.flush(key)
}

/// Both sides of the exchange with the TPM's key: a secret and a ciphertext of the TPM's, then of fips203's.
fn exchanges(tpm: &mut Pages<'_, impl Relay>) -> Result<()> {
    let (key, public) = tpm.primary(ML_KEM_1024, DECRYPT)?;
    let (secret, ciphertext) = encapsulate(tpm, key)?;
    ensure!(decapsulate(tpm, key, &ciphertext)? == secret, "the TPM's own secret is another one");
    let public = ml_kem_1024::EncapsKey::try_from_bytes(public.as_slice().try_into()?).map_err(anyhow::Error::msg)?;
    let (secret, ciphertext) = public.encaps_from_seed(&[7; 32]);
    let (secret, ciphertext) = (secret.into_bytes(), ciphertext.into_bytes());
    ensure!(decapsulate(tpm, key, &ciphertext)? == secret, "the secret of fips203 is another one");
    tpm.flush(key)
}

/// The TPM has only the public part.
fn of_others(tpm: &mut Pages<'_, impl Relay>) -> Result<()> {
    let (public_key, private_key) = ml_kem_1024::KG::keygen_from_seed([1; 32], [2; 32]);
    // decrypt, userWithAuth.
    let area = public(ML_KEM_1024.0, 0x2_0040, ML_KEM_1024.1, &public_key.into_bytes())?;
    let loaded = tpm.run(LOAD_EXTERNAL, &[], 0, &[&[0, 0][..], &area, &NULL.to_be_bytes()].concat())?;
    let key = u32::from_be_bytes(*loaded.first_chunk().context("no handle")?);
    let (secret, ciphertext) = encapsulate(tpm, key)?;
    let ciphertext = ml_kem_1024::CipherText::try_from_bytes(ciphertext.as_slice().try_into()?);
    let opened = private_key.try_decaps(&ciphertext.map_err(anyhow::Error::msg)?).map_err(anyhow::Error::msg)?;
    ensure!(opened.into_bytes() == *secret, "the TPM's secret is another one");
    tpm.flush(key)
}

fn encapsulate(tpm: &mut Pages<'_, impl Relay>, key: u32) -> Result<(Vec<u8>, Vec<u8>)> {
    let answer = tpm.run(ENCAPSULATE, &[key], 0, &[])?;
    let mut rest = &answer[..];
    let (secret, ciphertext) = (sized(&mut rest)?.to_vec(), sized(&mut rest)?.to_vec());
    ensure!((secret.len(), ciphertext.len()) == (32, 1568), "{} and {} octets", secret.len(), ciphertext.len());
    Ok((secret, ciphertext))
}

fn decapsulate(tpm: &mut Pages<'_, impl Relay>, key: u32, ciphertext: &[u8]) -> Result<Vec<u8>> {
    let parameters = [&u16::try_from(ciphertext.len())?.to_be_bytes(), ciphertext].concat();
    let answer = tpm.run(DECAPSULATE, &[key], 1, &parameters)?;
    Ok(sized(&mut answer.get(4..).context("no secret")?)?.to_vec())
}

/// The key and the sequence are the same; only the last command comes the other way. Then it comes by the list.
fn in_one_page(tpm: &mut Pages<'_, impl Relay>) -> Result<()> {
    let (key, _) = tpm.primary(ML_DSA_87, SIGN)?;
    let (sequence, complete) = tpm.signing(key)?;
    let request = command(SIGN_SEQUENCE_COMPLETE, &[sequence, key], 2, &complete)?;
    let answer = tpm.0.tpm(&request)?;
    ensure!(answer.get(6..10) == Some(&COMMAND_SIZE.to_be_bytes()), "{:02x?}", answer.get(..10));
    let answer = tpm.0.tpm_by_pages(&request)?;
    ensure!(answer.get(6..10) == Some(&[0; 4]) && answer.len() > 4627, "{:02x?}", answer.get(..10));
    tpm.flush(key)
}
