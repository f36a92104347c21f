//! The client's side of the relay protocol (docs/boot.md, "Relay"): what the host asks of the payload at VMPL2 over the
//! second serial port.
//!
//! [`Relay`] is what evidence collection, the TPM server and the suites are written against; [`SerialRelay`] speaks it
//! over any byte stream.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};

/// What the payload sends once, when it is ready for requests.
pub const GREETING: &[u8; 4] = b"QGST";
/// The payload's own limit for a request's payload, in bytes.
pub const MAX_REQUEST: usize = 64 * 1024;
/// More than any answer can have, in bytes: a length beyond it means that the two sides have lost each other.
const MAX_ANSWER: usize = 1024 * 1024;

/// Which call of the SVSM attestation protocol is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttestCall {
    /// `SVSM_ATTEST_SERVICES` (0): the manifest of all services.
    Services,
    /// `SVSM_ATTEST_SINGLE_SERVICE` (1): the manifest of the service with this GUID, as its 16 bytes lie in memory
    /// (mixed endian).
    Single([u8; 16]),
}

/// What an attestation call has given: RAX and the three areas, as long as the firmware said they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The SVSM result code; the areas are empty or meaningless unless it is 0.
    pub rax: u64,
    /// The attestation report, 1184 bytes.
    pub report: Vec<u8>,
    /// The manifest that the report's REPORT_DATA covers.
    pub manifest: Vec<u8>,
    /// The GHCB certificate table; empty when the host has none.
    pub certificates: Vec<u8>,
}

/// What two vCPUs do at once; the numbers are the payload's (tests/guest/src/two.rs).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Work {
    /// The pending byte changes during a call.
    CallingArea,
    /// A TPM command's request changes.
    Mailbox,
    /// A PVALIDATE list changes.
    List,
    /// An attestation's operation changes.
    Attestation,
    /// A register state changes while it is created.
    RegisterState,
    /// Both send TPM commands, and pages come and go.
    Traffic,
    /// One passes a page to the host and back; the other does nothing.
    PassAlone,
    /// One does so as long as the other makes so many RSA keys.
    PassBesideKeys,
    /// A page is deposited and withdrawn while it changes, or the list.
    Deposits,
    /// The list of pages of a TPM command changes.
    PageList,
}

/// The registers of an SVSM call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the registers")]
pub struct SvsmRegisters {
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub r8: u64,
    pub r9: u64,
}

/// The requests that the payload at VMPL2 serves.
///
/// Every method fails when the stream does, or when the payload answers with a status other than "done"; an SVSM result
/// code other than 0 is an error only where no place is left to return it ([`Relay::tpm`]).
pub trait Relay {
    /// Sends one TPM command through the calling area and gives the TPM's response.
    fn tpm(&mut self, command: &[u8]) -> Result<Vec<u8>>;
    /// The same through a list of pages, which carries 8,192 octets each way.
    fn tpm_by_pages(&mut self, command: &[u8]) -> Result<Vec<u8>>;
    /// Makes an attestation call with `nonce` (at most 255 bytes); `version` is the manifest version, for a single
    /// service.
    fn attest(&mut self, call: AttestCall, version: u32, nonce: &[u8]) -> Result<Attestation>;
    /// Lets the payload try what a hostile guest would, and gives its text, a line per attempt.
    fn selftest(&mut self) -> Result<String>;
    /// Has the payload try what ends all its calls; gives the text of it.
    fn last_selftest(&mut self) -> Result<String>;
    /// Lets two vCPUs work at once, so many times; gives the text of it.
    fn two_vcpus(&mut self, work: Work, count: u32) -> Result<String>;
    /// Has the payload create vCPUs of wrong register states, or under a host that lies; gives the text of it.
    fn register_states(&mut self, what: &RegisterStates) -> Result<String>;
    /// What the payload finds of the APIC protocol, a line each.
    fn apic(&mut self) -> Result<String>;
    /// Makes any SVSM call; gives the registers after it and the pending byte of the calling area, 0 when the firmware
    /// took the call.
    fn svsm(&mut self, registers: SvsmRegisters) -> Result<(SvsmRegisters, u8)>;
    /// Has the payload pass a guest message, which is already encrypted, to the secure processor; gives SW_EXITINFO2,
    /// 0 if it was answered, and the page for the answer.
    fn guest_message(&mut self, message: &[u8]) -> Result<(u64, Vec<u8>)>;
    /// Writes `bytes` to the payload's private memory at `gpa`.
    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<()>;
    /// Reads `length` bytes of the payload's private memory at `gpa`.
    fn read(&mut self, gpa: u64, length: u32) -> Result<Vec<u8>>;
}

