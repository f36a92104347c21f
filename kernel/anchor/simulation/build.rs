//! Copies the crate `anchor` and the simulation into one module for each version: as they are, and with each planted
//! fault. What a fault changes must be there exactly once.

use core::fmt::Write;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[expect(dead_code, unreachable_pub, reason = "the library's, too")]
#[path = "src/plants.rs"]
mod plants;

use plants::{AS_IT_IS, Change, PLANTS};

/// The crate's files that decide something.
const ANCHOR: [&str; 3] = ["client.rs", "keeper.rs", "mark.rs"];
/// Ours, which know its types.
const OWN: [&str; 8] = ["disk.rs", "host.rs", "liar.rs", "moving.rs", "rules.rs", "runs.rs", "tpm.rs", "world.rs"];

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where we are"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where to write"));
    let (anchor, own) = (here.join("../src"), here.join("src/version"));
    for source in [anchor.clone(), here.join("src"), here.join("build.rs")] {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let (mut modules, mut table) = (String::new(), String::new());
    let versions = PLANTS.iter().map(|plant| (plant.module, plant.changes));
    for (module, changes) in [(AS_IT_IS, &[][..])].into_iter().chain(versions) {
        let folder = out.join(module);
        fs::create_dir_all(&folder).expect("the folder is ours");
        let files: Vec<PathBuf> =
            ANCHOR.iter().map(|file| anchor.join(file)).chain(OWN.iter().map(|file| own.join(file))).collect();
        writeln!(
            modules,
            "#[allow(dead_code, missing_docs, unused, clippy::all, reason = \"copies, of which only a part is used\")]\n\
             pub mod {module} {{"
        )
        .expect("a string takes it");
        let mut applied = 0;
        for file in &files {
            let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
            let text = fs::read_to_string(file).expect("the sources are there");
            let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let text = changed(text, name, changes, &mut applied);
            let text = if ANCHOR.contains(&name) { renamed(&text, module) } else { text };
            fs::write(folder.join(name), text).expect("the folder is ours");
            let (stem, path) = (Path::new(name).file_stem().expect("a name").display(), folder.join(name));
            writeln!(modules, "    #[path = {path:?}]\n    pub mod {stem};").expect("a string takes it");
        }
        modules.push_str("}\n");
        assert_eq!(applied, changes.len(), "{module}: a change of a file that is not copied");
        writeln!(table, "    ({module:?}, {module}::world::run),").expect("a string takes it");
    }
    writeln!(modules, "/// Each version's schedules.\npub const VERSIONS: &[(&str, Run)] = &[\n{table}];")
        .expect("a string takes it");
    fs::write(out.join("versions.rs"), modules).expect("the folder is ours");
}

/// With the names that the crate's copies have here. What is not copied is the crate's own.
fn renamed(text: &str, module: &str) -> String {
    let copies = ANCHOR.iter().filter_map(|file| file.strip_suffix(".rs"));
    copies
        .fold(text.to_owned(), |text, name| text.replace(&format!("crate::{name}"), &format!("self::{module}::{name}")))
        .replace("crate::", "anchor::")
        .replace("self::", "crate::")
}

fn changed(text: &str, file: &str, changes: &[Change], applied: &mut usize) -> String {
    changes.iter().filter(|change| change.file == file).fold(text.to_owned(), |text, change| {
        assert_eq!(text.matches(change.from).count(), 1, "{file} has this not once:\n{}", change.from);
        *applied += 1;
        text.replace(change.from, change.to)
    })
}
