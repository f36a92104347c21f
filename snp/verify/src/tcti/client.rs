//! The few TPM commands that evidence needs (TPM 2.0 Library, Part 3), written and read by hand.

use super::Transport;
use crate::evidence::credential::Challenge;
use crate::evidence::event_log::digest;
use crate::evidence::template;
use crate::evidence::wire::{PCR_COUNT, Public, RH_ENDORSEMENT, Reader, alg, sha256_selection, tpm2b};
use anyhow::{Context, Result, bail, ensure};

const ST_NO_SESSIONS: u16 = 0x8001;
const ST_SESSIONS: u16 = 0x8002;
const RH_OWNER: u32 = 0x4000_0001;
const RH_NULL: u32 = 0x4000_0007;
/// `TPM_RS_PW`: authorization by password; here always the empty one.
const RS_PW: u32 = 0x4000_0009;
/// `TPM_SE_POLICY`.
const SE_POLICY: u8 = 1;
/// `TPM_RC_INITIALIZE`: `TPM2_Startup` was not needed.
const RC_INITIALIZE: u32 = 0x100;

/// Octets of an NV Index that are read at once: every TPM gives so many.
const NV_CHUNK: u16 = 512;
/// No NV Index is longer.
const MAX_NV: u16 = 8192;

/// Command codes, `TPM_CC` (Part 2, 6.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Command {
    CreatePrimary = 0x131,
    PcrEvent = 0x13C,
    Startup = 0x144,
    ActivateCredential = 0x147,
    NvRead = 0x14E,
    PolicySecret = 0x151,
    Quote = 0x158,
    FlushContext = 0x165,
    NvReadPublic = 0x169,
    PolicyOr = 0x171,
    ReadPublic = 0x173,
    StartAuthSession = 0x176,
    PcrRead = 0x17E,
}

/// A TPM behind a transport.
pub struct Tpm<'a> {
    transport: &'a mut dyn Transport,
}

/// What a command has returned.
struct Response {
    handle: u32,
    parameters: Vec<u8>,
}

/// A signed quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// `TPMS_ATTEST`.
    pub attest: Vec<u8>,
    /// `TPMT_SIGNATURE`.
    pub signature: Vec<u8>,
}

impl<'a> Tpm<'a> {
    /// Talks to the TPM behind `transport`.
    pub fn new(transport: &'a mut dyn Transport) -> Self {
        Self { transport }
    }

    /// `TPM2_Startup(TPM_SU_CLEAR)`, unless it was done already.
    pub fn startup(&mut self) -> Result<()> {
        let response = self.exchange(Command::Startup, &[], &[], &[0, 0])?;
        match code(&response)? {
            0 | RC_INITIALIZE => Ok(()),
            rc => bail!("TPM2_Startup: response code {rc:#05x}"),
        }
    }

    /// `TPM2_CreatePrimary` in the endorsement hierarchy; gives the handle and the `TPMT_PUBLIC`.
    pub fn create_primary(&mut self, template: &Public) -> Result<(u32, Vec<u8>)> {
        let sensitive = tpm2b(&[tpm2b(&[]), tpm2b(&[])].concat());
        let no_pcrs = 0_u32.to_be_bytes();
        let parameters = [sensitive, tpm2b(&template.to_bytes()), tpm2b(&[]), no_pcrs.to_vec()].concat();
        let response = self.run(Command::CreatePrimary, &[RH_ENDORSEMENT], &[RS_PW], &parameters)?;
        let public = Reader::new(&response.parameters).tpm2b()?.to_vec();
        Ok((response.handle, public))
    }

    /// `TPM2_PCR_Event`; gives the banks that were extended, in ascending order.
    pub fn pcr_event(&mut self, pcr: u32, data: &[u8]) -> Result<Vec<u16>> {
        let response = self.run(Command::PcrEvent, &[pcr], &[RS_PW], &tpm2b(data))?;
        let mut reader = Reader::new(&response.parameters);
        let mut banks = Vec::new();
        for _ in 0..reader.u32()? {
            let bank = reader.u16()?;
            let expected = digest(bank, data)?;
            let found = reader.take(expected.len())?;
            ensure!(found == expected, "the TPM hashed the event wrongly");
            banks.push(bank);
        }
        reader.end()?;
        banks.sort_unstable();
        Ok(banks)
    }

