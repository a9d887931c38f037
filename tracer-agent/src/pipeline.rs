//! The whole way, from one input to finished spans: the only file that knows every stage.
