use super::*;
use crate::chain::{Ask, TrustLists, Usage, verify};
use crate::wire::Writer;

fn rng() -> impl rand_core::CryptoRng {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

/// Keys that cost no scrypt.
fn authority(role: NodeRole) -> Authority {
    Authority { role, types: vec![signers(role, SigningType::Ed25519)] }
}

fn signers(role: NodeRole, kind: SigningType) -> Signers {
    let key = |seed: u8| SigningKey::from_seed(kind, &vec![seed; kind.seed_length()]).unwrap();
    Signers { root: key(1), provisioner: role.signer().map(|which| (which, key(2))) }
}

fn key_file() -> KeyFile {
    let mut keys = KeyFile::fresh(&mut rng());
    keys.add_signing_key(SigningType::Ed25519, &mut rng());
    keys
}

fn now() -> UnixTime {
    UnixTime::from_secs(1_800_000_000)
}

fn lab() -> Topics {
    Topics::Named(vec!["lab.data".into()])
}

fn bytes(config: &NodeConfig, section: &str, name: &str) -> Vec<u8> {
    config.get(section, name).unwrap().unwrap().as_bytes().unwrap().to_vec()
}

#[test]
fn every_role_may_do_what_its_row_says_and_no_more() {
    for role in NodeRole::ALL {
        let (keys, mut config) = (key_file(), NodeConfig::new("n").unwrap());
        authority(role).provision(&NodePlan::new(role, lab(), now()), &mut config, &keys, None).unwrap();
        let (chain, root) = (bytes(&config, "chains", "chain0"), bytes(&config, "allowlist", "rot0"));
        let (lists, warnings) = TrustLists::new([&root[..]], []);
        assert!(warnings.is_empty());
        for usage in Usage::ALL {
            let asked = |topic| verify(&chain, Ask { topic: Some(topic), usage: Some(usage) }, &lists, now());
            assert_eq!(asked("lab").is_ok(), role.usages().contains(&usage), "{role} {usage:?}");
            assert!(asked("office").is_err());
        }
        let verified = verify(&chain, Ask { topic: None, usage: None }, &lists, now()).unwrap();
        assert_eq!(verified.restrictions().pathlen(), Some(role.path_length().into()));
        assert_eq!(verified.max_age(), now().after(TEN_YEARS));
        assert_eq!(verified.signers().len(), if role == NodeRole::ChainServer { 1 } else { 2 });
    }
}

#[test]
fn the_config_says_what_a_node_needs() {
    let mut config = NodeConfig::new("n").unwrap();
    config.set("allowlist", "temporary", &b"anyone"[..]).unwrap();
    config.set("allowlist", "rot0", &b"an older root"[..]).unwrap();
    config.set("", "mgmt_long_keyindex", false).unwrap();
    let plan = NodePlan::new(NodeRole::Producer, Topics::All, now())
        .with_lifetime(Duration::from_secs(86_400))
        .with_path_length(None);
    let done = authority(NodeRole::Producer).provision(&plan, &mut config, &key_file(), None).unwrap();
    assert_eq!((done.chains, done.topics), (vec![0], vec!["^.*$".to_owned()]));
    assert_eq!(done.expires, now().after(Duration::from_secs(86_400)));
    assert_eq!(config.settings().unwrap().max_age, Duration::from_secs(86_400));
    assert!(config.settings().unwrap().mgmt_long_keyindex);
    assert_eq!(config.get("allowlist", "temporary").unwrap(), None);
    let root = SigningKey::from_ed25519_seed(&[1; 32]);
    assert_eq!(bytes(&config, "allowlist", "rot0"), crate::chain::root_certificate(root.public()));
}

#[test]
fn keys_of_another_type_are_named_and_keep_their_index() {
    let single = SigningKey::from_ed25519_seed(&[4; 32]).to_bytes();
    let hybrid = SigningKey::from_seed(SigningType::Ed25519SlhDsa, &[3; 80]).unwrap().to_bytes();
    let mut out = Writer::new();
    out.array(5).uint(2).array(2).bin(hybrid.expose()).bin(single.expose()).bin(&[7; 32]).bool(false).array(1).uint(1);
    let keys = KeyFile::decode(&out.finish()).unwrap();
    let (plan, mut config) = (NodePlan::new(NodeRole::Consumer, lab(), now()), NodeConfig::new("n").unwrap());
    let done = authority(NodeRole::Consumer).provision(&plan, &mut config, &keys, None).unwrap();
    assert_eq!((done.chains, done.other_type), (vec![1], vec![0]));
    assert!(config.get("chains", "chain0").unwrap().is_none() && config.get("chains", "chain1").unwrap().is_some());
    let only = Some(&[SigningType::Ed25519SlhDsa][..]);
    let none = authority(NodeRole::Consumer).provision(&plan, &mut config, &keys, only);
    assert_eq!(none, Err(ProvisionError::NoKey));
}

#[test]
fn a_node_with_both_types_has_a_chain_of_each() {
    let (mut keys, mut config) = (key_file(), NodeConfig::new("n").unwrap());
    keys.add_signing_key(SigningType::Ed25519SlhDsa, &mut rng());
    let types = [SigningType::Ed25519SlhDsa, SigningType::Ed25519];
    let role = NodeRole::Prodcon;
    let both = Authority { role, types: types.map(|kind| signers(role, kind)).into() };
    let done = both.provision(&NodePlan::new(role, lab(), now()), &mut config, &keys, None).unwrap();
    assert_eq!((done.chains, done.other_type), (vec![0, 1], vec![]));
    let public: Vec<_> = keys.public_keys(None).map(|(_, key)| key.clone()).collect();
    for (index, key) in public.iter().enumerate() {
        let chain = bytes(&config, "chains", &format!("chain{index}"));
        let root = bytes(&config, "allowlist", &format!("rot{index}"));
        let (lists, _) = TrustLists::new([&root[..]], []);
        let verified = verify(&chain, Ask { topic: Some("lab"), usage: Some(Usage::Encrypt) }, &lists, now()).unwrap();
        assert_eq!(verified.key().signing_key().as_ref(), Some(key));
        assert!(verified.signers().iter().all(|signer| signer.signing_type() == key.signing_type()));
    }
}

#[test]
fn slips_are_refused() {
    let mut config = NodeConfig::new("n").unwrap();
    let mut attempt = |topics: &[&str], secs| {
        let topics = Topics::Named(topics.iter().map(|name| (*name).to_owned()).collect());
        let plan = NodePlan::new(NodeRole::Producer, topics, now()).with_lifetime(Duration::from_secs(secs));
        authority(NodeRole::Producer).provision(&plan, &mut config, &key_file(), None).unwrap_err()
    };
    assert_eq!(attempt(&[], 9), ProvisionError::NoTopics);
    for name in ["", ".lab", "^lab", "lab\n", "lab data", "läb"] {
        assert_eq!(attempt(&["lab", name], 9), ProvisionError::BadTopic(name.into()));
    }
    assert_eq!(attempt(&["lab"], 0), ProvisionError::BadLifetime);
    assert_eq!(attempt(&["lab"], u64::MAX), ProvisionError::BadLifetime);
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", authority(NodeRole::Producer));
    assert!(shown.starts_with("Authority(for producer, roots [") && !shown.contains("0101"), "{shown}");
}