    /// All PCRs of the SHA-256 bank. The TPM gives a few at a time (Part 3, 22.4).
    pub fn pcr_read(&mut self) -> Result<[[u8; 32]; PCR_COUNT]> {
        let mut pcrs = [[0; 32]; PCR_COUNT];
        let mut wanted = (1_u32 << PCR_COUNT) - 1;
        while wanted != 0 {
            let response = self.run(Command::PcrRead, &[], &[], &sha256_selection(wanted))?;
            let mut reader = Reader::new(&response.parameters);
            let _update_counter = reader.u32()?;
            let given = selected(&mut reader)? & wanted;
            ensure!(given != 0, "the TPM has no SHA-256 PCRs {wanted:#08x}");
            let count = reader.u32()?;
            ensure!(count == given.count_ones(), "another number of PCRs");
            for (number, pcr) in pcrs.iter_mut().enumerate() {
                if given & (1 << number) != 0 {
                    *pcr = reader.tpm2b()?.try_into().context("PCR size")?;
                }
            }
            reader.end()?;
            wanted &= !given;
        }
        Ok(pcrs)
    }

    /// `TPM2_Quote` by `key` over all SHA-256 PCRs, with the key's own scheme.
    pub fn quote(&mut self, key: u32, nonce: &[u8]) -> Result<Quote> {
        let parameters =
            [tpm2b(nonce), alg::NULL.to_be_bytes().to_vec(), sha256_selection((1 << PCR_COUNT) - 1)].concat();
        let response = self.run(Command::Quote, &[key], &[RS_PW], &parameters)?;
        let mut reader = Reader::new(&response.parameters);
        Ok(Quote { attest: reader.tpm2b()?.to_vec(), signature: reader.rest().to_vec() })
    }

    /// `TPM2_ActivateCredential` of the EK profile: the EK is used under a session that satisfies its policy.
    pub fn activate_credential(&mut self, ak: u32, ek: (u32, &Public), challenge: &Challenge) -> Result<Vec<u8>> {
        let session = self.endorsement_session(ek.1)?;
        let parameters = [challenge.blob.as_slice(), &challenge.encrypted_seed].concat();
        let response = self.run(Command::ActivateCredential, &[ak, ek.0], &[RS_PW, session], &parameters)?;
        let mut reader = Reader::new(&response.parameters);
        let credential = reader.tpm2b()?.to_vec();
        reader.end()?;
        Ok(credential)
    }

    /// A policy session that satisfies PolicyA, or PolicyB where the EK has that. It ends with its first use.
    fn endorsement_session(&mut self, ek: &Public) -> Result<u32> {
        let parameters = [
            tpm2b(&[0x5A; 16]),
            tpm2b(&[]),
            vec![SE_POLICY],
            alg::NULL.to_be_bytes().to_vec(),
            ek.name_alg.to_be_bytes().to_vec(),
        ]
        .concat();
        let response = self.run(Command::StartAuthSession, &[RH_NULL, RH_NULL], &[], &parameters)?;
        let session = response.handle;
        // nonceTPM, cpHashA, policyRef and expiration: none.
        let nothing = [0; 2 + 2 + 2 + 4];
        let handles = [RH_ENDORSEMENT, session];
        self.run(Command::PolicySecret, &handles, &[RS_PW], &nothing)?;
        if ek.policy == template::policy_b(ek.name_alg) {
            let branches = template::branches(ek.name_alg);
            let count = u32::try_from(branches.len())?.to_be_bytes();
            let list = branches.iter().flat_map(|branch| tpm2b(branch)).collect();
            self.run(Command::PolicyOr, &[session], &[], &[count.to_vec(), list].concat())?;
        }
        Ok(session)
    }

    /// `TPM2_ReadPublic`; gives the `TPMT_PUBLIC` of a loaded or persistent object.
    pub fn read_public(&mut self, handle: u32) -> Result<Vec<u8>> {
        let response = self.run(Command::ReadPublic, &[handle], &[], &[])?;
        Ok(Reader::new(&response.parameters).tpm2b()?.to_vec())
    }

    /// The contents of an NV Index, read with the owner's authorization or with the Index's own, both empty; `None` if
    /// it is not defined or was never written.
    pub fn nv_read(&mut self, index: u32) -> Result<Option<Vec<u8>>> {
        let response = self.exchange(Command::NvReadPublic, &[index], &[], &[])?;
        if code(&response)? != 0 {
            return Ok(None);
        }
        let response = parse(Command::NvReadPublic, &response)?;
        let public = Reader::new(&response.parameters).tpm2b()?.to_vec();
        let mut reader = Reader::new(&public);
        let (_index, _name_alg, attributes) = (reader.u32()?, reader.u16()?, reader.u32()?);
        let (_policy, size) = (reader.tpm2b()?, reader.u16()?);
        if attributes >> 29 & 1 == 0 {
            return Ok(None);
        }
        ensure!(size <= MAX_NV, "NV Index {index:#x} has {size} octets");
        let contents = self.nv_read_as(RH_OWNER, index, size).or_else(|_| self.nv_read_as(index, index, size));
        contents.map(Some).with_context(|| format!("NV Index {index:#x}"))
    }

