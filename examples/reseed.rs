//! Ids that stay unique when the instance is copied: two restores of one snapshot share all memory, so what a generator
//! would draw next, too.
//!
//! ```sh
//! cargo run --example reseed
//! curl localhost:9000/id
//! ```
//!
//! With the argument `--keep-seed` it does not reseed in `on_thaw`. `make vm` restores both twice, and compares.

use fc_hooks::{App, Context, Reply, Request, Result, Route, Thaw};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::time::SystemTime;

static APP: App<Ids> =
    App::new(&[Route::initialize(initialize), Route::on_thaw(on_thaw), Route::invoke(draw), Route::get("/id", draw)]);

/// A generator of ids. Like every generator in user space, it does not learn that its memory was copied.
///
/// SipHash with known keys spreads well, but its output can be guessed. For ids that must stay secret, take a
/// cryptographic generator, and seed it in the same way.
struct Ids {
    seed: u64,
    drawn: u64,
    reseeds: bool,
}

impl Ids {
    /// Mixes the seed so far with what a copy does not share.
    ///
    /// Random numbers of the kernel alone are not enough: without a driver for VMGENID (Linux before 5.18, and Debian's
    /// 6.1), the kernels of two copies draw the same ones at first. The request id is another one for each copy,
    /// because the caller made it after the snapshot. The time helps where the caller sends no id.
    fn reseed(&mut self, context: &Context) -> Result<()> {
        let mut random = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let mut mixed = DefaultHasher::new();
        (self.seed, self.drawn, random, context.request_id(), SystemTime::now()).hash(&mut mixed);
        self.seed = mixed.finish();
        Ok(())
    }

    fn next(&mut self) -> u64 {
        self.drawn += 1;
        let mut mixed = DefaultHasher::new();
        (self.seed, self.drawn).hash(&mut mixed);
        mixed.finish()
    }
}

fn initialize(ids: &mut Ids, context: &Context) -> Result {
    ids.reseed(context)?;
    Ok("seeded".into())
}

/// Before the first call after a freeze or a restore. Each copy comes here with a call of its own.
fn on_thaw(ids: &mut Ids, context: &Context, _: &Thaw) -> Result<()> {
    if ids.reseeds { ids.reseed(context) } else { Ok(()) }
}

fn draw(ids: &mut Ids, _: &Context, _: &Request) -> Result {
    Ok(Reply::from(format!("{:016x}\n", ids.next())))
}

fn main() -> std::process::ExitCode {
    let reseeds = std::env::args().nth(1).as_deref() != Some("--keep-seed");
    fc_hooks::run(&APP, Ids { seed: 0, drawn: 0, reseeds })
}
