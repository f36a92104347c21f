//! What fuzz targets reach though it is not public.

use crate::command;
use crate::data::object::{Object, Sequence};
use crate::data::policy::PolicyState;
use crate::data::session::Session;
use crate::wire::{
    Context, EccPoint, Marshal, NvPublic, Public, Reader, Sensitive, Signature, SymDef, SymDefObject, Unmarshal, Writer,
};

/// Reads octets as the parameters of the command with this code, or as a structure.
///
/// # Errors
/// The structure has another form, too: written again it is not what was read.
pub fn unmarshal(which: u16, bytes: &[u8]) -> Result<(), &'static str> {
    if let Some(info) = command::find(which.into()) {
        let _ = info.unmarshal(bytes);
        return Ok(());
    }
    match which % 12 {
        0 => one_form::<Public>(bytes),
        1 => one_form::<Sensitive>(bytes),
        2 => one_form::<Signature>(bytes),
        3 => one_form::<NvPublic>(bytes),
        4 => one_form::<Context>(bytes),
        5 => one_form::<SymDef>(bytes),
        6 => one_form::<SymDefObject>(bytes),
        7 => one_form::<EccPoint>(bytes),
        8 => one_form::<Object>(bytes),
        9 => one_form::<Session>(bytes),
        10 => one_form::<PolicyState>(bytes),
        _ => one_form::<Sequence>(bytes),
    }
}

fn one_form<'a, T: Unmarshal<'a> + Marshal>(bytes: &'a [u8]) -> Result<(), &'static str> {
    let mut r = Reader::new(bytes);
    let Ok(value) = r.get::<T>() else { return Ok(()) };
    let read = bytes.len() - r.rest().len();
    let mut again = [0; 16384];
    let mut w = Writer::new(&mut again);
    value.marshal(&mut w);
    if bytes.get(..read) == Some(w.written(0)) { Ok(()) } else { Err(core::any::type_name::<T>()) }
}
