//! The name by which programs find the shared library: it changes when an old program could not use a new one.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libquoin.so.0");
}
