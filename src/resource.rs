//! Rewriting of resource attributes.
