//! The ground plan of the engine: four floors, each of which knows those below it and nothing above, and no circles.
//!
//! The lowest is the crates tpm-wire, tpm-crypto and tpm-codes, which the compiler holds. The others are folders of
//! `src`: what each part of the TPM is, what the parts do, the commands, and what happens around every command. Above
//! them is what the crate shows, nothing of wire and cryptography. No circle is in any of the crates.

mod reader;
mod shown;

use reader::{Imports, Module, imports, imports_of};
use shown::{shown, shown_by};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From below. Above the pipeline is the crate's root, which shows what is public, and what stands beside the engine.
const FLOORS: [&[&str]; 5] = [&["data"], &["operation"], &["command"], &["pipeline"], &["", "store", "fuzz"]];

fn sources(krate: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(krate).join("src")
}

fn floor(module: &str) -> Option<usize> {
    let first = module.split("::").next()?;
    FLOORS.iter().position(|floor| floor.contains(&first))
}

fn upwards(imports: &Imports) -> Vec<String> {
    let pairs = imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| floor(from) < floor(to)).map(|(from, to)| format!("{from} → {to}")).collect()
}

/// Everything that a module leads to.
fn reached<'a>(imports: &'a Imports, from: &'a Module) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        next.extend(imports.get(module).into_iter().flatten().filter(|to| seen.insert(*to)));
    }
    seen
}

/// Imports that lead back to where they come from.
fn in_circles(imports: &Imports) -> Vec<String> {
    let reached: BTreeMap<_, _> = imports.keys().map(|module| (module, reached(imports, module))).collect();
    let pairs = imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    let back = pairs.filter(|(from, to)| reached.get(to).is_some_and(|reached| reached.contains(from)));
    back.map(|(from, to)| format!("{from} → {to}")).collect()
}

#[test]
fn every_file_is_on_a_floor() {
    let imports = imports(&sources(""));
    let astray: Vec<_> = imports.keys().filter(|module| floor(module).is_none()).collect();
    assert_eq!(astray, [""; 0], "files on no floor");
    let used: BTreeSet<_> = imports.keys().filter_map(|module| floor(module)).collect();
    assert_eq!(used.len(), FLOORS.len(), "a floor is empty");
}

#[test]
fn no_floor_knows_one_above_it() {
    assert_eq!(upwards(&imports(&sources(""))), [""; 0], "imports upwards");
}

#[test]
fn no_file_leads_back_to_itself() {
    for krate in ["", "wire", "crypto", "codes"] {
        let imports = imports(&sources(krate));
        assert!(imports.values().any(|all| !all.is_empty()), "nothing was read in {krate}");
        assert_eq!(in_circles(&imports), [""; 0], "circles in {krate}");
    }
}

#[test]
fn the_engine_shows_nothing_of_wire_and_cryptography() {
    assert_eq!(shown_by(&sources("")), [""; 0]);
}

#[test]
fn what_is_shown_of_the_crates_below_is_found() {
    let uses = "use crate::{crypto::hash::{Digest, HashAlg as H}, rc::Rc}; use crate::wire;";
    let seen = |text: &str| shown(&format!("{uses} {text}"));
    assert_eq!(seen("pub fn f(d: &[Digest]) -> Result<u8, Rc> {}"), ["Digest"]);
    assert_eq!(seen("impl T { pub fn f() -> H {} pub(crate) fn g() -> Digest {} }"), ["H"]);
    assert_eq!(seen("pub struct S { pub a: wire::Handle, b: Digest }"), ["wire::Handle"]);
    assert_eq!(seen("pub enum E { A(u8), B { d: crate::crypto::Error } }"), ["crate::crypto::Error"]);
    assert_eq!(seen("pub const A: [H; 1] = []; pub type B = Rc; const C: H = 0;"), ["H"]);
    assert_eq!(seen("pub use tpm_wire::{rc, Handle}; pub use tpm_codes::rc;"), ["rc", "Handle"]);
    assert_eq!(seen("pub trait T { fn f(d: Digest); }"), ["Digest"]);
    assert_eq!(seen("pub struct S(Digest); fn f(d: Digest) {} pub(crate) use crate::wire::*;"), [""; 0]);
}

#[test]
fn imports_upwards_and_circles_are_found() {
    let of = |pairs: &[(&str, &str)]| -> Imports {
        let modules = pairs.iter().map(|(from, _)| (*from).to_owned());
        modules
            .map(|from| (from.clone(), pairs.iter().filter(|p| p.0 == from).map(|p| p.1.to_owned()).collect()))
            .collect()
    };
    assert_eq!(
        upwards(&of(&[("data::nv", "command::call"), ("command::nv", "data::nv"), ("pipeline", "")])),
        ["data::nv → command::call", "pipeline → "]
    );
    assert_eq!(
        in_circles(&of(&[("data::a", "data::b"), ("data::b", "data::c"), ("data::c", "data::b")])),
        ["data::b → data::c", "data::c → data::b"]
    );
}

