//! What is often done with objects in tests.

use super::Fixture;
use client::codes::NULL;
use client::session::Outcome;
use client::tpm2b;
use tpm_core::cc;

pub(crate) use client::attributes::object as a;
pub(crate) use client::command::{handle_of, take_2b};
pub(crate) use client::template::*;

impl Fixture {
    /// TPM2_CreatePrimary with empty authorization.
    pub(crate) fn create_primary(&mut self, hierarchy: u32, template: &Template) -> Outcome {
        self.with(cc::CREATE_PRIMARY, &[hierarchy], &[b""], &creation(b"", b"", template))
    }

    /// The handle of a new Primary Object, and its public area.
    pub(crate) fn primary(&mut self, hierarchy: u32, template: &Template) -> (u32, Vec<u8>) {
        let reply = self.create_primary(hierarchy, template).unwrap();
        (handle_of(&reply), take_2b(&mut &reply[4..]).to_vec())
    }

    /// TPM2_Create below a parent with empty authValue: private and public area.
    pub(crate) fn create(
        &mut self,
        parent: u32,
        auth: &[u8],
        data: &[u8],
        template: &Template,
    ) -> Result<(Vec<u8>, Vec<u8>), u32> {
        let reply = self.with(cc::CREATE, &[parent], &[b""], &creation(auth, data, template))?;
        let rest = &mut &reply[..];
        Ok((take_2b(rest).to_vec(), take_2b(rest).to_vec()))
    }

    /// TPM2_Load below a parent with empty authValue.
    pub(crate) fn load(&mut self, parent: u32, private: &[u8], public: &[u8]) -> Result<u32, u32> {
        self.with(cc::LOAD, &[parent], &[b""], &[tpm2b(private), tpm2b(public)].concat()).map(|r| handle_of(&r))
    }

    /// A new object below a parent, loaded.
    pub(crate) fn child(&mut self, parent: u32, auth: &[u8], data: &[u8], template: &Template) -> u32 {
        let (private, public) = self.create(parent, auth, data, template).unwrap();
        self.load(parent, &private, &public).unwrap()
    }

    /// TPM2_LoadExternal of a public area and perhaps a sensitive one.
    pub(crate) fn load_external(&mut self, sensitive: &[u8], public: &[u8], hierarchy: u32) -> Result<u32, u32> {
        let params = [&tpm2b(sensitive)[..], &tpm2b(public), &hierarchy.to_be_bytes()].concat();
        self.run(cc::LOAD_EXTERNAL, &[], &[], &params).map(|r| handle_of(&r))
    }

    /// An object of the NULL hierarchy from a secret that the test knows, loaded by TPM2_LoadExternal.
    pub(crate) fn known(&mut self, sensitive: &[u8], public: &[u8]) -> u32 {
        self.load_external(sensitive, public, NULL).unwrap()
    }

    /// TPM2_FlushContext.
    pub(crate) fn flush(&mut self, handle: u32) -> Outcome {
        self.run(cc::FLUSH_CONTEXT, &[], &[], &handle.to_be_bytes())
    }

    /// Name of an object.
    pub(crate) fn name(&mut self, handle: u32) -> Vec<u8> {
        let reply = self.run(cc::READ_PUBLIC, &[handle], &[], &[]).unwrap();
        let rest = &mut &reply[..];
        take_2b(rest);
        take_2b(rest).to_vec()
    }
}
