//! The pages of the kernel's ring buffer: `include/linux/ring_buffer.h`.
//!
//! A page has the time of its first record, how many bytes of it are used, whether records were lost before it, and
//! records, each with the time since the one before.

use super::format::{Format, FormatError};

/// The layout of a page's head, from `events/header_page`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageLayout {
    commit: usize,
    commit_size: usize,
    data: usize,
    /// Size of a page.
    pub(super) size: usize,
}

/// What is wrong with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PageError {
    #[error("a page of the trace buffer ends before its head")]
    Short,
    #[error("a page of the trace buffer claims {claimed} bytes and has {present}")]
    Overlong { claimed: usize, present: usize },
    #[error("a record of the trace buffer does not fit its page")]
    Record,
}

/// `RB_MISSED_EVENTS` and `RB_MISSED_STORED` of the kernel's `kernel/trace/ring_buffer.c`.
const MISSED: u64 = 1 << 31;
const MISSED_STORED: u64 = 1 << 30;
const COMMIT_MASK: u64 = (1 << 27) - 1;

/// `enum ring_buffer_type`
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;
const TIME_SHIFT: u32 = 27;

/// An absolute time has no more bits.
const TIME_STAMP_BITS: u32 = 59;

/// A page that was read, and how far it was gone through.
#[derive(Debug)]
pub(super) struct Page {
    bytes: Box<[u8]>,
    at: usize,
    end: usize,
    time: u64,
    /// Records that were lost before it.
    pub(super) lost: u64,
}

/// A record: when it was written, and where its bytes are in the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: u64,
    start: usize,
    end: usize,
}

impl PageLayout {
    /// Reads the kernel's description.
    pub(super) fn parse(header_page: &str) -> Result<Self, FormatError> {
        let format = Format::parse(header_page);
        let commit = format.integer("commit")?;
        let data = format.field("data")?;
        let size = data.offset() + data.size();
        let head = data.offset();
        let is_sound = (16..=64).contains(&head)
            && commit.size() >= 4
            && commit.offset() >= 8
            && commit.offset() + commit.size() <= head
            && (1 << 10..=64 << 10).contains(&size);
        if !is_sound {
            return Err(FormatError::Page(size));
        }
        Ok(Self {
            commit: commit.offset(),
            commit_size: commit.size(),
            data: head,
            size,
        })
    }
}

