//! The fields of the JSON object that describes a failure (C-INV-5).

/// The field for the message.
pub(crate) const MESSAGE: &str = "errorMessage";

/// The field for the type of the error.
pub(crate) const TYPE: &str = "errorType";
