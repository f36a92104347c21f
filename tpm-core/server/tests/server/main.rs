//! The program as a process.
//!
//! | module | is about |
//! |---|---|
//! | `client` | a server, and what its clients do |
//! | `background` | `--daemon` and `--pid` |
//! | `kept` | `--state`, and kill -9 |
//! | `many` | `--state-root` |
//! | `provisioned` | `provision` |
//! | `serving` | clients of all kinds, signals |
//! | `setup` | `setup`, as libvirt calls swtpm_setup |
//! | `socket` | `socket` and `ioctl`, as libvirt calls swtpm and swtpm_ioctl |
//! | `verified` | the verifier, over the ports |
//! | `words` | what the program says of itself, and in its messages |

mod background;
mod client;
mod kept;
mod many;
mod provisioned;
mod serving;
mod setup;
mod socket;
mod verified;
mod words;
