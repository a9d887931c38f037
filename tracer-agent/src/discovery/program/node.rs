//! Node.js and its kin: the package around the script.

use super::{
    ProgramName,
    options::{Syntax, Target},
};

/// `node --help`: the options that take a value in the next word.
const SYNTAX: Syntax = Syntax {
    short_values: "rC",
    short_attached: "",
    short_inline: "ep",
    short_module: "",
    short_script: "",
    long_values: &[
        "require",
        "import",
        "loader",
        "experimental-loader",
        "conditions",
        "env-file",
        "title",
        "icu-data-dir",
        "openssl-config",
        "inspect-port",
    ],
    long_inline: &["eval", "print"],
};

/// `has_title`: the arguments were written over by a title (`npm start`), the working folder is all there is.
pub(super) fn name(arguments: &[&str], has_title: bool) -> ProgramName {
    match SYNTAX.target(arguments) {
        Target::Script(path, _) => ProgramName::Package {
            script: Some(path.to_owned()),
        },
        _ if has_title => ProgramName::Package { script: None },
        _ => ProgramName::Known("node".to_owned()),
    }
}

/// `bun run server.ts`, `deno run --allow-net server.ts`.
pub(super) fn name_after_run(arguments: &[&str]) -> ProgramName {
    let script = arguments
        .iter()
        .skip_while(|word| word.starts_with('-'))
        .skip_while(|word| matches!(**word, "run" | "serve"))
        .find(|word| !word.starts_with('-'));
    ProgramName::Package {
        script: script
            // A name without ending is a task of the package, not a file.
            .filter(|script| script.contains(['.', '/']))
            .map(|script| (*script).to_owned()),
    }
}
