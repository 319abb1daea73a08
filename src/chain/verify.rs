//! Whether a chain is to be trusted for what is asked (protocol §7.1).
//!
//! First what costs nothing is checked (lengths, forms, expiry, names of usages and topics), without any trust in what
//! is read; then signatures, element by element; and no expression is run before a signature over it was verified.

use std::collections::BTreeMap;

use super::lists::{Entry, TrustLists, is_temporary};
use super::signatures::{Digest, Keep, Signatures};
use super::trail::{Step, Trail};
use super::{Certificate, ChainError, LeafKey, Level, ListedKey, MAX_ELEMENT_BYTES, MAX_ELEMENTS, Restrictions, Usage};
use crate::keys::{SigningPublicKey, SigningType};
use crate::time::UnixTime;
use crate::wire::{Reader, read_all};

/// What a chain must allow. What isn't asked isn't checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask<'a> {
    /// This topic.
    pub topic: Option<&'a str>,
    /// This usage.
    pub usage: Option<Usage>,
}

/// A chain that was verified, down to its leaf. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    certificate: Certificate,
    root: SigningPublicKey,
    signers: Vec<SigningPublicKey>,
    trail: Trail,
    self_revocation: bool,
}

/// Why a chain was refused, and how far it got.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct Rejected {
    /// Why.
    pub reason: ChainError,
    /// What was read of it before.
    pub trail: Trail,
}

/// Verifies a chain against the roots of trust, in their order, until one succeeds (protocol §7.1).
///
/// # Errors
/// [`Rejected`], with the reason that comes closest to acceptance.
///
/// ```
/// use kafkacrypto::chain::{Ask, ChainError, LeafKey, Restrictions, TrustLists, Usage};
/// use kafkacrypto::chain::{chain_of, leaf, root_certificate, verify};
/// use kafkacrypto::keys::SigningKey;
/// use kafkacrypto::time::UnixTime;
///
/// let (root, node) = (SigningKey::from_ed25519_seed(&[1; 32]), SigningKey::from_ed25519_seed(&[2; 32]));
/// let limits = Restrictions::none().with_topics(["lab"]).with_usages([Usage::Encrypt]);
/// let body = leaf(UnixTime::from_secs(2_000), &limits, &LeafKey::Signing(node.public().clone()), &[]);
/// let chain = chain_of(&[&root.sign(&body)]);
///
/// let entry = root_certificate(root.public());
/// let (lists, _) = TrustLists::new([&entry[..]], []);
/// let ask = Ask { topic: Some("lab"), usage: Some(Usage::Encrypt) };
/// let verified = verify(&chain, ask, &lists, UnixTime::from_secs(1_000)).unwrap();
/// assert_eq!(verified.key().signing_key().as_ref(), Some(node.public()));
/// assert_eq!(verified.root(), root.public());
///
/// let late = verify(&chain, ask, &lists, UnixTime::from_secs(3_000)).unwrap_err();
/// assert!(matches!(late.reason, ChainError::Expired { .. }));
/// ```
pub fn verify(chain: &[u8], ask: Ask<'_>, lists: &TrustLists, time: UnixTime) -> Result<Verified, Rejected> {
    verify_with(None, chain, ask, lists, time)
}

/// Where good signatures are looked up and kept, and which.
pub(super) type Memory<'a> = Option<(&'a Signatures, Keep)>;

pub(super) fn verify_with(
    memory: Memory<'_>,
    chain: &[u8],
    ask: Ask<'_>,
    lists: &TrustLists,
    time: UnixTime,
) -> Result<Verified, Rejected> {
    let rejected = match verify_by_roots(memory, chain, ask, lists, time) {
        Ok(verified) => return Ok(verified),
        Err(rejected) => rejected,
    };
    // DIFFERENCE: Python also tries this when no usage is asked
    if ask.usage != Some(Usage::Denylist) {
        return Err(rejected);
    }
    verify_self_revocation(chain).map_err(|_| rejected)
}

impl<'a> Ask<'a> {
    /// Nothing in particular: what a new chain of our own has to pass.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// A usage, for a topic.
    #[must_use]
    pub fn of(usage: Usage, topic: &'a str) -> Self {
        Self { topic: Some(topic), usage: Some(usage) }
    }

    /// A usage, for no topic in particular.
    #[must_use]
    pub fn usage(usage: Usage) -> Self {
        Self { topic: None, usage: Some(usage) }
    }
}

impl Verified {
    /// Until when the whole chain is valid; zero means forever.
    #[must_use]
    pub fn max_age(&self) -> UnixTime {
        self.certificate.max_age
    }

    /// What the whole chain is limited to.
    #[must_use]
    pub fn restrictions(&self) -> &Restrictions {
        &self.certificate.restrictions
    }

