//! The suite of the verifier's page: a real browser takes a picture of it.

use anyhow::{Context, Result, ensure};
use booted::{Totals, case};
use fs_err as fs;
use host::guest::browser::Browser;
use host::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Octets of a page's border where a link is proven, and where it is not (snp/verify/src/page.rs).
const GREEN: [u8; 3] = [0x2F, 0x9E, 0x52];
const RED: [u8; 3] = [0xD0, 0x1C, 0x28];
const SIZE: (u32, u32) = (1100, 2400);

/// The pages that the verifier's tests write, and whether green and red must be seen in each.
const PAGES: [(&str, bool, bool); 3] = [("verified", true, false), ("refused", true, true), ("consistent", true, true)];

/// Makes the pages and their pictures, which are kept in `target/pictures`.
pub fn run() -> Result<Totals> {
    let folder = workspace::target_dir()?.join("pictures");
    fs::create_dir_all(&folder)?;
    pages(&folder)?;
    let browser = Browser::fetch()?;
    println!("{}", browser.version()?);
    let mut totals = Totals::default();
    for (name, green, red) in PAGES {
        let seen = look(&browser, &folder, name, green, red);
        totals += case(&format!("the page of evidence that is {name}, in a browser"), seen);
    }
    println!("the pictures are in {}", folder.display());
    Ok(totals)
}

fn pages(folder: &Path) -> Result<()> {
    let mut tests = Command::new(workspace::cargo());
    tests.current_dir(workspace::root()?).env("QUOIN_RECORD", folder);
    tests.args(["test", "--quiet", "--locked", "--package", "quoin-verify", "--lib", "page::"]);
    let output = tests.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "no pages were written:\n{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

fn look(browser: &Browser, folder: &Path, name: &str, green: bool, red: bool) -> Result<()> {
    let file = |ending: &str| -> PathBuf { folder.join(format!("{name}.{ending}")) };
    browser.picture(&file("html"), SIZE, &file("png"))?;
    let pixels = pixels(&file("png"))?;
    // Borders are drawn in these colours exactly, letters are smoothed.
    let has = |colour: [u8; 3]| pixels.iter().filter(|pixel| **pixel == colour).count() > 1000;
    ensure!(has(GREEN) == green, "green borders: {}, expected {green}", has(GREEN));
    ensure!(has(RED) == red, "red borders: {}, expected {red}", has(RED));
    let dark = pixels.iter().filter(|pixel| pixel.iter().all(|part| *part < 0x60)).count();
    ensure!(dark > 2000, "only {dark} dark pixels: there are no letters");
    Ok(())
}

/// A picture's pixels, without transparency.
fn pixels(path: &Path) -> Result<Vec<[u8; 3]>> {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path)?));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().context("a picture that is too large")?];
    let frame = reader.next_frame(&mut bytes)?;
    ensure!((frame.width, frame.height) == SIZE, "a picture of {} by {}", frame.width, frame.height);
    let samples = frame.color_type.samples();
    ensure!(samples >= 3, "a picture without colours");
    let pixels = bytes[..frame.buffer_size()].chunks_exact(samples);
    Ok(pixels.map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
}
