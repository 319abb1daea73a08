use clap::Args;

use crate::answers::Answers;
use crate::failure::Failure;
use crate::session::{self, NodeArgs};

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    node: NodeArgs,
}

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    session::block_on(serve(args))
}

async fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let (node, _) = args.node.open().await?;
    let mut answers = Answers::of(&node);
    if let Err(error) = node.transport().topics(session::CONNECT).await {
        node.close().await;
        return Err(session::broker(&error));
    }
    eprintln!(
        "{} answers requests for the keys of all that it has sent and still keeps; Ctrl-C ends it",
        node.node_id()
    );
    tokio::select! {
        () = answers.tell() => {}
        () = session::stopped() => {}
    }
    node.close().await;
    eprintln!("{} requests were answered", answers.given);
    Ok(())
}

const AFTER_HELP: &str = "\
A record can be read only where its key can be had, and keys are given out by nodes that run. This runs one that sends
nothing, until it gets SIGINT or SIGTERM.

Example:
  kafkacrypto serve -n sensor-1.config";
