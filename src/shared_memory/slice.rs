//! [`Shared`]: a slice of plain old data that processes share.

use std::{fmt, io, marker::PhantomData, ops::Deref};

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{SharedBytes, passing};

/// A slice of plain old data in shared memory, as `Shared<[T]>`: [`SharedBytes`] of numbers.
///
/// `T` is anything that [`bytemuck::Pod`](https://docs.rs/bytemuck/latest/bytemuck/trait.Pod.html) is implemented for: numbers, arrays of them, and structs with `#[repr(C)]` that derive
/// it. Such types hold no pointers and no padding, and any bytes are a value of theirs, so that a slice can be read in
/// another process as it lies in memory. All of them cross, are freed and are limited as [`SharedBytes`] are.
///
/// # Examples
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use heavylift::{Shared, gather, run_in_process_pool};
///
/// fn sum((table, from, to): (Shared<[f64]>, usize, usize)) -> f64 {
///     table[from..to].iter().sum()
/// }
///
/// let table = Shared::create(1000, |table| table.fill(0.5))?;
/// let parts = (0..4).map(|n| run_in_process_pool(sum, (table.clone(), n * 250, (n + 1) * 250)));
/// assert_eq!(gather(parts).await?, [125.0; 4]);
/// # Ok(())
/// # }
/// ```
pub struct Shared<T: ?Sized> {
    /// As many bytes as some elements have, aligned for them: pieces begin with a page.
    bytes: SharedBytes,
    element: PhantomData<T>,
}

impl<T: Pod> Shared<[T]> {
    const SIZE: usize = {
        assert!(size_of::<T>() > 0, "elements without a size have nothing to share");
        assert!(align_of::<T>() <= 4096, "elements are aligned to a page at most");
        size_of::<T>()
    };

    /// Returns shared memory that holds a copy of `elements`: the only copy there will be.
    ///
    /// # Errors
    ///
    /// As [`SharedBytes::copy_from_slice`].
    pub fn copy_from_slice(elements: &[T]) -> io::Result<Self> {
        SharedBytes::copy_from_slice(bytemuck::cast_slice(elements)).map(Self::over)
    }

    /// Returns shared memory of `len` elements that `fill` has written in place, without any copy. It finds zeros.
    ///
    /// # Errors
    ///
    /// As [`SharedBytes::create`].
    ///
    /// # Panics
    ///
    /// If `fill` does. Nothing is left behind.
    pub fn create(len: usize, fill: impl FnOnce(&mut [T])) -> io::Result<Self> {
        let size = len.checked_mul(Self::SIZE).ok_or(io::ErrorKind::OutOfMemory)?;
        SharedBytes::create(size, |bytes| fill(bytemuck::cast_slice_mut(bytes))).map(Self::over)
    }

    fn over(bytes: SharedBytes) -> Self {
        Self { bytes, element: PhantomData }
    }

    /// Returns the bytes of the elements, without a copy.
    pub fn into_bytes(self) -> SharedBytes {
        self.bytes
    }

    fn check(bytes: SharedBytes) -> Result<Self, String> {
        if bytes.len().is_multiple_of(Self::SIZE) {
            return Ok(Self::over(bytes));
        }
        Err(format!("{} bytes are no whole number of elements of {} bytes", bytes.len(), Self::SIZE))
    }
}

/// Reads bytes as elements, without a copy.
impl<T: Pod> TryFrom<SharedBytes> for Shared<[T]> {
    type Error = io::Error;

    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) when a part of an element is left over.
    fn try_from(bytes: SharedBytes) -> io::Result<Self> {
        Self::check(bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

impl<T: Pod> Deref for Shared<[T]> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes)
    }
}

impl<T: Pod> AsRef<[T]> for Shared<[T]> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), element: PhantomData }
    }
}

/// Compares the elements.
impl<T: Pod + PartialEq> PartialEq for Shared<[T]> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Pod + Eq> Eq for Shared<[T]> {}

impl<T: Pod> fmt::Debug for Shared<[T]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T: Pod> Serialize for Shared<[T]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bytes.serialize(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for Shared<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = SharedBytes::deserialize(deserializer)?;
        passing::note_elements::<T>();
        Self::check(bytes).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_what_was_written_and_lie_where_they_must() {
        let table = Shared::copy_from_slice(&[1.5f64, -2.0]).unwrap();
        assert_eq!(*table, [1.5, -2.0]);
        assert!(table.as_ptr().is_aligned());
        let created = Shared::create(2, |pair: &mut [[u16; 3]]| pair[1] = [7, 8, 9]).unwrap();
        assert_eq!(*created, [[0, 0, 0], [7, 8, 9]]);
        assert!(Shared::<[u128]>::copy_from_slice(&[]).unwrap().is_empty());
    }

    #[test]
    fn bytes_are_elements_only_if_none_is_left_over() {
        let bytes = SharedBytes::copy_from_slice(&[1; 12]).unwrap();
        assert_eq!(Shared::<[u32]>::try_from(bytes.clone()).unwrap()[2], 0x0101_0101);
        let error = Shared::<[u64]>::try_from(bytes).unwrap_err();
        assert_eq!(error.to_string(), "12 bytes are no whole number of elements of 8 bytes");
    }

    #[test]
    fn more_than_there_can_be_is_an_error() {
        assert!(Shared::<[u64]>::create(usize::MAX / 4, |_| ()).is_err());
    }
}
