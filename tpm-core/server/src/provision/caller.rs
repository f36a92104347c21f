//! What a manufacturer says to its TPM: commands with empty passwords.

use super::keys::sized;
use crate::engine::Engine;
use anyhow::{Context, Result, bail, ensure};
use core::fmt;
use tpm_codes::AlgId;
use tpm_core::cc;
use tpm_core::profile::{NV_BUFFER_MAX, PCR_BANKS};
use tpm_ports::Backend;

pub(super) const OWNER: u32 = 0x4000_0001;
pub(super) const ENDORSEMENT: u32 = 0x4000_000b;
pub(super) const PLATFORM: u32 = 0x4000_000c;

/// TPMA_NV of a certificate (EK Credential Profile, 2.2.1): PPWRITE, WRITEDEFINE, PPREAD, OWNERREAD, AUTHREAD, NO_DA,
/// PLATFORMCREATE.
const CERTIFICATE: u32 = 1 | 1 << 13 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 25 | 1 << 30;
/// TPMA_NV_WRITTEN
const WRITTEN: u32 = 1 << 29;

/// A TPM that is told what to do.
pub(super) struct Caller<'a>(pub(super) &'a mut Engine);

/// A response code that is no success.
#[derive(Debug)]
pub(super) struct Refused {
    command: u32,
    pub(super) code: u32,
}

impl core::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = cc::ALL.iter().find(|(code, _)| *code == self.command).map_or("a command", |(_, name)| name);
        write!(f, "TPM_CC_{name} is refused with {:#x}", self.code)
    }
}

impl Refused {
    /// `TPM_RC_BAD_AUTH` or `TPM_RC_AUTH_FAIL`, wherever: the password is not empty.
    pub(super) fn is_password(&self) -> bool {
        const BAD_AUTH: u32 = 0xa2;
        const AUTH_FAIL: u32 = 0x8e;
        [BAD_AUTH, AUTH_FAIL].contains(&(self.code & 0xbf))
    }

    /// `TPM_RC_HANDLE`: there is nothing there.
    fn is_handle(&self) -> bool {
        self.code & 0xbf == 0x8b
    }
}

/// An NV Index.
pub(super) struct Index {
    attributes: u32,
    size: u16,
}