    /// The leaf's key. A list has only exchange keys that aren't refused, and at least one.
    #[must_use]
    pub fn key(&self) -> &LeafKey {
        &self.certificate.key
    }

    /// The leaf's extras, each as MessagePack.
    #[must_use]
    pub fn extras(&self) -> &[Vec<u8>] {
        &self.certificate.extras
    }

    /// The content of an extra that is `bin` or `str`.
    #[must_use]
    pub fn extra_bytes(&self, index: usize) -> Option<&[u8]> {
        self.certificate.extra_bytes(index)
    }

    /// The contents of an extra that is a list of `bin` or `str`.
    #[must_use]
    pub fn extra_list(&self, index: usize) -> Option<Vec<&[u8]>> {
        self.certificate.extra_list(index)
    }

    /// The root of trust.
    #[must_use]
    pub fn root(&self) -> &SigningPublicKey {
        &self.root
    }

    /// The keys that have signed, the root first; the last one has signed the leaf.
    #[must_use]
    pub fn signers(&self) -> &[SigningPublicKey] {
        &self.signers
    }

    /// What it says, element by element.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Whether it isn't a chain but a key's own revocation, which no root has signed and which never expires.
    #[must_use]
    pub fn is_self_revocation(&self) -> bool {
        self.self_revocation
    }
}

/// The elements of a chain, within the limits.
pub(super) fn read_elements(chain: &[u8]) -> Result<Vec<&[u8]>, ChainError> {
    let elements: Vec<&[u8]> = read_all(chain, "chain", |reader| {
        let count = reader.array()?;
        let limited = usize::try_from(count).ok().filter(|count| *count <= MAX_ELEMENTS);
        let count = limited.ok_or(ChainError::TooLong {
            what: "the number of elements",
            found: usize::try_from(count).unwrap_or(usize::MAX),
            limit: MAX_ELEMENTS,
        })?;
        (0..count).map(|_| read_element(reader)).collect::<Result<_, _>>()
    })?;
    if elements.is_empty() { Err(ChainError::Empty) } else { Ok(elements) }
}

fn read_element<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], ChainError> {
    let element = reader.bytes()?;
    match element.len() {
        0..=MAX_ELEMENT_BYTES => Ok(element),
        found => Err(ChainError::TooLong { what: "an element", found, limit: MAX_ELEMENT_BYTES }),
    }
}

/// One way to refuse a chain, and how close to acceptance it was: elements verified, then elements read.
struct Failure {
    progress: (usize, usize),
    rejected: Rejected,
}

fn verify_by_roots(
    memory: Memory<'_>,
    chain: &[u8],
    ask: Ask<'_>,
    lists: &TrustLists,
    time: UnixTime,
) -> Result<Verified, Rejected> {
    let elements = read_elements(chain).map_err(|reason| Rejected { reason, trail: Trail::default() })?;
    let lists = Lists { lists, changes: ask.usage.is_some_and(Usage::changes_lists) };
    let mut read = BTreeMap::new();
    let mut failures = Vec::new();
    for root in lists.roots() {
        let kind = root.key.signing_type();
        let outcome = match read.entry(kind).or_insert_with(|| peruse(&elements, kind, ask, time)) {
            Ok(certificates) => Walk::from(root, lists, memory).run(&elements, certificates, ask, time),
            Err((read, reason)) => Err(Failure::early(*read, reason.clone())),
        };
        match outcome {
            Ok(verified) => return Ok(verified),
            Err(failure) => failures.push(failure),
        }
    }
    // the first of the best: `max_by_key` would take the last
    let best = failures.into_iter().rev().max_by_key(|failure| failure.progress);
    Err(best.map_or(Rejected { reason: ChainError::NotTrusted, trail: Trail::default() }, Failure::into_rejected))
}

/// What can be told without any signature: forms, expiry, names. A chain that fails here fails with every root of the same
/// type, since what it allows only ever gets less. With the reason, the number of elements before it.
fn peruse(
    elements: &[&[u8]],
    mut signer: SigningType,
    ask: Ask<'_>,
    time: UnixTime,
) -> Result<Vec<Certificate>, (usize, ChainError)> {
    let mut certificates: Vec<Certificate> = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        let fail = |reason| (index, reason);
        if let Some(before) = certificates.last() {
            let key = before.key.signing_key().ok_or(fail(ChainError::NotASigner { element: index }))?;
            signer = key.signing_type();
        }
        let body = element.get(signer.signature_length()..).ok_or(fail(ChainError::Signature { element: index }))?;
        let certificate = Certificate::decode(body).map_err(fail)?;
        possible(&certificate, ask, time).map_err(fail)?;
        certificates.push(certificate);
    }
    Ok(certificates)
}

