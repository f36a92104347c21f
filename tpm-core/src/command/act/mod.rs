//! Part 3, 32: Authenticated Countdown Timer.

pub(crate) mod act_set_timeout;
