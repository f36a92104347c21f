//! An object, and how it is named.

use crate::crypto::hash::{HashAlg, digest};
use crate::wire::{
    Handle, Marshal, Name, ObjectAttributes, ObjectType, Parms, Public, Scheme, Sensitive, SensitiveComposite, Writer,
    hashed_name,
};

/// A loaded or persistent object.
pub(crate) struct Object {
    /// public area
    pub(crate) public: Public,
    /// sensitive area, unless only the public area is loaded
    pub(crate) sensitive: Option<Sensitive>,
    /// Name
    pub(crate) name: Name,
    /// Qualified Name
    pub(crate) qualified_name: Name,
    /// the hierarchy: TPM_RH_OWNER, _ENDORSEMENT, _PLATFORM or _NULL
    pub(crate) hierarchy: Handle,
    /// loaded by TPM2_LoadExternal
    pub(crate) external: bool,
    /// a Primary Object
    pub(crate) primary: bool,
    /// it or an ancestor has stClear: it does not outlive a TPM Restart
    pub(crate) st_clear: bool,
}

impl Object {
    /// The scheme of the key itself.
    pub(crate) fn own_scheme(&self) -> Scheme {
        match &self.public.parms {
            Parms::Rsa(p) => p.scheme.0,
            Parms::Ecc(p) => p.scheme.0,
            Parms::KeyedHash(p) => p.0,
            Parms::MlDsa(_) => Scheme::MlDsa,
            Parms::HashMlDsa(_) => Scheme::HashMlDsa,
            Parms::SymCipher(_) | Parms::MlKem(_) => Scheme::Null,
        }
    }

    /// The key of an HMAC or a cipher.
    pub(crate) fn symmetric_key(&self) -> Option<&[u8]> {
        match &self.sensitive.as_ref()?.composite {
            composite @ (SensitiveComposite::Bits(_) | SensitiveComposite::Sym(_)) => Some(composite.as_slice()),
            _ => None,
        }
    }

    /// Whether all these attributes are SET.
    pub(crate) fn has(&self, attributes: ObjectAttributes) -> bool {
        self.public.attributes.has(attributes)
    }

    /// A second copy.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            public: self.public.clone(),
            sensitive: self.sensitive.as_ref().map(Sensitive::duplicate),
            name: self.name.clone(),
            qualified_name: self.qualified_name.clone(),
            ..*self
        }
    }

    /// A storage key with its sensitive area: what protects children (Part 1, 22.1.5).
    pub(crate) fn is_parent(&self) -> bool {
        self.is_any_parent() && self.public.object_type() != ObjectType::KeyedHash
    }

    /// A derivation parent (Part 1, 25).
    pub(crate) fn is_derivation_parent(&self) -> bool {
        self.is_any_parent() && self.public.object_type() == ObjectType::KeyedHash
    }

    fn is_any_parent(&self) -> bool {
        let attributes = ObjectAttributes::RESTRICTED.with(ObjectAttributes::DECRYPT);
        self.has(attributes) && self.sensitive.is_some() && !self.external && self.public.name_alg.is_some()
    }
}

/// Name of an object: nameAlg ‖ H(TPMT_PUBLIC) (Part 1, 13); the Empty Buffer without nameAlg.
pub(crate) fn name_of(public: &Public) -> Name {
    let Some(alg) = public.name_alg else { return Name::new() };
    let mut bytes = [0; Public::MAX];
    let mut w = Writer::new(&mut bytes);
    public.marshal(&mut w);
    hashed_name(alg, w.written(0))
}

/// Qualified Name: nameAlg ‖ H(QN of the parent ‖ Name) (Part 1, 23.5).
pub(crate) fn qualified_name_of(parent: &[u8], alg: Option<HashAlg>, name: &Name) -> Name {
    let Some(alg) = alg else { return Name::new() };
    let digest = digest(alg, &[parent, name.as_slice()]);
    Name::of(|w| {
        alg.marshal(w);
        w.put(digest.as_slice());
    })
    .unwrap_or_default()
}
