//! Boolean trees over notes.

use super::notes::NoteSet;

/// A condition as a tree whose leaves are notes.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Constant(bool),
    /// True if the note with this number is set.
    Leaf(usize),
    Not(Box<Tree>),
    All(Box<[Tree]>),
    Any(Box<[Tree]>),
}

impl Tree {
    pub(super) fn holds(&self, notes: &NoteSet) -> bool {
        match self {
            Tree::Constant(value) => *value,
            Tree::Leaf(index) => notes.has(*index),
            Tree::Not(tree) => !tree.holds(notes),
            Tree::All(trees) => trees.iter().all(|tree| tree.holds(notes)),
            Tree::Any(trees) => trees.iter().any(|tree| tree.holds(notes)),
        }
    }
}
