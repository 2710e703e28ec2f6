//! The pages that are kept, and the system calls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::param::page_size;

/// From this many bytes on a buffer's pages are kept: clearing them takes a hundred times what
/// the bookkeeping does.
pub const LARGE: usize = 1 << 20;

/// The allocator: `#[global_allocator] static ALLOCATOR: Reuse = Reuse;`.
pub struct Reuse;

/// How many stretches are kept at most. Neighbours are joined, so there are few: 4 to 9 while
/// GPT-2's blocks are proven.
const MOST_STRETCHES: usize = 256;

/// Whole pages that follow one another.
#[derive(Clone, Copy)]
struct Stretch {
    start: usize,
    len: usize,
}

impl Stretch {
    fn end(self) -> usize {
        self.start + self.len
    }

    /// Gives the last `len` bytes back to the system.
    fn hand_back(self, len: usize) {
        let start = ptr::with_exposed_provenance_mut(self.end() - len);
        // What the system does not take stays unused.
        // SAFETY: nobody has these pages: they come from `map`, and whoever had them freed them.
        let _ = unsafe { munmap(start, len) };
    }
}

/// What is kept; by address, with gaps between one stretch and the next.
struct Kept {
    stretches: [Stretch; MOST_STRETCHES],
    count: usize,
    /// Their lengths together.
    bytes: usize,
    /// The most memory that the process had in use at once since the last [`release`], without
    /// what was kept.
    most: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    stretches: [Stretch { start: 0, len: 0 }; MOST_STRETCHES],
    count: 0,
    bytes: 0,
    most: 0,
});

/// A thread that dies in here leaves whole stretches, at worst fewer.
fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// Pages for a buffer of `len` bytes, and whether they are new, so cleared.
    fn take(&mut self, len: usize) -> Option<(usize, bool)> {
        let fitting = (0..self.count).filter(|&i| self.stretches[i].len >= len);
        if let Some(i) = fitting.min_by_key(|&i| self.stretches[i].len) {
            let start = self.stretches[i].start;
            self.stretches[i].start += len;
            self.shorten(i, len);
            return Some((start, false));
        }
        self.make_room(len);
        let start = map(len).or_else(|| {
            self.clear();
            map(len)
        });
        start.map(|start| (start, true))
    }

    /// Hands back what would make the process larger than it ever was, when it gets `len` bytes
    /// more: with `resident` bytes now it would have had at most
    /// `max(most, resident - bytes + len)` if nothing had been kept.
    fn make_room(&mut self, len: usize) {
        let Some(resident) = resident() else {
            return self.clear();
        };
        self.seen(resident);
        let allowed = self.most.max(resident.saturating_sub(self.bytes) + len);
        let mut over = (resident + len)
            .saturating_sub(allowed)
            .next_multiple_of(page_size());
        // The short ones first: a long one is worth more.
        while let Some(i) = (0..self.count).min_by_key(|&i| self.stretches[i].len) {
            if over == 0 {
                break;
            }
            let cut = over.min(self.stretches[i].len);
            self.stretches[i].hand_back(cut);
            self.shorten(i, cut);
            over -= cut;
        }
    }

    fn seen(&mut self, resident: usize) {
        self.most = self.most.max(resident.saturating_sub(self.bytes));
    }

    /// Notes that a stretch has lost bytes.
    fn shorten(&mut self, i: usize, by: usize) {
        self.bytes -= by;
        self.stretches[i].len -= by;
        if self.stretches[i].len == 0 {
            self.remove(i);
        }
    }

    fn remove(&mut self, i: usize) {
        self.stretches.copy_within(i + 1..self.count, i);
        self.count -= 1;
    }

    /// Keeps the pages of a buffer that is done.
    fn give(&mut self, start: usize, len: usize) {
        if let Some(resident) = resident() {
            self.seen(resident);
        }
        let mut new = Stretch { start, len };
        let mut i = self.stretches[..self.count].partition_point(|s| s.start < start);
        if i < self.count && new.end() == self.stretches[i].start {
            new.len += self.stretches[i].len;
            self.remove(i);
        }
        if i > 0 && self.stretches[i - 1].end() == start {
            i -= 1;
            new.start = self.stretches[i].start;
            new.len += self.stretches[i].len;
            self.remove(i);
        }
        if self.count == MOST_STRETCHES {
            return new.hand_back(len);
        }
        self.stretches.copy_within(i..self.count, i + 1);
        self.stretches[i] = new;
        self.count += 1;
        self.bytes += len;
    }

    fn clear(&mut self) {
        for stretch in &self.stretches[..self.count] {
            stretch.hand_back(stretch.len);
        }
        self.count = 0;
        self.bytes = 0;
    }
}

