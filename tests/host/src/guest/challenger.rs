//! The challenger on the serial port: gives nonces and a credential to the guest's `init`, and gathers what the guest
//! says and sends.
//!
//! A line that begins with `@` is for it: `@userland SECONDS`, `@nonces` (answered by a nonce in base64 and one in
//! hexadecimal), `@challenge` (answered by the credential in base64), `@policy` (answered by the policy that a secret
//! shall be sealed to, in base64), `@stay` (answered by whether its TPM is to move while it runs), `@file NAME`, then
//! base64, then `@end`; what other words say is kept ([`Challenger::said`]). `ok NAME` and `FAIL NAME: why` are
//! results.

use crate::collect::random;
use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use quoin_verify::chip::{ARK_GUID, ASK_GUID, VCEK_GUID, certificate};
use quoin_verify::digest::hex;
use quoin_verify::evidence::boot_log::BootLog;
use quoin_verify::evidence::credential;
use quoin_verify::evidence::event_log::{Event, EventLog};
use quoin_verify::evidence::folder::Evidence;
use quoin_verify::evidence::template;
use quoin_verify::evidence::wire::Public;
use quoin_verify::tcti::gather::fill;
use std::collections::BTreeMap;

/// No line of a guest is longer than this.
const MAX_LINE: usize = 64 * 1024;
/// No file of a guest has more characters than this in base64: no evidence file is longer than 64 KiB.
const MAX_FILE: usize = 96 * 1024;
/// What tpm2-tools put before a credential's two structures: a magic number and a version.
const CREDENTIAL_HEAD: [u8; 8] = [0xBA, 0xDC, 0xC0, 0xDE, 0, 0, 0, 1];

/// A result: the name, and why it failed.
pub type Checked = (String, Option<String>);

/// One conversation.
#[derive(Debug)]
pub struct Challenger {
    secrets: credential::Secrets,
    nonce: [u8; 64],
    quote_nonce: [u8; 32],
    policy: Vec<u8>,
    stays: bool,
    challenge: Option<credential::Challenge>,
    line: Vec<u8>,
    file: Option<(String, String)>,
    files: BTreeMap<String, Vec<u8>>,
    /// What other lines with `@` said, by their first word.
    pub said: BTreeMap<String, String>,
    /// Seconds from the kernel's start to userland.
    pub userland: Option<String>,
    /// What the guest has tried.
    pub checks: Vec<Checked>,
    /// The guest's last line of results.
    pub total: Option<String>,
    /// Everything that the guest has written.
    pub transcript: String,
}

impl Challenger {
    /// With fresh random values.
    pub fn new() -> Result<Self> {
        Ok(Self {
            secrets: credential::Secrets::random(&template::ek_rsa_2048(), fill)?,
            nonce: random()?,
            quote_nonce: random()?,
            policy: Vec::new(),
            stays: false,
            challenge: None,
            line: Vec::new(),
            file: None,
            files: BTreeMap::new(),
            said: BTreeMap::new(),
            userland: None,
            checks: Vec::new(),
            total: None,
            transcript: String::new(),
        })
    }

    /// With a policy for what the guest seals.
    pub fn with_policy(self, policy: &[u8]) -> Self {
        Self { policy: policy.to_vec(), ..self }
    }

    /// Whose guest uses its TPM until that has moved.
    pub fn staying(self) -> Self {
        Self { stays: true, ..self }
    }

