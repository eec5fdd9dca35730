//! Images: bytes to keep and to pull, files, layers, and the time that an engine takes to load one and to make a
//! container of it.
//!
//! Each image has one layer with the files that its contender looks at until it has answered, so all of them are at
//! their best: [`Tree`] says how they are found. Sizes need no engine. Where one answers, it proves that the image
//! serves, and rounds interleave all images.

mod engine;

use std::io::{Read, Seek};
use std::process::{Command, Stdio};

use clap::Args as Arguments;

use crate::coldstart::container;
use crate::harness::{Archive, Contender, Plan, Progress, Tree};
use crate::results::{Image, Images, Skipped};
use fc_emulator::error::{Error, Result};

/// Options of the measure.
#[derive(Clone, Debug, Default, Arguments)]
#[group(skip)]
pub struct Args {
    /// How often each image is loaded and made a container; 0 for sizes alone [default: 5, or 0 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
    image_rounds: Option<u32>,
}

/// The compressors: program, arguments.
const COMPRESSORS: [(&str, &[&str]); 2] = [("gzip", &["-6", "-n", "-c"]), ("zstd", &["-3", "-q", "-c"])];

/// Measures all contenders. A failure of a contender is written beside its figures.
///
/// # Errors
/// If there are no files of any contender.
pub fn run(plan: &Plan, args: &Args, progress: &mut dyn Progress, skipped: &mut Vec<Skipped>) -> Result<Images> {
    progress.begin("image, sizes", plan.contenders.len() as u64);
    let mut found = Images::default();
    let mut packed = Vec::new();
    for contender in &plan.contenders {
        let (image, archive) = sizes(contender);
        if let Some(archive) = archive {
            packed.push((contender, archive, found.contenders.len()));
        }
        found.contenders.push(image);
        progress.step(contender.name());
    }
    for (program, _) in COMPRESSORS {
        if compress(program, &["--version"], Stdio::null()).is_none() {
            let reason = format!("{program} is not installed (Debian: {program})");
            skipped.push(Skipped { what: format!("sizes of images by {program}"), reason });
        }
    }
    if packed.is_empty() {
        let why = found.contenders.iter().flat_map(|image| &image.failures).next();
        return Err(Error::failed("pack", "any contender", why.map_or("there are no contenders", String::as_str)));
    }
    let rounds = args.image_rounds.unwrap_or(if plan.quick { 0 } else { 5 });
    if rounds > 0 {
        match container::local_engine() {
            Ok(()) => engine::measure(plan, rounds, &packed, &mut found, progress),
            Err(reason) => skipped.push(Skipped { what: "images in an engine".to_owned(), reason }),
        }
    }
    Ok(found)
}

/// The files of a contender and how small they get.
type Packed<'a> = (&'a Contender, (Tree, Archive), usize);

fn sizes(contender: &Contender) -> (Image, Option<(Tree, Archive)>) {
    let mut image = Image { name: contender.name().to_owned(), ..Image::default() };
    let tree = Tree::of(contender).and_then(|tree| tree.archive().map(|archive| (tree, archive)));
    match tree {
        Err(cause) => {
            image.failures.push(cause.to_string());
            (image, None)
        }
        Ok((tree, archive)) => {
            (image.files, image.unpacked_bytes, image.tar_bytes) = (tree.count() as u64, tree.bytes(), archive.bytes);
            let [gzip, zstd] = COMPRESSORS.map(|(program, words)| {
                let mut file = archive.file.try_clone().ok()?;
                file.rewind().ok()?;
                compress(program, words, file.into())
            });
            (image.gzip_bytes, image.zstd_bytes) = (gzip, zstd);
            (image, Some((tree, archive)))
        }
    }
}

/// The length of what a compressor makes of its input.
fn compress(program: &str, words: &[&str], input: Stdio) -> Option<u64> {
    let mut child = Command::new(program);
    child.args(words).stdin(input).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().ok()?;
    let mut bytes = 0;
    if let Some(mut out) = child.stdout.take() {
        let mut some = vec![0; 1 << 16];
        while let Ok(count @ 1..) = out.read(&mut some) {
            bytes += count as u64;
        }
    }
    child.wait().ok().filter(std::process::ExitStatus::success).map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressors_are_asked_and_missing_ones_are_none() {
        assert_eq!(compress("no-such-compressor", &["-c"], Stdio::null()), None);
        assert_eq!(compress("sh", &["-c", "printf 12345"], Stdio::null()), Some(5));
        assert_eq!(compress("sh", &["-c", "printf 12345; exit 1"], Stdio::null()), None);
    }
}