/// Hands all pages that are kept back to the system. What was in use at once is forgotten as
/// well: the next job starts from nothing.
pub fn release() {
    let mut kept = kept();
    kept.clear();
    kept.most = 0;
}

/// How many bytes are kept.
#[cfg(test)]
pub(crate) fn bytes() -> usize {
    kept().bytes
}

fn map(len: usize) -> Option<usize> {
    let flags = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the system chooses addresses that nobody has.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), len, flags, MapFlags::PRIVATE) };
    start.ok().map(|start| start.expose_provenance())
}

/// The memory that the process has, in bytes. Allocates nothing that is large.
pub(crate) fn resident() -> Option<usize> {
    let mut text = [0; 64];
    let mut file = std::fs::File::open("/proc/self/statm").ok()?;
    let len = file.read(&mut text).ok()?;
    let mut words = std::str::from_utf8(&text[..len]).ok()?.split(' ');
    let pages: usize = words.nth(1)?.parse().ok()?;
    Some(pages * page_size())
}

/// The pages of a buffer.
fn pages(len: usize) -> usize {
    len.next_multiple_of(page_size())
}

/// Whether a buffer's pages are kept. No page is smaller than 4 KiB.
fn is_large(layout: &Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= 4096
}

fn address(start: Option<usize>) -> *mut u8 {
    start.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
}

// SAFETY: a buffer of `LARGE` bytes or more is a range of pages of its own, from `map` and not
// in `Kept`, until it is freed; smaller ones are the system allocator's. Which it is follows from
// the layout alone, and nothing here panics: there is no index that does not come from the
// stretches themselves, and no arithmetic on more than what was mapped.
unsafe impl GlobalAlloc for Reuse {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_large(&layout) {
            // SAFETY: as this function's.
            return unsafe { System.alloc(layout) };
        }
        address(kept().take(pages(layout.size())).map(|(start, _)| start))
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !is_large(&layout) {
            // SAFETY: as this function's.
            return unsafe { System.alloc_zeroed(layout) };
        }
        let Some((start, new)) = kept().take(pages(layout.size())) else {
            return ptr::null_mut();
        };
        let start = address(Some(start));
        if !new {
            // SAFETY: the pages are this buffer's since `take`.
            unsafe { start.write_bytes(0, layout.size()) };
        }
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if !is_large(&layout) {
            // SAFETY: as this function's.
            return unsafe { System.dealloc(start, layout) };
        }
        kept().give(start.expose_provenance(), pages(layout.size()));
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller says that `size` does not overflow with this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(&layout), is_large(&new)) {
            // SAFETY: as this function's.
            (false, false) => unsafe { System.realloc(start, layout, size) },
            (true, true) if pages(size) <= pages(layout.size()) => {
                let (len, had) = (pages(size), pages(layout.size()));
                if len < had {
                    kept().give(start.expose_provenance() + len, had - len);
                }
                start
            }
            // SAFETY: both buffers are as long as what is copied, and they are two.
            _ => unsafe {
                let to = self.alloc(new);
                if !to.is_null() {
                    ptr::copy_nonoverlapping(start, to, size.min(layout.size()));
                    self.dealloc(start, layout);
                }
                to
            },
        }
    }
}
