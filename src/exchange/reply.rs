use zeroize::Zeroizing;

use super::request::limits;
use super::{ExchangeError, Request, require_pq};
use crate::chain::{LeafKey, ListedKey, Usage, Verified};
use crate::keys::{AnswerKey, Ephemeral, KeyIndex, Scheme, SharedSecret};
use crate::primitives::{secretbox, sha256};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::topic::Root;
use crate::wire::{Reader, Writer};

/// An unsigned reply and the scheme it was sealed with.
#[derive(Debug)]
pub struct ReplyLeaf {
    /// The bytes to sign.
    pub leaf: Vec<u8>,
    /// How the secret was agreed on.
    pub scheme: Scheme,
}

/// Answers a request with a fresh key of the first scheme that both have (protocol §8.2):
///
/// ```text
/// [float expires, bin poison, [our public half], [bin random0, bin random1(32)], bin box]
/// poison = [["topics", [root]], ["usages", ["key-encrypt"]]]
/// ss     = sha256(root ‖ random0 ‖ random1 ‖ shared)
/// box    = nonce(24) ‖ secretbox(ss, nonce, msgpack([keyidx_1, secret_1, …]))
/// ```
///
/// # Errors
/// [`ExchangeError::NoCommonScheme`], [`ExchangeError::Key`].
pub fn reply_leaf(
    expires: UnixTime,
    root: &Root,
    request: &Request,
    enabled: &[Scheme],
    pairs: &[(&KeyIndex, &Secret<32>)],
    rng: &mut dyn rand_core::CryptoRng,
) -> Result<ReplyLeaf, ExchangeError> {
    let offer = request.choose(enabled)?;
    let (answer, shared) = offer.answer(rng)?;
    let (mut random1, mut nonce) = ([0; 32], [0; 24]);
    rng.fill_bytes(&mut random1);
    rng.fill_bytes(&mut nonce);
    let mut sealed = nonce.to_vec();
    let key = reply_key(root, request.random0(), &random1, &shared);
    secretbox::seal_into(&mut sealed, key.expose(), &nonce, &encode_pairs(pairs));
    let mut out = Writer::new();
    out.array(5).float(expires.as_secs_f64()).bin(&limits(root, &[Usage::Encrypt]));
    out.array(1);
    answer.encode(&mut out);
    out.array(2).bin(request.random0()).bin(&random1).bin(&sealed);
    Ok(ReplyLeaf { leaf: out.finish(), scheme: offer.scheme() })
}

/// A verified reply, not opened yet.
#[derive(Clone, Debug)]
pub struct Reply {
    answers: Vec<AnswerKey>,
    random0: Vec<u8>,
    random1: Vec<u8>,
    sealed: Vec<u8>,
}

/// What was in a reply.
#[derive(Debug)]
pub struct Opened {
    /// Key indices and their secrets.
    pub pairs: Vec<(KeyIndex, Secret<32>)>,
    /// How many entries were malformed; each is refused by itself.
    pub malformed: usize,
    /// How the secret was agreed on.
    pub scheme: Scheme,
}

impl Reply {
    /// What a leaf answers with. The chain must have been verified for the root and `key-encrypt`.
    ///
    /// # Errors
    /// [`ExchangeError::Malformed`].
    pub fn from_verified(verified: &Verified) -> Result<Self, ExchangeError> {
        let malformed = |why| ExchangeError::Malformed { what: "reply", why };
        let answers = match verified.key() {
            LeafKey::Bare(public) => vec![AnswerKey::from_x25519(*public)],
            LeafKey::Keys(listed) => listed.iter().filter_map(answer).collect(),
            LeafKey::Signing(_) => return Err(malformed("its leaf is a signing key")),
        };
        if answers.is_empty() {
            return Err(malformed("no public half of a known answer version"));
        }
        let randoms = verified.extra_list(0).ok_or_else(|| malformed("the random values are missing"))?;
        let [random0, random1] = randoms[..] else {
            return Err(malformed("there aren't two random values"));
        };
        let (random0, random1) = (random0.to_vec(), random1.to_vec());
        let sealed = verified.extra_bytes(1).ok_or_else(|| malformed("the box is missing"))?.to_vec();
        Ok(Self { answers, random0, random1, sealed })
    }

