//! The areas of a command, each declared as a plain struct; from the declarations come unmarshalling, roles, positions
//! in response codes, TPMA_CC, and whether the first parameter may be encrypted.

use crate::rc::Rc;
use crate::wire::{Handle, HandleType, Marshal, Reader, Writer};

/// What a handle's authorization must show (Part 1, 16.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// no authorization
    None,
    /// the USER role
    User,
    /// the ADMIN role
    Admin,
    /// the DUP role
    Dup,
}

/// A field of a handle area: a handle type, perhaps with a role.
pub(crate) trait HandleField: Sized {
    /// The role.
    const ROLE: Role = Role::None;
    /// VALUE if the type does not admit the handle.
    fn from_handle(h: Handle) -> Result<Self, crate::rc::Fmt1>;
}

impl<H: HandleType> HandleField for H {
    fn from_handle(h: Handle) -> Result<Self, crate::rc::Fmt1> {
        H::from_handle(h)
    }
}

macro_rules! roles {
    ($($(#[$m:meta])* $name:ident: $role:ident;)*) => { $(
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $name<H>(pub(crate) H);
        impl<H: HandleType> HandleField for $name<H> {
            const ROLE: Role = Role::$role;
            fn from_handle(h: Handle) -> Result<Self, crate::rc::Fmt1> { H::from_handle(h).map(Self) }
        }
        impl<H: HandleType> $name<H> {
            /// The handle.
            pub(crate) fn handle(self) -> Handle { self.0.handle() }
        }
    )* };
}

roles! {
    /// A handle that needs an authorization with the USER role.
    User: User;
    /// A handle that needs an authorization with the ADMIN role.
    Admin: Admin;
    /// A handle that needs an authorization with the DUP role.
    Dup: Dup;
}

/// How many handles a command has at most.
pub(crate) const MAX_HANDLES: usize = 3;

/// The handles of a command.
pub(crate) type Handles = heapless::Vec<Handle, MAX_HANDLES>;

/// A handle area.
pub(crate) trait HandleArea: Sized {
    /// The role of each handle, in order.
    const ROLES: &'static [Role];
    /// From handles of the right number; VALUE at the first that its type does not admit.
    fn from_handles(handles: &[Handle]) -> Result<Self, Rc>;
}

/// A parameter area.
pub(crate) trait ParamArea<'a>: Sized {
    /// Whether the first parameter is a TPM2B and may thus be encrypted.
    const FIRST_SIZED: bool;
    /// All of the area: SIZE without a position if octets are left over.
    fn unmarshal(r: &mut Reader<'a>) -> Result<Self, Rc>;
}

/// What a command answers: perhaps a handle, then parameters.
pub(crate) trait ReplyArea {
    /// Whether the response has a handle area.
    const HANDLE: bool;
    /// Whether the first parameter is a TPM2B and may thus be encrypted.
    const FIRST_SIZED: bool;
    /// The handle, if there is one.
    fn handle(&self) -> Option<Handle>;
    /// The parameters.
    fn marshal(&self, w: &mut Writer<'_>);
}

impl<T: Marshal> ReplyArea for T {
    const HANDLE: bool = false;
    const FIRST_SIZED: bool = T::SIZED;
    fn handle(&self) -> Option<Handle> {
        None
    }
    fn marshal(&self, w: &mut Writer<'_>) {
        Marshal::marshal(self, w);
    }
}

/// A reply with a handle before its parameters.
pub(crate) struct WithHandle<T>(pub Handle, pub T);

impl<T: Marshal> ReplyArea for WithHandle<T> {
    const HANDLE: bool = true;
    const FIRST_SIZED: bool = T::SIZED;
    fn handle(&self) -> Option<Handle> {
        Some(self.0)
    }
    fn marshal(&self, w: &mut Writer<'_>) {
        self.1.marshal(w);
    }
}

/// An empty reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Empty;

impl Marshal for Empty {
    fn marshal(&self, _: &mut Writer<'_>) {}
}

/// Declares a handle area. A field's name is also the position of an error in that handle.
macro_rules! handles {
    ($(#[$m:meta])* $v:vis struct $name:ident { $($(#[$fm:meta])* $f:ident: $t:ty),* $(,)? }) => {
        #[allow(dead_code, reason = "a handle may be there for its authorization alone")]
        $(#[$m])* $v struct $name { $($(#[$fm])* $v $f: $t),* }
        const _: () = {
            #[allow(non_camel_case_types, dead_code, reason = "fields as positions, of which there may be none")]
            enum Index { $($f),* }
            #[allow(non_upper_case_globals, dead_code, reason = "fields as positions, used where a command gives a code for them")]
            impl $name { $($v const $f: $crate::rc::At = $crate::rc::At::Handle($crate::rc::Nth::new(Index::$f as usize + 1));)* }
            impl $crate::command::area::HandleArea for $name {
                const ROLES: &'static [$crate::command::area::Role] = &[$(<$t as $crate::command::area::HandleField>::ROLE),*];
                #[allow(unused_mut, unused_variables, reason = "an area may be empty")]
                fn from_handles(handles: &[$crate::wire::Handle]) -> Result<Self, $crate::rc::Rc> {
                    let mut handles = handles.iter().copied();
                    $(let $f = handles.next().ok_or($crate::rc::Fmt1::INSUFFICIENT)
                        .and_then(<$t as $crate::command::area::HandleField>::from_handle)
                        .map_err(|e| e.at(Self::$f))?;)*
                    Ok(Self { $($f),* })
                }
            }
        };
    };
}
pub(crate) use handles;

/// Declares a parameter area. A field's name is also the position of an error in that parameter.
macro_rules! params {
    ($(#[$m:meta])* $v:vis struct $name:ident<$lt:lifetime> { $($(#[$fm:meta])* $f:ident: $t:ty),* $(,)? }) => {
        $(#[$m])* $v struct $name<$lt> { $($(#[$fm])* $v $f: $t),* }
        $crate::command::area::params!(@impl $v, $lt, $name<$lt>, $name<'_>, $($f: $t),*);
    };
    ($(#[$m:meta])* $v:vis struct $name:ident { $($(#[$fm:meta])* $f:ident: $t:ty),* $(,)? }) => {
        $(#[$m])* $v struct $name { $($(#[$fm])* $v $f: $t),* }
        $crate::command::area::params!(@impl $v, 'w, $name, $name, $($f: $t),*);
    };
    (@impl $v:vis, $lt:lifetime, $ty:ty, $any:ty, $($f:ident: $t:ty),*) => {
        const _: () = {
            #[allow(non_camel_case_types, dead_code, reason = "fields as positions, of which there may be none")]
            enum Index { $($f),* }
            #[allow(non_upper_case_globals, dead_code, reason = "fields as positions, used where a command gives a code for them")]
            impl $any { $($v const $f: $crate::rc::At = $crate::rc::At::Param($crate::rc::Nth::new(Index::$f as usize + 1));)* }
            impl<$lt> $crate::command::area::ParamArea<$lt> for $ty {
                const FIRST_SIZED: bool = matches!(&[$(<$t as $crate::wire::Unmarshal<$lt>>::SIZED),*] as &[bool], [true, ..]);
                fn unmarshal(r: &mut $crate::wire::Reader<$lt>) -> Result<Self, $crate::rc::Rc> {
                    $(let $f = <$t as $crate::wire::Unmarshal<$lt>>::unmarshal(r).map_err(|e| e.at(<$ty>::$f))?;)*
                    if !r.is_empty() { return Err($crate::rc::Fmt1::SIZE.plain()); }
                    Ok(Self { $($f),* })
                }
            }
        };
    };
}
pub(crate) use params;

/// Declares the parameters of a reply.
macro_rules! reply {
    ($(#[$m:meta])* $v:vis struct $name:ident $(<$lt:lifetime>)? { $($(#[$fm:meta])* $f:ident: $t:ty),+ $(,)? }) => {
        $(#[$m])* $v struct $name $(<$lt>)? { $($(#[$fm])* $v $f: $t),+ }
        impl $(<$lt>)? $crate::wire::Marshal for $name $(<$lt>)? {
            const SIZED: bool = matches!(&[$(<$t as $crate::wire::Marshal>::SIZED),+] as &[bool], [true, ..]);
            fn marshal(&self, w: &mut $crate::wire::Writer<'_>) { $($crate::wire::Marshal::marshal(&self.$f, w);)+ }
        }
    };
}
pub(crate) use reply;
