//! Several recordings as one, in the order of the times of arrival.

use super::ahead::Ahead;
use crate::journal::recording::{Fault, Remarks};
use crate::offline::TimedRequest;
use crate::offline::input::InputError;

/// The requests of several inputs. Each input has its requests in the order of their arrival.
pub(in crate::cli) struct Merged<I> {
    /// The inputs, each with its next request.
    inputs: Vec<(Option<Result<TimedRequest, InputError>>, I)>,
}

impl<I: Iterator<Item = Result<TimedRequest, InputError>>> Merged<I> {
    pub(in crate::cli) fn new(inputs: Vec<I>) -> Self {
        Merged { inputs: inputs.into_iter().map(|mut input| (input.next(), input)).collect() }
    }
}

impl<I: Iterator<Item = Result<TimedRequest, InputError>>> Iterator for Merged<I> {
    type Item = Result<TimedRequest, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        // An error comes at once.
        let time = |next: &Result<TimedRequest, InputError>| next.as_ref().map_or(0, |request| request.unix_nano);
        let present = self.inputs.iter_mut().filter(|(next, _)| next.is_some());
        let (next, input) = present.min_by_key(|(next, _)| next.as_ref().map_or(u64::MAX, time))?;
        std::mem::replace(next, input.next())
    }
}

impl Merged<Ahead> {
    /// Returns what could not be read so far.
    pub(in crate::cli) fn faults(&self) -> Vec<Fault> {
        self.inputs.iter().flat_map(|(_, input)| input.faults()).collect()
    }

    /// Returns what the recordings say of themselves so far.
    pub(in crate::cli) fn remarks(&self) -> Remarks {
        let mut all = Remarks::default();
        self.inputs.iter().filter_map(|(_, input)| input.remarks()).for_each(|remarks| all.add_all(remarks));
        all
    }

    /// Returns the number of bytes that were read of all files, and the number that they have; 0 if it is not known.
    pub(in crate::cli) fn position(&self) -> (u64, u64) {
        let positions = self.inputs.iter().map(|(_, input)| input.position());
        positions.fold((0, 0), |(read, len), (more_read, more_len)| (read + more_read, len + more_len))
    }
}

#[cfg(test)]
mod tests;
