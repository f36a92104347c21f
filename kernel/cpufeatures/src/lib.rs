//! What the processor can do, as RustCrypto's crates ask for it: in the place of their `cpufeatures` 0.3, with the same
//! macro.
//!
//! The firmware does not turn XSAVE on, so nothing that needs more state than SSE's can ever run there. The crate whose
//! place this takes finds that out at run time, where the linker cannot see it: code for VAES, AVX2 and AVX-512 was 20
//! KB of the measured image. Here such a feature is a constant `false`, and its code is not linked. AES-NI, SHA-NI and
//! the like are found at run time by CPUID, which is asked once for all crates: below SEV-SNP it is an exception. The
//! engine is built so everywhere, so that tests and benchmarks run the code that the firmware has.

#![no_std]
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// CPUID has been asked.
const ASKED: u32 = 1 << 31;
/// What no processor has, since XSAVE is off.
const NEVER: u32 = 1 << 30;

/// The features that are found, each with its bit of [`FOUND`]: leaf, register and bit are in [`ask`].
const SSE2: u32 = 1;
const SSSE3: u32 = 1 << 1;
const SSE41: u32 = 1 << 2;
const AES: u32 = 1 << 3;
const SHA: u32 = 1 << 4;

static FOUND: AtomicU32 = AtomicU32::new(0);

/// The features `names`, as bits.
///
/// # Panics
///
/// If a name is unknown: an error of compilation, since [`new!`] calls it there. A crate that asks for something new
/// needs a decision here.
#[doc(hidden)]
#[must_use]
pub const fn bits(names: &[&str]) -> u32 {
    let mut bits = 0;
    let mut rest = names;
    while let [name, others @ ..] = rest {
        bits |= match name.as_bytes() {
            b"sse2" => SSE2,
            b"ssse3" => SSSE3,
            b"sse4.1" => SSE41,
            b"aes" => AES,
            b"sha" => SHA,
            // CLMUL needs no XSAVE, but the crate that asks for it wants AVX with it.
            b"pclmulqdq" | b"avx" | b"avx2" | b"avx512f" | b"avx512vl" | b"vaes" => NEVER,
            _ => panic!("an unknown feature"),
        };
        rest = others;
    }
    bits
}

/// Whether the processor has all features in `wanted`.
#[doc(hidden)]
#[inline(always)]
#[must_use]
pub fn has(wanted: u32) -> bool {
    if wanted & NEVER != 0 {
        return false;
    }
    let found = match FOUND.load(Relaxed) {
        0 => ask(),
        found => found,
    };
    found & wanted == wanted
}

/// Asks the processor, and remembers.
#[cold]
#[cfg(target_arch = "x86_64")]
fn ask() -> u32 {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    let (basic, extended) = (__cpuid(1), __cpuid_count(7, 0));
    let answers = [
        (basic.edx, 26, SSE2),
        (basic.ecx, 9, SSSE3),
        (basic.ecx, 19, SSE41),
        (basic.ecx, 25, AES),
        (extended.ebx, 29, SHA),
    ];
    let found = answers.iter().filter(|(register, bit, _)| register >> bit & 1 == 1);
    let found = found.fold(ASKED, |found, (_, _, feature)| found | feature);
    FOUND.store(found, Relaxed);
    found
}

/// Other processors are not asked.
#[cfg(not(target_arch = "x86_64"))]
fn ask() -> u32 {
    ASKED
}

/// Makes a module `name` that says whether the processor has all of the features.
#[macro_export]
macro_rules! new {
    ($name:ident, $($feature:literal),+ $(,)?) => {
        #[allow(dead_code, unreachable_pub, reason = "each crate uses some of it")]
        mod $name {
            const WANTED: u32 = $crate::bits(&[$($feature),+]);

            /// Says that the processor was asked.
            #[derive(Clone, Copy, Debug)]
            pub struct InitToken(());

            impl InitToken {
                /// A token.
                #[inline(always)]
                pub fn init() -> Self {
                    Self(())
                }

                /// A token, and whether the processor has the features.
                #[inline(always)]
                pub fn init_get() -> (Self, bool) {
                    init_get()
                }

                /// Whether the processor has the features.
                #[inline(always)]
                pub fn get(&self) -> bool {
                    get()
                }
            }

            /// A token.
            #[inline(always)]
            pub fn init() -> InitToken {
                InitToken(())
            }

            /// A token, and whether the processor has the features.
            #[inline(always)]
            pub fn init_get() -> (InitToken, bool) {
                (InitToken(()), get())
            }

            /// Whether the processor has the features.
            #[inline(always)]
            pub fn get() -> bool {
                $crate::has(WANTED)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::{bits, has};

    new!(token, "aes");
    new!(with_avx, "pclmulqdq", "avx");

    #[test]
    fn what_needs_xsave_is_never_there() {
        for feature in ["avx", "avx2", "avx512f", "avx512vl", "vaes"] {
            assert!(!has(bits(&[feature])), "{feature}");
            assert!(!has(bits(&["sse2", feature])), "with {feature}");
        }
        assert!(!with_avx::get());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_needs_no_xsave_is_as_the_standard_library_finds_it() {
        extern crate std;
        let there = [
            ("sse2", std::arch::is_x86_feature_detected!("sse2")),
            ("ssse3", std::arch::is_x86_feature_detected!("ssse3")),
            ("sse4.1", std::arch::is_x86_feature_detected!("sse4.1")),
            ("aes", std::arch::is_x86_feature_detected!("aes")),
            ("sha", std::arch::is_x86_feature_detected!("sha")),
        ];
        for (feature, there) in there {
            assert_eq!(has(bits(&[feature])), there, "{feature}");
        }
        assert_eq!(token::init_get().1, token::init().get());
    }

    #[test]
    #[should_panic(expected = "an unknown feature")]
    fn what_nobody_has_decided_on_is_refused() {
        let _ = bits(&["sha512"]);
    }
}
