use std::future::Future;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::keyring::{Learned, Timer};
use crate::keys::{Scheme, SigningPublicKey};
use crate::secret::Secret;
use crate::wire::Writer;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn root() -> Root {
    Root::new("lab")
}

fn index() -> KeyIndex {
    KeyIndex::long(b"index").unwrap()
}

fn secret(n: u8) -> Secret<32> {
    Secret::filled(|place| place.fill(n))
}

fn peer(n: u8) -> Origin {
    Origin::Peer { signer: SigningPublicKey::Ed25519([n; 32]), scheme: Scheme::X25519 }
}

fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::new())
}

fn sealed_by(n: u8, index: &KeyIndex, purpose: Purpose) -> Vec<u8> {
    seal(index, &[9; 16], &message_key(&secret(n), purpose, &[9; 16]), b"text").unwrap()
}

fn sealed(n: u8) -> Vec<u8> {
    sealed_by(n, &index(), Purpose::Value)
}

fn read(keyring: &Arc<Keyring>, bytes: &[u8]) -> Message {
    Message::read(keyring, root(), Purpose::Value, Some(bytes))
}

#[test]
fn nulls_are_null() {
    let keyring = keyring();
    for message in [Message::read(&keyring, root(), Purpose::Value, None), read(&keyring, b"")] {
        assert_eq!((message.state(), message.cleartext()), (State::Null, Ok(None)));
        assert!(!message.is_possibly_decryptable() && !message.is_cleartext());
    }
}

#[test]
fn pending_until_the_key_arrives() {
    let keyring = keyring();
    let mut message = read(&keyring, &sealed(1));
    assert_eq!((message.state(), message.bytes()), (State::Pending, &sealed(1)[..]));
    assert!(message.is_possibly_decryptable() && message.is_first_of_its_key());
    assert!(!read(&keyring, &sealed(1)).is_first_of_its_key());
    assert_eq!(keyring.drain_wants(), [(root(), index())]);
    assert_eq!(message.retry(), State::Pending);
    let pending = NotCleartext::Pending { root: root(), index: index(), why: Waiting::Asked };
    assert_eq!(message.cleartext(), Err(pending));
    assert_eq!(keyring.learn(&root(), &index(), secret(1), peer(1)), Learned::New);
    assert_eq!(message.retry(), State::Cleartext);
    assert_eq!(message.cleartext(), Ok(Some(&b"text"[..])));
    assert_eq!((message.origin(), message.key_index()), (Some(&peer(1)), Some(&index())));
    let counters = keyring.counters();
    assert_eq!((counters.pending, counters.decrypted, counters.refused), (2, 1, 0));
}

#[test]
fn keys_values_and_roots_have_their_own_keys() {
    let keyring = keyring();
    let _ = keyring.learn(&root(), &index(), secret(1), peer(1));
    let for_key = Message::read(&keyring, root(), Purpose::Key, Some(&sealed(1)));
    assert_eq!(for_key.state(), State::Refused);
    let other = Message::read(&keyring, Root::new("other"), Purpose::Value, Some(&sealed(1)));
    assert_eq!(other.state(), State::Pending);
}

#[test]
fn a_bad_secret_does_not_shadow_a_good_one() {
    let keyring = keyring();
    let _ = keyring.learn(&root(), &index(), secret(66), peer(66));
    let mut message = read(&keyring, &sealed(1));
    assert_eq!(message.cleartext(), Err(NotCleartext::Refused(Why::AuthenticationFailed)));
    assert!(message.is_possibly_decryptable());
    assert_eq!(keyring.drain_wants(), [(root(), index())], "a right secret is still looked for");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| message.wait_blocking(LONG).map(|text| text.map(<[u8]>::to_vec)));
        std::thread::sleep(SHORT);
        let _ = keyring.learn(&root(), &index(), secret(1), peer(1));
        assert_eq!(waiting.join().unwrap(), Ok(Some(b"text".to_vec())));
    });
    assert_eq!(message.origin(), Some(&peer(1)));
    assert_eq!(read(&keyring, &sealed(66)).origin(), Some(&peer(66)), "both secrets are kept");
}

#[test]
fn a_forgery_under_a_proven_key_asks_for_nothing() {
    let keyring = keyring();
    let _ = keyring.learn(&root(), &index(), secret(1), peer(1));
    assert!(read(&keyring, &sealed(1)).is_cleartext());
    let mut forged = sealed(1);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let mut message = read(&keyring, &forged);
    let refused = Err(NotCleartext::Refused(Why::AuthenticationFailed));
    assert_eq!(message.cleartext(), refused);
    assert!(keyring.drain_wants().is_empty());
    assert_eq!(message.wait_blocking(LONG), refused);
}

