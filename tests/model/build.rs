//! Copies the firmware's decision code into one module for each version: as it is, and with each planted fault. What a
//! fault changes must be there exactly once.

use core::fmt::Write;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[expect(dead_code, unreachable_pub, reason = "the library's, too")]
#[path = "src/plants.rs"]
mod plants;

use plants::{AS_IT_IS, Change, PLANTS};

/// The firmware's part.
const KERNEL: [&str; 6] = ["attest.rs", "guest.rs", "interrupts.rs", "mm", "state.rs", "svsm"];
/// What stands in for the rest of it, and knows its types.
const OWN: [&str; 3] = ["cpu.rs", "scenes.rs", "sync.rs"];

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where we are"));
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where to write"));
    let kernel = here.join("../../kernel/src");
    for source in [kernel.clone(), here.join("src"), here.join("build.rs")] {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    let mut versions = String::new();
    let mut table = String::new();
    for (module, changes) in
        [(AS_IT_IS, &[][..])].into_iter().chain(PLANTS.iter().map(|plant| (plant.module, plant.changes)))
    {
        let folder = out.join(module);
        let mut files = Vec::new();
        KERNEL.iter().for_each(|name| find(&kernel, Path::new(name), &mut files));
        for file in &files {
            let text = fs::read_to_string(kernel.join(file)).expect("the firmware's sources are there");
            let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
            copy(&folder, file, &changed(text, file, changes).replace("crate::", &format!("crate::{module}::")));
        }
        for file in OWN.map(PathBuf::from) {
            let text = fs::read_to_string(here.join("src/version").join(&file)).expect("our sources are there");
            copy(&folder, &file, &changed(text, &file, changes));
        }
        let applied: usize = changes.iter().filter(|change| folder.join(change.file).is_file()).count();
        assert_eq!(applied, changes.len(), "{module}: a change of a file that is not copied");
        module_of(&mut versions, module, &folder);
        writeln!(table, "    ({module:?}, &{module}::scenes::SCENES),").expect("a string takes it");
    }
    writeln!(
        versions,
        "/// The scenes with each version of the code.\npub const VERSIONS: &[(&str, &[Scene])] = &[\n{table}];"
    )
    .expect("a string takes it");
    fs::write(out.join("versions.rs"), versions).expect("the folder is ours");
}

fn find(root: &Path, name: &Path, files: &mut Vec<PathBuf>) {
    let path = root.join(name);
    if path.is_file() {
        return files.push(name.to_owned());
    }
    let mut entries: Vec<_> = fs::read_dir(path).expect("a folder of the firmware's").flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    entries.iter().for_each(|entry| find(root, &name.join(entry.file_name()), files));
}

fn changed(text: String, file: &Path, changes: &[Change]) -> String {
    changes.iter().filter(|change| Path::new(change.file) == file).fold(text, |text, change| {
        assert_eq!(text.matches(change.from).count(), 1, "{} has this not once:\n{}", change.file, change.from);
        text.replace(change.from, change.to)
    })
}

fn copy(folder: &Path, file: &Path, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is ours");
    fs::write(path, text).expect("the folder is ours");
}

fn module_of(versions: &mut String, module: &str, folder: &Path) {
    let modules = [
        "attest.rs",
        "guest.rs",
        "interrupts.rs",
        "mm/mod.rs",
        "state.rs",
        "svsm/mod.rs",
        "cpu.rs",
        "scenes.rs",
        "sync.rs",
    ];
    writeln!(
        versions,
        "#[allow(dead_code, missing_docs, unused_imports, clippy::all, reason = \"copies, of which only a part is used\")]\n\
         pub mod {module} {{"
    )
    .expect("a string takes it");
    for path in modules {
        let name = path.split(['/', '.']).next().unwrap_or_default();
        writeln!(versions, "    #[path = {:?}]\n    pub mod {name};", folder.join(path)).expect("a string takes it");
    }
    versions.push_str("}\n");
}
