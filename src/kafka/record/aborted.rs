//! Which batches a reader may see.

use std::collections::HashSet;

use super::error::BatchError;
use super::read::{Batch, Marker};

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand its records out.
    Deliver,
    /// Its transaction was aborted: go on behind it.
    Aborted,
    /// It holds markers of the broker's: go on behind it.
    Control,
}

/// Tells aborted and control batches from data, for one partition of one fetch response; batches are shown to it in
/// their order, all of them.
///
/// When a damaged batch was passed over, it may have been the end of an aborted transaction: the rest of the response is
/// then to be fetched again, behind the damage, with a fresh filter.
#[derive(Clone, Debug, Default)]
pub struct AbortedFilter {
    /// (first offset, producer), not reached yet; the nearest is last.
    ahead: Vec<(i64, i64)>,
    /// The producers whose open transaction ends in an abort.
    aborting: HashSet<i64>,
}

impl AbortedFilter {
    /// For `read_committed`, with the response's list of (producer id, first offset), in any order.
    pub fn committed(aborted: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut ahead: Vec<_> = aborted.into_iter().map(|(producer, first)| (first, producer)).collect();
        ahead.sort_unstable_by(|one, other| other.cmp(one));
        Self { ahead, aborting: HashSet::new() }
    }

    /// For `read_uncommitted`: only control batches are kept back.
    pub fn uncommitted() -> Self {
        Self::default()
    }

    /// What to do with the next batch.
    ///
    /// # Errors
    /// A control batch that can't be read; under `read_committed` the filter is of no use behind it.
    ///
    /// ```
    /// # use kafkacrypto::kafka::record::{AbortedFilter, BatchWriter, Compression, Stamp, Verdict, read_batches};
    /// let mut batch = BatchWriter::with_capacity(100);
    /// batch.append(0, None, Some(b"value"), &[])?;
    /// let stamp = Stamp { producer_id: 7, epoch: 0, sequence: 0, transactional: true };
    /// let batch = read_batches(&batch.finish(Compression::None, None, stamp)?).next().unwrap()?;
    /// assert_eq!(AbortedFilter::committed([(7, 0)]).judge(&batch), Ok(Verdict::Aborted));
    /// assert_eq!(AbortedFilter::committed([(8, 0)]).judge(&batch), Ok(Verdict::Deliver));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn judge(&mut self, batch: &Batch) -> Result<Verdict, BatchError> {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= batch.last_offset) {
            self.aborting.insert(producer);
        }
        if batch.is_control() {
            if batch.marker()? == Some(Marker::Abort) {
                self.aborting.remove(&batch.producer_id);
            }
            return Ok(Verdict::Control);
        }
        let aborted = batch.is_transactional() && self.aborting.contains(&batch.producer_id);
        Ok(if aborted { Verdict::Aborted } else { Verdict::Deliver })
    }
}
