//! A BPF array in this process's memory, which the kernel's programs write while it is read; or memory of the same
//! layout, which the native form of the program writes.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

/// A type that the skeleton made from a C struct: plain numbers and arrays of them.
///
/// # Safety
/// Every bit pattern is a value, the size is a multiple of 8 and the alignment at most 8.
pub(super) unsafe trait Plain: Copy {}

/// All elements of an array map of `T`, mapped until dropped. It outlives the map's file descriptor.
#[derive(Debug)]
pub(super) struct MappedArray {
    words: NonNull<AtomicU64>,
    len_bytes: usize,
}

// SAFETY: the memory is shared with the kernel anyway, is only accessed through atomics, and belongs to no thread.
unsafe impl Send for MappedArray {}
// SAFETY: as above.
unsafe impl Sync for MappedArray {}

impl MappedArray {
    /// Maps `elements` values of type `T`.
    pub(super) fn new<T: Plain>(map: impl AsFd, elements: usize) -> io::Result<MappedArray> {
        Self::map(elements * size_of::<T>(), libc::MAP_SHARED, map.as_fd().as_raw_fd())
    }

    /// Memory for as many values, all 0. Pages that nothing is written to take no memory.
    pub(super) fn anonymous<T: Plain>(elements: usize) -> io::Result<MappedArray> {
        Self::map(elements * size_of::<T>(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
    }

    fn map(len_bytes: usize, flags: c_int, fd: c_int) -> io::Result<MappedArray> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else knows it.
        let address = unsafe { libc::mmap(ptr::null_mut(), len_bytes, protection, flags, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(MappedArray { words, len_bytes })
    }

    /// Where the elements are, for the native form of the program.
    pub(super) fn as_ptr(&self) -> *mut c_void {
        self.words.as_ptr().cast()
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, len_bytes long and lives as long as self; AtomicU64 allows others to write.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.len_bytes / 8) }
    }

    /// The words of element `index`, as the kernel changes them.
    pub(super) fn element<T: Plain>(&self, index: usize) -> &[AtomicU64] {
        let len = size_of::<T>() / 8;
        &self.words()[index * len..(index + 1) * len]
    }

    /// A copy of element `index`, word by word. Each word is whole; two words may be from two moments.
    pub(super) fn read<T: Plain>(&self, index: usize) -> T {
        copy(self.element::<T>(index))
    }

    /// How long it is.
    pub(super) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// How many elements of this type there are.
    pub(super) fn len<T: Plain>(&self) -> usize {
        self.len_bytes / size_of::<T>()
    }
}

/// The value that these words are.
pub(super) fn copy<T: Plain>(words: &[AtomicU64]) -> T {
    assert_eq!(words.len() * 8, size_of::<T>(), "a value is read from its own words");
    let mut value = std::mem::MaybeUninit::<T>::uninit();
    let to = value.as_mut_ptr().cast::<u64>();
    for (index, word) in words.iter().enumerate() {
        // SAFETY: index is below size_of::<T>() / 8, as asserted.
        unsafe { to.add(index).write_unaligned(word.load(Ordering::Relaxed)) };
    }
    // SAFETY: all bytes are written, and any bytes are a value of a Plain type.
    unsafe { value.assume_init() }
}

impl Drop for MappedArray {
    fn drop(&mut self) {
        // SAFETY: what mmap gave; no reference into it outlives self.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.len_bytes) };
    }
}
