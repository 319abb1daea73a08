//! A bad network: stands before a broker, and before itself where the broker says its address.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections to a broker on 127.0.0.1, as long as it may.
pub struct Proxy {
    pub address: String,
    mood: Arc<watch::Sender<Mood>>,
}

#[derive(Clone, Copy, Default)]
struct Mood {
    swallow: bool,
    refuse: bool,
    cuts: u32,
}

impl Proxy {
    pub async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mood = Arc::new(watch::Sender::new(Mood::default()));
        let (broker, moods) = (broker.to_owned(), mood.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if !moods.borrow().refuse {
                    tokio::spawn(serve(client, broker.clone(), port, moods.subscribe()));
                }
            }
        });
        Self { address: format!("127.0.0.1:{port}"), mood }
    }

    /// Bytes go in and don't come out, also on new connections.
    pub fn swallow(&self, swallow: bool) {
        self.mood.send_modify(|mood| mood.swallow = swallow);
    }

    /// Connections end at once, those that there are too.
    pub fn refuse(&self, refuse: bool) {
        self.mood.send_modify(|mood| mood.refuse = refuse);
        self.cut();
    }

    /// The connections that there are end.
    pub fn cut(&self) {
        self.mood.send_modify(|mood| mood.cuts += 1);
    }
}

async fn serve(client: TcpStream, broker: String, port: u16, mut moods: watch::Receiver<Mood>) {
    let own: u16 = broker.rsplit_once(':').unwrap().1.parse().unwrap();
    let broker = TcpStream::connect(broker).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_broker, mut to_broker)) =
        (client.into_split(), broker.into_split());
    let cuts = moods.borrow_and_update().cuts;
    let silent = moods.clone();
    let there = async {
        let mut bytes = vec![0; 65536];
        while let Ok(n @ 1..) = from_client.read(&mut bytes).await {
            if !silent.borrow().swallow && to_broker.write_all(&bytes[..n]).await.is_err() {
                break;
            }
        }
    };
    let silent = moods.clone();
    let back = async {
        while let Ok(size) = from_broker.read_u32().await {
            let mut frame = vec![0; size as usize];
            if from_broker.read_exact(&mut frame).await.is_err() {
                break;
            }
            redirect(&mut frame, own, port);
            if silent.borrow().swallow {
                continue;
            }
            if to_client.write_u32(size).await.is_err() || to_client.write_all(&frame).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = moods.wait_for(|mood| mood.cuts > cuts) => {}
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
