use std::time::Duration;

use crate::chain::TrustLists;
use crate::keys::{KeyIndex, Scheme, SigningPublicKey};
use crate::secret::Secret;
use crate::store::OldKey;
use crate::time::UnixTime;
use crate::topic::{Naming, Root, Topic};

/// Names an action until its [`Input::Done`].
pub type ActionId = u64;

/// A record of one of the topics that the engine follows.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's value.
    pub value: Option<&'a [u8]>,
    /// The broker's or producer's time, if the broker keeps one.
    pub timestamp: Option<UnixTime>,
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input<'a> {
    /// A record was read.
    Record(Record<'a>),
    /// A deserializer met a key index that it has no secret for.
    KeyWanted {
        /// The root.
        root: &'a Root,
        /// The index.
        index: &'a KeyIndex,
    },
    /// Nobody waits for a key any more; it isn't asked for again.
    KeyUnwanted {
        /// The root.
        root: &'a Root,
        /// The index.
        index: &'a KeyIndex,
    },
    /// Serializers are about to encrypt under these roots.
    RootsUsed {
        /// The roots.
        roots: &'a [Root],
    },
    /// A fleet topic was read to the end that it had at the start, or doesn't exist.
    CaughtUp {
        /// The topic's name.
        topic: &'a str,
    },
    /// An action has ended.
    Done {
        /// Which.
        id: ActionId,
        /// How.
        result: Result<Outcome, Failure>,
    },
    /// Time has passed; see [`super::NodeEngine::next_wake`].
    Tick,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Action {
    /// Make a change durable; answer with [`Outcome::Done`].
    Save(Change),
    /// Change the keyring. No answer is awaited.
    Install(KeyringChange),
    /// Sign; answer with [`Outcome::Signed`]. May take long: not to be done where others wait.
    Sign(SignJob),
    /// Produce a record to partition 0; answer with [`Outcome::Done`].
    Produce(Draft),
    /// Read a topic from now on; answer with [`Outcome::Done`] once the place to start at is fixed.
    Follow {
        /// The topic.
        topic: Topic,
        /// Where to start.
        from: Start,
    },
    /// Step the ratchet, durably; answer with [`Outcome::Stepped`].
    Step,
    /// Derive the secrets of roots under the ratchet's present index; answer with [`Outcome::RootSecrets`].
    Derive(Vec<Root>),
    /// Something was refused: to be logged and counted. No answer is awaited.
    Rejected(Rejection),
    /// Something that the operator should know. No answer is awaited.
    Notice(Notice),
}

/// What is to be made durable. All but `OldKeys` are in force already when the action is emitted.
#[derive(Debug)]
pub enum Change {
    /// The producer secrets that this node still gives out; durable *before* a secret is used.
    OldKeys(Vec<OldKey>),
    /// Our chain for the signing key at this position of the key file.
    Chain {
        /// Position of the signing key.
        slot: usize,
        /// The chain.
        chain: Vec<u8>,
    },
    /// A new entry of the allowlist: an unsigned certificate.
    Allow(Vec<u8>),
    /// A new entry of the denylist: an unsigned certificate.
    Deny(Vec<u8>),
}

/// A change of the keyring.
#[derive(Debug)]
pub enum KeyringChange {
    /// A secret that a producer gave us.
    Learn {
        /// The root.
        root: Root,
        /// The index.
        index: KeyIndex,
        /// The secret.
        secret: Secret<32>,
        /// Who signed the reply.
        signer: SigningPublicKey,
        /// How the reply was sealed.
        scheme: Scheme,
    },
    /// What serializers use from now on under this root. Durable already.
    Produce {
        /// The root.
        root: Root,
        /// The index.
        index: KeyIndex,
        /// The secret.
        secret: Secret<32>,
    },
    /// A key can't be had; the reason is for those who wait.
    Refuse {
        /// The root.
        root: Root,
        /// The index.
        index: KeyIndex,
        /// Why.
        why: String,
    },
    /// A key that was refused is asked for again: our chain or the lists have changed.
    Reconsider {
        /// The root.
        root: Root,
        /// The index.
        index: KeyIndex,
    },
    /// Serializers that wait for a root's first secret must fail.
    CannotProduce {
        /// The root.
        root: Root,
        /// Why.
        why: String,
    },
}

/// Something to sign.
#[derive(Debug)]
pub struct SignJob {
    /// Position of the signing key in the key file.
    pub slot: usize,
    /// What to sign.
    pub message: Vec<u8>,
}

/// A record to produce.
#[derive(Debug)]
pub struct Draft {
    /// The topic.
    pub topic: Topic,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value.
    pub value: Vec<u8>,
}

/// Where to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From the first record; [`Input::CaughtUp`] when the end that the topic has now is reached.
    Beginning,
    /// From the first record that is younger.
    Recent(Duration),
    /// From the end that the topic has now.
    End,
}

