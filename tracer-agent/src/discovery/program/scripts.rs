//! Languages that run a script and have little of their own: Ruby, PHP, Perl, .NET, shells.

use super::{
    ProgramName,
    options::{Syntax, Target},
    script_name,
};

/// `ruby --help`
const RUBY: Syntax = Syntax {
    short_values: "CEIr",
    short_attached: "0FKTWix",
    short_inline: "e",
    short_module: "",
    short_script: "",
    long_values: &[
        "encoding",
        "external-encoding",
        "internal-encoding",
        "enable",
        "disable",
    ],
    long_inline: &[],
};

/// `php --help`; `-S` and `-t` are the address and the folder of the built-in server.
const PHP: Syntax = Syntax {
    short_values: "cdgtzS",
    short_attached: "",
    short_inline: "rBRE",
    short_module: "",
    short_script: "fF",
    long_values: &["php-ini", "define", "docroot", "server", "zend-extension"],
    long_inline: &["run"],
};

/// `perlrun`
const PERL: Syntax = Syntax {
    short_values: "I",
    short_attached: "0CDFMVdilmx",
    short_inline: "eE",
    short_module: "",
    short_script: "",
    long_values: &[],
    long_inline: &[],
};

const SHELL: Syntax = Syntax {
    short_values: "oO",
    short_attached: "",
    short_inline: "cs",
    short_module: "",
    short_script: "",
    long_values: &["rcfile", "init-file"],
    long_inline: &[],
};

pub(super) fn ruby(arguments: &[&str]) -> ProgramName {
    // Installed for all projects: the working folder is the one they run.
    const LAUNCHERS: [&str; 6] = ["rails", "puma", "unicorn", "rackup", "sidekiq", "bundle"];
    match named(&RUBY, arguments) {
        Some(name) if LAUNCHERS.contains(&name.as_str()) => ProgramName::Folder { script: None },
        Some(name) => ProgramName::Known(name),
        None => ProgramName::Known("ruby".to_owned()),
    }
}

pub(super) fn php(arguments: &[&str]) -> ProgramName {
    match PHP.target(arguments) {
        Target::Script(path, _) => match script_name(path) {
            // Laravel's and Symfony's launchers: every project has one of that name.
            Some(name) if matches!(name.as_str(), "artisan" | "console") => ProgramName::Folder {
                script: Some(path.to_owned()),
            },
            Some(name) => ProgramName::Known(name),
            None => ProgramName::Folder { script: None },
        },
        Target::Module(..) | Target::Nameless => ProgramName::Known("php".to_owned()),
    }
}

pub(super) fn perl(arguments: &[&str]) -> Option<String> {
    named(&PERL, arguments)
}

pub(super) fn shell(arguments: &[&str]) -> Option<String> {
    named(&SHELL, arguments)
}

/// `dotnet [exec] [options] shop.dll`
pub(super) fn dotnet(arguments: &[&str]) -> Option<String> {
    let assembly = arguments.iter().find(|word| word.ends_with(".dll"))?;
    script_name(assembly)
}

fn named(syntax: &Syntax, arguments: &[&str]) -> Option<String> {
    match syntax.target(arguments) {
        Target::Script(path, _) => script_name(path),
        Target::Module(..) | Target::Nameless => None,
    }
}
