//! What the exit statuses of `cargo xtask` mean, for all verbs: the manual prints [`TABLE`].

/// Printed below the manual.
pub const TABLE: &str = "Exit status:
  0    done; for verify: verified
  1    failed, and said why: a test, a build, a file, a boot; for demo: not both
       verified and refused; for doctor: `run` or `ci` cannot work here
  2    the arguments are wrong
  3    verify: consistent, but not verified, since nothing says which launch digest is right
  10…  verify: the first step of its list fails; 11 for the second step, and so on
  40…  guest: it has not started (40), wants a restart (41), has halted (42),
       has panicked (43), has crashed (44), still runs after its time (45)
  141  nobody reads the output any more";
