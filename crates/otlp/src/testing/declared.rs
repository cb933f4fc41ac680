//! Compares declared field numbers with the `.proto` files, as `build.rs` describes them.

use std::collections::BTreeMap;

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

/// The file and the full name of a message, and the names and numbers of its fields.
pub type Declared = (&'static str, &'static str, &'static [(&'static str, u32)]);

type Fields = BTreeMap<String, u32>;

#[cfg(test)]
#[test]
fn the_numbers_are_those_of_the_definitions() {
    compare(crate::fields::DECLARED, spansieve_proto::OTLP_DESCRIPTORS);
}

/// Fails unless each declared message has exactly the fields that `descriptors` gives it.
pub fn compare(declared: &[Declared], descriptors: &[u8]) {
    let described = described(descriptors);
    for &(file, message, fields) in declared {
        let declared: Fields = fields.iter().map(|(name, number)| (name.to_lowercase(), *number)).collect();
        assert_eq!(described.get(&(file.to_owned(), message.to_owned())), Some(&declared), "{message} in {file}");
    }
}

/// The fields of all messages by file and full name.
fn described(descriptors: &[u8]) -> BTreeMap<(String, String), Fields> {
    let mut all = BTreeMap::new();
    for file in FileDescriptorSet::decode(descriptors).unwrap().file {
        for message in &file.message_type {
            add(file.name(), file.package(), message, &mut all);
        }
    }
    all
}

fn add(file: &str, parent: &str, message: &DescriptorProto, all: &mut BTreeMap<(String, String), Fields>) {
    let name = format!("{parent}.{}", message.name());
    for nested in &message.nested_type {
        add(file, &name, nested, all);
    }
    let fields = message.field.iter().map(|field| (field.name().to_owned(), field.number().cast_unsigned())).collect();
    all.insert((file.to_owned(), name), fields);
}
