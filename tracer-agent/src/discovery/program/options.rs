//! How interpreters read the options before the script, so that the value of an option is not taken for it.

/// The options of an interpreter that matter on the way to its script.
#[derive(Default)]
pub(super) struct Syntax {
    /// Short options with a value, in the same word or the next.
    pub short_values: &'static str,
    /// Short options whose value, if any, ends the word.
    pub short_attached: &'static str,
    /// Short options that bring the program's text, so that there is no script.
    pub short_inline: &'static str,
    /// The short option that names a module to run, in the same word or the next.
    pub short_module: &'static str,
    /// The short option that names the script.
    pub short_script: &'static str,
    /// Long options whose value is the next word.
    pub long_values: &'static [&'static str],
    /// Long options that bring the program's text.
    pub long_inline: &'static [&'static str],
}

/// What an interpreter runs, with the arguments after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A script, by its path.
    Script(&'a str, &'a [&'a str]),
    /// A module, by its name.
    Module(&'a str, &'a [&'a str]),
    /// Text from the command line or standard input, or nothing.
    Nameless,
}

enum Step<'a> {
    Past(usize),
    Found(Target<'a>),
}

impl Syntax {
    /// What the interpreter with these arguments (its own name left out) runs.
    pub(super) fn target<'a>(&self, arguments: &'a [&'a str]) -> Target<'a> {
        let mut rest = arguments;
        while let Some((word, after)) = rest.split_first() {
            let step = match word.strip_prefix('-') {
                None => return script(word, after),
                Some("") => return Target::Nameless,
                Some("-") => {
                    return after
                        .split_first()
                        .map_or(Target::Nameless, |(path, after)| script(path, after));
                }
                Some(option) => match option.strip_prefix('-') {
                    Some(long) => self.long(long),
                    None => self.cluster(option, after),
                },
            };
            match step {
                Step::Found(target) => return target,
                Step::Past(words) => rest = after.get(words..).unwrap_or_default(),
            }
        }
        Target::Nameless
    }

    fn long<'a>(&self, long: &str) -> Step<'a> {
        let name = long.split('=').next().unwrap_or(long);
        if self.long_inline.contains(&name) {
            Step::Found(Target::Nameless)
        } else {
            Step::Past(usize::from(self.long_values.contains(&long)))
        }
    }

    /// One word of short options: the first one that takes a value ends it.
    fn cluster<'a>(&self, cluster: &'a str, after: &'a [&'a str]) -> Step<'a> {
        for (at, letter) in cluster.char_indices() {
            let attached = cluster
                .get(at + letter.len_utf8()..)
                .filter(|value| !value.is_empty());
            if self.short_inline.contains(letter) {
                return Step::Found(Target::Nameless);
            }
            if self.short_attached.contains(letter) {
                return Step::Past(0);
            }
            if self.short_values.contains(letter) {
                return Step::Past(usize::from(attached.is_none()));
            }
            let takes_script = self.short_script.contains(letter);
            if takes_script || self.short_module.contains(letter) {
                let (value, after) = match (attached, after.split_first()) {
                    (Some(value), _) => (value, after),
                    (None, Some((value, after))) => (*value, after),
                    (None, None) => return Step::Found(Target::Nameless),
                };
                return Step::Found(if takes_script {
                    script(value, after)
                } else {
                    Target::Module(value, after)
                });
            }
        }
        Step::Past(0)
    }
}

fn script<'a>(path: &'a str, after: &'a [&'a str]) -> Target<'a> {
    if path.is_empty() {
        Target::Nameless
    } else {
        Target::Script(path, after)
    }
}

#[cfg(test)]
mod tests {
    use super::{Syntax, Target};

    const SYNTAX: Syntax = Syntax {
        short_values: "W",
        short_attached: "i",
        short_inline: "c",
        short_module: "m",
        short_script: "f",
        long_values: &["require"],
        long_inline: &["eval"],
    };

    #[test]
    fn the_value_of_an_option_is_not_the_script() {
        for words in [
            &["-W", "ignore", "app.py"][..],
            &["-Wignore", "app.py"],
            &["-uW", "ignore", "app.py"],
            &["-ibak", "app.py"],
            &["--require", "x.js", "app.py"],
            &["--require=x.js", "app.py"],
            &["--other", "app.py"],
            &["--", "app.py"],
            &["-f", "app.py"],
            &["-ufapp.py"],
        ] {
            assert_eq!(SYNTAX.target(words), Target::Script("app.py", &[]), "{words:?}");
        }
    }

    #[test]
    fn a_program_given_as_text_has_no_name() {
        for words in [
            &["-c", "print(1)"][..],
            &["-uc", "print(1)"],
            &["--eval", "1"],
            &["--eval=1"],
            &["-"],
            &["--"],
            &["-m"],
            &[""],
            &["-W"],
            &[],
        ] {
            assert_eq!(SYNTAX.target(words), Target::Nameless, "{words:?}");
        }
    }

    #[test]
    fn a_module_keeps_its_arguments() {
        let words = ["-um", "shop.api", "--port", "1"];
        assert_eq!(
            SYNTAX.target(&words),
            Target::Module("shop.api", &["--port", "1"])
        );
        assert_eq!(SYNTAX.target(&["-mshop.api"]), Target::Module("shop.api", &[]));
    }
}
