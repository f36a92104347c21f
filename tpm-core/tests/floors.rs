//! The ground plan of the engine: four floors, each of which knows those below it and nothing above, and no circles.
//!
//! The lowest is the crates tpm-crypto and tpm-wire, which the compiler holds. The others are folders of `src`: what
//! each part of the TPM is, what the parts do, the commands, and what happens around every command. Here every path of
//! every file is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Macro, UseTree};

/// From below.
const FLOORS: [&str; 4] = ["data", "operation", "command", "pipeline"];

/// A module by its path from the root, such as `data::nv`; the root itself is empty.
type Module = String;
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// The modules that a file names, whatever the item.
struct Names<'a> {
    file: &'a str,
    modules: &'a BTreeSet<Module>,
    found: BTreeSet<Module>,
}

impl Names<'_> {
    /// Takes a path, from whatever it begins with.
    fn path(&mut self, parts: &[String]) {
        let (mut base, rest) = match parts.first().map(String::as_str) {
            Some("crate") => (Vec::new(), &parts[1..]),
            Some("self") => (self.file.split("::").map(str::to_owned).collect(), &parts[1..]),
            Some("super") => {
                let ups = parts.iter().take_while(|part| *part == "super").count();
                let mut base: Vec<_> = self.file.split("::").map(str::to_owned).collect();
                base.truncate(base.len().saturating_sub(ups));
                (base, &parts[ups..])
            }
            _ => return,
        };
        base.extend_from_slice(rest);
        // The longest part of it that is a file.
        while !base.is_empty() {
            if self.modules.contains(&base.join("::")) {
                self.found.insert(base.join("::"));
                return;
            }
            base.pop();
        }
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.path(&with(&name.ident)),
            UseTree::Rename(rename) => self.path(&with(&rename.ident)),
            UseTree::Glob(_) => self.path(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }
}

/// What only tests and rustdoc see.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test") || path.is_ident("doc"))
    })
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_left_out(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    /// What is in a macro has no syntax yet: its words do.
    fn visit_macro(&mut self, one: &'ast Macro) {
        let text = one.tokens.to_string().replace(" :: ", "::");
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            self.path(&word.split("::").map(str::to_owned).collect::<Vec<_>>());
        }
        visit::visit_macro(self, one);
    }
}

fn files(folder: &Path, module: &str, all: &mut BTreeMap<Module, syn::File>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let inner = if module.is_empty() { name.clone() } else { format!("{module}::{name}") };
        if path.is_dir() {
            files(&path, &inner, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let key = if name == "mod" { module.to_owned() } else { inner };
            all.insert(key, syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
}

/// Who imports whom on the floors.
fn imports() -> Imports {
    let mut all = BTreeMap::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut all);
    all.retain(|module, _| floor(module).is_some());
    let modules: BTreeSet<_> = all.keys().cloned().collect();
    let import = |(file, syntax): (&Module, &syn::File)| {
        let mut names = Names { file, modules: &modules, found: BTreeSet::new() };
        names.visit_file(syntax);
        names.found.remove(file);
        (file.clone(), names.found)
    };
    all.iter().map(import).collect()
}

fn floor(module: &str) -> Option<usize> {
    let first = module.split("::").next()?;
    FLOORS.iter().position(|floor| *floor == first)
}

fn upwards(imports: &Imports) -> Vec<String> {
    let pairs = imports.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| floor(from) < floor(to)).map(|(from, to)| format!("{from} → {to}")).collect()
}

/// Modules that lead back to themselves.
fn in_circles(imports: &Imports) -> Vec<&Module> {
    let reaches = |from: &Module| {
        let mut seen: BTreeSet<&Module> = BTreeSet::new();
        let mut next: Vec<&Module> = imports.get(from).into_iter().flatten().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(imports.get(module).into_iter().flatten());
            }
        }
        seen.contains(from)
    };
    imports.keys().filter(|module| reaches(module)).collect()
}

#[test]
fn no_floor_knows_one_above_it() {
    let imports = imports();
    assert!(FLOORS.iter().all(|floor| imports.keys().any(|module| module.starts_with(floor))), "a floor is empty");
    assert_eq!(upwards(&imports), [""; 0], "imports upwards");
}

#[test]
fn no_file_leads_back_to_itself() {
    assert_eq!(in_circles(&imports()), [""; 0], "files in circles");
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
        upwards(&of(&[("data::nv", "command::call"), ("command::nv", "data::nv")])),
        ["data::nv → command::call"]
    );
    assert_eq!(
        in_circles(&of(&[("data::a", "data::b"), ("data::b", "data::c"), ("data::c", "data::b")])),
        ["data::b", "data::c"]
    );
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let modules: BTreeSet<_> = ["data::nv", "data::tpm", "operation::life"].map(str::to_owned).into();
    let seen = |text: &str| {
        let mut names = Names { file: "data::nv", modules: &modules, found: BTreeSet::new() };
        names.visit_file(&syn::parse_file(text).unwrap());
        names.found.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(seen("use crate::{data::{tpm::Tpm, other}, operation as o};"), ["data::tpm"]);
    assert_eq!(seen("use super::tpm;"), ["data::tpm"]);
    assert_eq!(seen("fn f() { crate::operation::life::new_seed(); }"), ["operation::life"]);
    assert_eq!(seen("m! { x: crate::operation::life::Seed }"), ["operation::life"]);
    assert_eq!(seen("#[cfg(test)] mod tests { use crate::operation::life; }"), [""; 0]);
    assert_eq!(seen("struct S(crate::data::tpm::Tpm);"), ["data::tpm"]);
}