/// What is done with register states.
#[derive(Debug, Clone)]
pub enum RegisterStates {
    /// Each bit from the first up to the second number is flipped, one in so many.
    Flipped(u32, u32, u32),
    /// One after the other is created; of each, what the host makes of it, and the last octet of what DELETE_VCPU
    /// answers (tests/guest/src/states.rs).
    Created(Vec<(u8, u8)>),
}

/// Kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Tpm = 1,
    Attest = 2,
    Selftest = 3,
    Svsm = 4,
    Write = 5,
    Read = 6,
    TwoVcpus = 7,
    RegisterStates = 8,
    TpmByPages = 9,
    GuestMessage = 10,
}

/// The relay over a byte stream, such as the unix socket behind QEMU's second serial port.
#[derive(Debug)]
pub struct SerialRelay<S> {
    stream: S,
}

impl<S: Read + Write> SerialRelay<S> {
    /// Waits for the payload's greeting on `stream`; whatever comes before it is skipped.
    pub fn connect(mut stream: S) -> Result<Self> {
        let mut last = [0_u8; 4];
        while &last != GREETING {
            last.rotate_left(1);
            stream
                .read_exact(&mut last[3..])
                .context("the payload at VMPL2 did not greet: it was not started, or it has stopped")?;
        }
        Ok(Self { stream })
    }

    /// Takes a stream on which the greeting was seen already.
    pub const fn new(stream: S) -> Self {
        Self { stream }
    }

    fn request(&mut self, kind: Kind, payload: &[u8]) -> Result<Vec<u8>> {
        ensure!(
            payload.len() <= MAX_REQUEST,
            "a request's payload has at most {MAX_REQUEST} bytes, not {}",
            payload.len()
        );
        let mut message = Vec::with_capacity(5 + payload.len());
        message.push(kind as u8);
        message.extend(u32::try_from(payload.len())?.to_le_bytes());
        message.extend(payload);
        self.stream.write_all(&message).context("the payload at VMPL2 takes no more requests")?;
        self.stream.flush()?;
        self.answer(kind)
    }

    fn response(&mut self, kind: Kind, command: &[u8]) -> Result<Vec<u8>> {
        let mut answer = Answer(self.request(kind, command)?);
        let rax = answer.u64()?;
        ensure!(rax == 0, "SVSM_VTPM_CMD: {}", result_name(rax));
        Ok(answer.0)
    }

    fn answer(&mut self, kind: Kind) -> Result<Vec<u8>> {
        let mut head = [0_u8; 6];
        self.stream
            .read_exact(&mut head)
            .with_context(|| format!("the payload at VMPL2 gave no answer to {kind:?}"))?;
        ensure!(head[0] == kind as u8, "the payload answered request {kind:?} as if it was kind {}", head[0]);
        let length = u32::from_le_bytes([head[2], head[3], head[4], head[5]]) as usize;
        ensure!(length <= MAX_ANSWER, "the payload announced an answer of {length} bytes");
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).context("the payload's answer ended early")?;
        match head[1] {
            0 => Ok(payload),
            1 => bail!("the payload does not know request {kind:?}"),
            2 => bail!("the payload finds request {kind:?} too long"),
            3 => bail!("the firmware did not take the SVSM call behind {kind:?} (the pending byte stayed 1)"),
            4 => bail!("the payload cannot reach the memory that {kind:?} names"),
            status => bail!("the payload answered {kind:?} with status {status}"),
        }
    }
}

impl<S: Read + Write> Relay for SerialRelay<S> {
    fn tpm(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.response(Kind::Tpm, command)
    }

    fn tpm_by_pages(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.response(Kind::TpmByPages, command)
    }

    fn attest(&mut self, call: AttestCall, version: u32, nonce: &[u8]) -> Result<Attestation> {
        let (number, guid) = match call {
            AttestCall::Services => (0, [0; 16]),
            AttestCall::Single(guid) => (1, guid),
        };
        let mut payload = vec![number];
        payload.extend(guid);
        payload.extend(version.to_le_bytes());
        payload.push(u8::try_from(nonce.len()).context("a nonce has at most 255 bytes here")?);
        payload.extend(nonce);
        let mut answer = Answer(self.request(Kind::Attest, &payload)?);
        let rax = answer.u64()?;
        let lengths = [answer.u32()?, answer.u32()?, answer.u32()?];
        let [report, manifest, certificates] = lengths.map(|length| answer.take(length as usize));
        Ok(Attestation { rax, report: report?, manifest: manifest?, certificates: certificates? })
    }