    fn nv_read_as(&mut self, who: u32, index: u32, size: u16) -> Result<Vec<u8>> {
        let mut contents = Vec::new();
        while contents.len() < usize::from(size) {
            let offset = u16::try_from(contents.len())?;
            let length = NV_CHUNK.min(size - offset);
            let parameters = [length, offset].map(u16::to_be_bytes).concat();
            let response = self.run(Command::NvRead, &[who, index], &[RS_PW], &parameters)?;
            let mut reader = Reader::new(&response.parameters);
            let part = reader.tpm2b()?;
            ensure!(part.len() == usize::from(length), "{} octets, not {length}", part.len());
            contents.extend(part);
            reader.end()?;
        }
        Ok(contents)
    }

    /// `TPM2_FlushContext`.
    pub fn flush(&mut self, handle: u32) -> Result<()> {
        self.run(Command::FlushContext, &[], &[], &handle.to_be_bytes()).map(drop)
    }

    fn run(&mut self, command: Command, handles: &[u32], sessions: &[u32], parameters: &[u8]) -> Result<Response> {
        let response = self.exchange(command, handles, sessions, parameters)?;
        let rc = code(&response)?;
        ensure!(rc == 0, "TPM2_{command:?}: response code {rc:#05x}");
        parse(command, &response).with_context(|| format!("response to TPM2_{command:?}"))
    }

    fn exchange(&mut self, command: Command, handles: &[u32], sessions: &[u32], parameters: &[u8]) -> Result<Vec<u8>> {
        let mut body = (command as u32).to_be_bytes().to_vec();
        body.extend(handles.iter().flat_map(|handle| handle.to_be_bytes()));
        if !sessions.is_empty() {
            let area: Vec<u8> = sessions.iter().flat_map(|s| authorization(*s)).collect();
            body.extend(u32::try_from(area.len())?.to_be_bytes());
            body.extend(area);
        }
        body.extend(parameters);
        let tag = if sessions.is_empty() { ST_NO_SESSIONS } else { ST_SESSIONS };
        let size = u32::try_from(2 + 4 + body.len())?;
        let message = [tag.to_be_bytes().as_slice(), &size.to_be_bytes(), &body].concat();
        self.transport.exchange(&message).with_context(|| format!("TPM2_{command:?}"))
    }
}

/// `TPMS_AUTH_COMMAND` with no nonce, continueSession clear and an empty authorization value.
fn authorization(session: u32) -> Vec<u8> {
    let mut area = session.to_be_bytes().to_vec();
    area.extend([0, 0, 0, 0, 0]);
    area
}

/// The response code, after a look at the header (Part 1, 18.9).
fn code(response: &[u8]) -> Result<u32> {
    let mut reader = Reader::new(response);
    let (tag, size, rc) = (reader.u16()?, reader.u32()?, reader.u32()?);
    ensure!(
        size as usize == response.len() && matches!(tag, ST_NO_SESSIONS | ST_SESSIONS | 0x00C4),
        "a response with tag {tag:#06x} and size {size} in {} bytes",
        response.len()
    );
    Ok(rc)
}

fn parse(command: Command, response: &[u8]) -> Result<Response> {
    let mut reader = Reader::new(response);
    let tag = reader.u16()?;
    reader.take(8)?;
    let handle = match command {
        Command::CreatePrimary | Command::StartAuthSession => reader.u32()?,
        _ => 0,
    };
    let parameters = if tag == ST_SESSIONS {
        let size = reader.u32()?;
        reader.take(size as usize)?
    } else {
        reader.rest()
    };
    Ok(Response { handle, parameters: parameters.to_vec() })
}

/// Reads a `TPML_PCR_SELECTION` of at most the SHA-256 bank as a bitmap.
fn selected(reader: &mut Reader<'_>) -> Result<u32> {
    let mut bitmap = 0;
    for _ in 0..reader.u32()? {
        let bank = reader.u16()?;
        ensure!(bank == alg::SHA256, "PCRs of bank {bank:#06x}");
        let size = reader.u8()?;
        for (byte, bits) in reader.take(size.into())?.iter().enumerate() {
            ensure!(byte < 4, "PCR bitmap of {size} bytes");
            bitmap |= u32::from(*bits) << (8 * byte);
        }
    }
    Ok(bitmap)
}
