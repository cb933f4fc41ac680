//! Comparisons of two values (`compare.go`; `LANGUAGE.md`, Comparison Rules).

use std::cmp::Ordering;

use super::value::ELEMENTS_MAX;
use super::{CompareOp, Val};

impl Val<'_> {
    /// Returns true if the comparison holds. Values of different types are unequal and have no order. Returns `None` if
    /// a map has too many entries to be compared.
    pub(super) fn compare(&self, other: &Val<'_>, op: CompareOp) -> Option<bool> {
        let order = match (self, other) {
            (Val::Nil, Val::Nil) => Some(Ordering::Equal),
            (Val::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Val::Int(a), Val::Int(b)) | (Val::Time(a), Val::Time(b)) | (Val::Duration(a), Val::Duration(b)) => {
                Some(a.cmp(b))
            }
            (Val::Unset, Val::Unset) => Some(Ordering::Equal),
            (Val::Unset, Val::Int(b) | Val::Time(b)) => Some(0.cmp(b)),
            (Val::Int(a) | Val::Time(a), Val::Unset) => Some(a.cmp(&0)),
            (Val::Text(a), Val::Text(b)) => Some(a.cmp(b)),
            (Val::Bytes(a), Val::Bytes(b)) => Some(a.cmp(b)),
            (Val::Id(a), Val::Id(b)) => return op.of_equality(a == b),
            (Val::List(_) | Val::MadeList(_), Val::List(_) | Val::MadeList(_))
            | (Val::Map(_) | Val::MadeMap(_), Val::Map(_) | Val::MadeMap(_)) => {
                return op.of_equality(self.is_same(other)?);
            }
            (a, b) => match (a.as_double(), b.as_double()) {
                (Some(a), Some(b)) => a.partial_cmp(&b),
                _ => None,
            },
        };
        Some(order.map_or(op == CompareOp::Ne, |order| op.holds(order)))
    }

    /// Returns an integer or a double as a double, and 0 for a time that is not set; `None` for any other value.
    pub(super) fn as_double(&self) -> Option<f64> {
        match self {
            Val::Int(value) => Some(*value as f64),
            Val::Double(value) => Some(*value),
            Val::Unset => Some(0.0),
            _ => None,
        }
    }

    /// Returns true if two values in a list or a map are equal. There, an integer never equals a double. Returns `None`
    /// if a map has too many entries.
    fn is_same(&self, other: &Val<'_>) -> Option<bool> {
        if let (Some(a), Some(b)) = (self.elements(), other.elements()) {
            return is_same_list(a, b);
        }
        match (self, other) {
            (Val::Map(_) | Val::MadeMap(_), Val::Map(_) | Val::MadeMap(_)) => self.is_same_map(other),
            (Val::Nil, Val::Nil) => Some(true),
            (Val::Bool(a), Val::Bool(b)) => Some(a == b),
            (Val::Int(a), Val::Int(b)) => Some(a == b),
            (Val::Double(a), Val::Double(b)) => Some(a == b),
            (Val::Text(a), Val::Text(b)) => Some(a == b),
            (Val::Bytes(a), Val::Bytes(b)) => Some(a == b),
            _ => Some(false),
        }
    }

    fn is_same_map(&self, other: &Val<'_>) -> Option<bool> {
        let (a, b) = (self.sorted_entries()?, other.sorted_entries()?);
        if a.len() != b.len() {
            return Some(false);
        }
        for ((a_key, a), (b_key, b)) in a.iter().zip(&b) {
            if a_key != b_key || !a.is_same(b)? {
                return Some(false);
            }
        }
        Some(true)
    }

    fn sorted_entries(&self) -> Option<Vec<(&[u8], Val<'_>)>> {
        let mut entries: Vec<_> = self.entries()?.take(ELEMENTS_MAX + 1).collect();
        entries.sort_by_key(|(key, _)| *key);
        (entries.len() <= ELEMENTS_MAX).then_some(entries)
    }
}

fn is_same_list<'a, 'b>(mut a: impl Iterator<Item = Val<'a>>, mut b: impl Iterator<Item = Val<'b>>) -> Option<bool> {
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Some(true),
            (Some(a), Some(b)) if a.is_same(&b)? => {}
            _ => return Some(false),
        }
    }
}

impl CompareOp {
    /// Evaluates the operator for two values that have no order: `<`, `<=`, `>` and `>=` do not hold.
    fn of_equality(self, is_same: bool) -> Option<bool> {
        Some(match self {
            CompareOp::Eq => is_same,
            CompareOp::Ne => !is_same,
            _ => false,
        })
    }
}