    /// Takes what the guest has written; gives what to answer, which may be nothing.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut answer = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                ensure!(self.line.len() < MAX_LINE, "the guest writes a line of more than {MAX_LINE} characters");
                self.line.push(*byte);
                continue;
            }
            let line = core::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.transcript.push_str(&line);
            self.transcript.push('\n');
            answer.extend(self.heard(&line)?);
        }
        Ok(answer)
    }

    fn heard(&mut self, line: &str) -> Result<Vec<u8>> {
        if let Some((name, text)) = &mut self.file {
            if line == "@end" {
                let bytes = Base64::decode_vec(text).map_err(|_| anyhow::anyhow!("{name} is no base64"))?;
                self.files.insert(name.clone(), bytes);
                self.file = None;
            } else {
                ensure!(text.len() < MAX_FILE, "the guest's file {name} has more than {MAX_FILE} characters");
                text.push_str(line);
            }
            return Ok(Vec::new());
        }
        match line.split_once(' ').unwrap_or((line, "")) {
            ("@userland", seconds) => self.userland = Some(seconds.to_owned()),
            ("@file", name) => self.file = Some((name.to_owned(), String::new())),
            ("@nonces", _) => {
                let text = format!("{}\n{}\n", Base64::encode_string(&self.nonce), hex(&self.quote_nonce));
                return Ok(text.into_bytes());
            }
            ("@challenge", _) => return self.challenge(),
            ("@policy", _) => return Ok(format!("{}\n", Base64::encode_string(&self.policy)).into_bytes()),
            ("@stay", _) => {
                self.said.insert("@stay".to_owned(), self.stays.to_string());
                return Ok(if self.stays { b"yes\n".into() } else { b"no\n".into() });
            }
            ("ok", name) => self.checks.push((name.to_owned(), None)),
            ("FAIL", text) => {
                let (name, why) = text.split_once(": ").unwrap_or((text, ""));
                self.checks.push((name.to_owned(), Some(why.to_owned())));
            }
            (word, text) if word.starts_with('@') => {
                self.said.insert(word.to_owned(), text.to_owned());
            }
            _ if line.contains(" passed, ") => self.total = Some(line.to_owned()),
            _ => {}
        }
        Ok(Vec::new())
    }

    /// A file that the guest has sent.
    pub fn file(&self, name: &str) -> Result<Vec<u8>> {
        self.files.get(name).cloned().with_context(|| format!("the guest has not sent {name}"))
    }

    /// The challenge in the form that tpm2-tools read. A guest that has sent no key gets an empty line, and fails by
    /// its own word.
    fn challenge(&mut self) -> Result<Vec<u8>> {
        let (Ok(ek), Ok(ak)) = (self.file("ek.pub"), self.file("ak.pub")) else { return Ok(b"\n".to_vec()) };
        let ek = Public::parse_tpm2b(&ek)?;
        let made = credential::make(&ek, &Public::parse_tpm2b(&ak)?.name(), &self.secrets)?;
        let file = [CREDENTIAL_HEAD.as_slice(), &made.blob, &made.encrypted_seed].concat();
        self.challenge = Some(made);
        Ok(format!("{}\n", Base64::encode_string(&file)).into_bytes())
    }

    /// The evidence; `measurement` is the launch digest that the report should show.
    pub fn evidence(&self, measurement: &[u8; 48]) -> Result<Evidence> {
        let challenge = self.challenge.as_ref().context("the guest has not asked for a challenge")?;
        let certificates = self.file("certificates.bin")?;
        let ak = self.file("ak.pub")?;
        let ak_name = Public::parse_tpm2b(&ak)?.name();
        let boot_events = self.file("boot-events.bin")?;
        let events = [Event::of_report(&self.nonce), Event::of_key(&ak_name)].into();
        let log = EventLog { banks: BootLog::parse(&boot_events)?.banks(), events };
        Ok(Evidence {
            report: self.file("report.bin")?,
            ark: certificate(&certificates, ARK_GUID)?.to_vec(),
            ask: certificate(&certificates, ASK_GUID)?.to_vec(),
            vcek: certificate(&certificates, VCEK_GUID)?.to_vec(),
            certificates,
            manifest: self.file("manifest.bin")?,
            nonce: self.nonce.to_vec(),
            measurement: measurement.to_vec(),
            ak,
            quote: self.file("quote.msg")?,
            quote_signature: self.file("quote.sig")?,
            quote_nonce: self.quote_nonce.to_vec(),
            pcrs: self.file("pcrs.bin")?,
            events: log.to_bytes()?,
            ak_name,
            credential: self.secrets.credential.clone(),
            seed: self.secrets.seed.clone(),
            oaep_seed: self.secrets.oaep_seed.clone(),
            blob: challenge.blob.clone(),
            encrypted_seed: challenge.encrypted_seed.clone(),
            answer: self.file("credential/answer")?,
            boot_events,
            ima: self.files.get("ima.bin").cloned().unwrap_or_default(),
            ..Evidence::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Challenger;

    #[test]
    fn results_and_files_are_taken_from_lines_that_come_in_pieces() {
        let mut challenger = Challenger::new().unwrap();
        assert!(challenger.take(b"@userland 9.8\r\nok one\r\nFAIL tw").unwrap().is_empty());
        assert!(
            challenger
                .take(b"o: why: so\r\n@file a.bin\r\naGVs\r\nbG8=\r\n@end\r\n1 passed, 1 failed\r\n")
                .unwrap()
                .is_empty()
        );
        let expected = [("one".to_owned(), None), ("two".to_owned(), Some("why: so".to_owned()))];
        assert_eq!(challenger.checks, expected);
        assert_eq!(challenger.file("a.bin").unwrap(), b"hello");
        assert_eq!(challenger.total.as_deref(), Some("1 passed, 1 failed"));
        assert_eq!(challenger.userland.as_deref(), Some("9.8"));
        assert!(challenger.evidence(&[0; 48]).is_err());
    }

    #[test]
    fn nonces_are_two_lines_and_a_challenge_without_keys_is_empty() {
        let mut challenger = Challenger::new().unwrap();
        let answer = String::from_utf8(challenger.take(b"@nonces\r\n").unwrap()).unwrap();
        assert_eq!(answer.lines().map(str::len).collect::<Vec<_>>(), [88, 64]);
        assert_eq!(challenger.take(b"@challenge\r\n").unwrap(), b"\n");
        let mut challenger = challenger.with_policy(&[0; 32]);
        assert_eq!(challenger.take(b"@policy\r\n").unwrap().len(), 45);
    }
}
