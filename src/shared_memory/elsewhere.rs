//! [`Block`] where there are no process pools: memory of this process.

use std::{io, ops::Deref};

use bytemuck::{Pod, Zeroable};

/// Aligned as shared memory is.
#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

#[expect(unsafe_code, reason = "bytemuck derives neither for arrays of this length")]
// SAFETY: an array of bytes, of which all zero is a value.
unsafe impl Zeroable for Page {}
#[expect(unsafe_code, reason = "bytemuck derives neither for arrays of this length")]
// SAFETY: an array of bytes as long as its alignment, hence without padding.
unsafe impl Pod for Page {}

/// One piece of memory.
pub(super) struct Block {
    pages: Vec<Page>,
    len: usize,
}

impl Block {
    pub(super) fn create(len: usize, fill: impl FnOnce(&mut [u8])) -> io::Result<Self> {
        let count = len.div_ceil(size_of::<Page>());
        let mut pages = Vec::new();
        pages.try_reserve_exact(count).map_err(io::Error::other)?;
        pages.resize(count, Page::zeroed());
        fill(&mut bytemuck::cast_slice_mut(&mut pages)[..len]);
        Ok(Self { pages, len })
    }

    /// A piece of no length.
    #[cfg(feature = "nats")]
    pub(super) fn nothing() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    pub(super) fn copy(bytes: &[u8]) -> io::Result<Self> {
        Self::create(bytes.len(), |area| area.copy_from_slice(bytes))
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.pages)[..self.len]
    }
}
