use std::fmt;
use std::time::Duration;

use crate::chain::{self, LeafKey, Restrictions};
use crate::keys::{SigningKey, SigningPublicKey, SigningType};
use crate::store::KeyFile;
use crate::store::config::NodeConfig;
use crate::time::UnixTime;
use crate::topic::Naming;

use super::{NodeRole, ProvisionError, Provisioner, provisioner, root_of_trust, store_chain};

/// Who signs for nodes of one role: for each type of key the root of trust and, for most roles, a provisioner below it.
///
/// ```
/// use kafkacrypto::keys::SigningType;
/// use kafkacrypto::provision::{Authority, NodePlan, NodeRole, Topics};
/// use kafkacrypto::store::{KeyFile, config::NodeConfig};
/// use kafkacrypto::time::UnixTime;
///
/// let authority = Authority::from_passwords(NodeRole::Producer, "correct horse battery", "staple staple")?;
/// let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
/// let mut keys = KeyFile::fresh(&mut rng);
/// keys.add_signing_key(SigningType::Ed25519, &mut rng);
/// let mut config = NodeConfig::new("sensor-1")?;
/// let plan = NodePlan::new(NodeRole::Producer, Topics::All, UnixTime::from_secs(1_800_000_000));
/// let done = authority.provision(&plan, &mut config, &keys, None)?;
/// assert_eq!(done.chains, [0]);
/// assert!(config.text("chains", "chain0")?.is_some());
/// # Ok::<(), kafkacrypto::provision::ProvisionError>(())
/// ```
pub struct Authority {
    role: NodeRole,
    types: Vec<Signers>,
}

/// The keys of one type.
struct Signers {
    root: SigningKey,
    provisioner: Option<(Provisioner, SigningKey)>,
}

/// What a node will be allowed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodePlan {
    /// What it is for.
    pub role: NodeRole,
    /// Which topics it may use.
    pub topics: Topics,
    /// How long from now on; 10 years unless changed.
    pub lifetime: Duration,
    /// How many certificates may stand below the node's; its messages are the first. `None` sets no limit.
    pub path_length: Option<u32>,
    /// The time.
    pub now: UnixTime,
}

/// Which topics a node may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// Every topic.
    All,
    /// Those with the same roots as these.
    Named(Vec<String>),
}

/// What was done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Provisioned {
    /// The indices of the keys that have a new chain.
    pub chains: Vec<usize>,
    /// The indices of keys that were left as they are, because no root is of their type.
    pub other_type: Vec<usize>,
    /// The root topics that the node may use, as its chain lists them.
    pub topics: Vec<String>,
    /// Until when.
    pub expires: UnixTime,
}

impl Authority {
    /// The keys of type 1 of the simple flow, both made from passwords (protocol §13).
    ///
    /// # Errors
    /// [`ProvisionError::ShortPassword`].
    pub fn from_passwords(role: NodeRole, root: &str, provisioners: &str) -> Result<Self, ProvisionError> {
        Self::of_types(role, &[SigningType::Ed25519], root, provisioners)
    }

    /// Likewise, the keys of these types. Each signs for nodes' keys of its own type.
    ///
    /// # Errors
    /// [`ProvisionError::ShortPassword`].
    ///
    /// ```
    /// use kafkacrypto::keys::SigningType;
    /// use kafkacrypto::provision::{Authority, NodeRole};
    /// let both = [SigningType::Ed25519, SigningType::Ed25519SlhDsa];
    /// let authority = Authority::of_types(NodeRole::ChainServer, &both, "correct horse battery", "")?;
    /// assert_eq!(authority.roots().count(), 2);
    /// assert!(Authority::of_types(NodeRole::ChainServer, &both, "short", "").is_err());
    /// # Ok::<(), kafkacrypto::provision::ProvisionError>(())
    /// ```
    pub fn of_types(
        role: NodeRole,
        types: &[SigningType],
        root: &str,
        provisioners: &str,
    ) -> Result<Self, ProvisionError> {
        let signers = |kind: &SigningType| {
            let root = root_of_trust(root, *kind)?;
            let signer = |which| Ok((which, provisioner(which, provisioners, root.public(), *kind)?));
            let provisioner = role.signer().map(signer).transpose();
            provisioner.map(|provisioner| Signers { root, provisioner })
        };
        Ok(Self { role, types: types.iter().map(signers).collect::<Result<_, ProvisionError>>()? })
    }

    /// The public keys of the roots of trust, one for each type.
    pub fn roots(&self) -> impl Iterator<Item = &SigningPublicKey> {
        self.types.iter().map(|signers| signers.root.public())
    }

