use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::keys::Purpose;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn root() -> Root {
    Root::new("lab")
}

fn index(n: u64) -> KeyIndex {
    KeyIndex::long(&n.to_be_bytes()).unwrap()
}

fn secret(n: u8) -> Secret<32> {
    Secret::filled(|place| place.fill(n))
}

fn peer(n: u8) -> Origin {
    Origin::Peer { signer: SigningPublicKey::Ed25519([n; 32]), scheme: Scheme::X25519 }
}

fn limited(limits: Limits) -> Keyring {
    Keyring::with_limits(limits)
}

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

#[test]
fn a_second_secret_shadows_nothing_and_is_reported_with_its_signers() {
    let keyring = Keyring::new();
    assert_eq!(keyring.learn(&root(), &index(1), secret(1), peer(1)), Learned::New);
    assert_eq!(keyring.learn(&root(), &index(1), secret(1), peer(2)), Learned::Known);
    assert_eq!(keyring.learn(&root(), &index(1), secret(2), peer(2)), Learned::Conflict { others: vec![peer(1)] });
    let known = keyring.lookup(&root(), &index(1)).unwrap();
    let origins: Vec<_> = known.secrets().iter().map(KnownSecret::origin).collect();
    assert_eq!(origins, [&peer(1), &peer(2)]);
    assert!(keyring.lookup(&Root::new("other"), &index(1)).is_none());
}

#[test]
fn one_signer_cannot_fill_an_index() {
    let keyring = Keyring::new();
    for n in 0..4 {
        let _ = keyring.learn(&root(), &index(1), secret(n), peer(1));
    }
    assert_eq!(keyring.learn(&root(), &index(1), secret(9), peer(1)), Learned::Full);
    assert!(matches!(keyring.learn(&root(), &index(1), secret(9), peer(2)), Learned::Conflict { .. }));
    for n in 10..40 {
        let _ = keyring.learn(&root(), &index(1), secret(n), peer(n));
    }
    assert_eq!(keyring.lookup(&root(), &index(1)).unwrap().secrets().len(), 16);
}

#[test]
fn known_secrets_are_bounded_and_those_in_use_stay() {
    let keyring = limited(Limits { known_per_root: 16, known: 40, ..Limits::default() });
    for n in 0..1000 {
        let _ = keyring.learn(&root(), &index(n), secret(1), peer(1));
        assert!(keyring.lookup(&root(), &index(0)).is_some());
        assert!(keyring.lookup(&root(), &index(n)).is_some());
    }
    assert!(read(&keyring.known).len() <= 16);
    for n in 0..1000 {
        let _ = keyring.learn(&Root::new(&n.to_string()), &index(n), secret(1), peer(1));
    }
    assert!(read(&keyring.known).len() <= 40);
}

#[test]
fn wants_are_told_once_and_again_when_nobody_had_waited() {
    let keyring = Keyring::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    keyring.set_waker(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let first = keyring.want(&root(), &index(1), 0).unwrap().unwrap();
    let second = keyring.want(&root(), &index(1), 0).unwrap().unwrap();
    assert!(first.is_first() && !second.is_first());
    assert_eq!(keyring.drain_wants(), [(root(), index(1))]);
    assert!(keyring.drain_wants().is_empty() && keyring.still_waited(&root(), &index(1)));
    drop((first, second));
    assert!(!keyring.still_waited(&root(), &index(1)));
    let third = keyring.want(&root(), &index(1), 0).unwrap().unwrap();
    assert_eq!((third.is_first(), keyring.drain_wants().len()), (false, 1));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert!(!keyring.forget(&root(), &index(1)));
    drop(third);
    assert!(keyring.forget(&root(), &index(1)));
    assert_eq!(lock(&keyring.wants).len(), 0);
}

#[test]
fn a_key_that_is_known_is_not_wanted() {
    let keyring = Keyring::new();
    let _ = keyring.learn(&root(), &index(1), secret(1), peer(1));
    assert!(keyring.want(&root(), &index(1), 0).unwrap().is_none());
    assert!(keyring.drain_wants().is_empty());
    assert!(keyring.want(&root(), &index(1), 1).unwrap().is_some(), "another secret than the known one can be wanted");
}

#[test]
fn wants_are_bounded_and_held_ones_stay() {
    let keyring = limited(Limits { wanted_per_root: 4, wanted: 6, ..Limits::default() });
    let held: Vec<_> = (0..3).map(|n| keyring.want(&root(), &index(n), 0).unwrap().unwrap()).collect();
    for n in 10..1000 {
        drop(keyring.want(&root(), &index(n), 0).unwrap());
    }
    assert_eq!(lock(&keyring.wants).len(), 4);
    assert!(keyring.drain_wants().len() <= 4, "what was dropped isn't asked for");
    let full = keyring.want(&root(), &index(2000), 0).unwrap();
    assert_eq!(keyring.want(&root(), &index(2001), 0).err(), Some(TooManyUnknown));
    for n in 0..100 {
        drop(keyring.want(&Root::new(&n.to_string()), &index(n), 0).unwrap());
    }
    assert_eq!(lock(&keyring.wants).len(), 6);
    assert!((0..3).all(|n| keyring.still_waited(&root(), &index(n))));
    drop((held, full));
}

#[test]
fn a_blocked_wait_ends_the_moment_the_key_arrives() {
    let keyring = Keyring::new();
    let wanted = keyring.want(&root(), &index(1), 0).unwrap().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| keyring.wait_blocking(&wanted, LONG));
        std::thread::sleep(SHORT);
        let _ = keyring.learn(&root(), &index(1), secret(1), peer(1));
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    assert_eq!(keyring.wait_blocking(&wanted, LONG), Ok(()), "a wait that begins too late ends too");
}

