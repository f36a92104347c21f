//! `cargo xtask capi`: the engine as a library for C, and the suite of it.

use crate::tpm;
use anyhow::{Context, Result, ensure};
use booted::{Totals, case};
use fs_err as fs;
use host::debian::{self, Wanted};
use host::progress::Progress;
use host::{child, workspace};
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of `cargo xtask capi`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What its TPMs can do, as for `cargo xtask tpm`.
    #[arg(long, value_name = "NAME", default_value = tpm::PROFILE, value_parser = tpm::PROFILES)]
    profile: String,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What programs ask the dynamic linker for: tpm-core/capi/build.rs.
const SONAME: &str = "libquoin.so.0";
/// What Rust's standard library wants where it is linked in.
const SYSTEM: &str = "-lgcc_s -lpthread -lm -ldl -lc";
/// What compiles, looks at and runs programs with the library.
pub const PROGRAMS: [Wanted; 5] =
    [("cc", "gcc"), ("c++", "g++"), ("pkg-config", "pkgconf"), ("readelf", "binutils"), ("valgrind", "valgrind")];
const STRICT: [&str; 6] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-D_POSIX_C_SOURCE=200809L"];
/// The last line of a program that found all to be right.
const SAID: &str = "a TPM in C\n";

/// Runs the verb.
pub fn run(args: &Args) -> Result<()> {
    println!("{}", make(&args.profile)?.display());
    Ok(())
}

/// Builds the library, and gives the folder with `include`, `lib` and `lib/pkgconfig`, which may be moved.
fn make(profile: &str) -> Result<PathBuf> {
    let progress = Progress::start("libquoin");
    let mut command = child::command(workspace::cargo());
    command.current_dir(workspace::root()?).args(["build", "--quiet", "--locked", "--release"]);
    command.args(["--package", "quoin-capi", "--lib"]).env("QUOIN_PROFILE", profile);
    ensure!(command.status().context("cannot start cargo")?.success(), "the library does not compile");
    progress.done(&format!("built, profile {profile}"));

    let built = workspace::target_dir()?.join("release");
    let folder = workspace::target_dir()?.join("capi");
    let _ = fs::remove_dir_all(&folder);
    let (headers, libraries) = (folder.join("include"), folder.join("lib"));
    fs::create_dir_all(&headers)?;
    fs::create_dir_all(libraries.join("pkgconfig"))?;
    fs::copy(workspace::root()?.join("tpm-core/capi/include/quoin.h"), headers.join("quoin.h"))?;
    fs::copy(built.join("libquoin.a"), libraries.join("libquoin.a"))?;
    let shared = format!("libquoin.so.{VERSION}");
    fs::copy(built.join("libquoin.so"), libraries.join(&shared))?;
    symlink(&shared, libraries.join(SONAME))?;
    symlink(SONAME, libraries.join("libquoin.so"))?;
    fs::write(libraries.join("pkgconfig/quoin.pc"), description())?;
    Ok(folder)
}

/// What pkg-config reads.
fn description() -> String {
    format!(
        "prefix=${{pcfiledir}}/../..\n\n\
         Name: quoin\n\
         Description: a TPM 2.0 in memory-safe Rust\n\
         Version: {VERSION}\n\
         Cflags: -I${{prefix}}/include\n\
         Libs: -L${{prefix}}/lib -lquoin\n\
         Libs.private: {SYSTEM}\n"
    )
}

/// The library as a user has it.
pub fn suite() -> Result<Totals> {
    debian::ensure(&PROGRAMS)?;
    let folder = make(tpm::PROFILE)?;
    let tests = folder.join("tests");
    fs::create_dir_all(&tests)?;
    let mut totals = case("it shows the functions of its header and nothing else", shows(&folder));
    totals += case("its header is C99 to C17 and C++98 to C++20", dialects(&folder));
    totals += case("a program in C, linked with the shared library", shared(&folder, &["cc", "-std=c99"], "c"));
    totals += case(
        "the same program in C++",
        shared(&folder, &["c++", "-std=c++11", "-Wno-missing-field-initializers"], "c++"),
    );
    totals += case("the same program with the library in it", inside(&folder));
    totals += case("valgrind finds nothing that is read before it is written, or lost", valgrind(&tests.join("c")));
    Ok(totals)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The functions that a header declares.
fn declared(header: &str) -> BTreeSet<&str> {
    let lines = header.lines().filter(|line| !line.starts_with([' ', '/', '#', '}']));
    lines.filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next().filter(|_| line.contains('('))).collect()
}

