//! Hashes of bytes, each computed once.
//!
//! The parts of an image are met more than once: as a section, as what a parser publishes, as the next envelope, as the
//! result. They are the same bytes at the same place in memory.

use crate::text;

/// Hashes by where the bytes stand.
///
/// Every entry's memory must stay as it is while the entry is here: whoever lets go of bytes first calls
/// [`Hashes::keep`] with those that stay.
#[derive(Debug, Default)]
pub(crate) struct Hashes {
    known: Vec<(Place, String)>,
}

/// Address and length.
type Place = (usize, usize);

impl Hashes {
    /// The SHA-256 in hex.
    pub(crate) fn sha256(&mut self, bytes: &[u8]) -> String {
        let place = place(bytes);
        let known = self.known.iter().find(|(known, _)| *known == place);
        if let Some((_, hash)) = known {
            return hash.clone();
        }
        let hash = text::sha256(bytes);
        self.known.push((place, hash.clone()));
        hash
    }

    /// Forgets all but what lies in one of these.
    pub(crate) fn keep(&mut self, wholes: &[&[u8]]) {
        let stays = |place| wholes.iter().any(|whole| offset_in(place, whole).is_some());
        self.known.retain(|(place, _)| stays(*place));
    }
}

/// Where `part` starts in `whole`, if it is part of the same memory.
pub(crate) fn offset(part: &[u8], whole: &[u8]) -> Option<usize> {
    offset_in(place(part), whole)
}

fn place(bytes: &[u8]) -> Place {
    (bytes.as_ptr().addr(), bytes.len())
}

fn offset_in((start, len): Place, whole: &[u8]) -> Option<usize> {
    let at = start.checked_sub(whole.as_ptr().addr())?;
    (at.checked_add(len)? <= whole.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_known_by_place_and_length() {
        let bytes = [7; 10];
        let mut hashes = Hashes::default();
        let (whole, half) = (hashes.sha256(&bytes), hashes.sha256(&bytes[..5]));
        assert_eq!(
            (whole.as_str(), half.as_str()),
            (&*text::sha256(&bytes), &*text::sha256(&[7; 5]))
        );
        assert_eq!(hashes.sha256(&bytes), whole);
        assert_eq!(hashes.known.len(), 2);
        hashes.keep(&[&[], &bytes[..9]]);
        assert_eq!(hashes.known.len(), 1);
        hashes.keep(&[]);
        assert!(hashes.known.is_empty());
    }

    #[test]
    fn a_part_is_found_in_its_whole_only() {
        let bytes = [0; 10];
        assert_eq!(offset(&bytes[3..5], &bytes), Some(3));
        assert_eq!(offset(&bytes[..], &bytes[1..]), None);
        assert_eq!(offset(&bytes[5..], &bytes[..9]), None);
    }
}