#[test]
fn producers_may_share_a_short_index() {
    let keyring = keyring();
    let short = KeyIndex::Short(1);
    let _ = keyring.learn(&root(), &short, secret(1), peer(1));
    assert!(read(&keyring, &sealed_by(1, &short, Purpose::Value)).is_cleartext());
    let mut second = read(&keyring, &sealed_by(2, &short, Purpose::Value));
    assert_eq!(keyring.drain_wants(), [(root(), short.clone())], "the other producer is asked, too");
    let _ = keyring.learn(&root(), &short, secret(2), peer(2));
    assert_eq!(second.retry(), State::Cleartext);
    assert!(read(&keyring, &sealed_by(1, &short, Purpose::Value)).is_cleartext());
}

#[test]
fn what_can_never_be_read_is_never_asked_for() {
    let keyring = keyring();
    let mut long = Writer::after(vec![1]);
    long.array(3).bin(&[1; 65]).bin(&[0; 16]).bin(&[0; 16]);
    let mut cut = Writer::after(vec![1]);
    cut.array(3).bin(b"index").bin(&[0; 16]).bin(&[0; 15]);
    for (bytes, why) in [(long.finish(), Why::IndexTooLong), (cut.finish(), Why::CutShort)] {
        let mut message = read(&keyring, &bytes);
        assert_eq!(message.wait_blocking(LONG), Err(NotCleartext::Refused(why)));
        assert!(!message.is_possibly_decryptable());
    }
    let mut foreign = read(&keyring, b"plain text");
    assert_eq!((foreign.retry(), foreign.bytes()), (State::Foreign, &b"plain text"[..]));
    assert!(matches!(foreign.wait_blocking(LONG), Err(NotCleartext::Foreign(_))));
    assert!(keyring.drain_wants().is_empty());
    let counters = keyring.counters();
    assert_eq!((counters.refused, counters.foreign), (2, 1));
}

#[test]
fn refusals_notes_and_halts_say_why() {
    let keyring = keyring();
    let mut message = read(&keyring, &sealed(1));
    keyring.note(&root(), &index(), "asked 3 times, no answer yet");
    assert!(message.cleartext().unwrap_err().to_string().ends_with("asked 3 times, no answer yet"));
    let refusal = Refusal::new("not authorised by our own chain");
    keyring.refuse(&root(), &index(), &refusal);
    assert_eq!(message.state(), State::Refused);
    let refused = Err(NotCleartext::Refused(Why::Unavailable(refusal)));
    assert_eq!(message.wait_blocking(LONG), refused);
    assert_eq!(read(&keyring, &sealed(1)).cleartext(), refused, "the next message knows at once");
    keyring.unrefuse(&root(), &index());
    keyring.set_halted(Some("the node was closed"));
    let halted = message.wait_blocking(LONG).unwrap_err();
    assert!(halted.to_string().contains("the node was closed"), "{halted}");
    let _ = keyring.learn(&root(), &index(), secret(1), peer(1));
    assert_eq!(message.retry(), State::Cleartext);
}

#[test]
fn a_wait_says_when_its_time_is_over() {
    let mut message = read(&keyring(), &sealed(1));
    let NotCleartext::Pending { why, .. } = message.wait_blocking(SHORT).unwrap_err() else { panic!("not pending") };
    assert_eq!(why, Waiting::Ended(WaitError::TimedOut));
}

struct Never;

impl Timer for Never {
    fn wake_after(&self, _: Duration, _: Waker) {}
}

#[test]
fn a_wait_on_any_runtime_gives_the_cleartext() {
    let keyring = keyring();
    keyring.set_timer(Arc::new(Never));
    let mut message = read(&keyring, &sealed(1));
    let mut context = Context::from_waker(Waker::noop());
    let mut wait = Box::pin(message.wait(LONG));
    fn is_send(_: &impl Send) {}
    is_send(&wait);
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
    let _ = keyring.learn(&root(), &index(), secret(1), peer(1));
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(Some(&b"text"[..]))));
}

#[test]
fn debug_shows_no_payload() {
    let keyring = keyring();
    let _ = keyring.learn(&root(), &index(), secret(1), peer(1));
    let text = format!("{:?}", read(&keyring, &sealed(1)));
    assert!(text.contains("Cleartext") && !text.contains("116, 101"), "{text}");
}
