//! TPM2_CreatePrimary (Part 3, 24.1).

use crate::command::area::{User, WithHandle, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter, Presence, ReadOnly};
use crate::crypto::hash::Digest;
use crate::data::tpm::Tpm;
use crate::operation::object::create::{Creation, Environment, Primary, create, object_auth};
use crate::operation::object::template;
use crate::rc::{Fmt1, Rc};
use crate::wire::{
    CreationData, Data, Name, Named, PcrSelection, Public, RhHierarchy, SensitiveCreate, Sized2b, Ticket,
};

pub(crate) struct CreatePrimary;

handles! { pub(crate) struct Handles { primary: User<RhHierarchy> } }
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
        public: Sized2b<Public>,
        creation_data: Sized2b<CreationData>,
        creation_hash: Digest,
        creation_ticket: Ticket,
        name: Name,
    }
}

impl Command for CreatePrimary {
    const CODE: u32 = 0x131;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Template;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = WithHandle<Answer>;

    /// - `OBJECT_MEMORY`: no slot
    /// - at `public`: what [`template::check_creation`] says
    /// - `SIZE` at `sensitive`: userAuth is longer than nameAlg's digests
    /// - what [`create`] says
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<WithHandle<Answer>, Rc> {
        let hierarchy = h.primary.handle();
        tpm.ram.room_for_object()?;
        let (template, sensitive) = (p.public.0.0, p.sensitive.0);
        let data = sensitive.data.0;
        template::check_creation(None, &template, data.len()).map_err(|e| e.at(Params::public))?;
        let auth = object_auth(sensitive.user_auth.0, template.name_alg).ok_or(Fmt1::SIZE.at(Params::sensitive))?;
        let mut source = Primary::new(tpm, hierarchy, &template, data, call.canceled)?;
        let (public, sensitive) = create(&mut source, &template, auth, data)?;
        let object = tpm.new_object(hierarchy, public, Some(sensitive));
        let environment = Environment {
            parent: hierarchy,
            outside_info: p.outside_info.0,
            pcr: &p.creation_pcr,
            locality: call.locality,
        };
        let Creation { data, hash, ticket } = tpm.creation(&environment, &object)?;
        let answer = Answer {
            public: Sized2b(object.public.clone()),
            creation_data: Sized2b(data),
            creation_hash: hash,
            creation_ticket: ticket,
            name: object.name.clone(),
        };
        Ok(WithHandle(tpm.ram.load_object(object)?, answer))
    }
}