    /// Which request it answers.
    #[must_use]
    pub fn random0(&self) -> &[u8] {
        &self.random0
    }

    /// Refuses a reply that was sealed without a post-quantum exchange.
    ///
    /// # Errors
    /// [`ExchangeError::Classical`].
    pub fn require_pq(&self) -> Result<(), ExchangeError> {
        require_pq("reply", self.answers.iter().map(AnswerKey::scheme))
    }

    /// Opens the box with the ephemeral keys of the request: the first public half that does, wins.
    ///
    /// # Errors
    /// [`ExchangeError::DoesNotOpen`]; [`ExchangeError::Key`] if a public half can't be used; [`ExchangeError::Wire`] if what
    /// was sealed isn't a list.
    pub fn open(&self, root: &Root, ephemerals: &[Ephemeral]) -> Result<Opened, ExchangeError> {
        self.open_with(root, ephemerals)
    }

    pub(crate) fn open_with<'a>(
        &self,
        root: &Root,
        ephemerals: impl IntoIterator<Item = &'a Ephemeral> + Clone,
    ) -> Result<Opened, ExchangeError> {
        let halves = self.answers.iter().flat_map(|answer| {
            let same = ephemerals.clone().into_iter().filter(|mine| mine.offer().scheme() == answer.scheme());
            same.map(|mine| (answer.scheme(), mine.complete(answer)))
        });
        let mut why = ExchangeError::DoesNotOpen;
        for (scheme, shared) in halves {
            match shared.map(|shared| self.unseal(root, &shared)) {
                Ok(Some(plaintext)) => {
                    let (pairs, malformed) = decode_pairs(&plaintext)?;
                    return Ok(Opened { pairs, malformed, scheme });
                }
                Ok(None) => {}
                Err(error) => why = error.into(),
            }
        }
        Err(why)
    }

    fn unseal(&self, root: &Root, shared: &SharedSecret) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = self.sealed.split_first_chunk::<24>()?;
        let key = reply_key(root, &self.random0, &self.random1, shared);
        secretbox::open(key.expose(), nonce, sealed).map(Zeroizing::new)
    }
}

fn reply_key(root: &Root, random0: &[u8], random1: &[u8], shared: &SharedSecret) -> Secret<32> {
    sha256::secret_hash(&[root.as_str().as_bytes(), random0, random1, shared.expose()])
}

fn encode_pairs(pairs: &[(&KeyIndex, &Secret<32>)]) -> Zeroizing<Vec<u8>> {
    // room for all of it at once, so that no grown-out-of buffer is left behind with secrets in it
    let mut out = Writer::after(Vec::with_capacity(16 + pairs.len() * (KeyIndex::MAX_BYTES + 40)));
    out.array(u32::try_from(2 * pairs.len()).unwrap_or(u32::MAX));
    for (index, secret) in pairs {
        index.encode(&mut out);
        out.bin(secret.expose());
    }
    Zeroizing::new(out.finish())
}

/// DIFFERENCE: an entry that is malformed is refused by itself; others drop the whole reply.
fn decode_pairs(plaintext: &[u8]) -> Result<(Vec<(KeyIndex, Secret<32>)>, usize), ExchangeError> {
    let mut reader = Reader::new(plaintext, "keys in a reply");
    let count = reader.array()? / 2;
    let (mut pairs, mut malformed) = (Vec::new(), 0);
    for _ in 0..count {
        let (index, secret) = (reader.raw()?, reader.raw()?);
        let index = KeyIndex::decode(&mut Reader::new(index, "key index"));
        let secret = Reader::new(secret, "secret").bytes().ok().and_then(Secret::from_slice);
        match (index, secret) {
            (Ok(index), Some(secret)) => pairs.push((index, secret)),
            _ => malformed += 1,
        }
    }
    Ok((pairs, malformed))
}

fn answer(listed: &ListedKey) -> Option<AnswerKey> {
    match listed {
        ListedKey::Exchange(key) => key.clone().into_answer(),
        ListedKey::Bare(public) => Some(AnswerKey::from_x25519(*public)),
        _ => None,
    }
}
