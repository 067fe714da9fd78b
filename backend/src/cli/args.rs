//! Command-line arguments in Go's style: `-flag value`, `--flag=value`, switches, flags before arguments.
//!
//! Pure. Contract: command line, section "General rules".

/// A flag a command takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    /// Its name, without dashes.
    pub(super) name: &'static str,
    /// What its value is called; empty for a switch.
    pub(super) value: &'static str,
    /// What it does.
    pub(super) help: &'static str,
}

/// A flag with a value.
pub(super) const fn value(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, help }
}

/// A switch.
pub(super) const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, value: "", help }
}

/// What stood on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    flags: Vec<(&'static str, String)>,
    /// What is no flag.
    pub(super) rest: Vec<String>,
}

/// Why the arguments cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// Help was asked for.
    Help,
    /// A wrong flag, with Go's text.
    Usage(String),
}

/// Sorts arguments into flags and the rest. Flags end at the first argument that is none, or behind `--`.
///
/// # Errors
/// A flag that is not known, lacks its value or has a bad one; or the wish for help.
pub(super) fn parse(arguments: &[String], known: &[&[Flag]]) -> Result<Args, Error> {
    let mut args = Args::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            break;
        }
        let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).filter(|body| !body.is_empty()) else {
            args.rest.push(argument.clone());
            break;
        };
        if body.starts_with(['-', '=']) {
            return Err(Error::Usage(format!("bad flag syntax: {argument}")));
        }
        let (name, given) = body.split_once('=').map_or((body, None), |(name, given)| (name, Some(given.to_owned())));
        let Some(flag) = known.iter().flat_map(|flags| flags.iter()).find(|flag| flag.name == name) else {
            let wants_help = matches!(name, "h" | "help");
            return Err(if wants_help { Error::Help } else { Error::Usage(format!("flag provided but not defined: -{name}")) });
        };
        let given = match (flag.value, given) {
            ("", None) => "true".to_owned(),
            ("", Some(word)) => boolean(&word, name)?,
            (_, Some(given)) => given,
            (_, None) => arguments.next().cloned().ok_or_else(|| Error::Usage(format!("flag needs an argument: -{name}")))?,
        };
        args.flags.push((flag.name, given));
    }
    args.rest.extend(arguments.cloned());
    Ok(args)
}

fn boolean(word: &str, name: &str) -> Result<String, Error> {
    match word {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
        _ => Err(Error::Usage(format!("invalid boolean value \"{word}\" for -{name}: parse error"))),
    }
}

impl Args {
    /// The flag's last value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// The flag's last value, empty when it is not there.
    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Every value of a flag that may be repeated.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.flags.iter().filter(|(flag, _)| *flag == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Every flag in the order given.
    pub(super) fn flags(&self) -> &[(&'static str, String)] {
        &self.flags
    }

    /// A flag that is a number.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let invalid =
            || Error::Usage(format!("invalid value \"{text}\" for flag -{name}: strconv.Atoi: parsing \"{text}\": invalid syntax"));
        text.parse().map(Some).map_err(|_| invalid())
    }

    /// Every `key=value` of a flag that may be given several times.
    ///
    /// # Errors
    /// One of them has no `=`; Go's text.
    pub(super) fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, String> {
        let split = |text: &str| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(format!("invalid value \"{text}\" for flag -{name}: Missing \"=\" value in argument: {text}")),
        };
        self.all(name).into_iter().map(split).collect()
    }
}

/// Splits `key=value` (or `key:value`), as repeated flags hold them.
pub(super) fn pair(text: &str, separator: char) -> (String, String) {
    let (key, value) = text.split_once(separator).unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[switch("a", ""), value("name", "string", ""), value("n", "int", "")];

    fn of(line: &str) -> Result<Args, Error> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), &[FLAGS])
    }

    fn check(line: &str, flags: &[(&'static str, &str)], rest: &[&str]) {
        let args = of(line).expect(line);
        let expected: Vec<_> = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!(
            (args.flags(), args.rest.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            (expected.as_slice(), rest),
            "{line}"
        );
    }

    fn check_error(line: &str, expected: &str) {
        assert_eq!(of(line), Err(Error::Usage(expected.to_owned())), "{line}");
    }

    #[test]
    fn flags_come_in_every_style_of_go() {
        check("-a -name x rest", &[("a", "true"), ("name", "x")], &["rest"]);
        check("--a=false --name=x=y", &[("a", "false"), ("name", "x=y")], &[]);
        check("-name= -n 3", &[("name", ""), ("n", "3")], &[]);
        check("x -a", &[], &["x", "-a"]);
        check("-a -- -name", &[("a", "true")], &["-name"]);
        check("-", &[], &["-"]);
        check("-name -", &[("name", "-")], &[]);
        check("-name a -name b", &[("name", "a"), ("name", "b")], &[]);
    }

    #[test]
    fn wrong_flags_are_told_in_the_words_of_go() {
        check_error("-b", "flag provided but not defined: -b");
        check_error("-name", "flag needs an argument: -name");
        check_error("-a=x", "invalid boolean value \"x\" for -a: parse error");
        check_error("---a", "bad flag syntax: ---a");
        for line in ["-h", "--help", "-help"] {
            assert_eq!(of(line), Err(Error::Help));
        }
    }

    #[test]
    fn values_are_read_back() {
        let args = of("-name a -name b -n 7 -a").expect("good flags");
        assert_eq!((args.get("name"), args.all("name"), args.is_on("a")), (Some("b"), vec!["a", "b"], true));
        assert_eq!(args.number::<u16>("n"), Ok(Some(7)));
        let message = "invalid value \"x\" for flag -n: strconv.Atoi: parsing \"x\": invalid syntax";
        assert_eq!(of("-n x").expect("a text").number::<u16>("n"), Err(Error::Usage(message.to_owned())));
        assert_eq!(pair("a=b=c", '='), ("a".to_owned(), "b=c".to_owned()));
    }
}