    /// Writes into the config what makes its node one of the plan: a chain and its root for each enabled key that is of one
    /// of our types, and `maxage`; removes the temporary root. Says nothing of files and brokers, which the caller knows.
    /// `enabled` is the config's `keytypes`.
    ///
    /// # Errors
    /// [`ProvisionError`]; the config may be half written then, and must not be saved.
    pub fn provision(
        &self,
        plan: &NodePlan,
        config: &mut NodeConfig,
        keys: &KeyFile,
        enabled: Option<&[SigningType]>,
    ) -> Result<Provisioned, ProvisionError> {
        let expires = plan.expires()?;
        let topics = plan.topics.roots(&config.settings()?.topic_separator)?;
        let mut done = Provisioned { chains: Vec::new(), other_type: Vec::new(), topics, expires };
        for (index, public) in keys.public_keys(enabled) {
            let same = |signers: &&Signers| signers.root.public().signing_type() == public.signing_type();
            let Some(signers) = self.types.iter().find(same) else {
                done.other_type.push(index);
                continue;
            };
            store_chain(config, index, &signers.chain(plan, &done, public))?;
            config.set("allowlist", &format!("rot{index}"), chain::root_certificate(signers.root.public()))?;
            done.chains.push(index);
        }
        if done.chains.is_empty() {
            return Err(ProvisionError::NoKey);
        }
        self.settings(plan, config)?;
        Ok(done)
    }

    fn settings(&self, plan: &NodePlan, config: &mut NodeConfig) -> Result<(), ProvisionError> {
        let lifetime = i64::try_from(plan.lifetime.as_secs()).map_err(|_| ProvisionError::BadLifetime)?;
        config.set("crypto", "maxage", lifetime)?;
        if plan.role.produces() {
            config.set("", "mgmt_long_keyindex", true)?;
        }
        config.remove("allowlist", "temporary");
        Ok(())
    }
}

impl Signers {
    /// `[signed provisioner, signed node]`, or `[signed node]` where the root signs itself.
    fn chain(&self, plan: &NodePlan, done: &Provisioned, node: &SigningPublicKey) -> Vec<u8> {
        let limits = Restrictions::none().with_usages(plan.role.usages().to_vec()).with_topics(&done.topics);
        let limits = plan.path_length.into_iter().fold(limits, |limits, length| limits.with_pathlen(length.into()));
        let certificate = chain::leaf(done.expires, &limits, &LeafKey::Signing(node.clone()), &[]);
        let Some((which, provisioner)) = &self.provisioner else {
            return chain::chain_of(&[&self.root.sign(&certificate)]);
        };
        let limits = Restrictions::none().with_usages(which.usages().to_vec());
        let above = chain::leaf(UnixTime::ZERO, &limits, &LeafKey::Signing(provisioner.public().clone()), &[]);
        chain::chain_of(&[&self.root.sign(&above), &provisioner.sign(&certificate)])
    }
}

impl NodePlan {
    /// A plan with a lifetime of 10 years and the role's own path length.
    #[must_use]
    pub fn new(role: NodeRole, topics: Topics, now: UnixTime) -> Self {
        Self { role, topics, lifetime: TEN_YEARS, path_length: Some(role.path_length()), now }
    }

    /// The same with another lifetime.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The same with another path length, or none.
    #[must_use]
    pub fn with_path_length(mut self, length: Option<u32>) -> Self {
        self.path_length = length;
        self
    }

    /// Until when the node may do it.
    ///
    /// # Errors
    /// [`ProvisionError::BadLifetime`].
    ///
    /// ```
    /// use kafkacrypto::{provision::{NodePlan, NodeRole, Topics}, time::UnixTime};
    /// let plan = NodePlan::new(NodeRole::Consumer, Topics::All, UnixTime::from_secs(1_800_000_000));
    /// assert_eq!(plan.expires().unwrap(), UnixTime::from_secs(2_116_224_000));
    /// assert!(plan.with_lifetime(std::time::Duration::ZERO).expires().is_err());
    /// ```
    pub fn expires(&self) -> Result<UnixTime, ProvisionError> {
        if (SHORTEST..=LONGEST).contains(&self.lifetime) {
            Ok(self.now.after(self.lifetime))
        } else {
            Err(ProvisionError::BadLifetime)
        }
    }
}

impl Topics {
    /// As a chain lists them: the roots, each once.
    ///
    /// # Errors
    /// [`ProvisionError::NoTopics`], [`ProvisionError::BadTopic`].
    ///
    /// ```
    /// use kafkacrypto::provision::Topics;
    /// let topics = Topics::Named(vec!["lab.a".into(), "lab.b".into(), "office".into()]);
    /// assert_eq!(topics.roots(".").unwrap(), ["lab", "office"]);
    /// assert!(Topics::Named(vec!["^.*$".into()]).roots(".").is_err());
    /// ```
    pub fn roots(&self, separator: &str) -> Result<Vec<String>, ProvisionError> {
        let Self::Named(names) = self else { return Ok(vec![EVERY_TOPIC.into()]) };
        let naming = Naming { separator: separator.into(), ..Naming::default() };
        let mut roots = Vec::new();
        for name in names {
            let root = naming.root_of(name).to_string();
            if root.is_empty() || !is_topic(name) {
                return Err(ProvisionError::BadTopic(name.clone()));
            }
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        if roots.is_empty() { Err(ProvisionError::NoTopics) } else { Ok(roots) }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority(for {}, roots {:?})", self.role, self.roots().collect::<Vec<_>>())
    }
}

/// What Kafka takes. An expression isn't one: a slip in it would let a node use more than was meant.
fn is_topic(name: &str) -> bool {
    name.len() <= 249 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

const EVERY_TOPIC: &str = "^.*$";
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(1000 * 366 * 86_400);
const TEN_YEARS: Duration = Duration::from_secs(316_224_000);

#[cfg(test)]
mod tests;
