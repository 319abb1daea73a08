//! A network that loses acknowledgements: it stands before a broker, passes all on, and ends a connection instead of
//! bringing the answer to a produce request back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub struct Forgetful {
    pub address: String,
    /// How many answers were lost.
    pub lost: Arc<AtomicU64>,
}

impl Forgetful {
    /// Loses the answer to every `one_in`th produce request.
    pub async fn start(broker: &str, one_in: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (broker, lost) = (broker.to_owned(), Arc::new(AtomicU64::new(0)));
        let (losses, produced) = (lost.clone(), Arc::new(AtomicU64::new(0)));
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&broker).await else { continue };
                let own = server.peer_addr().unwrap().port();
                let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), server.into_split());
                let doomed = Arc::new(Mutex::new(HashSet::new()));
                let (there, produced, losses) = (doomed.clone(), produced.clone(), losses.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = requests(from_client, to_broker, &there, &produced, one_in) => {}
                        _ = answers(from_broker, to_client, &doomed, &losses, (own, port)) => {}
                    }
                });
            }
        });
        Self { address, lost }
    }
}

async fn frame(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let size = from.read_u32().await?;
    let mut frame = vec![0; size as usize];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn pass(to: &mut OwnedWriteHalf, frame: &[u8]) -> std::io::Result<()> {
    to.write_u32(frame.len() as u32).await?;
    to.write_all(frame).await
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    doomed: &Mutex<HashSet<[u8; 4]>>,
    produced: &AtomicU64,
    one_in: u64,
) -> std::io::Result<()> {
    loop {
        let request = frame(&mut from).await?;
        let is_produce = request[..2] == [0, 0];
        if is_produce && produced.fetch_add(1, Ordering::Relaxed) % one_in == one_in - 1 {
            doomed.lock().unwrap().insert(request[4..8].try_into().unwrap());
        }
        pass(&mut to, &request).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    doomed: &Mutex<HashSet<[u8; 4]>>,
    lost: &AtomicU64,
    ports: (u16, u16),
) -> std::io::Result<()> {
    loop {
        let mut answer = frame(&mut from).await?;
        if doomed.lock().unwrap().contains(&answer[..4]) {
            lost.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        redirect(&mut answer, ports.0, ports.1);
        pass(&mut to, &answer).await?;
    }
}

/// Wherever the broker's address stands in an answer, ours takes its place.
fn redirect(frame: &mut [u8], from: u16, to: u16) {
    const HOST: &[u8] = b"127.0.0.1";
    let port = |port: u16| u32::from(port).to_be_bytes();
    for at in 0..frame.len().saturating_sub(HOST.len() + 3) {
        let place = at + HOST.len()..at + HOST.len() + 4;
        if frame[at..].starts_with(HOST) && frame[place.clone()] == port(from) {
            frame[place].copy_from_slice(&port(to));
        }
    }
}
