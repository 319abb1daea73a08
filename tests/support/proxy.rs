//! A bad network: stands before a broker, and before itself where the broker says its address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Forwards connections to a broker on 127.0.0.1, as long as it may.
pub struct Proxy {
    pub address: String,
    mood: Arc<watch::Sender<Mood>>,
}

/// What the network does now.
#[derive(Clone, Copy, Default)]
struct Mood {
    swallow: bool,
    refuse: bool,
    hold: bool,
    drip: Option<Duration>,
    /// Bytes a second, in each direction.
    rate: Option<u64>,
    cuts: u32,
    /// Answers to this API are lost, with their connection, so many times.
    lose: Option<(i16, u32)>,
    /// An answer to this API breaks off, with its connection: after so many whole ones, at this byte.
    cut_at: Option<(i16, u32, usize)>,
    /// The length of the answer that broke off.
    length: usize,
    /// Connections that there are, that there were at once, and that there were ever.
    open: u32,
    most: u32,
    accepted: u32,
}

impl Proxy {
    pub async fn start(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mood = Arc::new(watch::Sender::new(Mood::default()));
        let (broker, moods) = (broker.to_owned(), mood.clone());
        let lines = Arc::new([Line::new(Instant::now()), Line::new(Instant::now())]);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Mood { refuse, cuts, .. } = *moods.borrow();
                if !refuse {
                    let (broker, moods, lines) = (broker.clone(), moods.clone(), lines.clone());
                    tokio::spawn(async move {
                        moods.send_modify(Mood::one_more);
                        serve(client, broker, port, (&moods, cuts), &lines).await;
                        moods.send_modify(|mood| mood.open -= 1);
                    });
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

    /// The connections that there are end: nothing that is sent over them from now on gets out.
    pub fn cut(&self) {
        self.mood.send_modify(|mood| mood.cuts += 1);
    }

    /// Answers wait until this ends; none is lost.
    pub fn hold(&self, hold: bool) {
        self.mood.send_modify(|mood| mood.hold = hold);
    }

    /// Each byte of an answer takes so long.
    pub fn drip(&self, each: Option<Duration>) {
        self.mood.send_modify(|mood| mood.drip = each);
    }

    /// So many bytes a second go through in each direction, over all connections. For measuring: large answers then aren't
    /// held back, lost or cut, and addresses in them stay.
    pub fn rate(&self, rate: Option<u64>) {
        self.mood.send_modify(|mood| mood.rate = rate);
    }

    /// The next so many answers to an API are lost, and their connections with them.
    pub fn lose(&self, api: i16, times: u32) {
        self.mood.send_modify(|mood| mood.lose = Some((api, times)));
    }

    /// Whether there are answers yet to be lost.
    pub fn loses(&self) -> bool {
        self.mood.borrow().lose.is_some_and(|(_, times)| times > 0)
    }

    /// The next answer to an API breaks off after so many bytes.
    pub fn cut_at(&self, api: i16, byte: usize) {
        self.cut_later(api, 0, byte);
    }

    /// The same, after so many whole answers to it.
    pub fn cut_later(&self, api: i16, whole: u32, byte: usize) {
        self.mood.send_modify(|mood| mood.cut_at = Some((api, whole, byte)));
    }

    /// Connections that there were at once, and ever.
    pub fn connections(&self) -> (u32, u32) {
        let mood = self.mood.borrow();
        (mood.most, mood.accepted)
    }

    /// The length of the answer that was cut last; `None` while none was.
    pub fn was_cut(&self) -> Option<usize> {
        let mood = *self.mood.borrow();
        mood.cut_at.is_none().then_some(mood.length)
    }
}

impl Mood {
    fn one_more(&mut self) {
        self.open += 1;
        self.accepted += 1;
        self.most = self.most.max(self.open);
    }
}

/// With a rate, an answer of more than this is passed on as it comes.
const LARGE: u32 = 64 << 10;
/// What a timer may be late.
const OVERSLEPT: Duration = Duration::from_millis(5);

/// A direction of the network: when it is free again.
type Line = Mutex<Instant>;

/// A connection, until the first cut after those that there were when it began.
async fn serve(
    client: TcpStream,
    broker: String,
    port: u16,
    (moods, cuts): (&watch::Sender<Mood>, u32),
    lines: &[Line; 2],
) {
    let own: u16 = broker.rsplit_once(':').unwrap().1.parse().unwrap();
    let Ok(broker) = TcpStream::connect(broker).await else { return };
    client.set_nodelay(true).unwrap();
    broker.set_nodelay(true).unwrap();
    let ((from_client, to_broker), (from_broker, to_client)) = {
        let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
        ((from_client, to_broker), (from_broker, to_client))
    };
    let mut changes = moods.subscribe();
    let asked = Mutex::default();
    tokio::select! {
        _ = there(from_client, to_broker, &asked, (moods, cuts), &lines[0]) => {}
        _ = back(from_broker, to_client, &asked, moods, &lines[1], (own, port)) => {}
        _ = changes.wait_for(|mood| mood.cuts > cuts) => {}
    }
}

/// Which API each request was for.
type Asked = Mutex<HashMap<[u8; 4], i16>>;

async fn there(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Asked,
    (moods, cuts): (&watch::Sender<Mood>, u32),
    line: &Line,
) {
    while let Some(frame) = frame(&mut from).await {
        pace(line, frame.len(), moods).await;
        // `serve` may hear of a cut later than this.
        if moods.borrow().cuts > cuts {
            break;
        }
        asked.lock().unwrap().insert(frame[8..12].try_into().unwrap(), i16::from_be_bytes([frame[4], frame[5]]));
        if !moods.borrow().swallow && to.write_all(&frame).await.is_err() {
            break;
        }
    }
}

async fn back(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Asked,
    moods: &watch::Sender<Mood>,
    line: &Line,
    (own, port): (u16, u16),
) {
    let mut changes = moods.subscribe();
    while let Ok(size) = from.read_u32().await {
        if size > LARGE && moods.borrow().rate.is_some() {
            if stream(&mut from, &mut to, size, moods, line).await.is_err() {
                break;
            }
            continue;
        }
        let Some(mut frame) = body(&mut from, size).await else { break };
        redirect(&mut frame, own, port);
        let api = asked.lock().unwrap().remove(&frame[4..8]);
        let _ = changes.wait_for(|mood| !mood.hold).await;
        let mood = *moods.borrow();
        if mood.swallow {
            continue;
        }
        if let Some((_, times)) = mood.lose.filter(|(lost, times)| Some(*lost) == api && *times > 0) {
            moods.send_modify(|mood| mood.lose = Some((api.unwrap(), times - 1)));
            break;
        }
        let cut = mood.cut_at.filter(|(cut, ..)| Some(*cut) == api);
        if let Some((api, whole @ 1.., byte)) = cut {
            moods.send_modify(|mood| mood.cut_at = Some((api, whole - 1, byte)));
        } else if let Some((.., byte)) = cut {
            moods.send_modify(|mood| (mood.cut_at, mood.length) = (None, frame.len()));
            let _ = to.write_all(&frame[..byte.min(frame.len())]).await;
            break;
        }
        pace(line, frame.len(), moods).await;
        if send(&mut to, &frame, moods).await.is_err() {
            break;
        }
    }
}

/// Waits until the network has had time for so many bytes more. What a timer oversleeps is made up for.
async fn pace(line: &Line, bytes: usize, moods: &watch::Sender<Mood>) {
    let Some(rate) = moods.borrow().rate else { return };
    let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
    let until = {
        let mut free = line.lock().unwrap();
        *free = (*free).max(Instant::now() - OVERSLEPT) + takes;
        *free
    };
    sleep_until(until).await;
}

/// At once, or byte by byte as long as that is the network's mood.
async fn send(to: &mut OwnedWriteHalf, frame: &[u8], moods: &watch::Sender<Mood>) -> std::io::Result<()> {
    for (at, byte) in frame.iter().enumerate() {
        let Some(each) = moods.borrow().drip else { return to.write_all(&frame[at..]).await };
        to.write_all(&[*byte]).await?;
        tokio::time::sleep(each).await;
    }
    Ok(())
}

/// A frame of so many bytes, piece by piece as a network would, and so as it is. The broker gets rid of it at once.
async fn stream(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    size: u32,
    moods: &watch::Sender<Mood>,
    line: &Line,
) -> std::io::Result<()> {
    let (pieces, mut buffered) = mpsc::unbounded_channel();
    let fill = async move {
        let mut left = size;
        while left > 0 {
            let mut piece = vec![0; left.min(LARGE) as usize];
            from.read_exact(&mut piece).await?;
            left -= piece.len() as u32;
            let _ = pieces.send(piece);
        }
        Ok(())
    };
    let drain = async {
        to.write_u32(size).await?;
        while let Some(piece) = buffered.recv().await {
            pace(line, piece.len(), moods).await;
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::try_join!(fill, drain).map(drop)
}

/// A frame with its length.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let size = from.read_u32().await.ok()?;
    body(from, size).await
}

async fn body(from: &mut OwnedReadHalf, size: u32) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4 + size as usize];
    frame[..4].copy_from_slice(&size.to_be_bytes());
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
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
