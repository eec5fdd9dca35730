//! Which jobs wait, which run, and which is next.

/// Jobs, each with what it needs of the processors.
pub struct Queue<T> {
    /// The next first.
    waiting: Vec<(u64, T)>,
    /// What the running jobs need.
    running: Vec<u64>,
    /// What all processors give, in the same measure. `None`: everything fits.
    processors: Option<u64>,
}

impl<T> Queue<T> {
    pub fn new(waiting: Vec<(u64, T)>, processors: Option<u64>) -> Self {
        Self { waiting, running: Vec::new(), processors }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Starts the first job that the processors have time for: the job, and what it needs. While each job gets the time
    /// that it needs, freezes and time limits take as long in tests as they should.
    pub fn start(&mut self) -> Option<(u64, T)> {
        let busy: u64 = self.running.iter().sum();
        let fits = |need: u64| self.running.is_empty() || self.processors.is_none_or(|all| busy + need <= all);
        let at = self.waiting.iter().position(|(need, _)| fits(*need))?;
        let (need, job) = self.waiting.remove(at);
        self.running.push(need);
        Some((need, job))
    }

    /// A job that needed this has ended.
    pub fn ended(&mut self, need: u64) {
        let at = self.running.iter().position(|other| *other == need).expect("it ran");
        self.running.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn a_job_starts_when_the_processors_have_time_for_it() {
        let mut queue = Queue::new(vec![(150, 'a'), (60, 'b'), (30, 'c'), (20, 'd'), (0, 'e')], Some(200));
        assert_eq!(queue.start(), Some((150, 'a')));
        // The second does not fit beside the first, and the third does.
        assert_eq!((queue.start(), queue.start(), queue.start()), (Some((30, 'c')), Some((20, 'd')), Some((0, 'e'))));
        assert_eq!((queue.start(), queue.is_empty()), (None, false));
        queue.ended(30);
        assert_eq!(queue.start(), None);
        queue.ended(150);
        assert_eq!((queue.start(), queue.is_empty()), (Some((60, 'b')), true));
    }

    #[test]
    fn a_job_that_needs_more_than_there_is_runs_alone() {
        let mut queue = Queue::new(vec![(300, 'a'), (300, 'b')], Some(200));
        assert_eq!((queue.start(), queue.start()), (Some((300, 'a')), None));
        queue.ended(300);
        assert_eq!(queue.start(), Some((300, 'b')));
    }

    #[test]
    fn without_a_measure_everything_starts() {
        let mut queue = Queue::new(vec![(300, 'a'), (300, 'b')], None);
        assert_eq!((queue.start(), queue.start(), queue.start()), (Some((300, 'a')), Some((300, 'b')), None));
    }
}
