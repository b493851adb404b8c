//! One stream of events from the pages of all CPUs.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::decode::Decoder;
use super::event::Event;
use super::page::{Page, PageError, PageLayout, Record};

/// What comes out of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// An event.
    Event(Event),
    /// Records of a CPU that the kernel had to drop, between these two moments.
    Lost {
        cpu: u32,
        from: Duration,
        to: Duration,
        count: u64,
    },
}

/// The pages of all CPUs that were read and not gone through.
#[derive(Debug)]
pub(super) struct Streams {
    layout: PageLayout,
    cpus: Vec<CpuStream>,
}

#[derive(Debug, Default)]
struct CpuStream {
    cpu: u32,
    pages: VecDeque<Page>,
    /// The record that comes next, of the first page.
    next: Option<Record>,
    /// When the last record before it was written.
    last: u64,
}

impl Streams {
    pub(super) fn new(layout: PageLayout, cpus: &[u32]) -> Self {
        let stream = |cpu: &u32| CpuStream {
            cpu: *cpu,
            ..CpuStream::default()
        };
        Self {
            layout,
            cpus: cpus.iter().map(stream).collect(),
        }
    }

    /// Adds the page that was read of the CPU in place `index`.
    pub(super) fn push(&mut self, index: usize, bytes: &[u8]) -> Result<(), PageError> {
        let page = Page::new(bytes, self.layout)?;
        self.cpus[index].pages.push_back(page);
        Ok(())
    }

    /// Gives everything before `end` to `take`, in the order of time. All pages with such records must have been added.
    pub(super) fn drain(
        &mut self,
        end: Duration,
        decoder: &Decoder,
        take: &mut dyn FnMut(Item),
    ) -> Result<(), PageError> {
        let end = u64::try_from(end.as_nanos()).unwrap_or(u64::MAX);
        let mut heads = BinaryHeap::new();
        for (index, stream) in self.cpus.iter_mut().enumerate() {
            stream.advance(take)?;
            heads.extend(stream.next.map(|next| Reverse((next.time, index))));
        }
        while let Some(Reverse((time, index))) = heads.pop() {
            if time >= end {
                break;
            }
            let stream = &mut self.cpus[index];
            let Some((record, page)) = stream.next.take().zip(stream.pages.front()) else {
                continue;
            };
            if let Some(event) = decoder.event(time, stream.cpu, page.bytes(record)) {
                take(Item::Event(event));
            }
            stream.last = time;
            stream.advance(take)?;
            heads.extend(stream.next.map(|next| Reverse((next.time, index))));
        }
        Ok(())
    }
}

