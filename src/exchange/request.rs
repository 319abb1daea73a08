use super::{ExchangeError, names, require_pq};
use crate::chain::{Description, LeafKey, ListedKey, Restrictions, Usage, Verified};
use crate::keys::{OfferKey, Scheme};
use crate::time::UnixTime;
use crate::topic::Root;
use crate::wire::Writer;

/// How long a `random0` may be. DIFFERENCE: others answer any length.
pub const RANDOM_BYTES: std::ops::RangeInclusive<usize> = 32..=64;

/// A verified request for keys.
#[derive(Clone, Debug)]
pub struct Request {
    offers: Vec<OfferKey>,
    random0: Vec<u8>,
}

/// The unsigned leaf of a request (protocol §8.1):
///
/// ```text
/// [float expires, bin poison, epks, bin random0(32)]
/// poison = [["topics", [root]], ["usages", ["key-encrypt-request", "key-encrypt-subscribe"]]]
/// epks   = array of public halves; in the legacy form the bare 32 bytes of the X25519 key
/// ```
///
/// None if the legacy form is asked for and no offer is of version 1.
#[must_use]
pub fn request_leaf(
    expires: UnixTime,
    root: &Root,
    offers: &[&OfferKey],
    random0: &[u8; 32],
    legacy: bool,
) -> Option<Vec<u8>> {
    let mut out = Writer::new();
    let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
    out.array(4).float(expires.as_secs_f64()).bin(&limits(root, &usages));
    if legacy {
        out.bin(offers.iter().find_map(|offer| offer.bare())?);
    } else {
        out.array(u32::try_from(offers.len()).unwrap_or(u32::MAX));
        offers.iter().for_each(|offer| offer.encode(&mut out));
    }
    out.bin(random0);
    Some(out.finish())
}

impl Request {
    /// What a leaf asks with. The chain must have been verified for the root and `key-encrypt-request`.
    ///
    /// # Errors
    /// [`ExchangeError::Malformed`].
    pub fn from_verified(verified: &Verified) -> Result<Self, ExchangeError> {
        let malformed = |why| ExchangeError::Malformed { what: "request", why };
        let offers = match verified.key() {
            LeafKey::Bare(public) => vec![OfferKey::from_x25519(*public)],
            LeafKey::Keys(listed) => listed.iter().filter_map(offer).collect(),
            LeafKey::Signing(_) => return Err(malformed("its leaf is a signing key")),
        };
        let random0 = verified.extra_bytes(0).ok_or_else(|| malformed("random0 is missing"))?;
        if !RANDOM_BYTES.contains(&random0.len()) {
            return Err(malformed("random0 is not 32 to 64 bytes long"));
        }
        Ok(Self { offers, random0: random0.to_vec() })
    }

    /// What an unverified message says its `random0` is: enough to know one again that was answered, and no more.
    #[must_use]
    pub fn claimed_random0(message: &[u8]) -> Option<Vec<u8>> {
        let leaf = Description::of(message).ok()?.elements.pop()?;
        leaf.certificate.extra_bytes(0).map(<[u8]>::to_vec)
    }

    /// What names the request: the same bytes are answered once.
    #[must_use]
    pub fn random0(&self) -> &[u8] {
        &self.random0
    }

    /// The first offer of a scheme in `enabled`: the requester's preference decides.
    ///
    /// # Errors
    /// [`ExchangeError::NoCommonScheme`].
    pub fn choose(&self, enabled: &[Scheme]) -> Result<&OfferKey, ExchangeError> {
        let usable = self.offers.iter().find(|offer| enabled.contains(&offer.scheme()));
        usable.ok_or_else(|| ExchangeError::NoCommonScheme { offered: names(self.schemes()) })
    }

    /// Refuses a request that offers no post-quantum exchange.
    ///
    /// # Errors
    /// [`ExchangeError::Classical`].
    pub fn require_pq(&self) -> Result<(), ExchangeError> {
        require_pq("request", self.schemes())
    }

    fn schemes(&self) -> impl Iterator<Item = Scheme> + Clone {
        self.offers.iter().map(OfferKey::scheme)
    }
}

/// The poison of a request's or reply's leaf: just this root, just these usages.
pub(super) fn limits(root: &Root, usages: &[Usage]) -> Vec<u8> {
    Restrictions::none().with_topics([root.as_str()]).with_usages(usages.iter().copied()).encode()
}

fn offer(listed: &ListedKey) -> Option<OfferKey> {
    match listed {
        ListedKey::Exchange(key) => key.clone().into_offer(),
        ListedKey::Bare(public) => Some(OfferKey::from_x25519(*public)),
        _ => None,
    }
}
