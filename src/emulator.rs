//! An embedded Cloud Trace v2 server with a store, for local runs and tests.