impl CpuStream {
    /// Finds the next record; what was lost before it is told when it is found, which is at the time of the one before.
    fn advance(&mut self, take: &mut dyn FnMut(Item)) -> Result<(), PageError> {
        while self.next.is_none() {
            let Some(page) = self.pages.front_mut() else {
                return Ok(());
            };
            self.next = page.next()?;
            let lost = match self.next {
                Some(_) => std::mem::take(&mut page.lost),
                None => 0,
            };
            if let Some(next) = self.next.filter(|_| lost > 0) {
                take(Item::Lost {
                    cpu: self.cpu,
                    from: Duration::from_nanos(self.last),
                    to: Duration::from_nanos(next.time),
                    count: lost,
                });
            }
            if self.next.is_none() {
                let carried = self.pages.pop_front().map_or(0, |page| page.lost);
                // A page without records: what was lost before it was lost before the next.
                if let Some(next) = self.pages.front_mut() {
                    next.lost = next.lost.saturating_add(carried);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode::tests::{decoder, switch};
    use super::super::event::What;
    use super::super::page::tests::{layout, page};
    use super::*;

    fn drained(streams: &mut Streams, end: u64) -> Vec<Item> {
        let mut items = Vec::new();
        let end = Duration::from_nanos(end);
        streams
            .drain(end, &decoder(), &mut |item| items.push(item))
            .unwrap();
        items
    }

    fn times(items: &[Item]) -> Vec<(u64, u32)> {
        let times = items.iter().map(|item| match item {
            Item::Event(event) => (event.at.as_nanos() as u64, event.cpu),
            Item::Lost { from, cpu, .. } => (from.as_nanos() as u64, *cpu),
        });
        times.collect()
    }

    fn switches(times: &[u64]) -> Vec<(u64, Vec<u8>)> {
        times.iter().map(|time| (*time, switch(1, 0, 2))).collect()
    }

    #[test]
    fn cpus_are_merged_and_what_is_too_new_is_kept() {
        let mut streams = Streams::new(layout(), &[0, 5]);
        streams
            .push(0, &page(10, 0, &switches(&[10, 30, 50])))
            .unwrap();
        streams.push(1, &page(20, 0, &switches(&[20, 60]))).unwrap();
        streams.push(1, &page(70, 0, &switches(&[70]))).unwrap();
        let first = drained(&mut streams, 40);
        assert_eq!(times(&first), [(10, 0), (20, 5), (30, 0)]);
        assert!(
            matches!(first[0], Item::Event(Event { what: What::Switch { prev, .. }, .. }) if prev.pid == 1)
        );
        streams.push(0, &page(65, 0, &switches(&[65]))).unwrap();
        assert_eq!(
            times(&drained(&mut streams, u64::MAX)),
            [(50, 0), (60, 5), (65, 0), (70, 5)]
        );
        assert_eq!(drained(&mut streams, u64::MAX), []);
    }

    #[test]
    fn losses_are_told_before_anything_that_came_meanwhile() {
        let mut streams = Streams::new(layout(), &[0, 1]);
        streams.push(0, &page(10, 0, &switches(&[10]))).unwrap();
        streams.push(0, &page(80, 7, &[])).unwrap();
        streams.push(0, &page(90, 2, &switches(&[90]))).unwrap();
        streams.push(1, &page(50, 0, &switches(&[50]))).unwrap();
        let items = drained(&mut streams, u64::MAX);
        let lost = Item::Lost {
            cpu: 0,
            from: Duration::from_nanos(10),
            to: Duration::from_nanos(90),
            count: 9,
        };
        assert_eq!(items[1], lost);
        assert_eq!(times(&items), [(10, 0), (10, 0), (50, 1), (90, 0)]);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_time(per_cpu in prop::collection::vec(prop::collection::vec(1..50_u64, 0..60), 1..5), cut in 0..2000_u64) {
            let cpus: Vec<u32> = (0..per_cpu.len() as u32).collect();
            let mut streams = Streams::new(layout(), &cpus);
            let mut count = 0;
            for (index, gaps) in per_cpu.iter().enumerate() {
                let mut time = 0;
                let written: Vec<u64> = gaps.iter().map(|gap| { time += gap; time }).collect();
                count += written.len();
                for part in written.chunks(7) {
                    streams.push(index, &page(part[0], 0, &switches(part))).unwrap();
                }
            }
            let mut all = times(&drained(&mut streams, cut));
            prop_assert!(all.iter().all(|(time, _)| *time < cut));
            all.extend(times(&drained(&mut streams, u64::MAX)));
            prop_assert_eq!(all.len(), count);
            prop_assert!(all.is_sorted_by_key(|(time, _)| *time));
        }

        #[test]
        fn any_pages_end(pages in prop::collection::vec((0..2_usize, prop::collection::vec(any::<u8>(), 0..200)), 0..8)) {
            let mut streams = Streams::new(layout(), &[0, 1]);
            for (index, mut bytes) in pages {
                if bytes.len() >= 16 {
                    let used = bytes.len() as u64 - 16;
                    bytes[8..16].copy_from_slice(&used.to_le_bytes());
                }
                let _ = streams.push(index, &bytes);
            }
            let _ = streams.drain(Duration::MAX, &decoder(), &mut |_| {});
        }
    }
}
