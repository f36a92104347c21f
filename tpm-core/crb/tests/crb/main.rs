//! The device as a guest and its embedder see it.

mod accesses;
mod beside;
mod drivers;
mod elsewhere;
mod guest_memory;
mod launch;
mod localities;
mod random;
mod rig;
mod saved;
mod transitions;

/// What docs/crb.md says of the device is that tests with these names pass.
#[test]
fn every_test_that_the_page_names_is_here() {
    const SOURCES: [&str; 10] = [
        include_str!("accesses.rs"),
        include_str!("beside.rs"),
        include_str!("drivers.rs"),
        include_str!("elsewhere.rs"),
        include_str!("guest_memory.rs"),
        include_str!("launch.rs"),
        include_str!("localities.rs"),
        include_str!("random.rs"),
        include_str!("saved.rs"),
        include_str!("transitions.rs"),
    ];
    let page = include_str!("../../../../docs/crb.md");
    let words = page.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
    let mut named = 0;
    for word in words.filter(|word| word.matches('_').count() > 3) {
        let test = format!("#[test]\nfn {word}()");
        assert!(SOURCES.iter().any(|source| source.contains(&test)), "{word}");
        named += 1;
    }
    assert!(named > 25, "{named}");
    // And every row has one.
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| register |")) {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        assert!(row.starts_with("| access |") || tests.matches('_').count() > 3, "{row}");
    }
}
