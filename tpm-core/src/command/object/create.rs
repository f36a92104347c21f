//! TPM2_Create (Part 3, 12.1).

use crate::command::area::{User, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter, ReadOnly};
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::object::create::{Creation, Environment, Fresh, create, object_auth};
use crate::operation::object::template;
use crate::rc::{Fmt1, Rc};
use crate::wire::{
    CreationData, Data, DhObject, Named, PcrSelection, Private, Public, SensitiveCreate, Sized2b, Ticket,
};

pub(crate) struct Create;

handles! { pub(crate) struct Handles { parent: User<DhObject> } }
params! {
    pub(crate) struct Params<'a> {
        sensitive: Sized2b<SensitiveCreate<'a>>,
        public: Sized2b<Named>,
        outside_info: Data<'a>,
        creation_pcr: PcrSelection,
    }
}
reply! {
    pub(crate) struct Answer {
        private: Private,
        public: Sized2b<Public>,
        creation_data: Sized2b<CreationData>,
        creation_hash: Digest,
        creation_ticket: Ticket,
    }
}

impl Command for Create {
    const CODE: u32 = 0x153;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Template;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = Answer;

    /// - `TYPE` at `parent`: no storage key
    /// - `OBJECT_MEMORY`: no slot to make it in
    /// - at `public`: what [`template::check_creation`] says
    /// - `SIZE` at `sensitive`: userAuth is longer than nameAlg's digests
    /// - what [`create`] says
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<Answer, Rc> {
        let handle = h.parent.handle();
        let parent = tpm.object(handle).filter(|p| p.is_parent()).ok_or(Fmt1::TYPE.at(Handles::parent))?;
        tpm.ram.room_for_object()?;
        let (template, sensitive) = (p.public.0.0, p.sensitive.0);
        let data = sensitive.data.0;
        template::check_creation(Some(parent), &template, data.len()).map_err(|e| e.at(Params::public))?;
        let auth = object_auth(sensitive.user_auth.0, template.name_alg).ok_or(Fmt1::SIZE.at(Params::sensitive))?;
        let (public, sensitive) = create(&mut Fresh(&mut tpm.drbg, call.canceled), &template, auth, data)?;
        let object = tpm.new_object(handle, public, None);
        let environment = Environment {
            parent: handle,
            outside_info: p.outside_info.0,
            pcr: &p.creation_pcr,
            locality: call.locality,
        };
        let Creation { data, hash, ticket } = tpm.creation(&environment, &object)?;
        Ok(Answer {
            private: tpm.protect(handle, &object.public, &object.name, &sensitive)?,
            public: Sized2b(object.public),
            creation_data: Sized2b(data),
            creation_hash: hash,
            creation_ticket: ticket,
        })
    }
}
