//! Calico's language of selectors: `has(app) && tier in {'web', "db"} || !(env == 'test')`.

use super::super::expression::{Expression, Key, Test};

/// The deepest nesting that is read.
const DEEPEST: usize = 32;

/// A selector that is read from left to right.
struct Reader<'a, K> {
    rest: &'a str,
    key: K,
    /// Whether `global()` holds.
    global: bool,
    depth: usize,
}

/// Parses a selector; the empty one selects everything. `key` returns what a label means. `None`: it cannot
/// be read.
pub(super) fn parse(text: &str, key: impl Fn(&str) -> Key, global: bool) -> Option<Expression> {
    let mut reader = Reader {
        rest: text,
        key,
        global,
        depth: 0,
    };
    reader.skip_spaces();
    if reader.rest.is_empty() {
        return Some(Expression::Always);
    }
    let expression = reader.alternatives()?;
    reader.rest.is_empty().then_some(expression)
}

impl<K: Fn(&str) -> Key> Reader<'_, K> {
    /// Reads operands of `||`, which binds less than `&&`.
    fn alternatives(&mut self) -> Option<Expression> {
        let mut operands = vec![self.conjunction()?];
        while self.take("||") {
            operands.push(self.conjunction()?);
        }
        Some(Expression::Any(operands))
    }

    fn conjunction(&mut self) -> Option<Expression> {
        let mut operands = vec![self.operation()?];
        while self.take("&&") {
            operands.push(self.operation()?);
        }
        Some(Expression::All(operands))
    }

    fn operation(&mut self) -> Option<Expression> {
        let mut negated = false;
        while self.take("!") {
            negated = !negated;
        }
        let operation = self.operand()?;
        Some(if negated { !operation } else { operation })
    }

    fn operand(&mut self) -> Option<Expression> {
        if self.take("(") {
            self.depth += 1;
            let inner = if self.depth > DEEPEST {
                None
            } else {
                self.alternatives()
            }?;
            self.depth -= 1;
            return self.take(")").then_some(inner);
        }
        if self.take("has(") {
            let key = self.label()?;
            return self.take(")").then_some(Expression::Test(key, Test::Exists));
        }
        if self.take("all(") {
            return self.take(")").then_some(Expression::Always);
        }
        if self.take("global(") {
            let holds = if self.global {
                Expression::Always
            } else {
                Expression::never()
            };
            return self.take(")").then_some(holds);
        }
        let key = self.label()?;
        self.comparison(key)
    }

    fn comparison(&mut self, key: Key) -> Option<Expression> {
        if self.take("==") {
            return Some(Expression::Test(key, Test::In([self.literal()?].into())));
        }
        if self.take("!=") {
            return Some(!Expression::Test(key, Test::In([self.literal()?].into())));
        }
        if self.take("contains") {
            return Some(Expression::Test(key, Test::Contains(self.literal()?)));
        }
        if self.take("starts") {
            let start = self.take("with").then(|| self.literal())??;
            return Some(Expression::Test(key, Test::StartsWith(start)));
        }
        if self.take("ends") {
            let end = self.take("with").then(|| self.literal())??;
            return Some(Expression::Test(key, Test::EndsWith(end)));
        }
        let negated = self.take("not");
        let is_in = self.take("in").then(|| self.literals())??;
        let is_in = Expression::Test(key, Test::In(is_in.into_iter().collect()));
        Some(if negated { !is_in } else { is_in })
    }

    fn literals(&mut self) -> Option<Vec<String>> {
        let mut literals = Vec::new();
        if !self.take("{") {
            return None;
        }
        while self.rest.starts_with(['"', '\'']) {
            literals.push(self.literal()?);
            if !self.take(",") {
                break;
            }
        }
        self.take("}").then_some(literals)
    }

    fn literal(&mut self) -> Option<String> {
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|first| ['"', '\''].contains(first))?;
        let (literal, rest) = self.rest[1..].split_once(quote)?;
        self.rest = rest;
        self.skip_spaces();
        Some(literal.to_owned())
    }

    fn label(&mut self) -> Option<Key> {
        let is_label = |one: char| one.is_ascii_alphanumeric() || "_./-".contains(one);
        let end = self.rest.find(|one| !is_label(one)).filter(|end| *end > 0)?;
        let (label, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_spaces();
        Some((self.key)(label))
    }

    /// Takes a word and the spaces after it, if it is next.
    fn take(&mut self, word: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(word) else {
            return false;
        };
        self.rest = rest;
        self.skip_spaces();
        true
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}
