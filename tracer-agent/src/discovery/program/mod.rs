//! The name of a program, read off its executable and its command line. Pure: what needs a look at files is
//! asked for by [`ProgramName`]. One file a language that has something of its own.

mod java;
mod node;
mod options;
mod python;
mod scripts;

use super::text;

/// What the command line tells of a program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its name, or where to find it.
    pub name: ProgramName,
    /// Its name where that finds nothing: the interpreter or the executable.
    pub fallback: String,
    /// `process.runtime.name`, where it is evident.
    pub runtime: Option<&'static str>,
}

/// The name of a program, or where to find it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ProgramName {
    /// This.
    Known(String),
    /// The name of the Node.js package around this script (or around the working folder), else its folder.
    Package {
        /// The script as it was called.
        script: Option<String>,
    },
    /// The name of the folder around this script (or the working folder): a framework's own launcher says
    /// nothing of what it runs.
    Folder {
        /// The script as it was called.
        script: Option<String>,
    },
    /// The name of the parent, which started this process to share its work.
    OfParent,
}

impl Program {
    /// Identifies a program by the path of its executable and its arguments, the first of which is the name it
    /// was called by; `None` if neither says anything.
    pub(super) fn identify(exe: Option<&str>, argv: &[String]) -> Option<Self> {
        let called = argv.first().map(String::as_str).unwrap_or_default();
        let exe = match exe {
            Some(path) => text::file_name(path).unwrap_or_default(),
            // A title that was written over the arguments is not a path.
            None => text::file_name(called.split([' ', ':']).next()?)?,
        };
        let exe = exe.strip_prefix("memfd:").unwrap_or(exe);
        let interpreter = without_version(exe);
        let (title, arguments) = arguments(argv, interpreter);
        let arguments = arguments.as_slice();
        let known = |name: ProgramName, runtime| Self {
            name,
            fallback: interpreter.to_owned(),
            runtime,
        };
        let named = |name: Option<String>, runtime| {
            let name = name.unwrap_or_else(|| interpreter.to_owned());
            known(ProgramName::Known(name), runtime)
        };
        Some(match interpreter {
            "python" | "pypy" => {
                let runtime = if interpreter == "pypy" { "pypy" } else { "cpython" };
                match title.and_then(name_in_title) {
                    Some(name) => named(Some(name), Some(runtime)),
                    None => known(python::name(arguments, interpreter), Some(runtime)),
                }
            }
            "node" | "nodejs" => known(node::name(arguments, title.is_some()), Some("nodejs")),
            "bun" | "deno" => known(node::name_after_run(arguments), None),
            "java" => named(java::name(arguments), None),
            "ruby" => match title.and_then(name_in_title) {
                Some(name) => named(Some(name), Some("ruby")),
                None => known(scripts::ruby(arguments), Some("ruby")),
            },
            "php" => known(scripts::php(arguments), None),
            "perl" => named(scripts::perl(arguments), None),
            "dotnet" => named(scripts::dotnet(arguments), None),
            "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" => named(scripts::shell(arguments), None),
            // One executable, many programs: the name it was called by tells which.
            "busybox" | "toybox" => named(
                text::file_name(called.trim_start_matches('-')).map(ToOwned::to_owned),
                None,
            ),
            _ if exe.is_empty() => return None,
            _ => Self {
                name: ProgramName::Known(exe.to_owned()),
                fallback: exe.to_owned(),
                runtime: None,
            },
        })
    }
}

/// `python3.11` is `python` before and after an upgrade.
fn without_version(exe: &str) -> &str {
    exe.trim_end_matches(|end: char| end.is_ascii_digit() || matches!(end, '.' | '-'))
}

/// The title that a program wrote over its arguments, if it did, and the arguments as far as they are known.
fn arguments<'a>(argv: &'a [String], interpreter: &str) -> (Option<&'a str>, Vec<&'a str>) {
    let Some((called, rest)) = argv.split_first() else {
        return (None, Vec::new());
    };
    let is_sentence = called.contains(' ') && (rest.is_empty() || !called.starts_with('/'));
    if !is_sentence {
        return (None, rest.iter().map(String::as_str).collect());
    }
    // `node /srv/shop/server.js` in one text: the arguments all the same.
    let mut words = called.split_ascii_whitespace();
    let first = words.next().and_then(text::file_name).map(without_version);
    let arguments = if first == Some(interpreter) {
        words.collect()
    } else {
        Vec::new()
    };
    (Some(called), arguments)
}

/// `gunicorn: worker [shop.wsgi:app]`, `puma 6.4.0 (tcp://0.0.0.0:9292) [shop]`.
fn name_in_title(title: &str) -> Option<String> {
    if !title.starts_with("gunicorn: ") && !title.starts_with("puma") {
        return None;
    }
    let name = title.trim_end().strip_suffix(']')?.rsplit('[').next()?;
    let module = name.split(':').next()?;
    (!module.is_empty()).then(|| module.to_owned())
}

/// The file name of a script without the ending that tells its language.
fn script_name(path: &str) -> Option<String> {
    const ENDINGS: [&str; 19] = [
        "py", "pyc", "pyw", "pyz", "zip", "rb", "ru", "pl", "psgi", "php", "phar", "sh", "js", "mjs", "cjs",
        "ts", "jar", "war", "dll",
    ];
    let file = text::file_name(path)?;
    let name = file
        .rsplit_once('.')
        .filter(|(stem, ending)| !stem.is_empty() && ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
        .map_or(file, |(stem, _)| stem);
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