impl Caller<'_> {
    /// What follows the header of the response, without parameterSize and the authorization area. All `handles` are
    /// authorized that are in front; `rest` is not.
    fn say(&mut self, command: u32, handles: &[u32], rest: &[u32], parameters: &[u8]) -> Result<Vec<u8>> {
        const PASSWORD: [u8; 9] = [0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let mut body: Vec<u8> = handles.iter().chain(rest).flat_map(|handle| handle.to_be_bytes()).collect();
        let area = PASSWORD.repeat(handles.len());
        if !area.is_empty() {
            body.extend(u32::try_from(area.len())?.to_be_bytes());
            body.extend(area);
        }
        body.extend(parameters);
        let tag: u16 = if handles.is_empty() { 0x8001 } else { 0x8002 };
        let size = u32::try_from(10 + body.len())?;
        let request = [&tag.to_be_bytes()[..], &size.to_be_bytes(), &command.to_be_bytes(), &body].concat();
        let response = self.0.execute(0, &request)?;
        let code = Rest(&response).after(6)?.u32()?;
        if code != 0 {
            bail!(Refused { command, code });
        }
        Ok(Rest(&response).after(10)?.0.to_vec())
    }

    /// TPM2_CreatePrimary: the handle, and TPMT_PUBLIC.
    pub(super) fn create_primary(&mut self, hierarchy: u32, template: &[u8]) -> Result<(u32, Vec<u8>)> {
        let parameters = [&sized(&[0; 4]), &sized(template), &[0; 6][..]].concat();
        let said = self.say(cc::CREATE_PRIMARY, &[hierarchy], &[], &parameters)?;
        let mut rest = Rest(&said);
        let handle = rest.u32()?;
        rest.u32()?;
        Ok((handle, rest.sized()?.to_vec()))
    }

    pub(super) fn flush(&mut self, handle: u32) -> Result<()> {
        self.say(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes()).map(drop)
    }

    /// TPMT_PUBLIC of what is at a handle.
    pub(super) fn public(&mut self, handle: u32) -> Result<Option<Vec<u8>>> {
        match self.say(cc::READ_PUBLIC, &[], &[handle], &[]) {
            Ok(said) => Ok(Some(Rest(&said).sized()?.to_vec())),
            Err(error) if is_nothing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// TPM2_EvictControl: a transient object becomes persistent, or a persistent one is gone.
    pub(super) fn evict(&mut self, object: u32, handle: u32) -> Result<()> {
        self.say(cc::EVICT_CONTROL, &[OWNER], &[object], &handle.to_be_bytes()).map(drop)
    }

    pub(super) fn index(&mut self, index: u32) -> Result<Option<Index>> {
        let said = match self.say(cc::NV_READ_PUBLIC, &[], &[index], &[]) {
            Ok(said) => said,
            Err(error) if is_nothing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut rest = Rest(&said).after(2 + 4 + 2)?;
        let attributes = rest.u32()?;
        rest.sized()?;
        Ok(Some(Index { attributes, size: rest.u16()? }))
    }

    /// The contents of an Index, by the platform, or where that may not by the owner; None if it was never written.
    pub(super) fn read(&mut self, index: u32, known: &Index) -> Result<Option<Vec<u8>>> {
        if known.attributes & WRITTEN == 0 {
            return Ok(None);
        }
        let by = if known.attributes & 1 << 16 != 0 { PLATFORM } else { OWNER };
        let mut contents = Vec::new();
        while contents.len() < usize::from(known.size) {
            let size = u16::try_from((usize::from(known.size) - contents.len()).min(NV_BUFFER_MAX))?;
            let parameters = [size.to_be_bytes(), u16::try_from(contents.len())?.to_be_bytes()].concat();
            let said = self.say(cc::NV_READ, &[by], &[index], &parameters)?;
            contents.extend(Rest(&said).after(4)?.sized()?);
        }
        Ok(Some(contents))
    }

    pub(super) fn undefine(&mut self, index: u32) -> Result<()> {
        self.say(cc::NV_UNDEFINE_SPACE, &[PLATFORM], &[index], &[]).map(drop)
    }

    /// Defines an Index for a certificate, and writes it.
    pub(super) fn write(&mut self, index: u32, contents: &[u8]) -> Result<()> {
        let size = u16::try_from(contents.len()).context("the certificate is too long")?.to_be_bytes();
        let name_alg = AlgId::SHA256.0.to_be_bytes();
        let public = [&index.to_be_bytes()[..], &name_alg, &CERTIFICATE.to_be_bytes(), &[0; 2], &size].concat();
        self.say(cc::NV_DEFINE_SPACE, &[PLATFORM], &[], &[&[0; 2][..], &sized(&public)].concat())?;
        for (n, part) in contents.chunks(NV_BUFFER_MAX).enumerate() {
            let offset = u16::try_from(n * NV_BUFFER_MAX)?.to_be_bytes();
            self.say(cc::NV_WRITE, &[PLATFORM], &[index], &[&sized(part)[..], &offset].concat())?;
        }
        Ok(())
    }

    /// TPM2_PCR_Allocate: all PCR in these banks, none in others.
    pub(super) fn allocate(&mut self, banks: &[AlgId]) -> Result<()> {
        let there: Vec<AlgId> = PCR_BANKS.into_iter().filter(|bank| bank.on().is_some()).collect();
        let mut list = u32::try_from(there.len())?.to_be_bytes().to_vec();
        for bank in there {
            list.extend(bank.0.to_be_bytes());
            list.extend([3].into_iter().chain([if banks.contains(&bank) { 0xff } else { 0 }; 3]));
        }
        let said = self.say(cc::PCR_ALLOCATE, &[PLATFORM], &[], &list)?;
        ensure!(Rest(&said).after(4)?.take(1)? == [1], "the TPM does not allocate these PCR banks");
        Ok(())
    }

    /// TPM2_NV_WriteLock: it can be written no more, but undefined.
    pub(super) fn lock(&mut self, index: u32) -> Result<()> {
        self.say(cc::NV_WRITE_LOCK, &[PLATFORM], &[index], &[]).map(drop)
    }
}

fn is_nothing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(Refused::is_handle)
}

/// What is left of a response.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let split = self.0.split_at_checked(n);
        ensure!(split.is_some(), "the TPM's response is too short");
        let (head, tail) = split.unwrap_or_default();
        self.0 = tail;
        Ok(head)
    }

    pub(super) fn after(mut self, n: usize) -> Result<Self> {
        self.take(n)?;
        Ok(self)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.take(2)?.try_into()?))
    }

    /// The contents of a TPM2B.
    pub(super) fn sized(&mut self) -> Result<&'a [u8]> {
        let size = self.u16()?;
        self.take(size.into())
    }
}