/// How an action ended well.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The signed form.
    Signed(Vec<u8>),
    /// The ratchet's index.
    Stepped(u64),
    /// The secrets.
    RootSecrets(Vec<(Root, Secret<32>)>),
}

/// How an action failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The record is larger than the broker takes.
    #[error("the record is larger than the broker takes: {0}")]
    TooLarge(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// An input that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Where it came from: a topic.
    pub source: String,
    /// Why; one sentence, without a peer's text.
    pub reason: String,
}

/// Something that the operator should know.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Notice {
    /// Keys were given out.
    #[error("answered a request of {signer} for {count} key(s) of {root} ({scheme})")]
    Answered {
        /// The root.
        root: Root,
        /// Who signed the request.
        signer: SigningPublicKey,
        /// How many keys.
        count: usize,
        /// How the reply was sealed.
        scheme: Scheme,
    },
    /// Keys were learned.
    #[error("learned {count} key(s) of {root} from {signer} ({scheme})")]
    Learned {
        /// The root.
        root: Root,
        /// Who signed the reply.
        signer: SigningPublicKey,
        /// How many keys.
        count: usize,
        /// How the reply was sealed.
        scheme: Scheme,
    },
    /// Keys were asked for.
    #[error("asked for {count} key(s) of {root}")]
    Asked {
        /// The root.
        root: Root,
        /// How many keys.
        count: usize,
    },
    /// The fleet's lists and chains could not be read in time; the stored ones are used.
    #[error("the broker did not give out {topics} within 5 seconds; going on with the lists that are stored")]
    ListsWithheld {
        /// The topics that are missing.
        topics: String,
    },
    /// The list of allowed or denied keys has changed.
    #[error("{key} is now on the {list}")]
    ListChanged {
        /// "allowlist" or "denylist".
        list: &'static str,
        /// Whose entry.
        key: SigningPublicKey,
    },
    /// We have a new chain.
    #[error("this node's chain for {key} was renewed")]
    ChainRenewed {
        /// For which key.
        key: SigningPublicKey,
    },
    /// Our chain ends soon, or has ended.
    #[error("this node's chain for {key} ends at {at} (Unix time); provision the node again, or run a chain server")]
    ChainExpires {
        /// For which key.
        key: SigningPublicKey,
        /// When.
        at: UnixTime,
    },
    /// Our chain doesn't validate with our own lists.
    #[error("this node's own chain for {key} doesn't validate here: {why}; provision the node again")]
    ChainInvalid {
        /// For which key.
        key: SigningPublicKey,
        /// Why.
        why: String,
    },
    /// The ratchet gave an index that was used before: a restored or cloned seed file.
    #[error("the ratchet gave an index that was used before (a restored or cloned seed file?); stepping on")]
    IndexRepeated,
    /// Something that the node needs failed, and is tried again.
    #[error("{what} failed and is tried again: {why}")]
    Failed {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The system's clock is before this program was made.
    #[error("the system's clock is not set; keys are neither asked for nor given out until it is")]
    ClockNotSet,
    /// The clocks of this machine and of the broker's records differ.
    #[error("records are {seconds} s ahead of this machine's clock; set the clock")]
    ClockSkew {
        /// By how much.
        seconds: u64,
    },
}

