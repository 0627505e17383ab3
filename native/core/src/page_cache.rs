//! What of a file is in memory already: to read that takes no thread that may wait for a disk.

use std::fs::File;

/// How the file of one reader is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageCache {
    /// The system may have parts of it; it is asked.
    #[default]
    Asked,
    /// The file lives there, or in swap, where it may have to be waited for all the same.
    Whole,
    /// A part was missing, or the system cannot tell: the next one is waited for, and then shows where the file lives.
    Untold,
    /// The rest is waited for.
    Missing,
}

impl PageCache {
    /// The bytes of `file` at `position` that are there, as far as `target` goes; none where they have to be waited for,
    /// which also meets the end of the file and what is wrong with it.
    pub fn read(&mut self, file: &File, target: &mut [u8], position: u64) -> usize {
        let (read, otherwise) = match self {
            Self::Asked => (system::read_cached(file, target, position), Self::Untold),
            Self::Whole => (system::read(file, target, position), Self::Missing),
            Self::Untold | Self::Missing => return 0,
        };
        if read.is_none() {
            *self = otherwise;
        }
        read.unwrap_or(0)
    }

    /// Whether [`PageCache::read`] may find anything.
    pub fn is_of_use(self) -> bool {
        matches!(self, Self::Asked | Self::Whole)
    }

    /// After a part of `file` was waited for. Asks the file system once, and may wait itself.
    pub fn after_wait(self, file: &File) -> Self {
        if self != Self::Missing && system::is_memory(file) {
            Self::Whole
        } else {
            Self::Missing
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;
    use std::io::IoSliceMut;
    use std::os::unix::fs::FileExt;

    use rustix::fs::fstatfs;
    use rustix::io::{ReadWriteFlags, preadv2, retry_on_intr};

    /// `TMPFS_MAGIC` of statfs(2); it does not know `RWF_NOWAIT`.
    const TMPFS: i128 = 0x0102_1994;

    pub fn read_cached(file: &File, target: &mut [u8], position: u64) -> Option<usize> {
        let read = retry_on_intr(|| preadv2(file, &mut [IoSliceMut::new(target)], position, ReadWriteFlags::NOWAIT));
        read.ok().filter(|read| *read > 0)
    }

    pub fn read(file: &File, target: &mut [u8], position: u64) -> Option<usize> {
        file.read_at(target, position).ok().filter(|read| *read > 0)
    }

    pub fn is_memory(file: &File) -> bool {
        // The type is the architecture's.
        fstatfs(file).is_ok_and(|system| i128::from(system.f_type) == TMPFS)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;

    pub fn read_cached(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
        None
    }

    pub fn read(_: &File, _: &mut [u8], _: u64) -> Option<usize> {
        None
    }

    pub fn is_memory(_: &File) -> bool {
        false
    }
}
