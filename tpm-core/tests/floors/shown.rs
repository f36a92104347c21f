//! What the engine shows to who embeds it: no type of its lowest floor but the names of numbers. In its private modules
//! `pub` is for what the crate's root exports, which a lint holds (`unreachable_pub`).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Fields, ImplItemFn, Item, ItemUse, Path as Words, Signature, Type, UseTree, Visibility};

/// The crates below, by the names that they have in the engine.
const BELOW: [&str; 6] = ["bounded", "crypto", "secret", "tpm_crypto", "tpm_wire", "wire"];

/// What the public items of a file show of the crates below.
pub(crate) fn shown(text: &str) -> Vec<String> {
    let mut file = File::default();
    let parsed = syn::parse_file(text).unwrap();
    for item in &parsed.items {
        if let Item::Use(item) = item {
            file.used(item);
        }
    }
    file.visit_file(&parsed);
    file.shown
}

/// As [`shown`], of every file of a folder.
pub(crate) fn shown_by(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(shown_by(&path));
        } else {
            let shown = shown(&fs::read_to_string(&path).unwrap());
            all.extend(shown.into_iter().map(|name| format!("{}: {name}", path.display())));
        }
    }
    all
}

#[derive(Default)]
struct File {
    /// names that come from below
    below: BTreeSet<String>,
    shown: Vec<String>,
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

impl File {
    fn used(&mut self, item: &ItemUse) {
        let mut leaves = Vec::new();
        let from_root = match &item.tree {
            UseTree::Path(path) if path.ident == "crate" => &*path.tree,
            tree => tree,
        };
        match from_root {
            UseTree::Group(group) => group.items.iter().for_each(|tree| below(tree, false, &mut leaves)),
            tree => below(tree, false, &mut leaves),
        }
        if is_public(&item.vis) {
            self.shown.extend(leaves);
        } else {
            self.below.extend(leaves);
        }
    }

    fn signature(&mut self, visibility: &Visibility, signature: &Signature) {
        if is_public(visibility) {
            Paths(self).visit_signature(signature);
        }
    }

    fn fields(&mut self, fields: &Fields, all: bool) {
        for field in fields.iter().filter(|field| all || is_public(&field.vis)) {
            Paths(self).visit_type(&field.ty);
        }
    }

    fn of_type(&mut self, visibility: &Visibility, of: &Type) {
        if is_public(visibility) {
            Paths(self).visit_type(of);
        }
    }
}

/// The names that a tree brings in from below.
fn below(tree: &UseTree, within: bool, leaves: &mut Vec<String>) {
    match tree {
        UseTree::Path(path) => below(&path.tree, within || BELOW.iter().any(|name| path.ident == name), leaves),
        UseTree::Group(group) => group.items.iter().for_each(|tree| below(tree, within, leaves)),
        UseTree::Name(name) if within || BELOW.iter().any(|below| name.ident == below) => {
            leaves.push(name.ident.to_string());
        }
        UseTree::Rename(rename) if within || BELOW.iter().any(|below| rename.ident == below) => {
            leaves.push(rename.rename.to_string());
        }
        UseTree::Glob(_) if within => leaves.push("*".into()),
        _ => {}
    }
}

impl<'ast> Visit<'ast> for File {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Fn(item) => self.signature(&item.vis, &item.sig),
            Item::Const(item) => self.of_type(&item.vis, &item.ty),
            Item::Static(item) => self.of_type(&item.vis, &item.ty),
            Item::Type(item) => self.of_type(&item.vis, &item.ty),
            Item::Struct(item) if is_public(&item.vis) => self.fields(&item.fields, false),
            Item::Enum(item) if is_public(&item.vis) => {
                item.variants.iter().for_each(|variant| self.fields(&variant.fields, true));
            }
            Item::Trait(item) if is_public(&item.vis) => Paths(self).visit_item_trait(item),
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.signature(&item.vis, &item.sig);
    }
}

/// The paths of what is public.
struct Paths<'a>(&'a mut File);

impl Visit<'_> for Paths<'_> {
    fn visit_path(&mut self, path: &Words) {
        let words: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let first = words.iter().find(|word| *word != "crate");
        if first.is_some_and(|first| BELOW.contains(&first.as_str()) || self.0.below.contains(first)) {
            self.0.shown.push(words.join("::"));
        }
        visit::visit_path(self, path);
    }
}
