//! Values with names that are not reused: an index, and a generation that changes with every use of the slot.

use crate::server::system::Token;

/// Marks the names of one table, so that those of another do not fit.
#[derive(Clone, Copy)]
pub(super) struct Kind(u32);

impl Kind {
    pub(super) const CLIENT: Kind = Kind(0);
    pub(super) const PROGRAM: Kind = Kind(1 << 30);

    pub(super) fn has(self, token: Token) -> bool {
        token.index() as u32 & Kind::PROGRAM.0 == self.0
    }
}

pub(super) struct Slab<T> {
    kind: Kind,
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new(kind: Kind) -> Slab<T> {
        Slab { kind, slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            self.slots.len() - 1
        });
        self.slots[index].value = Some(value);
        self.name(index)
    }

    fn name(&self, index: usize) -> Token {
        Token::of_slot(index | self.kind.0 as usize, self.slots[index].generation)
    }

    fn index(&self, token: Token) -> Option<usize> {
        let index = token.index() & !(Kind::PROGRAM.0 as usize);
        let is_ours = self.kind.has(token) && self.slots.get(index)?.generation == token.generation();
        is_ours.then_some(index)
    }

    /// The value of this name, if it is still there.
    #[inline(never)]
    pub(super) fn get(&mut self, token: Token) -> Option<&mut T> {
        let index = self.index(token)?;
        self.slots[index].value.as_mut()
    }

    #[inline(never)]
    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let index = self.index(token)?;
        let slot = &mut self.slots[index];
        let value = slot.value.take()?;
        // The largest generations would look like the names of the listener and the signals.
        slot.generation = (slot.generation + 1) & (u32::MAX >> 1);
        self.free.push(index);
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        let values = self.slots.iter().enumerate();
        values.filter_map(|(index, slot)| Some((self.name(index), slot.value.as_ref()?)))
    }

    /// The names of the values that `wanted` picks.
    pub(super) fn pick(&self, wanted: impl Fn(&T) -> bool) -> Vec<Token> {
        self.iter().filter(|(_, value)| wanted(value)).map(|(token, _)| token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_and_one_of_another_table_reach_nothing() {
        let (mut clients, mut programs) = (Slab::new(Kind::CLIENT), Slab::new(Kind::PROGRAM));
        let (client, program) = (clients.insert('a'), programs.insert('b'));
        assert!(Kind::CLIENT.has(client) && Kind::PROGRAM.has(program) && !Kind::CLIENT.has(program));
        assert!(clients.get(program).is_none() && programs.get(client).is_none());
        assert_eq!(clients.remove(client), Some('a'));
        let next = clients.insert('c');
        assert!(clients.get(client).is_none() && clients.remove(client).is_none());
        assert_eq!((clients.get(next).copied(), clients.len()), (Some('c'), 1));
        for special in [Token::LISTENER, Token::WAKE] {
            assert!(clients.get(special).is_none() && programs.get(special).is_none());
        }
    }
}
