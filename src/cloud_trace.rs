//! Google Cloud Trace v2: span encoder, batches, client, retry, credentials.

pub mod encode;