impl Page {
    pub(super) fn new(bytes: &[u8], layout: PageLayout) -> Result<Self, PageError> {
        let time = word(bytes, 0, 8).ok_or(PageError::Short)?;
        let commit = word(bytes, layout.commit, layout.commit_size).ok_or(PageError::Short)?;
        let claimed = (commit & COMMIT_MASK) as usize;
        let present = bytes
            .len()
            .checked_sub(layout.data)
            .ok_or(PageError::Short)?;
        if claimed > present {
            return Err(PageError::Overlong { claimed, present });
        }
        let end = layout.data + claimed;
        let lost = match (commit & MISSED, commit & MISSED_STORED) {
            (0, _) => 0,
            (_, 0) => 1,
            // Their number is behind the last record.
            _ => word(bytes, end, 8)
                .filter(|lost| *lost > 0 && *lost < 1 << 48)
                .unwrap_or(1),
        };
        Ok(Self {
            bytes: bytes[..end].into(),
            at: layout.data,
            end,
            time,
            lost,
        })
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, PageError> {
        while self.at < self.end {
            let head = word(&self.bytes, self.at, 4).ok_or(PageError::Record)? as u32;
            let (kind, delta) = (head & 31, u64::from(head >> 5));
            let body = self.at + 4;
            // Of records of data the word after the head may be data.
            let first = || word(&self.bytes, body, 4).ok_or(PageError::Record);
            match kind {
                // The rest of the page is empty.
                PADDING if delta == 0 => {
                    self.at = self.end;
                    return Ok(None);
                }
                PADDING => {
                    self.time = self.time.saturating_add(delta);
                    self.at = self.within(body, first()? as usize)?;
                }
                TIME_EXTEND => {
                    let delta = delta + (first()? << TIME_SHIFT);
                    self.time = self.time.saturating_add(delta);
                    self.at = body + 4;
                }
                TIME_STAMP => {
                    self.time = absolute(delta + (first()? << TIME_SHIFT), self.time);
                    self.at = body + 4;
                }
                _ => {
                    let (start, length) = match kind {
                        // The length counts its own four bytes.
                        0 => (
                            body + 4,
                            (first()? as usize)
                                .checked_sub(4)
                                .ok_or(PageError::Record)?,
                        ),
                        words => (body, 4 * words as usize),
                    };
                    let end = self.within(start, length)?;
                    self.time = self.time.saturating_add(delta);
                    // Records begin at multiples of four.
                    self.at = end.next_multiple_of(4);
                    return Ok(Some(Record {
                        time: self.time,
                        start,
                        end,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// The bytes of a record of this page.
    pub(super) fn bytes(&self, record: Record) -> &[u8] {
        &self.bytes[record.start..record.end]
    }

    /// The end of `length` bytes from `start` on.
    fn within(&self, start: usize, length: usize) -> Result<usize, PageError> {
        let end = start.checked_add(length).ok_or(PageError::Record)?;
        if end > self.end {
            Err(PageError::Record)
        } else {
            Ok(end)
        }
    }
}

/// An absolute time has lost its upper bits: those of the time before.
fn absolute(stamp: u64, before: u64) -> u64 {
    let upper = !0 << TIME_STAMP_BITS;
    let time = stamp | (before & upper);
    if time < before && before & upper != 0 {
        return time.saturating_add(1 << TIME_STAMP_BITS);
    }
    time
}

/// A number of 4 or 8 bytes.
fn word(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    match size {
        4 => Some(u32::from_le_bytes(bytes.try_into().ok()?).into()),
        _ => Some(u64::from_le_bytes(bytes.try_into().ok()?)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\
        \tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\
        \tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\
        \tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

    pub(crate) fn layout() -> PageLayout {
        PageLayout::parse(HEADER).unwrap()
    }

    /// A page as the kernel writes one.
    pub(crate) fn page(time: u64, lost: u64, records: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut data = Vec::new();
        let mut last = time;
        for (at, bytes) in records {
            let mut delta = at - last;
            last = *at;
            if delta >= 1 << 27 {
                data.extend(
                    (TIME_EXTEND | (((delta & ((1 << 27) - 1)) as u32) << 5)).to_le_bytes(),
                );
                data.extend(((delta >> 27) as u32).to_le_bytes());
                delta = 0;
            }
            let words = bytes.len().div_ceil(4);
            let mut bytes = bytes.clone();
            bytes.resize(4 * words, 0);
            if (1..=28).contains(&words) {
                data.extend((words as u32 | (delta as u32) << 5).to_le_bytes());
            } else {
                data.extend(((delta as u32) << 5).to_le_bytes());
                data.extend((4 * words as u32 + 4).to_le_bytes());
            }
            data.extend(bytes);
        }
        let mut commit = data.len() as u64;
        if lost > 0 {
            commit |= MISSED | MISSED_STORED;
            data.extend(lost.to_le_bytes());
        }
        let mut page = [time.to_le_bytes(), commit.to_le_bytes()].concat();
        page.extend(data);
        assert!(page.len() <= 4096);
        page.resize(4096, 0);
        page
    }

    fn all(page: &mut Page) -> Result<Vec<(u64, Vec<u8>)>, PageError> {
        let mut found = Vec::new();
        while let Some(record) = page.next()? {
            found.push((record.time, page.bytes(record).to_vec()));
        }
        Ok(found)
    }

    #[test]
    fn the_head_is_where_the_kernel_says() {
        assert_eq!(layout().size, 4096);
        for (from, to) in [
            ("offset:16", "offset:8"),
            ("size:4080", "size:9"),
            ("commit", "x"),
            ("size:8", "size:2"),
        ] {
            assert!(
                PageLayout::parse(&HEADER.replace(from, to)).is_err(),
                "{from}"
            );
        }
    }

    #[test]
    fn times_and_kinds_of_records() {
        let mut data: Vec<u8> = Vec::new();
        let mut put = |words: &[u32]| data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        put(&[1 | 5 << 5, 11]);
        put(&[PADDING | 2 << 5, 8, 0]);
        put(&[TIME_EXTEND | 1 << 5, 1]);
        put(&[3 << 5, 4 + 4, 12]);
        put(&[TIME_STAMP, 1 << 10]);
        put(&[1, 13]);
        put(&[PADDING, 1, 2, 3]);
        let mut bytes = [
            1000_u64.to_le_bytes(),
            (data.len() as u64 | MISSED).to_le_bytes(),
        ]
        .concat();
        bytes.extend(&data);
        let mut page = Page::new(&bytes, layout()).unwrap();
        assert_eq!(page.lost, 1);
        let times: Vec<u64> = all(&mut page)
            .unwrap()
            .into_iter()
            .map(|(time, _)| time)
            .collect();
        assert_eq!(times, [1005, 1005 + 2 + 1 + (1 << 27) + 3, 1 << 37]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let layout = layout();
        assert_eq!(Page::new(&[0; 15], layout).unwrap_err(), PageError::Short);
        let claims = |commit: u64, words: &[u32]| {
            let mut bytes = [0_u64.to_le_bytes(), commit.to_le_bytes()].concat();
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            Page::new(&bytes, layout)
        };
        assert_eq!(
            claims(8, &[1]).unwrap_err(),
            PageError::Overlong {
                claimed: 8,
                present: 4
            }
        );
        for words in [[0, 3], [2, 0], [0, 100], [PADDING | 32, u32::MAX]] {
            assert_eq!(
                all(&mut claims(8, &words).unwrap()),
                Err(PageError::Record),
                "{words:?}"
            );
        }
        assert_eq!(
            all(&mut claims(4, &[TIME_EXTEND]).unwrap()),
            Err(PageError::Record)
        );
    }

    #[test]
    fn absolute_times_keep_the_upper_bits() {
        assert_eq!(absolute(5, 3), 5);
        assert_eq!(absolute(5, (1 << 59) + 3), (1 << 59) + 5);
        assert_eq!(absolute(1, (1 << 59) + 3), (2 << 59) + 1);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(start in 0..1_u64 << 50, lost in 0..3_u64,
            records in prop::collection::vec((0..1_u64 << 40, prop::collection::vec(any::<u8>(), 1..140)), 0..20)) {
            let mut time = start;
            let records: Vec<_> = records.into_iter().map(|(delta, bytes)| {
                time += delta;
                (time, bytes)
            }).collect();
            let mut read = Page::new(&page(start, lost, &records), layout()).unwrap();
            prop_assert_eq!(read.lost, lost);
            for ((time, bytes), (found_at, found)) in records.iter().zip(all(&mut read).unwrap()) {
                prop_assert_eq!(*time, found_at);
                prop_assert_eq!(&found[..bytes.len()], &bytes[..]);
            }
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..600), used in 0..600_u64) {
            let mut bytes = bytes;
            if let Ok(mut page) = Page::new(&bytes, layout()) {
                let _ = all(&mut page);
            }
            if bytes.len() >= 16 {
                bytes[8..16].copy_from_slice(&used.to_le_bytes());
                if let Ok(mut page) = Page::new(&bytes, layout()) {
                    let mut count = 0;
                    while let Ok(Some(record)) = page.next() {
                        count += 1;
                        prop_assert!(page.bytes(record).len() <= bytes.len() && count <= bytes.len());
                    }
                }
            }
        }
    }
}
