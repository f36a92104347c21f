//! Licences of the crates by others that are in the program, which want to be handed on with it.

use anyhow::{Context, Result, ensure};
use core::fmt::Write;
use std::collections::{BTreeMap, BTreeSet};
use std::env::var_os;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names, versions and licences of the crates, and the texts that they have for these, each once.
pub(crate) fn all() -> Result<String> {
    let cargo = var_os("CARGO").context("cargo runs this")?;
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--locked", "--package", "quoin-tpm", "--edges", "normal", "--prefix", "none"]);
    let output = tree.args(["--format", "{p}|{l}"]).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    // Crates of this workspace have their folder behind the version, and what was named before a mark.
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.contains(" (/"));
    let crates: BTreeSet<&str> = lines.collect();
    ensure!(crates.len() > 20, "cargo tree names {} crates", crates.len());
    let (mut all, mut texts) = (String::from("Crates in this program, and their licences:\n\n"), BTreeMap::new());
    for line in crates {
        let (name, licence) = line.split_once('|').context("cargo tree says something else")?;
        let name = name.trim_end_matches(" (proc-macro)").replacen(" v", "-", 1);
        writeln!(all, "{name}: {licence}")?;
        for file in files(&source(&name)?)? {
            let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
            texts.entry(text).or_insert_with(Vec::new).push(name.clone());
        }
    }
    for (text, names) in texts {
        writeln!(all, "\n\n==== {}\n\n{text}", names.join(", "))?;
    }
    Ok(all)
}

/// Where cargo has unpacked a crate.
fn source(name: &str) -> Result<PathBuf> {
    let home = var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(var_os("HOME")?).join(".cargo"))).context("there is no home")?;
    let registries = fs::read_dir(home.join("registry/src"))?;
    let found = registries.filter_map(|one| Some(one.ok()?.path().join(name))).find(|folder| folder.is_dir());
    found.with_context(|| format!("the sources of {name} are not there"))
}

/// The files of a folder that hold licences.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder)?.map(|one| Ok(one?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let is_text = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
        file.is_file() && ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|start| name.starts_with(start))
    };
    Ok(files.into_iter().filter(is_text).collect())
}
