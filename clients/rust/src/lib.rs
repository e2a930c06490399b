//! The contract of Perdure as generated code: messages, clients and server traits.

/// Package `perdure.v1`.
pub mod v1 {
    include!("gen/perdure/v1/perdure.v1.rs");
}