/// What `data::nv` names when this is its text.
fn seen(text: &str) -> Vec<Module> {
    let others = [
        (
            "",
            "pub use data::tpm::Tpm; pub use operation::life::*; pub use operation::made::*; pub use command::cc; use tpm_wire as wire; pub const X: u8 = 0; mod data;",
        ),
        ("command", "pub mod cc {}"),
        ("data", "pub(crate) use tpm::Other; mod nv; mod tpm;"),
        ("data::nv::stored", ""),
        ("data::tpm", ""),
        ("operation", ""),
        ("operation::life", "pub struct Seed;"),
        ("operation::made", "m! { Seed = 1, Maker = 2 } m! { struct Surely {} }"),
    ];
    let mut sources: BTreeMap<_, _> = others.map(|(module, text)| (module.to_owned(), text.to_owned())).into();
    sources.insert("data::nv".to_owned(), text.to_owned());
    imports_of(&sources)["data::nv"].iter().cloned().collect()
}

#[test]
fn paths_from_the_root_are_seen() {
    assert_eq!(seen("use crate::{data::{tpm::Tpm, other}, operation as o};"), ["data", "data::tpm", "operation"]);
    assert_eq!(seen("fn f() { crate::operation::life::new_seed(); }"), ["operation::life"]);
    assert_eq!(seen("struct S(crate::data::tpm::Tpm);"), ["data::tpm"]);
}

#[test]
fn paths_from_above_are_seen_also_in_a_module_within_the_file() {
    assert_eq!(seen("use super::tpm;"), ["data::tpm"]);
    assert_eq!(seen("mod inner { use super::super::tpm; }"), ["data::tpm"]);
    assert_eq!(seen("struct A; mod inner { use super::A; fn f() -> super::A {} }"), [""; 0]);
    assert_eq!(seen("mod inner { mod more { use super::super::super::tpm::Tpm; } }"), ["data::tpm"]);
}

#[test]
fn paths_from_a_child_are_seen() {
    assert_eq!(seen("mod stored; use stored::x;"), ["data::nv::stored"]);
    assert_eq!(seen("mod stored; pub(crate) use self::stored::X;"), ["data::nv::stored"]);
    assert_eq!(seen("mod stored; fn f() { stored::x(); }"), ["data::nv::stored"]);
    assert_eq!(seen("mod stored; mod inner { use super::*; fn f() { stored::x(); } }"), ["data::nv::stored"]);
    assert_eq!(seen("mod stored;"), [""; 0]);
    assert_eq!(seen("mod stored; fn f(stored: u8) -> u8 { stored }"), [""; 0]);
}

#[test]
fn paths_from_another_name_are_seen() {
    assert_eq!(seen("use crate::operation as o; fn f() { o::life::new_seed(); }"), ["operation", "operation::life"]);
    assert_eq!(seen("use super::{self as d}; fn f() { d::tpm::new(); }"), ["data", "data::tpm"]);
}

#[test]
fn what_is_exported_again_is_seen_where_it_is_and_where_it_passes() {
    assert_eq!(seen("use crate::Tpm;"), ["data::tpm"]);
    assert_eq!(seen("use crate::cc; const C: u32 = cc::STARTUP;"), ["command"]);
    assert_eq!(seen("use super::Other;"), ["data", "data::tpm"]);
    assert_eq!(seen("use crate::wire::Handle;"), [""; 0]);
    assert_eq!(seen("use crate::Seed;"), ["operation::life"]);
    assert_eq!(seen("use crate::{Maker, Surely};"), ["operation::made"]);
    assert_eq!(seen("use crate::X;"), [""]);
}

#[test]
fn paths_in_macros_are_seen() {
    assert_eq!(seen("m! { x: crate::operation::life::Seed }"), ["operation::life"]);
    assert_eq!(seen("mod stored; m! { X = stored::X, }"), ["data::nv::stored"]);
    assert_eq!(seen("m! { use crate::{data::tpm::Tpm, operation::life}; }"), ["data::tpm", "operation::life"]);
    assert_eq!(seen("macro_rules! m { ($($p:ident)::+) => { mod c { const X: u8 = super::$($p)::+; } } }"), [""; 0]);
    assert_eq!(seen("m! { pub(crate) fn f(tpm: u8) {} }"), [""; 0]);
}

#[test]
fn what_only_tests_see_is_not_seen() {
    assert_eq!(seen("#[cfg(test)] mod tests { use crate::operation::life; }"), [""; 0]);
    assert_eq!(seen("#[cfg(test)] use crate::operation::life;"), [""; 0]);
    assert_eq!(seen("pub(super) fn f() {} pub(in super::super) fn g() {}"), [""; 0]);
    let sources = [("", "#[cfg(test)] mod tests;"), ("tests", "use crate::X;"), ("tests::more", "use crate::X;")];
    let sources = sources.map(|(module, text)| (module.to_owned(), text.to_owned())).into();
    assert_eq!(imports_of(&sources).into_keys().collect::<Vec<_>>(), [""]);
}
