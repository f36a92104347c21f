//! TPM2_CreateLoaded (Part 3, 12.9).

use crate::command::area::{User, WithHandle, handles, params, reply};
use crate::command::call::Call;
use crate::command::interface::{Command, KeyParameter, Presence, ReadOnly};
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::operation::object::create::{Derived, Fresh, Primary, create, object_auth};
use crate::operation::object::template;
use crate::rc::{Fmt1, Rc};
use crate::wire::{
    Derive, DerivedTemplate, DhParent, Handle, Name, ObjectAttributes as A, ObjectType, Parms, Private, Public, Reader,
    Scheme, Sensitive, SensitiveCreate, Sized2b, Tpm2b,
};

pub(crate) struct CreateLoaded;

handles! { pub(crate) struct Handles { parent: User<DhParent> } }
params! {
    pub(crate) struct Params<'a> {
        sensitive: Sized2b<SensitiveCreate<'a>>,
        public: Tpm2b<'a, { Public::MAX }>,
    }
}
reply! { pub(crate) struct Answer { private: Private, public: Sized2b<Public>, name: Name } }

impl Command for CreateLoaded {
    const CODE: u32 = 0x191;
    const KEY_PARAMETER: KeyParameter = KeyParameter::Template;
    const READ_ONLY: ReadOnly = ReadOnly::Refused;
    const PRESENCE: Presence = Presence::Listed;
    type Handles = Handles;
    type Params<'a> = Params<'a>;
    type Reply<'t> = WithHandle<Answer>;

    /// - `TYPE` at `parent`: neither a hierarchy, nor a storage key or derivation parent
    /// - `OBJECT_MEMORY`: no slot
    /// - at `public`: it does not unmarshal, or octets are left over (`SIZE`)
    /// - `SIZE` at `sensitive`: userAuth is longer than nameAlg's digests
    /// - for a derived object: `TYPE` at `public` for an RSA key, `ATTRIBUTES` for sensitiveDataOrigin, at `public`
    ///   what [`template::check_attributes`] says, and what the sensitive data say as TPMS_DERIVE does not unmarshal
    /// - at `public`: what [`template::check_creation`] says
    /// - what [`create`] says
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, h: Handles, p: Params<'_>) -> Result<WithHandle<Answer>, Rc> {
        let parent = h.parent.handle();
        let derivation = tpm.object(parent).is_some_and(|p| p.is_derivation_parent());
        if parent.is_object() && !derivation && !tpm.object(parent).is_some_and(|p| p.is_parent()) {
            return Err(Fmt1::TYPE.at(Handles::parent));
        }
        tpm.ram.room_for_object()?;
        let (template, derive) = read_template(p.public.0, derivation).map_err(|e| e.at(Params::public))?;
        let given = p.sensitive.0;
        let auth = object_auth(given.user_auth.0, template.name_alg).ok_or(Fmt1::SIZE.at(Params::sensitive))?;
        let (public, sensitive) = if let Some(derive) = derive {
            derived(tpm, parent, &template, derive, auth, given.data.0)?
        } else {
            template::check_creation(tpm.object(parent), &template, given.data.0.len())
                .map_err(|e| e.at(Params::public))?;
            if parent.is_object() {
                create(&mut Fresh(&mut tpm.drbg, call.canceled), &template, auth, given.data.0)?
            } else {
                let mut source = Primary::new(tpm, parent, &template, given.data.0, call.canceled)?;
                create(&mut source, &template, auth, given.data.0)?
            }
        };
        finish(tpm, parent, derivation, public, sensitive)
    }
}

fn finish(
    tpm: &mut Tpm,
    parent: Handle,
    derivation: bool,
    public: Public,
    sensitive: Sensitive,
) -> Result<WithHandle<Answer>, Rc> {
    let name = crate::data::object::name_of(&public);
    let private = if parent.is_object() && !derivation {
        tpm.protect(parent, &public, &name, &sensitive)?
    } else {
        Private::new()
    };
    let answer = Answer { private, public: Sized2b(public.clone()), name };
    let object = tpm.new_object(parent, public, Some(sensitive));
    Ok(WithHandle(tpm.ram.load_object(object)?, answer))
}

/// TPMT_TEMPLATE (Part 2, 12.2.6): as TPMT_PUBLIC, but below a derivation parent label and context stand for unique.
fn read_template(bytes: &[u8], derivation: bool) -> Result<(Public, Option<Derive<'_>>), Fmt1> {
    let mut r = Reader::new(bytes);
    let (template, derive) = if derivation {
        let template: DerivedTemplate<'_> = r.get()?;
        (template.public, Some(template.derive))
    } else {
        (r.get()?, None)
    };
    if template.name_alg.is_none() {
        return Err(Fmt1::HASH);
    }
    if r.is_empty() { Ok((template, derive)) } else { Err(Fmt1::SIZE) }
}

/// A Derived Object (Part 1, 25.2). Label and context of the template, where not empty, go before those of the
/// sensitive data.
fn derived(
    tpm: &Tpm,
    parent: Handle,
    template: &Public,
    derive: Derive<'_>,
    auth: crate::wire::Auth,
    data: &[u8],
) -> Result<(Public, Sensitive), Rc> {
    let parent = tpm.object(parent).ok_or(Fault::NoObject)?;
    if template.object_type() == ObjectType::Rsa {
        return Err(Fmt1::TYPE.at(Params::public));
    }
    if template.attributes.has(A::SENSITIVE_DATA_ORIGIN) {
        return Err(Fmt1::ATTRIBUTES.plain());
    }
    template::check_attributes(Some(parent), template).map_err(|e| e.at(Params::public))?;
    let given = if data.is_empty() { Derive::default() } else { Derive::parse(data).map_err(Fmt1::plain)? };
    let label = if derive.label.0.is_empty() { given.label } else { derive.label };
    let context = if derive.context.0.is_empty() { given.context } else { derive.context };
    let Parms::KeyedHash(scheme) = &parent.public.parms else { return Err(Fault::Parent.into()) };
    let Scheme::Xor(hash, _) = scheme.0 else { return Err(Fault::Parent.into()) };
    let secret = parent.sensitive.as_ref().ok_or(Fault::NoSensitive)?.composite.as_slice();
    create(&mut Derived::new(hash, secret, label.0, context.0)?, template, auth, &[])
}