#[test]
fn refusals_and_halts_end_waits_with_their_reason() {
    let keyring = Keyring::new();
    let wanted = keyring.want(&root(), &index(1), 0).unwrap().unwrap();
    let refusal = Refusal::new("not authorised by our own chain");
    keyring.refuse(&root(), &index(1), &refusal);
    assert_eq!(keyring.wait_blocking(&wanted, LONG), Err(WaitError::Refused(refusal.clone())));
    assert_eq!(wanted.refusal(), Some(refusal));
    keyring.unrefuse(&root(), &index(1));
    assert_eq!(keyring.wait_blocking(&wanted, SHORT), Err(WaitError::TimedOut));
    keyring.set_halted(Some("the node was closed"));
    let halted = Err(WaitError::Halted("the node was closed".into()));
    assert_eq!(keyring.wait_blocking(&wanted, LONG), halted);
    let later = keyring.want(&root(), &index(2), 0).unwrap().unwrap();
    assert_eq!(keyring.wait_blocking(&later, LONG), halted);
    keyring.set_halted(None);
    assert_eq!(keyring.wait_blocking(&later, SHORT), Err(WaitError::TimedOut));
}

#[test]
fn garbage_cannot_stall_a_consumer_message_by_message() {
    let keyring = Keyring::new();
    let outcomes: Vec<_> = (0..100)
        .map(|n| {
            let wanted = keyring.want(&root(), &index(n), 0).unwrap().unwrap();
            keyring.wait_blocking(&wanted, Duration::from_millis(1)).unwrap_err()
        })
        .collect();
    assert_eq!(outcomes.iter().filter(|end| **end == WaitError::TimedOut).count(), 8);
    assert!(outcomes[8..].iter().all(|end| *end == WaitError::TooManyUnknown));
    // other roots are not concerned, and time that is over gives the waits back
    let other = keyring.want(&Root::new("other"), &index(1), 0).unwrap().unwrap();
    assert_eq!(keyring.wait_blocking(&other, SHORT), Err(WaitError::TimedOut));
    assert!(keyring.forget(&root(), &index(0)));
    let next = keyring.want(&root(), &index(200), 0).unwrap().unwrap();
    assert_eq!(keyring.wait_blocking(&next, SHORT), Err(WaitError::TimedOut));
}

/// A timer that rings when the test says so.
#[derive(Default)]
struct Bell(Mutex<Vec<Waker>>);

impl Timer for Bell {
    fn wake_after(&self, _: Duration, waker: Waker) {
        lock(&self.0).push(waker);
    }
}

#[test]
fn a_wait_without_blocking_ends_by_key_or_timer() {
    let keyring = Keyring::new();
    let bell = Arc::new(Bell::default());
    let wanted = keyring.want(&root(), &index(1), 0).unwrap().unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut wait = Box::pin(keyring.wait(&wanted, LONG));
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Err(WaitError::NoTimer)));
    keyring.set_timer(bell.clone());
    let mut wait = Box::pin(keyring.wait(&wanted, LONG));
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
    lock(&bell.0).drain(..).for_each(Waker::wake);
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Err(WaitError::TimedOut)));
    let mut wait = Box::pin(keyring.wait(&wanted, LONG));
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
    let _ = keyring.learn(&root(), &index(1), secret(1), peer(1));
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    drop(wait);
}

#[test]
fn producers_are_current_until_the_ratchet_steps() {
    let keyring = Keyring::new();
    assert!(keyring.current(&root()).is_none());
    keyring.use_root(&root());
    keyring.use_root(&root());
    assert_eq!(keyring.drain_uses(), [root()]);
    let producer = ProducerSecret::new(root(), index(1), secret(1), &mut rng());
    assert_eq!(keyring.install_producer(producer), Learned::New);
    let current = keyring.current(&root()).unwrap();
    assert_ne!(current.next_key(Purpose::Key).0, current.next_key(Purpose::Key).0);
    assert_eq!(keyring.lookup(&root(), &index(1)).unwrap().secrets()[0].origin(), &Origin::Own);
    keyring.retire_producers();
    assert!(keyring.current(&root()).is_none());
    assert!(keyring.lookup(&root(), &index(1)).is_some(), "what was encrypted can still be read");
}

#[test]
fn preparing_ends_by_secret_failure_halt_or_time() {
    let keyring = Keyring::new();
    let timed_out = PrepareError::TimedOut { root: root() };
    assert_eq!(keyring.wait_prepared(&root(), SHORT).unwrap_err(), timed_out);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| keyring.wait_prepared(&root(), LONG).map(|_| ()));
        std::thread::sleep(SHORT);
        keyring.fail_producer(&root(), "disk full");
        assert!(matches!(waiting.join().unwrap(), Err(PrepareError::Failed { .. })));
    });
    keyring.use_root(&root());
    assert_eq!(keyring.wait_prepared(&root(), SHORT).unwrap_err(), timed_out, "a new use forgets the failure");
    keyring.set_halted(Some("closed"));
    assert_eq!(keyring.wait_prepared(&root(), LONG).unwrap_err(), PrepareError::Halted("closed".into()));
    let _ = keyring.install_producer(ProducerSecret::new(root(), index(1), secret(1), &mut rng()));
    assert!(keyring.wait_prepared(&root(), LONG).is_ok());
}

#[test]
fn debug_shows_counts_and_no_secret() {
    let keyring = Keyring::new();
    let _ = keyring.learn(&root(), &index(1), secret(0x5a), peer(1));
    let known = keyring.lookup(&root(), &index(1)).unwrap();
    let text = format!("{keyring:?} {known:?}");
    assert!(text.contains("known: 1") && !text.contains("90, 90") && !text.to_lowercase().contains("5a5a"), "{text}");
}
