//! Sorting in few bytes: the order is found over places, by one copy of the standard library's sort for all types.

use std::cmp::Ordering;

/// Sorts by a comparison; equal things keep their order.
pub(crate) fn sort_by<T>(list: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let order = order(list.len(), &|one, other| compare(&list[one], &list[other]));
    let mut things: Vec<Option<T>> = std::mem::take(list).into_iter().map(Some).collect();
    list.extend(order.into_iter().filter_map(|at| things[at].take()));
}

fn order(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    places.sort_by(|one, other| compare(*one, *other));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_sorted_and_equal_ones_keep_their_order() {
        let mut list = vec![(2, "a"), (1, "b"), (2, "c"), (0, "d"), (1, "e")];
        sort_by(&mut list, |one, other| one.0.cmp(&other.0));
        assert_eq!(list, [(0, "d"), (1, "b"), (1, "e"), (2, "a"), (2, "c")]);
    }
}
