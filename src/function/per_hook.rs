//! One value for each hook.

use crate::platform::hooks::Hook;

/// One value for each hook. It has as many places as there are hooks, so a new hook cannot be forgotten.
pub(crate) struct PerHook<T>([T; Hook::ALL.len()]);

impl<T> PerHook<Option<T>> {
    pub(crate) const fn none() -> PerHook<Option<T>> {
        PerHook([const { None }; Hook::ALL.len()])
    }
}

impl<T> PerHook<T> {
    // `Hook::ALL` lists every variant in the order of declaration, so a variant's number is a place of the array.

    pub(crate) const fn get(&self, hook: Hook) -> &T {
        &self.0[hook as usize]
    }

    pub(crate) const fn get_mut(&mut self, hook: Hook) -> &mut T {
        &mut self.0[hook as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_its_own_place() {
        let mut paths = PerHook::none();
        for &hook in Hook::ALL {
            *paths.get_mut(hook) = Some(hook.path());
        }
        for &hook in Hook::ALL {
            assert_eq!(*paths.get(hook), Some(hook.path()));
        }
    }
}
