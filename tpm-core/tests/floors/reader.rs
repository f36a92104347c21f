//! Reads which file of a crate names which: every path of every file, whatever it begins with, but for what only tests
//! and rustdoc see. A method that is called names no file, and is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Macro, UseTree};

/// A module by its path from the root, such as `data::nv`; the root itself is empty.
pub(crate) type Module = String;
/// The files that each file names, by their modules.
pub(crate) type Imports = BTreeMap<Module, BTreeSet<Module>>;
type Words = Vec<String>;

/// Who names whom in the crate whose sources are in this folder.
pub(crate) fn imports(folder: &Path) -> Imports {
    let mut sources = BTreeMap::new();
    read(folder, "", &mut sources);
    imports_of(&sources)
}

/// As [`imports`], of texts by their modules.
pub(crate) fn imports_of(sources: &BTreeMap<Module, String>) -> Imports {
    let mut names = Names::default();
    for (module, text) in sources {
        names.open(module.clone(), module.clone());
        names.visit_file(&syn::parse_file(text).unwrap());
        names.within.clear();
    }
    let left_out = names.left_out.clone();
    let is_left_out =
        |module: &Module| left_out.iter().any(|out| module == out || module.starts_with(&format!("{out}::")));
    let mut imports: Imports =
        sources.keys().filter(|m| !is_left_out(m)).map(|m| (m.clone(), BTreeSet::new())).collect();
    for (module, words) in &names.paths {
        let file = names.scopes[module].file.clone();
        let mut found = BTreeSet::new();
        names.resolve(module, words, 0, &mut found);
        found.remove(&file);
        if let Some(all) = imports.get_mut(&file) {
            all.extend(found);
        }
    }
    imports
}

fn read(folder: &Path, module: &str, all: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let inner = join(module, &path.file_stem().unwrap().to_string_lossy());
        if path.is_dir() {
            read(&path, &inner, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let own = path.ends_with("mod.rs") || path.ends_with("lib.rs");
            all.insert(if own { module.to_owned() } else { inner }, fs::read_to_string(&path).unwrap());
        }
    }
}

fn join(module: &str, name: &str) -> Module {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// The module around this one; the root is in itself.
fn above(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(above, _)| above)
}

/// What names mean in a module, a file or one within a file.
#[derive(Default)]
struct Scope {
    file: Module,
    /// what `use` calls by a name; a name of several functions has several
    uses: BTreeMap<String, Vec<Words>>,
    /// what `use` takes everything of
    globs: Vec<Words>,
    /// what is defined here, and what a macro may define
    items: BTreeSet<String>,
    made: BTreeSet<String>,
}

/// All that the files of a crate name.
#[derive(Default)]
struct Names {
    scopes: BTreeMap<Module, Scope>,
    /// where the reader is, from the file on
    within: Vec<Module>,
    /// each path, and the module that it stands in
    paths: Vec<(Module, Words)>,
    /// modules that only tests and rustdoc see
    left_out: BTreeSet<Module>,
}

impl Names {
    fn open(&mut self, module: Module, file: Module) {
        self.scopes.insert(module.clone(), Scope { file, ..Scope::default() });
        self.within.push(module);
    }

    /// Opens a module within the file.
    fn open_inner(&mut self, name: &str) {
        let file = self.scopes[self.here()].file.clone();
        self.open(join(self.here(), name), file);
    }

    fn here(&self) -> &Module {
        self.within.last().unwrap()
    }

    fn note(&mut self, words: Words) {
        self.paths.push((self.here().clone(), words));
    }

    /// The path of an expression or a type. One word alone is no module's.
    fn path(&mut self, words: Words) {
        if words.len() > 1 {
            self.note(words);
        }
    }