/// Timing and policy of a node (protocol §9).
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `CRYPTO_SUB_INTERVAL`: the longest pause between two requests for the same key.
    pub sub_interval: Duration,
    /// `CRYPTO_RATCHET_INTERVAL`.
    pub ratchet_interval: Duration,
    /// `CRYPTO_MAX_PGEN_AGE`.
    pub max_pgen_age: Duration,
    /// `MGMT_LONG_KEYINDEX`.
    pub long_keyindex: bool,
    /// `maxage` in `crypto`: how long our requests and replies are valid.
    pub maxage: Duration,
    /// How far back `root.reqs` is read at the start; twice `sub_interval` unless set.
    pub history: Option<Duration>,
    /// Whether only post-quantum exchanges are taken part in, on both sides. What is classical only is refused and reported.
    pub require_pq: bool,
    /// Whether to ask for keys of roots that our own chain doesn't allow. Such requests can't succeed; for tests and shows.
    pub ask_unauthorised: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sub_interval: Duration::from_secs(60),
            ratchet_interval: Duration::from_secs(86_400),
            max_pgen_age: Duration::from_secs(604_800),
            long_keyindex: true,
            maxage: Duration::from_secs(86_400),
            history: None,
            require_pq: false,
            ask_unauthorised: false,
        }
    }
}

/// One of the node's signing keys, and the chain that it has.
#[derive(Clone, Debug)]
pub struct OwnKey {
    /// Position in the key file.
    pub slot: usize,
    /// The public key.
    pub public: SigningPublicKey,
    /// `msgpack([signed_1, …])`.
    pub chain: Vec<u8>,
}

/// What a node starts with.
#[derive(Debug)]
pub struct NodeSetup {
    /// How topics are named.
    pub naming: Naming,
    /// Timing and policy.
    pub settings: Settings,
    /// Signing keys, of one type or of several.
    pub keys: Vec<OwnKey>,
    /// Concatenation of all enabled signing public keys in byte form (protocol §4).
    pub node: Vec<u8>,
    /// Who is trusted.
    pub lists: TrustLists,
    /// Enabled exchange schemes, in order of preference.
    pub schemes: Vec<Scheme>,
    /// Whether requests are also sent in the oldest form.
    pub legacy: bool,
    /// Producer secrets of earlier runs.
    pub old_keys: Vec<OldKey>,
    /// Whether there is a ratchet, so that this node can encrypt.
    pub can_produce: bool,
}

/// How often things happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were sent, one for each set of keys and repeat.
    pub requests_sent: u64,
    /// Requests of others that were answered.
    pub requests_answered: u64,
    /// Requests for keys that this node doesn't have.
    pub requests_ignored: u64,
    /// Secrets that were learned.
    pub secrets_learned: u64,
    /// Of the requests that were answered: by which exchange.
    pub answered_by: PerScheme,
    /// Of the secrets that were learned: by which exchange.
    pub learned_by: PerScheme,
    /// Replies that were for others.
    pub replies_ignored: u64,
    /// Inputs that were refused.
    pub rejected: u64,
    /// Inputs that were dropped because a limit was reached.
    pub dropped: u64,
    /// Changes of the lists and of our chains.
    pub trust_changes: u64,
}

/// A count for each exchange scheme.
///
/// ```
/// use kafkacrypto::{engine::PerScheme, keys::Scheme};
/// let mut counts = PerScheme::default();
/// counts.add(Scheme::X25519MlKem1024, 2);
/// assert_eq!((counts.of(Scheme::X25519MlKem1024), counts.of(Scheme::X25519)), (2, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerScheme {
    /// X25519 alone.
    pub x25519: u64,
    /// X25519 with sntrup761.
    pub x25519_sntrup761: u64,
    /// X25519 with ML-KEM-1024.
    pub x25519_mlkem1024: u64,
}

impl PerScheme {
    /// The count of a scheme.
    #[must_use]
    pub fn of(mut self, scheme: Scheme) -> u64 {
        *self.place(scheme)
    }

    /// Counts more of a scheme.
    pub fn add(&mut self, scheme: Scheme, more: u64) {
        *self.place(scheme) += more;
    }

    fn place(&mut self, scheme: Scheme) -> &mut u64 {
        match scheme {
            Scheme::X25519 => &mut self.x25519,
            Scheme::X25519Sntrup761 => &mut self.x25519_sntrup761,
            Scheme::X25519MlKem1024 => &mut self.x25519_mlkem1024,
        }
    }
}
