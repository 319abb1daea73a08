//! Batches that are decompressed before they are wanted, on other threads.
//!
//! Whoever wants a batch that no thread has begun with does it itself, and waits for one that has: nobody ever waits longer
//! than it would take alone, and what is handed out is the same. A batch that can't be decompressed is left as it is, so
//! that its error comes from where it is read.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::kafka::record::{Batch, BatchError, Compression, is_compressed, read_batches};

/// The batches of a chunk, shared by all who hold it.
#[derive(Debug, Clone)]
pub(super) struct Parcel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Bytes,
    batches: OnceLock<Vec<Result<Arc<Packed>, BatchError>>>,
}

/// A batch, decompressed or not.
#[derive(Debug)]
pub(super) struct Packed {
    held: Mutex<Held>,
    /// What it may take when it is decompressed ahead; `None` when that isn't worth it.
    room: Option<u32>,
    asked: AtomicBool,
}

#[derive(Debug)]
struct Held {
    batch: Batch,
    /// Its bytes count as long as it waits.
    _room: Option<OwnedSemaphorePermit>,
}

impl Parcel {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(Arc::new(Inner { bytes, batches: OnceLock::new() }))
    }

    /// Its batches and what is damaged, in order.
    pub(super) fn batches(&self) -> &[Result<Arc<Packed>, BatchError>] {
        let packed = |batch: Result<Batch, BatchError>| batch.map(|batch| Arc::new(Packed::new(batch)));
        self.0.batches.get_or_init(|| read_batches(&self.0.bytes).map(packed).collect())
    }

    /// Whether any of it may be worth handing over, by its size and its first batch.
    pub(super) fn is_packed(&self) -> bool {
        self.0.bytes.len() >= SMALL && is_compressed(&self.0.bytes)
    }
}

impl Packed {
    fn new(batch: Batch) -> Self {
        let plain = batch.compression() == Some(Compression::None);
        let most = u32::try_from(batch.size().saturating_mul(RATIO)).unwrap_or(LARGE).min(LARGE);
        let room = (!plain && batch.size() >= SMALL).then_some(most);
        Self { held: Mutex::new(Held { batch, _room: None }), room, asked: AtomicBool::new(false) }
    }

    /// The batch. A thread that is decompressing it is waited for.
    pub(super) fn batch(&self) -> Batch {
        lock(&self.held).batch.clone()
    }

    fn unpack(&self, mut room: OwnedSemaphorePermit) {
        let Ok(mut held) = self.held.try_lock() else { return };
        let Ok(batch) = held.batch.unpacked(room.num_permits()) else { return };
        drop(room.split(room.num_permits().saturating_sub(batch.size())));
        *held = Held { batch, _room: Some(room) };
    }
}

/// The threads of one Client: at most as many as there are cores.
#[derive(Debug)]
pub(super) struct Unpacker {
    room: Arc<Semaphore>,
    most: usize,
    work: Mutex<Work>,
}

#[derive(Debug, Default)]
struct Work {
    /// In the order in which they were handed over.
    waiting: VecDeque<Weak<Packed>>,
    threads: usize,
}

/// One of its threads, or what will be one.
struct Thread(Arc<Unpacker>);

impl Unpacker {
    pub(super) fn new() -> Arc<Self> {
        let most = available_parallelism().map_or(1, NonZero::get);
        Arc::new(Self { room: Arc::new(Semaphore::new(AHEAD)), most, work: Mutex::default() })
    }

    /// Hands over these, in this order. Outside of a runtime that is nothing.
    pub(super) fn ahead<'a>(self: &Arc<Self>, parcels: impl IntoIterator<Item = &'a Parcel>) {
        let Ok(runtime) = Handle::try_current() else { return };
        self.staff(&runtime);
        for packed in parcels.into_iter().flat_map(Parcel::batches).flatten() {
            if packed.room.is_some() && !packed.asked.swap(true, Ordering::Relaxed) {
                lock(&self.work).waiting.push_back(Arc::downgrade(packed));
                self.staff(&runtime);
            }
        }
    }

    /// Starts a thread if one is missing.
    fn staff(self: &Arc<Self>, runtime: &Handle) {
        let mut work = lock(&self.work);
        if work.threads < self.most.min(work.waiting.len()) && self.room.available_permits() >= LARGE as usize {
            work.threads += 1;
            drop(work); // a runtime that has ended drops the thread at once
            let thread = Thread(self.clone());
            runtime.spawn_blocking(move || thread.run());
        }
    }

    /// The next that is still wanted, if there is room for it.
    fn next(&self) -> Option<(Arc<Packed>, OwnedSemaphorePermit)> {
        let mut work = lock(&self.work);
        loop {
            let Some(packed) = work.waiting.front()?.upgrade() else {
                work.waiting.pop_front();
                continue;
            };
            let room = self.room.clone().try_acquire_many_owned(packed.room?).ok()?;
            work.waiting.pop_front();
            return Some((packed, room));
        }
    }
}

impl Thread {
    fn run(self) {
        while let Some((packed, room)) = self.0.next() {
            packed.unpack(room);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        lock(&self.0.work).threads -= 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of all that is decompressed and waits, or may become so.
const AHEAD: usize = 32 << 20;
/// A batch that becomes more than this, or than so many times its size, is left to who reads it.
const LARGE: u32 = 4 << 20;
const RATIO: usize = 16;
/// What is less is quicker done than handed over.
const SMALL: usize = 4 << 10;

#[cfg(test)]
mod tests;
