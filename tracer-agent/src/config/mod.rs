//! Beside the way: the resolved options. In: flags, environment, file. Out: [`Options`], every value parsed.
//! Kept true: a setting has one table row ([`settings::SETTINGS`]) and one parser, wherever it came from; the
//! stronger source replaces the weaker one whole (flag, then environment, then file, then default); a value
//! that cannot be used is an error that names its source.

mod error;
mod file;
mod layers;
mod nearest;
mod options;
mod reference;
pub mod settings;
pub mod values;

pub use error::{ConfigError, Origin};
pub use layers::Layers;
pub use nearest::nearest;
pub use options::{Options, Selection};
pub use reference::{defaults, effective, schema};
