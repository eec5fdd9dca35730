//! The archive format of an initramfs: "newc" of cpio, as the kernel's `Documentation/driver-api/early-userspace` has
//! it.

/// What an entry is, in the upper bits of its mode.
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER: u32 = 0o020_000;

/// An archive in the making. All entries belong to root and have no time, so the same content is the same archive.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// A folder. Its parent must have come before.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// A file that everyone may read and run.
    pub(super) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, REGULAR | 0o755, (0, 0), content);
    }

    /// A file that everyone may read.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, REGULAR | 0o644, (0, 0), content);
    }

    /// A character device.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER | 0o600, (major, minor), &[]);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        let size = u32::try_from(content.len()).expect("a file of an initramfs has less than 4 GiB");
        let name_size = path.len() as u32 + 1;
        // inode, mode, user, group, links, time, size, device of the file, device that it is, name, checksum
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0]
            .map(|field| format!("{field:08x}"));
        self.bytes.extend_from_slice(b"070701");
        self.bytes.extend_from_slice(fields.concat().as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_begin_at_multiples_of_four_and_the_trailer_ends_them() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.program("bin/x", b"12345");
        archive.device("console", 5, 1);
        let bytes = archive.finish();
        let starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"070701")).collect();
        assert_eq!(starts.len(), 4);
        assert!(starts.iter().all(|at| at % 4 == 0));
        assert_eq!(&bytes[starts[0] + 14..starts[0] + 22], b"000041ed");
        assert_eq!(&bytes[starts[1] + 54..starts[1] + 62], b"00000005");
        assert_eq!(&bytes[starts[1] + 116..starts[1] + 121], b"12345");
        assert_eq!(&bytes[starts[3] + 110..starts[3] + 120], b"TRAILER!!!");
    }
}
