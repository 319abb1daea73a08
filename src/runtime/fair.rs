use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that whoever lets go of it can't take again before those who wait, as those of the standard library allow: a
/// flood of records, each of which takes milliseconds to verify, would keep a serializer from its first secret.
///
/// Taken whatever happened to its last holder.
pub(super) struct Fair<T> {
    /// Held while waiting for the value.
    turn: Mutex<()>,
    value: Mutex<T>,
}

impl<T> Fair<T> {
    pub(super) fn new(value: T) -> Self {
        Self { turn: Mutex::new(()), value: Mutex::new(value) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_comes_back_at_once_comes_after_those_who_wait() {
        let (lock, (started, flood)) = (Arc::new(Fair::new(0)), channel());
        let shared = lock.clone();
        let flooding = std::thread::spawn(move || {
            for _ in 0..200 {
                let mut count = shared.lock();
                *count += 1;
                let _ = started.send(());
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        flood.recv().unwrap();
        // it is held now, and asked for again and again
        let count = *lock.lock();
        assert!(count < 100, "{count} of 200 came first");
        flooding.join().unwrap();
        assert_eq!(*lock.lock(), 200);
    }
}
