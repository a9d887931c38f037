//! Python: scripts, modules, and the application that a server was told to run.

use super::{
    ProgramName,
    options::{Syntax, Target},
    script_name, text,
};

/// `Python/getopt.c`, `SHORT_OPTS`.
const SYNTAX: Syntax = Syntax {
    short_values: "WXQ",
    short_attached: "",
    short_inline: "c",
    short_module: "m",
    short_script: "",
    long_values: &["check-hash-based-pycs"],
    long_inline: &[],
};

pub(super) fn name(arguments: &[&str], interpreter: &str) -> ProgramName {
    // A worker that was started to share its parent's work.
    if arguments
        .iter()
        .any(|argument| argument.starts_with("from multiprocessing."))
    {
        return ProgramName::OfParent;
    }
    let found = match SYNTAX.target(arguments) {
        Target::Script(path, rest) => match script(path) {
            // Every Django project has one of that name.
            Some(script) if script == "manage" => ProgramName::Folder {
                script: Some(path.to_owned()),
            },
            Some(script) => ProgramName::Known(launched(&script, rest).unwrap_or(script)),
            None => ProgramName::Folder { script: None },
        },
        Target::Module(module, rest) => {
            let module = module.strip_suffix(".__main__").unwrap_or(module);
            ProgramName::Known(launched(module, rest).unwrap_or_else(|| module.to_owned()))
        }
        Target::Nameless => ProgramName::Known(interpreter.to_owned()),
    };
    match found {
        ProgramName::Known(name) if name.is_empty() => ProgramName::Known(interpreter.to_owned()),
        found => found,
    }
}

/// `__main__.py` is what runs a folder: the folder is the name. `None` where that is the working folder.
fn script(path: &str) -> Option<String> {
    let name = script_name(path)?;
    if name != "__main__" {
        return Some(name);
    }
    let folder = path.rsplit_once('/')?.0;
    Some(text::file_name(folder)?.to_owned())
}

/// What a well-known launcher runs; `None` if this is not one or does not say.
fn launched(launcher: &str, arguments: &[&str]) -> Option<String> {
    let application = match launcher {
        "gunicorn" | "uvicorn" | "hypercorn" | "daphne" | "granian" => application(arguments)?,
        "celery" | "flask" => application_option(arguments)?,
        _ => return None,
    };
    let module = application.split(':').next()?;
    script(module)
}

/// The first `module:attribute`, else a module in first or last place.
fn application<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let takes_other_value = |option: &str| {
        matches!(
            option,
            "-c" | "--config" | "-b" | "--bind" | "-k" | "--worker-class"
        )
    };
    let mut before = "";
    for argument in arguments {
        if !takes_other_value(before) && is_application(argument) {
            return Some(argument);
        }
        before = argument;
    }
    let (last, others) = arguments.split_last()?;
    let last_is_value = others
        .last()
        .is_some_and(|before| before.starts_with('-') && !before.contains('='));
    let first = others.first().filter(|first| is_module(first)).copied();
    first.or_else(|| Some(*last).filter(|last| !last_is_value && is_module(last)))
}

/// The value of `-A` or `--app`.
fn application_option<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if matches!(*word, "-A" | "--app") {
            return words.next().copied().filter(|value| !value.is_empty());
        }
        let attached = word.strip_prefix("--app=").or_else(|| {
            let value = word.strip_prefix("-A")?;
            Some(value.strip_prefix('=').unwrap_or(value))
        });
        if attached.is_some() {
            return attached.filter(|value| !value.is_empty());
        }
    }
    None
}

fn is_application(text: &str) -> bool {
    text.split_once(':').is_some_and(|(module, attribute)| {
        is_module(module) && attribute.starts_with(|first: char| first.is_alphabetic() || first == '_')
    })
}

fn is_module(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|part| {
            part.starts_with(|first: char| first.is_alphabetic() || first == '_')
                && part.chars().all(|char| char.is_alphanumeric() || char == '_')
        })
}
