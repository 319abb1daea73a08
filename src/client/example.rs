// What examples of producers and consumers share, hidden in the docs: a node over a broker in memory.

fn with_node(
    example: impl AsyncFnOnce(
        kafkacrypto::runtime::Node,
        kafkacrypto::transport::memory::Broker,
    ) -> Result<(), Box<dyn std::error::Error>>,
) {
    use kafkacrypto::runtime::{Node, NodeFiles, OpenOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.config");
    let mut rng = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
    drop(NodeFiles::open_or_create(&path, "n", OpenOptions::default(), &mut rng).unwrap());
    let broker = kafkacrypto::transport::memory::Broker::new();
    let transport = std::sync::Arc::new(broker.transport());
    let node = Node::builder(&path).transport(transport).allow_unprovisioned(true);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = node.open().await.unwrap();
        example(node.clone(), broker).await.unwrap();
        node.close().await;
    });
}