fn shows(folder: &Path) -> Result<()> {
    let library = folder.join("lib").join(SONAME);
    let dynamic = output(Command::new("readelf").arg("--dynamic").arg("--wide").arg(&library))?;
    ensure!(dynamic.contains(&format!("Library soname: [{SONAME}]")), "{dynamic}");
    let symbols = output(Command::new("nm").args(["--dynamic", "--defined-only", "--format=posix"]).arg(&library))?;
    let shown: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split([' ', '@']).next()).collect();
    let header = fs::read_to_string(folder.join("include/quoin.h"))?;
    let declared = declared(&header);
    ensure!(declared.len() > 20 && shown == declared, "shown {shown:?}, declared {declared:?}");
    Ok(())
}

fn dialects(folder: &Path) -> Result<()> {
    for (compiler, language, standards) in
        [("cc", "c", ["c99", "c11", "c17"]), ("c++", "c++", ["c++98", "c++11", "c++20"])]
    {
        for standard in standards {
            let mut command = Command::new(compiler);
            command.args(STRICT).arg(format!("-std={standard}")).args(["-x", language, "-fsyntax-only"]);
            output(command.arg(folder.join("include/quoin.h")))?;
        }
    }
    Ok(())
}

/// What pkg-config says of the library.
fn flags(folder: &Path, options: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", folder.join("lib/pkgconfig")).args(options).arg("quoin");
    Ok(output(&mut command)?.split_whitespace().map(String::from).collect())
}

/// The program of tpm-core/capi/tests.
fn source() -> Result<PathBuf> {
    Ok(workspace::root()?.join("tpm-core/capi/tests/embedder.c"))
}

fn runs(program: &Path, folder: &Path) -> Result<()> {
    let said = output(Command::new(program).env("LD_LIBRARY_PATH", folder.join("lib")))?;
    ensure!(said == SAID, "{said}");
    Ok(())
}

fn shared(folder: &Path, compiler: &[&str], language: &str) -> Result<()> {
    let [program, options @ ..] = compiler else { return Ok(()) };
    let binary = folder.join("tests").join(language);
    let mut command = Command::new(program);
    command.args(STRICT).args(options).arg("-o").arg(&binary).args(["-x", language]).arg(source()?);
    output(command.args(["-x", "none"]).args(flags(folder, &["--cflags", "--libs"])?).arg("-lpthread"))?;
    runs(&binary, folder)
}

fn inside(folder: &Path) -> Result<()> {
    let binary = folder.join("tests/inside");
    let mut command = Command::new("cc");
    command.args(STRICT).arg("-std=c99").arg("-o").arg(&binary).arg(source()?);
    command.args(flags(folder, &["--cflags"])?).arg(folder.join("lib/libquoin.a"));
    let rest = flags(folder, &["--libs", "--static"])?;
    output(command.args(rest.iter().filter(|flag| *flag != "-lquoin")))?;
    let needs = output(Command::new("readelf").arg("--dynamic").arg("--wide").arg(&binary))?;
    ensure!(!needs.contains("libquoin"), "{needs}");
    runs(&binary, folder)
}

fn valgrind(program: &Path) -> Result<()> {
    let folder = program.parent().and_then(Path::parent).context("the program is nowhere")?;
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=all"]);
    let said = output(command.args(["--show-leak-kinds=all"]).arg(program).env("LD_LIBRARY_PATH", folder.join("lib")))?;
    ensure!(said == SAID, "{said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::declared;

    #[test]
    fn functions_are_found_in_a_header() {
        let header =
            "/* no(thing) */\n * f(x)\ntypedef int t;\nint one(void);\nconst char *two(int a,\n      int b);\n}\n";
        assert_eq!(declared(header).into_iter().collect::<Vec<_>>(), ["one", "two"]);
    }
}