    fn selftest(&mut self) -> Result<String> {
        String::from_utf8(self.request(Kind::Selftest, &[])?).context("the self-test's text is not UTF-8")
    }

    fn last_selftest(&mut self) -> Result<String> {
        String::from_utf8(self.request(Kind::Selftest, &[1])?).context("the self-test's text is not UTF-8")
    }

    fn apic(&mut self) -> Result<String> {
        String::from_utf8(self.request(Kind::Selftest, &[2])?).context("the text is not UTF-8")
    }

    fn two_vcpus(&mut self, work: Work, count: u32) -> Result<String> {
        let payload = [&[work as u8][..], &count.to_le_bytes()].concat();
        String::from_utf8(self.request(Kind::TwoVcpus, &payload)?).context("the text is not UTF-8")
    }

    fn register_states(&mut self, what: &RegisterStates) -> Result<String> {
        let payload = match what {
            RegisterStates::Flipped(first, last, step) => {
                let numbers = [first, last, step].into_iter().flat_map(|number| number.to_le_bytes());
                core::iter::once(0).chain(numbers).collect::<Vec<u8>>()
            }
            RegisterStates::Created(expected) => {
                core::iter::once(1).chain(expected.iter().flat_map(|(outcome, deleted)| [*outcome, *deleted])).collect()
            }
        };
        String::from_utf8(self.request(Kind::RegisterStates, &payload)?).context("the text is not UTF-8")
    }

    fn svsm(&mut self, registers: SvsmRegisters) -> Result<(SvsmRegisters, u8)> {
        let SvsmRegisters { rax, rcx, rdx, r8, r9 } = registers;
        let payload: Vec<u8> = [rax, rcx, rdx, r8, r9].into_iter().flat_map(u64::to_le_bytes).collect();
        let mut answer = Answer(self.request(Kind::Svsm, &payload)?);
        let after = SvsmRegisters {
            rax: answer.u64()?,
            rcx: answer.u64()?,
            rdx: answer.u64()?,
            r8: answer.u64()?,
            r9: answer.u64()?,
        };
        Ok((after, answer.take(1)?[0]))
    }

    fn guest_message(&mut self, message: &[u8]) -> Result<(u64, Vec<u8>)> {
        let mut answer = Answer(self.request(Kind::GuestMessage, message)?);
        Ok((answer.u64()?, answer.0))
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<()> {
        let payload = [&gpa.to_le_bytes(), bytes].concat();
        self.request(Kind::Write, &payload).map(drop)
    }

    fn read(&mut self, gpa: u64, length: u32) -> Result<Vec<u8>> {
        let payload = [gpa.to_le_bytes().as_slice(), &length.to_le_bytes()].concat();
        self.request(Kind::Read, &payload)
    }
}

/// An answer's payload, taken from its front.
struct Answer(Vec<u8>);

impl Answer {
    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        ensure!(length <= self.0.len(), "the payload's answer is {} bytes short", length - self.0.len());
        let rest = self.0.split_off(length);
        Ok(core::mem::replace(&mut self.0, rest))
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from(self.u32()?) | u64::from(self.u32()?) << 32)
    }
}

/// The SVSM specification's name of a result code.
pub fn result_name(rax: u64) -> String {
    let name = match rax {
        0 => "SVSM_SUCCESS",
        0x8000_0000 => "SVSM_ERR_INCOMPLETE",
        0x8000_0001 => "SVSM_ERR_UNSUPPORTED_PROTOCOL",
        0x8000_0002 => "SVSM_ERR_UNSUPPORTED_CALL",
        0x8000_0003 => "SVSM_ERR_INVALID_ADDRESS",
        0x8000_0004 => "SVSM_ERR_INVALID_FORMAT",
        0x8000_0005 => "SVSM_ERR_INVALID_PARAMETER",
        0x8000_0006 => "SVSM_ERR_INVALID_REQUEST",
        0x8000_0007 => "SVSM_ERR_BUSY",
        _ => return format!("SVSM result {rax:#x}"),
    };
    format!("{name} ({rax:#x})")
}

#[cfg(test)]
mod tests {
    use super::{AttestCall, Relay, SerialRelay, SvsmRegisters, result_name};
    use std::io::{Cursor, Read, Result, Write};

    /// A payload that has its answers ready, and keeps what it was asked.
    struct Scripted {
        answers: Cursor<Vec<u8>>,
        asked: Vec<u8>,
    }

