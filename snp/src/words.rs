//! Errors in words.

/// Implements `Display` and `Error` for an error type: words for each case, formatted as by `write!`.
#[macro_export]
macro_rules! error_words {
    ($type:ty { $($case:pat => $words:literal),* $(,)? }) => {
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $($case => write!(f, $words),)*
                }
            }
        }
        impl core::error::Error for $type {}
    };
}