    fn tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) if name.ident == "self" => self.import(before.last().cloned(), before.to_vec()),
            UseTree::Name(name) => self.import(Some(name.ident.to_string()), with(&name.ident)),
            UseTree::Rename(rename) if rename.ident == "self" => {
                self.import(Some(rename.rename.to_string()), before.to_vec())
            }
            UseTree::Rename(rename) => self.import(Some(rename.rename.to_string()), with(&rename.ident)),
            UseTree::Glob(_) => {
                self.scope().globs.push(before.to_vec());
                self.note(before.to_vec());
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }

    fn import(&mut self, name: Option<String>, words: Words) {
        self.scope().uses.entry(name.unwrap_or_default()).or_default().push(words.clone());
        self.note(words);
    }

    /// What is in a macro has no syntax yet: its paths do, and the modules that it makes.
    fn tokens(&mut self, mut at: Cursor<'_>, before: &[String]) {
        while !at.eof() {
            if let Some((ident, next)) = at.ident() {
                let module = next.ident().filter(|_| ident == "mod");
                if let Some((name, body)) = module.and_then(|(name, next)| Some((name, next.any_group()?))) {
                    self.open_inner(&name.to_string());
                    self.tokens(body.0, &[]);
                    self.within.pop();
                    at = body.3;
                    continue;
                }
                at = self.words(next, [before, &[ident.to_string()]].concat());
            } else if let Some((inner, _, _, next)) = at.any_group() {
                self.tokens(inner, &[]);
                at = next;
            } else {
                at = at.token_tree().unwrap().1;
            }
        }
    }

    /// The rest of a path in a macro; where it ends.
    fn words<'a>(&mut self, mut at: Cursor<'a>, mut words: Words) -> Cursor<'a> {
        while let Some(next) = after_colons(at) {
            at = next;
            if let Some((inner, _, _, next)) = at.any_group() {
                self.tokens(inner, &words);
                return next;
            }
            let Some((ident, next)) = at.ident() else { break };
            words.push(ident.to_string());
            at = next;
        }
        self.path(words);
        at
    }

    /// The files that a path names: each whose item it is, and each that it is re-exported by.
    fn resolve(&self, module: &str, words: &[String], depth: usize, found: &mut BTreeSet<Module>) {
        let Some(first) = words.first().filter(|_| depth < 10) else { return };
        let scope = &self.scopes[module];
        let (mut at, mut rest) = match first.as_str() {
            "crate" => ("", &words[1..]),
            "self" => (module, &words[1..]),
            "super" => (above(module), &words[1..]),
            name if self.scopes.contains_key(&join(module, name)) => (module, words),
            name => {
                let used = scope.uses.get(name).into_iter().flatten();
                let used = used.filter(|used| *used != words).map(|used| [used, &words[1..]].concat());
                used.for_each(|path| self.resolve(module, &path, depth + 1, found));
                // What a glob takes is seen at the glob; not so the modules behind it.
                let knows = |glob: &&Module| {
                    self.scopes.contains_key(&join(glob, name)) || self.scopes[*glob].uses.contains_key(name)
                };
                return self.globs(module).filter(knows).for_each(|glob| self.resolve(glob, words, depth + 1, found));
            }
        };
        while rest.first().is_some_and(|word| word == "super") {
            (at, rest) = (above(at), &rest[1..]);
        }
        let mut at = at.to_owned();
        while let Some((name, tail)) = rest.split_first() {
            let inner = join(&at, name);
            if self.scopes.contains_key(&inner) {
                (at, rest) = (inner, tail);
                continue;
            }
            let Some(uses) = self.scopes[&at].uses.get(name) else {
                let behind = self.behind_globs(&at, name);
                if at.is_empty() && !behind.is_empty() {
                    return found.extend(behind);
                }
                break;
            };
            // The root is the door of every file: what is behind it counts. Others are files like any.
            if !at.is_empty() {
                found.insert(self.scopes[&at].file.clone());
            }
            return uses.iter().for_each(|used| self.resolve(&at, &[used, tail].concat(), depth + 1, found));
        }
        found.insert(self.scopes[&at].file.clone());
    }
}

impl Names {
    fn scope(&mut self) -> &mut Scope {
        let here = self.here().clone();
        self.scopes.get_mut(&here).unwrap()
    }

    /// The modules of which a module takes everything.
    fn globs(&self, module: &str) -> impl Iterator<Item = &Module> {
        self.scopes[module].globs.iter().filter_map(move |words| {
            let from = match words.first().map(String::as_str) {
                Some("crate") => words[1..].join("::"),
                Some("self") => join(module, &words[1..].join("::")),
                Some("super") => {
                    let ups = words.iter().take_while(|word| *word == "super").count();
                    let base = (0..ups).fold(module, |module, _| above(module));
                    words[ups..].iter().fold(base.to_owned(), |base, word| join(&base, word))
                }
                _ => join(module, &words.join("::")),
            };
            self.scopes.get_key_value(&from).map(|(glob, _)| glob)
        })
    }

    /// The files of which a module exports everything that define this name, or else those whose macros may.
    fn behind_globs(&self, module: &str, name: &str) -> BTreeSet<Module> {
        let scopes: Vec<_> = self.globs(module).map(|glob| (glob, &self.scopes[glob])).collect();
        let files = |defines: &dyn Fn(&Module, &Scope) -> bool| {
            let those = scopes.iter().filter(|(module, scope)| defines(module, scope));
            those.map(|(_, scope)| scope.file.clone()).collect::<BTreeSet<_>>()
        };
        let defined =
            files(&|module, scope| scope.items.contains(name) || self.scopes.contains_key(&join(module, name)));
        if defined.is_empty() { files(&|_, scope| scope.made.contains(name)) } else { defined }
    }

    /// What the words in a macro may define: what stands behind a keyword surely is.
    fn note_made(&mut self, mut at: Cursor<'_>) {
        let mut defines = false;
        while !at.eof() {
            if let Some((ident, next)) = at.ident() {
                let word = ident.to_string();
                let scope = self.scope();
                if defines { &mut scope.items } else { &mut scope.made }.insert(word.clone());
                defines = DEFINES.contains(&word.as_str());
                at = next;
            } else if let Some((inner, _, _, next)) = at.any_group() {
                self.note_made(inner);
                at = next;
            } else {
                at = at.token_tree().unwrap().1;
            }
        }
    }
}

/// Behind these is the name of an item.
const DEFINES: [&str; 7] = ["const", "enum", "fn", "static", "struct", "trait", "type"];

fn name(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        _ => None,
    }
}

fn after_colons(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, next) = at.punct()?;
    let (second, next) = next.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(next)
}

fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test") || path.is_ident("doc"))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_left_out(attributes(item)) {
            if let Some(name) = name(item) {
                self.scope().items.insert(name.to_string());
            } else if let Item::Macro(item) = item {
                self.note_made(TokenBuffer::new2(item.mac.tokens.clone()).begin());
            }
            visit::visit_item(self, item);
        } else if let Item::Mod(item) = item {
            self.left_out.insert(join(self.here(), &item.ident.to_string()));
        }
    }

    /// That a file has a part is not that it uses it.
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.open_inner(&item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.within.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// Who may see an item is not what it uses.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_macro(&mut self, one: &'ast Macro) {
        self.tokens(TokenBuffer::new2(one.tokens.clone()).begin(), &[]);
        visit::visit_macro(self, one);
    }
}
