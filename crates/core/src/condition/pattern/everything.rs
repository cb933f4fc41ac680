//! Expressions that are found in every text, such as `.*`.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Returns true if the expression is found in every text that is not empty. Texts with a line feed may be an exception,
/// because `.` does not match it.
pub(super) fn is_found_everywhere(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(group) => is_found_everywhere(&group.sub),
        HirKind::Alternation(branches) => branches.iter().any(is_found_everywhere),
        HirKind::Concat(parts) => is_sequence_found_everywhere(parts),
        HirKind::Look(look) => matches!(look, Look::Start | Look::End),
        _ => can_be_empty(hir) || is_any_character(hir) || is_any_text(hir),
    }
}

/// Does the same as [`is_found_everywhere`] for a sequence of parts. Between `^` and `$`, the parts must match any
/// whole text. If one of the two anchors is absent, it is enough that the parts can match the empty text.
fn is_sequence_found_everywhere(parts: &[Hir]) -> bool {
    let is = |part: &Hir, anchor: Look| matches!(part.kind(), HirKind::Look(look) if *look == anchor);
    let (starts, ends) =
        (parts.first().is_some_and(|part| is(part, Look::Start)), parts.last().is_some_and(|part| is(part, Look::End)));
    let inner = &parts[usize::from(starts)..parts.len() - usize::from(ends && parts.len() > usize::from(starts))];
    match inner {
        [only] if is_any_text(only) => true,
        inner => !(starts && ends) && inner.iter().all(can_be_empty),
    }
}

fn can_be_empty(hir: &Hir) -> bool {
    hir.properties().minimum_len() == Some(0) && hir.properties().look_set().is_empty()
}

/// Returns true for `.*`, `.+` and similar repetitions.
fn is_any_text(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Capture(group) => is_any_text(&group.sub),
        HirKind::Repetition(repetition) => {
            repetition.min <= 1 && repetition.max.is_none() && is_any_character(&repetition.sub)
        }
        _ => false,
    }
}

/// Returns true for `.` and for other classes that leave out no character, or only the line feed.
fn is_any_character(hir: &Hir) -> bool {
    let HirKind::Class(class) = hir.kind() else { return false };
    match class {
        Class::Unicode(class) => {
            let mut left_out = class.clone();
            left_out.negate();
            left_out.iter().all(|range| (range.start(), range.end()) == ('\n', '\n'))
        }
        Class::Bytes(class) => {
            let mut left_out = class.clone();
            left_out.negate();
            left_out.iter().all(|range| (range.start(), range.end()) == (b'\n', b'\n'))
        }
    }
}
