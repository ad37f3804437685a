//! Values under small numbers that stay valid while the value lives.
//!
//! A removed number is given out again only after `recycle`, which the loop calls between two
//! batches of events: so an event that was fetched for a source that has gone can't reach its successor.

/// A growing table with a free list.
#[derive(Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Option<u32>,
    retired: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
enum Entry<T> {
    Vacant(Option<u32>),
    Full(T),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { entries: Vec::new(), free: None, retired: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number the next `insert` will use.
    pub fn next_key(&self) -> usize {
        self.free.map_or(self.entries.len(), |key| key as usize)
    }

    /// Stores a value and tells its number. Panics beyond 2^32 values: descriptors run out long before.
    pub fn insert(&mut self, value: T) -> usize {
        self.len += 1;
        if let Some(key) = self.free {
            let entry = &mut self.entries[key as usize];
            let Entry::Vacant(next) = *entry else { unreachable!("slab: free list names a full entry") };
            self.free = next;
            *entry = Entry::Full(value);
            return key as usize;
        }
        assert!(self.entries.len() < u32::MAX as usize, "slab: too many entries");
        self.entries.push(Entry::Full(value));
        self.entries.len() - 1
    }

    pub fn get(&self, key: usize) -> Option<&T> {
        match self.entries.get(key) {
            Some(Entry::Full(value)) => Some(value),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        match self.entries.get_mut(key) {
            Some(Entry::Full(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes a value out; its number stays unused until `recycle`.
    pub fn remove(&mut self, key: usize) -> Option<T> {
        let entry = self.entries.get_mut(key)?;
        if matches!(entry, Entry::Vacant(_)) {
            return None;
        }
        let Entry::Full(value) = std::mem::replace(entry, Entry::Vacant(None)) else { return None };
        self.retired.push(key as u32);
        self.len -= 1;
        Some(value)
    }

    /// Makes the numbers of removed values available again.
    pub fn recycle(&mut self) {
        while let Some(key) = self.retired.pop() {
            self.entries[key as usize] = Entry::Vacant(self.free);
            self.free = Some(key);
        }
    }

    /// Every value with its number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.entries.iter().enumerate().filter_map(|(key, entry)| match entry {
            Entry::Full(value) => Some((key, value)),
            Entry::Vacant(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_reused_only_after_recycling() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert('c');
        assert!(c != a && c != b);
        slab.recycle();
        assert_eq!(slab.next_key(), a);
        assert_eq!(slab.insert('d'), a);
        assert_eq!(slab.len(), 3);
        assert_eq!(slab.iter().map(|(_, v)| *v).collect::<String>(), "dbc");
    }
}