fn possible(certificate: &Certificate, ask: Ask<'_>, time: UnixTime) -> Result<(), ChainError> {
    check_expiry(certificate.max_age, time)?;
    match ask {
        Ask { usage: Some(usage), .. } if !certificate.restrictions.may_allow_usage(usage) => {
            Err(ChainError::UsageNotAllowed { usage })
        }
        Ask { topic: Some(topic), .. } if !certificate.restrictions.may_allow_topic(topic) => {
            Err(ChainError::TopicNotAllowed { topic: topic.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_expiry(at: UnixTime, time: UnixTime) -> Result<(), ChainError> {
    let over = at != UnixTime::ZERO && at < time;
    if over { Err(ChainError::Expired { at, since: time.since(at) }) } else { Ok(()) }
}

/// The trust lists as they count for what is asked: without the temporary root when lists are to be changed.
#[derive(Clone, Copy)]
struct Lists<'a> {
    lists: &'a TrustLists,
    changes: bool,
}

impl<'a> Lists<'a> {
    fn roots(self) -> impl Iterator<Item = &'a Entry> {
        self.lists.entries().filter(move |entry| self.counts(&entry.key))
    }

    fn first(self, key: &SigningPublicKey) -> Option<&'a Entry> {
        self.lists.first(key).filter(|_| self.counts(key))
    }

    fn refuses(self, key: &SigningPublicKey) -> bool {
        self.lists.is_denied_key(key) || !self.counts(key)
    }

    fn counts(self, key: &SigningPublicKey) -> bool {
        !(self.changes && is_temporary(key))
    }
}

/// A walk down a chain from one root of trust.
struct Walk<'a> {
    lists: Lists<'a>,
    /// Intersected so far.
    current: Certificate,
    denied: Option<SigningPublicKey>,
    root: &'a SigningPublicKey,
    signers: Vec<SigningPublicKey>,
    trail: Trail,
    memory: Memory<'a>,
    /// Elements whose signature isn't known from before, and their names if it is to be remembered.
    news: Vec<(usize, Option<Digest>)>,
}

impl<'a> Walk<'a> {
    fn from(root: &'a Entry, lists: Lists<'a>, memory: Memory<'a>) -> Self {
        let Entry { max_age, restrictions, key } = root;
        let current = Certificate::new(*max_age, restrictions.clone(), LeafKey::Signing(key.clone()));
        let trail = Trail { steps: vec![Step::of(&current)] };
        Self { lists, current, denied: None, root: key, signers: Vec::new(), trail, memory, news: Vec::new() }
    }

    fn run(
        mut self,
        elements: &[&[u8]],
        certificates: &[Certificate],
        ask: Ask<'_>,
        time: UnixTime,
    ) -> Result<Verified, Failure> {
        let walked = self.walk(elements, certificates).and_then(|()| self.judge(ask, time));
        match walked.and_then(|()| self.prove(elements)) {
            Ok(()) => Ok(Verified {
                certificate: self.current,
                root: self.root.clone(),
                signers: self.signers,
                trail: self.trail,
                self_revocation: false,
            }),
            Err(reason) => Err(Failure {
                progress: (self.trail.steps.len() - 1, elements.len()),
                rejected: Rejected { reason, trail: self.trail },
            }),
        }
    }

    fn walk(&mut self, elements: &[&[u8]], certificates: &[Certificate]) -> Result<(), ChainError> {
        for (index, (element, certificate)) in elements.iter().zip(certificates).enumerate() {
            let signer = self.current.key.signing_key().ok_or(ChainError::NotASigner { element: index })?;
            self.admit(&signer);
            self.check_ed25519(&signer, element, (index, elements.len()))?;
            self.current = certificate.below(&self.current, Level::Down);
            self.trail.steps.push(Step::of(&self.current));
            self.signers.push(signer);
        }
        Ok(())
    }

    fn check_ed25519(
        &mut self,
        signer: &SigningPublicKey,
        element: &[u8],
        (index, count): (usize, usize),
    ) -> Result<(), ChainError> {
        let kept = self.memory.filter(|(_, keep)| keep.covers(index, count));
        let named = kept.map(|(signatures, _)| (signatures, signer.digest(element)));
        if named.is_some_and(|(signatures, digest)| signatures.knows(&digest)) {
            return Ok(());
        }
        #[cfg(test)]
        super::tally::ed25519();
        signer.open_ed25519(element).map_err(|_| ChainError::Signature { element: index })?;
        self.news.push((index, named.map(|(_, digest)| digest)));
        Ok(())
    }

    /// The costly half of signatures, when nothing else is left that could be wrong.
    fn prove(&self, elements: &[&[u8]]) -> Result<(), ChainError> {
        for (index, _) in &self.news {
            let pair = elements.get(*index).zip(self.signers.get(*index));
            #[cfg(test)]
            pair.iter().for_each(|(_, signer)| super::tally::slh_dsa(signer));
            let proven = pair.is_some_and(|(element, signer)| signer.check_slh_dsa(element).is_ok());
            proven.then_some(()).ok_or(ChainError::PostQuantumSignature { element: *index })?;
        }
        if let Some((signatures, _)) = self.memory {
            self.news.iter().filter_map(|(_, digest)| *digest).for_each(|digest| signatures.keep(digest));
        }
        Ok(())
    }

    /// What the lists say of a key that has signed.
    fn admit(&mut self, signer: &SigningPublicKey) {
        if self.lists.refuses(signer) {
            self.denied = Some(signer.clone());
        } else if let Some(entry) = self.lists.first(signer) {
            self.denied = None;
            let listed = Certificate::new(entry.max_age, entry.restrictions.clone(), self.current.key.clone());
            self.current = listed.below(&self.current, Level::Same);
        }
    }

    fn judge(&mut self, ask: Ask<'_>, time: UnixTime) -> Result<(), ChainError> {
        self.filter_leaf()?;
        let Certificate { max_age, restrictions, .. } = &self.current;
        if let Some(key) = &self.denied {
            return Err(ChainError::Denied { key: key.clone() });
        }
        check_expiry(*max_age, time)?;
        if let Some(topic) = ask.topic.filter(|topic| !restrictions.allows_topic(topic)) {
            return Err(ChainError::TopicNotAllowed { topic: topic.to_owned() });
        }
        if let Some(usage) = ask.usage.filter(|usage| !restrictions.allows_usage(*usage)) {
            return Err(ChainError::UsageNotAllowed { usage });
        }
        check_pathlen(restrictions)
    }

    /// What the lists say of the leaf's key.
    ///
    /// DIFFERENCE: only a leaf that is itself a single signing key can outweigh a revoked key on the way; nothing in a list
    /// of exchange keys can, and such a list loses whatever isn't an exchange key (protocol §15, row 1).
    fn filter_leaf(&mut self) -> Result<(), ChainError> {
        if let Some(key) = self.current.key.signing_key() {
            if self.lists.refuses(&key) {
                self.denied = Some(key);
            } else if self.lists.first(&key).is_some() {
                self.denied = None;
            }
        }
        let LeafKey::Keys(keys) = &mut self.current.key else { return Ok(()) };
        keys.retain(|key| match key {
            ListedKey::Bare(bytes) => !self.lists.refuses(&SigningPublicKey::Ed25519(*bytes)),
            ListedKey::Exchange(_) => true,
            ListedKey::Signing(_) | ListedKey::Unknown { .. } | ListedKey::Malformed { .. } => false,
        });
        if keys.is_empty() { Err(ChainError::NoUsableKey) } else { Ok(()) }
    }
}

impl Failure {
    fn early(read: usize, reason: ChainError) -> Self {
        Self { progress: (0, read), rejected: Rejected { reason, trail: Trail::default() } }
    }

    /// When no signature by a root was found, it is trust that is missing.
    fn into_rejected(self) -> Rejected {
        let Rejected { reason, trail } = self.rejected;
        let reason = if reason == (ChainError::Signature { element: 0 }) { ChainError::NotTrusted } else { reason };
        Rejected { reason, trail }
    }
}

fn check_pathlen(restrictions: &Restrictions) -> Result<(), ChainError> {
    if restrictions.pathlen().is_some_and(|length| length < 0) { Err(ChainError::PathLength) } else { Ok(()) }
}

/// `[bytes of an unsigned certificate, signed]`, where the second is signed by the key in the first and carries the same.
fn verify_self_revocation(chain: &[u8]) -> Result<Verified, ChainError> {
    let elements = read_elements(chain)?;
    let [unsigned, signed] = elements.as_slice() else { return Err(ChainError::NotTrusted) };
    let outer = Certificate::decode(unsigned)?;
    let key = outer.key.signing_key().filter(|key| !is_temporary(key)).ok_or(ChainError::NotTrusted)?;
    let body = signed.get(key.signing_type().signature_length()..).ok_or(ChainError::Signature { element: 1 })?;
    let inner = Certificate::decode(body)?;
    key.open_ed25519(signed).map_err(|_| ChainError::Signature { element: 1 })?;
    let certificate = inner.below(&outer, Level::Down);
    if certificate.key.signing_key().as_ref() != Some(&key) || !certificate.restrictions.allows_usage(Usage::Denylist) {
        return Err(ChainError::NotTrusted);
    }
    check_pathlen(&certificate.restrictions)?;
    key.check_slh_dsa(signed).map_err(|_| ChainError::PostQuantumSignature { element: 1 })?;
    let trail = Trail { steps: vec![Step::of(&outer), Step::of(&certificate)] };
    Ok(Verified { certificate, root: key.clone(), signers: vec![key], trail, self_revocation: true })
}
