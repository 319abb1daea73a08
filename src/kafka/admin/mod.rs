//! Administration: topics, their settings, their records; groups. All are calls of [`Client`](super::Client).
//!
//! What it must never do: change anything that wasn't named, or take an answer for yes that says no. It owns no bytes.

mod cluster;
mod groups;
mod topics;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::Request;
use tokio::time::Instant;

pub use cluster::{Broker, Cluster, PartitionInfo, TopicInfo};
pub use groups::GroupInfo;
pub use topics::{Created, NewTopic, Setting};

use super::cluster::{Attempts, Repeated, Target, Throttled};
use super::{Client, Error};

impl Client {
    /// Asks until there is an answer, as long as asking again can do no harm; the controller where it has moved to.
    async fn ask_until<R, T>(
        &self,
        to: Target,
        repeated: Repeated,
        deadline: Instant,
        build: impl Fn(i16) -> R + Send + Sync,
        read: impl Fn(R::Response) -> Result<T, Error> + Send + Sync,
    ) -> Result<T, Error>
    where
        R: Request + Send + Sync,
        R::Response: Throttled,
    {
        let mut attempts = Attempts::new(self.config().times(), deadline);
        loop {
            let answer = self.call::<R>(to, deadline, &build).await;
            let error = match answer.and_then(|(response, _)| read(response)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let moved = error.code() == Some(ResponseError::NotController.code());
            // What a broker says of the thing itself lasts; what may have been done isn't done again.
            let lasts = error.code().is_some() && !moved;
            if lasts || repeated == Repeated::Harmful && error.may_have_arrived() {
                return Err(error);
            }
            attempts.again(error).await?;
            if to == Target::Controller {
                self.look(Some(Vec::new()), deadline).await?;
            }
        }
    }
}