    impl Read for Scripted {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            self.answers.read(buffer)
        }
    }

    impl Write for Scripted {
        fn write(&mut self, buffer: &[u8]) -> Result<usize> {
            self.asked.write(buffer)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn scripted(answers: &[&[u8]]) -> SerialRelay<Scripted> {
        SerialRelay::new(Scripted { answers: Cursor::new(answers.concat()), asked: Vec::new() })
    }

    #[test]
    fn connect_skips_to_the_greeting() {
        let answers = Cursor::new(b"noiseQGQGST\x05\0\0\0\0\0".to_vec());
        let mut relay = SerialRelay::connect(Scripted { answers, asked: Vec::new() }).unwrap();
        relay.write(0x1000, b"x").unwrap();
        assert_eq!(relay.stream.asked, b"\x05\x09\0\0\0\0\x10\0\0\0\0\0\0x");
    }

    #[test]
    fn a_stream_without_greeting_is_an_error() {
        let answers = Cursor::new(b"QGS".to_vec());
        assert!(SerialRelay::connect(Scripted { answers, asked: Vec::new() }).is_err());
    }

    #[test]
    fn tpm_strips_the_result_code() {
        let mut relay = scripted(&[b"\x01\0\x0A\0\0\0", &[0; 8], b"\x80\x01"]);
        assert_eq!(relay.tpm(b"cmd").unwrap(), b"\x80\x01");
        assert_eq!(relay.stream.asked, b"\x01\x03\0\0\0cmd");
    }

    #[test]
    fn tpm_names_a_refusal() {
        let mut relay = scripted(&[b"\x01\0\x08\0\0\0", &0x8000_0005_u64.to_le_bytes()]);
        assert!(relay.tpm(b"cmd").unwrap_err().to_string().contains("INVALID_PARAMETER"));
    }

    #[test]
    fn attest_splits_the_three_areas() {
        let mut relay = scripted(&[b"\x02\0\x1A\0\0\0", &[0; 8], b"\x03\0\0\0\x02\0\0\0\x01\0\0\0", b"RRRMMC"]);
        let attestation = relay.attest(AttestCall::Single([7; 16]), 0, b"nonce").unwrap();
        assert_eq!(
            (attestation.report.as_slice(), attestation.manifest.as_slice()),
            (b"RRR".as_slice(), b"MM".as_slice())
        );
        assert_eq!(attestation.certificates, b"C");
        assert_eq!(relay.stream.asked, [b"\x02\x1B\0\0\0\x01".as_slice(), &[7; 16], b"\0\0\0\0\x05nonce"].concat());
    }

    #[test]
    fn attest_refuses_areas_longer_than_the_answer() {
        let mut relay = scripted(&[b"\x02\0\x14\0\0\0", &[0; 8], b"\x03\0\0\0\x02\0\0\0\x01\0\0\0"]);
        assert!(relay.attest(AttestCall::Services, 0, b"").is_err());
    }

    #[test]
    fn svsm_gives_registers_and_pending_byte() {
        let mut relay = scripted(&[b"\x04\0\x29\0\0\0", &[1, 0, 0, 0, 0, 0, 0, 0], &[0; 32], b"\x01"]);
        let (after, pending) = relay.svsm(SvsmRegisters::default()).unwrap();
        assert_eq!((after.rax, pending), (1, 1));
    }

    #[test]
    fn every_status_but_done_is_an_error() {
        for status in [1, 2, 3, 4, 99] {
            assert!(scripted(&[&[3, status, 0, 0, 0, 0]]).selftest().is_err(), "status {status}");
        }
    }

    #[test]
    fn a_request_that_the_payload_cannot_hold_is_not_sent() {
        let mut relay = scripted(&[]);
        assert!(relay.write(0, &vec![0; super::MAX_REQUEST]).is_err());
        assert!(relay.stream.asked.is_empty());
    }

    #[test]
    fn an_answer_to_another_request_is_an_error() {
        assert!(scripted(&[&[1, 0, 0, 0, 0, 0]]).selftest().is_err());
    }

    #[test]
    fn an_absurd_length_is_an_error() {
        assert!(scripted(&[&[3, 0, 0xFF, 0xFF, 0xFF, 0xFF]]).selftest().unwrap_err().to_string().contains("announced"));
    }

    #[test]
    fn unknown_result_codes_are_shown_in_hexadecimal() {
        assert_eq!(result_name(0x8000_1006), "SVSM result 0x80001006");
    }
}
